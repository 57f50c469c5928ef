"""What the model sees: each token as a chip in the form of its kind, with its label below."""

from collections.abc import Iterable
from typing import NamedTuple

from PySide6.QtCore import QPoint, QRect, QRectF, Qt
from PySide6.QtGui import QColor, QFontMetrics, QPainter, QPainterPath, QPen
from PySide6.QtWidgets import QVBoxLayout, QWidget

from studio.core.blocks import Token, TokenText
from studio.ui.i18n import tr
from studio.ui.theme import Theme, current, number_font
from studio.ui.widgets.key import Key, Swatch
from studio.ui.widgets.lazy_list import LazyList
from studio.ui.widgets.marks import series_colour

KINDS = {
    "special": "Special token",
    "padding": "Padding",
    "cut": "Cut off",
    "continued": "Continues a word",
}
MOST, FOLDED = 2048, 6  # tokens of a text; equal tokens of padding from which on they are one chip
_CHIP, _LABEL, _PAD, _SPACE = 21, 17, 5, 4  # heights of chip and label, room inside and between


class TokenTextsView(QWidget):
    """Rows as the model gets them, and a key of the kinds that occur."""

    def __init__(self, texts: list[TokenText], parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.list = LazyList(_TokenDrawing(texts))
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        kinds = {token.kind for text in texts for token in text.tokens}
        layout.addWidget(Key([(tr(title), _swatch(kind)) for kind, title in KINDS.items() if kind in kinds]))
        layout.addWidget(self.list, 1)
        self.setFocusProxy(self.list)

    def setAccessibleName(self, name: str) -> None:
        super().setAccessibleName(name)
        self.list.setAccessibleName(name)


class Chip(NamedTuple):
    """Tokens that are drawn as one: `first` is the index of the first, `n` how many (more than one of padding)."""

    token: Token
    first: int
    n: int = 1

    @property
    def text(self) -> str:
        shown = self.token.text.replace("\n", "⏎") or "∅"
        return f"{shown} × {self.n:,}" if self.n > 1 else shown


def folded(tokens: list[Token]) -> list[Chip]:
    """Return the chips of a text: long runs of equal padding are one, and there are `MOST` at most."""
    found: list[Chip] = []
    at = 0
    while at < len(tokens) and len(found) < MOST:
        token, n = tokens[at], 1
        if token.kind == "padding":
            while at + n < len(tokens) and tokens[at + n] == token:
                n += 1
        found += [Chip(token, at, n)] if n >= FOLDED else [Chip(token, at + i) for i in range(n)]
        at += n
    return found


class _TokenDrawing:
    def __init__(self, texts: list[TokenText]) -> None:
        self._texts, self._places, self._widths = texts, {}, {}
        labels = sorted({token.label for text in texts for token in text.tokens} - {"", "O"})
        self._colours = {label: at for at, label in enumerate(_bare(labels))}

    def __len__(self) -> int:
        return len(self._texts)

    def height(self, row: int, width: int) -> int:
        places = self._arrange(row, width)
        note = QFontMetrics(number_font(current().small)).height() + 4 if self._note(row) else 0
        last = [chip for chip, rect in places if rect.top() == places[-1][1].top()]
        below = _LABEL * any(chip.token.label for chip in last)
        return (places[-1][1].bottom() + 1 if places else _CHIP) + below + note

    def text(self, row: int) -> str:
        tokens = self._texts[row].tokens
        said = " ".join(filter(None, (f"{t.text} ({t.label})" if t.label else t.text for t in tokens)))
        return ". ".join(filter(None, (said, self._note(row))))

    def tip(self, row: int, at: QPoint, width: int) -> str:
        for chip, rect in self._arrange(row, width):
            if rect.adjusted(0, 0, 0, _LABEL * bool(chip.token.label)).contains(at):
                token, last = chip.token, chip.first + chip.n
                place = f"{chip.first + 1:,} – {last:,}" if chip.n > 1 else f"{last:,}"
                parts = [tr("Token {n}: {token}", n=place, token=repr(token.text))]
                parts += [tr(KINDS[token.kind])] if token.kind else []
                parts += [tr("Label: {label}", label=token.label)] if token.label else []
                return "\n".join(parts)
        return ""

    def toggle(self, row: int) -> bool:
        return False

    def paint(self, painter: QPainter, rect: QRect, row: int, theme: Theme) -> None:
        font, small = number_font(), number_font(theme.small)
        for chip, place in self._arrange(row, rect.width()):
            place = place.translated(rect.topLeft())
            paint_chip(painter, QRectF(place), chip.token.kind, theme)
            font.setStrikeOut(chip.token.kind == "cut")
            painter.setFont(font)
            painter.setPen(theme.colour("muted" if chip.token.kind == "padding" else "text"))
            shown = painter.fontMetrics().elidedText(chip.text, Qt.TextElideMode.ElideRight, place.width() - 4)
            painter.drawText(place, Qt.AlignmentFlag.AlignCenter, shown)
            if chip.token.label:
                self._paint_label(painter, place, chip.token.label, small, theme)
        if self._note(row):
            painter.setFont(small)
            painter.setPen(theme.colour("muted"))
            below = Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignBottom
            shown = painter.fontMetrics().elidedText(self._note(row), Qt.TextElideMode.ElideRight, rect.width())
            painter.drawText(rect, below, shown)

    def _paint_label(self, painter: QPainter, chip: QRect, label: str, font: object, theme: Theme) -> None:
        at = self._colours.get(_name(label))
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(series_colour(theme, at) if at is not None else QColor(theme.mix("muted", 0.5)))
        painter.drawRoundedRect(QRectF(chip.left() + 2, chip.bottom() + 2, chip.width() - 4, 2), 1, 1)
        painter.setFont(font)
        painter.setPen(theme.colour("muted" if at is None else "text"))
        below = QRect(chip.left(), chip.bottom() + 4, chip.width(), _LABEL - 4)
        painter.drawText(below, Qt.AlignmentFlag.AlignHCenter | Qt.AlignmentFlag.AlignTop, label)

    def _note(self, row: int) -> str:
        text = self._texts[row]
        rest = len(text.tokens) - sum(chip.n for chip in self._chips(row))
        more = tr("{n} more tokens", n=f"{rest:,}") if rest else ""
        return " · ".join(filter(None, (more, " ".join(text.note.split()))))

    def _chips(self, row: int) -> list[Chip]:
        return folded(self._texts[row].tokens)

    def _arrange(self, row: int, width: int) -> list[tuple[Chip, QRect]]:
        """Return the chips of a text with their places, in as many lines as needed."""
        key = (row, width)
        if key not in self._places:
            if len(self._places) > 200:
                self._places.clear()
            self._places[key] = self._flow(row, width)
        return self._places[key]

    def _flow(self, row: int, width: int) -> list[tuple[Chip, QRect]]:
        letters, small = QFontMetrics(number_font()), QFontMetrics(number_font(current().small))
        found: list[tuple[Chip, QRect]] = []
        x = y = 0
        is_labelled = False  # whether a token of this line is
        for chip in self._chips(row):
            known = (chip.text, chip.token.label)
            if known not in self._widths:
                label = small.horizontalAdvance(chip.token.label) + 4
                self._widths[known] = max(letters.horizontalAdvance(chip.text) + 2 * _PAD, label)
            wide = min(width, self._widths[known])
            gap = (1 if chip.token.kind == "continued" else _SPACE) if found else 0
            if x and x + gap + wide > width:
                y += _CHIP + _SPACE + 1 + _LABEL * is_labelled
                x, gap, is_labelled = 0, 0, False
            found.append((chip, QRect(x + gap, y, wide, _CHIP)))
            x += gap + wide
            is_labelled |= bool(chip.token.label)
        return found


def paint_chip(painter: QPainter, rect: QRectF, kind: str, theme: Theme) -> None:
    """Draw the ground of a token: each kind differs by its border as well as by its colour."""
    rect = rect.adjusted(0.5, 0.5, -0.5, -0.5)
    ground = {"special": theme.mix("accent", 0.2), "cut": theme.mix("bad", 0.1)}.get(
        kind, theme.mix("text", 0.15 if kind == "continued" else 0.08)
    )
    painter.setBrush(Qt.BrushStyle.NoBrush if kind == "padding" else QColor(ground))
    pens = {
        "special": QPen(theme.colour("accent"), 1),
        "padding": QPen(theme.colour("muted"), 1, Qt.PenStyle.DotLine),
        "cut": QPen(theme.colour("bad"), 1, Qt.PenStyle.DashLine),
    }
    painter.setPen(pens.get(kind, QPen(Qt.PenStyle.NoPen)))
    if kind == "continued":  # straight where it was torn from its word
        shape = QPainterPath()
        shape.setFillRule(Qt.FillRule.WindingFill)
        shape.addRoundedRect(rect, 4, 4)
        shape.addRect(rect.adjusted(-0.5, 0, -rect.width() / 2, 0))
        painter.drawPath(shape.simplified())
    else:
        painter.drawRoundedRect(rect, 4, 4)


def _swatch(kind: str) -> Swatch:
    return lambda painter, rect, theme: paint_chip(painter, rect, kind, theme)


def _name(label: str) -> str:
    """Return a label without the mark of its place in a span: B-PER and I-PER share a colour."""
    return label[2:] if label[:2] in ("B-", "I-", "E-", "S-", "L-", "U-") else label


def _bare(labels: Iterable[str]) -> list[str]:
    return sorted({_name(label) for label in labels})
