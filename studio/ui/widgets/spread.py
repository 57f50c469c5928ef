"""How a number is spread: a dot for each value, with mean and standard deviation, one band for each group."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PySide6.QtCore import QPointF, QRectF, QSize, Qt, Signal
from PySide6.QtGui import QColor, QFontMetrics, QMouseEvent, QPainter, QPen
from PySide6.QtWidgets import QSizePolicy, QWidget

from studio.ui import words
from studio.ui.theme import current, follow_theme, number_font

BAND, FOOT, RADIUS, REACH = 28, 16, 2.5, 6.0  # logical pixels


@dataclass(frozen=True, eq=False)
class Band:
    """A group: its name, its values (NaN is left out), their mean and spread, and the colour of the dots."""

    name: str
    values: np.ndarray
    mean: float
    spread: float
    colour: str


class SpreadPlot(QWidget):
    """Bands over one axis. picked: the place of the value whose dot was clicked."""

    picked = Signal(int)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._bands: list[Band] = []
        self._tips: list[str] = []
        self._hovered = (-1, -1)
        self.setMouseTracking(True)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        follow_theme(self, lambda _: self.update())

    def show_bands(self, bands: Sequence[Band], tips: Sequence[str], name: str) -> None:
        """Show bands; tips: what each value stands for, name: what the values are."""
        self._bands, self._tips, self._hovered = list(bands), list(tips), (-1, -1)
        said = [f"{b.name} {words.number(b.mean, 3)} ± {words.number(b.spread, 2)}" for b in bands]
        self.setAccessibleName(f"{name}: {'; '.join(said)}")
        self.setFixedHeight(BAND * max(len(bands), 1) + FOOT)
        self.update()

    def ends(self) -> tuple[float, float]:
        """Return the least and the largest value there is."""
        known = np.concatenate([band.values[np.isfinite(band.values)] for band in self._bands] or [np.zeros(0)])
        if not len(known):
            return 0.0, 1.0
        low, high = float(known.min()), float(known.max())
        return (low, high) if high > low else (low - 0.5, high + 0.5)

    def dot(self, band: int, place: int) -> QPointF:
        """Return where the dot of a value is."""
        area, (low, high) = self._area(), self.ends()
        # The golden ratio spreads neighbours over the height, the same each time.
        height = (place * 0.618033988749895) % 1.0 - 0.5
        x = area.left() + (float(self._bands[band].values[place]) - low) / (high - low) * area.width()
        return QPointF(x, BAND * (band + 0.5) + height * (BAND - 10))

    def sizeHint(self) -> QSize:
        return QSize(240, BAND * max(len(self._bands), 1) + FOOT)

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        found = self._at(event.position())
        if found != self._hovered:
            self._hovered = found
            band, place = found
            self.setToolTip(
                f"{words.number(float(self._bands[band].values[place]))}\n{self._tips[place]}" if band >= 0 else ""
            )
            self.setCursor(Qt.CursorShape.PointingHandCursor if band >= 0 else Qt.CursorShape.ArrowCursor)
            self.update()

    def leaveEvent(self, event: object) -> None:
        self._hovered = (-1, -1)
        self.update()

    def mousePressEvent(self, event: QMouseEvent) -> None:
        band, place = self._at(event.position())
        if band >= 0:
            self.picked.emit(place)

    def paintEvent(self, event: object) -> None:
        theme, painter = current(), QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setFont(number_font(theme.small))
        area, (low, high) = self._area(), self.ends()
        for place, band in enumerate(self._bands):
            middle = BAND * (place + 0.5)
            painter.setPen(theme.colour("muted"))
            painter.drawText(QRectF(0, middle - 10, area.left() - 6, 20), Qt.AlignmentFlag.AlignVCenter, band.name)
            self._paint_band(
                painter,
                place,
                band,
                [
                    # A spread may reach further than any value, and the name stands there.
                    min(max(area.left() + (v - low) / (high - low) * area.width(), area.left()), area.right())
                    for v in (band.mean - band.spread, band.mean, band.mean + band.spread)
                ],
            )
        if self._hovered[0] >= 0:
            painter.setPen(QPen(theme.colour("text"), 1.5))
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.drawEllipse(self.dot(*self._hovered), RADIUS + 2, RADIUS + 2)
        foot = QRectF(area.left(), BAND * len(self._bands), area.width(), FOOT)
        painter.setPen(theme.colour("muted"))
        painter.drawText(foot, Qt.AlignmentFlag.AlignLeft, _shown(low))
        painter.drawText(foot, Qt.AlignmentFlag.AlignRight, _shown(high))

    def _paint_band(self, painter: QPainter, place: int, band: Band, marks: list[float]) -> None:
        theme, middle = current(), BAND * (place + 0.5)
        painter.setPen(QPen(theme.colour("hairline"), 1))
        painter.drawLine(QPointF(self._area().left(), middle), QPointF(self._area().right(), middle))
        colour = QColor(band.colour)
        colour.setAlpha(130)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(colour)
        for number in np.flatnonzero(np.isfinite(band.values)):
            painter.drawEllipse(self.dot(place, int(number)), RADIUS, RADIUS)
        left, mean, right = marks
        if np.isfinite(mean):
            painter.setPen(QPen(theme.colour("text"), 2))
            painter.drawLine(QPointF(mean, middle - 11), QPointF(mean, middle + 11))
        if np.isfinite(left):
            painter.drawLine(QPointF(left, middle), QPointF(right, middle))

    def _area(self) -> QRectF:
        metrics = QFontMetrics(number_font(current().small))
        left = max((metrics.horizontalAdvance(band.name) for band in self._bands), default=0) + 12
        return QRectF(left, 0, max(self.width() - left - 8, 1), self.height())

    def _at(self, point: QPointF) -> tuple[int, int]:
        band = int(point.y() // BAND)
        if not 0 <= band < len(self._bands):
            return -1, -1
        near = [
            ((self.dot(band, int(i)) - point).manhattanLength(), int(i))
            for i in np.flatnonzero(np.isfinite(self._bands[band].values))
        ]
        distance, place = min(near, default=(REACH + 1, -1))
        return (band, place) if distance <= REACH else (-1, -1)


def _shown(value: float) -> str:
    return words.number(value, 3).replace("-", "−")
