"""A grid of tokens × tokens to paint a pattern of attention on, with the mouse or the keyboard."""

from collections.abc import Sequence

import numpy as np
from PySide6.QtCore import QPointF, QRectF, QSize, Qt, Signal
from PySide6.QtGui import QColor, QFontMetrics, QImage, QKeyEvent, QMouseEvent, QPainter, QPen
from PySide6.QtWidgets import QSizePolicy, QWidget

from studio.ui import words
from studio.ui.i18n import tr
from studio.ui.theme import current, follow_theme, number_font
from studio.ui.widgets.heat import Scale, picture, token_text

MOST_CELLS = 48  # a side; of a longer text a cell stands for several tokens
MOST_SIDE, LEAST_LABEL, MOST_LABEL, LABEL_CELL, AXIS = 22.0, 40, 84, 11, 16


class PatternPainter(QWidget):
    """Row = query = the token that looks, column = key = looked at. painted: the pattern is another now.

    Drag to paint with the `shade`, with the right button to erase; the arrow keys move a cell, Space paints it.
    """

    painted = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.shade = 1.0
        self._tokens: list[str] = []
        self._allowed = np.zeros((0, 0), dtype=bool)
        self._cells = np.zeros((0, 0), dtype=np.float32)
        self._starts = np.zeros(0, dtype=int)
        self._cursor, self._from = (0, 0), (-1, -1)
        self._image: QImage | None = None
        self._measured: tuple[str, int] | None = None  # the key of a font, and how wide the widest name is in it
        self.setMouseTracking(True)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setCursor(Qt.CursorShape.CrossCursor)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self.setMinimumSize(120, 120)
        self.setAccessibleName(tr("Pattern to search for"))
        follow_theme(self, lambda _: self._redraw())

    def set_tokens(self, tokens: Sequence[str], allowed: np.ndarray) -> None:
        """Paint on other tokens; allowed: bool [query, key], what the model may look at. Clears the pattern."""
        n_cells = min(len(tokens), MOST_CELLS)
        self._tokens = [token_text(token) for token in tokens]
        self._starts = np.arange(n_cells) * len(tokens) // max(n_cells, 1)
        self._measured = None
        self._allowed = self._reduced(allowed) > 0
        self._cells = np.zeros((n_cells, n_cells), dtype=np.float32)
        self._cursor = (0, 0)
        self._redraw()

    def pattern(self) -> np.ndarray:
        """Return what is painted, float32 from 0 to 1 [query, key] of the tokens."""
        places = np.searchsorted(self._starts, np.arange(len(self._tokens)), side="right") - 1
        return self._cells[places[:, None], places[None]]

    def set_pattern(self, pattern: np.ndarray) -> None:
        """Show a pattern [query, key] of the tokens, without a signal; of several in a cell the strongest is kept."""
        self._put(np.where(self._allowed, self._reduced(np.asarray(pattern, dtype=np.float32)), 0))

    def cells(self) -> list[tuple[int, int, float]]:
        """Return the painted cells of the grid: query, key, shade."""
        return [(int(q), int(k), float(self._cells[q, k])) for q, k in np.argwhere(self._cells)]

    def set_cells(self, cells: Sequence[tuple[int, int, float]]) -> None:
        """Show what `cells` returned, without a signal; what lies outside of the grid is left out."""
        painted, n_cells = np.zeros_like(self._cells), len(self._cells)
        for query, key, shade in cells:
            if 0 <= query < n_cells and 0 <= key < n_cells and 0 <= shade <= 1:
                painted[query, key] = shade
        self._put(np.where(self._allowed, painted, 0))

    def clear(self) -> None:
        """Paint nothing."""
        self._put(np.zeros_like(self._cells))
        self.painted.emit()

    def invert(self) -> None:
        """Make strong what is empty and empty what is strong."""
        self._put(np.where(self._allowed, 1 - self._cells, 0))
        self.painted.emit()

    def paint_cell(self, query: int, key: int, shade: float) -> None:
        """Give one cell of the grid a shade, where the model may look at all."""
        if self._allowed[query, key] and self._cells[query, key] != np.float32(shade):
            self._cells[query, key] = shade
            self._redraw()
            self.painted.emit()

    def n_tokens_a_cell(self) -> int:
        """Return how many tokens a cell stands for, at most."""
        return -(-len(self._tokens) // max(len(self._starts), 1))

    def cell_rect(self, query: int, key: int) -> QRectF:
        """Return where a cell of the grid is."""
        area, cell = self._area(), self._cell()
        return QRectF(area.left() + key * cell, area.top() + query * cell, cell, cell)

    def describe(self, query: int, key: int) -> str:
        """Return a cell in words, with its shade."""
        if not self._allowed[query, key]:
            return tr("“{query}” can't look at “{key}”", query=self._name(query), key=self._name(key))
        shade = words.number(float(self._cells[query, key]), 2)
        return tr("“{query}” looks at “{key}”: {shade}", query=self._name(query), key=self._name(key), shade=shade)

    def sizeHint(self) -> QSize:
        return QSize(340, 300)

    # --- events ------------------------------------------------------------------------------------------------

    def mousePressEvent(self, event: QMouseEvent) -> None:
        self._from = self._hit(event.position())
        self._paint_to(event)

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        query, key = self._hit(event.position())
        if query >= 0:
            self.setToolTip(self.describe(query, key))
        if event.buttons() & (Qt.MouseButton.LeftButton | Qt.MouseButton.RightButton):
            self._paint_to(event)

    def _paint_to(self, event: QMouseEvent) -> None:
        """Paint all cells between the last place and this one: a quick stroke has no holes."""
        query, key = self._hit(event.position())
        if query < 0:
            return
        erases = bool(event.buttons() & Qt.MouseButton.RightButton)
        start = self._from if self._from[0] >= 0 else (query, key)
        n_steps = max(abs(query - start[0]), abs(key - start[1]), 1)
        for step in range(n_steps + 1):
            cell = [round(a + (b - a) * step / n_steps) for a, b in zip(start, (query, key), strict=True)]
            self.paint_cell(*cell, 0.0 if erases else self.shade)
        self._from = self._cursor = (query, key)
        self.update()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        steps = {
            Qt.Key.Key_Up: (-1, 0), Qt.Key.Key_Down: (1, 0), Qt.Key.Key_Left: (0, -1), Qt.Key.Key_Right: (0, 1)
        }  # fmt: skip
        if event.key() in steps and len(self._cells):
            moved = np.add(self._cursor, steps[event.key()])
            self._cursor = tuple(int(place) for place in np.clip(moved, 0, len(self._cells) - 1))
            self.setAccessibleDescription(self.describe(*self._cursor))
            self.update()
        elif event.key() == Qt.Key.Key_Space and len(self._cells):
            is_so = self._cells[self._cursor] == np.float32(self.shade)
            self.paint_cell(*self._cursor, 0.0 if is_so else self.shade)
        else:
            super().keyPressEvent(event)

    # --- drawing -----------------------------------------------------------------------------------------------

    def paintEvent(self, event: object) -> None:
        theme, painter = current(), QPainter(self)
        painter.setFont(number_font(theme.small))
        n_cells = len(self._cells)
        if not n_cells:
            return
        area, cell = self._area(), self._cell()
        whole = QRectF(area.topLeft(), QPointF(area.left() + n_cells * cell, area.top() + n_cells * cell))
        if self._image is None:
            self._image = picture(Scale().colours(self._cells, theme))
        painter.drawImage(whole, self._image)
        self._paint_forbidden(painter, area, cell)
        painter.setPen(QPen(theme.colour("hairline"), 1))
        for place in range(n_cells + 1) if cell >= 6 else (0, n_cells):
            across, down = QPointF(place * cell, 0), QPointF(0, place * cell)
            painter.drawLine(whole.topLeft() + across, whole.bottomLeft() + across)
            painter.drawLine(whole.topLeft() + down, whole.topRight() + down)
        if self.hasFocus():
            painter.setPen(QPen(theme.colour("accent"), 2))
            painter.drawRect(self.cell_rect(*self._cursor))
        self._paint_tokens(painter, area, cell)

    def _paint_forbidden(self, painter: QPainter, area: QRectF, cell: float) -> None:
        brush = QColor(current().mix("text", 0.10))
        for query, key in np.argwhere(~self._allowed).tolist():
            painter.fillRect(QRectF(area.left() + key * cell, area.top() + query * cell, cell, cell), brush)

    def _paint_tokens(self, painter: QPainter, area: QRectF, cell: float) -> None:
        theme, metrics = current(), painter.fontMetrics()
        painter.setPen(theme.colour("muted"))
        painter.drawText(QRectF(area.left(), 0, self.width(), AXIS), tr("key: looked at →"))
        every = 1 if cell >= LABEL_CELL else int(np.ceil(LABEL_CELL / cell))
        painter.setPen(theme.colour("text"))
        flags, room = Qt.AlignmentFlag.AlignVCenter, area.left() - 4
        for place in range(0, len(self._cells), every):
            name = metrics.elidedText(self._name(place), Qt.TextElideMode.ElideRight, int(room))
            middle = (place + 0.5) * cell
            row = QRectF(0, area.top() + middle - LABEL_CELL, room, 2 * LABEL_CELL)
            painter.drawText(row, flags | Qt.AlignmentFlag.AlignRight, name)
            painter.save()
            painter.translate(area.left() + middle, area.top() - 4)
            painter.rotate(-90)
            painter.drawText(QRectF(0, -LABEL_CELL, room, 2 * LABEL_CELL), flags, name)
            painter.restore()

    def _name(self, place: int) -> str:
        start = self._starts[place]
        stop = self._starts[place + 1] if place + 1 < len(self._starts) else len(self._tokens)
        return self._tokens[start] + ("…" if stop - start > 1 else "")

    # --- geometry ----------------------------------------------------------------------------------------------

    def _area(self) -> QRectF:
        room = min(self._widest() + 8, MOST_LABEL, max(0.24 * self.height(), LEAST_LABEL))
        return QRectF(room, room + AXIS, self.width() - room - 2, self.height() - room - AXIS - 2)

    def _widest(self) -> int:
        """Return the width of the widest name; measured once, for every cell asks where it is."""
        font = number_font(current().small)
        if self._measured is None or self._measured[0] != font.key():
            metrics = QFontMetrics(font)
            names = [metrics.horizontalAdvance(self._name(place)) for place in range(len(self._starts))]
            self._measured = font.key(), max(names, default=0)
        return self._measured[1]

    def _cell(self) -> float:
        area = self._area()
        return max(2.0, min(MOST_SIDE, min(area.width(), area.height()) / max(len(self._cells), 1)))

    def _hit(self, at: QPointF) -> tuple[int, int]:
        area, cell = self._area(), self._cell()
        key, query = int((at.x() - area.left()) // cell), int((at.y() - area.top()) // cell)
        inside = 0 <= query < len(self._cells) and 0 <= key < len(self._cells)
        return (query, key) if inside else (-1, -1)

    def _reduced(self, values: np.ndarray) -> np.ndarray:
        """Return values [query, key] of the tokens as those of the grid: of each patch the largest."""
        if not len(self._starts):
            return np.zeros((0, 0), dtype=np.float32)
        rows = np.maximum.reduceat(values, self._starts, axis=0)
        return np.maximum.reduceat(rows, self._starts, axis=1)

    def _put(self, cells: np.ndarray) -> None:
        self._cells = cells.astype(np.float32)
        self._redraw()

    def _redraw(self) -> None:
        self._image = None
        self.update()
