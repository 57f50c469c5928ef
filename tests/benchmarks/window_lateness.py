"""How late a 10 ms timer of the window fires while a training runs and its curves are drawn.

    python tests/benchmarks/window_lateness.py [--data FILE] [--epochs 2] [--batch 8] [--page train] [--log] [--slowest]

Trains the starter on the sample (or a file with the columns text and label), in an offscreen window that shows the
given page. Prints one JSON object, times in milliseconds: lateness over the whole run, from the first step on
("training"), and of a like window that does nothing ("idle"), which is what the machine itself costs; and the most
processor time that the window's thread took between two of the timer's calls ("busiest"), which no slot exceeds.
`--slowest` also names the functions of `studio` that took longest, by a profiler that makes everything slower.
"""

import argparse
import cProfile
import json
import os
import pstats
import tempfile
import time
from pathlib import Path

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

import numpy as np
from PySide6.QtCore import QElapsedTimer, QObject, Qt, QTimer
from PySide6.QtTest import QTest

from studio.core.paths import sample_file
from studio.core.spec import parse_spec
from studio.ui.app import make_app, make_window

PERIOD_MS = 10


class Lateness(QObject):
    """Collects how many milliseconds late a timer fires, and how much its thread computes between two calls."""

    def __init__(self, parent: QObject):
        super().__init__(parent)
        self.late: list[float] = []
        self.busy: list[float] = []
        self._clock, self._used = QElapsedTimer(), 0.0
        self._timer = QTimer(self, interval=PERIOD_MS, timerType=Qt.TimerType.PreciseTimer)
        self._timer.timeout.connect(self._note)

    def begin(self) -> None:
        """Measure from now on."""
        self.late, self.busy = [], []
        self._used = time.thread_time()
        self._clock.start()
        self._timer.start()

    def _note(self) -> None:
        self.late.append(max(0.0, self._clock.nsecsElapsed() / 1e6 - PERIOD_MS))
        used = time.thread_time()
        self.busy.append((used - self._used) * 1000)
        self._used = used
        self._clock.start()

    def figures(self, start: int = 0) -> dict[str, float]:
        """Return percentiles of what was measured from the sample `start` on."""
        late = np.array(self.late[start:] or [0.0])
        return {
            "samples": len(late),
            **{f"p{p:g}": round(float(np.percentile(late, p)), 2) for p in (50, 99, 99.9)},
            "max": round(float(late.max()), 2),
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=sample_file())
    parser.add_argument("--epochs", type=float, default=2)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--page", default="train")
    parser.add_argument("--log", action="store_true", help="with the log drawer open")
    parser.add_argument("--slowest", action="store_true", help="name the slowest functions")
    given = parser.parse_args()
    make_app()
    with tempfile.TemporaryDirectory() as folder:
        print(json.dumps(measure(given, Path(folder))), flush=True)


def measure(given: argparse.Namespace, folder: Path) -> dict:
    window = make_window(folder)
    window.resize(1180, 760)
    window.show()
    lateness = Lateness(window)
    QTest.qWait(1000)
    lateness.begin()
    QTest.qWait(5000)
    idle = lateness.figures()
    store = window.store
    training = {"num_train_epochs": given.epochs, "per_device_train_batch_size": given.batch}
    columns = {"text": "text", "label": "label"}
    store.select_run(
        store.start_run(parse_spec({"data": {"train": str(given.data)}, "columns": columns, "training": training}))
    )
    state = store.runs[store.current_run]
    window.show_page("train")
    QTest.qWait(500)  # opening the page imports pyqtgraph, once in the life of a window
    if given.log:
        window.pages["train"].view.log_button.setChecked(True)
    window.show_page(given.page)
    QTest.qWait(1000)
    profile = cProfile.Profile()
    lateness.begin()
    if given.slowest:
        profile.enable()
    first, began = 0, time.time()
    while state.is_active:
        QTest.qWait(50)
        if state.step and not first:
            first = len(lateness.late)
    profile.disable()
    found = {
        "idle": idle,
        "whole": lateness.figures(),
        "training": lateness.figures(first),
        "busiest": [round(v, 1) for v in sorted(lateness.busy)[-5:]],
        "seconds": round(time.time() - began, 1),
        "state": state.state,
        "steps": state.step,
        "rows_per_second": round(state.samples_per_second, 1),
    }
    if given.slowest:
        found["slowest"] = slowest(profile)
    window.close()
    return found


def slowest(profile: cProfile.Profile) -> list[str]:
    """Return the functions of `studio` by their mean time a call, with it and their number of calls."""
    rows = [
        (total / calls * 1000, f"{Path(file).name}:{line} {name}", calls)
        for (file, line, name), (_, calls, _, total, _) in pstats.Stats(profile).stats.items()
        if "studio" in file
    ]
    return [f"{ms:.1f} ms × {calls} {name}" for ms, name, calls in sorted(rows, reverse=True)[:12]]


if __name__ == "__main__":
    main()
