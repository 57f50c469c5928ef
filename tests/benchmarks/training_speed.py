"""Attune's defaults against a plain script, pair by pair: samples per second of training, and accuracy.

    python tests/benchmarks/training_speed.py PLAIN.py MODEL_DIR TRAIN.tsv DEV.tsv [--epochs 2] [--seeds 42 43 44]
        [--rows N] [--method full|freeze-all|freeze-half|lora]

PLAIN.py takes MODEL_DIR TRAIN DEV --epochs N and prints one JSON line with samples_per_second and accuracy; for a
method other than full it is `plain_method.py`. The files have no header: text, tab, label. --rows: only the first N.
Prints one JSON object a pair and one with the medians. Attune's speed counts all that its training took: the output
of frozen layers too, checkpoints and evaluations not.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from studio.core.processes import command, environment


def last_line(arguments: list[str], folder: str, variables: dict[str, str]) -> dict:
    done = subprocess.run(arguments, cwd=folder, env=variables, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stderr)
    return json.loads(done.stdout.splitlines()[-1])


METHODS = {
    "full": {"kind": "full"},
    "freeze-all": {"kind": "freeze", "layers": "all"},
    "freeze-half": {"kind": "freeze", "layers": 3},
    "lora": {"kind": "lora", "r": 8},
}


def first_rows(given: argparse.Namespace, folder: str) -> Path:
    if not given.rows:
        return given.train.absolute()
    path = Path(folder) / "rows.tsv"
    lines = given.train.read_text(encoding="utf-8").splitlines()[: given.rows]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def attune(folder: str, train: Path, given: argparse.Namespace, seed: int) -> dict:
    spec = {
        "data": {"train": str(train), "validation": str(given.dev.absolute()), "test": 0.0},
        "columns": {"text": 0, "label": 1},
        "model": str(given.model.absolute()),
        "method": METHODS[given.method],
        "training": {"num_train_epochs": given.epochs, "seed": seed},
    }
    path = Path(folder) / "spec.json"
    path.write_text(json.dumps(spec))
    return last_line(command("train", str(path), "--json", "--workspace", folder), folder, environment())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("plain", "model", "train", "dev"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--epochs", type=float, default=2)
    parser.add_argument("--rows", type=int)
    parser.add_argument("--method", choices=METHODS, default="full")
    parser.add_argument("--seeds", type=int, nargs="+", default=[42, 43, 44])
    given = parser.parse_args()
    pairs = []
    for seed in given.seeds:
        with tempfile.TemporaryDirectory() as folder:
            train = first_rows(given, folder)
            plain_command = [sys.executable, *(str(p.absolute()) for p in (given.plain, given.model, train, given.dev))]
            method = [] if given.method == "full" else ["--method", given.method]
            plain = last_line([*plain_command, "--epochs", str(given.epochs), *method], folder, {**os.environ})
            ours = attune(folder, train, given, seed)
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
