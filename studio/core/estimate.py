"""What a training will take, by formula: memory, disk and time, whether it fits, and the change that makes it fit.

A probe (engine/probe.py) measures the same on the real model. The constants were fitted to such probes on a processor
with two cores and AMX; `Machine.speed` carries what a probe found on another one.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from studio.core.anatomy import Tensor
from studio.core.registry import PluginConfig
from studio.core.spec import TrainingSpec

MULTIPLE = 8  # batches are padded to a multiple of so many tokens
_KEPT = 2  # checkpoints, while another one is written


@dataclass(frozen=True)
class Job:
    """A training, as far as its cost goes.

    pieces: the model's tensors, each with how many of its parameters train. lengths: tokens of the training rows
    [n_train], cut to the longest that is taken. parts: training, validation and test rows.
    """

    pieces: Sequence[tuple[Tensor, int]]
    n_heads: int
    lengths: np.ndarray
    parts: tuple[int, int, int]
    method: str
    training: TrainingSpec
    keeps_frozen: bool = False  # the output of frozen layers is computed once for all epochs (engine/trunk.py)
    output_width: int = 0  # numbers that the model gives for a token, where they are many, as one for each word
    row_bytes: float | None = None  # activations that one of the longest rows keeps, where they were counted


@dataclass(frozen=True)
class Machine:
    """What there is: memory and disk that are free, the number format of training, and how slow the machine is.

    speed: seconds here for a second by the formula. is_gpu: memory is the GPU's own.
    """

    free_memory: int
    free_disk: int
    precision: Literal["bf16", "fp16", "fp32"] = "fp32"
    speed: float = 1.0
    is_gpu: bool = False


@dataclass(frozen=True)
class Pace:
    """Seconds that each part of a training takes.

    batch: forward and backward of one, as the mean over an epoch. step: the optimiser. shape: the first batch of a
    padded length, beyond the others. evaluation_row, measuring_row: on the way and in the end. start: before it all.
    """

    batch: float
    step: float
    shape: float
    evaluation_row: float
    measuring_row: float
    checkpoint: float
    start: float


@dataclass(frozen=True)
class Estimate:
    """Bytes of memory at the peak, bytes of disk at most, seconds to the end, and the seconds of one step."""

    memory: int
    disk: int
    seconds: float
    step_seconds: float
    is_measured: bool = False


def keeps_frozen(method: PluginConfig) -> bool:
    """Return whether a method lets the output of frozen layers be computed once for all epochs."""
    return getattr(method, "cache", "off") == "auto"


def batch_size(training: TrainingSpec, n_train: int = 1 << 30) -> int:
    """Return the rows in one batch; where they are automatic, what suits so many rows while memory allows."""
    asked = training.per_device_train_batch_size
    if asked != "auto":
        return asked
    return min(_USUAL_ROWS, max(4, 2 ** math.floor(math.log2(max(1, n_train // _STEPS)))))


def settle_batch(job: Job, machine: Machine) -> tuple[TrainingSpec, str]:
    """Return the training with its batch in numbers, and why these: as many rows a step as suit the data, in as many
    batches as fit into the memory.
    """
    training = job.training
    if training.per_device_train_batch_size != "auto":
        return training, "as you asked"
    n_rows = batch_size(training, job.parts[0])
    why = "a size that learns well" if n_rows == _USUAL_ROWS else f"so that an epoch has at least {_STEPS} steps"
    training = training.model_copy(update={"per_device_train_batch_size": n_rows})
    job = replace(job, training=training)
    if fit(memory_bytes(job, machine), machine.free_memory) == "fits":
        return training, why
    changes = make_fit(job, machine)
    if changes is None:
        return training, f"{why}, though the memory may be short"
    why = f"so that it fits into the memory; {n_rows * training.gradient_accumulation_steps} rows make a step"
    return training.model_copy(update=changes), why


_USUAL_ROWS = 32
_STEPS = 10  # in an epoch, at least


def as_picked(training: TrainingSpec, picked: Mapping[str, Any]) -> TrainingSpec:
    """Return a run's training with the numbers that were picked for it, by name."""
    if training.per_device_train_batch_size != "auto":
        return training
    names = ("per_device_train_batch_size", "gradient_accumulation_steps")
    return training.model_copy(update={name: picked[name] for name in names if name in picked})


def steps_per_epoch(training: TrainingSpec, n_train: int) -> int:
    """Return the optimiser's steps in one epoch, as Trainer counts them."""
    n_batches = math.ceil(n_train / batch_size(training))
    return max(1, math.ceil(n_batches / training.gradient_accumulation_steps))


def padded_batches(lengths: np.ndarray, training: TrainingSpec) -> np.ndarray:
    """Return the padded length in tokens of each batch of an epoch [n_batches], as the sampler makes them."""
    size = batch_size(training)
    if training.group_by_length:
        ordered = np.sort(lengths)[::-1]
    else:
        ordered = np.random.default_rng(0).permutation(lengths)
    starts = np.arange(0, len(ordered), size)
    longest = np.maximum.reduceat(ordered, starts) if len(ordered) else np.array([MULTIPLE])
    return -(-longest // MULTIPLE) * MULTIPLE


def finish_seconds(training: TrainingSpec, parts: tuple[int, int, int], n_shapes: int, pace: Pace) -> float:
    """Return the seconds from Start to the end of a training: its steps, evaluations, checkpoints and last measuring.

    parts: training, validation and test rows. n_shapes: different padded lengths among the batches.
    """
    n_train, n_validation, n_test = parts
    per_epoch = steps_per_epoch(training, n_train)
    n_steps = math.ceil(per_epoch * training.num_train_epochs)
    n_batches = math.ceil(n_train / batch_size(training)) * training.num_train_epochs
    every = math.ceil(per_epoch / training.evaluations_per_epoch)
    n_evaluations = n_steps // every if n_validation else 0
    return (
        pace.start
        + n_batches * pace.batch
        + n_steps * pace.step
        + n_shapes * pace.shape
        + n_evaluations * n_validation * pace.evaluation_row
        + math.ceil(n_steps / every) * pace.checkpoint
        + (n_validation + n_test) * pace.measuring_row
    )


def checkpoint_bytes(pieces: Sequence[tuple[Tensor, int]], method: str) -> int:
    """Return the size of a checkpoint: the weights that are saved, and two moments of what trains."""
    trained = sum(n for _, n in pieces)
    saved = trained if method == "lora" else sum(tensor.n_parameters for tensor, _ in pieces)
    return 4 * saved + 8 * trained + (2 << 20)


def smaller_batch(training: TrainingSpec, most: int | None = None) -> dict[str, int] | None:
    """Return settings with a smaller batch and as much more accumulation, so that a step has the same rows.

    most: rows in the batch at most; by default half of it. None where the batch can't be made smaller. An odd batch
    without a divisor loses a row a step.
    """
    size, times = batch_size(training), training.gradient_accumulation_steps
    most = size // 2 if most is None else min(most, size // 2)
    if most < 1:
        return None
    smaller = next((n for n in range(most, max(0, most // 2), -1) if size * times % n == 0), most)
    accumulated = size * times // smaller
    if accumulated > 1024:
        return None
    return {"per_device_train_batch_size": smaller, "gradient_accumulation_steps": accumulated}


def is_known(job: Job) -> bool:
    """Return whether the formula sees the layers of the model; else it says little of it."""
    return _stack(job).n_layers > 0


def estimate(job: Job, machine: Machine) -> Estimate:
    """Return what a training will take, by formula."""
    shapes = padded_batches(job.lengths, job.training)
    pace = _pace(job, machine, shapes)
    seconds = finish_seconds(job.training, job.parts, len(set(shapes.tolist())), pace)
    step = pace.batch * job.training.gradient_accumulation_steps + pace.step
    return Estimate(memory_bytes(job, machine), disk_bytes(job), seconds, step)


def measured(job: Job, peak_bytes: int, n_shapes: int, pace: Pace) -> Estimate:
    """Return what a training will take, from what a probe measured of its like."""
    seconds = finish_seconds(job.training, job.parts, n_shapes, pace)
    step = pace.batch * job.training.gradient_accumulation_steps + pace.step
    return Estimate(peak_bytes, disk_bytes(job), seconds, step, is_measured=True)


def disk_bytes(job: Job) -> int:
    """Return the disk that a training takes at most: the checkpoints that stay, and the one that is being written."""
    return (_KEPT + 1) * checkpoint_bytes(job.pieces, job.method) + _kept_output_bytes(job)


def memory_bytes(job: Job, machine: Machine) -> int:
    """Return the memory at the peak: process, weights, gradients, moments, and activations of the longest batch.

    Activations grow with rows × tokens × width and, of the attention, with rows × heads × tokens²; see Korthikanti
    et al. 2022, https://arxiv.org/abs/2205.05198, section 4. Below the lowest layer that trains none are kept.
    """
    return int(sum(_memory_parts(job, machine)))


def _memory_parts(job: Job, machine: Machine) -> tuple[float, float]:
    """Return the bytes that every batch needs, and those that grow with it."""
    stack = _stack(job)
    n_all, n_trained = sum(t.n_parameters for t, _ in job.pieces), sum(n for _, n in job.pieces)
    n_dense = n_trained - _by_row(job, machine)
    weights = 4 * n_all + 4 * n_dense + 8 * n_trained
    is_half = machine.precision != "fp32"
    if is_half:
        weights += 2 * stack.n_parameters  # autocast keeps the weights that it has cast until the step is over
    longest = int(padded_batches(job.lengths, job.training).max())
    n_rows = min(batch_size(job.training), len(job.lengths))
    per_token, per_pair = _KEPT_BYTES[is_half]
    layer = n_rows * longest * stack.width * per_token * (_ADAPTED if job.method == "lora" else 1.0)
    layer += n_rows * job.n_heads * longest**2 * per_pair
    rest = 0 if machine.is_gpu else _PROCESS_BYTES
    kept = layer * (stack.n_active + _PASSING * (stack.n_layers > stack.n_active))
    kept += n_rows * longest * job.output_width * _OUTPUT_BYTES
    if job.row_bytes is not None:
        kept = n_rows * job.row_bytes * _BEYOND_KEPT
    evaluated = min(_EVALUATION_BATCH, max(job.parts[1:])) * longest * stack.width * _EVALUATED_BYTES
    return rest + weights + _kept_output_bytes(job), max(kept, evaluated)


def _is_kept(job: Job) -> bool:
    """Return whether layers are frozen whose output is computed once."""
    stack = _stack(job)
    return job.keeps_frozen and stack.n_active < stack.n_layers and job.training.num_train_epochs > 1


def _kept_output_bytes(job: Job) -> int:
    """Return the size of the frozen layers' output, 16 bits a channel; it lies on the disk and is mapped."""
    if not _is_kept(job):
        return 0
    hidden = min((min(t.shape) for t, _ in job.pieces if t.layer is not None and len(t.shape) == 2), default=0)
    return int(2 * hidden * float(np.mean(job.lengths)) * sum(job.parts[:2]))


_PROCESS_BYTES = 560e6
_KEPT_BYTES = {True: (13.0, 7.0), False: (22.0, 14.0)}  # bf16, fp32: by token and channel; by pair of tokens and head
_ADAPTED = 2.2  # adapters keep their own input beside that of the layer
_PASSING = 1.8  # of a layer's activations, while a frozen one computes
_OUTPUT_BYTES = 12.0  # of each number that a model gives: itself, in the loss, and its gradient
_BEYOND_KEPT = 1.3  # at the peak, of the activations that are kept: what backward computes on its way
_EVALUATED_BYTES = 22.0  # by token and channel, without gradients
_EVALUATION_BATCH = 64


@dataclass(frozen=True)
class _Stack:
    """The layers of a model: how many, how many of them keep activations, their width and their parameters."""

    n_layers: int
    n_active: int
    width: int
    n_parameters: int
    n_trained: int


def _stack(job: Job) -> _Stack:
    layers = [(t, n) for t, n in job.pieces if t.layer is not None and not t.name.endswith(".lora")]
    n_layers = len({t.layer for t, _ in layers})
    below = any(n for t, n in job.pieces if t.part == "embeddings")
    trained = [t.layer for t, n in job.pieces if n and t.layer is not None]
    lowest = 0 if below else min(trained, default=n_layers)
    matrices = [t.shape for t, _ in layers if len(t.shape) == 2]
    width = min((min(s) for s in matrices), default=0) + max((max(s) for s in matrices), default=0)
    n_trained = sum(n for t, n in job.pieces if t.layer is not None)
    return _Stack(n_layers, n_layers - lowest, width, sum(t.n_parameters for t, _ in layers), n_trained)


def _by_row(job: Job, machine: Machine) -> int:
    """Return the trained parameters of word embeddings whose gradient is kept by row (engine/kernels.py)."""
    if machine.is_gpu or job.training.kernels == "plain":
        return 0
    return sum(n for t, n in job.pieces if t.part == "embeddings" and len(t.shape) == 2 and t.shape[0] >= 4096)


def _pace(job: Job, machine: Machine, shapes: np.ndarray) -> Pace:
    stack, size = _stack(job), min(batch_size(job.training), len(job.lengths))
    share = stack.n_active / max(1, stack.n_layers)
    is_half = machine.precision != "fp32"
    # A forward pass multiplies and adds once a weight and token; backward does so for inputs and for trained weights.
    of_weights = 1.0 if stack.n_trained > 0.5 * stack.n_parameters * share else 0.0
    adapted = _ADAPTED_SECONDS if job.method == "lora" else 1.0

    def passing(multiplied: float, moved: float) -> float:
        """Return the mean seconds in which a batch passes the stack so many times."""
        flops = 2 * stack.n_parameters * size * shapes + 4 * stack.n_layers * (stack.width / 5) * size * shapes**2
        by_channel = shapes * stack.width * adapted * _CHANNEL_SECONDS[is_half]
        moving = size * stack.n_layers * (by_channel + shapes**2 * job.n_heads * _PAIR_SECONDS)
        return float(np.mean(flops * multiplied / _FLOPS[is_half] + moving * moved))

    through = share if _is_kept(job) else 1.0  # of the stack, by each batch
    batch = passing(through + share * (1 + of_weights), through + 2 * share) + _BATCH_SECONDS
    row = passing(1.0, 1.0) / size
    once = row * (1 - share) * sum(job.parts[:2]) if _is_kept(job) else 0.0
    n_stepped = sum(n for _, n in job.pieces) - _by_row(job, machine)
    n_measured = max(1, max(job.parts[1:]))
    return Pace(
        batch=machine.speed * batch,
        step=machine.speed * (n_stepped * _STEP_SECONDS + _BATCH_SECONDS),
        shape=machine.speed * _SHAPE_SECONDS,
        evaluation_row=machine.speed * row * through,
        measuring_row=machine.speed * row + _DRAWING_SECONDS / n_measured,
        checkpoint=checkpoint_bytes(job.pieces, job.method) / _DISK_BYTES_PER_SECOND,
        start=_START_SECONDS + machine.speed * once,
    )


_ADAPTED_SECONDS = 2.8
_FLOPS = {True: 800e9, False: 300e9}
_CHANNEL_SECONDS = {True: 1.8e-9, False: 2.8e-9}
_PAIR_SECONDS = 5.5e-10
_BATCH_SECONDS = 0.005
_STEP_SECONDS = 1.0e-9
_SHAPE_SECONDS = 0.02
_DRAWING_SECONDS = 1.0  # resampling for the intervals of the last metrics
_DISK_BYTES_PER_SECOND = 250e6
_START_SECONDS = 2.0

TIGHT = 0.8  # of what is free
LONG_SECONDS = 3600.0


def fit(needed: float, free: float) -> Literal["fits", "tight", "too-large"]:
    """Return whether so many bytes fit into what is free: tight above four fifths of it."""
    return "fits" if needed <= TIGHT * free else "tight" if needed <= free else "too-large"


def make_fit(job: Job, machine: Machine, peak_bytes: int | None = None) -> dict[str, int] | None:
    """Return the settings of the largest batch that fits well, with as much more accumulation; None where none does.

    Where none fits well, one that just fits is better than none. peak_bytes: what the training was found to take.
    """
    held, growing = _memory_parts(job, machine)
    growing = max(growing, 1.0)
    scale = 1.0 if peak_bytes is None else max(0.0, peak_bytes - held) / growing
    training, changes = job.training, smaller_batch(job.training)
    tight = None
    while changes is not None:
        training = training.model_copy(update=changes)
        needed = held + scale * _memory_parts(replace(job, training=training), machine)[1]
        found = fit(needed, machine.free_memory)
        if found == "fits":
            return changes
        tight = tight or (changes if found == "tight" else None)
        changes = smaller_batch(training)
    return tight
