"""What a plot of a run can show: any metric that was logged, and what the worker took of the machine."""

from collections.abc import Callable
from dataclasses import dataclass

from studio.core.series import AXES
from studio.core.state import RunState
from studio.ui import words
from studio.ui.i18n import tr

SCORES, SYSTEM = "scores", "system:"  # all scores of the validation rows; before the name of a measure of SYSTEMS
SHARES = ("accuracy", "f1_macro", "f1", "entity_f1", "exact_match")  # metrics between 0 and 1, as they are drawn
_SMOOTHED = ("loss", "grad_norm")
_SPLITS = {"train": "training", "validation": "validation", "test": "test"}


def _per_second(value: float) -> str:
    return f"{words.size(value)}/s"


def _percent(value: float) -> str:
    return f"{value:.0f}{words.THIN}%"


@dataclass(frozen=True)
class Part:
    """One curve of a subject; see CurvePlot.set_curve."""

    split: str
    name: str
    title: str
    style: str
    colour: int


@dataclass(frozen=True)
class Subject:
    """What a plot shows. key: kept in the settings. say: a value in words, None for plain numbers."""

    key: str
    title: str
    parts: tuple[Part, ...] = ()
    say: Callable[[float], str] | None = None


# Measures of the machine, each with the numbers that share its unit.
_SYSTEMS = {
    "processor": ("Processor", {"cpu_percent": "Processor", "gpu_percent": "GPU"}, _percent),
    "memory": ("Memory", {"rss_bytes": "Memory", "gpu_bytes": "GPU memory"}, words.size),
    "disk": ("Disk", {"read_bytes_per_second": "Disk read", "written_bytes_per_second": "written"}, _per_second),
    "free": ("Free disk", {"disk_free_bytes": "Free disk"}, words.size),
}


def alongs_of(state: RunState) -> list[str]:
    """Return the axes that a run's points stand on: tokens where they were counted."""
    return [name for name in AXES if name != "tokens" or state.n_tokens]


def subjects_of(state: RunState) -> dict[str, Subject]:
    """Return all that can be drawn of a run, by key, in the order of a menu."""
    logged = dict.fromkeys(name for split, name in state.series if split in _SPLITS)
    found = [
        scores_of(state),
        *(metric_of(state, name) for name in logged),
        *(system_of(state, name) for name in _SYSTEMS),
    ]
    return {subject.key: subject for subject in found if subject.parts}


def subject_of(state: RunState, key: str) -> Subject:
    """Return a subject by its key; without parts where the run has logged nothing of it."""
    if key == SCORES:
        return scores_of(state)
    if key.startswith(SYSTEM):
        return system_of(state, key.removeprefix(SYSTEM))
    return metric_of(state, key)


def scores_of(state: RunState) -> Subject:
    """Return the scores of the validation rows: those between 0 and 1 where there are any."""
    names = [name for split, name in state.series if split == "validation" and name != "loss"]
    shares = [name for name in SHARES if name in names]
    parts = [
        Part("validation", name, words.word(words.METRICS, name), "points", 1 + at)
        for at, name in enumerate(shares or sorted(names))
    ]
    return Subject(SCORES, tr("Scores"), tuple(parts))


def metric_of(state: RunState, name: str) -> Subject:
    """Return one metric, with a curve for each split that logs it."""
    title = words.word(words.METRICS, name)
    splits = [split for split in _SPLITS if (split, name) in state.series]
    parts = []
    for at, split in enumerate(splits):
        style = ("smoothed" if name in _SMOOTHED else "line") if split == "train" else "points"
        said = title if len(splits) == 1 else f"{title}, {tr(_SPLITS[split])}"
        parts.append(Part(split, name, said, style, at))
    return Subject(name, title, tuple(parts))


def system_of(state: RunState, name: str) -> Subject:
    """Return a measure of the machine; one that an older version knew is without parts."""
    title, numbers, say = _SYSTEMS.get(name, (name, {}, None))
    there = [(number, said) for number, said in numbers.items() if ("system", number) in state.series]
    parts = tuple(Part("system", number, tr(said), "line", 2 * at) for at, (number, said) in enumerate(there))
    return Subject(SYSTEM + name, tr(title), parts, say)


def curve_of(split: str, name: str) -> tuple[str, str, Callable[[float], str] | None]:
    """Return the title and the style of a single curve, and how its values are said (None: as plain numbers)."""
    if split != "system":
        style = "points" if split != "train" else "smoothed" if name in _SMOOTHED else "line"
        return f"{words.word(words.METRICS, name)}, {tr(_SPLITS.get(split, split))}", style, None
    found = next(((said[name], say) for _, said, say in _SYSTEMS.values() if name in said), (name, None))
    return tr(found[0]), "line", found[1]
