"""One head from its vectors to its weights: queries, keys, scores, mask, softmax, values; numpy only."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from studio.attention.qk import Mask


@dataclass(frozen=True, eq=False)
class Row:
    """One query's way to its weights, each [key], float64: weights = softmax(scores * scale + added).

    `added` is what the mask (and a position bias) adds: -inf for a key that may not be looked at.
    """

    scores: np.ndarray
    scaled: np.ndarray
    added: np.ndarray
    weights: np.ndarray


@dataclass(frozen=True, eq=False)
class HeadVectors:
    """What one head computed with, float32: `query` [query, d], `key` [key, d] (both after rotation), `value` [key, d].

    `output` [query, d] is what the head passes on before the projection that all heads of the layer share. `ids` are
    the tokens, `extra` [token] those that the tokenizer added. `error` is how far the weights are from those of the
    model file's own formula, `output_error` how far weights times values are from the layer's real output (a share).
    """

    query: np.ndarray
    key: np.ndarray
    value: np.ndarray
    output: np.ndarray
    scale: float
    mask: Mask
    ids: np.ndarray
    extra: np.ndarray
    error: float = 0.0
    output_error: float = 0.0

    def row(self, query: int) -> Row:
        """Return how one query comes to its weights."""
        rows, columns = slice(query, query + 1), slice(0, len(self.key))
        scores = self.key.astype(np.float64) @ self.query[query].astype(np.float64)
        allowed, added = self.mask.block(slice(0, 1), rows, columns)
        plus = np.zeros(len(scores)) if added is None else added[0, 0].astype(np.float64)
        if allowed is not None:
            plus = np.where(np.broadcast_to(allowed[0, 0], plus.shape), plus, -np.inf)
        scaled = scores * self.scale
        return Row(scores, scaled, plus, softmax(scaled + plus))

    def kept(self, without_special: bool) -> np.ndarray:
        """Return the places of the tokens of a look, which may be without those that the tokenizer added."""
        places = np.flatnonzero(~self.extra)
        return places if without_special and len(places) else np.arange(len(self.extra))

    def save(self, target: Path | BinaryIO) -> None:
        """Write everything as one npz, to a path that ends so or into an open file."""
        mask = {"band": self.mask.band, "keys": self.mask.keys, "table": self.mask.table}
        arrays = {f"mask_{name}": np.asarray(part) for name, part in mask.items() if part is not None}
        names = ("query", "key", "value", "output", "scale", "ids", "extra", "error", "output_error")
        np.savez(target, **{name: np.asarray(getattr(self, name)) for name in names}, **arrays)


def load_vectors(path: Path) -> HeadVectors:
    """Return what `HeadVectors.save` wrote. Raises OSError or ValueError where that is gone or damaged."""
    with np.load(path, allow_pickle=False) as arrays:
        found = {name: arrays[name] for name in arrays.files}
    mask = {name.removeprefix("mask_"): found.pop(name) for name in [*found] if name.startswith("mask_")}
    if "band" in mask:
        mask["band"] = tuple(int(end) for end in mask["band"])
    numbers = {name: float(found.pop(name)) for name in ("scale", "error", "output_error")}
    return HeadVectors(**found, **numbers, mask=Mask(**mask))


def softmax(scores: np.ndarray) -> np.ndarray:
    """Return exp(scores) over their sum; zeros where every score is -inf."""
    largest = scores.max(initial=-np.inf)
    if largest == -np.inf:
        return np.zeros_like(scores)
    powers = np.exp(scores - largest)
    return powers / powers.sum()
