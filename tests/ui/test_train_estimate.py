"""The strip beside Start and the learning-rate finder, on the real store; workers' words are put into its mouth."""

from collections import namedtuple
from pathlib import Path

import numpy as np
import pytest
from PySide6.QtWidgets import QPushButton

from studio.core import events as ev
from studio.core.files import read_json
from studio.core.reasons import Problem
from studio.core.rundir import RunDir, create_run
from studio.core.spec import parse_spec
from studio.core.state import RunState, new_state, settle
from studio.ui import forecast
from studio.ui.panels.run_outcome import outcome_of
from studio.ui.panels.train import TrainPanel
from studio.ui.window import MainWindow


@pytest.fixture
def page(qtbot, window: MainWindow, csv_file: Path, tiny_model: Path) -> TrainPanel:
    """The Train page with data and a model, ready to start."""
    window.store.open_data(csv_file)
    window.store.choose_model(str(tiny_model))
    qtbot.waitUntil(lambda: not window.store.busy, timeout=20000)
    window.show_page("train")
    page = window.pages["train"]
    qtbot.waitUntil(page.column.estimate.isVisible, timeout=20000)
    return page


def words_of(page: TrainPanel) -> dict[str, str]:
    return {name: chip.text() for name, chip in page.column.estimate.verdicts.items()}


def estimated(**changes: object) -> ev.Estimated:
    pace = {"batch": 0.5, "step": 0.1, "shape": 0.0, "evaluation_row": 0.0, "measuring_row": 0.0, "checkpoint": 0.0}
    facts = {
        "device": "cpu", "precision": "bf16", "free_bytes": 8 << 30, "peak_bytes": 900_000_000, "n_train": 32,
        "n_validation": 4, "n_test": 4, "n_shapes": 1, "pace": pace | {"start": 2.0}, "seconds": 9.0,
    }  # fmt: skip
    return ev.Estimated(**facts | changes)


class Machine:
    """A machine with so much memory left, in place of this one."""

    def __init__(self, free: float):
        self.free = free

    def virtual_memory(self) -> object:
        return namedtuple("Memory", "available")(int(self.free))

    def disk_usage(self, path: str) -> object:
        return namedtuple("Disk", "free")(10**12)

    def cpu_percent(self) -> float:
        return 0.0


def test_strip_follows_the_form_and_a_red_one_is_mended_by_its_button(qtbot, monkeypatch, page: TrainPanel) -> None:
    strip, store = page.column.estimate, page.store
    assert words_of(page) == {"memory": "Fits", "disk": "Fits", "time": "Fine"}
    assert strip.source.text() == "Estimated by formula." and not strip.finding.isVisible()
    store.set_training(num_train_epochs=1000, per_device_train_batch_size=1)
    assert words_of(page)["time"] == "Fine", "a tiny model"
    before = strip.forecast.now.memory
    store.set_training(num_train_epochs=2, per_device_train_batch_size=32)
    assert strip.forecast.now.memory > before
    small = forecast.estimate.memory_bytes(strip.forecast._job, strip.forecast.machine)
    monkeypatch.setattr(forecast, "psutil", Machine(small * 1.1))
    store.set_training(per_device_train_batch_size=32)
    assert words_of(page)["memory"] == "Tight"
    # A probe that found more than there is turns it red.
    probes = store.probes
    spec = store.draft.spec()
    monkeypatch.setattr(forecast, "psutil", Machine(1.9e9))
    monkeypatch.setattr(probes, "result", lambda asked: estimated(peak_bytes=2_000_000_000) if asked == spec else None)
    probes.changed.emit()
    assert words_of(page)["memory"] == "Too large" and strip.source.text().startswith("Measured")
    assert strip.finding.isVisible() and strip.finding.button().isVisible()
    strip.finding.button().click()
    training = store.draft.training
    assert training["per_device_train_batch_size"] * training["gradient_accumulation_steps"] == 32
    assert training["per_device_train_batch_size"] < 32
    assert page.column.form.editor("per_device_train_batch_size").value() < 32
    assert words_of(page)["memory"] != "Too large" and strip.source.text() == "Estimated by formula."


def test_a_probe_begins_when_the_person_is_calm_and_ends_with_a_change(qtbot, monkeypatch, page: TrainPanel) -> None:
    store, strip = page.store, page.column.estimate
    probes, followed = store.probes, []
    monkeypatch.setattr(probes._followers, "follow", lambda run, **_: followed.append(run))
    monkeypatch.setattr(forecast, "psutil", Machine(8e9))
    store.set_training(num_train_epochs=2)
    qtbot.wait(50)
    assert strip.forecast._timer.isActive() and forecast.CALM_MS == 1000
    strip.forecast._timer.setInterval(1)
    strip.forecast._probe()
    assert not followed, "none without leave"
    probes.are_automatic = True
    strip.forecast._probe()
    assert len(followed) == 1 and followed[0].spec().what == "estimate"
    assert strip.source.text() == "Estimated; now it is being measured…"
    store.set_training(per_device_train_batch_size=8)
    assert not probes.is_busy and strip.source.text() == "Estimated by formula."
    strip.forecast._probe()
    run = followed[1]
    probes._apply(run.id, [ev.Started(pid=1, version="0"), estimated(), ev.Finished()])
    probes._end(run.id)
    assert strip.source.text() == "Measured on this model in a few steps."
    assert strip.forecast.now.memory == 900_000_000 and store.settings.machine.precision == "bf16"
    store.set_training(num_train_epochs=4)
    assert strip.forecast.now.is_measured, "more epochs need no other probe"
    store.set_training(per_device_train_batch_size=4)
    assert not strip.forecast.now.is_measured
    store.set_training(per_device_train_batch_size=8)
    assert strip.forecast.now.is_measured, "what was measured once is remembered"
    strip.forecast.want(False)
    probes.are_automatic = False


def test_finder_draws_its_curve_and_hands_its_rate_to_the_form(qtbot, monkeypatch, page: TrainPanel) -> None:
    store, probes = page.store, page.store.probes
    followed = []
    monkeypatch.setattr(probes._followers, "follow", lambda run, **_: followed.append(run))
    page.findChild(QPushButton, "train.find_rate").click()
    finder = page.finder
    assert page.stack.currentWidget() is finder and finder.stop.isVisible() and not finder.use.isVisible()
    rates = np.geomspace(1e-5, 1e-1, 40)
    steps = [
        ev.Metrics(split="train", step=i + 1, epoch=0.1, total_steps=60, values={"loss": 0.7, "learning_rate": rate})
        for i, rate in enumerate(rates)
    ]
    run = followed[0]
    probes._apply(run.id, [ev.Started(pid=1, version="0"), ev.Phase(name="probing"), *steps])
    assert finder.bar.value() == 40 and finder.bar.maximum() == 60 and "60" in finder.said.text()
    assert finder.plot.curves()["smooth"].x[0] == pytest.approx(-5)
    found = ev.RateFound(rates=rates.tolist(), losses=[0.7] * 40, suggested=3e-4, how="steepest descent")
    probes._apply(run.id, [found, ev.Finished()])
    probes._end(run.id)
    assert finder.use.text() == "Use 3e-4" and "1506.01186" in finder.said.text()
    assert finder.plot.curves()["suggested"].x.tolist() == [pytest.approx(np.log10(3e-4))]
    finder.use.click()
    assert store.draft.training["learning_rate"] == 3e-4 and page.stack.currentWidget() is page.empty
    assert page.column.form.editor("learning_rate").value() == 3e-4
    page.findChild(QPushButton, "train.find_rate").click()
    probes._apply(followed[1].id, [ev.Failed(reason="model-corrupt", facts={"path": "x", "message": "Cut."})])
    probes._end(followed[1].id)
    assert finder.error.isVisible() and "damaged" in finder.error.text() and not finder.use.isVisible()
    page.findChild(QPushButton, "train.find_rate").click()
    finder.stop.click()
    assert not probes.is_busy and finder.close_button.isVisible()
    finder.close_button.click()
    assert not finder.isVisible()


def short_of_memory(
    workspace: Path, csv_file: Path, *said: ev.Event, code: int | None = None
) -> tuple[RunDir, RunState]:
    spec = {"data": {"train": str(csv_file)}, "columns": {"text": "text", "label": "label"}}
    run = create_run(workspace, parse_spec(spec | {"training": {"per_device_train_batch_size": 16}}))
    state = new_state(run)
    for event in (ev.Started(pid=1, version="0"), *said):
        state.apply(event)
    if code is not None:
        run.exit_file.write_text(f'{{"pid": 1, "code": {code}}}')
        settle(state, run)
    return run, state


def test_out_of_memory_goes_on_with_half_the_batch(qtbot, monkeypatch, window: MainWindow, csv_file: Path) -> None:
    facts = {"batch": 16, "asked": "1.2 GB", "free": "0.4 GB", "held": "3.1 GB"}
    step = ev.Metrics(split="train", step=7, epoch=1.0, total_steps=20, values={"loss": 1.0})
    failed = ev.Failed(reason="out-of-memory", facts=facts)
    run, state = short_of_memory(
        window.store.workspace, csv_file, step, ev.Checkpoint(step=5, path="checkpoints/checkpoint-5"), failed
    )
    store = window.store
    store.runs[run.id] = state
    store.select_run(run.id)
    window.show_page("train")
    page = window.pages["train"]
    qtbot.waitUntil(lambda: page._facts is not None, timeout=20000)
    page.redraw()
    said = page.view.outcome.accessibleName()
    assert all(value in said for value in ("1.2 GB", "0.4 GB", "3.1 GB", "16 rows"))
    assert page.main_action().text() == "Halve the batch and go on from step 5"
    followed = []
    monkeypatch.setattr(store.followers, "follow", lambda run, launch, poll: followed.append((run.id, launch)))
    page.main_action().click()
    assert followed == [(run.id, True)]
    training = run.spec().training
    assert (training.per_device_train_batch_size, training.gradient_accumulation_steps) == (8, 2)
    first = parse_spec(read_json(run.path / "spec.attempt1.json"))
    assert first.training.per_device_train_batch_size == 16 and first.data == run.spec().data
    store.runs.pop(run.id)


def test_a_killed_worker_may_have_been_short_of_memory(workspace: Path, csv_file: Path) -> None:
    run, state = short_of_memory(workspace, csv_file, code=-9)
    texts = [remedy.text for remedy in outcome_of(state, run.spec().training).remedies]
    assert texts == ["Start again", "Halve the batch and start over"]
    state.problem = Problem("worker-killed", {"signal": "SIGTERM"})
    assert [remedy.text for remedy in outcome_of(state, run.spec().training).remedies] == ["Start again"]
