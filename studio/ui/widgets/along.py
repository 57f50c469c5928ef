"""What the x of a plot can be: the step, the epoch, the tokens or the time, each with its ticks and its words."""

from collections.abc import Sequence
from dataclasses import dataclass

from studio.ui import words
from studio.ui.i18n import tr
from studio.ui.widgets.curves import nice_ticks, tick_texts

_MINUTE, _HOUR, _DAY = 60, 3600, 86400
_SPANS = [
    *(1, 2, 5, 10, 15, 30), *(n * _MINUTE for n in (1, 2, 5, 10, 15, 30)), *(n * _HOUR for n in (1, 2, 3, 6, 12)),
    *(n * _DAY for n in (1, 2, 5, 10)),
]  # fmt: skip


@dataclass(frozen=True)
class Along:
    """One meaning of x. name: of core.series.AXES. column: its name in a file of numbers, with the unit."""

    name: str
    title: str
    column: str
    is_whole: bool

    def say(self, x: float) -> str:
        """Return a place on the axis in words: `step 1,234`, `epoch 0.62`."""
        return f"{tr(self.name)} {self._number(x)}"

    def note(self) -> str:
        """Return what the axis is, for the head of a plot."""
        return tr("by {axis}", axis=tr(self.name))

    def ticks(self, low: float, high: float, most: int) -> tuple[float, list[float]]:
        """Return the spacing of ticks and the ticks from `low` to `high`, at most `most`."""
        if self.name == "time":
            # Above a minute tens are not round.
            spans = [s for s in _SPANS if (high - low) / s <= most and high - low >= _MINUTE]
            if spans:
                first, last = -(-low // spans[0]), high // spans[0]
                return spans[0], [k * spans[0] for k in range(int(first), int(last) + 1)]
        spacing, ticks = nice_ticks(low, high, most)
        return spacing, [t for t in ticks if not self.is_whole or t == int(t)]  # there is no half step

    def tick_words(self, ticks: Sequence[float]) -> list[str]:
        """Return what stands at the ticks."""
        if self.name in ("step", "epoch"):
            return tick_texts(list(ticks))
        return [self._number(t) for t in ticks]

    def _number(self, x: float) -> str:
        if self.name == "tokens":
            return words.count(round(x))
        if self.name == "time":
            return words.duration(max(0.0, x))
        return f"{round(x):,}" if self.is_whole else f"{x:.2f}"


ALONG = {
    "step": Along("step", "Steps", "step", True),
    "epoch": Along("epoch", "Epochs", "epoch", False),
    "tokens": Along("tokens", "Tokens", "tokens", True),
    "time": Along("time", "Time", "seconds", False),
}
