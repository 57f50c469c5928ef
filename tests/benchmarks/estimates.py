"""What was told before five kinds of training, by formula and by a probe, against what they then took.

    python tests/benchmarks/estimates.py DATA.tsv [--model starter] [--epochs 1] [--rows 4000] [--only full-short ...]

DATA has no header: text, tab, label. Long texts are made by joining texts of one label. Each kind is probed, then
trained, each time in a spare worker that has done its imports, as in the window; nothing else should run. Prints one
JSON object a kind and one with the largest errors: peak memory is the largest resident size seen every 20 ms, time is
from the worker's first event to its last.
"""

import argparse
import contextlib
import json
import random
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from studio import supervisor
from studio.core import estimate
from studio.core import events as ev
from studio.core.anatomy import classifier_head, describe_model
from studio.core.locks import holder
from studio.core.registry import plugin
from studio.core.rundir import PROBES, RunDir, create_run, read_events
from studio.core.spec import ProbeSpec, TrainSpec, parse_spec

KINDS: dict[str, tuple[str, Any, dict[str, Any]]] = {
    "full-short": ("short", "full", {"per_device_train_batch_size": 32}),
    "full-long": ("long", "full", {"per_device_train_batch_size": 8, "max_length": 256}),
    "full-large-batch": ("short", "full", {"per_device_train_batch_size": 128, "gradient_accumulation_steps": 2}),
    "freeze-short": ("short", {"kind": "freeze", "layers": 3}, {"per_device_train_batch_size": 32}),
    "lora-long": ("long", {"kind": "lora", "r": 8}, {"per_device_train_batch_size": 16, "max_length": 192}),
}


def make_data(source: Path, folder: Path, n_short: int, n_long: int) -> dict[str, Path]:
    rows = [line.split("\t") for line in source.read_text("utf-8").splitlines() if line.count("\t") == 1]
    draw = random.Random(0)
    by_label: dict[str, list[str]] = {}
    for text, label in rows:
        by_label.setdefault(label, []).append(text)
    short = draw.sample(rows, min(n_short, len(rows)))
    labels = [draw.choice(sorted(by_label)) for _ in range(n_long)]
    long = [(" ".join(draw.choices(by_label[label], k=draw.randint(3, 14))), label) for label in labels]
    files = {}
    for name, chosen in (("short", short), ("long", long)):
        files[name] = folder / f"{name}.tsv"
        files[name].write_text("".join(f"{text}\t{label}\n" for text, label in chosen), encoding="utf-8")
    return files


def execute(workspace: Path, run: RunDir) -> tuple[list[ev.Event], int]:
    """Return the events of a run in a fresh spare worker, and its largest resident memory in bytes."""
    assert supervisor.keep_spare(workspace)
    spare = psutil.Process().children()[-1]
    while spare.cpu_percent(0.5) > 10:
        pass  # it still imports
    supervisor.start(run)
    peak, over, process = 0, threading.Event(), psutil.Process(holder(run.lock_file)["pid"])

    def watch() -> None:
        nonlocal peak
        with contextlib.suppress(psutil.Error):
            while not over.wait(0.02):
                peak = max(peak, process.memory_info().rss)

    watcher = threading.Thread(target=watch)
    watcher.start()
    for _ in supervisor.follow(run):
        pass
    over.set()
    watcher.join()
    supervisor.end_spare(workspace)
    return read_events(run), peak


def by_formula(spec: TrainSpec, lengths: np.ndarray, found: ev.Estimated) -> estimate.Estimate:
    info = describe_model(spec.model)
    tensors = [*info.tensors, *classifier_head(info, 2)]
    pieces = plugin("methods", spec.method).n_trainable(tensors, spec.method)
    parts = (found.n_train, found.n_validation, found.n_test)
    keeps = estimate.keeps_frozen(spec.method)
    job = estimate.Job(pieces, info.n_heads, lengths[: parts[0]], parts, spec.method.kind, spec.training, keeps)
    return estimate.estimate(job, estimate.Machine(1 << 40, 1 << 40, found.precision))


def lengths_of(path: Path, most: int) -> np.ndarray:
    """Return about how many tokens each text has, as the window guesses it: a token for four to five letters."""
    letters = [len(line.split("\t")[0]) for line in path.read_text("utf-8").splitlines()]
    return np.minimum(2 + np.round(np.array(letters) / 4.5).astype(int), most)


def compare(workspace: Path, files: dict[str, Path], name: str, model: str, epochs: float) -> dict[str, Any]:
    data, method, training = KINDS[name]
    spec = parse_spec(
        {
            "data": {"train": str(files[data])},
            "columns": {"text": 0, "label": 1},
            "model": model,
            "method": method,
            "training": training | {"num_train_epochs": epochs},
        }
    )
    told, _ = execute(workspace, create_run(workspace, ProbeSpec(what="estimate", train=spec), PROBES))
    found = next(e for e in told if isinstance(e, ev.Estimated))
    formula = by_formula(spec, lengths_of(files[data], spec.training.max_length), found)
    happened, peak = execute(workspace, create_run(workspace, spec))
    if not isinstance(happened[-1], ev.Finished):
        raise SystemExit(f"{name}: {happened[-1]}")
    seconds = happened[-1].time - happened[0].time
    return {
        "kind": name,
        "memory_mb": round(peak / 1e6),
        "probe_memory_mb": round(found.peak_bytes / 1e6),
        "formula_memory_mb": round(formula.memory / 1e6),
        "seconds": round(seconds, 1),
        "probe_seconds": round(found.seconds, 1),
        "formula_seconds": round(formula.seconds, 1),
        "probe_error": {"memory": share(found.peak_bytes, peak), "time": share(found.seconds, seconds)},
        "formula_error": {"memory": share(formula.memory, peak), "time": share(formula.seconds, seconds)},
        "probe_took_seconds": round(told[-1].time - told[0].time, 1),
    }


def share(said: float, true: float) -> float:
    return round(said / true - 1, 3)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--model", default="starter")
    parser.add_argument("--epochs", type=float, default=1)
    parser.add_argument("--rows", type=int, default=4000, help="short texts; an eighth as many long ones")
    parser.add_argument("--only", nargs="+", choices=list(KINDS), default=list(KINDS))
    given = parser.parse_args()
    results = []
    with tempfile.TemporaryDirectory() as folder:
        files = make_data(given.data, Path(folder), given.rows, given.rows // 8)
        for name in given.only:
            results.append(compare(Path(folder) / "workspace", files, name, given.model, given.epochs))
            print(json.dumps(results[-1]), flush=True)
            time.sleep(1)
    worst = {
        f"{who}_{what}": max((r[f"{who}_error"][what] for r in results), key=abs)
        for who in ("probe", "formula")
        for what in ("memory", "time")
    }
    print(json.dumps({"largest_errors": worst}))


if __name__ == "__main__":
    main()
