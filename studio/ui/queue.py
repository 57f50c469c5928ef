"""The window's hold on the queue: trainings that wait, changed one at a time without the window waiting for it."""

from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

from PySide6.QtCore import QObject, Signal

from studio.core import queue
from studio.core.reasons import Failure
from studio.core.rundir import RunDir, create_run, readable_id
from studio.core.spec import TrainSpec
from studio.ui import words
from studio.ui.i18n import tr
from studio.ui.notices import Notice
from studio.ui.threads import background


class Queue(QObject):
    """The trainings of the workspace that wait, and the verbs to change them; a process of its own trains them.

    changed: other runs wait, in another order, or the process came or went. removed: a run is in the bin now. told: a
    Notice. failed: an exception. ids: what waits, the next one first. is_at_work: whether the process lives.
    """

    changed = Signal()
    removed = Signal(str)
    told = Signal(object)
    failed = Signal(object)

    def __init__(self, workspace: Path, parent: QObject):
        super().__init__(parent)
        self._workspace = workspace
        self.ids: list[str] = []
        self.is_at_work = False
        self._jobs: deque[tuple[Callable[[], Any], Callable[[Any], None]]] = deque()  # the first one is being done

    def __contains__(self, run_id: str) -> bool:
        return run_id in self.ids

    def add(self, spec: TrainSpec) -> str:
        """Let a training wait behind the others; return its id, or "" when its directory can't be made."""
        try:
            run = create_run(self._workspace, spec)
        except Failure as error:
            self.failed.emit(error)
            return ""
        name = spec.name or readable_id(run.id)

        def tell(place: int) -> None:
            text = tr("{name} is in the queue, at place {place}.", name=name, place=words.count(place))
            self.told.emit(Notice(text, fix="go.runs", run=run.id))

        def work() -> int:
            place = queue.add(self._workspace, run.id)
            self._start()
            return place

        self._change([*self.ids, run.id], work, tell)
        return run.id

    def move(self, run_id: str, place: int) -> None:
        """Give a run that waits another place, counted from 1."""
        others = [i for i in self.ids if i != run_id]
        at = min(max(place, 1), len(self.ids)) - 1
        self._change([*others[:at], run_id, *others[at:]], lambda: queue.move(self._workspace, run_id, place))

    def remove(self, run_id: str) -> None:
        """Take a run that waits out of the queue and into the bin; the notice brings it back."""
        name = RunDir(self._workspace / "runs" / run_id).name() or readable_id(run_id)

        def tell(found: tuple[int, Path]) -> None:
            place, binned = found
            self.removed.emit(run_id)
            title = tr("{name} was taken out of the queue.", name=name)
            self.told.emit(Notice(title, undo=lambda: self._put_back(run_id, binned, place)))

        rest = [i for i in self.ids if i != run_id]
        self._change(rest, lambda: queue.remove(self._workspace, run_id), tell)

    def wake(self) -> None:
        """Let the queue go on where something waits, such as after its process was killed."""
        self._change(self.ids, self._start)

    def show(self, ids: list[str], is_at_work: bool) -> None:
        """Take what a look at the workspace found, unless a change of this window's own is on its way."""
        if not self._jobs and (ids, is_at_work) != (self.ids, self.is_at_work):
            self.ids, self.is_at_work = ids, is_at_work
            self.changed.emit()

    def _put_back(self, run_id: str, binned: Path, place: int) -> None:
        def work() -> None:
            queue.put_back(self._workspace, binned, place)
            self._start()

        self._change([*self.ids[: place - 1], run_id, *self.ids[place - 1 :]], work)

    def _start(self) -> None:
        from studio import supervisor

        supervisor.start_queue(self._workspace)

    # One change after the other: two of them at once could overtake each other.

    def _change(
        self, expected: list[str], work: Callable[[], Any], done: Callable[[Any], None] = lambda _: None
    ) -> None:
        self._jobs.append((work, done))
        if expected != self.ids:
            self.ids = expected
            self.changed.emit()
        if len(self._jobs) == 1:
            self._next()

    def _next(self) -> None:
        work, done = self._jobs[0]

        def both() -> tuple[Any, list[str]]:
            return work(), queue.waiting(self._workspace)

        background(both, lambda found: self._finish(found[1], lambda: done(found[0])), self._give_up, self)

    def _give_up(self, error: Exception) -> None:
        self._finish(queue.waiting(self._workspace), lambda: self.failed.emit(error))

    def _finish(self, ids: list[str], tell: Callable[[], None]) -> None:
        self._jobs.popleft()
        if self._jobs:
            self._next()
        self.show(ids, self.is_at_work or bool(ids))
        tell()
