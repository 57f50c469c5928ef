"""What heads do for a prediction: gates on them, gradients through them, and what happens without them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from studio.attention.interface import (
    CaptureRefused,
    base_implementation,
    by_number,
    eager_function,
    inner_model,
    is_causal,
    switched,
    undisturbed,
    uses_interface,
)

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module

Target = Callable[[Any], "Tensor"]
# What becomes of a head: "zero", "uniform" (an even look at all it may look at), or a factor.
Edit = str | float
GATED = "attune-gated"
COMPLETE = 0.01
TOKENS_AT_ONCE = 512  # of all texts of a batch; more is no faster on a processor, and of words it is much memory


@dataclass(frozen=True, eq=False)
class HeadGradients:
    """What one backward says of all heads; arrays by module, in the order of the layers.

    `gates` [head]: the derivative of the target by a factor on the head's output (its size is the head's importance:
    Michel et al. 2019). `weights` and `gradients` [head, query, key]: the map, and the derivative by its cells.
    """

    gates: dict[str, np.ndarray]
    weights: dict[str, np.ndarray]
    gradients: dict[str, np.ndarray]


@dataclass
class _Gates:
    names: dict[int, str]
    base: str
    edits: Mapping[str, Mapping[int, Edit]] = field(default_factory=dict)
    keep: bool = False
    seen: dict[str, list[int]] = field(default_factory=dict)
    gates: dict[str, Tensor] = field(default_factory=dict)
    weights: dict[str, Tensor] = field(default_factory=dict)


_gates: ContextVar[_Gates | None] = ContextVar("attention_gates", default=None)


@contextmanager
def ablated(model: Module, edits: Mapping[str, Mapping[int, Edit]]) -> Iterator[dict[str, list[int]]]:
    """Let some heads do something else for a while: module name → head → "zero", "uniform" or a factor.

    Layers without an edit run as always. Yields what ran: module name → its number of heads, once for each call.
    Raises CaptureRefused for files without the attention interface, KeyError
    for an unknown module.
    """
    inner = inner_model(model)
    unknown = set(edits) - {name for name, _ in inner.named_modules()}
    if unknown:
        raise KeyError(f"no module {sorted(unknown)}")
    with _gated(inner, edits=edits) as gates:
        yield gates.seen


def are_edited() -> bool:
    """Return whether some heads do something else at this moment."""
    gates = _gates.get()
    return gates is not None and any(gates.edits.values())


def head_gradients(model: Module, inputs: Mapping[str, Tensor], target: Target) -> HeadGradients:
    """Return the derivatives of a target (outputs → a single number) by all heads and all weights, from one backward.

    The batch is one; the model runs in eval mode, and its gradients, flags and random state are as before.
    """
    import torch

    inner = inner_model(model)
    device = next(model.parameters()).device
    with undisturbed(model, device), torch.enable_grad(), _gated(inner, keep=True) as found:
        value = target(model(**inputs))
        names = sorted(found.gates, key=by_number)
        asked = [*(found.gates[name] for name in names), *(found.weights[name] for name in names)]
        derivatives = torch.autograd.grad(value, asked, allow_unused=True)
    arrays = [
        (torch.zeros_like(of) if one is None else one).float().cpu().numpy()
        for one, of in zip(derivatives, asked, strict=True)
    ]
    return HeadGradients(
        gates=dict(zip(names, arrays[: len(names)], strict=True)),
        weights={name: found.weights[name][0].detach().float().cpu().numpy() for name in names},
        gradients={name: array[0] for name, array in zip(names, arrays[len(names) :], strict=True)},
    )


def integrated_gradients(
    model: Module, inputs: Mapping[str, Tensor], target: Target, steps: int = 20, most_steps: int = 160
) -> tuple[np.ndarray, float]:
    """Return what each token adds to the target, [token], and how far the sum is from the whole, as a share.

    target: outputs → a number for each text of the batch, [row]; several points go through the model at once.

    The gradient by the token's embedding, averaged over the midpoints of `steps` between the mean embedding and the
    text (Sundararajan et al. 2017). Steps are doubled until the share is at most 1 %, up to `most_steps`. (From
    zeros, the first norm of a decoder jumps at once to full length, and no number of steps is enough.)
    """
    import torch

    inner = inner_model(model)
    device = next(model.parameters()).device
    # The encoder's own: with the decoder's it shares weights, but is another module.
    table = (inner.get_encoder() if inner.config.is_encoder_decoder else inner).get_input_embeddings()
    baseline = table.weight.detach().mean(dim=0) * getattr(table, "embed_scale", 1.0)
    at_once = _rows_at_once(inputs)
    given: list[Tensor] = []
    shares = torch.ones(1)

    def scaled(_module: Module, _inputs: Any, output: Tensor) -> Tensor | None:
        # Where an encoder-decoder has one table, the first call is that of the input.
        if given:
            return None
        far = shares.to(output).reshape(-1, *[1] * (output.ndim - 1))
        given.append((baseline + (output.detach() - baseline) * far).requires_grad_())
        return given[0]

    def at(where: list[float]) -> tuple[Tensor, Tensor]:
        """Return the target, [row], and the embeddings that it is of, so far on the way; all at once."""
        nonlocal shares
        shares = torch.tensor(where)
        given.clear()
        return target(model(**_repeated(inputs, len(where)))), given[0]

    hook = table.register_forward_hook(scaled)
    try:
        with undisturbed(model, device), torch.enable_grad():
            with torch.no_grad():
                (first, whole), points = at([0.0, 1.0])
            difference, way = (whole - first).item(), (points[1:] - points[:1]).detach()
            while True:
                total, middles = torch.zeros_like(way), [(step + 0.5) / steps for step in range(steps)]
                for start in range(0, steps, at_once):
                    values, points = at(middles[start : start + at_once])
                    total += torch.autograd.grad(values.sum(), points)[0].sum(dim=0, keepdim=True)
                attributions = (way * total / steps)[0].sum(dim=-1).float().cpu().numpy()
                missing = abs(float(attributions.sum()) - difference) / max(abs(difference), 1e-12)
                if missing <= COMPLETE or 2 * steps > most_steps:
                    return attributions, missing
                steps *= 2
    finally:
        hook.remove()


def token_value(
    model: Module, inputs: Mapping[str, Tensor], target: Target, blank: int
) -> Callable[[np.ndarray], np.ndarray]:
    """Return the value function of `coalitions`: the target with the tokens that go replaced by `blank`.

    target: outputs → a number for each text of the batch, [row]. Several coalitions go through the model at once;
    `inputs` is a batch of one, in which tokens are the last axis; what is no tensor is an option of the model.
    """
    import torch

    def value(coalitions: np.ndarray) -> np.ndarray:
        ids, found = inputs["input_ids"], []
        at_once = _rows_at_once(inputs)
        with undisturbed(model, ids.device), torch.inference_mode():
            for start in range(0, len(coalitions), at_once):
                stays = torch.as_tensor(coalitions[start : start + at_once], device=ids.device)
                stays = stays.reshape(len(stays), *[1] * (ids.ndim - 2), -1)
                batch = _repeated(inputs, len(stays))
                batch["input_ids"] = torch.where(stays, ids, blank)
                found += target(model(**batch)).flatten().tolist()
        return np.array(found)

    return value


def _rows_at_once(inputs: Mapping[str, Any]) -> int:
    return max(1, TOKENS_AT_ONCE // inputs["input_ids"].shape[-1])


def _repeated(inputs: Mapping[str, Any], n: int) -> dict[str, Any]:
    """Return a batch of `n` times the same text; what is no tensor is an option of the model."""
    return {name: each.expand(n, *each.shape[1:]) if hasattr(each, "expand") else each for name, each in inputs.items()}


@contextmanager
def _gated(model: Module, edits: Mapping = {}, keep: bool = False) -> Iterator[_Gates]:
    from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS, AttentionMaskInterface
    from transformers.modeling_utils import AttentionInterface

    if not uses_interface(model):
        raise CaptureRefused("capture-unsupported", model_type=model.config.model_type)
    base = base_implementation(model)
    AttentionInterface.register(GATED, _attend)
    AttentionMaskInterface.register(GATED, ALL_MASK_ATTENTION_FUNCTIONS[base])
    gates = _Gates({id(module): name for name, module in model.named_modules()}, base, edits, keep)
    with switched(model, GATED):
        token = _gates.set(gates)
        try:
            yield gates
        finally:
            _gates.reset(token)


def _attend(module, query, key, value, attention_mask=None, **options):
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    gates = _gates.get()
    name = gates.names[id(module)]
    gates.seen.setdefault(name, []).append(query.shape[1])
    edits = gates.edits.get(name)
    if not gates.keep and not edits:
        forward = sdpa_attention_forward if gates.base == "sdpa" else eager_function(module)
        return forward(module, query, key, value, attention_mask, **options)[0], None
    weights, allowed = _weights(module, query, key, value, attention_mask, options)
    if gates.keep:
        if name in gates.weights:
            # Layers that share one module (ALBERT) would overwrite each other.
            raise CaptureRefused("capture-shared", modules=1)
        if not weights.requires_grad:
            weights.requires_grad_()
        gates.weights[name] = weights
    for head, edit in (edits or {}).items():
        if edit == "uniform":
            weights = weights.clone()
            weights[:, head] = _even(weights[:, head], allowed, head)
    values = value.repeat_interleave(query.shape[1] // value.shape[1], dim=1)
    output = (weights @ values).transpose(1, 2)
    gate = output.new_ones(query.shape[1])
    for head, edit in (edits or {}).items():
        if edit != "uniform":
            gate[head] = 0.0 if edit == "zero" else float(edit)
    if gates.keep:
        gates.gates[name] = gate.requires_grad_()
    return (output * gate[:, None]).contiguous(), None


def _weights(
    module: Module, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, options: dict
) -> tuple[Tensor, Tensor | None]:
    """Return the model's own weights [batch, head, query, key], with gradients, and which keys may be looked at."""
    import torch

    from studio.attention.interface import Call
    from studio.attention.streaming import mask_rows

    formula, causal = eager_function(module), is_causal(module, options)
    call = Call("", module, query, key, value, mask, options, query, formula, causal)
    allowed, additive = mask_rows(call, slice(0, query.shape[-2]))
    if additive is not None:
        additive = additive.to(query.dtype).clamp_min(torch.finfo(query.dtype).min)
    return formula(module, query, key, value, additive, **options)[1], allowed


def _even(weights: Tensor, allowed: Tensor | None, head: int) -> Tensor:
    if allowed is None:
        return weights.new_full(weights.shape, 1.0 / weights.shape[-1])
    may = allowed[:, head if allowed.shape[1] > 1 else 0].expand(weights.shape).to(weights.dtype)
    return may / may.sum(dim=-1, keepdim=True).clamp_min(1.0)
