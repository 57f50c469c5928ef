"""The queue in the window, and what the window sees of other processes; the tests hold the lock of its process."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from PySide6.QtCore import QModelIndex, Qt, QThreadPool

from studio.core import events as ev
from studio.core import queue
from studio.core.files import write_json
from studio.core.locks import Lock
from studio.core.rundir import EventWriter, RunDir, create_run, move_to_bin
from studio.core.spec import parse_spec
from studio.ui.panels.runs import RunsPanel
from studio.ui.window import MainWindow


@pytest.fixture(autouse=True)
def process(workspace: Path) -> Iterator[Lock]:
    """Hold what the queue's process holds, so that the window starts none."""
    lock = Lock(queue.process_lock(workspace))
    assert lock.acquire({})
    yield lock
    lock.release()


@pytest.fixture
def awake(qtbot, window: MainWindow) -> MainWindow:
    """A window that has looked at its workspace once."""
    window.store.wake()
    qtbot.waitUntil(lambda: window.store.neighbours._seen is not None and not window.store.busy, timeout=20000)
    return window


def spec(csv_file: Path, name: str = "") -> object:
    return parse_spec({"data": {"train": str(csv_file)}, "columns": {"text": "text", "label": "label"}, "name": name})


def others_add(workspace: Path, csv_file: Path, *names: str) -> list[RunDir]:
    """Let another process add trainings."""
    runs = [create_run(workspace, spec(csv_file, name)) for name in names]
    for run in runs:
        queue.add(workspace, run.id)
    return runs


def opened(qtbot, window: MainWindow, *names: str) -> RunsPanel:
    window.show_page("runs")
    page = window.pages["runs"]
    qtbot.waitUntil(lambda: page.queue.names() == list(names), timeout=20000)
    return page


def write(run: RunDir, *events: ev.Event) -> None:
    writer = EventWriter(run.events_file)
    writer.write(events)
    writer.close()


STEP = ev.Metrics(split="train", step=1, epoch=0.1, total_steps=9, values={"loss": 0.5})


def test_what_others_add_is_listed_in_order_and_moved_by_keys_and_dragging(
    qtbot, awake: MainWindow, workspace: Path, csv_file: Path
) -> None:
    a, b, c = others_add(workspace, csv_file, "a", "b", "c")
    page = opened(qtbot, awake, "a", "b", "c")
    assert page.rows == [] and page.queue.isVisible() and page.queue.go_on.isHidden()
    rows = page.queue.list
    rows.setCurrentRow(0)
    qtbot.keyClick(rows, Qt.Key.Key_Down, Qt.KeyboardModifier.AltModifier)
    qtbot.waitUntil(lambda: queue.waiting(workspace) == [b.id, a.id, c.id], timeout=5000)
    assert page.queue.names() == ["b", "a", "c"] and rows.currentItem().text() == "a"
    page.queue.down.click()
    qtbot.waitUntil(lambda: queue.waiting(workspace) == [b.id, c.id, a.id], timeout=5000)
    assert not page.queue.down.isEnabled() and page.queue.up.isEnabled()
    assert rows.model().moveRow(QModelIndex(), 2, QModelIndex(), 0)  # what a drop does
    qtbot.waitUntil(lambda: queue.waiting(workspace) == [a.id, b.id, c.id], timeout=5000)
    qtbot.waitUntil(lambda: page.queue.names() == ["a", "b", "c"], timeout=5000)
    queue.move(workspace, c.id, 1)  # by another window
    qtbot.waitUntil(lambda: page.queue.names() == ["c", "a", "b"], timeout=5000)
    assert rows.currentItem().text() == "a", "what was chosen stays chosen"


def test_a_run_is_taken_out_and_comes_back_to_its_place(
    qtbot, awake: MainWindow, workspace: Path, csv_file: Path
) -> None:
    runs = others_add(workspace, csv_file, "a", "b", "c")
    page = opened(qtbot, awake, "a", "b", "c")
    awake.store.select_run(runs[1].id)
    assert awake.store.runs[runs[1].id].state == "queued"
    page.queue.list.setCurrentRow(1)
    page.queue.list.setFocus()  # else the key is for the list of runs
    qtbot.keyClick(page.queue.list, Qt.Key.Key_Delete)
    qtbot.waitUntil(lambda: any(notice.undo for notice in awake.notice_bar.past), timeout=5000)
    assert page.queue.names() == ["a", "c"] and not runs[1].path.exists()
    assert awake.store.current_run == "" and runs[1].id not in awake.store.runs
    awake.notice_bar.undo.click()
    qtbot.waitUntil(lambda: queue.waiting(workspace) == [run.id for run in runs], timeout=5000)
    qtbot.waitUntil(lambda: page.queue.names() == ["a", "b", "c"], timeout=5000)


def test_what_the_queue_has_just_taken_up_can_not_be_removed(
    qtbot, awake: MainWindow, workspace: Path, csv_file: Path, process: Lock
) -> None:
    a, _ = others_add(workspace, csv_file, "a", "b")
    page = opened(qtbot, awake, "a", "b")
    queue.take(workspace, "", process)
    page.queue.list.setCurrentRow(0)
    page.queue.remove_button.click()
    qtbot.waitUntil(lambda: bool(awake.notice_bar.past), timeout=5000)
    assert "does not wait" in awake.notice_bar.past[0].title and a.path.is_dir()
    qtbot.waitUntil(lambda: page.queue.names() == ["b"], timeout=5000)


def test_the_draft_is_added_while_a_training_is_at_work(
    qtbot, awake: MainWindow, workspace: Path, csv_file: Path
) -> None:
    store = awake.store
    store.open_data(csv_file)
    qtbot.waitUntil(lambda: not store.busy, timeout=20000)
    awake.show_page("train")
    page = awake.pages["train"]
    assert page.start.isVisible() and page.enqueue.isVisible()
    store.neighbours.close()  # no look in this moment, and none on its way
    QThreadPool.globalInstance().waitForDone(5000)
    qtbot.wait(20)
    other = create_run(workspace, spec(csv_file))
    write(other, ev.Started(pid=1, version="0"), STEP)
    worker = Lock(other.lock_file)
    assert worker.acquire({})
    assert store.start() == "", "not even in the moment before the window has noticed"
    assert awake.notice_bar.fix.text() == "Add to queue"
    assert store.training_run() == other.id == store.current_run
    awake.notice_bar.fix.click()
    qtbot.waitUntil(lambda: len(queue.waiting(workspace)) == 1, timeout=5000)
    qtbot.waitUntil(lambda: "place 1" in awake.notice_bar.text(), timeout=5000)
    assert store.current_run == other.id, "what is at work stays in sight"
    page.redraw()
    page.column.tabs.setCurrentIndex(0)
    assert not page.start.isVisible() and page.enqueue.isVisible()
    page.column.tabs.setCurrentIndex(1)
    assert not page.enqueue.isVisible(), "beside the facts of a run it would speak of that run"
    write(other, ev.Stopped(step=1))
    worker.release()
    qtbot.waitUntil(lambda: other.id not in store.followers, timeout=5000)


def test_with_nothing_at_work_the_added_run_is_shown_and_says_that_it_waits(
    qtbot, awake: MainWindow, workspace: Path, csv_file: Path
) -> None:
    store = awake.store
    awake.actions_by_id["queue.add"].trigger()
    assert awake.page == "data" and queue.waiting(workspace) == [], "a draft with a problem does not wait"
    store.open_data(csv_file)
    qtbot.waitUntil(lambda: not store.busy, timeout=20000)
    awake.show_page("train")
    awake.pages["train"].enqueue.click()
    qtbot.waitUntil(lambda: queue.waiting(workspace) == [store.current_run], timeout=5000)
    page = awake.pages["train"]
    page.redraw()
    assert page.view.outcome.accessibleName().startswith("It waits in the queue.")
    page.view.next_button().click()
    assert awake.page == "runs"


def test_a_queue_without_its_process_offers_to_go_on(
    qtbot, awake: MainWindow, workspace: Path, csv_file: Path, process: Lock
) -> None:
    others_add(workspace, csv_file, "a")
    page = opened(qtbot, awake, "a")
    process.release()
    qtbot.waitUntil(page.queue.go_on.isVisible, timeout=5000)
    assert process.acquire({})
    page.queue.go_on.click()
    qtbot.waitUntil(lambda: not page.queue.go_on.isVisible(), timeout=5000)


def test_a_training_of_another_process_is_followed_renamed_and_its_deletion_seen(
    qtbot, awake: MainWindow, workspace: Path, csv_file: Path
) -> None:
    store = awake.store
    run = create_run(workspace, spec(csv_file, "theirs"))
    write(run, ev.Started(pid=1, version="0"), STEP)
    worker = Lock(run.lock_file)
    assert worker.acquire({})
    qtbot.waitUntil(lambda: run.id in store.runs and store.runs[run.id].step == 1, timeout=5000)
    assert store.current_run == run.id and store.training_run() == run.id
    assert not awake.actions_by_id["run.start"].isEnabled()
    run.rename("ours")
    qtbot.waitUntil(lambda: awake.crumbs._buttons["run"].text().startswith("ours"), timeout=5000)
    write(run, ev.Stopped(step=1))
    worker.release()
    qtbot.waitUntil(lambda: store.runs[run.id].state == "stopped", timeout=5000)
    qtbot.waitUntil(lambda: not store.neighbours._seen[run.id].is_alive, timeout=5000)
    assert worker.acquire({}), "another process resumes it"
    write(run, ev.Started(pid=1, version="0", attempt=2, from_step=1))
    write_json(run.summary_file, {"state": "running"})
    qtbot.waitUntil(lambda: store.runs[run.id].attempt == 2, timeout=8000)
    worker.release()
    qtbot.waitUntil(lambda: run.id not in store.followers, timeout=5000)
    move_to_bin(workspace, run)
    qtbot.waitUntil(lambda: run.id not in store.runs and store.current_run == "", timeout=5000)


def test_a_look_that_began_before_another_does_not_take_away_what_that_one_found(
    qtbot, awake: MainWindow, workspace: Path, csv_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks, looked, gate = awake.store.neighbours, threading.Event(), threading.Event()
    looks.close()
    look, told = looks._look, []

    def slow_look() -> object:
        found = look()
        looked.set()
        gate.wait(5)
        return found

    monkeypatch.setattr(looks, "_look", slow_look)
    monkeypatch.setattr(looks, "_tell", lambda *found, tell=looks._tell: (tell(*found), told.append(found)))
    looks.look()
    assert looked.wait(5)
    run = create_run(workspace, spec(csv_file))
    write(run, ev.Started(pid=1, version="0"), STEP)
    worker = Lock(run.lock_file)
    assert worker.acquire({})
    monkeypatch.setattr(looks, "_look", look)
    looks.look_now()
    assert awake.store.training_run() == run.id
    gate.set()
    qtbot.waitUntil(lambda: len(told) == 2, timeout=5000)
    assert awake.store.training_run() == run.id == awake.store.current_run
    worker.release()
    write(run, ev.Stopped(step=1))
    qtbot.waitUntil(lambda: run.id not in awake.store.followers, timeout=5000)
