"""JSON in its usual shapes: an array of objects, one object a line, columns of lists, or rows under one key."""

import json
import math
from pathlib import Path
from typing import Any, Literal

from studio.core.reasons import Failure
from studio.core.registry import PluginConfig
from studio.sources.decoding import decode
from studio.sources.tables import Read, unique_names

_LINES_ENDINGS = (".jsonl", ".ndjson")


class Config(PluginConfig):
    """A JSON or JSON-lines file."""

    kind: Literal["json"] = "json"
    path: str


class JsonRows:
    """Reads JSON; scalars become text as JSON writes them, nested values their JSON."""

    id = "json"
    label = "JSON, JSONL"
    order = 20
    endings = (".json", *_LINES_ENDINGS)
    Config = Config

    def reads(self, path: str) -> bool:
        return path.lower().endswith(self.endings)

    def read(self, config: Config) -> Read:
        """Return all rows as text columns. Raises Failure "data-parse" or "data-empty"."""
        import pyarrow as pa

        text, _ = decode(Path(config.path))
        if not text.strip():
            raise Failure("data-empty", "data.train", path=config.path, needed=10)
        rows = json_values(text, config.path)
        if not all(isinstance(row, dict) for row in rows):
            message = 'Its rows are no objects with named values, such as {"text": …, "label": …}.'
            raise Failure("data-parse", "data.train", path=config.path, format="JSON", message=message)
        keys = list(dict.fromkeys(key for row in rows for key in row))
        arrays = [pa.array([as_text(row.get(key)) for row in rows], pa.string()) for key in keys]
        return Read(pa.table(arrays, names=unique_names(keys)), config)


def rows_of(value: Any) -> list[Any]:
    """Return the rows in a JSON value of any of the shapes above, or of those that pandas writes."""
    if isinstance(value, list):
        return value
    if not isinstance(value, dict):
        return [value]
    columns = list(value.values())
    names, cells = value.get("columns"), value.get("data")
    if isinstance(names, list) and isinstance(cells, list) and all(isinstance(row, list) for row in cells):
        return [dict(zip(map(str, names), row, strict=False)) for row in cells]
    if len(columns) == 1 and isinstance(columns[0], dict) and all(isinstance(c, list) for c in columns[0].values()):
        return rows_of(columns[0])
    if columns and all(isinstance(c, list) for c in columns):
        if len(columns) > 1 and len({len(c) for c in columns}) == 1:
            return [dict(zip(value, cells, strict=True)) for cells in zip(*columns, strict=True)]
        if len(columns) == 1:
            inner = columns[0]
            return inner if inner and isinstance(inner[0], dict) else [{next(iter(value)): cell} for cell in inner]
    if columns and all(isinstance(c, dict) for c in columns) and len({tuple(c) for c in columns}) == 1:
        keys = columns[0]  # pandas' own shape: {column: {index: cell}}
        return [{name: column[key] for name, column in value.items()} for key in keys]
    lists = [c for c in columns if isinstance(c, list) and c and isinstance(c[0], dict)]
    return lists[0] if len(lists) == 1 else [value]


def as_text(value: Any) -> str:
    """Return a cell as text: a string as it is, nothing as "", a whole float without its .0, nested values as JSON."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, str):
        # Half an emoji, as cut texts have it in JSON, is no text that can be written.
        return value if value.isascii() else value.encode("utf-8", "replace").decode()
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, bool | int | float | dict | list | tuple):
        return json.dumps(value, ensure_ascii=False, default=str)
    return str(value)


def json_values(text: str, path: str) -> list[Any]:
    """Return the rows in the text of a JSON file, of objects or of whatever they are. Raises Failure "data-parse"."""
    if path.lower().endswith(_LINES_ENDINGS):
        try:
            return _lines(text)
        except json.JSONDecodeError:
            pass  # some call an ordinary JSON file so
    try:
        return rows_of(json.loads(text))
    except json.JSONDecodeError as error:
        whole = error
    try:
        return _lines(text)
    except json.JSONDecodeError as error:
        # Of the two ways to read it, the one that went further was meant.
        found = max(error, whole, key=lambda e: e.lineno)
        message = f"Line {found.lineno}: {found.msg}. {_mend(found)}"
        raise Failure("data-parse", "data.train", path=path, format="JSON", message=message) from error


def _mend(error: json.JSONDecodeError) -> str:
    """Return what to do about JSON that can't be read: a file that was cut off ends within a value."""
    is_cut = error.msg.startswith("Unterminated string") or error.pos >= len(error.doc.rstrip())
    return "The file seems cut off there: save or download it again." if is_cut else "Mend that line."


def _lines(text: str) -> list[Any]:
    rows = []
    # splitlines() would also cut at characters that may stand inside a JSON string, such as U+2028.
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError as error:
            error.lineno = number
            raise
    return rows


PLUGIN = JsonRows()
