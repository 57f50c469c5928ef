import math
import shutil
from pathlib import Path

import numpy as np
import pytest
from PySide6.QtWidgets import QPushButton

from studio.core import commands
from studio.core import events as ev
from studio.core.rundir import RunDir, create_run
from studio.core.settings import load_settings
from studio.core.spec import parse_spec
from studio.core.state import RunState, new_state, settle
from studio.ui.panels import run_controls
from studio.ui.panels.run_log import LogReader
from studio.ui.panels.run_outcome import outcome_of
from studio.ui.panels.run_steps import stages
from studio.ui.panels.run_strip import numbers_of
from studio.ui.panels.train import TrainPanel
from studio.ui.window import MainWindow


@pytest.fixture
def run(workspace: Path, csv_file: Path) -> RunDir:
    """A training whose worker has said nothing yet."""
    spec = {"data": {"train": str(csv_file)}, "columns": {"text": "text", "label": "label"}}
    return create_run(workspace, parse_spec(spec | {"training": {"per_device_train_batch_size": 16}}))


@pytest.fixture
def page(qtbot, window: MainWindow, run: RunDir) -> TrainPanel:
    """The Train page on that run, as a window shows it that follows its worker."""
    window.show_page("train")
    window.store.runs[run.id] = new_state(run)
    window.store.select_run(run.id)
    return window.pages["train"]


def tell(page: TrainPanel, *events: ev.Event) -> RunState:
    """Let the worker of the shown run say something, and draw it."""
    run_id = page.store.current_run
    page.store.apply(run_id, list(events))
    page.redraw()
    return page.store.runs[run_id]


def open_reviews(qtbot, window: MainWindow, path: Path) -> None:
    window.store.open_data(path)
    qtbot.waitUntil(lambda: not window.store.busy, timeout=20000)


def button(widget: object, name: str) -> QPushButton:
    return widget.findChild(QPushButton, name)


def test_without_data_the_page_says_where_to_go(qtbot, window: MainWindow) -> None:
    qtbot.waitUntil(lambda: not window.store.busy, timeout=20000)
    window.show_page("train")
    page = window.pages["train"]
    assert page.stack.currentWidget() is page.empty
    assert page.column.obstacle.isVisible() and "data set" in page.column.obstacle.text()
    page.column.obstacle.button().click()
    assert window.page == "data"


def test_a_wrong_setting_is_said_at_its_field_before_start(qtbot, window: MainWindow, csv_file: Path) -> None:
    open_reviews(qtbot, window, csv_file)
    window.show_page("train")
    page = window.pages["train"]
    assert not page.column.obstacle.isVisible()
    field = page.column.form.editor("num_train_epochs")
    field.setFocus()
    field.selectAll()
    qtbot.keyClicks(field, "0")
    assert window.store.draft.training["num_train_epochs"] == 0
    assert set(page.column.form.errors()) == {"num_train_epochs"}
    page.start.click()
    assert not window.store.runs and window.page == "train"
    field.selectAll()
    qtbot.keyClicks(field, "3")
    assert page.column.form.errors() == {} and window.store.problems() == []
    window.store.set_training(per_device_train_batch_size=10)
    assert page.column._steps.text() == "Steps: 4 an epoch, 12 in all, on about 32 rows."


def test_curves_hold_every_point_with_evaluations_on_the_same_axis(page: TrainPanel, qtbot) -> None:
    losses = [2.0, math.nan, 0.0, *np.linspace(1, 0.5, 6000)]
    tell(
        page,
        ev.Started(pid=1, version="0"),
        ev.Phase(name="training"),
        *(
            ev.Metrics(split="train", step=i + 1, epoch=0.1, total_steps=9000, values={"loss": v, "grad_norm": 1.0})
            for i, v in enumerate(losses)
        ),
        ev.Metrics(split="validation", step=3000, epoch=0.1, values={"loss": 0.8, "accuracy": 0.5, "f1_macro": 0.4}),
    )
    page.redraw()
    plots = page.view.plots
    qtbot.waitUntil(lambda: bool(plots.small[0].curves()))  # those of a long run come after the rest of the page
    train, validation = plots.loss.curves().values()
    np.testing.assert_array_equal(train.y, losses)
    assert (validation.x.tolist(), validation.y.tolist()) == ([3000], [0.8])
    assert [curve.name for curve in plots.small[0].curves().values()] == ["Accuracy", "F1 (macro)"]
    plots.loss.show_cursor(3000)
    assert plots.small[2]._crosshair.isVisible(), "one crosshair over all plots"


def test_the_strip_says_what_goes_on(page: TrainPanel) -> None:
    tell(page, ev.Started(pid=1, version="0"), ev.Phase(name="data"))
    assert [(s.name, s.status) for s in stages(page.store.runs[page.store.current_run])][:3] == [
        ("loading", "done"), ("data", "now"), ("model", "ahead"),
    ]  # fmt: skip
    steps = [
        ev.Metrics(
            split="train", step=i, epoch=i / 400, total_steps=866, train_seconds=i * 0.5,
            values={"loss": 1.0, "samples_per_second": 77.2},
        )
        for i in range(1, 241)
    ]  # fmt: skip
    state = tell(page, ev.Phase(name="training"), *steps, ev.Resources(rss_bytes=int(1.3e9), cpu_percent=188.0))
    numbers = page.view.strip.numbers.text().replace("\N{NO-BREAK SPACE}", " ")
    assert numbers == "step 240/866 · epoch 0.6 · 77 rows/s · 5 min 13 s left"
    assert page.view.strip.memory._number.text().replace("\N{NO-BREAK SPACE}", " ") == "1.3 GB"
    assert page.view.strip.isVisible() and not page.view.outcome.isVisible() and not page.start.isVisible()
    # A resume is as fast as this attempt, not as the steps that were trained before it.
    checkpoint = ev.Checkpoint(step=200, path="checkpoints/checkpoint-200", train_seconds=120)
    tell(page, checkpoint, ev.Started(attempt=2, from_step=200, pid=2, version="0"))
    for i in (201, 202):
        seconds = 120 + (i - 200) * 2
        tell(page, ev.Metrics(split="train", step=i, epoch=0.5, total_steps=866, train_seconds=seconds, values={}))
    assert "22\N{NO-BREAK SPACE}min" in numbers_of(state)
    assert len(page.view.plots.loss.curves()["train loss"].x) == 200, "what is trained again is drawn again"


def test_pause_and_stop_tell_the_worker_and_a_deaf_one_can_be_forced(qtbot, monkeypatch, page, run: RunDir) -> None:
    tell(page, ev.Started(pid=1, version="0"), ev.Phase(name="training"))
    controls = page.view.controls
    controls.pause.click()
    assert not controls.pause.isEnabled() and controls.pause.text() == "Pausing…"
    tell(page, ev.Paused(paused=True))
    assert controls.pause.isEnabled() and controls.pause.text() == "Go on" and page.view.chip.text() == "paused"
    controls.pause.click()
    tell(page, ev.Paused(paused=False))
    assert run_controls.FORCE_AFTER_MS == 10_000
    controls._patience.setInterval(1)
    controls.stop.click()
    assert [c.type for c in commands.receive(run.path)] == ["pause", "resume", "stop"]
    qtbot.waitUntil(controls.force.isVisible, timeout=20000)
    tell(page, ev.Stopped(step=0))
    assert not controls.isVisible() and controls.force.isHidden()


def test_a_good_end_shows_what_came_out_and_leads_on(qtbot, window: MainWindow, page, training_events) -> None:
    result = {"train_seconds": 10.0, "metrics": {"test": {"loss": 0.1, "accuracy": 0.875, "f1_macro": 0.87}}}
    tell(page, *training_events[:-1], ev.Finished(result=result))
    tiles = page.view.outcome._tiles
    assert "0.8750" in tiles.tile("Test: Accuracy").accessibleName()
    assert tiles.tile("Test: Accuracy").toolTip().startswith("Test: Accuracy: 0.875")
    assert page.main_action().text() == "Try it" and not page.start.property("main")
    for name, there in (("Inspect", "inspect"), ("Export", "export")):
        next(b for b in page.view.outcome.findChildren(QPushButton) if b.text() == name and not b.isHidden()).click()
        assert window.page == there
        window.show_page("train")


def ended(page: TrainPanel, run: RunDir, *events: ev.Event, code: int | None = None) -> RunState:
    state = tell(page, ev.Started(pid=1, version="0"), *events)
    if code is not None:
        run.exit_file.write_text(f'{{"pid": 1, "code": {code}}}')
        settle(state, run)
        page.redraw()
    return state


STEP = ev.Metrics(split="train", step=7, epoch=1.0, total_steps=20, values={"loss": 1.0})


def test_a_killed_worker_is_explained_and_can_be_resumed(page: TrainPanel, run: RunDir, monkeypatch) -> None:
    ended(page, run, STEP, ev.Checkpoint(step=5, path="checkpoints/checkpoint-5"), code=-9)
    said = page.view.outcome.accessibleName()
    assert "SIGKILL" in said and "memory" in said and "kept" in said
    assert page.view.plots.loss.curves()["train loss"].x.tolist() == [7]
    resumed = []
    monkeypatch.setattr(page.store, "resume", lambda run_id, changes: resumed.append(run_id))
    assert page.main_action().text() == "Resume from step 5"
    page.main_action().click()
    assert resumed == [run.id]


@pytest.mark.parametrize(
    ("failed", "text", "changes"),
    [
        (
            ev.Failed(reason="loss-not-finite", facts={"loss": "nan", "step": 7, "learning_rate": 0.05}),
            "Lower the learning rate to 0.005",
            {"per_device_train_batch_size": 16, "learning_rate": 0.005},
        ),
    ],
    ids=["nan"],
)
def test_a_failure_is_mended_by_one_button(qtbot, window, page, run, failed, text, changes) -> None:
    ended(page, run, STEP, failed)
    qtbot.waitUntil(lambda: page._facts is not None, timeout=20000)
    assert page.main_action().text() == text
    page.main_action().click()
    qtbot.waitUntil(lambda: not window.store.busy, timeout=20000)
    assert {k: v for k, v in window.store.draft.training.items() if k in changes} == changes
    assert window.store.draft.columns == {"text": "text", "label": "label"} and window.store.problems() == []
    assert page.column.tabs.currentIndex() == 0 and page.main_action() is page.start


@pytest.mark.parametrize(
    ("events", "buttons"),
    [
        ([STEP, ev.Checkpoint(step=7, path="c"), ev.Stopped(step=7)], ["Resume from step 7"]),
        ([ev.Stopped(step=0)], ["Start again"]),
        ([ev.Failed(reason="disk-full", facts={})], ["Start again"]),
        ([STEP, ev.Checkpoint(step=7, path="c"), ev.Failed(reason="disk-full", facts={})], ["Resume from step 7"]),
        ([ev.Failed(reason="data-missing", facts={"path": "x"})], ["Open a data set", "Start again"]),
        ([ev.Failed(reason="unexpected", facts={"reason": "KeyError", "message": "x"})], ["Start again"]),
    ],
)  # fmt: skip
def test_every_end_has_a_way_on(events: list[ev.Event], buttons: list[str]) -> None:
    state = RunState(id="r")
    for event in (ev.Started(pid=1, version="0"), *events):
        state.apply(event)
    assert [remedy.text for remedy in outcome_of(state).remedies] == buttons


def test_a_burst_of_events_is_drawn_once(qtbot, page: TrainPanel, monkeypatch) -> None:
    tell(page, ev.Started(pid=1, version="0"), ev.Phase(name="training"))
    drawn = []
    monkeypatch.setattr(page.view, "show_run", lambda state, facts: drawn.append(state.step))
    for step in range(1, 201):
        page.store.apply(page.store.current_run, [STEP.model_copy(update={"step": step})])
    qtbot.waitUntil(lambda: bool(drawn), timeout=20000)
    assert drawn == [200]


def test_a_run_of_another_kind_leaves_the_page_as_it_is(page: TrainPanel, run: RunDir) -> None:
    page.store.runs["e"] = RunState(id="e", kind="export")
    page.store.select_run("e")
    assert page.view.plots._state.id == run.id and page.stack.currentWidget() is page.view


def test_the_log_tells_events_in_words_from_where_it_ended(run: RunDir) -> None:
    reader = LogReader(run)
    lines = [ev.dump_event(e) for e in (ev.Started(pid=7, version="1"), STEP, ev.Warned(reason="some-empty-texts",
             facts={"n_rows": 3}))]  # fmt: skip
    run.events_file.write_text("\n".join(lines) + '\n{"type": "half', encoding="utf-8")
    run.log_file.write_bytes("größe\nhalf".encode())
    said, output = reader.read()
    assert [line.split("  ", 1)[1] for line in said.splitlines()] == [
        "Started; Attune 1, process 7.", "Rows without a text: 3. They are left out of training.",
    ]  # fmt: skip
    assert output == "größe\n" and reader.read() == ("", "")
    with open(run.events_file, "a", encoding="utf-8") as file:
        file.write('"}\n' + ev.dump_event(ev.Paused(paused=True)) + "\n")
    assert reader.read()[0].strip().endswith("Paused.")


def test_start_is_the_main_action_of_the_page(qtbot, window: MainWindow, csv_file: Path, monkeypatch) -> None:
    open_reviews(qtbot, window, csv_file)
    started = []
    monkeypatch.setattr(window.store, "start", lambda: started.append(1) or "")
    window.show_page("train")
    window.actions_by_id["page.main"].trigger()
    assert started


def test_all_plots_go_along_the_chosen_axis_and_the_choice_is_kept(page: TrainPanel, run: RunDir) -> None:
    steps = [
        ev.Metrics(time=1000.0 + 2 * i, split="train", step=i + 1, epoch=i / 50, n_tokens=100 * (i + 1), total_steps=99,
                   values={"loss": 1.0 + i, "reward": float(-i)})
        for i in range(40)
    ]  # fmt: skip
    used = [ev.Resources(time=e.time, rss_bytes=e.step << 20, cpu_percent=150.0) for e in steps]
    tell(page, *(event for pair in zip(steps, used, strict=True) for event in pair))
    page.redraw()
    plots = page.view.plots
    assert plots.loss.offered_along == ["step", "epoch", "tokens", "time"]
    assert {"reward", "system:memory"} <= dict(plots.small[3].offered_subjects).keys()
    plots.small[3].subject_chosen.emit("system:memory")
    plots.small[1].subject_chosen.emit("reward")
    plots.loss.show_steps((11.0, 21.0))
    plots.small[0].along_chosen.emit("tokens")
    loss, reward, memory = (plot.curves() for plot in (plots.loss, plots.small[1], plots.small[3]))
    for curve in (loss["train loss"], reward["train reward"], memory["system rss_bytes"]):
        assert curve.x[-3:].tolist() == [3800, 3900, 4000]
    assert plots.loss.steps_in_sight == (1100.0, 2100.0), "what was in sight stays in sight"
    assert memory["system rss_bytes"].y[-1] == 40 << 20 and reward["train reward"].y[-1] == -39
    plots.loss.show_cursor(2000.0)
    assert plots.small[3]._crosshair.value() == 2000.0
    kept = load_settings(page.store.workspace)[0]
    assert kept.x_axis == "tokens" and kept.plots == ["scores", "reward", "grad_norm", "system:memory"]
    plots.set_along("time")
    assert np.diff(plots.loss.curves()["train loss"].x).tolist() == [2.0] * 39


def test_a_run_without_counted_tokens_is_drawn_along_its_steps(page: TrainPanel, run: RunDir) -> None:
    page.view.plots.set_along("tokens")
    tell(page, STEP)
    page.redraw()
    assert page.view.plots.loss.offered_along == ["step", "epoch", "time"]
    assert page.view.plots.loss.along.name == "step"


def test_an_adapted_model_goes_on_as_a_classifier_at_one_click(
    qtbot, window: MainWindow, workspace: Path, csv_file: Path
) -> None:
    from studio.core.paths import starter_dir

    spec = {"data": {"train": str(csv_file)}, "columns": {"text": "text"}, "task": "masked-lm"}
    run = create_run(workspace, parse_spec(spec))
    shutil.copytree(starter_dir(), run.model_dir)  # a model that can be read
    window.show_page("train")
    window.store.runs[run.id] = new_state(run)
    window.store.select_run(run.id)
    page = window.pages["train"]
    qtbot.waitUntil(lambda: page._facts is not None)
    tell(page, ev.Started(pid=1, version="0"), ev.Finished(result={"metrics": {}}))
    button(page, "train.classify").click()
    draft = window.store.draft
    assert (draft.task.kind, draft.model) == ("text-classification", str(run.model_dir))
    qtbot.waitUntil(lambda: draft.model_info is not None, timeout=20000)
    assert draft.model_problem is None
