"""An inspection as one web page that opens without a network: all heads small, one large, with its numbers; no Qt.

The page is `resources/inspect/page.html` with its script and the data: thumbnails as bytes, which are for the eye only,
and the maps as float32. A long text's heads do not all fit: then the chosen and the leading ones are held in full.
"""

import base64
import html
import json
import re
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from studio import __version__
from studio.core.disk import can_not_write
from studio.core.files import renamed
from studio.core.paths import resources_dir
from studio.ui.views.answers import in_words
from studio.ui.views.look import AFTER, BEFORE, DIFFERENCE, Look, Statistics, axes, measure, normalisation

MOST_BYTES = 64 << 20  # of maps in full: a browser opens the page at once
THUMBNAIL_SIDE, BLOCK_CELLS = 64, 1 << 22
_DATA = "<!-- data -->"


def write_page(
    look: Look,
    path: Path,
    heads: Sequence[tuple[int, int]] = ((0, 0),),
    state: str = AFTER,
    per_head: bool = True,
    gamma: float = 1.0,
    query: int = -1,
    statistics: Statistics | None = None,
    most_bytes: int = MOST_BYTES,
    told: Callable[[int, int], None] = lambda done, total: None,
) -> Path:
    """Write a look as a page that shows the first of `heads` in a state, by rename, and return its path.

    query: the token that is locked, -1 for none. Of maps in full it holds `most_bytes` at most, the `heads` first, then
    those that changed most or look most sharply. told: is called with what is done and how much there is; what it
    raises ends the work. Raises Failure: "no-room", "workspace-unwritable".
    """
    n_layers, n_heads = look.shape
    full = _in_full(look, heads, statistics, most_bytes)
    states = [BEFORE, AFTER, DIFFERENCE] if len(look.maps) == 2 else list(look.maps)
    total = n_layers * n_heads * len(states) + len(full)
    done = 0

    def step() -> None:
        nonlocal done
        done += 1
        told(done, total)

    try:
        with renamed(path, shared=True) as file:
            before, after = _template(look, len(full)).split(_DATA)
            file.write(before.encode())
            sides = tuple(min(THUMBNAIL_SIDE, len(tokens)) for tokens in (look.query_tokens, look.key_tokens))
            limits = {}
            for each in states:
                bytes_, limits[each] = _thumbnails(look, each, sides, step)
                file.write(_held(f"thumbnails-{each}", bytes_))
            for layer, head in full:
                for each, values in look.maps.items():
                    file.write(_held(f"{each}-{layer}-{head}", np.asarray(values[layer, head], dtype="<f4").tobytes()))
                step()
            facts = {
                "head": list(heads[0]),
                "state": state if state in states else states[-1] if len(states) == 1 else AFTER,
                "per_head": per_head,
                "gamma": gamma,
                "cell": [query, -1],
                "sides": sides,
                "limits": limits,
            }
            file.write(_facts(_about(look) | facts).encode())
            file.write(after.encode())
    except OSError as error:
        raise can_not_write(path, error) from error
    return path


def _in_full(
    look: Look, heads: Sequence[tuple[int, int]], statistics: Statistics | None, most_bytes: int
) -> list[tuple[int, int]]:
    """Return the heads whose maps are held in full: all, or those that matter most."""
    n_layers, n_heads = look.shape
    n_values = len(look.query_tokens) * len(look.key_tokens)
    room = most_bytes // max(1, n_values * 4 * 4 // 3 * len(look.maps))
    if room >= n_layers * n_heads:
        return list(np.ndindex(n_layers, n_heads))
    wanted = list(dict.fromkeys(heads))
    if room > len(wanted):
        known = statistics if statistics is not None and statistics.by_state else measure(look)
        order = known.order("change" if known.change is not None else "entropy", list(look.maps)[-1])
        wanted += [head for flat in order if (head := divmod(int(flat), n_heads)) not in wanted]
    return sorted(wanted[:room])


def _thumbnails(look: Look, state: str, sides: tuple[int, int], step: Callable[[], None]) -> tuple[bytes, list[float]]:
    """Return every head as rows * columns bytes, and the weight that the largest byte stands for."""
    pictures, limits = [], []
    for layer, head in np.ndindex(*look.shape):
        pooled = _pooled(look, state, layer, head, sides)
        limit = float(np.abs(pooled).max(initial=0.0))
        share = pooled / (limit or 1.0)
        pictures.append(np.rint(128 + share * 127 if state == DIFFERENCE else share * 255).astype(np.uint8).tobytes())
        limits.append(limit)
        step()
    return b"".join(pictures), limits


def _pooled(look: Look, state: str, layer: int, head: int, sides: tuple[int, int]) -> np.ndarray:
    """Return a head as [row, column], of each patch the value furthest from 0; a part of the rows at a time."""
    n_queries, n_keys = len(look.query_tokens), len(look.key_tokens)
    starts, columns = (np.arange(side) * n // side for side, n in zip(sides, (n_queries, n_keys), strict=True))
    n_lines = max(1, BLOCK_CELLS // (n_keys * -(-n_queries // sides[0])))
    parts = []
    for first in range(0, sides[0], n_lines):
        end = starts[first + n_lines] if first + n_lines < sides[0] else n_queries
        rows = slice(int(starts[first]), int(end))
        if state == DIFFERENCE:
            values = look.maps[AFTER][layer, head, rows] - look.maps[BEFORE][layer, head, rows]
        else:
            values = look.maps[state][layer, head, rows]
        lines = starts[first : first + n_lines] - starts[first]
        high, low = (
            part.reduceat(part.reduceat(values, lines, axis=0), columns, axis=1) for part in (np.maximum, np.minimum)
        )
        parts.append(np.where(-low > high, low, high))
    return np.concatenate(parts)


def _held(name: str, values: bytes) -> bytes:
    return b'<script type="text/plain" id="' + name.encode() + b'">' + base64.b64encode(values) + b"</script>\n"


def _facts(facts: dict[str, Any]) -> str:
    # Texts of others stand in it: nothing of them may end the element.
    found = json.dumps(facts, ensure_ascii=False).replace("<", "\\u003c")
    script = (resources_dir() / "inspect" / "page.js").read_text(encoding="utf-8")
    return f'<script type="application/json" id="look">{found}</script>\n<script>\n{script}</script>\n'


def _about(look: Look) -> dict[str, Any]:
    tokens = json.loads((resources_dir() / "theme" / "tokens.json").read_text(encoding="utf-8"))
    colours = ("text", "muted", "accent", "attention", "difference")
    return {
        "subject": look.subject,
        "tokens": [*map(_shown, look.tokens)],
        "queries": [*map(_shown, look.queries)],
        "axes": axes(look),
        "word_ids": look.word_ids,
        "states": list(look.maps),
        "state_titles": {state: look.title(state) for state in (*look.maps, DIFFERENCE)},
        "state_words": {state: look.state_words(state) for state in (*look.maps, DIFFERENCE)},
        "normalisation": {state: normalisation(look, _rows_of(state)) for state in (*look.maps, DIFFERENCE)},
        "kind": "" if look.kind == "attention" else f"{look.kind} ",
        "n_layers": look.shape[0],
        "n_heads": look.shape[1],
        "verified": look.verified,
        "themes": {name: {colour: tokens[name][colour] for colour in colours} for name in ("light", "dark")},
    }


def _shown(token: str) -> str:
    return token.replace("\n", "⏎") or "␣"


def _rows_of(state: str) -> str:
    return "rows of each state" if state == DIFFERENCE else "rows"


def _template(look: Look, n_full: int) -> str:
    """Return the page with its words and colours, the data still to come."""
    tokens = json.loads((resources_dir() / "theme" / "tokens.json").read_text(encoding="utf-8"))
    plain = ("ground", "surface", "text", "muted", "accent", "good", "bad")
    themes = {name: " ".join(f"--{key}: {tokens[name][key]};" for key in plain) for name in ("light", "dark")}
    warning = "" if look.verified else (
        '<p class="bad">These maps failed their check and may not be what the model computed. '
        "Don't rely on them.</p>"
    )  # fmt: skip
    n_all = look.shape[0] * look.shape[1]
    words = {
        "title": f"Attention · {look.subject}",
        "badge": "Verified" if look.verified else "Not verified",
        "tone": "good" if look.verified else "bad",
        "checks": " · ".join(_checks(look)),
        "prediction": "; ".join(_predictions(look)),
        "left_out": f"All values are held of {n_full} of {n_all} heads." if n_full < n_all else "",
        "foot": f"Attune {__version__}, {time.strftime('%Y-%m-%d')} · {look.text[:400]}",
    }
    known = {name: html.escape(text) for name, text in words.items()} | themes | {"warning": warning}
    page = (resources_dir() / "inspect" / "page.html").read_text(encoding="utf-8")
    # One pass: a text that looks like a place of the template stays as it is.
    return re.sub(r"\{\{(\w+)\}\}", lambda found: known[found[1]].replace(_DATA, ""), page)


def _checks(look: Look) -> Iterator[str]:
    for state, checks in look.checks.items():
        rows, leak, logits = (checks.get(name) for name in ("row_sum_error", "causal_leak", "logit_difference"))
        found = ", ".join(
            f"{title} {'NaN' if value is None else format(value, '.0e') if value else 0}"
            for title, value in (("rows", rows), ("leak", leak), ("logits", logits))
        )
        yield f"{look.title(state)} {found}" if len(look.checks) > 1 else found
    yield f"{look.shape[0]} × {look.shape[1]} heads"


def _predictions(look: Look) -> Iterator[str]:
    for state in (BEFORE, AFTER):
        if found := look.probabilities.get(state):
            label = max(found, key=found.get)
            yield f"{look.title(state)} {label} {found[label]:.0%}"
        elif state in look.said:
            yield f"{look.title(state)} {in_words(look, look.said[state])[:200]}"
    if look.gold:
        yield f"Label {in_words(look, look.gold)[:200]}"
