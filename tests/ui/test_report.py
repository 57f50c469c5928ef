"""The report of a training: what it says, its curves, its pages as PDF."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PySide6.QtGui import QColor
from recorded_runs import add_evaluation

from studio.core import events as ev
from studio.core.reasons import Failure
from studio.core.rundir import EventWriter, RunDir, create_run
from studio.core.spec import ExportSpec, parse_spec
from studio.core.state import new_state
from studio.supervisor import environment
from studio.ui.report.curves import DPI, Line, picture
from studio.ui.report.document import document, pictures, write_pdf
from studio.ui.report.facts import read_report


@pytest.fixture
def told_run(workspace: Path, csv_file: Path, training_events: list[ev.Event]) -> RunDir:
    """A finished training that picked something, warned of something and was measured."""
    spec = parse_spec({"data": {"train": str(csv_file)}, "columns": {"text": "text", "label": "label"}})
    run = create_run(workspace, spec)
    picked = ev.Picked(name="precision", value="bf16", why="your processor has <AMX> & more")
    writer = EventWriter(run.events_file)
    writer.write([*training_events[:-1], picked, ev.Warned(reason="duplicates", facts={"n_rows": 3})])
    result = {"steps": 20, "train_seconds": 75.0, "metrics": {"test": {"loss": 0.1, "accuracy": 0.875}}}
    writer.write([ev.Finished(result=result)])
    writer.close()
    add_evaluation(run)
    run.rename("The <best> one")
    return run


def test_report_says_what_was_reached_picked_and_set(told_run: RunDir) -> None:
    facts = read_report(told_run)
    text = document(facts, pictures(facts)).toPlainText()
    for wanted in (
        "The <best> one", "reviews.csv", "Finished.", "0.8750", "Confusion", "F1 by label", "bf16",
        "your processor has <AMX> & more", "Copies of another row's text: 3.", "Learning rate", "22.7 M", "32 / 4 / 4",
        told_run.id,
    ):  # fmt: skip
        assert wanted in text, wanted
    assert {"loss", "score", "rate", "gradient"} <= set(pictures(facts))


def test_pdf_has_its_curves_and_is_never_half_written(told_run: RunDir, tmp_path: Path) -> None:
    facts = read_report(told_run)
    write_pdf(document(facts, pictures(facts)), tmp_path / "with.pdf")
    write_pdf(document(facts, {}), tmp_path / "without.pdf")
    data, bare = (tmp_path / "with.pdf").read_bytes(), (tmp_path / "without.pdf").read_bytes()
    assert data.startswith(b"%PDF") and data.rstrip().endswith(b"%%EOF")
    assert data.count(b"/Subtype /Image") == len(pictures(facts)) > 4 and bare.count(b"/Subtype /Image") == 0
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError):
        write_pdf(document(facts, {}), tmp_path / "file" / "report.pdf")


def test_report_by_command(told_run: RunDir, tmp_path: Path) -> None:
    command = [sys.executable, "-P", "-m", "studio", "report", str(told_run.path), "--out", str(tmp_path / "r.pdf")]
    env = {name: value for name, value in environment().items() if name != "QT_QPA_PLATFORM"}
    done = subprocess.run(command, capture_output=True, text=True, env=env)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "r.pdf").read_bytes().startswith(b"%PDF")


def test_only_a_training_has_a_report(workspace: Path, told_run: RunDir) -> None:
    export = create_run(workspace, ExportSpec(run=str(told_run.path), format="onnx", out="out"))
    with pytest.raises(Failure) as caught:
        read_report(export)
    assert caught.value.problem.reason == "report-no-training"


def test_printed_curve_keeps_the_one_spike_and_marks_what_is_no_number(qapp) -> None:
    x, y = np.arange(100_000.0), np.zeros(100_000)
    flat = picture("Loss", [Line("a", x, y)], 100, 50)
    y[77_777], y[30_000] = 5.0, np.nan
    image = picture("Loss", [Line("a", x, y)], 100, 50)
    assert image.width() == pytest.approx(100 / 25.4 * DPI, abs=1)

    def columns(picture, test) -> set[int]:
        return {
            at for at in range(picture.width()) for up in range(150, picture.height() - 200, 2)
            if test(QColor(picture.pixel(at, up)))
        }  # fmt: skip

    def is_line(colour: QColor) -> bool:
        return colour.blue() > colour.red() + 100

    spike = columns(image, is_line)
    assert spike and all(0.7 * image.width() < at < 0.85 * image.width() for at in spike)
    assert len(columns(flat, is_line)) > 500, "without it the line goes all the way"
    red = sum(
        QColor(image.pixel(at, up)).red() > QColor(image.pixel(at, up)).green() + 100
        for at in range(image.width()) for up in range(image.height() - 200, image.height())
    )  # fmt: skip
    assert red, "the NaN is marked on the axis"


def test_run_at_work_is_not_said_to_have_ended(workspace: Path, training_events, csv_file) -> None:
    run = create_run(workspace, parse_spec({"data": {"train": str(csv_file)}, "columns": {"text": "text"}}))
    state = new_state(run)
    for event in training_events[:-5]:
        state.apply(event)
    assert read_report(run, state).outcome == "Still at work: step 19 of 20."


def test_window_shows_the_report_and_takes_it_along(window, qtbot, told_run: RunDir, tmp_path: Path) -> None:
    store = window.store
    store.select_run(told_run.id)
    window.show()
    window.actions_by_id["run.report"].trigger()
    view = window.pages["train"].view
    qtbot.waitUntil(lambda: "The <best> one" in view.report.paper.toPlainText(), timeout=10_000)
    assert view.report.isVisible() and not view.splitter.isVisible() and window.page == "train"
    view.report.write_pdf(tmp_path / "report.pdf")
    assert (tmp_path / "report.pdf").read_bytes().startswith(b"%PDF")
    view.report_button.click()
    assert not view.report.isVisible() and view.splitter.isVisible()


def test_a_million_points_are_drawn(qapp) -> None:
    values = np.arange(1_000_000.0)
    assert not picture("Loss", [Line("a", values, values, "smoothed")], 170, 60).isNull()
