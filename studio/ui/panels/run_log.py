"""The log of a run in a drawer: its events in words, and what the worker itself wrote."""

import time
from pathlib import Path
from typing import Any

from PySide6.QtCore import QTimer
from PySide6.QtWidgets import QHBoxLayout, QStackedWidget, QTabBar, QVBoxLayout, QWidget

from studio.core import events as ev
from studio.core.reasons import Problem
from studio.core.rundir import RunDir
from studio.ui import editors, words
from studio.ui.i18n import tr
from studio.ui.notices import message_of
from studio.ui.theme import GRID
from studio.ui.threads import background
from studio.ui.widgets.buttons import icon_button
from studio.ui.widgets.cards import Card
from studio.ui.widgets.log import LogView

_READ_MS = 1000
_MOST_BYTES = 1 << 20  # read at once, and of the worker's own output at first; what is older stays in the file
_DULL = (b'"type":"resources"', b'"type":"progress"', b'"split":"train"')  # once a step or a second: not for reading


class LogReader:
    """Reads a run's log as lines in words and the worker's output, each from where the last call ended."""

    def __init__(self, run: RunDir):
        self._run, self._events_at, self._output_at = run, 0, -1

    def read(self) -> tuple[str, str]:
        """Return what is new in the events and in the output; reads files, so call it in the background."""
        lines = []
        while True:
            data, self._events_at = _complete_lines(self._run.events_file, self._events_at)
            if not data:
                break
            for line in data.splitlines():
                event = None if any(mark in line for mark in _DULL) else ev.parse_event(line)
                text = say(event) if event is not None else ""
                if text:
                    lines.append(f"{time.strftime('%H:%M:%S', time.localtime(event.time))}  {text}\n")
        if self._output_at < 0:
            size = self._run.log_file.stat().st_size if self._run.log_file.exists() else 0
            self._output_at = max(0, size - _MOST_BYTES)
        output, self._output_at = _complete_lines(self._run.log_file, self._output_at)
        return "".join(lines), output.decode("utf-8", "replace")


def _complete_lines(path: Path, at: int) -> tuple[bytes, int]:
    """Return the next complete lines of a file, at most _MOST_BYTES of them, and where they end."""
    try:
        with open(path, "rb") as file:
            file.seek(at)
            data = file.read(_MOST_BYTES)
    except OSError:
        return b"", at
    end = data.rfind(b"\n") + 1
    return data[:end], at + end


def say(event: Any) -> str:
    """Return an event in words, "" for one that is not worth a line."""
    match event:
        case ev.Started(attempt=1):
            return tr("Started; Attune {version}, process {pid}.", version=event.version, pid=event.pid)
        case ev.Started():
            return tr("Attempt {n}: goes on from step {step}.", n=event.attempt, step=words.count(event.from_step))
        case ev.Phase():
            return words.word(words.PHASES, event.name).capitalize() + "."
        case ev.DataReady():
            return tr("Rows: {train} training, {validation} validation, {test} test; {labels} labels.",
                      train=words.count(event.n_train), validation=words.count(event.n_validation),
                      test=words.count(event.n_test), labels=len(event.labels))  # fmt: skip
        case ev.ModelReady():
            return tr("Model: {some} of {all} parameters train.", some=words.count(event.n_trainable),
                      all=words.count(event.n_parameters))  # fmt: skip
        case ev.Picked():
            name = words.word({}, event.name)
            return tr("Picked {name} {value}: {why}.", name=name, value=editors.say(event.value), why=tr(event.why))
        case ev.Metrics():
            values = ", ".join(
                f"{words.word(words.METRICS, name).lower()} {words.number(value)}"
                for name, value in event.values.items()
            )
            return tr("Step {step}, {split}: {values}.", step=words.count(event.step), split=tr(event.split),
                      values=values)  # fmt: skip
        case ev.Checkpoint():
            return tr("Checkpoint of step {step} is on the disk.", step=words.count(event.step))
        case ev.Watched(verified=True):
            return tr("Looked at the watched sentence after step {step}.", step=words.count(event.step))
        case ev.Watched():
            return tr("Looked at the watched sentence after step {step}; what was found failed its checks.",
                      step=words.count(event.step))  # fmt: skip
        case ev.Artefact():
            return tr("Wrote {path}.", path=event.path)
        case ev.Warned():
            return message_of(Problem(event.reason, event.facts))
        case ev.Paused():
            return tr("Paused.") if event.paused else tr("Goes on.")
        case ev.Stopped():
            return tr("Stopped at step {step}.", step=words.count(event.step))
        case ev.Finished():
            return tr("Finished.")
        case ev.Failed():
            return message_of(Problem(event.reason, event.facts))
    return ""


class LogDrawer(Card):
    """Shows the log of one run for as long as it is open; reads the files once a second."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent=parent)
        self.setMinimumHeight(184)
        self._reader: LogReader | None = None
        self._views = QStackedWidget()
        self.events, self.output = LogView(), LogView()
        self.events.setAccessibleName(tr("What happened"))
        self.output.setAccessibleName(tr("Output of the worker"))
        for view in (self.events, self.output):
            self._views.addWidget(view)
        tabs = QTabBar()
        tabs.setExpanding(False)
        tabs.addTab(tr("What happened"))
        tabs.addTab(tr("Output of the worker"))
        tabs.currentChanged.connect(self._views.setCurrentIndex)
        self.close_button = icon_button("close", tr("Close the log"), "train.log.close")
        head = QHBoxLayout()
        head.addWidget(tabs)
        head.addStretch(1)
        head.addWidget(self.close_button)
        inside = QVBoxLayout()
        inside.setSpacing(GRID // 2)
        inside.addLayout(head)
        inside.addWidget(self._views, 1)
        self.body.addLayout(inside)
        self._timer = QTimer(self, interval=_READ_MS)
        self._timer.timeout.connect(self._read)

    def show_run(self, run: RunDir) -> None:
        """Show the log of a run from its beginning."""
        self._reader = LogReader(run)
        self.events.set_text("")
        self.output.set_text("")
        if self.isVisible():
            self._read()

    def showEvent(self, event: object) -> None:
        self._read()
        self._timer.start()

    def hideEvent(self, event: object) -> None:
        self._timer.stop()

    def _read(self) -> None:
        reader = self._reader
        if reader is not None and not self._is_reading:
            self._is_reading = True
            background(reader.read, lambda found: self._add(reader, found), self._give_up, self)

    _is_reading = False

    def _add(self, reader: LogReader, found: tuple[str, str]) -> None:
        self._is_reading = False
        if reader is not self._reader:  # another run was chosen meanwhile
            self._read()
            return
        for view, text in zip((self.events, self.output), found, strict=True):
            if text:
                view.append_lines(text)

    def _give_up(self, error: Exception) -> None:
        self._is_reading = False
        self.output.append_lines(f"{type(error).__name__}: {error}\n")
        self._timer.stop()
