"""All heads of a model at a glance: layers down, heads across, as one picture with a hit test."""

from collections.abc import Sequence

import numpy as np
from PySide6.QtCore import QEvent, QPointF, QRectF, QSize, Qt, Signal
from PySide6.QtGui import QHelpEvent, QImage, QKeyEvent, QMouseEvent, QPainter, QPen
from PySide6.QtWidgets import QSizePolicy, QToolTip, QWidget

from studio.attention.maps import atlas
from studio.ui.i18n import tr
from studio.ui.theme import Theme, current, follow_theme, number_font
from studio.ui.threads import background
from studio.ui.widgets.heat import Scale, picture

LEAST_CELL, MOST_CELL = 8, 96
REDUCED = 64  # the side of what is kept of each head; thumbnails are made from it at the size in use
SLOW_VALUES = 500_000  # more take longer than a frame to reduce


class HeadGrid(QWidget):
    """One thumbnail a head; hover names it, a click or the arrow keys choose it.

    head_chosen: layer and head, counted from 0 (on screen from 1).
    """

    head_chosen = Signal(int, int)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._maps: np.ndarray | None = None
        self._mean = False
        self._reduced: np.ndarray | None = None
        self._shape, self._order = (0, 0), np.empty(0, dtype=int)
        self._in_order_of_layers, self._difference, self._per_head, self._gamma = True, False, False, 1.0
        self._largest = 1.0
        self._chosen, self._hovered, self._image = -1, -1, None
        self._others: list[int] = []
        self._image_key: tuple | None = None
        self._pooled, self._pooled_key = np.empty((0, 0), dtype=np.float32), None
        self.setMouseTracking(True)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self.setAccessibleName(tr("Attention heads"))
        follow_theme(self, self._repaint)

    def set_maps(self, maps: np.ndarray, difference: bool = False) -> None:
        """Show maps [layer, head, query, key]; large ones are reduced in the background."""
        self._maps, self._shape, self._difference = maps, maps.shape[:2], difference
        self._order = (
            np.arange(self._shape[0] * self._shape[1]) if len(self._order) != np.prod(self._shape) else (self._order)
        )
        side, mean = min(REDUCED, max(maps.shape[2:])), self._mean

        def reduce() -> np.ndarray:
            n_layers, n_heads = maps.shape[:2]
            heads = atlas(maps, side, mean).reshape(n_layers, side, n_heads, side)
            return np.ascontiguousarray(heads.swapaxes(1, 2))

        if maps.size > SLOW_VALUES:
            self._reduced = None
            background(reduce, self._take, self._fail, self, "reduce")
        else:
            self._take(reduce())

    def wait(self, shape: tuple[int, int]) -> None:
        """Say that the maps of so many layers and heads are being prepared."""
        self._shape, self._maps, self._reduced = shape, None, None
        self._order = np.arange(shape[0] * shape[1])
        self.update()

    def set_order(self, order: np.ndarray | None) -> None:
        """Fill the places, from left to right and then downwards, with these heads (layer * n_heads + head).

        None is the order of the model. Raises ValueError for anything but a permutation.
        """
        n = self._shape[0] * self._shape[1]
        self._in_order_of_layers = order is None
        found = np.arange(n) if order is None else np.asarray(order, dtype=int)
        if n and not np.array_equal(np.sort(found), np.arange(n)):
            raise ValueError(f"the order of {n} heads must name each once")
        self._order, self._pooled_key = found, None
        self._repaint(current())

    def set_per_head(self, on: bool) -> None:
        """Give each head a scale of its own up to its largest value, or all heads the same."""
        self._per_head = on
        self._repaint(current())

    def set_mean(self, on: bool) -> None:
        """Make thumbnails of the mean of the cells that share a pixel, or of the one furthest from 0."""
        if on != self._mean:
            self._mean = on
            if self._maps is not None:
                self.set_maps(self._maps, self._difference)

    def set_gamma(self, gamma: float) -> None:
        """Lift small values with a gamma below 1."""
        self._gamma = gamma
        self._repaint(current())

    def select(self, layer: int, head: int, others: Sequence[tuple[int, int]] = ()) -> None:
        """Show a head as chosen, and others with it, without a signal."""
        self._chosen = layer * self._shape[1] + head
        self._others = [layer * self._shape[1] + head for layer, head in others]
        self.setAccessibleDescription(self.describe(self._chosen))
        self.update()

    def selected(self) -> tuple[int, int]:
        """Return layer and head of the chosen one, (-1, -1) for none."""
        return divmod(self._chosen, self._shape[1]) if self._chosen >= 0 else (-1, -1)

    def hit(self, at: QPointF) -> tuple[int, int]:
        """Return layer and head under a place, (-1, -1) for none."""
        place = self._place_at(at)
        return divmod(int(self._order[place]), self._shape[1]) if place >= 0 else (-1, -1)

    def head_rect(self, layer: int, head: int) -> QRectF:
        """Return where a head is drawn."""
        place = int(np.flatnonzero(self._order == layer * self._shape[1] + head)[0])
        row, column = divmod(place, self._shape[1])
        origin, cell = self._origin(), self._cell()
        return QRectF(origin.x() + column * cell, origin.y() + row * cell, cell - 1, cell - 1)

    def beside(self, steps: int) -> tuple[int, int]:
        """Return the head so many places after the chosen one, in the order that is shown; at an end it stays."""
        here = int(np.flatnonzero(self._order == max(0, self._chosen))[0])
        return divmod(int(self._order[min(max(0, here + steps), len(self._order) - 1)]), self._shape[1])

    def describe(self, head: int) -> str:
        """Return a head, by its flat index, in words."""
        if head < 0:
            return ""
        layer, head = divmod(head, self._shape[1])
        return tr("Layer {layer} · Head {head}", layer=layer + 1, head=head + 1)

    def scale_text(self) -> str:
        """Return in words what the colours mean."""
        if self._per_head:
            return tr("each on its own scale")
        low, high = self._scale().ends()
        return tr("all heads from {low} to {high}", low=low, high=high)

    def sizeHint(self) -> QSize:
        side = 40
        return QSize(34 + side * max(1, self._shape[1]), 40 + side * max(1, self._shape[0]))

    def minimumSizeHint(self) -> QSize:
        return QSize(34 + LEAST_CELL * max(1, self._shape[1]), 40 + LEAST_CELL * max(1, self._shape[0]))

    def paintEvent(self, event: object) -> None:
        theme, painter = current(), QPainter(self)
        painter.setFont(number_font(theme.small))
        if self._reduced is None:
            if self._shape[0]:
                painter.setPen(theme.colour("muted"))
                painter.drawText(self.rect(), Qt.AlignmentFlag.AlignCenter, tr("Preparing the heads…"))
            return
        image = self._atlas(theme)
        painter.drawImage(self._origin(), image)
        self._paint_names(painter, theme)
        painter.setBrush(Qt.BrushStyle.NoBrush)
        others = [(head, "accent", 1.25) for head in self._others]
        for head, colour, width in ((self._hovered, "text", 1), *others, (self._chosen, "accent", 2)):
            if head >= 0:
                rect = self.head_rect(*divmod(head, self._shape[1]))
                if width > 1:
                    # A line of the ground between picture and frame keeps the frame in sight on any colours.
                    painter.setPen(QPen(theme.colour("surface"), 4))
                    painter.drawRect(rect.adjusted(0, 0, 0, 0))
                painter.setPen(QPen(theme.colour(colour), width))
                painter.drawRect(rect.adjusted(-0.5, -0.5, 0.5, 0.5))
        if self.hasFocus():
            painter.setPen(QPen(theme.colour("accent"), 1, Qt.PenStyle.DotLine))
            size = QPointF(self._shape[1] * self._cell(), self._shape[0] * self._cell())
            painter.drawRect(QRectF(self._origin(), self._origin() + size).adjusted(-3, -3, 2, 2))

    def event(self, event: QEvent) -> bool:
        if event.type() == QEvent.Type.ToolTip and isinstance(event, QHelpEvent):
            layer, head = self.hit(QPointF(event.pos()))
            text = self.describe(layer * self._shape[1] + head) if layer >= 0 else ""
            QToolTip.showText(event.globalPos(), text, self)
            return True
        return super().event(event)

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        place = self._place_at(event.position())
        head = int(self._order[place]) if place >= 0 else -1
        if head != self._hovered:
            self._hovered = head
            self.setCursor(Qt.CursorShape.PointingHandCursor if head >= 0 else Qt.CursorShape.ArrowCursor)
            self.update()

    def leaveEvent(self, event: object) -> None:
        self._hovered = -1
        self.update()

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        layer, head = self.hit(event.position())
        if layer >= 0 and event.button() == Qt.MouseButton.LeftButton:
            self._choose(layer * self._shape[1] + head)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        n_columns = self._shape[1]
        steps = {
            Qt.Key.Key_Left: -1, Qt.Key.Key_Right: 1, Qt.Key.Key_Up: -n_columns, Qt.Key.Key_Down: n_columns,
        }  # fmt: skip
        if event.key() in steps and len(self._order):
            here = int(np.flatnonzero(self._order == max(0, self._chosen))[0])
            there = here + steps[event.key()] if self._chosen >= 0 else 0
            if 0 <= there < len(self._order):
                self._choose(int(self._order[there]))
        else:
            super().keyPressEvent(event)

    def _choose(self, head: int) -> None:
        layer, head = divmod(head, self._shape[1])
        self.select(layer, head)
        self.head_chosen.emit(layer, head)

    def _take(self, reduced: np.ndarray) -> None:
        self._reduced, self._pooled_key = reduced, None
        self._largest = float(np.abs(reduced).max(initial=0.0)) or 1.0
        self.updateGeometry()
        self._repaint(current())

    def _fail(self, error: Exception) -> None:
        raise error

    def _repaint(self, theme: Theme) -> None:
        self._image_key = None
        self.update()

    def _scale(self) -> Scale:
        if self._per_head:
            return Scale(self._difference, 1.0, self._gamma)
        return Scale(self._difference, self._largest if self._difference else 1.0, self._gamma)

    def _atlas(self, theme: Theme) -> QImage:
        """Return the picture of all heads at the size in use, a line of the surface between them."""
        ratio = self.devicePixelRatioF()
        side = max(2, round(self._cell() * ratio))
        key = (side, ratio, theme.name)
        if key != self._image_key:
            n_rows, n_columns = self._shape
            gap = max(1, round(ratio))
            inner = side - gap
            if self._pooled_key != (inner, self._per_head):
                self._pooled = atlas(self._reduced, inner, self._mean, self._per_head, self._order)
                self._pooled_key = (inner, self._per_head)
            colours = self._scale().colours(self._pooled, theme).reshape(n_rows, inner, n_columns, inner)
            ground = np.uint32(0xFF000000 | int(theme.surface[1:], 16))
            whole = np.full((n_rows, side, n_columns, side), ground, dtype=np.uint32)
            whole[:, :inner, :, :inner] = colours
            self._image = picture(whole.reshape(n_rows * side, n_columns * side))
            self._image.setDevicePixelRatio(ratio)
            self._image_key = key
        return self._image

    def _origin(self) -> QPointF:
        return QPointF(34, 36)

    def _cell(self) -> float:
        """Return the side of a place in logical pixels, whole in those of the screen."""
        room = min(
            (self.width() - 34) / max(1, self._shape[1]), (self.height() - 38) / max(1, self._shape[0]), MOST_CELL
        )
        ratio = self.devicePixelRatioF()
        return max(LEAST_CELL, np.floor(room * ratio) / ratio)

    def _place_at(self, at: QPointF) -> int:
        origin, cell = self._origin(), self._cell()
        row, column = int((at.y() - origin.y()) // cell), int((at.x() - origin.x()) // cell)
        inside = 0 <= row < self._shape[0] and 0 <= column < self._shape[1]
        return row * self._shape[1] + column if inside else -1

    def _paint_names(self, painter: QPainter, theme: Theme) -> None:
        """Write the numbers of layers and heads; in another order the first line says how to read it."""
        painter.setPen(theme.colour("muted"))
        origin, cell = self._origin(), self._cell()
        by_layer = self._in_order_of_layers
        text = self.describe(self._hovered) or (
            tr("Layers down, heads across") if by_layer else tr("From first to last, line by line")
        )
        line = QRectF(0, 0, self.width(), 16)
        painter.drawText(line, Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter, text)
        used = painter.fontMetrics().horizontalAdvance(text) + 16
        if self._per_head:
            said = painter.fontMetrics().elidedText(
                self.scale_text(), Qt.TextElideMode.ElideRight, int(self.width() - used)
            )
            painter.drawText(line, Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter, said)
        elif self.width() - used > 100:
            wide = min(150.0, self.width() - used)
            self._scale().paint_bar(painter, QRectF(self.width() - wide, 0, wide, 16), theme)
        if not by_layer:
            return
        painter.setPen(theme.colour("muted"))
        stride = 1 if cell >= 16 else 4
        for head in range(0, self._shape[1], stride):
            rect = QRectF(origin.x() + head * cell, 16, cell, 18)
            painter.drawText(rect.adjusted(-8, 0, 8, 0), Qt.AlignmentFlag.AlignCenter, str(head + 1))
        for layer in range(0, self._shape[0], stride):
            rect = QRectF(0, origin.y() + layer * cell, origin.x() - 6, cell)
            painter.drawText(rect.adjusted(0, -4, 0, 4), Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter,
                             str(layer + 1))  # fmt: skip
