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
    size = -(-n // max(1, most // 5 - 1))
    # All full buckets at once; what is left over is one more.
    whole = n - n % size
    keep = [_telling(y[:whole].reshape(-1, size))]
    if whole < n:
        keep.append(_telling(y[None, whole:]) + whole)
    chosen = np.unique(np.concatenate(keep))
    return x[chosen], y[chosen]


def smooth(y: np.ndarray, weight: float, before: tuple[float, int] = (0.0, 0)) -> np.ndarray:
    """Return the bias-corrected exponential moving average of `y` [n], weight in [0, 1); NaN is passed over.

    To go on where an earlier call ended, hand over `before`: its last value and how many finite values it has seen.
    """
    finite = np.isfinite(y)
    values, (last, seen) = y[finite], before
    means = _decaying_sum((1 - weight) * values, weight, last * (1 - weight**seen) if seen else 0.0)
    if weight > 0:
        # Further on weight**k is nothing to a float64, and slow to compute.
        young = max(0, min(len(values), int(-40 / np.log(weight)) - seen))
        means[:young] /= 1 - weight ** (seen + 1.0 + np.arange(young))
    places = np.cumsum(finite)  # a value that is passed over repeats the mean before it
    return np.concatenate([[last if seen else np.nan], means])[places]


def _telling(buckets: np.ndarray) -> np.ndarray:
    """Return the flat places of the first, last, lowest, highest and one NaN of each row of `buckets` [k, size]."""
    starts = np.arange(len(buckets)) * buckets.shape[1]
    gap = np.isnan(buckets)
    holed = gap.any(axis=1)
    low = np.where(gap, np.inf, buckets).argmin(axis=1) + starts
    high = np.where(gap, -np.inf, buckets).argmax(axis=1) + starts
    return np.concatenate([starts, starts + buckets.shape[1] - 1, low, high, (gap.argmax(axis=1) + starts)[holed]])


def _decaying_sum(values: np.ndarray, weight: float, start: float) -> np.ndarray:
    """Return s [n] with s[i] = weight * s[i - 1] + values[i] and s[-1] = `start`.

    Within a block that is a product with a triangle of powers, and from block to block the same sum again.
    """
    size, n = 32, len(values)
    steps = np.arange(size)
    powers = np.where(steps[None, :] >= steps[:, None], weight ** np.abs(steps[None, :] - steps[:, None]), 0.0)
    blocks = np.zeros((max(1, -(-n // size)), size))
    blocks.reshape(-1)[:n] = values
    sums = blocks @ powers
    before = np.array([start])
    if len(sums) > 1:
        before = np.concatenate([before, _decaying_sum(sums[:-1, -1], weight**size, start)])
    return (sums + before[:, None] * weight ** (steps + 1.0)).reshape(-1)[:n]
