"""Buttons and the search field."""

from PySide6.QtCore import QSize, Qt, QTimer, Signal
from PySide6.QtGui import QAction, QKeyEvent
from PySide6.QtWidgets import QLineEdit, QPushButton, QToolButton, QWidget

from studio.ui.i18n import tr
from studio.ui.theme import follow_theme, icon, set_icon

SEARCH_DELAY_MS = 200


def main_button(text: str, name: str = "", icon_name: str = "") -> QPushButton:
    """Return the one accented button of a page; `name` is its objectName (`action.run.start`)."""
    button = _button(text, name, icon_name, "on_accent")
    button.setProperty("main", True)
    return button


def quiet_button(text: str, name: str = "", icon_name: str = "") -> QPushButton:
    """Return an ordinary button."""
    return _button(text, name, icon_name, "text")


def flat_button(text: str, name: str = "", icon_name: str = "") -> QPushButton:
    """Return a button without a ground, for the least important things."""
    button = _button(text, name, icon_name, "muted")
    button.setProperty("flat", True)
    return button


def icon_button(icon_name: str, tip: str, name: str = "") -> QToolButton:
    """Return a button that is only an icon; `tip` says what it does, to the eye and to a screen reader."""
    button = QToolButton()
    button.setObjectName(name)
    button.setToolTip(tip)
    button.setAccessibleName(tip)
    button.setIconSize(QSize(16, 16))
    button.setFocusPolicy(Qt.FocusPolicy.TabFocus)
    set_icon(button, icon_name, "muted")
    return button


class SearchField(QLineEdit):
    """A field whose `searched` comes once the person stops typing; Esc empties it, Enter does not wait."""

    searched = Signal(str)

    def __init__(self, placeholder: str = "", parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setPlaceholderText(placeholder or tr("Search"))
        self.setAccessibleName(placeholder or tr("Search"))
        self.setClearButtonEnabled(True)
        action = QAction(self)
        self.addAction(action, QLineEdit.ActionPosition.LeadingPosition)
        follow_theme(self, lambda theme: action.setIcon(icon("search", "muted")))
        self._timer = QTimer(self, singleShot=True, interval=SEARCH_DELAY_MS)
        self._timer.timeout.connect(self._search)
        self.textChanged.connect(self._timer.start)
        self.returnPressed.connect(self._search)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.key() == Qt.Key.Key_Escape and self.text():
            self.clear()
            self._search()
            return
        super().keyPressEvent(event)

    def _search(self) -> None:
        self._timer.stop()
        self.searched.emit(self.text())


def _button(text: str, name: str, icon_name: str, colour: str) -> QPushButton:
    button = QPushButton(text)
    button.setObjectName(name)
    button.setCursor(Qt.CursorShape.PointingHandCursor)
    if icon_name:
        set_icon(button, icon_name, colour)
    return button
