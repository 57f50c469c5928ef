"""A training learns, stops, resumes exactly, and says why it failed; what a process makes of it, in real workers."""

import functools
import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import psutil
import pytest

from studio import supervisor
from studio.core import commands
from studio.core import events as ev
from studio.core.locks import holder
from studio.core.processes import command, environment
from studio.core.reasons import Failure
from studio.core.registry import family
from studio.core.replay import read_end, read_state
from studio.core.rundir import RunDir, create_run, read_events
from studio.core.spec import parse_spec
from studio.core.state import RunState, read_summary
from studio.engine.evaluate import write_columns
from studio.engine.reporter import Reporter
from tests.in_process import execute, go_on


def follow(run: RunDir) -> RunState:
    supervisor.wait(run, 0.05)
    return read_end(run)


METHODS = {"full": "full", "freeze": {"kind": "freeze", "layers": 1}, "lora": {"kind": "lora", "r": 4}}


@pytest.fixture(scope="module")
def long_spec(make_spec: Callable[..., dict]) -> Callable[[str], dict]:
    """A function that returns a training of 20 epochs of nine steps by a method."""

    def make(method: str) -> dict:
        rate = 6e-3 if method == "lora" else 3e-3  # random weights need more of a push than trained ones
        spec = make_spec(num_train_epochs=20, evaluations_per_epoch=1, learning_rate=rate)
        return spec | {"method": METHODS[method]}

    return make


@pytest.fixture(scope="module")
def straight(
    long_spec: Callable[[str], dict], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], tuple[RunDir, RunState]]:
    """A function that returns a method's training that went straight to its end; each is done once."""
    return functools.cache(lambda method: execute(tmp_path_factory.mktemp("straight"), long_spec(method)))


@pytest.mark.parametrize("method", METHODS)
def test_every_method_learns_and_trains_what_the_window_said(
    straight: Callable[[str], tuple[RunDir, RunState]], tiny_model: Path, method: str
) -> None:
    from studio.core.anatomy import classifier_head, describe_model
    from studio.core.registry import plugin

    run, state = straight(method)
    assert state.state == "finished", state.problem
    assert state.result["metrics"]["test"]["accuracy"] > 0.6, "chance is a third"
    assert state.result["metrics"]["validation"].keys() >= {"loss", "accuracy", "f1_macro"}
    loss = state.series["train", "loss"].y
    assert len(loss) == state.result["steps"] == state.total_steps and loss[-1] < loss[0] / 2
    info, config = describe_model(tiny_model), run.spec().method
    pieces = plugin("methods", config).n_trainable([*info.tensors, *classifier_head(info, 3)], config)
    assert state.model.n_trainable == sum(n for _, n in pieces)
    assert state.model.n_parameters == sum(tensor.n_parameters for tensor, _ in pieces)
    assert read_summary(run).state == "finished" and not run.is_alive()
    assert json.loads(run.resolved_file.read_text())["picked"]["precision"]["why"] == "as you asked"


def test_all_methods_are_covered_above() -> None:
    assert set(family("methods")) == set(METHODS)


def wait_for_step(run: RunDir, step: int) -> None:
    wait_for(run, ev.Metrics, step=step)


def losses(run: RunDir) -> dict[int, float]:
    series = read_state(run).series["train", "loss"]
    return dict(zip(series.x.astype(int).tolist(), series.y.tolist(), strict=True))


def stop_at(step: int) -> Callable[[Reporter, ev.Event], None]:
    """Return what tells a training to stop when it says this step."""

    def hear(report: Reporter, event: ev.Event) -> None:
        if isinstance(event, ev.Metrics) and event.split == "train" and event.step == step:
            report.obey(commands.Stop())

    return hear


def same_losses(straight: RunDir, run: RunDir) -> bool:
    before, after = losses(straight), losses(run)
    return before.keys() == after.keys() and max(abs(before[step] - after[step]) for step in before) <= 1e-6


def same_tokens(straight: RunDir, run: RunDir) -> bool:
    """Whether the tokens of the former attempt count."""
    return np.array_equal(*(read_state(some).series["train", "loss"].on("tokens") for some in (straight, run)))


def checkpoints_measured(workspace: Path, run: RunDir) -> dict[int, dict[str, float]]:
    """Return the metrics of a run's checkpoints by their step."""
    spec = {"kind": "evaluate", "run": str(run.path)}
    return {step: execute(workspace, spec | {"checkpoint": step})[1].result["metrics"] for step in run.checkpoints()}


def test_stopped_run_goes_on_exactly_where_it_ended(
    workspace: Path, long_spec: Callable[[str], dict], straight: Callable[[str], tuple[RunDir, RunState]]
) -> None:
    run, state = execute(workspace, long_spec("full"), stop_at(25))  # in the third of the epochs of nine steps
    assert state.state == "stopped" and 25 <= len(losses(run)) <= 27
    measured = checkpoints_measured(workspace, run)
    kept = execute(workspace, {"kind": "evaluate", "run": str(run.path)})[1].result["metrics"]
    assert len(measured) > 1 and kept in measured.values() and any(each != kept for each in measured.values())
    assert go_on(run).state == "finished"
    _, state = execute(workspace, {"kind": "evaluate", "run": str(run.path), "checkpoint": 25})
    assert (state.problem.reason, state.problem.field) == ("checkpoint-missing", "checkpoint")
    whole, state = straight("full")
    assert same_losses(whole, run) and same_tokens(whole, run)
    counted = state.series["train", "loss"].on("tokens")
    texts = [row.split(",")[0] for row in Path(run.spec().data.train.path).read_text().splitlines()[1:]]
    assert len(set(texts)) > 72 and counted[-1] == counted[8] * 20, "each epoch has the same tokens"
    per_row = counted[8] / 72
    assert per_row == pytest.approx(2 + np.mean([len(text.split()) for text in texts]), rel=0.05), "without padding"


def test_killed_worker_is_replaced_by_one_that_goes_on_exactly(
    workspace: Path, long_spec: Callable[[str], dict], straight: Callable[[str], tuple[RunDir, RunState]]
) -> None:
    run = supervisor.start_new(workspace, parse_spec(long_spec("lora")))
    wait_for_step(run, 25)
    supervisor.kill(run)
    state = follow(run)
    assert state.state == "ended"
    assert state.problem.facts["signal"] == "SIGKILL" or state.problem.reason == "worker-exited"
    assert 25 <= len(losses(run)) < 180
    supervisor.start(run)
    assert follow(run).state == "finished"
    whole, _ = straight("lora")
    assert same_losses(whole, run) and same_tokens(whole, run)


def test_pause_holds_the_model_and_the_clock_and_leaves_the_processor(
    workspace: Path, long_spec: Callable[[str], dict], straight: Callable[[str], tuple[RunDir, RunState]]
) -> None:
    run = supervisor.start_new(workspace, parse_spec(long_spec("full")))
    wait_for_step(run, 15)
    commands.send(run.path, commands.Pause())
    wait_for(run, ev.Paused, paused=True)
    worker = psutil.Process(holder(run.lock_file)["pid"])
    time.sleep(0.5)
    held, worked = worker.memory_info().rss, sum(worker.cpu_times()[:2])
    state = read_state(run)
    assert state.state == "paused" and state.eta_seconds is not None
    time.sleep(2)
    assert sum(worker.cpu_times()[:2]) - worked < 0.5 and worker.memory_info().rss > 0.9 * held
    later = read_state(run)
    assert (later.step, later.eta_seconds) == (state.step, state.eta_seconds)
    commands.send(run.path, commands.Resume())
    state = follow(run)
    assert state.state == "finished" and state.ended - state.started > state.train_seconds + 2.5
    assert same_losses(straight("full")[0], run)


def test_stop_inside_an_evaluation_is_made_up_for(workspace: Path, tiny_spec: dict, tmp_path: Path) -> None:
    rows = Path(tiny_spec["data"]["train"]).read_text().splitlines()
    many = tmp_path / "many.csv"
    many.write_text("\n".join([rows[0], *(f"{row.split(',')[0]} {i},{row.split(',')[1]}" for i in range(10)
                                           for row in rows[1:])]) + "\n")  # fmt: skip
    tiny_spec["data"] |= {"validation": str(many), "test": 0.0}
    tiny_spec["training"] |= {"num_train_epochs": 2, "evaluations_per_epoch": 1}

    def stop(report: Reporter, event: ev.Event) -> None:
        if isinstance(event, ev.Phase) and event.name == "evaluating":
            report.obey(commands.Stop())

    run, state = execute(workspace, tiny_spec, stop)
    step = state.result["steps"]
    assert state.state == "stopped" and state.step == step < state.total_steps
    assert ("validation", "loss") not in state.series, "it was cut short"
    state = go_on(run)
    assert state.state == "finished" and state.series["validation", "loss"].x.tolist() == [step, 2 * step]
    straight, _ = execute(workspace, tiny_spec)
    assert same_losses(straight, run)


def test_save_and_evaluate_are_done_when_they_are_asked_for(workspace: Path, tiny_spec: dict) -> None:
    tiny_spec["training"] |= {"num_train_epochs": 60, "evaluations_per_epoch": 1, "per_device_train_batch_size": 1}
    run = supervisor.start_new(workspace, parse_spec(tiny_spec))
    wait_for_step(run, 5)
    commands.send(run.path, commands.Save())
    wait_for(run, ev.Checkpoint)
    commands.send(run.path, commands.Evaluate())
    wait_for_step(run, 200)
    supervisor.stop(run)
    state = follow(run)
    assert state.state == "stopped"
    measured = {step for step in state.series["validation", "loss"].x if step % 72}  # epochs of 72 steps
    saved = {checkpoint.step for checkpoint in state.checkpoints if checkpoint.step % 72}
    assert len(measured) == 1 and measured < saved, "a save for itself, and one with the measuring"


def wait_for(run: RunDir, kind: type, **values: object) -> None:
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline:
        if any(isinstance(e, kind) and all(getattr(e, k) == v for k, v in values.items()) for e in read_events(run)):
            return
        time.sleep(0.02)
    raise AssertionError(f"{kind.__name__} never came; {run.log_tail()}")


def test_killed_window_leaves_a_worker_that_ends_well_and_is_not_joined_by_another(
    workspace: Path, tiny_spec: dict
) -> None:
    import subprocess

    from studio.worker import main

    tiny_spec["training"] |= {"num_train_epochs": 20}
    run = create_run(workspace, parse_spec(tiny_spec))
    code = f"from pathlib import Path; from studio.core.rundir import RunDir; from studio import supervisor\n\
run = RunDir(Path({str(run.path)!r})); supervisor.start(run)\nfor _ in supervisor.follow(run): pass"
    parent = subprocess.Popen([*command()[:2], "-c", code], env=environment())
    wait_for_step(run, 1)
    parent.kill()
    parent.wait()
    assert run.is_alive() and main(str(run.path)) == 3
    state = follow(run)
    assert state.state == "finished" and len(state.series["train", "loss"]) == state.total_steps


@pytest.mark.parametrize(
    ("reason", "field"),
    [
        ("column-missing", "columns.text"),
        ("model-no-safetensors", "model"),
        ("model-corrupt", "model"),
        ("model-custom-code", "model"),
        ("model-unsupported", "model"),
        ("one-class", "columns.label"),
        ("data-missing", "data.train"),
        ("loss-not-finite", "training.learning_rate"),
    ],
)
def test_what_can_not_work_is_said_at_its_field(
    workspace: Path, tmp_path: Path, tiny_spec: dict, reason: str, field: str
) -> None:
    folder = Path(shutil.copytree(tiny_spec["model"], tmp_path / "model"))
    spec = tiny_spec | {"model": str(folder)}
    config = json.loads((folder / "config.json").read_text())
    weights = folder / "model.safetensors"
    if reason == "column-missing":
        spec["columns"] = {"text": "body", "label": "label"}
    elif reason == "model-no-safetensors":
        weights.rename(folder / "pytorch_model.bin")
    elif reason == "model-corrupt":
        weights.write_bytes(weights.read_bytes()[:-100])
    elif reason == "model-custom-code":
        (folder / "config.json").write_text(json.dumps(config | {"auto_map": {"AutoModel": "modeling_evil.Evil"}}))
    elif reason == "model-unsupported":
        (folder / "config.json").write_text(json.dumps(config | {"model_type": "vit"}))
    elif reason == "one-class":
        (tmp_path / "one.csv").write_text("text,label\n" + "".join(f"text {i},same\n" for i in range(30)))
        spec["data"] = {"train": str(tmp_path / "one.csv")}
    elif reason == "data-missing":
        spec["data"] = {"train": str(tmp_path / "nowhere.csv")}
    elif reason == "loss-not-finite":
        from safetensors.numpy import load_file, save_file

        tensors = {name: value.copy() for name, value in load_file(weights).items()}
        next(iter(tensors.values()))[...] = np.nan
        save_file(tensors, weights, metadata={"format": "pt"})
    run, state = execute(workspace, spec)
    assert state.state == "failed"
    assert (state.problem.reason, state.problem.field) == (reason, field)
    assert read_summary(run).state == "failed"
    if reason == "loss-not-finite":
        assert np.isnan(state.series["train", "loss"].y).any(), "the curve shows it too"
        rows = [int(n) for n in state.problem.facts["rows"].split(", ")]
        split = json.loads(run.resolved_file.read_text())["split"]["train"]
        assert len(rows) == 8 and {n - 1 for n in rows} <= set(split)


def test_split_is_stratified_repeatable_and_keeps_copies_together(tiny_csv: Path) -> None:
    from collections import Counter

    import pyarrow as pa

    from studio.core.spec import DataSpec
    from studio.engine.data import split_rows
    from studio.sources.texts import Texts
    from studio.tasks.base import Rows

    labels = ["a"] * 60 + ["b"] * 30 + ["rare"]
    texts = [f"text {i}" for i in range(len(labels))]
    texts[1] = texts[2] = texts[0]
    rows = Rows({"text": Texts(pa.chunked_array([texts]))}, labels, list(range(len(labels))))
    task = family("tasks")["text-classification"]
    spec = DataSpec(train=str(tiny_csv), validation=0.2, test=0.2)

    def places(parts: dict[str, Rows]) -> list[list[int]]:
        return [part.indices for part in parts.values()]

    parts = split_rows(task, rows, spec)
    assert all(list(part.fields["text"]) == [texts[i] for i in part.indices] for part in parts.values())
    assert places(parts) == places(split_rows(task, rows, spec))
    assert places(parts) != places(split_rows(task, rows, spec.model_copy(update={"seed": 7})))
    assert sorted(i for part in parts.values() for i in part.indices) == rows.indices
    assert len({name for name, part in parts.items() for text in part.fields["text"] if text == texts[0]}) == 1
    assert "rare" in parts["train"].gold
    counts = Counter(parts["test"].gold)
    assert counts["a"] == pytest.approx(2 * counts["b"], abs=2)
    with pytest.raises(Failure) as caught:
        split_rows(task, rows, spec.model_copy(update={"test": 0.001}))
    assert caught.value.problem.field == "data.test"


def test_order_of_rows_depends_on_seed_and_epoch_alone() -> None:
    from studio.engine.own_trainer import LengthGroupedSampler

    lengths = np.random.default_rng(0).integers(3, 60, 1001).tolist()
    sampler = LengthGroupedSampler(lengths, 16, seed=1)
    first = list(sampler)
    np.random.default_rng().random(3)
    assert first == list(LengthGroupedSampler(lengths, 16, seed=1))
    assert sorted(first) == list(range(1001))
    sampler.set_epoch(1)
    assert first != list(sampler)
    spreads = [np.ptp([lengths[i] for i in first[s : s + 16]]) for s in range(0, 992, 16)]
    assert np.mean(spreads) < 5, "batches hold texts of like length"


def test_what_changed_since_the_training_is_refused(workspace: Path, tmp_path: Path, tiny_spec: dict) -> None:
    tiny_spec["training"]["num_train_epochs"] = 1
    data = tmp_path / "rows.csv"
    shutil.copy(tiny_spec["data"]["train"], data)
    tiny_spec["data"]["train"] = str(data)
    run, state = execute(workspace, tiny_spec)
    assert state.state == "finished"
    data.write_text(data.read_text() + "one more row,fruit\n")
    _, state = execute(workspace, {"kind": "evaluate", "run": str(run.path)})
    assert (state.state, state.problem.reason) == ("failed", "data-changed")


def test_predictions_never_replace_the_rows_they_are_made_from(
    workspace: Path, tmp_path: Path, straight: Callable[[str], tuple[RunDir, RunState]]
) -> None:
    mine = tmp_path / "mine.csv"
    mine.write_text("text,label\nthe sea was calm,water\n")
    before, spec = mine.read_bytes(), {"kind": "predict", "run": str(straight("full")[0].path), "data": str(mine)}
    _, state = execute(workspace, spec | {"out": str(tmp_path / "out.csv")})
    assert state.state == "finished" and (tmp_path / "out.csv").is_file()
    _, state = execute(workspace, spec | {"out": str(mine)})
    assert state.state == "failed" and mine.read_bytes() == before, state.problem


def test_a_file_that_can_not_be_written_is_refused_at_its_field_and_leaves_nothing(
    workspace: Path, tmp_path: Path, tiny_spec: dict, straight: Callable[[str], tuple[RunDir, RunState]]
) -> None:
    spec = {"kind": "predict", "run": str(straight("full")[0].path), "data": tiny_spec["data"]["train"]}
    folder, file = tmp_path / "folder.csv", tmp_path / "file"
    folder.mkdir()
    file.write_text("mine")
    outs = {folder: "out-unwritable", file / "a.csv": "out-unwritable", tmp_path / "a.xlsx": "out-format"}
    for out, reason in outs.items():
        run, state = execute(workspace, spec | {"out": str(out)})
        assert (state.problem.reason, state.problem.field) == (reason, "out")
        phases = [e.name for e in read_events(run) if isinstance(e, ev.Phase)]
        assert "model" not in phases, "it is told before the work"
    with pytest.raises(OSError):
        write_columns({"a": [1]}, folder)
    assert not list(folder.iterdir())
    assert not list(tmp_path.glob(".*.partial")) and file.read_text() == "mine"
    _, state = execute(workspace, spec | {"out": str(tmp_path / "A.CSV")})
    assert state.state == "finished" and (tmp_path / "A.CSV").read_bytes().startswith(b'"')


def test_files_of_their_own_are_checked_like_the_rest(workspace: Path, tmp_path: Path, tiny_spec: dict) -> None:
    train = Path(tiny_spec["data"]["train"])
    other = tmp_path / "validation.csv"
    other.write_text("\n".join(train.read_text().splitlines()[:20]) + "\n,fruit\n")
    tiny_spec["data"] |= {"validation": str(other), "test": 0.0}
    run, state = execute(workspace, tiny_spec)
    assert state.state == "finished" and state.data.n_validation == 19
    told = {problem.reason: problem.facts for problem in state.warnings}
    assert told["shared-rows"]["n_rows"] > 0 and told["rows-left-out"]["n_rows"] == 1
    _, state = execute(workspace, {"kind": "evaluate", "run": str(run.path)})
    assert state.problem.reason == "split-empty", "the run has no test part"
    other.write_text("text,label\n,\n ,fruit\n")
    _, state = execute(workspace, tiny_spec)
    assert (state.problem.reason, state.problem.field) == ("split-empty", "data.validation")


def test_method_that_does_not_fit_the_model_is_refused(workspace: Path, tiny_spec: dict) -> None:
    _, state = execute(workspace, tiny_spec | {"method": {"kind": "freeze", "layers": 99}})
    assert (state.problem.reason, state.problem.field) == ("layers-out-of-range", "method.layers")


def test_labels_have_one_order() -> None:
    task = family("tasks")["text-classification"]
    assert task.labels(["10", "9", "1.0", "1", "9"]) == ["1", "1.0", "9", "10"]
    assert task.labels(["2", "nan", "1"]) == ["1", "2", "nan"]


def test_intervals_hold_the_metric_and_narrow_with_rows() -> None:
    from studio.engine.compare import bootstrap

    rng = np.random.default_rng(1)
    widths = []
    for n_rows in (50, 5000):
        right = rng.random(n_rows) < 0.8
        found = bootstrap({"accuracy": lambda c, right=right: float(right[c].mean())}, n_rows, lambda: None)
        low, high = found["accuracy"]
        assert low < right.mean() < high
        widths.append(high - low)
    # The binomial's own width: 2 × 1.96 × sqrt(p (1 - p) / n).
    assert widths[1] == pytest.approx(2 * 1.96 * (0.16 / 5000) ** 0.5, rel=0.2) and widths[0] > 5 * widths[1]
