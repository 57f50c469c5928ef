"""Text at the three levels of the look, and labels that shorten themselves."""

from PySide6.QtCore import QSize, Qt
from PySide6.QtGui import QGuiApplication, QPainter, QPalette
from PySide6.QtWidgets import QLabel, QMenu, QSizePolicy, QWidget

from studio.ui.i18n import tr


class Title(QLabel):
    """The heading of a page or a large card."""

    def __init__(self, text: str = "", parent: QWidget | None = None) -> None:
        super().__init__(text, parent)
        self.setProperty("level", "title")


class Strong(QLabel):
    """A body text that stands out: the heading of a card."""

    def __init__(self, text: str = "", parent: QWidget | None = None) -> None:
        super().__init__(text, parent)
        self.setProperty("level", "strong")


class Body(QLabel):
    """Running text; it wraps, and `tone` (muted, good, warning, bad) colours it."""

    def __init__(self, text: str = "", tone: str = "", parent: QWidget | None = None) -> None:
        super().__init__(text, parent)
        self.setWordWrap(True)
        if tone:
            self.setProperty("tone", tone)


class Small(QLabel):
    """Quiet text beside something else; it wraps."""

    def __init__(self, text: str = "", tone: str = "", parent: QWidget | None = None) -> None:
        super().__init__(text, parent)
        self.setProperty("level", "small")
        self.setWordWrap(True)
        if tone:
            set_tone(self, tone)


def set_tone(widget: QWidget, tone: str) -> None:
    """Change the dynamic property `tone` of a widget and draw it anew."""
    widget.setProperty("tone", tone)
    widget.style().unpolish(widget)
    widget.style().polish(widget)


class ElidedLabel(QLabel):
    """One line that leaves out what does not fit and says the whole text on hover."""

    def __init__(
        self, text: str = "", mode: Qt.TextElideMode = Qt.TextElideMode.ElideRight, parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self._mode = mode
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setTextFormat(Qt.TextFormat.PlainText)
        self.setText(text)

    def setText(self, text: str) -> None:
        super().setText(text)
        self.setToolTip(text)

    def minimumSizeHint(self) -> QSize:
        return QSize(self.fontMetrics().averageCharWidth() * 6, super().minimumSizeHint().height())

    def sizeHint(self) -> QSize:
        return QSize(self.fontMetrics().horizontalAdvance(self.text()) + 2, super().sizeHint().height())

    def paintEvent(self, event: object) -> None:
        painter = QPainter(self)
        text = " ".join(self.text().split("\n"))
        shown = self.fontMetrics().elidedText(text, self._mode, self.width())
        painter.setPen(self.palette().color(QPalette.ColorRole.WindowText))
        painter.drawText(self.rect(), self.alignment() | Qt.TextFlag.TextSingleLine, shown)


class PathLabel(ElidedLabel):
    """A path, shortened in the middle; its context menu copies it."""

    def __init__(self, path: str = "", parent: QWidget | None = None) -> None:
        super().__init__(path, Qt.TextElideMode.ElideMiddle, parent)
        self.setContextMenuPolicy(Qt.ContextMenuPolicy.CustomContextMenu)
        self.customContextMenuRequested.connect(self._show_menu)

    def copy(self) -> None:
        """Put the whole path on the clipboard."""
        QGuiApplication.clipboard().setText(self.text())

    def _show_menu(self, at: object) -> None:
        menu = QMenu(self)
        menu.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        menu.addAction(tr("Copy the path"), self.copy)
        menu.popup(self.mapToGlobal(at))
