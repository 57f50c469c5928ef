"""A sentence watched while a model learns: the training is the same bit for bit, what is kept is the model's own."""

import contextlib
import functools
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from studio.attention import checks, maps, timeline
from studio.attention.qk import Layers
from studio.core import commands
from studio.core import events as ev
from studio.core.files import read_json
from studio.core.replay import read_state
from studio.core.rundir import RunDir, change_training
from studio.core.state import RunState
from studio.engine import sentence
from studio.engine.reporter import Reporter
from studio.engine.trunk import Trunk
from tests.in_process import execute, go_on

TEXT = "the apple is red and the river runs cold"
STEPS = list(range(0, 51, 5))
LORA = {"method": {"kind": "lora", "r": 4, "lora_dropout": 0.1}, "learning_rate": 6e-3}
CASES = {  # the ways to train that a capture could disturb, or that could stand in its way
    "full": {"method": "full", "precision": "bf16"},
    "lora": LORA | {"precision": "bf16"},
    "plain layers": LORA | {"kernels": "plain", "load_best_model_at_end": False},
    "frozen once": {"method": {"kind": "freeze", "layers": 1}, "precision": "bf16"},
}


@pytest.fixture(scope="module")
def fifty(make_spec: Callable[..., dict]) -> Callable[..., dict]:
    """A function that returns a training of fifty steps with dropout: five epochs of ten, from 80 rows."""

    def make(case: str, **training: object) -> dict:
        settings = dict(CASES[case])
        method = settings.pop("method")
        spec = make_spec(**{"num_train_epochs": 5, "evaluations_per_epoch": 1} | settings | training)
        spec["data"] |= {"validation": 0.2, "test": 0.13}
        return spec | {"method": method}

    return make


def watched(**training: object) -> dict:
    return {"probe_text": TEXT, "probe_every": 5} | training


def losses(run: RunDir) -> list[float]:
    return read_state(run).series["train", "loss"].y.tolist()


def unwatched(state: RunState) -> list[str]:
    return [problem.facts["why"] for problem in state.warnings if problem.reason == "sentence-unwatched"]


@pytest.fixture(scope="module")
def plain(fifty: Callable[..., dict], tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], list[float]]:
    """A function that returns the losses of a case in which nothing is watched."""
    return functools.cache(lambda case: losses(execute(tmp_path_factory.mktemp("plain"), fifty(case))[0]))


@pytest.fixture(scope="module")
def seen(
    fifty: Callable[..., dict], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], tuple[RunDir, RunState]]:
    """A function that returns a case's training in which the sentence is watched every five steps."""
    return functools.cache(lambda case: execute(tmp_path_factory.mktemp("seen"), fifty(case, **watched())))


@pytest.mark.parametrize("case", CASES)
def test_training_is_the_same_bit_for_bit(seen: Callable, plain: Callable, case: str) -> None:
    run, state = seen(case)
    assert state.state == "finished", state.problem
    assert losses(run) == plain(case) and len(set(losses(run))) == 50
    assert timeline.steps(run.path) == STEPS and not unwatched(state)
    assert [(w.step, w.path, w.verified) for w in state.watched] == [(n, f"timeline/{n}", True) for n in STEPS]
    first, last = (timeline.load(run.path, step) for step in (0, 50))
    assert last.maps["attention"].shape == (2, 4, 11, 11) and last.checks["verified"]
    assert last.facts["labels"] == ["fruit", "metal", "water"] and last.facts["step"] == 50
    assert last.facts["text"] == TEXT and sum(last.facts["probabilities"]) == pytest.approx(1, abs=1e-5)
    assert first.facts["probabilities"] != last.facts["probabilities"]
    changes = maps.js_divergence(first.maps["attention"], last.maps["attention"]).max(axis=1)
    n_frozen = 1 if case == "frozen once" else 0
    assert (changes[:n_frozen] == 0).all() and (changes[n_frozen:] > 1e-6).all(), "the model that learns, at work"
    if n_frozen:
        assert read_json(run.resolved_file)["picked"]["frozen_output"]["value"] == "once"
    assert not list((run.path / "timeline").glob(".*"))


def test_capture_that_draws_a_random_number_is_another_training(
    workspace: Path, fifty: Callable[..., dict], plain: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    capture = sentence.attention.capture
    monkeypatch.setattr(sentence.attention, "capture", lambda *a, **k: (capture(*a, **k), torch.rand(1))[0])
    run, _ = execute(workspace, fifty("full", **watched()))
    assert losses(run) != plain("full") and timeline.steps(run.path) == STEPS


def test_frozen_layers_that_are_away_are_missed_and_never_end_a_training(
    workspace: Path, fifty: Callable[..., dict], plain: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Trunk, "whole", lambda self: contextlib.nullcontext())
    run, state = execute(workspace, fifty("frozen once", **watched()))
    assert state.state == "finished" and losses(run) == plain("frozen once")
    assert len(unwatched(state)) == 1 and not timeline.steps(run.path) and not state.watched


def test_kept_is_what_the_trained_model_does(seen: Callable, tiny_model: Path) -> None:
    """Loaded again without the engine: the last capture, in fp32, is that of the model which was kept."""
    import transformers
    from peft import PeftModel

    run, _ = seen("plain layers")
    last = timeline.load(run.path, 50)
    base = transformers.BertForSequenceClassification.from_pretrained(
        tiny_model, num_labels=3, attn_implementation="eager"
    )
    model = PeftModel.from_pretrained(base, run.model_dir).eval()
    inputs = {"input_ids": torch.tensor([last.facts["ids"]])}
    with torch.inference_mode():
        out = model(**inputs, output_attentions=True)
    np.testing.assert_allclose(last.maps["attention"], torch.cat(out.attentions), atol=1e-5)
    np.testing.assert_allclose(last.facts["probabilities"], out.logits[0].softmax(-1), atol=1e-5)


def test_resume_goes_on_and_takes_stale_captures_again(
    workspace: Path, fifty: Callable[..., dict], seen: Callable
) -> None:
    def stop(report: Reporter, event: ev.Event) -> None:
        if isinstance(event, ev.Metrics) and event.split == "train" and event.step == 27:
            report.obey(commands.Stop())

    run, state = execute(workspace, fifty("full", **watched()), stop)
    assert state.state == "stopped" and timeline.steps(run.path) == STEPS[:6] == [w.step for w in state.watched]
    for step, folder in run.checkpoints().items():
        if step > 20:  # a worker that was killed on the way to its next checkpoint
            shutil.rmtree(folder)
    folder = run.path / "timeline"
    shutil.rmtree(folder / "25")
    shutil.copytree(folder / "5", folder / "25")  # as if another training had been there
    shutil.copytree(folder / "5", folder / "47")
    (folder / ".partial").mkdir()
    kept = {step: (folder / str(step) / "checks.json").stat().st_mtime_ns for step in STEPS[:5]}
    told: list[int] = []
    state = go_on(run, lambda report, event: isinstance(event, ev.Watched) and told.append(event.step))
    assert state.state == "finished" and timeline.steps(run.path) == STEPS == [w.step for w in state.watched]
    assert told == STEPS[5:], "each once"
    assert {step: (folder / str(step) / "checks.json").stat().st_mtime_ns for step in kept} == kept
    straight, _ = seen("full")
    for step in STEPS:
        ours, theirs = (timeline.load(path, step) for path in (run.path, straight.path))
        np.testing.assert_array_equal(ours.maps["attention"], theirs.maps["attention"])
        assert ours.facts == theirs.facts and ours.checks == theirs.checks


def test_capture_that_can_not_be_removed_is_out_of_the_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = timeline.directory(tmp_path, 5)

    def refuse(folder: Path, ignore_errors: bool = False) -> None:
        if not ignore_errors:
            raise PermissionError  # of a file that is mapped, on Windows
        (folder / "checks.json").unlink(missing_ok=True)

    monkeypatch.setattr(sentence.shutil, "rmtree", refuse)
    for _ in range(2):  # the second time what lies aside already is in the way of it
        place.mkdir(parents=True, exist_ok=True)
        for name in ("checks.json", "mapped.npy"):
            (place / name).write_bytes(b"")
        sentence._remove(place)
    assert timeline.steps(tmp_path) == []


def test_another_sentence_begins_anew(workspace: Path, fifty: Callable[..., dict]) -> None:
    def stop(report: Reporter, event: ev.Event) -> None:
        if isinstance(event, ev.Metrics) and event.split == "train" and event.step == 12:
            report.obey(commands.Stop())

    run, _ = execute(workspace, fifty("full", **watched()), stop)
    change_training(run, {"probe_text": "rain fell on the lake", "probe_every": "auto", "num_train_epochs": 6})
    assert go_on(run).state == "finished"
    found = timeline.steps(run.path)
    assert min(found) >= 12 and found[-1] == 60 and set(np.diff(found)) == {2}, "sixty steps, about thirty captures"
    assert {timeline.text_of(run.path, step) for step in found} == {"rain fell on the lake"}
    assert read_json(run.resolved_file)["picked"]["probe_every"]["value"] == 2


LONG = " ".join(["rain fell on the lake"] * 11)


@pytest.mark.parametrize("budget", [600_000, 150_000, 4000])
def test_disk_budget_is_kept(
    workspace: Path, fifty: Callable[..., dict], plain: Callable, monkeypatch: pytest.MonkeyPatch, budget: int
) -> None:  # fmt: skip
    monkeypatch.setattr(sentence, "BUDGET_BYTES", budget)  # 11 full maps of 57 tokens take 1.1 MB
    run, state = execute(workspace, fifty("full", **watched(probe_text=LONG)))
    assert state.state == "finished" and losses(run) == plain("full")
    used = sum(file.stat().st_size for file in run.path.glob("timeline/*/*"))
    found = timeline.steps(run.path)
    assert used <= budget
    if budget == 4000:
        assert len(unwatched(state)) == 1 and "MB are allowed" in unwatched(state)[0] and not found
        return
    assert isinstance(timeline.load(run.path, 50).maps["attention"], Layers) and not unwatched(state)
    assert all(watched.verified for watched in state.watched)
    picked = read_json(run.resolved_file)["picked"]["probe_every"]
    if budget == 600_000:
        assert found == STEPS and picked == {"value": 5, "why": "as you asked"}
    else:
        assert 2 <= len(found) < 11 and used > budget / 3 and found[0] == 0 and found[-1] == 50
        assert picked["value"] % 5 == 0 and picked["value"] > 5 and "more than" in picked["why"]


@pytest.mark.parametrize("text", ["apple " * 70, "   "])
def test_sentence_that_can_not_be_watched_is_said_once(
    workspace: Path, fifty: Callable[..., dict], text: str
) -> None:  # fmt: skip
    run, state = execute(workspace, fifty("full", **watched(probe_text=text, num_train_epochs=1)))
    assert state.state == "finished" and len(losses(run)) == 10 and len(unwatched(state)) == 1
    assert ("tokens" if text.strip() else "no text") in unwatched(state)[0] and not (run.path / "timeline").exists()


def test_capture_that_fails_its_checks_is_no_fact(
    workspace: Path, fifty: Callable[..., dict], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checks, "HALF_ROW_SUM_BOUND", -1.0)
    run, state = execute(workspace, fifty("full", **watched(num_train_epochs=1)))
    assert [(w.step, w.verified) for w in state.watched] == [(0, False), (5, False), (10, False)]
    line = timeline.Timeline(run.path)
    assert line.update() and not line.verified.any()
    assert np.isnan(line.lines("entropy")).all() and np.isnan(line.probabilities).all()


def test_timeline_is_read_once_and_follows_what_changes(
    seen: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Path(shutil.copytree(seen("full")[0].path, tmp_path / "run"))
    read: list[str] = []
    load = maps.load
    monkeypatch.setattr(maps, "load", lambda folder: (read.append(folder.name), load(folder))[1])
    line = timeline.Timeline(run)
    assert line.steps == [] and line.kinds == [] and line.probabilities is None
    assert line.update(most=4) and line.steps == STEPS[:4]
    assert line.update() and line.steps == STEPS and line.verified.all() and line.kinds == ["attention"]
    assert not line.update() and read == [str(step) for step in STEPS], "each once"
    for name in timeline.STATISTICS:
        expected = [maps.head_statistics(timeline.load(run, step).maps["attention"])[name] for step in STEPS]
        assert line.lines(name).shape == (11, 2, 4)
        np.testing.assert_allclose(line.lines(name), np.stack(expected), rtol=1e-6)
        assert line.lines(name).std(axis=0).min() > 0, "a line that does not move shows nothing"
    assert line.probabilities.shape == (11, 3)
    before = line.lines("entropy")
    read.clear()
    shutil.rmtree(run / "timeline" / "50")
    shutil.rmtree(run / "timeline" / "45")
    shutil.copytree(run / "timeline" / "5", run / "timeline" / "45", copy_function=shutil.copy)
    (run / "timeline" / "40" / "attention.npz").write_bytes(b"PK")
    (run / "timeline" / "40" / "checks.json").touch()
    assert line.update() and sorted(read) == ["40", "45"]
    assert line.steps == [*STEPS[:8], 45], "the last is gone, and the damaged one is not shown"
    np.testing.assert_array_equal(line.lines("entropy")[-1], before[1])
    with pytest.raises(KeyError):
        line.lines("entropy", "cross")


def test_run_without_a_sentence_is_as_it_was(workspace: Path, fifty: Callable[..., dict], seen: Callable) -> None:
    from studio.takeaway.script import script_of

    run, state = execute(workspace, fifty("full", num_train_epochs=1))
    assert not (run.path / "timeline").exists() and not state.watched
    text = run.spec_file.read_text() + run.resolved_file.read_text() + run.events_file.read_text()
    assert "probe_" not in text and "watched" not in text
    assert "sentence that was watched" not in script_of(run)
    other, _ = seen("full")
    asked = json.loads(other.spec_file.read_text())["training"]
    assert (asked["probe_text"], asked["probe_every"]) == (TEXT, 5) and other.spec().training.probe_every == 5
    script = script_of(other)
    assert "the sentence that was watched" in script.split('"""')[1] and TEXT not in script
