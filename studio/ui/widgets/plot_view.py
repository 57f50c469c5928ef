"""What of pyqtgraph a curve plot is made of: axes with readable ticks, and a view that zooms along the steps."""

from collections.abc import Callable

import numpy as np
import pyqtgraph as pg
from PySide6.QtCore import QRectF, Qt, Signal

from studio.ui.theme import Theme, number_font
from studio.ui.widgets.along import ALONG, Along
from studio.ui.widgets.curves import log_ticks, nice_ticks, tick_texts

LEFT_WIDTH = 56  # of every left axis, so that plots above each other share their edges


class Axis(pg.AxisItem):
    """An axis without ticks of its own: hairlines of the grid and words in even figures."""

    def __init__(self, orientation: str) -> None:
        super().__init__(orientation)
        self.is_log = False
        self._along = ALONG["step"] if orientation == "bottom" else None
        self._words: Callable[[float], str] | None = None
        self.setStyle(tickLength=0, tickAlpha=255, autoExpandTextSpace=False)
        self.setGrid(255)
        if orientation == "left":
            self.setWidth(LEFT_WIDTH)

    def show_theme(self, theme: Theme) -> None:
        """Take the colours and the font of a theme."""
        self.setPen(pg.mkPen(theme.hairline, width=1))
        self.setTextPen(pg.mkPen(theme.muted))
        self.setStyle(tickFont=number_font(theme.small))
        if self.orientation == "bottom" and self.style["showValues"]:
            self.setHeight(22)

    def set_log(self, on: bool) -> None:
        """Show powers of ten; the view's range is then log10 of the values."""
        self.is_log = on
        self.picture = None
        self.update()

    def set_along(self, along: Along) -> None:
        """Have ticks for what x is."""
        self._along = along
        self.picture = None
        self.update()

    def set_words(self, say: Callable[[float], str] | None) -> None:
        """Say the values of ticks by `say`; None for plain numbers."""
        self._words = say
        self.picture = None
        self.update()

    def boundingRect(self) -> QRectF:
        # Words at the very ends of an axis reach over its edge; without the room pyqtgraph leaves them out.
        over = (0, -8, 0, 8) if self.orientation == "left" else (-24, 0, 8, 0)
        return super().boundingRect().adjusted(*over)

    def tickValues(self, low: float, high: float, size: float) -> list[tuple[float, list[float]]]:
        most = max(2, int(size / (26 if self.orientation == "left" else 90)))
        if self.is_log and -300 < low < high < 300:
            return [(1.0, [float(np.log10(t)) for t in log_ticks(10.0**low, 10.0**high, most)])]
        return [self._along.ticks(low, high, most) if self._along else nice_ticks(low, high, most)]

    def tickStrings(self, values: list[float], scale: float, spacing: float) -> list[str]:
        if self.is_log:
            values = [float(f"{10.0**value:.6g}") for value in values]
            return [self._words(value) if self._words else tick_texts([value])[0] for value in values]
        if self._along:
            return self._along.tick_words(list(values))
        return [self._words(value) for value in values] if self._words else tick_texts(list(values))


class Box(pg.ViewBox):
    """A view in which the wheel zooms the steps (with Ctrl both axes), and a double click shows all again."""

    moved = Signal(bool, bool)  # by hand: x, y
    reset_asked = Signal()

    def __init__(self) -> None:
        super().__init__(enableMenu=False)
        self.setDefaultPadding(0.0)
        self.disableAutoRange()

    def wheelEvent(self, event: object, axis: int | None = None) -> None:
        if axis is None and not event.modifiers() & Qt.KeyboardModifier.ControlModifier:
            axis = 0
        super().wheelEvent(event, axis)
        self.moved.emit(axis in (0, None), axis in (1, None))

    def mouseDragEvent(self, event: object, axis: int | None = None) -> None:
        if event.button() == Qt.MouseButton.LeftButton and axis is None:
            axis = None if event.modifiers() & Qt.KeyboardModifier.ControlModifier else 0
        super().mouseDragEvent(event, axis)
        self.moved.emit(axis in (0, None), axis in (1, None))

    def mouseDoubleClickEvent(self, event: object) -> None:
        event.accept()
        self.reset_asked.emit()

    def mouseClickEvent(self, event: object) -> None:
        if event.double():
            event.accept()
            self.reset_asked.emit()
