"""What the command line does with the queue: add a training, run what waits, show it and change its order."""

import argparse
import sys
from pathlib import Path
from typing import Any

from studio.core import queue
from studio.core.reasons import Failure
from studio.core.rundir import RunDir, create_run, find_run, readable_id
from studio.core.spec import TrainSpec


def add_options(command: argparse.ArgumentParser) -> None:
    """Give `attune queue` its options; without any of them it trains what waits."""
    options = command.add_mutually_exclusive_group()
    options.add_argument("--list", action="store_true", help="only show what waits")
    options.add_argument("--remove", metavar="RUN", help="take a run that waits out of the queue, into the bin")
    options.add_argument("--move", nargs=2, metavar=("RUN", "PLACE"), help="give it another place, counted from 1")


def enqueue(spec: TrainSpec, workspace: Path, quiet: bool) -> dict[str, Any]:
    """Let a training wait in the queue, whose process is started where there is none, and return at once."""
    from studio import supervisor

    run = create_run(workspace, spec)
    place = queue.add(workspace, run.id)
    supervisor.start_queue(workspace)
    if not quiet:
        print(f"In the queue, at place {place}: {run.path}")
    return {"run": str(run.path), "state": "queued", "place": place}


def execute(arguments: argparse.Namespace, workspace: Path) -> dict[str, Any]:
    """Do what `attune queue` was asked for. Raises Failure."""
    if arguments.remove:
        queue.remove(workspace, find_run(workspace, arguments.remove).id)
    elif arguments.move:
        name, place = arguments.move
        if not place.isdigit():
            raise Failure("usage", message=f"{place} is no place; they are counted from 1.", command="attune queue")
        queue.move(workspace, find_run(workspace, name).id, int(place))
    elif not arguments.list:
        return _work(workspace, arguments.json)
    return _list(workspace, arguments.json)


def _work(workspace: Path, quiet: bool) -> dict[str, Any]:
    from studio.queue_process import work

    ended = work(workspace, lambda text: print(text, file=sys.stderr, flush=True))
    if not ended and not quiet:
        print("Nothing waits in the queue.")
    return {"runs": [{"run": summary.id, "state": summary.state} for summary in ended]}


def _list(workspace: Path, quiet: bool) -> dict[str, Any]:
    current = queue.current(workspace)
    runs = [RunDir(workspace / "runs" / run_id) for run_id in queue.waiting(workspace)]
    if not quiet:
        if current:
            print(f"  at work: {current}")
        for place, run in enumerate(runs, 1):
            print(f"{place:>9}: {run.id}  {run.name()}".rstrip())
        if not runs:
            print("Nothing waits in the queue.")
    listed = [{"run": run.id, "name": run.name() or readable_id(run.id)} for run in runs]
    return {"queue": listed, "current": current or None, "is_at_work": queue.is_at_work(workspace)}
