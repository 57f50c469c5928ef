"""Single passes through a model: what a row keeps in memory, and whether compiling its layers pays."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from studio.core.anatomy import describe_model
from studio.core.reasons import Failure
from studio.core.rundir import RunDir, create_run
from studio.core.spec import parse_spec
from studio.engine import device, passes, picks, train
from studio.engine.passes import pick_compile
from studio.engine.reporter import Reporter
from studio.engine.tokens import for_model
from studio.engine.trainer import AttuneTrainer
from studio.tasks.base import task_of


def prepared(workspace: Path, spec: dict) -> tuple[RunDir, Any, train.Prepared, Reporter]:
    spec = parse_spec(spec)
    run = create_run(workspace, spec)
    report = Reporter(run)
    return run, spec, train.prepare(run, spec, report, is_resume=False), report


@pytest.fixture
def trainer(workspace: Path, tiny_spec: dict) -> AttuneTrainer:
    run, spec, found, report = prepared(workspace, tiny_spec)
    yield train.build_trainer(run, spec, found, report)
    report.close()


def test_rows_keep_what_was_counted_for_one(workspace: Path, tiny_spec: dict) -> None:
    _, _, found, report = prepared(workspace, tiny_spec)
    task, rows = task_of(parse_spec(tiny_spec).task), found.datasets["train"]
    one = passes.row_bytes(found.model, task, found.tokenizer, rows, "fp32", is_quick=True)
    collate, inputs = task.collator(found.tokenizer), for_model(task, found.model, rows)
    longest = sorted(range(len(rows)), key=rows["length"].__getitem__)[-1]
    many = [
        passes._saved_bytes(found.model.train(), passes._batch(collate, inputs, [longest] * n), "fp32") for n in (2, 34)
    ]
    assert 32 * one == pytest.approx(many[1] - many[0], rel=0.25)
    assert all(p.grad is None for p in found.model.parameters())
    report.close()


def test_batch_is_what_fits_with_the_counted_rows(
    workspace: Path, tiny_spec: dict, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = parse_spec(tiny_spec | {"training": {}})
    info = describe_model(spec.model)
    run = create_run(workspace, spec)
    found = picks.pick(run, spec, info, is_resume=False)
    job = picks.job_of(spec, info, [20] * 4000, (4000, 100, 100), ["a", "b", "c"])
    monkeypatch.setattr(device, "free_bytes", lambda: 1_000_000_000)
    training, _ = picks.pick_batch(run, job, dict(found), lambda: 1.0)
    assert training.per_device_train_batch_size == 32 and training.gradient_accumulation_steps == 1
    training, _ = picks.pick_batch(run, job, found, lambda: 20e6)
    assert training.per_device_train_batch_size in (4, 8)
    assert training.per_device_train_batch_size * training.gradient_accumulation_steps == 32
    assert found["gradient_accumulation_steps"].value == training.gradient_accumulation_steps


def test_short_training_is_not_compiled(trainer: AttuneTrainer) -> None:
    for seconds in (100.0, 1e6):  # by the formula, and by what its batches take
        picked = pick_compile(trainer, "auto", None, seconds)
        assert picked.value is False and "too short" in picked.why
    assert pick_compile(trainer, False, None, 1e9).why == "as you asked"


def test_compiling_is_tried_and_leaves_no_trace(trainer: AttuneTrainer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passes, "_WORTH_SECONDS", 0.0)
    monkeypatch.setattr(passes, "_LEAST_GAIN", 0.0)
    for module in trainer.model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0  # so that two passes can be compared
    state = torch.get_rng_state()
    picked = pick_compile(trainer, "auto", None, 1.0)
    assert torch.equal(state, torch.get_rng_state())
    assert all(p.grad is None for p in trainer.model.parameters())
    if shutil.which("g++") is None:
        assert picked.value is False and "this machine can't" in picked.why
        with pytest.raises(Failure, match="can-not-compile"):
            pick_compile(trainer, True, None, 1.0)
        return
    assert picked.value is True and "× as fast here" in picked.why
    # The compiled layers train as the others do.
    batch = passes._batch(trainer.data_collator, trainer.train_dataset, range(8))
    compiled = trainer.model.train()(**batch).loss
    passes.undo_compile(trainer.model)
    assert compiled.item() == pytest.approx(trainer.model(**batch).loss.item(), abs=1e-5)
    monkeypatch.setattr(passes, "_LEAST_GAIN", 1e9)
    picked = pick_compile(trainer, "auto", None, 1.0)
    assert picked.value is False
    assert all(layer._compiled_call_impl is None for layer in passes._layers(trainer.model))
