"""The queue on top of the Runs page: what waits to be trained, in an order that is changed by dragging."""

from collections.abc import Mapping, Sequence
from typing import Any

from PySide6.QtCore import QModelIndex, QPersistentModelIndex, QPoint, QRect, QSize, Qt, Signal
from PySide6.QtGui import QColor, QFontMetrics, QKeyEvent, QPainter
from PySide6.QtWidgets import (
    QAbstractItemView,
    QListWidget,
    QListWidgetItem,
    QMenu,
    QStyle,
    QStyledItemDelegate,
    QStyleOptionViewItem,
    QWidget,
)

from studio.ui import words
from studio.ui.i18n import tr
from studio.ui.store import Store
from studio.ui.theme import GRID, current, number_font
from studio.ui.widgets.buttons import icon_button, quiet_button
from studio.ui.widgets.cards import Card
from studio.ui.widgets.cells import ROW_HEIGHT
from studio.ui.widgets.labels import Small

MOST_ROWS = 4  # in sight at once; the others are scrolled to
_ID, _DETAILS = Qt.ItemDataRole.UserRole, Qt.ItemDataRole.UserRole + 1


class QueueCard(Card):
    """The runs that wait, the next one first; `opened` carries the id of a run to look at. Hidden while none waits."""

    opened = Signal(str)

    def __init__(self, store: Store, parent: QWidget | None = None) -> None:
        super().__init__(tr("Queue"), parent)
        self._store = store
        self.line = Small()
        self.line.setWordWrap(False)
        self.header.insertWidget(1, self.line)
        self.go_on = quiet_button(tr("Go on"), "queue.go_on", "play")
        self.go_on.setToolTip(tr("Start the process that trains what waits"))
        self.go_on.clicked.connect(store.queue.wake)
        self.up = icon_button("chevron-up", tr("Move up (Alt+Up)"), "queue.up")
        self.up.clicked.connect(lambda: self.step(-1))
        self.down = icon_button("chevron-down", tr("Move down (Alt+Down)"), "queue.down")
        self.down.clicked.connect(lambda: self.step(1))
        self.remove_button = icon_button("trash", tr("Take out of the queue (Delete)"), "queue.remove")
        self.remove_button.clicked.connect(self.remove)
        for button in (self.go_on, self.up, self.down, self.remove_button):
            self.add_to_header(button)
        self.list = QueueList()
        self.list.dropped.connect(store.queue.move)
        self.list.stepped.connect(self.step)
        self.list.removal_asked.connect(self.remove)
        self.list.itemActivated.connect(lambda item: self.opened.emit(item.data(_ID)))
        self.list.currentRowChanged.connect(lambda _: self._enable())
        self.list.customContextMenuRequested.connect(self._show_menu)
        self.add(self.list)
        self.hide()

    def show_rows(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Show runs as rows of the list of runs."""
        queue, training = self._store.queue, self._store.training_run()
        self.list.set_rows(rows)
        self.setVisible(bool(rows))
        self.go_on.setVisible(not queue.is_at_work)
        if not queue.is_at_work:
            self.line.setText(tr("Nothing works on it."))
        elif training:
            self.line.setText(tr("Goes on after {name}.", name=self._store.run_name(training)))
        else:
            self.line.setText(tr("The first one begins now."))
        self._enable()

    def names(self) -> list[str]:
        """Return the names of what waits, in order."""
        return [self.list.item(row).text() for row in range(self.list.count())]

    def step(self, by: int) -> None:
        """Move the chosen run by a number of places."""
        item = self.list.currentItem()
        if item is not None and 0 <= self.list.row(item) + by < self.list.count():
            self._store.queue.move(item.data(_ID), self.list.row(item) + by + 1)

    def remove(self) -> None:
        """Take the chosen run out of the queue."""
        item = self.list.currentItem()
        if item is not None:
            self._store.queue.remove(item.data(_ID))

    def _enable(self) -> None:
        row = self.list.currentRow()
        self.up.setEnabled(row > 0)
        self.down.setEnabled(0 <= row < self.list.count() - 1)
        self.remove_button.setEnabled(row >= 0)

    def _show_menu(self, at: QPoint) -> None:
        item = self.list.currentItem()
        if item is None:
            return
        menu = QMenu(self)
        menu.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        menu.addAction(tr("Show"), lambda: self.opened.emit(item.data(_ID)))
        menu.addAction(tr("Move up"), lambda: self.step(-1)).setEnabled(self.up.isEnabled())
        menu.addAction(tr("Move down"), lambda: self.step(1)).setEnabled(self.down.isEnabled())
        menu.addAction(tr("Take out of the queue"), self.remove)
        menu.popup(self.list.viewport().mapToGlobal(at))


class QueueList(QListWidget):
    """Rows that are dragged to another place, or moved by Alt+Up and Alt+Down.

    dropped: the id of a row and its new place, counted from 1. stepped: -1 or 1. removal_asked: Delete was pressed.
    """

    dropped = Signal(str, int)
    stepped = Signal(int)
    removal_asked = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setAccessibleName(tr("Queue"))
        self.setItemDelegate(_Delegate(self))
        self.setUniformItemSizes(True)
        self.setDragDropMode(QAbstractItemView.DragDropMode.InternalMove)
        self.setDefaultDropAction(Qt.DropAction.MoveAction)
        self.setContextMenuPolicy(Qt.ContextMenuPolicy.CustomContextMenu)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setVerticalScrollMode(QListWidget.ScrollMode.ScrollPerPixel)
        self._rows: list[tuple[str, str, str]] = []
        self._newest: Sequence[Mapping[str, Any]] = []
        self._is_filling = False
        self.model().rowsMoved.connect(self._tell_move)

    def set_rows(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Show other rows; the chosen one stays chosen, and a drag that goes on is not disturbed."""
        self._newest = rows
        wanted = [(row["id"], row["name"], _details(row)) for row in rows]
        is_dragging = self.state() == QAbstractItemView.State.DraggingState
        if wanted == self._rows or is_dragging:
            return
        chosen = self.currentItem().data(_ID) if self.currentItem() is not None else None
        self._rows, self._is_filling = wanted, True
        self.clear()
        for run_id, name, details in wanted:
            item = QListWidgetItem(name, self)
            item.setData(_ID, run_id)
            item.setData(_DETAILS, details)
            item.setToolTip(details)
            if run_id == chosen:
                self.setCurrentItem(item)
        self._is_filling = False
        self._say_places()
        self.setFixedHeight(min(len(wanted), MOST_ROWS) * ROW_HEIGHT)

    def startDrag(self, actions: Qt.DropAction) -> None:
        super().startDrag(actions)  # returns when it is over
        self.set_rows(self._newest)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        steps = {Qt.Key.Key_Up: -1, Qt.Key.Key_Down: 1}
        if event.modifiers() & Qt.KeyboardModifier.AltModifier and event.key() in steps:
            self.stepped.emit(steps[event.key()])
        elif event.key() == Qt.Key.Key_Delete:
            self.removal_asked.emit()
        else:
            super().keyPressEvent(event)

    def _tell_move(self, parent: QModelIndex, first: int, last: int, target: QModelIndex, before: int) -> None:
        if self._is_filling:
            return
        row = before - 1 if before > first else before
        item = self.item(row)
        self._rows.insert(row, self._rows.pop(first))
        self.setCurrentItem(item)
        self._say_places()
        self.dropped.emit(item.data(_ID), row + 1)

    def _say_places(self) -> None:
        for row, (_, name, details) in enumerate(self._rows):
            self.item(row).setData(Qt.ItemDataRole.AccessibleTextRole, f"{row + 1}: {name}. {details}")


class _Delegate(QStyledItemDelegate):
    """Draws a handle, the place, the name and, in a quieter colour, what will be trained."""

    def sizeHint(self, option: QStyleOptionViewItem, index: QModelIndex | QPersistentModelIndex) -> QSize:
        return QSize(120, ROW_HEIGHT)

    def paint(
        self, painter: QPainter, option: QStyleOptionViewItem, index: QModelIndex | QPersistentModelIndex
    ) -> None:
        theme, rect = current(), option.rect
        painter.save()
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        if option.state & QStyle.StateFlag.State_Selected:
            painter.fillRect(rect, QColor(theme.mix("accent", 0.18)))
        elif option.state & QStyle.StateFlag.State_MouseOver:
            painter.fillRect(rect, QColor(theme.mix("text", 0.05)))
        if option.state & QStyle.StateFlag.State_HasFocus:
            painter.setPen(theme.colour("accent"))
            painter.drawRect(rect.adjusted(0, 0, -1, -1))
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(theme.colour("muted"))
        for column in range(2):
            for row in range(3):
                painter.drawEllipse(QPoint(rect.left() + 12 + 5 * column, rect.center().y() - 5 + 5 * row), 1, 1)
        width = rect.width()
        name = round(min(240, width * 0.3))
        parts = (
            (28, 20, words.count(index.row() + 1), "muted", Qt.AlignmentFlag.AlignRight),
            (60, name, index.data(), "text", Qt.AlignmentFlag.AlignLeft),
            (60 + name + GRID, width - 68 - name - GRID, index.data(_DETAILS), "muted", Qt.AlignmentFlag.AlignLeft),
        )
        font = number_font()
        painter.setFont(font)
        metrics = QFontMetrics(font)
        for left, room, text, colour, side in parts:
            shown = metrics.elidedText(" ".join(text.split()), Qt.TextElideMode.ElideRight, room)
            painter.setPen(theme.colour(colour))
            painter.drawText(
                QRect(rect.left() + left, rect.top(), room, rect.height()), side | Qt.AlignmentFlag.AlignVCenter, shown
            )
        painter.restore()


def _details(row: Mapping[str, Any]) -> str:
    return "  ·  ".join(part for part in (row["data"], row["model"], row["method"]) if part)
