"""A long log read in columns tells bit by bit what its single events tell, whatever stands in it."""

import math
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

from studio.core import columns, replay
from studio.core import events as ev
from studio.core.rundir import EventReader, EventWriter, RunDir
from studio.core.series import AXES, Extremes, Track
from studio.core.state import RunState

ODD = [math.nan, math.inf, -math.inf, 0.0, -0.0, 5e-324, 2.2e-308, 1.7976931348623157e308, 0.1, 1e-7, 123456789.0]


def step(at: int, **more: float) -> ev.Metrics:
    values = {"loss": math.sin(at) * 10.0 ** (at % 37 - 18), "learning_rate": 5e-4 / at, "samples_per_second": 70.5}
    if at % 13 == 0:
        values["loss"] = ODD[at // 13 % len(ODD)]
    return ev.Metrics(
        time=1e9 + at * 0.1, split="train", step=at, epoch=at / 700, values=values | more, total_steps=9000,
        train_seconds=at * 0.09, n_rows=8 * at, n_tokens=93 * at,
    )  # fmt: skip


def long_log() -> list[ev.Event]:
    """Steps with all that comes between them: evaluations, a resume, a metric of its own, rows of another version."""
    told: list[ev.Event] = [ev.Started(time=1e9, pid=1, version="0"), ev.Phase(time=1e9, name="training")]
    for at in range(1, 4000):
        told.append(step(at))
        if at % 10 == 0:
            told.append(ev.Resources(time=1e9 + at * 0.1 + 0.01, rss_bytes=at << 20, cpu_percent=190.0))
        if at % 500 == 0:
            values = {"loss": math.nan, "accuracy": 0.0}
            told.append(ev.Metrics(time=1e9 + at * 0.1, split="validation", step=at, epoch=1, values=values))
            told.append(ev.Picked(time=1e9, name="NaN", value={"Infinity": ":NaN"}, why=":-Infinity"))
    told.append(ev.Started(time=2e9, attempt=2, from_step=3500, pid=2, version="0"))
    for at in range(3501, 6000):
        event = step(at, reward=-float(at)) if at > 5000 else step(at)
        told.append(event.model_copy(update={"time": 1e9 + event.time, "n_tokens": None if at < 3600 else 93 * at}))
        if at % 701 == 0:
            told.append(ev.Metrics(time=2e9 + at * 0.1, split="train", step=at, epoch=1, values={"alone": at}))
    told.append(ev.Stopped(time=3e9, step=5999))
    return told


def folded(path: Path, parse: object = None) -> RunState:
    state, reader = RunState(id=path.parent.name), EventReader(path, parse)
    while batch := reader.read(1 << 20):
        for event in batch:
            state.apply(event)
    return state


@pytest.fixture
def log(tmp_path: Path) -> Path:
    writer = EventWriter(tmp_path / "events.jsonl")
    writer.write(long_log())
    writer.close()
    return tmp_path / "events.jsonl"


def assert_same(some: RunState, other: RunState) -> None:
    assert some.series.keys() == other.series.keys()
    for key, series in some.series.items():
        for axis in AXES:
            assert series.on(axis).tobytes() == other.series[key].on(axis).tobytes(), (key, axis)
        assert np.array_equal(series.y, other.series[key].y, equal_nan=True), key
        assert (np.signbit(series.y) == np.signbit(other.series[key].y))[~np.isnan(series.y)].all(), key
    for name in {field.name for field in fields(RunState)} - {"series", "tracks"}:
        assert repr(getattr(some, name)) == repr(getattr(other, name)), name


def test_columns_tell_what_the_events_tell(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [e for e in replay.parse_lines(log.read_bytes()) if isinstance(e, ev.MetricsRows)]
    assert sum(len(r.step) for r in rows) > 5000, "the quick way was taken"
    assert_same(folded(log, replay.parse_lines), folded(log))
    true_rows = replay.MetricsRows

    def shifted(**columns: object) -> ev.MetricsRows:
        return true_rows(**columns | {"train_seconds": np.asarray(columns["train_seconds"]) + 1e-9})

    monkeypatch.setattr(replay, "MetricsRows", shifted)
    with pytest.raises(AssertionError):
        assert_same(folded(log, replay.parse_lines), folded(log))


def test_what_is_kept_beside_a_log_is_what_the_log_tells(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replay, "PIECE_BYTES", 300_000)
    run = RunDir(log.parent)
    told = log.read_bytes()
    assert len(told) - 300_000 < replay.keep_columns(run) < len(told), "of a run that was killed"
    assert replay.keep_columns(run, least=1) == len(told)
    assert len(list((log.parent / columns.FOLDER).iterdir())) > 3
    lines = told.splitlines(keepends=True)
    log.write_bytes(told + lines[3])  # it goes on
    assert columns.kept_bytes(log) == len(told)
    state = replay.read_state(run)
    assert_same(state, folded(log))
    assert state.step == 2, "the line that came later"
    assert replay.keep_columns(run, least=1) == columns.kept_bytes(log) == len(told) + len(lines[3])
    assert_same(replay.read_state(run), folded(log))
    ends = [end for _, end in columns.kept(log)]
    for other, wanted in ((told[:-9], ends[:-2]), (b"x" + told[1:], []), (b"".join(lines[:100]), [])):
        log.write_bytes(other)
        assert [end for _, end in columns.kept(log)] == wanted, "of another log"
    log.write_bytes(told)
    second = sorted((log.parent / columns.FOLDER).iterdir())[1]
    whole = second.read_bytes()
    for damaged in (b"", whole[:5000], whole[:-100], whole[:200] + bytes(64) + whole[264:]):
        second.write_bytes(damaged)
        assert len(list(columns.kept(log))) == 1
        assert_same(replay.read_state(run), folded(log))


@pytest.mark.parametrize(
    "line",
    [
        b'{"type":"metrics","split":"train","st', b"", b'{"type":"of another time","x":1}', b"[1,2]",
        b'{"type":"metrics","split":"train","step":7,"epoch":1,"values":{"loss":null}}',
        b'{"type":"metrics","split":"train","step":7.5,"epoch":1,"values":{"loss":1}}',
        b'{"time":1,"type":"metrics","split":"train","step":7,"epoch":1,"values":{"loss":"0.25"}}',
        b'{"time":1,"type":"metrics","split":"train","step":7,"epoch":1,"values":{"loss":-1.23456789012345e-301}}',
        b'{"type":"phase","name":["no","name"]}',
    ],
)  # fmt: skip
def test_a_line_that_is_not_as_it_should_be_costs_itself_alone(log: Path, line: bytes) -> None:
    lines = log.read_bytes().splitlines(keepends=True)
    log.write_bytes(b"".join([*lines[:2500], line + b"\n", *lines[2500:]]))
    state = folded(log, replay.parse_lines)
    assert_same(state, folded(log))
    assert len(state.series["train", "loss"]) in (5999, 6000)


def test_points_stand_on_every_axis_and_a_resume_takes_them_back_from_all() -> None:
    state = RunState()
    for event in long_log():
        state.apply(event)
    loss, alone, reward = (state.series["train", name] for name in ("loss", "alone", "reward"))
    assert loss.x.tolist() == list(range(1, 6000)) and len(alone) == 4
    assert loss.on("epoch")[:3500].tolist() == [at / 700 for at in range(1, 3501)]
    assert loss.on("tokens")[3400] == 93 * 3401 and (np.diff(loss.on("tokens")) >= 0).all()
    assert alone.x.tolist() == [3505, 4206, 4907, 5608] and reward.x.tolist() == list(range(5001, 6000))
    assert (np.diff(loss.on("time")) >= 0).all() and state.worked_seconds < 2e9, "nobody worked between the attempts"
    used = state.series["system", "rss_bytes"]
    assert used.x.tolist() == list(range(10, 3501, 10)) and used.on("tokens")[-1] == 93 * 3500


def test_a_metric_that_comes_late_and_is_taken_back_goes_on_where_it_should() -> None:
    track = Track()

    def add(step: int, *names: str) -> None:
        track.extend({axis: [step] for axis in AXES}, {name: [step] for name in names})

    for at in range(10):
        add(at, *(["a", "b"] if at in (4, 5, 8) else ["a"]))
    track.cut_after(3)
    assert len(track.series["b"]) == 0 and track.n_cuts == 1
    for at in (4, 5, 6, 7):
        add(at, *(["a"] if at == 4 else ["b"] if at == 7 else ["a", "b"]))
    for series, steps in ((track.series["a"], [0, 1, 2, 3, 4, 5, 6]), (track.series["b"], [5, 6, 7])):
        assert series.x.tolist() == series.y.tolist() == series.on("time").tolist() == steps


@pytest.mark.parametrize("n", [3_999, 200_000, 1_000_037])
def test_a_growing_curve_is_decimated_as_exactly_as_a_whole_one(n: int) -> None:
    rng = np.random.default_rng(n)
    y = rng.normal(size=n)
    y[rng.integers(0, n, 50)] = np.nan
    grown = Extremes(lambda part: part)
    for end in sorted({*rng.integers(0, n, 20).tolist(), n}):
        grown.update(y[:end])
    spans = [(0, n), (1, n - 1), *(sorted(rng.integers(0, n, 2).tolist()) for _ in range(40))]
    for start, stop in spans:
        places = grown.chosen(y, start, stop, 2000)
        part, kept = y[start:stop], y[places]
        assert len(places) <= 2020 and (np.diff(places) > 0).all()
        if start < stop:
            assert (places[0], places[-1]) == (start, stop - 1)
            assert np.nanmin(kept) == np.nanmin(part) and np.nanmax(kept) == np.nanmax(part)
        # Not of the whole alone: no value reaches beyond what is kept within a bucket of it, nor is a gap further off.
        bucket = 64 * (1 + (stop - start) // (399 * 64) + 1)
        for place in rng.integers(start, max(stop, start + 1), 200) if start < stop else ():
            near = y[places[(places > place - bucket) & (places < place + bucket)]]
            assert np.isnan(near).any() if np.isnan(y[place]) else np.nanmin(near) <= y[place] <= np.nanmax(near)
