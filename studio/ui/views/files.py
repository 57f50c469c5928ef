"""Heads as files of numbers: CSV with tokens, NPZ with a caption; no Qt."""

import csv
from pathlib import Path

import numpy as np

from studio.attention import maps
from studio.ui.views.look import Look, caption, normalisation

FORMATS = {
    "png": "Picture (PNG)…",
    "svg": "Figure with vector text (SVG)…",
    "pdf": "Figure for print (PDF)…",
    "csv": "Table (CSV)…",
    "npz": "NumPy array (NPZ)…",
    "npz-all": "All heads as NumPy arrays (NPZ)…",
}


def file_stem(state: str, layer: int, head: int) -> str:
    """Return a name for a figure's file."""
    return f"attention-layer{layer + 1}-head{head + 1}-{state}"


def write_csv(path: Path, look: Look, state: str, layer: int, head: int) -> None:
    """Write one head with tokens at top and left; the caption stands in the corner, so that readers find the header."""
    rows = list(maps.csv_rows(look.matrix(state, layer, head), look.tokens, look.tokens))
    rows[0][0] = f"{rows[0][0]} · {caption(look, state, layer, head)}"
    with open(path, "w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows(rows)


def write_npz(path: Path, look: Look, state: str, layer: int, head: int) -> None:
    """Write one head: `attention` float32 [query, key], `tokens`, `caption`, `state`, `layer` and `head` from 0."""
    with open(path, "wb") as file:
        np.savez(
            file,
            attention=look.matrix(state, layer, head),
            tokens=np.array(look.tokens),
            caption=np.array(caption(look, state, layer, head)),
            state=np.array(state),
            layer=np.array(layer),
            head=np.array(head),
        )


def write_all_heads(path: Path, look: Look) -> None:
    """Write every head: an array [layer, head, query, key] for each state, `tokens` and `caption`."""
    note = f"{look.subject} · [layer, head, query, key] · {normalisation(look)} · {look.text}"
    with open(path, "wb") as file:
        np.savez(file, **look.maps, tokens=np.array(look.tokens), caption=np.array(note))
