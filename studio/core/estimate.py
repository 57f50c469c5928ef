"""What a training will take, by formula: memory, disk and time, whether it fits, and the change that makes it fit.

A probe (engine/probe.py) measures the same on the real model. The constants were fitted to such probes on a processor
with two cores and AMX; `Machine.speed` carries what a probe found on another one.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from studio.core.anatomy import Tensor
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


@dataclass(frozen=True)
class Machine:
    """What there is: memory and disk that are free, the number format of training, and how slow the machine is.

    speed: seconds here for a second by the formula. is_gpu: memory is the GPU's own.
    """

    free_memory: int
    free_disk: int
    precision: Literal["bf16", "fp32"] = "fp32"
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


def batch_size(training: TrainingSpec) -> int:
    """Return the rows in one batch; where they are picked by the worker, the usual number."""
    asked: Any = training.per_device_train_batch_size
    return asked if isinstance(asked, int) else 32


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
