"""How far measured numbers can be believed: intervals, groups of rows, and two models on the same rows."""

import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from studio.core.blocks import Bars, Block
from studio.tasks.base import Judged

_RESAMPLES = 300
_LEAST_ROWS = 5  # of a group that is told
Metric = Callable[[Any], float]


def bootstrap(
    metrics: Mapping[str, Metric], n_rows: int, check: Callable[[], None], n_resamples: int = _RESAMPLES
) -> dict[str, list[float]]:
    """Return the 95 % percentile interval of each metric over resampled rows (Efron 1979), the same at each call.

    Those that are not defined on all rows, or on most resamples, are absent. A metric that is 1, or 0, in all of them
    reaches to where 3 of the rows would put it: the bootstrap can't see what no row shows, and with 95 % no more than
    3 in n are wrong where none of n is (rule of three, Hanley & Lippman-Hand 1983). check: called between resamples.
    """
    drawn: dict[str, list[float]] = {name: [] for name, metric in metrics.items() if not np.isnan(metric(slice(None)))}
    for rows in _resamples(n_rows, n_resamples, check):
        for name, values in drawn.items():
            values.append(metrics[name](rows))
    return {name: found for name, values in drawn.items() if (found := _interval(values, n_rows))}


def _resamples(n_rows: int, n: int, check: Callable[[], None]) -> Any:
    rng = np.random.default_rng(0)
    for _ in range(n):
        check()
        yield rng.integers(0, n_rows, n_rows)


def _interval(values: list[float], n_rows: int | None = None) -> list[float]:
    """Return the percentiles of values; n_rows: what shares were resampled from, None for differences."""
    known = np.array(values)[~np.isnan(values)]
    if len(known) <= len(values) / 2:
        return []
    low, high = np.percentile(known, [2.5, 97.5]).tolist()
    if n_rows and low == high == 1.0:
        low = max(0.0, 1 - 3 / n_rows)
    elif n_rows and low == high == 0.0:
        high = min(1.0, 3 / n_rows)
    return [low, high]


def group_blocks(metric: Metric, name: str, groups: Mapping[str, list[str]], check: Callable[[], None]) -> list[Block]:
    """Return a metric in each group of rows with its interval, and in the title the largest gap between two groups.

    groups: each row's value by column.
    """
    bars: list[Block] = []
    for column, values in groups.items():
        names = sorted(dict.fromkeys(values), key=_first_number)
        found = {value: np.flatnonzero(np.array(values) == value) for value in names}
        measured = {value: metric(rows) for value, rows in found.items() if len(rows) >= _LEAST_ROWS}
        measured = {value: number for value, number in measured.items() if not np.isnan(number)}
        if len(measured) < 2:
            continue
        draws = {
            value: [metric(found[value][rows]) for rows in _resamples(len(found[value]), _RESAMPLES, check)]
            for value in measured
        }
        intervals = {
            value: tuple(ends) for value, each in draws.items() if (ends := _interval(each, len(found[value])))
        }
        best, worst = max(measured, key=measured.get), min(measured, key=measured.get)
        gap = _interval((np.array(draws[best]) - np.array(draws[worst])).tolist())
        title = f"{_said(name)} by {column}"
        if gap:
            title += f": gap {measured[best] - measured[worst]:.3f} ({gap[0]:.3f} to {gap[1]:.3f})"
        bars.append(
            Bars(title=title, values=measured, intervals=intervals, select=column, reference=metric(slice(None)))
        )
    return bars


def _first_number(name: str) -> float:
    """Return what groups such as "up to 14" and "15 to 25" are sorted by; those without a number come last."""
    found = re.search(r"\d+", name)
    return float(found[0]) if found else np.inf


def blocks(ours: Judged, theirs: Judged, main: str, names: tuple[str, str], check: Callable[[], None]) -> list[Block]:
    """Return how two models differ on the same rows: by each metric with a paired bootstrap, by McNemar's test.

    The bootstrap draws the same rows for both (Efron & Tibshirani 1993); McNemar's exact test asks whether, of the
    rows that one alone has right, more are the one's than chance would make them. main: the metric of the title.
    """
    a, b = ours.measured(), theirs.measured()
    drawn: dict[str, list[float]] = {name: [] for name in a if name in b}
    for rows in _resamples(len(ours.losses), _RESAMPLES, check):
        for name, values in drawn.items():
            values.append(ours.metrics[name](rows) - theirs.metrics[name](rows))
    intervals = {_said(name): tuple(found) for name, values in drawn.items() if (found := _interval(values))}
    low, high = intervals.get(_said(main), (0.0, 0.0))
    has_right = ours.right is not None and theirs.right is not None
    # On few rows a percentile interval is too narrow: what is called real passes the exact test too.
    is_clear = not low <= 0 <= high and (not has_right or _mcnemar(ours.right, theirs.right)[2] < 0.05)
    verdict = "a real difference" if is_clear else "no difference beyond chance"
    title = f"{names[0]} less {names[1]}: {verdict} in {_said(main)}"
    values = {_said(name): a[name] - b[name] for name in drawn}
    found: list[Block] = [Bars(title=title, values=values, intervals=intervals, reference=0.0)]
    if has_right:
        n_ours, n_theirs, p = _mcnemar(ours.right, theirs.right)
        title = f"Rows that one alone has right (McNemar: p = {p:.3g})"
        found.append(Bars(title=title, values={names[0]: n_ours, names[1]: n_theirs}, unit="rows"))
    return found


def _mcnemar(ours: np.ndarray, theirs: np.ndarray) -> tuple[int, int, float]:
    """Return how many rows each alone has right, and the p value of McNemar's exact test."""
    from scipy.stats import binomtest

    n_ours, n_theirs = int((ours & ~theirs).sum()), int((theirs & ~ours).sum())
    return n_ours, n_theirs, float(binomtest(n_ours, n_ours + n_theirs).pvalue) if n_ours + n_theirs else 1.0


def _said(name: str) -> str:
    name = name.replace("_", " ")
    return name.upper() if len(name) < 4 else name.capitalize()
