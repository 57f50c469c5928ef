"""The rows of the list of runs: summaries of the workspace, read again only where something changed."""

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from studio.core.registry import parse_config
from studio.core.rundir import RunDir, list_runs, readable_id
from studio.core.state import ACTIVE, Summary, read_summary
from studio.tasks.base import task_of
from studio.ui import words
from studio.ui.i18n import tr
from studio.ui.panels.run_about import method_name, model_name

_SCORES = ("accuracy", "f1_macro", "entity_f1", "exact_match", "f1")  # the first that a run has stands in the list


class Summaries:
    """Reads the summaries of a workspace; those of runs that have ended are kept until a file of theirs changes."""

    def __init__(self, workspace: Path):
        self._workspace = workspace
        self._kept: dict[str, tuple[Any, Summary]] = {}

    def read(self) -> list[Summary]:
        """Return a summary per run, newest first; reads files, so call it in the background, one at a time."""
        found: dict[str, tuple[Any, Summary]] = {}
        for run in list_runs(self._workspace):
            key = _stamp(run)
            kept = self._kept.get(run.id)
            if kept is None or kept[0] != key or kept[1].state in ACTIVE:
                kept = key, read_summary(run)
            found[run.id] = kept
        self._kept = found
        return [summary for _, summary in found.values()]


def _stamp(run: RunDir) -> tuple[float, ...]:
    return tuple(_changed(path) for path in (run.summary_file, run.meta_file, run.exit_file))


def _changed(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def row_of(summary: Summary, state: str) -> dict[str, Any]:
    """Return a summary as a row of the table; `state` is the freshest that is known."""
    of_run = summary.kind != "train" and "-train-" in words.file_name(summary.model)
    return {
        "id": summary.id,
        "kind": summary.kind,
        "state": state,
        "name": summary.name,
        "data": words.file_name(summary.data),
        "model": readable_id(words.file_name(summary.model)) if of_run else model_name(summary.model),
        "method": method_name(summary.method) if summary.method else "",
        "score": score_of(summary.metric, summary.task_config),
        "created": summary.created,
        "seconds": summary.seconds,
        "sparkline": summary.sparkline,
    }


def score_of(metric: dict[str, float], task: Any) -> float | None:
    """Return the number that a list shows of a run's metrics, None where there is none; task: as in its spec."""
    return metric.get(score_name(list(metric), task))


def score_name(names: Sequence[str], task: Any) -> str:
    """Return the metric by which a task chooses its best model; else the first usual one of those that there are."""
    with contextlib.suppress(ValueError, KeyError, TypeError):  # the task of a plug-in that is gone, or of no training
        main = task_of(parse_config("tasks", task)).main_metric
        if main in names:
            return main
    return next((name for name in _SCORES if name in names), "")


def kinds_of(summaries: list[Summary]) -> list[str]:
    """Return the kinds of run that there are, trainings first."""
    present = {summary.kind for summary in summaries}
    return [kind for kind in words.KINDS if kind in present]


def kind_title(kind: str) -> str:
    """Return a kind of run as the heading of a filter: `Trainings`."""
    return tr(_TITLES.get(kind, kind))


_TITLES = {
    "train": "Trainings", "evaluate": "Evaluations", "predict": "Predictions", "inspect": "Inspections",
    "export": "Exports", "profile": "Profiles",
}  # fmt: skip
