"""Pause and Stop of an active run; a stop that is not obeyed in ten seconds offers to force it."""

from PySide6.QtCore import QTimer
from PySide6.QtWidgets import QHBoxLayout, QWidget

from studio.core import commands
from studio.core.state import RunState
from studio.ui.i18n import tr
from studio.ui.store import Store
from studio.ui.theme import GRID, set_icon
from studio.ui.widgets.buttons import quiet_button

FORCE_AFTER_MS = 10_000


class RunControls(QWidget):
    """Tells the worker of one run to wait, go on and end, and shows what it was told until it obeys."""

    def __init__(self, store: Store, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._store, self._run, self._is_paused = store, "", False
        self._asked_stop = self._asked_pause = False
        self.pause = quiet_button(tr("Pause"), "train.pause", "pause")
        self.pause.setToolTip(tr("Wait at the next step with the model in memory"))
        self.stop = quiet_button(tr("Stop"), "train.stop", "stop")
        self.stop.setToolTip(tr("Save a checkpoint and end at the next step"))
        self.force = quiet_button(tr("Force stop"), "train.kill", "warning")
        self.force.setToolTip(tr("End the worker at once; what came after the last checkpoint is trained again"))
        self.force.setVisible(False)
        self.pause.clicked.connect(self._toggle_pause)
        self.stop.clicked.connect(self._ask_stop)
        self.force.clicked.connect(lambda: self._store.kill(self._run))
        self._patience = QTimer(self, singleShot=True, interval=FORCE_AFTER_MS)
        self._patience.timeout.connect(lambda: self.force.setVisible(True))
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(GRID)
        for button in (self.pause, self.stop, self.force):
            layout.addWidget(button)

    def show_state(self, state: RunState) -> None:
        """Show what can be done with a run now."""
        if state.id != self._run or not state.is_active:
            self._run, self._asked_stop, self._asked_pause = state.id, False, False
            self._patience.stop()
            self.force.setVisible(False)
        if (state.state == "paused") != self._is_paused:
            self._is_paused, self._asked_pause = state.state == "paused", False
            set_icon(self.pause, "play" if self._is_paused else "pause")
        self.setVisible(state.is_active)
        self._draw()

    def _draw(self) -> None:
        if self._is_paused:
            text = tr("Going on…") if self._asked_pause else tr("Go on")
        else:
            text = tr("Pausing…") if self._asked_pause else tr("Pause")
        self.pause.setText(text)
        self.pause.setEnabled(not self._asked_pause and not self._asked_stop)
        self.stop.setText(tr("Stopping…") if self._asked_stop else tr("Stop"))
        self.stop.setEnabled(not self._asked_stop)

    def _toggle_pause(self) -> None:
        self._asked_pause = True
        self._store.send(self._run, commands.Resume() if self._is_paused else commands.Pause())
        self._draw()

    def _ask_stop(self) -> None:
        self._asked_stop = True
        self._store.stop(self._run)
        self._patience.start()
        self._draw()
