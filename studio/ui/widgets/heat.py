"""How attention becomes colour: the scale of a heat map, its picture, its colour bar."""

from dataclasses import dataclass

import numpy as np
from PySide6.QtCore import QRectF, Qt
from PySide6.QtGui import QFontMetrics, QImage, QPainter

from studio.attention.maps import to_rgb
from studio.ui.theme import Theme, lookup_table

WORD_STARTS = ("Ġ", "▁")  # of byte-level BPE and sentencepiece


@dataclass(frozen=True)
class Scale:
    """What the colours mean: from 0 to `limit`, or for a difference from -limit to limit.

    gamma: below 1 it lifts small values, which a sink would swamp.
    """

    difference: bool = False
    limit: float = 1.0
    gamma: float = 1.0

    def colours(self, values: np.ndarray, theme: Theme) -> np.ndarray:
        """Return the colours of values of any shape as uint32 0xffRRGGBB."""
        name = "difference" if self.difference else "attention"
        limit = self.limit if self.limit > 0 else 1.0
        if not self.difference:
            return to_rgb(values, lookup_table(name, theme), 0.0, limit, self.gamma)
        if self.gamma != 1.0:
            share = np.clip(np.asarray(values, dtype=np.float32) / limit, -1.0, 1.0)
            return to_rgb(np.sign(share) * np.abs(share) ** self.gamma, lookup_table(name, theme), -1.0, 1.0)
        return to_rgb(values, lookup_table(name, theme), -limit, limit)

    def ends(self) -> tuple[str, str]:
        """Return the words at the ends of the colour bar."""
        end = f"{self.limit:.3g}"
        return ("−" + end, "+" + end) if self.difference else ("0", end)

    def bar(self, width: int, theme: Theme) -> QImage:
        """Return the colour bar as a picture one pixel high."""
        low = -self.limit if self.difference else 0.0
        return picture(self.colours(np.linspace(low, self.limit, width)[None, :], theme))

    def paint_bar(self, painter: QPainter, rect: QRectF, theme: Theme) -> None:
        """Draw the colour bar with the words at its ends."""
        metrics = painter.fontMetrics()
        low, high = self.ends()
        left = rect.left() + metrics.horizontalAdvance(low) + 6
        right = rect.right() - metrics.horizontalAdvance(high) - 6
        painter.drawImage(QRectF(left, rect.center().y() - 4, right - left, 8), self.bar(256, theme))
        painter.setPen(theme.colour("muted"))
        painter.drawText(rect, Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignLeft, low)
        painter.drawText(rect, Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignRight, high)


def picture(colours: np.ndarray) -> QImage:
    """Return uint32 colours [height, width] as an RGB32 picture with memory of its own."""
    colours = np.ascontiguousarray(colours, dtype=np.uint32)
    height, width = colours.shape
    return QImage(colours.data, width, height, 4 * width, QImage.Format.Format_RGB32).copy()


def furthest(values: np.ndarray, n_rows: int, n_columns: int, mean: bool = False) -> np.ndarray:
    """Return values [q, k] pooled to [n_rows, n_columns]: of each patch the value furthest from 0, or the `mean`.

    Raises ValueError where that is more than there is.
    """
    if n_rows > values.shape[0] or n_columns > values.shape[1]:
        raise ValueError(f"{values.shape} can't be pooled to {n_rows} x {n_columns}")
    for axis, length in ((0, n_rows), (1, n_columns)):
        if length < values.shape[axis]:
            starts = np.arange(length) * values.shape[axis] // length
            if mean:
                counts = np.diff(np.append(starts, values.shape[axis])).astype(values.dtype)
                sums = np.add.reduceat(values, starts, axis=axis)
                values = sums / (counts[:, None] if axis == 0 else counts)
                continue
            high, low = np.maximum.reduceat(values, starts, axis=axis), np.minimum.reduceat(values, starts, axis=axis)
            values = np.where(high >= -low, high, low)
    return values


def first_fitting(metrics: QFontMetrics, width: float, *texts: str) -> str:
    """Return the first of texts, the fullest first, that is no wider; of the last no more than fits."""
    fitting = next((text for text in texts if metrics.horizontalAdvance(text) <= width), None)
    return metrics.elidedText(texts[-1], Qt.TextElideMode.ElideRight, int(width)) if fitting is None else fitting


def token_text(token: str) -> str:
    """Return a token as it can be shown: blanks and line ends are seen, a tokenizer's mark of a new word is a dot."""
    if token[:1] in WORD_STARTS and len(token) > 1:
        token = "·" + token[1:]
    shown = token.replace("\n", "⏎").replace("\t", "⇥").replace("\r", "")
    return "␣" if shown.strip(" ") == "" else shown
