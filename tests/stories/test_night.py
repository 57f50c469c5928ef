"""Trainings for the night: they wait in order, one that fails stops none, and no window is needed for it."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from studio import supervisor
from studio.core import events as ev
from studio.core import queue
from studio.core.commands import Pause, Resume, send
from studio.core.locks import holder
from studio.core.processes import environment
from studio.core.rundir import RunDir, create_run, last_event, list_runs, read_events
from studio.core.spec import parse_spec
from studio.core.state import read_summary
from studio.ui.window import MainWindow


def processes(workspace: Path) -> list[psutil.Process]:
    """Everything that works for a workspace outside of this process."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        words = process.info["cmdline"] or []
        if {"queue", "worker", "spare"} & set(words) and any(str(workspace) in word for word in words):
            found.append(process)
    return found


def with_name(spec: dict, name: str, **training: object) -> dict:
    return spec | {"name": name, "training": spec["training"] | {"evaluations_per_epoch": 1} | training}


def attune(workspace: Path, *arguments: str) -> dict:
    command = [sys.executable, "-P", "-m", "studio", *arguments, "--json", "--workspace", str(workspace)]
    done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", env=environment(), timeout=60)
    assert done.stdout, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def started(run: RunDir) -> list[ev.Started]:
    return [event for event in read_events(run) if isinstance(event, ev.Started)]


def ended(run: RunDir) -> str:
    last = last_event(run)
    return last.type if isinstance(last, ev.Finished | ev.Stopped | ev.Failed) else ""


@pytest.fixture(autouse=True)
def ends_the_queue(workspace: Path) -> Iterator[None]:
    """End what a story that failed left behind."""
    yield
    for process in processes(workspace):
        process.kill()


def wait_for(condition: Callable[[], bool], what: str, seconds: float = 90) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"this never came: {what}"
        time.sleep(0.05)


def test_three_for_the_night_one_fails_and_the_window_is_closed(
    until, open_window: Callable[..., MainWindow], workspace: Path, tmp_path: Path, tiny_spec: dict
) -> None:
    window = open_window()
    store = window.store
    window.show_page("runs")
    page = window.pages["runs"]
    first = store.queue.add(parse_spec(with_name(tiny_spec, "first", num_train_epochs=12)))
    broken = parse_spec(with_name(tiny_spec | {"model": str(tmp_path / "gone")}, "second"))
    third = parse_spec(with_name(tiny_spec, "third"))
    until(lambda: bool(store.training_run()), "the first begins by itself, and the window sees it")
    assert store.training_run() == first
    send(store.run_dir(first).path, Pause())  # as long as it takes to look at what waits
    store.queue.add(third)
    second = store.queue.add(broken)
    until(lambda: page.queue.names() == ["third", "second"], "both wait, as they came")
    store.queue.move(second, 1)
    until(lambda: page.queue.names() == ["second", "third"], "their order is another")
    until(lambda: [row["state"] for row in page.rows] == ["paused"], "the first one stands in the list")
    window.close()
    send(store.run_dir(first).path, Resume())
    runs = {run.name(): run for run in list_runs(workspace)}
    assert not ended(runs["first"]), "it goes on without a window"
    wait_for(lambda: not processes(workspace), "the end of the queue and its workers", 120)
    assert {name: ended(run) for name, run in runs.items()} == {
        "first": "finished", "second": "failed", "third": "finished",
    }  # fmt: skip
    times = [(started(runs[name])[0].time, last_event(runs[name]).time) for name in ("first", "second", "third")]
    assert all(end <= begin for (_, end), (begin, _) in zip(times, times[1:], strict=False)), "one after the other"
    assert not queue.is_at_work(workspace) and queue.waiting(workspace) == [] and queue.current(workspace) == ""
    again = open_window()
    again.show_page("runs")
    rows = again.pages["runs"]
    until(lambda: len(rows.rows) == 3, "the next window lists what came out")
    assert [r["state"] for r in sorted(rows.rows, key=lambda r: r["name"])] == ["finished", "failed", "finished"]
    assert rows.queue.isHidden()


@pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX")
def test_a_killed_queue_goes_on_where_it_was(workspace: Path, tmp_path: Path, tiny_spec: dict) -> None:
    for name, epochs in (("first", 12), ("second", 1)):
        (tmp_path / f"{name}.json").write_text(json.dumps(with_name(tiny_spec, name, num_train_epochs=epochs)))
    said = attune(workspace, "train", str(tmp_path / "first.json"), "--queue")
    first = RunDir(Path(said["run"]))
    assert (said["state"], said["place"]) == ("queued", 1)
    wait_for(lambda: read_summary(first).state == "running" and len(read_events(first)) > 20, "the first steps")
    send(first.path, Pause())  # as long as it takes to look at what waits
    worker = started(first)[0].pid
    os.kill(holder(queue.process_lock(workspace))["pid"], signal.SIGKILL)
    wait_for(lambda: not queue.is_at_work(workspace), "the end of the queue's process")
    assert psutil.pid_exists(worker) and queue.current(workspace) == first.id
    second = RunDir(Path(attune(workspace, "train", str(tmp_path / "second.json"), "--queue")["run"]))
    wait_for(lambda: queue.is_at_work(workspace), "the next queued run starts it again")
    refused = attune(workspace, "queue")
    assert refused["error"]["reason"] == "queue-busy" and str(holder(queue.process_lock(workspace))["pid"]) in str(
        refused
    )
    assert attune(workspace, "queue", "--list")["queue"] == [{"run": second.id, "name": "second"}]
    assert not second.events_file.exists() and first.is_alive(), "it waits for the worker that was left"
    send(first.path, Resume())
    wait_for(lambda: not processes(workspace), "the end of all", 120)
    assert [e.pid for e in started(first)] == [worker], "not run twice"
    assert ended(first) == ended(second) == "finished"
    assert started(second)[0].time >= last_event(first).time


@pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX")
def test_what_died_with_the_machine_goes_on_from_its_checkpoint(
    until, open_window: Callable[..., MainWindow], workspace: Path, tiny_spec: dict
) -> None:
    spec = parse_spec(with_name(tiny_spec, "long", num_train_epochs=20))
    run = create_run(workspace, spec)
    queue.add(workspace, run.id)
    supervisor.start_queue(workspace)
    wait_for(lambda: any(run.checkpoints_dir.glob("checkpoint-*")), "a checkpoint")
    for process in processes(workspace):
        process.kill()
    wait_for(lambda: not run.is_alive() and not queue.is_at_work(workspace), "nobody lives")
    window = open_window()
    until(lambda: len(started(run)) == 2, "the next window lets the queue go on")
    assert started(run)[1].from_step > 0
    window.close()
    wait_for(lambda: not processes(workspace), "the end", 120)
    assert ended(run) == "finished"


def test_the_queue_waits_for_a_training_that_was_started_directly(
    until, open_window: Callable[..., MainWindow], workspace: Path, tiny_spec: dict
) -> None:
    window = open_window()
    store = window.store
    direct = store.run_dir(store.start_run(parse_spec(with_name(tiny_spec, "direct", num_train_epochs=12))))
    until(lambda: store.runs[direct.id].step > 0, "its first step")
    send(direct.path, Pause())  # as long as it takes to look at what waits
    queued = store.run_dir(store.queue.add(parse_spec(with_name(tiny_spec, "queued", num_train_epochs=1))))
    until(lambda: queue.is_at_work(workspace), "the queue's process")
    store.select_run(queued.id)
    window.show_page("train")
    until(lambda: "queue" in window.pages["train"].view.outcome.accessibleName(), "the page says that it waits")
    assert not queued.events_file.exists() and direct.is_alive()
    send(direct.path, Resume())
    until(lambda: store.runs[queued.id].is_active, "it begins, and the page that shows it goes live")
    assert ended(direct) == "finished"
    until(lambda: store.runs[queued.id].state == "finished", "its end")
    assert started(queued)[0].time >= last_event(direct).time
    until(lambda: not processes(workspace), "the end of the queue")
