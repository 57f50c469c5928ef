"""What is said of a disk without room."""

import errno
import re
import shutil
import sys
from pathlib import Path

from studio.core.reasons import Failure, Problem

_FULL = (errno.ENOSPC, errno.EDQUOT)
_FULL_IN_RUST = (39, 112) if sys.platform == "win32" else _FULL


def is_full(error: BaseException) -> bool:
    """Return whether an exception means that the disk has no room, or that the person's share of it is used up."""
    if isinstance(error, OSError):
        return error.errno in _FULL
    # WORKAROUND: what is written in Rust, such as safetensors, hands the system's number on in words alone.
    said = re.search(r"\(os error (\d+)\)", str(error))
    return said is not None and int(said[1]) in _FULL_IN_RUST


def is_disk_full(path: Path) -> bool:
    """Return whether the disk of `path` has no room for a page of the log."""
    return free_bytes(path) < 1 << 20


def disk_full(path: Path, needed_bytes: int = 0) -> Problem:
    """Return the problem of a run whose disk has no room, and how much there is."""
    needed = f"{needed_bytes / 1e6:,.0f} MB" if needed_bytes else "More bytes"
    return Problem("disk-full", {"needed": needed, "free": _free(path), "path": str(path)})


def can_not_write(path: Path, error: OSError) -> Failure:
    """Return the failure of a folder that could not be written to: "no-room" or "workspace-unwritable"."""
    if is_full(error):
        return no_room(path)
    return Failure("workspace-unwritable", path=str(path), message=error.strerror or str(error))


def no_room(path: Path, field: str = "") -> Failure:
    """Return the failure of a disk without room, at the field that names it."""
    return Failure("no-room", field, path=str(path), free=_free(path))


def free_bytes(path: Path) -> int:
    """Return the room on the disk of `path`, which need not exist yet."""
    while not path.exists():
        path = path.parent
    return shutil.disk_usage(path).free


def _free(path: Path) -> str:
    return f"{free_bytes(path) / 1e6:,.0f} MB"
