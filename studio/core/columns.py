"""What was parsed of a long log, kept beside it: derived data, which a reader takes when it fits and else does without.

A worker keeps it piece by piece while its log grows, so that a run of a million steps opens at once, also a killed one.
"""

import hashlib
import json
import os
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from studio.core.events import Event, MetricsRows, dump_event, parse_events

FOLDER = "columns"  # a file for each piece, named by the byte of the log at which it begins
_FIELDS = ("time", "step", "epoch", "train_seconds", "n_tokens")
_PROBED_BYTES = 4096
_VERSION = 2


def keep(log: Path, told: Iterable[Event | MetricsRows], start: int, end: int) -> None:
    """Write what a log tells from the byte `start` to the byte `end` beside it, by rename.

    Raises OSError where there is no room; then nothing of it is left.
    """
    parts: list[list[Any]] = []
    tables: dict[tuple[str, ...], list[np.ndarray]] = {}
    rest: list[str] = []
    for item in told:
        at, n, total_steps = -1, 1, None
        if isinstance(item, MetricsRows):
            names = tuple(item.values)
            tables.setdefault(names, []).append(
                np.stack([*(getattr(item, field) for field in _FIELDS), *item.values.values()])
            )
            at, n, total_steps = list(tables).index(names), len(item.step), item.total_steps
        else:
            rest.append(dump_event(item) + "\n")
        if parts and parts[-1][0] == at:
            parts[-1][1:] = parts[-1][1] + n, total_steps or parts[-1][2]
        else:
            parts.append([at, n, total_steps])
    head = {"version": _VERSION, "end": end, "digest": _digest(log, end), "names": list(tables), "parts": parts}
    arrays = {f"table{at}": np.concatenate(table, axis=1) for at, table in enumerate(tables.values())}
    file = _file(log, start)
    partial = file.with_name(file.name + ".partial")
    try:
        file.parent.mkdir(exist_ok=True)
        with open(partial, "wb") as stream:
            np.savez(stream, head=_as_bytes(json.dumps(head)), rest=_as_bytes("".join(rest)), **arrays)
        os.replace(partial, file)
    except OSError:
        partial.unlink(missing_ok=True)
        raise


def kept(log: Path) -> Iterator[tuple[list[Event | MetricsRows], int]]:
    """Yield what was kept of a log, piece by piece from its beginning, each with the byte at which it ends.

    Ends before a piece that is not there or does not fit.
    """
    end = 0
    while piece := _read(log, end):
        told, end = piece
        yield told, end


def kept_bytes(log: Path) -> int:
    """Return how much of a log is kept; numbers are not looked at."""
    end = 0
    while head := _read_head(log, end):
        end = head["end"]
    return end


def _file(log: Path, start: int) -> Path:
    return log.parent / FOLDER / f"{start:015}.npz"


# It is not there, damaged, or of another version.
_UNFIT = (OSError, ValueError, KeyError, EOFError, IndexError, TypeError, zipfile.BadZipFile)


def _read(log: Path, start: int) -> tuple[list[Event | MetricsRows], int] | None:
    try:
        with np.load(_file(log, start), allow_pickle=False) as file:
            head = _head(file, log, start)
            tables = [file[f"table{at}"] for at in range(len(head["names"]))]
            return list(_parts(head, tables, file["rest"].tobytes().splitlines())), head["end"]
    except _UNFIT:
        return None


def _read_head(log: Path, start: int) -> dict[str, Any] | None:
    try:
        with np.load(_file(log, start), allow_pickle=False) as file:
            return _head(file, log, start)
    except _UNFIT:
        return None


def _head(file: Any, log: Path, start: int) -> dict[str, Any]:
    """Return the head of a piece. Raises ValueError where it is not of this log."""
    head = json.loads(file["head"].tobytes())
    if head["version"] != _VERSION or head["end"] <= start or head["digest"] != _digest(log, head["end"]):
        raise ValueError("a piece of another log")
    return head


def _parts(head: dict[str, Any], tables: list[np.ndarray], rest: list[bytes]) -> Iterator[Event | MetricsRows]:
    at, at_rest = [0] * len(tables), 0
    for table, n, total_steps in head["parts"]:
        if table < 0:
            yield from parse_events(b"\n".join(rest[at_rest : at_rest + n]))
            at_rest += n
            continue
        part = tables[table][:, at[table] : at[table] + n]
        at[table] += n
        values = dict(zip(head["names"][table], part[len(_FIELDS) :], strict=True))
        columns = dict(zip(_FIELDS, part, strict=False))
        yield MetricsRows(split="train", values=values, total_steps=total_steps, **columns)


def _digest(log: Path, size: int) -> str:
    """Return a fingerprint of the beginning of a log of that size; a log only grows."""
    with open(log, "rb") as file:
        first = file.read(min(size, _PROBED_BYTES))
        file.seek(max(0, size - _PROBED_BYTES))
        last = file.read(min(size, _PROBED_BYTES))
    return hashlib.sha256(b"%d %b %b" % (size, first, last)).hexdigest()


def _as_bytes(text: str) -> np.ndarray:
    return np.frombuffer(text.encode(), np.uint8)
