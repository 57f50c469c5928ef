"""How the cells of all tables look: text in its own direction, numbers in even figures, chips, sparklines, shares."""

from enum import IntEnum
from typing import Any

import numpy as np
from PySide6.QtCore import QModelIndex, QPersistentModelIndex, QPoint, QRectF, QSize, Qt
from PySide6.QtGui import QColor, QPainter, QPen
from PySide6.QtWidgets import QStyle, QStyledItemDelegate, QStyleOptionViewItem

from studio.ui import words
from studio.ui.theme import current, number_font
from studio.ui.widgets.chips import HEIGHT as CHIP_HEIGHT
from studio.ui.widgets.chips import STATES, paint_chip
from studio.ui.widgets.tiles import paint_sparkline

ROW_HEIGHT = 32


class CellRole(IntEnum):
    """What a cell is beside text; a model answers with the kind and, under `Qt.UserRole`, the value."""

    KIND = Qt.ItemDataRole.UserRole + 1


class CellDelegate(QStyledItemDelegate):
    """Draws every cell of a table; kinds: text, number, state (a run's), spark (a list of numbers), share (0 to 1)."""

    def initStyleOption(self, option: QStyleOptionViewItem, index: QModelIndex | QPersistentModelIndex) -> None:
        super().initStyleOption(option, index)
        option.state &= ~QStyle.StateFlag.State_HasFocus
        right = option.displayAlignment & Qt.AlignmentFlag.AlignRight
        if right:
            option.font = number_font()
        elif option.text.isascii() is False and _is_right_to_left(option.text):
            option.direction = Qt.LayoutDirection.RightToLeft
            option.displayAlignment = Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter
        option.textElideMode = Qt.TextElideMode.ElideRight

    def sizeHint(self, option: QStyleOptionViewItem, index: QModelIndex | QPersistentModelIndex) -> QSize:
        return QSize(super().sizeHint(option, index).width(), ROW_HEIGHT)

    def paint(
        self, painter: QPainter, option: QStyleOptionViewItem, index: QModelIndex | QPersistentModelIndex
    ) -> None:
        super().paint(painter, option, index)
        kind = index.data(CellRole.KIND)
        if kind in ("state", "spark", "share"):
            value = index.data(Qt.ItemDataRole.UserRole)
            if value is not None:
                _PAINTERS[kind](painter, option.rect, value)
        if option.state & QStyle.StateFlag.State_HasFocus and option.widget and option.widget.hasFocus():
            painter.setPen(QPen(current().colour("accent"), 1))
            painter.drawRect(option.rect.adjusted(0, 0, -1, -1))


def _paint_state(painter: QPainter, rect: Any, state: str) -> None:
    tone, icon = STATES.get(state, ("muted", "dot"))
    at = QPoint(rect.left() + 8, rect.top() + (rect.height() - CHIP_HEIGHT) // 2)
    paint_chip(painter, at, words.word(words.STATES, state), tone, icon, rect.width() - 12)


def _paint_spark(painter: QPainter, rect: Any, values: Any) -> None:
    paint_sparkline(
        painter, QRectF(rect).adjusted(6, 4, -6, -4), np.asarray(values, dtype=float), current().colour("accent")
    )


def _paint_share(painter: QPainter, rect: Any, share: float) -> None:
    """Draw a thin bar under the number."""
    theme = current()
    painter.save()
    painter.setPen(Qt.PenStyle.NoPen)
    whole = QRectF(rect.left() + 8, rect.bottom() - 5, rect.width() - 16, 2)
    painter.setBrush(QColor(theme.mix("text", 0.08)))
    painter.drawRect(whole)
    painter.setBrush(theme.colour("accent"))
    painter.drawRect(QRectF(whole.left(), whole.top(), whole.width() * min(1.0, max(0.0, share)), whole.height()))
    painter.restore()


_PAINTERS = {"state": _paint_state, "spark": _paint_spark, "share": _paint_share}


def _is_right_to_left(text: str) -> bool:
    """Return whether the first letter that has a direction is Hebrew, Arabic or the like."""
    import unicodedata

    for letter in text:
        direction = unicodedata.bidirectional(letter)
        if direction in ("R", "AL", "L"):
            return direction != "L"
    return False
