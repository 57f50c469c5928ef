"""The queue's process: one training after the other, until none waits; at most one such process per workspace."""

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from studio import supervisor
from studio.core import queue
from studio.core.disk import is_full
from studio.core.living import Lookout
from studio.core.locks import Lock, holder
from studio.core.reasons import Failure
from studio.core.rundir import RunDir, readable_id
from studio.core.state import Summary, read_summary

_LOOK_SECONDS = 1.0  # how often it looks whether a training that was started directly has ended


def work(workspace: Path, say: Callable[[str], None]) -> list[Summary]:
    """Train what waits, one run after the other, and return how each ended, in order.

    A run that fails does not stop the next. Raises Failure "queue-busy" where another process does it already, and
    KeyboardInterrupt once the run at work has saved and stopped; what waits then goes on waiting.
    """
    path = queue.process_lock(workspace)
    process, lookout = Lock(path), Lookout(workspace)
    if not _once_there_is_room(lambda: process.acquire({}), say):
        raise Failure("queue-busy", pid=holder(path).get("pid", "?"))
    ended: list[Summary] = []
    done = ""
    try:
        while True:
            _let_others_end(workspace, lookout, done, say)
            run = _once_there_is_room(partial(queue.take, workspace, done, process), say)
            if run is None:
                return ended
            say(f"{readable_id(run.id)} {run.name()}".strip() + " begins")
            _see_through(run, say)
            ended.append(read_summary(run))
            say(f"{readable_id(run.id)} {ended[-1].state}")
            done = run.id
    finally:
        process.release()


def _let_others_end(workspace: Path, lookout: Lookout, done: str, say: Callable[[str], None]) -> None:
    """Return when no training is at work but the queue's own, or when there is nothing to wait for any more."""
    told = ""
    while queue.waiting(workspace) or queue.current(workspace) not in ("", done):
        others = [run.id for run in lookout.trainings() if run.id != queue.current(workspace)]
        if not others:
            return
        if others[0] != told:
            told = others[0]
            say(f"waiting for {readable_id(told)}, which is at work")
        time.sleep(_LOOK_SECONDS)


def _once_there_is_room(do: Callable[[], Any], say: Callable[[str], None]) -> Any:
    """Return what `do` returns; while the disk is full it is tried again, since nobody else would start what waits."""
    told = False
    while True:
        try:
            return do()
        except (OSError, Failure) as error:
            if not (is_full(error) or (isinstance(error, Failure) and error.problem.reason == "no-room")):
                raise
            if not told:
                say("waiting for room on the disk")
            told = True
        time.sleep(_LOOK_SECONDS)


def _see_through(run: RunDir, say: Callable[[str], None]) -> None:
    """Start a run, unless its worker lives, and return when it has ended; the first Ctrl+C stops, a second kills it."""
    is_interrupted = False
    while True:
        try:
            if not is_interrupted:
                supervisor.start(run)
            supervisor.wait(run)
            break
        except KeyboardInterrupt:
            if is_interrupted:
                supervisor.kill(run)
                raise
            is_interrupted = True
            say("Saving and stopping; what waits stays in the queue. Ctrl+C again ends it at once.")
            supervisor.stop(run)
    if is_interrupted:
        raise KeyboardInterrupt
