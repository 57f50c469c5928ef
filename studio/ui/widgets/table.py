"""A table of data: all rows by scrolling, roles in the header, search and filters that do not hold up the window.

Importing this module imports pyarrow: pages import it when they first open.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pyarrow as pa
from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QKeyEvent
from PySide6.QtWidgets import QLabel, QStackedLayout, QVBoxLayout, QWidget

from studio.ui.i18n import tr
from studio.ui.threads import background
from studio.ui.widgets.arrow_model import ArrowModel, RowChoice
from studio.ui.widgets.table_view import TableView

QUICK_ROWS = 2000  # fewer are searched at once: going through a thread would only flicker


class DataTable(QWidget):
    """Shows a pyarrow.Table of any length.

    role_chosen: column, role id. rows_counted: rows shown, rows in all. row_activated: place in the table (Enter or
    a double click). selection_changed: places in the table.
    """

    role_chosen = Signal(str, str)
    rows_counted = Signal(int, int)
    row_activated = Signal(int)
    selection_changed = Signal(object)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.model, self.view = ArrowModel(parent=self), TableView()
        self.view.setModel(self.model)
        self.view.setAccessibleName(tr("Rows"))
        self.view.row_chosen.connect(lambda row: self.row_activated.emit(self.model.row_in_table(row)))
        self.view.selectionModel().selectionChanged.connect(lambda *_: self._tell_selection())
        self.view.header.role_chosen.connect(self.role_chosen)
        self.view.header.sort_asked.connect(self._sort_next)
        self._choice = RowChoice()
        self._none = QLabel(tr("No row matches."))
        self._none.setProperty("tone", "muted")
        self._none.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self._none.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        over = QStackedLayout()
        over.setStackingMode(QStackedLayout.StackingMode.StackAll)
        over.addWidget(self.view)
        over.addWidget(self._none)
        over.setCurrentWidget(self._none)
        layout.addLayout(over)
        self._none.hide()
        self.setFocusProxy(self.view)
        self.setMinimumHeight(120)

    def set_table(self, table: pa.Table) -> None:
        """Show another table, all its rows in their order."""
        self._choice = RowChoice()
        self.view.header.set_sort(-1, False)
        self.model.set_table(table)
        self.view.fit_columns()
        self.view.scrollToTop()
        self._count()

    def set_roles(self, choices: Sequence[tuple[str, str]], assigned: Mapping[str, str]) -> None:
        """Show role chips in the header: `choices` as (id, shown name), the last for columns without a role."""
        self.view.header.set_roles(choices, assigned)

    def set_filter(self, text: str) -> None:
        """Show the rows with a cell that contains `text`, whatever the case."""
        self._choose(text=text.strip())

    def filter_equals(self, values: Mapping[str, Any]) -> None:
        """Show the rows whose columns have these values; {} lifts it."""
        self._choose(equals=tuple(values.items()))

    def filter_rows(self, places: Sequence[int]) -> None:
        """Show these rows of the table, in this order."""
        self._choose(rows=places)

    def clear_filter(self) -> None:
        """Show all rows; the sorting stays."""
        self._choose(text="", equals=(), rows=None)

    def sort_by(self, column: str | None, descending: bool = False) -> None:
        """Sort by a column, or by the order of the table with None."""
        at = self.model.table.column_names.index(column) if column else -1
        self.view.header.set_sort(at, descending)
        self._choose(sort=(column, descending) if column else None)

    def selected_places(self) -> list[int]:
        """Return the places in the table of the chosen rows."""
        return [self.model.row_in_table(row) for row in self.view.selected_rows()]

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.key() == Qt.Key.Key_Down and event.modifiers() & Qt.KeyboardModifier.AltModifier:
            column = self.view.currentIndex().column()
            if column >= 0 and self.view.header.has_roles():
                self.view.header.open_menu(column)
                return
        super().keyPressEvent(event)

    def _choose(self, **change: Any) -> None:
        choice = replace(self._choice, **change)
        self._choice, table = choice, self.model.table
        if table.num_rows <= QUICK_ROWS:
            self._show(choice, choice.places(table))
        else:
            background(
                lambda: choice.places(table), lambda places: self._show(choice, places), self._fail, self, "rows"
            )

    def _show(self, choice: RowChoice, places: Any) -> None:
        if choice is self._choice:
            self.model.show_places(places)
            self._count()

    def _fail(self, error: Exception) -> None:
        raise error

    def _count(self) -> None:
        shown = self.model.rowCount()
        self._none.setVisible(shown == 0 and self.model.table.num_rows > 0)
        self.rows_counted.emit(shown, self.model.table.num_rows)

    def _sort_next(self, column: int) -> None:
        """Go through ascending, descending and the order of the table."""
        if column < 0:
            return
        name, now = self.model.table.column_names[column], self._choice.sort
        if now is None or now[0] != name:
            self.sort_by(name)
        else:
            self.sort_by(None if now[1] else name, descending=True)

    def _tell_selection(self) -> None:
        self.selection_changed.emit(self.selected_places())
