"""The worker's voice: what it keeps beside a long log."""

import time
from pathlib import Path

import pytest

from studio.core import columns, replay
from studio.core import events as ev
from studio.core.rundir import create_run
from studio.core.spec import parse_spec
from studio.engine import reporter


def test_long_log_is_kept_in_columns_while_it_grows(
    workspace: Path, tiny_spec: dict, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (replay, reporter):
        monkeypatch.setattr(module, "PIECE_BYTES", 10_000)
    monkeypatch.setattr(reporter, "_SUMMARY_SECONDS", 0.05)
    run = create_run(workspace, parse_spec(tiny_spec))
    report = reporter.Reporter(run)
    kept, n_steps, deadline = [0], 0, time.monotonic() + 30
    while len(kept) < 4 and time.monotonic() < deadline:
        for _ in range(20):
            n_steps += 1
            report.say(ev.Metrics(split="train", step=n_steps, epoch=1, values={"loss": 1 / n_steps}))
        time.sleep(0.02)
        size = columns.kept_bytes(run.events_file)
        if size > kept[-1]:
            kept.append(size)
    # No last word, as when the process is killed now.
    assert len(kept) == 4 and run.events_file.stat().st_size - kept[-1] < 20_000
    report.sync()
    assert replay.read_state(run).series["train", "loss"].y.tolist() == [1 / step for step in range(1, n_steps + 1)]
    report.close()
