"""What answers to questions are worth: exact match and F1, with and without an answer, and where they stand."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from studio.core.blocks import Bars, Block, Histogram, Span, SpanText, SpanTexts, Tiles
from studio.tasks.base import Answers, Judged, Rows
from studio.tasks.squad_rules import exact, f1

_MOST_TEXTS = 100  # that are shown, the worst first
_AROUND = 400  # characters of a long context before and behind what is shown of it


def answer_texts(gold: Any) -> list[str]:
    """Return the words of the answers in gold, [(answer, start), …]."""
    return [text for text, _ in gold]


def judge_spans(answers: Answers, rows: Rows) -> Judged:
    """Judge one answer a row, "" for none, by SQuAD's rules. gold: [(answer, start), …], empty for none."""
    told, losses = answers.values["told"], answers.values["losses"]
    golds = [answer_texts(each) for each in rows.gold]
    exacts = np.array([exact(a, b) for a, b in zip(told, golds, strict=True)])
    f1s = np.array([f1(a, b) for a, b in zip(told, golds, strict=True)])
    has_answer = np.array([bool(each) for each in golds])

    def mean(values: np.ndarray, chosen: Any, among: np.ndarray | None = None) -> float:
        found = values[chosen] if among is None else values[chosen][among[chosen]]
        return float(found.mean()) if len(found) else float("nan")

    metrics = {
        "loss": lambda c: mean(losses, c),
        "exact_match": lambda c: mean(exacts, c),
        "f1": lambda c: mean(f1s, c),
    }
    if not has_answer.all():
        metrics |= {
            "has_answer_exact_match": lambda c: mean(exacts, c, has_answer),
            "has_answer_f1": lambda c: mean(f1s, c, has_answer),
            "no_answer_accuracy": lambda c: mean(f1s, c, ~has_answer),
        }

    def blocks() -> list[Block]:
        heights, edges = np.histogram(f1s, 20, (0, 1))
        silent = np.array([not each for each in told])
        found: list[Block] = []
        if not has_answer.all():
            values = {
                "with an answer": float(has_answer.sum()),
                "without one": float((~has_answer).sum()),
                "answer invented": float((~silent & ~has_answer).sum()),
                "answer missed": float((silent & has_answer).sum()),
            }
            found.append(_by_kind(exacts, f1s, has_answer))
            found.append(Bars(title="Questions", values=values, unit="rows", whole=float(len(told))))
        found.append(Histogram(title="F1", edges=edges.tolist(), counts=heights.tolist(), unit="F1 of a row"))
        return [*found, _worst(answers, rows, losses, f1s)]

    return Judged(losses, metrics, blocks, exacts == 1)


def _by_kind(exacts: np.ndarray, f1s: np.ndarray, has_answer: np.ndarray) -> Tiles:
    values = {"Without an answer: right": float(exacts[~has_answer].mean())}
    if has_answer.any():
        with_one = {"With an answer: exact": float(exacts[has_answer].mean()), "F1": float(f1s[has_answer].mean())}
        values = with_one | values
    return Tiles(title="With and without an answer", values=values)


def _worst(answers: Answers, rows: Rows, losses: np.ndarray, f1s: np.ndarray) -> SpanTexts:
    shown = []
    for i in np.lexsort((-losses, f1s))[:_MOST_TEXTS]:
        context, question = rows.fields["context"][int(i)], rows.fields["question"][int(i)]
        start, end = answers.values["spans"][i]
        told = [(start, end)] if answers.values["told"][i] else []
        gold = list(dict.fromkeys((place, place + len(text)) for text, place in rows.gold[i]))[:1]
        note = f"{question} (F1 {f1s[i]:.2f})" + ("" if gold else ", no answer") + ("" if told else ", none given")
        first, last = _window([*told, *gold], len(context))
        text = ("… " if first else "") + context[first:last] + (" …" if last < len(context) else "")
        by = first - (2 if first else 0)
        kinds = _kinds(gold, told)
        shown.append(
            SpanText(
                text=text, note=note, row=int(rows.indices[i]),
                gold=[Span(start=a - by, end=b - by, label="answer", kind=kinds[0]) for a, b in gold],
                predicted=[Span(start=a - by, end=b - by, label="answer", kind=kinds[1]) for a, b in told],
            )
        )  # fmt: skip
    return SpanTexts(title="Questions with the lowest F1", texts=shown)


def _window(spans: Sequence[tuple[int, int]], length: int) -> tuple[int, int]:
    """Return the part of a context that is shown: around its spans where it is long."""
    if not spans:
        return 0, min(length, 2 * _AROUND)
    return max(0, min(a for a, _ in spans) - _AROUND), min(length, max(b for _, b in spans) + _AROUND)


def _kinds(gold: Sequence[tuple[int, int]], told: Sequence[tuple[int, int]]) -> tuple[Any, Any]:
    """Return the kinds of error of the true and of the given answer."""
    if gold == told:
        return "", ""
    if gold and told and gold[0][0] < told[0][1] and told[0][0] < gold[0][1]:
        return "wrong border", "wrong border"
    return "missed", "invented"
