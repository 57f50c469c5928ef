"""The text as the model reads it: its tokens, tinted by how much they are looked at, and what the model says of it."""

from collections.abc import Sequence

import numpy as np
from PySide6.QtCore import QPoint, QRect, QSize, Qt, Signal
from PySide6.QtGui import QColor, QContextMenuEvent, QFontMetrics, QKeyEvent, QMouseEvent, QPainter, QPaintEvent, QPen
from PySide6.QtWidgets import QGridLayout, QMenu, QScrollArea, QSizePolicy, QVBoxLayout, QWidget

from studio.core.anatomy import HEADLESS, NEXT_TOKEN
from studio.ui import words
from studio.ui.i18n import tr
from studio.ui.theme import GRID, current, lookup_table, number_font
from studio.ui.views.answers import in_words
from studio.ui.views.look import AFTER, BEFORE, Look
from studio.ui.widgets.labels import ElidedLabel, Small

LINE, PAD, GAP = 24, 5, 4
MOST_LINES, WIDTH, NAME_WIDTH = 3, 208, 84
MOST_CHOICES = 3  # labels in the tooltip of a prediction
_PREFIXES = ("##", "Ġ", "▁")  # word pieces of BERT, byte-level BPE, sentencepiece


class TokenStrip(QWidget):
    """Tokens in lines; pieces of one word stand together.

    A click on a token, or the arrow keys and Enter, makes it the one that looks. locked: its index, -1 when none is.
    rewrite_asked: by its menu a token is to be masked, removed or replaced ("mask", "remove", "replace").
    """

    locked = Signal(int)
    rewrite_asked = Signal(int, str)
    laid_out = Signal()  # its lines may be others now

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._tokens: list[str] = []
        self._shown: list[str] = []
        self._joined: list[bool] = []
        self._weights = np.zeros(0)
        self._signed = False
        self._rects: list[QRect] = []
        self._widths: list[int] = []  # of the texts, in the font whose key is `_font`
        self._font = ""
        self._locked = self._hovered = -1
        self._marked: tuple[int, int] = (-1, -1)
        self.setMouseTracking(True)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setCursor(Qt.CursorShape.PointingHandCursor)
        policy = QSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Minimum)
        policy.setHeightForWidth(True)
        self.setSizePolicy(policy)

    def set_tokens(self, tokens: Sequence[str], word_ids: Sequence[int | None]) -> None:
        """Show other tokens; those of one word id are joined."""
        self._tokens = list(tokens)
        self._shown = [_readable(token) for token in tokens]
        self._joined = [i > 0 and word is not None and word == word_ids[i - 1] for i, word in enumerate(word_ids)]
        self._weights = np.zeros(len(tokens))
        self._locked = self._hovered = -1
        self._marked = (-1, -1)
        self._rects, self._widths = [], []
        self.setAccessibleName(tr("Tokens") + ": " + " ".join(tokens))
        self.updateGeometry()
        self.update()
        self.laid_out.emit()

    def set_weights(self, weights: np.ndarray, signed: bool = False) -> None:
        """Tint the tokens by weights [token]; `signed` ones by the colours of a difference."""
        self._weights, self._signed = np.asarray(weights, dtype=float), signed
        self.update()

    def mark(self, query: int, key: int) -> None:
        """Outline the token that looks and the one looked at; -1 for none."""
        self._marked = (query, key)
        self.update()

    def lock(self, index: int) -> None:
        """Make a token the one that looks; -1 for none."""
        if index != self._locked:
            self._locked = index
            self.update()
            self.locked.emit(index)

    def locked_token(self) -> int:
        """Return the token that looks, or -1."""
        return self._locked

    def token_rect(self, index: int) -> QRect:
        """Return where a token is drawn."""
        return self._places()[index]

    def weights(self) -> np.ndarray:
        """Return the weights that are shown."""
        return self._weights

    # --- geometry ----------------------------------------------------------------------------------------------

    def hasHeightForWidth(self) -> bool:
        return True

    def heightForWidth(self, width: int) -> int:
        rects = self._arrange(width)
        return rects[-1].bottom() + 2 if rects else LINE

    def sizeHint(self) -> QSize:
        width = self.width() or 400
        return QSize(width, self.heightForWidth(width))

    def minimumSizeHint(self) -> QSize:
        return QSize(120, LINE - 4)

    def resizeEvent(self, event: object) -> None:
        self._rects = []

    def _measured(self) -> list[int]:
        """Return the widths of the texts; measured once, for a layout asks again and again."""
        font = number_font()
        if len(self._widths) != len(self._shown) or font.key() != self._font:
            metrics, self._font = QFontMetrics(font), font.key()
            self._widths = [metrics.horizontalAdvance(text) for text in self._shown]
        return self._widths

    def _arrange(self, width: int) -> list[QRect]:
        rects: list[QRect] = []
        x = y = 0
        for advance, joined in zip(self._measured(), self._joined, strict=True):
            w = advance + 2 * PAD
            gap = 1 if joined else GAP
            if rects and x + gap + w > width:
                x, y = 0, y + LINE + 2
            elif rects:
                x += gap
            rects.append(QRect(x, y, w, LINE - 2))
            x += w
        return rects

    def _places(self) -> list[QRect]:
        if len(self._rects) != len(self._shown):
            self._rects = self._arrange(self.width())
        return self._rects

    def _at(self, point: QPoint) -> int:
        return next((i for i, rect in enumerate(self._places()) if rect.contains(point)), -1)

    # --- events ------------------------------------------------------------------------------------------------

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        index = self._at(event.position().toPoint())
        if index != self._hovered:
            self._hovered = index
            self.setToolTip(self._describe(index) if index >= 0 else tr("Click a token to see where it looks"))
            self.update()

    def leaveEvent(self, event: object) -> None:
        self._hovered = -1
        self.update()

    def contextMenuEvent(self, event: QContextMenuEvent) -> None:
        is_key = event.reason() == QContextMenuEvent.Reason.Keyboard
        index = self._locked if is_key else self._at(event.pos())
        if index >= 0:
            menu = QMenu(self)
            menu.addSection(tr("Look again with “{token}”", token=self._shown[index]))
            for how, title in {"mask": "Masked", "remove": "Left out", "replace": "Replaced…"}.items():
                menu.addAction(tr(title), lambda how=how: self.rewrite_asked.emit(index, how))
            menu.popup(event.globalPos())

    def mousePressEvent(self, event: QMouseEvent) -> None:
        if event.button() != Qt.MouseButton.LeftButton:
            return
        index = self._at(event.position().toPoint())
        self.lock(-1 if index == self._locked else index)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        step = {Qt.Key.Key_Left: -1, Qt.Key.Key_Right: 1}.get(Qt.Key(event.key()))
        if step is not None and self._tokens:
            self.lock(min(max(self._locked + step, 0), len(self._tokens) - 1))
        elif event.key() == Qt.Key.Key_Escape and self._locked >= 0:
            self.lock(-1)
        else:
            super().keyPressEvent(event)

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        theme = current()
        font = number_font()
        exposed = event.rect()
        painter.setFont(font)
        table = lookup_table("difference" if self._signed else "attention")
        largest = max(float(np.abs(self._weights).max(initial=0.0)), 1e-12)
        for i, (rect, text) in enumerate(zip(self._places(), self._shown, strict=True)):
            if not rect.intersects(exposed):  # of a long text few lines are in sight
                continue
            share = self._weights[i] / largest
            place = (share + 1) / 2 if self._signed else share
            colour = QColor.fromRgb(int(table[round(min(max(place, 0.0), 1.0) * 255)]) & 0xFFFFFF)
            query, key = self._marked
            outlined = i in (self._locked, self._hovered, query, key)
            strong = theme.colour("accent" if i in (self._locked, query) else "muted")
            painter.setPen(QPen(strong, 2 if i in (self._locked, query) else 1) if outlined else Qt.PenStyle.NoPen)
            painter.setBrush(colour)
            painter.drawRoundedRect(rect.adjusted(1, 1, -1, -1), 4, 4)
            painter.setPen(_ink(colour))
            painter.drawText(rect, Qt.AlignmentFlag.AlignCenter, text)
        if self.hasFocus() and self._locked < 0:
            painter.setPen(QPen(theme.colour("accent"), 1))
            painter.setBrush(Qt.BrushStyle.NoBrush)
            in_sight = self.visibleRegion().boundingRect()  # of a long text only some lines
            painter.drawRoundedRect(in_sight.adjusted(0, 0, -1, -1), 4, 4)

    def _describe(self, index: int) -> str:
        value = words.number(float(self._weights[index])) if index < len(self._weights) else ""
        return tr("Token {n}: {token}, weight {value}", n=index + 1, token=self._tokens[index], value=value)


class StripArea(QScrollArea):
    """As high as its strip, up to three lines or as many as are wanted; a longer text scrolls."""

    def __init__(self, strip: TokenStrip) -> None:
        super().__init__()
        self._strip, self._most = strip, MOST_LINES
        strip.setObjectName("scrolled")
        self.setWidget(strip)
        self.setWidgetResizable(True)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        strip.laid_out.connect(self._fit)
        self._fit()

    def set_most_lines(self, most: int) -> None:
        """Show no more lines at once."""
        self._most = most
        self._fit()

    def show_token(self, index: int) -> None:
        """Scroll to a token; -1 for none."""
        if index >= 0:
            rect = self._strip.token_rect(index)
            self.ensureVisible(rect.center().x(), rect.center().y(), 0, LINE // 2)

    def resizeEvent(self, event: object) -> None:
        super().resizeEvent(event)
        self._fit()

    def _fit(self) -> None:
        most = self._most * (LINE + 2) - 4
        self.setFixedHeight(min(most, self._strip.heightForWidth(self.viewport().width())))


class Prediction(QWidget):
    """What each state says of the text: the most probable label and its probability, one line a state or all in one."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._short, self._long = ElidedLabel(), QWidget()
        self._short.setProperty("level", "strong")
        self._short.hide()
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self._short)
        column.addWidget(self._long)
        self._grid = QGridLayout(self._long)
        self._grid.setContentsMargins(0, 0, 0, 0)
        self._grid.setHorizontalSpacing(GRID)
        self._grid.setVerticalSpacing(2)
        self._grid.setColumnStretch(1, 1)
        self._lines: dict[str, tuple[Small, ElidedLabel, Small]] = {}
        for row, state in enumerate((BEFORE, AFTER)):
            name, label, share = ElidedLabel(), ElidedLabel(), Small()
            name.setProperty("level", "small")
            name.setMaximumWidth(NAME_WIDTH)
            share.setFont(number_font(current().small))
            label.setProperty("level", "strong")
            share.setWordWrap(False)
            for column, widget in enumerate((name, label, share)):
                self._grid.addWidget(widget, row, column)
            self._lines[state] = (name, label, share)
        self._none = Small(tr("This model gives no answer in words."))
        self._grid.addWidget(self._none, 3, 0, 1, 3)
        self._gold_name, self._gold = Small(tr("Label")), ElidedLabel()
        self._gold.setProperty("level", "strong")
        for widget in (self._none, self._gold_name, self._gold):
            widget.hide()
        self._grid.addWidget(self._gold_name, 2, 0)
        self._grid.addWidget(self._gold, 2, 1, 1, 2)
        self.setFixedWidth(WIDTH)

    def set_short(self, on: bool) -> None:
        """Say it in one line, or in a line for each state."""
        self._short.setVisible(on)
        self._long.setHidden(on)

    def show_look(self, look: Look) -> None:
        """Show what a look's states say, and what is right where that is known."""
        self._gold.setText(in_words(look, look.gold, tr) if look.gold else "")
        self._gold.setToolTip("\n".join([self._gold.text(), tr("What the data says of this row")]))
        for widget in (self._gold_name, self._gold):
            widget.setVisible(bool(look.gold))
        some = any(look.probabilities.values()) or bool(look.said)  # a model that writes may write nothing
        self._none.setText(_why_none(look))
        self._none.setVisible(not some)
        for state, (name, label, share) in self._lines.items():
            found, said = look.probabilities.get(state) or {}, in_words(look, look.said.get(state, ""), tr)
            best = sorted(found, key=found.get, reverse=True)
            # A model that was not trained here has one state, which needs no name; what it says may need one.
            is_next, is_one = look.answers == NEXT_TOKEN, len(look.maps) == 1
            name.setText(tr("Next") if is_next and is_one else tr(look.title(state)))
            name.setVisible(some and state in look.maps and (is_next or not is_one))
            label.setVisible(some and state in look.maps)
            share.setVisible(bool(found))
            label.setText(best[0] if best else said)
            share.setText(_percent(found[best[0]]) if best else "")
            first = "\n".join(f"{each}  {_percent(found[each], 1)}" for each in best[:MOST_CHOICES])
            for widget in (label, share):
                widget.setToolTip(first or said)
        told = [f"{label.text()} {share.text()}".strip() for _, label, share in self._lines.values()
                if not label.isHidden()]  # fmt: skip
        self._short.setText(" → ".join(told) if some else tr("No answer in words"))
        self._short.setToolTip(self.text() if some else self._none.text())

    def text(self) -> str:
        """Return what is said, for those who can't see it."""
        shown = [line for line in self._lines.values() if not line[1].isHidden()]
        lines = [f"{n.text()} {label.text()} {s.text()}" for n, label, s in shown if label.text()]
        gold = [f"{self._gold_name.text()} {self._gold.text()}"] if self._gold.text() else []
        return "; ".join([*lines, *gold])


def _why_none(look: Look) -> str:
    """Return why a look has no answer, and what would bring one."""
    if look.answers == "masked-lm":
        mask = look.mask_token or "[MASK]"
        return tr("Put {mask} in place of a word to see what it says there.", mask=mask)
    if look.answers == "multiple-choice":
        return tr("One option alone is no choice; Ablate and Explain tell its score.")
    if look.answers == HEADLESS:
        return tr("Its head can't be loaded whole: it has no answer.")
    return tr("This model gives no answer in words.")


def _percent(share: float, digits: int = 0) -> str:
    """Return a share as percent; of one that would be rounded to nothing two decimals."""
    return words.percent(share, digits if round(share, 2 + digits) or not share else 2)


def _readable(token: str) -> str:
    prefix = next((p for p in _PREFIXES if token.startswith(p) and len(token) > len(p)), "")
    return token[len(prefix) :]


def _ink(ground: QColor) -> QColor:
    """Return the ink that reads best on a colour: dark or white."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in ground.getRgbF()[:3]]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    return QColor("#14161B" if luminance > 0.19 else "#FFFFFF")
