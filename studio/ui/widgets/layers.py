"""The layers of a model as bars of their parts, frozen ones hatched."""

from collections.abc import Sequence

from PySide6.QtCore import QEvent, QPointF, QRectF, QSize, Qt, Signal
from PySide6.QtGui import QBrush, QColor, QFontMetrics, QHelpEvent, QKeyEvent, QMouseEvent, QPainter, QPen
from PySide6.QtWidgets import QSizePolicy, QToolTip, QWidget

from studio.ui import words
from studio.ui.i18n import tr
from studio.ui.theme import Theme, current, number_font

Part = tuple[str, int, float]  # name, parameters, the share of them that trains
PARTS = {
    "embeddings": (0, 1.0, "Embeddings"),
    "query": (3, 1.0, "Query"),
    "key": (3, 0.8, "Key"),
    "value": (3, 0.62, "Value"),
    "output": (3, 0.45, "Output"),
    "feed-forward": (2, 0.9, "Feed-forward"),
    "norms": (4, 1.0, "Norms"),
    "head": (1, 1.0, "Head"),
}
ROW, LOW_ROW, GAP, MANY_ROWS = 22, 14, 4, 16


class LayerStrip(QWidget):
    """One bar a layer, from the bottom of the model (top of the list) to its head; `layer_clicked` carries the row.

    A bar is divided by the parameters of its parts; what does not train is hatched. Up and Down move, Enter clicks.
    """

    layer_clicked = Signal(int)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._layers: list[tuple[str, list[Part]]] = []
        self._hovered, self._current = -1, 0
        self.setMouseTracking(True)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setAccessibleName(tr("Layers of the model"))
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Preferred)

    def set_layers(self, layers: Sequence[tuple[str, Sequence[Part]]]) -> None:
        """Show layers: (name, [(part, parameters, share that trains)])."""
        self._layers = [(name, list(parts)) for name, parts in layers]
        self._current = min(self._current, max(0, len(self._layers) - 1))
        total = sum(n for _, parts in self._layers for _, n, _ in parts)
        trains = sum(n * share for _, parts in self._layers for _, n, share in parts)
        self.setAccessibleDescription(
            tr("{n} of {total} parameters train", n=words.count(trains), total=words.count(total))
        )
        self.updateGeometry()
        self.update()

    def hit(self, at: QPointF) -> tuple[int, int]:
        """Return row and part at a place, -1 where there is none."""
        row = int((at.y()) // (self._row_height() + GAP)) if at.y() >= 0 else -1
        if not 0 <= row < len(self._layers):
            return -1, -1
        for part, rect in enumerate(self.part_rects(row)):
            if rect.left() <= at.x() < rect.right():
                return row, part
        return row, -1

    def part_rects(self, row: int) -> list[QRectF]:
        """Return where the parts of a row are."""
        left, right = self._name_width(), self.width() - self._count_width()
        parts = self._layers[row][1]
        total = sum(n for _, n, _ in parts) or 1
        # Every part can be seen and hit: two pixels at least.
        least = 2.0
        room = max(1.0, right - left - least * len(parts))
        rects, x = [], left
        for _, n, _ in parts:
            width = least + room * n / total
            rects.append(QRectF(x, row * (self._row_height() + GAP), width, self._row_height()))
            x += width
        return rects

    def sizeHint(self) -> QSize:
        return QSize(360, len(self._layers) * (self._row_height() + GAP) + 46)

    def minimumSizeHint(self) -> QSize:
        return QSize(200, self.sizeHint().height())

    def paintEvent(self, event: object) -> None:
        theme, painter = current(), QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setFont(number_font(theme.small))
        height = self._row_height()
        for row, (name, parts) in enumerate(self._layers):
            y = row * (height + GAP)
            if row == self._hovered or (self.hasFocus() and row == self._current):
                painter.setPen(QPen(theme.colour("accent"), 1) if self.hasFocus() and row == self._current else
                               Qt.PenStyle.NoPen)  # fmt: skip
                painter.setBrush(QColor(theme.mix("text", 0.06)))
                painter.drawRoundedRect(QRectF(0.5, y - 1.5, self.width() - 1, height + 3), 4, 4)
            painter.setPen(theme.colour("text" if any(share for _, _, share in parts) else "muted"))
            middle = Qt.AlignmentFlag.AlignVCenter
            painter.drawText(QRectF(4, y, self._name_width() - 8, height), middle, tr(name).capitalize())
            count = words.count(sum(n for _, n, _ in parts))
            painter.setPen(theme.colour("muted"))
            painter.drawText(
                QRectF(self.width() - self._count_width(), y, self._count_width() - 4, height),
                middle | Qt.AlignmentFlag.AlignRight,
                count,
            )
            for rect, part in zip(self.part_rects(row), parts, strict=True):
                _paint_part(painter, theme, rect.adjusted(0, 0, -1 if rect.width() > 3 else 0, 0), part)
        self._paint_legend(painter, theme)

    def event(self, event: QEvent) -> bool:
        if event.type() == QEvent.Type.ToolTip and isinstance(event, QHelpEvent):
            QToolTip.showText(event.globalPos(), self.describe(*self.hit(QPointF(event.pos()))), self)
            return True
        return super().event(event)

    def describe(self, row: int, part: int) -> str:
        """Return what is known of a part, or of a whole row where `part` is -1."""
        if row < 0:
            return ""
        name, parts = self._layers[row]
        chosen = parts if part < 0 else [parts[part]]
        total, trains = sum(n for _, n, _ in chosen), sum(n * share for _, n, share in chosen)
        title = tr(name).capitalize() if part < 0 else f"{tr(name).capitalize()} · {part_name(parts[part][0])}"
        state = tr("frozen") if not trains else tr("{n} train ({share})", n=f"{round(trains):,}",
                                                   share=words.percent(trains / total, 1))  # fmt: skip
        return f"{title}\n" + tr("{n} parameters", n=f"{total:,}") + f" · {state}"

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        row = self.hit(event.position())[0]
        if row != self._hovered:
            self._hovered = row
            self.setCursor(Qt.CursorShape.PointingHandCursor if row >= 0 else Qt.CursorShape.ArrowCursor)
            self.update()

    def leaveEvent(self, event: object) -> None:
        self._hovered = -1
        self.update()

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        row = self.hit(event.position())[0]
        if row >= 0 and event.button() == Qt.MouseButton.LeftButton:
            self._current = row
            self.layer_clicked.emit(row)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.key() in (Qt.Key.Key_Up, Qt.Key.Key_Down) and self._layers:
            way = 1 if event.key() == Qt.Key.Key_Down else -1
            self._current = min(len(self._layers) - 1, max(0, self._current + way))
            self.update()
        elif event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Space) and self._layers:
            self.layer_clicked.emit(self._current)
        else:
            super().keyPressEvent(event)

    def _row_height(self) -> int:
        return ROW if len(self._layers) <= MANY_ROWS else LOW_ROW

    def _name_width(self) -> float:
        metrics = QFontMetrics(number_font(current().small))
        return max([metrics.horizontalAdvance(tr(name).capitalize()) for name, _ in self._layers], default=40) + 16

    def _count_width(self) -> float:
        return QFontMetrics(number_font(current().small)).horizontalAdvance("000.0 M") + 12

    def _paint_legend(self, painter: QPainter, theme: Theme) -> None:
        metrics, left = QFontMetrics(painter.font()), 4.0
        x, y = left, len(self._layers) * (self._row_height() + GAP) + 8
        present = [p for p in [*PARTS, "other"] if any(part == p for _, parts in self._layers for part, _, _ in parts)]
        entries = [(part, part_name(part), 1.0) for part in present]
        if any(share < 1 for _, parts in self._layers for _, _, share in parts):
            entries.append(("", tr("frozen"), 0.0))
        for part, text, share in entries:
            width = 14 + metrics.horizontalAdvance(text) + 10
            if x + width > self.width() and x > left:
                x, y = left, y + 18
            _paint_part(painter, theme, QRectF(x, y + 3, 10, 10), (part, 1, share))
            painter.setPen(theme.colour("muted"))
            painter.drawText(QRectF(x + 14, y, width, 16), Qt.AlignmentFlag.AlignVCenter, text)
            x += width


def part_name(part: str) -> str:
    """Return a part in words."""
    return tr(PARTS[part][2]) if part in PARTS else tr("Other")


def _paint_part(painter: QPainter, theme: Theme, rect: QRectF, part: Part) -> None:
    """Draw a part: what trains in full colour from the left, the rest pale and hatched."""
    series, strength, _ = PARTS.get(part[0], (-1, 0.8, ""))
    colour = theme.series[series] if series >= 0 else theme.muted
    share = part[2]
    painter.setPen(Qt.PenStyle.NoPen)
    if share < 1:
        painter.fillRect(rect, QColor(theme.mix(colour, 0.22 * strength)))
        painter.fillRect(rect, QBrush(QColor(theme.mix(colour, 0.6 * strength)), Qt.BrushStyle.BDiagPattern))
    if share > 0:
        width = rect.width() if share >= 1 else min(rect.width(), max(3.0, rect.width() * share))
        painter.fillRect(QRectF(rect.left(), rect.top(), width, rect.height()), QColor(theme.mix(colour, strength)))
