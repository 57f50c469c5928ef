"""The threads that follow runs, one each."""

from PySide6.QtCore import QObject, Qt, Signal

from studio.core.rundir import RunDir
from studio.ui.threads import TrainerThread


class Followers(QObject):
    """Follows runs by their ids.

    past: a run's id and its state up to now, where its log is long. heard: a run's id and a list of events after that.
    ended: a run whose worker is gone, after its last event. failed: an exception that kept a worker from starting or a
    log from being read.
    """

    past = Signal(str, object)
    heard = Signal(str, object)
    ended = Signal(str)
    failed = Signal(object)

    def __init__(self, parent: QObject):
        super().__init__(parent)
        self._threads: dict[str, TrainerThread] = {}

    def __contains__(self, run_id: str) -> bool:
        return run_id in self._threads

    def follow(self, run: RunDir, launch: bool, poll_seconds: float) -> None:
        """Follow a run from its first event; `launch` starts its worker first."""
        self.leave(run.id)
        self._threads[run.id] = thread = TrainerThread(run, launch, poll_seconds, self)
        queued = Qt.ConnectionType.QueuedConnection
        thread.past.connect(lambda state: self._is_current(thread) and self.past.emit(run.id, state), queued)
        thread.events.connect(lambda batch: self._is_current(thread) and self.heard.emit(run.id, batch), queued)
        thread.failed.connect(self.failed, queued)
        thread.ended.connect(lambda: self._is_current(thread) and self._end(run.id), queued)
        thread.start()

    def leave(self, run_id: str) -> None:
        """Stop following a run; its worker goes on."""
        thread = self._threads.pop(run_id, None)
        if thread is not None:
            thread.leave()
            thread.deleteLater()

    def leave_all(self) -> None:
        """Stop following all runs."""
        for run_id in list(self._threads):
            self.leave(run_id)

    def _is_current(self, thread: TrainerThread) -> bool:
        # What a thread that was left had sent before is still on its way.
        return self._threads.get(thread.directory.id) is thread

    def _end(self, run_id: str) -> None:
        self.leave(run_id)
        self.ended.emit(run_id)
