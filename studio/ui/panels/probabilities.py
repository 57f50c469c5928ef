"""What a model says of a row: its answer with a bar for each label, or the blocks of its task."""

from collections.abc import Mapping, Sequence

from PySide6.QtCore import QRect, QSize, Qt
from PySide6.QtGui import QColor, QFontMetrics, QPainter
from PySide6.QtWidgets import QSizePolicy, QVBoxLayout, QWidget

from studio.core.blocks import Block, SpanTexts, Texts
from studio.ui import words
from studio.ui.i18n import tr
from studio.ui.theme import GRID, current, number_font
from studio.ui.widgets.blocks import draw
from studio.ui.widgets.cards import Card
from studio.ui.widgets.chips import Chip
from studio.ui.widgets.labels import ElidedLabel, Small

LEAST_TEXTS = 140  # the least height of texts in an answer, in logical pixels
LINE, LEAST_LINE, MOST = 26, 18, 8  # heights of a line in logical pixels, and the most lines


class ProbabilityBars(QWidget):
    """A bar for each label, the first one strong; the exact value on hover."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._values: list[tuple[str, float]] = []
        self._colour = "accent"
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Preferred)
        self.setMouseTracking(True)

    def set_values(self, values: Sequence[tuple[str, float]], colour: str) -> None:
        """Show these labels in this order; the most probable bar has `colour`, the others are quiet."""
        self._values, self._colour = list(values), colour
        self.setAccessibleName(", ".join(f"{label} {words.percent(p, 1)}" for label, p in values))
        self.updateGeometry()
        self.update()

    def values(self) -> list[tuple[str, float]]:
        """Return what is shown."""
        return list(self._values)

    def sizeHint(self) -> QSize:
        return QSize(220, LINE * len(self._values))

    def minimumSizeHint(self) -> QSize:
        return QSize(120, LEAST_LINE * len(self._values))

    def _line_height(self) -> int:
        return max(LEAST_LINE, min(LINE, self.height() // max(1, len(self._values))))

    def mouseMoveEvent(self, event: object) -> None:
        line = int(event.position().y()) // self._line_height()
        label, p = self._values[line] if 0 <= line < len(self._values) else ("", None)
        self.setToolTip("" if p is None else f"{label}: {p!r}")

    def paintEvent(self, event: object) -> None:
        if not self._values:
            return
        theme, painter = current(), QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        font = number_font()
        painter.setFont(font)
        metrics = QFontMetrics(font)
        widest = max(metrics.horizontalAdvance(label) for label, _ in self._values)
        left = min(widest, round(self.width() * 0.45)) + 2 * GRID
        right = metrics.horizontalAdvance(words.percent(1, 1)) + GRID
        track = max(8, self.width() - left - right)
        best, height = max(p for _, p in self._values), self._line_height()
        middle = Qt.AlignmentFlag.AlignVCenter
        for line, (label, p) in enumerate(self._values):
            top, strong = line * height, p == best
            painter.setPen(theme.colour("text" if strong else "muted"))
            shown = metrics.elidedText(label, Qt.TextElideMode.ElideRight, left - 2 * GRID)
            painter.drawText(QRect(0, top, left, height), middle | Qt.AlignmentFlag.AlignLeft, shown)
            numbers = QRect(self.width() - right, top, right, height)
            painter.drawText(numbers, middle | Qt.AlignmentFlag.AlignRight, words.percent(p, 1))
            painter.setPen(Qt.PenStyle.NoPen)
            bar = QRect(left, top + (height - 8) // 2, track, 8)
            painter.setBrush(QColor(theme.mix("text", 0.07)))
            painter.drawRoundedRect(bar, 4, 4)
            painter.setBrush(QColor(theme.mix(self._colour, 1.0 if strong else 0.45)))
            if p * track >= 1:
                painter.drawRoundedRect(QRect(left, bar.top(), max(8, round(p * track)), 8), 4, 4)


class AnswerCard(Card):
    """A model's answer to one text: the most probable label, whether it is right, and the bars."""

    def __init__(self, title: str, colour: str, parent: QWidget | None = None) -> None:
        super().__init__(title, parent)
        self._colour = colour
        self._verdict = Chip()
        self._verdict.hide()
        self.add_to_header(self._verdict)
        self.answer = ElidedLabel("–")
        self.answer.setProperty("level", "title")
        self.bars = ProbabilityBars()
        self._rest = Small()
        for widget in (self.answer, self.bars, self._rest):
            self.add(widget)
        self._blocks = QVBoxLayout()
        self.body.addLayout(self._blocks)
        self.body.addStretch(1)

    def show_answer(self, probabilities: Mapping[str, float], order: Sequence[str], gold: str = "") -> None:
        """Show probabilities by label, in `order`, and against the gold label where it is known."""
        self.show_blocks([])
        best = max(probabilities, key=probabilities.get)
        self.answer.setText(best)
        shown = list(order[:MOST])
        self.bars.set_values([(label, probabilities.get(label, 0.0)) for label in shown], self._colour)
        n_more = len(order) - len(shown)
        rest = sum(p for label, p in probabilities.items() if label not in shown)
        self._rest.setText(tr("{n} more labels: {share}", n=n_more, share=words.percent(rest, 1)) if n_more else "")
        self._rest.setVisible(n_more > 0)
        self._verdict.setVisible(bool(gold))
        if gold:
            right = best == gold
            self._verdict.set(tr("right") if right else tr("wrong"), "good" if right else "bad")

    def show_blocks(self, blocks: Sequence[Block]) -> None:
        """Show an answer in the shape of its task, in place of a label with its probability."""
        while self._blocks.count():
            former = self._blocks.takeAt(0).widget()
            former.hide()  # at once: it is deleted later, and would show through what stands in its place
            former.deleteLater()
        for block in blocks:
            view = draw(block)
            if isinstance(block, SpanTexts | Texts):
                view.setMinimumHeight(LEAST_TEXTS)
            self._blocks.addWidget(view)
        for widget in (self.answer, self.bars):
            widget.setVisible(not blocks)
        if blocks:
            self._rest.hide()
            self._verdict.hide()

    def clear(self) -> None:
        """Show that nothing was asked."""
        self.show_blocks([])
        self.answer.setText("–")
        self.bars.set_values([], self._colour)
        self._rest.hide()
        self._verdict.hide()
