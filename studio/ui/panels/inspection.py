"""One live inspection of a trained run or a model: ask it texts, get what it says before and after."""

from collections.abc import Mapping
from typing import Any

from PySide6.QtCore import QObject, QTimer, Signal

from studio.core.commands import Explain, Study
from studio.core.events import Explained, Studied
from studio.core.reasons import Problem
from studio.core.spec import Against
from studio.core.state import RunState
from studio.ui.store import Store

IDLE_SECONDS = 600


class Inspection(QObject):
    """Keeps one worker with both states of a model in memory while texts come in.

    Only the newest text counts: one is on its way, one waits. answered: the worker's word to a text. studied:
    its word to a study. progressed: how far it is with one of a name, done of a total. changed: the worker is in
    another phase (`is_loading`, `problem`). With `attention` the answers bring attention maps too.
    """

    answered = Signal(object)
    studied = Signal(object)
    progressed = Signal(str, float, float)
    changed = Signal()

    def __init__(self, store: Store, parent: QObject | None = None, attention: bool = False):
        super().__init__(parent)
        self._store = store
        self._attention = attention
        self._about: tuple[str, str, int | None, Against | None] = ("", "", None, None)
        self._run = ""
        self._sent: Explain | None = None
        self._waiting: tuple[str, Mapping[str, str] | None] | None = None
        self._has_answered = False
        self._studies: dict[str, Study] = {}  # the newest of each kind, until its answer comes
        self.problem: Problem | None = None
        store.run_changed.connect(self._follow)

    @property
    def is_loading(self) -> bool:
        """Whether a worker was started that can't answer yet."""
        state = self.state()
        is_loaded = state is not None and state.phase in ("ready", "explaining")
        return bool(self._run) and not self._has_answered and not is_loaded

    @property
    def is_busy(self) -> bool:
        """Whether an answer is on its way."""
        return self._sent is not None

    def state(self) -> RunState | None:
        """Return the state of the inspection's own run, None while there is none."""
        return self._store.runs.get(self._run)

    def show_run(self, run_id: str, checkpoint: int | None = None, against: Against | None = None) -> None:
        """Be about another trained run; the worker of the former one is sent away.

        checkpoint: a step of it, in place of its model. against: what it is compared with, by default its beginning.
        """
        self._show(run_id, "", checkpoint, against)

    def show_model(self, model: str, against: Against | None = None) -> None:
        """Be about a model that was not trained here: `starter`, or a folder; against: another one."""
        self._show("", model, None, against)

    def _show(self, *about: Any) -> None:
        if about == self._about:
            return
        if self._run:
            self._store.stop(self._run)
        self._about, self._run = about, ""
        self._sent, self._waiting, self.problem = None, None, None
        self._studies.clear()
        self.changed.emit()

    def warm_up(self) -> None:
        """Load the models, so that the first answer comes sooner."""
        run_id, model, checkpoint, against = self._about
        if (run_id or model) and not self._run:
            self.problem, self._has_answered = None, False
            self._run = self._store.inspect(
                run_id, model, checkpoint=checkpoint, against=against, idle_seconds=IDLE_SECONDS
            )
            self.changed.emit()

    def ask(self, text: str, fields: Mapping[str, str] | None = None) -> None:
        """Ask for what the model says of a text, or of all `fields` that its task reads; `answered` brings it."""
        self.warm_up()
        if not self._run:
            return
        if self._sent is not None:
            self._waiting = (text, fields)
            return
        self._sent = Explain(text=text, fields=dict(fields or {}), attention=self._attention)
        if self._store.send(self._run, self._sent) is not None:
            self._sent = None
        self.changed.emit()

    def study(self, what: str, text: str, fields: Mapping[str, str], options: dict[str, Any]) -> None:
        """Ask a study of a text or row; `studied` brings the answer to the newest of each kind."""
        self.warm_up()
        if self._run:
            self._studies[what] = Study(what=what, text=text, fields=dict(fields), options=options)
            problem = self._store.send(self._run, self._studies[what])
            if problem is not None:
                asked = self._studies.pop(what)
                refused = Studied(id=asked.id, what=what, reason=problem.reason, facts=problem.facts)
                QTimer.singleShot(0, self, lambda: self.studied.emit(refused))  # after the view has asked
            self.changed.emit()

    @property
    def is_studying(self) -> bool:
        """Whether the answer to a study is on its way."""
        return bool(self._studies)

    def _follow(self, run_id: str) -> None:
        if run_id != self._run:
            return
        state = self._store.runs[run_id]
        for what, asked in list(self._studies.items()):
            if asked.id in state.studied:
                del self._studies[what]
                self._has_answered = True
                self.studied.emit(state.studied[asked.id])
        if state.progress_of in self._studies and state.progress[1]:
            self.progressed.emit(state.progress_of, *state.progress)
        answer = state.explained.get(self._sent.id) if self._sent else None
        if answer is not None:
            self._take(answer)
        elif not state.is_active:
            self._end(state)
        else:
            self.changed.emit()

    def _take(self, answer: Explained) -> None:
        self._sent, self._has_answered = None, True
        waiting, self._waiting = self._waiting, None
        self.answered.emit(answer)
        if waiting:
            self.ask(*waiting)
        self.changed.emit()

    def _end(self, state: RunState) -> None:
        """A worker that was idle too long ends by itself, and the text that crossed its end is asked again."""
        sent = (self._sent.text, self._sent.fields) if self._sent else None
        lost = (self._waiting or sent) if self._has_answered else None
        studies, self._studies = [*self._studies.values()], {}
        again = studies if self._has_answered else []
        self._run, self._sent, self._waiting, self.problem = "", None, None, state.problem
        self.changed.emit()
        if lost and state.problem is None:
            self.ask(*lost)
        for asked in again if state.problem is None else []:
            self.study(asked.what, asked.text, asked.fields, asked.options)
        for asked in studies if state.problem is not None else []:
            about = asked.options.get("about")
            self.studied.emit(Studied(id=asked.id, what=asked.what, about=about, reason="inspection-ended"))
