"""A list of long rows, each as high as its text needs, laid out only as far as someone scrolls."""

from typing import Protocol

from PySide6.QtCore import QAbstractListModel, QEvent, QModelIndex, QPoint, QRect, QSize, Qt
from PySide6.QtGui import QColor, QGuiApplication, QHelpEvent, QKeyEvent, QKeySequence, QPainter, QPen
from PySide6.QtWidgets import (
    QListView,
    QSizePolicy,
    QStyle,
    QStyledItemDelegate,
    QStyleOptionViewItem,
    QToolTip,
    QWidget,
)

from studio.ui.i18n import tr
from studio.ui.theme import Theme, current

BATCH = 12  # rows that are laid out at once
PAD, GAP = 8, 7  # beside and above what is drawn, in logical pixels
_AT_ONCE, _KEPT = 4 * BATCH, 50_000  # rows that are laid out while the width changes, heights that are remembered
_LEAST, _MOST = 96, 360  # height of the list, in logical pixels


class Drawing(Protocol):
    """Draws the rows of a list; widths and heights are logical pixels."""

    def __len__(self) -> int: ...

    def height(self, row: int, width: int) -> int:
        """Return how high a row is."""

    def paint(self, painter: QPainter, rect: QRect, row: int, theme: Theme) -> None:
        """Draw a row into a rectangle of its height."""

    def text(self, row: int) -> str:
        """Return a row in words, as it is read aloud and copied."""

    def tip(self, row: int, at: QPoint, width: int) -> str:
        """Return what is said of a place in a row."""

    def toggle(self, row: int) -> bool:
        """Show all of a row or a part; False where there is no more to show."""


class LazyList(QListView):
    """Rows drawn by a `Drawing`. Enter or a double click shows all of a long row, Ctrl+C copies what is chosen."""

    def __init__(self, drawing: Drawing, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.drawing = drawing
        self._heights: dict[tuple[int, int], int] = {}  # by row and width
        self.setModel(_Rows(drawing, self))
        self.setItemDelegate(_Delegate(self))
        self.setSelectionMode(QListView.SelectionMode.ExtendedSelection)
        self.setEditTriggers(QListView.EditTrigger.NoEditTriggers)
        self.setResizeMode(QListView.ResizeMode.Adjust)
        self.setVerticalScrollMode(QListView.ScrollMode.ScrollPerPixel)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        policy = QSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        policy.setHeightForWidth(True)
        self.setSizePolicy(policy)
        self.verticalScrollBar().setSingleStep(24)
        self.doubleClicked.connect(lambda index: self._toggle(index.row()))

    def row_height(self, row: int) -> int:
        """Return how high a row is drawn."""
        return self._row_height(row, self.viewport().width())

    def hasHeightForWidth(self) -> bool:
        return True

    def heightForWidth(self, width: int) -> int:
        # Few rows take what they need, so that a page does not scroll within a page.
        height = 0
        for row in range(min(BATCH, len(self.drawing))):
            height += self._row_height(row, width)
            if height >= _MOST:
                break
        return max(_LEAST // 2, min(_MOST, height + 4))

    def sizeHint(self) -> QSize:
        return QSize(360, self.heightForWidth(max(180, self.width())))

    def minimumSizeHint(self) -> QSize:
        return QSize(180, min(_LEAST, self.sizeHint().height()))

    def paintEvent(self, event: object) -> None:
        super().paintEvent(event)
        if not len(self.drawing):
            painter = QPainter(self.viewport())
            painter.setPen(current().colour("muted"))
            painter.drawText(self.viewport().rect().adjusted(PAD, GAP, 0, 0), 0, tr("Nothing to show"))

    def resizeEvent(self, event: object) -> None:
        super().resizeEvent(event)
        if len(self._heights) > _KEPT:
            self._heights.clear()
        if self.model().rowCount() <= _AT_ONCE:  # more are laid out a moment later, as Qt does
            self.doItemsLayout()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.matches(QKeySequence.StandardKey.Copy):
            rows = sorted(index.row() for index in self.selectedIndexes())
            QGuiApplication.clipboard().setText("\n".join(self.drawing.text(row) for row in rows))
        elif event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter) and self.currentIndex().isValid():
            self._toggle(self.currentIndex().row())
        else:
            super().keyPressEvent(event)

    def viewportEvent(self, event: QEvent) -> bool:
        if event.type() == QEvent.Type.ToolTip and isinstance(event, QHelpEvent):
            index = self.indexAt(event.pos())
            if index.isValid():
                at = event.pos() - self.visualRect(index).topLeft() - QPoint(PAD, GAP)
                QToolTip.showText(event.globalPos(), self.drawing.tip(index.row(), at, self._room()), self)
            return True
        return super().viewportEvent(event)

    def _toggle(self, row: int) -> None:
        if self.drawing.toggle(row):
            self._heights = {key: height for key, height in self._heights.items() if key[0] != row}
            self.scheduleDelayedItemsLayout()
            self.viewport().update()

    def _row_height(self, row: int, width: int) -> int:
        key = (row, width)
        if key not in self._heights:
            self._heights[key] = self.drawing.height(row, max(40, width - 2 * PAD)) + 2 * GAP
        return self._heights[key]

    def _room(self) -> int:
        return max(40, self.viewport().width() - 2 * PAD)


class _Rows(QAbstractListModel):
    """The rows that someone has come near, and their words."""

    def __init__(self, drawing: Drawing, parent: QWidget) -> None:
        super().__init__(parent)
        self._drawing, self._n = drawing, min(BATCH, len(drawing))

    def rowCount(self, parent: QModelIndex | None = None) -> int:
        return 0 if parent is not None and parent.isValid() else self._n

    def canFetchMore(self, parent: QModelIndex) -> bool:
        return self._n < len(self._drawing)

    def fetchMore(self, parent: QModelIndex) -> None:
        more = min(BATCH, len(self._drawing) - self._n)
        self.beginInsertRows(parent, self._n, self._n + more - 1)
        self._n += more
        self.endInsertRows()

    def data(self, index: QModelIndex, role: int = Qt.ItemDataRole.DisplayRole) -> str | None:
        words = role in (Qt.ItemDataRole.DisplayRole, Qt.ItemDataRole.AccessibleTextRole)
        return self._drawing.text(index.row()) if words else None


class _Delegate(QStyledItemDelegate):
    def sizeHint(self, option: QStyleOptionViewItem, index: QModelIndex) -> QSize:
        view = self.parent()
        return QSize(view.viewport().width(), view.row_height(index.row()))

    def paint(self, painter: QPainter, option: QStyleOptionViewItem, index: QModelIndex) -> None:
        theme, rect, view = current(), option.rect, self.parent()
        painter.save()
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        if option.state & QStyle.StateFlag.State_Selected:
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(QColor(theme.mix("accent", 0.07)))
            painter.drawRoundedRect(rect.adjusted(0, 1, 0, -1), 4, 4)
        if view.hasFocus() and index == view.currentIndex():
            painter.setPen(QPen(theme.colour("accent"), 1))
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.drawRoundedRect(rect.toRectF().adjusted(0.5, 1.5, -0.5, -1.5), 4, 4)
        if index.row() + 1 < len(view.drawing):
            painter.setPen(QPen(theme.colour("hairline"), 1))
            painter.drawLine(rect.left() + PAD, rect.bottom(), rect.right() - PAD, rect.bottom())
        view.drawing.paint(painter, rect.adjusted(PAD, GAP, -PAD, -GAP), index.row(), theme)
        painter.restore()
