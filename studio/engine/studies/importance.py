"""How much each head matters for the answer: the gradient by a gate on it, of all heads from one backward.

options: `rows`, over how many rows of the run's data it is averaged (0: only the text that is asked about); `label`,
`token` as `target.target_of` has them. result: `target` in words; `states`: by name [layer, head], the size of the
derivative (of the target's logarithm where it is a probability) by a factor on the head's output (Michel et al. 2019);
`n_rows`: how many rows there were, `n_left_out` how many were empty or too long.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from studio.attention import gates
from studio.core.commands import Study
from studio.core.reasons import Failure
from studio.engine.studies.ablate import layers_of, require_heads
from studio.engine.studies.target import states_of

if TYPE_CHECKING:
    from studio.engine.inspect import Subject

MOST_ROWS = 512


def study(subject: Subject, asked: Study, states: tuple[str, ...], out: Path) -> dict[str, Any]:
    """Return the importance of all heads. Raises Failure: heads-fixed, heads-shared."""
    questions = _rows(subject, int(asked.options.get("rows", 0))) or [asked]
    sums: dict[str, np.ndarray] = {}
    n_used, n_left_out, told = 0, 0, {}
    for question in questions:
        try:
            found = {}
            for name, model, target in states_of(subject, states, question, asked.options):
                require_heads(model)
                found[name], told = _gates(model, target), target.told()
        except Failure as failure:
            if len(questions) > 1 and failure.problem.reason.startswith("text-"):
                n_left_out += 1
                continue
            raise
        for name, values in found.items():
            sums[name] = sums.get(name, 0.0) + values
        n_used += 1
    if not n_used:
        raise Failure("text-empty", "text")
    values = {name: (sums[name] / n_used).tolist() for name in states}
    return {"result": {"target": told, "states": values, "n_rows": n_used, "n_left_out": n_left_out}}


def _gates(model: Any, target: Any) -> np.ndarray:
    found = gates.head_gradients(model, target.inputs, target.one).gates
    layers = layers_of(model, {name: [len(each)] for name, each in found.items()})
    return np.abs(np.stack([found[name] for name in layers]))


def _rows(subject: Subject, n_rows: int) -> list[Study]:
    """Return rows of the run's data as questions, evenly spread over the part that it was measured on."""
    if not n_rows or subject.trained is None:
        return []
    parts = subject.trained.parts()
    rows = next((parts[name] for name in ("test", "validation", "train") if len(parts.get(name, ()))), None)
    if rows is None:
        return []
    chosen = np.unique(np.linspace(0, len(rows) - 1, min(n_rows, MOST_ROWS, len(rows))).astype(int))
    some = rows.select(chosen.tolist())
    fields = {role: list(texts) for role, texts in some.fields.items()}
    return [Study(what="importance", fields={role: fields[role][i] for role in fields}) for i in range(len(some))]
