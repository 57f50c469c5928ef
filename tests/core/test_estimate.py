"""The estimate by formula, and what the range test of learning rates makes of a curve."""

import numpy as np
import pytest

from studio.core.anatomy import Tensor
from studio.core.estimate import (
    Job,
    Machine,
    Pace,
    disk_bytes,
    estimate,
    finish_seconds,
    fit,
    make_fit,
    memory_bytes,
    padded_batches,
    smaller_batch,
    steps_per_epoch,
)
from studio.core.rates import has_diverged, smooth_losses, suggest, sweep_rates
from studio.core.spec import TrainingSpec

BIG = Machine(1 << 40, 1 << 40, "bf16")


def job(method: str = "full", **training: object) -> Job:
    """A model of four layers (1.77 M parameters each) and a table of 4 M, on 1,000 rows of 10 to 109 tokens."""
    tensors = [Tensor("embeddings.word.weight", (10_000, 400), "embeddings", None)]
    for layer in range(4):
        tensors += [Tensor(f"layer.{layer}.{part}", (400, 400), part, layer) for part in ("query", "key", "value")]
        tensors += [Tensor(f"layer.{layer}.{n}", shape, "feed-forward", layer) for n, shape in
                    (("up", (1600, 400)), ("down", (400, 1600)))]  # fmt: skip
    head = Tensor("classifier.weight", (2, 400), "head", None)
    trains = {"full": lambda t: True, "freeze": lambda t: t.layer == 3, "lora": lambda t: False}[method]
    pieces = [(t, t.n_parameters if trains(t) else 0) for t in tensors] + [(head, 800)]
    if method == "lora":
        pieces += [(Tensor(f"layer.{n}.query.weight.lora", (1, 800), "query", n), 800) for n in range(4)]
    lengths = 10 + np.arange(1000) % 100
    return Job(pieces, 8, lengths, (1000, 100, 100), method, TrainingSpec(**training))


def test_steps_and_seconds_add_up_as_the_trainer_counts_them() -> None:
    training = TrainingSpec(num_train_epochs=2.5, per_device_train_batch_size=16, gradient_accumulation_steps=4)
    assert steps_per_epoch(training, 1000) == 16, "63 batches, four a step"
    pace = Pace(batch=1.0, step=0.5, shape=0.25, evaluation_row=0.01, measuring_row=0.1, checkpoint=3.0, start=7.0)
    # 157.5 batches, 40 steps, an evaluation of 100 rows and a checkpoint every 8 steps, 150 rows measured in the end
    expected = 7 + 157.5 + 20 + 4 * 0.25 + 5 * 100 * 0.01 + 5 * 3 + 150 * 0.1
    assert finish_seconds(training, (1000, 100, 50), 4, pace) == pytest.approx(expected)


def test_batches_are_padded_as_the_sampler_makes_them() -> None:
    lengths = np.array([3, 9, 17, 30])
    assert padded_batches(lengths, TrainingSpec(per_device_train_batch_size=2)).tolist() == [32, 16]
    mixed = padded_batches(lengths, TrainingSpec(per_device_train_batch_size=4, group_by_length=False))
    assert mixed.tolist() == [32]


def test_memory_is_what_was_fitted_and_grows_with_what_it_holds() -> None:
    weights, trained = 4 * (4_000_000 + 4 * 1_760_000 + 800), 4_000_000 + 4 * 1_760_000 + 800
    held = weights + 4 * (trained - 4_000_000) + 8 * trained + 2 * 4 * 1_760_000
    # 32 rows of 112 tokens, 2,000 channels wide, 8 heads; four layers
    layer = 32 * 112 * 2000 * 13 + 32 * 8 * 112**2 * 7
    assert memory_bytes(job(), BIG) == pytest.approx(560e6 + held + 4 * layer)
    sizes = {m: memory_bytes(job(m), BIG) for m in ("full", "freeze", "lora")}
    assert sizes["freeze"] < sizes["full"] < sizes["lora"], "adapters keep an input more a layer"
    assert memory_bytes(job(per_device_train_batch_size=64), BIG) > sizes["full"]
    assert memory_bytes(job(precision="fp32"), Machine(0, 0, "fp32")) > sizes["full"]
    assert disk_bytes(job("lora")) == 3 * (12 * 5 * 800 + (2 << 20))
    assert disk_bytes(job()) == 3 * (12 * trained + (2 << 20))
    assert estimate(job(num_train_epochs=6), BIG).seconds > 1.5 * estimate(job(num_train_epochs=3), BIG).seconds


def test_a_training_that_does_not_fit_is_made_to_fit_by_a_smaller_batch() -> None:
    wanted = job(per_device_train_batch_size=256, gradient_accumulation_steps=2)
    assert [fit(n, 100) for n in (80, 81, 101)] == ["fits", "tight", "too-large"]
    machine = Machine(free_memory=int(memory_bytes(wanted, BIG) * 0.5), free_disk=1 << 40, precision="bf16")
    changes = make_fit(wanted, machine)
    assert changes["per_device_train_batch_size"] * changes["gradient_accumulation_steps"] == 512
    assert changes["per_device_train_batch_size"] in (32, 64)
    smaller = job(**changes)
    assert fit(memory_bytes(smaller, machine), machine.free_memory) == "fits"
    assert make_fit(wanted, Machine(300 << 20, 1 << 40, "bf16")) is None, "weights alone are too much"
    assert smaller_batch(TrainingSpec(per_device_train_batch_size=1)) is None
    assert smaller_batch(TrainingSpec(per_device_train_batch_size=18)) == {
        "per_device_train_batch_size": 9, "gradient_accumulation_steps": 2,
    }  # fmt: skip


def test_range_test_finds_the_fall_and_sees_the_end() -> None:
    rates = sweep_rates(1e-3, 100)
    assert rates[0] == pytest.approx(1e-5) and rates[-1] == pytest.approx(1.0)
    x = np.log10(rates)
    clean = 0.7 - 0.3 / (1 + np.exp(-6 * (x + 3))) + 2 / (1 + np.exp(-8 * (x + 0.8)))
    noisy = clean + np.random.default_rng(0).normal(0, 0.03, 100)
    assert 5e-4 <= suggest(rates, smooth_losses(noisy)) <= 2e-3, "it falls fastest at 1e-3"
    assert suggest(rates, smooth_losses(np.full(100, 0.7))) is None
    assert not has_diverged(noisy[:60]) and has_diverged(noisy[:97]) and has_diverged([0.7, float("nan")])
