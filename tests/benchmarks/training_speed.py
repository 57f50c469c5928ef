"""Attune's defaults against a plain script, pair by pair: samples per second of training, and accuracy.

    python tests/benchmarks/training_speed.py PLAIN.py MODEL_DIR TRAIN.tsv DEV.tsv [--epochs 2] [--seeds 42 43 44]

PLAIN.py takes MODEL_DIR TRAIN DEV --epochs N and prints one JSON line with samples_per_second and accuracy. The files
have no header: text, tab, label. Prints one JSON object a pair and one with the medians.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from studio.core.processes import command, environment


def last_line(arguments: list[str], folder: str) -> dict:
    done = subprocess.run(arguments, cwd=folder, env=environment(), capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stderr)
    return json.loads(done.stdout.splitlines()[-1])


def attune(folder: str, given: argparse.Namespace, seed: int) -> dict:
    spec = {
        "data": {"train": str(given.train.absolute()), "validation": str(given.dev.absolute()), "test": 0.0},
        "columns": {"text": 0, "label": 1},
        "model": str(given.model.absolute()),
        "training": {"num_train_epochs": given.epochs, "seed": seed},
    }
    path = Path(folder) / "spec.json"
    path.write_text(json.dumps(spec))
    return last_line(command("train", str(path), "--json", "--workspace", folder), folder)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("plain", "model", "train", "dev"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--epochs", type=float, default=2)
    parser.add_argument("--seeds", type=int, nargs="+", default=[42, 43, 44])
    given = parser.parse_args()
    plain_command = [sys.executable, *(str(p.absolute()) for p in (given.plain, given.model, given.train, given.dev))]
    pairs = []
    for seed in given.seeds:
        with tempfile.TemporaryDirectory() as folder:
            plain = last_line([*plain_command, "--epochs", str(given.epochs)], folder)
            ours = attune(folder, given, seed)
        pair = {
            "seed": seed,
            "plain": plain["samples_per_second"],
            "attune": round(ours["samples_per_second"], 2),
            "ratio": round(ours["samples_per_second"] / plain["samples_per_second"], 2),
            "plain_accuracy": plain["accuracy"],
            "attune_accuracy": round(ours["metrics"]["validation"]["accuracy"], 4),
        }
        print(json.dumps(pair), flush=True)
        pairs.append(pair)
    summary = {
        "median_ratio": statistics.median(pair["ratio"] for pair in pairs),
        "plain_accuracy": round(statistics.mean(pair["plain_accuracy"] for pair in pairs), 4),
        "attune_accuracy": round(statistics.mean(pair["attune_accuracy"] for pair in pairs), 4),
    }
    print(json.dumps(summary))


if __name__ == "__main__":
    main()
