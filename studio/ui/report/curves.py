"""Curves as they are printed: dark lines on white, at the resolution of a printer, without pyqtgraph."""

from dataclasses import dataclass

import numpy as np
from PySide6.QtCore import QPointF, QRectF, Qt
from PySide6.QtGui import QColor, QFont, QFontMetricsF, QImage, QPainter, QPen, QPolygonF

from studio.core.series import decimate, smooth
from studio.ui.i18n import tr
from studio.ui.theme import load_theme
from studio.ui.widgets.curves import nice_ticks, tick_texts

DPI = 300
_POINTS = 2000  # of a curve; each bucket keeps its lowest, its highest and a NaN
_MM = 25.4


@dataclass(frozen=True)
class Line:
    """One curve of a picture: x ascending. style: line, smoothed (faint below its moving average) or points."""

    name: str
    x: np.ndarray
    y: np.ndarray
    style: str = "line"
    colour: int = 0


def picture(title: str, lines: list[Line], width_mm: float, height_mm: float, weight: float = 0.6) -> QImage:
    """Return curves over the step on white, DPI dots an inch.

    weight: of the moving average. Values that can't be drawn (NaN, infinite) are marked on the step axis.
    """
    image = QImage(round(width_mm / _MM * DPI), round(height_mm / _MM * DPI), QImage.Format.Format_RGB32)
    image.setDotsPerMeterX(round(DPI / _MM * 1000))
    image.setDotsPerMeterY(round(DPI / _MM * 1000))
    image.fill(Qt.GlobalColor.white)
    painter = QPainter(image)
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    _Drawing(painter, QRectF(image.rect()), weight).draw(title, lines)
    painter.end()
    return image


class _Drawing:
    """Draws one picture; lengths are in points of 1/72 inch until `_pt` makes them dots."""

    def __init__(self, painter: QPainter, area: QRectF, weight: float):
        self.painter, self.area, self.weight = painter, area, weight
        self.theme = load_theme("light")
        self.font = QFont()
        self.font.setPixelSize(round(_pt(7)))
        painter.setFont(self.font)
        self.text = QFontMetricsF(self.font)

    def draw(self, title: str, lines: list[Line]) -> None:
        finite = [line.y[np.isfinite(line.y)] for line in lines]
        values = np.concatenate(finite) if finite else np.empty(0)
        low, high = (float(values.min()), float(values.max())) if len(values) else (0.0, 1.0)
        room = (high - low or abs(high) or 1.0) * 0.04
        low, high = low - room, high + room
        steps = [float(x) for line in lines for x in (line.x[0], line.x[-1])] or [0.0, 1.0]
        first, last = min(steps), max(steps)
        last = last if last > first else first + 1
        ticks = nice_ticks(low, high, 5)[1]
        texts = tick_texts(ticks)
        left = max((self.text.horizontalAdvance(text) for text in texts), default=0.0) + _pt(6)
        head, foot = self.text.height() + _pt(6), self.text.height() + _pt(10)
        inside = self.area.adjusted(left, head, -_pt(6), -foot)

        def place(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            across = inside.left() + (x - first) / (last - first) * inside.width()
            return across, inside.bottom() - (y - low) / (high - low) * inside.height()

        self._axes(inside, ticks, texts, place, nice_ticks(first, last, 8)[1])
        self._head(title, lines, inside)
        for line in lines:
            self._line(line, place, inside)

    def _axes(self, inside: QRectF, ticks: list[float], texts: list[str], place, steps: list[float]) -> None:
        painter, muted = self.painter, QColor(self.theme.muted)
        painter.setPen(QPen(QColor(self.theme.hairline), _pt(0.5)))
        heights = place(np.zeros(len(ticks)), np.array(ticks))[1]
        for y in heights:
            painter.drawLine(QPointF(inside.left(), y), QPointF(inside.right(), y))
        painter.setPen(muted)
        half = self.text.height() / 2
        for y, text in zip(heights, texts, strict=True):
            box = QRectF(self.area.left(), y - half, inside.left() - self.area.left() - _pt(3), 2 * half)
            painter.drawText(box, Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter, text)
        whole = [step for step in steps if step == int(step)]
        across = place(np.array(whole), np.zeros(len(whole)))[0]
        below, word = inside.bottom() + _pt(3), tr("step")
        room = inside.right() - self.text.horizontalAdvance(word)
        painter.drawText(QPointF(room, below + self.text.ascent()), word)
        for x, step in zip(across, whole, strict=True):
            if x + self.text.horizontalAdvance(f"{step:,.0f}") / 2 > room - _pt(4):
                continue
            box = QRectF(x - _pt(30), below, _pt(60), 2 * half)
            painter.drawText(box, Qt.AlignmentFlag.AlignHCenter | Qt.AlignmentFlag.AlignTop, f"{step:,.0f}")

    def _head(self, title: str, lines: list[Line], inside: QRectF) -> None:
        painter, bold = self.painter, QFont(self.font)
        bold.setBold(True)
        base = self.area.top() + self.text.ascent() + _pt(1)
        painter.setFont(bold)
        painter.setPen(QColor(self.theme.text))
        painter.drawText(QPointF(self.area.left() + _pt(2), base), title)
        painter.setFont(self.font)
        at = inside.right()
        if len(lines) == 1:
            lines = []  # the title says it
        for line in reversed(lines):
            at -= self.text.horizontalAdvance(line.name)
            painter.setPen(QColor(self.theme.text))
            painter.drawText(QPointF(at, base), line.name)
            at -= _pt(14)
            painter.setPen(QPen(self._colour(line), _pt(1.6)))
            height = base - self.text.ascent() / 3
            painter.drawLine(QPointF(at, height), QPointF(at + _pt(10), height))
            at -= _pt(10)

    def _line(self, line: Line, place, inside: QRectF) -> None:
        colour = self._colour(line)
        if line.style == "smoothed" and len(line.y) > 2:
            faint = QColor(self.theme.mix(colour.name(), 0.35, "#FFFFFF"))
            self._stroke(line.x, line.y, place, QPen(faint, _pt(0.4)))
            self._stroke(line.x, smooth(line.y, self.weight), place, QPen(colour, _pt(1.1)))
        else:
            self._stroke(line.x, line.y, place, QPen(colour, _pt(1.1)))
        self.painter.setPen(Qt.PenStyle.NoPen)
        self.painter.setBrush(colour)
        if line.style == "points" and len(line.x) <= 200:
            for x, y in zip(*place(line.x, line.y), strict=True):
                if np.isfinite(y):
                    self.painter.drawEllipse(QPointF(x, y), _pt(1.6), _pt(1.6))
        gone = line.x[~np.isfinite(line.y)]
        self.painter.setBrush(QColor(self.theme.bad))
        for x in place(gone[:200], np.zeros(len(gone[:200])))[0]:
            self.painter.drawEllipse(QPointF(x, inside.bottom()), _pt(1.6), _pt(1.6))

    def _stroke(self, x: np.ndarray, y: np.ndarray, place, pen: QPen) -> None:
        x, y = decimate(x, np.where(np.isfinite(y), y, np.nan), _POINTS)
        self.painter.setPen(pen)
        self.painter.setBrush(Qt.BrushStyle.NoBrush)
        across, up = place(x, y)
        gaps = np.flatnonzero(np.isnan(y))
        for part in np.split(np.arange(len(x)), gaps):
            part = part[~np.isnan(y[part])]
            self.painter.drawPolyline(QPolygonF([QPointF(a, b) for a, b in zip(across[part], up[part], strict=True)]))

    def _colour(self, line: Line) -> QColor:
        return QColor(self.theme.series[line.colour % len(self.theme.series)])


def _pt(points: float) -> float:
    return points * DPI / 72
