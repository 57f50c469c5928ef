"""Turns an exception of a worker into a known problem, by its type."""

import errno
import shutil

from studio.core.reasons import Failure, Problem
from studio.core.rundir import RunDir


def problem_of(error: BaseException, run: RunDir) -> Problem:
    """Return the problem that an exception means; unknown ones keep their type and text."""
    from safetensors import SafetensorError
    from torch import OutOfMemoryError

    if isinstance(error, Failure):
        return error.problem
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return disk_full(run, 0)
    if isinstance(error, MemoryError | OutOfMemoryError):
        try:
            batch = run.spec().training.per_device_train_batch_size
        except (Failure, AttributeError):
            batch = 0
        return Problem("out-of-memory", {"batch": batch}, "training.per_device_train_batch_size")
    if isinstance(error, SafetensorError | RuntimeError) and _is_full(run):
        # Both safetensors and torch.save report a full disk as an error of their own.
        return disk_full(run, 0)
    if isinstance(error, SafetensorError):
        return Problem("model-corrupt", {"path": str(run.path), "message": f"{error}."}, "model")
    message = f"{str(error) or 'No message.'} The full report is in {run.log_file}."
    return Problem("unexpected", {"reason": type(error).__name__, "message": message})


def _is_full(run: RunDir) -> bool:
    return shutil.disk_usage(run.path).free < 1 << 20


def disk_full(run: RunDir, needed_bytes: int) -> Problem:
    """Return the problem of a disk without room in a run's folder."""
    free = shutil.disk_usage(run.path).free
    needed = f"{needed_bytes / 1e6:,.0f} MB" if needed_bytes else "More bytes"
    return Problem("disk-full", {"needed": needed, "free": f"{free / 1e6:,.0f} MB", "path": str(run.path)})
