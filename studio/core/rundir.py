"""A run is a directory: where its files are, how its log is written, read and followed."""

import os
import re
import secrets
import shutil
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from studio.core.disk import can_not_write
from studio.core.events import Event, dump_event, parse_event, parse_events
from studio.core.files import read_json, write_json
from studio.core.locks import is_held
from studio.core.reasons import Failure
from studio.core.spec import dump_spec, parse_spec

PROBES = "probes"  # the folder of the workspace for runs that nobody keeps
_TAIL_BYTES = 1 << 20  # more than any line of a log has


@dataclass(frozen=True)
class RunDir:
    """The files of one run; nothing is read or made before it is asked for."""

    path: Path

    @property
    def id(self) -> str:
        return self.path.name

    @property
    def is_probe(self) -> bool:
        """Return whether the run is a probe, which is kept out of all lists and removed when it has ended."""
        return self.path.parent.name == PROBES

    spec_file = property(lambda self: self.path / "spec.json")
    resolved_file = property(lambda self: self.path / "resolved.json")
    events_file = property(lambda self: self.path / "events.jsonl")
    lock_file = property(lambda self: self.path / "worker.lock")
    exit_file = property(lambda self: self.path / "exit.json")
    summary_file = property(lambda self: self.path / "summary.json")
    meta_file = property(lambda self: self.path / "meta.json")
    log_file = property(lambda self: self.path / "worker.log")
    model_dir = property(lambda self: self.path / "model")
    checkpoints_dir = property(lambda self: self.path / "checkpoints")

    def checkpoints(self) -> dict[int, Path]:
        """Return the complete checkpoints that lie on the disk, by step, in the order of their steps."""
        found = {}
        for file in self.checkpoints_dir.glob("checkpoint-*/trainer_state.json"):
            step = (read_json(file) or {}).get("global_step")
            if step is not None:
                found[step] = file.parent
        return dict(sorted(found.items()))

    def spec(self) -> Any:
        """Return the run's spec. Raises Failure when it is missing or does not fit."""
        value = read_json(self.spec_file)
        if value is None:
            raise Failure("spec-missing", path=str(self.spec_file))
        return parse_spec(value, self.path)

    def is_alive(self) -> bool:
        """Return whether a worker lives in this run."""
        return is_held(self.lock_file)

    def name(self) -> str:
        """Return the name a person gave to the run, or ""."""
        return (read_json(self.meta_file) or {}).get("name", "")

    def rename(self, name: str) -> None:
        """Give the run a name of the person's choice."""
        write_json(self.meta_file, (read_json(self.meta_file) or {}) | {"name": name})

    def log_tail(self, n_lines: int = 5) -> str:
        """Return the last non-empty lines of the worker's own output."""
        try:
            with open(self.log_file, "rb") as file:
                file.seek(max(0, self.log_file.stat().st_size - 32_768))
                lines = file.read().decode("utf-8", "replace").splitlines()
        except OSError:
            return ""
        return "\n".join([line for line in lines if line.strip()][-n_lines:])


def create_run(workspace: Path, spec: Any, folder: str = "runs") -> RunDir:
    """Make a new run directory for `spec` in a folder of the workspace and write the spec into it.

    Only what lies in `runs` is listed; a probe lies in PROBES and is removed when it has ended.
    """
    moment = time.strftime("%Y%m%d-%H%M%S")
    names = (f"{moment}-{spec.kind}-{secrets.token_hex(2)}" for _ in range(100))
    path = next(p for name in names if not (p := workspace / folder / name).exists())
    try:
        path.mkdir(parents=True)
        run = RunDir(path)
        write_json(run.spec_file, dump_spec(spec))
    except OSError as error:
        shutil.rmtree(path, ignore_errors=True)  # without its spec it is no run
        raise can_not_write(workspace, error) from error
    if getattr(spec, "name", ""):
        run.rename(spec.name)
    return run


def clear_probes(workspace: Path) -> None:
    """Remove the probes whose worker is gone, such as those of a window that was killed."""
    for path in (workspace / PROBES).glob("*"):
        # One without a lock was perhaps made by another window in this very moment.
        if RunDir(path).lock_file.exists() and not RunDir(path).is_alive():
            shutil.rmtree(path, ignore_errors=True)


def change_training(run: RunDir, changes: dict[str, Any]) -> None:
    """Change training settings of a run that will be resumed; its former spec stays as `spec.attempt<n>.json`.

    Raises Failure where the changed spec does not fit.
    """
    spec = read_json(run.spec_file) or {}
    changed = spec | {"training": spec.get("training", {}) | changes}
    parse_spec(changed, run.path)
    n = next(n for n in range(1, 10_000) if not (run.path / f"spec.attempt{n}.json").exists())
    write_json(run.path / f"spec.attempt{n}.json", spec)
    write_json(run.spec_file, changed)


def list_runs(workspace: Path) -> list[RunDir]:
    """Return the workspace's runs, newest first."""
    folder = workspace / "runs"
    if not folder.is_dir():
        return []
    return [RunDir(p) for p in sorted(folder.iterdir(), reverse=True) if (p / "spec.json").is_file()]


def find_run(workspace: Path, name: str) -> RunDir:
    """Return the run that `name` means: an id, an unambiguous beginning or end of one, a folder, or `last`.

    Raises Failure "run-missing".
    """
    folder = Path(name).expanduser()
    if (folder / "spec.json").is_file():
        return RunDir(folder.absolute())
    runs = list_runs(workspace)
    if name == "last":
        trainings = [run for run in runs if "-train-" in run.id]
        # What still waits in the queue is not what anybody means by it.
        runs = ([run for run in trainings if run.events_file.exists()] or trainings)[:1]
    else:
        runs = [r for r in runs if r.id == name] or [r for r in runs if r.id.startswith(name) or r.id.endswith(name)]
    if len(runs) != 1:
        raise Failure("run-missing", run=name)
    return runs[0]


def move_to_bin(workspace: Path, run: RunDir) -> Path:
    """Move a run to the workspace's bin and return where it lies; `restore` brings it back."""
    target = workspace / "bin" / run.id
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.exists():
        shutil.rmtree(target)
    return Path(shutil.move(run.path, target))


def restore(workspace: Path, binned: Path) -> RunDir:
    """Bring a run back from the bin."""
    return RunDir(Path(shutil.move(binned, workspace / "runs" / binned.name)))


class EventWriter:
    """Appends events to a run's log; only the worker has one.

    A torn last line of a former worker is completed with a newline first, so that readers skip it alone.
    """

    def __init__(self, path: Path):
        self._file = open(path, "a+b", buffering=0)  # noqa: SIM115 (open for the life of the worker)
        self._rest = b""
        if self._file.tell() > 0:
            self._file.seek(-1, os.SEEK_END)
            if self._file.read(1) != b"\n":
                self._rest = b"\n"

    def write(self, events: Iterable[Event]) -> None:
        """Hand events to the operating system as one batch of lines.

        Raises OSError on a full disk; what could not be written is kept and goes first the next time.
        """
        self._rest += "".join(dump_event(event) + "\n" for event in events).encode()
        while self._rest:
            self._rest = self._rest[self._file.write(self._rest) :]

    def sync(self) -> None:
        """Wait until all that was written is on the disk itself."""
        os.fsync(self._file.fileno())

    def close(self) -> None:
        self._file.close()


class EventReader:
    """Reads a run's log from where the last call ended; a line without its newline waits for the next call.

    parse: what makes events of complete lines, where it is not one event a line. offset: the byte to begin with, at
    the beginning of a line.
    """

    def __init__(self, path: Path, parse: Callable[[bytes], list[Any]] | None = None, offset: int = 0):
        self.path = path
        self._offset, self._parse = offset, parse or parse_events

    @property
    def offset(self) -> int:
        """Up to which byte the log has been read."""
        return self._offset

    def read(self, most_bytes: int = 4 << 20) -> list[Any]:
        """Return the events that have been completed since the last call, at most `most_bytes` of them."""
        try:
            with open(self.path, "rb") as file:
                file.seek(self._offset)
                data = file.read(most_bytes)
        except FileNotFoundError:
            return []
        end = data.rfind(b"\n") + 1
        self._offset += end
        return self._parse(data[:end])


def read_events(run: RunDir) -> list[Event]:
    """Return all events of a run."""
    reader, events = EventReader(run.events_file), []
    while batch := reader.read():
        events += batch
    return events


def last_event(run: RunDir) -> Event | None:
    """Return the newest event of a run, from the end of its log alone; None when that is none."""
    try:
        with open(run.events_file, "rb") as file:
            file.seek(max(0, run.events_file.stat().st_size - _TAIL_BYTES))
            lines = file.read().rpartition(b"\n")[0].splitlines()
    except OSError:
        return None
    return parse_event(lines[-1]) if lines else None


def readable_id(run_id: str) -> str:
    """Return a run's id as people say it: `train 7f3a`."""
    found = re.fullmatch(r"\d{8}-\d{6}-(\w+)-(\w+)", run_id)
    return f"{found[1]} {found[2]}" if found else run_id
