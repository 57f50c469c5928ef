"""The captures of a sentence that was watched while a model trained: listed, loaded, and as a line for each head.

Each lies in `timeline/<step>` of the run's directory as `capture.save` wrote it, complete or not at all; the step is
the number of steps that the model had been trained. Numpy only, for the window imports it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from studio.attention import maps
from studio.core.files import read_json

FOLDER = "timeline"
PARTIAL = ".partial"  # a capture while it is written
STATISTICS = ("entropy", "sink", "distance")


def directory(run: Path, step: int) -> Path:
    """Return the folder of the capture after a step."""
    return Path(run) / FOLDER / str(step)


def steps(run: Path) -> list[int]:
    """Return the steps of a run after which there is a capture, in their order."""
    found = (file.parent.name for file in (Path(run) / FOLDER).glob("*/checks.json"))
    return sorted(int(name) for name in found if name.isdecimal())


def load(run: Path, step: int) -> maps.SavedCapture:
    """Return the capture after a step; its `facts` have the `step` and the names of the `labels`.

    Raises FileNotFoundError where there is none, ValueError where it is damaged.
    """
    return maps.load(directory(run, step))


def text_of(run: Path, step: int) -> str | None:
    """Return the sentence of a capture; None where there is none."""
    return (read_json(directory(run, step) / "tokens.json") or {}).get("text")


@dataclass(frozen=True, eq=False)
class _Moment:
    """What is kept of a capture: `stamp` tells it from one that takes its place."""

    stamp: tuple[int, int]
    verified: bool
    statistics: Mapping[str, Mapping[str, np.ndarray]]
    probabilities: np.ndarray | None


class Timeline:
    """The statistics of all heads over the steps of a run, read once and kept: `update` reads only what is new.

    Reading takes a moment a capture, so call `update` in the background; all else is at hand at once.
    """

    def __init__(self, run: Path):
        self.run = Path(run)
        self._moments: dict[int, _Moment] = {}

    def update(self, most: int | None = None) -> bool:
        """Read captures that are new or were taken anew, at most `most`; return whether anything is another now.

        Captures that a resume has removed go; one that is being replaced or is damaged is left out until it is whole.
        """
        before, found, n_read = self._moments, {}, 0
        for step in steps(self.run):
            known, stamp = before.get(step), _stamp(self.run, step)
            if stamp is None:
                continue
            if known is not None and known.stamp == stamp:
                found[step] = known
            elif most is None or n_read < most:
                try:
                    found[step] = _moment(load(self.run, step), stamp)
                except (OSError, ValueError):
                    continue
                n_read += 1  # damaged ones don't count, or those behind them would never be read
        self._moments = found  # one assignment: another thread sees the former or the new ones
        return found.keys() != before.keys() or any(found[step] is not before[step] for step in found)

    @property
    def steps(self) -> list[int]:
        """The steps that have been read."""
        return list(self._moments)

    @property
    def verified(self) -> np.ndarray:
        """Whether each capture passed its own checks, bool [step]."""
        return np.array([moment.verified for moment in self._moments.values()], dtype=bool)

    @property
    def kinds(self) -> list[str]:
        """The kinds of attention: `attention`, or `encoder`, `decoder` and `cross`."""
        return list(next(iter(self._moments.values())).statistics) if self._moments else []

    @property
    def probabilities(self) -> np.ndarray | None:
        """What a classifier said of the sentence, float64 [step, label]; NaN where unverified, None without labels."""
        found = [(moment.verified, moment.probabilities) for moment in self._moments.values()]
        if not found or any(values is None for _, values in found):
            return None
        return np.stack([values if verified else np.full_like(values, np.nan) for verified, values in found])

    def lines(self, statistic: str, kind: str = "attention") -> np.ndarray:
        """Return a statistic of all heads, float64 [step, layer, head]: `entropy` in nats, `sink` the weight on the
        first token, `distance` in tokens (see `maps.head_statistics`).

        NaN where a capture failed its checks. Raises KeyError for a statistic that this kind of attention does not
        have: rows and columns of `cross`, or behind virtual tokens, are not the same tokens, so they have no distance.
        """
        tables = [(moment.verified, moment.statistics[kind][statistic]) for moment in self._moments.values()]
        if not tables:
            raise KeyError(kind)
        return np.stack([values if verified else np.full_like(values, np.nan) for verified, values in tables])


def _stamp(run: Path, step: int) -> tuple[int, int] | None:
    try:
        found = (directory(run, step) / "checks.json").stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ino


def _moment(saved: maps.SavedCapture, stamp: tuple[int, int]) -> _Moment:
    statistics = {}
    for kind, values in saved.maps.items():
        table = maps.head_statistics(values, same_tokens=kind != "cross")
        statistics[kind] = {name: table[name].astype(np.float64) for name in STATISTICS if name in table}
    said = saved.facts.get("probabilities")
    return _Moment(stamp, bool(saved.checks["verified"]), statistics, None if said is None else np.asarray(said, float))
