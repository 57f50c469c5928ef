"""One head as a figure for print: vector text, colours without loss, colour bar, axes and caption; on white."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Protocol

import numpy as np
from PySide6.QtCore import QBuffer, QMarginsF, QPointF, QRect, QRectF, QSize, QSizeF, Qt
from PySide6.QtGui import QColor, QFontMetrics, QImage, QPageSize, QPaintDevice, QPainter, QPdfWriter, QPen
from PySide6.QtSvg import QSvgGenerator

from studio.core.files import write_atomic
from studio.ui.i18n import tr
from studio.ui.theme import Theme, load_theme, number_font
from studio.ui.widgets.heat import Scale, picture

DPI = 96  # of a logical pixel
LARGEST_CELL, LARGE_CELL, SIDE, MARGIN = 24, 12, 640, 12
FONT, SMALL_FONT, LEAST_WIDTH, MOST_LABEL = 11, 8, 420, 130
BAR, BAR_ROOM, AXIS, VECTOR_CELL, VECTOR_SIDE = 10, 64, 18, 4, 1024
PART_PIXELS, PART_HEIGHT = 1 << 17, 32
WRAPPED = Qt.AlignmentFlag.AlignLeft | Qt.TextFlag.TextWordWrap
LEFT, RIGHT = (
    Qt.AlignmentFlag.AlignVCenter | side for side in (Qt.AlignmentFlag.AlignLeft, Qt.AlignmentFlag.AlignRight)
)


class Drawn(Protocol):
    """What can be written as a figure."""

    caption: str

    def size(self) -> QSizeF: ...

    def paint(self, painter: QPainter) -> None: ...

    def meaning(self) -> str: ...


@dataclass(frozen=True)
class Figure:
    """Values [query, key] with their tokens, what they are, and how they are coloured; drawn in the light theme."""

    values: np.ndarray
    query_tokens: list[str]
    key_tokens: list[str]
    caption: str
    scale: Scale

    def cell(self) -> int:
        """Return the side of a cell in pixels, whole, so that every value is a square of one colour."""
        return max(1, min(LARGEST_CELL, SIDE // max(1, *self.values.shape)))

    def size(self) -> QSizeF:
        """Return the size of the figure in logical pixels."""
        return QSizeF(self._width(), self._foot() + self._caption_height() + MARGIN)

    def paint(self, painter: QPainter) -> None:
        """Draw the figure at the origin."""
        theme, (left, top) = load_theme("light"), self._corner()
        n_queries, n_keys = self.values.shape
        fill(painter, self.size(), QColor(Qt.GlobalColor.white))
        matrix = QRectF(left, top, n_keys * self.cell(), n_queries * self.cell())
        # Of vectors, a program that draws them may smooth a picture: each value has several pixels.
        enough = min(VECTOR_CELL, VECTOR_SIDE // max(n_queries, n_keys))
        side = self.cell() if isinstance(painter.device(), QImage) else max(self.cell(), enough)
        self._paint_values(painter, theme, matrix, side)
        painter.setPen(QPen(theme.colour("muted"), 0.5))
        painter.drawRect(matrix)
        self._paint_axes(painter, theme, matrix)
        self._paint_tokens(painter, theme)
        self._paint_bar(painter, theme, matrix)
        painter.setFont(number_font(FONT))
        painter.setPen(theme.colour("text"))
        room = QRectF(MARGIN, self._foot(), self._width() - 2 * MARGIN, self._caption_height())
        painter.drawText(room, WRAPPED, self.words())

    def words(self) -> str:
        """Return what stands below: what it is, and what the colours mean."""
        return f"{self.caption} · {self.meaning()}" if self.caption else self.meaning()

    def meaning(self) -> str:
        """Return what the colours mean."""
        low, high = self.scale.ends()
        said = (
            tr("colours: difference of attention, {low} to {high}", low=low, high=high)
            if self.scale.difference
            else tr("colours: attention, {low} to {high}", low=low, high=high)
        )
        return said + (f", γ {self.scale.gamma:g}" if self.scale.gamma != 1 else "")

    def _paint_values(self, painter: QPainter, theme: Theme, matrix: QRectF, side: int) -> None:
        """Draw the matrix with each value as a square of pixels, so that no viewer can blur it.

        A picture is packed while Python waits, and the window with it: a large one is drawn in parts. Each reaches
        under the next, else a viewer that smooths edges would show the seam.
        """
        n_queries, n_keys = self.values.shape
        n_rows = max(1, PART_PIXELS // (n_keys * side * side))
        for first in range(0, n_queries, n_rows):
            colours = self.scale.colours(self.values[first : first + n_rows + 1], theme)
            image = picture(np.repeat(np.repeat(colours, side, axis=0), side, axis=1))
            top = matrix.top() + first * self.cell()
            painter.drawImage(QRectF(matrix.left(), top, matrix.width(), len(colours) * self.cell()), image)

    def _paint_axes(self, painter: QPainter, theme: Theme, matrix: QRectF) -> None:
        painter.setFont(number_font(FONT))
        painter.setPen(theme.colour("muted"))
        wide = QRectF(matrix.left(), MARGIN, self._width() - matrix.left(), 16)
        painter.drawText(wide, LEFT, tr("key: the token looked at"))
        painter.save()
        painter.translate(MARGIN, matrix.bottom())
        painter.rotate(-90)
        painter.drawText(QRectF(0, 0, max(170, matrix.height()), 16), LEFT, tr("query: the token that looks"))
        painter.restore()

    def _paint_tokens(self, painter: QPainter, theme: Theme) -> None:
        left, top = self._corner()
        cell, size = self.cell(), self._label_size()
        painter.setFont(number_font(size))
        metrics = QFontMetrics(number_font(size))
        stride = max(1, int(np.ceil((size + 1) / cell)))
        painter.setPen(theme.colour("text"))
        for row in range(0, len(self.query_tokens), stride):
            rect = QRectF(MARGIN + AXIS, top + (row + 0.5) * cell - 8, left - MARGIN - AXIS - 5, 16)
            text = metrics.elidedText(self.query_tokens[row], Qt.TextElideMode.ElideRight, int(rect.width()) + 1)
            painter.drawText(rect, RIGHT, text)
        for column in range(0, len(self.key_tokens), stride):
            painter.save()
            painter.translate(left + (column + 0.5) * cell, top - 5)
            painter.rotate(-90)
            rect = QRectF(0, -8, top - MARGIN - AXIS - 5, 16)
            text = metrics.elidedText(self.key_tokens[column], Qt.TextElideMode.ElideRight, int(rect.width()) + 1)
            painter.drawText(rect, LEFT, text)
            painter.restore()

    def _paint_bar(self, painter: QPainter, theme: Theme, matrix: QRectF) -> None:
        """Draw the colours upright at the right of the matrix, with the values at its ends and in its middle."""
        height = min(matrix.height(), 240.0)
        bar = QRectF(matrix.right() + 14, matrix.top(), BAR, height)
        low = -self.scale.limit if self.scale.difference else 0.0
        colours = self.scale.colours(np.linspace(self.scale.limit, low, 256)[:, None], theme)
        painter.drawImage(bar, picture(np.repeat(colours, 4, axis=1)))
        painter.setPen(QPen(theme.colour("muted"), 0.5))
        painter.drawRect(bar)
        painter.setFont(number_font(FONT))
        first, last = self.scale.ends()
        middle = "0" if self.scale.difference else f"{self.scale.limit / 2:.3g}"
        for share, text in ((0.0, last), (0.5, middle), (1.0, first)):
            y = bar.top() + share * height
            painter.drawLine(QPointF(bar.right(), y), QPointF(bar.right() + 3, y))
            painter.drawText(QRectF(bar.right() + 6, y - 8, BAR_ROOM, 16), LEFT, text)

    def _label_size(self) -> int:
        return FONT if self.cell() >= LARGE_CELL else SMALL_FONT

    def _corner(self) -> tuple[float, float]:
        """Return where the cells begin: right of the queries' tokens, below the keys'."""
        left, top = (MARGIN + AXIS + 8.0 + min(MOST_LABEL, widest) for widest in self._widest)
        return left, top

    def _width(self) -> float:
        return max(self._corner()[0] + self.values.shape[1] * self.cell() + 14 + BAR + BAR_ROOM, LEAST_WIDTH)

    def _foot(self) -> float:
        """Return where the caption begins; the name of the queries' axis may need more than a small matrix has."""
        top = self._corner()[1]
        return max(top + len(self.values) * self.cell(), 190.0) + 14

    @cached_property
    def _widest(self) -> tuple[int, int]:
        """The width of the widest token of the queries, and of the keys."""
        metrics = QFontMetrics(number_font(self._label_size()))
        queries, keys = (
            max(map(metrics.horizontalAdvance, set(tokens)), default=0)
            for tokens in (self.query_tokens, self.key_tokens)
        )
        return queries, keys

    def _caption_height(self) -> int:
        """Return the height of the caption, broken into as many lines as the width asks for."""
        room = QRect(0, 0, int(self._width()) - 2 * MARGIN, 10_000)
        return QFontMetrics(number_font(FONT)).boundingRect(room, WRAPPED, self.words()).height() + 4


def fill(painter: QPainter, size: QSizeF, colour: QColor) -> None:
    """Fill the ground of a figure; of a picture a part at a time, for Python waits meanwhile."""
    step = PART_HEIGHT if isinstance(painter.device(), QImage) else size.height()
    for top in np.arange(0.0, size.height(), step).tolist():
        painter.fillRect(QRectF(0, top, size.width(), min(step, size.height() - top)), colour)


def write_png(figure: Drawn, path: str | Path, scale: float = 2.0) -> None:
    """Write the figure as a picture, `scale` pixels for a logical one; raises OSError where it can't be written."""
    image = QImage((figure.size() * scale).toSize(), QImage.Format.Format_RGB32)
    image.setDevicePixelRatio(scale)
    painter = QPainter(image)
    figure.paint(painter)
    painter.end()
    for set_dots in (image.setDotsPerMeterX, image.setDotsPerMeterY):
        set_dots(round(scale * DPI / 0.0254))
    buffer = QBuffer()
    image.save(buffer, "PNG")
    _write(path, buffer)


def write_svg(figure: Drawn, path: str | Path) -> None:
    """Write the figure as vectors; raises OSError where it can't be written."""
    buffer, generator = QBuffer(), QSvgGenerator()
    generator.setOutputDevice(buffer)
    size: QSize = figure.size().toSize()
    generator.setResolution(DPI)
    generator.setSize(size)
    generator.setViewBox(QRect(0, 0, size.width(), size.height()))
    generator.setTitle(figure.caption)
    generator.setDescription(tr("Row = query, the token that looks; column = key, the token looked at.") + " " +
                             figure.meaning())  # fmt: skip
    _paint(figure, generator)
    _write(path, buffer)


def write_pdf(figure: Drawn, path: str | Path) -> None:
    """Write the figure as a page of its own size, with text as text; raises OSError where it can't be written."""
    buffer = QBuffer()
    buffer.open(QBuffer.OpenModeFlag.WriteOnly)
    writer = QPdfWriter(buffer)
    writer.setResolution(DPI)
    size, exact = figure.size() * (72 / DPI), QPageSize.SizeMatchPolicy.ExactMatch
    writer.setPageSize(QPageSize(size, QPageSize.Unit.Point, "", exact))
    writer.setPageMargins(QMarginsF(0, 0, 0, 0))
    writer.setTitle(figure.caption)
    writer.setCreator("Attune")
    _paint(figure, writer)
    _write(path, buffer)


WRITERS: dict[str, Callable[..., None]] = {"png": write_png, "svg": write_svg, "pdf": write_pdf}


def _paint(figure: Drawn, device: QPaintDevice) -> None:
    painter = QPainter(device)
    # Else a page keeps pictures as JPEG, which changes the colours.
    painter.setRenderHint(QPainter.RenderHint.LosslessImageRendering)
    figure.paint(painter)
    painter.end()


def _write(path: str | Path, buffer: QBuffer) -> None:
    if not Path(path).parent.is_dir():
        raise FileNotFoundError(2, "There is no such folder", str(path))
    write_atomic(Path(path), buffer.data().data(), shared=True)
