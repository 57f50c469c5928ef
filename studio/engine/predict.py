"""Labels the rows of a file with a trained run."""

from pathlib import Path

import numpy as np

from studio.core import events as ev
from studio.core.reasons import Failure
from studio.core.rundir import RunDir, find_run
from studio.core.spec import PredictSpec
from studio.engine import models
from studio.engine.data import tokenise, workspace_of
from studio.engine.evaluate import log_softmax, max_length_of, predict_logits, rows_of_file, write_predictions
from studio.engine.reporter import Reporter


def run(run_dir: RunDir, spec: PredictSpec, report: Reporter) -> ev.Event:
    """Write the predictions for all rows of a file; return the terminal event."""
    out = Path(spec.out)
    if out.suffix not in (".csv", ".jsonl", ".parquet"):
        raise Failure("data-format", "out", path=spec.out, formats=".csv, .jsonl, .parquet")
    workspace = workspace_of(run_dir.path)
    trained = find_run(workspace, spec.run)
    train_spec, labels = trained.spec(), models.trained_labels(trained)
    report.phase("data")
    rows = rows_of_file(spec.data, train_spec, workspace)
    report.phase("model")
    model, tokenizer = models.load_trained(trained)
    report.phase("predicting")
    dataset, _ = tokenise(rows, labels, tokenizer, max_length_of(train_spec, model))
    logits = predict_logits(model, tokenizer, dataset, report.progress("predicting"))
    write_predictions(out, rows, labels, np.exp(log_softmax(logits)), None)
    report.say(ev.Artefact(name="predictions", path=str(out)))
    return ev.Finished(result={"run": str(trained.path), "n_rows": len(rows), "file": str(out)})
