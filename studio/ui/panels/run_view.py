"""A training run as one sees it: its name, its numbers or its end, its curves, its log."""

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QHBoxLayout, QPushButton, QScrollArea, QSplitter, QVBoxLayout, QWidget

from studio.core.state import RunState
from studio.tasks.base import task_of
from studio.ui.i18n import tr
from studio.ui.panels.run_about import RunFacts
from studio.ui.panels.run_controls import RunControls
from studio.ui.panels.run_log import LogDrawer
from studio.ui.panels.run_outcome import RunOutcome
from studio.ui.panels.run_report import RunReport
from studio.ui.panels.run_strip import RunStrip
from studio.ui.store import Store
from studio.ui.theme import GRID, set_icon
from studio.ui.widgets.buttons import flat_button
from studio.ui.widgets.chips import Chip
from studio.ui.widgets.labels import ElidedLabel, Strong, set_tone


class RunView(QWidget):
    """Shows one run of the store; `remedy_chosen` carries what the person wants after its end."""

    remedy_chosen = Signal(object)

    def __init__(self, store: Store, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        from studio.ui.panels.run_plots import RunPlots

        self._store, self._run, self._facts = store, "", None
        self.chip, self.name, self.line = Chip(), Strong(), ElidedLabel(mode=Qt.TextElideMode.ElideMiddle)
        set_tone(self.line, "muted")
        self.controls = RunControls(store)
        self.strip, self.outcome = RunStrip(), RunOutcome()
        chosen = store.settings
        self.plots = RunPlots(chosen.smoothing, chosen.x_axis, chosen.plots)
        self.plots.loss.smoothing_changed.connect(lambda weight: store.change_settings(smoothing=weight))
        self.plots.along_changed.connect(lambda name: store.change_settings(x_axis=name))
        self.plots.subjects_changed.connect(lambda keys: store.change_settings(plots=keys))
        self.drawer = LogDrawer()
        self.drawer.setVisible(False)
        self.log_button = flat_button(tr("Log"), "train.log", "log")
        self.log_button.setCheckable(True)
        self.log_button.toggled.connect(self.drawer.setVisible)
        self.drawer.close_button.clicked.connect(lambda: self.log_button.setChecked(False))
        self.report = RunReport(store)
        self.report_button = flat_button(tr("Report"), "train.report", "report")
        self.report_button.setCheckable(True)
        self.report_button.toggled.connect(self._show_report)
        self.outcome.chosen.connect(self.remedy_chosen)
        head = QHBoxLayout()
        head.setSpacing(GRID)
        for widget, stretch in ((self.chip, 0), (self.name, 0), (self.line, 1), (self.report_button, 0)):
            head.addWidget(widget, stretch)
        head.addWidget(self.log_button)
        head.addWidget(self.controls)
        content = QWidget()
        content.setObjectName("scrolled")
        inside = QVBoxLayout(content)
        inside.setContentsMargins(0, 0, 0, 0)
        inside.setSpacing(GRID)
        inside.addWidget(self.outcome)
        inside.addWidget(self.plots, 1)
        area = QScrollArea()
        area.setWidgetResizable(True)
        area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        area.setWidget(content)
        self.splitter = QSplitter(Qt.Orientation.Vertical)
        self.splitter.setChildrenCollapsible(False)
        self.splitter.addWidget(area)
        self.splitter.addWidget(self.drawer)
        self.splitter.setStretchFactor(0, 3)
        self.splitter.setStretchFactor(1, 1)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(GRID)
        layout.addLayout(head)
        layout.addWidget(self.strip)
        layout.addWidget(self.splitter, 1)
        layout.addWidget(self.report, 1)
        self.report.hide()

    def show_run(self, state: RunState, facts: RunFacts | None) -> None:
        """Show a run; `facts` are None until its directory has been read."""
        if state.id != self._run:
            self._run = state.id
            self.drawer.show_run(self._store.run_dir(state.id))
        self.chip.set_state(state.state)
        if facts is not self._facts:
            self._facts = facts
            self.name.setText(facts.name if facts else "")
            self.line.setText(facts.line if facts else "")
        self.controls.show_state(state)
        self.strip.setVisible(state.is_active)
        self.outcome.setVisible(not state.is_active)
        if state.is_active:
            self.strip.show_state(state)
        else:
            is_base = facts is not None and task_of(facts.spec.task).is_base
            self.outcome.show_outcome(state, facts.spec.training if facts else None, is_base)
        self.plots.show_state(state)
        self.report.show_state(state)

    def _show_report(self, on: bool) -> None:
        self.report_button.setText(tr("Curves") if on else tr("Report"))
        set_icon(self.report_button, "train" if on else "report", "muted")
        self.splitter.setVisible(not on)
        self.report.setVisible(on)

    def next_button(self) -> QPushButton | None:
        """Return the button of the main way on from a run that ended."""
        return None if self.outcome.isHidden() else self.outcome.first_button()
