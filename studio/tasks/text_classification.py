"""Text classification: one of several labels for each text."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from studio.core.blocks import Bars, Block, Histogram, Matrix, Tiles
from studio.core.reasons import Problem
from studio.core.registry import PluginConfig
from studio.sources.texts import Texts, digest

_MOST_LABELS = 200
_NEEDED_ROWS = 10
_RARE = 3  # rows: one for each part of the split


class Config(PluginConfig):
    """Nothing to choose."""

    kind: Literal["text-classification"] = "text-classification"


@dataclass(frozen=True)
class Role:
    """A column that a task needs: its id in the spec and its name for people."""

    id: str
    label: str
    help: str


class TextClassification:
    """Learns to give each text one of the labels in the training part."""

    id = "text-classification"
    label = "Text classification"
    summary = "Gives each text one of several labels."
    order = 10
    Config = Config
    auto_class = "AutoModelForSequenceClassification"
    roles = (
        Role("text", "Text", "What the model reads."),
        Role("label", "Label", "What the model learns to say."),
    )
    main_metric = "accuracy"

    def guess_roles(self, table: Any) -> dict[str, str]:
        """Return a column for each role, by name first and by content second; roles without a guess are absent."""
        names = {name.lower().strip(): name for name in table.column_names}
        found = {}
        for role, usual in _USUAL_NAMES.items():
            found[role] = next((names[n] for n in usual if n in names), None)
        sample = table.slice(0, 2000)
        stats = {name: _column_stats(sample[name].to_pylist()) for name in table.column_names}
        taken = [c for c in found.values() if c]
        if found["text"] is None:
            free = [n for n in stats if n not in taken]
            found["text"] = max(free, key=lambda n: stats[n][0], default=None)
        if found["label"] is None:
            n_rows = max(1, sample.num_rows)
            free = [n for n in stats if n != found["text"] and 1 < stats[n][1] <= min(_MOST_LABELS, n_rows // 2 + 1)]
            found["label"] = min(free, key=lambda n: (stats[n][0], stats[n][1]), default=None)
        return {role: column for role, column in found.items() if column}

    def check(self, table: Any, columns: dict[str, str]) -> list[Problem]:
        """Return what stands against training on these rows, and what a person should know of them."""
        problems = _check_columns(table, columns, self.roles)
        if problems:
            return problems
        texts, labels = self.rows(table, columns)
        # Digests stand for the texts, so that these are not held in memory all at once.
        texts = [digest(text) if text else None for text in texts]
        no_text, no_label = sum(not t for t in texts), sum(not v for v in labels)
        if no_text == len(texts):
            return [Problem("empty-texts", {}, "columns.text")]
        used = [(t, v) for t, v in zip(texts, labels, strict=True) if t and v]
        counts = Counter(v for _, v in used)
        if len(used) < _NEEDED_ROWS:
            return [Problem("too-few-rows", {"n_rows": len(used), "needed": _NEEDED_ROWS}, "data.train")]
        if len(counts) == 1:
            return [Problem("one-class", {"label": next(iter(counts))}, "columns.label")]
        if len(counts) > _MOST_LABELS or len(counts) > len(used) / 2:
            facts = {"n_labels": len(counts), "n_rows": len(used)}
            return [Problem("too-many-classes", facts, "columns.label")]
        found = []
        if no_text:
            found.append(Problem("some-empty-texts", {"n_rows": no_text}))
        if no_label:
            found.append(Problem("some-empty-labels", {"n_rows": no_label}))
        rare = sorted(label for label, n in counts.items() if n < _RARE)
        if rare:
            facts = {"n_labels": len(rare), "needed": _RARE, "labels": ", ".join(rare[:5])}
            found.append(Problem("rare-class", facts))
        copies = len(used) - len({t for t, _ in used})
        if copies:
            found.append(Problem("duplicates", {"n_rows": copies}))
        return found

    def overview(self, table: Any, columns: dict[str, str]) -> list[Block]:
        """Return what the rows are: how many of each label, and how long the texts are in words.

        What needs a role that no column has is absent.
        """
        if columns.get("text") not in table.column_names:
            return []
        texts, labels = self.rows(table, columns)
        words = np.array([len(t.split()) for t in texts if t] or [0])
        # Whole words, so that no bar is an artefact of where the edges fall.
        width = max(1, -(-int(words.max()) // 30))
        edges = np.arange(0, int(words.max()) + width + 1, width)
        heights, edges = np.histogram(words, edges)
        blocks: list[Block] = [
            Histogram(title="Lengths", edges=edges.tolist(), counts=heights.tolist(), unit="words"),
        ]
        counts = Counter(v for v in labels if v)
        if counts:
            bars = Bars(title="Labels", values=dict(counts.most_common()), unit="rows", select=columns["label"])
            blocks.insert(0, bars)
        return blocks

    def rows_behind(self, reason: str, table: Any, columns: dict[str, str]) -> list[int]:
        """Return the rows that a finding of `check` speaks of, by their place; none when it speaks of all."""
        texts, labels = self.rows(table, columns)
        pairs = enumerate(zip(texts, labels, strict=True))
        if reason == "some-empty-texts":
            return [i for i, (text, _) in pairs if not text]
        if reason == "some-empty-labels":
            return [i for i, (_, label) in pairs if not label]
        if reason == "rare-class":
            counts = Counter(v for t, v in zip(texts, labels, strict=True) if t and v)
            return [i for i, (text, label) in pairs if text and 0 < counts[label] < _RARE]
        if reason == "duplicates":
            counts = Counter(digest(t) for t, v in zip(texts, labels, strict=True) if t and v)
            places = [i for i, (text, label) in pairs if label and counts[digest(text)] > 1]
            return sorted(places, key=lambda i: (texts[i], i))
        return []

    def rows(self, table: Any, columns: dict[str, str]) -> tuple[Texts, list[str]]:
        """Return texts and labels of all rows, without blanks around them; "" where there is none."""
        texts = Texts(table[columns["text"]])
        if "label" not in columns or columns["label"] not in table.column_names:
            return texts, [""] * len(texts)
        known: dict[str, str] = {}  # each label once, however many rows have it
        return texts, [known.setdefault(label, label) for label in Texts(table[columns["label"]])]

    def labels(self, values: Sequence[str]) -> list[str]:
        """Return the different labels in a stable order: by number if all are numbers, else by name."""
        found = sorted({v for v in values if v})
        try:
            numbers = {v: float(v) for v in found}
        except ValueError:
            return found
        return sorted(found, key=numbers.get) if np.isfinite(list(numbers.values())).all() else found

    def score(self, logits: np.ndarray, gold: np.ndarray) -> float:
        """Return `main_metric` by numpy alone, for a script that stands without Attune and scikit-learn."""
        return float((logits.argmax(-1) == gold).mean())

    def metrics(self, logits: np.ndarray, gold: np.ndarray) -> dict[str, float]:
        """Return accuracy and macro F1 by scikit-learn. logits: [rows, labels]; gold: label indices [rows]."""
        from sklearn.metrics import accuracy_score, f1_score

        predicted = logits.argmax(-1)
        return {
            "accuracy": float(accuracy_score(gold, predicted)),
            "f1_macro": float(f1_score(gold, predicted, average="macro", zero_division=0)),
        }

    def report(self, logits: np.ndarray, gold: np.ndarray, labels: Sequence[str]) -> list[Block]:
        """Return the evaluation of rows with gold labels as blocks: metrics, confusion matrix, F1 by label."""
        from sklearn.metrics import confusion_matrix, f1_score

        n = range(len(labels))
        predicted = logits.argmax(-1)
        matrix = confusion_matrix(gold, predicted, labels=list(n))
        by_label = f1_score(gold, predicted, labels=list(n), average=None, zero_division=0)
        names = list(labels)
        return [
            Tiles(title="Metrics", values=self.metrics(logits, gold)),
            Matrix(
                title="Confusion", rows=names, columns=names, values=matrix.tolist(),
                row_axis="Label", column_axis="Predicted", select=("label", "predicted"),
            ),
            Bars(title="F1 by label", values=dict(zip(names, by_label.tolist(), strict=True)), select="label"),
        ]  # fmt: skip


_USUAL_NAMES = {
    "text": ["text", "sentence", "message", "review", "content", "body", "comment", "input", "question", "title"],
    "label": ["label", "labels", "class", "category", "topic", "sentiment", "intent", "target", "tag", "output"],
}


def _column_stats(values: list[Any]) -> tuple[float, int]:
    """Return mean length in characters and number of different values."""
    texts = [str(v or "") for v in values]
    return sum(map(len, texts)) / max(1, len(texts)), len(set(texts))


def _check_columns(table: Any, columns: dict[str, str], roles: Sequence[Role]) -> list[Problem]:
    problems = []
    for role in roles:
        column = columns.get(role.id)
        if not column:
            problems.append(Problem("role-missing", {"role": role.label}, f"columns.{role.id}"))
        elif column not in table.column_names:
            facts = {"column": column, "columns": ", ".join(table.column_names)}
            problems.append(Problem("column-missing", facts, f"columns.{role.id}"))
    chosen = [c for c in columns.values() if c]
    for column in {c for c in chosen if chosen.count(c) > 1}:
        problems.append(Problem("role-twice", {"column": column}, "columns.label"))
    return problems


PLUGIN = TextClassification()
