"""The lines between two columns of tokens: how weights become sixteen strengths, and how these are drawn."""

import time
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
from PySide6.QtCore import QLineF
from PySide6.QtGui import QColor, QPainter, QPen

from studio.ui.theme import Theme, load_theme
from studio.ui.widgets.marks import series_colour, series_pen

LEVELS, DASHED = 16, 4  # dashes of weaker lines could not be told
FEW_LINES, PART_SECONDS = 16, 0.008
SIGNED = -2  # in place of a series: the colours of a difference say less and more


@dataclass(frozen=True, eq=False)
class Strand:
    """The lines of one head: `queries`, `keys` and `weights` [line]; `limit` is the weight of full strength.

    series: which of the theme's colours, or SIGNED.
    """

    queries: np.ndarray
    keys: np.ndarray
    weights: np.ndarray
    limit: float = 1.0
    series: int = 0

    def strongest(self, n: int) -> "Strand":
        """Return the strongest n lines; lines come weakest first."""
        start = max(0, len(self.weights) - n)
        return replace(self, queries=self.queries[start:], keys=self.keys[start:], weights=self.weights[start:])

    def levels(self, gamma: float) -> np.ndarray:
        """Return the strength of each line, 0 (not to be seen) to `LEVELS`."""
        share = np.clip(np.abs(self.weights) / (self.limit or 1.0), 0.0, 1.0)
        return np.rint(share**gamma * LEVELS).astype(np.intp)


@dataclass(frozen=True)
class Span:
    """Where lines run: from `left` to `right`, rows `pitch` high of which the first begins at `top`, in pixels."""

    left: float
    right: float
    pitch: float
    top: float = 0.0

    def middle(self, rows: np.ndarray) -> np.ndarray:
        """Return the height of the middle of rows."""
        return self.top + (rows + 0.5) * self.pitch


def least_weight(limit: float, gamma: float) -> float:
    """Return the smallest weight that is drawn."""
    return limit * (0.5 / LEVELS) ** (1 / gamma)


def strand_colour(theme: Theme, series: int, is_more: bool, share: float) -> QColor:
    """Return the colour of a line of strength `share` on the surface."""
    return QColor(_colour(theme.name, series, is_more, round(share, 3)))


@cache
def _colour(theme_name: str, series: int, is_more: bool, share: float) -> str:
    theme = load_theme(theme_name)
    whole = theme.difference[-1 if is_more else 0] if series == SIGNED else series_colour(theme, series).name()
    return theme.mix(whole, share)


def _draw(painter: QPainter, lines: list[QLineF]) -> None:
    """Draw lines, as many at a time as take some milliseconds: Python waits meanwhile, and the window with it."""
    first, n = 0, FEW_LINES
    while first < len(lines):
        began = time.perf_counter()
        painter.drawLines(lines[first : first + n])
        first, taken = first + n, time.perf_counter() - began
        n = 2 * n if taken < PART_SECONDS / 2 else max(1, n // 2) if taken > PART_SECONDS else n


def paint_strands(
    painter: QPainter,
    theme: Theme,
    strands: list[Strand],
    span: Span,
    gamma: float,
    height: float,
    width: float = 1.0,
    dashed: bool = False,
    least: float = 0.0,
) -> int:
    """Draw the lines that cross 0 to `height`, the strongest on top; returns how many.

    dashed: heads whose colours repeat are dashed where they are strong, which takes longer. least: of its colour a
    line that is next to nothing has so much, so that a few lines alone are all seen.

    Opaque colours mixed with the surface are what opacity would give, and quicker; a strong line stays what it is
    where others cross it.
    """
    prepared = []
    for strand in strands:
        starts, ends = span.middle(strand.queries), span.middle(strand.keys)
        seen = (np.maximum(starts, ends) >= 0) & (np.minimum(starts, ends) <= height)
        levels = strand.levels(gamma)
        prepared.append((strand, starts, ends, np.where(seen, levels, 0), strand.weights >= 0))
    n_lines = 0
    for level in range(1, LEVELS + 1):
        for strand, starts, ends, levels, more in prepared:
            for is_more in (False, True) if strand.series == SIGNED else (None,):
                chosen = levels == level if is_more is None else (levels == level) & (more == is_more)
                if not chosen.any():
                    continue
                pairs = zip(starts[chosen].tolist(), ends[chosen].tolist(), strict=True)
                lines = [QLineF(span.left, start, span.right, end) for start, end in pairs]
                pen = (
                    series_pen(theme, strand.series, width)
                    if dashed and strand.series >= 0 and level >= DASHED
                    else QPen()
                )
                share = least + (1 - least) * level / LEVELS
                pen.setColor(strand_colour(theme, strand.series, is_more is not False, share))
                pen.setWidthF(width)
                painter.setPen(pen)
                _draw(painter, lines)
                n_lines += len(lines)
    return n_lines
