"""Our attention function inside transformers: the model's own output, and beside it the weights behind it.

`output_attentions=True` is not the way: under SDPA most models return an empty tuple, and some return wrong maps.
"""

from __future__ import annotations

import functools
import inspect
import math
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from studio.attention.checks import Sums
from studio.attention.qk import QueryKeys
from studio.core.reasons import Failure

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module

# Our names carry none of the words ("sdpa", "eager", "flash") by which transformers picks special treatment.
IMPLEMENTATIONS = {"sdpa": "attune-fused", "eager": "attune-plain"}
# Calls that wait to be read. Reading them after the forward leaves its speed alone; of long texts it can't wait.
PENDING_BYTES = 20 << 20


class CaptureRefused(Failure):
    """The attention can't be captured: `reason_id` is one of core's reasons, `details` its facts."""

    def __init__(self, reason_id: str, **details: Any):
        super().__init__(reason_id, **details)
        self.reason_id = reason_id
        self.details = details


@dataclass(frozen=True, eq=False)
class Record:
    """One call of one attention module: `maps` is its map [head, query, key], float32, or what computes it.

    Of layers with windows (Swin) the heads of one window follow those of another; `n_heads` are those of one.
    """

    module: str
    maps: np.ndarray | QueryKeys
    n_heads: int
    sums: Sums
    output_error: float
    qk_error: float = 0.0


@dataclass(frozen=True, eq=False)
class Call:
    """What an attention function was given and what it returned; `query` is [batch, head, query, d].

    `formula` computes output and weights from the same arguments, `causal` says whether a leak is to be looked for.
    """

    name: str
    module: Module | None
    query: Tensor
    key: Tensor
    value: Tensor
    mask: Tensor | None
    options: dict[str, Any]
    output: Tensor
    formula: Callable
    causal: bool

    @property
    def n_bytes(self) -> int:
        tensors = (self.query, self.key, self.value, self.output)
        return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


@dataclass
class Recorder:
    """Collects the attention of one forward, keyed by each module's qualified name; memory in bytes.

    During the forward it only holds on to what was passed, and reads it in `flush`: at the end, or as soon as it
    holds much. `queries` keeps queries and keys where they are smaller than the map. What goes beyond the budget
    is written to `spool`, or refused where there is none.
    """

    names: dict[int, str]
    budget_bytes: int
    queries: bool = False
    spool: Path | None = None
    records: dict[str, list[Record]] = field(default_factory=dict)
    used_bytes: int = 0
    pending: list[Call] = field(default_factory=list)
    masks: dict[tuple, tuple] = field(default_factory=dict)

    def add(self, module: Module, query: Tensor, key: Tensor, value: Tensor, mask: Any, options: dict, output: Tensor):
        """Hold on to one call of an attention function."""
        name, formula, causal = self.names[id(module)], eager_function(module), is_causal(module, options)
        self.pending.append(Call(name, module, query, key, value, mask, options, output, formula, causal))
        if sum(call.n_bytes for call in self.pending) > PENDING_BYTES:
            self.flush()

    def flush(self) -> None:
        """Read the calls that wait: their maps or queries and keys, and what the checks need of them."""
        from studio.attention.streaming import read

        while self.pending:
            self.keep(read(self.pending.pop(0), self))

    def keep(self, record: Record) -> None:
        self.records.setdefault(record.module, []).append(record)

    def room(self, shape: tuple[int, ...], dtype: Any = np.float32) -> Room:
        """Return room for an array: in memory while the budget lasts, then in a file."""
        needed = math.prod(shape) * np.dtype(dtype).itemsize
        if self.used_bytes + needed <= self.budget_bytes:
            self.used_bytes += needed
            return Room(shape, dtype)
        if self.spool is None or needed > shutil.disk_usage(self.spool).free:
            raise memory_refusal(self.used_bytes + needed, self.budget_bytes)
        handle, name = tempfile.mkstemp(dir=self.spool, prefix="layer-", suffix=".npy")
        os.close(handle)
        return Room(shape, dtype, Path(name))

    def take(self) -> list[Record]:
        """Hand over the records ordered by name, numbers as numbers; never by the order of the calls.

        One module may serve every layer (ALBERT): its calls are its layers. Several such modules could only be
        ordered by guessing, which is refused.
        """
        self.flush()
        if len(self.records) > 1 and any(len(calls) > 1 for calls in self.records.values()):
            raise CaptureRefused("capture-shared", modules=len(self.records))
        ordered = [record for name in sorted(self.records, key=by_number) for record in self.records[name]]
        self.records.clear()
        return ordered


class Room:
    """An array [head, row, …] that is filled row by row; one in a file never has to fit into memory."""

    def __init__(self, shape: tuple[int, ...], dtype: Any, path: Path | None = None):
        self._array = np.empty(shape, dtype) if path is None else None
        self._shape, self._dtype, self._path = shape, np.dtype(dtype), path
        if path is not None:
            with path.open("wb") as file:
                header = {"descr": self._dtype.str, "fortran_order": False, "shape": shape}
                np.lib.format.write_array_header_1_0(file, header)
                self._start = file.tell()
                file.truncate(self._start + math.prod(shape) * self._dtype.itemsize)

    def write(self, rows: slice, values: np.ndarray) -> None:
        """Fill the rows of every head."""
        if self._array is not None:
            self._array[:, rows] = values
            return
        # Written, not mapped: pages of a map that were written to count as memory of this process.
        with self._path.open("r+b") as file:
            for head, part in enumerate(values):
                place = (head * self._shape[1] + rows.start) * math.prod(self._shape[2:]) * self._dtype.itemsize
                file.seek(self._start + place)
                file.write(np.ascontiguousarray(part, self._dtype).data)

    def done(self) -> np.ndarray:
        """Return the filled array; of a file, a map of it."""
        return np.load(self._path, mmap_mode="r") if self._array is None else self._array


def memory_refusal(needed_bytes: int, budget_bytes: int) -> CaptureRefused:
    """Return the refusal of a capture beyond its budget, with facts in bytes and in MB for people."""
    facts = {"needed_mb": math.ceil(needed_bytes / 1e6), "budget_mb": math.floor(budget_bytes / 1e6)}
    return CaptureRefused("capture-memory", needed_bytes=needed_bytes, budget_bytes=budget_bytes, **facts)


_recorder: ContextVar[Recorder | None] = ContextVar("attention_recorder", default=None)


@contextmanager
def recording(
    model: Module,
    budget_bytes: int,
    queries: bool = False,
    spool: Path | None = None,
    kind: type[Recorder] = Recorder,
) -> Iterator[Any]:
    """Switch `model` (a PreTrainedModel) to our function and yield what will hold its attention, a `kind`.

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

    names = {id(module): path for path, module in model.named_modules()}
    recorder = kind(names, budget_bytes, queries, spool)
    with switched(model, name):
        token = _recorder.set(recorder)
        try:
            yield recorder
            recorder.flush()
        finally:
            _recorder.reset(token)


@contextmanager
def switched(model: Module, implementation: str) -> Iterator[None]:
    """Let `model` and its parts use an attention implementation, and restore every config at the end.

    Raises CaptureRefused where a part's file does not use transformers' attention interface.
    """
    before = [(config, config._attn_implementation) for config in _configs(model)]
    refusal = CaptureRefused("capture-unsupported", model_type=model.config.model_type)
    # Asked first because set_attn_implementation only logs a warning and keeps the old implementation.
    if not uses_interface(model):
        raise refusal
    try:
        model.set_attn_implementation(implementation)
        if any(part.config._attn_implementation != implementation for part in _parts(model)):
            raise refusal
        yield
    finally:
        # The property's setter also writes into sub-configs; the attribute behind it touches only this one.
        for config, name in before:
            config._attn_implementation_internal = name


@contextmanager
def undisturbed(model: Module, device: Any) -> Iterator[None]:
    """Hold the model in eval mode; training flags of every module and the random state are as before afterwards."""
    import torch

    flags = [(module, module.training) for module in model.modules()]
    generators = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=generators):
        try:
            model.eval()
            if any(module.training for module in model.modules()):
                raise CaptureRefused("capture-training")
            yield
        finally:
            for module, training in flags:
                module.training = training


def inner_model(model: Module) -> Module:
    """Return the model that a PEFT model wraps, whose names, config and implementation are its own; else itself."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def forward_options(inner: Module) -> dict[str, Any]:
    """Return the options with which a model answers by name and keeps nothing for a next token."""
    takes = inspect.signature(inner.forward).parameters
    options: dict[str, Any] = {"return_dict": True}
    if "return_dict" not in takes and not any(each.kind == each.VAR_KEYWORD for each in takes.values()):
        options = {}  # a model with a forward of its own, which gives a dictionary
    return options | ({"use_cache": False} if "use_cache" in takes else {})


def uses_interface(model: Module) -> bool:
    """Return whether the files of `model` and of its parts use transformers' attention interface."""
    return all(_file_uses_interface(kind) for kind in {type(part) for part in _parts(model)})


def _parts(model: Module) -> list[Any]:
    from transformers import PreTrainedModel

    return [part for part in model.modules() if isinstance(part, PreTrainedModel)]


@functools.cache
def _file_uses_interface(kind: Any) -> bool:
    # transformers reads and searches the whole file each time it is asked.
    return kind._can_set_attn_implementation()


def base_implementation(model: Module) -> str:
    """Return "eager" where the model or a part of it needs it (softcap, sinks), else "sdpa"."""
    return "eager" if any(config._attn_implementation == "eager" for config in _configs(model)) else "sdpa"


def _configs(model: Module) -> list[Any]:
    from transformers import PreTrainedConfig

    found: dict[int, Any] = {}
    # Asking every module for an attribute that it does not have takes longer than a short forward.
    waiting = [module.__dict__["config"] for module in model.modules() if "config" in module.__dict__]
    while waiting:
        config = waiting.pop()
        if isinstance(config, PreTrainedConfig) and id(config) not in found:
            found[id(config)] = config
            waiting += [getattr(config, key, None) for key in config.sub_configs]
    return list(found.values())


def by_number(name: str) -> list[tuple[int, int | str]]:
    return [(0, int(part)) if part.isdigit() else (1, part) for part in re.split(r"(\d+)", name)]


def _attend_fused(module, query, key, value, attention_mask=None, **options):
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    return _attend(sdpa_attention_forward, module, query, key, value, attention_mask, options)


def _attend_plain(module, query, key, value, attention_mask=None, **options):
    return _attend(eager_function(module), module, query, key, value, attention_mask, options)


def _attend(
    forward: Callable, module: Module, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, options: dict
) -> tuple[Tensor, None]:
    """Return the output of `forward`, untouched, and let the recorder know what went in and out."""
    output = forward(module, query, key, value, mask, **options)[0]
    recorder = _recorder.get()
    if recorder is not None:
        recorder.add(module, query, key, value, mask, options, output)
    return output, None


def is_causal(module: Module, options: dict) -> bool:
    asked = options.get("is_causal")
    return bool(getattr(module, "is_causal", True) if asked is None else asked)


def eager_function(module: Module) -> Callable:
    """Return the attention formula of the model's own file; raises CaptureRefused where it has none."""
    for kind in type(module).__mro__:
        function = getattr(sys.modules.get(kind.__module__), "eager_attention_forward", None)
        if function is not None:
            return function
    raise CaptureRefused("capture-no-formula", module=type(module).__name__)
