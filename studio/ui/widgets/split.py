"""How the rows are shared out, as a bar whose borders can be dragged."""

from PySide6.QtCore import QPointF, QRectF, QSize, Qt, Signal
from PySide6.QtGui import QColor, QFontMetrics, QKeyEvent, QMouseEvent, QPainter, QPainterPath, QPen
from PySide6.QtWidgets import QSizePolicy, QWidget

from studio.ui import words
from studio.ui.i18n import tr
from studio.ui.theme import current, number_font

GRIP, BAR, STEP, MOST_HELD_OUT = 6, 20, 0.01, 0.9


class SplitBar(QWidget):
    """Train, validation and test as one bar; `changed` (validation, test, as shares) once a border is let go.

    The arrow keys move a border by one percent, Tab the other way round: Up and Down choose the border.
    """

    changed = Signal(float, float)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._n_rows, self._validation, self._test = 0, 0.1, 0.1
        self._grip, self._chosen, self._before = -1, 0, (0.1, 0.1)
        self.setMouseTracking(True)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self._say()

    def set_split(self, n_rows: int, validation: float, test: float) -> None:
        """Show shares of `n_rows` rows."""
        self._n_rows, self._validation, self._test = n_rows, validation, test
        self._say()
        self.update()

    def split(self) -> tuple[float, float]:
        """Return the shares of validation and test."""
        return self._validation, self._test

    def counts(self) -> tuple[int, int, int]:
        """Return the rows of training, validation and test; the split itself may differ by a row to stratify."""
        validation, test = round(self._n_rows * self._validation), round(self._n_rows * self._test)
        return self._n_rows - validation - test, validation, test

    def border_x(self, border: int) -> float:
        """Return where a border is: 0 between training and validation, 1 between validation and test."""
        share = 1 - self._test - (self._validation if border == 0 else 0)
        return self._bar().left() + share * self._bar().width()

    def sizeHint(self) -> QSize:
        return QSize(320, 44)

    def minimumSizeHint(self) -> QSize:
        return QSize(160, 44)

    def paintEvent(self, event: object) -> None:
        theme, painter, bar = current(), QPainter(self), self._bar()
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        edges = [bar.left(), self.border_x(0), self.border_x(1), bar.right()]
        round_corners = QPainterPath()
        round_corners.addRoundedRect(bar, 5, 5)
        painter.setClipPath(round_corners)
        painter.setPen(Qt.PenStyle.NoPen)
        for left, right, colour in zip(edges, edges[1:], theme.series, strict=False):
            painter.setBrush(QColor(theme.mix(colour, 0.85)))
            painter.drawRect(QRectF(left, bar.top(), right - left, bar.height()))
        painter.setClipping(False)
        for border in (0, 1):
            focus = self.hasFocus() and border == self._chosen
            painter.setBrush(theme.colour("accent" if focus else "surface"))
            painter.drawRect(QRectF(self.border_x(border) - 1, bar.top() - 3, 2, bar.height() + 6))
            if focus or border == self._grip:
                painter.setPen(QPen(theme.colour("text"), 1))
                painter.setBrush(theme.colour("raised"))
                painter.drawRoundedRect(QRectF(self.border_x(border) - 4, bar.top() + 3, 8, bar.height() - 6), 3, 3)
                painter.setPen(Qt.PenStyle.NoPen)
        self._draw_words(painter, edges)

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        x = event.position().x()
        if event.buttons() & Qt.MouseButton.LeftButton and self._grip >= 0:
            self._move(self._grip, 1 - (x - self._bar().left()) / self._bar().width())
            return
        grip = self._grip_at(x)
        if grip != self._grip:
            self._grip = grip
            self.setCursor(Qt.CursorShape.SplitHCursor if grip >= 0 else Qt.CursorShape.ArrowCursor)
            self.update()

    def mousePressEvent(self, event: QMouseEvent) -> None:
        self._before, self._grip = self.split(), self._grip_at(event.position().x())
        self._chosen = max(0, self._grip)
        self.update()

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        if self.split() != self._before:
            self.changed.emit(*self.split())

    def leaveEvent(self, event: object) -> None:
        self._grip = -1
        self.update()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.key() in (Qt.Key.Key_Up, Qt.Key.Key_Down):
            self._chosen = 1 - self._chosen
            self.update()
        elif event.key() in (Qt.Key.Key_Left, Qt.Key.Key_Right):
            held_out = self._test + (self._validation if self._chosen == 0 else 0)
            before = self.split()
            self._move(self._chosen, held_out + (STEP if event.key() == Qt.Key.Key_Left else -STEP))
            if self.split() != before:
                self.changed.emit(*self.split())
        else:
            super().keyPressEvent(event)

    def _move(self, border: int, held_out: float) -> None:
        """Put a border where `held_out` of the rows lie to its right, in whole percents."""
        held_out = min(MOST_HELD_OUT, max(0.0, round(held_out, 2)))
        if border == 0:
            self._test = round(min(self._test, held_out), 2)
            self._validation = round(held_out - self._test, 2)
        else:
            both = self._validation + self._test
            self._test = round(min(both, held_out), 2)
            self._validation = round(both - self._test, 2)
        self._say()
        self.update()

    def _bar(self) -> QRectF:
        return QRectF(GRIP, 3, max(1, self.width() - 2 * GRIP), BAR)

    def _grip_at(self, x: float) -> int:
        near = [(abs(self.border_x(b) - x), -b if x < self.border_x(b) else b, b) for b in (0, 1)]
        distance, _, border = min(near)
        return border if distance <= GRIP else -1

    def _parts(self) -> list[tuple[str, float, int]]:
        shares = (1 - self._validation - self._test, self._validation, self._test)
        return list(zip((tr("train"), tr("validation"), tr("test")), shares, self.counts(), strict=True))

    def _draw_words(self, painter: QPainter, edges: list[float]) -> None:
        """Write name, share and rows below each part, moved aside where they would overlap."""
        theme, font = current(), number_font(current().small)
        metrics = QFontMetrics(font)
        painter.setFont(font)
        texts = [f"{name} {words.percent(share)} · {words.count(rows)}" for name, share, rows in self._parts()]
        if sum(metrics.horizontalAdvance(t) + 24 for t in texts) > self.width():
            texts = [f"{name} {words.percent(share)}" for name, share, _ in self._parts()]
        widths = [metrics.horizontalAdvance(t) + 14 for t in texts]
        lefts = list(edges[:3])
        end = float(self.width())
        for part in (2, 1, 0):
            lefts[part] = max(0.0, min(lefts[part], end - widths[part]))
            end = lefts[part] - 8
        base = self._bar().bottom() + 4
        for text, left, colour in zip(texts, lefts, theme.series, strict=False):
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(theme.colour(colour))
            painter.drawEllipse(QPointF(left + 4, base + 8), 3, 3)
            painter.setPen(theme.colour("muted"))
            painter.drawText(QRectF(left + 11, base, 400, 16), Qt.AlignmentFlag.AlignVCenter, text)

    def _say(self) -> None:
        said = ", ".join(f"{name} {words.percent(share)} ({rows:,})" for name, share, rows in self._parts())
        self.setAccessibleName(tr("Split"))
        self.setAccessibleDescription(said)
        self.setToolTip(said)
