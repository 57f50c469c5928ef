"""Which heads do what: named patterns, painted ones, and how much of its weight a head puts on them; numpy only.

A pattern is bool (or painted, 0 to 1) [query, key]; a row without any cell of the pattern counts nowhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from studio.attention.qk import Layers

LOCAL = 3  # tokens to each side


def patterns(ids: Sequence[int], special: Sequence[bool] = ()) -> dict[str, np.ndarray]:
    """Return the named patterns of a text's tokens: name → bool [query, key].

    `previous`, `next`, `self`, `first`, `special` (the special tokens but the first), `same token` (elsewhere),
    `induction` (the token after an earlier one of the same kind: Olsson et al. 2022) and `local`.
    """
    ids = np.asarray(ids)
    n_tokens = len(ids)
    steps = np.arange(n_tokens)[None] - np.arange(n_tokens)[:, None]
    same = ids[:, None] == ids[None]
    induction = np.zeros((n_tokens, n_tokens), dtype=bool)
    induction[:, 1:] = same[:, :-1] & (steps[:, :-1] < 0)
    found = {
        "previous": steps == -1,
        "next": steps == 1,
        "self": steps == 0,
        "first": np.broadcast_to(np.arange(n_tokens) == 0, steps.shape),
        "same token": same & (steps != 0),
        "induction": induction,
        "local": np.abs(steps) <= LOCAL,
    }
    if any(special):
        found["special"] = np.broadcast_to(np.asarray(special, dtype=bool) & (np.arange(n_tokens) > 0), steps.shape)
    return found


def block(n_tokens: int, queries: Iterable[int], keys: Iterable[int]) -> np.ndarray:
    """Return the pattern of one group of tokens that looks at another, bool [query, key]."""
    pattern = np.zeros((n_tokens, n_tokens), dtype=bool)
    pattern[np.ix_(list(queries), list(keys))] = True
    return pattern


def search(attention: np.ndarray | Layers, pattern: np.ndarray) -> np.ndarray:
    """Return how much weight each head puts on a pattern, [layer, head] from 0 to 1.

    The mean over the pattern's rows of the weight on its cells; where a row is painted in shades, these are divided
    by its strongest. Rows of padding count nowhere; 0 where no row counts.
    """
    if pattern.shape != tuple(attention.shape[-2:]):
        raise ValueError(f"a pattern of {pattern.shape} does not fit maps of {tuple(attention.shape[-2:])}")
    strongest = pattern.max(axis=1, keepdims=True).astype(np.float64)
    shades = np.divide(pattern, strongest, out=np.zeros(pattern.shape), where=strongest > 0).astype(np.float32)
    painted = strongest[:, 0] > 0
    scores = []
    for layer in attention:
        rows = np.einsum("hqk,qk->hq", layer, shades)
        counted = painted & (layer.sum(axis=-1) > 0)
        scores.append((rows * counted).sum(axis=-1) / np.maximum(counted.sum(axis=-1), 1))
    return np.stack(scores)


def uniformity(attention: np.ndarray | Layers) -> np.ndarray:
    """Return how evenly each head looks over the keys it looks at at all, [layer, head]: entropy / ln n_keys.

    1 for an even look. Rows with a single key say nothing and count nowhere; 0 where no row counts.
    """
    scores = []
    for layer in attention:
        entropies = -(layer * np.log(np.where(layer > 0, layer, 1.0))).sum(axis=-1)
        n_keys = (layer > 0).sum(axis=-1)
        counted = n_keys > 1
        shares = np.divide(entropies, np.log(np.maximum(n_keys, 2)), where=counted, out=np.zeros_like(entropies))
        scores.append(shares.sum(axis=-1) / np.maximum(counted.sum(axis=-1), 1))
    return np.stack(scores)
