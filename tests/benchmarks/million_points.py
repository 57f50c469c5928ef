"""A run of a million steps in the window: how long opening takes, what it weighs, and how fluid the window stays.

    python tests/benchmarks/million_points.py [--steps 1000000] [--rate 200] [--seconds 30] [--kept 0.97]

Another process writes a log of four metrics a step into a run directory and holds its lock, as a worker does. An empty
window opens the run while nothing arrives ("opening": seconds until all points are drawn, and lateness meanwhile),
then `--rate` steps a second arrive for `--seconds` ("live"). Lateness is that of a 10 ms timer, in milliseconds.
While it trains a worker keeps all but the last 8 MB of its log in columns (which is what one that was killed leaves),
at its end all of it (`--kept 1`).
Memory is what the process has resident above the empty window. At the end every number in the window's curves is
compared, bit by bit, with what was written. Prints one JSON object.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

import numpy as np
import psutil
from PySide6.QtCore import QEventLoop, QTimer

from studio.core import events as ev
from studio.core.locks import Lock
from studio.core.paths import sample_file
from studio.core.replay import keep_columns
from studio.core.rundir import EventWriter, RunDir, create_run
from studio.core.spec import parse_spec

METRICS = ("loss", "learning_rate", "grad_norm", "samples_per_second")


def values_of(n: int) -> np.ndarray:
    """Return the values [4, n] of the metrics: noise, spikes, gaps and exact zeros among them."""
    rng = np.random.default_rng(7)
    steps = np.arange(n)
    loss = 2 / (1 + steps / 1e4) + rng.normal(0, 0.1, n)
    loss[rng.integers(0, n, 50)] = 25.0
    loss[rng.integers(0, n, 50)] = np.nan
    loss[rng.integers(0, n, 50)] = 0.0
    return np.stack([loss, 5e-4 * (1 - steps / n), rng.lognormal(0, 1, n), 500 + rng.normal(0, 10, n)])


def write(directory: Path, n: int, n_more: int, rate: float, kept: float) -> None:
    """Write `n` steps at once, and `n_more` at `rate` a second as soon as the file `go` is there.

    kept: the share of the steps that stands in columns too, as a worker keeps them while it goes on.
    """
    run, values, started = RunDir(directory), values_of(n + n_more).T.tolist(), time.time() - n / rate
    lock = Lock(run.lock_file)
    lock.acquire({})
    writer = EventWriter(run.events_file)
    writer.write([ev.Started(pid=os.getpid(), version="0", time=started), ev.Phase(name="training", time=started)])

    def told(at: int) -> list[ev.Event]:
        moment = started + at / rate
        step = ev.Metrics(
            time=moment, split="train", step=at + 1, epoch=at / 10_000, total_steps=n + n_more, train_seconds=at / rate,
            n_rows=8 * at, n_tokens=300 * at, values=dict(zip(METRICS, values[at], strict=True)),
        )  # fmt: skip
        used = ev.Resources(time=moment, rss_bytes=10**9 + at, cpu_percent=180.0, disk_free_bytes=10**11)
        return [step, used] if at % round(rate) == 0 else [step]

    for begin in range(0, n, 1000):
        writer.write([event for at in range(begin, min(n, begin + 1000)) for event in told(at)])
        if begin < kept * n <= begin + 1000:
            keep_columns(run, least=1)
    (directory / "written").touch()
    while not (directory / "go").exists():
        time.sleep(0.01)
    began, done = time.monotonic(), n
    while done < len(values):
        time.sleep(0.05)  # a worker writes at most twenty batches a second
        due = min(len(values), n + int((time.monotonic() - began) * rate))
        writer.write([event for at in range(done, due) for event in told(at)])
        done = due
    writer.write([ev.Finished(result={})])
    writer.close()
    lock.release()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=1_000_000)
    parser.add_argument("--rate", type=float, default=200)
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--page", default="train")
    parser.add_argument("--kept", type=float, default=0.97, help="share that stands in columns; 1 at its end")
    parser.add_argument("--write", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    n_more = round(given.rate * given.seconds)
    if given.write:
        write(given.write, given.steps, n_more, given.rate, given.kept)
        return
    with tempfile.TemporaryDirectory() as folder:
        print(json.dumps(measure(given, Path(folder), n_more)), flush=True)


def measure(given: argparse.Namespace, workspace: Path, n_more: int) -> dict:
    from window_lateness import Lateness

    from studio.ui.app import make_app, make_window

    spec = parse_spec({"data": {"train": str(sample_file())}, "columns": {"text": "text", "label": "label"}})
    run = create_run(workspace, spec)
    arguments = ["--write", run.path, "--steps", given.steps, "--rate", given.rate, "--seconds", given.seconds]
    arguments += ["--kept", given.kept]
    writer = subprocess.Popen([sys.executable, __file__, *map(str, arguments)], env=os.environ)
    try:
        make_app()
        # The window takes up living runs when it wakes; here it is empty until the log is there.
        window = make_window(workspace / "elsewhere", keep_spare=False)
        window.resize(1180, 760)
        window.show()
        while not (run.path / "written").exists():
            wait(200)
        wait(1000)
        empty = psutil.Process().memory_info().rss
        found = {"steps": given.steps, "log_mb": round(run.events_file.stat().st_size / 1e6)}
        store, lateness = window.store, Lateness(window)
        store.change_settings(plots=["samples_per_second", "learning_rate", "grad_norm", "system:processor"])
        window.show_page(given.page)
        wait(3000)  # the first time it imports pyqtgraph, once in the life of a window
        # Only now: the window follows what others begin in its workspace by itself.
        (workspace / "elsewhere" / "runs").mkdir(parents=True, exist_ok=True)
        (workspace / "elsewhere" / "runs" / run.id).symlink_to(run.path)
        clock = time.perf_counter()
        lateness.begin()
        store.select_run(run.id)
        plots = window.pages["train"].view.plots
        while n_drawn(plots) < given.steps or any(plot._timer.isActive() for plot in plots.all):
            wait(5)
            if time.perf_counter() - clock > 60:
                raise TimeoutError(f"{n_drawn(plots)} points after a minute")
        found["opening"] = {"seconds": round(time.perf_counter() - clock, 2)} | lateness.figures()
        found["opening"]["busiest"] = [round(v, 1) for v in sorted(lateness.busy)[-5:]]
        wait(1000)
        lateness.begin()
        (run.path / "go").touch()
        while (state := store.runs[run.id]).is_active:
            wait(50)
        found["live"] = lateness.figures() | {"busiest": [round(v, 1) for v in sorted(lateness.busy)[-5:]]}
        found["megabytes"] = round((psutil.Process().memory_info().rss - empty) / 1e6)
        wait(500)
        wanted = values_of(given.steps + n_more)
        kept = [state.series["train", name].y for name in METRICS]
        found["every_point_kept"] = all(len(a) == len(b) and same_bits(a, b) for a, b in zip(kept, wanted, strict=True))
        found["drawn"] = n_drawn(plots)
        window.close()
        return found
    finally:
        writer.kill()
        writer.wait()


def wait(milliseconds: int) -> None:
    """Let the window live, as `app.exec` does; QTest.qWait would keep Python's lock from the other threads."""
    loop = QEventLoop()
    QTimer.singleShot(milliseconds, loop.quit)
    loop.exec()


def n_drawn(plots: object) -> int:
    """Return how many points each of the four curves was given at least."""
    curves = [curve for plot in plots.all for key, curve in plot.curves().items() if key.startswith("train ")]
    return min((len(curve.x) for curve in curves), default=0) if len(curves) == len(METRICS) else 0


def same_bits(a: np.ndarray, b: np.ndarray) -> bool:
    gaps = np.isnan(a)
    return np.array_equal(gaps, np.isnan(b)) and a[~gaps].tobytes() == b[~gaps].tobytes()


if __name__ == "__main__":
    main()
