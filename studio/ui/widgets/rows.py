"""A table of plain rows (runs, predictions, checks) in the look of the data table, sortable by its header."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from PySide6.QtCore import QAbstractTableModel, QItemSelection, QItemSelectionModel, QModelIndex, Qt, Signal
from PySide6.QtWidgets import QVBoxLayout, QWidget

from studio.ui import words
from studio.ui.widgets.cells import CellRole
from studio.ui.widgets.table_view import TableView


@dataclass(frozen=True)
class Column:
    """One column: the key in a row, the shown title, the kind of its cells, and how a value is said.

    kind: text, number (right-aligned), time, state (a run's chip), spark (a list of numbers) or share (0 to 1, with a
    bar). width: in pixels, 0 for that of its cells.
    """

    key: str
    title: str
    kind: str = "text"
    format: Callable[[Any], str] | None = None
    width: int = 0

    def text(self, value: Any) -> str:
        """Return a value in words."""
        if self.kind == "spark":
            return ""
        if self.format is not None:
            return self.format(value)
        if value is None:
            return ""
        if self.kind == "share":
            return words.percent(value, 1)
        return words.number(value) if isinstance(value, float) else str(value)


class RowsModel(QAbstractTableModel):
    """Rows as mappings, one column a `Column`; `Qt.UserRole` is the value itself."""

    def __init__(self, columns: Sequence[Column], parent: Any = None) -> None:
        super().__init__(parent)
        self.columns, self.rows = list(columns), []
        self.sorted_by: tuple[int, bool] | None = None
        self._unsorted: list[Mapping[str, Any]] = []

    def set_rows(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Show other rows, sorted as before."""
        self.beginResetModel()
        self._unsorted = list(rows)
        self._arrange()
        self.endResetModel()

    def sort_rows(self, column: int, descending: bool) -> None:
        """Sort by a column, -1 for the order in which the rows came; nothing and NaN come last."""
        self.beginResetModel()
        self.sorted_by = (column, descending) if column >= 0 else None
        self._arrange()
        self.endResetModel()

    def rowCount(self, parent: QModelIndex | None = None) -> int:
        return 0 if parent is not None and parent.isValid() else len(self.rows)

    def columnCount(self, parent: QModelIndex | None = None) -> int:
        return 0 if parent is not None and parent.isValid() else len(self.columns)

    def headerData(self, section: int, orientation: Qt.Orientation, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        if role == Qt.ItemDataRole.DisplayRole:
            return self.columns[section].title if orientation == Qt.Orientation.Horizontal else section + 1
        if role == Qt.ItemDataRole.TextAlignmentRole and orientation == Qt.Orientation.Horizontal:
            return int(self._alignment(section))
        return None

    def data(self, index: QModelIndex, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        column = self.columns[index.column()]
        value = self.rows[index.row()].get(column.key)
        if role == Qt.ItemDataRole.DisplayRole:
            return "" if column.kind == "state" else " ".join(column.text(value).split())
        if role == Qt.ItemDataRole.AccessibleTextRole:
            return column.text(value)
        if role == Qt.ItemDataRole.UserRole:
            return value
        if role == CellRole.KIND:
            return column.kind
        if role == Qt.ItemDataRole.TextAlignmentRole:
            return int(self._alignment(index.column()) | Qt.AlignmentFlag.AlignVCenter)
        if role == Qt.ItemDataRole.ToolTipRole and value is not None and column.kind not in ("spark", "state"):
            return repr(value) if isinstance(value, float) else column.text(value)
        return None

    def _alignment(self, column: int) -> Qt.AlignmentFlag:
        right = self.columns[column].kind in ("number", "share")
        return Qt.AlignmentFlag.AlignRight if right else Qt.AlignmentFlag.AlignLeft

    def _arrange(self) -> None:
        self.rows = list(self._unsorted)
        if self.sorted_by is not None:
            key, descending = self.columns[self.sorted_by[0]].key, self.sorted_by[1]
            empty = [row for row in self.rows if _is_empty(row.get(key))]
            known = [row for row in self.rows if not _is_empty(row.get(key))]
            try:
                known.sort(key=lambda row: _comparable(row[key]), reverse=descending)
            except TypeError:  # numbers and texts in one column
                known.sort(key=lambda row: str(row[key]), reverse=descending)
            self.rows = known + empty


class RowsTable(QWidget):
    """A table of plain rows that keeps what is chosen by `id_key` when the rows are renewed.

    activated: the row (a mapping) on Enter or a double click. selection_changed: after any change of what is chosen.
    """

    activated = Signal(object)
    selection_changed = Signal()

    def __init__(self, columns: Sequence[Column], id_key: str = "id", parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._id_key, self._keeping = id_key, False
        self.model, self.view = RowsModel(columns, self), TableView()
        self.view.widths = {at: column.width or _LEAST.get(column.kind, 0) for at, column in enumerate(columns)}
        self.view.setModel(self.model)
        self.view.header.sort_asked.connect(self._sort_next)
        self.view.row_chosen.connect(lambda row: self.activated.emit(self.model.rows[row]))
        self.view.selectionModel().selectionChanged.connect(self._tell)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.view)
        self.setFocusProxy(self.view)

    def setAccessibleName(self, name: str) -> None:
        super().setAccessibleName(name)
        self.view.setAccessibleName(name)

    def set_rows(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Show other rows; those chosen before stay chosen, and the view stays where it was."""
        first = not self.model.rows
        self._renew(lambda: self.model.set_rows(rows))
        if first:
            self.view.fit_columns()

    def row(self, row_id: Any) -> Mapping[str, Any] | None:
        """Return the row with this id, or None."""
        return next((row for row in self.model.rows if row.get(self._id_key) == row_id), None)

    def selected(self) -> list[Mapping[str, Any]]:
        """Return the chosen rows, from the top."""
        return [self.model.rows[row] for row in self.view.selected_rows()]

    def select_ids(self, ids: Sequence[Any]) -> None:
        """Choose the rows with these ids."""
        wanted, model, selection = set(ids), self.model, QItemSelection()
        for at, row in enumerate(model.rows):
            if row.get(self._id_key) in wanted:
                selection.select(model.index(at, 0), model.index(at, model.columnCount() - 1))
        self.view.selectionModel().select(selection, QItemSelectionModel.SelectionFlag.ClearAndSelect)

    def sort_rows(self, column: int, descending: bool = False) -> None:
        """Sort by a column, -1 for the order in which the rows came."""
        self.view.header.set_sort(column, descending)
        self._renew(lambda: self.model.sort_rows(column, descending))

    def _renew(self, change: Callable[[], None]) -> None:
        view = self.view
        chosen, here = [row.get(self._id_key) for row in self.selected()], view.currentIndex()
        current_id = self.model.rows[here.row()].get(self._id_key) if here.isValid() else None
        column, place = here.column(), view.verticalScrollBar().value()
        self._keeping = True
        change()
        for at, row in enumerate(self.model.rows):
            if column >= 0 and row.get(self._id_key) == current_id:
                no_update = QItemSelectionModel.SelectionFlag.NoUpdate
                view.selectionModel().setCurrentIndex(self.model.index(at, column), no_update)
                break
        self.select_ids(chosen)
        view.verticalScrollBar().setValue(place)
        self._keeping = False
        if {row.get(self._id_key) for row in self.selected()} != set(chosen):
            self.selection_changed.emit()

    def _sort_next(self, column: int) -> None:
        now = self.model.sorted_by
        if column < 0:
            return
        if now is None or now[0] != column:
            self.sort_rows(column)
        else:
            self.sort_rows(-1 if now[1] else column, descending=not now[1])

    def _tell(self) -> None:
        if not self._keeping:
            self.selection_changed.emit()


_LEAST = {"state": 110, "spark": 120, "share": 96}


def _is_empty(value: Any) -> bool:
    return value is None or value == "" or isinstance(value, float) and math.isnan(value)


def _comparable(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return value[-1] if value else -math.inf
    return value.casefold() if isinstance(value, str) else value
