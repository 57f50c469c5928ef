"""A training run: rows, model and method become a Trainer; what comes out is saved, measured and told."""

import contextlib
import math
import shutil
import time
from dataclasses import dataclass
from typing import Any

import numpy as np

from studio.core import events as ev
from studio.core.anatomy import describe_model
from studio.core.continuing import BASE_FOLDER
from studio.core.estimate import keeps_frozen, steps_per_epoch
from studio.core.files import read_json, write_json
from studio.core.reasons import Failure, Problem
from studio.core.registry import PluginConfig, plugin
from studio.core.reports import reports_of
from studio.core.rundir import RunDir
from studio.core.spec import TrainingSpec, TrainSpec, dump_spec
from studio.engine import checkpoints, device, evaluate, frozen_weights, models, reports
from studio.engine.data import raise_first, read_parts, slice_columns, workspace_of
from studio.engine.picks import Picks, job_of, note, pick, pick_batch
from studio.engine.reporter import Reporter, StopRequested
from studio.engine.sentence import WatchedSentence
from studio.engine.tokens import for_model, tokenise
from studio.engine.trained import require_same
from studio.tasks.base import Rows, of_tokens, task_of


@dataclass(frozen=True)
class Prepared:
    """All that a training needs, before the first step."""

    parts: dict[str, Rows]
    datasets: dict[str, Any]
    model: Any
    tokenizer: Any
    labels: list[str]
    training: TrainingSpec  # with what was picked
    picks: Picks
    is_half: bool  # frozen weights are held in bf16
    n_cut: int  # features that lost tokens to the longest length
    seconds: float  # by the formula


def run(run_dir: RunDir, spec: TrainSpec, report: Reporter) -> ev.Event:
    """Train what `spec` asks for, from the last checkpoint if there is one; return the terminal event."""
    from studio.engine import passes

    checkpoints.discard_partial(run_dir)
    found = checkpoints.last_checkpoint(run_dir)
    prepared = prepare(run_dir, spec, report, is_resume=found is not None)
    if "tensorboard" in reports_of(prepared.picks["report_to"].value):
        report.listeners.append(reports.EventFiles(report, found[0] if found else 0).hear)
    trainer = build_trainer(run_dir, spec, prepared, report)
    known = prepared.picks.get("torch_compile")
    note(run_dir, report, passes.pick_compile(trainer, spec.training.torch_compile, known, prepared.seconds))
    if spec.training.probe_text:
        trainer.sentence = WatchedSentence(trainer, spec, prepared.tokenizer, prepared.labels)
    report.phase("training")
    trainer.train(resume_from_checkpoint=str(found[1]) if found else None)
    passes.undo_compile(prepared.model)
    trainer.restore_model()
    if prepared.is_half:
        fresh = models.load_base(spec, prepared.labels, prepared.tokenizer)
        frozen_weights.restore(prepared.model, fresh)
    prepared.model.to(device.device())  # stand-ins were there when Trainer moved the model
    report.say(ev.Phase(name="saving"))
    partial = run_dir.path / checkpoints.MODEL_PARTIAL
    trainer.save_model(str(partial))
    # Without the wrapper that computes in bf16, so that a later evaluation finds the very same numbers.
    model = trainer.accelerator.unwrap_model(trainer.model, keep_fp32_wrapper=False).eval()
    task_of(spec.task).finish_folder(model, partial)
    checkpoints.put_in_place(partial, run_dir.model_dir)
    report.say(ev.Artefact(name="model", path="model"))
    result = {
        "run": str(run_dir.path),
        "state": "stopped" if trainer.was_stopped else "finished",
        "steps": trainer.state.global_step,
        "train_seconds": trainer.clock.seconds,
        "samples_per_second": trainer.samples_per_second,
        "metrics": {"train": {"loss": report.mean_loss()}},
    }
    if trainer.was_stopped:
        _keep_base(run_dir, spec, model, prepared.tokenizer)
        return ev.Stopped(step=trainer.state.global_step, result=result)
    precision = prepared.picks["precision"].value
    # The training is done: a stop that comes now leaves out what is not measured yet, and nothing else.
    with contextlib.suppress(StopRequested):
        task = task_of(spec.task)
        if not len(prepared.parts["validation"]):
            task = _keep(run_dir, task, task.fitted(None, prepared.parts["train"]))
        for name in ("validation", "test"):
            rows = prepared.parts[name]
            if not len(rows):
                continue
            groups = slice_columns(spec, name, rows, workspace_of(run_dir.path))
            measured = evaluate.measure(
                run_dir, task, model, prepared.tokenizer, rows, prepared.datasets[name], prepared.labels,
                groups, name, report, precision, teaches=name == "validation",
            )  # fmt: skip
            task = _keep(run_dir, task, measured.task.config)
            result["metrics"][name] = measured.metrics
            if name == "test":
                step, epoch = trainer.state.global_step, float(trainer.state.epoch or 0)
                report.say(ev.Metrics(split="test", step=step, epoch=epoch, values=measured.metrics))
    _keep_base(run_dir, spec, model, prepared.tokenizer)
    report.sync()
    # The model is saved; the checkpoints of a finished run are three times as large and serve nobody.
    shutil.rmtree(run_dir.checkpoints_dir, ignore_errors=True)
    return ev.Finished(result=result)


def _keep_base(run_dir: RunDir, spec: TrainSpec, model: Any, tokenizer: Any) -> None:
    """Save the model without its adapters where other tasks may go on from it; it has none afterwards."""
    task = task_of(spec.task)
    if not task.is_base or (run_dir.model_dir / "config.json").is_file():
        return
    merged, partial = plugin("methods", spec.method).merge(model), run_dir.path / checkpoints.BASE_PARTIAL
    merged.save_pretrained(partial)
    tokenizer.save_pretrained(partial)
    task.finish_folder(merged, partial)
    checkpoints.put_in_place(partial, run_dir.path / BASE_FOLDER)


def eval_batch_size(task: Any) -> int:
    """Return the rows that are measured at once on the way, at 128 tokens each."""
    return max(1, min(64, task.batch_tokens // 128))


def _keep(run_dir: RunDir, task: Any, found: PluginConfig) -> Any:
    """Return a task with the settings that were found for it, after adding them to `resolved.json`."""
    if found == task.config:
        return task
    write_json(run_dir.resolved_file, read_json(run_dir.resolved_file) | {"task": found.model_dump(mode="json")})
    return task_of(found)


def prepare(run_dir: RunDir, spec: TrainSpec, report: Reporter, is_resume: bool) -> Prepared:
    """Return rows, datasets and model of a training, and write what was picked; raises Failure for what can't be."""
    from studio.engine import passes

    reporting = reports.pick_reports(run_dir, spec.training.report_to)
    report.phase("data")
    parts, problems, hashes = read_parts(spec, workspace_of(run_dir.path))
    if is_resume:
        require_same((read_json(run_dir.resolved_file) or {}).get("hashes", {}), hashes)
    for problem in problems:
        report.warn(problem)
    task, method = task_of(spec.task), plugin("methods", spec.method)
    labels = task.labels(parts["train"].gold)
    raise_first(task.check_training(spec.training))
    info = describe_model(spec.model)
    found = task.check_model(info)
    raise_first(found)
    for problem in found:
        report.warn(problem)
    raise_first(method.check(info, spec.method))
    tokenizer = models.load_tokenizer(info.path)
    max_length = min(spec.training.max_length, info.max_positions or spec.training.max_length)
    datasets, n_cut = _tokenise(task, parts, labels, tokenizer, max_length, report)
    report.phase("model")
    base, start = models.load_base(spec, labels, tokenizer), task.head_start(parts["train"].gold, labels)
    is_started = start is not None and models.start_head(base, *start)
    model = method.apply(base, spec.method)
    # peft keeps a copy of the untrained head beside the trained one, which nobody would call a part of the model.
    counted = [p for name, p in model.named_parameters() if ".original_module." not in name]
    n_trainable = sum(p.numel() for p in counted if p.requires_grad)
    report.say(ev.ModelReady(n_parameters=sum(p.numel() for p in counted), n_trainable=n_trainable))
    n_features = tuple(len(datasets.get(name, ())) for name in ("train", "validation", "test"))
    picks = pick(run_dir, spec, info, is_resume)
    picks[reporting.name] = reporting
    if is_started:
        why = "the new head begins with what the training rows say on average, and with their spread"
        picks["head_start"] = ev.Picked(name="head_start", value=list(start), why=why)
    device.use_threads(picks["threads"].value)
    precision, is_quick = picks["precision"].value, picks["kernels"].value == "quick"
    training, seconds = pick_batch(
        run_dir,
        job_of(spec, info, list(datasets["train"]["length"]), n_features, labels),
        picks,
        lambda: passes.row_bytes(model, task, tokenizer, datasets["train"], precision, is_quick),
    )
    saved = frozen_weights.hold_in_bf16(model) if precision == "bf16" else 0
    if saved:
        why = f"they do not train, and take {saved / 1e6:,.0f} MB less so"
        picks["frozen_weights"] = ev.Picked(name="frozen_weights", value="bf16", why=why)
    for name, each in picks.items():
        if name != "torch_compile":  # said when it is done
            report.say(each)
    write_json(
        run_dir.resolved_file,
        {
            "spec": dump_spec(spec),
            "picked": {name: {"value": each.value, "why": each.why} for name, each in picks.items()},
            "labels": labels,
            "max_length": max_length,
            "split": {name: list(rows.indices) for name, rows in parts.items()},
            "n_features": len(datasets["train"]),
            "hashes": hashes,
            "model_path": info.path,
        },
    )
    return Prepared(parts, datasets, model, tokenizer, labels, training, picks, bool(saved), n_cut, seconds)


def _tokenise(
    task: Any, parts: dict[str, Rows], labels: list[str], tokenizer: Any, max_length: int, report: Reporter
) -> tuple[dict[str, Any], int]:
    """Return the datasets of the parts that have rows and how many were cut; say what the rows turned out to be."""
    datasets, n_cut = {}, 0
    for name, rows in parts.items():
        report.check()
        if len(rows):
            datasets[name], cut = tokenise(
                task, rows, labels, tokenizer, max_length, workspace_of(report.run.path), report.check
            )
            n_cut += cut
    n_rows = {f"n_{name}": len(rows) for name, rows in parts.items()}
    report.say(ev.DataReady(**n_rows, labels=labels, n_truncated=n_cut))
    if n_cut:
        report.warn(Problem("texts-cut", {"n_rows": n_cut, "n_tokens": max_length}))
    n_unlabelled = task.n_unlabelled(datasets["train"])
    if n_unlabelled == len(datasets["train"]):
        raise Failure("labels-cut", "training.max_length", n_tokens=max_length)
    if n_unlabelled:
        report.warn(Problem("some-labels-cut", {"n_rows": n_unlabelled, "n_tokens": max_length}))
    return datasets, n_cut


def build_trainer(
    run_dir: RunDir, spec: TrainSpec, prepared: Prepared, report: Reporter, trainer_class: Any = None
) -> Any:
    """Return an AttuneTrainer, or another `trainer_class` of its kind, for what was prepared."""
    from studio.engine import kernels, trunk
    from studio.engine.trainer import AttuneTrainer, Patience

    t, task, picks = prepared.training, task_of(spec.task), prepared.picks
    if t.early_stopping_patience and "validation" not in prepared.datasets:
        raise Failure("early-stopping-blind", "training.early_stopping_patience")
    began = time.perf_counter()
    is_quick, in_bf16 = picks["kernels"].value == "quick", picks["precision"].value == "bf16"
    quick = kernels.Kernels(prepared.model, in_bf16) if is_quick else None
    frozen = _compute_frozen(run_dir, spec, prepared, report)
    parts = {name: for_model(task, prepared.model, dataset) for name, dataset in prepared.datasets.items()}
    datasets = parts if frozen is None else frozen.parts
    validation = datasets.get("validation")
    order = np.argsort(prepared.datasets["validation"]["length"], kind="stable") if validation is not None else []
    if validation is not None:
        validation = validation.select(order)  # shortest first, so that evaluation pads little
    return (trainer_class or AttuneTrainer)(
        model=prepared.model,
        args=_arguments(run_dir, prepared, task),
        train_dataset=datasets["train"],
        eval_dataset=validation,
        data_collator=task.collator(prepared.tokenizer) if frozen is None else trunk.collate,
        train_collator=task.training_collator(prepared.tokenizer, t.seed) if frozen is None else trunk.collate,
        processing_class=prepared.tokenizer,
        compute_metrics=lambda result: _judge(task, prepared, result.predictions, order),
        preprocess_logits_for_metrics=lambda outputs, labels: _kept(task, outputs, labels),
        callbacks=[Patience(t.early_stopping_patience)] if t.early_stopping_patience else [],
        report=report,
        lengths=list(prepared.datasets["train"]["length"]),
        row_numbers=_row_numbers(prepared),
        group_by_length=t.group_by_length,
        quick=quick,
        frozen=frozen,
        seconds_before=time.perf_counter() - began if frozen else 0.0,
    )


def _row_numbers(prepared: Prepared) -> list[int]:
    """Return the row of the data, from 1 on, that each feature is of."""
    indices = prepared.parts["train"].indices
    return [indices[i] + 1 for i in prepared.datasets["train"]["row"]]


def _kept(task: Any, outputs: Any, labels: Any) -> Any:
    """Return what a task keeps of a batch's outputs, which Trainer hands on without their names."""
    outputs = outputs[: len(task.output_names)] if isinstance(outputs, tuple) else (outputs,)
    return task.reduce(evaluate.stack(outputs), labels)


def _judge(task: Any, prepared: Prepared, outputs: np.ndarray, order: np.ndarray) -> dict[str, float]:
    """Return the metrics of the validation rows. outputs: of their features, in this order, padded."""
    rows, dataset = prepared.parts["validation"], prepared.datasets["validation"]
    found: list[Any] = [None] * len(order)
    for i, output in zip(order, outputs, strict=True):
        side = prepared.tokenizer.padding_side
        found[i] = of_tokens(output, dataset[int(i)]["length"], side) if task.per_token else output
    answers = task.answers(found if task.per_token else np.array(found), dataset, rows, prepared.labels)
    measured = task.judge(answers, rows, prepared.labels).measured()
    del measured["loss"]  # Trainer's own
    return measured


def _arguments(run_dir: RunDir, prepared: Prepared, task: Any) -> Any:
    from transformers import TrainingArguments

    t, has_validation = prepared.training, "validation" in prepared.datasets
    every = max(1, math.ceil(steps_per_epoch(t, len(prepared.datasets["train"])) / t.evaluations_per_epoch))
    is_cpu = device.device().type == "cpu"
    return TrainingArguments(
        output_dir=str(run_dir.checkpoints_dir),
        num_train_epochs=t.num_train_epochs,
        learning_rate=prepared.picks["learning_rate"].value,
        per_device_train_batch_size=t.per_device_train_batch_size,
        per_device_eval_batch_size=eval_batch_size(task),
        gradient_accumulation_steps=t.gradient_accumulation_steps,
        weight_decay=t.weight_decay,
        max_grad_norm=t.max_grad_norm,
        label_smoothing_factor=t.label_smoothing_factor,
        lr_scheduler_type=t.lr_scheduler_type,
        warmup_steps=t.warmup_steps,
        seed=t.seed,
        use_cpu=is_cpu,
        bf16=prepared.picks["precision"].value == "bf16",
        fp16=prepared.picks["precision"].value == "fp16",
        eval_strategy="steps" if has_validation else "no",
        eval_steps=every,
        save_strategy="steps",
        save_steps=every,
        save_total_limit=2,
        load_best_model_at_end=t.load_best_model_at_end and has_validation,
        metric_for_best_model=task.main_metric if has_validation else None,
        greater_is_better=task.greater_is_better if has_validation else None,
        restore_callback_states_from_checkpoint=True,
        logging_steps=1,
        logging_nan_inf_filter=False,
        report_to=reports.trainer_reports(run_dir, prepared.picks["report_to"]),
        disable_tqdm=True,
        remove_unused_columns=False,  # `for_model` has done it, and a task's collator may need more than the model
        dataloader_pin_memory=not is_cpu,
    )


def _compute_frozen(run_dir: RunDir, spec: TrainSpec, prepared: Prepared, report: Reporter) -> Any:
    """Return the frozen layers' output for all rows that training uses, or None; say which, and why."""
    from studio.engine.trunk import Trunk, TrunkRefused, n_frozen_layers

    n_layers = n_frozen_layers(prepared.model)
    if not n_layers:
        return None
    found = None
    if not keeps_frozen(spec.method):
        why = "as you asked"
    elif not task_of(spec.task).is_plain:
        why = "it can be only where a row is one text or pair"
    elif spec.training.num_train_epochs <= 1:
        why = "there is only one"
    else:
        report.phase("frozen")
        prepared.model.to(device.device())
        parts = {name: prepared.datasets[name] for name in ("train", "validation") if name in prepared.datasets}
        precision = prepared.picks["precision"].value
        try:
            found = Trunk(prepared.model, n_layers, parts, prepared.tokenizer, run_dir, precision, report)
            size = f"{found.n_bytes / 1e6:,.0f} MB"
            why = f"{n_layers} layers are frozen, so their output is the same in every epoch ({size})"
        except TrunkRefused as refused:
            why = str(refused)
    note(run_dir, report, ev.Picked(name="frozen_output", value="once" if found else "each epoch", why=why))
    return found
