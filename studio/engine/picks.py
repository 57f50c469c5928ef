"""What is used for each setting that may be automatic, and why, in words that stand in the run."""

import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from studio.core import events as ev
from studio.core.anatomy import ModelInfo
from studio.core.estimate import Job, Machine, as_picked, estimate, is_known, keeps_frozen, memory_bytes, settle_batch
from studio.core.files import read_json, write_json
from studio.core.registry import plugin
from studio.core.rundir import RunDir
from studio.core.spec import TrainingSpec, TrainSpec
from studio.engine import device
from studio.engine.reporter import Reporter
from studio.tasks.base import task_of

_BATCH = ("per_device_train_batch_size", "gradient_accumulation_steps")
_PLENTY = 0.25  # of the free memory; the formula is not that wrong
Picks = dict[str, ev.Picked]


def pick(run_dir: RunDir, spec: TrainSpec, info: ModelInfo, is_resume: bool) -> Picks:
    """Return what was picked for machine and method, by name.

    A resume keeps all that the first attempt picked, so that it goes on the same.
    """
    method, t = plugin("methods", spec.method), spec.training
    precision = device.pick_precision(t.precision, info.hidden_size)
    layers, why_layers = device.pick_kernels(t.kernels)
    task, rate, why_rate = task_of(spec.task), t.learning_rate, "as you asked"
    if rate == "auto":
        rate = method.learning_rate(spec.method) * task.rate_factor
        why_rate = f"what {method.label} learns {task.label.lower()} well with"
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
    known = (read_json(run_dir.resolved_file) or {}).get("picked", {}) if is_resume else {}
    asked = t.model_dump()
    kept = {name: ev.Picked(name=name, **known[name]) for name in known if asked.get(name) == "auto"}
    if _BATCH[0] in kept and _BATCH[1] in known:
        kept[_BATCH[1]] = ev.Picked(name=_BATCH[1], **known[_BATCH[1]])
    return {each.name: each for each in found} | kept


def job_of(
    spec: TrainSpec, info: ModelInfo, lengths: list[int], parts: tuple[int, int, int], labels: Sequence[str]
) -> Job:
    """Return what a training's cost depends on.

    lengths: tokens of the training features, cut to the longest that is taken. parts: features of train, validation
    and test.
    """
    tensors = task_of(spec.task).tensors(info, labels)
    pieces = plugin("methods", spec.method).n_trainable(tensors, spec.method)
    keeps = keeps_frozen(spec.method)
    return Job(pieces, info.n_heads, np.asarray(lengths), parts, spec.method.kind, spec.training, keeps)


def pick_batch(run_dir: RunDir, job: Job, picks: Picks, row_bytes: Callable[[], float]) -> tuple[TrainingSpec, float]:
    """Return the training with its batch in numbers, which are added to `picks`, and its seconds by the formula.

    row_bytes: counts the activations that one of the longest rows keeps; called where the batch is to be picked and
    the formula does not say that there is plenty of memory.
    """
    asked = job.training
    machine = _machine(run_dir, picks)
    if _BATCH[0] in picks:
        training = as_picked(asked, {name: each.value for name, each in picks.items()})
    else:
        plenty = is_known(job) and memory_bytes(job, machine) < _PLENTY * machine.free_memory
        if asked.per_device_train_batch_size == "auto" and not plenty:
            job = replace(job, row_bytes=row_bytes())
        training, why = settle_batch(job, machine)
        for name in _BATCH:
            if name == _BATCH[0] or getattr(training, name) != getattr(asked, name):
                picks[name] = ev.Picked(name=name, value=getattr(training, name), why=why)
    return training, estimate(replace(job, training=training), machine).seconds


def note(run_dir: RunDir, report: Reporter, picked: ev.Picked) -> None:
    """Say what was picked after the others, and add it to `resolved.json`."""
    report.say(picked)
    resolved = read_json(run_dir.resolved_file)
    resolved["picked"][picked.name] = {"value": picked.value, "why": picked.why}
    write_json(run_dir.resolved_file, resolved)


def _machine(run_dir: RunDir, picks: dict[str, Any]) -> Machine:
    free_disk = shutil.disk_usage(run_dir.path).free
    is_gpu = device.device().type != "cpu"
    return Machine(device.free_bytes(), free_disk, picks["precision"].value, is_gpu=is_gpu)
