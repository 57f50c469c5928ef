"""What is noticed in the first steps of a training: no label, no gradient, a loss that stays where it is."""

from pathlib import Path

import numpy as np
import pytest

from studio.core.events import Warned
from studio.core.reasons import Failure, describe
from studio.core.rundir import create_run, read_events
from studio.core.spec import parse_spec
from studio.engine import train
from studio.engine.reporter import Reporter
from studio.engine.trainer import AttuneTrainer
from studio.engine.watch import Watch
from tests.in_process import execute


@pytest.fixture
def trainer(workspace: Path, tiny_spec: dict) -> AttuneTrainer:
    spec = parse_spec(tiny_spec)
    run = create_run(workspace, spec)
    report = Reporter(run)
    yield train.build_trainer(run, spec, train.prepare(run, spec, report, is_resume=False), report)
    report.close()


def test_rows_of_a_step_are_those_that_were_trained_on(trainer: AttuneTrainer) -> None:
    seen: list[list[int]] = []
    original = trainer.training_step

    def watched(model, inputs, *args, **kwargs):
        seen.append(inputs["input_ids"].tolist())
        return original(model, inputs, *args, **kwargs)

    trainer.training_step = watched
    trainer.train()
    assert len(seen) == 27
    for step in (1, 9, 10, 27):
        rows = trainer.train_dataset.select(trainer.rows_of_step(step))["input_ids"]
        assert [[t for t in ids if t] for ids in seen[step - 1]] == [list(ids) for ids in rows]


def test_labels_that_are_all_masked_end_the_training(trainer: AttuneTrainer) -> None:
    columns = trainer.train_dataset.to_dict() | {"labels": [-100] * len(trainer.train_dataset)}
    trainer.train_dataset = type(trainer.train_dataset).from_dict(columns)
    with pytest.raises(Failure) as failed:
        trainer.train()
    assert failed.value.problem.reason == "labels-masked" and trainer.state.global_step == 1


def test_a_gradient_of_zero_ends_the_training(trainer: AttuneTrainer) -> None:
    for parameter in trainer.model.parameters():
        parameter.register_hook(lambda gradient: gradient * 0)
    with pytest.raises(Failure) as failed:
        trainer.train()
    assert failed.value.problem.reason == "no-gradient" and trainer.state.global_step == 3


def test_a_loss_that_does_not_move_is_told_once(workspace: Path, tiny_spec: dict) -> None:
    tiny_spec["training"] |= {"learning_rate": 1e-9, "num_train_epochs": 4}
    run, state = execute(workspace, tiny_spec)
    assert state.state == "finished"
    said = [event for event in read_events(run) if isinstance(event, Warned) and event.reason == "loss-flat"]
    assert len(said) == 1 and said[0].facts["n_steps"] == 36
    assert "36 steps" in describe(said[0].reason, said[0].facts).title


def test_a_loss_that_falls_is_left_alone() -> None:
    noise = np.random.default_rng(0)
    watch = Watch(1000)
    losses = 0.7 - 0.1 * np.linspace(0, 1, 100) + noise.normal(0, 0.05, 100)
    assert [watch.look(loss, 1.0, False) for loss in losses] == [None] * 100 and watch.is_over
    flat = Watch(1000)
    said = [flat.look(loss, 1.0, False) for loss in 0.7 + noise.normal(0, 0.05, 100)]
    assert [p.reason for p in said if p] == ["loss-flat"] and said[99] is not None
    one_step = Watch(1)
    assert one_step.look(0.7, 0.5, False) is None and one_step.is_over
