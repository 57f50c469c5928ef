"""What stands on the Inspect page while the model is loaded: the shape of what comes, and how far it is."""

import time

from PySide6.QtCore import QRect, QRectF, Qt, QTimer
from PySide6.QtGui import QColor, QPainter
from PySide6.QtWidgets import QProgressBar, QVBoxLayout, QWidget

from studio.core.state import RunState
from studio.ui import words
from studio.ui.i18n import tr
from studio.ui.theme import GRID, GROUP, current
from studio.ui.widgets.cards import Card
from studio.ui.widgets.labels import Body, Small

_COLUMNS, _GAP = 12, 3


class Loading(QWidget):
    """Shows an inspection's phase and its seconds over faint cards."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._since = 0.0
        layout = QVBoxLayout(self)
        box = Card()
        box.setObjectName("floating")
        box.setFixedWidth(340)
        self.phase, self.seconds, self.bar = Body(), Small(), QProgressBar()
        self.seconds.setWordWrap(False)
        self.bar.setTextVisible(False)
        self.bar.setRange(0, 0)
        for widget in (self.phase, self.bar, self.seconds):
            box.add(widget)
        layout.addStretch(1)
        layout.addWidget(box, 0, Qt.AlignmentFlag.AlignHCenter)
        layout.addStretch(1)
        self._clock = QTimer(self, interval=500)
        self._clock.timeout.connect(self._count)

    def show_run(self, state: RunState | None) -> None:
        """Show how far the run is."""
        if not self._clock.isActive():
            self._since = time.monotonic()
            self._clock.start()
        phase = words.word(words.PHASES, state.phase) if state and state.phase else tr("starting")
        self.phase.setText(phase[:1].upper() + phase[1:] + "…")
        self.bar.setAccessibleName(phase)
        self._count()

    def hideEvent(self, event: object) -> None:
        self._clock.stop()
        super().hideEvent(event)

    def _count(self) -> None:
        seconds = words.duration(round(time.monotonic() - self._since))
        self.seconds.setText(tr("{seconds} · about ten seconds; the next looks are quick", seconds=seconds))

    def paintEvent(self, event: object) -> None:
        theme, painter = current(), QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(Qt.PenStyle.NoPen)
        strip = QRect(0, 0, self.width(), 72)
        below = self.rect().adjusted(0, strip.height() + GROUP, 0, 0)
        left = QRect(below.topLeft(), below.size())
        left.setWidth(round((below.width() - GROUP) * 4 / 11))
        right = below.adjusted(left.width() + GROUP, 0, 0, 0)
        painter.setBrush(theme.colour("surface"))
        for card in (strip, left, right):
            painter.drawRoundedRect(card, theme.radius, theme.radius)
        painter.setBrush(QColor(theme.mix("text", 0.05)))
        inside = left.adjusted(GROUP, 3 * GROUP, -GROUP, -GROUP)
        step = inside.width() / _COLUMNS
        for row in range(int(min(6, inside.height() // step))):
            for column in range(_COLUMNS):
                at = QRectF(inside.left() + column * step, inside.top() + row * step, step - _GAP, step - _GAP)
                painter.drawRoundedRect(at, 3, 3)
        side = min(right.width(), right.height()) - 5 * GROUP
        if side > 0:
            width = min(right.width() - 2 * GROUP, 2 * side)
            painter.drawRoundedRect(QRect(right.left() + GROUP, right.top() + 3 * GROUP, width, side), GRID, GRID)
