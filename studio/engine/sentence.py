"""A sentence that is watched while a model learns: its attention, captured every so many steps in the model at work."""

import contextlib
import inspect
import math
import os
import shutil
import traceback
from pathlib import Path
from typing import Any

from studio.attention import capture as attention
from studio.attention import timeline
from studio.attention.interface import inner_model
from studio.core import events as ev
from studio.core.anatomy import describe_model
from studio.core.files import read_json
from studio.core.reasons import Failure, Problem, describe
from studio.core.spec import TrainSpec
from studio.engine import device
from studio.engine.failures import problem_of
from studio.engine.picks import note
from studio.tasks.base import task_of

BUDGET_BYTES = 512 << 20  # of all captures of a run on the disk
N_CAPTURES = 30  # about as many, where nobody says how often
_ASIDE = ".gone-"  # captures that were to be removed


class WatchedSentence:
    """Captures the sentence of a training's settings in the model of an AttuneTrainer, and leaves no trace in it.

    A capture lies in the run's directory as `attention.timeline` reads it. Maps that would exceed BUDGET_BYTES are
    kept as queries and keys, and if need be less often. What stands in the way is said once, and ends the watching
    but never the training.
    """

    def __init__(self, trainer: Any, spec: TrainSpec, tokenizer: Any, labels: list[str]):
        self.trainer, self.spec, self.tokenizer, self.labels = trainer, spec, tokenizer, labels
        self.report, self.run = trainer.report, trainer.report.run
        self.text, self.folder = spec.training.probe_text, self.run.path / timeline.FOLDER
        self.every = self.n_steps = 0
        self._is_over = False
        self._queries: bool | None = None

    def begin(self, step: int, n_steps: int) -> None:
        """Take up the captures of former attempts, and look at the model as it is now, before the next step.

        n_steps: of the whole training. Captures after `step` go, since their steps are taken once more.
        """
        with self._never_in_the_way(step):
            self.n_steps, asked = n_steps, self.spec.training.probe_every
            self._encode()
            self._clear(step)
            if asked == "auto":
                self._settle(math.ceil(n_steps / N_CAPTURES), f"about {N_CAPTURES} captures during the training")
            else:
                self._settle(asked, "as you asked")
            needed = attention.map_bytes(self._subject, self._inputs)
            self._queries = True if needed * self._n_planned > BUDGET_BYTES else None
            kept = timeline.steps(self.run.path)
            if kept:
                self._keep_to_budget(_size(timeline.directory(self.run.path, kept[-1])))
        self.look(step)

    def look(self, step: int, is_last: bool = False) -> None:
        """Capture the sentence if it is the turn of this step, or if it is the last one."""
        if self._is_over or not (is_last or step % self.every == 0):
            return
        place = timeline.directory(self.run.path, step)
        if (place / "checks.json").is_file():
            return  # of the attempt before; the model is the same
        with self._never_in_the_way(step):
            verified = self._capture(step, place)
            self._say(step, verified)

    def _encode(self) -> None:
        """Make tokens of the sentence. Raises Failure "text-empty" or "text-too-long"."""
        if not self.text.strip():
            raise Failure("text-empty", "training.probe_text")
        self._encoded = self.tokenizer(self.text, return_tensors="pt")
        n_tokens = self._encoded["input_ids"].shape[1]
        most = describe_model(self.spec.model).max_positions or self.spec.training.max_length
        if n_tokens > most:
            raise Failure("text-too-long", "training.probe_text", n_tokens=n_tokens, most=most)
        model = self.trainer.model
        inner = inner_model(model)
        self._subject = model if task_of(self.spec.task).takes_one_text else inner.base_model
        taken = inspect.signature(inner.forward).parameters
        self._inputs = {name: value for name, value in self._encoded.items() if name in taken}

    def _clear(self, step: int) -> None:
        """Remove captures after a step, those of another sentence, and half a one; say those that nobody told of."""
        for left in (self.folder / timeline.PARTIAL, *self.folder.glob(f"{_ASIDE}*")):
            shutil.rmtree(left, ignore_errors=True)
        told = {watched.step for watched in self.report.state.watched}
        for each in timeline.steps(self.run.path):
            place = timeline.directory(self.run.path, each)
            if each > step or timeline.text_of(self.run.path, each) != self.text:
                _remove(place)
            elif each not in told:  # the worker died in between
                self._say(each, bool((read_json(place / "checks.json") or {}).get("verified")))

    def _settle(self, every: int, why: str) -> None:
        if every != self.every:
            self.every = every
            note(self.run, self.report, ev.Picked(name="probe_every", value=every, why=why))

    @property
    def _n_planned(self) -> int:
        return 1 + math.ceil(self.n_steps / self.every)

    def _keep_to_budget(self, n_bytes: int) -> None:
        """Look less often where captures of `n_bytes` would exceed the budget. Raises Failure "watch-too-large"."""
        if n_bytes * self._n_planned <= BUDGET_BYTES:
            return
        n_fit = BUDGET_BYTES // n_bytes
        if n_fit < 2:
            facts = {"needed_mb": math.ceil(2 * n_bytes / 1e6), "budget_mb": math.floor(BUDGET_BYTES / 1e6)}
            raise Failure("watch-too-large", "training.probe_text", **facts)
        why = f"more captures of this sentence would take more than {BUDGET_BYTES / 1e6:,.0f} MB"
        # Of the former steps, so that what was captured already is among them.
        self._settle(self.every * math.ceil(self.n_steps / self.every / (n_fit - 1)), why)

    def _capture(self, step: int, place: Any) -> bool:
        """Write the capture aside and give it its name; return whether it passed its checks."""
        partial, args = self.folder / timeline.PARTIAL, self.trainer.args
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        frozen = self.trainer.frozen
        whole = frozen.whole() if frozen is not None else contextlib.nullcontext()
        # In the format in which it trains: that is the model that is learning.
        with whole, device.autocast("bf16" if args.bf16 else "fp16" if args.fp16 else "fp32"):
            captured = attention.capture(self._subject, self._inputs, queries=self._queries, spool=partial)
        facts = attention.token_facts(self.tokenizer, self._encoded, self.text)
        labels = self.labels if captured.probabilities is not None else []
        attention.save(captured, facts.pop("tokens"), partial, **facts, step=step, labels=labels)
        verified = captured.checks["verified"]
        del captured  # Windows renames no folder whose files are mapped
        self._keep_to_budget(_size(partial))
        _remove(place)  # half removed, by a worker that died
        os.replace(partial, place)
        return verified

    def _say(self, step: int, verified: bool) -> None:
        self.report.say(ev.Watched(step=step, path=f"{timeline.FOLDER}/{step}", verified=verified))

    @contextlib.contextmanager
    def _never_in_the_way(self, step: int) -> Any:
        """Let the training go on whatever is raised inside: it is said once, and nothing is watched from then on."""
        try:
            yield
        except Exception as error:
            self._is_over = True
            shutil.rmtree(self.folder / timeline.PARTIAL, ignore_errors=True)
            if not isinstance(error, Failure):
                traceback.print_exc()
            problem = problem_of(error, self.run)
            said = describe(problem.reason, problem.facts)
            why = said.hint if problem.reason == "unexpected" else said.title
            self.report.warn(Problem("sentence-unwatched", {"step": step, "why": why}))


def _remove(place: Path) -> None:
    """Remove a capture; on Windows one that the window has mapped may stay for a while, but in nobody's way."""
    with contextlib.suppress(OSError):
        place = place.replace(place.with_name(f"{_ASIDE}{place.name}"))
    shutil.rmtree(place, ignore_errors=True)


def _size(folder: Any) -> int:
    return sum(file.stat().st_size for file in folder.iterdir())
