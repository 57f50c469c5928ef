"""Tries a training for a few steps: what it will take, or which learning rate it learns well with.

The steps are those of the real Trainer on the real model and rows. Nothing of them stays: no checkpoint, and after a
sweep not a weight nor a random number is another.
"""

import contextlib
import dataclasses
import functools
import time
from collections.abc import Iterator
from typing import Any

import numpy as np

from studio.core import events as ev
from studio.core.estimate import Pace, batch_size, finish_seconds, padded_batches, steps_per_epoch
from studio.core.rates import HOW, has_diverged, smooth_losses, suggest, sweep_rates
from studio.core.rundir import RunDir
from studio.core.spec import ProbeSpec, TrainingSpec, TrainSpec
from studio.engine import compare, device, evaluate, sees, train
from studio.engine.reporter import Reporter
from studio.engine.trainer import AttuneTrainer, Patience
from studio.engine.trunk import n_frozen_layers
from studio.tasks.base import task_of

_MOST_SECONDS = 10.0  # for the steps of an estimate; the first ones are taken in any case
_PLACES = (0.5, 0.9, 0.1, 0.7, 0.3)  # of the batches whose time is taken, among all by their length
_SWEEP_STEPS = (40, 100)
_MEASURED_ROWS = 64
_MOST_ROWS = 768  # of each part, where frozen layers are passed once
_DISK_BYTES_PER_SECOND = 250e6


def run(run_dir: RunDir, spec: ProbeSpec, report: Reporter) -> ev.Event:
    """Take the steps that `spec` asks for and say what they showed; return the terminal event."""
    if spec.what == "rows":
        found = sees.run(run_dir, spec.train, report)
        report.say(found)
        return ev.Finished(result={"n_rows": found.n_rows, "n_cut": found.n_cut, "n_unlabelled": found.n_unlabelled})
    began = time.perf_counter()
    free, peak = device.free_bytes(), device.PeakMemory()
    left_behind = max(0, device.held_bytes() - _held_at_first())
    with peak:
        prepared = train.prepare(run_dir, spec.train, report, is_resume=False)
        start_seconds = time.perf_counter() - began
        tried = _some_rows(prepared)
        trainer = train.build_trainer(run_dir, spec.train, tried, report, Trial)
        trainer.compute_metrics = lambda result: {}  # of a part of the rows; the time of all is taken below
        report.phase("probing")
        if spec.what == "learning-rate":
            found: ev.Event = sweep(trainer, prepared.training, prepared.picks["learning_rate"].value)
        else:
            pace, n_shapes = measure(trainer, spec.train, prepared, start_seconds)
            held = trainer.frozen.n_bytes if trainer.frozen is not None else 0
        trainer.restore_model()
    if spec.what == "estimate":
        # Of the frozen layers' output only a part was computed.
        whole = peak.bytes - left_behind - held + round(held * _n_tokens(prepared) / _n_tokens(tried))
        found = _estimated(prepared, pace, n_shapes, free, whole)
    report.check()
    report.say(found)
    return ev.Finished(result=found.model_dump(exclude={"type", "time"}))


def _some_rows(prepared: train.Prepared) -> train.Prepared:
    """Return what was prepared with as many rows as a probe needs, where each costs a pass through frozen layers.

    They are spread over all lengths, and the longest batch is among them.
    """
    if not n_frozen_layers(prepared.model):
        return prepared
    t = prepared.training
    datasets = {}
    for name, dataset in prepared.datasets.items():
        order = np.argsort(-np.asarray(dataset["length"]), kind="stable")
        n_longest = batch_size(t) * min(2, t.gradient_accumulation_steps)
        spread = np.linspace(0, len(order) - 1, min(len(order), _MOST_ROWS)).round().astype(int)
        chosen = np.unique(np.concatenate([np.arange(min(len(order), n_longest)), spread]))
        datasets[name] = dataset.select(np.sort(order[chosen]))
    return dataclasses.replace(prepared, datasets=datasets)


def _n_tokens(prepared: train.Prepared) -> int:
    return sum(sum(prepared.datasets[name]["length"]) for name in ("train", "validation") if name in prepared.datasets)


@functools.cache
def _held_at_first() -> int:
    """Return what this process held before its first probe; a spare keeps a part of what earlier ones took."""
    return device.held_bytes()


class Trial(AttuneTrainer):
    """A training of a few steps on `rows` (in the order in which they are taken) that leaves no checkpoint.

    batches: padded tokens and seconds of each batch taken. step_seconds: of each step's optimiser. curve: learning
    rate and loss of each step. rates: the learning rate of each step, where it is not the schedule's.
    """

    def take(self, rows: list[int], n_steps: int, rates: np.ndarray | None = None, most_seconds: float = 1e9) -> None:
        """Train on `rows` for `n_steps`, or until `most_seconds` have gone by."""
        self.rows, self.rates = rows, rates
        self.batches: list[tuple[int, float]] = []
        self.step_seconds: list[float] = []
        self.curve: list[tuple[float, float]] = []
        self._until = time.perf_counter() + most_seconds
        args = self.args
        args.max_steps, args.num_train_epochs = n_steps, 1.0
        args.eval_strategy = args.save_strategy = "no"
        args.load_best_model_at_end = False
        self.callback_handler.callbacks = [c for c in self.callback_handler.callbacks if not _is_early_stopping(c)]
        self.train()

    def _get_train_sampler(self, train_dataset: Any = None) -> Any:
        return self.rows

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        pass

    def look(self, loss: float, gradient_norm: float | None) -> None:
        pass

    def create_scheduler(self, num_training_steps: int, optimizer: Any = None) -> Any:
        if self.rates is None:
            return super().create_scheduler(num_training_steps, optimizer)
        from torch.optim.lr_scheduler import LambdaLR

        last = len(self.rates) - 1
        self.lr_scheduler = LambdaLR(self.optimizer, lambda step: self.rates[min(step, last)] / self.args.learning_rate)
        return self.lr_scheduler

    def training_step(self, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        began = time.perf_counter()
        loss = super().training_step(model, inputs, *args, **kwargs)
        device.wait()
        self._ended = time.perf_counter()
        self.batches.append((inputs["attention_mask"].shape[-1], self._ended - began))
        return loss

    def _maybe_log_save_evaluate(self, *args: Any, **kwargs: Any) -> None:
        device.wait()
        now = time.perf_counter()
        self.step_seconds.append(now - self._ended)
        super()._maybe_log_save_evaluate(*args, **kwargs)
        if now > self._until and len(self.step_seconds) > 1:
            self.control.should_training_stop = True

    def log(self, logs: dict[str, float], *args: Any, **kwargs: Any) -> None:
        if "loss" in logs:
            self.curve.append((logs["learning_rate"], logs["loss"]))
            if self.rates is not None and has_diverged([loss for _, loss in self.curve]):
                self.control.should_training_stop = True
            if not np.isfinite(logs["loss"]):
                return  # an end that was looked for, not a failure
        super().log(logs, *args, **kwargs)


def _is_early_stopping(callback: Any) -> bool:
    return isinstance(callback, Patience)


def measure(trainer: Trial, spec: TrainSpec, prepared: Any, start_seconds: float) -> tuple[Pace, int]:
    """Return the pace of a training, from steps at its longest rows and at some of each length, and its shapes.

    The peak of memory is that of these steps and of an evaluation of the longest rows.
    """
    lengths, planned_lengths = np.asarray(trainer.lengths), np.asarray(prepared.datasets["train"]["length"])
    # What was spent on the frozen layers' output of these rows, as seconds of a token.
    n_frozen = sum(trainer.frozen.n_tokens.values()) if trainer.frozen is not None else 0
    frozen_token = trainer.seconds_before / n_frozen if n_frozen else 0.0
    size = min(trainer.args.train_batch_size, len(lengths))
    # Gradients that wait for the next batch take memory, as they will in the training.
    times = trainer.args.gradient_accumulation_steps = min(2, trainer.args.gradient_accumulation_steps)
    order = np.argsort(-lengths, kind="stable")
    starts = [0, 0] + [round(place * (len(order) - size)) for place in _PLACES for _ in range(2)]
    rows = [int(row) for start in starts for _ in range(times) for row in order[start : start + size]]
    trainer.take(rows, len(starts), most_seconds=_MOST_SECONDS)
    trainer.report.check()
    first, again = trainer.batches[0 :: 2 * times], trainer.batches[2 * times - 1 :: 2 * times]
    seconds = {tokens: min(before, after) for (tokens, before), (_, after) in zip(first, again, strict=False)}
    planned = padded_batches(planned_lengths, prepared.training)
    known = sorted(seconds)
    batch = float(np.interp(planned, known, [seconds[tokens] for tokens in known]).mean())
    extra = [max(0.0, before - after) for (_, before), (_, after) in list(zip(first, again, strict=False))[1:]]
    pace = Pace(
        batch=batch,
        step=float(np.median(trainer.step_seconds[1:])),
        shape=float(np.median(extra)) if extra else 0.0,
        evaluation_row=_evaluate(trainer),
        measuring_row=_measure_end(trainer, spec, prepared),
        checkpoint=_checkpoint_bytes(trainer) / _DISK_BYTES_PER_SECOND,
        start=start_seconds + frozen_token * _n_tokens(prepared),
    )
    return pace, len(set(planned.tolist()))


def _evaluate(trainer: Trial) -> float:
    """Return the seconds of a row in an evaluation, after one of the longest rows for their memory."""
    if trainer.eval_dataset is None:
        return 0.0
    n, size = len(trainer.eval_dataset), trainer.args.per_device_eval_batch_size
    trainer.evaluate(trainer.eval_dataset.select(range(max(0, n - size), n)))
    chosen = np.linspace(0, n - 1, min(n, 2 * size)).round().astype(int)
    began = time.perf_counter()
    trainer.evaluate(trainer.eval_dataset.select(chosen))
    return (time.perf_counter() - began) / len(chosen)


def _measure_end(trainer: Trial, spec: TrainSpec, prepared: Any) -> float:
    """Return the seconds of a row in the last evaluation, which draws intervals."""
    trainer.restore_model()
    dataset = prepared.datasets.get("test", prepared.datasets.get("validation"))
    if dataset is None:
        return 0.0
    model = trainer.accelerator.unwrap_model(trainer.model, keep_fp32_wrapper=False).eval()
    chosen = np.linspace(0, len(dataset) - 1, min(len(dataset), 2 * _MEASURED_ROWS)).round().astype(int)
    began = time.perf_counter()
    task, features = task_of(spec.task), dataset.select(chosen)
    precision = prepared.picks["precision"].value
    outputs = evaluate.predict(task, model, prepared.tokenizer, features, precision)
    predicting = (time.perf_counter() - began) / len(chosen)
    places, of_feature = np.unique(features["row"], return_inverse=True)
    part = "test" if "test" in prepared.datasets else "validation"
    rows, told = prepared.parts[part].select(places), {"row": of_feature.tolist()}
    features = {name: told.get(name, features[name]) for name in features.column_names}
    answers = task.answers(outputs, features, rows, prepared.labels)
    judged = task.judge(answers, rows, prepared.labels)
    many = np.arange(len(dataset)) % len(rows)  # as many rows as there will be, from those that there are
    began = time.perf_counter()
    compare.bootstrap(
        {name: lambda drawn, metric=metric: metric(many[drawn]) for name, metric in judged.metrics.items()},
        len(many), lambda: None, 6,
    )  # fmt: skip
    return predicting + (time.perf_counter() - began) * 50 / len(dataset)


def _checkpoint_bytes(trainer: Trial) -> int:
    trained = sum(p.numel() for p in trainer.model.parameters() if p.requires_grad)
    is_adapter = hasattr(trainer.model, "peft_config")
    saved = trained if is_adapter else sum(p.numel() for p in trainer.model.parameters())
    return 4 * saved + 8 * trained


def _estimated(prepared: Any, pace: Pace, n_shapes: int, free: int, peak: int) -> ev.Estimated:
    parts = tuple(len(prepared.parts[name]) for name in ("train", "validation", "test"))
    return ev.Estimated(
        device=device.device().type,
        precision=prepared.picks["precision"].value,
        free_bytes=free,
        peak_bytes=peak,
        n_train=parts[0],
        n_validation=parts[1],
        n_test=parts[2],
        n_shapes=n_shapes,
        pace=vars(pace),
        n_cut=prepared.n_cut,
        seconds=finish_seconds(prepared.training, parts, n_shapes, pace),
    )


def sweep(trainer: Trial, training: TrainingSpec, usual: float) -> ev.RateFound:
    """Return the loss over growing learning rates, and the rate that it suggests; the model stays as it was.

    As many steps as an epoch has, 40 at least and 100 at most; it ends where the loss diverges.
    """
    n_rows, size = len(trainer.train_dataset), trainer.args.train_batch_size
    per_step = size * trainer.args.gradient_accumulation_steps
    n_steps = int(np.clip(steps_per_epoch(training, n_rows), *_SWEEP_STEPS))
    generator = np.random.default_rng(training.seed)
    rows: list[int] = []
    while len(rows) < n_steps * per_step:
        rows += generator.permutation(n_rows).tolist()
    with unchanged(trainer):
        trainer.take(rows[: n_steps * per_step], n_steps, sweep_rates(usual, n_steps))
    curve = [(rate, loss) for rate, loss in trainer.curve if np.isfinite(loss)]
    rates, losses = [rate for rate, _ in curve], smooth_losses([loss for _, loss in curve])
    return ev.RateFound(rates=rates, losses=losses.tolist(), suggested=suggest(rates, losses), how=HOW)


@contextlib.contextmanager
def unchanged(trainer: Any) -> Iterator[None]:
    """Give a Trainer's model its weights back, and the process its random state, whatever is trained inside."""
    import torch

    kept = {name: p.detach().clone() for name, p in trainer.model.named_parameters() if p.requires_grad}
    with device.same_random_state():
        try:
            yield
        finally:
            with torch.no_grad():
                for name, parameter in trainer.model.named_parameters():
                    if name in kept:
                        parameter.copy_(kept[name])
            trainer.forget_gradients()
            trainer.optimizer = trainer.lr_scheduler = None
