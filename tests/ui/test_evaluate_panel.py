import pyarrow as pa
import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QPushButton
from recorded_runs import ROWS, add_evaluation, add_model

from studio.core import events as ev
from studio.core.blocks import Span, SpanText, SpanTexts, Token, TokenText, TokenTexts
from studio.core.commands import Command, Explain
from studio.core.files import read_json, write_json
from studio.core.rundir import RunDir, create_run
from studio.core.spec import parse_spec
from studio.core.state import RunState
from studio.ui.panels.evaluate import EvaluatePanel
from studio.ui.panels.prediction_rows import PredictionRows
from studio.ui.store import Store
from studio.ui.widgets.span_texts import SpanTextsView
from studio.ui.widgets.token_texts import TokenTextsView

EMBEDDINGS = {"text": "Text", "text_2": "Second text"}
ANSWERS = {"before": {"bad": 0.52, "good": 0.48}, "after": {"bad": 0.03, "good": 0.97}}


class RecordedStore(Store):
    """A store whose inspections answer from a record, when `answer` is called."""

    asked: list[Explain]

    def inspect(self, run_id: str = "", model: str = "", **how: object) -> str:
        self.asked = []
        self.runs["look"] = RunState(id="look", kind="inspect")
        self.apply("look", [ev.Started(pid=1, version="0"), ev.Phase(name="model")])
        return "look"

    def send(self, run_id: str, command: Command) -> None:
        if isinstance(command, Explain):
            self.asked.append(command)

    def answer(self, **values) -> None:
        asked = self.asked[-1]
        self.apply("look", [ev.Phase(name="ready"), ev.Explained(id=asked.id, text=asked.text, **values)])


@pytest.fixture
def store(workspace, qapp):
    store = RecordedStore(workspace)
    yield store
    store.close()


@pytest.fixture
def panel(qtbot, store: Store, recorded_run: RunDir) -> EvaluatePanel:
    add_model(recorded_run)
    add_evaluation(recorded_run)
    panel = EvaluatePanel(store)
    qtbot.addWidget(panel)
    panel.resize(900, 560)
    panel.show()
    qtbot.waitUntil(lambda: panel.results.rows.table.model.rowCount() == len(ROWS))
    return panel


def shown_rows(panel: EvaluatePanel) -> list[tuple]:
    """The rows in the table as (text, label, predicted, loss), in the order in which a person sees them."""
    model = panel.results.rows.table.model
    return [tuple(model.value(row, column) for column in (1, 2, 3, 0)) for row in range(model.rowCount())]


def test_rows_stand_by_loss(panel: EvaluatePanel) -> None:
    assert [loss for *_, loss in shown_rows(panel)] == sorted((loss for *_, loss in ROWS), reverse=True)
    assert panel.results.tiles.tile("Accuracy").toolTip().startswith("Accuracy: 0.625")


def click_cell(qtbot, panel: EvaluatePanel, row: int, column: int) -> None:
    matrix = panel.results._views[0].drawing
    qtbot.mouseClick(matrix, Qt.MouseButton.LeftButton, pos=matrix.cell_rect(row, column).center().toPoint())


@pytest.mark.parametrize(("label", "predicted", "films"), [(1, 0, [1, 6]), (0, 0, [4, 0, 7]), (0, 1, [3])])
def test_a_cell_shows_exactly_the_rows_behind_it(qtbot, panel: EvaluatePanel, label, predicted, films) -> None:
    panel.tabs.setCurrentWidget(panel.results)
    click_cell(qtbot, panel, label, predicted)
    assert [text for text, *_ in shown_rows(panel)] == [f"film {i}" for i in films]
    panel.results.rows.filter.click()
    assert len(shown_rows(panel)) == len(ROWS)
    click_cell(qtbot, panel, label, predicted)  # the cell was let go, so a click takes it again
    assert len(shown_rows(panel)) == len(films)


def test_mistakes_and_a_search_narrow_a_cell_further(panel: EvaluatePanel) -> None:
    rows = panel.results.rows
    rows.only_mistakes.click()
    assert {(label, predicted) for _, label, predicted, _ in shown_rows(panel)} == {("good", "bad"), ("bad", "good")}
    rows.filter_by({"label": "good"})
    assert [text for text, *_ in shown_rows(panel)] == ["film 1", "film 6"]
    rows.search.setText("film 6")
    rows.search.returnPressed.emit()
    assert [text for text, *_ in shown_rows(panel)] == ["film 6"]


def test_a_text_is_answered_before_and_after(qtbot, store: RecordedStore, panel: EvaluatePanel) -> None:
    panel.try_it.text.setPlainText("a bright film")
    assert panel.try_it.bar.isVisible()  # the models are being loaded
    panel.try_it.button.click()
    store.answer(probabilities=ANSWERS)
    assert not panel.try_it.bar.isVisible()
    assert (panel.try_it.before.answer.text(), panel.try_it.after.answer.text()) == ("bad", "good")
    assert panel.try_it.after.bars.values() == [("good", 0.97), ("bad", 0.03)]
    assert [label for label, _ in panel.try_it.before.bars.values()] == ["good", "bad"]  # the same order
    qtbot.waitUntil(lambda: panel.try_it.history.count() == 1, timeout=5000)
    assert panel.try_it.history.item(0).text() == "a bright film"


def test_only_the_newest_text_waits_for_an_answer(store: RecordedStore, panel: EvaluatePanel) -> None:
    for text in ("first", "second", "third"):
        panel.try_it.try_text(text)
    assert [command.text for command in store.asked] == ["first"]
    store.answer(probabilities=ANSWERS)
    assert [command.text for command in store.asked] == ["first", "third"]


def test_a_refused_text_says_why(store: RecordedStore, panel: EvaluatePanel) -> None:
    panel.try_it.try_text("word " * 600)
    store.answer(probabilities={}, reason="text-too-long", facts={"n_tokens": 602, "most": 512})
    assert "602 tokens" in panel.try_it.error.text()
    assert panel.try_it.after.answer.text() == "–"


def test_a_row_is_tried_with_its_label(store: RecordedStore, panel: EvaluatePanel) -> None:
    panel.tabs.setCurrentWidget(panel.results)
    panel.results.rows.table.row_activated.emit(3)  # the fourth by loss: film 5, which is good
    assert panel.tabs.currentWidget() is panel.try_it
    assert panel.try_it.text.toPlainText() == "film 5"
    store.answer(probabilities=ANSWERS)
    assert panel.try_it.after._verdict.text() == "right" and panel.try_it.before._verdict.text() == "wrong"


def test_columns_have_the_names_of_the_task_and_empty_ones_are_left_out(qtbot) -> None:
    rows = PredictionRows()
    qtbot.addWidget(rows)
    values = {"text": "a", "text_2": "b", "label": "", "predicted": "c", "loss": 0.5, "Text": "d", "right": True}
    rows.show_predictions(pa.table({name: [value] for name, value in values.items()}), EMBEDDINGS)
    assert list(rows._titles.values()) == ["Loss", "Text", "Second text", "Predicted", "Text (2)"]
    rows.filter_by({"Text": "d"})
    assert rows.table.model.rowCount() == 1 and rows.filter.text() == "Text (2) d"
    rows.table.row_activated.emit(0)
    assert rows.text.text() == "a · b", "the texts that the model reads"


def test_what_the_model_does_not_read_has_no_field(qtbot, store: RecordedStore, recorded_run: RunDir) -> None:
    spec = read_json(recorded_run.spec_file) | {"task": {"kind": "embeddings"}}
    spec["columns"] = {"text": "text", "text_2": "other", "label": "label"}
    write_json(recorded_run.spec_file, spec)
    add_model(recorded_run)
    panel = EvaluatePanel(store)
    qtbot.addWidget(panel)
    panel.show()
    qtbot.waitUntil(lambda: list(panel.try_it.more) == ["text_2"])
    assert "head" not in panel.try_it.note.text(), "sentence encoders have none"


def test_a_part_that_was_not_measured_offers_to_measure_it(panel: EvaluatePanel) -> None:
    panel.tabs.setCurrentWidget(panel.results)
    index = panel.results.part.findText("Validation part (not measured)")
    panel.results.part.setCurrentIndex(index)
    panel.results.part.activated.emit(index)
    assert panel.results.measure.isVisible() and not panel.results.rows.isVisible()


@pytest.mark.usefixtures("recorded_run")  # a run, but without a model
def test_without_a_trained_run_the_way_to_one_is_shown(qtbot, store: Store) -> None:
    panel = EvaluatePanel(store)
    qtbot.addWidget(panel)
    panel.show()
    way = panel.findChild(QPushButton, "evaluate.train")
    qtbot.waitUntil(way.isVisible)
    with qtbot.waitSignal(store.page_requested) as asked:
        way.click()
    assert asked.args == ["train"]


def block_of(label: str) -> dict:
    text = SpanText(text="Ada lives in Bern", predicted=[Span(start=0, end=3, label=label)])
    return SpanTexts(texts=[text]).model_dump(mode="json")


def test_a_row_is_tried_in_the_shape_of_its_task(qtbot, store: RecordedStore, recorded_run: RunDir) -> None:
    spec = read_json(recorded_run.spec_file)
    spec["columns"] |= {"text_pair": "other"}
    write_json(recorded_run.spec_file, spec)
    add_model(recorded_run)
    panel = EvaluatePanel(store)
    qtbot.addWidget(panel)
    panel.show()
    trial = panel.try_it
    qtbot.waitUntil(lambda: list(trial.more) == ["text_pair"])
    trial.try_row({"text": "A man sleeps.", "text_pair": "He is awake.", "label": "no", "unused": "x"})
    assert store.asked[-1].fields == {"text": "A man sleeps.", "text_pair": "He is awake."}
    seen = TokenTexts(texts=[TokenText(tokens=[Token(text="[CLS]", kind="special")])]).model_dump(mode="json")
    store.answer(probabilities={}, blocks={"before": [block_of("X")], "after": [block_of("PER")]}, seen=seen)
    drawn = [card.findChildren(SpanTextsView) for card in (trial.before, trial.after)]
    assert [len(views) for views in drawn] == [1, 1] and not trial.after.bars.isVisible()
    trial.sees.click()
    assert trial.findChildren(TokenTextsView), "the row as the model sees it"
    trial.try_row({"text": "A cat.", "label": ""})
    assert trial.more["text_pair"].toPlainText() == "", "a field of the former row does not stay"


def test_another_run_of_the_same_task_is_offered_to_compare(
    qtbot, store: RecordedStore, panel: EvaluatePanel, recorded_run: RunDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = []
    monkeypatch.setattr(store, "start_run", lambda spec: started.append(spec) or "")
    spec = parse_spec(read_json(recorded_run.spec_file))
    other, stranger = (create_run(store.workspace, each) for each in (spec, spec))
    for run in (other, stranger):
        add_model(run)
    value = read_json(stranger.spec_file)
    value["task"] |= {"problem_type": "regression"}
    write_json(stranger.spec_file, value)
    results = panel.results
    results.show_run(recorded_run.id)
    qtbot.waitUntil(lambda: results.against.count() > 1)
    assert [results.against.itemData(i) for i in range(1, results.against.count())] == [other.id]
    results.against.setCurrentIndex(1)
    results.against.activated.emit(1)
    assert (started[0].run, started[0].against) == (str(recorded_run.path), str(other.path))
    assert results.checkpoint.isHidden(), "a finished run has none"


def test_answers_to_a_file_are_shown_when_they_are_written(
    qtbot, store: RecordedStore, panel: EvaluatePanel, recorded_run: RunDir, tmp_path
) -> None:
    rows, out = tmp_path / "rows.csv", tmp_path / "answers.csv"
    rows.write_text("text\na\nb\n")
    out.write_text("text,predicted,p(good)\na,good,0.9\nb,bad,0.2\n")
    store.runs["job"] = RunState(id="job", kind="predict", state="running")
    store.predict = lambda run_id, data, path: "job"
    panel.file.predict(rows, out)
    store.runs["job"].state = "finished"
    store.run_changed.emit("job")
    qtbot.waitUntil(lambda: not panel.file.card.isHidden())
    assert panel.file.path.text() == str(out) and panel.file.counted.text() == "2 rows"
    assert panel.file.table.model.table.column_names == ["text", "predicted"], "one column a label would be too many"
    panel.file.predict(tmp_path / "gone.csv", out)  # is told as a notice, and nothing begins
    panel.file.show_run("another")
    assert panel.file.card.isHidden()


def test_predictions_are_saved_as_they_are(qtbot, panel: EvaluatePanel, tmp_path) -> None:
    from pyarrow import csv

    panel.results.rows.save_csv(str(tmp_path / "all.csv"))
    qtbot.waitUntil((tmp_path / "all.csv").is_file)
    qtbot.waitUntil(lambda: csv.read_csv(tmp_path / "all.csv").num_rows == len(ROWS))
    assert "p(good)" in csv.read_csv(tmp_path / "all.csv").column_names
