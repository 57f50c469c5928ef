"""Pieces of HTML that Qt can print."""

import html
from collections.abc import Collection, Iterable

_MUTED = ' class="muted"'


def safe(text: str) -> str:
    """Return a text as HTML that says it literally."""
    return html.escape(text)


def heading(text: str) -> str:
    """Return the line above a block."""
    return f"<p><b>{safe(text)}</b></p>"


def table(header: list[str], rows: Iterable[Iterable[object]], muted: Collection[int] = (0, 2)) -> str:
    """Return a table; `muted` are the columns that stand back."""
    head = "".join(f"<th>{safe(name)}</th>" for name in header)
    body = ""
    for row in rows:
        cells = "".join(f"<td{_MUTED * (at in muted)}>{safe(str(cell))}</td>" for at, cell in enumerate(row))
        body += f"<tr>{cells}</tr>"
    return f"<table>{f'<tr>{head}</tr>' if header else ''}{body}</table>"
