"""Which heads do what: named patterns, painted ones, and how much of its weight a head puts on them; numpy only.

A pattern is bool (or painted, 0 to 1) [query, key]; a row without any cell of the pattern counts nowhere.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from studio.attention.qk import Layers, QueryKeys

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


def search(
    attention: np.ndarray | Layers, pattern: np.ndarray, tell: Callable[[int, int], None] | None = None
) -> np.ndarray:
    """Return how much weight each head puts on a pattern, [layer, head] from 0 to 1.

    The mean over the pattern's rows of the weight on its cells; where a row is painted in shades, these are divided
    by its strongest. Cells that a layer's mask forbids are no part of it, rows of padding count nowhere; 0 where no
    row counts. tell: called with the heads that are done and all of them; what it raises ends the search.
    """
    _require_fit(attention, pattern)
    done, scores = 0, []
    for layer in _layers(attention):
        shades = _shades(pattern, seen(layer))
        painted = shades.any(axis=1)
        scores.append(np.zeros(layer.shape[0]))
        for head, weights in enumerate(layer):
            counted = painted & (weights.sum(axis=-1) > 0)
            rows = np.einsum("qk,qk->q", weights, shades)
            scores[-1][head] = (rows * counted).sum() / max(counted.sum(), 1)
            done += 1
            if tell is not None:
                tell(done, attention.shape[0] * attention.shape[1])
    return np.stack(scores)


def even(attention: np.ndarray | Layers, pattern: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return what `search` would say of a head that looks evenly at all it may see, and over how many rows; [layer]."""
    _require_fit(attention, pattern)
    scores, n_rows = [], []
    for layer in _layers(attention):
        allowed = seen(layer)
        shades = _shades(pattern, allowed)
        counted = shades.any(axis=1)
        rows = shades.sum(axis=1) / np.maximum(allowed.sum(axis=1), 1)
        scores.append(rows[counted].mean() if counted.any() else 0.0)
        n_rows.append(int(counted.sum()))
    return np.array(scores), np.array(n_rows)


def seen(layer: np.ndarray | QueryKeys) -> np.ndarray:
    """Return which keys each query of a layer may look at, bool [query, key]: all, those before it, those near it.

    Told from a layer's mask, or from its weights [head, query, key]: how far to each side any of them reaches, and
    which rows and columns are empty.
    """
    if isinstance(layer, QueryKeys):
        allowed, _ = layer.mask.block(slice(None), *(slice(0, n) for n in layer.shape[1:]))
        seen_by_any = np.ones((1, 1, 1), dtype=bool) if allowed is None else allowed.any(axis=0, keepdims=True)
        return np.broadcast_to(seen_by_any[0], layer.shape[1:]) & np.isfinite(layer.lse).any(axis=0)[:, None]
    used = np.zeros(layer.shape[1:], dtype=bool)
    for weights in layer:
        used |= weights > 0
    if not used.any():
        return used
    queries, keys = np.nonzero(used)
    steps = np.arange(used.shape[1])[None] - np.arange(used.shape[0])[:, None]
    reach = (steps >= (keys - queries).min()) & (steps <= (keys - queries).max())
    return reach & used.any(axis=1)[:, None] & used.any(axis=0)[None]


def seen_by_any(attention: np.ndarray | Layers) -> np.ndarray:
    """Return which keys each query may look at in any layer, bool [query, key]."""
    return np.logical_or.reduce([seen(layer) for layer in _layers(attention)])


def uniformity(attention: np.ndarray | Layers, tell: Callable[[int, int], None] | None = None) -> np.ndarray:
    """Return how evenly each head looks over the keys it looks at at all, [layer, head]: entropy / ln n_keys.

    1 for an even look. Rows with a single key say nothing and count nowhere; 0 where no row counts. tell: as for
    `search`.
    """
    done, scores = 0, []
    for layer in _layers(attention):
        scores.append(np.zeros(layer.shape[0]))
        for head, weights in enumerate(layer):
            entropies = -(weights * np.log(np.where(weights > 0, weights, 1.0))).sum(axis=-1)
            n_keys = (weights > 0).sum(axis=-1)
            counted = n_keys > 1
            shares = np.divide(entropies, np.log(np.maximum(n_keys, 2)), where=counted, out=np.zeros_like(entropies))
            scores[-1][head] = shares.sum() / max(counted.sum(), 1)
            done += 1
            if tell is not None:
                tell(done, attention.shape[0] * attention.shape[1])
    return np.stack(scores)


def _layers(attention: np.ndarray | Layers) -> Iterable[Any]:
    """Return the layers, each to be asked head by head: a whole layer of a long text would not fit into memory."""
    return attention.layers if isinstance(attention, Layers) else attention


def _require_fit(attention: np.ndarray | Layers, pattern: np.ndarray) -> None:
    if pattern.shape != tuple(attention.shape[-2:]):
        raise ValueError(f"a pattern of {pattern.shape} does not fit maps of {tuple(attention.shape[-2:])}")


def _shades(pattern: np.ndarray, allowed: np.ndarray) -> np.ndarray:
    """Return a pattern's cells that are allowed, float32, each row divided by its strongest."""
    shades = np.where(allowed, pattern, 0).astype(np.float32)
    strongest = shades.max(axis=1, keepdims=True)
    return np.divide(shades, strongest, out=shades, where=strongest > 0)
