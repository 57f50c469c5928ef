"""Work on files, which may take longer than a moment: a line that says what is done, with a way to end it."""

import contextlib
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from PySide6.QtCore import QCoreApplication, QThreadPool, QTimer, Signal
from PySide6.QtWidgets import QHBoxLayout, QProgressBar, QSizePolicy, QWidget

from studio.ui.i18n import tr
from studio.ui.theme import GRID, GROUP
from studio.ui.threads import background
from studio.ui.widgets.buttons import quiet_button
from studio.ui.widgets.labels import ElidedLabel

SHOWN_AFTER_MS, TICK_MS = 400, 100  # what is quicker is not worth a line that comes and goes


class Cancelled(Exception):
    """The person ended the work."""


class Progress:
    """How far work in a thread is: `told` is called there, and raises Cancelled once `stop` is set."""

    def __init__(self) -> None:
        self.done, self.total, self.stop = 0, 0, threading.Event()

    def told(self, done: int, total: int) -> None:
        """Take note of how far it is."""
        self.done, self.total = done, total
        if self.stop.is_set():
            raise Cancelled


@dataclass(eq=False)
class _Work:
    """What is under way: its words, and how far it is; of works of one `name` only the newest goes on."""

    title: str
    name: str
    progress: Progress
    ends_with_window: bool


class WorkLine(QWidget):
    """What is read and written in the background, each work by itself. failed: the exception that ended one."""

    failed = Signal(object)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._works: list[_Work] = []
        self._turn = threading.Lock()
        self._ticks = 0
        self.title = ElidedLabel()
        self.title.setProperty("level", "small")
        self.bar = QProgressBar()
        self.bar.setTextVisible(False)
        self.bar.setFixedHeight(4)
        self.cancel_button = quiet_button(tr("Cancel"), "inspect.cancel")
        self.cancel_button.clicked.connect(self.cancel)
        row = QHBoxLayout(self)
        row.setContentsMargins(GROUP, 0, GROUP, 0)
        row.setSpacing(GRID)
        row.addWidget(self.title, 1)
        row.addWidget(self.bar, 1)
        row.addWidget(self.cancel_button)
        self._timer = QTimer(self, interval=TICK_MS)
        self._timer.timeout.connect(self._tick)
        QCoreApplication.instance().aboutToQuit.connect(self._quit)
        # Its place stays, so that nothing else moves when it comes and goes.
        policy = self.sizePolicy()
        policy.setHorizontalPolicy(QSizePolicy.Policy.Expanding)
        policy.setRetainSizeWhenHidden(True)
        self.setSizePolicy(policy)
        self.hide()

    @property
    def is_busy(self) -> bool:
        """Whether there is work."""
        return bool(self._works)

    def start(
        self,
        title: str,
        work: Callable[[Callable[[int, int], None]], Any],
        done: Callable[[Any], None],
        name: str = "",
        ends_with_window: bool = False,
    ) -> None:
        """Run `work(told)` in the background and then `done(result)` here; `told(done, total)` says how far it is.

        name: of works of the same name the newest ends the others, and only it is `done`; those without one are done
        one after the other. What does not end with the window goes on when that is closed; the process waits for it.
        """
        mine, turn = _Work(title, name, Progress(), ends_with_window), self._turn
        for other in self._works:
            if name and other.name == name:
                other.progress.stop.set()
        if ends_with_window:
            self.destroyed.connect(mine.progress.stop.set)
        if not self._works:
            self._ticks = 0
        self._works.append(mine)
        self._timer.start()
        self._tick(0)

        def end(result: Any) -> None:
            self._end(mine)
            # What was written before it could be cancelled is there, and is told.
            if not (name and mine.progress.stop.is_set()):
                done(result)

        def fail(error: Exception) -> None:
            self._end(mine)
            if not (isinstance(error, Cancelled) or (name and mine.progress.stop.is_set())):
                self.failed.emit(error)

        def run() -> Any:
            pool = QThreadPool.globalInstance()
            pool.releaseThread()  # what takes long takes nobody's place
            try:
                with contextlib.nullcontext() if name else turn:
                    mine.progress.told(0, 0)
                    return work(mine.progress.told)
            finally:
                pool.reserveThread()

        background(run, end, fail, self)

    def cancel(self) -> None:
        """End the work that the line tells of at its next step; nothing is said of it any more."""
        if self._works:
            self._shown().progress.stop.set()

    def _shown(self) -> _Work:
        """Return the oldest work that was not cancelled, which the line tells of."""
        return next((work for work in self._works if not work.progress.stop.is_set()), self._works[0])

    def _tick(self, n_ticks: int = 1) -> None:
        self._ticks += n_ticks
        shown, n_more = self._shown(), len(self._works) - 1
        title = tr("{title} and {n} more", title=shown.title, n=n_more) if n_more else shown.title
        self.title.setText(title)
        self.bar.setAccessibleName(title)
        self.bar.setRange(0, shown.progress.total)
        self.bar.setValue(shown.progress.done)
        self.setVisible(self._ticks * TICK_MS >= SHOWN_AFTER_MS)

    def _quit(self) -> None:
        for work in self._works:
            if work.ends_with_window:
                work.progress.stop.set()

    def _end(self, work: _Work) -> None:
        self._works.remove(work)
        if not self._works:
            self._timer.stop()
            self.hide()
