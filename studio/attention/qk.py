"""Queries and keys instead of maps: any head and any tile computed when it is looked at; numpy only.

A map of 32,768 tokens takes 4 GiB a head, its queries and keys 16 MiB. With the log of the sum of exponentials of
each row (LSE), every cell stands alone: A_ij = exp(scale * q_i * k_j + m_ij - LSE_i).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from studio.core.files import write_json

INDEX = "layers.json"
# Fewer bytes are read whole: a mapped file can't be replaced or deleted on Windows.
MAP_FROM_BYTES = 64 << 20


@dataclass(frozen=True, eq=False)
class Mask:
    """What is added to the scores, and which keys no query may look at.

    `band` are the smallest and largest key - query, `keys` is bool [key]; what they can't say stands in `table`:
    bool (may look) or float32 (added; half of float32's smallest number and below is never) [1 or head, query, key].
    """

    band: tuple[int, int] | None = None
    keys: np.ndarray | None = None
    table: np.ndarray | None = None

    def columns(self, rows: slice, n_keys: int) -> slice:
        """Return the keys that any of the rows may look at."""
        if self.band is None:
            return slice(0, n_keys)
        first = min(max(0, rows.start + self.band[0]), n_keys)
        return slice(first, min(max(first, rows.stop + self.band[1]), n_keys))

    def block(
        self, heads: slice, rows: slice | np.ndarray, columns: slice
    ) -> tuple[np.ndarray | None, np.ndarray | None]:
        """Return which keys may be looked at and what is added, each [1 or head, row, column] or None."""
        allowed = added = None
        if self.band is not None:
            asked = np.arange(rows.start, rows.stop) if isinstance(rows, slice) else rows
            steps = np.arange(columns.start, columns.stop)[None] - asked[:, None]
            allowed = ((steps >= self.band[0]) & (steps <= self.band[1]))[None]
        if self.keys is not None:
            real = self.keys[None, None, columns]
            allowed = real if allowed is None else allowed & real
        if self.table is not None:
            table = self.table[heads if len(self.table) > 1 else slice(None), rows, columns]
            here = table if table.dtype == bool else table > np.finfo(np.float32).min / 2
            allowed = here if allowed is None else allowed & here
            added = None if table.dtype == bool else table
        return allowed, added


@dataclass(frozen=True, eq=False)
class QueryKeys:
    """One layer's attention: `query` [head, query, d], `key` [key head, key, d] after RoPE, `lse` [head, query].

    Indexed like the map [head, query, key] that it stands for; every index computes what it asks for, float32.
    Several heads may share a key head. A query that may look at nothing has LSE +inf, and a row of zeros.
    """

    query: np.ndarray
    key: np.ndarray
    lse: np.ndarray
    scale: float
    mask: Mask = Mask()

    @property
    def shape(self) -> tuple[int, int, int]:
        return (*self.query.shape[:2], self.key.shape[1])

    def scores(self, head: int, rows: slice | np.ndarray, columns: slice) -> np.ndarray:
        """Return scale * q_i * k_j in float64, [row, column], before anything is added."""
        key = self.key[head * len(self.key) // len(self.query)]
        # In float64: rounding of large scores would otherwise show in the weights.
        return (self.query[head, rows].astype(np.float64) * self.scale) @ key[columns].astype(np.float64).T

    def tile(self, head: int, rows: slice, columns: slice) -> np.ndarray:
        """Return a part of one head's map, float32 [row, column]."""
        rows, columns = (slice(*s.indices(n)[:2]) for s, n in ((rows, self.shape[1]), (columns, self.shape[2])))
        return self._weights(head, rows, columns)

    def rows(self, head: int, rows: np.ndarray) -> np.ndarray:
        """Return some rows of one head's map, float32 [row, key]."""
        return self._weights(head, rows, slice(0, self.shape[2]))

    def _weights(self, head: int, rows: slice | np.ndarray, columns: slice) -> np.ndarray:
        scores = self.scores(head, rows, columns)
        allowed, added = self.mask.block(slice(head, head + 1), rows, columns)
        if added is not None:
            scores += added[0]
        scores -= self.lse[head, rows, None]
        weights = scores.astype(np.float32)
        if allowed is not None:
            weights[~np.broadcast_to(allowed[0], weights.shape)] = -np.inf
        return np.exp(weights, out=weights)

    def __len__(self) -> int:
        return len(self.query)

    def __getitem__(self, index: Any) -> np.ndarray:
        if not isinstance(index, tuple):
            index = (index,)
        head, *rest = index
        if not isinstance(head, int | np.integer):
            return np.asarray(self)[index]
        rows, columns = (*rest, slice(None), slice(None))[:2]
        if all(isinstance(part, slice) and part.step in (None, 1) for part in (rows, columns)):
            return self.tile(int(head), rows, columns)
        if isinstance(rows, int | np.integer):
            row = int(rows) % self.shape[1]
            return self.tile(int(head), slice(row, row + 1), slice(None))[0][columns]
        return self.tile(int(head), slice(None), slice(None))[rows, columns]

    def __iter__(self) -> Iterator[np.ndarray]:
        return (self[head] for head in range(len(self)))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        whole = np.stack(list(self))
        return whole if dtype is None else whole.astype(dtype, copy=False)


class Layers:
    """Maps that are not one array: indexed like [layer, head, query, key], each layer a map or QueryKeys.

    Iterating gives one layer's full map at a time; for long texts ask for heads and tiles instead.
    """

    ndim = 4
    dtype = np.dtype(np.float32)

    def __init__(self, layers: list[np.ndarray | QueryKeys]):
        self.layers = layers

    @property
    def shape(self) -> tuple[int, int, int, int]:
        return (len(self.layers), *self.layers[0].shape)

    @property
    def size(self) -> int:
        return int(np.prod(self.shape, dtype=np.int64))

    def __len__(self) -> int:
        return len(self.layers)

    def __getitem__(self, index: Any) -> np.ndarray:
        first, *rest = index if isinstance(index, tuple) else (index,)
        if not isinstance(first, int | np.integer):
            return np.asarray(self)[index]
        return self.layers[first][tuple(rest)] if rest else np.asarray(self.layers[first])

    def __iter__(self) -> Iterator[np.ndarray]:
        return (np.asarray(layer) for layer in self.layers)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        whole = np.stack(list(self))
        return whole if dtype is None else whole.astype(dtype, copy=False)


def write_layers(directory: Path, kinds: Mapping[str, Layers]) -> None:
    """Write layers as one .npy file an array and `layers.json`, which comes last.

    Arrays that already lie in the folder, written during the capture, stay where they are.
    """
    names: dict[int, str] = {}

    def place(array: np.ndarray | None, name: str) -> str | None:
        if array is None:
            return None
        if id(array) not in names:
            own = Path(array.filename) if isinstance(array, np.memmap) else None
            if own is not None and own.parent == directory:
                names[id(array)] = own.name
            else:
                names[id(array)] = f"{name}.npy"
                np.save(directory / f"{name}.npy", array)
        return names[id(array)]

    index: dict[str, list[dict[str, Any]]] = {}
    for kind, maps in kinds.items():
        for number, layer in enumerate(maps.layers):
            name = f"{kind}-{number}"
            if isinstance(layer, QueryKeys):
                facts = {part: place(getattr(layer, part), f"{name}-{part}") for part in ("query", "key", "lse")}
                mask = {part: place(getattr(layer.mask, part), f"{name}-{part}") for part in ("keys", "table")}
                facts |= {"scale": layer.scale, "band": layer.mask.band} | mask
            else:
                facts = {"map": place(layer, name)}
            index.setdefault(kind, []).append(facts)
    write_json(directory / INDEX, index)


def read_layers(directory: Path) -> dict[str, Layers]:
    """Return what `write_layers` wrote, as memory maps where that is much; nothing where there is none."""
    if not (directory / INDEX).is_file():
        return {}
    opened: dict[str, np.ndarray] = {}
    mode = "r" if sum(file.stat().st_size for file in directory.glob("*.npy")) >= MAP_FROM_BYTES else None

    def array(name: str | None) -> np.ndarray | None:
        if name is None:
            return None
        if Path(name).name != name:
            raise ValueError(f"{name!r} lies outside of {directory}")
        if name not in opened:
            opened[name] = np.load(directory / name, mmap_mode=mode, allow_pickle=False)
        return opened[name]

    def layer(facts: dict[str, Any]) -> np.ndarray | QueryKeys:
        if "map" in facts:
            return array(facts["map"])
        band = None if facts["band"] is None else tuple(facts["band"])
        mask = Mask(band, array(facts["keys"]), array(facts["table"]))
        return QueryKeys(array(facts["query"]), array(facts["key"]), array(facts["lse"]), facts["scale"], mask)

    index = json.loads((directory / INDEX).read_text(encoding="utf-8"))
    return {kind: Layers([layer(facts) for facts in layers]) for kind, layers in index.items()}
