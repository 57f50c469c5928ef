"""What has been measured of a trained run, read from the files of the runs."""

import contextlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from studio.core.blocks import AnyBlock, Block, Tiles
from studio.core.files import read_json
from studio.core.reasons import Failure
from studio.core.rundir import RunDir, find_run, list_runs, readable_id

SPLITS = ("test", "validation", "train")
BLOCKS: TypeAdapter[list[Block]] = TypeAdapter(list[AnyBlock])


@dataclass(frozen=True)
class Measured:
    """Rows that a trained run was measured on: a split, or the file `data`; its files lie in `directory`.

    checkpoint: the step of the one that was measured, None for the model that was kept.
    """

    split: str
    data: str
    directory: Path
    checkpoint: int | None = None

    @property
    def key(self) -> tuple[str, str]:
        return ("", self.data) if self.data else (self.split, "")


@dataclass(frozen=True)
class Evaluation:
    """One evaluation: metrics by name, half the width of their 95 % intervals, blocks without the tiles, predictions.

    predictions: a pyarrow.Table, or None.
    """

    measured: Measured
    n_rows: int
    metrics: dict[str, float]
    blocks: list[Block] = field(default_factory=list)
    predictions: Any = None
    half_widths: dict[str, float] = field(default_factory=dict)


def measured_parts(workspace: Path, run_id: str) -> list[Measured]:
    """Return what a trained run was measured on: its own splits first, then files, the newest first."""
    trained = RunDir(workspace / "runs" / run_id)
    found: dict[tuple[str, str], Measured] = {}
    for run in list_runs(workspace):
        if "-evaluate-" not in run.id:
            continue
        spec = read_json(run.spec_file) or {}
        split = spec.get("split", "test")
        if not (run.path / f"evaluation-{split}.json").is_file() or not _is_of(workspace, spec.get("run"), trained):
            continue
        measured = Measured(split, (spec.get("data") or {}).get("path", ""), run.path, spec.get("checkpoint"))
        found.setdefault(measured.key, measured)
    for split in SPLITS:
        if (trained.path / f"evaluation-{split}.json").is_file():
            found.setdefault((split, ""), Measured(split, "", trained.path))
    own = [found.pop((split, "")) for split in SPLITS if (split, "") in found]
    return own + list(found.values())


def others_of(workspace: Path, run_id: str) -> list[tuple[str, str]]:
    """Return name and id of the other runs that learned the same task as a run and have a model, the newest first."""
    task = (read_json(RunDir(workspace / "runs" / run_id).spec_file) or {}).get("task")
    found = []
    for run in list_runs(workspace):
        is_other = run.id != run_id and "-train-" in run.id and (run.model_dir / "tokenizer_config.json").is_file()
        if is_other and (read_json(run.spec_file) or {}).get("task") == task:
            found.append((run.name() or readable_id(run.id), run.id))
    return found


def read_evaluation(measured: Measured) -> Evaluation:
    """Return an evaluation from its files. Raises Failure "data-unreadable"."""
    path = measured.directory / f"evaluation-{measured.split}.json"
    said = read_json(path)
    if not isinstance(said, dict):
        raise Failure("data-unreadable", path=str(path), message="It is not complete; measure again.")
    blocks = [block for block in BLOCKS.validate_python(said.get("blocks", [])) if not isinstance(block, Tiles)]
    return Evaluation(
        measured, said.get("n_rows", 0), said.get("metrics", {}), blocks,
        read_predictions(measured.directory / f"predictions-{measured.split}.parquet"),
        {name: (high - low) / 2 for name, (low, high) in said.get("intervals", {}).items()},
    )  # fmt: skip


def read_predictions(path: Path) -> Any:
    """Return the predictions as a pyarrow.Table, highest loss first; None where there is no such file."""
    import pyarrow.parquet

    with contextlib.suppress(FileNotFoundError):
        table = pyarrow.parquet.read_table(path)
        return table.sort_by([("loss", "descending")]) if "loss" in table.column_names else table
    return None


def example_rows(predictions: Any, most: int = 200) -> list[dict[str, str]]:
    """Return rows of predictions, with texts by column and `label`, spread evenly from the hardest to the easiest."""
    if predictions is None or not predictions.num_rows:
        return []
    stride = max(1, predictions.num_rows // most)
    names = [name for name in predictions.column_names if "string" in str(predictions[name].type)]
    return predictions.select(names).take(list(range(0, predictions.num_rows, stride))).to_pylist()


def _is_of(workspace: Path, name: str | None, trained: RunDir) -> bool:
    try:
        return bool(name) and find_run(workspace, name).id == trained.id
    except Failure:
        return False
