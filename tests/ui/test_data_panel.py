from pathlib import Path

import pytest
from PySide6.QtCore import QMimeData, QPoint, QPointF, Qt, QUrl
from PySide6.QtGui import QDropEvent
from PySide6.QtWidgets import QLabel, QPushButton, QWidget

from studio.core.paths import sample_file
from studio.core.registry import family
from studio.ui.panels.data_desk import DataDesk
from studio.ui.widgets.cards import Finding
from studio.ui.window import MainWindow


@pytest.fixture
def open_file(qtbot, window: MainWindow):
    """Open a file in the window's Data page and return its desk once the rows, or the reason, are on it."""

    def open_file(path: Path) -> DataDesk:
        window.store.open_data(path)
        settle(qtbot, window)
        return window.pages["data"].desk

    return open_file


def settle(qtbot, window: MainWindow) -> None:
    qtbot.waitUntil(lambda: "data" not in window.store.busy)
    desk = window.pages["data"].desk
    if window.store.draft.table is not None:
        qtbot.waitUntil(lambda: desk.about.has_blocks() or desk.rows.error.text() != "")


def findings(desk: DataDesk) -> dict[str, Finding]:
    found = desk.about.findings.findChildren(Finding)
    return {f.objectName().removeprefix("finding."): f for f in found if not f.isHidden()}


def words(widget: QWidget) -> str:
    return " ".join(label.text() for label in widget.findChildren(QLabel) if label.isVisibleTo(widget))


def rows_shown(desk: DataDesk) -> list[dict[str, str]]:
    model = desk.rows.table.model
    names = model.table.column_names
    return [{n: model.value(row, i) for i, n in enumerate(names)} for row in range(model.rowCount())]


def choose_role(desk: DataDesk, column: str, role: str) -> None:
    """Choose from the menu of a column's header."""
    table = desk.rows.table
    menu = table.view.header.open_menu(table.model.table.column_names.index(column))
    next(action for action in menu.actions() if action.text() == role).trigger()
    menu.close()


def test_the_empty_desk_offers_the_ways_on(qtbot, window: MainWindow) -> None:
    page = window.pages["data"]
    buttons = {b.objectName(): b for b in page.findChildren(QWidget) if b.objectName().startswith("action.")}
    assert set(buttons) == {"action.data.open", "action.data.sample", "action.run.continue"}
    assert not buttons["action.run.continue"].isVisible(), "there is no run to continue"
    buttons["action.data.sample"].click()
    settle(qtbot, window)
    assert page.desk.rows.table.model.rowCount() >= 640
    assert words(page.desk.file).startswith(sample_file().name)


def test_each_sample_is_one_click_away_with_its_settings(qtbot, window: MainWindow) -> None:
    page = window.pages["data"]
    page.findChild(QPushButton, "data.sample.text-classification.2").click()
    settle(qtbot, window)
    draft = window.store.draft
    assert draft.task.problem_type == "regression" and draft.columns == {"text": "review", "label": "stars"}
    assert not [problem for problem in draft.problems() if problem.field != "model"]
    window.store.open_sample("text-classification")
    settle(qtbot, window)
    assert draft.task.problem_type == "single_label_classification" and draft.source.path == str(sample_file())


def test_a_last_run_is_offered_on_the_empty_desk(recorded_run, window: MainWindow) -> None:
    assert window.pages["data"].resume.isVisible()


def test_every_row_of_a_file_is_there(open_file, csv_file: Path) -> None:
    desk = open_file(csv_file)
    assert rows_shown(desk) == [
        {"text": f"a {['dull', 'bright'][i % 2]} film number {i}", "label": ["bad", "good"][i % 2]} for i in range(40)
    ]
    assert desk.rows.counted.text() == "40 rows"
    assert desk.rows.table.view.header.role_of(0) == ("text", "Text")
    assert desk.rows.table.view.header.role_of(1) == ("label", "Label")
    assert desk.use.isEnabled()
    assert list(findings(desk)) == [""], "one good word, since nothing was found"


def test_roles_are_changed_in_the_header_and_checked_at_once(qtbot, open_file, tmp_path: Path) -> None:
    path = tmp_path / "roles.csv"
    path.write_text("text,label,same\n" + "".join(f"words {i},{'ab'[i % 2]},x\n" for i in range(30)))
    desk = open_file(path)
    draft = desk.store.draft
    choose_role(desk, "label", "Ignore")
    qtbot.waitUntil(lambda: "No column is marked as Label" in desk.rows.error.text())
    assert draft.columns == {"text": "text"}
    assert not desk.use.isEnabled()
    choose_role(desk, "same", "Label")
    qtbot.waitUntil(lambda: "All rows have the same label, x" in desk.rows.error.text())
    assert not desk.use.isEnabled()
    choose_role(desk, "label", "Label")
    qtbot.waitUntil(lambda: not desk.rows.error.isVisible())
    assert draft.columns == {"text": "text", "label": "label"}
    assert desk.use.isEnabled()


def test_findings_show_their_rows(qtbot, open_file, csv_file: Path) -> None:
    with csv_file.open("a") as file:
        file.write(",good\nalone,rare\na dull film number 0,bad\n1,2,3\n")
    desk = open_file(csv_file)
    found = findings(desk)
    assert set(found) == {"ragged-rows", "some-empty-texts", "rare-class", "duplicates"}
    assert "the first is row 45: 1,2,3" in found["ragged-rows"].text()
    assert desk.use.isEnabled(), "none of them keeps a training from starting"
    for reason, texts in (
        ("some-empty-texts", [""]),
        ("rare-class", ["alone"]),
        ("duplicates", ["a dull film number 0"] * 2),
    ):
        found[reason].acted.emit()
        qtbot.waitUntil(lambda texts=texts: [row["text"] for row in rows_shown(desk)] == texts)
    desk.rows.filter_button.click()
    assert len(rows_shown(desk)) == 43


def test_a_click_on_a_label_filters_the_rows_and_the_search_narrows_them(qtbot, open_file, tmp_path: Path) -> None:
    path = tmp_path / "blanks.csv"
    path.write_text("text,label\n" + "".join(f"words {i},{' a ' if i % 3 else 'b'}\n" for i in range(30)))
    desk = open_file(path)
    bars = desk.about.block("Labels").drawing
    qtbot.mouseClick(bars, Qt.MouseButton.LeftButton, pos=QPoint(40, 12))  # the longest stands first
    qtbot.waitUntil(lambda: desk.rows.counted.text() == "20 of 30 rows")
    assert {row["label"] for row in rows_shown(desk)} == {" a "}
    assert "label: a" in desk.rows.filter_button.text()
    desk.rows.search.setText("WORDS 1")
    qtbot.waitUntil(lambda: {row["text"] for row in rows_shown(desk)} == {"words 1"} | {
        f"words {i}" for i in range(10, 20) if i % 3
    })  # fmt: skip
    qtbot.mouseClick(bars, Qt.MouseButton.LeftButton, pos=QPoint(40, 12))
    assert len(rows_shown(desk)) == 11, "the second click lets the label go, not the search"
    desk.rows.search.clear()
    qtbot.waitUntil(lambda: len(rows_shown(desk)) == 30)


def test_the_split_is_changed_and_its_errors_stand_below_it(qtbot, open_file, csv_file: Path, tmp_path: Path) -> None:
    desk = open_file(csv_file)
    draft = desk.store.draft
    desk.split.bar.changed.emit(0.25, 0.125)
    assert (draft.validation, draft.test) == (0.25, 0.125)
    assert desk.split.bar.counts() == (25, 10, 5)
    desk.split.chosen.emit({"test": 0.01})
    assert "test part would have no row" in desk.split.error.text()
    assert not desk.use.isEnabled()
    desk.split.chosen.emit({"test": 0.0})
    assert not desk.split.error.isVisible()
    desk.split.seed.set_value(7)
    desk.split.seed.edited.emit()
    assert draft.split_seed == 7
    desk.split.seed.set_value(-1)
    desk.split.seed.edited.emit()
    assert draft.split_seed == 7
    assert desk.split.error.isVisible()


def test_a_part_of_the_split_may_be_a_file(qtbot, open_file, csv_file: Path, tmp_path: Path) -> None:
    desk = open_file(csv_file)
    held_out = tmp_path / "held out.csv"
    held_out.write_text("text,label\n" + "hello,good\n" * 12)
    desk.split.ask_file = lambda parent: str(held_out)
    desk.split.choose_file("test")
    assert desk.store.draft.test.path == str(held_out)
    qtbot.waitUntil(lambda: "held out.csv · 12" in desk.split.buttons["test"].text())
    desk.split.bar.changed.emit(0.2, 0.0)
    assert desk.store.draft.validation == 0.2
    assert desk.store.draft.test.path == str(held_out), "dragging the bar leaves the file"
    assert "held out.csv · 12" in desk.split.buttons["test"].text()
    other = tmp_path / "other.csv"
    other.write_text("message,label\n" + "hello,good\n" * 12)
    desk.split.ask_file = lambda parent: str(other)
    desk.split.choose_file("test")
    qtbot.waitUntil(lambda: "There is no column text" in desk.split.error.text())
    assert not desk.use.isEnabled()
    desk.split.chosen.emit({"test": 0.1})
    assert desk.use.isEnabled()


def test_a_wrong_guess_is_put_right(qtbot, open_file, tmp_path: Path) -> None:
    path = tmp_path / "headless.csv"
    path.write_text("good,bad\n" + "".join(f"text {i},{'xy'[i % 2]}\n" for i in range(20)))
    desk = open_file(path)
    assert desk.rows.counted.text() == "20 rows"
    form = next(f for f in desk.file.forms if "header" in f.all_values())
    form.editor("header").set_value(False)
    form.editor("header").edited.emit()
    qtbot.waitUntil(lambda: desk.rows.counted.text() == "21 rows")
    assert desk.store.draft.source.header is False
    assert desk.store.draft.as_json()["columns"] == {"text": 0, "label": 1}
    assert form.values() == {"header": False}


def test_a_wrong_kind_of_file_is_put_right(qtbot, open_file, tmp_path: Path) -> None:
    path = tmp_path / "sentences.txt"
    path.write_text("Ada B-PER\nleft O\n\nRome\n\n" + "Bob I-PER\n\nBob B-PER\n\n" * 12)
    desk = open_file(path)
    assert desk.store.draft.source.kind == "conll" and "Tags: IOB2" in desk.file.found.text()
    found = findings(desk)
    assert "the first such line is 4: Rome" in found["ragged-sentences"].text()
    assert not any(found[reason].button().isVisibleTo(desk) for reason in ("ragged-sentences", "tags-can-not-follow"))
    desk.window().resize(1024, 640)
    qtbot.waitUntil(desk.about.isVisible)
    desk.file.options_button.setChecked(True)
    qtbot.waitUntil(lambda: not desk.about.isVisible())  # there is no room for it below the rows
    assert desk.rows.height() >= 144 and desk.rows.geometry().bottom() < desk.split.geometry().top()
    kind = desk.file.kind_form.editor("kind")
    assert [kind.itemText(i) for i in range(kind.count())] == ["CSV, TSV", "Plain text", "CoNLL columns"]
    kind.set_value("Plain text")
    kind.edited.emit()
    qtbot.waitUntil(lambda: desk.store.draft.source.kind == "text" and desk.rows.counted.text() == "27 rows")
    assert [name for form in desk.file.forms for name in form.all_values()] == ["rows", "encoding"]
    assert desk.file.kind_form.values() == {"kind": "Plain text"}, "it differs from what was found"
    assert desk.file.facts.text().startswith("  ·  1 column  ·")
    path.with_suffix(".csv").write_text("text,label\na,b\n")
    desk = open_file(path.with_suffix(".csv"))
    assert desk.file.kind_form is None, "nothing else is written so"


def test_a_file_that_is_none_says_why_and_the_former_data_stays(qtbot, open_file, window, csv_file, tmp_path) -> None:
    broken = tmp_path / "broken.json"
    broken.write_text('[{"text": ')
    desk = open_file(broken)
    assert "can't be read as JSON" in words(desk)
    assert not desk.use.isVisible()
    assert window.notice_bar.past == [], "the reason stands on the page, once"
    desk = open_file(csv_file)
    assert "can't be read" not in words(desk)
    open_file(broken)
    assert "broken.json can't be read as JSON" in desk.refused.finding.text()
    assert desk.refused.isVisible()
    assert len(rows_shown(desk)) == 40
    assert desk.store.draft.source.path == str(csv_file)
    assert desk.use.isEnabled()
    desk.findChild(QWidget, "data.dismiss").click()
    assert not desk.refused.isVisible()
    open_file(tmp_path / "sheet.xlsx")
    assert "There is no file" in desk.refused.finding.text()


def test_a_dropped_file_is_opened(qtbot, window: MainWindow, csv_file: Path) -> None:
    window.show_page("model")
    data = QMimeData()
    data.setUrls([QUrl.fromLocalFile(str(csv_file))])
    event = QDropEvent(
        QPointF(400, 300), Qt.DropAction.CopyAction, data, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier
    )
    window.dropEvent(event)
    settle(qtbot, window)
    assert window.page == "data"
    assert len(rows_shown(window.pages["data"].desk)) == 40


def test_while_a_file_is_read_the_page_shows_its_shape(qtbot, window: MainWindow, csv_file: Path) -> None:
    window.store.open_data(csv_file)
    desk = window.pages["data"].desk
    assert desk.body.currentWidget() is desk.skeleton
    settle(qtbot, window)
    assert desk.body.currentWidget() is desk.opened


def test_a_sample_of_each_task_is_one_click_away(qtbot, window: MainWindow) -> None:
    page = window.pages["data"]
    for task in family("tasks").values():
        button = page.findChild(QWidget, f"data.sample.{task.id}")
        button.click()
        settle(qtbot, window)
        store = window.store
        draft = store.draft
        qtbot.waitUntil(lambda draft=draft, task=task: draft.task.kind == task.id and draft.table is not None)
        assert [p.reason for p in store.problems()] == [], task.id
        assert store.draft.source.path.endswith(task.sample)


def test_the_task_is_chosen_and_set_above_the_rows(qtbot, window: MainWindow, tmp_path: Path) -> None:
    path = tmp_path / "stars.csv"
    path.write_text("text,stars\n" + "".join(f"it was visit number {i},{i % 5}.5\n" for i in range(40)))
    window.store.open_data(path)
    settle(qtbot, window)
    desk, store = window.pages["data"].desk, window.store
    assert store.draft.task.problem_type == "single_label_classification"
    form = next(form for form in desk.task.forms if "problem_type" in form.all_values())
    editor = form.editor("problem_type")
    editor.setCurrentIndex([editor.itemText(i) for i in range(editor.count())].index("A number"))
    editor.activated.emit(editor.currentIndex())
    qtbot.waitUntil(lambda: store.draft.task.problem_type == "regression")
    assert store.draft.columns == {"text": "text", "label": "stars"}, "the roles stay"
    qtbot.waitUntil(lambda: "Numbers" in words(desk.about))
    assert store.draft.spec().task.problem_type == "regression"


def test_a_file_that_is_clearly_for_a_task_chooses_it(open_file, window: MainWindow, tmp_path: Path) -> None:
    path = tmp_path / "names.conll"
    path.write_text("".join(f"Ada B-PER\nsleeps O\nin O\nBern{i} B-LOC\n\n" for i in range(12)))
    open_file(path)
    assert window.store.draft.task.kind == "token-classification"
    assert window.store.draft.columns == {"text": "tokens", "labels": "tags"}
