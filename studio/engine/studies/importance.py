"""How much each head matters for the answer: the gradient by a gate on it, of all heads from one backward.

options: `rows`, over how many rows of the run's data it is averaged (0: only the text that is asked about); `stop` ends
a measurement that runs; `kind` of the attention whose heads they are; `label`, `token` as `target.target_of` has them.
result: `target` in words; `states`: by name [layer, head], the size of the derivative (of the target's logarithm where
it is a probability) by a factor on the head's output (Michel et al. 2019); `part` of the data, "" for the text alone;
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
    from studio.engine.subject import Subject

MOST_ROWS = 512


def study(subject: Subject, asked: Study, states: tuple[str, ...], out: Path) -> dict[str, Any]:
    """Return the importance of all heads.

    Raises Failure: heads-fixed, heads-shared, kind-unknown, aggregate-no-data, study-replaced.
    """
    if asked.options.get("stop"):
        raise Failure("study-replaced")
    n_asked = int(asked.options.get("rows", 0))
    part, questions = _rows(subject, n_asked) if n_asked else ("", [asked])
    sums: dict[str, np.ndarray] = {}
    n_used, n_left_out, told = 0, 0, {}
    for done, question in enumerate(questions):
        if n_asked:
            subject.progress(done, len(questions))
        try:
            found = {}
            for name, model, target in states_of(subject, states, question, asked.options):
                require_heads(model)
                found[name], told = _gates(model, target, asked.options.get("kind", "")), target.told()
        except Failure as failure:
            if n_asked and failure.problem.reason.startswith("text-"):
                n_left_out += 1
                continue
            raise
        for name, values in found.items():
            sums[name] = sums.get(name, 0.0) + values
        n_used += 1
    if not n_used:
        raise Failure("text-empty", "text")
    values = {name: (sums[name] / n_used).tolist() for name in states}
    counts = {"part": part, "n_rows": n_used, "n_left_out": n_left_out}
    return {"result": {"target": told, "states": values} | counts}


def _gates(model: Any, target: Any, kind: str) -> np.ndarray:
    found = gates.head_gradients(model, target.inputs, target.one).gates
    layers = layers_of(model, {name: [len(each)] for name, each in found.items()}, kind)
    return np.abs(np.stack([found[name] for name in layers]))


def _rows(subject: Subject, n_rows: int) -> tuple[str, list[Study]]:
    """Return the part of the data that the run is measured on, and rows of it as questions, evenly spread over it."""
    parts = subject.parts()
    part = next((name for name in ("test", "validation", "train") if len(parts.get(name, ()))), None)
    if part is None:
        raise Failure("aggregate-no-data")
    rows = parts[part]
    chosen = np.unique(np.linspace(0, len(rows) - 1, min(n_rows, MOST_ROWS, len(rows))).astype(int))
    some = rows.select(chosen.tolist())
    fields = {role: list(texts) for role, texts in some.fields.items()}
    return part, [Study(what="importance", fields={role: fields[role][i] for role in fields}) for i in range(len(some))]
