"""The vectors of one head: what its weights are computed from, and the proof that they are."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from studio.attention.capture import kind_of, token_facts
from studio.attention.checks import HALF_OUTPUT_BOUND, HALF_QK_BOUND, OUTPUT_BOUND, QK_BOUND
from studio.attention.interface import (
    Call,
    Recorder,
    by_number,
    forward_options,
    inner_model,
    recording,
    undisturbed,
    uses_interface,
)
from studio.attention.streaming import chunks, in_float32, mask_of, weights_of
from studio.attention.vectors import HeadVectors
from studio.core.commands import Study
from studio.core.reasons import Failure

if TYPE_CHECKING:
    from torch.nn import Module

    from studio.engine.subject import Subject


@dataclass
class _OneModule(Recorder):
    """Notes which modules attend, and holds on to the calls of one alone: all of them may be gigabytes."""

    wanted: str = ""
    called: list[str] = field(default_factory=list)

    def add(self, module: Module, *given: Any) -> None:
        self.called.append(self.names[id(module)])
        if self.called[-1] == self.wanted:
            super().add(module, *given)

    def flush(self) -> None:
        """Nothing is read here: the calls stay."""


def study(subject: Subject, asked: Study, states: tuple[str, ...], out: Path) -> dict[str, Any]:
    """Write `<state>.npz` (see `HeadVectors`) of the head that the options name, `layer` and `head` from 0.

    result: `layer`, `head`, and per state `scale`, `error`, `output_error`. Raises Failure: those of `encode`,
    capture-…, vectors-unsupported, vectors-formula (the weights are more than softmax(scale * q·k + mask)),
    head-unknown.
    """
    import torch

    layer, head = int(asked.options.get("layer", 0)), int(asked.options.get("head", 0))
    encoded = subject.encode(asked.text, asked.fields)
    facts = token_facts(subject.tokenizer, encoded, asked.text)
    words = facts.get("word_ids") or [None] * len(facts["ids"])
    extra = np.array([special and word is None for special, word in zip(facts["special"], words, strict=True)])
    out.mkdir(parents=True, exist_ok=True)
    found: dict[str, Any] = {}
    for state in states:
        with subject.state(state) as model, torch.inference_mode():
            call, half = _call(model, subject.inputs(encoded, model), layer, head)
            vectors = _read(call, head, np.array(facts["ids"]), extra, half)
        vectors.save(out / f"{state}.npz")
        found[state] = {name: getattr(vectors, name) for name in ("scale", "error", "output_error")}
    return {"result": {"layer": layer, "head": head, "states": found}, "directory": str(out)}


def _call(model: Module, inputs: dict[str, Any], layer: int, head: int) -> tuple[Call, bool]:
    """Return the call of attention in a layer, counted as the maps are, and whether the model runs in 16 bits."""
    import torch

    inner = inner_model(model)
    if not uses_interface(inner):
        raise Failure("vectors-unsupported", model_type=inner.config.model_type)
    device = next(model.parameters()).device
    half = any(part.element_size() < 4 for part in model.parameters())
    options = forward_options(inner)

    def forward(wanted: str) -> _OneModule:
        with recording(inner, 0, kind=_OneModule) as recorder:
            recorder.wanted = wanted
            model(**inputs, **options)
        return recorder

    with undisturbed(model, device), torch.inference_mode():
        # Which module is which layer is known once all were called; one that serves several is called several times.
        called = [name for name in forward("").called if kind_of(name, inner.config) in ("attention", "encoder")]
        ordered = sorted(called, key=by_number)
        if not 0 <= layer < len(ordered):
            raise Failure("head-unknown", layer=layer + 1, head=head + 1)
        calls = forward(ordered[layer]).pending
    call = calls[layer - ordered.index(ordered[layer])]
    if not 0 <= head < call.query.shape[1]:
        raise Failure("head-unknown", layer=layer + 1, head=head + 1)
    return call, half


def _read(call: Call, head: int, ids: np.ndarray, extra: np.ndarray, half: bool) -> HeadVectors:
    """Return one head's vectors; raises Failure where its weights do not follow from them."""
    _, n_heads, n_queries, width = call.query.shape
    n_keys, group = call.key.shape[-2], head * call.key.shape[1] // n_heads
    mask = mask_of(call, call.options.get("position_bias"))
    if mask.table is not None and len(mask.table) > 1:
        mask = type(mask)(table=mask.table[head : head + 1])
    call, scale = in_float32(call), call.options.get("scaling")
    query, key, value = (
        tensor.cpu().numpy() for tensor in (call.query[0, head], call.key[0, group], call.value[0, group])
    )
    passed = call.output.reshape(1, n_queries, n_heads, -1)[0, :, head].float().cpu().numpy()
    scale = width**-0.5 if scale is None else float(scale)
    vectors = HeadVectors(query, key, value, passed, scale, mask, ids, extra)
    worst, output = np.float64(0.0), np.empty_like(passed)
    for rows in chunks(n_queries, 4 * n_heads * n_keys):
        weights = np.stack([vectors.row(i).weights for i in range(rows.start, rows.stop)])
        worst = np.maximum(worst, np.abs(weights_of(call, rows)[0][head] - weights).max())
        output[rows] = weights @ value
    output_error = float(np.abs(output - passed).max() / max(np.abs(passed).max(), 1e-12))
    # A comparison with NaN is false, so a number that is none can't pass.
    if not (worst <= (HALF_QK_BOUND if half else QK_BOUND)):
        raise Failure("vectors-formula", error=f"{worst:.0e}")
    if not (output_error <= (HALF_OUTPUT_BOUND if half else OUTPUT_BOUND)):
        raise Failure("vectors-formula", error=f"{output_error:.0e}")
    return HeadVectors(query, key, value, output, scale, mask, ids, extra, float(worst), output_error)
