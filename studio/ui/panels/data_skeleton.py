"""The shape of the Data page while a file is being read."""

from PySide6.QtCore import QRectF, Qt
from PySide6.QtGui import QColor, QPainter
from PySide6.QtWidgets import QHBoxLayout, QVBoxLayout, QWidget

from studio.ui.panels.data_about import HEIGHT
from studio.ui.theme import GROUP, current
from studio.ui.widgets.cards import Card

WIDTHS = (0.72, 0.55, 0.83, 0.64, 0.48, 0.77, 0.6, 0.7)


class Skeleton(QWidget):
    """A table and three cards, drawn as grey bars; nothing moves."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(GROUP)
        layout.addWidget(_card(_Bars(28)), 1)
        below = QHBoxLayout()
        below.setSpacing(GROUP)
        for _ in range(3):
            card = _card(_Bars(24))
            card.setFixedHeight(HEIGHT)
            below.addWidget(card)
        layout.addLayout(below)


class _Bars(QWidget):
    """Grey bars, one every `step` pixels, as many as fit."""

    def __init__(self, step: int) -> None:
        super().__init__()
        self._step = step

    def paintEvent(self, event: object) -> None:
        theme, painter = current(), QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(QColor(theme.mix("text", 0.07)))
        for i in range(self.height() // self._step):
            width = self.width() * (0.3 if i == 0 else WIDTHS[i % len(WIDTHS)])
            painter.drawRoundedRect(QRectF(0, i * self._step + 8, width, 10), 5, 5)


def _card(bars: _Bars) -> Card:
    card = Card()
    card.add(bars, 1)
    return card
