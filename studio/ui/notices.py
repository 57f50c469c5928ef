"""What the window tells the person: one line at a time, with the button that mends it; never a modal box."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from studio.core.reasons import Description, Failure, Problem, describe
from studio.core.state import RunState
from studio.ui import words
from studio.ui.i18n import tr

log = logging.getLogger(__name__)
LOUD = ("loss-flat",)  # warnings of a run that can not wait until someone reads about it


@dataclass(frozen=True)
class Notice:
    """One message.

    tone: info, good, warning or bad. fix: the action that mends it (an id of `actions.py`), done on run `run`.
    button: what stands on its button, where that is not the action's own title. undo: what takes the deed back. Words
    are already translated.
    """

    title: str
    hint: str = ""
    tone: str = "info"
    fix: str | None = None
    run: str = ""
    button: str = ""
    undo: Callable[[], None] | None = None
    time: float = field(default_factory=time.time)


def words_of(problem: Problem) -> Description:
    """Return a problem in the person's language."""
    return describe(problem.reason, problem.facts, tr)


def message_of(problem: Problem) -> str:
    """Return a problem as the one sentence that stands at a field."""
    said = words_of(problem)
    return said.title[:1].upper() + said.title[1:] + (f" {said.hint}" if said.hint else "")


def from_problem(problem: Problem, tone: str = "bad", run: str = "") -> Notice:
    """Return the notice of a known problem."""
    said = words_of(problem)
    return Notice(said.title, said.hint, tone, said.fix, run)


def from_exception(error: BaseException, run: str = "") -> Notice:
    """Return the notice of an exception: its own words for a Failure, else type and message."""
    if isinstance(error, Failure):
        return from_problem(error.problem, run=run)
    log.debug("shown as a notice", exc_info=error)
    facts = {"reason": type(error).__name__, "message": str(error)}
    return from_problem(Problem("unexpected", facts), run=run)


def at_end(state: RunState, name: str) -> Notice | None:
    """Return what is said when a run called `name` has just ended."""
    kind = words.word(words.KINDS, state.kind).capitalize()
    if state.problem is not None and state.kind == "train":
        said = words_of(state.problem)
        title = tr("{name}: {what}", name=name, what=said.title)
        if said.fix != "run.resume":
            return Notice(title, said.hint, "bad", said.fix, state.id)
        step = max((c.step for c in state.checkpoints), default=None)
        if step is None:
            return Notice(title, tr("There is no checkpoint to go on from."), "bad", "run.again", state.id)
        button = tr("Resume from step {step}", step=words.count(step))
        return Notice(title, said.hint, "bad", said.fix, state.id, button)
    if state.problem is not None:
        said = words_of(state.problem)
        if said.fix == "run.resume":  # which only a training can
            hint = tr("Nothing of the trained model is lost; begin it again.")
            return None if state.kind == "inspect" else Notice(said.title, hint, "bad", run=state.id)
        return from_problem(state.problem, run=state.id)
    if state.state == "stopped" and state.kind == "train":
        title = tr("{kind} stopped at step {step}; a checkpoint is kept.", kind=kind, step=words.count(state.step))
        return Notice(title, tone="info", fix="run.resume", run=state.id)
    if state.state != "finished" or state.kind == "inspect":
        return None
    title = tr("{kind} finished: {name}.", kind=kind, name=name)
    accuracy = (state.latest.get("test") or state.latest.get("validation") or {}).get("accuracy")
    if state.kind == "train":
        hint = tr("Accuracy {value}.", value=words.metric(accuracy)) if accuracy is not None else ""
        return Notice(title, hint, "good", "go.evaluate", state.id)
    return Notice(title, tone="good", fix=f"go.{state.kind}" if state.kind in words.PAGES else None, run=state.id)
