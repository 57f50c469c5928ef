"""Try it: type a text, see what the model said before the training and what it says now."""

import random
from typing import Any

from PySide6.QtCore import QEvent, QObject, Qt, QTimer
from PySide6.QtGui import QKeyEvent
from PySide6.QtWidgets import QFormLayout, QHBoxLayout, QPlainTextEdit, QProgressBar, QScrollArea, QVBoxLayout, QWidget

from studio.core.events import Explained
from studio.core.reasons import Problem
from studio.tasks.base import task_of
from studio.ui import words
from studio.ui.i18n import tr
from studio.ui.notices import message_of
from studio.ui.panels.evaluations import BLOCKS
from studio.ui.panels.inspection import Inspection
from studio.ui.panels.probabilities import AnswerCard
from studio.ui.panels.text_list import Entry, TextList
from studio.ui.store import Store
from studio.ui.theme import GRID, GROUP, icon
from studio.ui.widgets.blocks import draw
from studio.ui.widgets.buttons import flat_button, main_button
from studio.ui.widgets.cards import Card, ErrorLine
from studio.ui.widgets.labels import Small

PAUSE_MS = 300  # from the last key to the question
SETTLE_MS = 2000  # from an answer to its place in the history
N_EXAMPLES = 6
N_HISTORY = 50
NOTE = ("Before is the same model as this run found it: what it knew of language. Where it came without a head for "
        "this task, as the starter does, its head is new, and can only guess.")  # fmt: skip
FIELD_HEIGHT = 34  # of one line
SEEN_HEIGHT = 120  # of the row as the model sees it, in logical pixels


class TryIt(QWidget):
    """A text on the left with both answers below, examples and history on the right."""

    def __init__(self, store: Store, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._store, self._inspection = store, Inspection(store, self)
        self._run = ""
        self._gold = self._answer_gold = ""  # the label of the text in the field, and of the text answered last
        self.more: dict[str, QPlainTextEdit] = {}  # fields of the other roles
        self._roles: list[str] = ["text"]  # what the task reads, the first one in the field `text`
        self._answer: Explained | None = None
        self._rows: list[dict[str, str]] = []
        self._history: dict[str, list[Entry]] = {}
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, GRID, 0, 0)
        layout.setSpacing(GROUP)
        content, area, right = QWidget(), QScrollArea(), QVBoxLayout()
        content.setObjectName("scrolled")
        left = QVBoxLayout(content)
        left.setContentsMargins(0, 0, GRID, 0)
        left.setSpacing(GRID)
        right.setSpacing(GROUP)
        area.setWidgetResizable(True)
        area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        area.setWidget(content)
        layout.addWidget(area, 5)
        layout.addLayout(right, 2)
        self._make_question(left)
        self._make_answers(left)
        self._make_lists(right)
        self._pause = QTimer(self, singleShot=True, interval=PAUSE_MS)
        self._pause.timeout.connect(self._ask_quietly)
        self._settle = QTimer(self, singleShot=True, interval=SETTLE_MS)
        self._settle.timeout.connect(self._remember)
        self._inspection.answered.connect(self._show_answer)
        self._inspection.changed.connect(self._show_state)
        self._show_state()

    # --- making ------------------------------------------------------------------------------------------------

    def _make_question(self, layout: QVBoxLayout) -> None:
        self.text = QPlainTextEdit()
        self.text.setObjectName("evaluate.text")
        self.text.setPlaceholderText(tr("Type or paste a text, or choose one on the right"))
        self.text.setAccessibleName(tr("Text to try"))
        self.text.setTabChangesFocus(True)
        self.text.setFixedHeight(64)
        self.text.textChanged.connect(self._type)
        self.text.installEventFilter(self)
        self._name = Small()
        self._name.hide()
        layout.addWidget(self._name)
        layout.addWidget(self.text)
        self._more = QFormLayout()  # the names beside the fields: the answers shall stay in sight
        self._more.setHorizontalSpacing(GRID)
        self._more.setVerticalSpacing(GRID // 2)
        self._more.setLabelAlignment(Qt.AlignmentFlag.AlignVCenter)
        layout.addLayout(self._more)
        row = QHBoxLayout()
        row.setSpacing(GRID)
        self.status = Small()
        self.status.setWordWrap(False)
        self.button = main_button(tr("Try it"), "evaluate.try")
        self.button.setToolTip(tr("Ask both states of the model (Ctrl+Enter)"))
        self.button.clicked.connect(self._ask_now)
        row.addWidget(self.status, 1)
        row.addWidget(self.button)
        layout.addLayout(row)
        self.bar = QProgressBar()
        self.bar.setTextVisible(False)
        self.bar.setRange(0, 0)
        self.bar.setAccessibleName(tr("Loading"))
        policy = self.bar.sizePolicy()
        policy.setRetainSizeWhenHidden(True)
        self.bar.setSizePolicy(policy)
        layout.addWidget(self.bar)
        self.error = ErrorLine()
        layout.addWidget(self.error)

    def _make_answers(self, layout: QVBoxLayout) -> None:
        row = QHBoxLayout()
        row.setSpacing(GROUP)
        self.before = AnswerCard(tr("Before the training"), "muted")
        self.after = AnswerCard(tr("After the training"), "accent")
        row.addWidget(self.before, 1)
        row.addWidget(self.after, 1)
        layout.addLayout(row)
        self.sees = flat_button(tr("What the model sees"), "evaluate.sees", "chevron")
        self.sees.setCheckable(True)
        self.sees.toggled.connect(lambda _: self._show_seen())
        line = QHBoxLayout()
        line.addWidget(self.sees)
        line.addStretch(1)
        layout.addLayout(line)
        self._seen = QVBoxLayout()
        layout.addLayout(self._seen)
        self.note = Small(tr(NOTE))
        layout.addWidget(self.note)
        layout.addStretch(1)

    def _make_lists(self, layout: QVBoxLayout) -> None:
        self.examples_card = Card(tr("Examples"))
        self._others = flat_button(tr("Others"), "evaluate.examples", "refresh")
        self._others.clicked.connect(self._draw_examples)
        self.examples_card.add_to_header(self._others)
        self.examples = TextList(tr("Examples"))
        self.examples.picked.connect(self._try_entry)
        self.examples_card.add(self.examples, 1)
        self.no_examples = Small(tr("Measure a part on the Results tab, and its rows stand here to try."))
        self.examples_card.add(self.no_examples)
        layout.addWidget(self.examples_card, 3)
        card = Card(tr("Tried"))
        self.history = TextList(tr("Tried texts"))
        self.history.picked.connect(self._try_entry)
        self.no_history = Small(tr("The texts that you try are kept here."))
        card.add(self.history, 1)
        card.add(self.no_history)
        self.no_history.setAlignment(Qt.AlignmentFlag.AlignTop)
        layout.addWidget(card, 2)

    # --- what the page tells it --------------------------------------------------------------------------------

    def show_run(self, run_id: str) -> None:
        """Be about another trained run; the text stays."""
        self._remember()
        self._run, self._answer = run_id, None
        self._inspection.show_run(run_id)
        self._make_fields(run_id)
        self._show_seen()
        self.before.clear()
        self.after.clear()
        self.set_examples([])
        self._show_history()

    def _make_fields(self, run_id: str) -> None:
        """Offer a field for each column that the run's task reads."""
        roles = []
        if run_id:
            spec = self._store.run_dir(run_id).spec()
            task = task_of(spec.task)
            roles = [r for r in task.roles if r.is_input and not r.is_gold and r.id in spec.columns]
            self.note.setText(tr(NOTE) if task.has_head else tr("Before is the same model as this run found it."))
        if [role.id for role in roles] == self._roles:
            return
        while self._more.rowCount():
            self._more.removeRow(0)
        self.more = {}
        self._roles = [role.id for role in roles] or ["text"]
        self._name.setText(tr(roles[0].label) if roles else "")
        self._name.setVisible(len(roles) > 1)
        for role in roles[1:]:
            edit = self.more[role.id] = QPlainTextEdit()
            edit.setObjectName(f"evaluate.{role.id}")
            edit.setAccessibleName(tr(role.label))
            edit.setToolTip(tr(role.help))
            edit.setTabChangesFocus(True)
            edit.setFixedHeight(FIELD_HEIGHT)
            edit.document().setDocumentMargin(2)
            edit.textChanged.connect(self._type)
            edit.installEventFilter(self)
            name = Small(tr(role.label))
            name.setWordWrap(False)
            self._more.addRow(name, edit)

    def set_examples(self, rows: list[dict[str, str]]) -> None:
        """Offer rows, with what the task reads by role and `label`, as examples."""
        self._rows = list(rows)
        # The same rows come in the same order, so that a picture of the page can be compared with the next.
        random.Random(len(rows)).shuffle(self._rows)
        self._draw_examples()

    def try_text(self, text: str, gold: str = "") -> None:
        """Put a text into the field and ask; `gold` is its label where one is known."""
        self.try_row({self._roles[0]: text, "label": gold})

    def try_row(self, row: dict[str, str]) -> None:
        """Put a row into the fields and ask; its `label` is what is right, where that is known."""
        self.text.setPlainText(row.get(self._roles[0], ""))
        for role, edit in self.more.items():
            edit.setPlainText(row.get(role) or "")
        self._gold = row.get("label") or ""
        self._ask_now()

    def _try_entry(self, entry: Entry) -> None:
        self.try_row(dict(entry.fields) | {self._roles[0]: entry.text, "label": entry.gold})

    def fields(self) -> dict[str, str]:
        """Return what stands in the fields, by role."""
        rest = {role: edit.toPlainText().strip() for role, edit in self.more.items()}
        return {self._roles[0]: self.text.toPlainText().strip()} | rest

    # --- asking ------------------------------------------------------------------------------------------------

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        # Enter asks; a line break is typed with Shift.
        if (
            watched in (self.text, *self.more.values())
            and event.type() == QEvent.Type.KeyPress
            and isinstance(event, QKeyEvent)
        ):
            plain = event.modifiers() in (Qt.KeyboardModifier.NoModifier, Qt.KeyboardModifier.KeypadModifier)
            if event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter) and plain:
                self._ask_now()
                return True
        return super().eventFilter(watched, event)

    def _type(self) -> None:
        self._gold = ""
        self.error.clear()
        self._settle.stop()
        self._pause.stop()
        if self.text.toPlainText().strip() and self._inspection.problem is None:
            self._inspection.warm_up()
            self._pause.start()

    def _ask_now(self) -> None:
        self._pause.stop()
        if not self.text.toPlainText().strip():
            self.error.show_text(message_of(Problem("text-empty")))
            self.text.setFocus()
            return
        self._ask()

    def _ask_quietly(self) -> None:
        # After a failure only the person's own word starts another worker.
        if self._inspection.problem is None:
            self._ask()

    def _ask(self) -> None:
        if self._run:
            self._inspection.ask(self.text.toPlainText().strip(), self.fields())

    # --- showing -----------------------------------------------------------------------------------------------

    def _show_answer(self, answer: Explained) -> None:
        if answer.reason:
            self.error.show_text(message_of(Problem(answer.reason, answer.facts)))
            return
        self.error.clear()
        self._answer = answer
        after = answer.probabilities.get("after") or {}
        before = answer.probabilities.get("before") or {}
        order = sorted(after or before, key=(after or before).get, reverse=True)
        self._answer_fields = self.fields() | {self._roles[0]: answer.text}
        gold = self._answer_gold = self._gold if answer.text == self.text.toPlainText().strip() else ""
        for card, state, probabilities in ((self.before, "before", before), (self.after, "after", after)):
            if probabilities:
                card.show_answer(probabilities, order, gold)
            elif answer.blocks.get(state):
                card.show_blocks(BLOCKS.validate_python(answer.blocks[state]))
            else:
                card.clear()
        self._show_seen()
        self._settle.start()

    def _show_seen(self) -> None:
        """Show the row of the last answer as the model gets it, if it is asked for."""
        while self._seen.count():
            self._seen.takeAt(0).widget().deleteLater()
        is_open = self.sees.isChecked()
        self.sees.setIcon(icon("chevron-down" if is_open else "chevron", "muted"))
        if is_open and self._answer is not None and self._answer.seen:
            (block,) = BLOCKS.validate_python([self._answer.seen])
            view = draw(block.model_copy(update={"title": ""}))
            view.setMinimumHeight(SEEN_HEIGHT)
            self._seen.addWidget(view)

    def _show_state(self) -> None:
        loading, problem = self._inspection.is_loading, self._inspection.problem
        self.bar.setVisible(loading)
        state = self._inspection.state()
        if problem is not None:
            self.error.show_text(message_of(problem))
            self.status.setText("")
        elif loading:
            phase = words.word(words.PHASES, state.phase) if state and state.phase else tr("starting")
            self.status.setText(tr("{phase} – the first answer takes about 10 seconds", phase=phase.capitalize()))
        elif state is not None and state.is_active:
            self.status.setText(tr("The answer follows as you type."))
        else:
            self.status.setText(tr("Enter asks; the answer then follows as you type."))

    def _remember(self) -> None:
        """Keep the last answer in the history of its run."""
        self._settle.stop()
        if self._answer is None or not self._run:
            return
        after = self._answer.probabilities.get("after") or self._answer.probabilities.get("before")
        if after or self._answer.blocks:
            best = max(after, key=after.get) if after else ""
            told = f"{best} · {words.percent(after[best])}" if after else ""
            entry = Entry(self._answer.text, told, self._answer_gold, self._answer_fields)
            kept = [e for e in self._history.get(self._run, []) if e.text != entry.text]
            self._history[self._run] = [entry, *kept][:N_HISTORY]
        self._show_history()

    def _show_history(self) -> None:
        entries = self._history.get(self._run, [])
        self.history.set_entries(entries)
        self.history.setVisible(bool(entries))
        self.no_history.setVisible(not entries)

    def _draw_examples(self) -> None:
        drawn: list[Any] = self._rows[:N_EXAMPLES]
        self._rows = self._rows[N_EXAMPLES:] + drawn
        self.examples.set_entries(
            [
                Entry(r[self._roles[0]], r.get("label", ""), r.get("label", ""), r)
                for r in drawn
                if r.get(self._roles[0])
            ]
        )
        self.examples.setVisible(bool(drawn))
        self.no_examples.setVisible(not drawn)
        self._others.setVisible(len(self._rows) > N_EXAMPLES)
