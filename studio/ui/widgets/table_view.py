"""The table view under all tables: one look, copy as text, a preview of long cells."""

from PySide6.QtCore import QModelIndex, QPoint, Qt, Signal
from PySide6.QtGui import QGuiApplication, QKeyEvent, QKeySequence
from PySide6.QtWidgets import QAbstractItemView, QFrame, QHeaderView, QPlainTextEdit, QTableView, QVBoxLayout, QWidget

from studio.ui.widgets.cells import ROW_HEIGHT, CellDelegate
from studio.ui.widgets.json_cells import spread_json
from studio.ui.widgets.role_header import RoleHeader

MOST_COPIED_ROWS = 100_000
SAMPLED_ROWS, NARROWEST, WIDEST = 40, 88, 420
SHRUNK = 140  # what is missing in width is taken from the widest columns, down to this


class TableView(QTableView):
    """A table in the look of the house: whole rows are chosen, hairlines below them, Ctrl+C copies as text.

    Enter or a double click activates a row; Space shows the whole text of a cell.
    """

    row_chosen = Signal(int)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.header = RoleHeader(self)
        self.setHorizontalHeader(self.header)
        self.setItemDelegate(CellDelegate(self))
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setSelectionMode(QAbstractItemView.SelectionMode.ExtendedSelection)
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setVerticalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        self.setHorizontalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        self.setWordWrap(False)
        self.setShowGrid(False)
        self.setTabKeyNavigation(False)
        self.setCornerButtonEnabled(False)
        self.verticalHeader().setSectionResizeMode(QHeaderView.ResizeMode.Fixed)
        self.verticalHeader().setDefaultSectionSize(ROW_HEIGHT)
        self.verticalHeader().hide()
        self.doubleClicked.connect(self._activate)
        self.widths: dict[int, int] = {}  # of columns whose cells do not tell it, in pixels
        self._fitted: list[int] = []

    def fit_columns(self) -> None:
        """Give each column the width of its first rows; the widest takes what is left, wide ones lose what lacks."""
        model = self.model()
        if model is None or not model.columnCount() or (self._fitted and not model.rowCount()):
            return
        metrics, head = self.fontMetrics(), self.header
        widths = []
        for column in range(model.columnCount()):
            texts = [str(model.index(row, column).data() or "") for row in range(min(SAMPLED_ROWS, model.rowCount()))]
            title = str(model.headerData(column, Qt.Orientation.Horizontal) or "")
            widest = max([metrics.horizontalAdvance(t) for t in texts] + [metrics.horizontalAdvance(title) * 1.1 + 16])
            wanted = self.widths.get(column) or round(min(WIDEST, max(NARROWEST, widest + 24)))
            widths.append(max(wanted, head.minimumSectionSize()))
        left = self.viewport().width() - sum(widths)
        if left > 0:
            widths[widths.index(max(widths))] += left
        else:
            most = max(SHRUNK, _level(widths, self.viewport().width()))
            widths = [min(width, most) for width in widths]
        self._fitted = widths
        for column, width in enumerate(widths):
            head.resizeSection(column, width)
        self._fitted = [head.sectionSize(column) for column in range(len(widths))]

    def selected_rows(self) -> list[int]:
        """Return the chosen rows of the view, from the top."""
        return sorted(index.row() for index in self.selectionModel().selectedRows()) if self.model() else []

    def copy(self) -> None:
        """Put the chosen rows on the clipboard, tabs between the cells, under their header."""
        model, rows = self.model(), self.selected_rows()[:MOST_COPIED_ROWS]
        if not rows:
            return
        columns = range(model.columnCount())
        lines = [[str(model.headerData(c, Qt.Orientation.Horizontal)) for c in columns]]
        lines += [[self.copied_text(model.index(row, c)) for c in columns] for row in rows]
        QGuiApplication.clipboard().setText("\n".join("\t".join(line) for line in lines))

    def copied_text(self, index: QModelIndex) -> str:
        """Return a cell as it is copied: its value in full, on one line."""
        value = index.data(Qt.ItemDataRole.UserRole)
        text = index.data() if value is None else repr(value) if isinstance(value, float) else str(value)
        return str(text or "").replace("\t", " ").replace("\r", "").replace("\n", " ")

    def preview(self) -> QFrame | None:
        """Show the whole text of the current cell over the table; Esc or a click beside it closes."""
        index = self.currentIndex()
        value = index.data(Qt.ItemDataRole.UserRole) if index.isValid() else None
        if not isinstance(value, str) or not value:
            return None
        frame = _Preview(self, spread_json(value))
        rect = self.visualRect(index)
        frame.resize(min(560, max(320, self.width() - 64)), 180)
        frame.move(self.viewport().mapToGlobal(QPoint(max(8, rect.left()), rect.bottom() + 2)))
        frame.show()
        return frame

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.matches(QKeySequence.StandardKey.Copy):
            self.copy()
        elif event.key() == Qt.Key.Key_Space and self.currentIndex().isValid():
            self.preview()
        elif event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter) and self.currentIndex().isValid():
            self._activate(self.currentIndex())
        else:
            super().keyPressEvent(event)

    def resizeEvent(self, event: object) -> None:
        super().resizeEvent(event)
        widths = [self.header.sectionSize(i) for i in range(self.header.count())]
        if not self._fitted or widths == self._fitted:
            self.fit_columns()  # nobody has changed a width by hand

    def _activate(self, index: QModelIndex) -> None:
        self.row_chosen.emit(index.row())


def _level(widths: list[int], room: int) -> int:
    """Return the width above which each is to be cut so that all fit."""
    n_wide = len(widths)
    for width in sorted(widths):
        if width * n_wide >= room:
            return room // n_wide
        room, n_wide = room - width, n_wide - 1
    return max(widths)


class _Preview(QFrame):
    """A long text in full, over everything else."""

    def __init__(self, parent: QWidget, text: str) -> None:
        super().__init__(parent, Qt.WindowType.Popup)
        self.setObjectName("floating")
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(4, 4, 4, 4)
        view = QPlainTextEdit(text)
        view.setReadOnly(True)
        view.setFrameShape(QFrame.Shape.NoFrame)
        layout.addWidget(view)
        view.setFocus()
