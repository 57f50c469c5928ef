"""Saved attention maps, read and reduced to what a page shows; numpy only, for the window imports it.

Arrays are [layer, head, query, key]; a row is the token that looks, a column the token looked at. Rows that sum to
zero belong to padding and count nowhere.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from studio.attention.qk import MAP_FROM_BYTES, Layers, read_layers

LN_2 = float(np.log(2.0))
_SHADES = 1 << 14  # that colours are told apart by


@dataclass(frozen=True, eq=False)
class SavedCapture:
    """What `capture.save` wrote: `maps` by kind (attention, or encoder, decoder, cross), the tokens, the checks.

    Long texts have `Layers` instead of arrays: indexed in the same way, computed when looked at.
    `facts` is the whole of `tokens.json`: ids, special flags, word ids, text, modules, probabilities.
    """

    maps: dict[str, np.ndarray | Layers]
    tokens: list[str]
    facts: dict[str, Any]
    checks: dict[str, Any]


def load(directory: Path) -> SavedCapture:
    """Return a saved capture; large maps stay in the file and are read as they are used.

    Raises FileNotFoundError where a file is missing, ValueError where one is damaged.
    """
    directory = Path(directory)
    try:
        facts = json.loads((directory / "tokens.json").read_text(encoding="utf-8"))
        checks = json.loads((directory / "checks.json").read_text(encoding="utf-8"))
        maps = _read_arrays(directory / "attention.npz") | read_layers(directory)
        return SavedCapture(maps, facts["tokens"], facts, checks)
    except (zipfile.BadZipFile, KeyError, EOFError) as error:
        raise ValueError(f"{directory}: {error}") from error


def difference(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Return after - before; raises ValueError where the shapes differ (other tokens, another model)."""
    _same_shape(before, after)
    return np.subtract(after, before)


def entropy(attention: np.ndarray) -> np.ndarray:
    """Return the entropy of each row in nats, [..., query]: ln(n_keys) for an even look, 0 for a single key."""
    return -_times_log(attention, attention).sum(axis=-1)


def js_divergence(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return how much each head changed: the Jensen-Shannon divergence of two maps in nats, [layer, head].

    The mean over the rows that both maps have; symmetric, 0 for equal maps, at most ln 2 (Lin 1991).
    """
    _same_shape(a, b)
    result = np.empty(a.shape[:2])
    for layer in range(len(a)):
        p, q = a[layer].astype(np.float64), b[layer].astype(np.float64)
        middle = (p + q) / 2
        rows = (_relative(p, middle) + _relative(q, middle)).sum(axis=-1) / 2
        result[layer] = _mean_over_rows(rows, (p.sum(axis=-1) > 0) & (q.sum(axis=-1) > 0))
    return np.clip(result, 0.0, LN_2)


def head_statistics(attention: np.ndarray, same_tokens: bool = True) -> dict[str, np.ndarray]:
    """Return a table of all heads: name of the statistic → [layer, head], each the mean over the rows.

    `entropy` in nats, `max` the largest weight of a row, `sink` the weight on the first token; where queries and
    keys are the same tokens also `distance` in tokens, and the weights on the `previous` token and on `self`.
    """
    table: dict[str, list[np.ndarray]] = {}
    n_queries, n_keys = attention.shape[-2:]
    steps = np.abs(np.arange(n_queries)[:, None] - np.arange(n_keys)[None, :]).astype(np.float32)
    for layer in attention:
        real = layer.sum(axis=-1) > 0
        rows = {"entropy": entropy(layer), "max": layer.max(axis=-1), "sink": layer[..., 0]}
        if same_tokens and n_queries == n_keys:
            rows["distance"] = np.einsum("hqk,qk->hq", layer, steps)
            rows["self"] = np.diagonal(layer, axis1=-2, axis2=-1)
            previous = np.diagonal(layer, offset=-1, axis1=-2, axis2=-1)
            table.setdefault("previous", []).append(_mean_over_rows(previous, real[:, 1:]))
        for name, values in rows.items():
            table.setdefault(name, []).append(_mean_over_rows(values, real))
    return {name: np.stack(layers) for name, layers in table.items()}


def head_order(values: np.ndarray, descending: bool = True) -> np.ndarray:
    """Return the flat indices (layer * n_heads + head) of all heads, sorted by `values` [layer, head]."""
    flat = np.asarray(values).ravel()
    return np.argsort(-flat if descending else flat, kind="stable")


def atlas(
    attention: np.ndarray, size: int, mean: bool = False, per_head: bool = False, order: np.ndarray | None = None
) -> np.ndarray:
    """Return all heads as one picture of thumbnails, float32 [n_layers * size, n_heads * size].

    Larger maps are pooled by their largest value (of a difference: the one furthest from 0), which keeps single
    cells in sight, or by their `mean`; smaller ones are repeated. `per_head` divides each thumbnail by its largest
    value. `order` (see `head_order`) fills the places from left to right, then downwards; without it a row is a
    layer.
    """
    n_layers, n_heads = attention.shape[:2]
    thumbnails = np.concatenate([_pooled(layer, size, mean) for layer in attention])
    if per_head:
        largest = np.abs(thumbnails).max(axis=(1, 2), keepdims=True)
        thumbnails = thumbnails / np.where(largest > 0, largest, 1.0)
    if order is not None:
        thumbnails = thumbnails[order]
    grid = thumbnails.reshape(n_layers, n_heads, size, size).swapaxes(1, 2)
    return np.ascontiguousarray(grid.reshape(n_layers * size, n_heads * size), dtype=np.float32)


def to_rgb(
    values: np.ndarray, lookup: np.ndarray, low: float = 0.0, high: float = 1.0, gamma: float = 1.0
) -> np.ndarray:
    """Return the colours of `values` as uint32 0xffRRGGBB, ready to be the memory of an RGB32 picture.

    `lookup` holds the colours from `low` to `high` (uint32, any length); values outside take the end colours.
    A `gamma` below 1 lifts small values; for a diverging map give low = -high and gamma 1. NaN takes the first.
    """
    # The curve bends a table of shades, not every value: a power of a million cells takes longer than a frame.
    shades = np.linspace(0.0, 1.0, _SHADES, dtype=np.float32) ** np.float32(gamma)
    table = np.asarray(lookup, dtype=np.uint32)[(shades * (len(lookup) - 1) + 0.5).astype(np.intp)]
    places = np.asarray(values, dtype=np.float32) * np.float32((_SHADES - 1) / max(high - low, 1e-12))
    places += np.float32(0.5 - low * (_SHADES - 1) / max(high - low, 1e-12))
    places = np.fmin(np.fmax(places, 0.0), _SHADES - 1)  # which make of NaN the first
    return np.take(table, places.astype(np.uint16))


def csv_rows(matrix: np.ndarray, query_tokens: list[str], key_tokens: list[str]) -> Iterator[list[str]]:
    """Yield the rows of a matrix [query, key] with tokens at top and left; numbers read back as the same float32."""
    if matrix.shape != (len(query_tokens), len(key_tokens)):
        raise ValueError(f"{matrix.shape} does not fit {len(query_tokens)} x {len(key_tokens)} tokens")
    yield ["query \\ key", *key_tokens]
    for token, row in zip(query_tokens, matrix, strict=True):
        yield [token, *(f"{value:.9g}" for value in np.asarray(row).tolist())]


def _same_shape(a: np.ndarray, b: np.ndarray) -> None:
    if a.shape != b.shape:
        raise ValueError(f"maps of shape {a.shape} and {b.shape} can't be compared")


def _times_log(weights: np.ndarray, of: np.ndarray) -> np.ndarray:
    """Return weights * ln(of), with 0 ln 0 = 0."""
    return weights * np.log(np.where(of > 0, of, 1.0))


def _relative(p: np.ndarray, middle: np.ndarray) -> np.ndarray:
    """Return p ln(p / middle), 0 where p is 0; middle is never 0 there."""
    return p * np.log(np.where(p > 0, p, 1.0) / np.where(p > 0, middle, 1.0))


def _mean_over_rows(values: np.ndarray, real: np.ndarray) -> np.ndarray:
    """Return the mean of values [head, query] over the real rows, [head]; 0 where there is none."""
    return (values * real).sum(axis=-1) / np.maximum(real.sum(axis=-1), 1)


def _pooled(layer: np.ndarray, size: int, mean: bool) -> np.ndarray:
    """Return [head, size, size]; where an axis is shorter than `size`, reduceat repeats its cells."""
    pooled = np.asarray(layer, dtype=np.float32)
    for axis in (1, 2):
        length = pooled.shape[axis]
        starts = np.arange(size) * length // size
        if mean:
            counts = np.maximum(np.diff(np.append(starts, length)), 1).astype(np.float32)
            pooled = np.add.reduceat(pooled, starts, axis=axis)
            pooled = pooled / (counts[None, :, None] if axis == 1 else counts[None, None, :])
        else:
            highest, lowest = (part.reduceat(pooled, starts, axis=axis) for part in (np.maximum, np.minimum))
            pooled = np.where(-lowest > highest, lowest, highest)
    return pooled


def _read_arrays(path: Path) -> dict[str, np.ndarray]:
    if path.stat().st_size >= MAP_FROM_BYTES:
        return _mapped_arrays(path)
    with np.load(path, allow_pickle=False) as arrays:
        return {name: arrays[name] for name in arrays.files}


def _mapped_arrays(path: Path) -> dict[str, np.ndarray]:
    """Return the arrays of an uncompressed npz as memory maps, which np.load can't do."""
    arrays = {}
    with zipfile.ZipFile(path) as archive, path.open("rb") as file:
        for member in archive.infolist():
            if member.compress_type != zipfile.ZIP_STORED:
                raise ValueError(f"{path} is compressed")
            # A local file header: 30 bytes, the lengths of name and extra field in the last four.
            file.seek(member.header_offset + 26)
            file.seek(int.from_bytes(file.read(2), "little") + int.from_bytes(file.read(2), "little"), 1)
            np.lib.format.read_magic(file)
            shape, fortran_order, dtype = np.lib.format.read_array_header_1_0(file)
            arrays[member.filename.removesuffix(".npy")] = np.memmap(
                path, dtype, "r", file.tell(), shape, "F" if fortran_order else "C"
            )
    return arrays
