"""What tokens are worth to a prediction, alone and together: Shapley, LIME and the curves of faithfulness; numpy only.

A value function takes coalitions, bool [coalition, token] (True: the token stays), and returns a float for each.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

Value = Callable[[np.ndarray], np.ndarray]
MOST_EXACT = 16  # tokens: 65,536 coalitions


def every_coalition(n_tokens: int) -> np.ndarray:
    """Return all subsets of the tokens, bool [2 ** n_tokens, token]; the row number's bits are the tokens."""
    if n_tokens > MOST_EXACT:
        raise ValueError(f"{n_tokens} tokens have too many coalitions; at most {MOST_EXACT}")
    return (np.arange(2**n_tokens)[:, None] >> np.arange(n_tokens) & 1).astype(bool)


def shapley(value: Value, n_tokens: int) -> np.ndarray:
    """Return each token's exact Shapley value, [token], from all coalitions (Shapley 1953)."""
    coalitions = every_coalition(n_tokens)
    values = np.asarray(value(coalitions), dtype=np.float64)
    sizes = coalitions.sum(axis=1)
    result = np.empty(n_tokens)
    for token in range(n_tokens):
        without = np.flatnonzero(~coalitions[:, token])
        weights = np.array([1.0 / (n_tokens * math.comb(n_tokens - 1, int(size))) for size in sizes[without]])
        result[token] = (weights * (values[without | 1 << token] - values[without])).sum()
    return result


def kernel_shap(value: Value, n_tokens: int, coalitions: np.ndarray | None = None) -> np.ndarray:
    """Return each token's KernelSHAP value, [token] (Lundberg & Lee 2017): exact when given all coalitions.

    The weighted least squares over `coalitions` (default: all), which sum up to value(all) - value(none) exactly.
    """
    if n_tokens == 1:
        return shapley(value, 1)
    coalitions = every_coalition(n_tokens) if coalitions is None else coalitions
    sizes = coalitions.sum(axis=1)
    inside = coalitions[(sizes > 0) & (sizes < n_tokens)].astype(np.float64)
    sizes = inside.sum(axis=1).astype(int)
    none, whole = value(np.array([[False] * n_tokens, [True] * n_tokens]))
    values = np.asarray(value(inside.astype(bool)), dtype=np.float64) - none
    weights = np.array([(n_tokens - 1) / (math.comb(n_tokens, s) * s * (n_tokens - s)) for s in sizes.tolist()])
    # The last token takes what the others leave of the whole.
    design = inside[:, :-1] - inside[:, -1:]
    root = np.sqrt(weights)[:, None]
    target = values - inside[:, -1] * (whole - none)
    first = np.linalg.lstsq(design * root, target * root[:, 0], rcond=None)[0]
    return np.append(first, whole - none - first.sum())


def lime(value: Value, n_tokens: int, n_samples: int = 1000, width: float = 0.25, seed: int = 0) -> np.ndarray:
    """Return each token's weight in a linear model of the prediction nearby, [token] (Ribeiro et al. 2016).

    Coalitions are drawn with `seed`, and weighted by exp(-d² / width²) of their cosine distance d to the text.
    """
    random = np.random.default_rng(seed)
    coalitions = random.random((n_samples, n_tokens)) < random.random((n_samples, 1))
    coalitions[0] = True
    values = np.asarray(value(coalitions), dtype=np.float64)
    distance = 1.0 - np.sqrt(coalitions.mean(axis=1))
    root = np.exp(-((distance / width) ** 2) / 2)[:, None]
    design = np.column_stack([coalitions, np.ones(n_samples)])
    return np.linalg.lstsq(design * root, values * root[:, 0], rcond=None)[0][:-1]


def occlusion(value: Value, n_tokens: int) -> np.ndarray:
    """Return what is lost when each token alone goes, [token]."""
    values = value(np.concatenate([np.ones((1, n_tokens), dtype=bool), ~np.eye(n_tokens, dtype=bool)]))
    return values[0] - np.asarray(values[1:])


def deletion(value: Value, scores: np.ndarray, steps: np.ndarray | None = None) -> np.ndarray:
    """Return the values as tokens go, the highest score first, [token + 1]: a faithful explanation falls early.

    steps: only after so many tokens, ascending, [step].
    """
    return np.asarray(value(~_taken(scores, steps)))


def insertion(value: Value, scores: np.ndarray, steps: np.ndarray | None = None) -> np.ndarray:
    """Return the values as tokens come, the highest score first, [token + 1]: a faithful explanation rises early.

    steps: only after so many tokens, ascending, [step].
    """
    return np.asarray(value(_taken(scores, steps)))


def area(curve: np.ndarray, steps: np.ndarray | None = None) -> float:
    """Return the mean height of a curve between its first and its last point; steps: where they lie, [point]."""
    where = np.arange(len(curve)) if steps is None else np.asarray(steps)
    return float(np.trapezoid(curve, where) / (where[-1] - where[0]))


def _taken(scores: np.ndarray, steps: np.ndarray | None = None) -> np.ndarray:
    """Return which tokens are taken after 0, 1, 2, … steps, bool [step, token]."""
    places = np.argsort(np.argsort(-np.asarray(scores), kind="stable"))
    return places[None] < np.asarray(np.arange(len(places) + 1) if steps is None else steps)[:, None]
