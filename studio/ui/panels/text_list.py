"""A quiet list of texts to pick from, each with a second line that says what is known of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from PySide6.QtCore import QModelIndex, QRect, QSize, Qt, Signal
from PySide6.QtGui import QColor, QFontMetrics, QPainter
from PySide6.QtWidgets import QListWidget, QListWidgetItem, QStyle, QStyledItemDelegate, QStyleOptionViewItem, QWidget

from studio.ui.theme import GRID, current, number_font

_ENTRY = Qt.ItemDataRole.UserRole


@dataclass(frozen=True)
class Entry:
    """A text, the line below it, its label where one is known, and the texts of its row by column."""

    text: str
    below: str = ""
    gold: str = ""
    fields: Mapping[str, str] = field(default_factory=dict)


class TextList(QListWidget):
    """picked: the entry that was clicked, or chosen with Enter."""

    picked = Signal(object)

    def __init__(self, name: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setAccessibleName(name)
        self.setItemDelegate(_Delegate(self))
        self.setUniformItemSizes(True)
        self.setMouseTracking(True)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setVerticalScrollMode(QListWidget.ScrollMode.ScrollPerPixel)
        self.setMinimumHeight(2 * _HEIGHT)
        self.itemClicked.connect(lambda item: self.picked.emit(item.data(_ENTRY)))

    def set_entries(self, entries: Sequence[Entry]) -> None:
        """Show these entries."""
        self.clear()
        for entry in entries:
            item = QListWidgetItem(entry.text, self)
            item.setData(_ENTRY, entry)
            item.setData(Qt.ItemDataRole.AccessibleTextRole, f"{entry.text}. {entry.below}")
            item.setToolTip(entry.text)

    def keyPressEvent(self, event: object) -> None:
        if event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter) and self.currentItem() is not None:
            self.picked.emit(self.currentItem().data(_ENTRY))
        else:
            super().keyPressEvent(event)


_HEIGHT = 44


class _Delegate(QStyledItemDelegate):
    def sizeHint(self, option: QStyleOptionViewItem, index: QModelIndex) -> QSize:
        return QSize(120, _HEIGHT)

    def paint(self, painter: QPainter, option: QStyleOptionViewItem, index: QModelIndex) -> None:
        theme, entry = current(), index.data(_ENTRY)
        painter.save()
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        rect = option.rect.adjusted(0, 1, -2, -1)
        focused = option.state & QStyle.StateFlag.State_HasFocus
        if option.state & QStyle.StateFlag.State_MouseOver or focused:
            painter.setPen(theme.colour("accent") if focused else Qt.PenStyle.NoPen)
            painter.setBrush(QColor(theme.mix("text", 0.05)))
            painter.drawRoundedRect(rect.adjusted(0, 0, -1, -1), 6, 6)
        inside = rect.adjusted(GRID, 4, -GRID, -4)
        lines = ((entry.text, 0, "text"), (entry.below, theme.small, "muted"))
        top = inside.top()
        for text, size, colour in lines:
            font = number_font(size)
            metrics = QFontMetrics(font)
            painter.setFont(font)
            painter.setPen(theme.colour(colour))
            shown = metrics.elidedText(" ".join(text.split()), Qt.TextElideMode.ElideRight, inside.width())
            painter.drawText(QRect(inside.left(), top, inside.width(), 18), Qt.AlignmentFlag.AlignVCenter, shown)
            top += 18
        painter.restore()
