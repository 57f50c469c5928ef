"""Words, tags and spans of a text, and how a model's tokens belong to them."""

import ast
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from studio.sources.texts import Texts

_CJK = "\u2e80-\u9fff\uac00-\ud7af\uf900-\ufaff\U00020000-\U0003ffff"  # scripts without blanks: a character is a word
_WORD = re.compile(rf"[{_CJK}]|(?:(?![{_CJK}])\w)+|[^\w\s]")
_BETWEEN_BLANKS = re.compile("[^ ]+")  # other blanks may be a word of a file, or a part of one
_PREFIXED = re.compile(r"([BIESLU])(?:-(.+))?")
UNNAMED = "ENTITY"  # the type of a tag that is a mere B or I
OUTSIDE = "O"
SpanOf = tuple[int, int, str]


def as_list(cell: str) -> list[Any] | None:
    """Return the list that a cell holds, as JSON or as Python writes it, or None."""
    if not cell.startswith("["):
        return None
    for read in (json.loads, ast.literal_eval):
        try:
            found = read(cell)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            continue
        return found if isinstance(found, list) else None
    return None


def holds_spans(cells: Sequence[str]) -> bool:
    """Return whether a column holds spans, by its first cell that is not empty, nor an empty list."""
    for cell in cells:
        found = as_list(cell)
        if cell and found != []:
            return found is not None and isinstance(found[0], dict)
    return any(cells)


def words_in(cell: str) -> list[str]:
    """Return the words or tags in a cell: a list, or what has blanks between; none has a blank of its own."""
    found = as_list(cell)
    if found is None or not all(isinstance(each, str | int) for each in found):
        return _BETWEEN_BLANKS.findall(cell)
    return [re.sub(r"\s+", "_", str(each).strip()) or "_" for each in found]


def joined_words(texts: Texts) -> Texts:
    """Return texts with one blank between the words where the cells hold lists of words; others as they are."""
    import pyarrow as pa

    first = next((text for text in texts if text), "")
    if as_list(first) is None:
        return texts
    return Texts(pa.chunked_array([pa.array([" ".join(words_in(text)) for text in texts], pa.large_string())]))


def spans_in(cell: str, text: str) -> tuple[list[SpanOf], int]:
    """Return the spans in a cell that can be in a text, in order, and how many can't: outside of it, or overlapping."""
    found = as_list(cell) or []
    spans: list[SpanOf] = []
    for each in found:
        if not isinstance(each, dict):
            continue
        start, end, label = each.get("start"), each.get("end"), str(each.get("label") or "")
        if isinstance(start, int) and isinstance(end, int) and 0 <= start < end <= len(text) and label:
            spans.append((start, end, label))
    kept: list[SpanOf] = []
    for span in sorted(spans, key=lambda span: (span[0] - span[1], span[0])):  # of overlapping ones the longest
        if all(span[1] <= start or end <= span[0] for start, end, _ in kept):
            kept.append(span)
    return sorted(kept), len(found) - len(kept)


def is_tags(gold: Any) -> bool:
    """Return whether gold is one tag a word, not spans."""
    return bool(gold) and isinstance(gold[0], str)


def has_tags(golds: Sequence[Any]) -> bool:
    """Return whether rows come with one tag a word, as their words between blanks; else their texts run on."""
    return next((is_tags(gold) for gold in golds if gold), False)


def word_places(text: str, by_blanks: bool) -> np.ndarray:
    """Return start and end of each word of a text in characters [word, 2].

    by_blanks: words are what stands between blanks; else runs of letters and digits, and all other signs one by one.
    """
    found = (_BETWEEN_BLANKS if by_blanks else _WORD).finditer(text)
    return np.array([match.span() for match in found], dtype=np.int64).reshape(-1, 2)


def first_pieces(starts: Sequence[int], ends: Sequence[int], words: np.ndarray) -> np.ndarray:
    """Return the place of the first token of each word [word], -1 where the text was cut before it.

    starts, ends: characters that each token stands for; the same for one that stands for none.
    """
    begins, stops = np.asarray(starts), np.asarray(ends)
    real = np.flatnonzero(stops > begins)
    if not len(real) or not len(words):
        return np.full(len(words), -1)
    at = np.searchsorted(stops[real], words[:, 0], side="right")
    inside = at < len(real)
    found = real[np.minimum(at, len(real) - 1)]
    return np.where(inside & (begins[found] < words[:, 1]), found, -1)


def entities_of(tags: Sequence[str]) -> list[SpanOf]:
    """Return first word, word behind the last and type of each entity, from tags in IOB1, IOB2, IOBES, BILOU or IO.

    An inside tag that continues nothing of its type begins an entity, as conlleval has it.
    """
    found: list[SpanOf] = []
    open_type = ""  # of the entity that may go on
    for i, tag in enumerate(tags):
        if tag == OUTSIDE:
            open_type = ""
            continue
        match = _PREFIXED.fullmatch(tag)
        prefix, kind = (match[1], match[2] or UNNAMED) if match else ("I", tag)
        if prefix in "BSU" or kind != open_type:
            found.append((i, i + 1, kind))
        else:
            found[-1] = (found[-1][0], i + 1, kind)
        open_type = "" if prefix in "ESLU" else kind
    return found


def types_in(labels: Sequence[str]) -> list[str]:
    """Return the types of entities that labels in IOB2 have, in their order."""
    return [label[2:] for label in labels if label.startswith("B-")]


def iob2(entities: Sequence[SpanOf], n_words: int) -> list[str]:
    """Return a tag for each word."""
    tags = [OUTSIDE] * n_words
    for first, end, kind in entities:
        tags[first:end] = [f"B-{kind}", *[f"I-{kind}"] * (end - first - 1)]
    return tags


def words_under(spans: Sequence[SpanOf], words: np.ndarray) -> list[SpanOf]:
    """Return spans of characters as entities of words: all words that a span touches, the first span's first."""
    found: list[SpanOf] = []
    for start, end, kind in spans:
        touched = np.flatnonzero((words[:, 0] < end) & (words[:, 1] > start))
        first = max(int(touched[0]), found[-1][1] if found else 0) if len(touched) else 0
        if len(touched) and first <= touched[-1]:
            found.append((first, int(touched[-1]) + 1, kind))
    return found


def spans_over(entities: Sequence[SpanOf], words: np.ndarray) -> list[SpanOf]:
    """Return entities of words as spans of characters."""
    return [(int(words[first, 0]), int(words[end - 1, 1]), kind) for first, end, kind in entities]


def gold_tags(gold: Any, words: np.ndarray) -> list[str]:
    """Return the tag of each word, from tags or from spans of characters."""
    return list(gold) if is_tags(gold) else iob2(words_under([tuple(each) for each in gold], words), len(words))


def token_labels(
    tags: Sequence[str], words: np.ndarray, starts: Sequence[int], ends: Sequence[int], number: Mapping[str, int],
    masked: int, all_pieces: bool,
) -> list[int]:  # fmt: skip
    """Return the label of each token: that of its word at the first piece, else `masked`; or at all pieces.

    number: the labels' numbers. Of a word that begins an entity the further pieces lie inside of it.
    """
    found = np.full(len(starts), masked)
    pieces = first_pieces(starts, ends, words)
    for i in range(len(words) - 1, -1, -1):  # of words that share a token the first has it
        if pieces[i] < 0:
            continue
        if all_pieces:
            begins, stops = np.asarray(starts), np.asarray(ends)
            others = (stops > begins) & (stops > words[i, 0]) & (begins < words[i, 1])
            inside = f"I-{tags[i][2:]}" if tags[i].startswith("B-") else tags[i]
            found[others] = number.get(inside, number[tags[i]])
        found[pieces[i]] = number[tags[i]]
    return found.tolist()
