"""The left rail: the seven pages in the order of work."""

from PySide6.QtCore import QSize, Qt, Signal
from PySide6.QtGui import QKeySequence
from PySide6.QtWidgets import QButtonGroup, QFrame, QToolButton, QVBoxLayout

from studio.ui import words
from studio.ui.i18n import tr
from studio.ui.theme import GRID, follow_theme, icon

WIDTH = 76


class Rail(QFrame):
    """One button a page; `chosen` carries the page's name."""

    chosen = Signal(str)

    def __init__(self) -> None:
        super().__init__()
        self.setObjectName("rail")
        self.setFixedWidth(WIDTH)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(GRID, GRID, GRID, GRID)
        layout.setSpacing(4)
        self._group = QButtonGroup(self)
        self._buttons: dict[str, QToolButton] = {}
        for i, (name, title) in enumerate(words.PAGES.items()):
            button = QToolButton()
            button.setObjectName(f"go.{name}")
            button.setText(tr(title))
            button.setAccessibleName(tr(title))
            button.setToolTip(QKeySequence(f"Ctrl+{i + 1}").toString(QKeySequence.SequenceFormat.NativeText))
            button.setCheckable(True)
            button.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextUnderIcon)
            button.setIconSize(QSize(22, 22))
            button.setFixedSize(WIDTH - 2 * GRID, 54)
            button.setFocusPolicy(Qt.FocusPolicy.TabFocus)
            button.clicked.connect(lambda _=False, name=name: self.chosen.emit(name))
            self._group.addButton(button)
            self._buttons[name] = button
            layout.addWidget(button)
        layout.addStretch(1)
        follow_theme(self, lambda theme: self._draw())

    def show_page(self, name: str) -> None:
        """Mark a page as the one that is open."""
        self._buttons[name].setChecked(True)
        self._draw()

    def _draw(self) -> None:
        for name, button in self._buttons.items():
            button.setIcon(icon(name, "accent" if button.isChecked() else "muted"))
