"""Heads as files, one each, drawn without a view: what a batch of figures writes."""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import numpy as np

from studio.ui.views.files import Told, Write, file_stem, write_csv, write_npz
from studio.ui.views.look import AFTER, BEFORE, BOTH, DIFFERENCE, Look, caption
from studio.ui.widgets import head_figure
from studio.ui.widgets.head_figure import DPI, Drawn, Figure
from studio.ui.widgets.heat import Scale, token_text

ENDINGS = {"pdf": "PDF", "svg": "SVG", "png": "PNG", "csv": "CSV", "npz": "NPZ"}


def writing(ending: str, figures: Mapping[Path, Callable[[], Drawn]]) -> Write:
    """Return what writes figures, each made only then, to their files."""
    return partial(_write_figures, ending, figures)


def _write_figures(ending: str, figures: Mapping[Path, Callable[[], Drawn]], told: Told) -> list[Path]:
    for done, (path, make) in enumerate(figures.items()):
        told(done, len(figures))
        head_figure.WRITERS[ending](make(), path)
    return [*figures]


def figure_of(look: Look, state: str, layer: int, head: int, per_head: bool, gamma: float) -> Figure:
    """Return a head as a figure; its colours end at its own largest weight (`per_head`) or at 1."""
    values = np.asarray(look.matrix(state, layer, head), dtype=np.float32)
    limit = float(np.abs(values).max(initial=0.0)) or 1.0
    queries, keys = ([*map(token_text, tokens)] for tokens in (look.query_tokens, look.key_tokens))
    scale = Scale(state == DIFFERENCE, limit if per_head else 1.0, gamma)
    return Figure(values, queries, keys, caption(look, state, layer, head), scale)


def write_head(
    look: Look, ending: str, folder: Path, state: str, layer: int, head: int, per_head: bool, gamma: float, dpi: int
) -> list[Path]:
    """Write a head in a format into a folder and return the files: of both states one each. Raises OSError."""
    states = [BEFORE, AFTER] if state == BOTH else [state]
    paths = []
    for each in states:
        path = folder / f"{file_stem(each, layer, head, look.kind)}.{ending}"
        if ending in ("csv", "npz"):
            (write_csv if ending == "csv" else write_npz)(path, look, each, layer, head)
        else:
            options = {"scale": dpi / DPI} if ending == "png" else {}
            head_figure.WRITERS[ending](figure_of(look, each, layer, head, per_head, gamma), path, **options)
        paths.append(path)
    return paths
