"""What the machine can do; the only module that knows hardware."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Precision:
    """The number format of training, and why it was picked, in words."""

    name: str
    why: str


def device() -> Any:
    """Return the torch device that runs are on: the first CUDA GPU, else the processor."""
    import torch

    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def pick_precision(asked: str) -> Precision:
    """Return bf16 where the machine computes faster in it, else fp32; what was asked for wins."""
    import torch

    if asked != "auto":
        return Precision(asked, "as you asked")
    if torch.cuda.is_available():
        if torch.cuda.is_bf16_supported(including_emulation=False):
            return Precision("bf16", "your GPU computes in bf16")
        return Precision("fp32", "your GPU has no bf16")
    if torch.cpu._is_amx_tile_supported():
        return Precision("bf16", "your processor has AMX, which is made for bf16")
    if torch.cpu._is_avx512_bf16_supported():
        return Precision("bf16", "your processor has AVX512-BF16")
    return Precision("fp32", "your processor has no bf16")


def pick_kernels(asked: str) -> tuple[str, str]:
    """Return "quick" or "plain" layers for the training, and why."""
    if asked == "plain":
        return "plain", "as you asked"
    if device().type != "cpu":
        return "plain", "a GPU has its own"
    return "quick", "on a processor, dropout, attention and AdamW take fewer passes so"


def describe() -> dict[str, Any]:
    """Return what `attune doctor` says of the machine."""
    import os

    import psutil
    import torch

    return {
        "device": torch.cuda.get_device_name(0) if torch.cuda.is_available() else "processor",
        "threads": torch.get_num_threads(),
        "cores": os.cpu_count(),
        "memory_bytes": psutil.virtual_memory().total,
        "precision": pick_precision("auto").name,
        "why": pick_precision("auto").why,
    }
