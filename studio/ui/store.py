"""The one state of the window; panels draw it and call its verbs."""

import contextlib
from dataclasses import replace
from pathlib import Path
from typing import Any

from PySide6.QtCore import QObject, QTimer, Signal

from studio.core import commands
from studio.core.disk import can_not_write
from studio.core.events import Warned
from studio.core.reasons import Failure, Problem
from studio.core.registry import PluginConfig, parse_config
from studio.core.rundir import (
    RunDir,
    change_training,
    clear_probes,
    create_run,
    list_runs,
    move_to_bin,
    readable_id,
    restore,
)
from studio.core.spec import EvaluateSpec, ExportSpec, InspectSpec, PredictSpec, TrainSpec
from studio.core.state import RunState, new_state, settle
from studio.core.told import left_behind, note_told
from studio.ui import notices
from studio.ui.drafting import Drafting
from studio.ui.followers import Followers
from studio.ui.i18n import tr
from studio.ui.neighbours import Neighbours
from studio.ui.notices import Notice
from studio.ui.probes import Probes
from studio.ui.queue import Queue
from studio.ui.threads import background

STOP_SECONDS = 10  # how long a run may take to obey before force is offered


class Store(Drafting):
    """Holds workspace, settings, draft and runs; signals carry ids, never data.

    run_changed: a run's id, once a batch of events. run_ended: a run that was seen at work has ended. runs_changed:
    the list of runs is another.
    """

    run_changed = Signal(str)
    run_ended = Signal(str)
    runs_changed = Signal()
    current_run_changed = Signal(str)

    def __init__(self, workspace: Path, parent: QObject | None = None):
        super().__init__(workspace, parent)
        self.runs: dict[str, RunState] = {}
        self.current_run = ""
        self.followers = Followers(self)
        self.followers.past.connect(self._take)
        self.followers.heard.connect(self.apply)
        self.followers.ended.connect(self._end)
        self.followers.failed.connect(self.fail)
        self.probes = Probes(workspace, self)
        self.queue = Queue(workspace, self)
        self.queue.changed.connect(self.runs_changed)
        self.queue.removed.connect(self.forget)
        self.queue.told.connect(self.notice)
        self.queue.failed.connect(self.fail)
        self.neighbours = Neighbours(self)
        self._seen_alive: set[str] = set()
        self._names: dict[str, str] = {}

    # --- the window begins and ends ----------------------------------------------------------------------------

    def wake(self) -> None:
        """Take up what was left: living runs, and a word about damaged settings."""
        if self._damaged_settings is not None:
            title = tr("Some settings could not be read; their defaults are used.")
            self.notice.emit(Notice(title, str(self._damaged_settings), "warning"))
        clear_probes(self.workspace)
        for run in reversed(list_runs(self.workspace)):
            # An inspection answers to the window that asked for it.
            if run.is_alive() and new_state(run).kind != "inspect":
                self.attach(run.id)
                if self.runs[run.id].kind == "train":
                    self.select_run(run.id)
                    title = tr("The run {name} went on while the window was closed.", name=self.run_name(run.id))
                    self.notice.emit(Notice(title, fix="go.train", run=run.id))
        background(lambda: left_behind(self.workspace), self._tell_of, self.fail, self)
        self.choose_model(self.draft.model)
        self.neighbours.wake()
        self.queue.wake()

    def _tell_of(self, runs: list[RunDir]) -> None:
        """Read runs that ended badly while no window was there; their end is then told like any other."""
        for run in reversed(runs):
            if run.id not in self.followers:
                self._seen_alive.add(run.id)
                self.attach(run.id)

    def close(self) -> None:
        """Stop following all runs; their workers go on, but for inspections, which only answer to this window."""
        for run_id, state in self.runs.items():
            if state.kind == "inspect" and state.is_active:
                self.stop(run_id)
        self.neighbours.close()
        self.followers.leave_all()
        self.probes.close()

    # --- runs --------------------------------------------------------------------------------------------------

    def start(self) -> str:
        """Start the draft as a training run; return its id, or "" when something stands against it."""
        self.neighbours.look_now()
        busy = self.training_run()
        try:
            if busy:
                raise Failure("training-busy", run=self.run_name(busy))
            spec = self.draft.spec()
        except Failure as error:
            self.fail(error)
            return ""
        run_id = self.start_run(spec)
        if run_id:
            self.select_run(run_id)
        return run_id

    def training_run(self) -> str:
        """Return the id of the training that works now, or ""."""
        working = (i for i, s in self.runs.items() if s.kind == "train" and s.is_active and i in self.followers)
        return next(working, "")

    def start_run(self, spec: Any) -> str:
        """Start a run of any kind; return its id, or "" when its directory can't be made.

        While a training is at work, another one waits in the queue.
        """
        if isinstance(spec, TrainSpec) and self.training_run():
            return self.queue.add(spec)
        try:
            run = create_run(self.workspace, spec)
        except Failure as error:
            self.fail(error)
            return ""
        self._follow(run, launch=True)
        self.runs_changed.emit()
        return run.id

    def evaluate(
        self, run_id: str, split: str = "test", data: PluginConfig | None = None, against: str = "",
        checkpoint: int | None = None,
    ) -> str:  # fmt: skip
        """Measure a trained run, or a checkpoint of it, on a split or on a source, against another run or alone.

        Return the evaluation's id.
        """
        run, other = str(self.run_dir(run_id).path), str(self.run_dir(against).path) if against else None
        spec = EvaluateSpec(run=run, split=split, data=data, against=other, checkpoint=checkpoint)
        return self.start_run(spec)

    def predict(self, run_id: str, data: PluginConfig, out: str | Path) -> str:
        """Write what a trained run says of the rows of a source to a file; return the prediction's id."""
        return self.start_run(PredictSpec(run=str(self.run_dir(run_id).path), data=data, out=str(out)))

    def classify_with(self, run_id: str) -> None:
        """Make a run's model the base of the draft, which is to classify texts; its data come next."""
        from studio.core.continuing import continue_with

        try:
            folder = continue_with(self.run_dir(run_id))
        except Failure as error:
            self.fail(error)
            return
        self.set_task(parse_config("tasks", "text-classification"))
        self.choose_model(folder)
        self.page_requested.emit("data")
        name = self.run_name(run_id)
        self.notice.emit(Notice(tr("The model of {name} is the base now.", name=name), tr("Open the labelled texts.")))

    def inspect(self, run_id: str = "", model: str = "", **how: Any) -> str:
        """Start looking into a run or a model; send it `Explain` commands by `send`. Return the inspection's id.

        how: what else an `InspectSpec` has.
        """
        run = str(self.run_dir(run_id).path) if run_id else None
        return self.start_run(InspectSpec(run=run, model=model or None, **how))

    def export(self, run_id: str, config: PluginConfig | dict[str, Any] | str, out: str | Path) -> str:
        """Write and verify a trained run in a format of `exporters`; return the export's id."""
        config = parse_config("exporters", config)
        return self.start_run(ExportSpec(run=str(self.run_dir(run_id).path), format=config, out=str(out)))

    def attach(self, run_id: str) -> None:
        """Follow a run from its first event: replay what was, and go on live while it lives."""
        run = self.run_dir(run_id)
        if run_id in self.queue and not run.is_alive():
            self.runs[run_id] = replace(new_state(run), state="queued")
            self.run_changed.emit(run_id)
            return
        is_known = run_id in self.runs and not self.runs[run_id].is_active and not run.is_alive()
        if run_id not in self.followers and not is_known and run.spec_file.is_file():
            self._follow(run, launch=False)

    def resume(self, run_id: str, changes: dict[str, Any] | None = None) -> None:
        """Go on with a run from its last checkpoint, with changes of its training settings if there are any."""
        run = self.run_dir(run_id)
        if run_id in self.followers or run.is_alive():
            self.send(run_id, commands.Resume())
            return
        if changes:
            try:
                change_training(run, changes)
            except (Failure, OSError) as error:
                self.fail(error)
                return
            self.runs_changed.emit()
        self._follow(run, launch=True)
        self.select_run(run_id)

    def send(self, run_id: str, command: commands.Command) -> Problem | None:
        """Tell the worker of a run something; return why it can't be told, which the window has been told already."""
        path = self.run_dir(run_id).path
        try:
            commands.send(path, command)
        except OSError as error:
            failure = can_not_write(path, error)
            self.fail(failure)
            return failure.problem
        return None

    def stop(self, run_id: str) -> None:
        """Ask a run to save and end; one that does not obey is offered to be forced, an inspection just ends."""
        self.send(run_id, commands.Stop())
        QTimer.singleShot(1000 * STOP_SECONDS, self, lambda: self._offer_force(run_id))

    def _offer_force(self, run_id: str) -> None:
        state = self.runs.get(run_id)
        if state is None or not state.is_active or run_id not in self.followers:
            return
        if state.kind == "inspect":  # nobody started it by name, and it has nothing to lose
            self.kill(run_id)
        else:
            title = tr("{name} has not stopped yet.", name=self.run_name(run_id))
            hint = tr("It stops at its next step. Force it to end at once; what it logged is kept.")
            self.notice.emit(Notice(title, hint, "warning", "run.kill", run_id))

    def kill(self, run_id: str) -> None:
        """End a run's worker at once."""
        from studio import supervisor

        background(lambda: supervisor.kill(self.run_dir(run_id)), lambda _: None, self.fail, self)

    def select_run(self, run_id: str) -> None:
        """Make a run the one that the pages show; it is read if it was not yet."""
        if run_id and run_id not in self.runs:
            self.attach(run_id)
        if run_id != self.current_run:
            self.current_run = run_id
            self.current_run_changed.emit(run_id)

    def continue_last(self) -> None:
        """Show the newest training run, with its spec as the draft."""
        last = next((run for run in list_runs(self.workspace) if "-train-" in run.id), None)
        if last is None:
            self.notice.emit(Notice(tr("There is no run yet."), fix="go.data"))
            return
        try:
            self.take_spec(last.spec())
        except Failure as error:
            self.fail(error)
        self.select_run(last.id)
        self.page_requested.emit("train")

    def rename(self, run_id: str, name: str) -> None:
        """Give a run a name."""
        try:
            self.run_dir(run_id).rename(name)
        except OSError as error:
            self.fail(error)
            return
        self.forget_name(run_id)
        self.runs_changed.emit()

    def delete(self, *run_ids: str) -> None:
        """Move runs to the workspace's bin; the notice brings them back. One that is at work stays."""
        names, binned = [], []
        for run_id in run_ids:
            run, name = self.run_dir(run_id), self.run_name(run_id)
            try:
                if run.is_alive():
                    raise Failure("run-busy", run=name)
                self.followers.leave(run_id)
                binned.append(move_to_bin(self.workspace, run))
            except (Failure, OSError) as error:
                self.fail(error)
                continue
            names.append(name)
            self.forget(run_id)
        self.runs_changed.emit()

        def undo() -> None:
            for path in binned:
                restore(self.workspace, path)
            self.runs_changed.emit()

        if len(names) == 1:
            self.notice.emit(Notice(tr("The run {name} was moved to the bin.", name=names[0]), undo=undo))
        elif names:
            self.notice.emit(Notice(tr("{n} runs were moved to the bin.", n=len(names)), ", ".join(names), undo=undo))

    def forget_name(self, run_id: str) -> None:
        """Ask for a run's name again, since it may be another."""
        self._names.pop(run_id, None)
        self.run_changed.emit(run_id)

    def forget(self, run_id: str) -> None:
        """Let go of a run that is not in the workspace any more."""
        self.followers.leave(run_id)
        self.runs.pop(run_id, None)
        self._names.pop(run_id, None)
        if self.current_run == run_id:
            self.select_run("")

    def run_name(self, run_id: str) -> str:
        """Return the name a person gave to a run, else its id as people say it."""
        if run_id not in self._names:
            self._names[run_id] = self.run_dir(run_id).name() or readable_id(run_id)
        return self._names[run_id]

    def run_dir(self, run_id: str) -> RunDir:
        """Return where a run of this workspace lies."""
        return RunDir(self.workspace / "runs" / run_id)

    def show_page(self, page: str) -> None:
        """Ask the window for a page: data, model, train, inspect, evaluate, export or runs."""
        self.page_requested.emit(page)

    # --- following ---------------------------------------------------------------------------------------------

    def _follow(self, run: RunDir, launch: bool) -> None:
        self.runs[run.id] = state = new_state(run)
        if launch or run.is_alive():
            self._seen_alive.add(run.id)
        if launch:
            self.probes.stop()  # the processor belongs to what the person started
        # Inspection answers to typing; the others tell a few times a second.
        self.followers.follow(run, launch, 0.01 if state.kind == "inspect" else 0.1)
        self.run_changed.emit(run.id)

    def _take(self, run_id: str, state: RunState) -> None:
        if run_id in self.runs:
            self.runs[run_id] = state
            self.run_changed.emit(run_id)

    def apply(self, run_id: str, batch: list[Any]) -> None:
        """Fold a batch of events into a run's state."""
        state = self.runs.get(run_id)
        if state is None:
            return
        for event in batch:
            state.apply(event)
            if isinstance(event, Warned) and event.reason in notices.LOUD and run_id in self._seen_alive:
                self.notice.emit(notices.from_problem(Problem(event.reason, event.facts), "warning", run_id))
        self.run_changed.emit(run_id)

    def _end(self, run_id: str) -> None:
        state = self.runs.get(run_id)
        if state is None:
            return
        settle(state, self.run_dir(run_id))
        self.run_changed.emit(run_id)
        self.runs_changed.emit()
        if run_id not in self._seen_alive:
            return
        self._seen_alive.discard(run_id)
        said = notices.at_end(state, self.run_name(run_id))
        if said is not None:
            self.notice.emit(said)
        if state.kind == "train" and state.problem is not None:
            with contextlib.suppress(OSError):  # on a full disk it is told again
                note_told(self.run_dir(run_id))
        self.run_ended.emit(run_id)
