"""What is drawn of maps as lines: words instead of their pieces, and only the strongest looks; numpy only."""

from __future__ import annotations

import numpy as np


def by_words(weights: np.ndarray, queries: np.ndarray, keys: np.ndarray) -> np.ndarray:
    """Return weights [..., query, key] by words, of which `queries` and `keys` are the first tokens.

    Of keys the sum, of queries the mean, so that a row's sum stays what it is.
    """
    n_tokens = np.diff(np.append(queries, weights.shape[-2]))
    summed = np.add.reduceat(weights, keys, axis=-1)
    return np.add.reduceat(summed, queries, axis=-2) / n_tokens[:, None].astype(weights.dtype)


def strongest(weights: np.ndarray, share: float) -> np.ndarray:
    """Return which weights to draw, bool [..., query, key]: of each row the strongest that make up `share` of it.

    The share is of the row's sum of sizes, 0 to 1; the one that reaches it is kept (Hoover et al. 2020, exBERT).
    Nothing is 0; a share of 1 keeps all others.
    """
    sizes = np.abs(weights)
    order = np.argsort(-sizes, axis=-1, kind="stable")
    ordered = np.take_along_axis(sizes, order, axis=-1).astype(np.float64)
    before = np.cumsum(ordered, axis=-1) - ordered
    # A hair below the whole: of a share of 1, rounding must not drop the last.
    kept = (before < share * ordered.sum(axis=-1, keepdims=True) * (1 - 1e-9)) & (ordered > 0)
    if share >= 1:
        kept = ordered > 0
    mask = np.zeros(weights.shape, dtype=bool)
    np.put_along_axis(mask, order, kept, axis=-1)
    return mask


def edges(
    weights: np.ndarray, share: float = 1.0, least: float = 0.0, most: int = 0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return what is drawn of weights [query, key]: queries, keys and weights, the weakest first.

    least: weights below it, by size, can't be seen. most: at most so many, the strongest; 0 for all.
    """
    queries, keys = np.nonzero(strongest(weights, share) & (np.abs(weights) >= least))
    found = weights[queries, keys]
    order = np.argsort(np.abs(found), kind="stable")[-most if most else None :]
    return queries[order], keys[order], found[order]
