"""Keeps a worker ready while the window is open, so that what a person starts begins at once."""

import logging

from PySide6.QtCore import QObject, QTimer

from studio.ui.store import Store
from studio.ui.threads import background

log = logging.getLogger(__name__)
_CALM_MS = 1500  # after the window is on screen, or the last run ended


class SpareKeeper(QObject):
    """Asks for a spare worker whenever no run of the window is at work; a child of the window.

    While one trains the processor is its alone; an inspection that waits for texts needs none.
    """

    def __init__(self, store: Store, parent: QObject):
        super().__init__(parent)
        self._store, self._is_over = store, False
        self._timer = QTimer(self, singleShot=True, interval=_CALM_MS)
        self._timer.timeout.connect(self._keep)
        store.runs_changed.connect(self._timer.start)
        store.run_changed.connect(self._look)
        store.probes.ended.connect(self._timer.start)  # one that was ended took the spare with it
        self._timer.start()

    def end(self) -> None:
        """Let the spare go."""
        from studio import supervisor

        self._is_over = True
        self._timer.stop()
        supervisor.end_spare(self._store.workspace)

    def _look(self, run_id: str) -> None:
        state = self._store.runs.get(run_id)
        if state is not None and state.kind == "inspect" and state.phase == "ready" and not self._timer.isActive():
            self._timer.start()

    def _keep(self) -> None:

        states = self._store.runs.values()
        if not any(s.is_active and not (s.kind == "inspect" and s.phase == "ready") for s in states):
            background(self._start, lambda _: None, self._do_without, self)

    def _start(self) -> None:
        from studio import supervisor

        if not self._is_over:  # the window may have been closed while this waited for a thread
            supervisor.keep_spare(self._store.workspace)

    def _do_without(self, error: Exception) -> None:
        log.debug("no spare worker: %s", error)  # what starts without one only starts later
