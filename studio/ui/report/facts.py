"""What a report says of a training, gathered from its state and its directory, in words."""

import importlib.metadata
import os
import platform
from dataclasses import dataclass, field
from typing import Any

import psutil
from pydantic import TypeAdapter, ValidationError

from studio import __version__
from studio.core.blocks import AnyBlock, Block
from studio.core.files import read_json
from studio.core.reasons import Failure
from studio.core.replay import read_end
from studio.core.rundir import RunDir
from studio.core.series import Series
from studio.core.spec import TrainSpec
from studio.core.state import RunState
from studio.ui import editors, words
from studio.ui.i18n import tr
from studio.ui.notices import message_of
from studio.ui.panels.run_about import RunFacts, model_name, picked_name, read_facts
from studio.ui.panels.run_outcome import Outcome, outcome_of

_BLOCK: TypeAdapter[Any] = TypeAdapter(AnyBlock)
_LIBRARIES = ("torch", "transformers", "peft", "datasets")


@dataclass(frozen=True)
class Measured:
    """What was measured on one part: how many rows, each metric with its 95 % interval (None where unknown)."""

    title: str
    n_rows: int
    metrics: dict[str, tuple[float, tuple[float, float] | None]]
    blocks: list[Block]


@dataclass(frozen=True)
class ReportFacts:
    """All that a report says; tables are rows of cells, series the points by (split, metric name)."""

    title: str
    line: str
    outcome: str
    hint: str
    tiles: dict[str, str]
    measured: list[Measured]
    series: dict[tuple[str, str], Series]
    picked: list[tuple[str, str, str]]
    sections: list[tuple[str, list[tuple[str, str]]]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def read_report(run: RunDir, state: RunState | None = None) -> ReportFacts:
    """Return what there is to say of a training; reads files, so call it in the background. Raises Failure.

    state: what is known of the run already, else its log is read.
    """
    facts = read_facts(run)
    if not isinstance(facts.spec, TrainSpec):
        raise Failure("report-no-training", run=run.id)
    if state is None:
        state = read_end(run)
    outcome = outcome_of(state, facts.spec.training)
    if state.is_active:
        step, total = words.count(state.step), words.count(state.total_steps)
        outcome = Outcome(tr("Still at work: step {step} of {total}.", step=step, total=total), "", {}, [])
    return ReportFacts(
        title=facts.name,
        line=facts.line,
        outcome=outcome.title,
        hint=outcome.hint,
        tiles={name: words.number(v) if isinstance(v, float) else str(v) for name, v in outcome.tiles.items()},
        measured=[m for split in ("test", "validation") if (m := _measured(run, split)) is not None],
        series=dict(state.series),
        picked=[(picked_name(p.name), editors.say(p.value), tr(p.why)) for p in state.picked.values()],
        sections=_sections(run, state, facts),
        warnings=[message_of(problem) for problem in state.warnings],
    )


def _measured(run: RunDir, split: str) -> Measured | None:
    found = read_json(run.path / f"evaluation-{split}.json")
    if not isinstance(found, dict) or "metrics" not in found:
        return None
    intervals = found.get("intervals") or {}
    metrics = {
        words.word(words.METRICS, name): (value, tuple(intervals[name]) if name in intervals else None)
        for name, value in found["metrics"].items()
    }
    blocks = []
    for value in found.get("blocks", []):
        try:
            blocks.append(_BLOCK.validate_python(value))
        except ValidationError:
            continue  # of a kind that a newer version writes
    return Measured(tr(split), found.get("n_rows", 0), metrics, blocks)


def _sections(run: RunDir, state: RunState, facts: RunFacts) -> list[tuple[str, list[tuple[str, str]]]]:
    spec, seconds = facts.spec, state.result.get("train_seconds") or state.train_seconds
    settings = _values(spec.training) + [
        (tr("Method: {name}", name=title), value) for title, value in _values(spec.method)
    ]
    data = [(tr("File"), spec.data.train.path), (tr("Seed of the split"), str(spec.data.seed))]
    data += [(tr("Column: {role}", role=role), str(column)) for role, column in spec.columns.items()]
    if state.data is not None:
        d = state.data
        data.append((tr("Rows"), f"{words.count(d.n_train)} / {words.count(d.n_validation)} / {words.count(d.n_test)}"
                     f" ({tr('training / validation / test')})"))  # fmt: skip
        data.append((tr("Labels"), f"{len(d.labels)}: {', '.join(d.labels[:20])}{' …' * (len(d.labels) > 20)}"))
    model = [(tr("Model"), model_name(spec.model)), (tr("Method"), facts.method)]
    if spec.model != "starter":
        model.append((tr("Folder"), spec.model))
    if state.model is not None:
        m = state.model
        share = words.percent(m.n_trainable / max(1, m.n_parameters), 1)
        model.append((tr("Parameters"), tr("{all}, of which {some} train ({share})", all=words.count(m.n_parameters),
                                           some=words.count(m.n_trainable), share=share)))  # fmt: skip
    time_ = [(tr("Began"), words.moment(state.started or state.created))]
    if state.ended:
        time_.append((tr("Ended"), words.moment(state.ended)))
    if seconds:
        time_.append((tr("Trained for"), words.duration(seconds)))
    time_.append((tr("Steps"), f"{words.count(state.step)} / {words.count(state.total_steps)}"))
    if state.attempt > 1:
        time_.append((tr("Attempts"), str(state.attempt)))
    return [
        (tr("Data"), data),
        (tr("Model"), model),
        (tr("Time"), time_),
        (tr("Settings"), settings),
        (tr("Where this report was made"), _machine()),
        (tr("Run"), [(tr("Id"), run.id), (tr("Folder"), str(run.path)), ("Attune", __version__)]),
    ]


def _values(config: Any) -> list[tuple[str, str]]:
    """Return the settings of a part of the spec by the titles that their forms show."""
    found = []
    for name, info in type(config).model_fields.items():
        if info.title:
            unit, value = (info.json_schema_extra or {}).get("unit", ""), getattr(config, name)
            title = tr("{title} ({unit})", title=tr(info.title), unit=tr(unit)) if unit else tr(info.title)
            found.append((title, editors.say(value)))
    return found


def _machine() -> list[tuple[str, str]]:
    versions = []
    for name in _LIBRARIES:
        try:
            versions.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            continue
    memory = words.size(psutil.virtual_memory().total)
    cores = tr("{n} cores, {memory}", n=os.cpu_count(), memory=memory)
    return [
        (tr("System"), f"{platform.system()} {platform.release()}, {platform.machine()}"),
        (tr("Processor"), cores),
        (tr("Libraries"), ", ".join([f"Python {platform.python_version()}", *versions])),
    ]
