"""A log: read-only, of fixed width, following its end unless the reader scrolled away."""

from PySide6.QtCore import QEvent, Qt
from PySide6.QtGui import QFontDatabase, QKeyEvent, QKeySequence, QTextCursor, QTextDocument
from PySide6.QtWidgets import QPlainTextEdit, QVBoxLayout, QWidget

from studio.ui.i18n import tr
from studio.ui.theme import current
from studio.ui.widgets.buttons import SearchField

MOST_LINES = 20_000


class LogView(QWidget):
    """Shows lines of text as they come; Ctrl+F searches, Enter finds the next, Ctrl+C copies."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.view = QPlainTextEdit()
        self.view.setReadOnly(True)
        self.view.setMaximumBlockCount(MOST_LINES)
        self.view.setLineWrapMode(QPlainTextEdit.LineWrapMode.NoWrap)
        self.view.setUndoRedoEnabled(False)
        font = QFontDatabase.systemFont(QFontDatabase.SystemFont.FixedFont)
        font.setPixelSize(current().small + 1)
        self.view.document().setDefaultFont(font)
        self.view.setFont(font)
        self.view.setTextInteractionFlags(
            Qt.TextInteractionFlag.TextSelectableByMouse | Qt.TextInteractionFlag.TextSelectableByKeyboard
        )
        self.search = SearchField(tr("Search in the log"))
        self.search.hide()
        self.search.searched.connect(self._find)
        self.search.returnPressed.connect(self.find_next)
        self.search.installEventFilter(self)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        layout.addWidget(self.search)
        layout.addWidget(self.view, 1)
        self.setFocusProxy(self.view)

    def setAccessibleName(self, name: str) -> None:
        super().setAccessibleName(name)
        self.view.setAccessibleName(name)

    def set_text(self, text: str) -> None:
        """Show another text, its end in sight."""
        self.view.setPlainText(text.rstrip("\n"))
        self._to_end()

    def append_lines(self, text: str) -> None:
        """Add whole lines; the view stays where the reader is, or at the end if they were there."""
        if not text:
            return
        at_end, place = self.is_following(), self.view.verticalScrollBar().value()
        self.view.appendPlainText(text.rstrip("\n"))
        if at_end:
            self._to_end()
        else:
            self.view.verticalScrollBar().setValue(place)

    def text(self) -> str:
        """Return all lines that are kept."""
        return self.view.toPlainText()

    def is_following(self) -> bool:
        """Return whether the end is in sight."""
        bar = self.view.verticalScrollBar()
        return bar.value() >= bar.maximum() - 1

    def open_search(self) -> None:
        """Show the search field."""
        self.search.show()
        self.search.setFocus()
        self.search.selectAll()

    def find_next(self) -> bool:
        """Select the next place of what is searched, from the top again after the last; False where there is none."""
        text = self.search.text()
        if not text:
            return False
        if self.view.find(text):
            return True
        cursor = self.view.textCursor()
        cursor.movePosition(QTextCursor.MoveOperation.Start)
        self.view.setTextCursor(cursor)
        return self.view.find(text, QTextDocument.FindFlag(0))

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.matches(QKeySequence.StandardKey.Find):
            self.open_search()
        elif event.matches(QKeySequence.StandardKey.FindNext):
            self.find_next()
        else:
            super().keyPressEvent(event)

    def eventFilter(self, watched: object, event: QEvent) -> bool:
        is_escape = event.type() == QEvent.Type.KeyPress and event.key() == Qt.Key.Key_Escape
        if is_escape and not self.search.text():
            self.search.hide()
            self.view.setFocus()
            return True
        return False

    def _find(self, text: str) -> None:
        cursor = self.view.textCursor()
        cursor.setPosition(cursor.selectionStart())
        self.view.setTextCursor(cursor)
        self.find_next()

    def _to_end(self) -> None:
        bar = self.view.verticalScrollBar()
        bar.setValue(bar.maximum())
        self.view.horizontalScrollBar().setValue(0)
