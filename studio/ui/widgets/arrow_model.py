"""An Arrow table as a Qt model that reads only the rows in sight."""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from PySide6.QtCore import QAbstractTableModel, QModelIndex, Qt

from studio.ui.widgets.json_cells import json_line, spread_json

CHUNK_ROWS, MOST_CHUNKS = 256, 32
SHOWN_CHARACTERS, HOVER_CHARACTERS = 300, 2000


@dataclass(frozen=True)
class RowChoice:
    """Which rows of a table are shown, and in which order.

    text: rows with a cell that contains it, whatever the case. equals: column → value. rows: places in the table,
    whose order is kept. sort: column and whether it goes down.
    """

    text: str = ""
    equals: tuple[tuple[str, Any], ...] = ()
    rows: Any = None
    sort: tuple[str, bool] | None = None

    def places(self, table: pa.Table) -> np.ndarray | None:
        """Return the places of the chosen rows in the table, int64 [n], or None for all as they stand."""
        kept = None if self.rows is None else np.asarray(self.rows, dtype=np.int64)
        if self.text or self.equals:
            mask = self._mask(table)
            kept = np.flatnonzero(mask) if kept is None else kept[mask[kept]]
        if self.sort is not None:
            column, descending = self.sort
            order = "descending" if descending else "ascending"
            sorted_places = pc.sort_indices(_sortable(table[column]), sort_keys=[("", order)]).to_numpy()
            if kept is not None:
                chosen = np.zeros(table.num_rows, dtype=bool)
                chosen[kept] = True
                sorted_places = sorted_places[chosen[sorted_places]]
            kept = sorted_places.astype(np.int64)
        return kept

    def _mask(self, table: pa.Table) -> np.ndarray:
        mask = np.ones(table.num_rows, dtype=bool)
        for column, value in self.equals:
            same = pc.equal(_as_text(table[column]), str(value)) if value is not None else pc.is_null(table[column])
            mask &= _numpy(same)
        if self.text:
            found = np.zeros(table.num_rows, dtype=bool)
            for column in table.columns:
                texts = _as_text(column)
                if texts is not None:
                    found |= _numpy(pc.match_substring(texts, self.text, ignore_case=True))
            mask &= found
        return mask


class ArrowModel(QAbstractTableModel):
    """Shows a pyarrow.Table, however long, by slices that are read as they come into sight.

    `Qt.UserRole` is the value itself, the display a line of at most 300 characters, the tool tip the long text.
    """

    def __init__(self, table: pa.Table | None = None, parent: Any = None) -> None:
        super().__init__(parent)
        self._chunks: OrderedDict[int, list[list[Any]]] = OrderedDict()
        self.n_slices_read = 0
        self.set_table(table if table is not None else pa.table({}))

    def set_table(self, table: pa.Table) -> None:
        """Show another table, all its rows."""
        self.beginResetModel()
        self.table, self._places = table, None
        self._chunks.clear()
        self._numeric = [pa.types.is_integer(t) or pa.types.is_floating(t) for t in table.schema.types]
        self.endResetModel()

    def show_places(self, places: np.ndarray | None) -> None:
        """Show these rows of the table (see `RowChoice.places`), None for all."""
        self.beginResetModel()
        self._places = places
        self._chunks.clear()
        self.endResetModel()

    def row_in_table(self, row: int) -> int:
        """Return the place in the table of a shown row."""
        return row if self._places is None else int(self._places[row])

    def value(self, row: int, column: int) -> Any:
        """Return the value of a shown cell as Python has it."""
        number, offset = divmod(row, CHUNK_ROWS)
        chunk = self._chunks.get(number)
        if chunk is None:
            chunk = self._chunks[number] = self._read(number * CHUNK_ROWS)
            if len(self._chunks) > MOST_CHUNKS:
                self._chunks.popitem(last=False)
        else:
            self._chunks.move_to_end(number)
        return chunk[column][offset]

    def rowCount(self, parent: QModelIndex | None = None) -> int:
        if parent is not None and parent.isValid():
            return 0
        return self.table.num_rows if self._places is None else len(self._places)

    def columnCount(self, parent: QModelIndex | None = None) -> int:
        return 0 if parent is not None and parent.isValid() else self.table.num_columns

    def headerData(self, section: int, orientation: Qt.Orientation, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        if role == Qt.ItemDataRole.TextAlignmentRole and orientation == Qt.Orientation.Horizontal:
            return int(Qt.AlignmentFlag.AlignRight) if self._numeric[section] else None
        if role != Qt.ItemDataRole.DisplayRole:
            return None
        if orientation == Qt.Orientation.Horizontal:
            return self.table.column_names[section]
        return f"{self.row_in_table(section) + 1:,}"

    def data(self, index: QModelIndex, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        if role == Qt.ItemDataRole.TextAlignmentRole and self._numeric[index.column()]:
            return int(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        if role == Qt.ItemDataRole.DisplayRole:
            text = json_line(cell_text(self.value(index.row(), index.column())))
            return " ".join(text[:SHOWN_CHARACTERS].split()) if len(text) > 1 else text
        if role == Qt.ItemDataRole.ToolTipRole:
            text = spread_json(cell_text(self.value(index.row(), index.column())))
            return text[:HOVER_CHARACTERS] + ("…" if len(text) > HOVER_CHARACTERS else "") if len(text) > 24 else None
        if role == Qt.ItemDataRole.UserRole:
            return self.value(index.row(), index.column())
        return None

    def _read(self, start: int) -> list[list[Any]]:
        self.n_slices_read += 1
        if self._places is None:
            part = self.table.slice(start, CHUNK_ROWS)
        else:
            part = self.table.take(pa.array(self._places[start : start + CHUNK_ROWS]))
        return [column.to_pylist() for column in part.columns]


def cell_text(value: Any) -> str:
    """Return a value as a cell shows it; nothing is a dash."""
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, bytes):
        return f"{len(value):,} B"
    return value if isinstance(value, str) else str(value)


def _as_text(column: pa.ChunkedArray) -> pa.ChunkedArray | None:
    """Return a column as text for comparing, None where Arrow can't."""
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        return column
    try:
        return column.cast(pa.string())
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return None


def _sortable(column: pa.ChunkedArray) -> pa.ChunkedArray:
    return column.cast(column.type.value_type) if pa.types.is_dictionary(column.type) else column


def _numpy(mask: Sequence[bool] | pa.ChunkedArray) -> np.ndarray:
    return pc.fill_null(mask, False).to_numpy()
