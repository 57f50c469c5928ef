"""Writes a trained run in a format for other programs, and has it verified by a fresh process."""

from pathlib import Path

from studio.core import events as ev
from studio.core.registry import plugin
from studio.core.rundir import RunDir
from studio.core.spec import ExportSpec, TrainSpec
from studio.engine.data import workspace_of
from studio.engine.reporter import Reporter
from studio.engine.tokens import tokenise
from studio.engine.trained import open_trained
from studio.exporters.card import Origin
from studio.exporters.folder import LEAST_ROWS, Measured, export_model
from studio.tasks.base import Rows, join_rows


def run(run_dir: RunDir, spec: ExportSpec, report: Reporter) -> ev.Event:
    """Export a trained run and return the terminal event, whose result holds the verification's figures."""
    trained = open_trained(workspace_of(run_dir.path), spec.run)
    report.phase("data")
    parts = trained.parts()
    rows = _measured_rows(parts)
    report.phase("model")
    model, tokenizer = trained.merged()
    features, _ = tokenise(
        trained.task, rows, trained.labels, tokenizer, trained.max_length, trained.workspace, report.check
    )
    features = trained.task.export_features(features.to_dict())
    measured = Measured(trained.task, rows, features, trained.labels, trained.max_length)

    def phase(name: str):
        report.phase(name)
        return report.progress(name)

    result = export_model(
        model, tokenizer, spec.format, Path(spec.out), measured, _origin(trained.run, trained.spec, parts), phase
    )
    report.say(ev.Artefact(name="export", path=result["directory"]))
    return ev.Finished(result=result)


def _measured_rows(parts: dict[str, Rows]) -> Rows:
    """Return all validation and test rows, and some of train where these are too few to judge by."""
    held_out = [parts["validation"], parts["test"]]
    n_more = max(0, LEAST_ROWS - sum(map(len, held_out)))
    return join_rows([*held_out, parts["train"].select(range(min(n_more, len(parts["train"]))))])


def _origin(run: RunDir, spec: TrainSpec, parts: dict[str, Rows]) -> Origin:
    model = spec.model if spec.model == "starter" else Path(spec.model).name
    return Origin(
        name=run.name() or f"{Path(spec.data.train.path).stem} ({model})",
        base_model="sentence-transformers/all-MiniLM-L6-v2 (the starter)" if model == "starter" else model,
        data_file=Path(spec.data.train.path).name,
        n_rows=sum(len(rows) for rows in parts.values()),
        task=plugin("tasks", spec.task).label,
        method=plugin("methods", spec.method).label,
    )
