"""Two bars a name: what was and what is, with both numbers beside them."""

from collections.abc import Sequence

from PySide6.QtCore import QRectF, QSize, Qt
from PySide6.QtGui import QColor, QFontMetrics, QMouseEvent, QPainter
from PySide6.QtWidgets import QSizePolicy, QWidget

from studio.ui import words
from studio.ui.theme import GRID, current, number_font

LINE, BAR = 30, 7


class PairBars(QWidget):
    """Shares from 0 to 1 by name, the first faint above the second; the exact numbers on hover."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._rows: list[tuple[str, float, float]] = []
        self.setMouseTracking(True)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)

    def set_rows(self, rows: Sequence[tuple[str, float, float]]) -> None:
        """Show names with their first and second share, in this order."""
        self._rows = list(rows)
        self.setAccessibleName(", ".join(f"{name} {_numbers(a, b)}" for name, a, b in rows))
        self.updateGeometry()
        self.update()

    def rows(self) -> list[tuple[str, float, float]]:
        """Return what is shown."""
        return list(self._rows)

    def sizeHint(self) -> QSize:
        return QSize(260, LINE * len(self._rows))

    def minimumSizeHint(self) -> QSize:
        return QSize(140, LINE * len(self._rows))

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        line = int(event.position().y()) // LINE
        name, first, second = self._rows[line] if 0 <= line < len(self._rows) else ("", 0.0, 0.0)
        self.setToolTip(f"{name}: {first!r} → {second!r}" if name else "")

    def paintEvent(self, event: object) -> None:
        theme, painter = current(), QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        font = number_font(theme.small)
        painter.setFont(font)
        metrics = QFontMetrics(font)
        widest = max((metrics.horizontalAdvance(name) for name, _, _ in self._rows), default=0)
        # An advance is rounded, and may be less than what the text needs.
        left = min(widest + 2 + GRID, int(self.width() * 0.36))
        right = metrics.horizontalAdvance(_numbers(0.8888, 0.8888)) + GRID
        room = max(8, self.width() - left - right)
        for line, (name, *shares) in enumerate(self._rows):
            top = line * LINE
            painter.setPen(theme.colour("text"))
            shown = metrics.elidedText(name, Qt.TextElideMode.ElideRight, left - GRID)
            middle = Qt.AlignmentFlag.AlignVCenter
            painter.drawText(QRectF(0, top, left, LINE), middle, shown)
            numbers = QRectF(self.width() - right, top, right, LINE)
            painter.drawText(numbers, middle | Qt.AlignmentFlag.AlignRight, _numbers(*shares))
            painter.setPen(Qt.PenStyle.NoPen)
            for place, share in enumerate(shares):
                bar = QRectF(left, top + LINE / 2 - BAR - 1 + place * (BAR + 2), room, BAR)
                painter.setBrush(QColor(theme.mix("text", 0.06)))
                painter.drawRoundedRect(bar, 3, 3)
                painter.setBrush(theme.colour("accent") if place else QColor(theme.mix("text", 0.38)))
                width = room * min(max(share, 0.0), 1.0)
                if width >= 1:
                    painter.drawRoundedRect(QRectF(left, bar.top(), max(width, 3), BAR), 3, 3)


def _numbers(first: float, second: float) -> str:
    return f"{words.percent(first, 1)} → {words.percent(second, 1)}"
