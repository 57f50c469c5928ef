"""Work on files that takes longer than a moment: a line that says what is done, with a way to end it."""

import threading
from collections.abc import Callable
from typing import Any

from PySide6.QtCore import QTimer, Signal
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


class WorkLine(QWidget):
    """One piece of work at a time; another one takes its place. failed: the exception that ended it."""

    failed = Signal(object)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._progress: Progress | None = None
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
        # Its place stays, so that nothing else moves when it comes and goes.
        policy = self.sizePolicy()
        policy.setHorizontalPolicy(QSizePolicy.Policy.Expanding)
        policy.setRetainSizeWhenHidden(True)
        self.setSizePolicy(policy)
        self.hide()

    @property
    def is_busy(self) -> bool:
        """Whether there is work."""
        return self._progress is not None

    def start(self, title: str, work: Callable[[Callable[[int, int], None]], Any], done: Callable[[Any], None]) -> None:
        """Run `work(told)` in the background and then `done(result)` here; `told(done, total)` says how far it is."""
        self.cancel()
        progress = self._progress = Progress()
        self.destroyed.connect(progress.stop.set)
        self._ticks = 0
        self.title.setText(title)
        self.bar.setAccessibleName(title)
        self._timer.start()

        def end(result: Any) -> None:
            self._end()
            done(result)

        def fail(error: Exception) -> None:
            self._end()
            if not isinstance(error, Cancelled):
                self.failed.emit(error)

        background(lambda: work(progress.told), end, fail, self, key="work")

    def cancel(self) -> None:
        """End the work at its next step; nothing is said of it any more."""
        if self._progress is not None:
            self._progress.stop.set()

    def _tick(self) -> None:
        self._ticks += 1
        self.setVisible(self._ticks * TICK_MS >= SHOWN_AFTER_MS)
        self.bar.setRange(0, self._progress.total)
        self.bar.setValue(self._progress.done)

    def _end(self) -> None:
        self._timer.stop()
        self._progress = None
        self.hide()
