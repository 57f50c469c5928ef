"""What stands in a plot's view for one curve: its line, its moving average, its marks and what could not be drawn."""

from dataclasses import dataclass

import numpy as np
import pyqtgraph as pg
from PySide6.QtGui import QPen

from studio.ui.theme import Theme
from studio.ui.widgets.curves import Curve, Drawn

# A wide line is antialiased only while it travels less than this many pixels: 4,000 points of noise would take 70 ms.
LONGEST_SMOOTH_STROKE = 20_000


@dataclass(frozen=True)
class Sight:
    """What of the plot is in sight, in the coordinates of its axes, and how it is drawn.

    most: points of a line. pixels: of the screen for one unit of y. ratio: of screen pixels to logical ones.
    pen_scale: of the pens, for pictures.
    """

    low: float
    high: float
    bottom: float
    top: float
    most: int
    is_log: bool
    pixels: float
    ratio: float
    pen_scale: float


class Lines:
    """The items of one curve in a view."""

    def __init__(self, view: pg.ViewBox) -> None:
        self._view = view
        self.line, self.mean = pg.PlotCurveItem(), pg.PlotCurveItem()
        self.marks = pg.ScatterPlotItem(size=7, pen=None, useCache=False)
        self.missing = pg.ScatterPlotItem(size=9, symbol="t", pen=None, useCache=False)
        for item, depth in ((self.line, 0), (self.mean, 10), (self.marks, 15), (self.missing, 20)):
            item.setZValue(depth)
            view.addItem(item, ignoreBounds=True)

    def remove(self) -> None:
        """Leave the view."""
        for item in (self.line, self.mean, self.marks, self.missing):
            self._view.removeItem(item)

    def clear(self) -> None:
        """Draw nothing."""
        for item in (self.line, self.mean, self.marks, self.missing):
            item.clear()

    def colour(self, curve: Curve, smoothing: float, theme: Theme) -> None:
        """Take the colours of a theme."""
        colour = theme.series[curve.colour % len(theme.series)]
        is_faint = curve.style == "raw" or (curve.style == "smoothed" and smoothing > 0)
        faint = theme.mix(colour, 0.6 if curve.style == "raw" else 0.4) if is_faint else colour
        self.line.setPen(pg.mkPen(faint, width=1))
        self.mean.setPen(pg.mkPen(colour, width=2))
        self.marks.setBrush(pg.mkBrush(colour))
        self.missing.setBrush(pg.mkBrush(theme.bad))

    def draw(self, curve: Curve, raw: Drawn, smoothing: float, sight: Sight) -> None:
        """Draw a curve, of which `raw` is in sight; where it is smoothed the values stay below their average."""
        smoothed = curve.style == "smoothed" and smoothing > 0
        _draw_line(self.line, raw, curve.style != "raw" and not smoothed, sight)
        if smoothed:
            mean = curve.drawn(sight.low, sight.high, sight.most, sight.is_log, smoothing)
            _draw_line(self.mean, mean, True, sight)
        else:
            self.mean.clear()
        marked = np.flatnonzero(~np.isnan(raw.y)) if curve.style == "points" else raw.lone
        self.marks.setData(raw.x[marked], raw.y[marked])
        height = sight.bottom + 0.03 * (sight.top - sight.bottom)
        self.missing.setData(raw.missing, np.full(len(raw.missing), height))


def _draw_line(item: pg.PlotCurveItem, points: Drawn, wide: bool, sight: Sight) -> None:
    travel = np.nansum(np.abs(np.diff(points.y))) * sight.pixels if len(points.y) > 1 else 0.0
    pen = QPen(item.opts["pen"])
    pen.setWidthF((2.0 * sight.ratio if wide else 1.0) * sight.pen_scale)
    item.setData(
        points.x,
        points.y,
        connect="finite",
        skipFiniteCheck=False,
        pen=pen,
        antialias=not wide or bool(travel < LONGEST_SMOOTH_STROKE),
    )
    # One long wide path is stroked as a whole, a hundred times slower than segment by segment.
    item.setSegmentedLineMode("on" if wide else "off")
