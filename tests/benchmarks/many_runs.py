"""How long the Runs page takes to open with many runs in the workspace.

    python tests/benchmarks/many_runs.py [--runs 1000]

The runs are copies of the directory of a short recorded one (summary, spec, a log of a hundred steps). Prints one JSON
object: seconds until the page, opened for the first time, shows all rows, the lateness of a 10 ms timer from then on
for ten seconds while the window looks for what others do, and the seconds of opening the page a second time.
"""

import argparse
import json
import os
import tempfile
import time
from pathlib import Path

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

from million_points import wait
from window_lateness import Lateness

from studio.core import events as ev
from studio.core.files import write_json
from studio.core.paths import sample_file
from studio.core.rundir import EventWriter, create_run
from studio.core.spec import parse_spec
from studio.core.state import new_state, summarise


def make_runs(workspace: Path, n: int) -> None:
    spec = parse_spec({"data": {"train": str(sample_file())}, "columns": {"text": "text", "label": "label"}})
    for i in range(n):
        run = create_run(workspace, spec)
        state, writer = new_state(run), EventWriter(run.events_file)
        told = [ev.Started(pid=1, version="0")]
        told += [
            ev.Metrics(split="train", step=k, epoch=k / 50, total_steps=100, values={"loss": 1 / k + i / n})
            for k in range(1, 101)
        ]
        told += [ev.Finished(result={"metrics": {"test": {"accuracy": i / n}}})]
        for event in told:
            state.apply(event)
        writer.write(told)
        writer.close()
        write_json(run.summary_file, summarise(state))


def main() -> None:
    from studio.ui.app import make_app, make_window

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=1000)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        make_runs(Path(folder), given.runs)
        make_app()
        window = make_window(Path(folder), keep_spare=False)
        window.resize(1180, 760)
        window.show()
        wait(3000)
        found = {"runs": given.runs}
        for name in ("first", "again"):
            clock = time.perf_counter()
            window.show_page("runs")
            while len(window.pages["runs"].rows) < given.runs:
                wait(5)
            window.pages["runs"].grab()
            found[name] = round(time.perf_counter() - clock, 3)
            if name == "first":
                lateness = Lateness(window)
                lateness.begin()
                wait(10_000)
                found["meanwhile"] = lateness.figures()
            window.show_page("data")
            wait(200)
        print(json.dumps(found))
        window.close()


if __name__ == "__main__":
    main()
