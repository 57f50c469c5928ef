"""JSON of texts with labelled spans, as Doccano, Label Studio, Prodigy and spaCy write it."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from studio.core.reasons import Failure, Problem
from studio.core.registry import PluginConfig
from studio.sources.decoding import beginning, decode
from studio.sources.json_rows import as_text, json_values
from studio.sources.tables import Read, unique_names

_TEXTS = ("text", "data", "content", "sentence")
_SPANS = ("spans", "entities", "label", "labels", "annotations")
_STARTS, _ENDS = ("start", "start_offset"), ("end", "end_offset")
_BEGINS_LIKE = re.compile(
    r'"(?:spans|entities|labels?|annotations)"\s*:\s*\[\s*'
    r'(?:\[\s*[\d.]+\s*,\s*[\d.]+\s*,\s*"|\{[^{}\[\]]*"start(?:_offset)?"\s*:\s*"?\d)'
    r'|"value"\s*:\s*\{[^{}\[\]]*"start"\s*:\s*[\d.]+\s*,[^{}]*"(?:text|labels)"'
)


class Config(PluginConfig):
    """A JSON or JSON-lines file of texts with spans."""

    kind: Literal["spans"] = "spans"
    path: str


class Spans:
    """Reads `text`, `spans` and all other scalars as columns.

    `spans` is the JSON of [{"start": …, "end": …, "label": …}, …] in characters of `text`, the end not included,
    ordered, without overlaps. Spans that can't be, and rows that nobody has labelled, are left out and told.
    """

    id = "spans"
    label = "Spans (JSON)"
    order = 60
    endings = (".json", ".jsonl", ".ndjson")
    Config = Config

    def reads(self, path: str) -> bool:
        return path.lower().endswith(self.endings) and _BEGINS_LIKE.search(beginning(path)) is not None

    def read(self, config: Config) -> Read:
        """Return one row a labelled text. Raises Failure "data-parse" or "data-empty"."""
        import pyarrow as pa

        text, _ = decode(Path(config.path))
        if not text.strip():
            raise Failure("data-empty", "data.train", path=config.path, needed=10)
        rows, odd = [], _Odd()
        for number, value in enumerate(_annotated(json_values(text, config.path)), 1):
            found = _taken_apart(value)
            if found is None:
                message = f'Row {number} has no text with spans, such as {{"text": …, "spans": [[0, 4, "PER"]]}}.'
                raise Failure("data-parse", "data.train", path=config.path, format="JSON with spans", message=message)
            if found.spans is None:
                odd.unlabelled.append(number)
                continue
            spans = json.dumps(_fitting(found.text, found.spans, number, odd), ensure_ascii=False)
            rows.append({"text": found.text.strip(), "spans": spans} | found.others)
        if not rows:
            raise Failure("data-empty", "data.train", path=config.path, needed=10)
        names = dict.fromkeys(name for row in rows for name in row)
        columns = [pa.array([row.get(name, "") for row in rows], pa.string()) for name in names]
        return Read(pa.table(columns, names=unique_names(list(names))), config, odd.problems())


@dataclass(frozen=True)
class _Annotated:
    """A text, its spans as they are written (None where nobody has labelled it) and the other scalars."""

    text: str
    spans: list[Any] | None
    others: dict[str, str]


@dataclass
class _Odd:
    """What is left out, by the number of its row."""

    misplaced: list[tuple[int, Any]] = field(default_factory=list)
    overlapping: list[tuple[int, Any]] = field(default_factory=list)
    unlabelled: list[int] = field(default_factory=list)

    def problems(self) -> list[Problem]:
        problems = []
        for reason, found in (("spans-misplaced", self.misplaced), ("spans-overlap", self.overlapping)):
            if found:
                row, span = found[0]
                said = json.dumps(span, ensure_ascii=False)[:80]
                problems.append(Problem(reason, {"n_spans": len(found), "row": row, "span": said}))
        if self.unlabelled:
            facts = {"n_rows": len(self.unlabelled), "row": self.unlabelled[0]}
            problems.append(Problem("rows-not-labelled", facts))
        return problems


def _annotated(rows: list[Any]) -> Iterator[Any]:
    """Yield the annotated texts among JSON's rows; some tools put them into one object beside the list of labels."""
    for row in rows:
        inner = row.get("annotations") if isinstance(row, dict) and "classes" in row else None
        yield from [each for each in inner if each] if isinstance(inner, list) else [row]


def _taken_apart(row: Any) -> _Annotated | None:
    """Return the parts of a row in any of the usual shapes, None where it has no text."""
    if isinstance(row, list) and len(row) == 2 and isinstance(row[1], dict):
        row = {**row[1], "text": row[0]}  # spaCy's older shape
    if not isinstance(row, dict):
        return None
    if isinstance(row.get("data"), dict):
        spans, row = _of_label_studio(row), row["data"]
        texts = {name: value for name, value in row.items() if isinstance(value, str)}
        text_name = "text" if "text" in texts else max(texts, key=lambda name: len(texts[name]), default="")
    else:
        text_name = next((name for name in _TEXTS if isinstance(row.get(name), str)), "")
        name = next((name for name in _SPANS if _can_be_spans(row.get(name))), None)
        is_rejected = "_task_hash" in row and row.get("answer") in ("reject", "ignore")  # Prodigy's word
        spans = row[name] if name is not None and not is_rejected else None
    if not text_name:
        return None
    others = {
        name: as_text(value)
        for name, value in row.items()
        if name not in (text_name, "text", "spans") and not name.startswith("_") and not isinstance(value, dict | list)
    }
    return _Annotated(as_text(row[text_name]), spans, others)


def _can_be_spans(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(each, dict | list) for each in value)


def _of_label_studio(task: dict[str, Any]) -> list[Any] | None:
    """Return the spans of the first annotation of a task that was not cancelled, None without one."""
    done = [each for each in task.get("annotations") or task.get("completions") or [] if not each.get("was_cancelled")]
    if not done:
        return None
    values = [each.get("value") or {} for each in done[0].get("result") or []]
    return [value for value in values if "start" in value]


def _fitting(text: str, raw: list[Any], row: int, odd: _Odd) -> list[dict[str, Any]]:
    """Return the spans of a text that can be, of overlapping ones the longest, as places in the text without blanks."""
    n_before, n_within = len(text) - len(text.lstrip()), len(text.strip())
    spans: dict[tuple[int, int, str], Any] = {}
    for each in raw:
        span = _span(each, text) or (0, 0, "")
        start, end = max(0, span[0] - n_before), min(n_within, span[1] - n_before)
        if 0 <= span[0] < span[1] <= len(text) and start < end:
            spans.setdefault((start, end, span[2]), each)
        else:
            odd.misplaced.append((row, each))
    kept: list[tuple[int, int, str]] = []
    for span in sorted(spans, key=lambda span: (span[0] - span[1], span[0])):
        if any(span[0] < end and start < span[1] for start, end, _ in kept):
            odd.overlapping.append((row, spans[span]))
        else:
            kept.append(span)
    return [{"start": start, "end": end, "label": label} for start, end, label in sorted(kept)]


def _span(value: Any, text: str) -> tuple[int, int, str] | None:
    """Return start, end and label of a span, None where one lacks or where its own words are not those of the text."""
    if isinstance(value, dict):
        start, end = (next((value[name] for name in names if name in value), None) for names in (_STARTS, _ENDS))
        labels = value.get("label") or value.get("labels") or value.get("type")
        label = labels[0] if isinstance(labels, list) else labels
        words = value.get("text")
    else:
        start, end, label, words = (*value[:3], None) if len(value) >= 3 else (None,) * 4
    start, end = _place(start), _place(end)
    if start is None or end is None or label is None or label == "":
        return None
    if isinstance(words, str) and 0 <= start < end and "".join(words.split()) != "".join(text[start:end].split()):
        return None
    return start, end, as_text(label)


def _place(value: Any) -> int | None:
    """Return a place in a text, which tables write as 4.0 or "4" too; None where it is none."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int) or (isinstance(value, float) and value.is_integer()):
        return int(value)
    return int(value) if isinstance(value, str) and value.isdecimal() else None


PLUGIN = Spans()
