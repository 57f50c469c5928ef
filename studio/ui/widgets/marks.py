"""What tells series apart without colour alone: dashes of lines, shapes of points."""

from PySide6.QtCore import QPointF, QRectF, Qt
from PySide6.QtGui import QColor, QPainter, QPen, QPolygonF

from studio.ui.theme import Theme

_DASHES = ([], [3.0, 1.5], [1.0, 1.0], [4.0, 1.2, 1.0, 1.2])  # in widths of the pen
N_SHAPES = 8
REST = -1  # the series that holds all those without a colour of their own
_CORNERS = {
    1: ((-0.9, -0.9), (0.9, -0.9), (0.9, 0.9), (-0.9, 0.9)),
    2: ((0.0, -1.15), (1.1, 0.85), (-1.1, 0.85)),
    3: ((0.0, -1.25), (1.25, 0.0), (0.0, 1.25), (-1.25, 0.0)),
    4: ((0.0, 1.15), (1.1, -0.85), (-1.1, -0.85)),
    5: ((0.0, -1.2), (1.15, -0.35), (0.7, 1.0), (-0.7, 1.0), (-1.15, -0.35)),
}


def series_colour(theme: Theme, index: int) -> QColor:
    """Return the colour of a series; REST is muted."""
    return theme.colour("muted" if index == REST else theme.series[index % len(theme.series)])


def series_pen(theme: Theme, index: int, width: float, share: float = 1.0) -> QPen:
    """Return the pen of a line: series beyond the theme's colours are dashed; `share` below 1 fades it."""
    pen = QPen(QColor(theme.mix(series_colour(theme, index).name(), share)), width)
    dashes = _DASHES[index // len(theme.series) % len(_DASHES)]
    if dashes:
        pen.setDashPattern(dashes)
        pen.setCapStyle(Qt.PenCapStyle.FlatCap)
    pen.setJoinStyle(Qt.PenJoinStyle.RoundJoin)
    return pen


def paint_mark(painter: QPainter, index: int, at: QPointF, radius: float, colour: QColor) -> None:
    """Draw the point of a series: each of the first `N_SHAPES` has its own shape, REST is a ring."""
    shape = index % N_SHAPES if index != REST else REST
    painter.setPen(Qt.PenStyle.NoPen)
    painter.setBrush(colour)
    if shape in _CORNERS:
        painter.drawPolygon(QPolygonF([at + QPointF(x, y) * radius for x, y in _CORNERS[shape]]))
    elif shape in (6, 7):  # + and ×
        painter.save()
        painter.translate(at)
        painter.rotate(45 * (shape - 6))
        long, thick = 1.3 * radius, 0.42 * radius
        painter.drawRect(QRectF(-long, -thick, 2 * long, 2 * thick))
        painter.drawRect(QRectF(-thick, -long, 2 * thick, 2 * long))
        painter.restore()
    elif shape == REST:
        painter.setBrush(Qt.BrushStyle.NoBrush)
        painter.setPen(QPen(colour, max(0.8, radius * 0.35)))
        painter.drawEllipse(at, radius * 0.75, radius * 0.75)
    else:
        painter.drawEllipse(at, radius, radius)
