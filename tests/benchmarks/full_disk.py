"""Lets the disk run full at different moments of each kind of run, makes room again, and sees what came of it.

    mount -t tmpfs -o size=400m tmpfs FOLDER; python tests/benchmarks/full_disk.py FOLDER [--method lora]
        [--epochs 1] [--format onnx] [--only export --rooms 2e7 6e7]

FOLDER is an empty file system of a few hundred megabytes (2500 for the method full); a file in it takes all but a
little of its room. A training of the sample, an evaluation, a prediction and an export begin with less or more of that
room, so that another write fails each time. Prints one JSON object a case: how it ended, for which reason, and how it
ended once there was room (a training is resumed, the others are done again), what an export left that is not whole, and
the largest difference of a step's loss from an unharmed run.
"""

import argparse
import json
import os
import shutil
from pathlib import Path
from typing import Any

from studio import supervisor
from studio.core import events as ev
from studio.core.paths import sample_file
from studio.core.reasons import Failure
from studio.core.registry import parse_config
from studio.core.replay import read_end
from studio.core.rundir import RunDir, read_events
from studio.core.spec import EvaluateSpec, ExportSpec, PredictSpec, parse_spec
from studio.core.state import RunState

ROOM = {
    "train": (0, 4e3, 2e4, 6e4, 1.2e5, 2.5e5, 5e5, 1e6, 2e6, 4e6, 6e6, 9e6, 1.3e7, 1.8e7, 2.3e7),
    "evaluate": (0, 1e4, 5e4),
    "predict": (0, 1e4, 5e4),
    "export": (0, 1e6, 2e7, 6e7, 1.2e8),
}


def fill(folder: Path, room: float) -> Path:
    """Leave so many bytes of a file system."""
    file = folder / "filler"
    with open(file, "wb") as stream:
        left = shutil.disk_usage(folder).free - int(room)
        while left > 0:
            left -= stream.write(bytes(min(left, 1 << 20)))
    return file


def follow(run: RunDir) -> RunState:
    supervisor.wait(run, 0.05)
    return read_end(run)


def attempt(workspace: Path, spec: Any) -> tuple[RunDir | None, str, str]:
    try:
        run = supervisor.start_new(workspace, spec)
    except Failure as error:
        return None, "refused", error.problem.reason
    except OSError as error:
        return None, "refused", f"bare {type(error).__name__}"
    state = follow(run)
    return run, state.state, state.problem.reason if state.problem else ""


def losses(run: RunDir) -> dict[int, float]:
    points = {e.step: e.values["loss"] for e in read_events(run) if isinstance(e, ev.Metrics) and e.split == "train"}
    return dict(sorted(points.items()))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--method", default="lora")
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--format", default="onnx")
    parser.add_argument("--only", choices=ROOM, help="the only kind of run")
    parser.add_argument("--rooms", nargs="+", type=float, help="bytes that are left, else those of ROOM")
    given = parser.parse_args()
    workspace = given.folder / "workspace"
    train = parse_spec(
        {
            "data": {"train": str(sample_file())},
            "columns": {"text": "text", "label": "label"},
            "model": "starter",
            "method": {"kind": given.method},
            "training": {"num_train_epochs": given.epochs, "per_device_train_batch_size": 32},
        }
    )
    whole, *_ = attempt(workspace, train)
    expected = losses(whole)
    out, form = given.folder / "out", parse_config("exporters", given.format)
    specs = {
        "train": train,
        "evaluate": EvaluateSpec(run=str(whole.path)),
        "predict": PredictSpec(run=str(whole.path), data=train.data.train, out=str(out / "found.csv")),
        "export": ExportSpec(run=str(whole.path), format=form, out=str(out / "model")),
    }
    for kind, rooms in ROOM.items():
        for room in (given.rooms or rooms) if given.only in (None, kind) else ():
            shutil.rmtree(out, ignore_errors=True)
            shutil.rmtree(workspace / "cache", ignore_errors=True)
            filler = fill(given.folder, room)
            run, state, reason = attempt(workspace, specs[kind])
            os.remove(filler)
            found = {"kind": kind, "room": int(room), "end": state, "reason": reason}
            if state != "finished":
                if run is not None and kind == "train":
                    supervisor.start(run)
                    after = follow(run)
                else:
                    run, *_ = attempt(workspace, specs[kind])
                    after = follow(run)
                found |= {"then": after.state, "why": after.problem.reason if after.problem else ""}
            found["left"] = [path.name for path in out.glob("*") if path.name.endswith((".partial", ".tmp"))]
            if kind == "train":
                then = losses(run)
                found["difference"] = max(abs(expected[s] - then.get(s, float("inf"))) for s in expected)
            print(json.dumps(found), flush=True)
            if run is not None:
                shutil.rmtree(run.path)


if __name__ == "__main__":
    main()
