"""A sentence that was watched while the model trained: scrub through the steps, and see each head change."""

from pathlib import Path
from typing import Any

import numpy as np
from PySide6.QtCore import Qt, QTimer
from PySide6.QtWidgets import QComboBox, QHBoxLayout, QLabel, QPushButton, QSlider, QVBoxLayout, QWidget

from studio.attention.timeline import STATISTICS, Timeline, steps
from studio.ui import words
from studio.ui.i18n import tr
from studio.ui.theme import GRID, number_font
from studio.ui.threads import background
from studio.ui.views.base import View
from studio.ui.views.look import Look, look_at_step
from studio.ui.views.numbers import STATISTICS as NAMES
from studio.ui.views.selection import HEADS, Selection
from studio.ui.widgets.buttons import quiet_button
from studio.ui.widgets.labels import Body, Small
from studio.ui.widgets.sparklines import Sparklines

POLL_MS, PLAY_MS = 2000, 350
MOST_READ = 8  # captures at once; what is read of many is shown as it comes


class TimelineView(View):
    """The captures of a run's watched sentence."""

    id = "timeline"
    title = "Timeline"
    help = "A sentence that was watched while the model trained: how every head came to look where it looks."
    order = 80

    def __init__(self, selection: Selection, parent: QWidget | None = None) -> None:
        super().__init__(selection, parent)
        self._timeline: Timeline | None = None
        self._reading: Timeline | None = None  # what is being read at this moment
        self._wanted: tuple[int, int] | None = None  # the first step and the one that is being loaded
        self._first: int | None = None  # what steps are compared with; None for the beginning
        self.statistic = QComboBox()
        self.statistic.setAccessibleName(tr("What the lines show"))
        for name in STATISTICS:
            self.statistic.addItem(tr(NAMES[name][0]), name)
        self.statistic.currentIndexChanged.connect(lambda _: self._draw())
        self.play = quiet_button(tr("Play"), "timeline.play", "play")
        self.play.setCheckable(True)
        self.play.toggled.connect(self._play)
        self.from_here = QPushButton(tr("Compare from here"))
        self.from_here.setObjectName("timeline.first")
        self.from_here.setProperty("toggle", True)
        self.from_here.setCheckable(True)
        self.from_here.setToolTip(tr("Let every step be compared with this one, in place of the beginning"))
        self.from_here.toggled.connect(self._compare_from)
        for tool in (self.statistic, self.play, self.from_here):
            tool.setParent(self)
            tool.hide()  # until they stand beside the view's name
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(GRID)
        self.text = Body()
        layout.addWidget(self.text)
        self.slider = QSlider(Qt.Orientation.Horizontal)
        self.slider.setObjectName("timeline.step")
        self.slider.setAccessibleName(tr("Step"))
        self.slider.valueChanged.connect(self._scrub)
        self.step = QLabel()
        self.step.setFont(number_font())
        self.said = Small()
        row = QHBoxLayout()
        row.setSpacing(GRID)
        row.addWidget(self.slider, 1)
        row.addWidget(self.step)
        layout.addLayout(row)
        layout.addWidget(self.said)
        self.lines = Sparklines()
        self.lines.head_chosen.connect(selection.choose_head)
        layout.addWidget(self.lines, 1)
        self.scale = Small()
        layout.addWidget(self.scale)
        self._clock = QTimer(self, interval=POLL_MS)
        self._clock.timeout.connect(self._read)
        self._player = QTimer(self, interval=PLAY_MS)
        self._player.timeout.connect(self._next)

    def why_not(self, look: Look) -> str:
        if look.run and steps(Path(look.run)):
            return ""
        return tr(
            "There is a timeline where a sentence was watched while the model trained: on the Train page, under More, "
            "write it into “Watch a sentence”."
        )

    def tools(self) -> list[QWidget]:
        return [self.statistic, self.play, self.from_here]

    def show_look(self, look: Look) -> None:
        super().show_look(look)
        if self._timeline is None or str(self._timeline.run) != look.run:
            self._timeline = Timeline(Path(look.run))
            self._read()
        self._place()

    def show_selection(self, part: str) -> None:
        if part == HEADS:
            self.lines.select(*self.selection.head)

    def showEvent(self, event: object) -> None:
        super().showEvent(event)
        self._clock.start()
        self._read()

    def hideEvent(self, event: object) -> None:
        super().hideEvent(event)
        self._clock.stop()
        self.play.setChecked(False)

    # --- reading -----------------------------------------------------------------------------------------------

    def forget(self) -> None:
        self._timeline = self._reading = self._wanted = None
        self._show_first(None)
        self.play.setChecked(False)

    def _read(self) -> None:
        """Read what is new; a read that is on its way goes on, for if another took its place nobody would be told."""
        timeline = self._timeline
        if timeline is None or timeline is self._reading:
            return
        self._reading = timeline

        def take(changed: bool) -> None:
            self._reading = None
            if timeline is self._timeline and changed:
                self._take_update(timeline)
                self._read()

        def fail(error: Exception) -> None:
            self._reading = None
            self.failed.emit(error)

        background(lambda: timeline.update(MOST_READ), take, fail, self, key="timeline")

    def _take_update(self, timeline: Timeline) -> None:
        self.slider.blockSignals(True)
        self.slider.setRange(0, max(0, len(timeline.steps) - 1))
        self.slider.blockSignals(False)
        self._draw()
        self._place()

    def _draw(self) -> None:
        timeline = self._timeline
        if timeline is None or not timeline.steps:
            return
        name = self.statistic.currentData()
        kind = "attention" if "attention" in timeline.kinds else timeline.kinds[0]
        try:
            self.lines.set_lines(np.array(timeline.steps), timeline.lines(name, kind))
        except KeyError:
            self.lines.set_lines(np.zeros(0), np.zeros((0, 0, 0)))
            self.scale.setText(tr("There is none here: the tokens that look are not those that are looked at."))
            return
        self.lines.select(*self.selection.head)
        low, high = (words.number(value, 3) for value in self.lines.ends())
        n_failed = int((~timeline.verified).sum())
        failed = tr(" {n} captures failed their check and are left out.", n=n_failed) if n_failed else ""
        self.scale.setText(tr("Every line from {low} to {high}.", low=low, high=high) + failed)

    def _place(self) -> None:
        """Show where in the timeline the look on screen stands."""
        found = self._timeline.steps if self._timeline is not None else []
        if self.look is None or not found:
            return
        self.text.setText(
            tr("“{text}”", text=self.look.text)
            if self.look.step is not None
            else tr("Drag the slider: what did the model see at an earlier step?")
        )
        at = found.index(self.look.step) if self.look.step in found else -1
        self.lines.mark(at)
        self.step.setText(tr("step {step} of {last}", step=self.look.step, last=found[-1]) if at >= 0 else "")
        if at >= 0 and not self.slider.isSliderDown():
            self.slider.blockSignals(True)
            self.slider.setValue(at)
            self.slider.blockSignals(False)
        probabilities = self.look.probabilities.get("after") or {}
        best = max(probabilities, key=probabilities.get) if probabilities and at >= 0 else ""
        self.said.setText(f"{best} {words.percent(probabilities[best])}" if best else "")
        self.said.setVisible(bool(best))

    # --- scrubbing ---------------------------------------------------------------------------------------------

    def _scrub(self, at: int) -> None:
        timeline = self._timeline
        if timeline is None or not 0 <= at < len(timeline.steps):
            return
        step, subject = timeline.steps[at], self.look.subject if self.look is not None else ""
        first = self._first if self._first in timeline.steps else timeline.steps[0]
        self._wanted = (first, step)
        background(lambda: look_at_step(timeline.run, step, first, subject),
                   self._take_look, self.failed.emit, self, key="step")  # fmt: skip

    def _take_look(self, look: Look) -> None:
        if (look.first_step, look.step) == self._wanted:
            self.look_chosen.emit(look)

    def _compare_from(self, on: bool) -> None:
        """Compare all steps with the one on screen from now on, or with the beginning again."""
        at = self.slider.value()
        steps_known = self._timeline.steps if self._timeline is not None else []
        self._show_first(steps_known[at] if on and at < len(steps_known) else None)
        self._scrub(at)

    def _show_first(self, step: int | None) -> None:
        self._first = step
        self.from_here.blockSignals(True)
        self.from_here.setChecked(step is not None)
        self.from_here.blockSignals(False)
        self.from_here.setText(tr("Compare from here") if step is None else tr("Compared with step {n}", n=step))

    def _play(self, on: bool) -> None:
        self._player.start() if on else self._player.stop()
        if on and self.slider.value() == self.slider.maximum():
            self.slider.setValue(0)

    def _next(self) -> None:
        if self.slider.value() >= self.slider.maximum():
            self.play.setChecked(False)
        else:
            self.slider.setValue(self.slider.value() + 1)

    def options(self) -> dict[str, Any]:
        return {"statistic": self.statistic.currentData(), "first": self._first}

    def set_options(self, options: dict[str, Any]) -> None:
        self.statistic.setCurrentIndex(max(0, self.statistic.findData(options.get("statistic"))))
        first = options.get("first")
        self._show_first(first if type(first) is int else None)


VIEW = TimelineView
