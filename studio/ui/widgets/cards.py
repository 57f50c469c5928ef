"""Surfaces: cards, empty states, findings, error lines."""

from collections.abc import Sequence

from PySide6.QtCore import QSize, Qt, Signal
from PySide6.QtGui import QPainter
from PySide6.QtWidgets import QFrame, QHBoxLayout, QLabel, QLayout, QPushButton, QSizePolicy, QVBoxLayout, QWidget

from studio.ui.theme import GRID, GROUP, MARGIN, current, pixmap
from studio.ui.widgets.buttons import quiet_button
from studio.ui.widgets.chips import ICONS
from studio.ui.widgets.flow import FlowLayout
from studio.ui.widgets.labels import Body, Small, Strong


class Picture(QWidget):
    """An icon in a colour of the theme, drawn crisp at every scale."""

    def __init__(self, icon: str, size: int = 16, colour: str = "muted") -> None:
        super().__init__()
        self._icon, self._size, self._colour = icon, size, colour
        self.setFixedSize(size, size)

    def show_icon(self, icon: str, colour: str) -> None:
        """Show another icon."""
        self._icon, self._colour = icon, colour
        self.update()

    def paintEvent(self, event: object) -> None:
        picture = pixmap(self._icon, self._size, current().colour(self._colour), self.devicePixelRatioF())
        QPainter(self).drawPixmap(0, 0, picture)


class Card(QFrame):
    """A surface without a border; `body` is its layout, `header` the line of its title, which may wrap."""

    def __init__(self, title: str = "", parent: QWidget | None = None, wraps: bool = False) -> None:
        super().__init__(parent)
        self.setProperty("card", True)
        outer = QVBoxLayout(self)
        outer.setContentsMargins(GROUP, GROUP - 4, GROUP, GROUP - 4)
        outer.setSpacing(GRID)
        self.header = QHBoxLayout()
        self.header.setSpacing(GRID)
        self._title = Strong(title)
        self._title.setWordWrap(wraps)
        self.header.addWidget(self._title, int(wraps))
        if not wraps:
            self.header.addStretch(1)
        outer.addLayout(self.header)
        self.body = QVBoxLayout()
        self.body.setSpacing(GRID)
        outer.addLayout(self.body, 1)
        self.set_title(title)

    def set_title(self, title: str) -> None:
        """Change the title; none takes no room."""
        self._title.setText(title)
        self._title.setVisible(bool(title))
        self.setAccessibleName(title)

    def add(self, widget: QWidget, stretch: int = 0) -> None:
        """Add a widget below the others."""
        self.body.addWidget(widget, stretch)

    def add_to_header(self, widget: QWidget) -> None:
        """Add a widget at the right end of the title's line."""
        self.header.addWidget(widget)


class EmptyState(QWidget):
    """What stands where nothing is yet: an icon, one sentence, a way forward."""

    def __init__(
        self,
        icon: str,
        sentence: str,
        buttons: Sequence[QPushButton] = (),
        hint: str = "",
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(MARGIN, MARGIN, MARGIN, MARGIN)
        layout.setSpacing(GRID)
        layout.addStretch(1)
        layout.addWidget(Picture(icon, 40), 0, Qt.AlignmentFlag.AlignHCenter)
        layout.addSpacing(GRID)
        for text, label in ((sentence, Body(sentence)), (hint, Small(hint))):
            if text:
                label.setAlignment(Qt.AlignmentFlag.AlignHCenter)
                label.setMinimumWidth(200)
                label.setMaximumWidth(440)
                row = QHBoxLayout()
                row.addStretch(1)
                row.addWidget(label, 8)
                row.addStretch(1)
                layout.addLayout(row)
        if buttons:
            row = FlowLayout(centred=True)
            for button in buttons:
                row.addWidget(button)
            layout.addSpacing(GRID)
            layout.addLayout(row)
        self._end = layout.count()
        layout.addStretch(2)
        self.setAccessibleName(sentence)

    def add_below(self, title: str, rest: QLayout) -> None:
        """Add more ways on under the buttons, with a quiet title."""
        layout, label = self.layout(), Small(title)
        label.setAlignment(Qt.AlignmentFlag.AlignHCenter)
        layout.insertSpacing(self._end, MARGIN)
        layout.insertWidget(self._end + 1, label)
        layout.insertLayout(self._end + 2, rest)


class Finding(QFrame):
    """One thing found, in words, with the button that mends it; `acted` when it is pressed.

    tone: info, good, warning or bad.
    """

    acted = Signal()

    def __init__(self, tone: str = "info", text: str = "", action: str = "", parent: QWidget | None = None) -> None:
        super().__init__(parent)
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 2, 0, 2)
        layout.setSpacing(GRID)
        self._picture = Picture("info", 16)
        layout.addWidget(self._picture, 0, Qt.AlignmentFlag.AlignVCenter)
        self._label = Body()
        self._label.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Minimum)
        layout.addWidget(self._label, 1)
        self._button = quiet_button("")
        self._button.clicked.connect(self.acted)
        layout.addWidget(self._button, 0, Qt.AlignmentFlag.AlignVCenter)
        self.show_finding(tone, text, action)

    def show_finding(self, tone: str, text: str, action: str = "") -> None:
        """Show another finding; without `action` there is no button."""
        colour = "muted" if tone == "info" else tone
        self._picture.show_icon("info" if tone == "info" else ICONS[tone], colour)
        self._label.setText(text)
        self._button.setText(action)
        self._button.setVisible(bool(action))
        self.setAccessibleName(text)

    def button(self) -> QPushButton:
        """Return the button that mends it."""
        return self._button

    def text(self) -> str:
        """Return the words."""
        return self._label.text()


class ErrorLine(QWidget):
    """What is wrong with a field, below it; takes no room while nothing is."""

    def __init__(self, text: str = "", parent: QWidget | None = None) -> None:
        super().__init__(parent)
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(6)
        layout.addWidget(Picture("error", 14, "bad"), 0, Qt.AlignmentFlag.AlignTop)
        self._label = QLabel()
        self._label.setWordWrap(True)
        self._label.setProperty("tone", "bad")
        layout.addWidget(self._label, 1)
        self.show_text(text)

    def show_text(self, text: str) -> None:
        """Say what is wrong, or hide with an empty text."""
        self._label.setText(text)
        self.setAccessibleName(text)
        self.setVisible(bool(text))

    def clear(self) -> None:
        """Hide."""
        self.show_text("")

    def text(self) -> str:
        """Return what is wrong."""
        return self._label.text()

    def minimumSizeHint(self) -> QSize:
        return QSize(80, super().minimumSizeHint().height())
