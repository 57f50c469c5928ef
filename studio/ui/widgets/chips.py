"""Chips: a word on a tint with an icon, so that colour never speaks alone."""

from functools import lru_cache

from PySide6.QtCore import QPoint, QRect, QSize, Qt
from PySide6.QtGui import QColor, QFontMetrics, QPainter, QPixmap
from PySide6.QtWidgets import QSizePolicy, QWidget

from studio.ui import words
from studio.ui.i18n import tr
from studio.ui.theme import current, number_font, pixmap

ICONS = {"good": "check", "warning": "warning", "bad": "error", "accent": "dot", "muted": "dot"}
STATES = {
    "queued": ("muted", "runs"),
    "waiting": ("muted", "dot"),
    "running": ("accent", "play"),
    "paused": ("warning", "pause"),
    "finished": ("good", "check"),
    "stopped": ("muted", "stop"),
    "failed": ("bad", "error"),
    "ended": ("warning", "warning"),
}
FITS = {"fits": ("good", "Fits"), "tight": ("warning", "Tight"), "too-large": ("bad", "Too large")}
HEIGHT, ICON, PAD = 20, 12, 8


class Chip(QWidget):
    """A small rounded word; `tone` is muted, accent, good, warning or bad, `icon` the name of a picture."""

    def __init__(self, text: str = "", tone: str = "muted", icon: str | None = None) -> None:
        super().__init__()
        self.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Fixed)
        self.set(text, tone, icon)

    def set(self, text: str, tone: str = "muted", icon: str | None = None) -> None:
        """Show another word; without `icon` the tone's own picture, with "" none."""
        self._text, self._tone = text, tone
        self._icon = ICONS.get(tone, "") if icon is None else icon
        self.setAccessibleName(text)
        self.updateGeometry()
        self.update()

    def set_state(self, state: str) -> None:
        """Show the state of a run."""
        tone, icon = STATES.get(state, ("muted", "dot"))
        self.set(words.word(words.STATES, state), tone, icon)

    def set_fit(self, fit: str) -> None:
        """Show whether something fits into memory: fits, tight or too-large."""
        tone, text = FITS[fit]
        self.set(tr(text), tone)

    def text(self) -> str:
        """Return the word on the chip."""
        return self._text

    def sizeHint(self) -> QSize:
        return QSize(chip_width(self._text, bool(self._icon)), HEIGHT)

    def paintEvent(self, event: object) -> None:
        paint_chip(QPainter(self), self.rect().topLeft(), self._text, self._tone, self._icon)


def chip_width(text: str, has_icon: bool = False) -> int:
    """Return the width of a chip in logical pixels."""
    width = QFontMetrics(number_font(current().small)).horizontalAdvance(text)
    return width + 2 * PAD + (ICON + 4 if has_icon else 0)


def paint_chip(
    painter: QPainter, at: QPoint, text: str, tone: str = "muted", icon: str = "", most: int = 10_000
) -> QRect:
    """Draw a chip at its upper left corner, no wider than `most`, and return where it is."""
    theme = current()
    rect = QRect(at, QSize(min(most, chip_width(text, bool(icon))), HEIGHT))
    painter.save()
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    painter.setPen(Qt.PenStyle.NoPen)
    painter.setBrush(QColor(theme.mix("text" if tone == "muted" else tone, 0.08 if tone == "muted" else 0.14)))
    painter.drawRoundedRect(rect, HEIGHT / 2, HEIGHT / 2)
    inside = rect.adjusted(PAD, 0, -PAD, 0)
    if icon:
        ratio = painter.device().devicePixelRatioF()
        picture = _picture(icon, theme.colour(tone).name(), ratio)
        painter.drawPixmap(inside.left(), rect.top() + (HEIGHT - ICON) // 2, picture)
        inside.setLeft(inside.left() + ICON + 4)
    painter.setPen(theme.colour("text"))
    font = number_font(theme.small)
    painter.setFont(font)
    shown = QFontMetrics(font).elidedText(text, Qt.TextElideMode.ElideRight, inside.width() + 1)
    painter.drawText(inside.adjusted(0, 0, 2, 0), Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignLeft, shown)
    painter.restore()
    return rect


@lru_cache(64)
def _picture(icon: str, colour: str, ratio: float) -> QPixmap:
    return pixmap(icon, ICON, QColor(colour), ratio)
