"""Long logs, read fast: what a training says step by step comes as columns, everything else as events."""

import time
from collections.abc import Iterator
from itertools import chain, pairwise
from operator import itemgetter
from typing import Any

import numpy as np
from pydantic_core import from_json

from studio.core import columns
from studio.core.events import Event, MetricsRows, parse_events, to_event
from studio.core.rundir import EventReader, RunDir
from studio.core.state import RunState, new_state, settle

_PIECE_BYTES = 1 << 16  # parsed in one go: half a millisecond, and small enough for the processor's cache
_BREATH_BYTES = 1 << 18  # then other threads, such as the window's, have their turn
_BREATH_SECONDS = 1e-4
PIECE_BYTES = 8 << 20  # of a log, kept in columns as a whole; fewer are parsed in a moment
_FEW = 4  # rows that are not worth columns


class RunReader(EventReader):
    """Reads a run's log, whose metrics come as MetricsRows where there are many; begins with what was kept of it."""

    def __init__(self, run: RunDir):
        super().__init__(run.events_file, parse_lines)
        self._kept = columns.kept(self.path)

    def read(self, most_bytes: int = 4 << 20) -> list[Any]:
        for told, end in self._kept:
            self._offset = end
            if told:
                return told
        return super().read(most_bytes)


def keep_columns(run: RunDir, least: int | None = None) -> int:
    """Keep what a long log tells beyond what is kept already, in columns, for the next reader.

    least: bytes of the log that are worth a piece of their own, else PIECE_BYTES. Returns how many bytes of the log
    are kept, 0 of a short one. Raises OSError where there is no room.
    """
    log = run.events_file
    size = log.stat().st_size if log.exists() else 0
    if size < PIECE_BYTES:
        return 0
    start = columns.kept_bytes(log)
    reader = EventReader(log, parse_lines, start)
    while size - start >= (least or PIECE_BYTES):
        told = reader.read(PIECE_BYTES)
        if reader.offset == start:
            break  # a line that is not complete yet
        columns.keep(log, told, start, reader.offset)
        start = reader.offset
    return start


def read_state(run: RunDir) -> RunState:
    """Return what the log of a run tells so far; reads files, so call it in the background."""
    state, reader = new_state(run), RunReader(run)
    while batch := reader.read():
        for event in batch:
            state.apply(event)
    return state


def read_end(run: RunDir) -> RunState:
    """Return what the log of a run tells, completed by how its process ended; reads files."""
    state = read_state(run)
    settle(state, run)
    return state


def parse_lines(data: bytes) -> list[Event | MetricsRows]:
    """Return what complete lines of a log say, in their order; a line that `parse_events` would skip is skipped.

    Folded into a state, it gives bit by bit what the single events give.
    """
    found: list[Event | MetricsRows] = []
    at = rested = 0
    while at < len(data):
        end = data.find(b"\n", min(at + _PIECE_BYTES, len(data) - 1)) + 1 or len(data)
        found += _parse_piece(data[at:end])
        at = end
        if at - rested >= _BREATH_BYTES:
            time.sleep(_BREATH_SECONDS)
            rested = at
    return found


def _parse_piece(piece: bytes) -> list[Event | MetricsRows]:
    try:
        rows = from_json(b"[" + piece[:-1].replace(b"\n", b",") + b"]", cache_strings="keys")
    except ValueError:  # a torn line, or an empty one
        return parse_events(piece)
    if len(rows) != piece.count(b"\n") or set(map(type, rows)) != {dict}:
        return parse_events(piece)
    return list(_in_columns(rows))


def _in_columns(rows: list[dict[str, Any]]) -> Iterator[Event | MetricsRows]:
    """Yield the steps of training that follow each other as columns, and the other rows as events."""
    others = [i for i, row in enumerate(rows) if row.get("split") != "train"]
    for before, place in pairwise([-1, *others, len(rows)]):
        steps = rows[before + 1 : place]
        try:
            if len(steps) > _FEW:
                yield _columns(steps)
                steps = []
        except (KeyError, TypeError, ValueError):
            pass  # not all alike
        for row in [*steps, *rows[place : place + 1]]:
            event = to_event(row)
            if event is not None:
                yield event


def _columns(rows: list[dict[str, Any]]) -> MetricsRows:
    """Return rows as columns. Raises KeyError, TypeError or ValueError where one is unlike the first."""
    first, values = rows[0], list(map(itemgetter("values"), rows))
    if set(map(itemgetter("type"), rows)) != {"metrics"} or len(set(map(len, rows))) + len(set(map(len, values))) != 2:
        raise ValueError("not all rows are metrics of the same names")
    known = [name for name in ("time", "step", "epoch", "train_seconds", "n_tokens") if first.get(name) is not None]
    told = dict(zip(known, _numbers(rows, known), strict=True))
    if (told["step"] % 1 != 0).any():
        raise ValueError("a step is no whole number")
    if any(row[name] is not None for name in first.keys() - {*known} & {"train_seconds", "n_tokens"} for row in rows):
        raise ValueError("some rows know what others do not")
    unknown = np.full(len(rows), np.nan)
    return MetricsRows(
        split="train",
        time=told["time"],
        step=told["step"],
        epoch=told["epoch"],
        values=dict(zip(values[0], _numbers(values, list(values[0])), strict=True)),
        train_seconds=told.get("train_seconds", unknown),
        n_tokens=told.get("n_tokens", unknown),
        total_steps=next((row["total_steps"] for row in reversed(rows) if row.get("total_steps")), None),
    )


def _numbers(rows: list[dict[str, Any]], names: list[str]) -> np.ndarray:
    """Return the numbers of `names` in `rows` as columns [name, row]."""
    if len(names) == 1:
        return np.fromiter(map(itemgetter(*names), rows), float, len(rows))[None]
    numbers = chain.from_iterable(map(itemgetter(*names), rows)) if names else ()
    return np.fromiter(numbers, float, len(rows) * len(names)).reshape(len(rows), len(names)).T
