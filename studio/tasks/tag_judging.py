"""What answers word by word are worth: entities by type and kind of error, or classes of words."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from studio.core.blocks import Bars, Block, Matrix, Span, SpanText, SpanTexts, Table
from studio.tasks.base import Answers, Judged, Rows
from studio.tasks.tagging import SpanOf, entities_of, spans_over, types_in

_MOST_TEXTS = 100  # that are shown, the worst first
_MOST_CLASSES = 40  # of a matrix that can still be read
_NOTHING = "nothing"
_KINDS = ("missed", "invented", "wrong type", "wrong border")


def judge_entities(answers: Answers, gold: Sequence[list[str]], rows: Rows, labels: list[str]) -> Judged:
    """Judge tags [row][word] in IOB2 by their entities: one is right if its borders and its type are (CoNLL 2003).

    gold: the true tags. What is an entity is told by seqeval, strict, in the scheme IOB2; counted by row and type
    once, so that resampled rows are quick. Types are in the order of `labels`.
    """
    told: list[list[str]] = answers.values["tags"]
    kinds = types_in(labels)
    ours, theirs = (_counted(tags) for tags in (told, gold))
    both = [a & b for a, b in zip(ours, theirs, strict=True)]
    n_told, n_gold, n_both = (_by_type(each, kinds) for each in (ours, theirs, both))
    losses, n_words = _losses(answers.values["logs"], gold, labels)
    n_right = np.array([sum(map(str.__eq__, a, b)) for a, b in zip(told, gold, strict=True)])
    n_tags = np.array([len(tags) for tags in gold])

    def share(part: np.ndarray, whole: np.ndarray) -> float:
        return float(part.sum() / whole.sum()) if whole.sum() else 0.0

    metrics = {
        "loss": lambda c: share(losses[c], n_words[c]),
        "entity_f1": lambda c: share(2 * n_both[c], n_told[c] + n_gold[c]),
        "entity_precision": lambda c: share(n_both[c], n_told[c]),
        "entity_recall": lambda c: share(n_both[c], n_gold[c]),
        "token_accuracy": lambda c: share(n_right[c], n_tags[c]),
    }

    def blocks() -> list[Block]:
        a, b, c = (each.sum(0) for each in (n_both, n_told, n_gold))
        known = [i for i in range(len(kinds)) if b[i] or c[i]]
        found = [SpanErrors(entities_of(x), entities_of(y)) for x, y in zip(told, gold, strict=True)]
        kinds_of_error = Counter(kind for each in found for kind in each.kinds())
        header = ["Type", "Precision", "Recall", "F1", "Entities", "Found"]
        lines = [[kinds[i], *(round(float(v), 4) for v in _rates(a[i], b[i], c[i])), int(c[i]), int(b[i])]
                 for i in known]  # fmt: skip
        return [
            Bars(title="F1 by type", values={f"{kinds[i]} ({c[i]:,})": _rates(a[i], b[i], c[i])[2] for i in known}),
            Bars(
                title="Errors by kind", values={kind: float(kinds_of_error[kind]) for kind in _KINDS}, unit="entities"
            ),
            _worst(answers, rows, losses / np.maximum(n_words, 1), found, kinds),
            Table(title="Types", header=header, rows=lines),
            _confusion([kinds[i] for i in known], found),
        ]

    right = np.array([a == b for a, b in zip(told, gold, strict=True)])
    return Judged(losses / np.maximum(n_words, 1), metrics, blocks, right)


def judge_classes(answers: Answers, gold: Sequence[list[str]], rows: Rows, labels: list[str]) -> Judged:
    """Judge the class of each word [row][word]."""
    from sklearn.metrics import accuracy_score, confusion_matrix, f1_score

    told: list[list[str]] = answers.values["tags"]
    losses, n_words = _losses(answers.values["logs"], gold, labels)
    number = {label: i for i, label in enumerate(labels)}
    # A word that was cut off has an answer that is no class.
    a, b = ([np.array([number.get(tag, len(labels)) for tag in tags], int) for tags in x] for x in (told, gold))
    known = list(range(len(labels)))

    def joined(values: list[np.ndarray], chosen: Any) -> np.ndarray:
        return np.concatenate([values[i] for i in np.arange(len(values))[chosen]] or [np.empty(0, int)])

    def macro(chosen: Any) -> float:
        true, answered = joined(b, chosen), joined(a, chosen)
        there = np.union1d(true, answered)
        return float(f1_score(true, answered, labels=there[there < len(labels)], average="macro", zero_division=0))

    metrics = {
        "loss": lambda c: float(losses[c].sum() / max(1, n_words[c].sum())),
        "accuracy": lambda c: float(accuracy_score(joined(b, c), joined(a, c))),
        "f1_macro": macro,
    }

    def blocks() -> list[Block]:
        true, answered = joined(b, slice(None)), joined(a, slice(None))
        counts = np.bincount(true, minlength=len(labels))
        by_class = f1_score(true, answered, labels=known, average=None, zero_division=0)
        usual = [i for i in np.argsort(-counts, kind="stable") if counts[i]]
        shown = usual[:_MOST_CLASSES]
        names = [labels[i] for i in shown]
        found = [SpanErrors(_words(x, y), _words(y, x)) for x, y in zip(told, gold, strict=True)]
        return [
            Bars(title="F1 by class", values={f"{labels[i]} ({counts[i]:,})": float(by_class[i]) for i in usual}),
            _worst(answers, rows, losses / np.maximum(n_words, 1), found, labels),
            Matrix(
                title="Confusion", rows=names, columns=names, row_axis="Class", column_axis="Predicted",
                values=confusion_matrix(true, answered, labels=shown).tolist(),
            ),
        ]  # fmt: skip

    right = np.array([x == y for x, y in zip(told, gold, strict=True)])
    return Judged(losses / np.maximum(n_words, 1), metrics, blocks, right)


class SpanErrors:
    """How predicted entities of a row differ from the true ones.

    wrong border: they share a word and end or begin elsewhere. wrong type: the same words. missed, invented: no word
    in common with one of the others.
    """

    def __init__(self, predicted: Sequence[SpanOf], gold: Sequence[SpanOf]):
        self.predicted = [(span, _kind(span, gold, "invented")) for span in predicted]
        self.gold = [(span, _kind(span, predicted, "missed")) for span in gold]

    def kinds(self) -> list[str]:
        """Return the kind of each error, one that has a true and a predicted entity once."""
        return [k for _, k in self.predicted if k] + [k for _, k in self.gold if k == "missed"]

    def pairs(self) -> list[tuple[str, str]]:
        """Return true and predicted type of entities that share words, of those with most in common; or nothing."""
        found = []
        for span, kind in self.gold:
            near = max((p for p, _ in self.predicted), key=lambda p: _shared(p, span), default=span)
            found.append((span[2], _NOTHING if kind == "missed" or not self.predicted else near[2]))
        return found + [(_NOTHING, span[2]) for span, kind in self.predicted if kind == "invented"]


def _shared(a: SpanOf, b: SpanOf) -> float:
    """Return how many words two entities share, a little more for the same borders."""
    return min(a[1], b[1]) - max(a[0], b[0]) + (0.5 if a[:2] == b[:2] else 0)


def _kind(span: SpanOf, others: Sequence[SpanOf], alone: str) -> str:
    if span in others:
        return ""
    if any(span[:2] == each[:2] for each in others):
        return "wrong type"
    return "wrong border" if any(_shared(span, each) > 0 for each in others) else alone


def _words(tags: Sequence[str], others: Sequence[str]) -> list[SpanOf]:
    """Return the words whose class is another, as spans of one word."""
    return [(i, i + 1, tag) for i, (tag, other) in enumerate(zip(tags, others, strict=True)) if tag != other]


def _counted(tags: Sequence[list[str]]) -> list[Counter[Any]]:
    """Return the entities of each row, by seqeval."""
    from seqeval.scheme import IOB2, Entities

    found = Entities([list(each) for each in tags], IOB2).entities
    return [Counter((each.start, each.end, each.tag) for each in row) for row in found]


def _by_type(found: Sequence[Counter[Any]], kinds: list[str]) -> np.ndarray:
    """Return numbers of entities [row, type]."""
    place = {kind: i for i, kind in enumerate(kinds)}
    counts = np.zeros((len(found), len(kinds)), dtype=np.int64)
    for i, row in enumerate(found):
        for _, _, kind in row:
            counts[i, place[kind]] += 1
    return counts


def _losses(logs: Sequence[np.ndarray], gold: Sequence[list[str]], labels: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """Return the sum of cross-entropies over the words of each row, and the number of words that the model saw."""
    number, sums, counts = {label: i for i, label in enumerate(labels)}, [], []
    for each, tags in zip(logs, gold, strict=True):
        found = -each[np.arange(len(tags)), [number[tag] for tag in tags]] if len(tags) else np.empty(0)
        sums.append(float(np.nansum(found)))
        counts.append(int((~np.isnan(found)).sum()))
    return np.array(sums), np.array(counts)


def _rates(n_both: int, n_told: int, n_gold: int) -> tuple[float, float, float]:
    return n_both / max(1, n_told), n_both / max(1, n_gold), 2 * n_both / max(1, n_told + n_gold)


def _worst(
    answers: Answers, rows: Rows, losses: np.ndarray, errors: Sequence[SpanErrors], kinds: list[str]
) -> SpanTexts:
    shown = []
    for i in np.argsort(-losses, kind="stable")[:_MOST_TEXTS]:
        words = answers.values["words"][i]
        gold, predicted = (
            [Span(start=s, end=e, label=label, kind=kind) for (span, kind) in spans
             for s, e, label in spans_over([span], words)]
            for spans in (errors[i].gold, errors[i].predicted)
        )  # fmt: skip
        n = len(errors[i].kinds())
        note = f"loss {losses[i]:.3f}" + (f", {n} errors" if n > 1 else ", 1 error" if n else "")
        text = rows.fields["text"][int(i)]
        shown.append(SpanText(text=text, gold=gold, predicted=predicted, note=note, row=int(rows.indices[i])))
    return SpanTexts(title="Texts with the highest loss", texts=shown, labels=kinds)


def _confusion(kinds: list[str], errors: Sequence[SpanErrors]) -> Matrix:
    counts = Counter(pair for each in errors for pair in each.pairs())
    names = [*kinds, _NOTHING]
    return Matrix(
        title="Types confused", rows=names, columns=names, row_axis="Type", column_axis="Predicted",
        values=[[float(counts[a, b]) for b in names] for a in names],
    )  # fmt: skip
