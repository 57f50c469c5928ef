"""What the user asks for: the same file in the window and on the command line.

A spec is frozen and refuses unknown fields; `read_spec` upgrades older versions and makes relative paths absolute.
Titles, help, units and bounds stand at the field; the forms of the window are drawn from them.
"""

import json
import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    TypeAdapter,
    ValidationError,
    ValidationInfo,
    model_serializer,
)

from studio.core.reasons import Failure
from studio.core.registry import PluginConfig, family, parse_config, plugin_field

VERSION = 1
Split = Literal["train", "validation", "test"]


def setting(
    default: Any, title: str, description: str = "", unit: str = "", advanced: bool = False, group: str = "", **bounds
) -> Any:
    """Return a pydantic field that carries what its form needs: title, help, unit, group, `advanced`, bounds."""
    extra = {"unit": unit, "advanced": advanced, "group": group}
    return Field(default, title=title, description=description, json_schema_extra=extra, **bounds)


class Model(BaseModel):
    """Base of all parts of a spec: frozen, no unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def source_of(path: str) -> Any | None:
    """Return the plug-in that reads a file, None where there is none.

    Of several the last one: those whose files only look like another's have the higher `order`.
    """
    return next((plugin for plugin in reversed(family("sources").values()) if plugin.reads(path)), None)


def _source(value: Any, info: ValidationInfo) -> PluginConfig:
    """A source may be written as a path; the file's ending and its beginning then choose the plug-in."""
    if isinstance(value, str):
        plugin = source_of(str((info.context or {}).get("base", Path()) / Path(value).expanduser()))
        if plugin is None:
            endings = sorted({end for p in family("sources").values() for end in p.endings})
            raise ValueError(f"{value}: a kind of file that is not read here; known endings: {', '.join(endings)}")
        value = {"kind": plugin.id, "path": value}
    return parse_config("sources", value)


SourceField = Annotated[plugin_field("sources"), BeforeValidator(_source)]
Share = Annotated[float, Field(ge=0, lt=1)]


def _part(value: Any, info: ValidationInfo) -> Any:
    """A part of the split is a share of the rows, or a source of its own."""
    return value if isinstance(value, int | float) else _source(value, info)


def _reports(value: Any) -> Any:
    """TrainingArguments takes a list of names too."""
    if not isinstance(value, list | tuple):
        return value
    if set(value) == {"tensorboard", "wandb"}:
        return "all"
    return value[0] if len(value) == 1 else value or "none"


class DataSpec(Model):
    """Which rows train, validate and test."""

    train: SourceField
    validation: Annotated[Share | SourceField, BeforeValidator(_part)] = setting(
        0.1, "Validation", "Rows that measure the model while it trains: a share, or a file."
    )
    test: Annotated[Share | SourceField, BeforeValidator(_part)] = setting(
        0.1, "Test", "Rows that the model never sees before the end: a share, or a file."
    )
    seed: int = setting(42, "Seed of the split", "The same seed gives the same split.", ge=0, lt=2**31)


class TrainingSpec(Model):
    """How the training goes; names as in transformers' TrainingArguments where they have one."""

    num_train_epochs: float = setting(3.0, "Epochs", "How often the model sees every training row.", gt=0, le=1000)
    learning_rate: Annotated[float, Field(gt=0, le=1)] | Literal["auto"] = setting(
        "auto", "Learning rate", "How large a step is. Automatic picks the method's own."
    )
    per_device_train_batch_size: Annotated[int, Field(ge=1, le=4096)] | Literal["auto"] = setting(
        "auto",
        "Batch size",
        "Rows in one step. Larger is faster and needs more memory. Automatic looks at the rows and at the memory.",
        unit="rows",
    )
    max_length: int = setting(
        128, "Longest text", "Longer texts are cut to this many tokens.", unit="tokens", ge=8, le=32768
    )
    seed: int = setting(42, "Seed", "The same seed gives the same run.", ge=0, lt=2**31)
    gradient_accumulation_steps: int = setting(
        1, "Accumulate", "Batches that are added up before a step.", "batches", True, "Optimiser", ge=1, le=1024
    )
    weight_decay: float = setting(
        0.01, "Weight decay", "Pulls weights towards zero, against overfitting.", "", True, "Optimiser", ge=0, le=1
    )
    max_grad_norm: float = setting(
        1.0, "Gradient clipping", "Longest gradient; 0 switches it off.", "", True, "Optimiser", ge=0, le=1000
    )
    label_smoothing_factor: float = setting(
        0.0, "Label smoothing", "Softens the labels, against overconfidence.", "", True, "Optimiser", ge=0, lt=1
    )
    lr_scheduler_type: Literal["linear", "cosine", "constant_with_warmup"] = setting(
        "linear", "Schedule", "How the learning rate falls.", "", True, "Schedule"
    )
    warmup_steps: float = setting(
        0.06, "Warm-up", "Steps until the full learning rate; below 1 a share of all steps.", "", True, "Schedule", ge=0
    )
    evaluations_per_epoch: int = setting(
        2,
        "Evaluations per epoch",
        "How often the validation part is measured, and a checkpoint kept.",
        "",
        True,
        "Schedule",
        ge=1,
        le=100,
    )
    early_stopping_patience: int = setting(
        0,
        "Early stopping",
        "Stops after so many evaluations without a better result; 0 never stops early.",
        "evaluations",
        True,
        "Schedule",
        ge=0,
        le=1000,
    )
    load_best_model_at_end: bool = setting(
        True, "Keep the best", "Ends with the checkpoint of the best evaluation, not the last.", "", True, "Schedule"
    )
    precision: Literal["auto", "bf16", "fp16", "fp32"] = setting(
        "auto",
        "Precision",
        "Automatic uses bf16 where the processor or the GPU is faster with it, and fp16 on a GPU without bf16.",
        "",
        True,
        "Machine",
    )
    threads: Annotated[int, Field(ge=1, le=1024)] | Literal["auto"] = setting(
        "auto",
        "Threads",
        "Cores that the training may use. Automatic takes all that the system gives it.",
        "",
        True,
        "Machine",
    )
    kernels: Literal["auto", "plain"] = setting(
        "auto",
        "Layers",
        "Automatic trains with Attune's own quick layers on a processor; plain takes those of the library.",
        "",
        True,
        "Machine",
    )
    torch_compile: bool | Literal["auto"] = setting(
        "auto",
        "Compile",
        "Automatic tries torch.compile before a long run, and keeps it where it gains more than it costs.",
        "",
        True,
        "Machine",
    )
    group_by_length: bool = setting(
        True, "Group by length", "Batches of texts of like length, so that little is padded.", "", True, "Machine"
    )
    report_to: Annotated[Literal["auto", "none", "tensorboard", "wandb", "all"], BeforeValidator(_reports)] = setting(
        "auto",
        "Report to",
        "Who else gets the numbers. Automatic writes TensorBoard's event files into the run's folder where its "
        "library is installed; Weights & Biases sends them to its server, unless WANDB_MODE says offline.",
        "",
        True,
        "Reports",
    )
    probe_text: str = setting(
        "",
        "Watch a sentence",
        "Keeps what the attention heads make of this sentence while the model learns, so that you can go through it "
        "step by step. The training is the same with and without; empty watches nothing.",
        "",
        True,
        "Attention",
        max_length=20_000,
    )
    probe_every: Annotated[int, Field(ge=1)] | Literal["auto"] = setting(
        "auto",
        "Look every",
        "How often the sentence is looked at. Automatic looks about 30 times during the training.",
        "steps",
        True,
        "Attention",
    )

    @model_serializer(mode="wrap")
    def _without_what_is_off(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        # A spec that watches nothing reads as it did before there was anything to watch, for older versions too.
        values = serialize(self)
        return {k: v for k, v in values.items() if k not in _WATCHING or v != type(self).model_fields[k].default}


_WATCHING = ("probe_text", "probe_every")


def training_defaults(task: PluginConfig) -> dict[str, Any]:
    """Return the settings of a training that nobody chose: the usual ones, but for those that a task has of its own."""
    usual = {name: field.default for name, field in TrainingSpec.model_fields.items()}
    return usual | dict(family("tasks")[task.kind].training)


def _training(value: Any, info: ValidationInfo) -> Any:
    task = info.data.get("task")
    return dict(family("tasks")[task.kind].training) | value if task is not None and isinstance(value, dict) else value


class TrainSpec(Model):
    """Fine-tune a model on a data set; settings of the training that are absent are those of the task."""

    version: Literal[1] = VERSION
    kind: Literal["train"] = "train"
    name: str = ""
    data: DataSpec
    columns: dict[str, str | int]
    task: plugin_field("tasks") = Field(default_factory=lambda: parse_config("tasks", "text-classification"))
    model: str = "starter"
    method: plugin_field("methods") = Field(default_factory=lambda: parse_config("methods", "full"))
    training: Annotated[TrainingSpec, BeforeValidator(_training)] = Field(default_factory=dict, validate_default=True)


class EvaluateSpec(Model):
    """Measure a trained run on a split of its data, or on a file with the same columns.

    against: another run, which is measured on the same rows and compared. checkpoint: the step of one that the run
    still has; None is the model that it kept.
    """

    version: Literal[1] = VERSION
    kind: Literal["evaluate"] = "evaluate"
    run: str
    data: SourceField | None = None
    split: Split = "test"
    against: str | None = None
    checkpoint: int | None = Field(None, ge=1)


class PredictSpec(Model):
    """Label the rows of a file with a trained run; `out` ends in .csv, .jsonl or .parquet."""

    version: Literal[1] = VERSION
    kind: Literal["predict"] = "predict"
    run: str
    data: SourceField
    out: str


class Against(Model):
    """What a model is compared with: a run as it ended or at the step of a checkpoint, or a model folder."""

    run: str | None = None
    model: str | None = None
    checkpoint: int | None = None


class InspectSpec(Model):
    """Look into a trained run or a model folder; stays for more texts for `idle_seconds` after the last one.

    checkpoint: a step of the run, in place of its model. against: what stands for `before`, in place of the run's own
    model before it was trained.
    """

    version: Literal[1] = VERSION
    kind: Literal["inspect"] = "inspect"
    run: str | None = None
    model: str | None = None
    checkpoint: int | None = None
    against: Against | None = None
    text: str = ""
    state: Literal["tuned", "base", "both"] = "both"
    out: str | None = None
    idle_seconds: float = Field(0.0, ge=0)


class ExportSpec(Model):
    """Write a trained run as files that other programs load, and verify them."""

    version: Literal[1] = VERSION
    kind: Literal["export"] = "export"
    run: str
    format: plugin_field("exporters")
    out: str


class ProbeSpec(Model):
    """Try a training for a few steps: what it will take, or which learning rate suits it; or look at its rows.

    Nothing of it is kept.
    """

    version: Literal[1] = VERSION
    kind: Literal["probe"] = "probe"
    what: Literal["estimate", "learning-rate", "rows"]
    train: TrainSpec


Spec = Annotated[
    TrainSpec | EvaluateSpec | PredictSpec | InspectSpec | ExportSpec | ProbeSpec, Field(discriminator="kind")
]
_ADAPTER: TypeAdapter[Any] = TypeAdapter(Spec)
# One function per version below VERSION, from that version's dict to the next; none has been needed so far.
UPGRADES: dict[int, Any] = {}


def parse_spec(value: dict[str, Any], base: Path | None = None) -> Any:
    """Return the spec that a JSON object describes, upgraded, with paths relative to `base` made absolute.

    Raises Failure "spec-version" for a newer version and "spec-invalid" with one line per wrong field.
    """
    version = value.get("version", VERSION) if isinstance(value, dict) else VERSION
    if not isinstance(version, int) or not 1 <= version <= VERSION:
        raise Failure("spec-version", version=version, newest=VERSION)
    while version < VERSION:
        value = UPGRADES[version](value)
        version += 1
    try:
        value = {"kind": "train"} | value if isinstance(value, dict) else value
        spec = _ADAPTER.validate_python(value, context={"base": base or Path.cwd()})
    except ValidationError as error:
        raise Failure("spec-invalid", errors="; ".join(_error_lines(error)), fields=error_fields(error)) from error
    return _absolute(spec, base or Path.cwd())


def read_spec(path: Path) -> Any:
    """Return the spec in a JSON file; paths in it are relative to the file's folder."""
    try:
        value = json.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError as error:
        raise Failure("spec-missing", path=str(path)) from error
    except json.JSONDecodeError as error:
        raise Failure("spec-not-json", path=str(path), line=error.lineno, message=error.msg) from error
    except (OSError, UnicodeDecodeError) as error:
        raise Failure("spec-not-json", path=str(path), line=1, message=str(error)) from error
    return parse_spec(value, path.absolute().parent)


def dump_spec(spec: Model) -> dict[str, Any]:
    """Return a spec as a JSON object; `parse_spec(dump_spec(spec)) == spec`."""
    return spec.model_dump(mode="json")


def error_fields(error: ValidationError) -> dict[str, str]:
    """Return a spec's errors as messages by dotted field path, without the names of union branches."""
    found: dict[str, str] = {}
    for item in error.errors():
        # The first place is the kind of spec; branches of a union are named like types or functions.
        parts = [str(p) for p in item["loc"][1:] if re.fullmatch(r"[a-z_0-9]+", str(p)) and p not in _TYPES]
        message = item["msg"].removeprefix("Value error, ")
        found.setdefault(".".join(parts), message[:1].lower() + message[1:])
    return found


_TYPES = {"float", "int", "str", "bool"}


def _error_lines(error: ValidationError) -> list[str]:
    return [f"{path or 'spec'}: {text}" for path, text in error_fields(error).items()]


def _absolute(spec: Any, base: Path) -> Any:
    """Make the paths of sources and model folders absolute against `base`."""

    def source(part: Any) -> Any:
        if not isinstance(part, PluginConfig):
            return part
        return part.model_copy(update={"path": str((base / Path(part.path).expanduser()).absolute())})

    changes: dict[str, Any] = {}
    if isinstance(spec, TrainSpec):
        parts = {name: source(getattr(spec.data, name)) for name in ("train", "validation", "test")}
        changes["data"] = spec.data.model_copy(update=parts)
        changes["model"] = model_path(spec.model, base)
    elif isinstance(spec, EvaluateSpec | PredictSpec) and spec.data is not None:
        changes["data"] = source(spec.data)
    elif isinstance(spec, ProbeSpec):
        changes["train"] = _absolute(spec.train, base)
    elif isinstance(spec, InspectSpec) and spec.model:
        changes["model"] = model_path(spec.model, base)
    if getattr(spec, "out", None):
        changes["out"] = str((base / Path(spec.out).expanduser()).absolute())
    return spec.model_copy(update=changes)


def model_path(name: str, base: Path) -> str:
    """Return `starter` as it is and any other model name as an absolute folder."""
    return name if name in ("starter", "") else str((base / Path(name).expanduser()).absolute())
