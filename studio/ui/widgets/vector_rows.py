"""One query beside all keys: their vectors as strips of colour, and the way from products to weights in numbers."""

from dataclasses import dataclass

import numpy as np
from PySide6.QtCore import QPointF, QRectF, QSize, Qt, Signal
from PySide6.QtGui import QFontMetrics, QKeyEvent, QMouseEvent, QPainter, QPen, QResizeEvent
from PySide6.QtWidgets import QAbstractScrollArea, QWidget

from studio.ui import words
from studio.ui.i18n import tr
from studio.ui.theme import Theme, current, follow_theme, number_font
from studio.ui.widgets.heat import Scale, picture, token_text

PITCH, HEAD, FOOT, PAD, MOST_LABEL = 22, 20, 24, 6, 110
NUMBER, WEIGHT, LEAST_STRIP, MOST_DOT = 62, 128, 48, 8
STRIPS, NUMBERS = ("key", "product"), ("score", "scaled", "added", "weight")


@dataclass(frozen=True, eq=False)
class QueryRow:
    """One query and its keys: `query` [d], `keys` [key, d], and by key `score`, `scaled`, `added` and `weight`."""

    token: str
    tokens: list[str]
    query: np.ndarray
    keys: np.ndarray
    scale: float
    score: np.ndarray
    scaled: np.ndarray
    added: np.ndarray
    weight: np.ndarray

    @property
    def products(self) -> np.ndarray:
        """The numbers of query and key multiplied one by one, [key, d]; their sum is the score."""
        return self.query[None] * self.keys


class VectorRows(QAbstractScrollArea):
    """A row for each key: its vector, the products with the query's, score, scale, mask and softmax.

    Colours end at the largest number of query and keys, and at that of the products. Hover reads the exact number.
    key_hovered, key_chosen: the row of a key, -1 for none. moved: the query above or below is wanted.
    """

    key_hovered = Signal(int)
    key_chosen = Signal(int)
    moved = Signal(int)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.row: QueryRow | None = None
        self._marked, self._at = -1, ("", -1, -1)
        self._scales = (Scale(True), Scale(True))
        self.viewport().setMouseTracking(True)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setMinimumSize(180, 160)
        self.setAccessibleName(tr("Query, keys, scores and weights"))
        follow_theme(self, lambda _: self.viewport().update())

    def show_row(self, row: QueryRow | None, largest: float = 0.0) -> None:
        """Show another query; `largest` ends the colours of the vectors, so that queries can be compared."""
        self.row = row
        if row is not None:
            limit = largest or float(max(np.abs(row.query).max(initial=0), np.abs(row.keys).max(initial=0)))
            products = float(np.abs(row.products).max(initial=0))
            self._scales = (Scale(True, limit or 1.0), Scale(True, products or 1.0))
        self._set_range()
        self.viewport().update()

    def mark(self, key: int) -> None:
        """Mark the row of a key, -1 for none."""
        if key != self._marked:
            self._marked = key
            self.viewport().update()

    def describe(self, column: str, key: int, place: int) -> str:
        """Return what stands at a place, exactly."""
        row = self.row
        if row is None or not column:
            return ""
        n = row.keys.shape[1]
        if column == "query":
            return tr("query of “{token}”, number {i} of {n}: {value}", token=row.token, i=place + 1, n=n,
                      value=_exact(row.query[place]))  # fmt: skip
        token = row.tokens[key]
        if column == "key":
            return tr("key of “{token}”, number {i} of {n}: {value}", token=token, i=place + 1, n=n,
                      value=_exact(row.keys[key, place]))  # fmt: skip
        if column == "product":
            return tr("number {i} of {n}: q {q} × k {k} = {value}", i=place + 1, n=n, q=_exact(row.query[place]),
                      k=_exact(row.keys[key, place]), value=_exact(row.products[key, place]))  # fmt: skip
        said = {
            "score": tr("“{query}” · “{key}”: the products add up to {value}"),
            "scaled": tr("“{query}” · “{key}”: times the scale {scale} is {value}"),
            "added": tr("“{query}” · “{key}”: the mask adds {value}"),
            "weight": tr("“{query}” looks at “{key}”: {value}"),
            "token": tr("“{query}” looks at “{key}”: {weight}"),
        }[column]
        value = _exact(getattr(row, column)[key]) if column in NUMBERS else ""
        return said.format(query=row.token, key=token, value=value, scale=_exact(row.scale),
                           weight=_exact(row.weight[key]))  # fmt: skip

    def hit(self, at: QPointF) -> tuple[str, int, int]:
        """Return the column, the row of the key and the place in the vector under a point; ("", -1, -1) for none."""
        if self.row is None or not HEAD <= at.y() < self.viewport().height() - FOOT:
            return "", -1, -1
        for name, (left, right) in self._columns().items():
            if left <= at.x() < right:
                n = self.row.keys.shape[1]
                place = min(n - 1, int((at.x() - left) / (right - left) * n)) if name in STRIPS else -1
                if at.y() < HEAD + PITCH:
                    return ("query", -1, place) if name == "key" else ("", -1, -1)
                key = int((at.y() - HEAD - PITCH + self.verticalScrollBar().value()) // PITCH)
                return (name, key, place) if key < len(self.row.tokens) else ("", -1, -1)
        return "", -1, -1

    def place_of(self, column: str, key: int, place: int = 0) -> QPointF:
        """Return the middle of a cell: of a number, or of one place in a strip; key -1 for the query."""
        left, right = self._columns()[column]
        wide = (right - left) / self.row.keys.shape[1] if column in STRIPS else right - left
        y = HEAD + PITCH / 2 if key < 0 else HEAD + PITCH * (key + 1.5) - self.verticalScrollBar().value()
        return QPointF(left + wide * (max(0, place) + 0.5), y)

    # The picture

    def paintEvent(self, event: object) -> None:
        theme, painter = current(), QPainter(self.viewport())
        painter.fillRect(self.viewport().rect(), theme.colour("surface"))
        painter.setFont(number_font(theme.small))
        if self.row is None:
            return
        columns = self._columns()
        self._paint_head(painter, theme, columns)
        painter.setClipRect(QRectF(0, HEAD + PITCH, self.viewport().width(), self._room()))
        scrolled = self.verticalScrollBar().value()
        first = max(0, scrolled // PITCH)
        last = min(len(self.row.tokens), (scrolled + self._room()) // PITCH + 1)
        self._paint_strips(painter, theme, columns, first, last)
        for key in range(first, last):
            self._paint_row(painter, theme, columns, key, HEAD + PITCH * (key + 1) - scrolled)
        painter.setClipping(False)
        self._paint_foot(painter, theme)

    def _paint_head(self, painter: QPainter, theme: Theme, columns: dict[str, tuple[float, float]]) -> None:
        row, metrics = self.row, painter.fontMetrics()
        titles = {
            "token": tr("query, keys"), "key": tr("vector"), "product": tr("q × k"), "score": tr("q·k"),
            "scaled": tr("× {scale}", scale=words.number(row.scale, 3)), "added": tr("+ mask"), "weight": tr("softmax"),
        }  # fmt: skip
        painter.setPen(theme.colour("muted"))
        for name, (left, right) in columns.items():
            align = Qt.AlignmentFlag.AlignRight if name in NUMBERS else Qt.AlignmentFlag.AlignLeft
            painter.drawText(QRectF(left, 0, right - left - (PAD if name in NUMBERS else 0), HEAD),
                             align | Qt.AlignmentFlag.AlignVCenter, titles[name])  # fmt: skip
        left, right = columns["token"]
        painter.setPen(theme.colour("accent"))
        text = metrics.elidedText(token_text(row.token), Qt.TextElideMode.ElideRight, int(right - left - PAD))
        painter.drawText(QRectF(left, HEAD, right - left, PITCH), Qt.AlignmentFlag.AlignVCenter, text)
        if "key" in columns:
            left, right = columns["key"]
            strip = picture(self._scales[0].colours(row.query[None], theme))
            painter.drawImage(QRectF(left, HEAD + 3, right - left, PITCH - 6), strip)
        left, right = columns["weight"]
        painter.setPen(theme.colour("muted"))
        painter.drawText(QRectF(left, HEAD, right - left - PAD, PITCH), Qt.AlignmentFlag.AlignRight |
                         Qt.AlignmentFlag.AlignVCenter, tr("sum {sum}", sum=f"{row.weight.sum():.4f}"))  # fmt: skip
        painter.setPen(theme.colour("hairline"))
        painter.drawLine(QPointF(0, HEAD + PITCH - 0.5), QPointF(self.viewport().width(), HEAD + PITCH - 0.5))

    def _paint_strips(
        self, painter: QPainter, theme: Theme, columns: dict[str, tuple[float, float]], first: int, last: int
    ) -> None:
        """Draw the vectors in sight from one picture each: a line of pixels a key."""
        if last <= first or "key" not in columns:
            return
        parts = (self.row.keys[first:last], self.row.query[None] * self.row.keys[first:last])
        for name, values, scale in zip(STRIPS, parts, self._scales, strict=True):
            image = picture(scale.colours(values, theme))
            left, right = columns[name]
            for key in range(first, last):
                y = HEAD + PITCH * (key + 1) - self.verticalScrollBar().value()
                source = QRectF(0, key - first, image.width(), 1)
                painter.drawImage(QRectF(left, y + 3, right - left, PITCH - 6), image, source)

    def _paint_row(
        self, painter: QPainter, theme: Theme, columns: dict[str, tuple[float, float]], key: int, y: float
    ) -> None:
        row, hidden = self.row, self.row.added[key] == -np.inf
        painter.setPen(theme.colour("muted" if hidden else "text"))
        left, right = columns["token"]
        text = painter.fontMetrics().elidedText(
            token_text(row.tokens[key]), Qt.TextElideMode.ElideRight, int(right - left - PAD)
        )
        painter.drawText(QRectF(left, y, right - left, PITCH), Qt.AlignmentFlag.AlignVCenter, text)
        for name in NUMBERS:
            if name not in columns:
                continue
            left, right = columns[name]
            if name == "weight":
                track = right - left - NUMBER - PAD
                bar = QRectF(left + PAD, y + 7, max(0.0, track * float(row.weight[key])), PITCH - 14)
                painter.fillRect(bar, theme.colour("accent"))
            value = float(getattr(row, name)[key])
            said = f"{value:.4f}" if name == "weight" else words.number(value, 4)
            painter.drawText(QRectF(left, y, right - left - PAD, PITCH),
                             Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter, said)  # fmt: skip
        if key in (self._marked, self._at[1]):
            painter.setPen(QPen(theme.colour("accent" if key == self._marked else "muted"), 1))
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.drawRect(QRectF(0.5, y + 0.5, self.viewport().width() - 1, PITCH - 1))

    def _paint_foot(self, painter: QPainter, theme: Theme) -> None:
        view = self.viewport().rect()
        foot = QRectF(4, view.height() - FOOT + 4, view.width() - 8, FOOT - 4)
        wide = min(130.0, foot.width() * 0.3)
        bar = QRectF(foot.right() - wide, foot.top(), wide, foot.height())
        scale = self._scales[1 if self._at[0] == "product" else 0]
        scale.paint_bar(painter, bar, theme)
        said = self.describe(*self._at)
        painter.setPen(theme.colour("text" if said else "muted"))
        room = QRectF(foot.left(), foot.top(), bar.left() - foot.left() - 8, foot.height())
        text = said or tr("Point at a number to read it; Up and Down change the query")
        text = painter.fontMetrics().elidedText(text, Qt.TextElideMode.ElideRight, int(room.width()))
        painter.drawText(room, Qt.AlignmentFlag.AlignVCenter, text)
        if self.hasFocus():
            painter.setPen(QPen(theme.colour("accent"), 1))
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.drawRect(view.adjusted(0, 0, -1, -1))

    # Where things are

    def _columns(self) -> dict[str, tuple[float, float]]:
        """Return the columns from left to right; where there is little room, the middle numbers give way first."""
        row, width = self.row, self.viewport().width()
        metrics = QFontMetrics(number_font(current().small))
        titles = metrics.horizontalAdvance(tr("query, keys"))
        widest = max(metrics.horizontalAdvance(token_text(token)) for token in [row.token, *row.tokens])
        label = max(titles, min(MOST_LABEL, widest)) + 3 * PAD
        numbers = ["score", "scaled", "added", "weight"]
        for gives_way in ("added", "scaled", "score"):
            if width - label - NUMBER * (len(numbers) - 1) - WEIGHT < 2 * (LEAST_STRIP + PAD):
                numbers.remove(gives_way)
        room = width - label - NUMBER * (len(numbers) - 1) - WEIGHT - 3 * PAD
        strip = min(max(LEAST_STRIP, room / 2), MOST_DOT * row.keys.shape[1])
        x, columns = 4.0 + label, {"token": (4.0, 4.0 + label)}
        for name in STRIPS:
            columns[name] = (x, x + strip)
            x += strip + PAD
        for name in numbers:
            wide = WEIGHT if name == "weight" else NUMBER
            columns[name] = (x, x + wide)
            x += wide
        return columns

    def _room(self) -> int:
        return max(1, self.viewport().height() - HEAD - PITCH - FOOT)

    def _set_range(self) -> None:
        n_rows = len(self.row.tokens) if self.row is not None else 0
        bar = self.verticalScrollBar()
        bar.setRange(0, max(0, n_rows * PITCH - self._room()))
        bar.setPageStep(self._room())
        bar.setSingleStep(PITCH)

    # Events

    def sizeHint(self) -> QSize:
        return QSize(560, 420)

    def resizeEvent(self, event: QResizeEvent) -> None:
        self._set_range()

    def scrollContentsBy(self, dx: int, dy: int) -> None:
        self.viewport().update()

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        found = self.hit(event.position())
        if found != self._at:
            was, self._at = self._at, found
            self.viewport().update()
            if was[1] != found[1]:
                self.key_hovered.emit(found[1])

    def leaveEvent(self, event: object) -> None:
        self._at = ("", -1, -1)
        self.viewport().update()
        self.key_hovered.emit(-1)

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        key = self.hit(event.position())[1]
        if key >= 0:
            self.key_chosen.emit(key)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        step = {Qt.Key.Key_Up: -1, Qt.Key.Key_Down: 1}.get(Qt.Key(event.key()))
        if step is None:
            super().keyPressEvent(event)
        else:
            self.moved.emit(step)


def _exact(value: float) -> str:
    """Return a number with all that its float32 holds."""
    if not np.isfinite(value):
        return words.number(float(value))
    return f"{float(value):.7g}".replace("-", "−")
