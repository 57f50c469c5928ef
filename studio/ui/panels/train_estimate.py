"""The strip beside Start: what the next run will take of memory, disk and time, and whether that is there."""

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QGridLayout, QVBoxLayout, QWidget

from studio.core import estimate
from studio.ui import words
from studio.ui.forecast import OUT_OF_MEMORY, Forecast
from studio.ui.i18n import tr
from studio.ui.notices import message_of
from studio.ui.store import Store
from studio.ui.theme import GRID, number_font
from studio.ui.widgets.cards import Finding
from studio.ui.widgets.chips import Chip
from studio.ui.widgets.labels import ElidedLabel, Small


class EstimateStrip(QWidget):
    """Draws the forecast of the draft; takes no room while there is none. `applied` after its button was pressed."""

    applied = Signal(str)  # the field that was changed

    def __init__(self, store: Store, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("train.estimate")
        self._store, self.forecast, self._is_asked = store, Forecast(store, self), True
        grid = QGridLayout()
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setHorizontalSpacing(GRID)
        grid.setVerticalSpacing(4)
        grid.setColumnStretch(1, 1)
        self.values: dict[str, ElidedLabel] = {}
        self.verdicts: dict[str, Chip] = {}
        names = {"memory": tr("Memory"), "disk": tr("Disk"), "time": tr("Time")}
        for at, (name, title) in enumerate(names.items()):
            self.values[name], self.verdicts[name] = ElidedLabel(), Chip()
            self.values[name].setFont(number_font())
            label = Small(title)
            label.setWordWrap(False)
            grid.addWidget(label, at, 0)
            grid.addWidget(self.values[name], at, 1)
            grid.addWidget(self.verdicts[name], at, 2)
        self.source = Small()
        self.finding = Finding()
        self.finding.acted.connect(self._apply)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        layout.addWidget(self.finding)
        layout.addLayout(grid)
        layout.addWidget(self.source)
        self.forecast.changed.connect(self._draw)
        self._draw()

    def show_forecast(self, on: bool) -> None:
        """Show what is forecast as soon as there is something, or nothing."""
        self._is_asked = on
        self._draw()

    def _draw(self) -> None:
        now, machine = self.forecast.now, self.forecast.machine
        self.setVisible(now is not None and self._is_asked)
        if now is None:
            return
        memory = estimate.fit(now.memory, machine.free_memory)
        if self.forecast.problem is not None:
            memory = "too-large" if self.forecast.problem.reason in OUT_OF_MEMORY else memory
        disk = estimate.fit(now.disk, machine.free_disk)
        for name, needed, free, verdict in (
            ("memory", now.memory, machine.free_memory, memory), ("disk", now.disk, machine.free_disk, disk),
        ):  # fmt: skip
            self.values[name].setText(tr("{needed} of {free} free", needed=words.size(needed), free=words.size(free)))
            self.verdicts[name].set_fit(verdict)
        is_long = now.seconds > estimate.LONG_SECONDS
        self.values["time"].setText(tr("about {time}", time=words.duration(rounded(now.seconds))))
        self.verdicts["time"].set(tr("Long") if is_long else tr("Fine"), "warning" if is_long else "good")
        self.source.setText(self._source_text())
        self._show_finding(memory, disk)
        said = [f"{name}: {self.values[name].text()}, {self.verdicts[name].text()}" for name in self.values]
        self.setAccessibleName(". ".join([*said, self.source.text()]))

    def _source_text(self) -> str:
        if self.forecast.now.is_measured:
            said = tr("Measured on this model in a few steps.")
            cut = self.forecast.cut()
            return f"{said} {cut}" if cut else said
        if self.forecast.is_measuring:
            return tr("Estimated; now it is being measured…")
        if self.forecast.problem is not None:
            return tr("Estimated. The trial: {problem}", problem=message_of(self.forecast.problem))
        return tr("Estimated by formula.")

    def _show_finding(self, memory: str, disk: str) -> None:
        self._changes = self.forecast.changes() if memory == "too-large" else None
        text, action = "", ""
        if memory == "too-large" and self._changes:
            text = tr("The memory will not be enough.")
            action = tr("Batch {batch}, accumulate {times}", batch=self._changes["per_device_train_batch_size"],
                        times=self._changes["gradient_accumulation_steps"])  # fmt: skip
        elif memory == "too-large":
            text = tr("The memory will not be enough. Choose LoRA or a smaller model, or shorten the texts.")
        elif disk == "too-large":
            text = tr("The disk has no room for the checkpoints. Make room, or choose LoRA.")
        self.finding.setVisible(bool(text))
        if text:
            self.finding.show_finding("bad", text, action)
            self.finding.button().setObjectName("train.make_fit")
            self.finding.button().setToolTip(tr("A step has as many rows as before; only fewer at a time"))

    def _apply(self) -> None:
        changes = self._changes  # the next line has this strip drawn anew
        if changes:
            self._store.set_training(**changes)
            self.applied.emit(next(iter(changes)))


def rounded(seconds: float) -> float:
    """Return a time with as many figures as an estimate has: full seconds, tens of them, minutes."""
    unit = 1 if seconds < 20 else 5 if seconds < 120 else 60 if seconds < 7200 else 600
    return max(unit, round(seconds / unit) * unit)
