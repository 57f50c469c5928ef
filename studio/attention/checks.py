"""What makes a capture believable: every capture is checked, and says what was found."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from studio.attention.interface import Record

ROW_SUM_BOUND = 1e-5
LOGIT_BOUND = 1e-6
# Weights times values against the layer's output, as a share of its largest value: fused kernels sum in another order.
OUTPUT_BOUND = 1e-4
# Models that run in 16 bits: their own rounding is larger than any error of ours.
HALF_ROW_SUM_BOUND = 1e-3
HALF_OUTPUT_BOUND = 2e-2


def verify(
    groups: Mapping[str, list[Record]],
    real: Mapping[str, tuple[np.ndarray, np.ndarray]],
    expected: Mapping[str, tuple[int | None, int | None]],
    logit_difference: float,
    half: bool,
) -> dict[str, Any]:
    """Return the checks of a capture: errors as floats, counts found, and `verified`.

    `groups` holds the records of each kind of attention, `real` which of its queries and keys are no padding
    (bool [query], bool [key]), `expected` the layers and heads that the config promises, `half` whether the model
    ran in 16 bits. Rows are checked for real queries; padding columns and the future must be exactly 0. Anything
    not finite is never verified. `n_layers` and `n_heads` are numbers, for encoder-decoders one per kind.
    """
    found = {kind: (len(records), records[0].weights.shape[0]) for kind, records in groups.items()}
    every = [(record, *real[kind]) for kind, records in groups.items() for record in records]
    errors = {
        "row_sum_error": _worst(_row_sum_error(record.weights[:, queries]) for record, queries, _ in every),
        "causal_leak": _worst(_causal_leak(record.weights) for record, _, _ in every if record.causal),
        "padding_leak": _worst(_largest(record.weights[..., ~keys]) for record, _, keys in every),
        "output_error": _worst(record.output_error for record, _, _ in every),
        "logit_difference": float(logit_difference),
    }
    bounds = {
        "row_sum_error": HALF_ROW_SUM_BOUND if half else ROW_SUM_BOUND,
        "causal_leak": 0.0,
        "padding_leak": 0.0,
        "output_error": HALF_OUTPUT_BOUND if half else OUTPUT_BOUND,
        "logit_difference": LOGIT_BOUND,
    }
    # A comparison with NaN is false, so a number that is none can't pass.
    within = all(errors[name] <= bound for name, bound in bounds.items())
    single = found.get("attention")
    return {
        **errors,
        "n_layers": single[0] if single else {kind: layers for kind, (layers, _) in found.items()},
        "n_heads": single[1] if single else {kind: heads for kind, (_, heads) in found.items()},
        "verified": bool(every) and within and found == dict(expected),
    }


def _row_sum_error(weights: np.ndarray) -> float:
    return _largest(weights.sum(axis=-1, dtype=np.float64) - 1.0)


def _causal_leak(weights: np.ndarray) -> float:
    n_queries, n_keys = weights.shape[-2:]
    # Virtual tokens of a prefix come before the first query, hence the shift.
    future = np.triu(np.ones((n_queries, n_keys), dtype=bool), k=1 + n_keys - n_queries)
    return _largest(weights[:, future])


def _largest(values: np.ndarray) -> float:
    return float(np.abs(values).max()) if values.size else 0.0


def _worst(values: Any) -> float:
    """Return the largest of some floats, 0 for none, NaN if one is NaN (which max() would lose)."""
    values = list(values)
    return math.nan if any(math.isnan(value) for value in values) else max(values, default=0.0)
