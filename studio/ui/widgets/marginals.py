"""What the rows and columns of a map come to, as small bars at its right and its bottom edge."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PySide6.QtCore import QPointF, QRectF
from PySide6.QtGui import QColor, QPainter

from studio.attention.maps import entropy
from studio.ui import words
from studio.ui.i18n import tr
from studio.ui.theme import Theme, lookup_table

ROOM, GAP = 36, 4  # of the bars beside the map, in pixels


@dataclass(frozen=True, eq=False)
class Marginals:
    """Of a map: the entropy of each row in nats and the sum of each column; of a difference: half of what moved.

    rows [query], columns [key]; of a difference the columns are signed.
    """

    rows: np.ndarray
    columns: np.ndarray
    difference: bool = False

    @classmethod
    def of(cls, values: np.ndarray, difference: bool) -> "Marginals":
        """Return those of a map [query, key]."""
        rows = np.abs(values).sum(axis=1) / 2 if difference else entropy(values)
        return cls(np.maximum(rows, 0.0), values.sum(axis=0), difference)

    def describe(self, query: int, key: int) -> str:
        """Return in words what the row and the column of a cell come to, -1 for none of them."""
        row = words.number(float(self.rows[query]), 3) if query >= 0 else ""
        column = words.number(float(self.columns[key]), 3) if key >= 0 else ""
        if not row or not column:
            of_row = tr("half of what moved {row}", row=row) if self.difference else tr("entropy {row}", row=row)
            of_column = tr("moved {column}", column=column) if self.difference else tr("sum {column}", column=column)
            return of_row if row else of_column
        if self.difference:
            return tr("row moved {row}, column {column}", row=row, column=column)
        return tr("row's entropy {row}, column's sum {column}", row=row, column=column)

    def hit(self, at: QPointF, whole: QRectF, cell: Callable[[int, int], QRectF]) -> tuple[int, int]:
        """Return (query, -1) of a row's bar under a place, (-1, key) of a column's, (-1, -1) for none; as `paint`."""
        first = cell(0, 0)
        if QRectF(whole.right(), whole.top(), ROOM + GAP, whole.height()).contains(at):
            return min(len(self.rows) - 1, int((at.y() - first.top()) // first.height())), -1
        if QRectF(whole.left(), whole.bottom(), whole.width(), ROOM + GAP).contains(at):
            return -1, min(len(self.columns) - 1, int((at.x() - first.left()) // first.width()))
        return -1, -1

    def paint(
        self, painter: QPainter, theme: Theme, whole: QRectF, cell: Callable[[int, int], QRectF], marked: tuple
    ) -> None:
        """Draw the bars beside the part `whole` of a map that is in sight, in which `cell` tells where cells are."""
        plain, accent = theme.colour(theme.mix("muted" if self.difference else "accent", 0.55)), theme.colour("accent")
        signs = lookup_table("difference", theme)  # as in the map: what bars of another colour say would be wrong
        less, more = (QColor(int(signs[at])) if self.difference else plain for at in (40, 215))
        first, room = cell(0, 0), ROOM - GAP
        side = first.height()
        thick = max(1.0, side - 1)
        painter.save()
        painter.setClipRect(QRectF(whole.right(), whole.top(), ROOM + GAP, whole.height()))
        limit = float(self.rows.max(initial=0.0)) or 1.0
        for query in _in_sight(len(self.rows), whole.top() - first.top(), whole.height(), side):
            bar = QRectF(whole.right() + GAP, first.top() + query * side, self.rows[query] / limit * room, thick)
            painter.fillRect(bar, accent if query == marked[0] else plain)
        painter.setClipRect(QRectF(whole.left(), whole.bottom(), whole.width(), ROOM + GAP))
        limit = float(np.abs(self.columns).max(initial=0.0)) or 1.0
        for key in _in_sight(len(self.columns), whole.left() - first.left(), whole.width(), side):
            value = float(self.columns[key])
            bar = QRectF(first.left() + key * side, whole.bottom() + GAP, thick, abs(value) / limit * room)
            painter.fillRect(bar, accent if key == marked[1] else less if value < 0 else more)
        painter.restore()


def _in_sight(n: int, start: float, length: float, side: float) -> range:
    """Return which of n cells are seen of an axis."""
    return range(max(0, int(start / side)), min(n, int((start + length) / side) + 1))
