"""Lists of things with a number and a bar each: heads, rows of a data set."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any

import numpy as np
from PySide6.QtCore import QModelIndex, QRect, QSize, Qt, Signal
from PySide6.QtGui import QColor, QFontMetrics, QPainter, QPen
from PySide6.QtWidgets import QListWidget, QListWidgetItem, QStyle, QStyledItemDelegate, QStyleOptionViewItem, QWidget

from studio.ui import words
from studio.ui.i18n import tr
from studio.ui.theme import GRID, current, lookup_table, number_font

LINE = 22
LEAST_BAR, SHORT_BAR = 12, 72  # pixels
_LOSS, _GAIN = 40, 215  # where in the colours of a difference the bars of losses and gains stand
_KEY, _VALUE, _SHARE = (Qt.ItemDataRole.UserRole + i for i in range(3))


@dataclass(frozen=True)
class Line:
    """One line: what it stands for, its words and its number; `tip` says more on hover."""

    key: Any
    text: str
    value: float
    tip: str = ""


class Ranking(QListWidget):
    """Lines in the order given. picked: the key of the one that was clicked or reached with the arrow keys.

    wide: the words take the room and the bars are short; else it is the other way round.
    """

    picked = Signal(object)

    def __init__(self, name: str, wide: bool = False, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.mark: float | None = None
        self._signed = self._is_new = False
        self.setAccessibleName(name)
        self.setItemDelegate(_Bars(self, wide))
        self.setUniformItemSizes(True)
        self.setMouseTracking(True)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setVerticalScrollMode(QListWidget.ScrollMode.ScrollPerPixel)
        self.setMinimumHeight(2 * LINE)
        self.currentItemChanged.connect(self._pick)

    def set_lines(self, lines: Sequence[Line], most: float | None = None, mark: float | None = None) -> None:
        """Show lines; bars end at `most`, by default the largest; `mark` is a value to compare them with."""
        self.blockSignals(True)
        self.clear()
        # A value beyond the end, by rounding or by choice, fills the bar.
        largest = max(most or max((abs(line.value) for line in lines if isfinite(line.value)), default=0.0), 1e-12)
        self.mark = None if mark is None else min(mark / largest, 1.0)
        self._signed = any(line.value < 0 for line in lines)
        for line in lines:
            item = QListWidgetItem(line.text, self)
            item.setData(_KEY, line.key)
            item.setData(_VALUE, line.value)
            item.setData(_SHARE, min(max(line.value / largest, -1.0), 1.0) if isfinite(line.value) else 0.0)
            item.setToolTip(line.tip or repr(line.value))
            item.setData(Qt.ItemDataRole.AccessibleTextRole, f"{line.text}: {words.number(line.value)}")
        self.blockSignals(False)
        self._is_new = True

    def is_signed(self) -> bool:
        """Return whether any number is below 0, so that gains and losses have colours of their own."""
        return self._signed

    def keys(self) -> list[Any]:
        """Return what the lines stand for, in their order."""
        return [_key(self.item(row)) for row in range(self.count())]

    def values(self) -> list[float]:
        """Return the numbers of the lines, in their order."""
        return [self.item(row).data(_VALUE) for row in range(self.count())]

    def choose(self, key: Any) -> None:
        """Show which line is chosen, without saying so."""
        self.blockSignals(True)
        for row in range(self.count()):
            if _key(self.item(row)) == key:
                self.setCurrentRow(row)
        self.blockSignals(False)
        if self._is_new:  # a new ranking is read from its top
            self._is_new = False
            self.scrollToTop()
        self.viewport().update()

    def _pick(self, item: QListWidgetItem | None) -> None:
        if item is not None:
            self.picked.emit(_key(item))


class HeadRanking(Ranking):
    """Heads with a number each, the first one leading. head_chosen: layer and head, from 0."""

    head_chosen = Signal(int, int)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(tr("Ranking of the heads"), parent=parent)
        self.picked.connect(lambda head: self.head_chosen.emit(*head))

    def set_ranking(
        self,
        order: Sequence[int],
        values: np.ndarray | None,
        n_heads: int,
        most: float | None = None,
        mark: float | None = None,
    ) -> None:
        """Show heads by their flat indices in this order, with their values [layer, head]; see `set_lines`."""
        lines = []
        for flat in order:
            layer, head = divmod(int(flat), n_heads)
            text = tr("Layer {layer} · Head {head}", layer=layer + 1, head=head + 1)
            lines.append(Line((layer, head), text, float(values[layer, head])))
        self.set_lines(lines, most, mark)

    def select(self, layer: int, head: int) -> None:
        """Show which head is chosen, without saying so."""
        self.choose((layer, head))

    def heads(self) -> list[tuple[int, int]]:
        """Return the heads in their order."""
        return self.keys()


def _key(item: QListWidgetItem) -> Any:
    key = item.data(_KEY)
    return tuple(key) if isinstance(key, list) else key


class _Bars(QStyledItemDelegate):
    """Words, bar and number of a line."""

    def __init__(self, ranking: Ranking, wide: bool) -> None:
        super().__init__(ranking)
        self._ranking, self._wide = ranking, wide

    def sizeHint(self, option: QStyleOptionViewItem, index: QModelIndex) -> QSize:
        return QSize(120, LINE)

    def paint(self, painter: QPainter, option: QStyleOptionViewItem, index: QModelIndex) -> None:
        theme, rect = current(), option.rect
        painter.save()
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(Qt.PenStyle.NoPen)
        selected = bool(option.state & QStyle.StateFlag.State_Selected)
        if selected or option.state & QStyle.StateFlag.State_MouseOver:
            painter.setBrush(QColor(theme.mix("accent", 0.14) if selected else theme.mix("text", 0.05)))
            painter.drawRoundedRect(rect, 4, 4)
        font = number_font()
        painter.setFont(font)
        metrics = QFontMetrics(font)
        inside = rect.adjusted(GRID, 0, -GRID, 0)
        value_width = metrics.horizontalAdvance("−0.00000") + GRID
        name_width = metrics.horizontalAdvance(tr("Layer {layer} · Head {head}", layer=88, head=88)) + GRID
        if self._wide:
            name_width = inside.width() - SHORT_BAR - value_width
        painter.setPen(theme.colour("text"))
        vertical = Qt.AlignmentFlag.AlignVCenter
        text = " ".join(index.data(Qt.ItemDataRole.DisplayRole).split())
        shown = metrics.elidedText(text, Qt.TextElideMode.ElideRight, name_width - GRID) if self._wide else text
        painter.drawText(inside, vertical | Qt.AlignmentFlag.AlignLeft | Qt.TextFlag.TextSingleLine, shown)
        value = words.number(index.data(_VALUE), 3).replace("-", "−")
        painter.drawText(inside, vertical | Qt.AlignmentFlag.AlignRight, value)
        track = QRect(inside.left() + name_width, rect.center().y() - 3, inside.width() - name_width - value_width, 7)
        if track.width() > LEAST_BAR:
            self._paint_bar(painter, track, index.data(_SHARE))
        painter.restore()

    def _paint_bar(self, painter: QPainter, track: QRect, share: float) -> None:
        theme, signed = current(), self._ranking.is_signed()
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(QColor(theme.mix("text", 0.07)))
        painter.drawRoundedRect(track, 3.5, 3.5)
        difference = lookup_table("difference")[_LOSS if share < 0 else _GAIN]
        painter.setBrush(QColor.fromRgb(int(difference) & 0xFFFFFF) if signed else theme.colour("accent"))
        width = round(track.width() * abs(share))
        if width >= 1:
            painter.drawRoundedRect(QRect(track.topLeft(), QSize(max(width, 7), 7)), 3.5, 3.5)
        if self._ranking.mark is not None:
            x = track.left() + self._ranking.mark * track.width()
            painter.setPen(QPen(theme.colour("text"), 1.5))
            painter.drawLine(round(x), track.top() - 3, round(x), track.bottom() + 3)
