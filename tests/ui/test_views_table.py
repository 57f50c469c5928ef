"""The table of all heads: every number is the statistic's own, sorted rightly, and a row is a head."""

import csv
from dataclasses import replace

import numpy as np
import pytest
from looks import make_look, random_maps, written
from PySide6.QtCore import QItemSelectionModel, QPoint, Qt, QThreadPool
from PySide6.QtGui import QGuiApplication

from studio.ui.views.look import Measured, Statistics, measure
from studio.ui.views.selection import Selection
from studio.ui.views.table import TableView


@pytest.fixture
def look():
    return make_look(maps={state: random_maps(seed, 4, 6) for seed, state in enumerate(("before", "after"))})


@pytest.fixture
def view(qtbot, look):
    selection = Selection()
    view = TableView(selection)
    selection.changed.connect(view.show_selection)
    qtbot.addWidget(view)
    view.resize(760, 420)
    view.show()
    view.show_look(look)
    view.show_statistics(measure(look))
    qtbot.waitUntil(lambda: "Kind" in titles(view))
    return view


def titles(view):
    return [column.title for column in view.table.model.columns]


def cells(view, title):
    """Return a column as it stands on screen, from top to bottom."""
    model, at = view.table.model, titles(view).index(title)
    return [model.index(row, at).data() for row in range(model.rowCount())]


def shown_heads(view):
    pairs = zip(cells(view, "Layer"), cells(view, "Head"), strict=True)
    return [(int(layer) - 1, int(head) - 1) for layer, head in pairs]


def test_numbers_are_those_of_the_maps_and_sort_both_ways(view, look):
    after = look.maps["after"].astype(float)
    sink = after[..., 0].mean(axis=-1)
    assert cells(view, "On the first") == [f"{value:.3f}" for value in sink.ravel()]
    header = view.table.view.header
    header.sort_asked.emit(titles(view).index("On the first"))
    assert shown_heads(view) == [divmod(int(i), 6) for i in np.argsort(-sink.ravel(), kind="stable")]
    header.sort_asked.emit(titles(view).index("On the first"))
    assert shown_heads(view) == [divmod(int(i), 6) for i in np.argsort(sink.ravel(), kind="stable")]
    header.sort_asked.emit(titles(view).index("On the first"))
    assert shown_heads(view) == [divmod(i, 6) for i in range(24)]


def test_states_have_columns_of_their_own(view, look):
    own = {state: np.trace(maps, axis1=-2, axis2=-1).ravel() / 9 for state, maps in look.maps.items()}
    view.selection.show_state("both")
    assert cells(view, "On itself, before") == [f"{v:.3f}" for v in own["before"]]
    assert cells(view, "On itself, after") == [f"{v:.3f}" for v in own["after"]]
    view.selection.show_state("difference")
    expected = [f"{a - b:+.3f}".replace("-", "−") for a, b in zip(own["after"], own["before"], strict=True)]
    assert cells(view, "Δ On itself") == expected
    assert "Change" in titles(view)
    view.show_look(make_look(("after",), maps={"after": look.maps["after"]}))
    view.show_statistics(measure(view.look))
    assert "Change" not in titles(view)
    view.show_look(make_look(("after",)))
    view.show_statistics(measure(view.look))
    assert len(cells(view, "Entropy")) == 8


def test_a_row_chooses_its_head_and_the_chosen_heads_are_marked(view, qtbot):
    view.table.sort_by("Entropy", descending=False)
    table, heads = view.table.view, shown_heads(view)
    rect = table.visualRect(view.table.model.index(3, 2))
    qtbot.mouseClick(table.viewport(), Qt.MouseButton.LeftButton, pos=rect.center())
    assert view.selection.heads == (heads[3],)
    select = QItemSelectionModel.SelectionFlag.Select | QItemSelectionModel.SelectionFlag.Rows
    table.selectionModel().select(view.table.model.index(5, 0), select)
    assert view.selection.heads == (heads[3], heads[5])
    view.selection.choose_heads(((2, 1), (0, 4)))
    assert {heads[place] for place in table.selected_rows()} == {(2, 1), (0, 4)}
    assert heads[table.currentIndex().row()] == (2, 1)
    view.table.sort_by("Entropy", descending=True)
    assert view.selection.heads == ((2, 1), (0, 4))
    assert {shown_heads(view)[place] for place in table.selected_rows()} == {(2, 1), (0, 4)}


def test_what_views_measured_stands_beside_with_what_is_not_known_last(view):
    values = np.arange(24, dtype=float).reshape(4, 6) / 10
    values[1, 1] = np.nan
    was = view.statistics
    view.show_statistics(Statistics(was.by_state, was.change, {"importance": Measured("Importance", values)}))
    assert cells(view, "Importance")[:2] == ["0.000", "0.100"]
    for descending in (True, False):
        view.table.sort_by("Importance", descending)
        assert shown_heads(view)[-1] == (1, 1) and cells(view, "Importance")[-1] == "–"


def test_sorting_by_kind_lets_the_grid_be_ordered_so(view, qtbot):
    with qtbot.waitSignal(view.measured) as told:
        view.table.sort_by("Kind", descending=False)
    name, _, values, lowest_first = told.args
    assert name == "kind" and values.shape == (4, 6) and lowest_first
    kinds = [int(text.split(" · ")[0]) for text in cells(view, "Kind")]
    assert kinds == sorted(kinds) and kinds == [int(values[head]) + 1 for head in shown_heads(view)]


def test_kinds_of_a_former_look_are_not_those_of_this_one(view, look, qtbot):
    view.show_statistics(replace(view.statistics, by_state=dict(view.statistics.by_state)))
    view.show_look(replace(look, text="another"))
    QThreadPool.globalInstance().waitForDone()
    qtbot.wait(20)
    assert "Kind" not in titles(view)


def test_rows_copy_as_text_and_the_table_reads_back(view, look, tmp_path, qtbot):
    view.table.sort_by("Change")
    view.table.choose([7, 2])
    qtbot.keyClick(view.table.view, Qt.Key.Key_C, Qt.KeyboardModifier.ControlModifier)
    lines = [line.split("\t") for line in QGuiApplication.clipboard().text().split("\n")]
    assert lines[0] == titles(view) and len(lines) == 3
    assert {(int(line[0]), int(line[1])) for line in lines[1:]} == {(2, 2), (1, 3)}
    assert written(view, "csv", tmp_path / "heads.csv") == [tmp_path / "heads.csv"]
    with open(tmp_path / "heads.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(int(row["Layer"]) - 1, int(row["Head"]) - 1) for row in rows] == shown_heads(view)
    for row in rows:
        at = int(row["Layer"]) - 1, int(row["Head"]) - 1
        assert float(row["Change"]) == float(view.statistics.change[at])
        assert float(row["Entropy"]) == float(view.statistics.by_state["after"]["entropy"][at])
        assert (row["Model"], row["Text"]) == ("a model", view.look.text) and "after" in row["Numbers"]
    view.look = replace(view.look, checks={"after": {"verified": False}})
    (path,) = written(view, "csv", tmp_path / "heads.csv")
    assert path.read_text("utf-8").startswith("NOT VERIFIED")


def test_the_names_of_columns_tell_what_they_mean(view):
    at = titles(view).index("Entropy")
    tip = view.table.model.headerData(at, Qt.Orientation.Horizontal, Qt.ItemDataRole.ToolTipRole)
    assert "nats" in tip
    assert view.table.view.header.logicalIndexAt(QPoint(5, 5)) == 0
