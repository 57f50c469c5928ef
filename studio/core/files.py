"""Small files written so that a reader never sees half of one."""

import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO


def write_atomic(path: Path, data: str | bytes) -> None:
    """Write `data` to `path` by a temporary file beside it, fsync and rename."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with renamed(path) as file:
        file.write(data.encode() if isinstance(data, str) else data)


@contextmanager
def renamed(path: Path) -> Iterator[BinaryIO]:
    """Give an open file beside `path` that takes its name when it is whole and on the disk."""
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
