"""The one place where the window speaks: a bar for the newest notice, and a list of the past ones."""

from html import escape

from PySide6.QtCore import Qt, QTimer, Signal
from PySide6.QtWidgets import QFrame, QHBoxLayout, QLabel, QPushButton, QScrollArea, QSizePolicy, QVBoxLayout, QWidget

from studio.ui import words
from studio.ui.actions import BY_ID
from studio.ui.i18n import tr
from studio.ui.notices import Notice
from studio.ui.theme import GRID, GROUP
from studio.ui.widgets.buttons import icon_button
from studio.ui.widgets.cards import Picture

_ICONS = {"info": "info", "good": "check", "warning": "warning", "bad": "error"}
_COLOURS = {"info": "accent"}
_SECONDS = {"info": 12, "good": 12}  # the others stay until they are closed
_MOST_KEPT = 100


class NoticeBar(QFrame):
    """Shows the newest notice; `fix_asked` carries it when its button is pressed."""

    fix_asked = Signal(object)

    def __init__(self) -> None:
        super().__init__()
        self.setObjectName("notice")
        self.past: list[Notice] = []
        self._notice: Notice | None = None
        layout = QHBoxLayout(self)
        layout.setContentsMargins(GROUP, GRID, GRID, GRID)
        layout.setSpacing(GRID + 4)
        self._picture = Picture("info", 18)
        self._words = QLabel()
        self._words.setWordWrap(True)
        self._words.setTextFormat(Qt.TextFormat.RichText)
        self._words.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Minimum)
        self.fix = QPushButton()
        self.fix.setObjectName("notice.fix")
        self.fix.clicked.connect(self._fix)
        self.undo = QPushButton(tr("Undo"))
        self.undo.setObjectName("notice.undo")
        self.undo.clicked.connect(self._undo)
        self._close = icon_button("close", tr("Close"), "notice.close")
        self._close.clicked.connect(self.dismiss)
        layout.addWidget(self._picture)
        layout.addWidget(self._words, 1)
        for widget in (self.fix, self.undo, self._close):
            layout.addWidget(widget)
        self._timer = QTimer(self, singleShot=True)
        self._timer.timeout.connect(self.dismiss)
        self.hide()

    def show_notice(self, notice: Notice) -> None:
        """Show a notice in place of the one before."""
        self._notice = notice
        self.past = [notice, *self.past][:_MOST_KEPT]
        self.setProperty("tone", notice.tone)
        self.style().polish(self)
        self._picture.show_icon(_ICONS[notice.tone], _COLOURS.get(notice.tone, notice.tone))
        # A worker's log may look like markup.
        hint = escape(notice.hint).replace("\n", "<br>")
        self._words.setText(f"<b>{escape(notice.title)}</b>&ensp;{hint}")
        self.fix.setVisible(notice.fix in BY_ID)
        if notice.fix in BY_ID:
            self.fix.setText(notice.button or fix_title(notice.fix))
        self.undo.setVisible(notice.undo is not None)
        self.setAccessibleName(f"{notice.title} {notice.hint}")
        self.show()
        self._timer.stop()
        if notice.tone in _SECONDS:
            self._timer.start(1000 * _SECONDS[notice.tone])

    def text(self) -> str:
        """Return what the bar says, without markup."""
        return f"{self._notice.title} {self._notice.hint}".strip() if self._notice else ""

    def dismiss(self) -> None:
        """Put the notice away; the bell still has it."""
        self._timer.stop()
        self.hide()

    def _fix(self) -> None:
        notice = self._notice
        self.dismiss()
        self.fix_asked.emit(notice)

    def _undo(self) -> None:
        notice = self._notice
        self.dismiss()
        notice.undo()


def fix_title(action_id: str) -> str:
    """Return what stands on the button of a notice: `Go to Data`, or the action's own title."""
    title = tr(BY_ID[action_id].title)
    return tr("Go to {page}", page=title) if action_id.startswith("go.") else title


class PastNotices(QFrame):
    """Floats over the window's lower right corner and lists what was said."""

    def __init__(self, parent: QWidget):
        super().__init__(parent)
        self.setObjectName("floating")
        outer = QVBoxLayout(self)
        outer.setContentsMargins(GRID, GRID, GRID, GRID)
        head = QHBoxLayout()
        heading = QLabel(tr("Past notices"))
        heading.setProperty("level", "strong")
        close = icon_button("close", tr("Close"))
        close.clicked.connect(self.hide)
        head.addWidget(heading)
        head.addStretch(1)
        head.addWidget(close)
        outer.addLayout(head)
        self._area = QScrollArea()
        self._area.setWidgetResizable(True)
        outer.addWidget(self._area)
        self.hide()

    def open(self, past: list[Notice]) -> None:
        """Show the list, or hide it if it is shown."""
        if self.isVisible():
            self.hide()
            return
        content = QWidget()
        content.setObjectName("scrolled")
        rows = QVBoxLayout(content)
        rows.setContentsMargins(0, 0, GRID, 0)
        rows.setSpacing(GRID + 4)
        if not past:
            rows.addWidget(QLabel(tr("Nothing so far.")))
        for notice in past:
            rows.addLayout(_past_row(notice))
        rows.addStretch(1)
        self._area.setWidget(content)
        width, height = 400, min(360, self.parentWidget().height() - 100)
        self.setGeometry(self.parentWidget().width() - width - GRID, self.parentWidget().height() - height - 36,
                         width, height)  # fmt: skip
        self.show()
        self.raise_()


def _past_row(notice: Notice) -> QHBoxLayout:
    row = QHBoxLayout()
    row.setSpacing(GRID)
    picture = Picture(_ICONS[notice.tone], 16, _COLOURS.get(notice.tone, notice.tone))
    text = QLabel(f"{notice.title} {notice.hint}".strip())
    text.setWordWrap(True)
    text.setTextFormat(Qt.TextFormat.PlainText)
    when = QLabel(words.moment(notice.time))
    when.setProperty("level", "small")
    row.addWidget(picture)
    row.addWidget(text, 1)
    row.addWidget(when)
    return row
