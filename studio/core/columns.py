"""What was parsed of a long log, kept beside it: derived data, which a reader takes when it fits and else does without.

A worker writes it when it ends, so that a run of a million steps opens at once.
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

NAME = "columns.npz"
_FIELDS = ("time", "step", "epoch", "train_seconds", "n_tokens")
_PROBED_BYTES = 4096
_VERSION = 1


def keep(log: Path, told: Iterable[Event | MetricsRows], size: int) -> None:
    """Write what the first `size` bytes of a log tell beside it, by rename. Raises OSError where there is no room."""
    parts: list[list[Any]] = []
    tables: dict[tuple[str, ...], list[np.ndarray]] = {}
    rest: list[str] = []
    for item in told:
        if isinstance(item, MetricsRows):
            names = tuple(item.values)
            table = tables.setdefault(names, [])
            table.append(np.stack([*(getattr(item, field) for field in _FIELDS), *item.values.values()]))
            parts.append([list(tables).index(names), len(item.step), item.total_steps])
        else:
            rest.append(dump_event(item) + "\n")
            if parts and parts[-1][0] < 0:
                parts[-1][1] += 1
            else:
                parts.append([-1, 1, None])
    head = {"version": _VERSION, "size": size, "digest": _digest(log, size), "names": list(tables), "parts": parts}
    arrays = {f"table{at}": np.concatenate(table, axis=1) for at, table in enumerate(tables.values())}
    partial = log.with_name(NAME + ".partial")
    with open(partial, "wb") as file:
        np.savez(file, head=_as_bytes(json.dumps(head)), rest=_as_bytes("".join(rest)), **arrays)
    os.replace(partial, log.with_name(NAME))


def kept(log: Path) -> tuple[list[Event | MetricsRows], int]:
    """Return what was kept of a log and the size up to which it tells that; nothing and 0 where it does not fit."""
    try:
        with np.load(log.with_name(NAME), allow_pickle=False) as file:
            head = json.loads(file["head"].tobytes())
            if head["version"] != _VERSION or head["digest"] != _digest(log, head["size"]):
                return [], 0
            tables = [file[f"table{at}"] for at in range(len(head["names"]))]
            return list(_parts(head, tables, file["rest"].tobytes().splitlines())), head["size"]
    # It is not there, damaged, or of another version.
    except (OSError, ValueError, KeyError, EOFError, IndexError, TypeError, zipfile.BadZipFile):
        return [], 0


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
