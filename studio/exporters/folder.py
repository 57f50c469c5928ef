"""Builds an export: the model's files, the tokenizer, the label names, the card, and the proof that it is right."""

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from studio.core.disk import is_disk_full, is_full, no_room
from studio.core.reasons import Failure
from studio.core.registry import PluginConfig, plugin
from studio.exporters.card import Origin, model_card
from studio.exporters.reference import make_reference
from studio.exporters.verification import verify_in_fresh_process
from studio.tasks.base import Rows

LEAST_ROWS = 200  # a verdict on fewer rows is worth little


@dataclass(frozen=True)
class Measured:
    """What an export is measured on.

    features: those of the rows by column, as `Task.encode` makes them. max_length: tokens that a feature may have.
    """

    task: Any
    rows: Rows
    features: dict[str, list[Any]]
    labels: Sequence[str]
    max_length: int


def export_model(
    model: Any,
    tokenizer: Any,
    config: PluginConfig,
    directory: Path,
    measured: Measured,
    origin: Origin,
    progress: Callable[[str], Callable[[float, float], None]],
) -> dict[str, Any]:
    """Write `model` to a new folder in the format of `config`, verified; return `directory` and `verify`'s figures.

    model: plain transformers model in float32 and eval mode on the processor. progress: gets a phase (`exporting`,
    `verifying`), returns a function of done and total; what that raises ends the export. The folder takes its name
    only when it is verified. Raises Failure "target-exists", "format-unsupported", "export-unverified".
    """
    exporter = plugin("exporters", config)
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise Failure("target-exists", "out", path=str(directory))
    exporting = progress("exporting")
    with _work_folder(directory) as work:
        trained, built, reference = work / "trained", work / "export", work / "reference.npz"
        model.save_pretrained(trained)
        measured.task.finish_folder(model, trained)
        made = make_reference(
            model, tokenizer, trained, measured.task, measured.rows, measured.features, measured.labels,
            measured.max_length, lambda done, total: exporting(done, 3 * total),
        )  # fmt: skip
        made.save(reference)
        built.mkdir()
        _write_model(
            exporter, model, tokenizer, built, config, made.example(),
            lambda done, total: exporting(total + 2 * done, 3 * total),
        )  # fmt: skip
        measured.task.finish_folder(model, built)
        verdict = verify_in_fresh_process(built, reference, exporter.id, progress("verifying"))
        if not verdict["verified"]:
            raise Failure("export-unverified", "format", problems=" ".join(verdict["problems"]))
        verdict["reference_size_bytes"] = sum(path.stat().st_size for path in trained.glob("*.safetensors"))
        (built / "verification.json").write_text(json.dumps(verdict, indent=1) + "\n", encoding="utf-8")
        (built / "README.md").write_text(
            model_card(origin, exporter, measured.task, measured.labels, verdict), encoding="utf-8"
        )
        if directory.is_dir():
            directory.rmdir()
        os.replace(built, directory)
    return {"directory": str(directory)} | verdict


def _write_model(
    exporter: Any, model: Any, tokenizer: Any, built: Path, config: PluginConfig, example: Any, progress: Callable
) -> None:
    stops: list[BaseException] = []

    def report(done: float, total: float) -> None:
        try:
            progress(done, total)
        except BaseException as stop:
            stops.append(stop)
            raise

    model.config.save_pretrained(built)
    tokenizer.save_pretrained(built)
    try:
        exporter.export(model, tokenizer, built, config, example, report)
    except Exception as error:
        if error in stops or isinstance(error, OSError | MemoryError):
            raise
        message = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
        raise Failure("format-unsupported", "format", format=exporter.label, message=message) from error


@contextmanager
def _work_folder(directory: Path):
    """Yield a folder beside `directory`, so that a rename can move things there; it is gone afterwards."""
    directory.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=f".{directory.name}.", suffix=".partial", dir=directory.parent))
    try:
        yield work
    except Exception as error:
        # Libraries say so in errors of their own; asked before what they wrote makes room.
        if is_full(error) or is_disk_full(work):
            raise no_room(directory.parent, "out") from error
        raise
    finally:
        shutil.rmtree(work, ignore_errors=True)
