"""Numbers at a glance: metric tiles and sparklines."""

from collections.abc import Mapping, Sequence

import numpy as np
from PySide6.QtCore import QPointF, QSize, Qt, Signal
from PySide6.QtGui import QColor, QGuiApplication, QKeyEvent, QMouseEvent, QPainter, QPen, QPolygonF
from PySide6.QtWidgets import QFrame, QHBoxLayout, QLabel, QSizePolicy, QVBoxLayout, QWidget

from studio.core.series import decimate
from studio.ui import words
from studio.ui.i18n import tr
from studio.ui.theme import GRID, current, number_font
from studio.ui.widgets.flow import FlowLayout
from studio.ui.widgets.labels import Small


class MetricTile(QFrame):
    """A named number with its interval; the exact value on hover, and a click or Ctrl+C copies it.

    interval: half the width of the confidence interval, in the unit of the value.
    """

    copied = Signal(str)

    def __init__(
        self,
        name: str,
        value: float | str | None = None,
        interval: float | None = None,
        unit: str = "",
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self._name, self._unit, self._exact = name, unit, ""
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setCursor(Qt.CursorShape.PointingHandCursor)
        self.setSizePolicy(QSizePolicy.Policy.Maximum, QSizePolicy.Policy.Fixed)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(GRID, 6, GRID, 6)
        layout.setSpacing(2)
        label = Small(name)
        label.setWordWrap(False)
        layout.addWidget(label)
        line = QHBoxLayout()
        line.setSpacing(6)
        self._value = QLabel()
        self._value.setProperty("level", "title")
        self._value.setFont(number_font())
        line.addWidget(self._value)
        self._interval = QLabel()
        self._interval.setProperty("tone", "muted")
        self._interval.setFont(number_font())
        line.addWidget(self._interval, 0, Qt.AlignmentFlag.AlignBottom)
        line.addStretch(1)
        layout.addLayout(line)
        self.set_value(value, interval)

    def set_value(self, value: float | str | None, interval: float | None = None) -> None:
        """Show another value; a text is shown as it is, None as a dash."""
        known = isinstance(value, int | float)
        if known:
            whole = isinstance(value, int) or float(value).is_integer() and abs(value) >= 1000
            shown = words.count(value) if whole else words.number(value)
        else:
            shown = value or "–"
        self._value.setText(f"{shown}{words.THIN}{self._unit}" if self._unit and known else shown)
        self._interval.setText(f"± {words.number(interval, 3)}" if interval is not None else "")
        self._interval.setVisible(interval is not None)
        self._exact = repr(value) if known else (value or "")
        spread = f" ± {interval!r}" if interval is not None else ""
        self.setToolTip(f"{self._name}: {self._exact}{spread}\n" + tr("Click to copy") if self._exact else self._name)
        self.setAccessibleName(f"{self._name} {shown} {self._unit} {self._interval.text()}".strip())

    def copy(self) -> None:
        """Put the exact value on the clipboard."""
        if self._exact:
            QGuiApplication.clipboard().setText(self._exact)
            self.copied.emit(self._exact)

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        if event.button() == Qt.MouseButton.LeftButton and self.rect().contains(event.position().toPoint()):
            self.copy()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Space) or event.matches(event.StandardKey.Copy):
            self.copy()
        else:
            super().keyPressEvent(event)

    def enterEvent(self, event: object) -> None:
        self.update()

    def leaveEvent(self, event: object) -> None:
        self.update()

    def paintEvent(self, event: object) -> None:
        theme, painter = current(), QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        if self.underMouse():
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(QColor(theme.mix("text", 0.05)))
            painter.drawRoundedRect(self.rect(), 6, 6)
        if self.hasFocus():
            painter.setPen(QPen(theme.colour("accent"), 1))
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.drawRoundedRect(self.rect().adjusted(0, 0, -1, -1), 6, 6)


class TileRow(QWidget):
    """Metric tiles side by side, by the shown name of each metric."""

    def __init__(self, values: Mapping[str, float | str | None] | None = None, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._layout = FlowLayout(self)
        self._tiles: dict[str, MetricTile] = {}
        policy = QSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Minimum)
        policy.setHeightForWidth(True)
        self.setSizePolicy(policy)
        self.set_values(values or {})

    def set_values(
        self, values: Mapping[str, float | str | None], intervals: Mapping[str, float] | None = None
    ) -> None:
        """Show these values in this order; tiles that stay are kept."""
        for name in [n for n in self._tiles if n not in values]:
            tile = self._tiles.pop(name)
            self._layout.removeWidget(tile)
            tile.deleteLater()
        for name, value in values.items():
            if name not in self._tiles:
                self._tiles[name] = MetricTile(name)
                self._layout.addWidget(self._tiles[name])
                self._tiles[name].show()
            self._tiles[name].set_value(value, (intervals or {}).get(name))
        self._layout.invalidate()
        self.updateGeometry()

    def tile(self, name: str) -> MetricTile:
        """Return the tile of a metric; KeyError where there is none."""
        return self._tiles[name]


class Sparkline(QWidget):
    """A small curve without axes; NaN is a gap."""

    def __init__(self, values: Sequence[float] = (), colour: str = "accent", parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._values, self._colour = np.asarray(values, dtype=float), colour
        self.setMinimumSize(48, 16)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)

    def set_values(self, values: Sequence[float]) -> None:
        """Show another curve."""
        self._values = np.asarray(values, dtype=float)
        finite = self._values[np.isfinite(self._values)]
        text = f"{words.number(finite[0])} → {words.number(finite[-1])}" if len(finite) else ""
        self.setToolTip(text)
        self.setAccessibleName(text)
        self.update()

    def sizeHint(self) -> QSize:
        return QSize(96, 24)

    def paintEvent(self, event: object) -> None:
        paint_sparkline(QPainter(self), self.rect().toRectF(), self._values, current().colour(self._colour))


def paint_sparkline(painter: QPainter, rect: object, values: np.ndarray, colour: QColor) -> None:
    """Draw values [n] into a rectangle, lowest at the bottom; the last finite one gets a dot."""
    finite = np.isfinite(values)
    if not finite.any():
        return
    x, y = decimate(np.arange(len(values), dtype=float), values, 4 * max(10, int(rect.width())))
    low, high = float(values[finite].min()), float(values[finite].max())
    rect = rect.adjusted(2, 3, -4, -3)
    across = rect.left() + x / max(1, len(values) - 1) * rect.width()
    down = rect.bottom() - (y - low) / ((high - low) or 1) * rect.height()
    if high == low:
        down = np.where(np.isfinite(y), rect.center().y(), np.nan)
    painter.save()
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    pen = QPen(colour, 1)
    pen.setCosmetic(True)
    painter.setPen(pen)
    starts = np.flatnonzero(np.diff(np.concatenate([[0], np.isfinite(y).view(np.int8), [0]])))
    for start, stop in zip(starts[::2], starts[1::2], strict=True):
        points = [QPointF(a, b) for a, b in zip(across[start:stop], down[start:stop], strict=True)]
        painter.drawPolyline(QPolygonF(points))
    last = np.flatnonzero(np.isfinite(y))[-1]
    painter.setPen(Qt.PenStyle.NoPen)
    painter.setBrush(colour)
    painter.drawEllipse(QPointF(across[last], down[last]), 2, 2)
    painter.restore()
