"""What each token did for the answer, by one method, and the test of whether that can be believed.

options: `method`: gradient (× attention, signed), relevance (Chefer), integrated (gradients, signed), flow, `given`
with `weights` by state [token] that were found elsewhere, or `reads`, which only says from where the answer is read;
`states`, only those of them; `kind` of the attention that is shown; `label`, `token` as `target.target_of` has them.
result: `target` in words; `ids`; `added` [token], those of the tokenizer; `stays` [token], those that are never left
out; `blank`, the token that stands for one that is; `states`: by name `reads` [token], the share of each token's row in
the last layer, None where heads give no gradients; `weights` [token]; `missing`, the share that integrated gradients
lack of the whole; and what `faithfulness.faithfulness` returns.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from studio.attention import gates, paths
from studio.attention.interface import inner_model, uses_interface
from studio.core.reasons import Failure
from studio.engine.studies.ablate import layers_of, require_heads
from studio.engine.studies.asked import Target
from studio.engine.studies.faithfulness import faithfulness
from studio.engine.studies.target import blank_of, states_of

if TYPE_CHECKING:
    from studio.core.commands import Study
    from studio.engine.subject import Subject

MOST_FLOW_TOKENS, MOST_FLOW_ROWS = 128, 4  # each pair of tokens is a flow of its own


def study(subject: Subject, asked: Study, states: tuple[str, ...], out: Path) -> dict[str, Any]:
    """Return weights and their test.

    Raises Failure: heads-fixed, heads-shared, kind-unknown, flow-too-long, nothing-to-leave-out, method-kind.
    """
    options, found = asked.options, {}
    method, kind = options.get("method", "gradient"), options.get("kind", "")
    if kind == "decoder" or kind == "cross" and method == "flow":
        raise Failure("method-kind", method=method, kind=kind)
    for name, model, target in states_of(subject, states, asked, options):
        if target.stays.all():
            raise Failure("nothing-to-leave-out", "text")
        if name not in options.get("states", states):
            continue  # it only says what is predicted
        if method == "reads":
            found[name] = {"reads": _reads(model, target, kind)}
        else:
            given = options.get("weights", {}).get(name)
            if method == "relevance" and subject.writes:
                weights, facts = _relevance_across(model, target), {}
            else:
                weights, facts = _weights(method, model, target, kind, given)
            # The same words may come twice in a text: which of them is asked about tells their targets apart.
            key = [asked.text, asked.fields, name, target.choice, target.told(), options.get("token", -1), kind]
            found[name] = {"weights": weights.tolist()} | facts
            found[name] |= faithfulness(subject, model, target, weights, key)
        told, ids = target.told(), target.inputs["input_ids"].flatten().tolist()
        stays, added = target.stays.tolist(), target.added.tolist()
    blank = subject.tokenizer.convert_ids_to_tokens(blank_of(subject.tokenizer))
    result = {"target": told, "method": method, "ids": ids, "stays": stays, "added": added, "blank": blank}
    return {"result": result | {"states": {name: found[name] for name in states if name in found}}}


def _weights(
    method: str, model: Any, target: Target, kind: str, given: list[float] | None
) -> tuple[np.ndarray, dict[str, float | None]]:
    """Return the weights [token] of a method, and what else it says."""
    n_tokens = len(target.stays)
    if method == "integrated":
        weights, missing = gates.integrated_gradients(model, target.inputs, target.of)
        return weights, {"missing": missing}
    if method == "flow" and n_tokens > MOST_FLOW_TOKENS:
        raise Failure("flow-too-long", "text", n_tokens=n_tokens, most=MOST_FLOW_TOKENS)
    if method in ("gradient", "relevance", "flow"):
        maps, gradients = _maps(model, target, kind)
        if method == "gradient":
            return paths.gradient_times_attention(maps, gradients).sum(axis=(0, 1, 2)), {}
        if method == "flow":
            rows = _rows_read(gradients)
            queries = np.argsort(-rows, kind="stable")[:MOST_FLOW_ROWS]
            queries = queries[rows[queries] > 0].tolist()
            return rows[queries] @ paths.max_flow(maps, queries=queries), {}
        # What a token keeps of itself is no relevance of another: it is left out, as in the paper.
        own = paths.relevance(maps, gradients) - np.eye(n_tokens)
        return _rows_read(gradients) @ own, {}
    if given is None or len(given) != n_tokens:
        raise Failure("study-unknown", what=f"attributions by {method}")
    return np.asarray(given, dtype=np.float64), {}


def _relevance_across(model: Any, target: Target) -> np.ndarray:
    """Return the relevance of the encoder's tokens for what the decoder writes, whichever attention is shown."""
    require_heads(model)
    found = gates.head_gradients(model, target.inputs, target.one)
    encoder, decoder, cross = (_of_kind(model, found, kind) for kind in ("encoder", "decoder", "cross"))
    return _rows_read(cross[1]) @ paths.relevance_across(encoder, decoder, cross)


def _reads(model: Any, target: Target, kind: str) -> list[float] | None:
    inner = inner_model(model)
    return _rows_read(_maps(model, target, kind)[1]).tolist() if uses_interface(inner) else None


def _maps(model: Any, target: Target, kind: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the maps and the target's derivatives by their cells, [layer, head, query, key]."""
    require_heads(model)
    return _of_kind(model, gates.head_gradients(model, target.inputs, target.one), kind)


def _of_kind(model: Any, found: gates.HeadGradients, kind: str) -> tuple[np.ndarray, np.ndarray]:
    layers = layers_of(model, {name: [len(each)] for name, each in found.gates.items()}, kind)
    maps, gradients = (np.stack([each[name] for name in layers]) for each in (found.weights, found.gradients))
    return maps, gradients


def _rows_read(gradients: np.ndarray) -> np.ndarray:
    """Return from which tokens' rows of the last layer the answer is read, shares [token]: a head reads few of them."""
    rows = np.abs(gradients[-1], dtype=np.float64).sum(axis=(0, 2))
    return rows / rows.sum() if rows.sum() > 0 else np.full(len(rows), 1 / len(rows))
