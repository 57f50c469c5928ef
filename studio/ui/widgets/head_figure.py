"""One head as a figure for print: vector text, colours without loss, the scale and the meaning of the axes stated."""

from dataclasses import dataclass

import numpy as np
from PySide6.QtCore import QRect, QRectF, QSize, QSizeF, Qt
from PySide6.QtGui import QFontMetrics, QImage, QPainter
from PySide6.QtSvg import QSvgGenerator

from studio.ui.i18n import tr
from studio.ui.theme import Theme, load_theme, number_font
from studio.ui.widgets.heat import Scale, picture

LABEL_CELL, LARGEST_CELL, SIDE, MARGIN = 12, 24, 640, 16
FONT, LEAST_WIDTH = 11, 420
WRAPPED = Qt.AlignmentFlag.AlignLeft | Qt.TextFlag.TextWordWrap


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
        return QSizeF(self._width(), self._corner()[1] + len(self.values) * self.cell() + 64)

    def paint(self, painter: QPainter) -> None:
        """Draw the figure at the origin."""
        theme, cell = load_theme("light"), self.cell()
        left, top = self._corner()
        n_queries, n_keys = self.values.shape
        width, head = self._width(), 8 + self._caption_height()
        painter.fillRect(QRectF(0, 0, width, self.size().height()), theme.colour("surface"))
        painter.setFont(number_font(FONT))
        painter.drawImage(QRectF(left, top, n_keys * cell, n_queries * cell), self._picture(theme, cell))
        painter.setPen(theme.colour("text"))
        painter.drawText(QRectF(MARGIN, 8, width - 2 * MARGIN, head), WRAPPED, self.caption)
        painter.setPen(theme.colour("muted"))
        key = tr("key: the token looked at")
        painter.drawText(QRectF(left, head, width - left, 16), Qt.AlignmentFlag.AlignLeft, key)
        self._paint_tokens(painter, theme)
        painter.save()
        painter.translate(MARGIN - 4, top + n_queries * cell)
        painter.rotate(-90)
        painter.setPen(theme.colour("muted"))
        painter.drawText(QRectF(0, 0, max(170, n_queries * cell), 16), Qt.AlignmentFlag.AlignLeft,
                         tr("query: the token that looks"))  # fmt: skip
        painter.restore()
        foot = top + n_queries * cell + 12
        self.scale.paint_bar(painter, QRectF(left, foot, min(260.0, width - left - MARGIN), 16), theme)
        painter.drawText(QRectF(left, foot + 20, width - left, 16), Qt.AlignmentFlag.AlignLeft, self.meaning())

    def meaning(self) -> str:
        """Return what the colours mean."""
        low, high = self.scale.ends()
        said = (
            tr("difference of attention, {low} to {high}", low=low, high=high)
            if self.scale.difference
            else (tr("attention, {low} to {high}", low=low, high=high))
        )
        return said + (f", γ {self.scale.gamma:g}" if self.scale.gamma != 1 else "")

    def _picture(self, theme: Theme, cell: int) -> QImage:
        """Return the matrix with each value as a square of pixels: no viewer can blur it."""
        colours = self.scale.colours(self.values, theme)
        return picture(np.repeat(np.repeat(colours, cell, axis=0), cell, axis=1))

    def _paint_tokens(self, painter: QPainter, theme: Theme) -> None:
        left, top = self._corner()
        cell, metrics = self.cell(), painter.fontMetrics()
        stride = max(1, int(np.ceil(LABEL_CELL / cell)))
        painter.setPen(theme.colour("text"))
        for row in range(0, len(self.query_tokens), stride):
            rect = QRectF(MARGIN + 16, top + (row + 0.5) * cell - 8, left - MARGIN - 22, 16)
            text = metrics.elidedText(self.query_tokens[row], Qt.TextElideMode.ElideRight, int(rect.width()) + 1)
            painter.drawText(rect, Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter, text)
        for column in range(0, len(self.key_tokens), stride):
            painter.save()
            painter.translate(left + (column + 0.5) * cell, top - 6)
            painter.rotate(-90)
            rect = QRectF(0, -8, top - 32 - self._caption_height(), 16)
            text = metrics.elidedText(self.key_tokens[column], Qt.TextElideMode.ElideRight, int(rect.width()) + 1)
            painter.drawText(rect, Qt.AlignmentFlag.AlignVCenter, text)
            painter.restore()

    def _corner(self) -> tuple[float, float]:
        """Return where the cells begin: right of the queries' tokens, below caption and keys' tokens."""
        return self._left(), 36.0 + self._caption_height() + min(130, self._widest(self.key_tokens))

    def _left(self) -> float:
        return MARGIN + 24.0 + min(130, self._widest(self.query_tokens))

    def _width(self) -> float:
        return max(self._left() + self.values.shape[1] * self.cell() + MARGIN, LEAST_WIDTH)

    def _widest(self, tokens: list[str]) -> int:
        metrics = QFontMetrics(number_font(FONT))
        return max(map(metrics.horizontalAdvance, tokens), default=0)

    def _caption_height(self) -> int:
        """Return the height of the caption, broken into as many lines as the width asks for."""
        room = QRect(0, 0, int(self._width()) - 2 * MARGIN, 10_000)
        return QFontMetrics(number_font(FONT)).boundingRect(room, WRAPPED, self.caption).height() + 4


def write_png(figure: Figure, path: str, scale: float = 2.0) -> None:
    """Write the figure as a picture, `scale` pixels for a logical one; raises OSError where it can't be written."""
    size = (figure.size() * scale).toSize()
    image = QImage(size, QImage.Format.Format_RGB32)
    image.setDevicePixelRatio(scale)
    painter = QPainter(image)
    figure.paint(painter)
    painter.end()
    if not image.save(str(path), "PNG"):
        raise OSError(f"{path} can't be written")


def write_svg(figure: Figure, path: str) -> None:
    """Write the figure as vectors; raises OSError where it can't be written."""
    generator = QSvgGenerator()
    generator.setFileName(str(path))
    size: QSize = figure.size().toSize()
    generator.setSize(size)
    generator.setViewBox(QRect(0, 0, size.width(), size.height()))
    generator.setTitle(figure.caption)
    generator.setDescription(tr("Row = query, the token that looks; column = key, the token looked at.") + " " +
                             figure.meaning())  # fmt: skip
    painter = QPainter()
    if not painter.begin(generator):
        raise OSError(f"{path} can't be written")
    figure.paint(painter)
    painter.end()
