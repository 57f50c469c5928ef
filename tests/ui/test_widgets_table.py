"""Tables: a million rows without reading them, filters that are right, roles, what is copied."""

import numpy as np
import pyarrow as pa
import pytest
from PySide6.QtCore import Qt
from PySide6.QtGui import QGuiApplication
from pytestqt.qtbot import QtBot

from studio.ui.widgets.arrow_model import CHUNK_ROWS, ArrowModel, RowChoice
from studio.ui.widgets.cells import CellRole
from studio.ui.widgets.rows import Column, RowsTable
from studio.ui.widgets.table import DataTable

CHOICES = [("text", "Text"), ("label", "Label"), ("ignore", "Ignore")]


@pytest.fixture
def reviews() -> pa.Table:
    return pa.table(
        {
            "text": pa.chunked_array([["A fine film", "无聊的电影"], ["فيلم رائع", None, "two\nlines\tand tabs"]]),
            "label": pa.array(["pos", "neg", "pos", "neg", None]).dictionary_encode(),
            "score": [0.5, 0.25, 0.125, 1.0, None],
        }
    )


def test_a_million_rows_scroll_by_slices(qtbot: QtBot) -> None:
    model = ArrowModel(pa.table({"n": np.arange(1_000_000), "half": np.arange(1_000_000) / 2}))
    assert model.rowCount() == 1_000_000 and model.n_slices_read == 0
    for row in (0, 1, CHUNK_ROWS - 1, 700_001, 999_999):
        assert model.index(row, 0).data() == str(row)
        assert model.index(row, 1).data(Qt.ItemDataRole.UserRole) == row / 2
    assert model.n_slices_read == 3
    model.show_places(np.arange(999_999, -1, -1))
    assert model.index(2, 0).data() == "999997" and model.row_in_table(2) == 999_997


@pytest.mark.parametrize(
    ("choice", "places"),
    [
        (RowChoice(text="FILM"), [0]),
        (RowChoice(text="电影"), [1]),
        (RowChoice(text="pos"), [0, 2]),
        (RowChoice(text="0.125"), [2]),
        (RowChoice(equals=(("label", "neg"),)), [1, 3]),
        (RowChoice(equals=(("label", None),)), [4]),
        (RowChoice(rows=[3, 0, 2]), [3, 0, 2]),
        (RowChoice(rows=[3, 0, 2], equals=(("label", "pos"),)), [0, 2]),
        (RowChoice(sort=("score", True)), [3, 0, 1, 2, 4]),
        (RowChoice(text="neg", sort=("score", False)), [1, 3]),
        (RowChoice(text="[.*"), []),
    ],
)
def test_the_chosen_rows_are_the_right_ones(reviews: pa.Table, choice: RowChoice, places: list[int]) -> None:
    assert choice.places(reviews).tolist() == places


def test_a_long_table_is_searched_without_waiting(qtbot: QtBot) -> None:
    table = DataTable()
    qtbot.addWidget(table)
    table.set_table(pa.table({"text": [f"row {n}" for n in range(30_000)]}))
    counts = []
    table.rows_counted.connect(lambda *n: counts.append(n))
    table.set_filter("row 1")
    table.set_filter("row 29999")
    assert not counts, "the search runs in the background"
    qtbot.waitUntil(lambda: bool(counts))
    assert counts == [(1, 30_000)], "an overtaken search says nothing"
    assert table.model.row_in_table(0) == 29_999


def test_roles_are_shown_and_chosen_in_the_header(reviews: pa.Table, qtbot: QtBot) -> None:
    table = DataTable()
    qtbot.addWidget(table)
    table.resize(700, 300)
    table.set_table(reviews)
    table.set_roles(CHOICES, {"text": "text", "label": "label"})
    table.show()
    header = table.view.header
    assert [header.role_of(column)[1] for column in range(3)] == ["Text", "Label", "Ignore"]
    menu = header.open_menu(2)
    assert [a.text() for a in menu.actions() if a.isChecked()] == ["Ignore"]
    with qtbot.waitSignal(table.role_chosen) as chosen:
        menu.actions()[1].trigger()
    assert chosen.args == ["score", "label"]
    menu.close()
    assert table.view.header.sizeHint().height() > 40


def test_rows_are_copied_as_text(reviews: pa.Table, qtbot: QtBot) -> None:
    table = DataTable()
    qtbot.addWidget(table)
    table.set_table(reviews)
    table.view.selectRow(4)
    qtbot.keyClick(table.view, Qt.Key.Key_C, Qt.KeyboardModifier.ControlModifier)
    assert QGuiApplication.clipboard().text() == "text\tlabel\tscore\ntwo lines and tabs\t–\t–"
    table.view.setCurrentIndex(table.model.index(4, 0))
    preview = table.view.preview()
    assert preview is not None
    preview.close()


def test_cells_of_json_are_read_without_its_marks(qtbot: QtBot) -> None:
    spans = '[{"start": 0, "label": "é"}, {"start": 4, "label": null}]'
    cells = [spans, '{"text": [], "n": 1}', "[]", "[UNK] {", "{torn"]
    model = ArrowModel(pa.table({"json": cells}))
    shown = [model.index(row, 0).data() for row in range(len(cells))]
    assert shown == ["start: 0, label: é · start: 4, label: null", "text: –, n: 1", "–", "[UNK] {", "{torn"]
    assert model.index(0, 0).data(Qt.ItemDataRole.UserRole) == cells[0]
    assert '"label": "é"\n' in model.index(0, 0).data(Qt.ItemDataRole.ToolTipRole)


def test_wide_columns_share_what_lacks(qtbot: QtBot) -> None:
    table = DataTable()
    qtbot.addWidget(table)
    table.resize(800, 300)
    table.set_table(pa.table({"short": ["a"], **{name: ["long " * 60] for name in ("one", "two", "three")}}))
    table.show()
    widths = [table.view.columnWidth(column) for column in range(4)]
    assert widths[0] == 88 and max(widths[1:]) - min(widths[1:]) <= 1 and sum(widths) <= table.view.viewport().width()
    table.resize(400, 300)
    assert [table.view.columnWidth(column) for column in range(1, 4)] == [140] * 3, "no narrower than can be read"


def test_plain_rows_sort_with_nothing_last_and_stay_chosen(qtbot: QtBot) -> None:
    table = RowsTable([Column("name", "Name"), Column("score", "Score", "number"), Column("state", "State", "state")])
    qtbot.addWidget(table)
    rows = [
        {"id": 1, "name": "b", "score": 0.5, "state": "running"}, {"id": 2, "name": "A", "score": None},
        {"id": 3, "name": "c", "score": 0.9}, {"id": 4, "name": "d", "score": float("nan")},
    ]  # fmt: skip
    table.set_rows(rows)
    table.select_ids([3])
    told = []
    table.selection_changed.connect(lambda: told.append(1))
    table.sort_rows(1, descending=True)
    assert [row["id"] for row in table.model.rows] == [3, 1, 2, 4]
    table.set_rows([*reversed(rows), {"id": 5, "name": "e", "score": 1.0}])
    assert [row["id"] for row in table.selected()] == [3] and not told
    assert table.row(1)["name"] == "b" and table.row(9) is None
    table.sort_rows(0)
    assert [row["name"] for row in table.model.rows] == ["A", "b", "c", "d", "e"]
    assert table.model.index(1, 2).data(CellRole.KIND) == "state"
    table.set_rows([rows[0]])
    assert told == [1], "a chosen row that is gone is told once"
    with qtbot.waitSignal(table.activated) as activated:
        table.view.setCurrentIndex(table.model.index(0, 0))
        qtbot.keyClick(table.view, Qt.Key.Key_Return)
    assert activated.args[0]["id"] == 1
