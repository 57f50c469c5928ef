"""The Train page: settings, Start, and the run with its live curves."""

import importlib
from typing import Any

from PySide6.QtCore import QTimer
from PySide6.QtWidgets import QHBoxLayout, QPushButton, QStackedWidget, QWidget

from studio.core.spec import TrainSpec, training_defaults
from studio.core.state import RunState
from studio.ui.actions import action_button
from studio.ui.i18n import tr
from studio.ui.panels.run_about import RunFacts, read_facts
from studio.ui.panels.run_outcome import Remedy
from studio.ui.panels.run_view import RunView
from studio.ui.panels.train_settings import SettingsColumn
from studio.ui.store import Store
from studio.ui.theme import GRID, GROUP, MARGIN, follow_theme, icon
from studio.ui.threads import background
from studio.ui.widgets.cards import EmptyState

DRAW_MS = 100


class TrainPanel(QWidget):
    """Draws the draft's training settings and the store's current training run."""

    def __init__(self, store: Store, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.store = store
        self._run, self._facts, self._was_active, self._is_preparing = "", None, False, False
        self.start = action_button("run.start", main=True)
        follow_theme(self.start, lambda theme: self._draw_start())  # after the button's own
        self.enqueue = action_button("queue.add")
        self.column = SettingsColumn(store, _side_by_side(self.enqueue, self.start))
        self.column.reuse_asked.connect(self._reuse)
        self.column.rate_asked.connect(self._find_rate)
        self.column.form.changed.connect(lambda field: self._prepare())
        self.stack = QStackedWidget()
        self._ways = [action_button("data.open"), action_button("data.sample")]
        self.empty = EmptyState(
            "train",
            tr("Here you watch the model learn: loss, accuracy and speed, drawn live at every step."),
            self._ways,
            tr("The settings on the left are good to begin with: once data is chosen, press Start. A run can be "
               "stopped at any time and goes on from where it was."),
        )  # fmt: skip
        self.view: RunView | None = None
        self.finder: Any = None  # a RateFinder, made when it is first asked for
        self.stack.addWidget(self.empty)
        layout = QHBoxLayout(self)
        layout.setContentsMargins(MARGIN, GROUP, MARGIN, GROUP)
        layout.setSpacing(GROUP)
        layout.addWidget(self.column)
        layout.addWidget(self.stack, 1)
        self._timer = QTimer(self, singleShot=True, interval=DRAW_MS)
        self._timer.timeout.connect(self.redraw)
        store.run_changed.connect(self._note_change)
        store.current_run_changed.connect(self.show_run)
        store.runs_changed.connect(self._read_facts)
        store.draft_changed.connect(lambda part: self._show_ways())
        self._show_ways()
        self.show_run(store.current_run)
        # The curves take a second to import: not in the moment in which Start is pressed.
        background(
            lambda: importlib.import_module("studio.ui.panels.run_plots"), lambda _: self._make_view(), store.fail, self
        )

        self.column.tabs.currentChanged.connect(lambda _: self._show_enqueue())

    def main_action(self) -> QPushButton | None:
        """Return the accented button of the page as it stands."""
        if self.start.isVisible() and self.start.property("main"):
            return self.start
        return self.view.next_button() if self.view is not None else None

    def show_report(self) -> None:
        """Show the report of the run, once there is room for it."""
        self._make_view()
        self.view.report_button.setChecked(True)

    def show_run(self, run_id: str) -> None:
        """Show a training run of the store; a run of another kind leaves the page as it is."""
        state = self.store.runs.get(run_id)
        if state is not None and state.kind != "train":
            return
        self._run, self._facts, self._was_active = (run_id if state else ""), None, False
        self._is_preparing = False
        if state is not None:
            self._make_view()
        self._read_facts()
        self.redraw()

    def redraw(self) -> None:
        """Draw the run as it is now."""
        self._timer.stop()
        state = self.store.runs.get(self._run)
        is_active = state is not None and state.is_active
        self.start.setVisible(not is_active)
        self._show_enqueue()
        self.column.show_estimate(not is_active)
        self._want_estimate()
        if is_active and self.finder is not None:
            self.finder.leave()
        if self.finder is not None and self.finder.is_open:
            self.stack.setCurrentWidget(self.finder)
            self._accent(None)
            return
        self.column.show_about(state is not None)
        if state is None or self.view is None:
            self.stack.setCurrentWidget(self.empty)
            self._accent(None)
            return
        if is_active and not self._was_active:
            self.column.tabs.setCurrentIndex(1)
        self._was_active = is_active
        self.view.show_run(state, self._facts)
        self.column.about.show_run(state, self._facts)
        self.stack.setCurrentWidget(self.view)
        self._accent(state)

    def showEvent(self, event: object) -> None:
        self.redraw()

    def hideEvent(self, event: object) -> None:
        self._want_estimate()

    def _want_estimate(self) -> None:
        """Let the draft be measured while the person looks at it and nothing trains."""
        forecast = self.column.estimate.forecast
        is_wanted = self.isVisible() and not self.start.isHidden()
        if is_wanted != forecast.is_wanted:
            forecast.want(is_wanted)

    def _show_enqueue(self) -> None:
        # Beside the facts of the run at work it would seem to speak of that one.
        self.enqueue.setVisible(not self.start.isHidden() or self.column.tabs.currentIndex() == 0)

    def _find_rate(self) -> None:
        if self.finder is None:
            from studio.ui.panels.train_rate import RateFinder  # it brings the curves

            self.finder = RateFinder(self.store)
            self.finder.used.connect(self._use_rate)
            self.finder.closed.connect(self.redraw)
            self.stack.addWidget(self.finder)
        self.finder.begin()
        self.redraw()

    def _use_rate(self, rate: float) -> None:
        self.store.set_training(learning_rate=rate)
        self.column.show_form("learning_rate")
        self._prepare()

    def _make_view(self) -> None:
        if self.view is None:
            self.view = RunView(self.store)
            self.view.remedy_chosen.connect(self._follow_remedy)
            self.stack.addWidget(self.view)

    def _note_change(self, run_id: str) -> None:
        if run_id == self._run and self.isVisible() and not self._timer.isActive():
            self._timer.start()

    def _show_ways(self) -> None:
        for button in self._ways:
            button.setVisible(self.store.draft.source is None)

    def _accent(self, state: RunState | None) -> None:
        """Give the accent to what comes next after a run, and to Start again once the next one is prepared."""
        start = state is None or state.is_active or self._is_preparing
        if bool(self.start.property("main")) != start:
            self.start.setProperty("main", start)
            self.start.style().unpolish(self.start)
            self.start.style().polish(self.start)
            self._draw_start()
        if self.view is not None:
            self.view.outcome.set_accent(not start)

    def _draw_start(self) -> None:
        self.start.setIcon(icon("play", "on_accent" if self.start.property("main") else "text"))

    def _prepare(self) -> None:
        self._is_preparing = True
        self._accent(self.store.runs.get(self._run))

    def _read_facts(self) -> None:
        run_id = self._run
        if not run_id:
            return

        def show(facts: RunFacts) -> None:
            if run_id == self._run and facts != self._facts:
                self._facts = facts
                self.redraw()

        background(lambda: read_facts(self.store.run_dir(run_id)), show, self.store.fail, self, key="facts")

    def _follow_remedy(self, remedy: Remedy) -> None:
        if remedy.kind == "resume":
            self.store.resume(self._run, remedy.changes)
        elif remedy.kind == "again" and self._facts is not None:
            self.store.select_run(self.store.start_run(self._facts.spec) or self._run)
        elif remedy.kind == "page":
            self.store.show_page(remedy.target)
        elif remedy.kind == "settings":
            self._reuse(remedy.changes)
        elif remedy.kind == "action":
            self.window().actions_by_id[remedy.target].trigger()

    def _reuse(self, changes: dict[str, Any] | None = None) -> None:
        """Make the shown run's settings those of the next run, with changes."""
        if self._facts is None:
            return
        spec: TrainSpec = self._facts.spec
        if not _is_same_work(self.store, spec):
            self.store.take_spec(spec)
        defaults = training_defaults(spec.task)
        training = {n: v for n, v in spec.training.model_dump().items() if v != defaults[n]} | (changes or {})
        self.store.set_training(**({n: defaults[n] for n in self.store.draft.training} | training))
        self.column.show_form(next(iter(changes or {}), ""))
        self._prepare()


def _side_by_side(*buttons: QPushButton) -> QWidget:
    """Return buttons in a row, the last one with the room that is left."""
    row = QWidget()
    layout = QHBoxLayout(row)
    layout.setContentsMargins(0, 0, 0, 0)
    layout.setSpacing(GRID)
    for button in buttons:
        layout.addWidget(button, int(button is buttons[-1]))
    return row


def _is_same_work(store: Store, spec: TrainSpec) -> bool:
    """Return whether the draft has the data, the model and the method of `spec`."""
    draft = store.draft
    return (draft.source, draft.model, draft.method) == (
        spec.data.train, spec.model, spec.method.model_dump(mode="json")
    )  # fmt: skip


if __name__ == "__main__":
    from studio.ui.app import show_alone

    show_alone("train")
