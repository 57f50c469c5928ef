"""TensorBoard's event files hold the numbers of the log; what is missing is said before a training."""

from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest

from studio import supervisor
from studio.core import commands, reports
from studio.core.rundir import RunDir
from studio.core.spec import parse_spec
from studio.core.state import new_state
from tests.in_process import execute, go_on


def drawn(run: RunDir) -> dict[str, list[tuple[int, float]]]:
    """Return what TensorBoard draws of a run: points by name."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = EventAccumulator(str(run.path / "tensorboard"), size_guidance={"scalars": 0}).Reload()
    points = defaultdict(list)
    for name in found.Tags()["scalars"]:
        points[name] = [(each.step, each.value) for each in found.Scalars(name)]
    return points


def test_event_files_hold_what_the_log_holds_after_a_kill_too(workspace: Path, tiny_spec: dict) -> None:
    tiny_spec["training"] |= {"num_train_epochs": 4, "evaluations_per_epoch": 1, "per_device_train_batch_size": 1}
    run = supervisor.start_new(workspace, parse_spec(tiny_spec))
    state, asked = new_state(run), False
    for batch in supervisor.follow(run):
        for event in batch:
            state.apply(event)
        if state.step > 80 and not asked:  # behind the checkpoint of the first epoch of 72 steps
            commands.send(run.path, commands.Pause())  # it may not reach the next one meanwhile
            asked = True
        if state.state == "paused":
            supervisor.kill(run)
    hidden = state.step
    state = go_on(run)
    assert state.state == "finished" and state.attempt == 2
    assert hidden > max(c.step for c in state.checkpoints if c.step <= hidden), "some steps were trained twice"
    points = drawn(run)
    names = {f"{split}/{name}" for split, name in state.series}
    assert names <= set(points) and "system/rss_bytes" in points
    for (split, name), series in state.series.items():
        if split == "system":  # measured from the first moment on, and in the files from the training on
            continue
        steps, values = zip(*points[f"{split}/{name}"], strict=True)
        assert steps == tuple(series.x.astype(int)), (split, name)
        assert np.array_equal(np.float32(values), np.float32(series.y), equal_nan=True), (split, name)


def test_none_is_written_where_it_is_switched_off(workspace: Path, tiny_spec: dict) -> None:
    tiny_spec["training"] |= {"num_train_epochs": 1, "report_to": "none"}
    run, state = execute(workspace, tiny_spec)
    assert state.state == "finished" and not (run.path / "tensorboard").exists()


def test_missing_library_is_said_at_the_field(workspace: Path, tiny_spec: dict) -> None:
    if reports.is_installed("wandb"):
        pytest.skip("wandb is installed")
    tiny_spec["training"] |= {"report_to": ["wandb"]}
    _, state = execute(workspace, tiny_spec)
    assert (state.problem.reason, state.problem.field) == ("report-library-missing", "training.report_to")
    assert state.problem.facts == {"library": "wandb"}


def test_lists_of_names_are_taken_as_trainer_takes_them(tiny_spec: dict) -> None:
    def taken(value: object) -> str:
        return parse_spec(tiny_spec | {"training": {"report_to": value}}).training.report_to

    assert [taken(v) for v in ([], ["wandb"], ["wandb", "tensorboard"])] == ["none", "wandb", "all"]
    with pytest.raises(Exception, match="does not fit"):
        taken(["comet"])
