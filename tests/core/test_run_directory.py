"""A run is a directory: its log survives torn lines and NaN, and its state is a fold of it."""

import errno
import math
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from threading import Timer

import numpy as np
import pytest

from studio.core import events as ev
from studio.core.commands import Explain, Stop, receive, send
from studio.core.disk import is_full
from studio.core.files import TemporaryFolder
from studio.core.locks import HELD, Hold, Lock, is_held, is_used, try_lock
from studio.core.rundir import EventReader, EventWriter, create_run, find_run, list_runs, move_to_bin, restore
from studio.core.series import decimate, smooth
from studio.core.settings import load_settings
from studio.core.spec import parse_spec
from studio.core.state import RunState, describe_exit, new_state, settle, summarise

SPEC = parse_spec({"data": {"train": "/a.csv"}, "columns": {"text": "text", "label": "label"}})


def metrics(step: int, **values: float) -> ev.Metrics:
    return ev.Metrics(split="train", step=step, epoch=step / 10, values=values, total_steps=100, train_seconds=step)


def test_not_a_number_comes_back_from_the_log(tmp_path: Path) -> None:
    writer = EventWriter(tmp_path / "events.jsonl")
    writer.write([metrics(1, loss=math.nan, grad_norm=math.inf), metrics(2, loss=0.0)])
    first, second = EventReader(tmp_path / "events.jsonl").read()
    assert math.isnan(first.values["loss"]) and first.values["grad_norm"] == math.inf
    assert second.values["loss"] == 0.0


def test_torn_line_is_skipped_alone_and_an_open_one_waits(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    EventWriter(path).write([metrics(1, loss=1.0)])
    with open(path, "ab") as file:
        file.write(b'{"type":"metrics","split":"tr')
    reader = EventReader(path)
    assert [e.step for e in reader.read()] == [1] and reader.read() == []
    EventWriter(path).write([metrics(2, loss=2.0), ev.Finished()])
    assert [e.type for e in reader.read()] == ["metrics", "finished"]


def test_unknown_events_are_skipped(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_text('{"type":"hologram","time":1}\n{"type":"phase","time":1,"name":"data"}\n')
    assert [e.type for e in EventReader(path).read()] == ["phase"]


def test_resume_hides_what_came_after_its_checkpoint() -> None:
    state = RunState()
    for event in [
        ev.Started(pid=1, version="0"),
        *[metrics(step, loss=float(step)) for step in range(1, 8)],
        ev.Started(pid=2, version="0", attempt=2, from_step=4),
        metrics(5, loss=50.0),
    ]:
        state.apply(event)
    series = state.series["train", "loss"]
    assert series.x.tolist() == [1, 2, 3, 4, 5] and series.y[-1] == 50.0
    assert state.state == "running" and state.attempt == 2


def test_run_without_a_last_word_says_how_its_process_ended(workspace: Path) -> None:
    run = create_run(workspace, SPEC)
    state = new_state(run)
    settle(state, run)
    assert state.state == "waiting", "no worker has taken it up"
    state.apply(ev.Started(pid=1, version="0"))
    settle(state, run)
    assert (state.state, state.problem.reason) == ("ended", "worker-vanished")
    assert describe_exit({"code": -9}, "").facts["signal"] == "SIGKILL"
    assert describe_exit({"code": -11}, "x").reason == "worker-crashed"
    assert describe_exit({"code": 0xC0000005}, "x").facts["signal"] == "access violation, 0xC0000005"
    assert describe_exit({"code": 0xC0001234}, "x").facts["signal"] == "0xC0001234"
    assert describe_exit({"code": 0xC000012D}, "x").reason == "worker-killed"
    for by_system, word in ((True, "ran out of memory"), (False, "not out of memory")):
        assert word in describe_exit({"code": -9, "out_of_memory": by_system}, "").facts["cause"]
    assert "log-out" in describe_exit({"code": -15, "out_of_memory": True}, "").facts["cause"]
    assert describe_exit({"code": 3}, "last words").facts == {"code": 3, "log": "last words"}
    assert summarise(state)["state"] == "ended"


def test_crash_in_native_code_says_where() -> None:
    crash = "import ctypes, faulthandler; faulthandler.enable(); ctypes.string_at(0)"
    done = subprocess.run([sys.executable, "-c", crash], capture_output=True, text=True)
    said = describe_exit({"code": done.returncode}, done.stderr)
    assert said.reason == "worker-crashed" and said.facts["where"].endswith("ctypes/__init__.py, string_at")


def test_lock_is_free_when_its_process_dies(tmp_path: Path) -> None:
    path = tmp_path / "worker.lock"
    code = f"""
import sys; sys.path.insert(0, {str(Path(__file__).parents[2])!r})
from pathlib import Path
from studio.core.locks import Lock
lock = Lock(Path({str(path)!r}))
assert lock.acquire({{}})
print("held", flush=True); sys.stdin.read()
"""
    process = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout.readline().strip() == b"held"
    assert is_held(path) and not Lock(path).acquire({}, timeout_seconds=0.1)
    process.kill()
    process.wait()
    process.stdin.close()
    process.stdout.close()
    assert not is_held(path)
    lock = Lock(path)
    assert lock.acquire({"x": 1}) and is_held(path)
    lock.release()
    assert not is_held(path) and not is_held(tmp_path / "absent")


def test_a_folder_is_held_though_someone_looks_at_this_moment_whether_it_is(tmp_path: Path) -> None:
    with open(tmp_path / HELD, "a+b") as looking:
        assert try_lock(looking)
        Timer(0.05, looking.close).start()
        hold = Hold(tmp_path)
    assert is_used(tmp_path)
    hold.end()
    assert not is_used(tmp_path)


def test_a_folder_that_can_not_be_removed_goes_when_the_next_is_made(tmp_path: Path, monkeypatch) -> None:
    """On Windows a file that is mapped stays; whoever maps it may live longer than the folder's owner."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    folder = TemporaryFolder("looks-")
    mapped = Path(folder.name) / "map.npy"
    mapped.touch()
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", lambda path, ignore_errors: (Path(path) / HELD).unlink())
        del folder
    assert mapped.exists()
    for file in mapped.parent.iterdir():
        os.utime(file, (0, 0))
    assert Path(TemporaryFolder("looks-").name) != mapped.parent and not mapped.parent.exists()


def test_commands_arrive_in_order_and_once(tmp_path: Path) -> None:
    send(tmp_path, Explain(text="one"))
    send(tmp_path, Stop())
    (tmp_path / "commands" / "00000000000000000001-bad.json").write_text("{}")
    assert [c.type for c in receive(tmp_path)] == ["explain", "stop"]
    assert receive(tmp_path) == []


def test_runs_are_found_binned_and_restored(workspace: Path) -> None:
    run = create_run(workspace, SPEC)
    run.rename("My run")
    assert find_run(workspace, run.id[-4:]).id == run.id == find_run(workspace, "last").id
    binned = move_to_bin(workspace, run)
    assert list_runs(workspace) == []
    assert restore(workspace, binned).name() == "My run"


def test_decimation_keeps_every_spike_and_gap() -> None:
    rng = np.random.default_rng(0)
    y = rng.normal(size=1_000_000)
    y[123_457], y[765_432], y[500_001] = 1e6, -1e6, np.nan
    x, kept = decimate(np.arange(len(y), dtype=float), y, 4000)
    assert len(x) <= 4000 and np.nanmax(kept) == 1e6 and np.nanmin(kept) == -1e6
    assert 500_001 in x[np.isnan(kept)] and (np.diff(x) > 0).all()
    assert (x[0], x[-1]) == (0, len(y) - 1)


def test_smoothing_passes_over_gaps() -> None:
    assert smooth(np.array([1.0, np.nan, 1.0]), 0.9).tolist() == pytest.approx([1.0, 1.0, 1.0])


def test_damaged_settings_fall_back_field_by_field(workspace: Path) -> None:
    (workspace / "settings.json").write_text('{"theme": "neon", "recent_data": ["/a.csv"]}')
    settings, backup = load_settings(workspace)
    assert settings.theme == "system" and settings.recent_data == ["/a.csv"] and backup.exists()
    (workspace / "settings.json").write_text("not json at all")
    assert load_settings(workspace)[0].theme == "system"


@pytest.mark.skipif(os.name != "posix" or not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_lines_wait_while_the_disk_is_full(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    writer, full = EventWriter(path), open("/dev/full", "wb", buffering=0)  # noqa: SIM115
    on_disk, writer._file = writer._file, full
    with pytest.raises(OSError):
        writer.write([metrics(1, loss=1.0)])
    writer._file = on_disk
    writer.write([metrics(2, loss=2.0)])
    full.close()
    assert [e.step for e in EventReader(path).read()] == [1, 2]


@pytest.mark.skipif(os.name != "posix", reason="the numbers are those of POSIX")
def test_full_disk_is_known_from_what_rust_says_of_it() -> None:
    said = "Error while serializing: I/O error: {} (os error {})"
    assert is_full(RuntimeError(said.format("No space left on device", errno.ENOSPC)))
    assert not is_full(RuntimeError(said.format("No such file or directory", errno.ENOENT)))


def test_worker_that_dies_before_its_first_word_is_noticed_after_a_stop(workspace: Path) -> None:
    from studio.core.files import write_json

    run = create_run(workspace, SPEC)
    state = new_state(run)
    for event in (ev.Started(pid=1, version="0", time=100.0), ev.Stopped(step=3, time=110.0)):
        state.apply(event)
    write_json(run.exit_file, {"code": 1, "started": 99.0})
    settle(state, run)
    assert state.state == "stopped", "this exit belongs to the worker that said so itself"
    write_json(run.exit_file, {"code": -9, "started": 200.0})
    settle(state, run)
    assert (state.state, state.problem.facts["signal"]) == ("ended", "SIGKILL")


def test_clock_of_a_run_knows_its_attempts(workspace: Path) -> None:
    state = RunState()
    for event in [
        ev.Started(pid=1, version="0", time=1000.0),
        metrics(4, loss=1.0).model_copy(update={"time": 1010.0}),
        ev.Checkpoint(step=4, path="c", train_seconds=4.0, time=1010.0),
        metrics(7, loss=1.0).model_copy(update={"time": 1013.0}),
        ev.Started(pid=2, version="0", attempt=2, from_step=4, time=90_000.0),
    ]:
        state.apply(event)
    assert state.train_seconds == 4.0, "the steps behind the checkpoint are trained again"
    state.apply(ev.Finished(time=90_005.0))
    assert summarise(state)["seconds"] == 18.0, "the days between two attempts do not count"


def test_full_disk_is_told_though_nobody_could_write_it_down(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import shutil

    from studio.core.reasons import describe

    run = create_run(workspace, SPEC)
    state = new_state(run)
    state.apply(ev.Started(pid=1, version="0"))
    usage = shutil.disk_usage(workspace)._replace(free=4096)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    settle(state, run)
    assert state.problem.reason == "disk-full"
    assert describe(state.problem.reason, state.problem.facts).fix == "run.resume"
