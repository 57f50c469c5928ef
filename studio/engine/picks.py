"""What is used for each setting that may be automatic, and why, in words that stand in the run."""

import shutil
from typing import Any

import numpy as np

from studio.core import events as ev
from studio.core.anatomy import ModelInfo, classifier_head
from studio.core.estimate import Job, Machine, as_picked, keeps_frozen, settle_batch
from studio.core.files import read_json
from studio.core.registry import plugin
from studio.core.rundir import RunDir
from studio.core.spec import TrainingSpec, TrainSpec
from studio.engine import device

_BATCH = ("per_device_train_batch_size", "gradient_accumulation_steps")


def pick(
    run_dir: RunDir, spec: TrainSpec, info: ModelInfo, lengths: list[int], parts: tuple[int, int, int], n_labels: int,
    is_resume: bool,
) -> tuple[dict[str, ev.Picked], TrainingSpec]:  # fmt: skip
    """Return what was picked, by name, and the training with its batch in numbers.

    lengths: tokens of the training rows, cut to the longest that is taken. parts: training, validation and test rows.
    A resume keeps what the first attempt picked, so that it goes on the same.
    """
    known = (read_json(run_dir.resolved_file) or {}).get("picked", {}) if is_resume else {}
    asked = spec.training.model_dump()
    kept = {name: ev.Picked(name=name, **known[name]) for name in known if asked.get(name) == "auto"}
    picks = _pick(spec, info) | kept
    if spec.training.per_device_train_batch_size == "auto" and _BATCH[0] in kept:
        picks |= {name: ev.Picked(name=name, **known[name]) for name in _BATCH if name in known}
        return picks, as_picked(spec.training, {name: each.value for name, each in picks.items()})
    training, why = settle_batch(_job(spec, info, lengths, parts, n_labels), _machine(run_dir, picks))
    for name in _BATCH:
        if name == _BATCH[0] or getattr(training, name) != asked[name]:
            picks[name] = ev.Picked(name=name, value=getattr(training, name), why=why)
    return picks, training


def _pick(spec: TrainSpec, info: ModelInfo) -> dict[str, ev.Picked]:
    method, t = plugin("methods", spec.method), spec.training
    precision = device.pick_precision(t.precision, info.hidden_size)
    layers, why_layers = device.pick_kernels(t.kernels)
    rate = method.learning_rate(spec.method) if t.learning_rate == "auto" else t.learning_rate
    why_rate = f"what {method.label} learns well with" if t.learning_rate == "auto" else "as you asked"
    n_threads = device.n_threads() if t.threads == "auto" else t.threads
    why_threads = "as many as this machine has cores" if t.threads == "auto" else "as you asked"
    max_length = min(t.max_length, info.max_positions or t.max_length)
    found = [
        ev.Picked(name="kernels", value=layers, why=why_layers),
        ev.Picked(name="precision", value=precision.name, why=precision.why),
        ev.Picked(name="learning_rate", value=rate, why=why_rate),
        ev.Picked(name="max_length", value=max_length, why="your setting, and what the model can take"),
        ev.Picked(name="threads", value=n_threads, why=why_threads),
    ]
    return {each.name: each for each in found}


def _job(spec: TrainSpec, info: ModelInfo, lengths: list[int], parts: tuple[int, int, int], n_labels: int) -> Job:
    tensors = [*info.tensors, *classifier_head(info, n_labels)]
    pieces = plugin("methods", spec.method).n_trainable(tensors, spec.method)
    keeps = keeps_frozen(spec.method)
    return Job(pieces, info.n_heads, np.asarray(lengths), parts, spec.method.kind, spec.training, keeps)


def _machine(run_dir: RunDir, picks: dict[str, Any]) -> Machine:
    free_disk = shutil.disk_usage(run_dir.path).free
    is_gpu = device.device().type != "cpu"
    return Machine(device.free_bytes(), free_disk, picks["precision"].value, is_gpu=is_gpu)
