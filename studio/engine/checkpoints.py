"""Checkpoints that are whole or absent: written aside, synced, renamed into place."""

import contextlib
import os
import shutil
from pathlib import Path

from studio.core.files import read_json
from studio.core.rundir import RunDir

PARTIAL = ".partial"
CLOCK = "clock.json"
MODEL_PARTIAL = ".model.partial"  # the trained model, while it is written
BASE_PARTIAL = ".base.partial"  # the same without adapters


def last_checkpoint(run: RunDir) -> tuple[int, Path] | None:
    """Return step and folder of a run's newest complete checkpoint, or None."""
    return max(run.checkpoints().items(), default=None)


def seconds_of(checkpoint: Path) -> float | None:
    """Return the clock of a checkpoint's step; None in those of older versions."""
    return (read_json(checkpoint / CLOCK) or {}).get("train_seconds")


def put_in_place(partial: Path, final: Path) -> None:
    """Sync a folder's files to the disk and give the folder its name; a former one of that name is replaced."""
    for file in partial.rglob("*"):
        if file.is_file():
            with open(file, "r+b") as stream:
                os.fsync(stream.fileno())
    if final.exists():
        shutil.rmtree(final)
    os.replace(partial, final)
    if os.name == "posix":  # Windows can't open folders, and needs no sync of them
        with contextlib.suppress(OSError):
            folder = os.open(final.parent, os.O_RDONLY)
            os.fsync(folder)
            os.close(folder)


def discard_partial(run: RunDir) -> None:
    """Remove what a worker that died left behind: half a checkpoint or model, the output of frozen layers."""
    for partial in (run.checkpoints_dir / PARTIAL, run.path / MODEL_PARTIAL, run.path / BASE_PARTIAL):
        shutil.rmtree(partial, ignore_errors=True)
    for file in run.path.glob("trunk.*"):
        with contextlib.suppress(OSError):  # Windows keeps a file that is mapped
            file.unlink(missing_ok=True)
