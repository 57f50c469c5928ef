"""The order of what waits, changed by several processes, and what is seen of a workspace without opening a log."""

import errno
import subprocess
import sys
import time
from pathlib import Path

import pytest

from studio import queue_process
from studio.core import events as ev
from studio.core import queue
from studio.core.living import Lookout
from studio.core.locks import Lock, is_held
from studio.core.processes import environment
from studio.core.reasons import Failure
from studio.core.rundir import EventWriter, RunDir, create_run, last_event, list_runs
from studio.core.spec import parse_spec
from studio.core.state import read_summary


def new_run(workspace: Path) -> RunDir:
    spec = {"data": {"train": str(workspace / "reviews.csv")}, "columns": {"text": "text", "label": "label"}}
    return create_run(workspace, parse_spec(spec))


def enqueued(workspace: Path, n: int) -> list[str]:
    """Let `n` new runs wait and return their ids in order."""
    ids = [new_run(workspace).id for _ in range(n)]
    assert [queue.add(workspace, run_id) for run_id in ids] == list(range(1, n + 1))
    return ids


def say(run: RunDir, *events: ev.Event) -> None:
    writer = EventWriter(run.events_file)
    writer.write(events)
    writer.close()


def run_dir(workspace: Path, run_id: str) -> RunDir:
    return RunDir(workspace / "runs" / run_id)


def test_runs_are_moved_and_stay_in_bounds(workspace: Path) -> None:
    a, b, c = enqueued(workspace, 3)
    assert read_summary(run_dir(workspace, a)).state == "queued"
    assert queue.move(workspace, c, 1) == 1 and queue.waiting(workspace) == [c, a, b]
    assert queue.move(workspace, c, 99) == 3 and queue.waiting(workspace) == [a, b, c]
    assert queue.move(workspace, b, -5) == 1 and queue.waiting(workspace) == [b, a, c]
    queue.add(workspace, a)
    assert queue.waiting(workspace) == [b, c, a], "a run waits once"
    with pytest.raises(Failure) as caught:
        queue.move(workspace, "20200101-000000-train-ffff", 1)
    assert caught.value.problem.reason == "not-queued"


def test_a_removed_run_lies_in_the_bin_and_comes_back_to_its_place(workspace: Path) -> None:
    a, b, c = enqueued(workspace, 3)
    place, binned = queue.remove(workspace, b)
    assert (place, queue.waiting(workspace)) == (2, [a, c])
    assert [run.id for run in list_runs(workspace)] == sorted([a, c], reverse=True) and binned.is_dir()
    with pytest.raises(Failure):
        queue.remove(workspace, b)
    queue.put_back(workspace, binned, place)
    assert queue.waiting(workspace) == [a, b, c] and run_dir(workspace, b).spec_file.is_file()


def test_four_processes_at_once_lose_nothing(workspace: Path) -> None:
    code = """
import sys
from pathlib import Path
from studio.core import queue
workspace, mine = Path(sys.argv[1]), sys.argv[2].split(",")
for run_id in mine:
    queue.add(workspace, run_id)
    queue.move(workspace, run_id, 1)
"""
    ids = [[new_run(workspace).id for _ in range(8)] for _ in range(4)]
    command = [sys.executable, "-P", "-c", code, str(workspace)]
    writers = [subprocess.Popen([*command, ",".join(mine)], env=environment()) for mine in ids]
    assert [writer.wait(60) for writer in writers] == [0] * 4
    found = queue.waiting(workspace)
    assert sorted(found) == sorted(run_id for mine in ids for run_id in mine)
    for mine in ids:
        assert [run_id for run_id in found if run_id in mine] == mine[::-1], "each was put in front in its turn"


def test_taking_goes_in_order_and_lets_the_process_go_in_the_end(workspace: Path) -> None:
    a, b = enqueued(workspace, 2)
    process = Lock(queue.process_lock(workspace))
    assert process.acquire({}) and queue.is_at_work(workspace)
    assert queue.take(workspace, "", process).id == a
    assert queue.current(workspace) == a and queue.waiting(workspace) == [b]
    with pytest.raises(Failure):
        queue.remove(workspace, a)  # it is at work, one stops it instead
    say(run_dir(workspace, a), ev.Started(pid=1, version="0"), ev.Failed(reason="disk-full"))
    assert queue.take(workspace, a, process).id == b
    assert queue.take(workspace, b, process) is None
    assert not queue.is_at_work(workspace) and queue.current(workspace) == ""


@pytest.mark.parametrize(
    ("left_behind", "goes_on"),
    [("nothing", True), ("steps", True), ("last word", False), ("exit code", False), ("no folder", False)],
)
def test_after_a_kill_the_run_at_work_goes_on_unless_it_has_ended(
    workspace: Path, left_behind: str, goes_on: bool
) -> None:
    a, b = enqueued(workspace, 2)
    process = Lock(queue.process_lock(workspace))
    process.acquire({})
    run = queue.take(workspace, "", process)
    process.release()  # what a kill does
    started = ev.Started(pid=1, version="0")
    if left_behind == "steps":
        say(run, started, ev.Phase(name="training"))
    elif left_behind == "last word":
        say(run, started, ev.Stopped(step=3))
    elif left_behind == "exit code":
        run.exit_file.write_text('{"code": -9}')
    elif left_behind == "no folder":
        run.path.rename(workspace / "elsewhere")
    process.acquire({})
    assert queue.take(workspace, "", process).id == (a if goes_on else b)
    process.release()


def test_a_living_worker_is_never_replaced(workspace: Path) -> None:
    (a,) = enqueued(workspace, 1)
    process, worker = Lock(queue.process_lock(workspace)), Lock(run_dir(workspace, a).lock_file)
    process.acquire({})
    run = queue.take(workspace, "", process)
    run.exit_file.write_text('{"code": 3}')  # of a second worker, which found the first one there
    assert worker.acquire({})
    assert queue.take(workspace, "", process).id == a
    worker.release()
    process.release()


def test_a_damaged_order_is_an_empty_one(workspace: Path) -> None:
    enqueued(workspace, 1)
    queue.order_file(workspace).write_text('{"runs": 7}')
    assert queue.waiting(workspace) == []
    enqueued(workspace, 1)


def test_who_is_stopped_in_the_middle_of_a_change_is_named(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue, "_LOCK_SECONDS", 0.1)
    (a,) = enqueued(workspace, 1)
    other = Lock(workspace / "queue" / "order.lock")
    assert other.acquire({})
    with pytest.raises(Failure) as caught:
        queue.add(workspace, a)
    assert "Another process" in str(caught.value)
    other.release()


def test_on_a_full_disk_the_order_stays_and_the_process_waits_for_room(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    a, b = enqueued(workspace, 2)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(queue, "write_json", full)
    for change in (lambda: queue.move(workspace, b, 1), lambda: queue.remove(workspace, a)):
        with pytest.raises(Failure) as caught:
            change()
        assert caught.value.problem.reason == "no-room" and queue.waiting(workspace) == [a, b]
    said, begun = [], []

    def make_room(text: str) -> None:
        said.append(text)
        monkeypatch.undo()
        monkeypatch.setattr(queue_process, "_see_through", lambda run, say: begun.append(run.id))

    queue_process.work(workspace, make_room)
    assert said[0] == "waiting for room on the disk" and begun == [a, b]


def test_the_process_goes_while_nobody_can_add(workspace: Path) -> None:
    """Else who adds a run in that moment would take it for one that goes on, and nobody would train the run."""
    held = []

    class Watched(Lock):
        def release(self) -> None:
            held.append(is_held(workspace / "queue" / "order.lock"))
            super().release()

    process = Watched(queue.process_lock(workspace))
    assert process.acquire({})
    assert queue.take(workspace, "", process) is None
    assert held == [True] and not queue.is_at_work(workspace)


def test_a_look_tells_who_lives_and_what_changed_without_a_log(workspace: Path) -> None:
    run = new_run(workspace)
    run.events_file.mkdir()  # whoever opens it as a log fails
    lookout = Lookout(workspace)
    first = lookout.look()[run.id]
    assert not first.is_alive and first.worked == first.named == 0
    worker = Lock(run.lock_file)
    assert worker.acquire({})
    assert lookout.look()[run.id].is_alive and lookout.trainings() == [run]
    run.rename("another name")
    second = lookout.look()[run.id]
    assert second.named > 0 and second.worked > 0
    worker.release()
    assert not lookout.look()[run.id].is_alive and lookout.trainings() == []
    run.path.rename(workspace / "elsewhere")
    assert lookout.look() == {}


def test_a_run_at_rest_is_asked_for_its_time_alone(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    run = new_run(workspace)
    long_ago = time.time() - 60
    os.utime(run.path, (long_ago, long_ago))
    lookout = Lookout(workspace)
    known = lookout.look()
    monkeypatch.setattr(RunDir, "is_alive", lambda self: pytest.fail("it asked for the lock again"))
    assert lookout.look() == known
    monkeypatch.undo()
    worker = Lock(run.lock_file)  # a file that comes changes the folder
    assert worker.acquire({})
    assert lookout.look()[run.id].is_alive
    worker.release()


def test_the_last_event_is_read_from_the_end(workspace: Path) -> None:
    run = new_run(workspace)
    assert last_event(run) is None
    say(run, ev.Started(pid=1, version="0"), *(ev.Phase(name="x" * 900) for _ in range(2000)))
    with open(run.events_file, "ab") as file:
        file.write(b'{"type": "finis')
    assert isinstance(last_event(run), ev.Phase)
    say(run, ev.Finished())
    assert isinstance(last_event(run), ev.Finished)
