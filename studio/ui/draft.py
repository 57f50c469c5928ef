"""What the person is preparing: the parts of a spec before it is one, and what stands against starting it."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from studio.core.anatomy import ModelInfo, Tensor, can_be
from studio.core.reasons import Failure, Problem
from studio.core.registry import PluginConfig, parse_config, plugin
from studio.core.reports import missing_library
from studio.core.spec import TrainingSpec, TrainSpec, dump_spec, parse_spec, training_defaults
from studio.tasks.base import missing_columns, task_of

# Findings that a person should know of but that don't keep a training from starting.
HARMLESS = ("some-empty-texts", "some-empty-labels", "rare-class", "duplicates", "several-labels",
            "some-tags-uneven", "spans-lost", "spans-in-words", "answers-nowhere")  # fmt: skip
PARTS = ("data", "columns", "split", "model", "method", "training")


@dataclass
class Draft:
    """The parts of the next run; `spec()` puts them together.

    table: the opened rows (sources.tables.OpenedTable) or None. table_problem: why the last file was none; an earlier
    table stays. findings: what the task says about the rows.
    labels: those that they have, two while unknown.
    training: values by field as typed; they may be wrong, and `problems` then says so.
    """

    source: PluginConfig | None = None
    table: Any = None
    table_problem: Problem | None = None
    columns: dict[str, str] = field(default_factory=dict)
    findings: list[Problem] = field(default_factory=list)
    labels: list[str] = field(default_factory=lambda: ["", ""])
    validation: Any = 0.1
    test: Any = 0.1
    split_seed: int = 42
    task: PluginConfig = field(default_factory=lambda: parse_config("tasks", "text-classification"))
    model: str = "starter"
    model_info: ModelInfo | None = None
    model_problem: Problem | None = None
    method: dict[str, Any] = field(default_factory=lambda: {"kind": "full"})
    training: dict[str, Any] = field(default_factory=dict)
    name: str = ""

    def problems(self) -> list[Problem]:
        """Return everything that keeps this draft from starting, each at its field of the spec."""
        found = self._data_problems() + self._split_problems() + self._model_problems()
        return found + self._field_problems("method") + self._field_problems("training")

    def spec(self) -> TrainSpec:
        """Return the spec of this draft. Raises Failure with the first problem."""
        problems = self.problems()
        if problems:
            raise Failure(problems[0].reason, problems[0].field, **problems[0].facts)
        return parse_spec(self.as_json())

    def as_json(self) -> dict[str, Any]:
        """Return the draft as a spec file holds it, complete or not."""
        headless = getattr(self.source, "header", None) is False
        return {
            "version": 1,
            "kind": "train",
            "name": self.name,
            "data": {
                "train": self.source.model_dump(mode="json") if self.source else "",
                "validation": _dump(self.validation),
                "test": _dump(self.test),
                "seed": self.split_seed,
            },
            "columns": {role: int(c) if headless and c.isdigit() else c for role, c in self.columns.items()},
            "task": self.task.model_dump(mode="json"),
            "model": self.model,
            "method": self.method,
            "training": self.training,
        }

    def take(self, spec: TrainSpec) -> None:
        """Become what `spec` says; the table and the model are not read again here."""
        value = dump_spec(spec)
        self.source, self.table, self.table_problem, self.findings = spec.data.train, None, None, []
        self.columns = {role: str(name) for role, name in spec.columns.items()}
        self.validation, self.test, self.split_seed = spec.data.validation, spec.data.test, spec.data.seed
        self.task, self.model, self.name = spec.task, spec.model, spec.name
        self.model_info, self.model_problem = None, None
        self.method, self.training = value["method"], value["training"]

    def trainable(self) -> list[tuple[Tensor, int]]:
        """Return the model's tensors with its new head, each with how many of its parameters the method trains."""
        if self.model_info is None:
            return []
        tensors = task_of(self.task).tensors(self.model_info, self.labels)
        try:
            config = parse_config("methods", self.method)
        except (ValidationError, ValueError):
            return [(tensor, 0) for tensor in tensors]
        return plugin("methods", config).n_trainable(tensors, config)

    def _data_problems(self) -> list[Problem]:
        if self.table is None:
            return [self.table_problem or Problem("data-none", {}, "data.train")]
        found = missing_columns(self.table.table, self.columns, task_of(self.task).roles)
        return found or [p for p in self.findings if p.reason not in HARMLESS]

    def _split_problems(self) -> list[Problem]:
        shares = [p for p in (self.validation, self.test) if isinstance(p, int | float)]
        if sum(shares) >= 1:
            return [Problem("split-empty", {"split": "train"}, "data.validation")]
        n_rows = self.table.table.num_rows if self.table is not None else 0
        names = {"validation": self.validation, "test": self.test}
        return [
            Problem("split-empty", {"split": name}, f"data.{name}")
            for name, part in names.items()
            if n_rows and isinstance(part, int | float) and 0 < part * n_rows < 1
        ]

    def _model_problems(self) -> list[Problem]:
        if self.model_problem is not None:
            return [self.model_problem]
        if not self.model:
            return [Problem("model-none", {}, "model")]
        if self.model_info is None:
            return []
        task = task_of(self.task)
        if not can_be(self.model_info, task.auto_class):
            facts = {"model_type": self.model_info.model_type, "task": task.label}
            return [Problem("model-unsupported", facts, "model")]
        try:
            config = parse_config("methods", self.method)
        except (ValidationError, ValueError):
            return []  # said at the field, below
        return plugin("methods", config).check(self.model_info, config)

    def _field_problems(self, part: str) -> list[Problem]:
        try:
            if part == "method":
                parse_config("methods", self.method)
            else:
                training = TrainingSpec.model_validate(training_defaults(self.task) | self.training)
                problem = missing_library(training.report_to)
                return task_of(self.task).check_training(training) + ([problem] if problem is not None else [])
        except ValidationError as error:
            messages = field_errors(error).items()
            return [Problem("field-invalid", {"message": text}, f"{part}.{path}") for path, text in messages]
        return []


def field_errors(error: ValidationError) -> dict[str, str]:
    """Return what is wrong with the fields of one pydantic class as sentences by field name."""
    found: dict[str, str] = {}
    for item in error.errors():
        message = item["msg"].removeprefix("Value error, ").removeprefix("Input ")
        found.setdefault(str(item["loc"][0]) if item["loc"] else "", message[:1].upper() + message[1:] + ".")
    return found


def field_messages(problems: Iterable[Problem], part: str) -> dict[str, Problem]:
    """Return the problems of one part of the spec by field name: `{"learning_rate": Problem}`."""
    return {p.field.removeprefix(f"{part}."): p for p in problems if p.field.startswith(f"{part}.")}


def _dump(part: Any) -> Any:
    return part.model_dump(mode="json") if isinstance(part, PluginConfig) else part
