"""The command palette: type a few letters of what you want to do."""

from collections.abc import Sequence

from PySide6.QtCore import QEvent, QObject, Qt
from PySide6.QtGui import QAction
from PySide6.QtWidgets import QFrame, QLineEdit, QListWidget, QListWidgetItem, QVBoxLayout, QWidget

from studio.ui.i18n import tr
from studio.ui.theme import GRID

_WIDTH, _HEIGHT = 480, 360


def score(query: str, text: str) -> float:
    """Return how well `query` fits as a subsequence of `text`, higher is better, 0 not at all."""
    query, text = query.lower().replace(" ", ""), text.lower()
    at, total, before = -1, 0.0, -2
    for letter in query:
        at = text.find(letter, at + 1)
        if at < 0:
            return 0.0
        # Letters in a row and at the beginning of words are what people type.
        total += 3.0 if at == before + 1 else 2.0 if at == 0 or not text[at - 1].isalnum() else 1.0
        before = at
    return total + 1 / (1 + len(text)) if query else 1.0


class Palette(QFrame):
    """Floats over a window; Enter does the chosen action, Esc leaves."""

    def __init__(self, actions: Sequence[QAction], parent: QWidget):
        super().__init__(parent)
        self.setObjectName("floating")
        self._actions = actions
        self.field = QLineEdit()
        self.field.setPlaceholderText(tr("What do you want to do?"))
        self.field.setAccessibleName(tr("Find an action"))
        self.list = QListWidget()
        self.list.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(GRID, GRID, GRID, GRID)
        layout.setSpacing(4)
        layout.addWidget(self.field)
        layout.addWidget(self.list)
        self.field.textChanged.connect(self._filter)
        self.field.installEventFilter(self)
        self.list.itemClicked.connect(lambda _: self.do())
        self.hide()

    def open(self) -> None:
        """Show the palette with all actions that can be done now."""
        width = min(_WIDTH, self.parentWidget().width() - 4 * GRID)
        height = min(_HEIGHT, self.parentWidget().height() - 12 * GRID)
        self.setGeometry((self.parentWidget().width() - width) // 2, 6 * GRID, width, height)
        self.field.clear()
        self._filter("")
        self.show()
        self.raise_()
        self.field.setFocus()

    def titles(self) -> list[str]:
        """Return what is listed, best first."""
        return [self.list.item(i).data(Qt.ItemDataRole.UserRole).text() for i in range(self.list.count())]

    def do(self) -> None:
        """Do what is chosen."""
        item = self.list.currentItem()
        self.hide()
        if item is not None:
            item.data(Qt.ItemDataRole.UserRole).trigger()

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        if event.type() == QEvent.Type.FocusOut and event.reason() != Qt.FocusReason.ActiveWindowFocusReason:
            self.hide()
        if event.type() == QEvent.Type.ShortcutOverride and event.key() == Qt.Key.Key_Escape:
            event.accept()
            return True
        if event.type() == QEvent.Type.KeyPress:
            step = {Qt.Key.Key_Up: -1, Qt.Key.Key_Down: 1}.get(event.key())
            if step:
                self.list.setCurrentRow((self.list.currentRow() + step) % max(1, self.list.count()))
                return True
            if event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter):
                self.do()
                return True
            if event.key() == Qt.Key.Key_Escape:
                self.hide()
                return True
        return super().eventFilter(watched, event)

    def _filter(self, query: str) -> None:
        self.list.clear()
        scored = [(score(query, action.text()), action) for action in self._actions if action.isEnabled()]
        for points, action in sorted(scored, key=lambda pair: -pair[0]):
            if points > 0:
                keys = action.shortcut().toString(action.shortcut().SequenceFormat.NativeText)
                item = QListWidgetItem(action.icon(), action.text() + (f"    {keys}" if keys else ""))
                item.setData(Qt.ItemDataRole.UserRole, action)
                self.list.addItem(item)
        self.list.setCurrentRow(0)
