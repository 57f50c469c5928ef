"""The checks of saved maps, made again from the maps themselves: what a file says of itself is no proof."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from studio.attention.checks import HALF_ROW_SUM_BOUND, ROW_SUM_BOUND
from studio.attention.maps import SavedCapture
from studio.attention.qk import QueryKeys

SAMPLED_ROWS = 32  # of each head that is kept as queries and keys


def is_causal(capture: SavedCapture) -> dict[str, list[bool]]:
    """Return for each kind of attention whether no query of a layer looks ahead."""
    return {
        kind: [_ahead(layer) == 0.0 for layer in _layers(values)] if values.shape[-1] == values.shape[-2] > 1 else []
        for kind, values in capture.maps.items()
    }


def row_error(capture: SavedCapture, partial: bool = False) -> float:
    """Return how far the sum of any row is from 1, or where `partial` how far above; NaN for what is no weight."""
    worst = 0.0
    for values in capture.maps.values():
        for layer in _layers(values):
            for weights in _blocks(layer):
                sums = weights.sum(axis=-1, dtype=np.float64)
                error = float((sums - 1.0 if partial else np.abs(sums - 1.0)).max())
                lowest = float(weights.min())
                if not (math.isfinite(error) and lowest >= 0.0):
                    return math.nan
                worst = max(worst, error)
    return worst


def rechecked(
    capture: SavedCapture, causal: Mapping[str, list[bool]], partial: bool, unchanged: bool
) -> dict[str, Any]:
    """Return the saved checks with what the maps say now: of both the worse, and `verified` only where all agree.

    causal, partial: as `is_causal` and `row_error` found when it was saved. unchanged: whether every file has the
    digest that it was saved with. Layers of queries and keys are checked in a sample of rows, as the capture did.
    """
    saved = {name: value for name, value in capture.checks.items() if _is_plain(value)}
    bound = HALF_ROW_SUM_BOUND if saved.get("bits") == 16 else ROW_SUM_BOUND
    rows = row_error(capture, partial)
    ahead = max(
        (
            _ahead(layer)
            for kind, flags in causal.items()
            if kind in capture.maps
            for layer, flag in zip(_layers(capture.maps[kind]), flags, strict=False)
            if flag
        ),
        default=0.0,
    )
    shapes = {kind: values.shape for kind, values in capture.maps.items()}
    if set(shapes) == {"attention"}:
        n_layers, n_heads = shapes["attention"][:2]
    else:
        n_layers = {kind: shape[0] for kind, shape in shapes.items()}
        n_heads = {kind: shape[1] for kind, shape in shapes.items()}
    counted = saved.get("n_layers") == n_layers and saved.get("n_heads") == n_heads
    holds = rows <= bound and ahead == 0.0 and counted and unchanged  # false for NaN
    return saved | {
        "row_sum_error": _worse(saved.get("row_sum_error", 0.0), rows),
        "causal_leak": _worse(saved.get("causal_leak", 0.0), ahead),
        "logit_difference": _worse(saved.get("logit_difference"), 0.0),
        "n_layers": n_layers,
        "n_heads": n_heads,
        "unchanged": unchanged,
        "verified": saved.get("verified") is True and holds,
    }


def _layers(values: Any) -> Iterator[Any]:
    yield from (values.layers if hasattr(values, "layers") else values)


def _blocks(layer: Any) -> Iterator[np.ndarray]:
    """Yield weights [row, key]: all of a map, a sample of what is computed."""
    for head in range(len(layer)):
        if isinstance(layer, QueryKeys):
            n_rows = layer.shape[1]
            for row in np.unique(np.linspace(0, n_rows - 1, min(n_rows, SAMPLED_ROWS)).astype(int)):
                yield layer.tile(head, slice(row, row + 1), slice(None))
        else:
            yield np.asarray(layer[head], dtype=np.float32)


def _ahead(layer: Any) -> float:
    """Return the largest weight on a key after its query."""
    worst = 0.0
    for head in range(len(layer)):
        if isinstance(layer, QueryKeys):
            n_rows = layer.shape[1]
            for row in np.unique(np.linspace(0, n_rows - 2, min(n_rows - 1, SAMPLED_ROWS)).astype(int)):
                worst = max(worst, float(layer.tile(head, slice(row, row + 1), slice(row + 1, n_rows)).max(initial=0)))
        else:
            worst = max(worst, float(np.abs(np.triu(layer[head], 1)).max(initial=0.0)))
        if worst > 0.0:
            return worst
    return worst


def _worse(saved: Any, found: float) -> float | None:
    """Return the larger error; None, as a capture writes it, where one of them is no number."""
    if isinstance(saved, bool) or not isinstance(saved, int | float) or not math.isfinite(saved):
        return None
    return max(float(saved), found) if math.isfinite(found) else None


def _is_plain(value: Any) -> bool:
    """Return whether a value is what checks hold: a number, yes or no, or counts by kind."""
    if isinstance(value, dict):
        return all(isinstance(each, int) for each in value.values())
    return value is None or isinstance(value, bool | int | float)
