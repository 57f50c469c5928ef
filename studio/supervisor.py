"""Starts the worker of a run, follows what it says, and ends it; used by the window and the command line alike."""

import contextlib
import os
import secrets
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil

from studio.core import queue
from studio.core.commands import Stop, receive, send
from studio.core.events import Event
from studio.core.files import write_json
from studio.core.locks import Lock, holder
from studio.core.processes import DETACHED, command, environment, n_killed_for_memory
from studio.core.rundir import EventReader, RunDir, create_run

_SPARE_NEEDS_BYTES = 2 << 30  # what must be free: a spare takes a third of it, and shall press nobody
_RETURN_SECONDS = 3.0  # how long a spare may take to leave a probe for a run that is started
_START_SECONDS = 20.0  # the longest that a worker takes to lock its run, on a machine that is very busy


def start_new(workspace: Path, spec: Any) -> RunDir:
    """Create a run for `spec` and start its worker; returns when the worker has taken the run up, or has died."""
    run = create_run(workspace, spec)
    start(run)
    return run


def start(run: RunDir) -> None:
    """Start a worker for `run`, or give it to the spare, and return when it is taken up or the worker has died.

    A run whose worker lives is left alone. The exit of the worker is noted in `exit.json`.
    """
    if run.is_alive():
        return
    run.exit_file.unlink(missing_ok=True)
    began = time.time()
    if run.events_file.exists():
        receive(run.path)  # what was said to a former worker that is gone, such as a stop
    spare = _spares.get(run.path.parent.parent)
    process = spare.assign(run) if spare else None
    if process is not None:
        _watch(_watch_lent if run.is_probe else _note_exit, process, run, began)
        _await_worker(process, run)
    was_taken = holder(run.lock_file).get("time", 0.0) >= began
    if process is None or (process.poll() is not None and not was_taken):
        process = _start_cold(run)  # also where the spare ended in the moment in which it was given the run
        _watch(_note_exit, process, run, began)
        _await_worker(process, run)


def _watch(how: Callable, process: subprocess.Popen, run: RunDir, began: float) -> None:
    threading.Thread(target=how, args=(process, run, began), name=f"wait {run.id}", daemon=True).start()


def _await_worker(process: subprocess.Popen, run: RunDir) -> None:
    """Return when the run is taken up, when its worker is gone, or after _START_SECONDS."""
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline and process.poll() is None and not run.is_alive():
        if run.is_probe and _has_ended(run):
            return  # by a spare, which lives on
        time.sleep(0.02)


def _start_cold(run: RunDir) -> subprocess.Popen:
    with open(run.log_file, "ab") as log:
        return _popen("worker", str(run.path), output=log)


def _popen(*arguments: str, output: Any = subprocess.DEVNULL) -> subprocess.Popen:
    return subprocess.Popen(
        command(*arguments),
        stdin=subprocess.DEVNULL,  # a piped stdin can block an import on Windows
        stdout=output,
        stderr=output,
        env=environment(),
        **DETACHED,
    )


def _note_exit(process: subprocess.Popen, run: RunDir, began: float) -> None:
    killed_before = n_killed_for_memory()
    code = process.wait()
    killed = n_killed_for_memory()
    facts = {} if killed is None or killed_before is None else {"out_of_memory": killed > killed_before}
    # The run may have been moved to the bin by then.
    with contextlib.suppress(OSError):
        if run.path.is_dir():
            write_json(run.exit_file, {"pid": process.pid, "code": code, "started": began, "time": time.time()} | facts)


def _watch_lent(process: subprocess.Popen, run: RunDir, began: float) -> None:
    """Wait until a spare has come back from a probe; note its exit if it died instead."""
    while process.poll() is None:
        if _has_ended(run):
            return
        time.sleep(0.05)
    _note_exit(process, run, began)


def _has_ended(run: RunDir) -> bool:
    """Return whether a run was taken up and its worker has left it."""
    return not run.path.is_dir() or (run.events_file.exists() and not run.is_alive())


class Spare:
    """A worker that waits, with all that is slow to import done, for the next run of this process."""

    def __init__(self, workspace: Path):
        self.directory = workspace / "spare"
        self._lock = Lock(self.directory / "window.lock")
        self._process: subprocess.Popen | None = None
        self._lent: RunDir | None = None
        self._file = self.directory
        self._changing = threading.Lock()

    def keep(self) -> bool:
        """Start the spare unless it waits already; False if another process keeps one or memory is short."""
        with self._changing:
            if self._process is not None and self._process.poll() is None:
                return True
            if psutil.virtual_memory().available < _SPARE_NEEDS_BYTES or not (
                self._lock.is_mine or self._lock.acquire({}, timeout_seconds=0.1)
            ):
                return False
            self._file = self.directory / f"{secrets.token_hex(4)}.json"
            self._process = _popen("spare", str(self._file), str(os.getpid()))
            return True

    def assign(self, run: RunDir) -> subprocess.Popen | None:
        """Give `run` to the spare and return its process, or None when no spare waits.

        From a probe the spare comes back; one that is still at it is called back first.
        """
        with self._changing:
            process, self._process = self._process, None
            if process is None or process.poll() is not None or not self._call_back(process):
                return None
            if run.is_probe:
                self._process, self._lent = process, run
            write_json(self._file, {"run": str(run.path)})
            return process

    def _call_back(self, process: subprocess.Popen) -> bool:
        """Return whether the spare has left its probe, if it had one; one that does not come is ended."""
        lent, self._lent = self._lent, None
        if lent is None or _has_ended(lent):
            return True
        with contextlib.suppress(OSError):
            stop(lent)
        deadline = time.monotonic() + _RETURN_SECONDS
        while time.monotonic() < deadline and process.poll() is None:
            if _has_ended(lent):
                return True
            time.sleep(0.02)
        process.kill()
        return False

    @property
    def is_there(self) -> bool:
        """Whether a spare waits, or is at a probe from which it comes back."""
        return self._process is not None and self._process.poll() is None

    def end(self) -> None:
        """End the spare and let another process keep one."""
        with self._changing:
            if self._process is not None:
                self._process.kill()
                self._process.wait()
                self._process = None
            self._lock.release()


_spares: dict[Path, Spare] = {}


def keep_spare(workspace: Path) -> bool:
    """Have a worker ready for this process' next run in `workspace`; False when it can't be (see Spare.keep)."""
    return _spares.setdefault(workspace, Spare(workspace)).keep()


def has_spare(workspace: Path) -> bool:
    """Return whether this process has a spare worker in `workspace`."""
    spare = _spares.get(workspace)
    return spare is not None and spare.is_there


def end_spare(workspace: Path) -> None:
    """End the spare worker of a workspace, if this process keeps one."""
    spare = _spares.pop(workspace, None)
    if spare is not None:
        spare.end()


def wait(run: RunDir, poll_seconds: float = 0.25) -> None:
    """Return when the worker of a run is gone and its exit, if it is a child of this process, is noted."""
    while run.is_alive() or _is_our_child(run):
        time.sleep(poll_seconds)


def start_queue(workspace: Path) -> None:
    """Start the process that trains what waits in the queue, unless it lives already or there is nothing for it."""
    if queue.is_at_work(workspace) or not (queue.current(workspace) or queue.waiting(workspace)):
        return
    with open(queue.order_file(workspace).with_name("queue.log"), "ab") as log:
        process = _popen("queue", "--workspace", str(workspace), output=log)
    threading.Thread(target=process.wait, name="wait queue", daemon=True).start()


def follow(
    run: RunDir, poll_seconds: float = 0.1, stop: threading.Event | None = None, reader: EventReader | None = None
) -> Iterator[list[Event]]:
    """Yield the events of a run in batches, from its first to its last; ends when its worker is gone.

    Empty batches are yielded too, once a poll, so that a caller can do its own work. `stop` ends it early; a
    `reader` goes on where it was.
    """
    reader = reader or EventReader(run.events_file)
    stop = stop or threading.Event()
    while not stop.is_set():
        # Asked before reading: what a dying worker wrote last is still read.
        alive = run.is_alive() or _is_our_child(run)
        batch = reader.read()
        yield batch
        if not batch:
            if not alive:
                break
            stop.wait(poll_seconds)


def stop(run: RunDir) -> None:
    """Ask the worker of a run to save and end at its next step."""
    send(run.path, Stop())


def kill(run: RunDir) -> None:
    """End the worker of a run at once, with the processes that it started; what it logged is kept."""
    if not run.is_alive():
        return
    found = holder(run.lock_file)
    with contextlib.suppress(psutil.Error):
        worker = psutil.Process(found.get("pid"))
        # An id that was given to another process since is younger than the lock.
        if "pid" not in found or worker.create_time() > found["time"] + 1:
            return
        for process in [*worker.children(recursive=True), worker]:
            with contextlib.suppress(psutil.Error):
                process.kill()


def _is_our_child(run: RunDir) -> bool:
    """Return whether this process started the run's worker and has not yet noted its exit."""
    return any(thread.name == f"wait {run.id}" for thread in threading.enumerate())
