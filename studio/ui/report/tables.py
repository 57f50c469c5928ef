"""Pieces of HTML that Qt can print."""

import html
from collections.abc import Iterable

_MUTED = ' class="muted"'


def safe(text: str) -> str:
    """Return a text as HTML that says it literally."""
    return html.escape(text)


def heading(text: str) -> str:
    """Return the line above a block."""
    return f"<p><b>{safe(text)}</b></p>"


def table(header: list[str], rows: Iterable[Iterable[object]]) -> str:
    """Return a table; the first and the third column are muted."""
    head = "".join(f"<th>{safe(name)}</th>" for name in header)
    body = ""
    for first, *rest in rows:
        cells = "".join(f"<td{_MUTED * (at == 1)}>{safe(str(cell))}</td>" for at, cell in enumerate(rest))
        body += f"<tr><td{_MUTED}>{safe(str(first))}</td>{cells}</tr>"
    return f"<table>{f'<tr>{head}</tr>' if header else ''}{body}</table>"
