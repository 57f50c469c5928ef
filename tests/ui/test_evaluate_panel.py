import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QPushButton
from recorded_runs import ROWS, add_evaluation, add_model

from studio.core import events as ev
from studio.core.commands import Command, Explain
from studio.core.rundir import RunDir
from studio.core.state import RunState
from studio.ui.panels.evaluate import EvaluatePanel
from studio.ui.store import Store

ANSWERS = {"before": {"bad": 0.52, "good": 0.48}, "after": {"bad": 0.03, "good": 0.97}}


class RecordedStore(Store):
    """A store whose inspections answer from a record, when `answer` is called."""

    asked: list[Explain]

    def inspect(self, run_id: str = "", model: str = "", text: str = "", idle_seconds: float = 600) -> str:
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
