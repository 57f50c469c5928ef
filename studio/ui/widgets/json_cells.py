"""JSON in the cells of a table, as people read it: on one line without its marks, or spread over many."""

import json
from typing import Any

_MOST_CHARACTERS = 20_000  # longer JSON is shown as it stands


def json_line(text: str) -> str:
    """Return objects, and lists of them, as `name: value, name: value · name: value`; any other text as it is."""
    value = _parsed(text)
    return text if value is None else _line(value)


def spread_json(text: str) -> str:
    """Return objects, and lists of them, as JSON with one value a line; any other text as it is."""
    value = _parsed(text)
    return text if value is None else json.dumps(value, ensure_ascii=False, indent=2)


def _parsed(text: str) -> Any:
    if not text.startswith(("{", "[{", "[]")) or len(text) > _MOST_CHARACTERS:
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _line(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name}: {_line(each)}" for name, each in value.items()) or "–"
    if isinstance(value, list):
        return " · ".join(map(_line, value)) or "–"
    return value if isinstance(value, str) else json.dumps(value)
