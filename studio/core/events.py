"""What a worker says: facts with numbers, one JSON line each.

Readers skip types they do not know, so that an older window can follow a newer worker. Values may be NaN or
infinite and come back as such.
"""

import json
import logging
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

log = logging.getLogger(__name__)


class Event(BaseModel):
    """Base of all events; `time` is in seconds since the epoch."""

    # Without "constants" pydantic writes NaN as null and then can't read it back as a float.
    model_config = ConfigDict(frozen=True, ser_json_inf_nan="constants")
    time: float = Field(default_factory=time.time)


class Started(Event):
    """A worker took up the run; a resume starts a new attempt and hides what came after `from_step`.

    train_seconds: the clock of that step, as its checkpoint has it.
    """

    type: Literal["started"] = "started"
    attempt: int = 1
    from_step: int = 0
    train_seconds: float | None = None
    pid: int
    version: str


class Phase(Event):
    """What the worker does now: loading, data, model, training, evaluating, saving, exporting, verifying …"""

    type: Literal["phase"] = "phase"
    name: str


class Progress(Event):
    """How far a phase is, `done` of `total` units."""

    type: Literal["progress"] = "progress"
    name: str
    done: float
    total: float


class DataReady(Event):
    """What the rows turned out to be."""

    type: Literal["data"] = "data"
    n_train: int
    n_validation: int
    n_test: int
    labels: list[str]
    n_truncated: int = 0


class ModelReady(Event):
    """How many parameters the model has and how many of them train."""

    type: Literal["model"] = "model"
    n_parameters: int
    n_trainable: int


class Picked(Event):
    """What was picked for an automatic setting, and why, in words."""

    type: Literal["picked"] = "picked"
    name: str
    value: Any
    why: str


class Metrics(Event):
    """Numbers at a step; for the split `train` the loss, learning rate, gradient norm and speed of that step.

    n_rows: trained in this attempt. n_tokens: trained since the run began, without padding.
    """

    type: Literal["metrics"] = "metrics"
    split: Literal["train", "validation", "test"]
    step: int
    epoch: float
    values: dict[str, float]
    total_steps: int | None = None
    train_seconds: float | None = None
    n_rows: int | None = None
    n_tokens: int | None = None


class Resources(Event):
    """What the worker and the processes it started use; None where the system does not tell.

    rss_bytes: resident memory. cpu_percent: of one core. gpu_bytes: memory that torch holds on all GPUs. gpu_percent:
    how busy the first one is, with whatever it does. disk_free_bytes: of the run's disk.
    """

    type: Literal["resources"] = "resources"
    rss_bytes: int
    cpu_percent: float
    gpu_bytes: int | None = None
    gpu_percent: float | None = None
    read_bytes_per_second: float | None = None
    written_bytes_per_second: float | None = None
    disk_free_bytes: int | None = None


class Checkpoint(Event):
    """A checkpoint stands complete on disk; `path` is relative to the run, `train_seconds` the clock of its step."""

    type: Literal["checkpoint"] = "checkpoint"
    step: int
    path: str
    train_seconds: float = 0.0


class Watched(Event):
    """The attention that a model in training pays in the watched sentence was captured after a step.

    path: its folder, relative to the run; it may be gone, since a resume that watches another sentence begins anew.
    verified: whether the capture passed its own checks.
    """

    type: Literal["watched"] = "watched"
    step: int
    path: str
    verified: bool


class Artefact(Event):
    """A file or folder that the run made; `path` is relative to the run where it lies inside it."""

    type: Literal["artefact"] = "artefact"
    name: str
    path: str


class Explained(Event):
    """The answer to an explain command: probabilities or blocks, and the folder of the attention maps, per state.

    fields: the row by role, where more than a text was asked. said: the answer in words, per state.
    seen: the row as the model gets it, a block. answers: what with, as `anatomy.answers_with`.
    """

    type: Literal["explained"] = "explained"
    id: str
    text: str
    probabilities: dict[str, dict[str, float]]
    directories: dict[str, str] = {}
    fields: dict[str, str] = {}
    said: dict[str, str] = {}
    answers: str = ""
    blocks: dict[str, list[dict[str, Any]]] = {}
    seen: dict[str, Any] | None = None
    reason: str | None = None
    facts: dict[str, Any] = {}


class Studied(Event):
    """The answer to a study command; what `result` holds is said by the study's own module.

    directory: of arrays that are too large for a line. reason, facts: why there is no answer. about: the option of
    that name, given back as it came, by which an answer is told from that to another question of its kind.
    """

    type: Literal["studied"] = "studied"
    id: str
    what: str
    about: int | str | None = None
    result: dict[str, Any] = {}
    directory: str | None = None
    reason: str | None = None
    facts: dict[str, Any] = {}


class Seen(Event):
    """Rows of the data as the model gets them (blocks of token texts), and how many of all lose tokens.

    n_rows, n_cut: over all rows. n_unlabelled: those of them that lose all that they should teach. unknown_share: of
    the tokens of the shown rows, those that stand for what the tokenizer does not know.
    """

    type: Literal["seen"] = "seen"
    block: dict[str, Any]
    n_rows: int
    n_cut: int
    n_unlabelled: int = 0
    unknown_share: float = 0.0
    max_length: int


class Estimated(Event):
    """What a probe measured of a training: the peak of its memory, and the pace of its parts.

    peak_bytes: resident memory of the worker on a processor, allocated memory on a GPU. free_bytes: what the device
    had left when the probe began. n_shapes, pace: see core.estimate.Pace. seconds: to the end of the training. n_cut:
    rows of all parts that are longer than the longest text.
    """

    type: Literal["estimated"] = "estimated"
    device: str
    precision: str
    free_bytes: int
    peak_bytes: int
    n_train: int
    n_validation: int
    n_test: int
    n_shapes: int
    pace: dict[str, float]
    seconds: float
    n_cut: int = 0


class RateFound(Event):
    """The curve of a learning-rate sweep, and the rate that it suggests (None where the loss never fell).

    rates and losses: one each a step, in the order of the steps; the losses are smoothed. how: which point of the
    curve was taken.
    """

    type: Literal["rate-found"] = "rate-found"
    rates: list[float]
    losses: list[float]
    suggested: float | None
    how: str


class Warned(Event):
    """Something that does not stop the run but that the person should know."""

    type: Literal["warned"] = "warned"
    reason: str
    facts: dict[str, Any] = {}


class Paused(Event):
    """The run waits with its model in memory, or goes on."""

    type: Literal["paused"] = "paused"
    paused: bool


class Finished(Event):
    """The run did all that was asked; `result` is what the command line prints."""

    type: Literal["finished"] = "finished"
    result: dict[str, Any] = {}


class Stopped(Event):
    """The run ended because someone asked; a training then has a checkpoint at `step`."""

    type: Literal["stopped"] = "stopped"
    step: int = 0
    result: dict[str, Any] = {}


class Failed(Event):
    """The run could not go on."""

    type: Literal["failed"] = "failed"
    reason: str
    facts: dict[str, Any] = {}
    field: str = ""


AnyEvent = Annotated[
    Started
    | Phase
    | Progress
    | DataReady
    | ModelReady
    | Picked
    | Metrics
    | Resources
    | Checkpoint
    | Watched
    | Artefact
    | Explained
    | Studied
    | Seen
    | Estimated
    | RateFound
    | Warned
    | Paused
    | Finished
    | Stopped
    | Failed,
    Field(discriminator="type"),
]
_ADAPTER: TypeAdapter[Any] = TypeAdapter(AnyEvent)


@dataclass(frozen=True)
class MetricsRows:
    """Consecutive Metrics of one split with the same names, as columns [n]; NaN for an unknown number.

    total_steps: the last that was said, or None.
    """

    split: str
    time: Sequence[float]
    step: Sequence[float]
    epoch: Sequence[float]
    values: dict[str, Sequence[float]]
    train_seconds: Sequence[float]
    n_tokens: Sequence[float]
    total_steps: int | None = None

    @classmethod
    def of(cls, event: Metrics) -> "MetricsRows":
        """Return one event as columns of one row."""
        seconds, n_tokens = (math.nan if v is None else v for v in (event.train_seconds, event.n_tokens))
        values = {name: [value] for name, value in event.values.items()}
        return cls(
            event.split, [event.time], [event.step], [event.epoch], values, [seconds], [n_tokens], event.total_steps
        )


def dump_event(event: Event) -> str:
    """Return an event as one line of JSON, without the newline."""
    return event.model_dump_json()


def parse_events(lines: bytes) -> list[Event]:
    """Return the events in lines of the log; torn ones and types that this version does not know are left out."""
    return [event for line in lines.splitlines() if line and (event := parse_event(line)) is not None]


def parse_event(line: str | bytes) -> Event | None:
    """Return the event in a line of the log, or None for a torn line or a type this version does not know."""
    try:
        # Python's json reads NaN and Infinity, pydantic's own parser does not.
        return to_event(json.loads(line))
    except ValueError as error:
        log.debug("skipped a line of the log: %s", error)
        return None


def to_event(value: Any) -> Event | None:
    """Return the event of a parsed line, or None where it is none or of a type this version does not know."""
    try:
        return _ADAPTER.validate_python(value)
    except ValidationError as error:
        log.debug("skipped a line of the log: %s", error)
        return None
