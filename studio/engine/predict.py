"""Labels the rows of a file with a trained run."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from studio.core import events as ev
from studio.core.disk import is_full, no_room
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
    if out.suffix.lower() not in (".csv", ".jsonl", ".parquet"):
        raise Failure("out-format", "out", path=spec.out, formats=".csv, .jsonl, .parquet")
    if out.resolve() == Path(spec.data.path).resolve():
        raise Failure("out-is-source", "out", path=spec.out)
    with _writing(out):  # before the work, so that an hour of it is not for nothing
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=out.parent):
            pass
        if out.is_dir():
            raise IsADirectoryError("It is a folder.")
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
    with _writing(out):
        write_columns(dict(zip(names, [*table.columns, *answers.columns.values()], strict=True)), out)
    report.say(ev.Artefact(name="predictions", path=str(out)))
    return ev.Finished(result={"run": str(trained.run.path), "n_rows": len(rows), "file": str(out)})


@contextmanager
def _writing(out: Path) -> Iterator[None]:
    """Turn what keeps a file from being written into Failure "no-room" or "out-unwritable" at the field of its path."""
    try:
        yield
    except OSError as error:
        if is_full(error):
            raise no_room(out.parent, "out") from error
        raise Failure("out-unwritable", "out", path=str(out), message=error.strerror or str(error)) from error
