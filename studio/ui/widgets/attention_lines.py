"""Who looks at whom as lines: the tokens that look on the left, those looked at on the right."""

from collections.abc import Callable, Sequence

import numpy as np
from PySide6.QtCore import QPointF, QRectF, QSize, Qt, Signal
from PySide6.QtGui import QColor, QFontMetrics, QImage, QKeyEvent, QMouseEvent, QPainter, QPen, QResizeEvent
from PySide6.QtWidgets import QAbstractScrollArea, QWidget

from studio.ui import words
from studio.ui.i18n import tr
from studio.ui.theme import Theme, current, follow_theme, number_font
from studio.ui.threads import background
from studio.ui.widgets.heat import first_fitting, token_text
from studio.ui.widgets.strands import Span, Strand, paint_strands, strand_colour

PITCH, HEAD, FOOT, MOST_LABEL, PAD = 20, 22, 24, 150, 6
LEAST_ROOM, MOST_ROOM = 60.0, 420.0  # of the lines, across
SLOW_LINES, QUICK_LINES = 3000, 1500  # more than these take longer than a frame; so many are drawn at once
LEAST_COLOUR = 0.3  # of the lines of one token
TOLD = 3  # of the tokens most looked at, in words
Rows = Callable[[str, int], np.ndarray]


class AttentionLines(QAbstractScrollArea):
    """Lines between tokens, as strong as their weights; of the token under the pointer or locked, its lines alone.

    pair_hovered, pair_locked: row of the query and of the key, -1 for none. Up and Down move the lock, Esc takes it.
    """

    pair_hovered = Signal(int, int)
    pair_locked = Signal(int, int)
    drawn = Signal(int)  # how many lines

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.query_tokens: list[str] = []
        self.key_tokens: list[str] = []
        self.strands: list[Strand] = []
        self.names: list[str] = []
        self.gamma = 1.0
        self._rows: Rows = _no_rows
        self._hovered, self._locked, self._pointed = (-1, -1), (-1, -1), (-1, -1)
        self._image, self._image_top, self._key = QImage(), 0, None
        self._known: dict[tuple[str, int], np.ndarray] = {}
        self._widest = 0.0
        self.viewport().setMouseTracking(True)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setMinimumSize(160, 110)
        self.setAccessibleName(tr("Lines from the tokens that look to those looked at"))
        follow_theme(self, self._show_theme)

    def set_tokens(self, queries: Sequence[str], keys: Sequence[str]) -> None:
        """Show other tokens, without lines."""
        self.query_tokens, self.key_tokens = [*map(token_text, queries)], [*map(token_text, keys)]
        self._hovered = self._locked = self._pointed = (-1, -1)
        self._measure_labels()
        self.set_strands([], [], _no_rows, self.gamma)
        self._set_range()

    def set_strands(self, strands: list[Strand], names: Sequence[str], rows: Rows, gamma: float = 1.0) -> None:
        """Show the lines of heads with their names, the leading one first.

        rows: for ("query", row) or ("key", row) every weight of that token, [head, other token].
        """
        self.strands, self.names, self._rows, self.gamma = strands, list(names), rows, gamma
        self._known.clear()
        self._key = None
        self.viewport().update()

    def lock(self, query: int, key: int) -> None:
        """Show as locked, without a signal; -1 for none."""
        self._locked = (query, key)
        self.setAccessibleDescription(self.describe())
        self.viewport().update()

    def hover(self, query: int, key: int) -> None:
        """Show as under the pointer, without a signal."""
        if (query, key) != self._hovered:
            self._hovered = (query, key)
            self.viewport().update()

    def active(self) -> tuple[str, int]:
        """Return whose lines are shown alone: ("query" or "key", row), or ("", -1) for all lines."""
        for query, key in (self._hovered, self._locked):
            if query >= 0:
                return "query", query
            if key >= 0:
                locked = self._locked[0]
                return ("query", locked) if locked >= 0 else ("key", key)
        return "", -1

    def pair(self) -> tuple[int, int]:
        """Return the query and the key that are told apart, -1 for none."""
        side, index = self.active()
        if side != "query":
            return -1, index
        return index, self._hovered[1] if self._hovered[1] >= 0 else self._locked[1] if self._hovered[0] < 0 else -1

    def active_strands(self) -> list[Strand]:
        """Return every line of the token that is hovered or locked, by the row of the token at its other end."""
        side, index = self.active()
        strands = []
        for strand, row in zip(self.strands, self._weights(side, index), strict=True):
            ends, here = np.arange(len(row)), np.full(len(row), index)
            queries, keys = (here, ends) if side == "query" else (ends, here)
            strands.append(Strand(queries, keys, row, strand.limit, strand.series))
        return strands

    def describe(self) -> str:
        """Return in words what is shown of the token that is hovered or locked."""
        (side, index), (query, key) = self.active(), self.pair()
        if not side:
            return ""
        values = self._weights(side, index)
        if side == "query" and key >= 0:
            of = [f"{name} {_number(row[key])}" for name, row in zip(self.names, values, strict=True)]
            said = tr("“{query}” looks at “{key}”", query=self.query_tokens[query], key=self.key_tokens[key])
            return said + ": " + " · ".join(of)
        tokens = self.key_tokens if side == "query" else self.query_tokens
        leading = values[0] if len(values) else np.zeros(0)
        order = np.argsort(-np.abs(leading), kind="stable")[:TOLD]
        told = ", ".join(f"“{tokens[i]}” {_number(leading[i])}" for i in order)
        if side == "query":
            return tr("“{token}” looks most at {told}", token=self.query_tokens[index], told=told)
        return tr("“{token}” is looked at most by {told}", token=self.key_tokens[index], told=told)

    def token_rect(self, side: str, index: int) -> QRectF:
        """Return where a token is in the viewport."""
        span = self._span()
        y = span.top + index * PITCH
        if side == "query":
            return QRectF(span.left - self._label_room(), y, self._label_room(), PITCH)
        return QRectF(span.right, y, self._label_room(), PITCH)

    def hit(self, at: QPointF) -> tuple[int, int]:
        """Return the row of the query or of the key under a place, (-1, -1) for none."""
        span = self._span()
        row = int((at.y() - span.top) // PITCH)
        if at.y() < HEAD or at.y() > self.viewport().height() - FOOT:
            return -1, -1
        if at.x() <= span.left and 0 <= row < len(self.query_tokens):
            return row, -1
        if at.x() >= span.right and 0 <= row < len(self.key_tokens):
            return -1, row
        return -1, -1

    # The picture

    def paintEvent(self, event: object) -> None:
        theme, painter = current(), QPainter(self.viewport())
        painter.fillRect(self.viewport().rect(), theme.colour("surface"))
        painter.setFont(number_font(theme.small))
        span, side = self._span(), self.active()[0]
        painter.setClipRect(QRectF(0, HEAD, self.viewport().width(), self._room()))
        if side:
            self._paint_active(painter, theme, span)
        else:
            self._make_picture(theme)
            painter.drawImage(QPointF(span.left, HEAD + self._image_top - self._scrolled()), self._image)
        self._paint_tokens(painter, theme)
        painter.setClipping(False)
        self._paint_frame(painter, theme, span)

    def _paint_active(self, painter: QPainter, theme: Theme, span: Span) -> None:
        """Draw the lines of one token, every one of them, and tint the tokens at their other ends."""
        strands, other = self.active_strands(), "key" if self.active()[0] == "query" else "query"
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        height = self.viewport().height()
        paint_strands(painter, theme, strands, span, self.gamma, height, 1.6, dashed=True, least=LEAST_COLOUR)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing, False)
        wide = (self._label_room() - 2) / max(1, len(strands))
        first, last = self._in_sight()
        for place, strand in enumerate(strands):
            for row in first + np.flatnonzero(strand.levels(self.gamma)[first:last]):
                share = min(1.0, abs(float(strand.weights[row])) / (strand.limit or 1.0)) ** self.gamma
                colour = strand_colour(theme, strand.series, strand.weights[row] >= 0, 0.75 * share)
                rect = self.token_rect(other, int(row))
                painter.fillRect(QRectF(rect.left() + 1 + place * wide, rect.top() + 1, wide, PITCH - 2), colour)

    def _paint_tokens(self, painter: QPainter, theme: Theme) -> None:
        metrics, (query, key) = painter.fontMetrics(), self.pair()
        sides = (("query", self.query_tokens, query, Qt.AlignmentFlag.AlignRight),
                 ("key", self.key_tokens, key, Qt.AlignmentFlag.AlignLeft))  # fmt: skip
        first, last = self._in_sight()
        for side, tokens, marked, align in sides:
            for row in range(first, min(last, len(tokens))):
                rect = self.token_rect(side, row)
                inner = rect.adjusted(PAD, 0, -PAD, 0)
                text = metrics.elidedText(tokens[row], Qt.TextElideMode.ElideRight, int(inner.width()) + 1)
                painter.setPen(theme.colour("text"))
                painter.drawText(inner, align | Qt.AlignmentFlag.AlignVCenter, text)
                if row == marked:
                    is_locked = row == self._locked[0 if side == "query" else 1]
                    painter.setPen(QPen(theme.colour("accent" if is_locked else "text"), 2 if is_locked else 1))
                    painter.drawRect(rect.adjusted(1, 1, -1, -1))

    def _paint_frame(self, painter: QPainter, theme: Theme, span: Span) -> None:
        """Say which side looks and which is looked at, and what is under the pointer."""
        view = self.viewport().rect()
        painter.setPen(theme.colour("muted"))
        metrics, centre = painter.fontMetrics(), Qt.AlignmentFlag.AlignVCenter
        half = view.width() / 2 - PAD
        looks = first_fitting(metrics, half, tr("query: the token that looks"), tr("query: looks"), tr("query"))
        looked_at = first_fitting(metrics, half, tr("key: the token looked at"), tr("key: looked at"), tr("key"))
        # Above its column, or as near as it fits.
        left = max(0.0, span.left - PAD - metrics.horizontalAdvance(looks))
        right = min(span.right + PAD, view.width() - metrics.horizontalAdvance(looked_at) - 1.0)
        for x, text in ((left, looks), (right, looked_at)):
            painter.drawText(QRectF(x, 0, half + PAD, HEAD), centre, text)
        foot = QRectF(4, view.height() - FOOT + 4, view.width() - 8, FOOT - 4)
        said = self.describe()
        painter.setPen(theme.colour("text" if said else "muted"))
        text = said or tr("Point at a token to see its lines alone")
        painter.drawText(foot, centre, metrics.elidedText(text, Qt.TextElideMode.ElideRight, int(foot.width())))
        if self.hasFocus():
            painter.setPen(QPen(theme.colour("accent"), 1))
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.drawRect(view.adjusted(0, 0, -1, -1))

    def _make_picture(self, theme: Theme) -> None:
        """Draw the lines in sight into the picture: many in the background, while the former one stays."""
        span, ratio, top, height = self._span(), self.devicePixelRatioF(), self._scrolled(), self._room()
        size = QSize(max(1, round((span.right - span.left) * ratio)), max(1, round(height * ratio)))
        key = (size, ratio, top, theme.name)
        if key == self._key:
            return
        self._key = key
        gamma, inside = self.gamma, Span(0.0, span.right - span.left, PITCH, -float(top))

        def draw(strands: list[Strand]) -> tuple[QImage, int]:
            image = QImage(size, QImage.Format.Format_RGB32)
            image.setDevicePixelRatio(ratio)
            image.fill(QColor(theme.surface))
            painter = QPainter(image)
            n_lines = paint_strands(painter, theme, strands, inside, gamma, height)
            painter.end()
            return image, n_lines

        def take(found: tuple[QImage, int]) -> None:
            if key == self._key:
                (self._image, n_lines), self._image_top = found, top
                self.drawn.emit(n_lines)
                self.viewport().update()

        strands = list(self.strands)
        if sum(len(strand.weights) for strand in strands) > SLOW_LINES:
            # The strongest are there at once; the rest comes under them.
            self._image, self._image_top = (
                draw([each.strongest(QUICK_LINES // len(strands)) for each in strands])[0],
                top,
            )
            background(lambda: draw(strands), take, self._fail, self, "lines")
        else:
            take(draw(strands))

    def _fail(self, error: Exception) -> None:
        raise error

    # Where things are

    def _measure_labels(self) -> None:
        metrics = QFontMetrics(number_font(current().small))
        widest = max(map(metrics.horizontalAdvance, [*self.query_tokens, *self.key_tokens]), default=0)
        self._widest = float(min(MOST_LABEL, widest + 2 * PAD + 2))

    def _label_room(self) -> float:
        return min(self._widest, max(40.0, (self.viewport().width() - LEAST_ROOM) / 2))

    def _span(self) -> Span:
        label, width = self._label_room(), self.viewport().width()
        room = min(MOST_ROOM, max(LEAST_ROOM, width - 2 * label))
        left = max(label, (width - room) / 2)
        return Span(left, left + room, PITCH, HEAD - float(self._scrolled()))

    def _room(self) -> int:
        return max(1, self.viewport().height() - HEAD - FOOT)

    def _in_sight(self) -> tuple[int, int]:
        """Return the rows that are seen: the first, and the one after the last."""
        return self._scrolled() // PITCH, (self._scrolled() + self._room()) // PITCH + 1

    def _scrolled(self) -> int:
        return self.verticalScrollBar().value()

    def _set_range(self) -> None:
        rows = max(len(self.query_tokens), len(self.key_tokens))
        bar = self.verticalScrollBar()
        bar.setRange(0, max(0, rows * PITCH - self._room()))
        bar.setPageStep(self._room())
        bar.setSingleStep(PITCH)

    def _weights(self, side: str, index: int) -> np.ndarray:
        if (side, index) not in self._known:
            self._known[side, index] = self._rows(side, index)
        return self._known[side, index]

    # Events

    def sizeHint(self) -> QSize:
        return QSize(420, 420)

    def resizeEvent(self, event: QResizeEvent) -> None:
        self._set_range()

    def scrollContentsBy(self, dx: int, dy: int) -> None:
        self.viewport().update()

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        found = self.hit(event.position())
        if found != self._pointed:
            self._pointed = found
            self.hover(*found)
            pointed = found != (-1, -1)
            self.viewport().setCursor(Qt.CursorShape.PointingHandCursor if pointed else Qt.CursorShape.ArrowCursor)
            # Of a locked query the token on the right is the other end: together they are a cell.
            locked = self._locked[0]
            self.pair_hovered.emit(*((locked, found[1]) if found[1] >= 0 and locked >= 0 else found))

    def leaveEvent(self, event: object) -> None:
        self._pointed = (-1, -1)
        self.hover(-1, -1)
        self.pair_hovered.emit(-1, -1)

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        query, key = self.hit(event.position())
        locked = self._locked
        if query >= 0:
            self.pair_locked.emit(*((-1, -1) if query == locked[0] else (query, -1)))
        elif key >= 0:
            self.pair_locked.emit(locked[0], -1 if key == locked[1] else key)
        elif locked != (-1, -1):
            self.pair_locked.emit(-1, -1)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        step = {Qt.Key.Key_Up: -1, Qt.Key.Key_Down: 1}.get(Qt.Key(event.key()))
        if step is not None and self.query_tokens:
            query = min(max(0, self._locked[0] + step), len(self.query_tokens) - 1)
            self.pair_locked.emit(query, self._locked[1])
            bar, y = self.verticalScrollBar(), query * PITCH
            bar.setValue(min(max(bar.value(), y + PITCH - self._room()), y))
        elif event.key() == Qt.Key.Key_Escape and self._locked != (-1, -1):
            self.pair_locked.emit(-1, -1)
        else:
            super().keyPressEvent(event)

    def _show_theme(self, theme: Theme) -> None:
        self._key = None
        self._measure_labels()
        self.viewport().update()


def _no_rows(side: str, index: int) -> np.ndarray:
    """Return no weights: there are no heads yet."""
    return np.zeros((0, 0))


def _number(value: float) -> str:
    return words.number(float(value), 3)
