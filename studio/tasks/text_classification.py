"""Text classification: one of several labels for each text, any number of them, or a number; also for pairs."""

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from pydantic import Field

from studio.core.blocks import Bars, Block, Histogram, Tiles
from studio.core.reasons import Problem
from studio.core.registry import PluginConfig
from studio.core.spec import setting
from studio.sources.texts import Texts, digest
from studio.tasks.base import Answers, Judged, Role, Rows, Sample, Task, columns_by_name, missing_columns, word_lengths
from studio.tasks.judging import judge_numbers, judge_one, judge_several, log_softmax, spearman

_MOST_LABELS = 200
_NEEDED_ROWS = 10
_MOST_SHOWN = 12  # labels of one text
_RARE = 3  # rows: one for each part of the split

SINGLE = "single_label_classification"
MULTI = "multi_label_classification"
NUMBER = "regression"
_HALF = 0.5  # the probability from which a label of several counts


class Config(PluginConfig):
    """What is said of each text; names as transformers has them."""

    kind: Literal["text-classification"] = "text-classification"
    problem_type: Literal["single_label_classification", "multi_label_classification", "regression"] = setting(
        SINGLE,
        "Answer",
        "One label: exactly one of several. Several labels: any number of them, such as all topics of a text; a cell "
        "holds them with ; or | or , between, or as a JSON list. A number: such as a rating or a similarity.",
    )
    # Without a title it is in no form: off, a training is what transformers alone would do.
    starts_at_mean: bool = Field(
        True,
        description="Several labels and a number: before the first step the model answers as the training rows do on "
        "average, with each label's share, or with about their mean number; it need not learn that first.",
    )


class TextClassification(Task):
    """Learns to give each text (or pair of texts) one label, several labels or a number."""

    id = "text-classification"
    label = "Text classification"
    summary = "Gives each text one of several labels, any number of labels, or a number."
    order = 10
    Config = Config
    auto_class = "AutoModelForSequenceClassification"
    pipeline = "text-classification"
    sample = "support_desk.csv"
    more_samples = (
        Sample(
            "Several labels", "Notices of a town hall, each with any number of topics.", "town_notices.csv",
            {"problem_type": MULTI},
        ),
        Sample(
            "Numbers", "Reviews of a guesthouse and their stars.", "guesthouse_reviews.csv", {"problem_type": NUMBER}
        ),
        Sample("Pairs of texts", "Statements, and claims that follow, contradict or are left open.", "claims.csv"),
    )  # fmt: skip
    roles = (
        Role("text", "Text", "What the model reads."),
        Role("text_pair", "Second text", "Where two texts are compared: the other one.", is_optional=True),
        Role("label", "Label", "What the model learns to say.", is_gold=True),
    )

    @property
    def main_metric(self) -> str:
        return {SINGLE: "accuracy", MULTI: "f1_micro", NUMBER: "spearman"}[self.config.problem_type]

    @property
    def can_smooth(self) -> bool:
        return self.config.problem_type == SINGLE

    @property
    def rate_factor(self) -> float:
        # A label is one answer of several to a row, and most rows lack it: at the usual rate all stay below one half.
        return 3.0 if self.config.problem_type == MULTI else 1.0

    # --- on tables ---------------------------------------------------------------------------------------------

    def guess_roles(self, table: Any) -> dict[str, str]:
        """Return a column for each role, by name first and by content second; roles without a guess are absent."""
        found = columns_by_name(table, _PAIRS) if _is_pair(table) else {}
        found = columns_by_name(table, _USUAL_NAMES) | found
        sample = table.slice(0, 2000)
        stats = {name: _column_stats(sample[name].to_pylist()) for name in table.column_names}
        if "text" not in found:
            free = [n for n in stats if n not in found.values()]
            found["text"] = max(free, key=lambda n: stats[n][0], default="")
        if "label" not in found:
            n_rows = max(1, sample.num_rows)
            free = [n for n in stats if n not in found.values() and 1 < stats[n][1] <= self._most_values(n_rows)]
            found["label"] = min(free, key=lambda n: (stats[n][0], stats[n][1]), default="")
        return {role.id: found[role.id] for role in self.roles if found.get(role.id)}

    def _most_values(self, n_rows: int) -> float:
        return min(_MOST_LABELS, n_rows // 2 + 1) if self.config.problem_type == SINGLE else np.inf

    def check(self, table: Any, columns: dict[str, str]) -> list[Problem]:
        problems = missing_columns(table, columns, self.roles)
        if problems:
            return problems
        # Digests stand for the texts, so that these are not held in memory all at once.
        texts = [digest(text) if text else None for text in Texts(table[columns["text"]])]
        cells = self._cells(table, columns)
        no_text = sum(not t for t in texts)
        if no_text == len(texts):
            return [Problem("empty-texts", {}, "columns.text")]
        gold, wrong = self._gold(cells)
        if wrong:
            facts = {"n_rows": len(wrong), "row": wrong[0] + 1, "value": cells[wrong[0]][:40]}
            return [Problem("not-a-number", facts, "columns.label")]
        used = [(t, v) for t, v in zip(texts, gold, strict=True) if t and v is not None]
        found = self._check_gold([v for _, v in used])
        if any(problem.field for problem in found):
            return found
        no_label = sum(v is None for v in gold)
        if no_text:
            found.insert(0, Problem("some-empty-texts", {"n_rows": no_text}))
        if no_label:
            found.insert(bool(no_text), Problem("some-empty-labels", {"n_rows": no_label}))
        copies = len(used) - len({t for t, _ in used})
        if copies and "text_pair" not in columns:
            found.append(Problem("duplicates", {"n_rows": copies}))
        return found

    def _check_gold(self, gold: list[Any]) -> list[Problem]:
        if len(gold) < _NEEDED_ROWS:
            return [Problem("too-few-rows", {"n_rows": len(gold), "needed": _NEEDED_ROWS}, "data.train")]
        if self.config.problem_type == NUMBER:
            return [Problem("one-number", {"value": gold[0]}, "columns.label")] if len(set(gold)) == 1 else []
        counts = self._counts(gold)
        if self.config.problem_type == SINGLE and len(counts) == 1:
            return [Problem("one-class", {"label": next(iter(counts))}, "columns.label")]
        if not counts:
            return [Problem("no-labels", {}, "columns.label")]
        if len(counts) > _MOST_LABELS or len(counts) > len(gold) / 2:
            return [Problem("too-many-classes", {"n_labels": len(counts), "n_rows": len(gold)}, "columns.label")]
        rare = sorted(label for label, n in counts.items() if n < _RARE)
        facts = {"n_labels": len(rare), "needed": _RARE, "labels": ", ".join(rare[:5])}
        found = [Problem("rare-class", facts)] if rare else []
        if self.config.problem_type == SINGLE and _looks_like_several(counts):
            found.append(Problem("several-labels", {"label": max(counts, key=len)}))
        return found

    def overview(self, table: Any, columns: dict[str, str]) -> list[Block]:
        """Return what the rows are: how many of each label, and how long the texts are in words."""
        if columns.get("text") not in table.column_names:
            return []
        texts = Texts(table[columns["text"]])
        if columns.get("text_pair") in table.column_names:
            texts = [f"{a} {b}" for a, b in zip(texts, Texts(table[columns["text_pair"]]), strict=True)]
        edges, counts = word_lengths(texts)
        blocks: list[Block] = [Histogram(title="Lengths", edges=edges, counts=counts, unit="words")]
        gold = [v for v in self._gold(self._cells(table, columns))[0] if v is not None]
        if self.config.problem_type == NUMBER and gold:
            heights, edges = np.histogram(gold, min(30, len(set(gold))))
            numbers = Histogram(title="Numbers", edges=edges.tolist(), counts=heights.tolist(), unit="rows")
            blocks.insert(0, numbers)
        elif gold:
            is_single = self.config.problem_type == SINGLE
            values = {label: float(n) for label, n in self._counts(gold).most_common()}
            select = columns["label"] if is_single else ""
            bars = Bars(title="Labels", values=values, unit="rows", select=select, whole=len(gold))
            blocks.insert(0, bars)
        return blocks

    def rows_behind(self, reason: str, table: Any, columns: dict[str, str]) -> list[int]:
        texts = Texts(table[columns["text"]])
        gold, _ = self._gold(self._cells(table, columns))
        pairs = enumerate(zip(texts, gold, strict=True))
        if reason == "some-empty-texts":
            return [i for i, (text, _) in pairs if not text]
        if reason == "some-empty-labels":
            return [i for i, (_, label) in pairs if label is None]
        if reason == "rare-class":
            counts = self._counts([v for t, v in zip(texts, gold, strict=True) if t and v is not None])
            rare = {label for label, n in counts.items() if n < _RARE}
            return [i for i, (text, label) in pairs if text and label is not None and rare & set(self._names(label))]
        if reason == "duplicates":
            counts = Counter(digest(t) for t, v in zip(texts, gold, strict=True) if t and v is not None)
            places = [i for i, (text, label) in pairs if label is not None and counts[digest(text)] > 1]
            return sorted(places, key=lambda i: (texts[i], i))
        return []

    def rows(self, table: Any, columns: dict[str, str]) -> Rows:
        fields = {"text": Texts(table[columns["text"]])}
        if columns.get("text_pair") in table.column_names:
            fields["text_pair"] = Texts(table[columns["text_pair"]])
        return Rows(fields, self._gold(self._cells(table, columns))[0], range(table.num_rows))

    def _cells(self, table: Any, columns: Mapping[str, str]) -> Sequence[str]:
        if columns.get("label") not in table.column_names:
            return [""] * table.num_rows
        return Texts(table[columns["label"]])

    def _gold(self, cells: Sequence[str]) -> tuple[list[Any], list[int]]:
        """Return label, labels (a tuple) or number of each cell, None where there is none, and cells that are wrong."""
        known: dict[str, Any] = {"": () if self.config.problem_type == MULTI and any(cells) else None}
        wrong = []
        found = []
        for i, cell in enumerate(cells):  # each value once, however many rows have it
            if cell not in known:
                known[cell] = self._parse(cell)
            if known[cell] is None and cell:
                wrong.append(i)
            found.append(known[cell])
        return found, wrong

    def _parse(self, cell: str) -> Any:
        if self.config.problem_type == MULTI:
            return split_labels(cell)
        if self.config.problem_type == NUMBER:
            return to_number(cell)
        return cell

    def _names(self, gold: Any) -> Sequence[str]:
        return gold if self.config.problem_type == MULTI else [gold]

    def _counts(self, gold: Sequence[Any]) -> Counter[str]:
        return Counter(name for each in gold for name in self._names(each))

    def labels(self, gold: Sequence[Any]) -> list[str]:
        """Return the different labels in a stable order: by number if all are numbers, else by name."""
        if self.config.problem_type == NUMBER:
            return []
        found = sorted(self._counts([each for each in gold if each is not None]))
        try:
            numbers = {v: float(v) for v in found}
        except ValueError:
            return found
        return sorted(found, key=numbers.get) if np.isfinite(list(numbers.values())).all() else found

    def strata(self, rows: Rows) -> list[str] | None:
        return list(rows.gold) if self.config.problem_type == SINGLE else None

    # --- for the model -----------------------------------------------------------------------------------------

    def head(self, labels: Sequence[str]) -> dict[str, Any]:
        names = super().head(labels) if labels else {"num_labels": 1}
        return names | {"problem_type": self.config.problem_type}

    def head_start(self, gold: Sequence[Any], labels: Sequence[str]) -> tuple[list[float], float] | None:
        if self.config.problem_type == SINGLE or not self.config.starts_at_mean:
            return None
        if self.config.problem_type == NUMBER:
            return [float(np.mean(gold))], float(np.std(gold))
        n_each = self._matrix(gold, labels).sum(0)
        odds = (n_each + 0.5) / (len(gold) - n_each + 0.5)  # finite for a label that all rows have
        return np.log(odds).tolist(), 1.0

    def head_tensors(self, info: Any, labels: Sequence[str]) -> list[Any]:
        return super().head_tensors(info, labels or [""])

    def encode(self, batch: Mapping[str, Sequence[str]], tokenizer: Any, max_length: int) -> dict[str, list[Any]]:
        return encode_texts(batch["text"], batch.get("text_pair"), tokenizer, max_length)

    def targets(self, features: Any, rows: Rows, labels: Sequence[str]) -> dict[str, list[Any]]:
        number = {label: i for i, label in enumerate(labels)}
        if self.config.problem_type == NUMBER:
            return {"labels": [float(each) for each in rows.gold]}
        if self.config.problem_type == MULTI:
            return {"labels": self._matrix(rows.gold, labels).astype(float).tolist()}
        return {"labels": [number[label] for label in rows.gold]}

    def _matrix(self, gold: Sequence[Any], labels: Sequence[str]) -> np.ndarray:
        """Return 0 or 1 for each row and label."""
        return np.array([[label in self._names(each) for label in labels] for each in gold], dtype=int)

    def answers(self, outputs: Any, features: Mapping[str, Any], rows: Rows, labels: Sequence[str]) -> Answers:
        logits = np.asarray(outputs)
        if self.config.problem_type == NUMBER:
            return Answers({"predicted": logits[:, 0].tolist()}, {"numbers": logits[:, 0].astype(np.float64)})
        if self.config.problem_type == MULTI:
            chances = 1 / (1 + np.exp(-logits.astype(np.float64)))
            told = [[label for label, p in zip(labels, each, strict=True) if p >= _HALF] for each in chances]
            columns = {"predicted": [self.gold_text(each) for each in told]}
        else:
            logs = log_softmax(logits)
            best, chances = logits.argmax(-1), np.exp(logs)
            columns = {"predicted": [labels[i] for i in best], "probability": chances[np.arange(len(best)), best]}
        columns |= {f"p({label})": chances[:, i] for i, label in enumerate(labels)}
        return Answers(columns, {"logits": logits, "chances": chances})

    def score(self, answers: Answers, gold: Sequence[Any], labels: Sequence[str]) -> float:
        values = answers.values
        if self.config.problem_type == NUMBER:
            return spearman(values["numbers"], np.array(gold))
        if self.config.problem_type == MULTI:
            told, true = values["chances"] >= _HALF, self._matrix(gold, labels)
            return float(2 * (told & (true == 1)).sum() / max(1, told.sum() + true.sum()))
        return float(np.mean([labels[i] == each for i, each in zip(values["logits"].argmax(-1), gold, strict=True)]))

    def judge(self, answers: Answers, rows: Rows, labels: Sequence[str]) -> Judged:
        if self.config.problem_type == NUMBER:
            return judge_numbers(answers.values["numbers"], np.array(rows.gold), rows.fields["text"])
        gold = self._matrix(rows.gold, labels)
        if self.config.problem_type == MULTI:
            return judge_several(answers.values["logits"], gold, list(labels))
        return judge_one(answers.values["logits"], gold.argmax(-1), list(labels))

    def probabilities(self, answers: Answers, labels: Sequence[str]) -> dict[str, float]:
        if self.config.problem_type != SINGLE:
            return {}
        return dict(zip(labels, answers.values["chances"][0].tolist(), strict=True))

    def explain(self, answers: Answers, fields: Mapping[str, str], labels: Sequence[str]) -> list[Block]:
        if self.config.problem_type == NUMBER:
            return [Tiles(values={"predicted": float(answers.values["numbers"][0])})]
        if self.config.problem_type == MULTI:
            chances = dict(zip(labels, answers.values["chances"][0].tolist(), strict=True))
            shown = dict(sorted(chances.items(), key=lambda each: -each[1])[:_MOST_SHOWN])
            return [Bars(title=answers.columns["predicted"][0] or "No label", values=shown, reference=_HALF, whole=1.0)]
        return []

    def gold_text(self, gold: Any) -> str:
        if gold is None:
            return ""
        return "; ".join(gold) if isinstance(gold, list | tuple) else f"{gold:g}" if isinstance(gold, float) else gold


def encode_texts(
    texts: Sequence[str], pairs: Sequence[str] | None, tokenizer: Any, max_length: int
) -> dict[str, list[Any]]:
    """Return the features of texts, or of pairs of texts, one a row."""
    encoded = tokenizer(
        [text or "" for text in texts], None if pairs is None else [text or "" for text in pairs],
        truncation=True, max_length=max_length,
    )  # fmt: skip
    cut = [bool(e.overflowing) for e in encoded.encodings] if encoded.encodings else [False] * len(texts)
    return dict(encoded) | {"cut": cut, "length": [len(ids) for ids in encoded["input_ids"]]}


def to_number(cell: str) -> float | None:
    """Return the number in a cell, or None."""
    try:
        number = float(cell.replace(",", "."))
    except ValueError:
        return None
    return number if np.isfinite(number) else None


def split_labels(cell: str) -> tuple[str, ...]:
    """Return the labels in a cell: a JSON list, or names with ; or | or , between."""
    if cell.startswith("["):
        try:
            found = json.loads(cell)
        except ValueError:
            found = None
        if isinstance(found, list):
            return tuple(dict.fromkeys(str(each).strip() for each in found if str(each).strip()))
    mark = ";" if ";" in cell else "|" if "|" in cell else ","
    return tuple(dict.fromkeys(each.strip() for each in cell.split(mark) if each.strip()))


_USUAL_NAMES = {
    "text": ["text", "sentence", "message", "review", "content", "body", "comment", "input", "question", "title"],
    "label": ["label", "labels", "class", "category", "topic", "topics", "tags", "sentiment", "intent", "target", "tag",
              "output", "score", "rating", "stars", "similarity"],
}  # fmt: skip
_PAIRS = {
    "text": ["premise", "sentence1", "text1", "question1", "text_a", "sentence_a", "query"],
    "text_pair": ["hypothesis", "sentence2", "text2", "question2", "text_b", "sentence_b", "passage"],
}


def _is_pair(table: Any) -> bool:
    return len(columns_by_name(table, _PAIRS)) == 2


def _looks_like_several(counts: Mapping[str, int]) -> bool:
    """Return whether labels look like lists of labels: most parts of those with a mark inside stand alone too."""
    joined = [label for label in counts if re.search(r"[;|,]", label) or label.startswith("[")]
    parts = {part for label in joined for part in split_labels(label)}
    return len(joined) >= 2 and len(parts) < len(joined) + len(counts) - len(joined) and len(parts & set(counts)) > 0


def _column_stats(values: list[Any]) -> tuple[float, int]:
    """Return mean length in characters and number of different values."""
    texts = [str(v or "") for v in values]
    return sum(map(len, texts)) / max(1, len(texts)), len(set(texts))


PLUGIN = TextClassification(Config())
