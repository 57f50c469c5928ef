"""Opens a source as a memory-mapped Arrow table: parsed once, then shared by the window and the worker."""

import contextlib
import hashlib
import os
import secrets
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from studio.core.disk import can_not_write
from studio.core.files import read_json, write_json
from studio.core.reasons import Failure, Problem
from studio.core.registry import PluginConfig, family, plugin
from studio.core.spec import source_of

READERS = 1  # raised when a source reads the same file otherwise than before, so that no older table is taken


@dataclass(frozen=True)
class Read:
    """What a source gives: the rows, what was found odd, and its config with every `auto` filled in."""

    table: Any
    config: PluginConfig
    problems: list[Problem] = field(default_factory=list)


@dataclass(frozen=True)
class OpenedTable:
    """A data set: `table` (pyarrow.Table, memory-mapped), the resolved config and the file's hash."""

    table: Any
    config: PluginConfig
    problems: list[Problem]
    content_hash: str
    size_bytes: int


def source_for(path: str | Path) -> PluginConfig:
    """Return the config that reads `path`, chosen by its ending and, where several kinds share that, its beginning.

    Raises Failure "data-missing" or "data-format".
    """
    if not Path(path).exists():
        raise Failure("data-missing", "data.train", path=str(path))
    source = source_of(str(path))
    if source is not None:
        return source.Config(path=str(Path(path).absolute()))
    formats = ", ".join(dict.fromkeys(end for source in family("sources").values() for end in source.endings))
    raise Failure("data-format", "data.train", path=str(path), formats=formats)


def open_table(config: PluginConfig, workspace: Path) -> OpenedTable:
    """Return the rows of a source; a second call for the same content and options maps the first one's result.

    Raises Failure: data-missing, data-unreadable, data-parse, data-empty.
    """
    import pyarrow as pa

    path = Path(config.path)
    content = content_hash(path)
    key = hashlib.sha256(f"{READERS} {content} {config.model_dump_json(exclude={'path'})}".encode()).hexdigest()[:24]
    cached, notes = workspace / "cache" / "tables" / f"{key}.arrow", workspace / "cache" / "tables" / f"{key}.json"
    found, table = read_json(notes), None
    if found is not None:
        # A file that a power cut left half-written is made again.
        with contextlib.suppress(pa.ArrowInvalid, OSError):
            table = _map_table(cached)
    if table is None:
        read = _read(config, path)
        _write_table(read.table, cached)
        found = {
            "config": read.config.model_dump(mode="json", exclude={"path"}),
            "problems": [[p.reason, p.facts, p.field] for p in read.problems],
        }
        write_json(notes, found)
        table = _map_table(cached)
    resolved = type(config).model_validate(found["config"] | {"path": str(path)})
    problems = [Problem(*problem) for problem in found["problems"]]
    return OpenedTable(table, resolved, problems, content, path.stat().st_size)


def _read(config: PluginConfig, path: Path) -> Read:
    try:
        read = plugin("sources", config).read(config)
    except Failure:
        raise
    except OSError as error:
        raise Failure("data-unreadable", "data.train", path=str(path), message=error.strerror or str(error)) from error
    if read.table.num_rows == 0:
        raise Failure("data-empty", "data.train", path=str(path), needed=10)
    return read


def _map_table(path: Path) -> Any:
    import pyarrow as pa

    with pa.memory_map(str(path)) as mapped:
        return pa.ipc.open_file(mapped).read_all()


def _write_table(table: Any, path: Path) -> None:
    import pyarrow as pa

    partial = path.with_name(f"{path.name}.{secrets.token_hex(4)}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(partial, "wb") as file:
            with pa.ipc.new_file(file, table.schema) as writer:
                writer.write_table(table, max_chunksize=64_000)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    except OSError as error:
        raise can_not_write(path.parent, error) from error
    finally:
        partial.unlink(missing_ok=True)


def content_hash(path: Path) -> str:
    """Return the SHA-256 of a file as hex. Raises Failure "data-missing" or "data-unreadable"."""
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError as error:
        raise Failure("data-missing", "data.train", path=str(path)) from error
    except OSError as error:
        raise Failure("data-unreadable", "data.train", path=str(path), message=error.strerror or str(error)) from error


def unique_names(names: list[str]) -> list[str]:
    """Return column names without blanks around them, empty ones named, repeated ones numbered."""
    found: list[str] = []
    for i, name in enumerate(names):
        name = name.strip().strip("\ufeff") or f"column {i + 1}"
        base, n = name, 2
        while name in found:
            name, n = f"{base} ({n})", n + 1
        found.append(name)
    return found
