"""The voice and the ears of a worker: a thread that writes events in batches and reads commands."""

import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from studio.core import commands
from studio.core import events as ev
from studio.core.files import write_json
from studio.core.reasons import Problem
from studio.core.replay import PIECE_BYTES, keep_columns, read_state
from studio.core.rundir import EventWriter, RunDir
from studio.core.state import summarise
from studio.engine.usage import Usage

_BATCH_SECONDS = 0.05  # at most 20 batches of lines a second
_COMMAND_SECONDS = 0.1
_SUMMARY_SECONDS = 2.0
_RESOURCE_SECONDS = 1.0


class StopRequested(Exception):
    """Someone asked the run to end; raised by `Reporter.check` outside of training."""


class Reporter:
    """Takes events from any thread of the worker, and flags that commands set.

    `stop`, `save` and `evaluate` are set by the commands of that name; `asked` holds the questions that wait.
    """

    def __init__(self, run: RunDir):
        self.run = run
        self.stop, self.save, self.evaluate = threading.Event(), threading.Event(), threading.Event()
        self.asked: deque[commands.Explain | commands.Study] = deque()
        self.wake = threading.Event()
        self._go_on = threading.Event()
        self._go_on.set()
        self.listeners: list[Callable[[list[ev.Event]], None]] = []  # each gets what goes into the log
        self._queue: deque[ev.Event] = deque()
        self._writing = threading.Lock()
        self._closed = threading.Event()
        self._n_kept = 0  # bytes of the log that are kept in columns
        self.state = read_state(run)
        self._writer = EventWriter(run.events_file)
        self._thread = threading.Thread(target=self._loop, name="reporter", daemon=True)
        self._thread.start()

    def say(self, event: ev.Event) -> None:
        """Add an event to the log; it is on disk within a twentieth of a second."""
        self._queue.append(event)

    def warn(self, problem: Problem) -> None:
        """Say something that does not stop the run but that the person should know."""
        self.say(ev.Warned(reason=problem.reason, facts=problem.facts))

    def phase(self, name: str) -> None:
        """Say what the worker does now, and obey a stop that came in."""
        self.say(ev.Phase(name=name))
        self.check()

    def progress(self, name: str) -> Callable[[float, float], None]:
        """Return a function (done, total) that says how far a phase is, ten times a second, and obeys a stop."""
        last = 0.0

        def report(done: float, total: float) -> None:
            nonlocal last
            self.check()
            if time.monotonic() - last > 0.1 or done >= total:
                last = time.monotonic()
                self.say(ev.Progress(name=name, done=done, total=total))

        return report

    def check(self) -> None:
        """Raise StopRequested when someone asked the run to end."""
        if self.stop.is_set():
            raise StopRequested

    def wait_while_paused(self) -> None:
        """Wait until the run may go on."""
        if self._go_on.is_set():
            return
        self.say(ev.Paused(paused=True))
        while not self._go_on.wait(0.1) and not self.stop.is_set():
            pass
        self.say(ev.Paused(paused=False))

    def mean_loss(self) -> float:
        """Return the mean training loss of all steps of the run, those of former attempts included."""
        self._flush()
        losses = self.state.series.get(("train", "loss"))
        return float(losses.y.mean()) if losses else float("nan")

    def sync(self) -> None:
        """Write all that was said, down to the disk; called before a checkpoint takes its name."""
        self._flush()
        self._writer.sync()

    def close(self) -> None:
        """Write the rest and the last summary."""
        self._closed.set()
        self._thread.join()
        self._flush()
        self._writer.close()
        self._summarise()
        self._keep_columns(least=1)

    def _loop(self) -> None:
        next_command = next_summary = next_resource = 0.0
        usage = Usage(self.run)
        while not self._closed.wait(_BATCH_SECONDS):
            now = time.monotonic()
            if now >= next_command:
                next_command = now + _COMMAND_SECONDS
                with contextlib.suppress(OSError):
                    for command in commands.receive(self.run.path):
                        self.obey(command)
            if now >= next_resource:
                next_resource = now + _RESOURCE_SECONDS
                self.say(usage.measure())
            # On a full disk the lines wait in memory until there is room.
            with contextlib.suppress(OSError):
                self._flush()
            if now >= next_summary:
                next_summary = now + _SUMMARY_SECONDS
                self._summarise()
                self._keep_columns(PIECE_BYTES)

    def obey(self, command: Any) -> None:
        """Set the flag that a command stands for."""
        match command:
            case commands.Stop():
                self.stop.set()
            case commands.Pause():
                self._go_on.clear()
            case commands.Resume():
                self._go_on.set()
            case commands.Save():
                self.save.set()
            case commands.Evaluate():
                self.evaluate.set()
            case commands.Explain() | commands.Study():
                self.asked.append(command)
        self.wake.set()

    def _flush(self) -> None:
        with self._writing:
            batch = [self._queue.popleft() for _ in range(len(self._queue))]
            for event in batch:
                self.state.apply(event)
            self._writer.write(batch)
            for hear in self.listeners:
                hear(batch)

    def _keep_columns(self, least: int) -> None:
        """Keep in columns what the log has grown by, once that is much: a killed run opens quickly too."""
        try:
            if self.run.events_file.stat().st_size - self._n_kept >= least:
                self._n_kept = keep_columns(self.run, least)
        except OSError:
            self._n_kept = 1 << 62  # it can be done without, and is not tried again

    def _summarise(self) -> None:
        # A full disk: the log itself will tell, a summary is only a convenience.
        with contextlib.suppress(OSError):
            write_json(self.run.summary_file, summarise(self.state))
