"""A run's numbers for other programs: event files for TensorBoard, Weights & Biases where it was asked for."""

import os
from typing import Any

from studio.core import events as ev
from studio.core.reasons import Failure, Problem
from studio.core.reports import missing_library, reports_of
from studio.core.rundir import RunDir
from studio.engine.reporter import Reporter

_TERMINAL = (ev.Finished, ev.Stopped, ev.Failed)


def pick_reports(run_dir: RunDir, asked: str) -> ev.Picked:
    """Return where the numbers go. Raises Failure "report-library-missing"."""
    if run_dir.is_probe:
        return ev.Picked(name="report_to", value="none", why="nothing of a probe is kept")
    problem = missing_library(asked)
    if problem is not None:
        raise Failure(problem.reason, problem.field, **problem.facts)
    if asked != "auto":
        return ev.Picked(name="report_to", value=asked, why="as you asked")
    found = reports_of(asked)
    why = "its library is installed" if found else "TensorBoard's library is not installed"
    return ev.Picked(name="report_to", value=found[0] if found else "none", why=why)


def trainer_reports(run_dir: RunDir, picked: ev.Picked) -> list[str]:
    """Return what TrainingArguments' `report_to` gets: Weights & Biases alone, with its run in the run's folder."""
    if "wandb" not in reports_of(picked.value):
        return []
    # What the person has set in the environment stays; WANDB_MODE is theirs alone.
    for name, value in {
        "WANDB_DIR": str(run_dir.path),
        "WANDB_NAME": run_dir.name() or run_dir.id,
        "WANDB_RUN_ID": run_dir.id,
        "WANDB_RESUME": "allow",
    }.items():
        os.environ.setdefault(name, value)
    return ["wandb"]


class EventFiles:
    """Writes the numbers of a run's events for TensorBoard: `train/loss`, `validation/accuracy`, `system/rss_bytes`.

    from_step: the step that this attempt goes on from; TensorBoard drops what a former one, whose files lie there,
    wrote behind it. Float32, as TensorBoard draws them.
    """

    def __init__(self, report: Reporter, from_step: int = 0):
        folder = report.run.path / "tensorboard"
        # Not by the number of the attempt: the log's first lines may not have been folded yet.
        purge = from_step + 1 if folder.is_dir() and any(folder.iterdir()) else None
        self._writer = _writer_class()(str(folder), purge_step=purge)
        self._report, self._step = report, from_step

    def hear(self, batch: list[ev.Event]) -> None:
        """Write a batch of events, and hand it to the operating system; a full disk ends it, and not the training."""
        if self._writer is None:
            return
        try:
            self._take(batch)
        except OSError as error:
            self._writer = None
            self._report.warn(Problem("event-files-ended", {"message": error.strerror or str(error)}))

    def _take(self, batch: list[ev.Event]) -> None:
        for event in batch:
            if isinstance(event, ev.Metrics):
                self._step = event.step
                self._write(event.split, event.values, event)
            elif isinstance(event, ev.Resources):
                self._write("system", event.model_dump(exclude={"type", "time"}), event)
        if any(isinstance(event, _TERMINAL) for event in batch):
            self._writer.close()
        elif batch:
            self._writer.flush()

    def _write(self, group: str, values: dict[str, Any], event: ev.Event) -> None:
        for name, value in values.items():
            if isinstance(value, int | float):
                self._writer.add_scalar(f"{group}/{name}", value, self._step, walltime=event.time)


def _writer_class() -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        from tensorboardX import SummaryWriter
    return SummaryWriter
