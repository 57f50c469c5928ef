"""What makes a capture believable: every capture is checked, and says what was found."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from studio.attention.interface import Record

ROW_SUM_BOUND = 1e-5
LOGIT_BOUND = 1e-6
# Weights times values against the layer's output, as a share of its largest value: fused kernels sum in another order.
OUTPUT_BOUND = 1e-4
# Weights from queries and keys against those of the model file's own formula.
QK_BOUND = 1e-5
# Models that run in 16 bits: their own rounding is larger than any error of ours.
HALF_ROW_SUM_BOUND = 1e-3
HALF_OUTPUT_BOUND = 2e-2
HALF_QK_BOUND = 1e-3


@dataclass(eq=False)
class Sums:
    """What the checks need of one module's maps, gathered as they pass by in chunks of rows.

    `sums` [head, row] belong to the queries `rows`; `columns` is the largest weight on each key, `future` the
    largest weight on a key after its query, gathered where `causal`.
    """

    n_queries: int
    n_keys: int
    causal: bool
    rows: list[np.ndarray] = field(default_factory=list)
    sums: list[np.ndarray] = field(default_factory=list)
    columns: np.ndarray | float = 0.0
    future: float = 0.0

    def add(self, rows: np.ndarray, weights: np.ndarray, sink: np.ndarray | None = None) -> None:
        """Take note of weights [head, row, key] of the queries `rows`; `sink` [head, row] is what a sink took."""
        sums = weights.sum(axis=-1, dtype=np.float64)
        self.rows.append(rows)
        self.sums.append(sums if sink is None else sums + sink)
        largest = np.abs(weights).max(axis=0)
        self.columns = np.maximum(self.columns, largest.max(axis=0))
        if self.causal:
            # Virtual tokens of a prefix come before the first query, hence the shift.
            last = rows[:, None] + self.n_keys - self.n_queries
            self.future = float(np.maximum(self.future, largest.max(where=np.arange(self.n_keys) > last, initial=0.0)))

    def row_sum_error(self, real: np.ndarray) -> float:
        """Return how far the sum of any real query's row is from 1; `real` is bool [query]."""
        rows, sums = np.concatenate(self.rows), np.concatenate(self.sums, axis=1)
        return _largest(sums[:, real[rows]] - 1.0)

    def padding_leak(self, real: np.ndarray) -> float:
        """Return the largest weight on a key that is padding; `real` is bool [key]."""
        return _largest(np.asarray(self.columns)[~real])


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
    not finite is never verified. `n_layers` and `n_heads` are numbers, for encoder-decoders one per kind. Of layers
    kept as queries and keys a sample of rows is checked; `qk_error` is how far these are from the model's formula.
    """
    found = {kind: (len(records), records[0].n_heads) for kind, records in groups.items()}
    every = [(record, *real[kind]) for kind, records in groups.items() for record in records]
    errors = {
        "row_sum_error": _worst(record.sums.row_sum_error(queries) for record, queries, _ in every),
        "causal_leak": _worst(record.sums.future for record, _, _ in every),
        "padding_leak": _worst(record.sums.padding_leak(keys) for record, _, keys in every),
        "output_error": _worst(record.output_error for record, _, _ in every),
        "qk_error": _worst(record.qk_error for record, _, _ in every),
        "logit_difference": float(logit_difference),
    }
    bounds = {
        "row_sum_error": HALF_ROW_SUM_BOUND if half else ROW_SUM_BOUND,
        "causal_leak": 0.0,
        "padding_leak": 0.0,
        "output_error": HALF_OUTPUT_BOUND if half else OUTPUT_BOUND,
        "qk_error": HALF_QK_BOUND if half else QK_BOUND,
        "logit_difference": LOGIT_BOUND,
    }
    # A comparison with NaN is false, so a number that is none can't pass.
    within = all(errors[name] <= bound for name, bound in bounds.items())
    single = found.get("attention")
    return {
        **errors,
        "n_layers": single[0] if single else {kind: layers for kind, (layers, _) in found.items()},
        "n_heads": single[1] if single else {kind: heads for kind, (_, heads) in found.items()},
        "bits": 16 if half else 32,
        "verified": bool(every) and within and found == dict(expected),
    }


def _largest(values: np.ndarray) -> float:
    return float(np.abs(values).max()) if values.size else 0.0


def _worst(values: Any) -> float:
    """Return the largest of some floats, 0 for none, NaN if one is NaN (which max() would lose)."""
    values = list(values)
    return math.nan if any(math.isnan(value) for value in values) else max(values, default=0.0)
