"""All rows of the data, with the roles of the columns in the header."""

from collections.abc import Sequence
from typing import Any

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QWidget

from studio.ui import words
from studio.ui.i18n import tr
from studio.ui.widgets.buttons import SearchField, flat_button
from studio.ui.widgets.cards import Card, ErrorLine
from studio.ui.widgets.labels import Small
from studio.ui.widgets.table import DataTable

IGNORE = "ignore"
LEAST_HEIGHT = 144


class RowsCard(Card):
    """Shows an Arrow table; `search`, `counted` and `filter_button` stand where the page puts them.

    role_chosen: a column and a role's id, "" for none. filtered: whether a filter is on. all_asked: the person lifted
    it.
    """

    role_chosen = Signal(str, str)
    filtered = Signal(bool)
    all_asked = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent=parent)
        self.search = SearchField(tr("Search in all columns"))
        self.search.setObjectName("data.search")
        self.search.setFixedWidth(224)
        self.table = DataTable()
        self.table.setObjectName("data.table")
        self.filter_button = flat_button("", "data.filter", "close")
        self.filter_button.hide()
        self.counted = Small()
        self.counted.setWordWrap(False)
        self.error = ErrorLine()
        self.add(self.error)
        self.add(self.table, 1)
        self.setMinimumHeight(LEAST_HEIGHT)
        self.search.searched.connect(self.table.set_filter)
        self.filter_button.clicked.connect(self.clear_filter)
        self.filter_button.clicked.connect(self.all_asked)
        self.table.rows_counted.connect(self._count)
        self.table.role_chosen.connect(self._take_role)

    def show_table(self, table: Any) -> None:
        """Show another pyarrow.Table, unfiltered."""
        self.search.clear()
        self.clear_filter()
        self.table.set_table(table)

    def show_roles(self, roles: Sequence[Any], columns: dict[str, str]) -> None:
        """Show which column has which role; the others are ignored."""
        choices = [(role.id, tr(role.label)) for role in roles] + [(IGNORE, tr("Ignore"))]
        self.table.set_roles(choices, {column: role for role, column in columns.items()})

    def filter_to(self, rows: Sequence[int], name: str) -> None:
        """Show some rows only, by their place; `name` says which."""
        self.search.clear()
        self.table.filter_rows(rows)
        shown = self.fontMetrics().elidedText(name, Qt.TextElideMode.ElideRight, 160)
        self.filter_button.setText(shown)
        self.filter_button.setToolTip(f"{name}\n{tr('Show all rows again')}")
        self.filter_button.show()
        self.filtered.emit(True)

    def clear_filter(self) -> None:
        """Show all rows again, but for what is searched."""
        self.filter_button.hide()
        self.filtered.emit(False)
        self.table.clear_filter()
        self.table.set_filter(self.search.text())

    def _take_role(self, column: str, role: str) -> None:
        self.role_chosen.emit(column, "" if role == IGNORE else role)

    def _count(self, shown: int, total: int) -> None:
        if shown == total:
            self.counted.setText(tr("{n} rows", n=words.count(total)))
        else:
            self.counted.setText(tr("{shown} of {n} rows", shown=words.count(shown), n=words.count(total)))
