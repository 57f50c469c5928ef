"""Files as finished workers leave them, for the pages that show what came out of a run."""

from pathlib import Path

import pyarrow as pa
from pyarrow import parquet

from studio.core import events as ev
from studio.core.files import write_json
from studio.core.rundir import EventWriter, RunDir, create_run
from studio.core.spec import ExportSpec
from studio.tasks.judging import judge_one

LABELS = ["bad", "good"]
# label, predicted, loss: out of order, three of the eight wrong.
ROWS = [
    ("bad", "bad", 0.10), ("good", "bad", 2.50), ("good", "good", 0.05), ("bad", "good", 1.75),
    ("bad", "bad", 0.40), ("good", "good", 0.60), ("good", "bad", 0.90), ("bad", "bad", 0.01),
]  # fmt: skip


def add_model(run: RunDir) -> None:
    """Make a recorded training look as if its model could be loaded."""
    write_json(run.model_dir / "tokenizer_config.json", {})
    write_json(run.resolved_file, {"labels": LABELS})


def add_evaluation(run: RunDir, split: str = "test") -> None:
    """Write the evaluation of ROWS into a run."""
    import numpy as np

    gold = np.array([LABELS.index(label) for label, _, _ in ROWS])
    logits = np.array([[1.0, 0.0] if predicted == "bad" else [0.0, 1.0] for _, predicted, _ in ROWS])
    judged = judge_one(logits, gold, LABELS)
    blocks = [block.model_dump(mode="json") for block in judged.blocks()]
    metrics = judged.measured() | {"loss": 0.79}
    write_json(run.path / f"evaluation-{split}.json", {"metrics": metrics, "n_rows": len(ROWS), "blocks": blocks})
    table = pa.table(
        {
            "row": list(range(len(ROWS))),
            "text": [f"film {i}" for i in range(len(ROWS))],
            "label": [label for label, _, _ in ROWS],
            "predicted": [predicted for _, predicted, _ in ROWS],
            "probability": [0.75] * len(ROWS),
            "loss": [loss for _, _, loss in ROWS],
            "right": [label == predicted for label, predicted, _ in ROWS],
            "p(bad)": [0.25] * len(ROWS),
            "p(good)": [0.75] * len(ROWS),
        }
    )
    parquet.write_table(table, run.path / f"predictions-{split}.parquet")


VERDICT = {
    "format": "onnx-int8", "verified": True, "n_threads": 2, "size_bytes": 23_400_000, "labels_equal": True,
    "tokenizer_equal": True, "n_rows": 200, "metric_name": "accuracy", "metric": 0.91, "reference_metric": 0.915,
    "prediction_agreement": 0.985, "rms_logit_difference": 0.08, "max_logit_difference": 0.4,
    "shapes_checked": [[1, 1], [8, 1], [1, 17], [8, 17], [1, 512], [8, 512], [4, 512]], "latency_ms": 40.0,
    "reference_latency_ms": 60.0, "latency_ms_single": 2.0, "reference_latency_ms_single": 5.0,
    "reference_size_bytes": 90_000_000, "problems": [],
}  # fmt: skip


def record_export(workspace: Path, trained: RunDir, end: ev.Event, out: Path) -> RunDir:
    """Write an export run to int8 that ended with `end`."""
    run = create_run(workspace, ExportSpec(run=str(trained.path), format="onnx-int8", out=str(out)))
    writer = EventWriter(run.events_file)
    writer.write([ev.Started(pid=1, version="0", time=1000.0), ev.Phase(name="verifying"), end])
    writer.close()
    return run
