"""A plot as a picture, as vectors and as numbers."""

from typing import Any

from PySide6.QtCore import QPoint, QRect, QSize
from PySide6.QtGui import QPainter, QPixmap, QRegion
from PySide6.QtSvg import QSvgGenerator
from PySide6.QtWidgets import QWidget

from studio.ui.theme import current
from studio.ui.widgets.curves import write_csv


def picture(plot: Any, scale: float = 2.0) -> QPixmap:
    """Return the plot with its legend on the surface colour, without crosshair and menu."""
    result = QPixmap(plot.size() * scale)
    result.setDevicePixelRatio(scale)
    result.fill(current().colour("surface"))
    painter = QPainter(result)
    _paint(plot, painter, scale / plot.devicePixelRatioF())
    painter.end()
    return result


def write_png(plot: Any, path: str, scale: float = 2.0) -> None:
    """Write the plot's picture; raises OSError where it can't be written."""
    if not picture(plot, scale).save(path, "PNG"):
        raise OSError(f"{path} can't be written")


def write_svg(plot: Any, path: str) -> None:
    """Write the plot as vector lines and text."""
    generator = QSvgGenerator()
    generator.setFileName(path)
    generator.setSize(plot.size())
    generator.setViewBox(QRect(QPoint(0, 0), QSize(plot.size())))
    generator.setTitle(plot.title)
    generator.setResolution(96)
    painter = QPainter()
    if not painter.begin(generator):
        raise OSError(f"{path} can't be written")
    painter.fillRect(plot.rect(), current().colour("surface"))
    _paint(plot, painter)
    painter.end()


def write_csv_of(plot: Any, path: str) -> None:
    """Write every point of the curves that are shown."""
    write_csv(path, [curve for curve in plot.curves().values() if curve.is_shown], plot.x_label)


def _paint(plot: Any, painter: QPainter, pen_scale: float = 1.0) -> None:
    plot.show_cursor(None)
    plot.pen_scale = pen_scale  # pens are as many pixels wide whatever the scale
    plot.redraw()
    for child in plot.findChildren(QWidget):
        if child.isVisibleTo(plot) and child.parent() is plot and child not in (plot.canvas, plot.corner):
            child.render(painter, child.pos(), QRegion(), QWidget.RenderFlag.DrawChildren)
    canvas = plot.canvas
    canvas.render(painter, canvas.geometry().toRectF(), canvas.viewport().rect())
    plot.pen_scale = 1.0
    plot.redraw()
