"""Measures a trained model on rows: metrics, blocks to look at, and one prediction a row."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from studio.core import events as ev
from studio.core.files import write_json
from studio.core.reasons import Failure
from studio.core.registry import PluginConfig, plugin
from studio.core.rundir import RunDir
from studio.core.spec import EvaluateSpec
from studio.engine import device
from studio.engine.data import Rows, workspace_of
from studio.engine.reporter import Reporter
from studio.engine.tokens import tokenise
from studio.engine.trained import open_trained

MOST_ROWS, MOST_TOKENS = 256, 8192  # in one batch


def run(run_dir: RunDir, spec: EvaluateSpec, report: Reporter) -> ev.Event:
    """Measure a trained run on a split of its data or on a file; return the terminal event."""
    trained = open_trained(workspace_of(run_dir.path), spec.run)
    report.phase("data")
    if spec.data is None:
        rows, name = trained.parts()[spec.split], spec.split
        if not len(rows):
            raise Failure("split-empty", "split", split=name)
    else:
        rows, name = trained.rows_of(spec.data, report.warn, gold=True), Path(spec.data.path).name
    report.phase("model")
    model, tokenizer = trained.load()
    dataset, _ = tokenise(rows, trained.labels, tokenizer, trained.max_length, trained.workspace, report.check)
    found = measure(run_dir, trained.spec.task, model, tokenizer, rows, dataset, spec.split, report, trained.precision)
    result = {"run": str(trained.run.path), "data": name, "n_rows": len(rows), "metrics": found.metrics}
    return ev.Finished(result=result | {"intervals": found.intervals})


@dataclass(frozen=True)
class Measured:
    """Metrics by name, and the 95 % interval [low, high] of each."""

    metrics: dict[str, float]
    intervals: dict[str, list[float]]


def measure(
    run_dir: RunDir,
    task_config: PluginConfig,
    model: Any,
    tokenizer: Any,
    rows: Rows,
    dataset: Any,
    split: str,
    report: Reporter,
    precision: str,
) -> Measured:
    """Return how good a model is on rows; write `evaluation-<split>.json` and `predictions-<split>.parquet`.

    dataset: the rows, tokenised. All rows have a label that the model knows. precision: that of the training.
    """  # fmt: skip
    task = plugin("tasks", task_config)
    labels = [model.config.id2label[i] for i in range(model.config.num_labels)]
    report.say(ev.Phase(name="evaluating"))
    logits = predict_logits(model, tokenizer, dataset, precision, report.progress("evaluating"))
    gold = np.array([labels.index(label) for label in rows.labels])
    log_probabilities = log_softmax(logits)
    losses = -log_probabilities[np.arange(len(gold)), gold]

    def metrics_of(chosen: Any) -> dict[str, float]:
        return {"loss": float(losses[chosen].mean())} | task.metrics(logits[chosen], gold[chosen])

    found = Measured(metrics_of(slice(None)), bootstrap(metrics_of, len(gold), report.check))
    blocks = [block.model_dump(mode="json") for block in task.report(logits, gold, labels)]
    said = {"metrics": found.metrics, "intervals": found.intervals, "n_rows": len(rows), "blocks": blocks}
    write_json(run_dir.path / f"evaluation-{split}.json", said)
    path = run_dir.path / f"predictions-{split}.parquet"
    write_predictions(path, rows, labels, np.exp(log_probabilities), losses)
    report.say(ev.Artefact(name=f"evaluation-{split}", path=f"evaluation-{split}.json"))
    report.say(ev.Artefact(name=f"predictions-{split}", path=path.name))
    return found


def bootstrap(metrics_of: Any, n_rows: int, check: Any, n_resamples: int = 300) -> dict[str, list[float]]:
    """Return the 95 % percentile interval of each metric over resampled rows (Efron 1979), the same at each call.

    metrics_of: from row indices [n_rows] to metrics by name. check: called between resamples, may raise.
    """
    rng = np.random.default_rng(0)
    draws: list[dict[str, float]] = []
    for _ in range(n_resamples):
        check()
        draws.append(metrics_of(rng.integers(0, n_rows, n_rows)))
    return {name: np.percentile([draw[name] for draw in draws], [2.5, 97.5]).tolist() for name in draws[0]}


def predict_logits(model: Any, tokenizer: Any, dataset: Any, precision: str, progress: Any = None) -> np.ndarray:
    """Return float32 logits [rows, labels] in the rows' order, computed in `precision` in batches of like length."""
    import torch
    from transformers import DataCollatorWithPadding

    collate = DataCollatorWithPadding(tokenizer, pad_to_multiple_of=8)
    names = [name for name in dataset.column_names if name in tokenizer.model_input_names]
    inputs = dataset.select_columns(names)
    lengths = np.array(dataset["length"])
    order = np.argsort(lengths, kind="stable")
    place = next(model.parameters()).device
    result: np.ndarray | None = None
    start = 0
    with torch.inference_mode(), device.autocast(precision):
        while start < len(order):
            # Sorted, so that the last of a batch is its longest.
            longest = lengths[order[min(start + MOST_ROWS, len(order)) - 1]]
            chosen = order[start : start + max(1, min(MOST_ROWS, MOST_TOKENS // int(longest)))]
            batch = collate([inputs[int(i)] for i in chosen]).to(place)
            logits = model(**batch).logits.float().cpu().numpy()
            if result is None:
                result = np.empty((len(order), logits.shape[-1]), np.float32)
            result[chosen] = logits
            start += len(chosen)
            if progress:
                progress(start, len(order))
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
        "text": rows.texts.values(),
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
