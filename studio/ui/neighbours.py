"""What other processes do in the workspace: a second window, the command line, the queue."""

from typing import TYPE_CHECKING

from PySide6.QtCore import QObject, QTimer

from studio.core import queue
from studio.core.living import Lookout, Seen, is_training
from studio.ui.threads import background

if TYPE_CHECKING:
    from studio.ui.store import Store

LOOK_MS = 2000


class Neighbours(QObject):
    """Looks at the workspace every two seconds, in the background and without opening a log, and tells the store.

    Runs that began, ended, were renamed or deleted by others, and what waits in the queue. Trainings that another
    process began are followed from then on, and so is what the window shows.
    """

    def __init__(self, store: "Store"):
        super().__init__(store)
        self._store, self._lookout = store, Lookout(store.workspace)
        self._seen: dict[str, Seen] | None = None  # None before the first look
        self._n_begun = self._n_told = 0  # looks
        self._timer = QTimer(self, interval=LOOK_MS)
        self._timer.timeout.connect(self.look)

    def wake(self) -> None:
        """Look now, and from now on."""
        self.look()
        self._timer.start()

    def close(self) -> None:
        """Look no more."""
        self._timer.stop()

    def look(self) -> None:
        """Look in the background."""
        number = self._begin()
        background(self._look, lambda found: self._tell(found, number), self._store.fail, self, key="look")

    def look_now(self) -> None:
        """Look at once, for a decision that must not be two seconds late; milliseconds for a thousand runs."""
        number = self._begin()
        self._tell(self._look(), number)

    def _begin(self) -> int:
        self._n_begun += 1
        return self._n_begun

    def _look(self) -> tuple[dict[str, Seen], list[str], bool]:
        workspace = self._store.workspace
        return self._lookout.look(), queue.waiting(workspace), queue.is_at_work(workspace)

    def _tell(self, found: tuple[dict[str, Seen], list[str], bool], number: int) -> None:
        if number < self._n_told:
            return  # it began before the one that was told last: what came in between would be taken for gone
        self._n_told = number
        seen, waiting, is_at_work = found
        before, self._seen = self._seen, seen
        self._store.queue.show(waiting, is_at_work)
        is_other = False
        for run_id, now in seen.items():
            was = (before or {}).get(run_id)
            if was == now:
                continue
            is_new_worker = now.worked != (was.worked if was is not None else 0)
            if is_new_worker and (now.is_alive or before is not None):
                self._take_up(run_id, now)
            if was is not None and was.named != now.named:
                self._store.forget_name(run_id)
            is_other |= was is None or is_new_worker or (was.named, was.is_alive) != (now.named, now.is_alive)
        gone = set(before or {}) - set(seen)
        for run_id in gone:
            self._store.forget(run_id)
        if before is not None and (is_other or gone):
            self._store.runs_changed.emit()

    def _take_up(self, run_id: str, now: Seen) -> None:
        store = self._store
        if run_id in store.followers:
            return
        state = store.runs.get(run_id)
        if state is not None and not state.is_active and state.ended < now.worked / 1e9:
            del store.runs[run_id]  # what is known of it is not all any more
        is_training_now = now.is_alive and is_training(run_id)
        if is_training_now or run_id == store.current_run:
            store.attach(run_id)
        if is_training_now and not store.current_run:
            store.select_run(run_id)
