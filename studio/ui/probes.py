"""Trials of what the person prepares: one worker at a time takes a few steps, and what it measured is remembered."""

import json
import shutil
from pathlib import Path
from typing import Any

from PySide6.QtCore import QObject, Signal

from studio.core import commands
from studio.core.events import Estimated
from studio.core.reasons import Failure, Problem
from studio.core.rundir import PROBES, RunDir, create_run
from studio.core.spec import ProbeSpec, TrainSpec, dump_spec
from studio.core.state import RunState, new_state, settle
from studio.ui.followers import Followers
from studio.ui.reading import problem_of
from studio.ui.threads import background

# What a training may change without being another one for its memory and the pace of its steps.
_OF_NO_MATTER = {
    "num_train_epochs", "learning_rate", "seed", "weight_decay", "max_grad_norm", "label_smoothing_factor",
    "lr_scheduler_type", "warmup_steps", "evaluations_per_epoch", "early_stopping_patience", "load_best_model_at_end",
}  # fmt: skip


class Probes(QObject):
    """Runs one probe at a time, outside of the window's list of runs.

    changed: the probe that is at work said something, or a result came. ended: a worker of a probe is gone.
    are_automatic: whether estimates may start by themselves; only a window that keeps a spare worker lets them.
    """

    changed = Signal()
    ended = Signal()

    def __init__(self, workspace: Path, parent: QObject | None = None):
        super().__init__(parent)
        self._workspace = workspace
        self.are_automatic = False
        self.state: RunState | None = None  # of the newest probe, while it works and after
        self.spec: ProbeSpec | None = None
        self._run: RunDir | None = None
        self._living: dict[str, RunDir] = {}  # those told to stop included, until their workers are gone
        self._known: dict[str, Estimated | Problem] = {}
        self._followers = Followers(self)
        self._followers.heard.connect(self._apply)
        self._followers.ended.connect(self._end)
        self._followers.failed.connect(self._fail)

    @property
    def is_busy(self) -> bool:
        """Whether a probe is at work that was not told to stop."""
        return self._run is not None

    def is_at(self, what: str) -> bool:
        """Return whether a probe of this kind is at work: estimate or learning-rate."""
        return self.is_busy and self.spec.what == what

    def result(self, spec: TrainSpec) -> Estimated | Problem | None:
        """Return what was measured of a training, or why it could not be, or None where no probe has ended yet."""
        return self._known.get(_key(spec))

    def begin(self, what: str, spec: TrainSpec) -> None:
        """Probe a training; a probe that is at work is stopped first. Failures become the probe's `state.problem`."""
        self.stop()
        self.spec = ProbeSpec(what=what, train=spec)
        try:
            self._run = create_run(self._workspace, self.spec, PROBES)
        except Failure as error:
            self.state = RunState(kind="probe", state="failed", problem=error.problem)
            self.changed.emit()
            return
        self._living[self._run.id] = self._run
        self.state = new_state(self._run)
        self._followers.follow(self._run, launch=True, poll_seconds=0.05)
        self.changed.emit()

    def stop(self) -> None:
        """Tell the probe that is at work to end; nothing more is heard of it."""
        run, self._run = self._run, None
        if run is None:
            return
        try:
            commands.send(run.path, commands.Stop())
        except OSError as error:
            self.state.problem = problem_of(error)
        self.state.state = "stopped"
        self.changed.emit()

    def close(self) -> None:
        """End all probes at once and remove what they left."""
        from studio import supervisor

        self._run = None
        self._followers.leave_all()
        for run in self._living.values():
            supervisor.kill(run)
            shutil.rmtree(run.path, ignore_errors=True)
        self._living.clear()

    def _apply(self, run_id: str, batch: list[Any]) -> None:
        if self._run is None or run_id != self._run.id:
            return
        for event in batch:
            self.state.apply(event)
        self.changed.emit()

    def _end(self, run_id: str) -> None:
        path = self._living.pop(run_id).path
        if self._run is not None and run_id == self._run.id:
            run, self._run = self._run, None
            settle(self.state, run)
            if self.state.state in ("stopped", "finished"):
                self.state.problem = None
            if self.spec.what == "estimate":
                found = self.state.estimated or self.state.problem
                if found is not None:
                    self._known[_key(self.spec.train)] = found
            self.changed.emit()
        background(lambda: shutil.rmtree(path, ignore_errors=True), lambda _: None, lambda _: None, self)
        self.ended.emit()

    def _fail(self, error: Exception) -> None:
        if self._run is not None:
            self._run = None
            self.state.state, self.state.problem = "failed", problem_of(error)
            self.changed.emit()


def _key(spec: TrainSpec) -> str:
    """Return the same text for trainings with the same memory and pace: data, model, method and what matters."""
    value = dump_spec(spec)
    value["training"] = {k: v for k, v in value["training"].items() if k not in _OF_NO_MATTER}
    value["has_epochs"] = spec.training.num_train_epochs > 1  # frozen layers are passed once for them
    value.pop("name")
    try:
        about = Path(spec.data.train.path).stat()
        value["file"] = [about.st_mtime_ns, about.st_size]
    except OSError:
        pass
    return json.dumps(value, sort_keys=True)
