"""Every task trains, stops, resumes exactly, evaluates, predicts and exports; with models of several architectures."""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from studio.attention import maps, timeline
from studio.core import commands
from studio.core import events as ev
from studio.core.anatomy import can_be, describe_model
from studio.core.files import read_json
from studio.core.registry import family
from studio.core.replay import read_state
from studio.core.rundir import RunDir
from studio.core.state import RunState
from studio.engine.reporter import Reporter
from studio.takeaway.script import save_script
from tests.in_process import execute, go_on
from tests.takeaway.test_script import distance
from tests.takeaway.test_script import losses as script_losses
from tests.tasks.conftest import CASES, FAMILIES, read_lines

Make = Callable[..., dict]
OTHERS = [name for name in FAMILIES if name != "bert"]
WITH_TIES = ("question-answering", "masked-lm")
WATCHED = "Anna went to the old town"


def losses(run: RunDir) -> dict[int, float]:
    series = read_state(run).series["train", "loss"]
    return dict(zip(series.x.astype(int).tolist(), series.y.tolist(), strict=True))


def largest_difference(straight: RunDir, resumed: RunDir) -> float:
    """Return by how much the losses of two trainings differ at most; they must have the same steps."""
    before, after = losses(straight), losses(resumed)
    assert before.keys() == after.keys()
    return max(abs(before[step] - after[step]) for step in before)


def stop_at(step: int) -> Callable[[Reporter, ev.Event], None]:
    """Return what hears a training's events and stops it behind a step."""

    def hear(report: Reporter, event: ev.Event) -> None:
        if isinstance(event, ev.Metrics) and event.split == "train" and event.step == step:
            report.obey(commands.Stop())

    return hear


def assert_export_is_verified(run: RunDir, format_: str, out: Path) -> None:
    """Export and look at the verdict.

    So short a training leaves near ties among many answers, and which ones hangs on what the machine was found to do
    best; 8 bits may turn some. Then the answers are the only thing that verification may refuse, and few of them.
    """
    spec = {"kind": "export", "run": str(run.path), "format": format_, "out": str(out)}
    _, state = execute(run.path.parent.parent, spec)
    if format_ == "onnx-int8" and run.spec().task.kind in WITH_TIES and state.state == "failed":
        assert state.problem.reason == "export-unverified" and not out.exists()
        turned = re.fullmatch(r"Only (9\d\.\d)% of the rows get the answer [^.]*\.", state.problem.facts["problems"])
        assert turned, state.problem
        return
    assert state.state == "finished", state.problem
    result = state.result
    assert result["verified"] and result["metric_name"] and result["prediction_agreement"] >= 0.9


def is_watched(run: RunDir, state: RunState) -> None:
    """Assert that the sentence was captured about thirty times, and that each capture is the model's own attention."""
    found, every = timeline.steps(run.path), state.picked["probe_every"].value
    assert found == sorted({*range(0, state.total_steps + 1, every), state.total_steps}) and 15 < len(found) < 33
    assert [w.step for w in state.watched if w.verified] == found
    assert timeline.load(run.path, found[-1]).maps["attention"].shape[:2] == (2, 4)


def predicted(workspace: Path, run: RunDir, task: str) -> list[dict]:
    name, text = CASES[task].UNLABELLED
    (workspace / name).write_text(text, encoding="utf-8")
    out = workspace / "predicted.jsonl"
    spec = {"kind": "predict", "run": str(run.path), "data": str(workspace / name), "out": str(out)}
    _, state = execute(workspace, spec)
    assert state.state == "finished", state.problem
    return read_lines(out)


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory, make_spec: Make) -> Callable[[str], tuple[RunDir, object]]:
    """A function that returns a task's training with the tiny BERT that went straight to its end; done once."""
    done: dict[str, tuple[RunDir, object]] = {}

    def train(task: str) -> tuple[RunDir, object]:
        if task not in done:
            done[task] = execute(tmp_path_factory.mktemp(task), make_spec(task, evaluations_per_epoch=1))
        return done[task]

    return train


@pytest.mark.parametrize("task", CASES)
def test_task_learns_and_trains_what_the_window_said(task: str, straight: Callable, tiny: Callable) -> None:
    from studio.core.anatomy import describe_model
    from studio.core.registry import plugin
    from studio.tasks.base import task_of

    run, state = straight(task)
    assert state.state == "finished", state.problem
    found = list(losses(run).values())
    assert np.mean(found[-5:]) < 0.75 * np.mean(found[:5])
    spec, main = run.spec(), task_of(run.spec().task).main_metric
    metrics = state.result["metrics"]
    sign = 1 if task_of(spec.task).greater_is_better else -1
    assert sign * metrics["test"][main] > sign * CASES[task].LEAST
    assert metrics["validation"].keys() == metrics["test"].keys()
    labels = read_json(run.resolved_file)["labels"]
    tensors = task_of(spec.task).tensors(describe_model(str(tiny("bert"))), labels)
    pieces = plugin("methods", spec.method).n_trainable(tensors, spec.method)
    assert state.model.n_trainable == sum(n for _, n in pieces) == state.model.n_parameters


@pytest.mark.parametrize("task", CASES)
def test_stopped_training_goes_on_exactly(task: str, straight: Callable, make_spec: Make, workspace: Path) -> None:
    # Watching a sentence changes nothing, and a stop nothing in the watching.
    run, state = execute(workspace, make_spec(task, evaluations_per_epoch=1, probe_text=WATCHED), stop_at(20))
    assert state.state == "stopped" and max(losses(run)) < max(losses(straight(task)[0]))
    state = go_on(run)
    assert state.state == "finished"
    is_watched(run, state)
    assert largest_difference(straight(task)[0], run) <= 1e-6


@pytest.mark.parametrize("task", CASES)
def test_evaluation_finds_what_the_training_measured_and_a_file_is_predicted(
    task: str, straight: Callable, workspace: Path
) -> None:
    run, state = straight(task)
    other = run.path.parent.parent
    _, measured = execute(other, {"kind": "evaluate", "run": str(run.path), "split": "test"})
    assert measured.state == "finished", measured.problem
    for name, value in state.result["metrics"]["test"].items():
        assert measured.result["metrics"][name] == pytest.approx(value, abs=1e-6)
    if task == "question-answering":
        assert read_json(run.resolved_file)["task"]["null_threshold"] != "auto", "found on the validation rows"
    rows = predicted(workspace, run, task)
    assert all("predicted" in row for row in rows) and len(rows) == CASES[task].UNLABELLED[1].count("\n") - 1


@pytest.mark.parametrize("task", CASES)
@pytest.mark.parametrize("architecture", OTHERS)
def test_other_architectures_do_all_of_it(
    task: str, architecture: str, make_spec: Make, workspace: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """Each task and each architecture at least once from end to end; `--every-pair` does that for all of them."""
    spec = make_spec(task, architecture, evaluations_per_epoch=1, num_train_epochs=6, probe_text=WATCHED)
    whole, state = execute(workspace, spec)
    if not can_be(describe_model(spec["model"]), family("tasks")[task].auto_class):
        assert (state.problem.reason, state.problem.field) == ("model-unsupported", "model")
        assert (architecture, task) in (("llama", "multiple-choice"), ("llama", "masked-lm"))
        return
    assert state.state == "finished", state.problem
    is_watched(whole, state)
    found = list(losses(whole).values())
    assert np.mean(found[-5:]) < 0.9 * np.mean(found[:5])
    assert len(predicted(workspace, whole, task)) >= 1
    is_on_diagonal = (list(CASES).index(task) + OTHERS.index(architecture)) % len(OTHERS) == 0
    if not is_on_diagonal and not request.config.getoption("--every-pair"):
        return

    run, stopped = execute(workspace, spec, stop_at(20))
    assert stopped.state == "stopped" and go_on(run).state == "finished"
    assert largest_difference(whole, run) <= 1e-6

    _, measured = execute(workspace, {"kind": "evaluate", "run": str(whole.path), "split": "test"})
    assert measured.result["metrics"] == pytest.approx(state.result["metrics"]["test"] | measured.result["metrics"])
    assert_export_is_verified(whole, "onnx" if task in WITH_TIES else "onnx-int8", tmp_path / "out")


@pytest.mark.parametrize("task", CASES)
@pytest.mark.parametrize(
    "method", [{"kind": "full"}, {"kind": "lora"}, {"kind": "freeze", "layers": 1}], ids=lambda method: method["kind"]
)
def test_every_task_and_method_is_looked_into_before_and_after(
    task: str, method: dict, make_spec: Make, workspace: Path
) -> None:
    run, state = execute(workspace, make_spec(task, num_train_epochs=1) | {"method": method})
    assert state.state == "finished", state.problem
    _, state = execute(workspace, {"kind": "inspect", "run": str(run.path), "text": WATCHED})
    assert state.state == "finished", state.problem
    (answer,) = state.explained.values()
    before, after = (maps.load(Path(answer.directories[name])) for name in ("before", "after"))
    assert before.checks["verified"] and after.checks["verified"]
    change = maps.js_divergence(before.maps["attention"], after.maps["attention"])
    assert (change[-1] > 0).any() and ("layers" not in method or not change[0].any()), "what was frozen did not change"


@pytest.mark.parametrize("task", CASES)
def test_script_trains_as_the_run_did(task: str, straight: Callable, tmp_path: Path) -> None:
    run, state = straight(task)
    save_script(run, tmp_path / "script.py")
    assert distance(state, script_losses(tmp_path / "script.py", tmp_path / "out")) <= 1e-4


@pytest.mark.parametrize("task", CASES)
@pytest.mark.parametrize("format_", ["safetensors", "onnx-int8"])
def test_export_is_verified(task: str, format_: str, straight: Callable, tmp_path: Path) -> None:
    assert_export_is_verified(straight(task)[0], format_, tmp_path / "out")
