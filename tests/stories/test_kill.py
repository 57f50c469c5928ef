"""What a person sees when all goes well, when the worker dies, when the window dies, and with two windows."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from studio import supervisor
from studio.core.processes import environment
from studio.core.rundir import RunDir, list_runs
from studio.core.spec import parse_spec
from studio.core.state import RunState
from studio.ui.window import MainWindow

WINDOW = """
import json, sys
from pathlib import Path
from studio.core.spec import parse_spec
from studio.ui.app import make_window
window = make_window(Path(sys.argv[1]))
window.show()
window.store.select_run(window.store.start_run(parse_spec(json.loads(sys.argv[2]))))
window.show_page("train")
sys.exit(window.app.exec())
"""


def shown(window: MainWindow) -> RunState:
    """The run that a window shows."""
    return window.store.runs[window.store.current_run]


def drawn(window: MainWindow) -> list[int]:
    """The steps of the training loss as the plot has them."""
    window.pages["train"].redraw()
    curve = window.pages["train"].view.plots.loss.curves().get("train loss")
    return [] if curve is None else curve.x.astype(int).tolist()


def long_spec(tiny_spec: dict, epochs: int = 20) -> dict:
    return tiny_spec | {"training": tiny_spec["training"] | {"num_train_epochs": epochs, "evaluations_per_epoch": 1}}


def test_a_newcomer_trains_the_starter_through_the_window(
    qtbot, until, open_window: Callable[[], MainWindow], few_messages: Path
) -> None:
    window = open_window()
    window.open_path(few_messages)
    until(lambda: not window.store.busy, "the data and the model are read")
    window.show_page("train")
    page = window.pages["train"]
    for name, value in (("num_train_epochs", "1"), ("per_device_train_batch_size", "16"), ("max_length", "32")):
        editor = page.column.form.editor(name)
        editor = getattr(editor, "number", editor)  # beside a button for the automatic value
        editor.selectAll()
        qtbot.keyClicks(editor, value)
    page.start.click()
    until(lambda: window.store.current_run and shown(window).phase == "training", "the training begins")
    assert page.view.controls.stop.isVisible() and not page.start.isVisible()
    until(lambda: not shown(window).is_active, "the training ends")
    state = shown(window)
    assert state.state == "finished", state.problem
    assert drawn(window) == list(range(1, state.total_steps + 1))
    assert page.main_action().text() == "Try it"
    assert f"{state.latest['test']['accuracy']:.4f}" in page.view.outcome._tiles.tile("Test: Accuracy").accessibleName()
    assert (window.store.run_dir(state.id).model_dir / "model.safetensors").is_file()


@pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX")
def test_a_killed_worker_leaves_a_window_that_knows_why_and_resumes(
    until, open_window: Callable[[], MainWindow], tiny_spec: dict
) -> None:
    window = open_window()
    window.show_page("train")
    window.store.select_run(window.store.start_run(parse_spec(long_spec(tiny_spec))))
    page, run = window.pages["train"], window.store.run_dir(window.store.current_run)
    until(lambda: shown(window).step >= 25 and bool(shown(window).checkpoints), "25 steps and a checkpoint")
    os.kill(json.loads(run.lock_file.read_bytes())["pid"], signal.SIGKILL)
    until(lambda: not shown(window).is_active, "the window notices", seconds=10)
    page.redraw()
    logged = [json.loads(line) for line in run.events_file.read_text().splitlines()]
    steps = [e["step"] for e in logged if e["type"] == "metrics" and e["split"] == "train"]
    assert drawn(window) == steps and len(steps) >= 25, "all that was logged is kept"
    said = page.view.outcome.accessibleName()
    assert "SIGKILL" in said and "memory" in said
    assert "SIGKILL" in window.notice_bar.past[0].title
    assert page.main_action().text().startswith("Resume from step")
    page.main_action().click()
    until(lambda: shown(window).is_active, "the resume begins", seconds=30)
    until(lambda: not shown(window).is_active, "the resume ends")
    assert shown(window).state == "finished" and shown(window).attempt == 2
    assert drawn(window) == list(range(1, shown(window).total_steps + 1)), "one curve, no step twice"


def test_a_run_that_died_while_nobody_looked_is_told_of_once(
    until, open_window: Callable[[], MainWindow], workspace: Path, tiny_spec: dict
) -> None:
    run = supervisor.start_new(workspace, parse_spec(long_spec(tiny_spec)))
    until(lambda: any(run.checkpoints_dir.glob("checkpoint-*")), "a checkpoint")
    supervisor.kill(run)
    until(lambda: not run.is_alive(), "the worker is gone")
    run.exit_file.unlink(missing_ok=True)  # as after a power cut: no parent was there to note it
    window = open_window()
    until(lambda: bool(window.notice_bar.past), "the window tells of it")
    said = window.notice_bar.past[0]
    assert window.store.run_name(run.id) in said.title and said.button.startswith("Resume from step ")
    second = open_window()
    until(lambda: not second.store.busy, "the second window is ready")
    assert second.notice_bar.past == [], "once is enough"
    window.notice_bar.fix.click()
    until(lambda: window.store.runs[run.id].state == "finished", "it goes on to its end")


def test_a_killed_window_is_no_loss_and_two_windows_see_the_same(
    until, open_window: Callable[[], MainWindow], workspace: Path, tiny_spec: dict
) -> None:
    command = [sys.executable, "-P", "-c", WINDOW, str(workspace), json.dumps(long_spec(tiny_spec, 30))]
    first = subprocess.Popen(command, env=environment(), stdout=subprocess.DEVNULL)
    second = open_window()
    second.show_page("runs")
    try:
        page = second.pages["runs"]
        until(lambda: [row["state"] for row in page.rows] == ["running"], "the second window lists it", seconds=60)
        page.open_run(page.rows[0]["id"])
        until(lambda: shown(second).step >= 5, "the second window follows it")
    finally:
        first.kill()
        first.wait()
    run = list_runs(workspace)[0]
    assert run.is_alive() and shown(second).is_active, "the worker goes on"
    second.close()
    assert _steps_after(run, 0.5) > 0, "with no window at all"
    third = open_window()
    until(lambda: third.store.current_run == run.id, "the next window finds it", seconds=10)
    assert "went on" in third.notice_bar.past[0].title
    third.show_page("train")
    until(lambda: not shown(third).is_active, "it ends")
    assert shown(third).state == "finished"
    assert drawn(third) == list(range(1, shown(third).total_steps + 1)), "the whole curve"


def _steps_after(run: RunDir, seconds: float) -> int:
    """How many bytes of log come within a time."""
    before = run.events_file.stat().st_size
    time.sleep(seconds)
    return run.events_file.stat().st_size - before
