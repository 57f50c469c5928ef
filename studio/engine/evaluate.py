"""Measures a trained model on rows: metrics with intervals, groups, blocks to look at, one prediction a row."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from studio.core import events as ev
from studio.core.blocks import Block
from studio.core.files import write_json
from studio.core.reasons import Failure
from studio.core.rundir import RunDir
from studio.core.spec import EvaluateSpec
from studio.engine import compare, device
from studio.engine.data import slice_columns, workspace_of
from studio.engine.reporter import Reporter
from studio.engine.tokens import for_model, tokenise
from studio.engine.trained import Trained, open_trained
from studio.tasks.base import Answers, Judged, Rows, of_tokens, task_of

MOST_ROWS = 256  # in one batch


def run(run_dir: RunDir, spec: EvaluateSpec, report: Reporter) -> ev.Event:
    """Measure a trained run on a split of its data or on a file; return the terminal event."""
    workspace = workspace_of(run_dir.path)
    trained = open_trained(workspace, spec.run, checkpoint=spec.checkpoint)
    other = open_trained(workspace, spec.against, "against") if spec.against else None
    if other is not None and other.spec.task != trained.spec.task:
        raise Failure("tasks-differ", "against", run=other.run.id)
    report.phase("data")
    if spec.data is None:
        rows, name = trained.parts()[spec.split], spec.split
        if not len(rows):
            raise Failure("split-empty", "split", split=name)
    else:
        rows, name = trained.rows_of(spec.data, report.warn, gold=True), Path(spec.data.path).name
    groups = slice_columns(trained.spec, spec.data or spec.split, rows, workspace)
    judged, answers = _judge(trained, rows, report)
    extra = []
    if other is not None:
        if unknown := other.task.unknown(rows.gold, other.labels):
            raise Failure("unknown-labels", "against", split=name, labels=", ".join(unknown[:5]))
        theirs, _ = _judge(other, rows, report)
        names = (trained.run.name() or "This run", other.run.name() or "the other")
        extra = compare.blocks(judged, theirs, trained.task.main_metric, names, report.check)
    found = write(run_dir, trained.task, answers, judged, rows, groups, spec.split, report, extra)
    result = {"run": str(trained.run.path), "data": name, "n_rows": len(rows), "metrics": found.metrics}
    if spec.checkpoint:
        result["checkpoint"] = spec.checkpoint
    return ev.Finished(result=result | {"intervals": found.intervals})


def _judge(trained: Trained, rows: Rows, report: Reporter) -> tuple[Judged, Answers]:
    report.phase("model")
    model, tokenizer = trained.load()
    task, labels = trained.task, trained.labels
    dataset, _ = tokenise(task, rows, labels, tokenizer, trained.max_length, trained.workspace, report.check)
    report.say(ev.Phase(name="evaluating"))
    outputs = predict(task, model, tokenizer, dataset, trained.precision, report.progress("evaluating"))
    answers = task.decode(task.answers(outputs, dataset, rows, labels), tokenizer)
    return task.judge(answers, rows, labels), answers


@dataclass(frozen=True)
class Measured:
    """Metrics by name, and the 95 % interval [low, high] of each. task: with what the rows taught it."""

    metrics: dict[str, float]
    intervals: dict[str, list[float]]
    task: Any


def measure(
    run_dir: RunDir, task: Any, model: Any, tokenizer: Any, rows: Rows, dataset: Any, labels: Sequence[str],
    groups: Mapping[str, list[str]], split: str, report: Reporter, precision: str, teaches: bool = False,
) -> Measured:  # fmt: skip
    """Return how good a model is on rows; write `evaluation-<split>.json` and `predictions-<split>.parquet`.

    dataset: the features of the rows, all of which have gold that the model knows. groups: see `slice_columns`.
    precision: that of the training. teaches: the task may find settings of its own on these rows.
    """
    report.say(ev.Phase(name="evaluating"))
    outputs = predict(task, model, tokenizer, dataset, precision, report.progress("evaluating"))
    answers = task.answers(outputs, dataset, rows, labels)
    found = task.fitted(answers, rows) if teaches else task.config
    if found != task.config:
        task = task_of(found)
        answers = task.answers(outputs, dataset, rows, labels)
    answers = task.decode(answers, tokenizer)
    return write(run_dir, task, answers, task.judge(answers, rows, labels), rows, groups, split, report)


def write(
    run_dir: RunDir, task: Any, answers: Answers, judged: Judged, rows: Rows, groups: Mapping[str, list[str]],
    split: str, report: Reporter, extra: Sequence[Block] = (),
) -> Measured:  # fmt: skip
    """Write what was measured, with intervals and by groups, and return the metrics. extra: blocks to show first."""
    found = Measured(judged.measured(), compare.bootstrap(judged.metrics, len(rows), report.check), task)
    by_group = compare.group_blocks(judged.metrics[task.main_metric], task.main_metric, groups, report.check)
    blocks = [block.model_dump(mode="json") for block in [*extra, *judged.blocks(), *by_group]]
    said = {"metrics": found.metrics, "intervals": found.intervals, "n_rows": len(rows), "blocks": blocks}
    write_json(run_dir.path / f"evaluation-{split}.json", said)
    columns: dict[str, Any] = {"row": rows.indices} | {role: texts.values() for role, texts in rows.fields.items()}
    columns |= {"label": [task.gold_text(each) for each in rows.gold]} | answers.columns | {"loss": judged.losses}
    if judged.right is not None:
        columns["right"] = judged.right
    columns |= {name: values for name, values in groups.items() if name not in columns}
    path = run_dir.path / f"predictions-{split}.parquet"
    write_columns(columns, path)
    report.say(ev.Artefact(name=f"evaluation-{split}", path=f"evaluation-{split}.json"))
    report.say(ev.Artefact(name=f"predictions-{split}", path=path.name))
    return found


def predict(
    task: Any, model: Any, tokenizer: Any, dataset: Any, precision: str, progress: Callable | None = None
) -> Any:
    """Return a model's outputs of features in their order, float32, computed in `precision` in batches of like length.

    One array [feature, …], or for a task with outputs per token a list with one [token, …] a feature.
    """
    import torch

    collate = task.collator(tokenizer)
    inputs, lengths = for_model(task, model, dataset), np.array(dataset["length"])
    order = np.argsort(lengths, kind="stable")
    place = next(model.parameters()).device
    found: list[Any] = [None] * len(order)
    start = 0
    with torch.inference_mode(), device.autocast(precision):
        while start < len(order):
            # Sorted, so that the last of a batch is its longest.
            longest = lengths[order[min(start + MOST_ROWS, len(order)) - 1]]
            chosen = order[start : start + max(1, min(MOST_ROWS, task.batch_tokens // int(longest)))]
            batch = {name: value.to(place) for name, value in collate([inputs[int(i)] for i in chosen]).items()}
            outputs = outputs_of(task, model, batch).float().cpu().numpy()
            for i, each in zip(chosen, outputs, strict=True):
                found[i] = of_tokens(each, lengths[i], tokenizer.padding_side) if task.per_token else each
            start += len(chosen)
            if progress:
                progress(start, len(order))
    return found if task.per_token else np.array(found, np.float32)


def outputs_of(task: Any, model: Any, batch: dict[str, Any]) -> Any:
    """Return what a task keeps of a model's outputs of a batch, as one torch tensor."""
    outputs = model(**{name: value for name, value in batch.items() if name not in task.target_names})
    return task.reduce(stack([outputs[name] for name in task.output_names]), batch.get("labels"))


def stack(outputs: Sequence[Any]) -> Any:
    """Return outputs (torch tensors) of one shape as one, side by side in a last axis; a single one as it is."""
    import torch

    return outputs[0] if len(outputs) == 1 else torch.stack(list(outputs), dim=-1)


def write_columns(columns: Mapping[str, Any], path: Path) -> None:
    """Write a table as CSV, JSON lines or Parquet, by the file's ending, aside and then renamed.

    What is aside is another file in each process, and is gone when it can't be written to its end.
    """
    import json
    import os

    import pyarrow as pa
    import pyarrow.csv
    import pyarrow.parquet

    table = pa.table(dict(columns))
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        if path.suffix.lower() == ".csv":
            pyarrow.csv.write_csv(table, partial)
        elif path.suffix.lower() == ".jsonl":
            lines = (json.dumps(row, ensure_ascii=False) for row in table.to_pylist())
            partial.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
        else:
            pyarrow.parquet.write_table(table, partial)
        os.replace(partial, path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
