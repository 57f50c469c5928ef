"""Labels the rows of a file with a trained run."""

from pathlib import Path

from studio.core import events as ev
from studio.core.reasons import Failure
from studio.core.rundir import RunDir
from studio.core.spec import PredictSpec
from studio.engine.data import open_columns, workspace_of
from studio.engine.evaluate import predict, write_columns
from studio.engine.reporter import Reporter
from studio.engine.tokens import tokenise
from studio.engine.trained import open_trained
from studio.sources.tables import unique_names


def run(run_dir: RunDir, spec: PredictSpec, report: Reporter) -> ev.Event:
    """Write all rows of a file, with all their columns, and what the model says of them; return the terminal event."""
    out = Path(spec.out)
    if out.suffix not in (".csv", ".jsonl", ".parquet"):
        raise Failure("data-format", "out", path=spec.out, formats=".csv, .jsonl, .parquet")
    if out == Path(spec.data.path):
        raise Failure("out-is-source", "out", path=spec.out)
    trained = open_trained(workspace_of(run_dir.path), spec.run)
    report.phase("data")
    rows = trained.rows_of(spec.data, report.warn, gold=False)
    report.phase("model")
    model, tokenizer = trained.load()
    report.phase("predicting")
    task, labels = trained.task, trained.labels
    dataset, _ = tokenise(task, rows, labels, tokenizer, trained.max_length, trained.workspace, report.check)
    outputs = predict(task, model, tokenizer, dataset, trained.precision, report.progress("predicting"))
    answers = task.decode(task.answers(outputs, dataset, rows, labels), tokenizer)
    table = open_columns(spec.data, trained.spec.columns, trained.workspace).table
    names = unique_names([*table.column_names, *answers.columns])
    write_columns(dict(zip(names, [*table.columns, *answers.columns.values()], strict=True)), out)
    report.say(ev.Artefact(name="predictions", path=str(out)))
    return ev.Finished(result={"run": str(trained.run.path), "n_rows": len(rows), "file": str(out)})
