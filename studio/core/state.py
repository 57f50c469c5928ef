"""The state of a run: a fold of its events, completed by how its process ended."""

import re
import signal
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from studio.core import events as ev
from studio.core import queue
from studio.core.disk import disk_full, is_disk_full
from studio.core.files import read_json
from studio.core.reasons import Problem
from studio.core.rundir import RunDir, readable_id
from studio.core.series import Series, Track

ACTIVE = ("waiting", "running", "paused")


@dataclass
class RunState:
    """What is known of a run; `apply` folds one event in.

    state: queued (waits in the queue), waiting (for its worker), running, paused, finished, stopped, failed or ended
    (a process that died without a word).
    series: points by (split, metric name), x in optimiser steps; the split `system` has what the worker used, at the
    step in which it was measured. resources: the last of it. watched: captures of the watched sentence, by step.
    """

    id: str = ""
    kind: str = "train"
    state: str = "waiting"
    phase: str = ""
    progress: tuple[float, float] = (0.0, 0.0)
    progress_of: str = ""  # whose it is, such as a part of the data or a study
    attempt: int = 0
    created: float = 0.0
    started: float = 0.0
    ended: float = 0.0
    step: int = 0
    total_steps: int = 0
    epoch: float = 0.0
    train_seconds: float = 0.0
    samples_per_second: float = 0.0
    data: ev.DataReady | None = None
    model: ev.ModelReady | None = None
    picked: dict[str, ev.Picked] = field(default_factory=dict)
    n_tokens: int = 0
    tracks: dict[str, Track] = field(default_factory=dict)
    series: dict[tuple[str, str], Series] = field(default_factory=dict)
    latest: dict[str, dict[str, float]] = field(default_factory=dict)
    resources: ev.Resources | None = None
    checkpoints: list[ev.Checkpoint] = field(default_factory=list)
    watched: list[ev.Watched] = field(default_factory=list)
    artefacts: dict[str, str] = field(default_factory=dict)
    explained: dict[str, ev.Explained] = field(default_factory=dict)
    studied: dict[str, ev.Studied] = field(default_factory=dict)
    estimated: ev.Estimated | None = None
    seen: ev.Seen | None = None
    rate_found: ev.RateFound | None = None
    warnings: list[Problem] = field(default_factory=list)
    problem: Problem | None = None
    result: dict[str, Any] = field(default_factory=dict)
    worked_seconds: float = 0.0
    _speed_from: tuple[float, int] = (0.0, 0)
    _last_time: float = 0.0

    @property
    def is_active(self) -> bool:
        return self.state in ACTIVE

    @property
    def eta_seconds(self) -> float | None:
        """Seconds of training that remain at the pace of this attempt, or None while unknown."""
        seconds, step = self._speed_from
        if self.state not in ("running", "paused") or self.step <= step or not self.total_steps:
            return None
        return (self.train_seconds - seconds) / (self.step - step) * (self.total_steps - self.step)

    def apply(self, event: ev.Event | ev.MetricsRows) -> None:
        """Fold one event, or several of metrics as columns, into the state."""
        if isinstance(event, ev.Metrics | ev.MetricsRows):
            _metrics(self, event if isinstance(event, ev.MetricsRows) else ev.MetricsRows.of(event))
            return
        if not isinstance(event, ev.Started):  # between two attempts nobody worked
            self.worked_seconds += max(0.0, event.time - self._last_time) if self._last_time else 0.0
        self._last_time = event.time
        handler = _HANDLERS.get(type(event))
        if handler is not None:
            handler(self, event)


def _started(s: RunState, e: ev.Started) -> None:
    s.state, s.attempt, s.problem, s.result, s.ended = "running", e.attempt, None, {}, 0.0
    s.started = s.started or e.time
    if e.attempt > 1:
        for track in s.tracks.values():
            track.cut_after(e.from_step)
        s.checkpoints = [c for c in s.checkpoints if c.step <= e.from_step]
        s.watched = [w for w in s.watched if w.step <= e.from_step]
        s.step = e.from_step
        s.train_seconds = next(
            (c.train_seconds for c in s.checkpoints if c.step == e.from_step), e.train_seconds or 0.0
        )
        s._speed_from = (s.train_seconds, e.from_step)
        trained = s.tracks.get("train")
        s.epoch = float(trained.on("epoch")[-1]) if trained else 0.0
        s.n_tokens = int(trained.on("tokens")[-1]) if trained else 0


def _phase(s: RunState, e: ev.Phase) -> None:
    s.phase, s.progress, s.progress_of = e.name, (0.0, 0.0), ""


def _progress(s: RunState, e: ev.Progress) -> None:
    s.progress, s.progress_of = (e.done, e.total), e.name


def _metrics(s: RunState, rows: ev.MetricsRows) -> None:
    worked = _worked(s, rows.time)
    tokens = np.fmax.accumulate(np.concatenate([[s.n_tokens], rows.n_tokens]))[1:]  # a row without goes on
    s.n_tokens = int(tokens[-1])
    axes = {"step": rows.step, "epoch": rows.epoch, "tokens": tokens, "time": worked}
    _draw(s, rows.split, axes, rows.values)
    last = {name: float(column[-1]) for name, column in rows.values.items()}
    s.latest[rows.split] = s.latest.get(rows.split, {}) | last
    if rows.split == "train":
        s.step, s.epoch = int(rows.step[-1]), float(rows.epoch[-1])
        s.total_steps = rows.total_steps or s.total_steps
        s.samples_per_second = last.get("samples_per_second", s.samples_per_second)
        _clock(s, rows)


def _worked(s: RunState, times: Sequence[float]) -> np.ndarray:
    """Return the seconds worked at each of `times` [n] of events, and go on from the last."""
    spent = np.diff(times, prepend=s._last_time or times[0])
    worked = np.cumsum(np.concatenate([[s.worked_seconds], np.maximum(0.0, spent)]))[1:]
    s.worked_seconds, s._last_time = float(worked[-1]), float(times[-1])
    return worked


def _clock(s: RunState, rows: ev.MetricsRows) -> None:
    seconds = np.asarray(rows.train_seconds, float)
    known = np.flatnonzero(~np.isnan(seconds))
    if not len(known):
        return
    if s._speed_from == (0.0, 0):
        # The first step warms up caches and would spoil the estimate of the rest.
        warm = known[np.asarray(rows.step)[known] > 1]
        if len(warm):
            s._speed_from = (float(seconds[warm[0]]), int(rows.step[warm[0]]))
    s.train_seconds = float(seconds[known[-1]])


def _draw(s: RunState, split: str, axes: Mapping[str, Sequence[float]], values: Mapping[str, Sequence[float]]) -> None:
    track = s.tracks.get(split)
    if track is None:
        track = s.tracks[split] = Track()
    track.extend(axes, values)
    for name in values:
        s.series[split, name] = track.series[name]


def _resources(s: RunState, e: ev.Resources) -> None:
    s.resources = e
    values = e.model_dump(exclude={"time", "type"}, exclude_none=True)
    axes = {"step": s.step, "epoch": s.epoch, "tokens": s.n_tokens, "time": s.worked_seconds}
    _draw(s, "system", {axis: [at] for axis, at in axes.items()}, {name: [value] for name, value in values.items()})


def _watched(s: RunState, e: ev.Watched) -> None:
    s.watched = sorted([*(w for w in s.watched if w.step != e.step), e], key=lambda w: w.step)


def _terminal(s: RunState, e: Any) -> None:
    s.state, s.ended, s.phase = e.type, e.time, ""
    s.result = getattr(e, "result", {})
    if isinstance(e, ev.Failed):
        s.problem = Problem(e.reason, e.facts, e.field)


def _paused(s: RunState, e: ev.Paused) -> None:
    s.state = "paused" if e.paused else "running"


_HANDLERS: dict[type, Any] = {
    ev.Started: _started,
    ev.Phase: _phase,
    ev.Progress: _progress,
    ev.DataReady: lambda s, e: setattr(s, "data", e),
    ev.ModelReady: lambda s, e: setattr(s, "model", e),
    ev.Picked: lambda s, e: s.picked.__setitem__(e.name, e),
    ev.Resources: _resources,
    ev.Checkpoint: lambda s, e: s.checkpoints.append(e),
    ev.Watched: _watched,
    ev.Artefact: lambda s, e: s.artefacts.__setitem__(e.name, e.path),
    ev.Explained: lambda s, e: s.explained.__setitem__(e.id, e),
    ev.Studied: lambda s, e: s.studied.__setitem__(e.id, e),
    ev.Estimated: lambda s, e: setattr(s, "estimated", e),
    ev.Seen: lambda s, e: setattr(s, "seen", e),
    ev.RateFound: lambda s, e: setattr(s, "rate_found", e),
    ev.Warned: lambda s, e: s.warnings.append(Problem(e.reason, e.facts)),
    ev.Paused: _paused,
    ev.Finished: _terminal,
    ev.Stopped: _terminal,
    ev.Failed: _terminal,
}


def new_state(run: RunDir) -> RunState:
    """Return the state of a run of which no event has been read yet."""
    kind = (read_json(run.spec_file) or {}).get("kind", "train")
    return RunState(id=run.id, kind=kind, created=_created(run))


def settle(state: RunState, run: RunDir) -> None:
    """Complete the state of a run whose worker is gone: if no terminal event says how it ended, find out.

    Call it after all events have been read.
    """
    if run.is_alive():
        return
    exit_info = read_json(run.exit_file)
    if not state.is_active:
        # A worker that came after the last word and died before its own first one.
        if exit_info is None or not exit_info.get("code") or exit_info.get("started", 0.0) <= state.ended:
            return
    elif state.state == "waiting" and exit_info is None and not run.lock_file.exists():
        return  # no worker has taken it up yet
    state.state, state.phase = "ended", ""
    state.ended = time.time()
    _find_checkpoints(state, run)
    # On a full disk neither the worker's last word nor its exit code could be written.
    is_full = not (exit_info or {}).get("code") and is_disk_full(run.path)
    state.problem = disk_full(run.path) if is_full else describe_exit(exit_info, run.log_tail(100))


def _find_checkpoints(state: RunState, run: RunDir) -> None:
    """Add the checkpoints that a worker had no time to tell of."""
    known = {c.step for c in state.checkpoints}
    for step, folder in run.checkpoints().items():
        if step not in known:
            state.checkpoints.append(ev.Checkpoint(step=step, path=f"checkpoints/{folder.name}"))


def describe_exit(exit_info: dict[str, Any] | None, log: str) -> Problem:
    """Return how a worker that said nothing ended, from its parent's note of exit code or signal.

    log: the last lines of the worker's own output.
    """
    code = (exit_info or {}).get("code")
    if code is None:
        return Problem("worker-vanished")
    if code < 0:
        try:
            name = signal.Signals(-code).name
        except ValueError:
            name = str(-code)
        if name in ("SIGSEGV", "SIGBUS", "SIGILL", "SIGFPE", "SIGABRT"):
            return Problem("worker-crashed", {"signal": name, "where": _crash_site(log), "log": _last_lines(log)})
        facts = {"signal": name, "cause": _CAUSES.get(name, "")}
        if name == "SIGKILL" and (exit_info or {}).get("out_of_memory") is not None:
            facts |= {"out_of_memory": exit_info["out_of_memory"], "cause": _KILLS[exit_info["out_of_memory"]]}
        return Problem("worker-killed", facts)
    if code & 0xC0000000 == 0xC0000000:  # an NTSTATUS of Windows
        status = code & 0xFFFFFFFF
        if status in _NO_MEMORY:
            facts = {"signal": _NO_MEMORY[status], "cause": _KILLS[True], "out_of_memory": True}
            return Problem("worker-killed", facts)
        if status == 0xC000013A:
            return Problem("worker-killed", {"signal": "STATUS_CONTROL_C_EXIT", "cause": _CAUSES["SIGINT"]})
        name = ", ".join(filter(None, [_STATUSES.get(status), f"0x{status:08X}"]))
        return Problem("worker-crashed", {"signal": name, "where": _crash_site(log), "log": _last_lines(log)})
    return Problem("worker-exited", {"code": code, "log": _last_lines(log) or "(nothing)"})


def _last_lines(log: str, n: int = 5) -> str:
    return "\n".join(log.splitlines()[-n:])


def _crash_site(log: str) -> str:
    """Return where faulthandler saw the crashing thread, as " in FILE, FUNCTION"; "" where it did not."""
    _, _, stack = log.rpartition("Current thread")
    found = re.search(r'File "([^"]+)", line \d+ in (\S+)', stack)
    return f" in {Path(found[1]).parent.name}/{Path(found[1]).name}, {found[2]}" if found else ""


_KILLS = {
    True: "The system ran out of memory and chose it.",
    False: "Someone ended it from outside; the system was not out of memory.",
}
_NO_MEMORY = {0xC0000017: "STATUS_NO_MEMORY", 0xC000012D: "STATUS_COMMITMENT_LIMIT"}
_STATUSES = {
    0xC0000005: "access violation",
    0xC000001D: "illegal instruction",
    0xC0000094: "division by zero",
    0xC00000FD: "stack overflow",
    0xC0000135: "a DLL was not found",
    0xC0000139: "a DLL is of another version",
    0xC0000142: "a DLL could not be initialised",
    0xC0000374: "heap corruption",
    0xC0000409: "stack buffer overrun",
}
_CAUSES = {
    "SIGKILL": "Most likely the system ran out of memory and chose it, or someone ended it by hand.",
    "SIGTERM": "The system or someone asked it to end: a shutdown, a log-out, a task manager.",
    "SIGINT": "Someone interrupted it from a terminal.",
    "SIGHUP": "The session that it belonged to was closed.",
}


@dataclass(frozen=True)
class Summary:
    """What a list of runs shows of a run, without reading its log."""

    id: str
    name: str
    kind: str
    state: str
    data: str
    model: str
    method: str
    task: str
    metric: dict[str, float]
    created: float
    seconds: float
    sparkline: list[float]
    task_config: dict[str, Any] = field(default_factory=dict)


def summarise(state: RunState) -> dict[str, Any]:
    """Return the part of `summary.json` that comes from the fold; the worker writes it every few seconds."""
    loss = state.series.get(("train", "loss"))
    sparkline: list[float] = []
    if loss is not None and len(loss):
        stride = max(1, len(loss) // 60)
        sparkline = [float(v) for v in loss.y[::stride]]
    measured = state.result.get("metrics") if state.kind == "train" else None
    # In the end the kept model counts, on the way the last evaluation.
    known = measured or state.latest
    metric = dict(known.get("test") or known.get("validation") or {})
    return {
        "state": state.state,
        "step": state.step,
        "total_steps": state.total_steps,
        "metric": metric,
        "seconds": state.worked_seconds,
        "sparkline": sparkline,
    }


def read_summary(run: RunDir) -> Summary:
    """Return a run's row in a list, from `summary.json`, the spec and the lock alone."""
    spec = read_json(run.spec_file) or {}
    found = read_json(run.summary_file) or {}
    state = found.get("state", "waiting")
    if state in ACTIVE and not run.is_alive() and (found or run.exit_file.exists()):
        state = "ended"
    if state == "waiting" and run.id in queue.waiting(run.path.parent.parent):
        state = "queued"
    train = (spec.get("data") or {}).get("train") if isinstance(spec.get("data"), dict) else None
    return Summary(
        id=run.id,
        name=run.name() or readable_id(run.id),
        kind=spec.get("kind", "train"),
        state=state,
        data=(train or {}).get("path", "") if isinstance(train, dict) else str(train or ""),
        model=str(spec.get("model") or spec.get("run") or ""),
        method=(spec.get("method") or {}).get("kind", ""),
        task=(spec.get("task") or {}).get("kind", ""),
        metric=found.get("metric", {}),
        created=_created(run),
        seconds=found.get("seconds", 0.0),
        sparkline=found.get("sparkline", []),
        task_config=spec.get("task") or {},
    )


def _created(run: RunDir) -> float:
    try:
        return run.spec_file.stat().st_mtime
    except FileNotFoundError:
        return 0.0  # moved to the bin while it was read
