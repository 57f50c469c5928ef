"""An operating system's lock on a file: held for life, free the moment its process dies."""

import contextlib
import json
import os
import sys
import time
import weakref
from pathlib import Path
from typing import IO, Any

# Windows forbids others to read locked bytes, so the locked byte lies far behind the text in the file.
_OFFSET = 1 << 30
HELD = "held.lock"
LOOK_SECONDS = 0.2  # longer than it takes to look whether a folder is used


def try_lock(file: IO[bytes], shared: bool = False) -> bool:
    """Take the lock of an open file for as long as it is open; False where another has it, or there are no locks."""
    try:
        if sys.platform == "win32":
            import msvcrt

            file.seek(_OFFSET)
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _wait_for_lock(file: IO[bytes], seconds: float, shared: bool = False) -> bool:
    """Take a lock as `try_lock`; `is_held` and `is_used` take it for a moment to look, whose loser tries again."""
    deadline = time.monotonic() + seconds
    while not try_lock(file, shared):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


class Lock:
    """A lock file; `acquire` holds it until the process ends or `release` is called."""

    def __init__(self, path: Path):
        self.path = path
        self._file: IO[bytes] | None = None

    def acquire(self, facts: dict[str, Any], timeout_seconds: float = 2.0) -> bool:
        """Take the lock and write `facts` and this process' id into it; False if another process holds it.

        Raises OSError on a full disk; the lock is not held then.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        file = open(self.path, "a+b")  # noqa: SIM115 (held for life)
        if not _wait_for_lock(file, timeout_seconds):
            file.close()
            return False
        try:
            file.truncate(0)
            file.write(json.dumps({"pid": os.getpid(), "time": time.time()} | facts).encode())
            file.flush()
        except OSError:
            with contextlib.suppress(OSError):  # what could not be written is tried once more
                file.close()
            raise
        self._file = file
        return True

    @property
    def is_mine(self) -> bool:
        """Return whether this object holds the lock."""
        return self._file is not None

    def release(self) -> None:
        """Give the lock back; the file stays."""
        if self._file is not None:
            self._file.close()
            self._file = None


def is_held(path: Path) -> bool:
    """Return whether a living process holds the lock file."""
    try:
        file = open(path, "r+b")  # noqa: SIM115
    except OSError:
        return False
    with contextlib.closing(file):
        # Shared, so that two who look at once do not take each other for the holder.
        return not try_lock(file, shared=True)


class Hold:
    """Says that folders are in use, for as long as it lives: `is_used` of each is true, in any process."""

    def __init__(self, *folders: Path) -> None:
        files = []
        for folder in folders:
            with contextlib.suppress(OSError):  # where nothing can be written nobody removes anything either
                files.append(open(folder / HELD, "a+b"))  # noqa: SIM115 (held for life)
                _wait_for_lock(files[-1], LOOK_SECONDS, shared=True)
        self.end = weakref.finalize(self, _close, files)  # it may be ended sooner


def is_used(folder: Path) -> bool:
    """Return whether a living process holds the folder by a `Hold`; several may."""
    try:
        file = open(folder / HELD, "r+b")  # noqa: SIM115
    except OSError:
        return False
    with contextlib.closing(file):
        return not try_lock(file)


def _close(files: list[IO[bytes]]) -> None:
    for file in files:
        file.close()


def holder(path: Path) -> dict[str, Any]:
    """Return what the last holder wrote into the lock file (pid, time, …), or an empty dict."""
    try:
        return json.loads(path.read_bytes().rstrip(b"\0"))
    except (OSError, ValueError):
        return {}
