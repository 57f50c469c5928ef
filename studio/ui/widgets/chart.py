"""What charts over two axes share: the place of a value, axes with names, and a note beside a point."""

from dataclasses import dataclass

import numpy as np
from PySide6.QtCore import QPointF, QRectF, Qt
from PySide6.QtGui import QColor, QFontMetricsF, QPainter, QPen

from studio.ui.i18n import tr
from studio.ui.theme import Theme, number_font
from studio.ui.widgets.curves import nice_ticks, tick_texts
from studio.ui.widgets.wrapped import wrapped

_FULL = (0.0, 1.0)
_WIDEST_NOTE, _MOST_LETTERS = 280, 280


@dataclass(frozen=True)
class Axes:
    """Where the values of a chart lie: `inside` in logical pixels, the values at its borders as low and high."""

    inside: QRectF
    x: tuple[float, float]
    y: tuple[float, float]

    def place(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return where points [n] lie, NaN for those that can't be drawn."""
        drawable = np.isfinite(x) & np.isfinite(y)
        across = self.inside.left() + (x - self.x[0]) / (self.x[1] - self.x[0]) * self.inside.width()
        up = self.inside.bottom() - (y - self.y[0]) / (self.y[1] - self.y[0]) * self.inside.height()
        return np.where(drawable, across, np.nan), np.where(drawable, up, np.nan)

    def point(self, x: float, y: float) -> QPointF:
        """Return where one point lies."""
        across, up = self.place(np.array([x]), np.array([y]))
        return QPointF(float(across[0]), float(up[0]))


def axes_for(
    rect: QRectF, theme: Theme, x: np.ndarray, y: np.ndarray, same: bool = False, square: bool = False
) -> Axes:
    """Return axes within `rect` that hold all finite points; leaves room for ticks and the names of the axes.

    same: both axes have the same limits, so that a diagonal is one. square: both from 0 to 1.
    """
    across, up = (_FULL, _FULL) if square else (_limits(x), _limits(y))
    if same:
        across = up = (min(across[0], up[0]), max(across[1], up[1]))
    metrics = QFontMetricsF(number_font(theme.small))
    texts = tick_texts(nice_ticks(*up, most_ticks(rect.height()))[1])
    left = max((metrics.horizontalAdvance(text) for text in texts), default=0.0) + 8
    line = metrics.height()
    # The name of the y axis stands above it, that of the x axis below: upright both, so that they can be read.
    inside = rect.adjusted(left, line + 6, -8, -2 * line - 8)
    return Axes(QRectF(inside.topLeft(), inside.size().expandedTo(QRectF(0, 0, 10, 10).size())), across, up)


def most_ticks(pixels: float) -> int:
    """Return how many ticks an axis of this height bears."""
    return max(2, min(6, int(pixels / 40)))


def paint_axes(painter: QPainter, axes: Axes, theme: Theme, x_name: str = "", y_name: str = "") -> None:
    """Draw the grid, the ticks and the names of both axes."""
    painter.setFont(number_font(theme.small))
    metrics, inside = QFontMetricsF(painter.font()), axes.inside
    hairline, muted, line = QPen(theme.colour("hairline"), 1), theme.colour("muted"), metrics.height()
    heights = nice_ticks(*axes.y, most_ticks(inside.height() + 3 * line))[1]
    for tick, text in zip(heights, tick_texts(heights), strict=True):
        y = axes.point(axes.x[0], tick).y()
        painter.setPen(hairline)
        painter.drawLine(QPointF(inside.left(), y), QPointF(inside.right(), y))
        painter.setPen(muted)
        box = QRectF(inside.left() - 206, y - line / 2, 200, line)
        painter.drawText(box, Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter, text)
    ticks = nice_ticks(*axes.x, max(2, int(inside.width() / 64)))[1]
    end = inside.right() + 8
    for tick, text in zip(ticks, tick_texts(ticks), strict=True):
        x, width = axes.point(tick, axes.y[0]).x(), metrics.horizontalAdvance(text)
        painter.setPen(hairline)
        painter.drawLine(QPointF(x, inside.top()), QPointF(x, inside.bottom()))
        painter.setPen(muted)
        left = min(x - width / 2, end - width)
        painter.drawText(QPointF(left, inside.bottom() + 4 + metrics.ascent()), text)
    right, left = Qt.AlignmentFlag.AlignRight, Qt.AlignmentFlag.AlignLeft
    elide = Qt.TextElideMode.ElideRight
    below = QRectF(inside.left(), inside.bottom() + 5 + line, inside.width() + 6, line)
    painter.drawText(below, right, metrics.elidedText(tr(x_name), elide, below.width()))
    above = QRectF(2, inside.top() - line - 5, inside.right(), line)
    painter.drawText(above, left, metrics.elidedText(tr(y_name), elide, above.width()))


def paint_guides(painter: QPainter, axes: Axes, theme: Theme, diagonal: bool, zero_line: bool) -> None:
    """Draw x = y and y = 0 as dashed lines, as far as they lie on the axes."""
    ends = []
    low, high = max(axes.x[0], axes.y[0]), min(axes.x[1], axes.y[1])
    if diagonal and low < high:
        ends.append((axes.point(low, low), axes.point(high, high)))
    if zero_line and axes.y[0] <= 0 <= axes.y[1]:
        ends.append((axes.point(axes.x[0], 0), axes.point(axes.x[1], 0)))
    pen = QPen(theme.colour("muted"), 1)
    pen.setDashPattern([4, 4])
    painter.setPen(pen)
    for start, end in ends:
        painter.drawLine(start, end)


def paint_note(painter: QPainter, rect: QRectF, at: QPointF, text: str, theme: Theme) -> None:
    """Draw a note beside a point, within `rect`; above or below it where there is no room at its sides."""
    text = text if len(text) <= _MOST_LETTERS else text[:_MOST_LETTERS].rstrip() + "…"
    layout, height = wrapped(text, min(_WIDEST_NOTE, rect.width() - 20), number_font(theme.small))
    width = max(layout.lineAt(line).naturalTextWidth() for line in range(layout.lineCount()))
    box = QRectF(0, 0, width + 18, height + 10)
    box.moveCenter(at)
    if at.x() + 12 + box.width() < rect.right():
        box.moveLeft(at.x() + 12)
    elif at.x() - 12 - box.width() > rect.left():
        box.moveRight(at.x() - 12)
    elif at.y() < rect.center().y():
        box.moveTop(at.y() + 12)
    else:
        box.moveBottom(at.y() - 12)
    box.moveLeft(max(rect.left() + 1, min(box.left(), rect.right() - box.width() - 1)))
    box.moveTop(max(rect.top() + 1, min(box.top(), rect.bottom() - box.height() - 1)))
    painter.setPen(QPen(QColor(theme.mix("text", 0.22, "raised")), 1))
    painter.setBrush(theme.colour("raised"))
    painter.drawRoundedRect(box, 6, 6)
    painter.setPen(theme.colour("text"))
    layout.draw(painter, box.topLeft() + QPointF(9, 5))


def _limits(values: np.ndarray) -> tuple[float, float]:
    """Return the ends of an axis: those of the finite values and a little room."""
    finite = values[np.isfinite(values)]
    if not len(finite):
        return _FULL
    low, high = float(finite.min()), float(finite.max())
    room = (high - low or abs(high) or 1.0) * 0.04
    return low - room, high + room
