"""The legend of a plot: a swatch, the name and the value of each curve; a click hides or shows the curve."""

from PySide6.QtCore import QPointF, QSize, Qt, Signal
from PySide6.QtGui import QColor, QFontMetrics, QPainter, QPen
from PySide6.QtWidgets import QAbstractButton, QSizePolicy, QWidget

from studio.ui.i18n import tr
from studio.ui.theme import current, number_font
from studio.ui.widgets.flow import FlowLayout
from studio.ui.widgets.marks import paint_mark, series_colour, series_pen

HEIGHT, SWATCH = 20, 14


class LegendEntry(QAbstractButton):
    """One curve of a legend; checked while the curve is shown.

    swatch: solid (a line in its colour), points (with a dot), line (dashed where colours repeat) or mark (the shape
    of its points).
    """

    def __init__(self, key: str, name: str, colour: int, swatch: str = "solid") -> None:
        super().__init__()
        self.key, self._colour, self._swatch, self._value = key, colour, swatch, ""
        self._is_still = swatch in ("line", "mark")  # a block's, whose values do not change
        self.setCheckable(True)
        self.setChecked(True)
        self.setText(name)
        self.setAccessibleName(name)
        self.setToolTip(tr("{name}\nClick to hide or show", name=name))
        self.setCursor(Qt.CursorShape.PointingHandCursor)
        self.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Fixed)

    def set_value(self, text: str) -> None:
        """Show the value at the crosshair, or the latest."""
        if text != self._value:
            self._value = text
            self.setAccessibleDescription(text)
            if self._is_still:
                self.updateGeometry()
            self.update()

    def sizeHint(self) -> QSize:
        metrics = QFontMetrics(number_font(current().small))
        # Room for the longest value, so that the line does not dance while the values change.
        value = metrics.horizontalAdvance(f"  {self._value}".rstrip() if self._is_still else "  −0.0000")
        return QSize(SWATCH + 6 + metrics.horizontalAdvance(self.text()) + value + 8, HEIGHT)

    def paintEvent(self, event: object) -> None:
        theme, painter = current(), QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        self._paint_swatch(painter)
        painter.setFont(number_font(theme.small))
        rect = self.rect().adjusted(SWATCH + 6, 0, 0, 0)
        painter.setPen(theme.colour("text" if self.isChecked() else "muted"))
        # In a narrow plot the name gives way, never the number.
        metrics = painter.fontMetrics()
        room = rect.width() - (metrics.horizontalAdvance(self._value) + 6 if self.isChecked() else 0)
        name = metrics.elidedText(self.text(), Qt.TextElideMode.ElideRight, room)
        used = painter.boundingRect(rect, Qt.AlignmentFlag.AlignVCenter, name)
        painter.drawText(rect, Qt.AlignmentFlag.AlignVCenter, name)
        if self.isChecked():
            painter.setPen(theme.colour("muted"))
            painter.drawText(rect.adjusted(used.width() + 6, 0, 0, 0), Qt.AlignmentFlag.AlignVCenter, self._value)
        if self.hasFocus():
            painter.setPen(QPen(theme.colour("accent"), 1))
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.drawRoundedRect(self.rect().adjusted(0, 0, -1, -1), 4, 4)

    def _paint_swatch(self, painter: QPainter) -> None:
        theme, middle = current(), self.height() / 2
        colour = series_colour(theme, self._colour) if self.isChecked() else theme.colour("muted")
        if self._swatch == "mark":
            faded = QColor(theme.mix("muted", 0.4))
            paint_mark(painter, self._colour, QPointF(SWATCH / 2, middle), 4, colour if self.isChecked() else faded)
            return
        pen = QPen(colour, 2) if self._swatch != "line" else series_pen(theme, self._colour, 2)
        painter.setPen(pen if self.isChecked() else QPen(colour, 2, Qt.PenStyle.DotLine))
        painter.drawLine(QPointF(1, middle), QPointF(SWATCH - 1, middle))
        if self._swatch == "points":
            painter.setBrush(colour)
            painter.drawEllipse(QPointF(SWATCH / 2, middle), 2.5, 2.5)


class Legend(QWidget):
    """The entries of a plot's curves, in as many lines as needed."""

    toggled = Signal(str, bool)

    def __init__(self, below: int = 10) -> None:
        super().__init__()
        self._layout = FlowLayout(self, spacing=10, below=below)
        self._layout.setContentsMargins(0, 2, 0, 0)
        self._entries: dict[str, LegendEntry] = {}
        policy = QSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Minimum)
        policy.setHeightForWidth(True)
        self.setSizePolicy(policy)

    def add(self, key: str, name: str, colour: int, swatch: str = "solid") -> None:
        """Add a curve, or rename it; `swatch` as in `LegendEntry`."""
        self.remove(key)
        entry = LegendEntry(key, name, colour, swatch)
        entry.toggled.connect(self._toggle)
        self._entries[key] = entry
        self._layout.addWidget(entry)
        entry.show()

    def remove(self, key: str) -> None:
        """Forget a curve."""
        entry = self._entries.pop(key, None)
        if entry is not None:
            self._layout.removeWidget(entry)
            entry.hide()
            entry.deleteLater()

    def set_value(self, key: str, text: str) -> None:
        """Show a value beside a curve's name."""
        self._entries[key].set_value(text)

    def entry(self, key: str) -> LegendEntry:
        """Return the button of a curve; KeyError where there is none."""
        return self._entries[key]

    def _toggle(self, shown: bool) -> None:
        self.toggled.emit(self.sender().key, shown)
