"""Token classification: entities in a text (names, dates, …), or a class for each of its words (parts of speech)."""

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
from studio.tasks.base import (
    MASKED,
    Answers,
    Judged,
    Role,
    Rows,
    Task,
    columns_by_name,
    missing_columns,
    word_lengths,
)
from studio.tasks.judging import log_softmax
from studio.tasks.tag_judging import judge_classes, judge_entities
from studio.tasks.tagging import (
    OUTSIDE,
    entities_of,
    first_pieces,
    gold_tags,
    has_tags,
    holds_spans,
    iob2,
    is_tags,
    joined_words,
    spans_in,
    spans_over,
    token_labels,
    types_in,
    word_places,
    words_in,
    words_under,
)

_MOST_LABELS = 200
_NEEDED_ROWS = 10
_RARE = 3  # rows: one for each part of the split
_LOOKED_AT = 200  # rows that tell what a column holds

ENTITIES = "entities"
CLASSES = "classes"


class Config(PluginConfig):
    """What is said of the words, and which of their pieces learn it."""

    kind: Literal["token-classification"] = "token-classification"
    answer: Literal["entities", "classes"] = setting(
        ENTITIES,
        "Answer",
        "Entities: some words belong together and have a type, such as names; the data has tags (B-PER, I-PER, O) or "
        "spans of characters. Classes: every word has one, such as its part of speech.",
    )
    label_all_pieces: bool = setting(
        False,
        "Label all pieces",
        "A word that the tokenizer cuts into pieces is learned at its first one; with this at all of them.",
        advanced=True,
    )


class TokenClassification(Task):
    """Learns to find entities in a text, or to give each of its words a class."""

    id = "token-classification"
    label = "Token classification"
    summary = "Finds entities such as names in a text, or gives each word a class such as its part of speech."
    order = 20
    Config = Config
    auto_class = "AutoModelForTokenClassification"
    pipeline = "token-classification"
    sample = "token-classification.conll"
    training = {"num_train_epochs": 5.0}
    rate_factor = 2.0
    per_token = True
    roles = (
        Role("text", "Text", "What the model reads: words with one blank between, a list of them, or running text."),
        Role("labels", "Tags or spans", "One tag a word, or spans with start, end and label.", is_gold=True),
    )

    @property
    def main_metric(self) -> str:
        return "entity_f1" if self.config.answer == ENTITIES else "accuracy"

    # --- on tables ---------------------------------------------------------------------------------------------

    def suits(self, table: Any) -> bool:
        names = {name.lower() for name in table.column_names}
        return {"tokens", "tags"} <= names or {"text", "spans"} <= names

    def guess_roles(self, table: Any) -> dict[str, str]:
        """Return a column for each role, by name first, by content second: as many tags as words, or spans."""
        found = columns_by_name(table, _USUAL_NAMES)
        if len(found) == len(self.roles):
            return found
        sample = {name: list(Texts(table.slice(0, _LOOKED_AT)[name])) for name in table.column_names}
        if "labels" not in found:
            kinds = {name: len({w for cell in cells for w in words_in(cell)}) for name, cells in sample.items()}
            spans = [name for name in sample if any(sample[name]) and holds_spans(sample[name])]
            even = [
                name for name in sample
                if any(len(words_in(cell)) > 1 for cell in sample[name])
                and any(_is_even(sample[other], sample[name]) for other in sample if other != name)
            ]  # fmt: skip
            best = next(iter(spans), min(even, key=lambda name: kinds[name], default=""))
            found |= {"labels": best} if best and best != found.get("text") else {}
        if "text" not in found:
            free = [name for name in sample if name not in found.values()]
            mean = {name: sum(map(len, sample[name])) for name in free}
            found |= {"text": max(free, key=mean.__getitem__)} if free else {}
        return {role.id: found[role.id] for role in self.roles if found.get(role.id)}

    def check(self, table: Any, columns: dict[str, str]) -> list[Problem]:
        problems = missing_columns(table, columns, self.roles)
        if problems:
            return problems
        rows, wrong = self._read(table, columns)
        if not any(rows.fields["text"]):
            return [Problem("empty-texts", {}, "columns.text")]
        cells = Texts(table[columns["labels"]])
        if self.config.answer == CLASSES and holds_spans(cells):
            return [Problem("spans-no-classes", {}, "columns.labels")]
        if wrong["uneven"] and len(wrong["uneven"]) > len(rows) / 2:
            return [self._uneven(wrong["uneven"], rows, cells, "columns.labels")]
        used = self.complete(rows)
        if len(used) < _NEEDED_ROWS:
            return [Problem("too-few-rows", {"n_rows": len(used), "needed": _NEEDED_ROWS}, "data.train")]
        found = self._check_labels([rows.gold[i] for i in used])
        return found if any(p.field for p in found) else found + self._told(rows, cells, wrong, used)

    def _check_labels(self, gold: list[Any]) -> list[Problem]:
        counts = self._counts(gold)
        if not counts:
            return [Problem("no-entities", {}, "columns.labels")]
        if self.config.answer == CLASSES and len(counts) == 1:
            return [Problem("one-class", {"label": next(iter(counts))}, "columns.labels")]
        if self.config.answer == ENTITIES and all(is_tags(each) and OUTSIDE not in each for each in gold):
            return [Problem("tags-no-entities", {"tag": gold[0][0][2:]}, "columns.labels")]
        if len(counts) > _MOST_LABELS:
            return [Problem("too-many-classes", {"n_labels": len(counts), "n_rows": len(gold)}, "columns.labels")]
        rare = sorted(label for label, n in self._counts(gold, by_row=True).items() if n < _RARE)
        facts = {"n_labels": len(rare), "needed": _RARE, "labels": ", ".join(rare[:5])}
        return [Problem("rare-class", facts)] if rare else []

    def _told(self, rows: Rows, cells: Sequence[str], wrong: dict[str, list[int]], used: list[int]) -> list[Problem]:
        """Return what a person should know of rows that can be trained on."""
        texts, found = rows.fields["text"], []
        no_text, no_label = sum(not text for text in texts), sum(not cell for cell in cells)
        if no_text:
            found.append(Problem("some-empty-texts", {"n_rows": no_text}))
        if no_label:
            found.append(Problem("some-empty-labels", {"n_rows": no_label}))
        if wrong["uneven"]:
            found.append(self._uneven(wrong["uneven"], rows, cells))
        for reason in ("spans-lost", "spans-in-words"):
            if wrong[reason]:
                found.append(Problem(reason, {"n_rows": len(wrong[reason]), "row": wrong[reason][0] + 1}))
        copies = len(used) - len({digest(text) for text in texts.select(used)})
        return [*found, Problem("duplicates", {"n_rows": copies})] if copies else found

    def _uneven(self, places: list[int], rows: Rows, cells: Sequence[str], field: str = "") -> Problem:
        first = places[0]
        n_words, n_tags = len(word_places(rows.fields["text"][first], True)), len(words_in(cells[first]))
        reason = "tags-uneven" if field else "some-tags-uneven"
        return Problem(
            reason, {"n_rows": len(places), "row": first + 1, "n_words": n_words, "n_tags": n_tags}, field
        )  # fmt: skip

    def overview(self, table: Any, columns: dict[str, str]) -> list[Block]:
        """Return how many entities of each type there are, or words of each class, and how long the texts are."""
        if columns.get("text") not in table.column_names:
            return []
        rows, _ = self._read(table, columns)
        edges, heights = word_lengths(rows.fields["text"])
        blocks: list[Block] = [Histogram(title="Lengths", edges=edges, counts=heights, unit="words")]
        counts = self._counts([gold for gold in rows.gold if gold])
        if counts:
            title, unit = ("Entities", "entities") if self.config.answer == ENTITIES else ("Classes", "words")
            blocks.insert(0, Bars(title=title, values={k: float(n) for k, n in counts.most_common(30)}, unit=unit))
        return blocks

    def rows_behind(self, reason: str, table: Any, columns: dict[str, str]) -> list[int]:
        rows, wrong = self._read(table, columns)
        texts, cells = rows.fields["text"], Texts(table[columns["labels"]])
        if reason == "some-empty-texts":
            return [i for i, text in enumerate(texts) if not text]
        if reason == "some-empty-labels":
            return [i for i, cell in enumerate(cells) if not cell]
        if reason == "some-tags-uneven":
            return wrong["uneven"]
        if reason == "rare-class":
            counts = self._counts([rows.gold[i] for i in self.complete(rows)], by_row=True)
            rare = {label for label, n in counts.items() if n < _RARE}
            return [i for i, gold in enumerate(rows.gold) if gold and rare & set(self._counts([gold]))]
        if reason == "duplicates":
            counts = Counter(digest(text) for text in texts.select(self.complete(rows)))
            return sorted((i for i in self.complete(rows) if counts[digest(texts[i])] > 1), key=lambda i: texts[i])
        return wrong.get(reason, [])

    def rows(self, table: Any, columns: dict[str, str]) -> Rows:
        return self._read(table, columns)[0]

    def _read(self, table: Any, columns: Mapping[str, str]) -> tuple[Rows, dict[str, list[int]]]:
        """Return the rows, and the places of those with something wrong, by what it is."""
        texts = joined_words(Texts(table[columns["text"]]))
        wrong: dict[str, list[int]] = {"uneven": [], "spans-lost": [], "spans-in-words": []}
        if columns.get("labels") not in table.column_names:
            return Rows({"text": texts}, [None] * len(texts), range(len(texts))), wrong
        cells = Texts(table[columns["labels"]])
        read = self._spans if holds_spans(cells) else self._tags
        pairs = enumerate(zip(texts, cells, strict=True))
        gold = [read(i, text, cell, wrong) if cell else None for i, (text, cell) in pairs]
        return Rows({"text": texts}, gold, range(len(texts))), wrong

    def _tags(self, i: int, text: str, cell: str, wrong: dict[str, list[int]]) -> tuple[str, ...] | None:
        tags = words_in(cell)
        if not tags or len(tags) != len(word_places(text, True)):
            wrong["uneven"].append(i)
            return None
        is_known = self.config.answer == CLASSES or all(tag == OUTSIDE for tag in tags)
        return tuple(tags) if is_known else tuple(iob2(entities_of(tags), len(tags)))

    def _spans(self, i: int, text: str, cell: str, wrong: dict[str, list[int]]) -> tuple[Any, ...] | None:
        if self.config.answer == CLASSES:
            return None
        spans, n_lost = spans_in(cell, text)
        if n_lost:
            wrong["spans-lost"].append(i)
        words = word_places(text, False)
        if {span[:2] for span in spans} != {span[:2] for span in spans_over(words_under(spans, words), words)}:
            wrong["spans-in-words"].append(i)
        return tuple(spans)

    def _counts(self, gold: Sequence[Any], by_row: bool = False) -> Counter[str]:
        """Return how many entities each type has, or words each class, or how many rows have them."""
        found: Counter[str] = Counter()
        for each in gold:
            if self.config.answer == CLASSES:
                names = list(each)
            else:
                names = [kind for *_, kind in (entities_of(each) if is_tags(each) else each)]
            found.update(set(names) if by_row else names)
        return found

    def labels(self, gold: Sequence[Any]) -> list[str]:
        """Return the classes by name, or `O` and a tag for the beginning and the inside of each type."""
        kinds = sorted(self._counts([each for each in gold if each]))
        if self.config.answer == CLASSES:
            return kinds
        return [OUTSIDE, *(f"{prefix}-{kind}" for kind in kinds for prefix in "BI")]

    # --- for the model -----------------------------------------------------------------------------------------

    def tensors(self, info: Any, labels: Sequence[str]) -> list[Any]:
        return token_head(info, len(labels))

    def settings_of_features(self) -> dict[str, Any]:
        return {}

    def encode(self, batch: Mapping[str, Sequence[str]], tokenizer: Any, max_length: int) -> dict[str, list[Any]]:
        if not tokenizer.is_fast:
            raise Failure("tokenizer-slow", "model", kind=type(tokenizer).__name__)
        encoded = tokenizer(
            [text or "" for text in batch["text"]], truncation=True, max_length=max_length, return_offsets_mapping=True
        )
        offsets = encoded.pop("offset_mapping")
        return dict(encoded) | {
            "starts": [[start for start, _ in each] for each in offsets],
            "ends": [[end for _, end in each] for each in offsets],
            "cut": [bool(each.overflowing) for each in encoded.encodings],
            "length": [len(ids) for ids in encoded["input_ids"]],
        }

    def targets(self, features: Any, rows: Rows, labels: Sequence[str]) -> dict[str, list[Any]]:
        number = {label: i for i, label in enumerate(labels)}
        by_blanks, found = has_tags(rows.gold), []
        pairs = zip(rows.fields["text"], rows.gold, features["starts"], features["ends"], strict=True)
        for text, gold, starts, ends in pairs:
            words = word_places(text, by_blanks)
            tags = gold_tags(gold, words)
            all_pieces = self.config.label_all_pieces
            found.append(token_labels(tags, words, starts, ends, number, MASKED, all_pieces))
        return {"labels": found}

    def collator(self, tokenizer: Any) -> Any:
        from transformers import DataCollatorForTokenClassification

        return DataCollatorForTokenClassification(tokenizer, pad_to_multiple_of=8)

    def answers(self, outputs: Any, features: Mapping[str, Any], rows: Rows, labels: Sequence[str]) -> Answers:
        by_blanks, is_entities = has_tags(rows.gold), self.config.answer == ENTITIES
        all_tags, all_logs, all_words, told, chances = [], [], [], [], []
        for logits, text, starts, ends in zip(
            outputs, rows.fields["text"], features["starts"], features["ends"], strict=True
        ):
            words = word_places(text, by_blanks)
            pieces = first_pieces(starts, ends, words)
            logs = log_softmax(np.asarray(logits))[pieces]
            best = logs.argmax(-1)
            # Words that were cut off get the answer that claims least.
            tags = [labels[k] if piece >= 0 else OUTSIDE for k, piece in zip(best, pieces, strict=True)]
            if is_entities:
                tags = iob2(entities_of(tags), len(tags))
            all_tags.append(tags)
            all_logs.append(np.where(pieces[:, None] >= 0, logs, np.nan))
            all_words.append(words)
            chances.append(float(np.exp(logs.max(-1))[pieces >= 0].mean()) if (pieces >= 0).any() else 0.0)
            told.append(" ".join(tags) if by_blanks else spans_json(tags, words, is_entities))
        columns = {"predicted": told, "probability": chances}
        return Answers(columns, {"tags": all_tags, "logs": all_logs, "words": all_words})

    def score(self, answers: Answers, gold: Sequence[Any], labels: Sequence[str]) -> float:
        n_both = n_told = n_true = 0
        for tags, words, each in zip(answers.values["tags"], answers.values["words"], gold, strict=True):
            true = gold_tags(each, words)
            if self.config.answer == ENTITIES:
                ours, theirs = set(entities_of(tags)), set(entities_of(true))
            else:
                ours, theirs = set(enumerate(tags)), set(enumerate(true))
            n_both, n_told, n_true = n_both + len(ours & theirs), n_told + len(ours), n_true + len(theirs)
        return 2 * n_both / max(1, n_told + n_true)  # F1, which is the accuracy where both have as many

    def judge(self, answers: Answers, rows: Rows, labels: Sequence[str]) -> Judged:
        gold = [gold_tags(each, words) for each, words in zip(rows.gold, answers.values["words"], strict=True)]
        return (judge_entities if self.config.answer == ENTITIES else judge_classes)(answers, gold, rows, list(labels))

    def gold_text(self, gold: Any) -> str:
        if gold is None:
            return ""
        if is_tags(gold):
            return " ".join(gold)
        return json.dumps([dict(zip(("start", "end", "label"), each, strict=True)) for each in gold])

    def explain(self, answers: Answers, fields: Mapping[str, str], labels: Sequence[str]) -> list[Block]:
        tags, words = answers.values["tags"][0], answers.values["words"][0]
        found = spans_over(entities_of(tags), words) if self.config.answer == ENTITIES else _each(tags, words)
        spans = [Span(start=start, end=end, label=label) for start, end, label in found]
        kinds = types_in(labels) if self.config.answer == ENTITIES else list(labels)
        return [SpanTexts(texts=[SpanText(text=fields["text"], predicted=spans)], labels=kinds)]


def spans_json(tags: Sequence[str], words: np.ndarray, is_entities: bool) -> str:
    """Return the answer to a running text: entities, or the class of each word, as JSON spans of characters."""
    found = spans_over(entities_of(tags), words) if is_entities else _each(tags, words)
    spans = [{"start": start, "end": end, "label": label} for start, end, label in found]
    return json.dumps(spans, ensure_ascii=False)


def _each(tags: Sequence[str], words: np.ndarray) -> list[tuple[int, int, str]]:
    return [(int(start), int(end), tag) for (start, end), tag in zip(words, tags, strict=True)]


def _is_even(cells: Sequence[str], others: Sequence[str]) -> bool:
    pairs = list(zip(cells, others, strict=True))
    return sum(len(words_in(a)) == len(words_in(b)) for a, b in pairs) > 0.9 * len(pairs)


_USUAL_NAMES = {
    "text": ["tokens", "words", "text", "sentence", "content", "document"],
    "labels": ["tags", "ner_tags", "ner", "spans", "entities", "labels", "pos", "upos", "pos_tags", "label"],
}

PLUGIN = TokenClassification(Config())
