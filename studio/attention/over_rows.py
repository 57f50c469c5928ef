"""What heads do over many texts: a number of each head and text, its mean and spread, where it is highest; numpy only.

NaN stands where a text has nothing to measure, such as no token that comes twice; it counts nowhere.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from studio.attention import heads, maps
from studio.attention.qk import Layers
from studio.core.files import write_json

NUMBERS, ROWS = "numbers.npz", "rows.json"
CHANGE, BETWEEN = "change", "between"  # Jensen-Shannon divergence of before and after, and whose number that is
PATTERNS = ("next", "special", "same token", "induction", "local")  # `maps.head_statistics` has the others


def measure(attention: np.ndarray | Layers, ids: Sequence[int], special: Sequence[bool]) -> dict[str, np.ndarray]:
    """Return the numbers of all heads in one text by name, float32 [layer, head]: statistics, patterns, `uniform`."""
    found = maps.head_statistics(attention)
    patterns = heads.patterns(ids, special)
    nothing = np.full(attention.shape[:2], np.nan)
    for name in PATTERNS:
        pattern = patterns.get(name)
        is_there = pattern is not None and heads.even(attention, pattern)[1].any()
        found[name] = heads.search(attention, pattern) if is_there else nothing
    found["uniform"] = heads.uniformity(attention)
    return {name: np.asarray(values, dtype=np.float32) for name, values in found.items()}


def stack(rows: Sequence[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Return the numbers of many texts by name, [row, layer, head]. Raises ValueError without any row."""
    if not rows:
        raise ValueError("no rows")
    return {name: np.stack([row[name] for row in rows]) for name in rows[0]}


def mean_and_spread(values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the mean, the standard deviation (n - 1) and the number of rows that count, of values [row, …], over rows.

    Both are NaN where no row counts, the spread also where a single one does.
    """
    known = np.isfinite(values)
    n = known.sum(axis=0)
    numbers = np.where(known, values, 0.0).astype(np.float64)
    mean = np.divide(numbers.sum(axis=0), n, out=np.full(n.shape, np.nan), where=n > 0)
    squares = np.where(known, (numbers - np.where(n > 0, mean, 0.0)) ** 2, 0.0).sum(axis=0)
    return mean, np.sqrt(np.divide(squares, n - 1, out=np.full(n.shape, np.nan), where=n > 1)), n


def between_groups(values: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Return how much of the spread of values [row, …] lies between groups of rows, 0 to 1 (eta squared).

    groups [row]: which one a row is of, -1 for none. NaN where fewer than two groups count, or nothing is spread.
    """
    known = np.isfinite(values) & (groups >= 0).reshape(-1, *[1] * (values.ndim - 1))
    inside = np.where(known, values, np.nan)
    mean, spread, n = mean_and_spread(inside)
    total, between = np.where(n > 1, spread**2 * (n - 1), 0.0), np.zeros(n.shape)
    n_groups = np.zeros(n.shape, dtype=int)
    for group in np.unique(groups[groups >= 0]):
        own, _, n_own = mean_and_spread(inside[groups == group])
        between += np.where(n_own > 0, n_own * (own - mean) ** 2, 0.0)
        n_groups += n_own > 0
    return np.divide(between, total, out=np.full(n.shape, np.nan), where=(n_groups > 1) & (total > 0))


def strongest(values: np.ndarray, lowest: bool = False) -> np.ndarray:
    """Return the places of the rows that count, the highest (or lowest) of values [row] first; ties as they came."""
    known = np.flatnonzero(np.isfinite(values))
    return known[np.argsort(values[known] if lowest else -values[known], kind="stable")]


def save(directory: Path, by_state: dict[str, dict[str, np.ndarray]], rows: list[dict[str, Any]]) -> None:
    """Write the rows [{text, fields, index}] into `rows.json`, their numbers into `numbers.npz` as `state/name`."""
    directory.mkdir(parents=True, exist_ok=True)
    write_json(directory / ROWS, rows)
    arrays = {f"{state}/{name}": values for state, found in by_state.items() for name, values in found.items()}
    with open(directory / NUMBERS, "wb") as file:
        np.savez(file, **arrays)


def load(directory: Path) -> tuple[dict[str, dict[str, np.ndarray]], list[dict[str, Any]]]:
    """Return what `save` wrote. Raises OSError or ValueError where it is missing or damaged."""
    rows = json.loads((Path(directory) / ROWS).read_text(encoding="utf-8"))
    found: dict[str, dict[str, np.ndarray]] = {}
    with np.load(Path(directory) / NUMBERS, allow_pickle=False) as arrays:
        for name in arrays.files:
            state, _, statistic = name.partition("/")
            found.setdefault(state, {})[statistic] = arrays[name]
    return found, rows
