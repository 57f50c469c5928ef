"""The attention of models whose files do not use transformers' attention interface: watched, not replaced.

Whatever a file calls it, a softmax ends in one operator of torch; what it gives is recorded if it is then multiplied
with something, as weights are with values. Fused attention is seen by its arguments. Every record is keyed by the
module that runs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from studio.attention.checks import Sums
from studio.attention.interface import Call, Record, Recorder

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module


@contextmanager
def watching(model: Module, recorder: Recorder, causal: bool, real: np.ndarray | None) -> Iterator[None]:
    """Record every attention of `model` (batch of one) into `recorder`, and change nothing of what it computes.

    `causal` says whether the model's tokens see the future (see `sees_no_future`), `real` which are no padding.
    """
    import torch
    from torch.overrides import TorchFunctionMode
    from torch.utils._python_dispatch import TorchDispatchMode

    watch = _Watch(recorder, causal, real)

    class Fused(TorchFunctionMode):
        def __torch_function__(self, function, types, args=(), kwargs=None):
            kwargs = kwargs or {}
            if function is not torch.nn.functional.scaled_dot_product_attention:
                return function(*args, **kwargs)
            watch.inside = True
            try:
                output = function(*args, **kwargs)
            finally:
                watch.inside = False
            watch.fused(output, *args, **kwargs)
            return output

    class Operators(TorchDispatchMode):
        def __torch_dispatch__(self, operator, types, args=(), kwargs=None):
            result = operator(*args, **kwargs or {})
            if not watch.inside:
                watch.operator(operator.overloadpacket.__name__, args, result)
            return result

    hooks = []
    for name, module in model.named_modules():
        hooks.append(module.register_forward_pre_hook(lambda *_, name=name: watch.running.append(name)))
        hooks.append(module.register_forward_hook(watch.left, always_call=True))
    try:
        with Fused(), Operators():
            yield
        recorder.flush()
    finally:
        for hook in hooks:
            hook.remove()


def sees_no_future(model: Module, inputs: Mapping[str, Tensor], options: dict[str, Any]) -> bool:
    """Return whether the states of earlier tokens stay the same when the last real token is another one.

    Asked of the model itself, since a file without the interface does not say it.
    """
    import torch

    ids, mask = inputs.get("input_ids"), inputs.get("attention_mask")
    if ids is None or ids.shape[1] < 2:
        return False
    last = ids.shape[1] - 1 if mask is None else int(mask[0].nonzero().max())
    other = ids.clone()
    other[0, last] = ids[0, 0] if ids[0, last] != ids[0, 0] else (ids[0, 0] + 1) % model.config.vocab_size
    states = [
        model(**inputs | {"input_ids": given}, **options, output_hidden_states=True).get("hidden_states")
        for given in (ids, other)
    ]
    if not states[0]:
        return False
    first, second = (torch.stack([layer[0, :last].float() for layer in layers[:-1]]) for layers in states)
    return bool((first - second).abs().max() <= 1e-5 * first.abs().max()) if first.numel() else False


class _Watch:
    def __init__(self, recorder: Recorder, causal: bool, real: np.ndarray | None):
        self.recorder, self.causal, self.real = recorder, causal, real
        self.running: list[str] = []
        self.inside = False
        # The weights that nobody used yet, by where they lie in memory, with copies of them.
        self._waiting: dict[int, tuple[str, Tensor, Tensor]] = {}

    def left(self, *_: Any) -> None:
        self.running.pop()

    def operator(self, name: str, args: tuple, result: Any) -> None:
        if name == "_softmax" and result.ndim in (3, 4) and args[1] in (-1, result.ndim - 1) and self.running:
            self._waiting[result.data_ptr()] = (self.running[-1], result, result)
        elif name in ("_to_copy", "clone") and args[0].data_ptr() in self._waiting:
            module, weights, _ = self._waiting.pop(args[0].data_ptr())
            self._waiting[result.data_ptr()] = (module, weights, result)
        elif name in ("bmm", "baddbmm"):
            used = args[-2].data_ptr()
            if used in self._waiting:
                self._softmax(*self._waiting.pop(used)[:2])

    def _softmax(self, module: str, weights: Tensor) -> None:
        if weights.ndim == 4 and weights.shape[0] != 1:
            return
        values = (weights[0] if weights.ndim == 4 else weights).float().cpu().numpy()
        n_heads, n_queries, n_keys = values.shape
        if self.real is not None and len(self.real) == n_queries and not self.real.all():
            values = values * self.real[None, :, None]
        room = self.recorder.room(values.shape)
        room.write(slice(0, n_queries), values)
        sums = Sums(n_queries, n_keys, self.causal)
        sums.add(np.arange(n_queries), values)
        self.recorder.keep(Record(module, room.done(), n_heads, sums, 0.0))

    def fused(
        self,
        output: Tensor,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attn_mask: Tensor | None = None,
        dropout_p: float = 0.0,
        is_causal: bool = False,
        scale: float | None = None,
        enable_gqa: bool = False,
    ) -> None:
        if query.ndim != 4 or not self.running:
            return
        options = {"scaling": scale, "is_causal": is_causal}
        output = output.transpose(1, 2)
        name = self.running[-1]
        self.recorder.pending.append(
            Call(name, None, query, key, value, attn_mask, options, output, _plain_formula, self.causal)
        )


def _plain_formula(module, query, key, value, mask, scaling=None, **_options) -> tuple[Tensor, Tensor]:
    """Return what fused attention computes, as torch documents it, and its weights."""
    groups = query.shape[1] // key.shape[1]
    key, value = key.repeat_interleave(groups, dim=1), value.repeat_interleave(groups, dim=1)
    scores = query @ key.transpose(-2, -1) * (query.shape[-1] ** -0.5 if scaling is None else scaling)
    weights = (scores if mask is None else scores + mask).softmax(dim=-1)
    return (weights @ value).transpose(1, 2), weights
