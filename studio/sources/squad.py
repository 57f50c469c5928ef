"""Questions with their answers in a text, as SQuAD has them: nested by article and paragraph, or one row a question."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from studio.core.reasons import Failure, Problem
from studio.core.registry import PluginConfig
from studio.sources.decoding import beginning, decode
from studio.sources.json_rows import as_text, json_values
from studio.sources.tables import Read, unique_names

_COLUMNS = ("id", "title", "context", "question", "answers")


class Config(PluginConfig):
    """A JSON or JSON-lines file of questions."""

    kind: Literal["squad"] = "squad"
    path: str


class Squad:
    """Reads questions as rows: `id`, `title`, `context`, `question` and `answers`.

    `answers` is the JSON of {"text": [...], "answer_start": [...]}, with empty lists where there is no answer, and ""
    where the file says nothing of one; a start counts characters of `context`, -1 where the answer is nowhere in it.
    Other scalars of flat rows stay as columns.
    """

    id = "squad"
    label = "SQuAD (JSON)"
    order = 50
    endings = (".json", ".jsonl", ".ndjson")
    Config = Config

    def reads(self, path: str) -> bool:
        if not path.lower().endswith(self.endings):
            return False
        start = beginning(path)
        names = ('"qas"', '"context"'), ('"qas"', '"paragraphs"'), ('"context"', '"question"', '"answer_start"')
        return any(all(name in start for name in each) for each in names)

    def read(self, config: Config) -> Read:
        """Return one row a question. Raises Failure "data-parse" or "data-empty"."""
        import pyarrow as pa

        text, _ = decode(Path(config.path))
        if not text.strip():
            raise Failure("data-empty", "data.train", path=config.path, needed=10)
        rows: list[dict[str, str]] = []
        lacking: list[dict[str, Any]] = []  # what stands where questions do, without a question or a context
        for number, question in enumerate(_questions(json_values(text, config.path), {}, lacking), 1):
            try:
                rows.append(_row(question))
            except (KeyError, TypeError, ValueError) as error:
                message = f"The answers of question {number} have another shape. {_WANTED}"
                raise Failure("data-parse", "data.train", path=config.path, format="SQuAD", message=message) from error
        if not rows:
            message = f"There is no question with a context. {_WANTED}"
            raise Failure("data-parse", "data.train", path=config.path, format="SQuAD", message=message)
        names = dict.fromkeys([*_COLUMNS, *(name for row in rows for name in row)])
        columns = [pa.array([row.get(name, "") for row in rows], pa.string()) for name in names]
        return Read(pa.table(columns, names=unique_names(list(names))), config, _misplaced(rows) + _without(lacking))


_WANTED = (
    'It should be {"data": [{"paragraphs": [{"context": …, "qas": [{"question": …, "answers": …}]}]}]}, or rows with '
    '"context", "question" and "answers".'
)


def _questions(rows: Any, around: dict[str, Any], lacking: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield the questions of articles, of paragraphs, or flat ones, each with its context and title.

    around: the title and the context of what the rows stand in. lacking: takes what has no question or no context.
    """
    for row in rows if isinstance(rows, list) else []:
        if not isinstance(row, dict):
            continue
        if "paragraphs" in row:
            yield from _questions(row["paragraphs"], {"title": row.get("title")}, lacking)
        elif "qas" in row:
            context = {name: row[name] for name in ("title", "context") if name in row}
            yield from _questions(row["qas"], around | context, lacking)
        elif "question" in row and ("context" in row or "context" in around):
            yield around | row
        else:
            lacking.append(row)


def _row(row: dict[str, Any]) -> dict[str, str]:
    context = as_text(row["context"])
    # Blanks around it would be taken off with those of any text, and the answers would no longer be where they say.
    n_before = len(context) - len(context.lstrip())
    context = context.strip()
    answers = [] if row.get("is_impossible") is True else _answers(row.get("answers", row.get("answer")))
    found: dict[str, list[Any]] = {"text": [], "answer_start": []}
    for text, start in answers:
        text = as_text(text)
        if text.strip():
            found["text"].append(text)
            found["answer_start"].append(context.find(text) if start is None else int(start) - n_before)
    others = {
        name: as_text(value)
        for name, value in row.items()
        if name not in (*_COLUMNS, "answer", "is_impossible") and not isinstance(value, dict | list)
    }
    texts = {name: as_text(row.get(name)) for name in ("id", "title")}
    is_answered = any(name in row for name in ("answers", "answer", "is_impossible"))
    told = json.dumps(found, ensure_ascii=False) if is_answered else ""
    return texts | {"context": context, "question": as_text(row["question"]), "answers": told} | others


def _answers(value: Any) -> list[tuple[Any, Any]]:
    """Return texts and starts of the answers in any of the usual shapes; a start that is not given is None."""
    if isinstance(value, dict) and isinstance(value["text"], list):
        return list(zip(value["text"], value.get("answer_start") or [None] * len(value["text"]), strict=True))
    if isinstance(value, dict):
        return [(value["text"], value.get("answer_start"))]
    if isinstance(value, list):
        return [pair for each in value for pair in _answers(each)]
    return [] if value is None else [(value, None)]


def _misplaced(rows: list[dict[str, str]]) -> list[Problem]:
    wrong = []
    for number, row in enumerate(rows, 1):
        answers = json.loads(row["answers"] or '{"text": [], "answer_start": []}')
        for text, start in zip(answers["text"], answers["answer_start"], strict=True):
            if start < 0 or not row["context"].startswith(text, start):
                wrong.append((number, text))
    if not wrong:
        return []
    facts = {"n_answers": len(wrong), "row": wrong[0][0], "text": " ".join(wrong[0][1].split())[:60]}
    return [Problem("answers-misplaced", facts)]


def _without(lacking: list[dict[str, Any]]) -> list[Problem]:
    if not lacking:
        return []
    first = " ".join(json.dumps(lacking[0], ensure_ascii=False).split())[:60]
    return [Problem("no-question", {"n_rows": len(lacking), "text": first})]


PLUGIN = Squad()
