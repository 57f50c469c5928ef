"""Our attention function inside transformers: the model's own output, and beside it the weights behind it.

`output_attentions=True` is not the way: under SDPA most models return an empty tuple, and some return wrong maps.
"""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from studio.core.reasons import Failure

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module

# Our names carry none of the words ("sdpa", "eager", "flash") by which transformers picks special treatment.
IMPLEMENTATIONS = {"sdpa": "attune-fused", "eager": "attune-plain"}


class CaptureRefused(Failure):
    """The attention can't be captured: `reason_id` is one of core's reasons, `details` its facts."""

    def __init__(self, reason_id: str, **details: Any):
        super().__init__(reason_id, **details)
        self.reason_id = reason_id
        self.details = details


@dataclass(frozen=True, eq=False)
class Record:
    """One call of one attention module: `weights` is float32 [head, query, key]."""

    module: str
    weights: np.ndarray
    causal: bool
    output_error: float


@dataclass
class Recorder:
    """Collects the attention of one forward, keyed by each module's qualified name; memory in bytes."""

    names: dict[int, str]
    budget_bytes: int
    records: dict[str, list[Record]] = field(default_factory=dict)
    used_bytes: int = 0

    def add(self, module: Module, weights: Tensor, causal: bool, output_error: float) -> None:
        """Keep one module's weights [1, head, query, key]; refuses to go beyond the budget."""
        self.used_bytes += weights.numel() * 4
        if self.used_bytes > self.budget_bytes:
            raise memory_refusal(self.used_bytes, self.budget_bytes)
        name = self.names[id(module)]
        self.records.setdefault(name, []).append(Record(name, weights[0].cpu().numpy(), causal, output_error))

    def take(self) -> list[Record]:
        """Hand over the records ordered by name, numbers as numbers; never by the order of the calls.

        One module may serve every layer (ALBERT): its calls are its layers. Several such modules could only be
        ordered by guessing, which is refused.
        """
        if len(self.records) > 1 and any(len(calls) > 1 for calls in self.records.values()):
            raise CaptureRefused("capture-shared", modules=len(self.records))
        ordered = [record for name in sorted(self.records, key=_by_number) for record in self.records[name]]
        self.records.clear()
        return ordered


def memory_refusal(needed_bytes: int, budget_bytes: int) -> CaptureRefused:
    """Return the refusal of a capture beyond its budget, with facts in bytes and in MB for people."""
    facts = {"needed_mb": math.ceil(needed_bytes / 1e6), "budget_mb": math.floor(budget_bytes / 1e6)}
    return CaptureRefused("capture-memory", needed_bytes=needed_bytes, budget_bytes=budget_bytes, **facts)


_recorder: ContextVar[Recorder | None] = ContextVar("attention_recorder", default=None)


@contextmanager
def recording(model: Module, budget_bytes: int) -> Iterator[Recorder]:
    """Switch `model` (a PreTrainedModel) to our function and yield what will hold its attention.

    Raises CaptureRefused when transformers can't switch it, or when our mask function is not in place: without it
    transformers hands every layer the mask None, and decoders see the future.
    """
    from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS, AttentionMaskInterface
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS, AttentionInterface

    for base, name in IMPLEMENTATIONS.items():
        AttentionInterface.register(name, _attend_fused if base == "sdpa" else _attend_plain)
        AttentionMaskInterface.register(name, ALL_MASK_ATTENTION_FUNCTIONS[base])
    name = IMPLEMENTATIONS[base_implementation(model)]
    if name not in ALL_ATTENTION_FUNCTIONS or name not in ALL_MASK_ATTENTION_FUNCTIONS:
        raise CaptureRefused("capture-mask", model_type=model.config.model_type)

    recorder = Recorder({id(module): path for path, module in model.named_modules()}, budget_bytes)
    with switched(model, name):
        token = _recorder.set(recorder)
        try:
            yield recorder
        finally:
            _recorder.reset(token)


@contextmanager
def switched(model: Module, implementation: str) -> Iterator[None]:
    """Let `model` and its parts use an attention implementation, and restore every config at the end.

    Raises CaptureRefused where a part's file does not use transformers' attention interface.
    """
    from transformers import PreTrainedModel

    before = [(config, config._attn_implementation) for config in _configs(model)]
    parts = [part for part in model.modules() if isinstance(part, PreTrainedModel)]
    refusal = CaptureRefused("capture-unsupported", model_type=model.config.model_type)
    # Asked first because set_attn_implementation only logs a warning and keeps the old implementation.
    if not all(part._can_set_attn_implementation() for part in parts):
        raise refusal
    try:
        model.set_attn_implementation(implementation)
        if any(part.config._attn_implementation != implementation for part in parts):
            raise refusal
        yield
    finally:
        # The property's setter also writes into sub-configs; the attribute behind it touches only this one.
        for config, name in before:
            config._attn_implementation_internal = name


def base_implementation(model: Module) -> str:
    """Return "eager" where the model or a part of it needs it (softcap, sinks), else "sdpa"."""
    return "eager" if any(config._attn_implementation == "eager" for config in _configs(model)) else "sdpa"


def _configs(model: Module) -> list[Any]:
    from transformers import PreTrainedConfig

    found: dict[int, Any] = {}
    waiting = [module.config for module in model.modules() if hasattr(module, "config")]
    while waiting:
        config = waiting.pop()
        if isinstance(config, PreTrainedConfig) and id(config) not in found:
            found[id(config)] = config
            waiting += [getattr(config, key, None) for key in config.sub_configs]
    return list(found.values())


def _by_number(name: str) -> list[tuple[int, int | str]]:
    return [(0, int(part)) if part.isdigit() else (1, part) for part in re.split(r"(\d+)", name)]


def _attend_fused(module, query, key, value, attention_mask=None, **options):
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    return _attend(sdpa_attention_forward, module, query, key, value, attention_mask, options)


def _attend_plain(module, query, key, value, attention_mask=None, **options):
    return _attend(_eager_function(module), module, query, key, value, attention_mask, options)


def _attend(
    forward: Callable, module: Module, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, options: dict
) -> tuple[Tensor, None]:
    """Return the output of `forward`, untouched, and record the weights of the model file's own formula.

    The weights come from `eager_attention_forward` in float32, so softcap, position bias, grouped keys and windows
    are those of the model. `output_error` says whether these weights times the values are the layer's real output.
    """
    import torch

    output = forward(module, query, key, value, mask, **options)[0]
    recorder = _recorder.get()
    if recorder is None:
        return output, None
    causal = _is_causal(module, options)
    allowed, additive = _float_mask(query, key, mask, causal, options.get("sliding_window"))
    exact = {
        name: option.float() if torch.is_tensor(option) and option.is_floating_point() else option
        for name, option in options.items()
    }
    with torch.autocast(query.device.type, enabled=False):
        ours, weights = _eager_function(module)(module, query.float(), key.float(), value.float(), additive, **exact)
    difference = (ours - output.float().reshape(ours.shape)).abs()
    if allowed is not None:
        # A query that may look at nothing (padding) has no distribution; implementations fill in what they like.
        looking = allowed.any(dim=-1, keepdim=True)
        weights = torch.where(looking, weights, 0.0)
        difference = torch.where(looking.transpose(1, 2), difference, 0.0)
    error = (difference.max() / output.abs().max().float().clamp_min(1e-12)).item()
    recorder.add(module, weights, causal, error)
    return output, None


def _is_causal(module: Module, options: dict) -> bool:
    asked = options.get("is_causal")
    return bool(getattr(module, "is_causal", True) if asked is None else asked)


def _float_mask(
    query: Tensor, key: Tensor, mask: Tensor | None, causal: bool, window: int | None
) -> tuple[Tensor | None, Tensor | None]:
    """Return which keys a query may look at, and the same as the float32 mask that eager attention adds."""
    import torch

    n_queries, n_keys = query.shape[-2], key.shape[-2]
    if mask is None:
        if not causal or n_queries == 1:
            return None, None
        # SDPA builds the triangle of an unpadded causal input itself; here it must be written out.
        rows = torch.arange(n_queries, device=query.device)[:, None]
        columns = torch.arange(n_keys, device=query.device)[None, :]
        allowed = columns <= rows
        if window is not None:
            allowed &= columns > rows - window
        allowed = allowed[None, None]
        added = torch.zeros((), device=query.device)
    else:
        mask = mask[..., :n_keys]
        is_bool = mask.dtype == torch.bool
        allowed = mask if is_bool else mask > torch.finfo(mask.dtype).min / 2
        added = torch.zeros((), device=query.device) if is_bool else mask.float()
    return allowed, torch.where(allowed, added, torch.finfo(torch.float32).min)


def _eager_function(module: Module) -> Callable:
    for kind in type(module).__mro__:
        function = getattr(sys.modules.get(kind.__module__), "eager_attention_forward", None)
        if function is not None:
            return function
    raise CaptureRefused("capture-no-formula", module=type(module).__name__)
