"""Growing series of points, and their decimation for drawing that never loses a spike."""

import numpy as np


class Series:
    """Points (step, value) in float64 arrays that grow by doubling; NaN values are kept."""

    def __init__(self) -> None:
        self._x = np.empty(256)
        self._y = np.empty(256)
        self._n = 0

    def __len__(self) -> int:
        return self._n

    @property
    def x(self) -> np.ndarray:
        return self._x[: self._n]

    @property
    def y(self) -> np.ndarray:
        return self._y[: self._n]

    def append(self, x: float, y: float) -> None:
        """Add one point."""
        if self._n == len(self._x):
            self._x = np.concatenate([self._x, np.empty_like(self._x)])
            self._y = np.concatenate([self._y, np.empty_like(self._y)])
        self._x[self._n] = x
        self._y[self._n] = y
        self._n += 1

    def cut_after(self, x: float) -> None:
        """Forget the points after `x`: a resume trains them again."""
        self._n = int(np.searchsorted(self.x, x, side="right"))


def decimate(x: np.ndarray, y: np.ndarray, most: int = 4000) -> tuple[np.ndarray, np.ndarray]:
    """Return at most `most` points of a curve: the first, last, lowest and highest of each bucket, in order.

    x, y: float arrays [n], x ascending. NaN stays visible: a bucket with a NaN keeps one.
    """
    n = len(x)
    if n <= most:
        return x, y
    edges = np.linspace(0, n, most // 5 + 1).astype(int)
    keep = [edges[:-1], edges[1:] - 1]
    low, high = np.where(np.isnan(y), np.inf, y), np.where(np.isnan(y), -np.inf, y)
    for start, stop in zip(edges[:-1], edges[1:], strict=True):
        keep.append([start + int(np.argmin(low[start:stop])), start + int(np.argmax(high[start:stop]))])
        gap = np.flatnonzero(np.isnan(y[start:stop]))
        if len(gap):
            keep.append([start + int(gap[0])])
    chosen = np.unique(np.concatenate(keep))
    return x[chosen], y[chosen]


def smooth(y: np.ndarray, weight: float) -> np.ndarray:
    """Return the bias-corrected exponential moving average of `y` [n], weight in [0, 1); NaN is passed over."""
    result, mean, norm = np.empty(len(y)), 0.0, 0.0
    for i, value in enumerate(y):
        if np.isfinite(value):
            mean = weight * mean + (1 - weight) * value
            norm = weight * norm + (1 - weight)
        result[i] = mean / norm if norm else np.nan
    return result
