"""What a model answered where it is no label with a probability, as people say it; no Qt."""

import json
from collections.abc import Callable
from typing import Any

from studio.core.anatomy import WRITTEN
from studio.ui.views.look import Look


def in_words(look: Look, said: str, tell: Callable[..., str] = str.format) -> str:
    """Return an answer, or a row's label, in words: of spans of the text how many there are, and which.

    said: as the task's files have it; spans are JSON there. tell: fills a template, in the window `tr`.
    """
    if not said:
        return tell("writes nothing" if look.answers == WRITTEN else "no answer")
    text, spans = (look.fields.get("text") or look.text).strip(), _spans(said)
    if spans is None:
        return said
    named = ", ".join(f"{label} “{text[start:end]}”" for start, end, label in spans)
    if not spans:
        return tell("no spans")
    one, several = "1 span: {spans}", "{n} spans: {spans}"
    return tell(one if len(spans) == 1 else several, n=len(spans), spans=named)


def _spans(said: str) -> list[tuple[int, int, Any]] | None:
    """Return the start, end and label of spans that are written as JSON; None where it is something else."""
    try:
        found = json.loads(said)
        spans = [(int(span["start"]), int(span["end"]), span["label"]) for span in found]
        return spans if isinstance(found, list) else None
    except (ValueError, TypeError, KeyError):
        return None
