"""Points in the colours and shapes of their groups: drawn alike on screen and on paper."""

from collections import Counter
from collections.abc import Collection
from functools import cached_property

import numpy as np
from PySide6.QtCore import QPointF, QRectF, Qt
from PySide6.QtGui import QImage, QPainter

from studio.core.blocks import Scatter
from studio.ui import words
from studio.ui.i18n import tr
from studio.ui.theme import Theme
from studio.ui.widgets.chart import Axes, axes_for, paint_axes, paint_guides
from studio.ui.widgets.chart_view import Entry
from studio.ui.widgets.marks import REST, paint_mark, series_colour

MOST_GROUPS = 8
_MANY, _SHEETS = 3000, 8
_RESTED = 3.0  # pixels to the edge of a stamp


class ScatterChart:
    """What a `ChartView` draws of a `Scatter`; see `Chart`. The largest groups have a colour, the others share one."""

    def __init__(self, block: Scatter) -> None:
        self._block = block
        self.x, self.y = np.array(block.x, dtype=float), np.array(block.y, dtype=float)
        self.order = np.argsort(self.x, kind="stable")
        sizes = Counter(block.groups)
        # Sorted by name, so that a group keeps its colour in another picture of the same groups.
        named = sorted(name for name, _ in sizes.most_common(MOST_GROUPS))
        self.entries = [Entry(name, words.count(sizes[name]), at, "mark") for at, name in enumerate(named)]
        if len(sizes) > MOST_GROUPS:
            n_rest = len(block.x) - sum(sizes[name] for name in named)
            rest = tr("{n} others", n=len(sizes) - MOST_GROUPS)
            self.entries.append(Entry(rest, words.count(n_rest), REST, "mark"))
        place = {name: at for at, name in enumerate(named)}
        series = [place.get(name, len(named)) for name in block.groups]
        self.series = np.array(series or [0] * len(block.x), dtype=int)

    @cached_property
    def summary(self) -> str:
        groups = ", ".join(f"{entry.name} {entry.note}" for entry in self.entries)
        return ": ".join(filter(None, (tr("{n} points", n=words.count(len(self.x))), groups)))

    def describe(self, at: int) -> str:
        block = self._block
        group = block.groups[at] if block.groups else ""
        x, y = tr(block.x_axis) or "x", tr(block.y_axis) or "y"
        values = f"{x}: {float(self.x[at])!r}\n{y}: {float(self.y[at])!r}"
        return "\n".join(filter(None, (group, values, " ".join(block.texts[at].split()) if block.texts else "")))

    def paint(
        self, painter: QPainter, rect: QRectF, theme: Theme, hidden: Collection[int] = (), marked: int = -1
    ) -> Axes:
        block = self._block
        axes = axes_for(rect, theme, self.x, self.y, same=block.diagonal)
        paint_axes(painter, axes, theme, block.x_axis, block.y_axis)
        radius = 2.6 if len(self.x) > _MANY else 3.4
        ratio = painter.deviceTransform().m11() or 1.0
        across, up = axes.place(self.x, self.y)
        shown = np.flatnonzero(np.isfinite(up) & ~np.isin(self.series, list(hidden)))
        shown = shown[_apart(self.series[shown], across[shown], up[shown], ratio)]
        stamps = [self._stamp(theme, at, radius, ratio) for at in range(len(self.entries) or 1)]
        side = stamps[0].width() / ratio
        # In sheets, so that no group lies above all of another.
        sheets = np.random.default_rng(0).permutation(len(shown)) % _SHEETS
        for at in shown[np.lexsort((self.series[shown], sheets))].tolist():
            corner = QPointF(across[at] - side / 2, up[at] - side / 2)
            painter.drawImage(corner, stamps[self.series[at]])
        if len(self.x):
            paint_guides(painter, axes, theme, block.diagonal, block.zero_line)
        return axes

    def _stamp(self, theme: Theme, at: int, radius: float, ratio: float) -> QImage:
        """Return a point of a series as a picture, the more see-through the more points there are."""
        side = 2 * (radius * 1.3 + _RESTED)
        image = QImage(round(side * ratio), round(side * ratio), QImage.Format.Format_ARGB32_Premultiplied)
        image.setDevicePixelRatio(ratio)
        image.fill(Qt.GlobalColor.transparent)
        index = self.entries[at].index if self.entries else 0
        colour = series_colour(theme, index)
        colour.setAlphaF(0.8 if len(self.x) <= 300 else 0.6 if len(self.x) <= _MANY else 0.4)
        painter = QPainter(image)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        paint_mark(painter, index, QPointF(side / 2, side / 2), radius, colour)
        painter.end()
        return image


def _apart(series: np.ndarray, across: np.ndarray, up: np.ndarray, ratio: float) -> np.ndarray:
    """Return the points to draw: of those of one series on one pixel the first, so that no outlier is lost."""
    key = np.stack([series, np.round(across * ratio), np.round(up * ratio)], axis=1)
    return np.sort(np.unique(key, axis=0, return_index=True)[1])
