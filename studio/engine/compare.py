"""How far measured numbers can be believed: intervals, groups of rows, and two models on the same rows."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from studio.core.blocks import Bars, Block, Table
from studio.tasks.base import Judged

_RESAMPLES = 300
_LEAST_ROWS = 5  # of a group that is told
Metric = Callable[[Any], float]


def bootstrap(
    metrics: Mapping[str, Metric], n_rows: int, check: Callable[[], None], n_resamples: int = _RESAMPLES
) -> dict[str, list[float]]:
    """Return the 95 % percentile interval of each metric over resampled rows (Efron 1979), the same at each call.

    Those that are not defined on all rows, or on most resamples, are absent. check: called between resamples.
    """
    drawn: dict[str, list[float]] = {name: [] for name, metric in metrics.items() if not np.isnan(metric(slice(None)))}
    for rows in _resamples(n_rows, n_resamples, check):
        for name, values in drawn.items():
            values.append(metrics[name](rows))
    return {name: found for name, values in drawn.items() if (found := _interval(values))}


def _resamples(n_rows: int, n: int, check: Callable[[], None]) -> Any:
    rng = np.random.default_rng(0)
    for _ in range(n):
        check()
        yield rng.integers(0, n_rows, n_rows)


def _interval(values: list[float]) -> list[float]:
    known = np.array(values)[~np.isnan(values)]
    return np.percentile(known, [2.5, 97.5]).tolist() if len(known) > len(values) / 2 else []


def group_blocks(metric: Metric, name: str, groups: Mapping[str, list[str]], check: Callable[[], None]) -> list[Block]:
    """Return a metric in each group of rows with its interval, and the largest gap between two groups of a column.

    groups: each row's value by column.
    """
    bars: list[Block] = []
    gaps = []
    for column, values in groups.items():
        found = {value: np.flatnonzero(np.array(values) == value) for value in dict.fromkeys(values)}
        found = {value: rows for value, rows in found.items() if len(rows) >= _LEAST_ROWS}
        measured = {value: metric(rows) for value, rows in found.items()}
        measured = {value: number for value, number in measured.items() if not np.isnan(number)}
        if len(measured) < 2:
            continue
        draws = {value: [metric(found[value][rows]) for rows in _resamples(len(found[value]), _RESAMPLES, check)]
                 for value in measured}  # fmt: skip
        intervals = {value: tuple(found) for value, each in draws.items() if (found := _interval(each))}
        bars.append(
            Bars(title=f"{name} by {column}", values=measured, intervals=intervals, select=column,
                 reference=metric(slice(None)))
        )  # fmt: skip
        best, worst = max(measured, key=measured.get), min(measured, key=measured.get)
        gap = _interval((np.array(draws[best]) - np.array(draws[worst])).tolist())
        if gap:
            told = f"{gap[0]:.3f} to {gap[1]:.3f}"
            gaps.append([column, best, worst, round(measured[best] - measured[worst], 4), told, _yes(gap[0] > 0)])
    if gaps:
        header = ["Column", "Highest", "Lowest", "Gap", "95 % interval", "Beyond chance"]
        bars.append(Table(title=f"Gaps in {name} between groups", header=header, rows=gaps))
    return bars


def blocks(ours: Judged, theirs: Judged, our_name: str, their_name: str, check: Callable[[], None]) -> list[Block]:
    """Return how two models differ on the same rows: by each metric with a paired bootstrap, by McNemar's test.

    The bootstrap draws the same rows for both (Efron & Tibshirani 1993); McNemar's exact test asks whether, of the
    rows that one alone has right, more are the one's than chance would make them.
    """
    names = [name for name in ours.measured() if name in theirs.measured()]
    drawn: dict[str, list[float]] = {name: [] for name in names}
    for rows in _resamples(len(ours.losses), _RESAMPLES, check):
        for name, values in drawn.items():
            values.append(ours.metrics[name](rows) - theirs.metrics[name](rows))
    lines = []
    for name in names:
        a, b, interval = ours.measured()[name], theirs.measured()[name], _interval(drawn[name])
        told = f"{interval[0]:+.4f} to {interval[1]:+.4f}" if interval else ""
        is_clear = bool(interval) and not interval[0] <= 0 <= interval[1]
        lines.append([name, round(a, 4), round(b, 4), f"{a - b:+.4f}", told, _yes(is_clear)])
    header = ["Metric", our_name or "This run", their_name or "The other", "Difference", "95 % interval",
              "Beyond chance"]  # fmt: skip
    found: list[Block] = [Table(title="Two runs on the same rows", header=header, rows=lines)]
    if ours.right is not None and theirs.right is not None:
        found.append(_mcnemar(ours.right, theirs.right, *header[1:3]))
    return found


def _mcnemar(ours: np.ndarray, theirs: np.ndarray, our_name: str, their_name: str) -> Table:
    from scipy.stats import binomtest

    n_ours, n_theirs = int((ours & ~theirs).sum()), int((theirs & ~ours).sum())
    p = binomtest(n_ours, n_ours + n_theirs).pvalue if n_ours + n_theirs else 1.0
    rows = [
        [f"Right in {our_name} alone", str(n_ours)],
        [f"Right in {their_name} alone", str(n_theirs)],
        ["p of McNemar's exact test", f"{p:.4f}"],
        ["Beyond chance (p below 0.05)", _yes(p < 0.05)],
    ]
    return Table(title="Rows that one of them has right", header=["", "Rows"], rows=rows)


def _yes(value: bool) -> str:
    return "yes" if value else "no"
