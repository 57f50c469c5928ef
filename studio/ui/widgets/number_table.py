"""A table of numbers with a few columns of words, sorted by any of them; chosen rows copy as text."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PySide6.QtCore import QAbstractTableModel, QItemSelection, QItemSelectionModel, QModelIndex, Qt, QTimer, Signal
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QVBoxLayout, QWidget

from studio.ui.i18n import tr
from studio.ui.widgets.table_view import TableView


@dataclass(frozen=True, eq=False)
class Column:
    """A column: `values` [row] are numbers (whole ones are shown as such, signed ones with their sign) or words."""

    title: str
    values: np.ndarray | list[str]
    meaning: str = ""
    signed: bool = False
    id: str = ""

    @property
    def is_text(self) -> bool:
        return isinstance(self.values, list)

    def text(self, row: int) -> str:
        """Return a cell as it is shown."""
        value = self.values[row]
        if self.is_text:
            return value
        if np.issubdtype(self.values.dtype, np.integer):
            return str(int(value))
        if not np.isfinite(value):
            return "–"
        return (f"{value:+.3f}" if self.signed else f"{value:.3f}").replace("-", "−")


class NumberModel(QAbstractTableModel):
    """Rows of columns in a chosen order; `Qt.UserRole` is the number itself."""

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self.columns: list[Column] = []
        self.order = np.zeros(0, dtype=int)

    def set_columns(self, columns: Sequence[Column], order: np.ndarray) -> None:
        """Show other columns, their rows in this order."""
        self.beginResetModel()
        self.columns, self.order = list(columns), order
        self.endResetModel()

    def rowCount(self, parent: QModelIndex | None = None) -> int:
        return 0 if parent is not None and parent.isValid() else len(self.order)

    def columnCount(self, parent: QModelIndex | None = None) -> int:
        return 0 if parent is not None and parent.isValid() else len(self.columns)

    def headerData(self, section: int, orientation: Qt.Orientation, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        if orientation != Qt.Orientation.Horizontal:
            return None
        column = self.columns[section]
        if role == Qt.ItemDataRole.DisplayRole:
            return column.title
        if role == Qt.ItemDataRole.ToolTipRole:
            return column.meaning or None
        if role == Qt.ItemDataRole.TextAlignmentRole and not column.is_text:
            return int(Qt.AlignmentFlag.AlignRight)
        return None

    def data(self, index: QModelIndex, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        column, row = self.columns[index.column()], int(self.order[index.row()])
        if role == Qt.ItemDataRole.DisplayRole:
            return column.text(row)
        if column.is_text:
            return None
        value = column.values[row].item()
        if role == Qt.ItemDataRole.UserRole:
            return value
        if role == Qt.ItemDataRole.ToolTipRole:
            return repr(value)
        if role == Qt.ItemDataRole.TextAlignmentRole:
            return int(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        return None


class NumberTable(QWidget):
    """Shows columns of numbers; a click on a name sorts: the largest first, the smallest first, as they came.

    rows_chosen: the rows that a person chose, the current one first, counted as they came. sorted_by: the id of a
    column ("" for none) and whether the smallest come first.
    """

    rows_chosen = Signal(list)
    sorted_by = Signal(str, bool)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.model, self.view = NumberModel(self), TableView()
        self.view.setModel(self.model)
        self.view.header.setMinimumSectionSize(56)
        self.view.setAccessibleName(tr("Rows"))
        self._sort: tuple[str, bool] | None = None  # title, descending
        self.view.header.sort_asked.connect(self._sort_next)
        self.view.selectionModel().selectionChanged.connect(self._tell)
        self._is_quiet = False
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.view)
        self.setFocusProxy(self.view)

    def set_columns(self, columns: Sequence[Column]) -> None:
        """Show other columns; they stay sorted by the same one, if it is still there, and the same rows chosen."""
        chosen = self.chosen()
        was = [column.title for column in self.model.columns]
        self._is_quiet = True
        self.model.set_columns(columns, self._order(columns))
        self._is_quiet = False
        if was != [column.title for column in columns]:
            self._fit()
        self._show_sort()
        self.choose(chosen)

    def sort_by(self, title: str | None, descending: bool = True) -> None:
        """Sort by a column, or leave the rows as they came with None."""
        chosen = self.chosen()
        self._sort = (title, descending) if title else None
        self._is_quiet = True
        self.model.set_columns(self.model.columns, self._order(self.model.columns))
        self._is_quiet = False
        self._show_sort()
        self.choose(chosen)
        named = next((column.id for column in self.model.columns if column.title == title), "")
        self.sorted_by.emit(named, not descending)

    def choose(self, rows: Sequence[int]) -> None:
        """Show rows, counted as they came, as chosen, without a signal; the first is the current one."""
        places = [int(np.flatnonzero(self.model.order == row)[0]) for row in rows if row in self.model.order]
        self._is_quiet = True
        model, last = self.view.selectionModel(), max(0, self.model.columnCount() - 1)
        chosen = QItemSelection()
        for place in places:
            chosen.select(self.model.index(place, 0), self.model.index(place, last))
        model.select(chosen, QItemSelectionModel.SelectionFlag.ClearAndSelect)
        if places:
            model.setCurrentIndex(self.model.index(places[0], 0), QItemSelectionModel.SelectionFlag.NoUpdate)
            self.view.scrollTo(self.model.index(places[0], 0))
        self._is_quiet = False

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        if self.view.currentIndex().isValid():  # a window that grows smaller keeps the chosen row in sight
            QTimer.singleShot(0, self, lambda: self.view.scrollTo(self.view.currentIndex()))

    def chosen(self) -> list[int]:
        """Return the chosen rows, counted as they came, the current one first."""
        places, current = self.view.selected_rows(), self.view.currentIndex().row()
        places.sort(key=lambda place: place != current)
        return [int(self.model.order[place]) for place in places]

    def _fit(self) -> None:
        """Give every column room for its name: a table that is too wide scrolls."""
        self.view.fit_columns()
        header, metrics = self.view.header, self.view.fontMetrics()
        for at, column in enumerate(self.model.columns):
            least = metrics.horizontalAdvance(column.title + " ↓") + 28
            if header.sectionSize(at) < least:
                header.resizeSection(at, least)

    def _order(self, columns: Sequence[Column]) -> np.ndarray:
        n_rows = len(columns[0].values) if columns else 0
        by = next((column for column in columns if self._sort and column.title == self._sort[0]), None)
        if by is None:
            return np.arange(n_rows)
        values = by.values
        if by.is_text:
            values = np.unique(np.array(values), return_inverse=True)[1]
        # What is not known stands at the end either way.
        values = np.where(np.isfinite(values), values, -np.inf if self._sort[1] else np.inf)
        return np.argsort(-values if self._sort[1] else values, kind="stable")

    def _show_sort(self) -> None:
        titles = [column.title for column in self.model.columns]
        at = titles.index(self._sort[0]) if self._sort and self._sort[0] in titles else -1
        self.view.header.set_sort(at, bool(self._sort and self._sort[1]))

    def _sort_next(self, at: int) -> None:
        title = self.model.columns[at].title
        if self._sort is None or self._sort[0] != title:
            self.sort_by(title)
        else:
            self.sort_by(title if self._sort[1] else None, descending=False)

    def _tell(self) -> None:
        if not self._is_quiet and self.chosen():
            self.rows_chosen.emit(self.chosen())
