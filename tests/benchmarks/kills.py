"""Kills workers and windows at random moments, and counts what was lost.

    python tests/benchmarks/kills.py DATA.tsv [--rows 640] [--workers 20] [--windows 10] [--seed 0] [--method full]

DATA has no header: text, tab, label. A run of the starter with the window's defaults is made once without harm, and
once with its worker killed again and again, once of these inside the writing of a checkpoint; each time it is resumed
in a new process. Then real windows (offscreen, with their spare worker) are killed while a run goes on. Prints one
JSON object: the largest difference of a step's loss from the unharmed run, steps that are missing, logs that lost a
line, and processes that stayed behind.
"""

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

from studio import supervisor
from studio.core import events as ev
from studio.core.processes import environment
from studio.core.rundir import RunDir, read_events
from studio.core.spec import parse_spec
from studio.engine.checkpoints import PARTIAL

WINDOW = """
import sys
from pathlib import Path
from studio.ui.app import make_window
window = make_window(Path(sys.argv[1]), keep_spare=True)
window.show()
sys.exit(window.app.exec())
"""


def spec_of(given: argparse.Namespace, folder: Path) -> dict:
    rows = given.data.read_text(encoding="utf-8").splitlines()[: given.rows]
    path = folder / "rows.tsv"
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")
    return {
        "data": {"train": str(path), "validation": 0.1, "test": 0.1},
        "columns": {"text": 0, "label": 1},
        "model": "starter",
        "method": {"kind": given.method},
        "training": {"num_train_epochs": 12, "evaluations_per_epoch": 3, "gradient_accumulation_steps": 2,
                     "per_device_train_batch_size": 8},
    }  # fmt: skip


def losses_of(run: RunDir) -> dict[int, float]:
    found: dict[int, float] = {}
    for event in read_events(run):
        if isinstance(event, ev.Started) and event.attempt > 1:
            found = {step: loss for step, loss in found.items() if step <= event.from_step}
        if isinstance(event, ev.Metrics) and event.split == "train":
            found[event.step] = event.values["loss"]
    return found


def finish(run: RunDir) -> None:
    for _ in supervisor.follow(run):
        pass


def wait_dead(run: RunDir) -> None:
    while run.is_alive():
        time.sleep(0.01)


def kill_workers(run: RunDir, n: int, chance: random.Random) -> dict:
    """Kill the worker of a run `n` times, each time resume it; return what was lost."""
    lines_lost, in_checkpoint, steps = 0, 0, []
    inside = n // 2
    for k in range(n):
        supervisor.start(run)
        began, wait = time.monotonic(), chance.uniform(0.5, 16)
        partial = run.checkpoints_dir / PARTIAL
        while run.is_alive() and time.monotonic() - began < (60 if k == inside else wait):
            if k == inside and partial.exists() and any(partial.rglob("*.safetensors")):
                break
            time.sleep(0.001 if k == inside else 0.02)
        if not run.is_alive():
            break  # it has finished
        before = run.events_file.read_bytes() if run.events_file.exists() else b""
        worker = psutil.Process(json.loads(run.lock_file.read_bytes())["pid"])
        family = [worker, *worker.children(recursive=True)]
        worker.kill()
        in_checkpoint += partial.exists()
        wait_dead(run)
        psutil.wait_procs(family, timeout=5)
        assert not any(p.is_running() and p.status() != psutil.STATUS_ZOMBIE for p in family), "a child lives on"
        whole = before[: before.rfind(b"\n") + 1]
        lines_lost += not run.events_file.read_bytes().startswith(whole)
        steps.append(max(losses_of(run), default=0))
    supervisor.start(run)
    finish(run)
    return {"killed": len(steps), "inside a checkpoint": in_checkpoint, "at steps": steps, "logs lost": lines_lost}


def kill_windows(workspace: Path, spec: dict, n: int, chance: random.Random) -> dict:
    """Kill `n` windows of a workspace in which a run goes on; return what became of it and of their spares."""
    run = supervisor.start_new(workspace, parse_spec(spec))
    for _ in range(n):
        window = subprocess.Popen(
            [sys.executable, "-P", "-c", WINDOW, str(workspace)],
            env=environment() | {"QT_QPA_PLATFORM": "offscreen"},
            stdout=subprocess.DEVNULL,
        )
        time.sleep(chance.uniform(0.5, 6))
        window.kill()
        window.wait()
    was_alive = run.is_alive()
    finish(run)
    deadline = time.monotonic() + 10
    while (left := workers_in(workspace)) and time.monotonic() < deadline:
        time.sleep(0.2)
    attempts = [event.attempt for event in read_events(run) if isinstance(event, ev.Started)]
    return {"windows": n, "alive after them": was_alive, "attempts": len(attempts), "left behind": len(left),
            "end": read_events(run)[-1].type, "run": run}  # fmt: skip


def workers_in(workspace: Path) -> list[int]:
    found = []
    for process in psutil.process_iter(["pid", "cmdline"]):
        if process.pid != os.getpid() and any(str(workspace) in part for part in process.info["cmdline"] or []):
            found.append(process.pid)
    return found


def compare(straight: dict[int, float], other: dict[int, float]) -> dict:
    worst = max((abs(straight[step] - other[step]) for step in straight if step in other), default=float("nan"))
    return {"steps missing": len(set(straight) ^ set(other)), "largest difference": worst}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("data", type=Path)
    parser.add_argument("--rows", type=int, default=640)
    parser.add_argument("--workers", type=int, default=20)
    parser.add_argument("--windows", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--method", default="full")
    given = parser.parse_args()
    chance = random.Random(given.seed)
    with tempfile.TemporaryDirectory() as folder:
        workspace = Path(folder) / "workspace"
        spec = spec_of(given, Path(folder))
        straight = supervisor.start_new(workspace, parse_spec(spec))
        finish(straight)
        expected = losses_of(straight)
        killed = supervisor.start_new(workspace, parse_spec(spec))
        found = {"workers": kill_workers(killed, given.workers, chance) | compare(expected, losses_of(killed))}
        if given.windows:
            seen = kill_windows(workspace, spec, given.windows, chance)
            found["windows"] = seen | {"run": None} | compare(expected, losses_of(seen["run"]))
            del found["windows"]["run"]
        print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
