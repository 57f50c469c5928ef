"""The two ways in which the window does not wait: quick work in the background, and following a run."""

import logging
import threading
from collections.abc import Callable
from functools import partial
from typing import Any

from PySide6.QtCore import QCoreApplication, QObject, Qt, QThread, QThreadPool, Signal, Slot
from shiboken6 import isValid

from studio.core.rundir import RunDir
from studio.core.state import new_state

log = logging.getLogger(__name__)
_CHUNK = 100  # events, or columns of them, that the window folds in one go: about 5 ms
_BREATH_SECONDS = 0.001
_LONG_BYTES = 1 << 20  # of a log; what a shorter one tells is folded in the window


class Job:
    """Work on its way; `cancel` makes sure that neither `done` nor `failed` is called any more."""

    def __init__(
        self, fn: Callable[[], Any], done: Callable[[Any], None], failed: Callable[[Exception], None], owner: QObject
    ):
        self._fn, self._done, self._failed, self._owner = fn, done, failed, owner
        self._result: Any = None
        self._error: Exception | None = None
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True

    def work(self) -> None:
        """Run in a thread of the pool."""
        if not self.cancelled:
            try:
                self._result = self._fn()
            except Exception as error:
                self._error = error

    def deliver(self) -> None:
        """Run on the GUI thread; says nothing to an owner that is gone."""
        if self.cancelled or not isValid(self._owner):
            return
        if self._error is not None:
            self._failed(self._error)
        else:
            self._done(self._result)


def background(
    fn: Callable[[], Any],
    done: Callable[[Any], None],
    failed: Callable[[Exception], None],
    owner: QObject,
    key: str = "",
) -> Job:
    """Run `fn()` in a thread of the pool; call `done(result)` or `failed(exception)` on the GUI thread.

    Neither is called once `owner` (a QObject) is gone. With a `key`, an earlier job of this owner and key is
    cancelled: only the newest answer counts. `fn` must touch no widget and should take seconds at most.
    """
    app = QCoreApplication.instance()
    post = app.findChild(_Post, "post")
    if post is None:
        post = _Post(app)
    job = Job(fn, done, failed, owner)
    number = post.register(job, (id(owner), key) if key else None)
    QThreadPool.globalInstance().start(partial(_work, number, post))
    return job


def _work(number: int, post: "_Post") -> None:
    post.job(number).work()
    if isValid(post):
        post.arrived.emit(number)


class _Post(QObject):
    """Brings finished jobs to the GUI thread; a child of the application.

    WORKAROUND: jobs are told by their numbers. Of the Python objects that cross threads in a signal or a QRunnable
    PySide 6.11.3 never lets go of every fourth, and with a job would stay the maps of the look that it read. A
    QRunnable of our own may even have lost its attributes when it runs, and its job with them: a function has none.
    """

    arrived = Signal(int)

    def __init__(self, app: QCoreApplication):
        super().__init__(app)
        self.setObjectName("post")
        self._newest: dict[Any, Job] = {}
        self._jobs: dict[int, Job] = {}
        self._n_registered = 0
        self.arrived.connect(self._deliver, Qt.ConnectionType.QueuedConnection)

    def register(self, job: Job, key: Any) -> int:
        if key is not None:
            if key in self._newest:
                self._newest[key].cancel()
            self._newest[key] = job
        self._n_registered += 1
        self._jobs[self._n_registered] = job
        return self._n_registered

    def job(self, number: int) -> Job:
        return self._jobs[number]

    @Slot(int)
    def _deliver(self, number: int) -> None:
        job = self._jobs.pop(number)
        self._newest = {key: other for key, other in self._newest.items() if other is not job}
        job.deliver()


class TrainerThread(QThread):
    """Starts a run's worker if asked to, and follows it to its last event.

    past: the state that the long log of a run tells so far, folded here; the events are those that come later. events:
    a list of events, oldest first. failed: the exception that kept the worker from starting or the log from being read.
    ended: the worker is gone and all it said was delivered.
    """

    past = Signal(object)
    events = Signal(object)
    failed = Signal(object)
    ended = Signal()
    _told = Signal()

    def __init__(self, directory: RunDir, launch: bool, poll_seconds: float = 0.1, parent: QObject | None = None):
        super().__init__(parent)
        self.directory = directory
        self._launch = launch
        self._poll_seconds = poll_seconds
        self._leave = threading.Event()
        # A window that is still at work on the last events gets no others: else its timers would have to wait.
        self._is_free = threading.Semaphore()
        self._told.connect(lambda: self._is_free.release(), Qt.ConnectionType.QueuedConnection)

    def run(self) -> None:
        from studio import supervisor
        from studio.core.replay import RunReader

        try:
            if self._launch:
                supervisor.start(self.directory)
            reader = RunReader(self.directory)
            self._fold(reader)
            for batch in supervisor.follow(self.directory, self._poll_seconds, self._leave, reader):
                for start in range(0, len(batch), _CHUNK):
                    # Of many events the window takes a part at a time, and lives in between.
                    while not self._is_free.acquire(timeout=0.1):
                        if self._leave.is_set():
                            return
                    if self._leave.wait(_BREATH_SECONDS if start else 0):
                        return
                    self.events.emit(batch[start : start + _CHUNK])
                    self._told.emit()  # arrives when the window is done with them
        except Exception as error:
            log.debug("following %s failed", self.directory.id, exc_info=True)
            self.failed.emit(error)
        if not self._leave.is_set():
            self.ended.emit()

    def _fold(self, reader: Any) -> None:
        log_file = self.directory.events_file
        if not log_file.exists() or log_file.stat().st_size < _LONG_BYTES:
            return
        state = new_state(self.directory)
        while not self._leave.is_set() and (batch := reader.read()):
            for event in batch:
                state.apply(event)
        self.past.emit(state)

    def leave(self) -> None:
        """Stop following; the worker goes on. Returns when the thread is gone (a poll at most)."""
        self._leave.set()
        self.wait(5000)
