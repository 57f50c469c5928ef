"""Thousands of updates and repaints of a run's curves: nothing aborts, and the memory does not grow.

    python tests/benchmarks/soak.py [--times 20000]

A run's five plots get one step after another, are drawn with each, and the plot of the loss is repainted each time.
Prints one JSON object: resident megabytes and Python objects after a tenth of it and at the end, the megabytes of the
points themselves, and the versions, since PySide6 6.12.0 on Python 3.11 aborts within a thousand signals.
"""

import argparse
import gc
import json
import math
import os
import platform
import time

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

import psutil
import PySide6
from PySide6.QtCore import QCoreApplication

from studio.core import events as ev
from studio.core.state import RunState
from studio.ui.app import make_app


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--times", type=int, default=20_000)
    print(json.dumps(soak(parser.parse_args().times)), flush=True)


def soak(times: int) -> dict:
    from studio.ui.panels.run_plots import RunPlots

    make_app()
    plots, state = RunPlots(0.6), RunState(id="soak")
    plots.resize(900, 500)
    plots.show()
    state.apply(ev.Started(pid=1, version="0"))
    began, repaints, early = time.monotonic(), 0, (0.0, 0)
    for at in range(times):
        values = {"loss": math.cos(at), "learning_rate": 1 / (at + 1), "grad_norm": 1.0 + at % 7}
        state.apply(ev.Metrics(split="train", step=at + 1, epoch=at / 1000, total_steps=times, values=values))
        if at % 50 == 0:
            state.apply(ev.Resources(rss_bytes=10**9, cpu_percent=100.0))
            state.apply(ev.Metrics(split="validation", step=at + 1, epoch=at / 1000, values={"accuracy": 0.5}))
        plots.show_state(state)
        for plot in plots.all:
            plot.redraw()
        plots.loss.canvas.viewport().repaint()
        repaints += 1
        QCoreApplication.processEvents()
        if at + 1 == times // 10:
            early = weigh()
    late = weigh()
    points = sum(len(track) * 4 for track in state.tracks.values()) + sum(len(s) for s in state.series.values())
    return {
        "updates": times * len(plots.all),
        "repaints": repaints,
        "seconds": round(time.monotonic() - began),
        "megabytes": [round(early[0], 1), round(late[0], 1)],
        "points_megabytes": round(points * 8 / 1e6, 1),
        "objects": [early[1], late[1]],
        "python": platform.python_version(),
        "pyside6": PySide6.__version__,
    }


def weigh() -> tuple[float, int]:
    """Return the megabytes of this process and how many objects Python has."""
    gc.collect()
    return psutil.Process().memory_info().rss / 1e6, len(gc.get_objects())


if __name__ == "__main__":
    main()
