"""Writes a trained run in a format for other programs, and has it verified by a fresh process."""

from pathlib import Path

from studio.core import events as ev
from studio.core.registry import plugin
from studio.core.rundir import RunDir, find_run
from studio.core.spec import ExportSpec, TrainSpec
from studio.engine import models
from studio.engine.data import Rows, read_parts, workspace_of
from studio.engine.evaluate import max_length_of
from studio.engine.reporter import Reporter
from studio.exporters.card import Origin
from studio.exporters.folder import LEAST_ROWS, Measured, export_model


def run(run_dir: RunDir, spec: ExportSpec, report: Reporter) -> ev.Event:
    """Export a trained run and return the terminal event, whose result holds the verification's figures."""
    workspace = workspace_of(run_dir.path)
    trained = find_run(workspace, spec.run)
    train_spec, labels = trained.spec(), models.trained_labels(trained)
    report.phase("data")
    parts, _, _ = read_parts(train_spec, workspace)
    rows = _measured_rows(parts)
    report.phase("model")
    model, tokenizer = models.merged(trained)
    measured = Measured(
        task=train_spec.task.kind,
        texts=rows.texts,
        gold=[labels.index(label) for label in rows.labels],
        max_length=max_length_of(train_spec, model),
    )

    def phase(name: str):
        report.phase(name)
        return report.progress(name)

    result = export_model(
        model, tokenizer, spec.format, Path(spec.out), measured, _origin(trained, train_spec, parts), phase
    )
    report.say(ev.Artefact(name="export", path=result["directory"]))
    return ev.Finished(result=result)


def _measured_rows(parts: dict[str, Rows]) -> Rows:
    """Return all validation and test rows, and rows of train where these are too few to judge by."""
    held_out = [parts["validation"], parts["test"]]
    texts, labels, indices = (sum((getattr(p, name) for p in held_out), []) for name in ("texts", "labels", "indices"))
    n_more = max(0, LEAST_ROWS - len(texts))
    train = parts["train"]
    return Rows(texts + train.texts[:n_more], labels + train.labels[:n_more], indices + train.indices[:n_more])


def _origin(trained: RunDir, spec: TrainSpec, parts: dict[str, Rows]) -> Origin:
    model = spec.model if spec.model == "starter" else Path(spec.model).name
    return Origin(
        name=trained.name() or f"{Path(spec.data.train.path).stem} ({model})",
        base_model="sentence-transformers/all-MiniLM-L6-v2 (the starter)" if model == "starter" else model,
        data_file=Path(spec.data.train.path).name,
        n_rows=sum(len(rows) for rows in parts.values()),
        task=plugin("tasks", spec.task).label,
        method=plugin("methods", spec.method).label,
    )
