"""What a short run does just now, in one line: its phase, how far it is, and a way to stop it."""

import time

from PySide6.QtCore import QTimer
from PySide6.QtWidgets import QHBoxLayout, QProgressBar, QVBoxLayout, QWidget

from studio.core.state import RunState
from studio.ui import words
from studio.ui.i18n import tr
from studio.ui.notices import message_of
from studio.ui.store import Store
from studio.ui.theme import GRID
from studio.ui.widgets.buttons import quiet_button
from studio.ui.widgets.cards import ErrorLine
from studio.ui.widgets.labels import Body, Small

STOP_SECONDS = 10  # after so long without obeying, the worker may be ended by force


class JobStrip(QWidget):
    """Shows one run while it works, and what went wrong with it; takes no room otherwise."""

    def __init__(self, store: Store, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._store = store
        self._run = self._what = ""
        self._stopped_at = 0.0
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(GRID)
        self._busy = QWidget()
        row = QHBoxLayout(self._busy)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(GRID)
        column = QVBoxLayout()
        column.setSpacing(6)
        words_row = QHBoxLayout()
        self.phase = Body()
        self.phase.setWordWrap(False)
        self.detail = Small()
        self.detail.setWordWrap(False)
        words_row.addWidget(self.phase)
        words_row.addStretch(1)
        words_row.addWidget(self.detail)
        self.bar = QProgressBar()
        self.bar.setTextVisible(False)
        column.addLayout(words_row)
        column.addWidget(self.bar)
        row.addLayout(column, 1)
        self.stop = quiet_button(tr("Stop"), "job.stop", "stop")
        self.stop.clicked.connect(self._stop)
        row.addSpacing(GRID)
        row.addWidget(self.stop)
        layout.addWidget(self._busy)
        self.error = ErrorLine()
        layout.addWidget(self.error)
        self._clock = QTimer(self, interval=1000)
        self._clock.timeout.connect(self._show)
        store.run_changed.connect(lambda run_id: self._show() if run_id == self._run else None)
        self.hide()

    def show_run(self, run_id: str, what: str = "") -> None:
        """Follow a run, or none with ""; `what` names its subject before its phase."""
        self._run, self._what, self._stopped_at = run_id, what, 0.0
        self.stop.setEnabled(True)
        self.stop.setText(tr("Stop"))
        self._show()

    def run(self) -> str:
        """Return the run that is followed."""
        return self._run

    def _stop(self) -> None:
        if self._stopped_at:
            self._store.kill(self._run)
            return
        self._stopped_at = time.monotonic()
        self._store.stop(self._run)
        self._show()

    def _show(self) -> None:
        state = self._store.runs.get(self._run)
        active = state is not None and state.is_active
        # A worker that says nothing for a while is still seen to be at work.
        self._clock.start() if active else self._clock.stop()
        self._busy.setVisible(active)
        self.error.show_text(message_of(state.problem) if state and not active and state.problem else "")
        self.setVisible(active or bool(self.error.text()))
        if active:
            self._show_progress(state)

    def _show_progress(self, state: RunState) -> None:
        phase = words.word(words.PHASES, state.phase) if state.phase else tr("starting")
        self.phase.setText(f"{self._what}: {phase}" if self._what else phase[:1].upper() + phase[1:])
        done, total = state.progress
        self.bar.setRange(0, 1000 if total else 0)
        if total:
            self.bar.setValue(round(1000 * done / total))
        seconds = time.time() - state.started if state.started else 0.0
        share = words.percent(done / total) + "  ·  " if total else ""
        self.detail.setText(share + words.duration(round(seconds)))
        self.bar.setAccessibleName(f"{phase} {share}".strip())
        if self._stopped_at:
            slow = time.monotonic() - self._stopped_at > STOP_SECONDS
            self.stop.setText(tr("Force stop") if slow else tr("Stopping…"))
            self.stop.setEnabled(slow)
