"""Looks into a model: loaded once, then asked for text after text, before and after its fine-tuning."""

import shutil
import time
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from studio.core import events as ev
from studio.core.anatomy import HEADLESS
from studio.core.commands import Explain, Study
from studio.core.disk import no_room
from studio.core.locks import HELD, is_used
from studio.core.reasons import Failure, Problem
from studio.core.rundir import RunDir
from studio.core.spec import InspectSpec
from studio.engine import studies
from studio.engine.data import workspace_of
from studio.engine.failures import problem_of
from studio.engine.reporter import Reporter, StopRequested
from studio.engine.subject import Subject, ignore, load_subject

STATES = {"tuned": ("after",), "base": ("before",), "both": ("before", "after")}
KEPT_ANSWERS = 2  # maps of a long text take 150 MB; the window shows the newest, and may still hold the one before
KEPT_STUDIES = 4  # of each kind: several views may have asked, and read an answer a moment later
EXPLAIN = "explain"


def run(run_dir: RunDir, spec: InspectSpec, report: Reporter) -> ev.Event:
    """Answer the spec's text and then every explain command, until nobody asked for `idle_seconds`."""
    report.phase("model")
    subject = load_subject(workspace_of(run_dir.path), spec)
    # A model folder was not fine-tuned here: there is nothing to compare it with but what is named.
    states = STATES[spec.state] if spec.run or spec.against else ("after",)
    result: dict[str, Any] = {}
    if spec.text:
        report.phase("explaining")
        out = Path(spec.out) if spec.out else run_dir.path / "maps" / "first"
        answers = subject.explain(spec.text, {}, states, out, with_attention=True)
        report.say(_event("first", spec.text, answers, subject))
        named = ("directory", "checks", "probabilities", "said")
        result = {state: {name: answer[name] for name in named if name in answer} for state, answer in answers.items()}
        if len(states) == 1:
            result = result[states[0]]
    if spec.idle_seconds:
        report.phase("ready")
        _answer(run_dir, spec, subject, states, report)
    return ev.Finished(result=result)


def _answer(run_dir: RunDir, spec: InspectSpec, subject: Subject, states: tuple[str, ...], report: Reporter) -> None:
    last = time.monotonic()
    written: dict[str, list[Path]] = {}

    def serve(asked: Explain | Study, between: bool = False) -> None:
        # What waits behind a long study still needs its ears; and what goes on after a short one is the long one.
        report.say(ev.Phase(name="explaining"))
        out, kind = run_dir.path / "maps" / asked.id, asked.what if isinstance(asked, Study) else EXPLAIN
        outer = subject.progress
        subject.progress = ignore if between else _attending(asked, report, lambda other: serve(other, True))
        try:
            report.say(reply(subject, asked, states, out))
        except Exception as error:  # the model is loaded, and may well answer the next question
            if not isinstance(error, Failure):
                traceback.print_exc()
            shutil.rmtree(out, ignore_errors=True)  # of half a capture nobody has any use, and it may fill the disk
            problem = problem_of(error, run_dir)
            # There is nothing to resume: it answers the next question as soon as there is room.
            report.say(_refusal(asked, no_room(run_dir.path).problem if problem.reason == "disk-full" else problem))
        finally:
            subject.progress = outer
            _keep(written.setdefault(kind, []), out, KEPT_ANSWERS if kind == EXPLAIN else KEPT_STUDIES)
            report.say(ev.Phase(name="explaining" if between else "ready"))

    while time.monotonic() - last < spec.idle_seconds and not report.stop.is_set():
        report.wake.wait(0.5)
        report.wake.clear()
        while report.asked:
            serve(report.asked.popleft())
            last = time.monotonic()


def _refusal(asked: Explain | Study, problem: Problem) -> ev.Explained | ev.Studied:
    why = {"reason": problem.reason, "facts": problem.facts}
    if isinstance(asked, Study):
        return ev.Studied(id=asked.id, what=asked.what, about=_about(asked), **why)
    return ev.Explained(id=asked.id, text=asked.text, probabilities={}, **why)


def _about(asked: Study) -> int | str | None:
    about = asked.options.get("about")
    return about if isinstance(about, int | str) else None


def _keep(written: list[Path], newest: Path, most: int) -> None:
    """Remove all but the newest folders; one that a window still shows stays until the next time."""
    if newest.exists():
        written.append(newest)
    for folder in written[:-most]:
        if not any(is_used(file.parent) for file in folder.rglob(HELD)):
            shutil.rmtree(folder, ignore_errors=True)
    written[:] = [folder for folder in written if folder.exists()]


def _attending(
    asked: Explain | Study, report: Reporter, serve: Callable[[Explain | Study], None]
) -> Callable[[int, int], None]:
    """Return what a long study calls between its parts: it says how far it is, and answers what came in meanwhile.

    It raises Failure "study-replaced" when a newer study of its kind waits, or the inspection is to end.
    """
    what = asked.what if isinstance(asked, Study) else EXPLAIN
    tell = report.progress(what)

    def attend(done: int, total: int) -> None:
        while not report.stop.is_set():
            waiting = tuple(report.asked)
            if any(isinstance(other, Study) and other.what == what for other in waiting):
                raise Failure("study-replaced")
            # Another long one begins when this one has ended: between its parts it could be neither seen nor stopped.
            short = next((other for other in waiting if not studies.is_long(other)), None)
            if short is None:
                break
            report.asked.remove(short)
            serve(short)
        try:
            tell(done, total)
        except StopRequested:
            raise Failure("study-replaced") from None

    return attend


def reply(subject: Subject, asked: Explain | Study, states: tuple[str, ...], out: Path) -> ev.Explained | ev.Studied:
    """Return the answer to a question; what is too large for an event is written into the folder `out`.

    Raises Failure with the reason where there is none.
    """
    if isinstance(asked, Study):
        found = studies.find(asked.what)(subject, asked, states, out)
        return ev.Studied(id=asked.id, what=asked.what, about=_about(asked), **found)
    if not asked.attention and subject.trained is not None:
        return subject.answer(asked, states)
    answers = subject.explain(asked.text, asked.fields, states, out, asked.attention)
    said = {} if any(each["probabilities"] for each in answers.values()) else subject.said(asked, states)
    return _event(asked.id, asked.text, answers, subject, asked.fields, said)


def _event(
    id: str,
    text: str,
    answers: dict[str, dict[str, Any]],
    subject: Subject,
    fields: Mapping[str, str] | None = None,
    said: Mapping[str, str] | None = None,
) -> ev.Explained:
    return ev.Explained(
        id=id,
        text=text,
        probabilities={state: answer["probabilities"] for state, answer in answers.items()},
        directories={state: answer["directory"] for state, answer in answers.items() if "directory" in answer},
        fields=dict(fields or {}),
        answers=HEADLESS if subject.lacks_head else subject.answers,
        said=said or {state: answer["said"] for state, answer in answers.items() if "said" in answer},
    )
