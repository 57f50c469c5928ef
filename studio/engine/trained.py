"""A run that has been trained: its model as it is, as it was before, and merged, and the rows it was made from."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from studio.core.anatomy import describe_model
from studio.core.files import read_json
from studio.core.reasons import Failure, Problem
from studio.core.registry import PluginConfig, parse_config, plugin
from studio.core.rundir import RunDir, find_run
from studio.core.spec import TrainSpec
from studio.engine import models
from studio.engine.data import read_file, read_parts, workspace_of
from studio.tasks.base import Rows, task_of


@dataclass(frozen=True)
class Trained:
    """What a finished or stopped training left.

    max_length: in tokens. hashes: of its files, by path. precision: `bf16`, `fp16` or `fp32`, what it was computed in.
    task_config: the settings of its task, with what the training found. checkpoint: the folder of one, in place of
    the model that was kept.
    """

    run: RunDir
    spec: TrainSpec
    labels: list[str]
    max_length: int
    hashes: dict[str, str]
    precision: str
    task_config: PluginConfig
    checkpoint: Path | None = None

    @property
    def folder(self) -> Path:
        return self.checkpoint or self.run.model_dir

    @property
    def task(self) -> Any:
        return task_of(self.task_config)

    @property
    def workspace(self) -> Path:
        return workspace_of(self.run.path)

    @property
    def max_positions(self) -> int:
        """How many tokens the model has places for."""
        # An adapter lies in a folder without a config; its base has one.
        own = self.run.model_dir
        folder = own if (own / "config.json").is_file() else self.spec.model
        return describe_model(str(folder)).max_positions or 512

    def load(self) -> tuple[Any, Any]:
        """Return the model (with its adapter, if it has one) and the tokenizer, on the processor, in eval mode."""
        import transformers

        tokenizer = models.load_tokenizer(self.folder)
        if (self.folder / "adapter_config.json").is_file():
            from peft import PeftModel

            model = PeftModel.from_pretrained(self.load_base(tokenizer), self.folder)
        elif self.checkpoint is not None:
            from safetensors.torch import load_file

            # Layers that were frozen, and computed once, are not in it: they are the base's.
            model = self.load_base(tokenizer)
            for file in sorted(self.checkpoint.glob("model*.safetensors")):
                model.load_state_dict(load_file(file), strict=False)
        else:
            auto = getattr(transformers, self.task.auto_class)
            model = auto.from_pretrained(self.run.model_dir, use_safetensors=True, dtype="float32", **models.SAFE)
            model = self.task.wrap(model, self.run.model_dir)
        return model.eval(), tokenizer

    def load_base(self, tokenizer: Any) -> Any:
        """Return the model as it was before the training, with the same new head."""
        model = models.load_base(self.spec, self.labels, tokenizer).eval()
        started = read_json(self.run.resolved_file)["picked"].get("head_start")
        if started:
            models.start_head(model, *started["value"])
        return model

    def merged(self) -> tuple[Any, Any]:
        """Return the model as a plain transformers model, and the tokenizer."""
        model, tokenizer = self.load()
        return plugin("methods", self.spec.method).merge(model).eval(), tokenizer

    def parts(self) -> dict[str, Rows]:
        """Return the rows of train, validation and test. Raises Failure "data-changed" if a file is another now."""
        parts, _, hashes = read_parts(self.spec, self.workspace)
        require_same(self.hashes, hashes)
        return parts

    def rows_of(self, source: Any, warn: Callable[[Problem], None], gold: bool) -> Rows:
        """Return the rows of a file that has the columns of the run's spec.

        gold: only rows with all that the task needs, none with an unknown label; else all rows, with or without gold.
        Raises Failure "column-missing", "split-empty", "unknown-labels".
        """
        rows, problems = read_file(source, self.spec, self.workspace, gold)
        for problem in problems:
            warn(problem)
        name = Path(source.path).name
        if not len(rows):
            raise Failure("split-empty", "data", split=name)
        unknown = self.task.unknown(rows.gold, self.labels) if gold else []
        if unknown:
            raise Failure("unknown-labels", "data", split=name, labels=", ".join(unknown[:5]))
        return rows


def open_trained(workspace: Path, name: str, field: str = "run", checkpoint: int | None = None) -> Trained:
    """Return the trained run that `name` means, as it ended or at a checkpoint's step.

    Raises Failure "run-missing", "run-not-finished" at `field`, or "checkpoint-missing".
    """
    run = find_run(workspace, name)
    resolved = read_json(run.resolved_file) or {}
    folder = None
    if checkpoint is not None:
        known = run.checkpoints()
        folder = known.get(checkpoint)
        if folder is None:
            steps = ", ".join(map(str, known)) or "none"
            raise Failure("checkpoint-missing", "checkpoint", step=checkpoint, run=run.id, steps=steps)
    if "labels" not in resolved or not folder and not (run.model_dir / "tokenizer_config.json").is_file():
        raise Failure("run-not-finished", field, run=run.id)
    precision = resolved["picked"]["precision"]["value"]
    spec = run.spec()
    task = parse_config("tasks", resolved.get("task") or spec.task)
    labels, most, hashes = resolved["labels"], resolved["max_length"], resolved["hashes"]
    return Trained(run, spec, labels, most, hashes, precision, task, folder)


def require_same(before: dict[str, str], now: dict[str, str]) -> None:
    """Raise Failure "data-changed" for the first file whose content is not what it was."""
    for path, content in before.items():
        if now.get(path, content) != content:
            raise Failure("data-changed", "data.train", path=path)
