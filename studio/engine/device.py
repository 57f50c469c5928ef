"""What the machine can do; the only module that knows hardware."""

import contextlib
import functools
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from studio.core.reasons import Failure


@dataclass(frozen=True)
class Precision:
    """The number format of training, and why it was picked, in words."""

    name: str
    why: str


def device() -> Any:
    """Return the torch device that runs are on: the first CUDA GPU, else the processor."""
    import torch

    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def pick_precision(asked: str, hidden_size: int = 384) -> Precision:
    """Return bf16 where the machine computes faster in it, fp16 on a GPU without it, else fp32; what was asked wins.

    hidden_size: of the model, for the matrices by which the gain is measured. Raises Failure "fp16-needs-gpu".
    """
    import torch

    if asked == "fp16" and device().type == "cpu":
        raise Failure("fp16-needs-gpu", "training.precision")
    if asked != "auto":
        return Precision(asked, "as you asked")
    if torch.cuda.is_available():
        if not torch.cuda.is_bf16_supported(including_emulation=False):
            return Precision("fp16", f"your GPU has no bf16, and {_gain(torch.float16, hidden_size)}")
        name = "your GPU computes in bf16"
    elif torch.cpu._is_amx_tile_supported():
        name = "your processor has AMX"
    elif torch.cpu._is_avx512_bf16_supported():
        name = "your processor has AVX512-BF16"
    else:
        return Precision("fp32", "your processor has no bf16")
    return Precision("bf16", f"{name}, which {_gain(torch.bfloat16, hidden_size)}")


def _gain(half: Any, hidden_size: int) -> str:
    """Return how many times as fast a feed-forward layer's product of 512 tokens is in 16 bits, measured, in words."""
    import time

    import torch

    seconds = {}
    for kind in (torch.float32, half):
        x = torch.ones(512, hidden_size, dtype=kind, device=device())
        weight = torch.ones(4 * hidden_size, hidden_size, dtype=kind, device=device())
        times = []
        for _ in range(6):
            began = time.perf_counter()
            torch.nn.functional.linear(x, weight)
            wait()
            times.append(time.perf_counter() - began)
        seconds[kind] = min(times)
    return f"multiplies matrices {seconds[torch.float32] / seconds[half]:.1f} × as fast so"


def autocast(precision: str) -> Any:
    """Return a context in which the device computes in `precision`: bf16, fp16 or fp32."""
    import torch

    half = torch.float16 if precision == "fp16" else torch.bfloat16
    return torch.autocast(device().type, dtype=half, enabled=precision != "fp32")


@contextlib.contextmanager
def same_random_state() -> Iterator[None]:
    """Give the process its random state back, whatever is drawn inside."""
    import random

    import numpy as np
    import torch

    states = random.getstate(), np.random.get_state(), torch.get_rng_state()
    on_gpu = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
        torch.set_rng_state(states[2])
        if on_gpu:
            torch.cuda.set_rng_state_all(on_gpu)


@functools.cache
def n_threads() -> int:
    """Return as many threads as torch takes by itself, but not more than the cores that this process may use.

    The same at each call, also after `use_threads`: a spare worker takes up several runs.
    """
    import os

    import torch

    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return max(1, min(torch.get_num_threads(), usable or 1))


def use_threads(n: int) -> None:
    """Compute on so many threads from now on."""
    import torch

    n_threads()
    torch.set_num_threads(n)


def pick_kernels(asked: str) -> tuple[str, str]:
    """Return "quick" or "plain" layers for the training, and why."""
    if asked == "plain":
        return "plain", "as you asked"
    if device().type != "cpu":
        return "plain", "a GPU has its own"
    return "quick", "on a processor, dropout, attention and AdamW take fewer passes so"


def wait() -> None:
    """Return when the device has done all that it was given; a processor has by then."""
    import torch

    if torch.cuda.is_available():
        torch.cuda.synchronize()


def free_bytes() -> int:
    """Return the memory that the device has left: a GPU's own, else the processor's within this process' limits."""
    import psutil
    import torch

    if torch.cuda.is_available():
        return torch.cuda.mem_get_info()[0]
    free = psutil.virtual_memory().available
    with contextlib.suppress(ImportError, OSError, ValueError):
        import resource  # not on Windows

        limit = resource.getrlimit(resource.RLIMIT_AS)[0]
        if limit != resource.RLIM_INFINITY:
            free = min(free, max(0, limit - psutil.Process().memory_info().vms))
    return free


def held_bytes() -> int:
    """Return the memory that this process holds on the device."""
    import psutil
    import torch

    return torch.cuda.memory_reserved() if torch.cuda.is_available() else psutil.Process().memory_info().rss


class PeakMemory:
    """The most memory that was used inside the `with`: resident on a processor, allocated on a GPU."""

    _EVERY_SECONDS = 0.01

    def __init__(self) -> None:
        self.bytes = 0
        self._over = threading.Event()

    def __enter__(self) -> "PeakMemory":
        import torch

        self._is_gpu = torch.cuda.is_available()
        if self._is_gpu:
            torch.cuda.reset_peak_memory_stats()
        self._thread = threading.Thread(target=self._watch, name="peak memory", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        import psutil
        import torch

        process = psutil.Process()
        while True:
            is_over = self._over.wait(self._EVERY_SECONDS)
            now = torch.cuda.max_memory_allocated() if self._is_gpu else process.memory_info().rss
            self.bytes = max(self.bytes, now)
            if is_over:
                return


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
