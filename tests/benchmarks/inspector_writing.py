"""How late the window's timer fires while the inspector's files are written and one is opened.

Run by `inspector_drawing --writing`. For each kind of file it prints how long it took and the median, the 99th
percentile and the largest lateness of a 5 ms timer in milliseconds; the largest of a process that does nothing else
at the same time, which is what the machine itself costs; and the load of the machine.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PySide6.QtCore import QElapsedTimer, QEventLoop, QObject, Qt, QTimer

from studio.ui.panels.inspect_figures import Batch
from studio.ui.panels.inspect_files import InspectionFiles
from studio.ui.panels.inspect_maps import MapsView
from studio.ui.store import Store
from studio.ui.views.look import Look

PERIOD_MS, SETTLE_MS = 5, 1500
IDLE = """
import sys, threading, time
late = [0.0]
def watch():
    last = time.perf_counter()
    while True:
        time.sleep(0.005)
        now = time.perf_counter()
        late[0], last = max(late[0], (now - last) * 1000 - 5), now
threading.Thread(target=watch, daemon=True).start()
for _ in sys.stdin:
    print(late[0], flush=True)
    late[0] = 0.0
"""


class Lateness(QObject):
    """Notes how many milliseconds late a timer of 5 ms fires."""

    def __init__(self, parent: QObject) -> None:
        super().__init__(parent)
        self.late: list[float] = []
        self._clock = QElapsedTimer()
        self._timer = QTimer(self, interval=PERIOD_MS, timerType=Qt.TimerType.PreciseTimer)
        self._timer.timeout.connect(self._note)

    def begin(self) -> None:
        """Measure from now on."""
        self.late = []
        self._clock.start()
        self._timer.start()

    def end(self) -> str:
        """Stop, and return the figures in words."""
        self._timer.stop()
        late = np.array(self.late)
        return f"late {np.median(late):6.1f} median {np.percentile(late, 99):6.1f} p99 {late.max():6.1f} max ms"

    def _note(self) -> None:
        self.late.append(max(0.0, self._clock.nsecsElapsed() / 1e6 - PERIOD_MS))
        self._clock.start()


def save_capture(look: Look, folder: Path) -> dict[str, str]:
    """Write the maps of a look as the engine does, and return the folders by state."""
    directories = {}
    for state, values in look.maps.items():
        directories[state] = str(folder / state)
        (folder / state).mkdir(parents=True, exist_ok=True)
        np.savez(folder / state / "attention.npz", attention=values)
        for name, facts in (("tokens", {"tokens": look.tokens}), ("checks", dict(look.checks[state]))):
            (folder / state / f"{name}.json").write_text(json.dumps(facts), encoding="utf-8")
    return directories


def wait(done: Callable[[], bool]) -> None:
    """Let the window live until something is so."""
    loop, timer = QEventLoop(), QTimer(interval=50)
    timer.timeout.connect(lambda: loop.quit() if done() else None)
    timer.start()
    loop.exec()


def shown(store: Store, look: Look) -> tuple[MapsView, InspectionFiles]:
    """Return the inspector with a look on screen, all its heads measured."""
    view = MapsView(store)
    files = InspectionFiles(view)
    view.layout().insertWidget(0, files.work)
    view.resize(1200, 800)
    view.show()
    view.show_look(look)
    wait(lambda: bool(view.statistics.by_state))
    settle()
    return view, files


def settle() -> None:
    """Let the window live for a while."""
    clock = QElapsedTimer()
    clock.start()
    wait(lambda: clock.elapsed() > SETTLE_MS)


class Idle:
    """A process that only waits."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", IDLE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def latest(self) -> float:
        """Return by how much it woke late at most since it was last asked, in milliseconds."""
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return float(self._process.stdout.readline())

    def end(self) -> None:
        """Let it go."""
        self._process.stdin.close()
        self._process.wait()


def written(store: Store, look: Look, long_look: Look, folder: Path, only: str = "") -> None:
    """Write every kind of file and print how the window lived meanwhile; only: the kinds whose names have this."""
    folder.mkdir(parents=True, exist_ok=True)
    view, files = shown(store, look)
    long_view, long_files = shown(store, long_look)
    failed: list[Exception] = []
    for each in (files, long_files):
        each.failed.connect(failed.append)
    n_layers, n_heads = look.shape
    all_heads = tuple(np.ndindex(n_layers, n_heads))
    opened: list[object] = []
    files.opened.connect(lambda *found: opened.append(found))
    batch = Batch(look, all_heads, ("pdf", "svg", "png"), folder, "after", True, 1.0, 300)
    some = Batch(look, all_heads[:8], ("pdf", "svg", "png"), folder, "after", True, 1.0, 300)
    view.head.split.setChecked(True)
    settle()  # what is measured is the writing, not how the second view is drawn first
    lines = view.head.view("lines")

    def several() -> None:
        files.write_figures(some)
        files.save_page(folder / "page.html")
        files.save(folder / "one.attune-look")
        view.head.export("csv", folder / "one.csv")

    kinds: dict[str, Callable[[], object]] = {
        "batch": lambda: files.write_figures(batch),
        "page": lambda: files.save_page(folder / "page.html"),
        "look": lambda: files.save(folder / "one.attune-look"),
        "open": lambda: files.open(folder / "one.attune-look"),
        "long csv": lambda: long_view.head.export("csv", folder / "long.csv"),
        "long pdf": lambda: long_view.head.export("pdf", folder / "long.pdf"),
        "all npz": lambda: view.head.export("npz-all", folder / "all.npz"),
        "lines pdf": lambda: view.head.export("pdf", folder / "lines.pdf", lines),
        "lines svg": lambda: view.head.export("svg", folder / "lines.svg", lines),
        "several": several,
        "nothing": lambda: None,
    }
    idle = Idle()
    for name, start in kinds.items():
        if only in name:
            measure(name, start, lambda: files.work.is_busy or long_files.work.is_busy, view, idle)
            assert not failed, failed
    idle.end()
    for each in (view, long_view):
        each.close()


def measure(name: str, start: Callable[[], object], is_busy: Callable[[], bool], view: MapsView, idle: Idle) -> None:
    """Print how late the window is from `start` until it is done, a second at least."""
    lateness, began = Lateness(view), time.perf_counter()
    idle.latest()
    lateness.begin()
    start()
    wait(lambda: not is_busy() and time.perf_counter() - began > 1)
    load = f", load {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    taken = time.perf_counter() - began
    print(f"{name:10} {taken:6.1f} s  {lateness.end()}, idle {idle.latest():5.1f} max{load}", flush=True)
