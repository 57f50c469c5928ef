"""Texts with gold and predicted spans: gold as a line below, predicted as a tinted ground with its label."""

from dataclasses import dataclass

from PySide6.QtCore import QPoint, QPointF, QRect, QRectF, Qt
from PySide6.QtGui import QColor, QFontMetrics, QPainter, QPen, QTextCharFormat, QTextLayout, QTextLine
from PySide6.QtWidgets import QVBoxLayout, QWidget

from studio.core.blocks import Span, SpanText
from studio.ui.i18n import tr
from studio.ui.theme import Theme, current, number_font
from studio.ui.widgets.key import Key, Swatch
from studio.ui.widgets.lazy_list import LazyList
from studio.ui.widgets.marks import series_colour
from studio.ui.widgets.span_runs import KINDS, SIGNS, TONES, Run, is_whole, runs, said
from studio.ui.widgets.wrapped import wrapped

_BELOW = 9  # room below a line of text for the gold lines
_NO_BREAK = "\N{NO-BREAK SPACE}"
_TINT = 0.18


class SpanTextsView(QWidget):
    """Texts with spans and a key of the forms that occur; thousands scroll. labels: in the order of their colours."""

    def __init__(self, texts: list[SpanText], labels: list[str], parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.list = LazyList(_SpanDrawing(texts, labels))
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        layout.addWidget(Key(_key(texts)))
        layout.addWidget(self.list, 1)
        self.setFocusProxy(self.list)

    def setAccessibleName(self, name: str) -> None:
        super().setAccessibleName(name)
        self.list.setAccessibleName(name)


@dataclass(frozen=True)
class _Laid:
    """A text laid out: ranges are (start, end) in UTF-16 units of the layout's string."""

    layout: QTextLayout
    gold: list[tuple[Span, int, int, int]]  # and the lane below the text
    predicted: list[tuple[Span, int, int]]
    tags: list[tuple[Run, int, int]]
    height: float


class _SpanDrawing:
    def __init__(self, texts: list[SpanText], labels: list[str]) -> None:
        self._texts, self._whole, self._laid = texts, set(), {}
        self._colours = {label: at for at, label in enumerate(labels)}

    def __len__(self) -> int:
        return len(self._texts)

    def height(self, row: int, width: int) -> int:
        note = QFontMetrics(number_font(current().small)).height() + 2 if self._note(row) else 0
        return round(self._lay(row, width).height) + note

    def text(self, row: int) -> str:
        return said(self._texts[row])

    def tip(self, row: int, at: QPoint, width: int) -> str:
        laid, item = self._lay(row, width), self._texts[row]
        there = [(tr("Gold"), span, start, end) for span, start, end, _ in laid.gold]
        there += [(tr("Predicted"), span, start, end) for span, start, end in laid.predicted]
        found = []
        for title, span, start, end in there:
            if any(rect.contains(QPointF(at)) for _, rect in _parts(laid.layout, start, end, _BELOW)):
                kind = f" ({tr(KINDS[span.kind])})" if span.kind else ""
                found.append(f"{title}: {span.label} “{item.text[span.start : span.end]}”{kind}".replace("  ", " "))
        if not found and not is_whole(item):
            found.append(tr("Enter or a double click shows the whole text or what matters of it"))
        return "\n".join(found)

    def toggle(self, row: int) -> bool:
        if is_whole(self._texts[row]):
            return False
        self._whole ^= {row}
        self._laid = {key: laid for key, laid in self._laid.items() if key[0] != row}
        return True

    def paint(self, painter: QPainter, rect: QRect, row: int, theme: Theme) -> None:
        laid = self._lay(row, rect.width())
        at = QPointF(rect.topLeft())
        for span, start, end in laid.predicted:
            for _, part in _parts(laid.layout, start, end):
                paint_ground(painter, part.translated(at), self._colour(span, theme), span.kind, theme)
        for run, start, end in laid.tags:
            for _, part in _parts(laid.layout, start, end):
                paint_tag(painter, part.translated(at), self._colour(run.tag, theme), run.tag.kind, run.is_gold, theme)
        painter.setPen(theme.colour("text"))
        laid.layout.draw(painter, at)
        for span, start, end, lane in laid.gold:
            for line, part in _parts(laid.layout, start, end):
                y = line.y() + line.height() + 2.5 + 3.5 * lane
                ends = QPointF(part.left(), y) + at, QPointF(part.right(), y) + at
                paint_gold(painter, *ends, self._colour(span, theme), span.kind, theme)
        if self._note(row):
            painter.setFont(number_font(theme.small))
            painter.setPen(theme.colour("muted"))
            below = rect.adjusted(0, round(laid.height), 0, 0)
            shown = painter.fontMetrics().elidedText(self._note(row), Qt.TextElideMode.ElideRight, rect.width())
            painter.drawText(below, Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignTop, shown)

    def _note(self, row: int) -> str:
        item = self._texts[row]
        place = tr("Row {n}", n=f"{item.row + 1:,}") if item.row >= 0 else ""
        return " · ".join(filter(None, (place, " ".join(item.note.split()))))

    def _colour(self, span: Span, theme: Theme) -> QColor:
        return series_colour(theme, self._colours[span.label])

    def _lay(self, row: int, width: int) -> _Laid:
        key = (row, width, current().name)
        if key not in self._laid:
            if len(self._laid) > 400:
                self._laid.clear()
            self._laid[key] = _lay(runs(self._texts[row], row in self._whole), width)
        return self._laid[key]


def paint_ground(painter: QPainter, rect: QRectF, colour: QColor, kind: str, theme: Theme) -> None:
    """Draw the ground of a predicted span: an error has a border in the colour of its kind."""
    wrong = QPen(theme.colour(TONES[kind]), 1, Qt.PenStyle.DashLine) if kind else QPen(Qt.PenStyle.NoPen)
    painter.setPen(wrong)
    painter.setBrush(QColor(theme.mix(colour.name(), _TINT)))
    painter.drawRoundedRect(rect.adjusted(-1, 0.5, 1, -0.5), 3, 3)


def paint_tag(painter: QPainter, rect: QRectF, colour: QColor, kind: str, is_gold: bool, theme: Theme) -> None:
    """Draw the ground of a label: filled for a predicted span, an outline for a gold one."""
    strong = theme.colour(TONES[kind]) if kind else colour
    painter.setPen(QPen(strong, 1) if is_gold else Qt.PenStyle.NoPen)
    painter.setBrush(Qt.BrushStyle.NoBrush if is_gold else QColor(theme.mix(strong.name(), 0.3)))
    painter.drawRoundedRect(rect.adjusted(1.5, 2, -0.5, -2), 3, 3)


def paint_gold(painter: QPainter, start: QPointF, end: QPointF, colour: QColor, kind: str, theme: Theme) -> None:
    """Draw the line below a gold span: dashed in the colour of its kind where the prediction is wrong."""
    pen = QPen(theme.colour(TONES[kind]) if kind else colour, 2)
    pen.setCapStyle(Qt.PenCapStyle.FlatCap)
    if kind:
        pen.setDashPattern([2.5, 1.5])
    painter.setPen(pen)
    painter.drawLine(start, end)


def _lay(shown: list[Run], width: int) -> _Laid:
    theme = current()
    text, formats = "", []
    extents: dict[tuple[bool, Span], list[int]] = {}
    tags = []
    for run in shown:
        start = _units(text)
        # A label is never torn from its span.
        text += f"{_NO_BREAK}{run.text.replace(' ', _NO_BREAK)}{_NO_BREAK}" if run.tag else run.text
        end = _units(text)
        if run.tag:
            tags.append((run, start, end))
            formats.append(_small(start, end, theme))
        for is_gold, spans in ((True, run.gold), (False, run.predicted)):
            for span in spans:
                extents.setdefault((is_gold, span), [start, end])[1] = end
    layout, height = wrapped(text, width, number_font(), formats, _BELOW)
    gold = [(span, *extent) for (is_gold, span), extent in extents.items() if is_gold]
    predicted = [(span, *extent) for (is_gold, span), extent in extents.items() if not is_gold]
    return _Laid(layout, _in_lanes(gold), predicted, tags, height)


def _in_lanes(spans: list[tuple[Span, int, int]]) -> list[tuple[Span, int, int, int]]:
    """Give spans that overlap lines of their own, two at most."""
    found: list[tuple[Span, int, int, int]] = []
    for span, start, end in sorted(spans, key=lambda each: each[1]):
        is_over = any(lane == 0 and one < end and start < other for _, one, other, lane in found)
        found.append((span, start, end, int(is_over)))
    return found


def _parts(layout: QTextLayout, start: int, end: int, more: float = 0) -> list[tuple[QTextLine, QRectF]]:
    """Return the lines that a range takes, each with the rectangle in it, `more` pixels higher than its text."""
    found = []
    for at in range(layout.lineCount()):
        line = layout.lineAt(at)
        first, last = max(start, line.textStart()), min(end, line.textStart() + line.textLength())
        if first < last:
            left, right = sorted((line.cursorToX(first)[0], line.cursorToX(last)[0]))
            found.append((line, QRectF(left, line.y(), right - left, line.height() + more)))
    return found


def _small(start: int, end: int, theme: Theme) -> QTextLayout.FormatRange:
    shape = QTextCharFormat()
    shape.setFont(number_font(theme.small))
    shape.setForeground(theme.colour("text"))
    found = QTextLayout.FormatRange()
    found.start, found.length, found.format = start, end - start, shape
    return found


def _units(text: str) -> int:
    """Return the length of a text as Qt counts it, in UTF-16 units."""
    return len(text) + sum(letter > "\uffff" for letter in text)


def _key(texts: list[SpanText]) -> list[tuple[str, Swatch]]:
    """Return the forms that occur, with a sample of each."""
    found: list[tuple[str, Swatch]] = []
    if any(text.gold for text in texts):
        found.append((tr("Gold"), lambda painter, rect, theme: paint_gold(
            painter, QPointF(rect.left(), rect.bottom() - 3), QPointF(rect.right(), rect.bottom() - 3),
            series_colour(theme, 0), "", theme)))  # fmt: skip
    if any(text.predicted for text in texts):
        found.append((tr("Predicted"), lambda painter, rect, theme: paint_ground(
            painter, rect.adjusted(1, 0, -1, 0), series_colour(theme, 0), "", theme)))  # fmt: skip
    kinds = {span.kind for text in texts for span in (*text.gold, *text.predicted)}
    return found + [(tr(KINDS[kind]), _sign(kind)) for kind in KINDS if kind in kinds]


def _sign(kind: str) -> Swatch:
    def paint(painter: QPainter, rect: QRectF, theme: Theme) -> None:
        colour = theme.colour(TONES[kind])
        paint_tag(painter, rect.adjusted(0, -1, 0, 1), colour, kind, kind == "missed", theme)
        painter.setPen(theme.colour("text"))
        painter.drawText(rect, Qt.AlignmentFlag.AlignCenter, SIGNS[kind])

    return paint
