"""Curves by name over one axis, such as ROC and calibration: drawn alike on screen and on paper."""

from collections.abc import Collection
from functools import cached_property

import numpy as np
from PySide6.QtCore import QPointF, QRectF, Qt
from PySide6.QtGui import QPainter, QPolygonF

from studio.core.blocks import Curves
from studio.ui.i18n import tr
from studio.ui.theme import Theme
from studio.ui.widgets.chart import Axes, axes_for, paint_axes, paint_guides
from studio.ui.widgets.chart_view import Entry
from studio.ui.widgets.marks import paint_mark, series_colour, series_pen

_FEW_POINTS = 24  # of a curve that shows each of them
_FEW_CURVES = 6


class LineChart:
    """What a `ChartView` draws of `Curves`; see `Chart`."""

    def __init__(self, block: Curves) -> None:
        self._block, self._names = block, list(block.series)
        curves = list(block.series.values())
        self.x = np.array([x for curve in curves for x in curve.x], dtype=float)
        self.y = np.array([y for curve in curves for y in curve.y], dtype=float)
        self.series = np.repeat(np.arange(len(curves)), [len(curve.x) for curve in curves])
        self.order = np.arange(len(self.x))
        self.entries = [Entry(name, curve.note, at, "line") for at, (name, curve) in enumerate(block.series.items())]

    @cached_property
    def summary(self) -> str:
        return ", ".join(f"{entry.name} {entry.note}".strip() for entry in self.entries)

    def describe(self, at: int) -> str:
        entry = self.entries[int(self.series[at])]
        x, y = tr(self._block.x_axis) or "x", tr(self._block.y_axis) or "y"
        return f"{entry.name}\n{x}: {float(self.x[at])!r}\n{y}: {float(self.y[at])!r}"

    def paint(
        self, painter: QPainter, rect: QRectF, theme: Theme, hidden: Collection[int] = (), marked: int = -1
    ) -> Axes:
        block, shown = self._block, ~np.isin(self.series, list(hidden))
        x, y = self.x[shown], self.y[shown]
        axes = axes_for(rect, theme, x, y, same=block.diagonal, square=block.unit_square)
        paint_axes(painter, axes, theme, block.x_axis, block.y_axis)
        if len(self.x):
            paint_guides(painter, axes, theme, block.diagonal, zero_line=False)
        painter.save()
        painter.setClipRect(axes.inside.adjusted(-3, -3, 3, 3))
        # The curve that is marked is drawn last, above the others.
        for at in sorted(set(range(len(self._names))) - set(hidden), key=lambda at: at == marked):
            self._paint_curve(painter, axes, theme, at, 1.0 if marked in (-1, at) else 0.3, at == marked)
        painter.restore()
        return axes

    def _paint_curve(self, painter: QPainter, axes: Axes, theme: Theme, at: int, share: float, is_marked: bool) -> None:
        mine = self.series == at
        across, up = axes.place(self.x[mine], self.y[mine])
        width = 1.4 if len(self._names) > _FEW_CURVES else 2.0
        pen = series_pen(theme, at, width + 0.8 * is_marked, share)
        lone = _lone(up)
        for line in _lines(across, up):
            painter.setPen(pen)
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.drawPolyline(line)
        if len(up) > _FEW_POINTS:
            across, up = across[lone], up[lone]
        for x, y in zip(across, up, strict=True):
            if np.isfinite(y):
                paint_mark(painter, at, QPointF(x, y), 2.0 + width / 2, series_colour(theme, at) if share == 1 else
                           pen.color())  # fmt: skip


def _lines(across: np.ndarray, up: np.ndarray) -> list[QPolygonF]:
    """Return the lines between gaps; points that fall on the half pixel of the one before are left out."""
    gone = np.isnan(up)
    place = np.stack([np.round(across * 2), np.round(up * 2)])
    same = np.zeros(len(up), bool)
    same[1:-1] = (place[:, 1:-1] == place[:, :-2]).all(axis=0)
    keep = np.flatnonzero(~same | gone)
    parts = np.split(keep, np.flatnonzero(gone[keep]))
    found = [[QPointF(across[at], up[at]) for at in part if not gone[at]] for part in parts]
    return [QPolygonF(points) for points in found if len(points) > 1]


def _lone(up: np.ndarray) -> np.ndarray:
    """Return which points [n] have a neighbour on neither side."""
    gone = np.concatenate([[True], np.isnan(up), [True]])
    return ~gone[1:-1] & gone[:-2] & gone[2:]
