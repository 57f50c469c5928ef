"""Bars: one a name, or the counts of a histogram."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from PySide6.QtCore import QEvent, QPointF, QRectF, QSize, Qt, Signal
from PySide6.QtGui import QColor, QFontMetrics, QHelpEvent, QKeyEvent, QMouseEvent, QPainter, QPen
from PySide6.QtWidgets import QSizePolicy, QToolTip, QWidget

from studio.ui import words
from studio.ui.i18n import tr
from studio.ui.theme import current, lookup_table, number_font
from studio.ui.widgets.curves import nice_ticks, tick_texts

ROW = 24


class BarsView(QWidget):
    """A bar for each name, its value beside it; with `clickable` a click chooses a name, a second one lets it go.

    chosen: the name, or "". Up and Down move, Enter chooses. intervals: low and high end by name, drawn as whiskers.
    reference: a value drawn as a line across all bars. signed: the sides of 0 have the colours of a difference.
    """

    chosen = Signal(str)

    def __init__(
        self,
        values: Mapping[str, float],
        unit: str = "",
        clickable: bool = False,
        intervals: Mapping[str, tuple[float, float]] | None = None,
        reference: float | None = None,
        whole: float | None = None,
        signed: bool = False,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self._names, self._values = list(values), np.array(list(values.values()), dtype=float)
        none = (np.nan, np.nan)
        self._ends = np.array([(intervals or {}).get(name, none) for name in self._names], float).reshape(-1, 2)
        self._reference = np.nan if reference is None else reference
        self._unit, self._clickable, self._signed = unit, clickable, signed
        self._hovered, self._current, self._chosen = -1, 0, -1
        self._whole = np.nan if whole is None else whole
        self._total = whole or self._values.sum() if unit and np.all(self._values >= 0) else 0.0
        self.setMouseTracking(True)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        if clickable:
            self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        said = ", ".join(
            f"{name} {self._text(i)} {self._spread(i)}".rstrip() for i, name in enumerate(self._names[:20])
        )
        self.setAccessibleDescription(said)

    def row_at(self, y: float) -> int:
        """Return the bar at a height, -1 for none."""
        row = int(y // ROW)
        return row if 0 <= row < len(self._names) else -1

    def describe(self, row: int) -> str:
        """Return a bar in words, with its exact value; "" for -1."""
        if row < 0:
            return ""
        lines = [f"{self._names[row]}: {float(self._values[row])!r} {tr(self._unit)}".rstrip(), self._spread(row)]
        if np.isfinite(self._reference):
            lines.append(tr("Dashed line: {value}", value=repr(float(self._reference))))
        return "\n".join(filter(None, lines))

    def sizeHint(self) -> QSize:
        return QSize(260, max(1, len(self._names)) * ROW)

    def minimumSizeHint(self) -> QSize:
        return QSize(140, self.sizeHint().height())

    def paintEvent(self, event: object) -> None:
        theme, painter = current(), QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        font = number_font(theme.small)
        painter.setFont(font)
        metrics = QFontMetrics(font)
        name_width = min(self.width() * 0.38, max(map(metrics.horizontalAdvance, self._names), default=0) + 12)
        value_width = max((metrics.horizontalAdvance(self._text(i)) for i in range(len(self._names))), default=0) + 12
        room = max(8.0, self.width() - name_width - value_width)
        low, high = self._range()

        def place(value: float) -> float:
            return name_width + (value - low) / (high - low) * room

        for row, name in enumerate(self._names):
            y = row * ROW
            if row == self._hovered and self._clickable or row == self._chosen:
                painter.setPen(Qt.PenStyle.NoPen)
                painter.setBrush(QColor(theme.mix("accent" if row == self._chosen else "text", 0.1)))
                painter.drawRoundedRect(QRectF(0, y, self.width(), ROW), 4, 4)
            painter.setPen(theme.colour("text"))
            shown = metrics.elidedText(" ".join(name.split()), Qt.TextElideMode.ElideRight, int(name_width - 10))
            painter.drawText(QRectF(4, y, name_width - 6, ROW), Qt.AlignmentFlag.AlignVCenter, shown)
            self._paint_bar(painter, row, place)
            if self.hasFocus() and row == self._current:
                painter.setPen(QPen(theme.colour("accent"), 1))
                painter.setBrush(Qt.BrushStyle.NoBrush)
                painter.drawRoundedRect(QRectF(0.5, y + 0.5, self.width() - 1, ROW - 1), 4, 4)
        if np.isfinite(self._reference):
            x = place(self._reference)
            painter.setPen(QPen(theme.colour("text"), 1, Qt.PenStyle.DashLine))
            painter.drawLine(QPointF(x, 0), QPointF(x, len(self._names) * ROW))

    def _range(self) -> tuple[float, float]:
        """Return the ends of the scale: nothing, the whole, all bars, whiskers and the reference lie within."""
        drawn = np.concatenate([self._values, self._ends.ravel(), [self._reference, self._whole, 0.0]])
        drawn = drawn[np.isfinite(drawn)]
        low, high = float(drawn.min()), float(drawn.max())
        return low, high if high > low else low + 1.0

    def _paint_bar(self, painter: QPainter, row: int, place: Callable[[float], float]) -> None:
        theme, y = current(), row * ROW
        value = float(self._values[row]) if np.isfinite(self._values[row]) else 0.0
        start, end = sorted((place(0.0), place(value)))
        painter.setPen(Qt.PenStyle.NoPen)
        shares = (0.5, 0.2) if np.isfinite(self._ends).any() else (0.85, 0.35)  # fainter below whiskers
        painter.setBrush(QColor(theme.mix("accent", shares[self._chosen not in (-1, row)])))
        if self._signed:
            painter.setBrush(QColor(int(lookup_table("difference", theme)[232 if value >= 0 else 23])))
        painter.drawRoundedRect(QRectF(start, y + 6, max(2.0, end - start), ROW - 12), 2, 2)
        right = start + max(2.0, end - start)
        if np.isfinite(self._ends[row]).all():
            ends = [place(float(each)) for each in self._ends[row]]
            painter.setPen(QPen(theme.colour("text"), 1.4))
            middle = y + ROW / 2
            painter.drawLine(QPointF(ends[0], middle), QPointF(ends[1], middle))
            for x in ends:
                painter.drawLine(QPointF(x, middle - 4), QPointF(x, middle + 4))
        painter.setPen(theme.colour("muted"))
        beside = QRectF(right + 8, y, self.width() - right, ROW)
        if np.isfinite(self._ends).any() or np.isfinite(self._reference):  # where a line could run through them
            beside = QRectF(0, y, self.width() - 4, ROW)
            painter.drawText(beside, Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter, self._text(row))
        else:
            painter.drawText(beside, Qt.AlignmentFlag.AlignVCenter, self._text(row))

    def event(self, event: QEvent) -> bool:
        if event.type() == QEvent.Type.ToolTip and isinstance(event, QHelpEvent):
            row = self.row_at(event.pos().y())
            QToolTip.showText(event.globalPos(), self.describe(row), self)
            return True
        return super().event(event)

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        row = self.row_at(event.position().y())
        if row != self._hovered:
            self._hovered = row
            if self._clickable:
                self.setCursor(Qt.CursorShape.PointingHandCursor)
            self.update()

    def leaveEvent(self, event: object) -> None:
        self._hovered = -1
        self.update()

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        row = self.row_at(event.position().y())
        if event.button() == Qt.MouseButton.LeftButton and row >= 0:
            self._choose(row)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.key() in (Qt.Key.Key_Up, Qt.Key.Key_Down) and self._names:
            way = 1 if event.key() == Qt.Key.Key_Down else -1
            self._current = min(len(self._names) - 1, max(0, self._current + way))
            self.update()
        elif event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Space) and self._names:
            self._choose(self._current)
        else:
            super().keyPressEvent(event)

    def let_go(self) -> None:
        """Choose no name, without a signal."""
        self._chosen = -1
        self.update()

    def _choose(self, row: int) -> None:
        if self._clickable:
            self._current, self._chosen = row, -1 if row == self._chosen else row
            self.chosen.emit(self._names[row] if self._chosen >= 0 else "")
            self.update()

    def _spread(self, row: int) -> str:
        low, high = self._ends[row]
        if not np.isfinite([low, high]).all():
            return ""
        return tr("95 % interval {low} – {high}", low=words.number(low), high=words.number(high))

    def _text(self, row: int) -> str:
        value = float(self._values[row])
        whole = value.is_integer() and (bool(self._unit) or abs(value) > 1)
        text = words.count(value) if whole else words.number(value)
        return f"{text} · {words.percent(value / self._total)}" if self._total and self._unit == "rows" else text


class HistogramView(QWidget):
    """Counts [n] between edges [n + 1]; hover tells the range and the count."""

    def __init__(
        self, edges: Sequence[float], counts: Sequence[float], unit: str = "", parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self._edges, self._counts = np.asarray(edges, dtype=float), np.asarray(counts, dtype=float)
        self._unit, self._hovered = unit, -1
        self.setMouseTracking(True)
        self.setMinimumSize(140, 90)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        if len(self._counts):
            middle = int(np.argmax(self._counts))
            self.setAccessibleDescription(tr("most in {bin}", bin=self.describe(middle)))

    def bar_rect(self, at: int) -> QRectF:
        """Return where a bar is."""
        area, span = self._area(), (self._edges[-1] - self._edges[0]) or 1.0
        left = area.left() + (self._edges[at] - self._edges[0]) / span * area.width()
        right = area.left() + (self._edges[at + 1] - self._edges[0]) / span * area.width()
        height = area.height() * self._counts[at] / (self._counts.max() or 1)
        height = max(1.0, height) if self._counts[at] else 0.0
        return QRectF(left, area.bottom() - height, right - left, height)

    def describe(self, at: int) -> str:
        """Return range and count of a bar in words."""
        low, high, unit = self._edges[at], self._edges[at + 1], tr(self._unit)
        whole = low == int(low) and high == int(high)
        last = high - 1 if whole and at < len(self._counts) - 1 else high
        span = words.number(low) if last == low else f"{words.number(low)} – {words.number(last)}"
        return f"{span} {unit}: {words.count(self._counts[at])}".replace("  ", " ")

    def sizeHint(self) -> QSize:
        return QSize(260, 130)

    def paintEvent(self, event: object) -> None:
        theme, painter = current(), QPainter(self)
        if not len(self._counts):
            return
        area = self._area()
        painter.setPen(Qt.PenStyle.NoPen)
        for at in range(len(self._counts)):
            rect = self.bar_rect(at)
            painter.setBrush(QColor(theme.mix("accent", 1.0 if at == self._hovered else 0.75)))
            gap = 1 if rect.width() > 4 else 0
            left, right = round(rect.left()), round(rect.right())
            painter.drawRect(QRectF(left, rect.top(), max(1, right - left - gap), rect.height()))
        painter.setPen(QPen(theme.colour("hairline"), 1))
        painter.drawLine(QPointF(area.left(), area.bottom() + 0.5), QPointF(area.right(), area.bottom() + 0.5))
        painter.setFont(number_font(theme.small))
        painter.setPen(theme.colour("muted"))
        low, high = float(self._edges[0]), float(self._edges[-1])
        ticks = nice_ticks(low, high, max(2, int(area.width() / 56)))[1]
        unit = " " + tr(self._unit) if self._unit else ""
        metrics, end = painter.fontMetrics(), area.right()
        unit_left = self.width() - metrics.horizontalAdvance(unit) - 2
        for tick, text in zip(ticks, tick_texts(ticks), strict=True):
            x = area.left() + (tick - low) / ((high - low) or 1) * area.width()
            width = metrics.horizontalAdvance(text)
            left = min(max(0.0, x - width / 2), end - width / 2)
            if left + width < unit_left:
                painter.drawText(QRectF(left, area.bottom() + 4, width + 2, 16), Qt.AlignmentFlag.AlignLeft, text)
        painter.drawText(QRectF(unit_left, area.bottom() + 4, 200, 16), Qt.AlignmentFlag.AlignLeft, unit)
        if self._hovered >= 0:
            painter.setPen(theme.colour("text"))
            painter.drawText(QRectF(0, 0, self.width(), 16), Qt.AlignmentFlag.AlignRight, self.describe(self._hovered))

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        area = self._area()
        share = (event.position().x() - area.left()) / area.width()
        value = self._edges[0] + share * (self._edges[-1] - self._edges[0])
        at = int(np.searchsorted(self._edges, value, side="right")) - 1
        at = at if 0 <= at < len(self._counts) else -1
        if at != self._hovered:
            self._hovered = at
            self.update()

    def leaveEvent(self, event: object) -> None:
        self._hovered = -1
        self.update()

    def _area(self) -> QRectF:
        return QRectF(2, 20, max(1, self.width() - 4), max(1, self.height() - 42))
