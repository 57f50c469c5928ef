"""What an inspection is about: a model loaded once, asked text after text, before and after its fine-tuning."""

import contextlib
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from studio.attention import capture as attention
from studio.core import events as ev
from studio.core.anatomy import NEXT_TOKEN, WRITTEN
from studio.core.blocks import TokenTexts
from studio.core.commands import Explain
from studio.core.reasons import Failure
from studio.core.spec import InspectSpec
from studio.engine import decoders, evaluate, sees
from studio.engine.against import load_other, load_two
from studio.engine.folders import load_folder
from studio.engine.studies.target import said_of
from studio.engine.trained import Trained, open_trained
from studio.sources.texts import Texts
from studio.tasks.base import Rows, join_rows


def ignore(done: int, total: int) -> None:
    """Attend to nothing: what is asked between the parts of a study is short."""


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
        self.progress: Callable[[int, int], None] = ignore
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

    def said(self, asked: Explain, states: tuple[str, ...]) -> dict[str, str]:
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
        said = said_of(self, model, encoded)
        told = {"said": " ".join(said.answers)} if said.answers and not said.probabilities else {}
        return {"probabilities": said.probabilities} | told

    def _named(self, probabilities: list[float]) -> dict[str, float]:
        return dict(zip(self.labels, probabilities, strict=False))


def load_subject(workspace: Path, spec: InspectSpec) -> Subject:
    """Return what an inspection is about, loaded.

    Raises Failure: those of `open_trained`, `load_folder`, `load_other` and `load_two`.
    """
    if not spec.run:
        return _of_folder(spec)
    trained = open_trained(workspace, spec.run, checkpoint=spec.checkpoint)
    tuned, tokenizer = trained.load()
    base, most = None, trained.max_positions
    if spec.against is not None:
        base, its_most = load_other(trained, tuned, tokenizer, workspace, spec.against)
        most = min(most, its_most)
    elif not hasattr(tuned, "disable_adapter") and spec.state != "tuned":
        base = trained.load_base(tokenizer)
    return Subject(tuned, base, tokenizer, most, trained.labels, trained)


def _of_folder(spec: InspectSpec) -> Subject:
    if spec.against is None:
        found = other = load_folder(spec.model)
    else:
        found, other = load_two(spec.model, spec.against)
    most = min(found.max_length, other.max_length)
    return Subject(found.model, other.model, found.tokenizer, most, found.labels, answers=found.answers,
                   lacks_head=found.lacks_head)  # fmt: skip
