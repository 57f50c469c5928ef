"""The Trainer of a run: OwnTrainer with a run's checkpoints, clock and events.

Imported by the worker only, since it imports transformers' Trainer at the top.
"""

import math
import shutil
import time
from pathlib import Path
from typing import Any

from transformers import EarlyStoppingCallback, TrainerCallback  # noqa: TID253
from transformers.trainer_utils import rotate_checkpoints  # noqa: TID253

from studio.core import events as ev
from studio.core.disk import disk_full
from studio.core.files import write_json
from studio.core.reasons import Failure, Problem
from studio.engine import checkpoints
from studio.engine.own_trainer import OwnTrainer
from studio.engine.reporter import Reporter, StopRequested
from studio.engine.sentence import WatchedSentence
from studio.engine.trunk import Trunk
from studio.engine.watch import Watch
from studio.tasks.base import MASKED

_SAVE_SECONDS = 300.0  # the longest that a crash can cost


class Clock:
    """Seconds of optimisation: runs from `go` to `pause`."""

    def __init__(self, seconds: float = 0.0):
        self._before, self._since = seconds, None

    def go(self) -> None:
        self._since = self._since or time.perf_counter()

    def pause(self) -> None:
        self._before, self._since = self.seconds, None

    def add(self, seconds: float) -> None:
        self._before += seconds

    @property
    def seconds(self) -> float:
        return self._before + (time.perf_counter() - self._since if self._since else 0.0)


class AttuneTrainer(OwnTrainer):
    """OwnTrainer that speaks through a Reporter and writes checkpoints aside before they take their name.

    row_numbers: the row in the data of each training row, from 1 on. frozen: stand-ins for the model's frozen layers.
    seconds_before: what was spent on the training already, such as on the frozen layers' output.
    """

    def __init__(
        self,
        *args: Any,
        report: Reporter,
        row_numbers: list[int],
        frozen: Trunk | None = None,
        seconds_before: float = 0.0,
        **kwargs: Any,
    ):
        super().__init__(*args, **kwargs)
        self.report, self.row_numbers = report, row_numbers
        self.frozen, self.seconds_before = frozen, seconds_before
        self.clock = Clock(report.state.train_seconds)
        self.n_rows_seen = 0
        state = report.state
        # A former attempt that counted none would make the sum a lie.
        self._n_tokens = None if state.step and not state.n_tokens else state.n_tokens
        self.was_stopped = False
        self.watch: Watch | None = None  # of the first steps; a resume has passed them
        self.sentence: WatchedSentence | None = None
        self._n_labels = 0  # of the step at work
        self._seconds_before, self._last_saved = self.clock.seconds, time.monotonic()
        self.clock.add(seconds_before)
        self.add_callback(_Reports(self))

    @property
    def samples_per_second(self) -> float:
        """Rows trained per second of optimisation, in this attempt."""
        return self.n_rows_seen / max(self.clock.seconds - self._seconds_before, 1e-9)

    @property
    def n_tokens_seen(self) -> int | None:
        """Tokens trained since the run began, without padding; None where they were not counted from its beginning."""
        return None if self._n_tokens is None else int(self._n_tokens)

    def restore_model(self) -> None:
        """Give the model its own layers back, with the weights that were trained."""
        if self.frozen is not None:
            self.frozen.undo()
        if self.kernels is not None:
            self.kernels.undo()

    def forget_gradients(self) -> None:
        """Leave the model without a gradient."""
        self.model.zero_grad(set_to_none=True)
        for module in self.kernels.embeddings if self.kernels is not None else []:
            module.found = []

    def rows_of_step(self, step: int) -> list[int]:
        """Return the places of the training rows that a step (from 1 on) trained on."""
        sampler = self._get_train_sampler()
        n_rows, n_steps = sampler.batch_size, math.ceil(len(sampler) / sampler.batch_size)
        sampler.set_epoch((step - 1) // n_steps)
        start = (step - 1) % n_steps * n_rows
        return list(sampler)[start : start + n_rows]

    def look(self, loss: float, gradient_norm: float | None) -> None:
        """Tell of a training that goes wrong in its first steps; raises Failure where it can't learn anything."""
        if self.watch is None:
            return
        problem = self.watch.look(loss, gradient_norm, is_masked=not self._n_labels)
        self._n_labels = 0
        if problem is not None and problem.reason == "loss-flat":
            self.report.warn(problem)
        elif problem is not None:
            raise Failure(problem.reason, **problem.facts)
        if self.watch.is_over:
            self.watch = None

    def training_step(self, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        self.n_rows_seen += len(next(iter(inputs.values())))
        if self.watch is not None:
            labels = inputs.get("labels")
            self._n_labels += 1 if labels is None else int((labels != MASKED).sum())
        if self._n_tokens is not None and "attention_mask" in inputs:
            # Not as a number yet: on a GPU that would wait for it.
            self._n_tokens = self._n_tokens + inputs["attention_mask"].sum()
        return super().training_step(model, inputs, *args, **kwargs)

    def _maybe_log_save_evaluate(self, *args: Any, **kwargs: Any) -> None:
        self.clock.pause()
        super()._maybe_log_save_evaluate(*args, **kwargs)
        if not self.is_over:
            self.clock.go()

    def evaluate(self, *args: Any, **kwargs: Any) -> dict[str, float]:
        self.report.say(ev.Phase(name="evaluating"))
        try:
            metrics = super().evaluate(*args, **kwargs)
        except StopRequested:
            # The step is saved all the same, and measured first of all when the run goes on.
            self.was_stopped = self.control.should_save = self.control.should_training_stop = True
            metrics = {}
        self.report.say(ev.Phase(name="training"))
        return metrics

    def measure_what_was_left(self) -> None:
        """Make up for the evaluation that a stop had cut short, at the step of the checkpoint."""
        step, measured = self.state.global_step, self.report.state.series.get(("validation", "loss"))
        is_due = self.args.eval_strategy == "steps" and step and step % self.state.eval_steps == 0
        if not is_due or (measured is not None and step in measured.x):
            return
        metrics = self.evaluate()
        if self.was_stopped:
            raise StopRequested  # the checkpoint of this step is still the last one
        self._determine_best_metric(metrics, None)
        if self.state.best_global_step == step:
            self.state.best_model_checkpoint = str(Path(self.args.output_dir) / f"checkpoint-{step}")

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        """Write a checkpoint aside, then log, sync and rename it; rotate the old ones."""
        root = Path(self.args.output_dir)
        partial, name = root / checkpoints.PARTIAL, f"checkpoint-{self.state.global_step}"
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        self._require_room(root)
        try:
            self.args.output_dir = str(partial)
            super()._save_checkpoint(model, trial)
        finally:
            self.args.output_dir = str(root)
        best = root / f"checkpoint-{self.state.best_global_step}"
        if self.state.best_global_step and (best.exists() or best.name == name):
            self.state.best_model_checkpoint = str(best)
        # Trainer noted the place aside as the best one; the file must name the place that stays.
        self.state.save_to_json(str(partial / name / "trainer_state.json"))
        write_json(partial / name / checkpoints.CLOCK, {"train_seconds": self.clock.seconds})
        self.report.sync()
        checkpoints.put_in_place(partial / name, root / name)
        partial.rmdir()
        seconds, step = self.clock.seconds, self.state.global_step
        self.report.say(ev.Checkpoint(step=step, path=f"checkpoints/{name}", train_seconds=seconds))
        self._last_saved = time.monotonic()
        rotate_checkpoints(str(root), self.args.save_total_limit, self.state.best_model_checkpoint)

    def _require_room(self, root: Path) -> None:
        """Raise Failure "disk-full" unless the weights and the optimiser's two moments have room."""
        weights = sum(p.numel() * p.element_size() for p in self.model.parameters() if p.requires_grad)
        needed = 3 * weights + (16 << 20)
        if shutil.disk_usage(root).free < needed:
            problem = disk_full(self.report.run.path, needed)
            raise Failure(problem.reason, problem.field, **problem.facts)

    @property
    def is_over(self) -> bool:
        return self.control.should_training_stop or self.state.global_step >= self.state.max_steps

    def is_save_due(self) -> bool:
        return time.monotonic() - self._last_saved > _SAVE_SECONDS


class Patience(EarlyStoppingCallback):
    """Early stopping that counts the evaluations of the schedule, not those that a person asked for in between."""

    def on_evaluate(self, args: Any, state: Any, control: Any, *rest: Any, **kwargs: Any) -> None:
        if state.global_step % args.eval_steps == 0:
            super().on_evaluate(args, state, control, *rest, **kwargs)


class _Reports(TrainerCallback):
    """Turns Trainer's callbacks into events, and commands into Trainer's control."""

    def __init__(self, trainer: AttuneTrainer):
        self.trainer, self.report = trainer, trainer.report

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if not state.global_step:
            self.trainer.watch = Watch(state.max_steps, args.get_warmup_steps(state.max_steps))
        self.trainer.measure_what_was_left()
        if self.trainer.sentence is not None:
            self.trainer.sentence.begin(state.global_step, state.max_steps)
        self.trainer.clock.go()

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        # It runs again when the step is logged, evaluated and saved.
        self.trainer.clock.pause()
        self.report.wait_while_paused()
        if self.report.stop.is_set():
            self.trainer.was_stopped = state.global_step < state.max_steps
            control.should_save = control.should_training_stop = True
            return
        if self.trainer.sentence is not None:
            self.trainer.sentence.look(state.global_step)
        if self.report.save.is_set() or self.trainer.is_save_due():
            self.report.save.clear()
            control.should_save = True
        if self.report.evaluate.is_set():
            self.report.evaluate.clear()
            if self.trainer.eval_dataset is None:
                self.report.warn(Problem("nothing-to-evaluate"))
            else:
                # Saved too, because it may be the best so far.
                control.should_evaluate = control.should_save = True

    def on_epoch_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        # Before the best checkpoint comes back. What was stopped goes on some day, and this is no step of its own.
        if self.trainer.sentence is not None and self.trainer.is_over and not self.trainer.was_stopped:
            self.trainer.sentence.look(state.global_step, is_last=True)

    def on_prediction_step(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.report.wait_while_paused()
        self.report.check()

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float] | None = None, **_: Any) -> None:
        logs = logs or {}
        if "loss" in logs:
            values = {name: float(logs[name]) for name in ("loss", "learning_rate", "grad_norm") if name in logs}
            self._say_metrics(state, "train", values | {"samples_per_second": self.trainer.samples_per_second})
            self.trainer.look(values["loss"], values.get("grad_norm"))
            if not math.isfinite(values["loss"]):
                facts = {"loss": values["loss"], "step": state.global_step, "learning_rate": args.learning_rate}
                rows = sorted(self.trainer.row_numbers[i] for i in self.trainer.rows_of_step(state.global_step))
                facts |= {"rows": ", ".join(map(str, rows))}
                raise Failure("loss-not-finite", "training.learning_rate", **facts)
        elif "eval_loss" in logs:
            skipped = ("runtime", "samples_per_second", "steps_per_second", "model_preparation_time")
            values = {
                name.removeprefix("eval_"): float(value)
                for name, value in logs.items()
                if name.startswith("eval_") and name.removeprefix("eval_") not in skipped
            }
            self._say_metrics(state, "validation", values)

    def _say_metrics(self, state: Any, split: str, values: dict[str, float]) -> None:
        self.report.say(
            ev.Metrics(
                split=split,
                step=state.global_step,
                epoch=float(state.epoch or 0),
                values=values,
                total_steps=state.max_steps,
                train_seconds=self.trainer.clock.seconds,
                n_rows=self.trainer.n_rows_seen,
                n_tokens=self.trainer.n_tokens_seen,
            )
        )
