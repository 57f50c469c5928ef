"""Probes of the tiny model: what they say is what a training then takes, and nothing of them stays."""

import random
from pathlib import Path

import numpy as np
import pytest
import torch

from studio import supervisor
from studio.core import events as ev
from studio.core.replay import read_end
from studio.core.rundir import PROBES, RunDir, create_run, list_runs, read_events
from studio.core.spec import ProbeSpec, parse_spec
from studio.core.state import RunState
from tests.in_process import go_on


def probe(workspace: Path, what: str, spec: dict, in_worker: bool = False) -> tuple[RunDir, RunState]:
    run = create_run(workspace, ProbeSpec(what=what, train=parse_spec(spec)), PROBES)
    if not in_worker:
        return run, go_on(run)
    supervisor.start(run)
    supervisor.wait(run, 0.05)
    return run, read_end(run)


@pytest.mark.parametrize("method", ["full", {"kind": "freeze", "layers": 1}, {"kind": "lora", "r": 4}], ids=str)
def test_estimate_says_memory_and_time_and_leaves_nothing(workspace: Path, tiny_spec: dict, method: object) -> None:
    tiny_spec["training"] |= {"gradient_accumulation_steps": 3, "early_stopping_patience": 2}
    in_worker = method == "full"
    run, state = probe(workspace, "estimate", tiny_spec | {"method": method}, in_worker)
    assert state.state == "finished", state.problem
    found = state.estimated
    assert (found.n_train, found.n_validation, found.n_test) == (72, 24, 24)
    assert 200e6 < found.peak_bytes < (2e9 if in_worker else np.inf), "what other tests have left is counted too"
    assert found.precision == "fp32" and found.device in ("cpu", "cuda")
    assert all(seconds >= 0 for seconds in found.pace.values()) and found.pace["batch"] > 0
    # 27 batches in 9 steps, two evaluations and checkpoints an epoch
    least = found.pace["start"] + 27 * found.pace["batch"] + 9 * found.pace["step"]
    assert least < found.seconds < least + 30
    assert not list(run.checkpoints_dir.glob("*")) and not run.model_dir.exists()
    assert not list_runs(workspace), "no list of runs shows it"


def test_sweep_says_its_curve_and_can_be_stopped(workspace: Path, tiny_spec: dict) -> None:
    run, state = probe(workspace, "learning-rate", tiny_spec)
    assert state.state == "finished", state.problem
    found = state.rate_found
    assert len(found.rates) == len(found.losses) >= 16 and np.isfinite(found.losses).all()
    ratios = np.diff(np.log(found.rates))
    assert np.allclose(ratios, ratios[0]), "each rate is the same factor larger"
    told = [e.values["learning_rate"] for e in read_events(run) if isinstance(e, ev.Metrics)]
    assert told[: len(found.rates)] == found.rates, "the curve is drawn while it goes on"
    assert found.suggested is None or found.rates[0] <= found.suggested <= found.rates[-1]
    assert not list(run.checkpoints_dir.glob("*"))


def test_half_the_batch_and_twice_the_accumulation_train_on_the_same_rows(workspace: Path, tiny_spec: dict) -> None:
    from studio.core.estimate import smaller_batch
    from studio.engine import train
    from studio.engine.reporter import Reporter

    orders = []
    for changes in ({}, smaller_batch(parse_spec(tiny_spec).training)):
        tiny_spec["training"] |= changes
        spec = parse_spec(tiny_spec)
        run = create_run(workspace, spec)
        report = Reporter(run)
        trainer = train.build_trainer(run, spec, train.prepare(run, spec, report, is_resume=False), report)
        orders.append(list(trainer._get_train_sampler()))
        report.close()
    assert tiny_spec["training"]["per_device_train_batch_size"] == 4, "of eight"
    assert orders[0] == orders[1] and sorted(orders[0]) == list(range(72))


def test_weights_and_random_state_are_as_before_a_sweep(workspace: Path, tiny_spec: dict) -> None:
    from studio.engine import probe as engine
    from studio.engine import train
    from studio.engine.reporter import Reporter

    spec = parse_spec(tiny_spec)
    run = create_run(workspace, ProbeSpec(what="learning-rate", train=spec), PROBES)
    report = Reporter(run)
    prepared = train.prepare(run, spec, report, is_resume=False)
    trainer = train.build_trainer(run, spec, prepared, report, engine.Trial)
    model = trainer.model
    before = {name: value.clone() for name, value in model.state_dict().items()}
    torch.manual_seed(7), np.random.seed(7), random.seed(7)
    expected = torch.rand(4), np.random.rand(4), random.random()
    torch.manual_seed(7), np.random.seed(7), random.seed(7)
    moved = []
    former = trainer._maybe_log_save_evaluate

    def look(*args: object, **kwargs: object) -> None:
        moved.append(max(float((model.state_dict()[n] - v).abs().max()) for n, v in before.items()))
        former(*args, **kwargs)

    trainer._maybe_log_save_evaluate = look
    found = engine.sweep(trainer, prepared.training, prepared.picks["learning_rate"].value)
    report.close()
    assert max(moved) > 0.01 and len(found.rates) > 10, "it did train"
    assert all(torch.equal(model.state_dict()[name], value) for name, value in before.items())
    assert all(p.grad is None for p in model.parameters()) and trainer.optimizer is None
    assert torch.equal(torch.rand(4), expected[0]) and (np.random.rand(4) == expected[1]).all()
    assert random.random() == expected[2]
