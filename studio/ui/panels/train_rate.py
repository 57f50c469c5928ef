"""The learning-rate finder: a sweep over growing rates, drawn while it goes on, and the rate that it suggests.

Importing this module imports pyqtgraph.
"""

import numpy as np
from PySide6.QtCore import Signal
from PySide6.QtWidgets import QHBoxLayout, QProgressBar, QWidget

from studio.core.rates import smooth_losses
from studio.core.reasons import Failure
from studio.core.state import RunState
from studio.ui import words
from studio.ui.editors import say
from studio.ui.i18n import tr
from studio.ui.notices import message_of
from studio.ui.reading import problem_of
from studio.ui.store import Store
from studio.ui.theme import GRID
from studio.ui.widgets.buttons import main_button, quiet_button
from studio.ui.widgets.cards import Card, ErrorLine
from studio.ui.widgets.labels import Body
from studio.ui.widgets.plot import CurvePlot


class RateFinder(Card):
    """Looks for a learning rate for the draft. `used` carries the rate that the person takes; `closed`, then too."""

    used = Signal(float)
    closed = Signal()

    def __init__(self, store: Store, parent: QWidget | None = None) -> None:
        super().__init__(tr("Find a learning rate"), parent)
        self.setObjectName("train.finder")
        self._store, self.is_open, self._suggested = store, False, None
        self.said = Body()
        self.bar = QProgressBar()
        self.bar.setTextVisible(False)
        self.bar.setAccessibleName(tr("Progress"))
        self.plot = CurvePlot(tr("Loss"), x_label=tr("rate"), log_x=True)
        self.plot.setMinimumHeight(180)
        self.error = ErrorLine()
        self.use = main_button("", "train.use_rate", "check")
        self.use.clicked.connect(self._use)
        self.stop = quiet_button(tr("Stop"), "train.stop_rate", "stop")
        self.stop.clicked.connect(store.probes.stop)
        self.again = quiet_button(tr("Try again"), "train.again_rate", "refresh")
        self.again.clicked.connect(self.begin)
        self.close_button = quiet_button(tr("Close"), "train.close_rate", "close")
        self.close_button.clicked.connect(self.leave)
        row = QHBoxLayout()
        row.setSpacing(GRID)
        row.addStretch(1)
        for button in (self.again, self.close_button, self.stop, self.use):
            row.addWidget(button)
        for widget in (self.said, self.bar, self.error):
            self.add(widget)
        self.add(self.plot, 1000)
        self.body.addStretch(1)  # until there is a curve
        self.body.addLayout(row)
        self._state: RunState | None = None
        store.probes.changed.connect(self._follow)

    def begin(self) -> None:
        """Start a sweep for the draft as it is now."""
        self.is_open = True
        self.plot.clear_curves()
        try:
            spec = self._store.draft.spec()
        except Failure as error:
            self._state = RunState(state="failed", problem=problem_of(error))
        else:
            self._store.probes.begin("learning-rate", spec)
            self._state = self._store.probes.state
        self._draw()

    def leave(self) -> None:
        """Stop what is at work and go away."""
        if self.is_open:
            self.is_open = False
            if self._store.probes.is_at("learning-rate"):
                self._store.probes.stop()
            self.closed.emit()

    def _use(self) -> None:
        rate = self._suggested
        self.leave()
        self.used.emit(rate)

    def _follow(self) -> None:
        if self.is_open and self._store.probes.state is self._state:
            self._draw()

    def _draw(self) -> None:
        state = self._state
        is_busy, found = state.is_active, state.rate_found
        self._suggested = found.suggested if found is not None else None
        self.said.setText(self._words(state))
        self.bar.setVisible(is_busy)
        self.bar.setRange(0, state.total_steps)
        self.bar.setValue(state.step)
        self.error.show_text(message_of(state.problem) if state.problem is not None and not is_busy else "")
        self.stop.setVisible(is_busy)
        for button in (self.again, self.close_button):
            button.setVisible(not is_busy)
        self.use.setVisible(self._suggested is not None)
        if self._suggested is not None:
            self.use.setText(tr("Use {rate}", rate=say(self._suggested)))
        self._draw_curve(state)

    def _words(self, state: RunState) -> str:
        if state.is_active and not state.step:
            return tr("Reading the data and the model; then the learning rate grows step by step…")
        if state.is_active:
            return tr("Step {step} of {total}. The learning rate grows from step to step until the loss explodes.",
                      step=words.count(state.step), total=words.count(state.total_steps))  # fmt: skip
        if state.rate_found is None:
            return "" if state.problem is not None else tr("Stopped before there was anything to suggest.")
        if self._suggested is None:
            return tr("No rate made the loss fall within these few steps. Keep the automatic one, or give the sweep "
                      "larger batches.")  # fmt: skip
        return tr("At {rate} the loss fell fastest (the range test of Smith 2017, arXiv:1506.01186). The model is as "
                  "it was.", rate=say(self._suggested))  # fmt: skip

    def _draw_curve(self, state: RunState) -> None:
        loss, rate = state.series.get(("train", "loss")), state.series.get(("train", "learning_rate"))
        self.plot.setVisible(loss is not None and rate is not None and len(loss) > 1)
        if self.plot.isHidden():
            return
        n = min(len(loss), len(rate))
        x, y = np.log10(rate.y[:n]), np.array(loss.y[:n])
        finite = np.isfinite(y)
        self.plot.set_curve("raw", x[finite], y[finite], tr("each step"), "raw", 0)
        smooth = smooth_losses(y[finite])
        self.plot.set_curve("smooth", x[finite], smooth, tr("smoothed"), "line", 0)
        if self._suggested is not None:
            at = np.log10(self._suggested)
            mark = np.array([float(np.interp(at, x[finite], smooth))])
            self.plot.set_curve("suggested", np.array([at]), mark, tr("suggested"), "points", 1)
