"""Measures a trained model on rows: metrics, blocks to look at, and one prediction a row."""

from pathlib import Path
from typing import Any

import numpy as np

from studio.core import events as ev
from studio.core.files import write_json
from studio.core.registry import plugin
from studio.core.rundir import RunDir, find_run
from studio.core.spec import EvaluateSpec, TrainSpec
from studio.engine import models
from studio.engine.data import Rows, column_names, open_columns, read_parts, tokenise, workspace_of
from studio.engine.reporter import Reporter

BATCH_SIZE = 64


def run(run_dir: RunDir, spec: EvaluateSpec, report: Reporter) -> ev.Event:
    """Measure a trained run on a split of its data or on a file; return the terminal event."""
    workspace = workspace_of(run_dir.path)
    trained = find_run(workspace, spec.run)
    train_spec, labels = trained.spec(), models.trained_labels(trained)
    report.phase("data")
    if spec.data is None:
        rows, name = read_parts(train_spec, workspace)[0][spec.split], spec.split
    else:
        rows, name = rows_of_file(spec.data, train_spec, workspace), Path(spec.data.path).name
        _require_known(rows, labels)
    report.phase("model")
    model, tokenizer = models.load_trained(trained)
    metrics = measure(run_dir, train_spec, model, tokenizer, rows, labels, spec.split, report)
    return ev.Finished(result={"run": str(trained.path), "data": name, "n_rows": len(rows), "metrics": metrics})


def rows_of_file(source: Any, spec: TrainSpec, workspace: Path) -> Rows:
    """Return the rows of a file that has the columns of a run's spec; the label column may be missing."""
    task = plugin("tasks", spec.task)
    opened = open_columns(source, spec.columns, workspace)
    present = {r: c for r, c in spec.columns.items() if r == "text" or str(c) in opened.table.column_names}
    texts, labels = task.rows(opened.table, column_names(present, opened.table))
    return Rows(texts, labels, list(range(len(texts))))


def _require_known(rows: Rows, labels: list[str]) -> None:
    from studio.core.reasons import Failure

    unknown = sorted(set(rows.labels) - set(labels))
    if unknown:
        raise Failure("unknown-labels", "data", split="The file", labels=", ".join(unknown[:5]) or "(empty)")


def measure(
    run_dir: RunDir,
    spec: TrainSpec,
    model: Any,
    tokenizer: Any,
    rows: Rows,
    labels: list[str],
    split: str,
    report: Reporter,
    dataset: Any = None,
) -> dict[str, float]:
    """Return the metrics of `rows` and write `evaluation-<split>.json` and `predictions-<split>.parquet` to the run."""
    task = plugin("tasks", spec.task)
    report.say(ev.Phase(name="evaluating"))
    if dataset is None:
        dataset, _ = tokenise(rows, labels, tokenizer, max_length_of(spec, model))
    logits = predict_logits(model, tokenizer, dataset, report.progress("evaluating"))
    gold = np.array([labels.index(label) for label in rows.labels])
    log_probabilities = log_softmax(logits)
    losses = -log_probabilities[np.arange(len(gold)), gold]
    metrics = {"loss": float(losses.mean())} | task.metrics(logits, gold)
    blocks = [block.model_dump(mode="json") for block in task.report(logits, gold, labels)]
    write_json(run_dir.path / f"evaluation-{split}.json", {"metrics": metrics, "n_rows": len(rows), "blocks": blocks})
    path = run_dir.path / f"predictions-{split}.parquet"
    write_predictions(path, rows, labels, np.exp(log_probabilities), losses)
    report.say(ev.Artefact(name=f"evaluation-{split}", path=f"evaluation-{split}.json"))
    report.say(ev.Artefact(name=f"predictions-{split}", path=path.name))
    return metrics


def max_length_of(spec: TrainSpec, model: Any) -> int:
    """Return the length in tokens that texts are cut to: the setting, or less if the model takes less."""
    most = getattr(model.config, "max_position_embeddings", None) or spec.training.max_length
    return min(spec.training.max_length, most)


def predict_logits(model: Any, tokenizer: Any, dataset: Any, progress: Any = None) -> np.ndarray:
    """Return float32 logits [rows, labels] in the rows' order, computed in float32 in batches of like length."""
    import torch
    from transformers import DataCollatorWithPadding

    collate = DataCollatorWithPadding(tokenizer)
    names = [name for name in dataset.column_names if name in tokenizer.model_input_names]
    inputs = dataset.select_columns(names)
    order = np.argsort(dataset["length"], kind="stable")
    device = next(model.parameters()).device
    result: np.ndarray | None = None
    with torch.inference_mode():
        for start in range(0, len(order), BATCH_SIZE):
            chosen = order[start : start + BATCH_SIZE]
            batch = collate([inputs[int(i)] for i in chosen]).to(device)
            logits = model(**batch).logits.float().cpu().numpy()
            if result is None:
                result = np.empty((len(order), logits.shape[-1]), np.float32)
            result[chosen] = logits
            if progress:
                progress(start + len(chosen), len(order))
    return result if result is not None else np.empty((0, model.config.num_labels), np.float32)


def log_softmax(logits: np.ndarray) -> np.ndarray:
    """Return log probabilities [rows, labels] in float64."""
    shifted = logits.astype(np.float64) - logits.max(-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))


def write_predictions(
    path: Path, rows: Rows, labels: list[str], probabilities: np.ndarray, losses: np.ndarray | None
) -> None:
    """Write one line a row: row (place in the file), text, label, predicted, probability, loss, and p(<label>)."""
    import pyarrow as pa

    best = probabilities.argmax(-1)
    columns: dict[str, Any] = {
        "row": rows.indices,
        "text": rows.texts,
        "label": rows.labels,
        "predicted": [labels[i] for i in best],
        "probability": probabilities[np.arange(len(best)), best],
    }
    if losses is None:
        del columns["label"], columns["row"]
    else:
        columns["loss"] = losses
    columns |= {f"p({label})": probabilities[:, i] for i, label in enumerate(labels)}
    write_table(pa.table(columns), path)


def write_table(table: Any, path: Path) -> None:
    """Write a table as CSV, JSON lines or Parquet, by the file's ending, aside and then renamed."""
    import json
    import os

    import pyarrow.csv
    import pyarrow.parquet

    partial = path.with_name(f".{path.name}.partial")
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".csv":
        pyarrow.csv.write_csv(table, partial)
    elif path.suffix == ".jsonl":
        lines = (json.dumps(row, ensure_ascii=False) for row in table.to_pylist())
        partial.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    else:
        pyarrow.parquet.write_table(table, partial)
    os.replace(partial, path)
