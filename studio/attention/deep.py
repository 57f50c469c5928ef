"""Long texts: what a window shows of maps that are never whole in memory; numpy only.

A head of 32,768 tokens is 4 GiB as a map. Its picture is made of tiles, each exact or the strongest of 2, 4, 8, …
cells; what is said of all heads is measured on some rows, each of them exactly.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

import numpy as np

from studio.attention.maps import js_divergence
from studio.attention.qk import Layers, QueryKeys

DEEP = 2048  # tokens; up to here a whole head takes at most 16 MB and some ten milliseconds
MOST_ROWS = 512  # on which all heads are measured
TILE = 256
CACHE_BYTES = 64 << 20
_STRIP = 1 << 22  # cells that are worked on at a time


def is_deep(maps: Any) -> bool:
    """Return whether maps are to be looked at by tiles: of a long text, kept as queries and keys."""
    return isinstance(maps, Layers) and maps.shape[-1] > DEEP


def some_rows(n_rows: int, most: int = MOST_ROWS) -> np.ndarray:
    """Return the rows, evenly spread, on which all heads of a long text are measured."""
    return np.unique(np.linspace(0, n_rows - 1, min(n_rows, most)).round().astype(int))


def rows_of(layer: np.ndarray | QueryKeys, head: int, rows: np.ndarray) -> np.ndarray:
    """Return some rows of a head, float32 [row, key]."""
    return layer.rows(head, rows) if isinstance(layer, QueryKeys) else np.asarray(layer[head][rows])


@dataclass(frozen=True, eq=False)
class Survey:
    """All heads of a long text at a glance: `statistics` as `maps.head_statistics`, `thumbnails` [layer, head, side,
    side] by the strongest cell; both from `rows`."""

    statistics: dict[str, np.ndarray]
    thumbnails: np.ndarray
    rows: np.ndarray


def survey(maps: Layers, side: int, most_rows: int = MOST_ROWS) -> Survey:
    """Return what is shown of all heads before one is chosen."""
    n_layers, n_heads, n_queries, n_keys = maps.shape
    rows, columns = some_rows(n_queries, most_rows), np.arange(n_keys)
    table = {name: np.zeros((n_layers, n_heads)) for name in ("entropy", "max", "sink", "distance", "self", "previous")}
    side = min(side, n_keys)
    bands, starts = rows * side // n_queries, np.arange(side) * n_keys // side
    thumbnails = np.zeros((n_layers, n_heads, side, side), dtype=np.float32)
    for layer, kept in enumerate(maps.layers):
        for head in range(n_heads):
            weights = rows_of(kept, head, rows)
            real = np.flatnonzero(weights.sum(axis=-1) > 0)
            if not len(real):
                continue
            found = weights[real]
            asked = rows[real]
            table["entropy"][layer, head] = -(found * np.log(np.where(found > 0, found, 1.0))).sum(-1).mean()
            table["max"][layer, head] = found.max(-1).mean()
            table["sink"][layer, head] = found[:, 0].mean()
            # |key - query| without an array of the size of the map: the weight on each distance, row by row.
            table["distance"][layer, head] = np.mean(
                [row @ np.abs(columns - at) for row, at in zip(found, asked, strict=True)]
            )
            table["self"][layer, head] = found[np.arange(len(asked)), asked].mean()
            has_previous = asked > 0
            before = found[has_previous, asked[has_previous] - 1]
            table["previous"][layer, head] = before.mean() if len(before) else 0.0
            pooled = np.maximum.reduceat(weights, starts, axis=1)
            np.maximum.at(thumbnails[layer, head], bands, pooled)
    return Survey(table, thumbnails, rows)


def change(before: Layers, after: Layers, most_rows: int = MOST_ROWS) -> np.ndarray:
    """Return how much each head changed on some rows: the Jensen-Shannon divergence in nats, [layer, head]."""
    rows = some_rows(before.shape[-2], most_rows)
    return np.stack(
        [
            [js_divergence(*(rows_of(state, head, rows)[None, None] for state in pair))[0, 0]
             for head in range(before.shape[1])]
            for pair in zip(before.layers, after.layers, strict=True)
        ]
    )  # fmt: skip


class Tiles:
    """One head as tiles of TILE x TILE: of level 0 exact, of level n the strongest of 2^n x 2^n cells, or their mean.

    head: anything that gives float32 for [rows, columns]; of a difference the cell furthest from 0 is the strongest.
    Tiles are kept up to `cache_bytes`, the ones used last. `tile` may be called from several threads.
    """

    def __init__(self, head: Any, cache_bytes: int = CACHE_BYTES, mean: bool = False) -> None:
        self.head, self.shape, self._budget, self._mean = head, head.shape, cache_bytes, mean
        self.n_levels = 1 + max(0, int(np.ceil(np.log2(max(max(self.shape), 1) / TILE))))
        self._kept: OrderedDict[tuple[int, int, int], np.ndarray] = OrderedDict()
        self._bytes, self._lock = 0, threading.Lock()

    def preview(self) -> np.ndarray:
        """Return the whole head from some of its rows, float32 of at most TILE x TILE: what stands there first."""
        rows = some_rows(self.shape[0], TILE)
        starts = np.arange(min(TILE, self.shape[1])) * self.shape[1] // min(TILE, self.shape[1])
        found = np.stack([np.asarray(self.head[int(row), :], dtype=np.float32) for row in rows])
        return _pooled(found, starts, 1, self._mean)

    def known(self, level: int, row: int, column: int) -> np.ndarray | None:
        """Return a tile if it is there without computing."""
        with self._lock:
            found = self._kept.get((level, row, column))
            if found is not None:
                self._kept.move_to_end((level, row, column))
            return found

    def tile(self, level: int, row: int, column: int) -> np.ndarray:
        """Return a tile, float32; those at the lower and right edge may be smaller."""
        found = self.known(level, row, column)
        if found is None:
            found = self._made(level, row, column)
            with self._lock:
                self._kept[level, row, column] = found
                self._bytes += found.nbytes
                while self._bytes > self._budget and len(self._kept) > 1:
                    self._bytes -= self._kept.popitem(last=False)[1].nbytes
        return found

    def _made(self, level: int, row: int, column: int) -> np.ndarray:
        step = 1 << level
        n_queries, n_keys = self.shape
        first, last = row * TILE * step, min(n_queries, (row + 1) * TILE * step)
        columns = slice(column * TILE * step, min(n_keys, (column + 1) * TILE * step))
        if not level:
            return np.asarray(self.head[first:last, columns], dtype=np.float32)
        height = max(step, _STRIP // (columns.stop - columns.start) // step * step)
        strips = [
            _patches(np.asarray(self.head[start : min(last, start + height), columns]), step, self._mean)
            for start in range(first, last, height)
        ]
        return np.concatenate(strips)

    @property
    def n_bytes(self) -> int:
        """Bytes of the tiles that are kept."""
        return self._bytes


def _patches(part: np.ndarray, step: int, mean: bool) -> np.ndarray:
    for axis in (0, 1):
        part = _pooled(part, np.arange(0, part.shape[axis], step), axis, mean)
    return part.astype(np.float32, copy=False)


def _pooled(values: np.ndarray, starts: np.ndarray, axis: int, mean: bool) -> np.ndarray:
    """Return values [row, column] with one axis cut at `starts`, of each piece the cell furthest from 0 or the mean."""
    if mean:
        counts = np.diff(np.append(starts, values.shape[axis])).astype(np.float32)
        sums = np.add.reduceat(values, starts, axis=axis)
        return sums / (counts[:, None] if axis == 0 else counts)
    highest, lowest = (of.reduceat(values, starts, axis=axis) for of in (np.maximum, np.minimum))
    return np.where(-lowest > highest, lowest, highest)


class Head:
    """One head of maps that are not in memory, indexed [rows, columns] by slices or numbers; minus another if given."""

    def __init__(self, layer: QueryKeys | np.ndarray, head: int, less: QueryKeys | np.ndarray | None = None) -> None:
        self._layer, self._head, self._less = layer, head, less
        self.shape = layer.shape[-2:]

    @property
    def size(self) -> int:
        return self.shape[0] * self.shape[1]

    def __getitem__(self, index: tuple) -> np.ndarray:
        found = self._layer[self._head, *index]
        return found if self._less is None else found - self._less[self._head, *index]
