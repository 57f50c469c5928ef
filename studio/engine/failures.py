"""Turns an exception of a worker into a known problem, by its type."""

import re

from studio.core.disk import disk_full, is_disk_full, is_full
from studio.core.estimate import as_picked
from studio.core.files import read_json
from studio.core.reasons import Failure, Problem
from studio.core.rundir import RunDir
from studio.engine import device


def problem_of(error: BaseException, run: RunDir) -> Problem:
    """Return the problem that an exception means; unknown ones keep their type and text."""
    from safetensors import SafetensorError
    from torch import AcceleratorError, OutOfMemoryError

    if is_full(error) or (isinstance(error, Failure) and error.problem.reason == "no-room" and not error.problem.field):
        return disk_full(run.path)
    if isinstance(error, Failure):
        return error.problem
    if isinstance(error, MemoryError | OutOfMemoryError) or _is_refused(error):
        return _out_of_memory(error, run)
    if isinstance(error, AcceleratorError):
        return Problem("driver-refused", {"message": str(error).splitlines()[0]})
    if isinstance(error, SafetensorError | RuntimeError) and is_disk_full(run.path):
        # Both safetensors and torch.save report a full disk as an error of their own.
        return disk_full(run.path)
    if isinstance(error, SafetensorError):
        return Problem("model-corrupt", {"path": str(run.path), "message": f"{error}."}, "model")
    if type(error).__module__.split(".")[0] == "wandb":
        return Problem("wandb-refused", {"message": str(error)}, "training.report_to")
    message = f"{str(error) or 'No message.'} The full report is in {run.log_file}."
    return Problem("unexpected", {"reason": type(error).__name__, "message": message})


# WORKAROUND: torch has no type of its own for memory that a processor refused, only these words of a RuntimeError
# (c10/core/impl/alloc_cpu.cpp, and C++'s own name for it); OutOfMemoryError is for GPUs alone.
_REFUSED = re.compile(r"DefaultCPUAllocator|can't allocate memory|std::bad_alloc")
_ASKED = re.compile(r"tried to allocate ([\d.]+) ?(bytes|KiB|MiB|GiB)", re.I)
_UNITS = {"bytes": 1, "kib": 1 << 10, "mib": 1 << 20, "gib": 1 << 30}


def _is_refused(error: BaseException) -> bool:
    return isinstance(error, RuntimeError) and _REFUSED.search(str(error)) is not None


def _out_of_memory(error: BaseException, run: RunDir) -> Problem:
    """Return the problem with its numbers: what was asked for, what was free, what the worker held, the batch."""
    try:
        spec = run.spec()
        picked = (read_json(run.resolved_file) or {}).get("picked", {})
        training = as_picked(getattr(spec, "train", spec).training, {k: v["value"] for k, v in picked.items()})
        batch = training.per_device_train_batch_size
    except (Failure, AttributeError):
        batch = "?"
    asked = _ASKED.search(str(error))
    facts = {
        "batch": batch,
        "asked": _size(float(asked[1]) * _UNITS[asked[2].lower()]) if asked else "more bytes than that",
        "free": _size(device.free_bytes()),
        "held": _size(device.held_bytes()),
    }
    return Problem("out-of-memory", facts, "training.per_device_train_batch_size")


def _size(n_bytes: float) -> str:
    return f"{n_bytes / 1e9:,.1f} GB" if n_bytes >= 1e9 else f"{n_bytes / 1e6:,.0f} MB"
