"""The worker's work in the tests' own process: its events and files are the same, without a new import of torch.

For what the engine says and leaves. That a process of its own takes up a run, dies and is replaced is shown by real
workers in tests/engine/test_training.py, the command line's tests and the stories.
"""

import random
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import numpy as np
import torch

from studio import worker
from studio.core import events as ev
from studio.core.replay import read_end
from studio.core.rundir import RunDir, create_run
from studio.core.spec import parse_spec
from studio.core.state import RunState
from studio.engine import compare
from studio.engine.reporter import Reporter

Hear = Callable[[Reporter, ev.Event], object]


def execute(workspace: Path, spec: dict, hear: Hear | None = None) -> tuple[RunDir, RunState]:
    """Work on a new run to its end; return it and its state."""
    run = create_run(workspace, parse_spec(spec))
    return run, go_on(run, hear)


def go_on(run: RunDir, hear: Hear | None = None) -> RunState:
    """Work on a run to its end and return its state; `hear` is called with each event in the moment it is said."""
    say, settled, on_term = Reporter.say, threading.Thread(), signal.getsignal(signal.SIGTERM)
    random.seed(), np.random.seed(), torch.seed()  # as in a new process: an attempt has nothing of the one before
    settled.start()  # a worker that was warm: this process' priority and allocator stay as they are

    def say_aloud(report: Reporter, event: ev.Event) -> None:
        say(report, event)
        if hear is not None:
            hear(report, event)

    # Of 300 resamples for the intervals, which take as long as the rest of a tiny training.
    few_resamples = mock.patch.object(compare.bootstrap, "__defaults__", (30,))
    try:
        with few_resamples, mock.patch.object(Reporter, "say", say_aloud):
            worker.main(str(run.path), settled)
    finally:
        signal.signal(signal.SIGTERM, on_term)
    return read_end(run)
