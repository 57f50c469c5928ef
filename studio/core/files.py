"""Small files written so that a reader never sees half of one."""

import json
import os
import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO


def write_atomic(path: Path, data: str | bytes, shared: bool = False) -> None:
    """Write `data` to `path` by a temporary file beside it, fsync and rename; `shared` as in `renamed`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with renamed(path, shared) as file:
        file.write(data.encode() if isinstance(data, str) else data)


@contextmanager
def renamed(path: Path, shared: bool = False) -> Iterator[BinaryIO]:
    """Give an open file beside `path` that takes its name when it is whole and on the disk.

    shared: others may read it, as far as they may read what a person saves; else only its owner may.
    """
    if shared:
        name = path.parent / f".{path.name}.{secrets.token_hex(4)}.tmp"
        handle = os.open(name, os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o666)
    else:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
    try:
        with os.fdopen(handle, "w+b") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON by rename; NaN and infinities as Python's json writes them."""
    write_atomic(path, json.dumps(value, indent=1, ensure_ascii=False) + "\n")


def read_json(path: Path, default: Any = None) -> Any:
    """Return the JSON value in `path`, or `default` when it is missing or not JSON."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return default
