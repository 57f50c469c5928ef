"""Growing series of points, and their decimation for drawing that never loses a spike."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

AXES = ("step", "epoch", "tokens", "time")  # time: seconds of work, without the breaks between attempts
_BLOCK = 64  # values of which the lowest, the highest and a missing one are kept in mind


class Column:
    """Numbers in one array that grows by doubling.

    room: of how many numbers at first; columns with different room do not all grow in the same moment.
    """

    def __init__(self, dtype: type = np.float64, room: int = 256) -> None:
        self._data, self._n = np.empty(room, dtype), 0

    def __len__(self) -> int:
        return self._n

    @property
    def values(self) -> np.ndarray:
        return self._data[: self._n]

    def extend(self, values: Sequence[float] | np.ndarray) -> None:
        """Add values at the end."""
        n = self._n + len(values)
        if n > len(self._data):
            grown = np.empty(max(n, 2 * len(self._data)), self._data.dtype)
            grown[: self._n] = self.values
            self._data = grown
        self._data[self._n : n] = values
        self._n = n

    def cut(self, n: int) -> None:
        """Keep the first `n` values at most."""
        self._n = min(n, self._n)


class Track:
    """The points of one split: where each stands on every axis, and a series for each metric.

    n_cuts: how often points were taken back; what was computed from them before is void.
    """

    def __init__(self) -> None:
        self._axes = {axis: Column(room=256 + 16 * at) for at, axis in enumerate(AXES)}
        self.series: dict[str, Series] = {}
        self.n_cuts = 0

    def __len__(self) -> int:
        return len(self._axes["step"])

    def on(self, axis: str) -> np.ndarray:
        """Return the place of each point on an axis of AXES, ascending."""
        return self._axes[axis].values

    def extend(self, axes: Mapping[str, Sequence[float]], values: Mapping[str, Sequence[float]]) -> None:
        """Add points: where they stand on each axis of AXES, and the values of the metrics that were logged there."""
        for name, column in values.items():
            if name not in self.series:
                self.series[name] = Series(self)
            self.series[name]._extend(column)
        for axis, column in self._axes.items():
            column.extend(axes[axis])

    def cut_after(self, step: float) -> None:
        """Forget the points after `step`: a resume trains them again."""
        n = int(np.searchsorted(self.on("step"), step, side="right"))
        for series in self.series.values():
            series._cut(n)
        for column in self._axes.values():
            column.cut(n)
        self.n_cuts += 1


class Series:
    """The values of one metric, at the points of its track at which it was logged; NaN values are kept."""

    def __init__(self, track: Track) -> None:
        self._track, self._y = track, Column(room=256 + 16 * (len(AXES) + len(track.series) % 8))
        self._first = len(track)
        self._places: Column | None = None  # in the track, once there was a point without this metric
        self._kept: dict[str, Column] = {}

    def __len__(self) -> int:
        return len(self._y)

    @property
    def x(self) -> np.ndarray:
        """The step of each value."""
        return self.on("step")

    @property
    def y(self) -> np.ndarray:
        return self._y.values

    @property
    def n_cuts(self) -> int:
        return self._track.n_cuts

    def on(self, axis: str) -> np.ndarray:
        """Return where each value stands on an axis of AXES, ascending."""
        whole = self._track.on(axis)
        if self._places is None:
            return whole[self._first : self._first + len(self)]
        kept = self._kept.setdefault(axis, Column())
        kept.extend(whole[self._places.values[len(kept) :]])
        return kept.values

    def _extend(self, values: Sequence[float]) -> None:
        start = len(self._track)
        if not len(self):
            self._first, self._places = start, None
        if self._places is None and self._first + len(self) != start:
            self._places = Column(np.int64)
            self._places.extend(np.arange(self._first, self._first + len(self)))
        if self._places is not None:
            self._places.extend(np.arange(start, start + len(values)))
        self._y.extend(values)

    def _cut(self, n: int) -> None:
        if self._places is None:
            left = max(0, n - self._first)
            self._first = min(n, self._first)
        else:
            left = int(np.searchsorted(self._places.values, n))
            self._places.cut(left)
        self._y.cut(left)
        for column in self._kept.values():
            column.cut(left)


def decimate(x: np.ndarray, y: np.ndarray, most: int = 4000) -> tuple[np.ndarray, np.ndarray]:
    """Return at most `most` points of a curve: the first, last, lowest and highest of each bucket, in order.

    x, y: float arrays [n], x ascending. NaN stays visible: a bucket with a NaN keeps one.
    """
    chosen = _chosen(y, most)
    return x[chosen], y[chosen]


class Extremes:
    """Decimates a growing array without reading it all each time: per block of 64 values it knows the telling ones.

    look: what is drawn of values, element by element; NaN for what can't be drawn.
    """

    def __init__(self, look: Callable[[np.ndarray], np.ndarray]) -> None:
        self._look = look
        self._low, self._high, self._gap = Column(np.int64), Column(np.int64), Column(np.int64)

    def __len__(self) -> int:
        """Return how many values have been taken in."""
        return len(self._low) * _BLOCK

    def update(self, y: np.ndarray) -> None:
        """Take in what was appended to `y` since the last call."""
        known, whole = len(self._low) * _BLOCK, len(y) - len(y) % _BLOCK
        if whole > known:
            low, high, gap = _extremes(self._look(y[known:whole]).reshape(-1, _BLOCK))
            self._low.extend(low + known)
            self._high.extend(high + known)
            self._gap.extend(np.where(gap < 0, -1, gap + known))

    def chosen(self, y: np.ndarray, start: int, stop: int, most: int) -> np.ndarray:
        """Return about `most` ascending places in y[start:stop]: of each bucket those that `decimate` keeps.

        Buckets begin at multiples of their size, so that a curve that grows keeps the shape of its older part.
        """
        size = -(-(stop - start) // max(1, most // 5 - 1))
        n_blocks = -(-size // _BLOCK)
        first = -(-start // (n_blocks * _BLOCK)) * n_blocks
        last = min(stop // _BLOCK, len(self._low))
        last -= (last - first) % n_blocks
        if size < 2 * _BLOCK or last <= first:
            return _chosen(self._look(y[start:stop]), most) + start
        head, tail = first * _BLOCK, last * _BLOCK
        low, high, gap = (c.values[first:last].reshape(-1, n_blocks) for c in (self._low, self._high, self._gap))
        rows = np.arange(len(low))
        keep = [
            rows * (n_blocks * _BLOCK) + head, (rows + 1) * (n_blocks * _BLOCK) - 1 + head,
            low[rows, _extremes(self._look(y[low]))[0] - rows * n_blocks],
            high[rows, _extremes(self._look(y[high]))[1] - rows * n_blocks],
            gap.max(axis=1)[gap.max(axis=1) >= 0],
        ]  # fmt: skip
        for begin, end in ((start, head), (tail, stop)):
            if begin < end:
                keep.append(_telling(self._look(y[begin:end])[None]) + begin)
        return _distinct(np.concatenate(keep))


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
    if len(values) == len(y):
        return means
    places = np.cumsum(finite)  # a value that is passed over repeats the mean before it
    return np.concatenate([[last if seen else np.nan], means])[places]


def _chosen(y: np.ndarray, most: int) -> np.ndarray:
    """Return the places of the telling values of y [n], ascending; all of them where n is at most `most`."""
    n = len(y)
    if n <= most:
        return np.arange(n)
    size = -(-n // max(1, most // 5 - 1))
    # All full buckets at once; what is left over is one more.
    whole = n - n % size
    keep = [_telling(y[:whole].reshape(-1, size))]
    if whole < n:
        keep.append(_telling(y[None, whole:]) + whole)
    return _distinct(np.concatenate(keep))


def _distinct(places: np.ndarray) -> np.ndarray:
    """Return each of the places once, ascending; `np.unique` would import numpy.ma in the midst of a drawing."""
    ordered = np.sort(places)
    return ordered[np.diff(ordered, prepend=-1) > 0]


def _telling(buckets: np.ndarray) -> np.ndarray:
    """Return the flat places of the first, last, lowest, highest and one NaN of each row of `buckets` [k, size]."""
    starts = np.arange(len(buckets)) * buckets.shape[1]
    low, high, gap = _extremes(buckets)
    return np.concatenate([starts, starts + buckets.shape[1] - 1, low, high, gap[gap >= 0]])


def _extremes(buckets: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the flat places of the lowest, the highest and a NaN (-1: there is none) of each row [k, size]."""
    starts = np.arange(len(buckets)) * buckets.shape[1]
    gaps = np.isnan(buckets)
    if not gaps.any():
        return buckets.argmin(axis=1) + starts, buckets.argmax(axis=1) + starts, np.full(len(buckets), -1)
    low = np.where(gaps, np.inf, buckets).argmin(axis=1) + starts
    high = np.where(gaps, -np.inf, buckets).argmax(axis=1) + starts
    return low, high, np.where(gaps.any(axis=1), gaps.argmax(axis=1) + starts, -1)


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
