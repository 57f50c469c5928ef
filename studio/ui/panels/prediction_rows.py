"""The rows behind an evaluation: searched, filtered by a cell of the confusion matrix, the worst first."""

from collections.abc import Mapping
from typing import Any

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QWidget

from studio.ui import words
from studio.ui.i18n import tr
from studio.ui.widgets.buttons import SearchField, flat_button
from studio.ui.widgets.cards import Card
from studio.ui.widgets.labels import Small
from studio.ui.widgets.table import DataTable

# The columns of a predictions file that are shown, and what they are called here; one column a label is too many.
COLUMNS = {
    "text": "Text", "label": "Label", "predicted": "Predicted", "probability": "Probability", "loss": "Loss",
    "row": "Row",
}  # fmt: skip


def shown_columns(predictions: Any) -> Any:
    """Return the columns of a predictions table (pyarrow.Table) that a person reads, in reading order."""
    names = [name for name in COLUMNS if name in predictions.column_names]
    return predictions.select(names)


def matching_rows(table: Any, equals: Mapping[str, str], text: str) -> list[int]:
    """Return the places of the rows whose columns equal `equals` and whose text, label or prediction holds `text`."""
    import pyarrow as pa
    import pyarrow.compute as pc

    keep = pa.array([True] * table.num_rows)
    for column, value in equals.items():
        keep = pc.and_(keep, pc.equal(table[column].combine_chunks(), pa.scalar(value)))
    if text.strip():
        found = pa.array([False] * table.num_rows)
        for column in ("text", "label", "predicted"):
            if column in table.column_names:
                hit = pc.match_substring(table[column].combine_chunks(), text.strip(), ignore_case=True)
                found = pc.or_(found, hit)
        keep = pc.and_(keep, found)
    return pc.indices_nonzero(keep).to_pylist()


class PredictionRows(Card):
    """text_chosen: text and label of a row that was clicked."""

    text_chosen = Signal(str, str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(tr("Rows, highest loss first"), parent)
        self._table: Any = None
        self._equals: dict[str, str] = {}
        self.count = Small()
        self.count.setWordWrap(False)
        self.add_to_header(self.count)
        self.filter = flat_button("", "evaluate.clear", "close")
        self.filter.setToolTip(tr("Show all rows again"))
        self.filter.clicked.connect(lambda: self.filter_by({}))
        self.add(self.filter)
        self.search = SearchField(tr("Search in texts and labels"))
        self.search.searched.connect(lambda _: self._apply())
        self.add(self.search)
        self.table = DataTable()
        self.table.row_activated.connect(self._choose)
        self.add(self.table, 1)
        self.add(Small(tr("Click a cell of the matrix to see its rows; click a row to try its text.")))
        self._show_filter()

    def show_predictions(self, predictions: Any) -> None:
        """Show predictions (pyarrow.Table with text, label, predicted, probability, loss), or None."""
        self._equals = {}
        self._table = shown_columns(predictions) if predictions is not None else None
        self.setVisible(self._table is not None)
        if self._table is not None:
            self.table.set_table(self._table)
        self._apply()

    def filter_by(self, equals: Mapping[str, str]) -> None:
        """Show only the rows whose columns have these values; {} shows all."""
        self._equals = dict(equals)
        self._apply()

    def shown(self) -> list[int]:
        """Return the places of the rows that match the filter and the search."""
        return matching_rows(self._table, self._equals, self.search.text()) if self._table is not None else []

    def _apply(self) -> None:
        self._show_filter()
        if self._table is None:
            return
        rows, n_all = self.shown(), self._table.num_rows
        if len(rows) < n_all:
            self.table.filter_rows(rows)
        else:
            self.table.clear_filter()
        shown, total = words.count(len(rows)), words.count(n_all)
        self.count.setText(
            tr("{n} of {total} rows", n=shown, total=total) if len(rows) < n_all else tr("{n} rows", n=total)
        )

    def _show_filter(self) -> None:
        said = [tr("{column} is {value}", column=tr(COLUMNS.get(c, c)), value=v) for c, v in self._equals.items()]
        self.filter.setText("  ·  ".join(said))
        self.filter.setVisible(bool(said))

    def _choose(self, row: int) -> None:
        values = self._table.slice(row, 1).to_pylist()[0]
        self.text_chosen.emit(values["text"], values.get("label") or "")
