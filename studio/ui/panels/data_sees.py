"""The rows as the model gets them, token by token with what is cut off; a worker reads them as a training does."""

from PySide6.QtWidgets import QProgressBar, QWidget

from studio.core.events import Seen
from studio.core.reasons import Failure, Problem
from studio.core.state import RunState
from studio.ui import words
from studio.ui.i18n import tr
from studio.ui.notices import message_of
from studio.ui.panels.evaluations import BLOCKS
from studio.ui.store import Store
from studio.ui.widgets.blocks import draw
from studio.ui.widgets.cards import Card, ErrorLine
from studio.ui.widgets.labels import Small

SEEN_HEIGHT = 240  # that shows a row or two, in logical pixels
TOLD_UNKNOWN = 0.02  # of the tokens; fewer are names and odd signs, as any text has them


class SeesCard(Card):
    """Some rows of the draft as its model gets them; `look` reads them."""

    def __init__(self, store: Store, parent: QWidget | None = None) -> None:
        super().__init__(tr("What the model sees"), parent)
        self._store = store
        self._state: RunState | None = None
        self._shown: Seen | None = None
        self._view: QWidget | None = None
        self.said = Small()
        self.error = ErrorLine()
        self.bar = QProgressBar()
        self.bar.setTextVisible(False)
        self.bar.setRange(0, 0)
        self.bar.setAccessibleName(tr("Reading the rows"))
        for widget in (self.said, self.error, self.bar):
            self.add(widget)
        self.body.addStretch(1)
        store.probes.changed.connect(self._follow)

    def look(self) -> None:
        """Read the draft's rows as its training would."""
        self._forget()
        try:
            spec = self._store.draft.spec()
        except Failure as error:
            self._say(error.problem)
            return
        self._store.probes.begin("rows", spec)
        self._state = self._store.probes.state
        self._follow()

    def leave(self) -> None:
        """End what is being read for nobody."""
        if self._state is not None and self._state.is_active and self._store.probes.state is self._state:
            self._store.probes.stop()
        self._state = None

    def _follow(self) -> None:
        state = self._state
        if state is None or self._store.probes.state is not state:
            return
        self.bar.setVisible(state.is_active and state.seen is None)
        if state.seen is not None and state.seen is not self._shown:
            self._show(state.seen)
        elif state.problem is not None and not state.is_active:
            self._say(state.problem)
        elif state.is_active and state.seen is None:
            self.said.setText(tr("The rows are read as the training reads them…"))

    def _show(self, seen: Seen) -> None:
        self._forget()
        self._shown = seen
        facts = {"n": words.count(seen.n_cut), "total": words.count(seen.n_rows), "most": seen.max_length}
        text = tr("All {total} rows fit into {most} tokens.", **facts)
        if seen.n_cut:
            text = tr("{n} of {total} rows lose tokens at {most}.", **facts)
        if seen.n_unlabelled:
            text += " " + tr("{n} lose all that they should teach.", n=words.count(seen.n_unlabelled))
        if seen.unknown_share >= TOLD_UNKNOWN:
            share = words.percent(seen.unknown_share)
            text += " " + tr("About {share} of the tokens stand for words that this model does not know.", share=share)
        self.said.setText(text)
        (block,) = BLOCKS.validate_python([seen.block])
        self._view = draw(block.model_copy(update={"title": ""}))
        self.body.insertWidget(self.body.count() - 1, self._view, 1)

    def _say(self, problem: Problem) -> None:
        self.said.clear()
        self.error.show_text(message_of(problem))
        self.bar.hide()

    def _forget(self) -> None:
        self.error.clear()
        self.said.clear()
        self.bar.hide()
        if self._view is not None:
            self._view.hide()
            self._view.deleteLater()
            self._view = None
