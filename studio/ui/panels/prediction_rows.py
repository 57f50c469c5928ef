"""The rows behind an evaluation: searched, filtered by a cell of the confusion matrix, the worst first."""

import unicodedata
from collections.abc import Mapping
from typing import Any

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QFileDialog, QHBoxLayout, QPushButton, QWidget

from studio.sources.tables import unique_names
from studio.ui import words
from studio.ui.i18n import tr
from studio.ui.theme import GRID
from studio.ui.threads import background
from studio.ui.widgets.buttons import SearchField, flat_button, quiet_button
from studio.ui.widgets.cards import Card
from studio.ui.widgets.labels import Body, Small
from studio.ui.widgets.table import DataTable

# Titles of the columns of a predictions file; others keep their own name.
COLUMNS = {"loss": "Loss", "label": "Label", "predicted": "Predicted", "probability": "Prob.",
           "hidden": "Hidden"}  # fmt: skip
_HIDDEN = ("row", "right")
MOST_WIDE = 240  # characters of a row that are shown in full, Chinese ones counted as two


def shown_titles(predictions: Any, titles: Mapping[str, str]) -> dict[str, str]:
    """Return the columns of predictions (pyarrow.Table) that a person reads, each with its title.

    One column a label would be too many, and texts that are all empty say nothing.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    names = [n for n in predictions.column_names if n not in _HIDDEN and not n.startswith("p(")]
    names = [n for n in names if predictions[n].type != pa.string() or pc.any(pc.not_equal(predictions[n], "")).as_py()]
    names.sort(key=lambda name: name != "loss")
    return dict(zip(names, unique_names([titles.get(name, name) for name in names]), strict=True))


def shown_columns(predictions: Any, titles: Mapping[str, str]) -> Any:
    """Return columns of predictions (pyarrow.Table) under their titles, numbers to four decimals."""
    import pyarrow as pa
    import pyarrow.compute as pc

    found = [predictions[name] for name in titles]
    found = [pc.round(column, 4) if pa.types.is_floating(column.type) else column for column in found]
    return type(predictions).from_arrays(found, names=list(titles.values()))


def mistakes(predictions: Any) -> list[int]:
    """Return the places of the rows whose prediction is not right."""
    import pyarrow.compute as pc

    names = predictions.column_names
    if "right" in names:
        wrong = pc.invert(predictions["right"])
    else:  # as files of former versions tell it
        wrong = pc.not_equal(predictions["label"], predictions["predicted"])
    return pc.indices_nonzero(wrong).to_pylist()


def has_mistakes(predictions: Any) -> bool:
    """Return whether a prediction is right or not, and not only nearer or farther."""
    names = predictions.column_names
    return "right" in names or str(predictions["predicted"].type) == "string"


class PredictionRows(Card):
    """row_chosen: texts of a row that the person wants to try, by column, and its `label`."""

    row_chosen = Signal(dict)
    failed = Signal(object)  # the exception of a file that could not be written

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(tr("Rows, highest loss first"), parent)
        self._predictions: Any = None
        self._titles: dict[str, str] = {}  # of the shown columns, by name
        self._texts: set[str] = set()  # the columns that are shown in full
        self._chosen: dict[str, str] = {}
        self.count = Small()
        self.count.setWordWrap(False)
        self.add_to_header(self.count)
        self.save = flat_button(tr("Save…"), "evaluate.save", "save")
        self.save.setToolTip(tr("Save all rows with what the model said, as CSV"))
        self.save.clicked.connect(self._ask_save)
        self.add_to_header(self.save)
        tools = QHBoxLayout()
        tools.setSpacing(GRID)
        self.search = SearchField(tr("Search in all columns"))
        self.only_mistakes = QPushButton(tr("Mistakes only"))
        self.only_mistakes.setObjectName("evaluate.mistakes")
        self.only_mistakes.setCheckable(True)
        self.only_mistakes.setProperty("toggle", True)
        self.filter = flat_button("", "evaluate.clear", "close")
        self.filter.setToolTip(tr("Show all rows again"))
        tools.addWidget(self.search, 1)
        tools.addWidget(self.filter)
        tools.addWidget(self.only_mistakes)
        self.body.addLayout(tools)
        self.table = DataTable()
        self.add(self.table, 1)
        self.add(self._make_detail())
        self.search.searched.connect(self.table.set_filter)
        self.only_mistakes.toggled.connect(lambda _: self._choose_rows())
        self.table.rows_counted.connect(self._show_count)
        self.table.selection_changed.connect(self._show_row)
        self.table.row_activated.connect(self._try)
        self._show_row([])
        self._show_filter({})

    def _make_detail(self) -> QWidget:
        detail = QWidget()
        row = QHBoxLayout(detail)
        row.setContentsMargins(0, 4, 0, 0)
        row.setSpacing(GRID * 2)
        self.text = Body()
        self.text.setTextFormat(Qt.TextFormat.PlainText)
        self.text.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.try_button = quiet_button(tr("Try this row"), "evaluate.row", "arrow-right")
        self.try_button.clicked.connect(lambda: self.row_chosen.emit(self._chosen))
        row.addWidget(self.text, 1)
        row.addWidget(self.try_button)
        return detail

    def show_predictions(self, predictions: Any, titles: Mapping[str, str] | None = None) -> None:
        """Show predictions (pyarrow.Table with texts, label, predicted, loss and more), or nothing with None.

        titles: of the texts, by column.
        """
        self._predictions = predictions
        self._texts = set(titles or ("text", "text_pair"))
        said = {name: tr(title) for name, title in (COLUMNS | dict(titles or {})).items()}
        self._titles = shown_titles(predictions, said) if predictions is not None else {}
        self.setVisible(predictions is not None)
        self._show_filter({})
        self._show_row([])
        if predictions is not None:
            self.only_mistakes.setVisible(has_mistakes(predictions))
            self.table.set_table(shown_columns(predictions, self._titles))
            self.table.set_filter(self.search.text())
            self._choose_rows()

    def _ask_save(self) -> None:
        path, _ = QFileDialog.getSaveFileName(self, tr("Save the rows"), "predictions.csv", "CSV (*.csv)")
        if path:
            self.save_csv(path)

    def save_csv(self, path: str) -> None:
        """Write the predictions, with one column a label, as CSV; what goes wrong is told as a failure."""
        from pyarrow import csv

        table = self._predictions
        background(lambda: csv.write_csv(table, path), lambda _: None, self.failed.emit, self, key="save")

    def filter_by(self, equals: Mapping[str, str]) -> None:
        """Show only the rows whose columns (`label`, `predicted` …) have these values; {} shows all."""
        if self._predictions is None:
            return
        self._show_filter(equals)
        self.table.filter_equals({self._titles.get(name, name): value for name, value in equals.items()})

    def _choose_rows(self) -> None:
        if self._predictions is not None:
            every = list(range(self._predictions.num_rows))
            self.table.filter_rows(
                mistakes(self._predictions)
                if self.only_mistakes.isChecked() and not self.only_mistakes.isHidden()
                else every
            )

    def _show_count(self, shown: int, n_all: int) -> None:
        total = words.count(n_all)
        self.count.setText(
            tr("{n} rows", n=total) if shown == n_all else tr("{n} of {total} rows", n=words.count(shown), total=total)
        )

    def _show_filter(self, equals: Mapping[str, str]) -> None:
        said = [tr("{column} {value}", column=self._titles.get(c, c), value=v) for c, v in equals.items()]
        self.filter.setText(" · ".join(said))
        self.filter.setVisible(bool(said))

    def _show_row(self, places: list[int]) -> None:
        self.try_button.setEnabled(len(places) == 1)
        if len(places) != 1:
            self.text.setText(tr("Click in a picture on the left to see its rows, and a row to read it in full."))
            return
        values = self._predictions.slice(places[0], 1).to_pylist()[0]
        self._chosen = {name: value for name, value in values.items() if isinstance(value, str)}
        text = " ".join(" · ".join(v for n, v in self._chosen.items() if v and n in self._texts).split())
        self.text.setText(_cut(text))

    def _try(self, place: int) -> None:
        self._show_row([place])
        self.row_chosen.emit(self._chosen)


def _cut(text: str) -> str:
    room = MOST_WIDE
    for at, character in enumerate(text):
        room -= 2 if unicodedata.east_asian_width(character) in "WF" else 1
        if room < 0:
            return text[:at] + "…"
    return text
