"""Small files written so that a reader never sees half of one."""

import contextlib
import json
import os
import re
import secrets
import shutil
import tempfile
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from studio.core.locks import HELD, Hold, is_used, try_lock

# A thread that writes often lets go of Python's lock so often and so shortly that the window's thread never gets it.
_BUFFER_BYTES = 1 << 20
_YOUNG_SECONDS = 10  # what is as young may be about to be locked


def write_atomic(path: Path, data: str | bytes, shared: bool = False) -> None:
    """Write `data` to `path` by a temporary file beside it, fsync and rename; `shared` as in `renamed`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with renamed(path, shared) as file:
        file.write(data.encode() if isinstance(data, str) else data)


@contextmanager
def renamed(path: Path, shared: bool = False) -> Iterator[BinaryIO]:
    """Give an open file beside `path` that takes its name when it is whole and on the disk.

    shared: others may read it, as far as they may read what a person saves; else only its owner may. What a process
    that was killed left half of such a file is removed.
    """
    if shared:
        _clear_halves(path)
        name = path.parent / f".{path.name}.{secrets.token_hex(4)}.tmp"
        handle = os.open(name, os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o666)
    else:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
    try:
        with os.fdopen(handle, "w+b", _BUFFER_BYTES) as file:
            if shared and try_lock(file):
                file.seek(0)
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _clear_halves(path: Path) -> None:
    """Remove what others began of a file and nobody writes any more: a lock goes with the process that held it."""
    half = re.compile(rf"\.{re.escape(path.name)}\.[0-9a-f]{{8}}\.tmp")
    with contextlib.suppress(OSError):  # a folder that is not there, or not to be read: that is told by who writes
        for found in [entry for entry in os.scandir(path.parent) if half.fullmatch(entry.name)]:
            if time.time() - found.stat().st_mtime < _YOUNG_SECONDS:
                continue
            with open(found.path, "r+b") as file:
                is_left = try_lock(file)
            if is_left:
                os.unlink(found.path)


class TemporaryFolder:
    """A folder, `name`, that goes with this object; one of a process that was killed goes when the next is made.

    prefix: what the names begin with, of this kind of folder alone.
    """

    def __init__(self, prefix: str) -> None:
        for other in Path(tempfile.gettempdir()).glob(f"{prefix}*/{HELD}"):
            with contextlib.suppress(OSError):
                if time.time() - other.stat().st_mtime > _YOUNG_SECONDS and not is_used(other.parent):
                    shutil.rmtree(other.parent, ignore_errors=True)
        self.name = tempfile.mkdtemp(prefix=prefix)
        self._end = weakref.finalize(self, _remove, self.name, Hold(Path(self.name)))


def _remove(folder: str, hold: Hold) -> None:
    hold.end()  # on Windows an open file can't be removed
    shutil.rmtree(folder, ignore_errors=True)
    with contextlib.suppress(OSError):  # nor one that is still mapped: by this file the next finds the folder again
        (Path(folder) / HELD).touch()


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON by rename; NaN and infinities as Python's json writes them."""
    write_atomic(path, json.dumps(value, indent=1, ensure_ascii=False) + "\n")


def read_json(path: Path, default: Any = None) -> Any:
    """Return the JSON value in `path`, or `default` when it is missing or not JSON."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return default
