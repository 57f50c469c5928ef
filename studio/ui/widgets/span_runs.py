"""A text with spans as runs of words and tags: what is shown of a long text, and which span covers which run."""

from collections.abc import Sequence
from dataclasses import dataclass

from studio.core.blocks import Span, SpanText
from studio.ui.i18n import tr

MOST, AROUND = 700, 220  # characters of a text that is shown whole; beside a span in a longer one
_WORD = 30  # characters of a long word
SIGNS = {"missed": "−", "invented": "+", "wrong type": "≠", "wrong border": "↔"}
TONES = {"missed": "bad", "invented": "bad", "wrong type": "warning", "wrong border": "warning"}
KINDS = {
    "missed": "Missed",
    "invented": "Invented",
    "wrong type": "Wrong type",
    "wrong border": "Wrong border",
}


@dataclass(frozen=True)
class Run:
    """A piece of what is shown: part of the text with the spans that cover it, or the tag of a span.

    tag: the span whose label this is. is_gold: whether that span is gold.
    """

    text: str
    gold: tuple[Span, ...] = ()
    predicted: tuple[Span, ...] = ()
    tag: Span | None = None
    is_gold: bool = False


def runs(item: SpanText, whole: bool = False) -> list[Run]:
    """Return what is shown of a text, in order; of a long one without `whole` what is near its spans."""
    size = len(item.text)
    gold, predicted = ([_within(span, size) for span in spans] for spans in (item.gold, item.predicted))
    kept = [(0, size)] if whole else shown_parts(item.text, [*gold, *predicted])
    ends = {at for span in (*gold, *predicted) for at in (span.start, span.end)}
    found: list[Run] = []
    last = 0
    for start, end in kept:
        if start > last:
            found.append(Run("… "))
        borders = sorted({start, end} | {at for at in ends if start < at < end})
        for one, other in zip(borders, borders[1:], strict=False):
            over = [tuple(s for s in spans if s.start <= one and s.end >= other) for spans in (gold, predicted)]
            found.append(Run(item.text[one:other], *over))
            found += [Run(tag_text(s), tag=s) for s in predicted if s.end == other > s.start]
            found += [Run(tag_text(s, is_gold=True), tag=s, is_gold=True) for s in gold
                      if s.end == other > s.start and not _is_named(s, predicted)]  # fmt: skip
        last = end
    if last < size:
        found.append(Run(" …"))
    return [run for run in found if run.text]


def is_whole(item: SpanText) -> bool:
    """Return whether all of a text is shown without asking."""
    spans = [_within(span, len(item.text)) for span in (*item.gold, *item.predicted)]
    return shown_parts(item.text, spans) == [(0, len(item.text))]


def shown_parts(text: str, spans: Sequence[Span]) -> list[tuple[int, int]]:
    """Return the parts (start, end) of a text that are shown: all of a short one, else what is near a span."""
    size = len(text)
    if size <= MOST:
        return [(0, size)]
    wanted = sorted(_near(text, span) for span in spans)
    parts: list[tuple[int, int]] = []
    for start, end in wanted or [_near(text, Span(start=0, end=AROUND))]:
        if parts and start <= parts[-1][1]:
            parts[-1] = (parts[-1][0], max(end, parts[-1][1]))
        else:
            parts.append((start, end))
    return parts


def tag_text(span: Span, is_gold: bool = False) -> str:
    """Return what the tag of a span says: the sign of its error and its label; nothing for neither.

    The sign of an error that has both spans stands at the predicted one.
    """
    if not span.kind or is_gold and span.kind != "missed":
        return span.label
    return f"{SIGNS[span.kind]} {span.label or tr(KINDS[span.kind])}"


def said(item: SpanText) -> str:
    """Return a text and its spans in words."""
    parts = [" ".join(item.text.split())]
    for title, spans in ((tr("Gold"), item.gold), (tr("Predicted"), item.predicted)):
        each = [_words(item.text, _within(span, len(item.text))) for span in spans]
        if each:
            parts.append(f"{title}: {', '.join(each)}")
    return ". ".join([*parts, *([item.note] if item.note else [])])


def _words(text: str, span: Span) -> str:
    kind = f"({tr(KINDS[span.kind])})" if span.kind else ""
    return " ".join(filter(None, (span.label, f"“{text[span.start : span.end]}”", kind)))


def _is_named(gold: Span, predicted: Sequence[Span]) -> bool:
    return any(s.label == gold.label and s.start < gold.end and gold.start < s.end for s in predicted)


def _near(text: str, span: Span) -> tuple[int, int]:
    """Return a span with what is beside it, cut between words where there are any."""
    start, end = max(0, span.start - AROUND), min(len(text), span.end + AROUND)
    before, after = text.find(" ", start, start + _WORD), text.rfind(" ", end - _WORD, end)
    start = before + 1 if start and 0 <= before < span.start else start
    return start, after if end < len(text) and after >= span.end else end


def _within(span: Span, size: int) -> Span:
    start = min(max(0, span.start), size)
    return span.model_copy(update={"start": start, "end": min(max(start, span.end), size)})
