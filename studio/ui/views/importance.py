"""How much the answer hangs on each head, asked of the text on screen or of many rows of the data."""

from collections.abc import Mapping
from typing import Any

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QComboBox, QHBoxLayout, QProgressBar, QVBoxLayout, QWidget

from studio.core.events import Studied
from studio.core.reasons import Problem
from studio.ui.i18n import tr
from studio.ui.notices import message_of
from studio.ui.theme import GRID
from studio.ui.views.look import AFTER, Look
from studio.ui.widgets.buttons import quiet_button
from studio.ui.widgets.labels import Small

N_ROWS = (25, 100, 400)
PARTS = {"test": "test rows", "validation": "validation rows", "train": "training rows"}


class Importance(QWidget):
    """Says over how many rows importance is the mean, and how far a measurement is. asked: options of the study.

    found: other numbers are known. `tool` is what asks for them; the result stays with another text if it is of rows.
    """

    asked = Signal(dict)
    found = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.states: Mapping[str, Any] = {}  # [layer, head] by state
        self._result: Mapping[str, Any] = {}
        self._look: Look | None = None
        self._ticket = 0
        self._n_rows: int | None = None  # of the question that is on its way, 0 of the text
        self.button = quiet_button(tr("Importance of all heads"), "ablate.importance")
        self.button.setToolTip(
            tr("How much the answer hangs on each head (the gradient by a gate on it); orders the grid")
        )
        self.button.clicked.connect(self._ask_or_stop)
        self.over = QComboBox()
        self.over.setObjectName("ablate.over")
        self.over.setAccessibleName(tr("Of which texts"))
        self.over.setToolTip(tr("Of this text, or the mean over rows spread evenly over the test part"))
        self.over.addItem(tr("of this text"), 0)
        for n in N_ROWS:
            self.over.addItem(tr("over {n} rows", n=n), n)
        self.tool = QWidget()
        row = QHBoxLayout(self.tool)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(GRID)
        row.addWidget(self.button)
        row.addWidget(self.over)
        self.bar, self.said = QProgressBar(), Small()
        self.bar.setTextVisible(False)
        self.bar.setAccessibleName(tr("Progress"))
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(4)
        for widget in (self.bar, self.said):
            column.addWidget(widget)
        self._wait(None)
        self._say("")

    @property
    def n_rows(self) -> int:
        """Over how many rows the numbers are the mean, 0 where they are those of a text."""
        return self._result["n_rows"] if self._result.get("part") else 0

    def show_look(self, look: Look) -> None:
        """Be about another look: numbers of a text are no longer known, those of rows are while its model stays."""
        former, self._look = self._look, look
        self.over.setVisible(bool(look.run))  # which knows its rows
        if former is None or (former.key, former.kind) == (look.key, look.kind):
            return
        is_same_model = (former.subject, former.run, former.kind) == (look.subject, look.run, look.kind)
        if not (is_same_model and self.n_rows):
            self.states, self._result = {}, {}
            self._say("")
        if not (is_same_model and self._n_rows):
            self._ticket += 1  # what is on its way is the answer to a question of the past
            self._wait(None)

    def forget(self) -> None:
        """Forget all: another model comes."""
        self.states, self._result, self._look = {}, {}, None
        self._ticket += 1
        self._wait(None)
        self._say("")

    def _ask_or_stop(self) -> None:
        if self._n_rows:
            self.asked.emit({"stop": True, "about": self._ticket})
            return
        self._ticket += 1
        self._wait(self.over.currentData() if self.over.isVisibleTo(self.tool) else 0)
        rows = {"rows": self._n_rows} if self._n_rows else {}
        self._say(tr("Measuring…") if rows else "")
        self.asked.emit(rows | {"about": self._ticket})

    def _wait(self, n_rows: int | None) -> None:
        self._n_rows = n_rows
        self.button.setText(tr("Stop") if n_rows else tr("Importance of all heads"))
        self.button.setEnabled(n_rows != 0)
        self.over.setEnabled(n_rows is None)
        self.bar.setVisible(bool(n_rows))
        self.bar.setRange(0, 0)

    def _say(self, text: str) -> None:
        self.said.setText(text)
        self.said.setVisible(bool(text))
        self.setVisible(bool(text))

    def show_progress(self, done: float, total: float) -> None:
        """Show how far the worker is with the rows."""
        if self._n_rows:
            self.bar.setRange(0, int(total))
            self.bar.setValue(int(done))
            self._say(tr("Measuring row {done} of {total}…", done=int(done) + 1, total=int(total)))

    def take(self, answer: Studied) -> None:
        """Keep an answer, and say of how many rows it is the mean, or why there is none."""
        if answer.about not in (None, self._ticket):
            return
        self._wait(None)
        if answer.reason:
            self._say(message_of(Problem(answer.reason, answer.facts)))
            return
        self._result, self.states = answer.result, answer.result["states"]
        self._say(self._said_of_rows())
        self.found.emit()

    def _said_of_rows(self) -> str:
        if not self.n_rows:
            return ""
        rows = tr(PARTS[self._result["part"]])
        said = tr("Importance: mean over {n} {rows}", n=self.n_rows, rows=rows)
        n = self._result["n_left_out"]
        return said + (tr(" · {n} left out: too long, or empty", n=n) if n else "")

    def state_of(self, state: str) -> str:
        """Return the state whose numbers are told where `state` is on screen: of two at once the later."""
        return state if state in self.states else AFTER if AFTER in self.states else next(iter(self.states))
