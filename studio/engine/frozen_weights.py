"""Frozen weights in bf16: half the memory, and no cast of them at each step; what trains stays in fp32."""

from typing import Any


def hold_in_bf16(model: Any) -> int:
    """Put the frozen matrices of the linear layers into bf16; return the bytes that this saves.

    For training in bf16 alone, where autocast would cast them at each use. `restore` undoes it.
    """
    import torch

    saved = 0
    for module in model.modules():
        if isinstance(module, torch.nn.Linear) and not module.weight.requires_grad:
            for parameter in module.parameters(recurse=False):
                if parameter.dtype == torch.float32 and not parameter.requires_grad:
                    parameter.data = parameter.data.to(torch.bfloat16)
                    saved += 2 * parameter.numel()
    return saved


def restore(model: Any, fresh: Any) -> None:
    """Give a model's frozen weights the values of `fresh`, the same model as it was loaded, in their own format."""
    values = dict(fresh.named_parameters())
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    for name, parameter in base.named_parameters():
        # peft puts a layer that it adapts, and the untrained copy of one that it trains, one level deeper.
        value = values.get(name.replace(".base_layer.", ".").replace(".original_module.", "."))
        if value is not None and not parameter.requires_grad and parameter.dtype != value.dtype:
            parameter.data = value.data.to(parameter.device, copy=True)
