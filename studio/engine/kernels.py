"""What makes a training step on a processor quick: dropout, attention, embeddings and AdamW in fewer passes.

The mathematics is that of the layers which they stand for, with one exception that is said in the run: a row of the
word embeddings is updated in the steps whose batch holds its word, as `torch.optim.SparseAdam` does.
"""

import contextlib
from collections.abc import Iterable
from typing import Any

import torch  # noqa: TID253
from torch import Tensor, nn  # noqa: TID253
from torch.optim.adamw import adamw  # noqa: TID253
from transformers import AttentionInterface  # noqa: TID253
from transformers.integrations.sdpa_attention import sdpa_attention_forward  # noqa: TID253
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS, AttentionMaskInterface  # noqa: TID253

ATTENTION = "attune_training"
_LONGEST = 1024  # tokens; beyond it the weights of a layer take more memory than the flash kernel is slower


class _Drop(torch.autograd.Function):
    """Dropout whose mask comes from 16-bit random numbers: torch's own draws one double a value."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, p: float) -> Tensor:
        n = x.numel()
        words = torch.empty((n + 3) // 4, dtype=torch.int64).random_(-(2**63), None)
        kept = words.view(torch.int16)[:n].view(x.shape) >= round(p * 65536) - 32768
        scale = kept.to(x.dtype).mul_(1 / (1 - p))
        ctx.save_for_backward(scale)
        return x * scale

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (scale,) = ctx.saved_tensors
        return gradient * scale, None


class Dropout(nn.Dropout):
    """nn.Dropout with a quick mask; its random numbers come from torch's generator, so that a resume is exact."""

    def forward(self, x: Tensor) -> Tensor:
        return _Drop.apply(x, self.p) if self.training and 0 < self.p < 1 else super().forward(x)


def attention(
    module: Any, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, **kwargs: Any
) -> tuple[Tensor, None]:
    """Return softmax(query keyᵀ · scaling + mask) value as [batch, query, head, channel], for training.

    On a processor the backward pass of torch's flash kernel, and the dropout of its other one, are slow.
    """
    is_causal = kwargs.get("is_causal")
    is_causal = getattr(module, "is_causal", True) if is_causal is None else is_causal
    # What this function does not compute: a mask that is left to the kernel, and additions of some models.
    is_plain = attention_mask is not None or not is_causal
    is_plain = is_plain and all(kwargs.get(name) is None for name in ("position_bias", "softcap", "s_aux", "cache"))
    same_heads = query.shape[1] == key.shape[1]
    if not (module.training and is_plain and same_heads and key.shape[2] <= _LONGEST and query.device.type == "cpu"):
        return sdpa_attention_forward(module, query, key, value, attention_mask, **kwargs)
    scaling, p = kwargs.get("scaling"), kwargs.get("dropout") or 0.0
    scores = torch.matmul(query * (query.shape[-1] ** -0.5 if scaling is None else scaling), key.transpose(2, 3))
    if attention_mask is not None:
        if attention_mask.dtype == torch.bool:
            scores = scores.masked_fill(~attention_mask, torch.finfo(scores.dtype).min)
        else:
            scores = scores + attention_mask.to(scores.dtype)
    weights = torch.softmax(scores, dim=-1, dtype=scores.dtype)
    if p:
        weights = _Drop.apply(weights, p)
    return torch.matmul(weights, value).transpose(1, 2).contiguous(), None


AttentionInterface.register(ATTENTION, attention)
AttentionMaskInterface.register(ATTENTION, ALL_MASK_ATTENTION_FUNCTIONS["sdpa"])


class _Look(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, weight: Tensor, ids: Tensor, module: "Embedding") -> Tensor:
        ctx.module, ctx.ids = module, ids
        return weight.index_select(0, ids.reshape(-1)).view(*ids.shape, -1)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[None, None, None]:
        ctx.module.add_gradient(ctx.ids.reshape(-1), gradient.reshape(-1, gradient.shape[-1]))
        return None, None, None


class Embedding(nn.Embedding):
    """nn.Embedding that keeps the gradient of the rows that were looked up, not of the whole table.

    `AdamW` below takes it from `gradient()`; `weight.grad` stays None.
    """

    found: list[tuple[Tensor, Tensor]]

    def forward(self, ids: Tensor) -> Tensor:
        if not torch.is_grad_enabled() or not self.weight.requires_grad:
            return super().forward(ids)
        return _Look.apply(self.weight, ids, self)

    def add_gradient(self, ids: Tensor, gradient: Tensor) -> None:
        """Keep the gradient [n, channel] of the rows `ids` [n] until the next step."""
        if self.padding_idx is not None:
            used = ids != self.padding_idx
            ids, gradient = ids[used], gradient[used]
        self.found.append((ids, gradient.to(self.weight.dtype)))

    def gradient(self) -> tuple[Tensor, Tensor]:
        """Return the rows [n] that have a gradient, each once, and their gradients [n, channel]."""
        ids, inverse = torch.cat([ids for ids, _ in self.found]).unique(return_inverse=True)
        total = self.weight.new_zeros(len(ids), self.embedding_dim)
        total.index_add_(0, inverse, torch.cat([gradient for _, gradient in self.found]))
        self.found = [(ids, total)]
        return ids, total


class AdamW(torch.optim.AdamW):
    """torch's AdamW that updates `embeddings` by row, and clips while it steps instead of in a pass of its own."""

    def __init__(self, groups: Iterable[dict[str, Any]], embeddings: list[Embedding], **kwargs: Any):
        super().__init__(groups, **kwargs)
        self._embeddings = {module.weight: module for module in embeddings}
        self.grad_scale: Tensor | None = None

    def clip(self, max_norm: float) -> Tensor:
        """Return the norm of the gradient; the next step shortens it to `max_norm` (0: not at all)."""
        gradients = [p.grad for group in self.param_groups for p in group["params"] if p.grad is not None]
        gradients += [module.gradient()[1] for module in self._embeddings.values() if module.found]
        norm = nn.utils.get_total_norm(gradients)
        self.grad_scale = norm / max_norm if max_norm and norm > max_norm else None
        return norm

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        loss = super().step(closure)
        for group in self.param_groups:
            for weight in group["params"]:
                if weight in self._embeddings and self._embeddings[weight].found:
                    self._step_rows(self._embeddings[weight], group)
        self.grad_scale = None
        return loss

    def _step_rows(self, module: Embedding, group: dict[str, Any]) -> None:
        weight, state = module.weight, self.state[module.weight]
        if not state:
            state |= {"step": torch.zeros(()), "exp_avg": torch.zeros_like(weight)}
            state["exp_avg_sq"] = torch.zeros_like(weight)
        ids, gradient = module.gradient()
        module.found = []
        tables = [weight, state["exp_avg"], state["exp_avg_sq"]]
        rows = [table.index_select(0, ids) for table in tables]
        if self.grad_scale is not None:
            gradient = gradient / self.grad_scale
        adamw(
            [rows[0]], [gradient], [rows[1]], [rows[2]], [], [state["step"]], fused=True, amsgrad=False,
            beta1=group["betas"][0], beta2=group["betas"][1], lr=group["lr"], weight_decay=group["weight_decay"],
            eps=group["eps"], maximize=False,
        )  # fmt: skip
        for table, changed in zip(tables, rows, strict=True):
            table.index_copy_(0, ids, changed)


def layer_stack(model: nn.Module) -> nn.ModuleList | None:
    """Return the list of a model's layers; None where there are several, as in an encoder with a decoder."""
    stacks = [module for module in model.modules() if isinstance(module, nn.ModuleList) and len(module) > 1]
    return stacks[0] if len(stacks) == 1 else None


class Kernels:
    """A model's layers in their quick form, until `undo`; use them on a processor alone.

    in_bf16: hand the first layer bf16, so that the whole stack computes in it under autocast.
    """

    def __init__(self, model: nn.Module, in_bf16: bool):
        self.model, self._undo = model, contextlib.ExitStack()
        self.embeddings: list[Embedding] = []
        weights = [p for module in model.modules() for p in module.parameters(recurse=False)]
        for module in model.modules():
            if type(module) is nn.Dropout:
                self._become(module, Dropout)
            elif type(module) is nn.Embedding and module.weight.requires_grad and _is_simple(module, weights):
                self._become(module, Embedding)
                module.found = []
                self.embeddings.append(module)
            elif getattr(module, "cast_input_dtype_enabled", False):
                # peft casts what enters an adapter to fp32, and autocast casts it back.
                module.cast_input_dtype_enabled = False
                self._undo.callback(setattr, module, "cast_input_dtype_enabled", True)
        self._take_attention()
        if in_bf16:
            self._cast_at_first_layer()

    def undo(self) -> None:
        """Give the layers back their own form; weights stay as they are trained."""
        self._undo.close()
        self.embeddings = []

    def _become(self, module: nn.Module, kind: type[nn.Module]) -> None:
        former = type(module)
        module.__class__ = kind
        self._undo.callback(setattr, module, "__class__", former)

    def _take_attention(self) -> None:
        former = self.model.config._attn_implementation
        if former == "sdpa":
            self.model.set_attn_implementation(ATTENTION)
            self._undo.callback(self.model.set_attn_implementation, former)

    def _cast_at_first_layer(self) -> None:
        stack = layer_stack(self.model)
        if stack is None:
            return  # leave the casts to autocast

        def cast(_: Any, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
            first, *rest = arguments
            is_used = isinstance(first, Tensor) and torch.is_autocast_enabled("cpu")
            return (first.to(torch.bfloat16), *rest) if is_used else arguments

        self._undo.callback(stack[0].register_forward_pre_hook(cast).remove)


def _is_simple(module: nn.Embedding, weights: list[Tensor]) -> bool:
    """Return whether a table is large, tied to nothing and without options that need its whole gradient."""
    n_uses = sum(weight is module.weight for weight in weights)
    has_options = module.max_norm is not None or module.scale_grad_by_freq or module.sparse
    return n_uses == 1 and not has_options and module.num_embeddings >= 4096
