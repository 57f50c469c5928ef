"""How long it takes from Start to the first point of the loss on screen, in the real window, warm and cold.

    python tests/benchmarks/first_step.py [--data FILE] [--times 5] [--cold] [--batch N]

The spare worker is waited for (or left out: --cold); the data were tokenised by a run before. Prints one JSON object:
seconds of each start and their median, the memory of the spare in MB, and where the time goes: seconds from Start until
the worker says that it reads, loads the model, begins to train, and has taken its first step.
"""

import argparse
import json
import os
import statistics
import tempfile
import time
from pathlib import Path

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

import psutil
from PySide6.QtTest import QTest

from studio import supervisor
from studio.core import events as ev
from studio.core.paths import sample_file
from studio.core.rundir import read_events
from studio.core.spec import parse_spec
from studio.ui.app import make_app, make_window


def until(condition, seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise SystemExit("it never came")
        QTest.qWait(5)


def spare_of(workspace: Path) -> psutil.Process:
    return psutil.Process(supervisor._spares[workspace]._process.pid)


def is_warm(workspace: Path) -> bool:
    if not supervisor.has_spare(workspace):
        return False
    process = spare_of(workspace)
    return process.memory_info().rss > 350e6 and process.cpu_percent(0.5) < 20


def start_once(window, workspace: Path, spec, is_cold: bool) -> dict:
    if not is_cold:
        until(lambda: is_warm(workspace))
    found = {"spare_mb": 0.0 if is_cold else round(spare_of(workspace).memory_info().rss / 1e6)}
    drawn: list[float] = []
    plot = window.pages["train"]
    began, clock = time.perf_counter(), time.time()
    run_id = window.store.start_run(spec)
    window.store.select_run(run_id)

    def is_drawn() -> bool:
        state = window.store.runs[run_id]
        if ("train", "loss") in state.series and not drawn:
            plot.repaint()
            drawn.append(time.perf_counter() - began)
        return bool(drawn)

    until(is_drawn)
    found["seconds"] = round(drawn[0], 2)
    window.store.stop(run_id)
    until(lambda: run_id not in window.store.followers)
    told = read_events(window.store.run_dir(run_id))
    for event in told:
        if isinstance(event, ev.Phase) and event.name in ("data", "model", "training"):
            found.setdefault(event.name, round(event.time - clock, 2))
        if isinstance(event, ev.Metrics):
            found.setdefault("first step", round(event.time - clock, 2))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=sample_file())
    parser.add_argument("--times", type=int, default=5)
    parser.add_argument("--cold", action="store_true")
    parser.add_argument("--batch", type=int)
    given = parser.parse_args()
    make_app()
    training = {"num_train_epochs": 3} | ({"per_device_train_batch_size": given.batch} if given.batch else {})
    columns = {"text": 0, "label": 1} if given.data.suffix == ".tsv" else {"text": "text", "label": "label"}
    spec = parse_spec({"data": {"train": str(given.data)}, "columns": columns, "training": training})
    with tempfile.TemporaryDirectory() as folder:
        workspace = Path(folder)
        window = make_window(workspace, keep_spare=not given.cold)
        window.show()
        window.show_page("train")
        # The first start fills the caches.
        starts = [start_once(window, workspace, spec, given.cold) for _ in range(given.times + 1)][1:]
        window.close()
        QTest.qWait(300)
    result = {"median": statistics.median(s["seconds"] for s in starts), "starts": starts}
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
