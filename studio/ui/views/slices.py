"""Rows of the data side by side: those of each label, or those that were answered right and wrong."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from studio.attention import over_rows
from studio.ui.i18n import tr
from studio.ui.widgets.spread import Band

SLICES = {"": "All rows together", "label": "By label", "right": "By right or wrong"}
CONTRASTS = {"label": "Contrast of labels: {name}", "right": "Contrast of right and wrong: {name}"}
MOST_SLICES, MOST_LETTERS = 5, 14


def slices_of(rows: Sequence[Mapping[str, Any]], by: str, state: str) -> tuple[list[str], np.ndarray]:
    """Return the names of the slices and of each row which one it is of, int [row], -1 for none.

    by: one of SLICES; of more labels than can be compared those of most rows. state: whose answers are right or wrong.
    """
    if by == "label":
        found = [row.get("gold", "") for row in rows]
    elif by == "right":
        told = [(row.get("gold"), row.get("said", {}).get(state)) for row in rows]
        found = ["" if said is None else tr("right") if gold == said else tr("wrong") for gold, said in told]
    else:
        found = [""] * len(rows)
    names = sorted(name for name, _ in Counter(filter(None, found)).most_common(MOST_SLICES))
    return names, np.array([names.index(name) if name in names else -1 for name in found], dtype=int)


def bands_of(values: np.ndarray, names: Sequence[str], groups: np.ndarray, colours: Sequence[str]) -> list[Band]:
    """Return the values [row] of each slice as a band; a value keeps the place of its row."""
    bands = []
    for place, name in enumerate(names):
        own = np.where(groups == place, values, np.nan)
        mean, spread, _ = over_rows.mean_and_spread(own)
        shown = name if len(name) <= MOST_LETTERS else name[: MOST_LETTERS - 1] + "…"
        bands.append(Band(shown, own, float(mean), float(spread), colours[place % len(colours)]))
    return bands
