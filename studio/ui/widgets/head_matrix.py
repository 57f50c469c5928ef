"""One head: who looks at whom, token by token, with exact values."""

from collections.abc import Callable
from functools import partial

import numpy as np
from PySide6.QtCore import QPointF, QRectF, QSize, Qt, Signal
from PySide6.QtGui import QFontMetrics, QImage, QKeyEvent, QMouseEvent, QPainter, QPen, QResizeEvent, QWheelEvent
from PySide6.QtWidgets import QAbstractScrollArea, QWidget

from studio.ui import words
from studio.ui.i18n import tr
from studio.ui.theme import Theme, current, follow_theme, number_font
from studio.ui.widgets import head_figure
from studio.ui.widgets.heat import Scale, first_fitting, furthest, picture, token_text
from studio.ui.widgets.marginals import ROOM, Marginals

LABEL_CELL = 12  # the least cell in pixels beside which a token can be read
MOST_CELL, MOST_LABEL, FOOT, AXIS = 48.0, 110, 24, 18
LEAST_LABEL, LABEL_SHARE = 40.0, 0.28  # of the widget's side, so that long words leave room for the cells
_MEASURED = 40
NONE = (-1, -1)


class HeadMatrix(QAbstractScrollArea):
    """Draws a matrix [query, key] with its tokens; row = query = the token that looks, column = key = looked at.

    Hover reads the value, a click locks a cell, Ctrl+wheel and + - 0 zoom, dragging moves, the arrow keys move the
    locked cell. A bar beside the map stands for its whole row or column. cell_hovered and cell_locked: query and key,
    -1 for none of them.
    """

    cell_hovered = Signal(int, int)
    cell_locked = Signal(int, int)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.values = np.zeros((0, 0), dtype=np.float32)
        self.query_tokens: list[str] = []
        self.key_tokens: list[str] = []
        self.caption, self.scale = "", Scale()
        self._difference, self._limit, self._per_head, self._gamma = False, None, False, 1.0
        self._zoom, self._hovered, self._locked = 1.0, NONE, NONE
        self._pressed: tuple[QPointF, int, int] | None = None
        self._image, self._image_key = QImage(), None
        self._marginals: Marginals | None = None
        self._mean = False
        self._longest = (0.0, 0.0)  # the widest tokens of both axes
        self._ranged_cell = MOST_CELL  # the cell for which the scroll bars were set
        self.viewport().setMouseTracking(True)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setMinimumSize(180, 128)
        self.setAccessibleName(tr("Matrix of one head"))
        follow_theme(self, self._show_theme)

    def set_matrix(
        self,
        values: np.ndarray,
        query_tokens: list[str],
        key_tokens: list[str],
        caption: str = "",
        difference: bool = False,
        limit: float | None = None,
    ) -> None:
        """Show values [query, key] with the tokens of both axes.

        limit: the value at the end of the colours; without it 1, or of a difference the largest there is.
        Raises ValueError where the tokens do not fit the matrix.
        """
        if values.shape != (len(query_tokens), len(key_tokens)):
            raise ValueError(f"{values.shape} does not fit {len(query_tokens)} x {len(key_tokens)} tokens")
        if values.shape != self.values.shape:
            self._zoom, self._locked, self._hovered = 1.0, NONE, NONE
        self.values, self.caption = values, caption
        self.query_tokens, self.key_tokens = [*map(token_text, query_tokens)], [*map(token_text, key_tokens)]
        self._difference, self._limit = difference, limit
        self.setAccessibleDescription(caption)
        self._measure_labels()
        self._rescale()

    def set_marginals(self, marginals: Marginals | None) -> None:
        """Show what rows and columns come to beside the map, or nothing with None."""
        self._marginals = marginals
        self._set_scroll_ranges()
        self.viewport().update()

    def set_per_head(self, on: bool) -> None:
        """End the colours at this head's largest value, or at the limit."""
        self._per_head = on
        self._rescale()

    def set_gamma(self, gamma: float) -> None:
        """Lift small values with a gamma below 1."""
        self._gamma = gamma
        self._rescale()

    def set_mean(self, on: bool) -> None:
        """Draw the mean of cells that share a pixel, or the one furthest from 0, which keeps single cells in sight."""
        self._mean, self._image_key = on, None
        self.viewport().update()

    def lock(self, query: int, key: int) -> None:
        """Lock a cell, or a whole row or column with -1 for the other; (-1, -1) for none."""
        if (query, key) != self._locked:
            self._locked = (query, key)
            self.setAccessibleDescription(self.describe(query, key))
            self.viewport().update()
            self.cell_locked.emit(query, key)

    def locked(self) -> tuple[int, int]:
        """Return the locked cell."""
        return self._locked

    def set_zoom(self, zoom: float, about: QPointF | None = None) -> None:
        """Draw cells `zoom` times as large as fits, keeping the place `about` where it is."""
        about = about or self._area().center()
        before = self._cell()
        x = (about.x() - self._area().left() + self._shift().x()) / before
        y = (about.y() - self._area().top() + self._shift().y()) / before
        self._zoom = min(max(1.0, zoom), max(1.0, MOST_CELL / self._fitting_cell()))
        self._set_scroll_ranges()
        after = self._cell()
        self.horizontalScrollBar().setValue(round(x * after - (about.x() - self._area().left())))
        self.verticalScrollBar().setValue(round(y * after - (about.y() - self._area().top())))
        self.viewport().update()

    def hit(self, at: QPointF) -> tuple[int, int]:
        """Return query and key under a place, (-1, -1) for none."""
        area, cell = self._area(), self._cell()
        if not area.contains(at):
            return -1, -1
        key = int((at.x() - area.left() + self._shift().x()) // cell)
        query = int((at.y() - area.top() + self._shift().y()) // cell)
        inside = 0 <= query < len(self.query_tokens) and 0 <= key < len(self.key_tokens)
        return (query, key) if inside else (-1, -1)

    def cell_rect(self, query: int, key: int) -> QRectF:
        """Return where a cell is in the viewport."""
        area, cell, shift = self._area(), self._cell(), self._shift()
        return QRectF(area.left() + key * cell - shift.x(), area.top() + query * cell - shift.y(), cell, cell)

    def _whole(self) -> QRectF:
        """Return where the matrix is in sight."""
        area, n_queries, n_keys = self._area(), *self.values.shape
        width, height = min(area.width(), n_keys * self._cell()), min(area.height(), n_queries * self._cell())
        return QRectF(area.left(), area.top(), width, height)

    def describe(self, query: int, key: int) -> str:
        """Return a cell in words, with its value; of a row or column which it is, and what its bar stands for."""
        sums = self._marginals.describe(query, key) if self._marginals is not None and (query, key) != NONE else ""
        return " · ".join(filter(None, (self._tell(query, key), sums)))

    def _tell(self, query: int, key: int, most: int = 10_000) -> str:
        """Return a cell in words; `most`: letters of a token."""
        tokens = ((self.query_tokens, query), (self.key_tokens, key))
        looks, looked_at = (tokens[i] if i >= 0 else "" for tokens, i in tokens)
        looks, looked_at = (t if len(t) <= most else t[: most - 1] + "…" for t in (looks, looked_at))
        if query < 0 or key < 0:
            row, column = tr("the row of “{token}”", token=looks), tr("the column of “{token}”", token=looked_at)
            return row if query >= 0 else column if key >= 0 else ""
        value = float(self.values[query, key])
        said = f"{value:+.4f}".replace("-", "−") if self._difference else words.number(value)
        return tr("“{query}” looks at “{key}”: {value}", query=looks, key=looked_at, value=said)

    def figure(self) -> Callable[[], head_figure.Figure]:
        """Take what is shown, and return what makes the whole matrix a figure in any thread."""
        return partial(head_figure.Figure, self.values, self.query_tokens, self.key_tokens, self.caption, self.scale)

    def sizeHint(self) -> QSize:
        return QSize(420, 420)

    def paintEvent(self, event: object) -> None:
        theme, painter = current(), QPainter(self.viewport())
        painter.fillRect(self.viewport().rect(), theme.colour("surface"))
        painter.setFont(number_font(theme.small))
        if not self.values.size:
            return
        whole = self._whole()
        painter.save()
        painter.setClipRect(whole.adjusted(-1, -1, 1, 1))
        self._paint_values(painter, theme)
        for (query, key), colour in ((self._locked, "accent"), (self._hovered, "text")):
            rect = self.cell_rect(query, key)
            painter.setPen(QPen(theme.colour(colour), 1))
            painter.setBrush(Qt.BrushStyle.NoBrush)
            if query >= 0:
                painter.drawRect(QRectF(whole.left(), rect.top(), whole.width(), max(2.0, rect.height())))
            if key >= 0:
                painter.drawRect(QRectF(rect.left(), whole.top(), max(2.0, rect.width()), whole.height()))
            if query >= 0 and key >= 0:
                painter.setPen(QPen(theme.colour(colour), 2))
                painter.drawRect(rect)
        painter.restore()
        if self._marginals is not None:
            self._marginals.paint(painter, theme, whole, self.cell_rect, self._told())
        self._paint_tokens(painter, theme)
        self._paint_frame(painter, theme)

    def resizeEvent(self, event: QResizeEvent) -> None:
        # What was in sight stays there: cells grow with the room, and a scroll bar that comes takes some of it.
        bars, before = (self.horizontalScrollBar(), self.verticalScrollBar()), self._ranged_cell
        values = [bar.value() for bar in bars]
        self._set_scroll_ranges()
        for bar, value in zip(bars, values, strict=True):
            bar.setValue(round(value * self._cell() / before))

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        if self._pressed is not None and event.buttons() & Qt.MouseButton.LeftButton:
            start, x, y = self._pressed
            moved = event.position() - start
            if moved.manhattanLength() > 4:
                self.horizontalScrollBar().setValue(round(x - moved.x()))
                self.verticalScrollBar().setValue(round(y - moved.y()))
                return
        self._hover(self._under(event.position()))

    def mousePressEvent(self, event: QMouseEvent) -> None:
        shift = self._shift()
        self._pressed = (event.position(), shift.x(), shift.y())

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        pressed, self._pressed = self._pressed, None
        if pressed is not None and (event.position() - pressed[0]).manhattanLength() <= 4:
            cell = self._under(event.position())
            self.lock(*(NONE if cell == self._locked else cell))

    def leaveEvent(self, event: object) -> None:
        self._hover(NONE)

    def wheelEvent(self, event: QWheelEvent) -> None:
        if event.modifiers() & Qt.KeyboardModifier.ControlModifier:
            self.set_zoom(self._zoom * 1.25 ** (event.angleDelta().y() / 120), event.position())
            event.accept()
        else:
            super().wheelEvent(event)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        moves = {Qt.Key.Key_Up: (-1, 0), Qt.Key.Key_Down: (1, 0), Qt.Key.Key_Left: (0, -1), Qt.Key.Key_Right: (0, 1)}
        if event.key() in moves and self.values.size:
            down, right = moves[event.key()]
            query = min(len(self.query_tokens) - 1, max(0, self._locked[0] + down))
            key = min(len(self.key_tokens) - 1, max(0, self._locked[1] + right))
            self.lock(query, key)
            self._bring_into_sight(query, key)
        elif event.key() in (Qt.Key.Key_Plus, Qt.Key.Key_Equal):
            self.set_zoom(self._zoom * 1.25)
        elif event.key() == Qt.Key.Key_Minus:
            self.set_zoom(self._zoom / 1.25)
        elif event.key() == Qt.Key.Key_0:
            self.set_zoom(1.0)
        elif event.key() == Qt.Key.Key_Escape and self._locked != NONE:
            self.lock(*NONE)
        else:
            super().keyPressEvent(event)

    # The picture

    def _paint_values(self, painter: QPainter, theme: Theme) -> None:
        """Draw the cells in sight: one pixel a cell, enlarged, or pooled where a cell is less than a pixel."""
        area, cell, ratio = self._area(), self._cell(), self.devicePixelRatioF()
        n_queries, n_keys = self.values.shape
        shift = self._shift()
        top, left = int(shift.y() // cell), int(shift.x() // cell)
        bottom = min(n_queries, int((shift.y() + area.height()) // cell) + 1)
        right = min(n_keys, int((shift.x() + area.width()) // cell) + 1)
        rows = max(1, min(bottom - top, int((bottom - top) * cell * ratio)))
        columns = max(1, min(right - left, int((right - left) * cell * ratio)))
        key = (top, left, bottom, right, rows, columns, theme.name, self.scale)
        if key != self._image_key:
            part = np.asarray(self.values[top:bottom, left:right])
            if cell * ratio < 1:
                part = furthest(part, rows, columns, self._mean)
            self._image, self._image_key = picture(self.scale.colours(part, theme)), key
        first = self.cell_rect(top, left)
        painter.drawImage(QRectF(first.left(), first.top(), (right - left) * cell, (bottom - top) * cell), self._image)

    def _paint_tokens(self, painter: QPainter, theme: Theme) -> None:
        area, metrics = self._area(), painter.fontMetrics()
        stride = self._stride()
        rows, columns = ({i for i in axis if i >= 0} for axis in zip(self._hovered, self._locked, strict=True))
        elide = Qt.TextElideMode.ElideRight
        right = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
        painter.setClipRect(QRectF(0, area.top() - 4, area.left(), area.height() + 8))
        for row in self._labels(len(self.query_tokens), stride, rows, area.top(), area.bottom(), self._shift().y()):
            middle = self.cell_rect(row, 0).center().y()
            painter.setPen(theme.colour("accent" if row in rows else "text"))
            rect = QRectF(AXIS, middle - 8, area.left() - AXIS - 6, 16)
            text = metrics.elidedText(self.query_tokens[row], elide, int(rect.width()))
            painter.drawText(rect, right, text)
        painter.setClipRect(QRectF(area.left() - 4, 0, area.width() + 8, area.top()))
        for column in self._labels(len(self.key_tokens), stride, columns, area.left(), area.right(), self._shift().x()):
            painter.save()
            painter.translate(self.cell_rect(0, column).center().x(), area.top() - 6)
            painter.rotate(-90)
            painter.setPen(theme.colour("accent" if column in columns else "text"))
            rect = QRectF(0, -8, area.top() - AXIS - 6, 16)
            text = metrics.elidedText(self.key_tokens[column], elide, int(rect.width()))
            painter.drawText(rect, Qt.AlignmentFlag.AlignVCenter, text)
            painter.restore()
        painter.setClipping(False)

    def _stride(self) -> int:
        """Return of how many tokens one is named."""
        return max(1, int(np.ceil(LABEL_CELL / self._cell())))

    def _labels(self, n: int, stride: int, marked: set[int], low: float, high: float, shift: float) -> list[int]:
        """Return which tokens of an axis are written: every so many, and the marked ones in place of neighbours."""
        cell = self._cell()
        first = max(0, int(shift // cell) - stride)
        last = min(n, int((shift + high - low) // cell) + 1)
        usual = [i for i in range(first - first % stride, last, stride) if all(abs(i - m) >= stride for m in marked)]
        return sorted({*usual, *(m for m in marked if first <= m < last)})

    def _paint_frame(self, painter: QPainter, theme: Theme) -> None:
        """Say what the axes are, what the colours mean and what is under the pointer."""
        view, area = self.viewport().rect(), self._area()
        painter.setPen(theme.colour("muted"))
        left = Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter
        metrics = painter.fontMetrics()
        across = QRectF(area.left(), 0, view.width() - area.left(), AXIS)
        keys, stride = (tr("key: the token looked at →"), tr("key: looked at →"), tr("key →")), self._stride()
        if stride > 2:  # else a person could take the tokens that are named for all of them
            keys = (*(tr("{axis} 1 of {n} named", axis=axis, n=stride) for axis in keys[:2]), *keys)
        painter.drawText(across, left, first_fitting(metrics, across.width(), *keys))
        painter.save()
        painter.translate(0, area.bottom())
        painter.rotate(-90)
        along = QRectF(0, 0, max(area.height(), min(area.bottom() - AXIS, 170)), AXIS)
        queries = (tr("← query: the token that looks"), tr("← query: looks"), tr("← query"))
        painter.drawText(along, Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter,
                         first_fitting(metrics, along.width(), *queries))  # fmt: skip
        painter.restore()
        foot = QRectF(4, view.height() - FOOT + 4, view.width() - 8, FOOT - 4)
        wide = min(170.0, foot.width() * 0.4)
        bar = QRectF(foot.right() - wide, foot.top(), wide, foot.height())
        self.scale.paint_bar(painter, bar, theme)
        shown = self._told()
        painter.setPen(theme.colour("text" if shown != NONE else "muted"))
        room = QRectF(foot.left(), foot.top(), bar.left() - foot.left() - 8, foot.height())
        # Where there is little room, the sums give way first, then the tokens' ends: the value stays.
        said = (self.describe(*shown), self._tell(*shown), *(self._tell(*shown, most) for most in (12, 6, 3)))
        said = said if shown != NONE else (tr("Point at a cell"),)
        painter.drawText(room, left, first_fitting(metrics, room.width(), *said))
        if self.hasFocus():
            painter.setPen(QPen(theme.colour("accent"), 1))
            painter.drawRect(view.adjusted(0, 0, -1, -1))

    # Where things are

    def _told(self) -> tuple[int, int]:
        """Return the cell, row or column that is told: the one under the pointer, else the one that is locked."""
        return self._hovered if self._hovered != NONE else self._locked

    def _under(self, at: QPointF) -> tuple[int, int]:
        """Return the cell under a place, of a bar its whole row or column."""
        cell = self.hit(at)
        if cell != NONE or self._marginals is None:
            return cell
        return self._marginals.hit(at, self._whole(), self.cell_rect)

    @property
    def _label_room(self) -> tuple[float, float]:
        """What tokens and names of the axes take at the left and at the top."""
        view = self.viewport().size()
        sides = zip((view.width(), view.height()), self._longest, strict=True)
        return tuple(
            AXIS + min(MOST_LABEL, max(LEAST_LABEL, LABEL_SHARE * side), longest) + 10.0 for side, longest in sides
        )

    def _area(self) -> QRectF:
        """Return where the cells are seen."""
        (left, top), view = self._label_room, self.viewport().size()
        beside = ROOM if self._marginals is not None else 0
        width, height = view.width() - left - 4 - beside, view.height() - top - FOOT - 4 - beside
        return QRectF(left, top, max(8.0, width), max(8.0, height))

    def _measure_labels(self) -> None:
        metrics = QFontMetrics(number_font(current().small))
        # Of many thousand tokens only the longest are measured, which is as long as all.
        some = [sorted(set(tokens), key=len)[-_MEASURED:] for tokens in (self.query_tokens, self.key_tokens)]
        self._longest = tuple(float(max(map(metrics.horizontalAdvance, tokens), default=0)) for tokens in some)

    def _fitting_cell(self) -> float:
        area = self._area()
        n_queries, n_keys = max(1, len(self.query_tokens)), max(1, len(self.key_tokens))
        return min(area.width() / n_keys, area.height() / n_queries, MOST_CELL)

    def _cell(self) -> float:
        return self._fitting_cell() * self._zoom

    def _shift(self) -> QPointF:
        return QPointF(self.horizontalScrollBar().value(), self.verticalScrollBar().value())

    def _set_scroll_ranges(self) -> None:
        area, cell = self._area(), self._cell()
        self._ranged_cell = cell
        for bar, n, room in (
            (self.horizontalScrollBar(), len(self.key_tokens), area.width()),
            (self.verticalScrollBar(), len(self.query_tokens), area.height()),
        ):
            bar.setRange(0, max(0, int(np.ceil(n * cell - room - 0.5))) if self._zoom > 1 else 0)
            bar.setPageStep(int(room))
            bar.setSingleStep(max(1, int(cell)))

    def _bring_into_sight(self, query: int, key: int) -> None:
        rect, area = self.cell_rect(query, key), self._area()
        across, down = self.horizontalScrollBar(), self.verticalScrollBar()
        right = min(0.0, rect.left() - area.left()) + max(0.0, rect.right() - area.right())
        below = min(0.0, rect.top() - area.top()) + max(0.0, rect.bottom() - area.bottom())
        across.setValue(across.value() + round(right))
        down.setValue(down.value() + round(below))

    def _hover(self, cell: tuple[int, int]) -> None:
        if cell != self._hovered:
            self._hovered = cell
            is_bar = cell != NONE and -1 in cell
            shape = Qt.CursorShape.PointingHandCursor if is_bar else Qt.CursorShape.CrossCursor
            self.viewport().setCursor(Qt.CursorShape.ArrowCursor if cell == NONE else shape)
            self.viewport().update()
            self.cell_hovered.emit(*cell)

    def scrollContentsBy(self, dx: int, dy: int) -> None:
        self._hover(NONE)  # another cell came under the pointer; its next move says which
        self.viewport().update()

    def _rescale(self) -> None:
        largest = float(np.abs(self.values).max(initial=0.0)) or 1.0
        limit = self._limit or (largest if self._difference else 1.0)
        self.scale = Scale(self._difference, largest if self._per_head else limit, self._gamma)
        self._image_key = None
        self._set_scroll_ranges()
        self.viewport().update()

    def _show_theme(self, theme: Theme) -> None:
        self._image_key = None
        self.viewport().update()
