"""Looks into a model: loaded once, then asked for text after text, before and after its fine-tuning."""

import contextlib
import json
import shutil
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from studio.attention import capture as attention
from studio.core import events as ev
from studio.core.anatomy import HEADLESS, NEXT_TOKEN, WRITTEN
from studio.core.blocks import TokenTexts
from studio.core.commands import Explain, Study
from studio.core.disk import no_room
from studio.core.locks import HELD, is_used
from studio.core.reasons import Failure, Problem
from studio.core.rundir import RunDir
from studio.core.spec import InspectSpec
from studio.engine import decoders, evaluate, sees, studies
from studio.engine.against import load_other, load_two
from studio.engine.data import workspace_of
from studio.engine.failures import problem_of
from studio.engine.folders import load_folder
from studio.engine.reporter import Reporter, StopRequested
from studio.engine.studies import target
from studio.engine.trained import Trained, open_trained
from studio.sources.texts import Texts
from studio.tasks.base import Rows, join_rows

STATES = {"tuned": ("after",), "base": ("before",), "both": ("before", "after")}
KEPT_ANSWERS = 2  # maps of a long text take 150 MB; the window shows the newest, and may still hold the one before
KEPT_STUDIES = 4  # of each kind: several views may have asked, and read an answer a moment later
EXPLAIN = "explain"


def run(run_dir: RunDir, spec: InspectSpec, report: Reporter) -> ev.Event:
    """Answer the spec's text and then every explain command, until nobody asked for `idle_seconds`."""
    report.phase("model")
    subject = _load(run_dir, spec)
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


def _answer(run_dir: RunDir, spec: InspectSpec, subject: "Subject", states: tuple[str, ...], report: Reporter) -> None:
    last = time.monotonic()
    written: dict[str, list[Path]] = {}

    def serve(asked: Explain | Study, between: bool = False) -> None:
        # What waits behind a long study still needs its ears; and what goes on after a short one is the long one.
        report.say(ev.Phase(name="explaining"))
        out, kind = run_dir.path / "maps" / asked.id, asked.what if isinstance(asked, Study) else EXPLAIN
        outer = subject.progress
        subject.progress = _ignore if between else _attending(asked, report, lambda other: serve(other, True))
        try:
            report.say(subject.reply(asked, states, out))
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


def _ignore(done: int, total: int) -> None:
    """Attend to nothing: what is asked between the parts of a study is short."""


def _event(
    id: str,
    text: str,
    answers: dict[str, dict[str, Any]],
    subject: "Subject",
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


class Subject:
    """A loaded model with the ways to see it before and after its fine-tuning.

    answers: what with, as `anatomy.answers_with`, where it was not trained here; `writes`: with a text of its own.
    """

    def __init__(
        self,
        tuned: Any,
        base: Any,
        tokenizer: Any,
        max_length: int,
        labels: list[str],
        trained: Trained | None = None,
        answers: str = "",
        lacks_head: bool = False,
    ):
        self.tuned, self.base, self.tokenizer, self.max_length, self.labels = tuned, base, tokenizer, max_length, labels
        self.trained, self.writes, self.lacks_head = trained, answers == WRITTEN, lacks_head
        self.answers = trained.task.id if trained else answers or ("text-classification" if labels else "embeddings")
        self.progress: Callable[[int, int], None] = _ignore
        self._parts: dict[str, Rows] | None = None
        self._company: dict[tuple[str, ...], tuple[Any, dict[str, Any]]] = {}
        self._written: dict[int, tuple[list[int], Any]] = {}  # by model, of the last text
        self.notes: dict[Any, Any] = {}  # what a study found of a text and may want again, the newest last

    @contextlib.contextmanager
    def state(self, name: str) -> Iterator[Any]:
        """Give the model in the state `before` or `after`; an adapter is switched off for `before`."""
        if name == "after":
            yield self.tuned
        elif self.base is not None:
            yield self.base
        else:
            with attention.base_state(self.tuned):
                yield self.tuned

    def parts(self) -> dict[str, Rows]:
        """Return the rows of the run's train, validation and test; none of a model that was not trained here."""
        if self._parts is None:
            self._parts = self.trained.parts() if self.trained is not None else {}
        return self._parts

    def reply(self, asked: Explain | Study, states: tuple[str, ...], out: Path) -> ev.Explained | ev.Studied:
        """Return the answer to a question; what is too large for an event is written into the folder `out`.

        Raises Failure with the reason where there is none.
        """
        if isinstance(asked, Study):
            found = studies.find(asked.what)(self, asked, states, out)
            return ev.Studied(id=asked.id, what=asked.what, about=_about(asked), **found)
        if not asked.attention and self.trained is not None:
            return self.answer(asked, states)
        answers = self.explain(asked.text, asked.fields, states, out, asked.attention)
        said = {} if any(each["probabilities"] for each in answers.values()) else self._said(asked, states)
        return _event(asked.id, asked.text, answers, self, asked.fields, said)

    def answer(self, asked: Explain, states: tuple[str, ...]) -> ev.Explained:
        """Return what the model says of a row in the shape of its task, and the row as it sees it.

        Raises Failure "text-empty".
        """
        trained, task = self.trained, self.trained.task
        fields, row, features = self._row(asked)
        probabilities, blocks = {}, {}
        rows = row if not task.n_company else join_rows([row, self._behind(tuple(fields))])
        for name in states:
            with self.state(name) as model:
                outputs = evaluate.predict(task, model, self.tokenizer, features, "fp32")
                if task.n_company:
                    outputs = np.concatenate([outputs, self._said_of_company(tuple(fields), name, model)])
            answers = task.decode(task.answers(outputs, features, rows, trained.labels), self.tokenizer)
            probabilities[name] = task.probabilities(answers, trained.labels)
            blocks[name] = [block.model_dump(mode="json") for block in task.explain(answers, fields, trained.labels)]
        note = f"{features[0]['length']} tokens"
        seen = sees.seen(task, features[0], row, self.tokenizer, trained.labels, trained.max_length, note)
        block = TokenTexts(title="What the model sees", texts=[seen]).model_dump(mode="json")
        return ev.Explained(id=asked.id, text=asked.text, probabilities=probabilities, blocks=blocks, seen=block)

    def _said(self, asked: Explain, states: tuple[str, ...]) -> dict[str, str]:
        """Return a task's answer to a row in words, per state; nothing where it was asked nothing.

        So it is with a model that answers by its neighbours, with a text in which no word is masked (the task itself
        would hide some, and not those of the maps), and with an option that has no rival.
        """
        if self.trained is None or self.trained.task.n_company or "messages" in asked.fields:
            return {}
        task, said = self.trained.task, {}
        fields, row, features = self._row(asked)
        if task.id == "masked-lm" and not any((self.tokenizer.mask_token or "") in text for text in fields.values()):
            return {}
        if task.id == "multiple-choice" and sum(bool(fields[role]) for role in fields if "option" in role) < 2:
            return {}
        for name in states:
            with self.state(name) as model:
                outputs = evaluate.predict(task, model, self.tokenizer, features, "fp32")
            answers = task.decode(task.answers(outputs, features, row, self.trained.labels), self.tokenizer)
            said[name] = str(answers.columns["predicted"][0])
        return said

    def _row(self, asked: Explain) -> tuple[dict[str, str], Rows, Any]:
        """Return what was asked by role, as a row, and as features. Raises Failure "text-empty"."""
        import pyarrow as pa
        from datasets import Dataset

        task = self.trained.task
        fields = asked.fields or {task.roles[0].id: asked.text}
        if not any(text.strip() for text in fields.values()):
            raise Failure("text-empty", "text")
        row = Rows({role: Texts(pa.chunked_array([[text]])) for role, text in fields.items()}, [None], [0])
        encoded = task.encode({role: list(each) for role, each in row.fields.items()}, self.tokenizer,
                              self.trained.max_length)  # fmt: skip
        return fields, row, Dataset.from_dict({"row": [0] * len(encoded["length"])} | encoded)

    def _behind(self, roles: tuple[str, ...]) -> Rows:
        """Return the rows of the data that are answered behind a typed one, with the same roles."""
        if roles not in self._company:
            rows = self.parts()["train"]
            chosen = np.unique(np.linspace(0, len(rows) - 1, min(len(rows), self.trained.task.n_company)).astype(int))
            some = rows.select(chosen)
            self._company[roles] = Rows({role: some.fields[role] for role in roles}, some.gold, some.indices), {}
        return self._company[roles][0]

    def _said_of_company(self, roles: tuple[str, ...], state: str, model: Any) -> Any:
        rows, known = self._behind(roles), self._company[roles][1]
        if state not in known:
            from datasets import Dataset

            task, trained = self.trained.task, self.trained
            texts = {role: list(each) for role, each in rows.fields.items()}
            encoded = task.encode(texts, self.tokenizer, trained.max_length)
            features = Dataset.from_dict({"row": list(range(len(rows)))} | encoded)
            known[state] = evaluate.predict(task, model, self.tokenizer, features, "fp32")
        return known[state]

    def encode(self, text: str, fields: Mapping[str, str]) -> Any:
        """Return what the model reads of a text, or of a row by role, as the tokenizer gives it: a batch of one.

        `messages` among the fields is a chat as JSON, which the tokenizer's own template makes one text of. Of a model
        that writes, `decoder_input_ids` are those of the second text, or else of what it writes, and `labels` what
        follows each of them.
        Raises Failure: text-empty, text-too-long, chat-unknown, chat-refused.
        """
        if "messages" in fields:
            if not self.tokenizer.chat_template:
                raise Failure("chat-unknown", "text")
            whole = self._chat(json.loads(fields["messages"]))
            encoded = self.tokenizer(whole, add_special_tokens=False, return_tensors="pt")
        else:
            first, second = text, fields.get("text_pair")
            if self.trained and fields:
                first, second = self.trained.task.looked_at(fields)
            if not first.strip():
                raise Failure("text-empty", "text")
            encoded = self.tokenizer(first, None if self.writes else second or None, return_tensors="pt")
        self._refuse_long(encoded["input_ids"])
        if self.writes:
            of_decoder = fields.get("text_pair", "").strip()
            encoded["decoder_input_ids"], encoded["labels"] = (
                decoders.given(self.tuned, self.tokenizer, of_decoder) if of_decoder else self.written(encoded)
            )
            self._refuse_long(encoded["decoder_input_ids"])
        return encoded

    def _refuse_long(self, ids: Any) -> None:
        if ids.shape[1] > self.max_length:
            raise Failure("text-too-long", "text", n_tokens=ids.shape[1], most=self.max_length)

    def written(self, encoded: Mapping[str, Any], model: Any = None) -> tuple[Any, Any]:
        """Return what a model, by default that of `after`, writes of a text, as `decoders.written`."""
        model = self.tuned if model is None else model
        read = {name: value for name, value in encoded.items() if name not in ("decoder_input_ids", "labels")}
        ids = read["input_ids"][0].tolist()
        if self._written.get(id(model), (None,))[0] != ids:
            self._written[id(model)] = ids, decoders.written(model, read)
        return self._written[id(model)][1]

    def _chat(self, messages: list[dict[str, str]]) -> str:
        from jinja2 import TemplateError

        try:
            return self.tokenizer.apply_chat_template(messages, tokenize=False)
        except TemplateError as error:  # such as one that wants the roles to alternate
            raise Failure("chat-refused", "text", message=str(error) or type(error).__name__) from error

    def inputs(self, encoded: Any, model: Any) -> dict[str, Any]:
        """Return what goes into the model of what `encode` gave: a batch of one, an option among one."""
        device = next(model.parameters()).device
        inputs = {name: value.to(device) for name, value in encoded.items() if name != "labels"}
        if self.trained and self.trained.task.id == "multiple-choice":
            # Nothing is padded, so that no mask is needed.
            return {name: value[:, None] for name, value in inputs.items() if name != "attention_mask"}
        return inputs

    def body(self, model: Any) -> Any:
        """Return the part of a model whose attention is captured.

        A head over a whole vocabulary is not part of it: of a long text its answers would take gigabytes.
        """
        has_words = self.trained is None and self.answers in (NEXT_TOKEN, "masked-lm")
        return model.base_model if has_words else model

    def explain(
        self, text: str, fields: Mapping[str, str], states: tuple[str, ...], out: Path, with_attention: bool
    ) -> dict[str, dict[str, Any]]:
        """Return per state the probabilities by label and, if asked, the folder and the checks of the maps.

        Raises Failure: those of `encode`, capture-….
        """
        encoded, answers = self.encode(text, fields), {}
        facts = attention.token_facts(self.tokenizer, encoded, text)
        if "messages" in fields:
            facts.pop("offsets", None)  # they are of the text that the template wrote, which nobody can edit
        for name in states:
            with self.state(name) as model:
                answers[name] = self._explain_one(
                    model, encoded, facts, out / name if len(states) > 1 else out, with_attention
                )
        return answers

    def _explain_one(
        self, model: Any, encoded: Any, facts: dict[str, Any], out: Path, with_attention: bool
    ) -> dict[str, Any]:
        if not with_attention:
            return self._told(model, encoded)
        out.mkdir(parents=True, exist_ok=True)
        with decoders.read_by_decoder(model) as read:
            captured = attention.capture(self.body(model), self.inputs(encoded, model), spool=out)
        of_decoder = decoders.decoder_facts(self.tokenizer, read[0]) if read else {}
        attention.save(captured, directory=out, **facts | of_decoder)
        found = {"directory": str(out), "checks": captured.checks}
        if captured.probabilities is not None:
            return found | {"probabilities": self._named(captured.probabilities.tolist())}
        return found | self._told(model, encoded)

    def _told(self, model: Any, encoded: Any) -> dict[str, Any]:
        """Return what a model that was not trained here says: probabilities by label or token, or else in words."""
        if self.trained is not None:
            return {"probabilities": {}}
        if self.writes:
            read = self.written(encoded, model)[0]
            said = self.tokenizer.decode(read[0], skip_special_tokens=True).strip()
            return {"probabilities": {}, "said": said}
        said = target.said_of(self, model, encoded)
        told = {"said": " ".join(said.answers)} if said.answers and not said.probabilities else {}
        return {"probabilities": said.probabilities} | told

    def _named(self, probabilities: list[float]) -> dict[str, float]:
        return dict(zip(self.labels, probabilities, strict=False))


def _load(run_dir: RunDir, spec: InspectSpec) -> Subject:
    if not spec.run:
        return _load_folder(spec)
    workspace = workspace_of(run_dir.path)
    trained = open_trained(workspace, spec.run, checkpoint=spec.checkpoint)
    tuned, tokenizer = trained.load()
    base, most = None, trained.max_positions
    if spec.against is not None:
        base, its_most = load_other(trained, tuned, tokenizer, workspace, spec.against)
        most = min(most, its_most)
    elif not hasattr(tuned, "disable_adapter") and spec.state != "tuned":
        base = trained.load_base(tokenizer)
    return Subject(tuned, base, tokenizer, most, trained.labels, trained)


def _load_folder(spec: InspectSpec) -> Subject:
    if spec.against is None:
        found = other = load_folder(spec.model)
    else:
        found, other = load_two(spec.model, spec.against)
    most = min(found.max_length, other.max_length)
    return Subject(found.model, other.model, found.tokenizer, most, found.labels, answers=found.answers,
                   lacks_head=found.lacks_head)  # fmt: skip
