"""A computation step by step: a line in plain words, a number, and a small picture of what it is made of."""

import numpy as np
from PySide6.QtCore import QEvent, QPointF, QRectF, QSize, Qt
from PySide6.QtGui import QHelpEvent, QPainter, QResizeEvent
from PySide6.QtWidgets import QGridLayout, QLabel, QSizePolicy, QToolTip, QWidget

from studio.ui import words
from studio.ui.i18n import tr
from studio.ui.theme import GRID, current, follow_theme, number_font
from studio.ui.widgets.heat import Scale, picture
from studio.ui.widgets.labels import Small, Strong

STRIP, BARS, NAME, NUMBER, ROOMY = 12, 26, 88, 84, 420


class SmallPicture(QWidget):
    """Numbers as a strip of colour, or, with `mark`, as bars of which one stands out; hover reads each exactly."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.values, self.names = np.zeros(0), None
        self._mark, self._limit = -1, 0.0
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        follow_theme(self, lambda _: self.update())

    def show_vector(self, values: np.ndarray, limit: float = 0.0) -> None:
        """Show a vector; `limit` ends the colours, by default at its largest number."""
        self._show(values, None, -1, limit)

    def show_bars(self, values: np.ndarray, names: list[str], mark: int) -> None:
        """Show shares as bars with their names, one of them marked."""
        self._show(values, names, mark, 0.0)

    def clear(self) -> None:
        """Show nothing."""
        self._show(np.zeros(0), None, -1, 0.0)

    def describe(self, at: int) -> str:
        """Return a number in words."""
        if not 0 <= at < len(self.values):
            return ""
        value = f"{float(self.values[at]):.7g}".replace("-", "−")
        if self.names is not None:
            return f"“{self.names[at]}”: {value}"
        return tr("number {i} of {n}: {value}", i=at + 1, n=len(self.values), value=value)

    def sizeHint(self) -> QSize:
        return QSize(120, BARS if self.names is not None else STRIP if len(self.values) else 0)

    def minimumSizeHint(self) -> QSize:
        return QSize(40, self.sizeHint().height())

    def paintEvent(self, event: object) -> None:
        if not len(self.values):
            return
        theme, painter, n = current(), QPainter(self), len(self.values)
        if self.names is None:
            scale = Scale(True, self._limit or float(np.abs(self.values).max()) or 1.0)
            painter.drawImage(QRectF(self.rect()), picture(scale.colours(self.values[None], theme)))
            return
        largest, wide = float(self.values.max()) or 1.0, self.width() / n
        painter.setPen(Qt.PenStyle.NoPen)
        painter.fillRect(QRectF(0, self.height() - 1, self.width(), 1), theme.colour("hairline"))
        for i in [*(j for j in range(n) if j != self._mark), self._mark]:
            high = (self.height() - 2) * float(self.values[i]) / largest
            least = 3.0 if i == self._mark else 1.0
            bar = QRectF(i * wide, self.height() - 1 - high, max(least, wide - (1 if wide > 3 else 0)), high + 1)
            painter.fillRect(bar, theme.colour("accent") if i == self._mark else theme.colour(theme.mix("muted", 0.45)))

    def event(self, event: QEvent) -> bool:
        if event.type() == QEvent.Type.ToolTip and isinstance(event, QHelpEvent):
            at = int(QPointF(event.pos()).x() / max(1, self.width()) * len(self.values))
            QToolTip.showText(event.globalPos(), self.describe(at), self)
            return True
        return super().event(event)

    def _show(self, values: np.ndarray, names: list[str] | None, mark: int, limit: float) -> None:
        resized = (names is None, len(values) > 0) != (self.names is None, len(self.values) > 0)
        self.values, self.names, self._mark, self._limit = np.asarray(values), names, mark, limit
        if resized:
            self.updateGeometry()
        self.update()


class Stage(QWidget):
    """One step: its name, what happens in plain words, the number that comes out, and a picture below."""

    def __init__(self, name: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._name, self._said, self._number, self.picture = Strong(name), Small(), QLabel("–"), SmallPicture()
        self._name.setFixedWidth(NAME)
        self._number.setFont(number_font())
        self._number.setFixedWidth(NUMBER)
        self._number.setAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignTop)
        self._number.setAccessibleName(name)
        self._said.setAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignTop)
        self._grid = QGridLayout(self)
        self._grid.setContentsMargins(0, 0, 0, 0)
        self._grid.setHorizontalSpacing(GRID)
        self._grid.setVerticalSpacing(2)
        self._grid.setColumnStretch(1, 1)
        self._is_wide: bool | None = None
        self._arrange(True)

    def _arrange(self, is_wide: bool) -> None:
        """Put the words beside the name, or where there is little room below it."""
        if is_wide == self._is_wide:
            return
        self._is_wide, top = is_wide, Qt.AlignmentFlag.AlignTop
        self._grid.addWidget(self._name, 0, 0, top)
        self._grid.addWidget(self._number, 0, 2, top)
        row, column, span = (0, 1, 1) if is_wide else (1, 0, 3)
        self._grid.addWidget(self._said, row, column, 1, span)
        self._grid.addWidget(self.picture, row + 1, column, 1, span)

    def resizeEvent(self, event: QResizeEvent) -> None:
        self._arrange(event.size().width() >= ROOMY)

    def show_step(self, said: str, number: float | None) -> None:
        """Show what happens, and what comes out; None while that is not known."""
        self._said.setText(said)
        self._number.setText("–" if number is None else words.number(float(number), 4))
        self._number.setToolTip("" if number is None else f"{float(number):.9g}")

    def said(self) -> str:
        """Return the words that are shown."""
        return self._said.text()

    def number(self) -> str:
        """Return the number as it is shown."""
        return self._number.text()
