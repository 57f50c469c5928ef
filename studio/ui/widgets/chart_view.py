"""A chart with its legend: hover or the arrow keys tell the exact values of a point."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from PySide6.QtCore import QPointF, QRectF, QSize, Qt
from PySide6.QtGui import QKeyEvent, QMouseEvent, QPainter, QPen, QPixmap, QResizeEvent
from PySide6.QtWidgets import QSizePolicy, QVBoxLayout, QWidget

from studio.ui.i18n import tr
from studio.ui.theme import Theme, current
from studio.ui.widgets.chart import Axes, paint_note
from studio.ui.widgets.legend import Legend
from studio.ui.widgets.marks import paint_mark, series_colour

LEAST_WITH_LEGEND = 150
REACH = 18.0  # logical pixels from the mouse to a point that it means


@dataclass(frozen=True)
class Entry:
    """One series of a legend: its name, what stands beside it, its index of colour and form, and line or mark."""

    name: str
    note: str
    index: int
    swatch: str


class Chart(Protocol):
    """What can be drawn over two axes: points x [n], y [n] of `series` [n], which are indices into `entries`.

    order [n]: the points in the order in which the arrow keys visit them. summary: the chart in words.
    """

    entries: list[Entry]
    x: np.ndarray
    y: np.ndarray
    series: np.ndarray
    order: np.ndarray

    @property
    def summary(self) -> str: ...

    def describe(self, at: int) -> str:
        """Return a point in words."""

    def paint(
        self, painter: QPainter, rect: QRectF, theme: Theme, hidden: Collection[int] = (), marked: int = -1
    ) -> Axes:
        """Draw all but the hidden series, `marked` above the others, and return where values lie."""


class ChartView(QWidget):
    """A chart and its legend; a click on a legend's entry hides the series."""

    def __init__(self, chart: Chart, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.canvas, self.legend = ChartCanvas(chart), Legend(below=0)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        layout.addWidget(self.canvas, 1)
        layout.addWidget(self.legend)
        self._has_legend = len(chart.entries) > 1 or any(entry.note for entry in chart.entries)
        if self._has_legend:
            for at, entry in enumerate(chart.entries):
                self.legend.add(str(at), entry.name, entry.index, swatch=entry.swatch)
                self.legend.set_value(str(at), entry.note)
        self.legend.setVisible(self._has_legend)
        self.legend.toggled.connect(lambda key, shown: self.canvas.show_series(int(key), shown))
        self.setFocusProxy(self.canvas)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)

    def setAccessibleName(self, name: str) -> None:
        super().setAccessibleName(name)
        self.canvas.setAccessibleName(name)

    def resizeEvent(self, event: QResizeEvent) -> None:
        # Where there is hardly room for the curves, a legend would lie over their axis; hovering names them too.
        self.legend.setVisible(self._has_legend and self.height() >= LEAST_WITH_LEGEND)
        super().resizeEvent(event)


class ChartCanvas(QWidget):
    """The chart itself. Left and Right go from point to point, Up and Down from series to series, Esc leaves."""

    def __init__(self, chart: Chart) -> None:
        super().__init__()
        self._chart, self._hidden, self._at = chart, frozenset(), -1
        self._key: tuple = ()
        self._picture, self._axes = QPixmap(), None
        self.setMouseTracking(True)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self.setMinimumSize(180, 180)
        self.setAccessibleDescription(chart.summary)

    def sizeHint(self) -> QSize:
        return QSize(320, 280)

    def show_series(self, series: int, shown: bool) -> None:
        """Show or hide a series."""
        self._hidden = self._hidden - {series} if shown else self._hidden | {series}
        if self._at >= 0 and self._chart.series[self._at] in self._hidden:
            self._at = -1
        self.update()

    def place(self, at: int) -> QPointF:
        """Return where a point lies."""
        self._draw(current())
        return self._axes.point(float(self._chart.x[at]), float(self._chart.y[at]))

    def hit(self, place: QPointF) -> int:
        """Return the shown point that is nearest to a place, -1 where none is near."""
        self._draw(current())
        far = self._distances(place)
        at = int(np.argmin(far)) if len(far) else -1
        return at if at >= 0 and far[at] <= REACH else -1

    def point(self) -> int:
        """Return the point that is told of, or -1."""
        return self._at

    def paintEvent(self, event: object) -> None:
        theme, painter = current(), QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        self._draw(theme)
        painter.drawPixmap(0, 0, self._picture)
        if self.hasFocus():
            painter.setPen(QPen(theme.colour("accent"), 1))
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.drawRoundedRect(self.rect().toRectF().adjusted(0.5, 0.5, -0.5, -0.5), 4, 4)
        if not len(self._chart.x):
            painter.setPen(theme.colour("muted"))
            painter.drawText(self._axes.inside, Qt.AlignmentFlag.AlignCenter, tr("Nothing to draw"))
        if self._at >= 0:
            at, series = self.place(self._at), int(self._chart.series[self._at])
            index = self._chart.entries[series].index if self._chart.entries else 0
            paint_mark(painter, index, at, 7.0, theme.colour("surface"))
            paint_mark(painter, index, at, 5.0, series_colour(theme, index))
            paint_note(painter, self.rect().toRectF(), at, self._chart.describe(self._at), theme)

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        self._go(self.hit(event.position()))

    def leaveEvent(self, event: object) -> None:
        self._go(-1)

    def focusOutEvent(self, event: object) -> None:
        super().focusOutEvent(event)
        self._go(-1)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        along = {Qt.Key.Key_Left: -1, Qt.Key.Key_Right: 1}.get(Qt.Key(event.key()))
        across = {Qt.Key.Key_Up: -1, Qt.Key.Key_Down: 1}.get(Qt.Key(event.key()))
        if along:
            self._go(self._beside(along))
        elif across:
            self._go(self._in_other_series(across))
        elif event.key() == Qt.Key.Key_Escape and self._at >= 0:
            self._go(-1)
        else:
            super().keyPressEvent(event)

    def _go(self, at: int) -> None:
        if at != self._at:
            self._at = at
            self.setAccessibleDescription(self._chart.describe(at) if at >= 0 else self._chart.summary)
            self.update()

    def _beside(self, way: int) -> int:
        """Return the next point that is shown, the first where none is told of."""
        self._draw(current())
        shown = self._chart.order[np.isfinite(self._distances(QPointF())[self._chart.order])]
        if not len(shown) or self._at < 0:
            return int(shown[0]) if len(shown) else -1
        here = int(np.flatnonzero(shown == self._at)[0])
        return int(shown[min(len(shown) - 1, max(0, here + way))])

    def _in_other_series(self, way: int) -> int:
        """Return the point nearest to this one in the next series that is shown."""
        if self._at < 0:
            return self._beside(1)
        far = self._distances(self.place(self._at))
        mine, reachable = int(self._chart.series[self._at]), np.isfinite(far)
        others = sorted(set(self._chart.series[reachable].tolist()))
        wanted = others[(others.index(mine) + way) % len(others)]
        return int(np.argmin(np.where(self._chart.series == wanted, far, np.inf))) if wanted != mine else self._at

    def _distances(self, place: QPointF) -> np.ndarray:
        """Return how far [n] the points are from a place in pixels, infinitely far those that are not shown."""
        across, up = self._axes.place(self._chart.x, self._chart.y)
        far = np.hypot(across - place.x(), up - place.y())
        return np.where(np.isnan(far) | np.isin(self._chart.series, list(self._hidden)), np.inf, far)

    def _draw(self, theme: Theme) -> None:
        """Draw what does not change while the mouse moves, once."""
        one_of_many = self._at >= 0 and self._chart.entries and self._chart.entries[0].swatch == "line"
        marked = int(self._chart.series[self._at]) if one_of_many and len(self._chart.entries) > 1 else -1
        ratio = self.devicePixelRatioF()
        key = (self.size(), ratio, theme.name, self._hidden, marked)
        if key == self._key:
            return
        self._key, self._picture = key, QPixmap(self.size() * ratio)
        self._picture.setDevicePixelRatio(ratio)
        self._picture.fill(Qt.GlobalColor.transparent)
        painter = QPainter(self._picture)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        self._axes = self._chart.paint(painter, self.rect().toRectF(), theme, self._hidden, marked)
