"""The int8 export of a trained run against the trained model: size, speed at batch 32, metric.

    python tests/benchmarks/export_int8.py RUN [--repeats 3]

RUN is the directory of a finished training. Each repeat exports anew and is verified by a fresh process, which times
both models in turn on the same texts. Prints one JSON object a repeat and one with the medians.
"""

import argparse
import json
import statistics
import subprocess
import tempfile
from pathlib import Path

from studio.core.processes import command, environment


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("--repeats", type=int, default=3)
    given = parser.parse_args()
    run, rows = given.run.absolute(), []
    for _ in range(given.repeats):
        with tempfile.TemporaryDirectory() as folder:
            arguments = ["export", str(run), "--format", "onnx-int8", "--out", f"{folder}/model", "--json"]
            done = subprocess.run(
                command(*arguments, "--workspace", str(run.parents[1])),
                env=environment(), stdout=subprocess.PIPE, text=True, check=True,
            )  # fmt: skip
        found = json.loads(done.stdout.splitlines()[-1])
        row = {
            "size_ratio": round(found["size_bytes"] / found["reference_size_bytes"], 4),
            "speed_ratio": round(found["reference_latency_ms"] / found["latency_ms"], 2),
            "metric_change": round(found["metric"] - found["reference_metric"], 4),
            "n_rows": found["n_rows"],
            "verified": found["verified"],
        }
        print(json.dumps(row), flush=True)
        rows.append(row)
    names = ("size_ratio", "speed_ratio", "metric_change")
    print(json.dumps({f"median_{name}": statistics.median(row[name] for row in rows) for name in names}))


if __name__ == "__main__":
    main()
