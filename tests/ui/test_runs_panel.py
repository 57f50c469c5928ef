import shutil
from pathlib import Path

import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QPushButton

from studio.core import events as ev
from studio.core.files import write_json
from studio.core.rundir import EventWriter, RunDir, create_run
from studio.core.spec import EvaluateSpec, parse_spec
from studio.ui.panels.runs import RunsPanel
from studio.ui.panels.runs_rows import score_of
from studio.ui.panels.spec_difference import differences
from studio.ui.window import MainWindow


def record(workspace: Path, csv_file: Path, name: str = "", state: str = "finished", **changes: object) -> RunDir:
    """Make a training that ended, as a list sees it."""
    spec = {"data": {"train": str(csv_file)}, "columns": {"text": "text", "label": "label"}, "name": name} | changes
    run = create_run(workspace, parse_spec(spec))
    summary = {"state": state, "metric": {"loss": 0.3, "accuracy": 0.9}, "seconds": 61.0, "sparkline": [2.0, 1.0, 0.5]}
    write_json(run.summary_file, summary)
    return run


def write_losses(run: RunDir, losses: list[float]) -> None:
    writer = EventWriter(run.events_file)
    writer.write([ev.Started(pid=1, version="0")])
    for at, loss in enumerate(losses):
        writer.write([ev.Metrics(split="train", step=at + 1, epoch=0.1, values={"loss": loss})])
    values = {"loss": losses[-1], "accuracy": 1 - losses[-1]}
    writer.write([ev.Metrics(split="validation", step=len(losses), epoch=1.0, values=values)])
    writer.close()


def opened(qtbot, window: MainWindow, n: int = 1) -> RunsPanel:
    """Open the page and wait for its list."""
    window.show_page("runs")
    page = window.pages["runs"]
    qtbot.waitUntil(lambda: len(page.rows) == n, timeout=20000)
    return page


def names(page: RunsPanel) -> list[str]:
    return [row["name"] for row in page.rows]


def test_an_empty_workspace_teaches(qtbot, window: MainWindow) -> None:
    window.show_page("runs")
    page = window.pages["runs"]
    qtbot.waitUntil(lambda: page.stack.currentWidget() is page.empty, timeout=20000)


def test_a_list_of_hundreds_is_read_without_opening_a_log(qtbot, window: MainWindow, workspace, csv_file) -> None:
    first = record(workspace, csv_file)
    first.events_file.mkdir()  # whoever opens it as a log fails
    for at in range(299):
        shutil.copytree(first.path, first.path.with_name(f"20200101-120000-train-{at:04x}"))
    page = opened(qtbot, window, 300)
    row = page.rows[0]
    assert (row["state"], row["data"], row["model"], row["method"]) == ("finished", "reviews.csv", "Starter", "Full")
    assert (row["score"], row["seconds"], row["sparkline"]) == (0.9, 61.0, [2.0, 1.0, 0.5])
    assert window.notice_bar.past == []


@pytest.mark.parametrize(
    ("task", "metric", "score"),
    [
        ({"kind": "question-answering"}, {"exact_match": 0.5, "f1": 0.7}, 0.7),
        ({"kind": "masked-lm"}, {"accuracy": 0.1, "perplexity": 390.5}, 390.5),
        ({"kind": "embeddings"}, {"mrr": 0.9, "recall_at_1": 0.8}, 0.9),
        ({"kind": "of a plug-in that is gone"}, {"accuracy": 0.1}, 0.1),
        ({}, {"loss": 1.0}, None),
    ],
)
def test_the_score_is_the_metric_of_the_task(task: dict, metric: dict, score: float | None) -> None:
    assert score_of(metric, task) == score


def test_runs_of_a_kind_and_by_a_word(qtbot, window: MainWindow, workspace, csv_file) -> None:
    trained = record(workspace, csv_file, "plain")
    record(workspace, csv_file, "small steps", method={"kind": "lora"})
    evaluation = create_run(workspace, EvaluateSpec(run=str(trained.path)))
    write_json(evaluation.summary_file, {"state": "finished", "metric": {"accuracy": 0.5}, "seconds": 2.0})
    page = opened(qtbot, window, 2)
    page.search()
    qtbot.keyClicks(page.search_field, "lora")
    qtbot.waitUntil(lambda: names(page) == ["small steps"], timeout=20000)
    page.search_field.clear()
    qtbot.waitUntil(lambda: len(page.rows) == 2, timeout=20000)
    page.kinds.setCurrentIndex(1)
    assert [row["kind"] for row in page.rows] == ["evaluate"] and page.rows[0]["model"].startswith("train ")
    page.table.select_ids([evaluation.id])
    page.open_button.click()
    assert window.page == "evaluate" and window.store.current_run == trained.id


def test_what_another_window_does_comes_by_itself(qtbot, window: MainWindow, workspace, csv_file) -> None:
    first = record(workspace, csv_file, "first", state="stopped")
    page = opened(qtbot, window)
    page.table.select_ids([first.id])
    record(workspace, csv_file, "second")
    first.rename("renamed")
    qtbot.waitUntil(lambda: names(page) == ["second", "renamed"] or names(page) == ["renamed", "second"], timeout=20000)
    assert page.selected_ids() == [first.id], "what was selected stays selected"


def test_a_name_is_changed_in_its_place(qtbot, window: MainWindow, workspace, csv_file) -> None:
    run = record(workspace, csv_file, "before")
    page = opened(qtbot, window)
    page.table.select_ids([run.id])
    page.table.view.setFocus()
    qtbot.keyClick(page.table.view, Qt.Key.Key_F2)
    assert page.name_field.isVisible() and page.name_field.text() == "before"
    qtbot.keyClicks(page.name_field, "never")
    qtbot.keyClick(page.name_field, Qt.Key.Key_Escape)
    assert not page.name_field.isVisible() and run.name() == "before"
    page.rename_button.click()
    page.name_field.setText("after ü")
    qtbot.keyClick(page.name_field, Qt.Key.Key_Return)
    qtbot.waitUntil(lambda: names(page) == ["after ü"], timeout=20000)
    assert run.name() == "after ü"


def test_deleted_runs_come_back_by_one_undo(qtbot, window: MainWindow, workspace, csv_file) -> None:
    runs = [record(workspace, csv_file, name) for name in "abc"]
    page = opened(qtbot, window, 3)
    page.table.select_ids([runs[0].id, runs[2].id])
    page.delete_button.click()
    qtbot.waitUntil(lambda: names(page) == ["b"], timeout=20000)
    assert (workspace / "bin" / runs[0].id / "spec.json").is_file()
    window.notice_bar.past[0].undo()
    qtbot.waitUntil(lambda: sorted(names(page)) == ["a", "b", "c"], timeout=20000)


@pytest.mark.parametrize(
    ("state", "has_checkpoint", "resumable"),
    [("stopped", True, True), ("ended", True, True), ("stopped", False, False), ("finished", True, False)],
)
def test_only_a_run_with_a_checkpoint_can_be_resumed(
    qtbot, window: MainWindow, workspace, csv_file, state: str, has_checkpoint: bool, resumable: bool
) -> None:
    run = record(workspace, csv_file, state="running" if state == "ended" else state)
    if has_checkpoint:
        (run.checkpoints_dir / "checkpoint-9").mkdir(parents=True)
    page = opened(qtbot, window)
    assert page.rows[0]["state"] == state
    page.table.select_ids([run.id])
    assert page.resume_button.isEnabled() == resumable


def test_enter_opens_a_run_with_its_whole_curve(qtbot, window: MainWindow, workspace, csv_file) -> None:
    run = record(workspace, csv_file)
    write_losses(run, [1.0, float("nan"), 0.25])
    page = opened(qtbot, window)
    page.table.view.selectRow(0)
    page.table.view.setFocus()
    qtbot.keyClick(page.table.view, Qt.Key.Key_Return)
    assert window.page == "train" and window.store.current_run == run.id
    qtbot.waitUntil(lambda: not window.store.runs[run.id].is_active, timeout=20000)
    train = window.pages["train"]
    train.redraw()
    assert [repr(v) for v in train.view.plots.loss.curves()["train loss"].y.tolist()] == ["1.0", "nan", "0.25"]


def test_chosen_runs_are_drawn_over_each_other_with_what_distinguishes_them(
    qtbot, window: MainWindow, workspace, csv_file
) -> None:
    a = record(workspace, csv_file, "a", training={"learning_rate": 1e-3})
    b = record(workspace, csv_file, "b", method={"kind": "lora", "r": 4})
    write_losses(a, [1.0, 0.5, 0.25])
    write_losses(b, [0.9, 0.75])
    page = opened(qtbot, window, 2)
    page.table.select_ids([a.id, b.id])
    qtbot.waitUntil(lambda: len(page.compare._shown) == 2, timeout=20000)
    curves = {curve.name: curve.y.tolist() for curve in page.compare.plot.curves().values()}
    assert curves == {"a": [1.0, 0.5, 0.25], "b": [0.9, 0.75]}
    page.compare.which.setCurrentIndex(2)
    assert {c.name: c.y.tolist() for c in page.compare.plot.curves().values()} == {"a": [0.75], "b": [0.25]}
    assert "train loss" in dict(page.compare.plot.offered_subjects)
    page.compare.plot.subject_chosen.emit("train loss")
    page.compare.plot.along_chosen.emit("epoch")
    assert page.compare.which.count() == 4 and page.compare.which.tabText(3) == "Loss, training"
    curves = {curve.name: (curve.x.tolist(), curve.y.tolist()) for curve in page.compare.plot.curves().values()}
    assert curves == {"a": ([0.1] * 3, [1.0, 0.5, 0.25]), "b": ([0.1] * 2, [0.9, 0.75])}
    told = {row["title"]: (row[a.id], row[b.id]) for row in page.compare._table.model.rows}
    assert told["Learning rate"] == ("0.001", "Automatic") and told["Method"] == ("Full", "LoRA")
    assert told["Rank"] == ("–", "4") and told["Score"] == ("0.7500", "0.2500") and "Seed" not in told
    assert page.compare.isVisible()
    page.table.select_ids([a.id])
    assert not page.compare.isVisible()


def test_equal_specs_have_no_difference(workspace, csv_file) -> None:
    spec = record(workspace, csv_file, "one").spec()
    assert differences({"a": spec, "b": spec.model_copy(update={"name": "other"})}) == []


def test_buttons_follow_the_selection(qtbot, window: MainWindow, workspace, csv_file) -> None:
    record(workspace, csv_file)
    page = opened(qtbot, window)
    buttons = [b for b in page.findChildren(QPushButton) if b.objectName().startswith("runs.")]
    assert len(buttons) == 4 and not any(b.isEnabled() for b in buttons)
    page.table.view.selectRow(0)
    assert {b.objectName() for b in buttons if b.isEnabled()} == {"runs.open", "runs.rename", "runs.delete"}
