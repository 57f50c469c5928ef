"""The command line in processes of its own: its JSON, its exit statuses, its errors."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from studio.supervisor import environment


def attune(*arguments: str, workspace: Path) -> subprocess.CompletedProcess:
    command = [sys.executable, "-P", "-m", "studio", *arguments, "--workspace", str(workspace)]
    return subprocess.run(command, capture_output=True, text=True, encoding="utf-8", env=environment(), timeout=240)


def last_json(done: subprocess.CompletedProcess) -> dict:
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_the_whole_way_by_command(workspace: Path, tmp_path: Path, tiny_spec: dict, tiny_csv: Path) -> None:
    import numpy as np

    from studio.attention.look_file import open_look

    (tmp_path / "spec.json").write_text(json.dumps(tiny_spec | {"method": "lora"}))
    trained = last_json(attune("train", str(tmp_path / "spec.json"), "--json", workspace=workspace))
    assert trained["state"] == "finished" and trained["steps"] == 27
    assert trained["train_seconds"] > 0 and trained["samples_per_second"] > 0
    run = trained["run"]

    evaluated = last_json(attune("evaluate", run, "--json", workspace=workspace))
    assert evaluated["metrics"] == pytest.approx(trained["metrics"]["test"], abs=1e-6)
    assert all(low <= evaluated["metrics"][name] <= high for name, (low, high) in evaluated["intervals"].items())

    predicted = attune("predict", "last", "--data", str(tiny_csv), "--out", str(tmp_path / "out.jsonl"), "--json",
                       workspace=workspace)  # fmt: skip
    assert last_json(predicted)["n_rows"] == 120
    rows = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text(encoding="utf-8").splitlines()]
    assert len(rows) == 120 and all(row["predicted"] in ("fruit", "metal", "water") for row in rows)

    folder = tmp_path / "maps"
    inspected = last_json(
        attune("inspect", run, "--text", "the river runs cold", "--out", str(folder), "--json", workspace=workspace)
    )
    assert inspected["checks"]["verified"] is True
    assert inspected["checks"].keys() >= {"row_sum_error", "causal_leak", "logit_difference", "n_layers", "n_heads"}
    maps = np.load(folder / "attention.npz")["attention"]
    assert maps.shape == (2, 4, 6, 6) and maps.dtype == np.float32

    look, page = tmp_path / "one.attune-look", tmp_path / "one.html"
    options = ["--state", "both", "--save", str(look), "--html", str(page), "--json"]
    both = last_json(attune("inspect", run, "--text", "the river runs cold", *options, workspace=workspace))
    assert both["file"] == str(look) and both["html"] == str(page) and both["before"]["checks"]["verified"] is True
    opened = open_look(look)
    np.testing.assert_array_equal(opened.captures["after"].maps["attention"], maps)
    assert opened.facts.probabilities["after"].keys() == {"fruit", "metal", "water"}
    assert opened.captures["before"].checks["verified"] is True and "after-1-3" in page.read_text("utf-8")

    options = ["--against", run, "--save", str(tmp_path / "two.attune-look"), "--json"]
    attune("inspect", "last", "--text", "the river runs cold", *options, workspace=workspace)
    two = open_look(tmp_path / "two.attune-look")
    np.testing.assert_array_equal(two.captures["before"].maps["attention"], maps)  # it stands against itself
    assert two.facts.names.keys() == {"before", "after"}

    exported = last_json(
        attune(
            "export", run, "--format", "safetensors", "--out", str(tmp_path / "model"), "--json", workspace=workspace
        )
    )
    wanted = "directory format verified size_bytes metric reference_metric max_logit_difference latency_ms"
    assert exported.keys() >= set(wanted.split()) | {"reference_latency_ms"} and exported["verified"] is True

    script = last_json(attune("script", run, "--out", str(tmp_path / "train.py"), "--json", workspace=workspace))
    compile(Path(script["file"]).read_text("utf-8"), "train.py", "exec")
    for name, options in (("asked", []), ("resolved", ["--resolved"])):
        saved = attune("spec", run, "--out", str(tmp_path / name), *options, "--json", workspace=workspace)
        kept = json.loads(Path(last_json(saved)["file"]).read_text("utf-8"))
        assert (kept["training"]["threads"] == "auto") == (name == "asked")

    listed = last_json(attune("runs", "--json", workspace=workspace))["runs"]
    assert [r["state"] for r in listed] == ["finished"] * 7
    assert {r["run"] for r in listed if r["metric"]} == {Path(run).name}


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["train", "nowhere.json"], "spec-missing"),
        (["train"], "usage"),
        (["export", "last"], "usage"),
        (["inspect", "starter", "--text", "a", "--out", "x", "--checkpoint", "3"], "usage"),
        (["inspect", "starter", "--text", "a", "--out", "x", "--against-checkpoint", "3"], "usage"),
        (["evaluate", "no-such-run"], "run-missing"),
        (["export", "no-such-run", "--format", "onnx", "--out", "x"], "run-missing"),
    ],
)
def test_error_is_one_paragraph_and_one_object(workspace: Path, arguments: list[str], reason: str) -> None:
    done = attune(*arguments, "--json", workspace=workspace)
    assert done.returncode == 1
    error = json.loads(done.stdout.splitlines()[-1])["error"]
    assert error["reason"] == reason and error["title"] and error["hint"]
    assert "Traceback" not in done.stderr and done.stderr.startswith("attune: ")
    assert "Traceback" in attune(*arguments, "--debug", workspace=workspace).stderr


def test_doctor_finds_all_well(workspace: Path) -> None:
    found = last_json(attune("doctor", "--json", workspace=workspace))
    assert {"torch", "starter model", "Qt", "workspace"} <= {check["name"] for check in found["checks"]}


def test_window_without_a_display_says_so(workspace: Path) -> None:
    env = {k: v for k, v in environment().items() if k not in ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM")}
    if sys.platform in ("win32", "darwin"):
        pytest.skip("these always have a display")
    done = subprocess.run([sys.executable, "-m", "studio"], capture_output=True, text=True, env=env)
    assert done.returncode == 1 and "no display" in done.stderr


def test_queue_by_command(workspace: Path, tmp_path: Path, tiny_spec: dict) -> None:
    from studio.core import queue
    from studio.core.locks import Lock

    process = Lock(queue.process_lock(workspace))
    assert process.acquire({}), "in place of the process that would train what waits"
    runs = []
    for name in ("one", "two", "three"):
        (tmp_path / "spec.json").write_text(json.dumps(tiny_spec | {"name": name}))
        added = last_json(attune("train", str(tmp_path / "spec.json"), "--queue", "--json", workspace=workspace))
        runs.append(Path(added["run"]).name)
        assert (added["state"], added["place"]) == ("queued", len(runs))
    moved = last_json(attune("queue", "--move", runs[2], "1", "--json", workspace=workspace))
    assert [row["name"] for row in moved["queue"]] == ["three", "one", "two"]
    assert moved["is_at_work"] is True and moved["current"] is None
    removed = last_json(attune("queue", "--remove", runs[0], "--json", workspace=workspace))
    assert [row["run"] for row in removed["queue"]] == [runs[2], runs[1]]
    assert (workspace / "bin" / runs[0] / "spec.json").is_file()
    shown = attune("queue", "--list", workspace=workspace).stdout
    assert shown.index("three") < shown.index("two")
    assert [r["state"] for r in last_json(attune("runs", "--json", workspace=workspace))["runs"]] == ["queued"] * 2
    wrong = {"queue-busy": [], "usage": ["--move", runs[1], "up"], "run-missing": ["--remove", "x"]}
    for reason, arguments in wrong.items():
        done = attune("queue", *arguments, "--json", workspace=workspace)
        assert done.returncode == 1 and json.loads(done.stdout.splitlines()[-1])["error"]["reason"] == reason
    process.release()


@pytest.mark.skipif(os.name != "posix", reason="sends SIGINT")
def test_interrupted_queue_stops_the_run_at_work_and_keeps_the_others(
    workspace: Path, tmp_path: Path, tiny_spec: dict
) -> None:
    from studio.core import queue
    from studio.core.events import Metrics
    from studio.core.rundir import RunDir, create_run, last_event
    from studio.core.spec import parse_spec
    from studio.core.state import read_summary

    tiny_spec["training"]["num_train_epochs"] = 200
    first, second = (create_run(workspace, parse_spec(tiny_spec)).id for _ in range(2))
    queue.add(workspace, first)
    queue.add(workspace, second)
    command = [sys.executable, "-P", "-m", "studio", "queue", "--json", "--workspace", str(workspace)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, encoding="utf-8", env=environment())
    run = RunDir(workspace / "runs" / first)
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and not isinstance(last_event(run), Metrics):
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 130 and "stays in the queue" in said
    assert read_summary(run).state == "stopped" and not run.is_alive()
    assert queue.waiting(workspace) == [second] and not queue.is_at_work(workspace)


@pytest.mark.skipif(os.name != "posix", reason="sends SIGINT")
def test_interrupt_saves_and_resume_goes_on(workspace: Path, tmp_path: Path, tiny_spec: dict) -> None:
    tiny_spec["training"] |= {"num_train_epochs": 25, "evaluations_per_epoch": 1}
    (tmp_path / "spec.json").write_text(json.dumps(tiny_spec | {"method": "lora"}))
    command = [sys.executable, "-P", "-m", "studio", "train", str(tmp_path / "spec.json"), "--json"]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, encoding="utf-8", env=environment()
    )
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and not list(workspace.glob("runs/*/checkpoints/checkpoint-*")):
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 130, err
    stopped = json.loads(out.splitlines()[-1])
    assert stopped["state"] == "stopped" and 0 < stopped["steps"] < 225
    resumed = last_json(attune("resume", "last", "--json", workspace=workspace))
    assert resumed["state"] == "finished" and resumed["steps"] == 225
    assert attune("resume", "last", workspace=workspace).returncode == 1, "a finished run has nowhere to go on to"
