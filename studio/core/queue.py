"""The queue of a workspace: which runs wait to be trained, in order, safe for several processes at once.

A queued run is an ordinary run directory that no worker has taken up yet. The order is one small file, changed under
a lock and by rename, so that it can be read at any time. `studio/queue_process.py` runs what waits.
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from studio.core.disk import can_not_write
from studio.core.events import Failed, Finished, Stopped
from studio.core.files import read_json, write_json
from studio.core.locks import Lock, is_held
from studio.core.reasons import Failure
from studio.core.rundir import RunDir, last_event, move_to_bin, restore

_LOCK_SECONDS = 10.0  # a change takes milliseconds; who holds the lock for longer has been stopped in the middle of it


class Order(BaseModel):
    """What the file holds: the run that the queue's process has at work, and those that wait for it, by id."""

    model_config = ConfigDict(extra="ignore")
    version: int = 1
    current: str = ""
    runs: list[str] = []


def order_file(workspace: Path) -> Path:
    """Return the file that holds the order; it is another one after each change."""
    return workspace / "queue" / "order.json"


def process_lock(workspace: Path) -> Path:
    """Return the lock that the queue's process holds for life."""
    return workspace / "queue" / "process.lock"


def is_at_work(workspace: Path) -> bool:
    """Return whether the queue's process lives."""
    return is_held(process_lock(workspace))


def waiting(workspace: Path) -> list[str]:
    """Return the ids of the runs that wait, the next one first."""
    return _waiting(workspace, _read(workspace))


def current(workspace: Path) -> str:
    """Return the id of the run that the queue's process took up and did not yet lay down, or ""."""
    return _read(workspace).current


def add(workspace: Path, run_id: str, place: int | None = None) -> int:
    """Let a run wait at a place, counted from 1, or at the end; return its place. Raises Failure."""
    with _changing(workspace) as order:
        runs = [i for i in order.runs if i != run_id]
        at = len(runs) if place is None else _clamp(place, len(runs))
        order.runs = [*runs[:at], run_id, *runs[at:]]
    return at + 1


def move(workspace: Path, run_id: str, place: int) -> int:
    """Move a run that waits to a place, counted from 1; return the place that it got. Raises Failure "not-queued"."""
    with _changing(workspace) as order:
        _find(order, run_id)
        order.runs.remove(run_id)
        at = _clamp(place, len(order.runs))
        order.runs.insert(at, run_id)
    return at + 1


def remove(workspace: Path, run_id: str) -> tuple[int, Path]:
    """Take a run that waits out of the queue and into the bin; return its place and where it lies now.

    Raises Failure "not-queued", also when the queue's process has just taken it up.
    """
    binned = None
    try:
        with _changing(workspace) as order:
            at = _find(order, run_id)
            order.runs.remove(run_id)
            binned = move_to_bin(workspace, RunDir(workspace / "runs" / run_id))
    except Failure:
        if binned is not None:  # the order could not be written: the run waits still
            restore(workspace, binned)
        raise
    return at + 1, binned


def put_back(workspace: Path, binned: Path, place: int) -> None:
    """Undo `remove`."""
    add(workspace, restore(workspace, binned).id, place)


def take(workspace: Path, done: str, process: Lock) -> RunDir | None:
    """Return the run that is to be worked on now; None, and `process` released, when none waits.

    done: the run that was worked on before, "" at first. A run that a former process of the queue had taken up and
    that has not ended comes first: its worker may still live, or it goes on from its last checkpoint.
    """
    with _changing(workspace) as order:
        left = RunDir(workspace / "runs" / order.current) if order.current not in ("", done) else None
        if left is not None and not _is_over(left):
            return left
        runs = _waiting(workspace, order)
        order.current, order.runs = (runs[0], runs[1:]) if runs else ("", [])
        if not runs:
            # Under the lock: who adds a run later finds that there is no process any more, and starts one.
            process.release()
            return None
    return RunDir(workspace / "runs" / order.current)


def _is_over(run: RunDir) -> bool:
    """Return whether a run needs nothing more: it said its last word, its parent noted its exit, or it is gone."""
    if run.is_alive():
        return False
    is_gone = not run.spec_file.is_file()
    return is_gone or run.exit_file.exists() or isinstance(last_event(run), Finished | Stopped | Failed)


def _waiting(workspace: Path, order: Order) -> list[str]:
    # One that was moved to the bin, or that a person started out of turn, waits no more.
    runs = [RunDir(workspace / "runs" / run_id) for run_id in order.runs]
    return [run.id for run in runs if run.spec_file.is_file() and not run.events_file.exists()]


def _find(order: Order, run_id: str) -> int:
    if run_id not in order.runs:
        raise Failure("not-queued", run=run_id)
    return order.runs.index(run_id)


def _clamp(place: int, n_others: int) -> int:
    return min(max(place, 1), n_others + 1) - 1


def _read(workspace: Path) -> Order:
    try:
        return Order.model_validate(read_json(order_file(workspace), {}))
    except ValidationError:
        return Order()


@contextlib.contextmanager
def _changing(workspace: Path) -> Iterator[Order]:
    """Yield the order while nobody else changes it, and write what became of it."""
    lock = Lock(workspace / "queue" / "order.lock")
    try:
        if not lock.acquire({}, timeout_seconds=_LOCK_SECONDS):
            raise Failure("workspace-unwritable", path=str(lock.path), message="Another process holds it.")
        order = _read(workspace)
        before = order.model_copy(deep=True)
        yield order
        if order != before:
            write_json(order_file(workspace), order.model_dump())
    except OSError as error:
        raise can_not_write(workspace, error) from error
    finally:
        lock.release()
