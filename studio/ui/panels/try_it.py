"""Try it: type a text, see what the model said before the training and what it says now."""

import random
from typing import Any

from PySide6.QtCore import QEvent, QObject, Qt, QTimer
from PySide6.QtGui import QKeyEvent
from PySide6.QtWidgets import QHBoxLayout, QPlainTextEdit, QProgressBar, QVBoxLayout, QWidget

from studio.core.events import Explained
from studio.core.reasons import Problem
from studio.ui import words
from studio.ui.i18n import tr
from studio.ui.notices import message_of
from studio.ui.panels.inspection import Inspection
from studio.ui.panels.probabilities import AnswerCard
from studio.ui.panels.text_list import Entry, TextList
from studio.ui.store import Store
from studio.ui.theme import GRID, GROUP
from studio.ui.widgets.buttons import flat_button, main_button
from studio.ui.widgets.cards import Card, ErrorLine
from studio.ui.widgets.labels import Small

PAUSE_MS = 300  # from the last key to the question
SETTLE_MS = 2000  # from an answer to its place in the history
N_EXAMPLES = 6
N_HISTORY = 50


class TryIt(QWidget):
    """A text on the left with both answers below, examples and history on the right."""

    def __init__(self, store: Store, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._inspection = Inspection(store, self)
        self._run = ""
        self._gold = self._answer_gold = ""  # the label of the text in the field, and of the text answered last
        self._answer: Explained | None = None
        self._rows: list[dict[str, str]] = []
        self._history: dict[str, list[Entry]] = {}
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, GRID, 0, 0)
        layout.setSpacing(GROUP)
        left, right = QVBoxLayout(), QVBoxLayout()
        left.setSpacing(GRID)
        right.setSpacing(GROUP)
        layout.addLayout(left, 5)
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
        layout.addWidget(self.text)
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
        layout.addWidget(Small(tr(
            "Before is the same model as this run found it: what it knew of language, with a new head that no row "
            "has trained yet. It can only guess among the labels."
        )))  # fmt: skip
        layout.addStretch(1)

    def _make_lists(self, layout: QVBoxLayout) -> None:
        self.examples_card = Card(tr("Examples"))
        self._others = flat_button(tr("Others"), "evaluate.examples", "refresh")
        self._others.clicked.connect(self._draw_examples)
        self.examples_card.add_to_header(self._others)
        self.examples = TextList(tr("Examples"))
        self.examples.picked.connect(lambda entry: self.try_text(entry.text, entry.gold))
        self.examples_card.add(self.examples, 1)
        self.no_examples = Small(tr("Measure a part on the Results tab, and its rows stand here to try."))
        self.examples_card.add(self.no_examples)
        layout.addWidget(self.examples_card, 3)
        card = Card(tr("Tried"))
        self.history = TextList(tr("Tried texts"))
        self.history.picked.connect(lambda entry: self.try_text(entry.text, entry.gold))
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
        self.before.clear()
        self.after.clear()
        self.set_examples([])
        self._show_history()

    def set_examples(self, rows: list[dict[str, str]]) -> None:
        """Offer rows `{"text", "label"}` as examples."""
        self._rows = list(rows)
        # The same rows come in the same order, so that a picture of the page can be compared with the next.
        random.Random(len(rows)).shuffle(self._rows)
        self._draw_examples()

    def try_text(self, text: str, gold: str = "") -> None:
        """Put a text into the field and ask; `gold` is its label where one is known."""
        self.text.setPlainText(text)
        self._gold = gold
        self._ask_now()

    # --- asking ------------------------------------------------------------------------------------------------

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        # Enter asks; a line break is typed with Shift.
        if watched is self.text and event.type() == QEvent.Type.KeyPress and isinstance(event, QKeyEvent):
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
            self._inspection.ask(self.text.toPlainText().strip())

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
        gold = self._answer_gold = self._gold if answer.text == self.text.toPlainText().strip() else ""
        for card, probabilities in ((self.before, before), (self.after, after)):
            if probabilities:
                card.show_answer(probabilities, order, gold)
            else:
                card.clear()
        self._settle.start()

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
        if after:
            best = max(after, key=after.get)
            entry = Entry(self._answer.text, f"{best} · {words.percent(after[best])}", self._answer_gold)
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
            [Entry(r["text"], r.get("label", ""), r.get("label", "")) for r in drawn if r.get("text")]
        )
        self.examples.setVisible(bool(drawn))
        self.no_examples.setVisible(not drawn)
        self._others.setVisible(len(self._rows) > N_EXAMPLES)
