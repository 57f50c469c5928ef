"""Extractive question answering: the words of a context that answer a question, or that it has no answer."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np

from studio.core.anatomy import token_head
from studio.core.blocks import Bars, Block, Histogram, Span, SpanText, SpanTexts
from studio.core.reasons import Failure, Problem
from studio.core.registry import PluginConfig
from studio.core.spec import setting
from studio.sources.texts import Texts, digest
from studio.tasks.answer_judging import answer_texts, judge_spans
from studio.tasks.base import Answers, Judged, Role, Rows, Task, columns_by_name, missing_columns, word_lengths
from studio.tasks.judging import log_softmax
from studio.tasks.squad_rules import f1
from studio.tasks.tagging import as_list

_NEEDED_ROWS = 10
_QUESTION_SHARE = 4  # a question has at most a quarter of the longest length
_NOWHERE = -1
_NEVER = 1e6  # a margin that no answer has


class Config(PluginConfig):
    """How a long context is read, and which spans can be an answer."""

    kind: Literal["question-answering"] = "question-answering"
    doc_stride: int = setting(
        128,
        "Overlap",
        "A context that is longer than the longest text is read in parts, which have so many tokens in common; at "
        "most half a part.",
        unit="tokens", ge=0, le=4096,
    )  # fmt: skip
    max_answer_length: int = setting(30, "Longest answer", "Longer spans are no answer.", unit="tokens", ge=1, le=512)
    n_best: int = setting(
        20, "Candidates", "Starts and ends, the likeliest ones of each part, among which the answer is sought.",
        advanced=True, ge=1, le=200,
    )  # fmt: skip
    null_threshold: float | Literal["auto"] = setting(
        "auto",
        "No answer from",
        "How much likelier than the best answer it must be that there is none, in logits. Automatic finds what gives "
        "the best F1 on the validation rows.",
        advanced=True,
    )


class QuestionAnswering(Task):
    """Learns to find the words of a context that answer a question."""

    id = "question-answering"
    label = "Question answering"
    summary = "Finds the words of a context that answer a question, or says that there are none."
    order = 30
    Config = Config
    auto_class = "AutoModelForQuestionAnswering"
    pipeline = "question-answering"
    sample = "question-answering.json"
    output_names = ("start_logits", "end_logits")
    target_names = ("start_positions", "end_positions")
    per_token = True
    is_plain = False
    main_metric = "f1"
    # Small steps, and more of them: with large batches a model that has never answered a question learns nothing.
    training = {"max_length": 384, "num_train_epochs": 5.0, "per_device_train_batch_size": 8}
    rate_factor = 3.0
    roles = (
        Role("context", "Context", "The text that holds the answer."),
        Role("question", "Question", "What is asked."),
        Role("answers", "Answers", "The answer's words, or JSON with text and answer_start.", is_gold=True),
    )

    # --- on tables ---------------------------------------------------------------------------------------------

    def suits(self, table: Any) -> bool:
        return {"context", "question", "answers"} <= {name.lower() for name in table.column_names}

    def guess_roles(self, table: Any) -> dict[str, str]:
        """Return a column for each role by its usual names."""
        return columns_by_name(table, _USUAL_NAMES)

    def check(self, table: Any, columns: dict[str, str]) -> list[Problem]:
        problems = missing_columns(table, columns, self.roles)
        if problems:
            return problems
        rows, wrong = self._read(table, columns)
        for role in ("context", "question"):
            if not any(rows.fields[role]):
                return [Problem("empty-texts", {}, f"columns.{role}")]
        if len(wrong["answers-nowhere"]) > len(rows) / 2:
            row = wrong["answers-nowhere"][0] + 1
            return [Problem("answers-not-there", {"n_rows": len(wrong["answers-nowhere"]), "row": row},
                            "columns.answers")]  # fmt: skip
        used = self.complete(rows)
        if len(used) < _NEEDED_ROWS:
            return [Problem("too-few-rows", {"n_rows": len(used), "needed": _NEEDED_ROWS}, "data.train")]
        if not any(rows.gold[i] for i in used):
            return [Problem("only-unanswerable", {}, "columns.answers")]
        found = []
        for reason in ("some-empty-texts", "some-empty-labels", "answers-nowhere"):
            if wrong[reason]:
                found.append(Problem(reason, {"n_rows": len(wrong[reason]), "row": wrong[reason][0] + 1}))
        copies = len(used) - len(set(rows.select(used).digests()))
        return [*found, Problem("duplicates", {"n_rows": copies})] if copies else found

    def overview(self, table: Any, columns: dict[str, str]) -> list[Block]:
        """Return how many questions have an answer, and how long the contexts and the answers are in words."""
        if not {columns.get("context"), columns.get("question")} <= set(table.column_names):
            return []
        rows, _ = self._read(table, columns)
        blocks: list[Block] = []
        answered = [gold for gold in rows.gold if gold]
        without = sum(gold is not None and not gold for gold in rows.gold)
        if answered or without:
            values = {"with an answer": float(len(answered)), "without": float(without)}
            blocks.append(Bars(title="Questions", values=values, unit="rows"))
        contexts = list(dict.fromkeys(rows.fields["context"]))
        for title, texts in (("Contexts", contexts), ("Answers", [gold[0][0] for gold in answered])):
            if texts:
                edges, heights = word_lengths(texts)
                blocks.append(Histogram(title=title, edges=edges, counts=heights, unit="words"))
        return blocks

    def rows_behind(self, reason: str, table: Any, columns: dict[str, str]) -> list[int]:
        rows, wrong = self._read(table, columns)
        if reason == "duplicates":
            used, digests = self.complete(rows), rows.digests()
            counts = Counter(digests[i] for i in used)
            return sorted((i for i in used if counts[digests[i]] > 1), key=lambda i: digests[i])
        return wrong.get(reason, [])

    def rows(self, table: Any, columns: dict[str, str]) -> Rows:
        return self._read(table, columns)[0]

    def _read(self, table: Any, columns: Mapping[str, str]) -> tuple[Rows, dict[str, list[int]]]:
        """Return the rows, whose gold is [(answer, start), …], and the places of those with something wrong."""
        fields = {role: Texts(table[columns[role]]) for role in ("context", "question")}
        wrong: dict[str, list[int]] = {"some-empty-texts": [], "some-empty-labels": [], "answers-nowhere": []}
        gold: list[Any] = [None] * table.num_rows
        if columns.get("answers") in table.column_names:
            for i, (context, cell) in enumerate(zip(fields["context"], Texts(table[columns["answers"]]), strict=True)):
                gold[i] = answers_in(cell, context)
                if not cell:
                    wrong["some-empty-labels"].append(i)
                elif gold[i] is None:
                    wrong["answers-nowhere"].append(i)
        for i, (context, question) in enumerate(zip(fields["context"], fields["question"], strict=True)):
            if not context or not question:
                wrong["some-empty-texts"].append(i)
        return Rows(fields, gold, range(table.num_rows)), wrong

    def groups(self, rows: Rows) -> list[bytes]:
        """All questions of one context stay in one part."""
        return [digest(context) for context in rows.fields["context"]]

    def looked_at(self, fields: Mapping[str, str]) -> tuple[str, str | None]:
        return fields.get("question", ""), fields.get("context") or None

    # --- for the model -----------------------------------------------------------------------------------------

    def head(self, labels: Sequence[str]) -> dict[str, Any]:
        return {"num_labels": 2}  # a start and an end

    def tensors(self, info: Any, labels: Sequence[str]) -> list[Any]:
        return token_head(info, 2, "classifier" if info.model_type == "modernbert" else "qa_outputs")

    def encode(self, batch: Mapping[str, Sequence[str]], tokenizer: Any, max_length: int) -> dict[str, list[Any]]:
        """Return the parts of each row; `starts` and `ends` are characters of the context, -1 for other tokens.

        `null` is the token that stands for no answer.
        """
        if not tokenizer.is_fast:
            raise Failure("tokenizer-slow", "model", kind=type(tokenizer).__name__)
        longest = max(1, max_length // _QUESTION_SHARE)
        room = max_length - longest - tokenizer.num_special_tokens_to_add(pair=True)
        asked = [question or "" for question in batch["question"]]
        found = tokenizer(asked, add_special_tokens=False, return_offsets_mapping=True)
        cut = [len(ids) > longest for ids in found["input_ids"]]
        for i in np.flatnonzero(cut):
            asked[i] = asked[i][: found["offset_mapping"][i][longest - 1][1]]
        encoded = tokenizer(
            asked, [context or "" for context in batch["context"]], truncation="only_second", max_length=max_length,
            stride=max(0, min(self.config.doc_stride, room // 2)), return_overflowing_tokens=True,
            return_offsets_mapping=True,
        )  # fmt: skip
        offsets, of_row = encoded.pop("offset_mapping"), encoded.pop("overflow_to_sample_mapping")
        starts, ends, null = [], [], []
        for i, each in enumerate(offsets):
            is_context = [place == 1 for place in encoded.sequence_ids(i)]
            starts.append([a if inside else _NOWHERE for inside, (a, _) in zip(is_context, each, strict=True)])
            ends.append([b if inside else _NOWHERE for inside, (_, b) in zip(is_context, each, strict=True)])
            ids = encoded["input_ids"][i]
            null.append(ids.index(tokenizer.cls_token_id) if tokenizer.cls_token_id in ids else 0)
        return dict(encoded) | {
            "row": list(of_row),
            "starts": starts,
            "ends": ends,
            "null": null,
            "cut": [cut[row] for row in of_row],
            "length": [len(ids) for ids in encoded["input_ids"]],
        }

    def targets(self, features: Any, rows: Rows, labels: Sequence[str]) -> dict[str, list[Any]]:
        starts, ends = [], []
        for row, begins, stops, null in zip(
            features["row"], features["starts"], features["ends"], features["null"], strict=True
        ):
            start, end = span_in(rows.gold[row], np.array(begins), np.array(stops), null)
            starts.append(start)
            ends.append(end)
        return {"start_positions": starts, "end_positions": ends}

    def token_labels(self, feature: Mapping[str, Any], labels: Sequence[str]) -> list[str]:
        start, end = feature.get("start_positions"), feature.get("end_positions")
        if start is None or start == feature["null"]:
            return []
        return ["answer" if start <= i <= end else "" for i in range(feature["length"])]

    def answers(self, outputs: Any, features: Mapping[str, Any], rows: Rows, labels: Sequence[str]) -> Answers:
        parts: list[list[int]] = [[] for _ in range(len(rows))]
        for i, row in enumerate(features["row"]):
            parts[row].append(i)
        begins, stops, nulls = list(features["starts"]), list(features["ends"]), list(features["null"])
        known = rows.gold if all(each is not None for each in rows.gold) else None
        spans, margins, losses = [], [], []
        for row, places in enumerate(parts):
            found, null, loss = [], np.inf, 0.0
            for i in places:
                logits, starts, ends = np.asarray(outputs[i], np.float64), np.array(begins[i]), np.array(stops[i])
                found += best_spans(logits, starts, ends, self.config.n_best, self.config.max_answer_length)
                null = min(null, float(logits[nulls[i]].sum()))
                if known is not None:
                    logs = log_softmax(logits.T)
                    at = span_in(known[row], starts, ends, nulls[i])
                    loss -= float(logs[0, at[0]] + logs[1, at[1]]) / 2 / len(places)
            found.sort(key=lambda each: -each[0])
            best = found[0] if found else (-np.inf, 0, 0)
            spans.append(best[1:])
            margins.append(min(_NEVER, null - best[0]))
            losses.append(loss)
        threshold = self.config.null_threshold
        if threshold == "auto":  # not found yet
            threshold = _NEVER if known is not None and all(known) else 0.0
        is_null = [margin > threshold for margin in margins]
        told = [
            "" if no else context[start:end]
            for no, (start, end), context in zip(is_null, spans, rows.fields["context"], strict=True)
        ]
        columns = {
            "predicted": told,
            "answer_start": [_NOWHERE if no else start for no, (start, _) in zip(is_null, spans, strict=True)],
            "no_answer_margin": margins,
        }
        values = {"told": told, "spans": spans, "margins": np.array(margins), "losses": np.array(losses)}
        return Answers(columns, values)

    def score(self, answers: Answers, gold: Sequence[Any], labels: Sequence[str]) -> float:
        pairs = zip(answers.values["told"], gold, strict=True)
        return float(np.mean([f1(told, answer_texts(each)) for told, each in pairs]))

    def judge(self, answers: Answers, rows: Rows, labels: Sequence[str]) -> Judged:
        return judge_spans(answers, rows)

    def settings_of_features(self) -> dict[str, Any]:
        return {"doc_stride": self.config.doc_stride}

    def fitted(self, answers: Answers | None, rows: Rows) -> PluginConfig:
        if self.config.null_threshold != "auto" or (answers is None and not all(rows.gold)):
            return self.config
        if all(rows.gold):
            return self.config.model_copy(update={"null_threshold": _NEVER})
        values, contexts = answers.values, rows.fields["context"]
        spoken = [context[a:b] for context, (a, b) in zip(contexts, values["spans"], strict=True)]
        golds = [answer_texts(each) for each in rows.gold]
        threshold = best_threshold(values["margins"], [f1(a, b) for a, b in zip(spoken, golds, strict=True)],
                                   [f1("", each) for each in golds])  # fmt: skip
        return self.config.model_copy(update={"null_threshold": threshold})

    def gold_text(self, gold: Any) -> str:
        return "" if gold is None else " | ".join(dict.fromkeys(answer_texts(gold)))

    def explain(self, answers: Answers, fields: Mapping[str, str], labels: Sequence[str]) -> list[Block]:
        start, end = answers.values["spans"][0]
        found = [Span(start=start, end=end, label="answer")] if answers.values["told"][0] else []
        note = fields["question"] if found else f"{fields['question']} (no answer)"
        return [SpanTexts(texts=[SpanText(text=fields["context"], predicted=found, note=note)])]


def answers_in(cell: str, context: str) -> list[tuple[str, int]] | None:
    """Return answers with their place in a context; [] where there is none, None where a cell says nothing usable.

    cell: JSON of {"text": [...], "answer_start": [...]}, or of a list of answers, or the words of one. Answers that do
    not stand where they should are sought in the context.
    """
    if not cell:
        return None
    value: Any = as_list(cell)
    if value is None and cell.startswith("{"):
        try:
            value = json.loads(cell)
        except ValueError:
            value = None
    if isinstance(value, dict):
        texts, starts = value.get("text"), value.get("answer_start")
        texts = [texts] if isinstance(texts, str) else texts
        if not isinstance(texts, list):
            return None
        starts = starts if isinstance(starts, list) and len(starts) == len(texts) else [starts] * len(texts)
    else:
        texts = value if isinstance(value, list) else [cell]
        starts = [None] * len(texts)
    if not texts:
        return []
    found = []
    for text, start in zip(texts, starts, strict=True):
        if not isinstance(text, str) or not text.strip():
            continue
        if not isinstance(start, int) or start < 0 or not context.startswith(text, start):
            start = context.find(text)
        if start >= 0:
            found.append((text, start))
    return found or None


def span_in(gold: Any, starts: np.ndarray, ends: np.ndarray, null: int) -> tuple[int, int]:
    """Return the first and the last token of the first answer, `null` twice where a part does not hold all of it."""
    if not gold:
        return null, null
    begin, end = gold[0][1], gold[0][1] + len(gold[0][0])
    inside = np.flatnonzero((starts >= 0) & (ends > starts))
    if not len(inside) or starts[inside[0]] > begin or ends[inside[-1]] < end:
        return null, null
    touched = inside[(starts[inside] < end) & (ends[inside] > begin)]
    return (int(touched[0]), int(touched[-1])) if len(touched) else (null, null)


def best_spans(
    logits: np.ndarray, starts: np.ndarray, ends: np.ndarray, n_best: int, longest: int
) -> list[tuple[float, int, int]]:
    """Return score, first and last character of spans of a part, from its likeliest starts and ends."""
    inside = np.flatnonzero((starts >= 0) & (ends > starts))
    first = inside[np.argsort(-logits[inside, 0], kind="stable")[:n_best]]
    last = inside[np.argsort(-logits[inside, 1], kind="stable")[:n_best]]
    sums = logits[first, 0][:, None] + logits[last, 1][None]
    fits = (last[None] >= first[:, None]) & (last[None] < first[:, None] + longest)
    places = np.argwhere(fits)
    order = np.argsort(-sums[fits], kind="stable")[:n_best]
    return [(float(sums[i, k]), int(starts[first[i]]), int(ends[last[k]])) for i, k in places[order]]


def best_threshold(margins: np.ndarray, spoken: Sequence[float], silent: Sequence[float]) -> float:
    """Return the margin above which no answer is given, so that the mean of what is gained is highest.

    margins: how much likelier no answer is than the best one [rows]. spoken, silent: what a row gains with its best
    answer, and with none [rows]. In the middle between two margins, as near to 0 as the best ones are.
    """
    order = np.argsort(margins, kind="stable")
    sorted_margins = margins[order]
    gains = np.concatenate([[0.0], np.cumsum(np.array(spoken)[order] - np.array(silent)[order])])
    between = np.concatenate([[sorted_margins[0] - 1], (sorted_margins[1:] + sorted_margins[:-1]) / 2,
                              [sorted_margins[-1] + 1]])  # fmt: skip
    # Rows with the same margin can't be told apart.
    apart = np.concatenate([[True], sorted_margins[1:] > sorted_margins[:-1], [True]])
    best = np.flatnonzero(apart & (gains >= gains[apart].max() - 1e-9))
    return float(between[best[np.abs(between[best]).argmin()]])


_USUAL_NAMES = {
    "context": ["context", "passage", "paragraph", "document", "text"],
    "question": ["question", "query"],
    "answers": ["answers", "answer", "answer_text"],
}

PLUGIN = QuestionAnswering(Config())
