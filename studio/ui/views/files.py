"""Heads as files of numbers: CSV with tokens, NPZ with a caption; no Qt."""

import csv
from pathlib import Path

import numpy as np

from studio.attention import maps
from studio.ui.views.look import Look, about, caption

FORMATS = {
    "png": "Picture (PNG)…",
    "svg": "Figure with vector text (SVG)…",
    "pdf": "Figure for print (PDF)…",
    "csv": "Table (CSV)…",
    "npz": "NumPy array (NPZ)…",
    "npz-all": "All heads as NumPy arrays (NPZ)…",
}
OF_NUMBERS = ("csv", "npz", "npz-all")  # of a head that is never whole there are none


def file_stem(state: str, layer: int, head: int, kind: str = "attention") -> str:
    """Return a name for a figure's file."""
    of_kind = "" if kind == "attention" else f"{kind}-"
    return f"attention-{of_kind}layer{layer + 1}-head{head + 1}-{state}"


def write_csv(path: Path, look: Look, state: str, layer: int, head: int) -> None:
    """Write one head with tokens at top and left; the caption stands in the corner, so that readers find the header."""
    rows = list(maps.csv_rows(look.matrix(state, layer, head), look.query_tokens, look.key_tokens))
    rows[0][0] = f"{rows[0][0]} · {caption(look, state, layer, head)}"
    with open(path, "w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows(rows)


def write_npz(path: Path, look: Look, state: str, layer: int, head: int) -> None:
    """Write one head: `attention` float32 [query, key], its tokens, `caption`, `state`, `layer` and `head` from 0.

    `tokens` and `query_tokens` are the same, except of cross attention: there the first are the keys.
    """
    with open(path, "wb") as file:
        np.savez(
            file,
            attention=look.matrix(state, layer, head),
            tokens=np.array(look.tokens),
            query_tokens=np.array(look.query_tokens),
            caption=np.array(caption(look, state, layer, head)),
            state=np.array(state),
            layer=np.array(layer),
            head=np.array(head),
        )


def write_all_heads(path: Path, look: Look) -> None:
    """Write every head: an array [layer, head, query, key] for each state, tokens as `write_npz` and `caption`."""
    kind = "" if look.kind == "attention" else f"{look.kind} · "
    note = f"{kind}[layer, head, query, key] · {about(look)}"
    with open(path, "wb") as file:
        tokens = {"tokens": np.array(look.tokens), "query_tokens": np.array(look.query_tokens)}
        np.savez(file, **look.maps, **tokens, caption=np.array(note))
