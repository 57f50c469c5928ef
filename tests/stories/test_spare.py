"""A worker waits while the window is open, takes up what is started, and goes with the window."""

import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from studio import supervisor
from studio.core import events as ev
from studio.core.rundir import read_events
from studio.core.spec import parse_spec
from studio.ui.window import MainWindow


def spares(workspace: Path) -> list[psutil.Process]:
    """The processes that wait for a run of this workspace."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        words = process.info["cmdline"] or []
        if "spare" in words and any(str(workspace) in word for word in words):
            found.append(process)
    return found


def has_warm_spare(workspace: Path) -> bool:
    """Whether one waits with its imports done; False, too, while it appears or goes."""
    try:
        (process,) = spares(workspace)
        # On a busy machine imports get little of the processor, too.
        return process.memory_info().rss > 400e6 and process.cpu_percent(0.5) < 8
    except (ValueError, psutil.Error):
        return False


def test_spare_takes_up_what_is_started_and_goes_with_the_window(
    open_window: Callable[..., MainWindow], until: Callable[..., None], workspace: Path, tiny_spec: dict
) -> None:
    window = open_window(keep_spare=True)
    until(lambda: has_warm_spare(workspace), "a warm spare")
    spare = spares(workspace)[0]
    other = open_window(keep_spare=True)
    worked = sum(spare.cpu_times()[:2])
    run_id = window.store.start_run(parse_spec(tiny_spec))
    run = window.store.run_dir(run_id)
    until(lambda: window.store.runs[run_id].step > 0, "the first step")
    worked = sum(spare.cpu_times()[:2]) - worked
    assert worked < 3, "seconds of the processor; a cold one imports for longer before it reads its data"
    until(lambda: run_id not in window.store.followers, "the end of the run")
    state = window.store.runs[run_id]
    assert state.state == "finished", state.problem
    told = read_events(run)
    assert [e.pid for e in told if isinstance(e, ev.Started)] == [spare.pid]
    until(lambda: len(spares(workspace)) == 1, "the next spare, one for both windows")
    window.close()
    other.close()
    until(lambda: not spares(workspace), "the end of the spare")


def test_no_spare_where_memory_is_short(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "_SPARE_NEEDS_BYTES", psutil.virtual_memory().total * 2)
    assert not supervisor.keep_spare(workspace) and not spares(workspace)
    supervisor.end_spare(workspace)


def test_spare_ends_when_its_window_is_killed(workspace: Path) -> None:
    import subprocess

    from studio.core.processes import command, environment

    code = f"from pathlib import Path; from studio import supervisor; import time\n\
supervisor.keep_spare(Path({str(workspace)!r})); time.sleep(60)"
    window = subprocess.Popen([*command()[:2], "-c", code], env=environment())
    deadline = time.monotonic() + 20
    while not spares(workspace):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert not supervisor.keep_spare(workspace), "one per workspace"
    window.kill()
    window.wait()
    while spares(workspace):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert supervisor.keep_spare(workspace)
    supervisor.end_spare(workspace)
    assert not spares(workspace)


def test_spare_comes_back_from_a_probe_and_leaves_one_for_a_training(
    open_window: Callable[..., MainWindow], until: Callable[..., None], workspace: Path, tiny_spec: dict
) -> None:
    window = open_window(keep_spare=True)
    until(lambda: has_warm_spare(workspace), "a warm spare")
    spare, probes = spares(workspace)[0], window.store.probes
    spec = parse_spec(tiny_spec)
    probes.begin("estimate", spec)
    until(lambda: not probes.is_busy, "the end of the probe")
    assert probes.state.state == "finished", probes.state.problem
    found = probes.result(spec.model_copy(update={"training": spec.training.model_copy(update={"seed": 1})}))
    assert found is probes.state.estimated, "another seed needs no other probe"
    assert probes.result(parse_spec(tiny_spec | {"method": "lora"})) is None
    until(lambda: not list((workspace / "probes").iterdir()), "the removal of the probe's folder")
    assert [s.pid for s in spares(workspace)] == [spare.pid], "it waits again"
    probes.begin("learning-rate", spec)
    until(lambda: probes.state.step > 2, "the first steps of a sweep")
    run_id = window.store.start_run(spec)
    assert not probes.is_busy and probes.state.state == "stopped"
    until(lambda: run_id not in window.store.followers, "the end of the run")
    state = window.store.runs[run_id]
    assert state.state == "finished", state.problem
    started = [e.pid for e in read_events(window.store.run_dir(run_id)) if isinstance(e, ev.Started)]
    assert started == [spare.pid]
    until(lambda: not list((workspace / "probes").iterdir()), "the removal of the second folder")
    window.close()
    until(lambda: not spares(workspace), "the end of the spare")
