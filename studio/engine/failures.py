"""Turns an exception of a worker into a known problem, by its type."""

import errno

from studio.core.reasons import Failure, Problem
from studio.core.rundir import RunDir
from studio.core.state import disk_full, is_disk_full


def problem_of(error: BaseException, run: RunDir) -> Problem:
    """Return the problem that an exception means; unknown ones keep their type and text."""
    from safetensors import SafetensorError
    from torch import OutOfMemoryError

    if isinstance(error, Failure):
        return error.problem
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return disk_full(run.path)
    if isinstance(error, MemoryError | OutOfMemoryError):
        try:
            batch = run.spec().training.per_device_train_batch_size
        except (Failure, AttributeError):
            batch = 0
        return Problem("out-of-memory", {"batch": batch}, "training.per_device_train_batch_size")
    if isinstance(error, SafetensorError | RuntimeError) and is_disk_full(run.path):
        # Both safetensors and torch.save report a full disk as an error of their own.
        return disk_full(run.path)
    if isinstance(error, SafetensorError):
        return Problem("model-corrupt", {"path": str(run.path), "message": f"{error}."}, "model")
    message = f"{str(error) or 'No message.'} The full report is in {run.log_file}."
    return Problem("unexpected", {"reason": type(error).__name__, "message": message})
