"""How long a new process takes to show the window on an empty desk, and what it then holds.

    python tests/benchmarks/window_start.py [--runs 7]

Prints one JSON object: median seconds from the start of the process to the painted window, resident megabytes, and
the heavy modules that were imported (there should be none).
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time

from studio.supervisor import environment

_CHILD = """
import sys, time
from pathlib import Path
from studio.ui.app import make_window
window = make_window(Path(sys.argv[1]))
window.show()
window.app.processEvents()
window.grab()
shown = time.time()
import psutil, json
heavy = [m for m in ("torch", "transformers", "datasets", "pyarrow", "pyqtgraph", "sklearn") if m in sys.modules]
print(json.dumps({"shown": shown, "megabytes": psutil.Process().memory_info().rss / 1e6, "heavy": heavy}))
window.close()
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=7)
    runs = parser.parse_args().runs
    env = environment() | ({} if "DISPLAY" in os.environ else {"QT_QPA_PLATFORM": "offscreen"})
    seconds, megabytes, heavy = [], [], set()
    for i in range(runs + 1):
        with tempfile.TemporaryDirectory() as folder:
            began = time.time()
            done = subprocess.run(
                [sys.executable, "-P", "-c", _CHILD, folder], env=env, stdout=subprocess.PIPE, text=True
            )
        found = json.loads(done.stdout.splitlines()[-1])
        if i == 0:
            continue  # brings the files into the page cache
        seconds.append(found["shown"] - began)
        megabytes.append(found["megabytes"])
        heavy |= set(found["heavy"])
    print(
        json.dumps(
            {
                "seconds": round(statistics.median(seconds), 3),
                "all": [round(s, 3) for s in seconds],
                "megabytes": round(statistics.median(megabytes), 1),
                "heavy": sorted(heavy),
            }
        )
    )


if __name__ == "__main__":
    main()
