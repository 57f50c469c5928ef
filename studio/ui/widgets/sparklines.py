"""A line over the steps for each head, layers down and heads across, as one picture with a hit test."""

import numpy as np
from PySide6.QtCore import QEvent, QPointF, QRectF, QSize, Qt, Signal
from PySide6.QtGui import QColor, QHelpEvent, QMouseEvent, QPainter, QPen, QPolygonF
from PySide6.QtWidgets import QSizePolicy, QToolTip, QWidget

from studio.ui.i18n import tr
from studio.ui.theme import current, follow_theme, number_font

LEFT, TOP, GAP, LEAST = 26.0, 18.0, 3.0, 8.0


class Sparklines(QWidget):
    """Values [step, layer, head] on one scale for all heads; NaN is a hole. head_chosen: layer and head from 0."""

    head_chosen = Signal(int, int)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._steps, self._values = np.zeros(0), np.zeros((0, 0, 0))
        self._chosen, self._hovered, self._at = (-1, -1), (-1, -1), -1
        self.setMouseTracking(True)
        self.setAccessibleName(tr("Each head over the steps"))
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        follow_theme(self, lambda _: self.update())

    def set_lines(self, steps: np.ndarray, values: np.ndarray) -> None:
        """Show values [step, layer, head] at these steps."""
        self._steps, self._values = np.asarray(steps, dtype=float), np.asarray(values, dtype=float)
        self.update()

    def select(self, layer: int, head: int) -> None:
        """Show a head as chosen, without a signal."""
        self._chosen = (layer, head)
        self.update()

    def mark(self, index: int) -> None:
        """Mark a step by its place, -1 for none."""
        self._at = index
        self.update()

    def ends(self) -> tuple[float, float]:
        """Return the least and the largest value, which all lines are drawn between."""
        known = self._values[np.isfinite(self._values)]
        return (float(known.min()), float(known.max())) if known.size else (0.0, 1.0)

    def cell(self, layer: int, head: int) -> QRectF:
        """Return where a head's line is drawn."""
        _, n_layers, n_heads = self._values.shape
        width = max(LEAST, (self.width() - LEFT) / max(1, n_heads))
        height = max(LEAST, (self.height() - TOP) / max(1, n_layers))
        return QRectF(LEFT + head * width, TOP + layer * height, width - GAP, height - GAP)

    def hit(self, at: QPointF) -> tuple[int, int]:
        """Return layer and head under a place, (-1, -1) for none."""
        _, n_layers, n_heads = self._values.shape
        heads = ((layer, head) for layer in range(n_layers) for head in range(n_heads))
        return next((each for each in heads if self.cell(*each).contains(at)), (-1, -1))

    def sizeHint(self) -> QSize:
        return QSize(420, 220)

    def paintEvent(self, event: object) -> None:
        theme, painter = current(), QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setFont(number_font(theme.small))
        n_steps, n_layers, n_heads = self._values.shape
        if not n_steps:
            return
        low, high = self.ends()
        span = max(high - low, 1e-12)
        along = (self._steps - self._steps[0]) / max(self._steps[-1] - self._steps[0], 1e-12)
        centre = Qt.AlignmentFlag.AlignCenter
        painter.setPen(theme.colour("muted"))
        for head in range(n_heads):
            rect = self.cell(0, head)
            painter.drawText(QRectF(rect.left(), 0, rect.width(), TOP), centre, str(head + 1))
        for layer in range(n_layers):
            rect = self.cell(layer, 0)
            painter.drawText(QRectF(0, rect.top(), LEFT - 4, rect.height()), centre, str(layer + 1))
        for layer in range(n_layers):
            for head in range(n_heads):
                rect, chosen = self.cell(layer, head), (layer, head) == self._chosen
                painter.fillRect(rect, theme.colour("ground"))
                y = 1.0 - (self._values[:, layer, head] - low) / span
                painter.setPen(QPen(theme.colour("accent" if chosen else "muted"), 1.6 if chosen else 1.1))
                self._paint_line(painter, rect.adjusted(2, 2, -2, -2), along, y)
                if 0 <= self._at < n_steps:
                    x = rect.left() + 2 + along[self._at] * (rect.width() - 4)
                    painter.setPen(QPen(QColor(theme.mix("accent", 0.4)), 1))
                    painter.drawLine(QPointF(x, rect.top()), QPointF(x, rect.bottom()))
                if chosen or (layer, head) == self._hovered:
                    painter.setBrush(Qt.BrushStyle.NoBrush)
                    painter.setPen(QPen(theme.colour("accent" if chosen else "text"), 2 if chosen else 1))
                    painter.drawRect(rect)

    def _paint_line(self, painter: QPainter, rect: QRectF, along: np.ndarray, y: np.ndarray) -> None:
        line = QPolygonF()
        for x, value in zip(along, y, strict=True):
            if np.isfinite(value):
                line.append(QPointF(rect.left() + x * rect.width(), rect.top() + value * rect.height()))
                continue
            painter.drawPolyline(line)
            line = QPolygonF()
        painter.drawPolyline(line)
        if len(y) == 1 and len(line):
            painter.drawEllipse(line[0], 1.5, 1.5)

    def event(self, event: QEvent) -> bool:
        if event.type() == QEvent.Type.ToolTip and isinstance(event, QHelpEvent):
            layer, head = self.hit(QPointF(event.pos()))
            text = tr("Layer {layer} · Head {head}", layer=layer + 1, head=head + 1) if layer >= 0 else ""
            QToolTip.showText(event.globalPos(), text, self)
            return True
        return super().event(event)

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        hovered = self.hit(event.position())
        if hovered != self._hovered:
            self._hovered = hovered
            self.setCursor(Qt.CursorShape.PointingHandCursor if hovered[0] >= 0 else Qt.CursorShape.ArrowCursor)
            self.update()

    def leaveEvent(self, event: object) -> None:
        self._hovered = (-1, -1)
        self.update()

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        layer, head = self.hit(event.position())
        if layer >= 0 and event.button() == Qt.MouseButton.LeftButton:
            self.head_chosen.emit(layer, head)
