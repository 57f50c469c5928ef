"""What a worker is told: one small file each, written by anyone, read once by the worker."""

import contextlib
import time
import uuid
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from studio.core.files import write_atomic


class Command(BaseModel):
    """Base of all commands."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    id: str = Field(default_factory=lambda: uuid.uuid4().hex[:8])


class Stop(Command):
    """Save a checkpoint and end at the next step."""

    type: Literal["stop"] = "stop"


class Pause(Command):
    """Wait at the next step with the model in memory."""

    type: Literal["pause"] = "pause"


class Resume(Command):
    """Go on after a pause."""

    type: Literal["resume"] = "resume"


class Save(Command):
    """Write a checkpoint at the next step."""

    type: Literal["save"] = "save"


class Evaluate(Command):
    """Measure the validation rows at the next step, and save what was measured."""

    type: Literal["evaluate"] = "evaluate"


class Explain(Command):
    """Predict a row before and after the fine-tuning, and capture its attention if asked.

    fields: what the task reads besides the text, by role, such as the second text of a pair.
    """

    type: Literal["explain"] = "explain"
    text: str
    fields: dict[str, str] = {}
    attention: bool = True


class Study(Command):
    """Ask more of a row than its attention: what happens without some heads, what a word did for the answer.

    what: a module of `studio.engine.studies`, which says what `options` there are and what it answers.
    """

    type: Literal["study"] = "study"
    what: str
    text: str = ""
    fields: dict[str, str] = {}
    options: dict[str, Any] = {}


_ADAPTER: TypeAdapter = TypeAdapter(
    Annotated[Stop | Pause | Resume | Save | Evaluate | Explain | Study, Field(discriminator="type")]
)


def send(directory: Path, command: Command) -> None:
    """Put `command` where the worker of the run in `directory` finds it."""
    name = f"{time.time_ns():020d}-{command.id}.json"
    write_atomic(directory / "commands" / name, command.model_dump_json())


def receive(directory: Path) -> list[Command]:
    """Take the commands that wait in a run's directory, oldest first; files that make no sense are dropped."""
    commands = []
    for path in sorted((directory / "commands").glob("[0-9]*.json")):
        try:
            data = path.read_bytes()
            path.unlink()
        except OSError:
            continue  # held by another program for a moment: the next call takes it
        with contextlib.suppress(ValidationError):
            commands.append(_ADAPTER.validate_json(data))
    return commands
