"""The points of a plot's curves: what of them is drawn at a zoom, smoothed, read at a step and written to a file."""

import csv
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from studio.core.series import Extremes, smooth

AT_ONCE = 500_000  # new points of a curve that are looked at in one go: about 6 ms
AVERAGED_AT_ONCE = 200_000  # the same, where their moving average is wanted


@dataclass(frozen=True)
class Drawn:
    """What is handed to the screen: a line [m] with NaN at its gaps, lone points, and the x of values not drawable.

    y is in the coordinates of the axis: log10 of the value where the axis is logarithmic.
    """

    x: np.ndarray
    y: np.ndarray
    lone: np.ndarray
    missing: np.ndarray


class Curve:
    """One curve: its points as handed over, its name, style and colour, and its smoothed values.

    style: line, smoothed (raw and faint, with the moving average above) or points (markers on a thin line).
    colour: an index into the theme's series. A curve of a million points costs as much to draw as one of thousands:
    what is known of its older part is kept.
    """

    def __init__(self, name: str, style: str = "line", colour: int = 0) -> None:
        self.name, self.style, self.colour, self.is_shown = name, style, colour, True
        self.x = self.y = np.empty(0)
        self._version, self._n, self._end = 0, 0, 0.0
        self._means, self._n_means, self._seen, self._weight = np.empty(0), 0, 0, -1.0
        self._extremes: dict[bool, Extremes] = {}  # of the values and of their means
        self._is_log = False
        self.is_behind = False  # the last points were not drawn yet, because there were too many new ones at once

    def set_points(self, x: np.ndarray, y: np.ndarray, version: int = 0) -> None:
        """Take points [n], x ascending; views into growing arrays are welcome, nothing is copied.

        version: another number than before where earlier points were taken back.
        """
        if len(x) != len(y):
            raise ValueError(f"{len(x)} x for {len(y)} y")
        self.x, self.y = np.asarray(x, dtype=float), np.asarray(y, dtype=float)
        grown = version == self._version and self._n <= len(y)
        if not grown or (self._n and not np.array_equal(self.y[self._n - 1], self._end, equal_nan=True)):
            self._n_means = self._seen = 0
            self._extremes = {}
        self._version, self._n = version, len(y)
        self._end = float(self.y[-1]) if len(y) else 0.0

    def smoothed(self, weight: float) -> np.ndarray:
        """Return the moving average [n] of the first points, of all where not too many are new.

        Points that were appended since the last call are all that is computed.
        """
        if weight != self._weight:
            self._n_means, self._seen, self._weight = 0, 0, weight
            self._extremes.pop(True, None)
        done = self._n_means
        n = min(len(self.y), done + AVERAGED_AT_ONCE)
        if len(self._means) < n:
            grown = np.empty(max(256, 2 * len(self.y)))
            grown[:done] = self._means[:done]
            self._means = grown
        if done < n:
            last = float(self._means[done - 1]) if done else 0.0
            self._means[done:n] = smooth(self.y[done:n], weight, (last, self._seen))
            self._seen += int(np.isfinite(self.y[done:n]).sum())
            self._n_means = n
        return self._means[:n]

    def drawn(self, low: float, high: float, most: int, log: bool, weight: float | None = None) -> Drawn:
        """Return about `most` points for the steps from `low` to `high` and one neighbour on each side.

        weight: of the moving average to draw, or None for the values themselves. Of a million points that are new the
        first are drawn, and `is_behind` is true: call it again.
        """
        y = self.y if weight is None else self.smoothed(weight)
        if log != self._is_log:
            self._extremes, self._is_log = {}, log
        known = self._extremes.get(weight is not None)
        if known is None:
            known = self._extremes[weight is not None] = Extremes(lambda values: on_axis(values, log))
        y = y[: len(known) + AT_ONCE]
        known.update(y)
        self.is_behind = len(y) < len(self.y) or (self.is_behind and weight is not None)
        start = max(0, min(len(y) - 1, int(np.searchsorted(self.x, low, side="left")) - 1))
        stop = min(len(y), int(np.searchsorted(self.x, high, side="right")) + 1)
        chosen = known.chosen(y, start, stop, most)
        x, y = self.x[chosen], on_axis(y[chosen], log)
        gone = np.isnan(y)
        beside = np.concatenate([[True], gone, [True]])
        return Drawn(x, y, np.flatnonzero(~gone & beside[:-2] & beside[2:]), x[gone])

    def value_at(self, x: float) -> tuple[float, float] | None:
        """Return the point nearest to `x`, or None where there is none or the curve has not begun or has ended."""
        if not len(self.x):
            return None
        after = int(np.searchsorted(self.x, x))
        nearest = min((i for i in (after - 1, after) if 0 <= i < len(self.x)), key=lambda i: abs(self.x[i] - x))
        step = (self.x[-1] - self.x[0]) / max(1, len(self.x) - 1)
        if abs(self.x[nearest] - x) > max(step, 1.0) and not self.x[0] <= x <= self.x[-1]:
            return None
        return float(self.x[nearest]), float(self.y[nearest])


def on_axis(y: np.ndarray, log: bool) -> np.ndarray:
    """Return y [n] in the coordinates of the axis; what can't be drawn (NaN, infinite, not positive on log) is NaN."""
    drawable = np.isfinite(y) & (y > 0) if log else np.isfinite(y)
    if not log:
        return y if drawable.all() else np.where(drawable, y, np.nan)
    return np.where(drawable, np.log10(np.where(drawable, y, 1.0)), np.nan)


def write_csv(path: Path, curves: Iterable[Curve], x_name: str = "step") -> None:
    """Write all points of the curves, one a line; every number reads back as the same float64."""
    with Path(path).open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["curve", x_name, "value"])
        for curve in curves:
            rows.writerows([curve.name, repr(float(a)), repr(float(b))] for a, b in zip(curve.x, curve.y, strict=True))


def nice_ticks(low: float, high: float, most: int) -> tuple[float, list[float]]:
    """Return a spacing of 1, 2 or 5 times a power of ten with at most `most` ticks, and the ticks in [low, high]."""
    if not (np.isfinite(low) and np.isfinite(high)) or high <= low:
        return 1.0, [low]
    rough = (high - low) / max(1, most)
    power = 10.0 ** np.floor(np.log10(rough))
    spacing = float(next(k * power for k in (1, 2, 5, 10) if k * power >= rough * (1 - 1e-9)))
    first = np.ceil(low / spacing - 1e-9)  # which may be -0.0
    return spacing, [float(k * spacing) + 0.0 for k in np.arange(first, np.floor(high / spacing + 1e-9) + 1)]


def log_ticks(low: float, high: float, most: int) -> list[float]:
    """Return ticks for a log axis, as values from `low` to `high` (both > 0): decades, else 1-2-5, else even."""
    first, last = int(np.floor(np.log10(low))), int(np.ceil(np.log10(high)))
    for factors in ((1,), (1, 3), (1, 2, 5)):
        ticks = [f * 10.0**p for p in range(first, last + 1) for f in factors if low <= f * 10.0**p <= high]
        if len(ticks) >= 3:
            stride = -(-len(ticks) // most) if factors == (1,) else 1
            return ticks[::stride]
    return [t for t in nice_ticks(low, high, most)[1] if t > 0]


def tick_texts(ticks: list[float]) -> list[str]:
    """Return the words of ticks, with as many digits as tell them apart."""
    if not ticks:
        return []
    largest = max(abs(t) for t in ticks)
    if largest and (largest >= 1e6 or largest < 1e-3):
        for digits in range(2, 7):
            texts = ["0" if t == 0 else _power(t, digits) for t in ticks]
            if len(set(texts)) == len(set(ticks)):
                break
        return texts
    for digits in range(7):
        texts = [f"{t:,.{digits}f}" for t in ticks]
        if all(abs(float(s.replace(",", "")) - t) <= 1e-6 * (largest or 1) for s, t in zip(texts, ticks, strict=True)):
            break
    return [text.replace("-", "−") for text in texts]


def _power(tick: float, digits: int = 2) -> str:
    mantissa, exponent = f"{tick:.{digits}e}".split("e")
    mantissa = mantissa.rstrip("0").rstrip(".")
    return f"{mantissa}e{int(exponent)}".replace("-", "−")
