"""The key of a picture: what its colours and forms mean."""

from collections.abc import Callable, Sequence

from PySide6.QtCore import QRectF, QSize, Qt
from PySide6.QtGui import QFontMetrics, QPainter
from PySide6.QtWidgets import QSizePolicy, QWidget

from studio.ui.theme import Theme, current, number_font
from studio.ui.widgets.flow import FlowLayout

SWATCH, HEIGHT = 22, 20
Swatch = Callable[[QPainter, QRectF, Theme], None]


class Key(QWidget):
    """Words, each beside a small sample of what it names, in as many lines as needed."""

    def __init__(self, entries: Sequence[tuple[str, Swatch]], parent: QWidget | None = None) -> None:
        super().__init__(parent)
        layout = FlowLayout(self, spacing=12, below=2)
        for text, swatch in entries:
            layout.addWidget(_Entry(text, swatch))
        policy = QSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Minimum)
        policy.setHeightForWidth(True)
        self.setSizePolicy(policy)
        if not entries:
            self.hide()


class _Entry(QWidget):
    def __init__(self, text: str, swatch: Swatch) -> None:
        super().__init__()
        self._text, self._swatch = text, swatch
        self.setAccessibleName(text)
        self.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Fixed)

    def sizeHint(self) -> QSize:
        width = QFontMetrics(number_font(current().small)).horizontalAdvance(self._text)
        return QSize(SWATCH + 6 + width + 2, HEIGHT)

    def paintEvent(self, event: object) -> None:
        theme, painter = current(), QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setFont(number_font(theme.small))
        painter.save()
        self._swatch(painter, QRectF(1, 2, SWATCH - 2, HEIGHT - 4), theme)
        painter.restore()
        painter.setPen(theme.colour("muted"))
        painter.drawText(self.rect().adjusted(SWATCH + 6, 0, 0, 0), Qt.AlignmentFlag.AlignVCenter, self._text)
