"""The numbers of a run that is going on: steps, speed, time left, and what its worker takes of the machine."""

import numpy as np
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QHBoxLayout, QLabel, QProgressBar, QVBoxLayout, QWidget

from studio.core.state import RunState
from studio.ui import words
from studio.ui.i18n import tr
from studio.ui.panels.run_steps import RunSteps, share_of
from studio.ui.theme import GRID, GROUP, number_font
from studio.ui.widgets.tiles import Sparkline

_SHOWN_SECONDS = 120  # of memory and processor: one value a second

_WIDE = 560  # pixels: room for the small curves beside the numbers


def numbers_of(state: RunState) -> str:
    """Return the line of numbers: `step 240/866 · epoch 0.6 · 77 rows/s · 6 min left`."""
    if not state.step and not state.total_steps:
        return ""
    parts = [tr("step {step}/{total}", step=words.count(state.step), total=words.count(state.total_steps))]
    parts.append(tr("epoch {epoch}", epoch=f"{state.epoch:.1f}"))
    if state.samples_per_second:
        parts.append(tr("{rate} rows/s", rate=words.count(round(state.samples_per_second))))
    eta = state.eta_seconds
    if eta is not None and state.phase != "saving":
        parts.append(tr("{time} left", time=words.duration(eta)) if eta >= 0.5 else tr("nearly done"))
    return " · ".join(parts)


class RunStrip(QWidget):
    """Shows a run that is active."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.steps, self.numbers, self.bar = RunSteps(), QLabel(), QProgressBar()
        self.numbers.setFont(number_font())
        self.numbers.setObjectName("train.numbers")
        self.bar.setRange(0, 1000)
        self.bar.setTextVisible(False)
        self.bar.setAccessibleName(tr("Progress of the training"))
        self.memory = _Meter(tr("Memory of the worker"))
        self.processor = _Meter(tr("Processor time of the worker, in percent of one core"))
        line = QHBoxLayout()
        line.setSpacing(GROUP)
        line.addWidget(self.numbers)
        line.addStretch(1)
        line.addWidget(self.memory)
        line.addWidget(self.processor)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(6)
        layout.addWidget(self.steps)
        layout.addLayout(line)
        layout.addWidget(self.bar)

    def resizeEvent(self, event: object) -> None:
        for meter in (self.memory, self.processor):
            meter.show_curve(self.width() >= _WIDE)

    def show_state(self, state: RunState) -> None:
        """Show a run's numbers."""
        self.steps.show_state(state)
        self.numbers.setText(numbers_of(state) or tr("The first step comes once the model is loaded."))
        share = share_of(state)
        self.bar.setValue(round(1000 * (share or 0)))
        used = state.resources
        if used is not None:
            memory, processor = (state.series["system", name].y for name in ("rss_bytes", "cpu_percent"))
            self.memory.show_values(words.size(used.rss_bytes), memory[-_SHOWN_SECONDS:])
            self.processor.show_values(words.percent(used.cpu_percent / 100), processor[-_SHOWN_SECONDS:])


class _Meter(QWidget):
    """A live number beside its small curve; the tooltip says what it is."""

    def __init__(self, what: str) -> None:
        super().__init__()
        self._what = what
        self.setToolTip(what)
        self._curve, self._number = Sparkline(colour="muted"), QLabel()
        self._curve.setFixedSize(48, 16)
        self._number.setFont(number_font())
        self._number.setProperty("level", "small")
        self._number.setAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        self._number.setMinimumWidth(self._number.fontMetrics().horizontalAdvance("888 MB"))
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(GRID // 2)
        layout.addWidget(self._curve)
        layout.addWidget(self._number)
        self.setVisible(False)

    def show_curve(self, on: bool) -> None:
        self._curve.setVisible(on)

    def show_values(self, text: str, values: np.ndarray) -> None:
        self._number.setText(text)
        self._curve.set_values(values)
        self._curve.setToolTip(self._what)
        self.setAccessibleName(f"{self._what}: {text}")
        self.setVisible(True)
