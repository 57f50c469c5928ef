"""What is looked into: a text, a pair of texts, a row of the data with its label, or a chat."""

import json
import re
from collections.abc import Sequence

from PySide6.QtCore import QEvent, QObject, QSize, Qt, Signal
from PySide6.QtGui import QKeyEvent
from PySide6.QtWidgets import (
    QComboBox,
    QHBoxLayout,
    QMenu,
    QPlainTextEdit,
    QProgressBar,
    QVBoxLayout,
    QWidget,
    QWidgetAction,
)

from studio.ui.i18n import tr
from studio.ui.panels.text_list import Entry, TextList
from studio.ui.theme import GRID, GROUP
from studio.ui.widgets.buttons import icon_button, main_button

ONE, TWO, CHAT = "one", "two", "chat"
MODES = {ONE: "One text", TWO: "Two texts", CHAT: "Chat"}
SECOND = "text_pair"  # the role of a second text where no task names it
MOST_LINES = 3  # of a field; a longer text scrolls
LIST_SIZE = QSize(460, 360)
_SPEAKER = re.compile(r"^(system|user|assistant)\s*:\s*", re.IGNORECASE)


class Question(QWidget):
    """The fields, the rows to choose from, and the button. asked: look into what stands here. typed: it is another now.

    What the fields are follows the task of a run; for a model of its own the person chooses.
    """

    asked = Signal()
    typed = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._roles: list[str] = ["text"]
        self._rows: list[dict[str, str]] = []
        self._gold = ""
        self._most = MOST_LINES
        self.is_typed = False  # whether a person typed what stands here
        self.mode = QComboBox()
        self.mode.setObjectName("inspect.mode")
        self.mode.setAccessibleName(tr("Kind of input"))
        self.mode.currentIndexChanged.connect(lambda _: self._show_mode())
        self.text, self.second = self._field("inspect.text"), self._field("inspect.second")
        fields = QVBoxLayout()
        fields.setSpacing(4)
        fields.addWidget(self.text)
        fields.addWidget(self.second)
        self.other = icon_button("refresh", tr("Another row of the test part"), "inspect.example")
        self.other.clicked.connect(self.next_row)
        self.rows = icon_button("data", tr("Choose a row of the data"), "inspect.rows")
        self.rows.setPopupMode(self.rows.ToolButtonPopupMode.InstantPopup)
        self.rows.setMenu(self._make_list())
        self.button = main_button(tr("Look inside"), "inspect.look")
        self.button.setToolTip(tr("Run the text and show the attention of every head (Ctrl+Enter)"))
        self.button.clicked.connect(self.asked)
        self.button.setMinimumWidth(self.button.sizeHint().width() + GROUP)
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(GRID)
        top = Qt.AlignmentFlag.AlignTop
        row.addWidget(self.mode, 0, top)
        row.addLayout(fields, 1)
        for widget in (self.other, self.rows, self.button):
            row.addWidget(widget, 0, top)
        self.bar = QProgressBar(self.text)
        self.bar.setRange(0, 0)
        self.bar.setTextVisible(False)
        self.bar.setAccessibleName(tr("Looking"))
        self.bar.hide()
        self.set_roles([])
        self.is_typed = False

    def _field(self, name: str) -> QPlainTextEdit:
        field = QPlainTextEdit()
        field.setObjectName(name)
        field.setTabChangesFocus(True)
        field.installEventFilter(self)
        field.textChanged.connect(self._type)
        field.document().documentLayout().documentSizeChanged.connect(lambda _: self._fit(field))
        self._fit(field)
        return field

    def set_most_lines(self, most: int) -> None:
        """Make fields no higher than so many lines; a longer text scrolls."""
        if most != self._most:
            self._most = most
            for field in (self.text, self.second):
                self._fit(field)

    def _fit(self, field: QPlainTextEdit) -> None:
        """Make a field as high as its text, so that the room goes to the maps."""
        n_all = max(1, round(field.document().size().height()))
        n_lines = min(n_all, self._most)
        field.setViewportMargins(0, 0, 0, 6 if n_all > n_lines else 0)  # else half of one line more is seen
        field.setFixedHeight(n_lines * field.fontMetrics().lineSpacing() + 20)

    def _make_list(self) -> QMenu:
        menu = QMenu(self)
        self.list = TextList(tr("Rows of the test part"))
        self.list.setFixedSize(LIST_SIZE)
        self.list.picked.connect(menu.close)
        self.list.picked.connect(self._pick)
        action = QWidgetAction(menu)
        action.setDefaultWidget(self.list)
        menu.addAction(action)
        return menu

    # --- what is asked -----------------------------------------------------------------------------------------

    def set_roles(self, roles: Sequence[tuple[str, str]], knows_chat: bool = False) -> None:
        """Offer a field for each role (id, label) that the task's model reads at once; none lets the person choose."""
        self._roles = [role for role, _ in roles] or ["text", SECOND]
        wanted = [] if roles else [ONE, TWO, *([CHAT] if knows_chat else [])]
        self.mode.blockSignals(True)
        self.mode.clear()
        for mode in wanted:
            self.mode.addItem(tr(MODES[mode]), mode)
        self.mode.blockSignals(False)
        self.mode.setVisible(bool(wanted))
        labels = [label for _, label in roles] or [tr("Type or paste a text"), tr("The second text")]
        for field, label in zip((self.text, self.second), labels, strict=False):
            field.setPlaceholderText(label)
            field.setAccessibleName(label)
        was_typed = self.is_typed
        self._show_mode()
        self.is_typed = was_typed

    def _show_mode(self) -> None:
        mode = self.mode.currentData()
        self.second.setVisible(mode == TWO or (mode is None and len(self._roles) > 1))
        if mode == CHAT:
            self.text.setPlaceholderText(tr("user: the first message, then assistant: its answer, each on a line"))
        self._type()

    def fields(self) -> dict[str, str]:
        """Return what stands here by role; a chat as JSON under `messages`, one text alone is no row: nothing."""
        text = self.text.toPlainText().strip()
        if self.mode.currentData() == CHAT:
            return {"messages": json.dumps(messages(text), ensure_ascii=False)}
        if self.second.isHidden():
            return {}
        return dict(zip(self._roles, (text, self.second.toPlainText().strip()), strict=False))

    @property
    def first_role(self) -> str:
        """The role of the first field."""
        return self._roles[0]

    def gold(self) -> str:
        """Return the label of the row that stands here, empty where it was typed."""
        return self._gold

    def put(self, row: dict[str, str], gold: str = "") -> None:
        """Put a row, by role, into the fields; its label is known until something is typed."""
        if "messages" in row:
            self.mode.setCurrentIndex(max(0, self.mode.findData(CHAT)))
            self._put(self.text, "\n".join(f"{m['role']}: {m['content']}" for m in json.loads(row["messages"])))
        else:
            if self.mode.count():  # no task says which fields there are, and a chat would be read otherwise
                self.mode.setCurrentIndex(self.mode.findData(TWO if row.get(self._roles[-1]) else ONE))
            for role, field in zip(self._roles, (self.text, self.second), strict=False):
                self._put(field, row.get(role) or "")
        self._gold, self.is_typed = gold, False

    def _put(self, field: QPlainTextEdit, text: str) -> None:
        if field.toPlainText() != text:
            field.setPlainText(text)

    def replace(self, start: int, end: int, word: str, in_second: bool = False) -> None:
        """Put a word in the place of some characters of a field; a word that goes takes one blank with it."""
        field = self.second if in_second else self.text
        text = field.toPlainText().strip()
        tail = text[end:] if word else text[end:].removeprefix(" ")
        field.setPlainText(text[:start] + word + tail)

    # --- rows --------------------------------------------------------------------------------------------------

    def set_rows(self, rows: Sequence[dict[str, str]]) -> None:
        """Offer rows of the data: texts by role, and `label`."""
        self._rows = list(rows)
        self.other.setVisible(len(self._rows) > 1)
        self.rows.setVisible(len(self._rows) > 1)
        first = self._roles[0]
        self.list.set_entries([Entry(r.get(first, ""), r.get("label") or "", r.get("label") or "", r) for r in rows])

    def _pick(self, entry: Entry) -> None:
        self.put(dict(entry.fields), entry.gold)
        self.asked.emit()

    def next_row(self) -> None:
        """Put the next row into the fields."""
        if self._rows:
            self._rows = self._rows[1:] + self._rows[:1]
            self.put(self._rows[-1], self._rows[-1].get("label") or "")

    # --- events ------------------------------------------------------------------------------------------------

    def _type(self) -> None:
        self._gold, self.is_typed = "", True
        self.typed.emit()

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        # Enter looks; a line break is typed with Shift, or in a chat, where each message is a line.
        fields = (self.text, self.second)
        if watched in fields and event.type() == QEvent.Type.KeyPress and isinstance(event, QKeyEvent):
            plain = event.modifiers() in (Qt.KeyboardModifier.NoModifier, Qt.KeyboardModifier.KeypadModifier)
            is_enter = event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter)
            if is_enter and plain and self.mode.currentData() != CHAT:
                self.asked.emit()
                return True
        return super().eventFilter(watched, event)

    def show_busy(self, busy: str) -> None:
        """Show what the worker does while the last look stays on screen; empty for nothing."""
        self.button.setText(busy or tr("Look inside"))
        # Over the lower edge of the field: what is on screen stays where it is.
        self.bar.setGeometry(GRID, self.text.height() - 5, self.text.width() - 2 * GRID, 4)
        self.bar.setVisible(bool(busy))


def messages(text: str) -> list[dict[str, str]]:
    """Return a typed chat as messages: a line that begins with `user:`, `assistant:` or `system:` starts one."""
    found: list[dict[str, str]] = []
    for line in text.splitlines():
        speaker = _SPEAKER.match(line)
        if speaker or not found:
            found.append({"role": speaker[1].lower() if speaker else "user", "content": ""})
            line = line[speaker.end() :] if speaker else line
        found[-1]["content"] = "\n".join(filter(None, (found[-1]["content"], line)))
    return found
