"""Starts the worker of a run, follows what it says, and ends it; used by the window and the command line alike."""

import contextlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil

from studio.core.commands import Stop, receive, send
from studio.core.events import Event
from studio.core.files import write_json
from studio.core.locks import holder
from studio.core.rundir import EventReader, RunDir, create_run

_START_SECONDS = 20.0  # the longest that a worker takes to lock its run, on a machine that is very busy


def start_new(workspace: Path, spec: Any) -> RunDir:
    """Create a run for `spec` and start its worker; returns when the worker has taken the run up, or has died."""
    run = create_run(workspace, spec)
    start(run)
    return run


def start(run: RunDir) -> None:
    """Start a worker for `run` and return when it has taken the run up or has died (up to a second).

    A run whose worker lives is left alone. The exit of the worker is noted in `exit.json`.
    """
    if run.is_alive():
        return
    run.exit_file.unlink(missing_ok=True)
    began = time.time()
    if run.events_file.exists():
        receive(run.path)  # what was said to a former worker that is gone, such as a stop
    with open(run.log_file, "ab") as log:
        process = subprocess.Popen(
            command("worker", str(run.path)),
            stdin=subprocess.DEVNULL,  # a piped stdin can block an import on Windows
            stdout=log,
            stderr=log,
            env=environment(),
            **_DETACHED,
        )
    threading.Thread(target=_note_exit, args=(process, run, began), name=f"wait {run.id}", daemon=True).start()
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline and not run.is_alive() and process.poll() is None:
        time.sleep(0.02)


def command(*arguments: str) -> list[str]:
    """Return the command line of another process of this program."""
    if getattr(sys, "frozen", False):
        return [sys.executable, *arguments]
    # Without -P a random.py in the user's folder would be imported in place of Python's own.
    return [sys.executable, "-P", "-m", "studio", *arguments]


def environment() -> dict[str, str]:
    """Return the environment of a worker: this one's, offline, in UTF-8, able to import this package."""
    package_parent = str(Path(__file__).resolve().parent.parent)
    return os.environ | {
        "HF_HUB_OFFLINE": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "TRANSFORMERS_VERBOSITY": "error",
        "TOKENIZERS_PARALLELISM": "true",
        "PYTHONUTF8": "1",
        "PYTHONPATH": os.pathsep.join(filter(None, [package_parent, os.environ.get("PYTHONPATH", "")])),
    }


_DETACHED: dict[str, Any] = (
    {"creationflags": subprocess.CREATE_NO_WINDOW | subprocess.CREATE_NEW_PROCESS_GROUP}
    if sys.platform == "win32"
    else {"start_new_session": True}
)


def _note_exit(process: subprocess.Popen, run: RunDir, began: float) -> None:
    code = process.wait()
    # The run may have been moved to the bin by then.
    with contextlib.suppress(OSError):
        if run.path.is_dir():
            write_json(run.exit_file, {"pid": process.pid, "code": code, "started": began, "time": time.time()})


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
