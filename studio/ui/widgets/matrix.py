"""A small matrix with names, such as a confusion matrix: counts on tints, a click on a cell picks its rows."""

from collections.abc import Sequence

import numpy as np
from PySide6.QtCore import QEvent, QPointF, QRectF, QSize, Qt, Signal
from PySide6.QtGui import QColor, QFontMetrics, QHelpEvent, QKeyEvent, QMouseEvent, QPainter, QPen
from PySide6.QtWidgets import QSizePolicy, QToolTip, QWidget

from studio.ui import words
from studio.ui.i18n import tr
from studio.ui.theme import Theme, current, number_font

LEAST_CELL, MOST_CELL, AXIS = 14, 64, 18
MOST_NAME = 120


class MatrixView(QWidget):
    """Values [row, column]; a cell's tint is its share of its row. A second click on a cell lets it go.

    chosen: row and column, or -1 and -1. The arrow keys move, Enter chooses.
    """

    chosen = Signal(int, int)

    def __init__(
        self,
        rows: Sequence[str],
        columns: Sequence[str],
        values: Sequence[Sequence[float]],
        row_axis: str = "",
        column_axis: str = "",
        clickable: bool = False,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self._rows, self._columns = list(rows), list(columns)
        self._values = np.asarray(values, dtype=float).reshape(len(self._rows), len(self._columns))
        totals = np.nansum(self._values, axis=1, keepdims=True)
        self._shares = np.nan_to_num(self._values / np.where(totals > 0, totals, 1.0))
        self._axes, self._clickable = (row_axis, column_axis), clickable
        self._hovered, self._current, self._chosen = (-1, -1), (0, 0), (-1, -1)
        self.setMouseTracking(True)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        if clickable:
            self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)

    def cell_rect(self, row: int, column: int) -> QRectF:
        """Return where a cell is."""
        left, top = self._corner()
        width, height = self._cell()
        return QRectF(left + column * width, top + row * height, width - 1, height - 1)

    def hit(self, at: QPointF) -> tuple[int, int]:
        """Return the cell at a place, (-1, -1) for none."""
        left, top = self._corner()
        width, height = self._cell()
        row, column = int((at.y() - top) // height), int((at.x() - left) // width)
        inside = 0 <= row < len(self._rows) and 0 <= column < len(self._columns)
        return (row, column) if inside else (-1, -1)

    def describe(self, row: int, column: int) -> str:
        """Return a cell in words."""
        if row < 0:
            return ""
        value = float(self._values[row, column])
        first = f"{tr(self._axes[0])} {self._rows[row]}".strip()
        second = f"{tr(self._axes[1])} {self._columns[column]}".strip()
        share = tr("{share} of the row", share=words.percent(self._shares[row, column], 1))
        number = f"{int(value):,}" if value.is_integer() else repr(value)
        return f"{first} · {second}\n{number} ({share})"

    def sizeHint(self) -> QSize:
        left, top = self._corner()
        return QSize(round(left + 44 * len(self._columns)), round(top + 36 * len(self._rows)) + 2)

    def minimumSizeHint(self) -> QSize:
        left, top = self._corner()
        across, down = LEAST_CELL * len(self._columns), LEAST_CELL * len(self._rows)
        return QSize(round(left + across), round(top + down) + 2)

    def paintEvent(self, event: object) -> None:
        theme, painter = current(), QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setFont(number_font(theme.small))
        metrics = painter.fontMetrics()
        self._paint_names(painter, metrics)
        width, height = self._cell()
        for row in range(len(self._rows)):
            for column in range(len(self._columns)):
                rect, share = self.cell_rect(row, column), float(self._shares[row, column])
                ground = theme.mix("accent", 0.06 + 0.94 * share)
                painter.fillRect(rect, QColor(ground))
                value = self._values[row, column]
                text = words.count(value) if float(value).is_integer() else words.number(value, 3)
                if metrics.horizontalAdvance(text) < width - 4 and height >= 13:
                    painter.setPen(readable_on(ground, theme))
                    painter.drawText(rect, Qt.AlignmentFlag.AlignCenter, text)
        marks = [(self._hovered, "text", 1.0), (self._chosen, "text", 2.0)]
        if self.hasFocus():
            marks.append((self._current, "accent", 2.0))
        for cell, colour, pen in marks:
            if cell[0] >= 0 and len(self._rows) and len(self._columns):
                painter.setPen(QPen(theme.colour(colour), pen))
                painter.setBrush(Qt.BrushStyle.NoBrush)
                painter.drawRect(self.cell_rect(*cell).adjusted(0.5, 0.5, -0.5, -0.5))

    def event(self, event: QEvent) -> bool:
        if event.type() == QEvent.Type.ToolTip and isinstance(event, QHelpEvent):
            QToolTip.showText(event.globalPos(), self.describe(*self.hit(QPointF(event.pos()))), self)
            return True
        return super().event(event)

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        cell = self.hit(event.position())
        if cell != self._hovered:
            self._hovered = cell
            hand = self._clickable and cell[0] >= 0
            self.setCursor(Qt.CursorShape.PointingHandCursor if hand else Qt.CursorShape.ArrowCursor)
            self.update()

    def leaveEvent(self, event: object) -> None:
        self._hovered = (-1, -1)
        self.update()

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        cell = self.hit(event.position())
        if cell[0] >= 0 and event.button() == Qt.MouseButton.LeftButton:
            self._choose(cell)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        moves = {Qt.Key.Key_Up: (-1, 0), Qt.Key.Key_Down: (1, 0), Qt.Key.Key_Left: (0, -1), Qt.Key.Key_Right: (0, 1)}
        if event.key() in moves and self._values.size:
            down, right = moves[event.key()]
            row = min(len(self._rows) - 1, max(0, self._current[0] + down))
            self._current = (row, min(len(self._columns) - 1, max(0, self._current[1] + right)))
            self.setAccessibleDescription(self.describe(*self._current))
            self.update()
        elif event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Space) and self._values.size:
            self._choose(self._current)
        else:
            super().keyPressEvent(event)

    def let_go(self) -> None:
        """Choose no cell, without a word."""
        self._chosen = (-1, -1)
        self.update()

    def _choose(self, cell: tuple[int, int]) -> None:
        if self._clickable:
            self._current, self._chosen = cell, (-1, -1) if cell == self._chosen else cell
            self.chosen.emit(*self._chosen)
            self.update()

    def _corner(self) -> tuple[float, float]:
        """Return where the cells begin: right of the rows' names, below the columns'."""
        metrics = QFontMetrics(number_font(current().small))
        widest = min(MOST_NAME, max(map(metrics.horizontalAdvance, self._rows), default=0))
        turned = min(MOST_NAME, max(map(metrics.horizontalAdvance, self._columns), default=0))
        across = self._names_fit(metrics)
        return AXIS + widest + 8.0, AXIS + (metrics.height() + 4 if across else turned + 8.0)

    def _names_fit(self, metrics: QFontMetrics) -> bool:
        widest = min(MOST_NAME, max(map(metrics.horizontalAdvance, self._rows), default=0))
        room = (self.width() - AXIS - widest - 8) / max(1, len(self._columns))
        return all(metrics.horizontalAdvance(name) + 6 <= min(room, MOST_CELL * 1.6) for name in self._columns)

    def _cell(self) -> tuple[float, float]:
        left, top = self._corner()
        width = (self.width() - left) / max(1, len(self._columns))
        height = (self.height() - top) / max(1, len(self._rows))
        return max(LEAST_CELL, min(width, MOST_CELL * 1.6)), max(LEAST_CELL, min(height, MOST_CELL))

    def _paint_names(self, painter: QPainter, metrics: QFontMetrics) -> None:
        theme = current()
        left, top = self._corner()
        width, height = self._cell()
        painter.setPen(theme.colour("muted"))
        whole = QRectF(left, 0, width * len(self._columns), AXIS)
        painter.drawText(whole, Qt.AlignmentFlag.AlignHCenter | Qt.AlignmentFlag.AlignTop, tr(self._axes[1]))
        painter.save()
        painter.translate(0, top + height * len(self._rows))
        painter.rotate(-90)
        along = QRectF(0, 0, height * len(self._rows), AXIS)
        painter.drawText(along, Qt.AlignmentFlag.AlignHCenter | Qt.AlignmentFlag.AlignTop, tr(self._axes[0]))
        painter.restore()
        painter.setPen(theme.colour("text"))
        elide, right = Qt.TextElideMode.ElideRight, Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
        for row, name in enumerate(self._rows):
            rect = QRectF(AXIS, top + row * height, left - AXIS - 8, height)
            painter.drawText(rect, right, metrics.elidedText(name, elide, int(rect.width()) + 1))
        across = self._names_fit(metrics)
        for column, name in enumerate(self._columns):
            if across:
                rect = QRectF(left + column * width, AXIS, width, top - AXIS)
                painter.drawText(rect, Qt.AlignmentFlag.AlignCenter, name)
                continue
            painter.save()
            painter.translate(left + column * width + width / 2, top - 6)
            painter.rotate(-90)
            rect = QRectF(0, -metrics.height() / 2, top - AXIS - 6, metrics.height())
            text = metrics.elidedText(name, elide, int(rect.width()) + 1)
            painter.drawText(rect, Qt.AlignmentFlag.AlignVCenter, text)
            painter.restore()


def readable_on(ground: str, theme: Theme) -> QColor:
    """Return the colour of the theme's text, light or dark, that stands out more from a ground (`#RRGGBB`)."""
    behind = _luminance(QColor(ground))
    return max((theme.colour("text"), theme.colour("on_accent"), theme.colour("ground")),
               key=lambda c: abs(np.log((_luminance(c) + 0.05) / (behind + 0.05))))  # fmt: skip


def _luminance(colour: QColor) -> float:
    """Return the relative luminance of WCAG 2."""
    parts = np.array([colour.redF(), colour.greenF(), colour.blueF()])
    linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
    return float(linear @ (0.2126, 0.7152, 0.0722))
