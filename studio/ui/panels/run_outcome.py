"""How a training ended: what came out, or what went wrong, and the buttons that lead on."""

from dataclasses import dataclass, field
from typing import Any

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QBoxLayout, QHBoxLayout, QPushButton, QVBoxLayout, QWidget

from studio.core.estimate import as_picked, smaller_batch
from studio.core.state import RunState
from studio.ui import words
from studio.ui.actions import BY_ID
from studio.ui.i18n import tr
from studio.ui.notices import words_of
from studio.ui.theme import GRID
from studio.ui.widgets.buttons import main_button, quiet_button
from studio.ui.widgets.cards import Card, Picture
from studio.ui.widgets.chips import STATES
from studio.ui.widgets.labels import Body, Strong
from studio.ui.widgets.tiles import TileRow

KILLED = "SIGKILL"  # most likely by a system that ran out of memory
SIDE_BY_SIDE = 620  # the least width in pixels of words with buttons beside them


@dataclass(frozen=True)
class Remedy:
    """A way on from a run that has ended, as a button.

    kind: resume (from the last checkpoint, with `changes` of its settings), again (a new run of the same spec),
    classify (its model becomes the base of a classifier),
    settings (take `changes` into the draft), page (`target` is a page) or action (`target` is the id of an action of
    the window).
    """

    kind: str
    text: str
    icon: str = ""
    target: str = ""
    changes: dict[str, Any] = field(default_factory=dict)
    tip: str = ""


@dataclass(frozen=True)
class Outcome:
    """An end in words, with its numbers and the ways on; the first one is the main one."""

    title: str
    hint: str
    tiles: dict[str, float | str]
    remedies: list[Remedy]


def outcome_of(state: RunState, training: Any = None, is_base: bool = False) -> Outcome:
    """Return how a run ended. training: its TrainingSpec, where it is known already. is_base: see tasks.base.Task."""
    if state.state == "queued":
        hint = tr("It begins by itself when the runs before it have ended, also while this window is closed.")
        return Outcome(tr("It waits in the queue."), hint, {}, [Remedy("page", "Show the queue", "runs", "runs")])
    if state.state == "finished":
        return Outcome(tr("Finished."), _finished_hint(state), tiles_of(state.result),
                       [_CLASSIFY, *_NEXT] if is_base else list(_NEXT))  # fmt: skip
    step = last_checkpoint_step(state)
    if state.problem is not None:
        said = words_of(state.problem)
        if training is not None:
            training = as_picked(training, {name: pick.value for name, pick in state.picked.items()})
        return Outcome(said.title, said.hint, {}, _mend(state, said.fix, training))
    title = tr("Stopped at step {step} of {total}.", step=words.count(state.step),
               total=words.count(state.total_steps))  # fmt: skip
    if not state.step:
        title = tr("Stopped before the first step.")
    if step is None:
        return Outcome(title, tr("There is no checkpoint to go on from."), {}, [_again()])
    hint = tr("The checkpoint of step {step} is kept with all that belongs to it: a resume goes on from there as if "
              "it had never stopped.", step=words.count(step))  # fmt: skip
    return Outcome(title, hint, {}, [_resume(step)])


def last_checkpoint_step(state: RunState) -> int | None:
    """Return the step of the newest checkpoint that the run spoke of."""
    return max((c.step for c in state.checkpoints), default=None)


def tiles_of(result: dict[str, Any]) -> dict[str, float | str]:
    """Return what a finished training reached, by shown name: the test part first, then validation, then speed."""
    metrics, found = result.get("metrics", {}), {}
    for split, title in (("test", tr("Test: {metric}")), ("validation", tr("Validation: {metric}"))):
        measured = metrics.get(split, {})
        scores = [name for name in measured if name != "loss"]
        # Of the validation part one score is enough where a test part tells more.
        for name in scores[:1] if split == "validation" and "test" in metrics else [*scores[:2], "loss"]:
            if name in measured:
                found[title.format(metric=words.word(words.METRICS, name))] = measured[name]
    if result.get("train_seconds"):
        found[tr("Training time")] = words.duration(result["train_seconds"])
    if result.get("samples_per_second"):
        found[tr("Rows/s")] = words.count(round(result["samples_per_second"]))
    return found


def _finished_hint(state: RunState) -> str:
    if state.step < state.total_steps:
        return tr("It ended early, at step {step} of {total}: the evaluations no longer became better.",
                  step=words.count(state.step), total=words.count(state.total_steps))  # fmt: skip
    n_test = state.data.n_test if state.data else 0
    return tr("Measured on {n} rows that the model never saw.", n=words.count(n_test)) if n_test else ""


_CLASSIFY = Remedy(
    "classify", "Continue as classifier", "arrow-right",
    tip="Take the adapted model as the base of a text classification; open the labelled texts next",
)  # fmt: skip
_NEXT = (
    Remedy("page", "Try it", "evaluate", "evaluate"),
    Remedy("page", "Inspect", "inspect", "inspect"),
    Remedy("page", "Export", "export", "export"),
)


def _mend(state: RunState, fix: str | None, training: Any) -> list[Remedy]:
    reason, step = state.problem.reason, last_checkpoint_step(state)
    facts = state.problem.facts
    was_killed = reason == "worker-killed" and (facts.get("signal") == KILLED or facts.get("out_of_memory"))
    is_short = reason == "out-of-memory" or (was_killed and facts.get("out_of_memory") is not False)
    halved = _halve(step, training) if is_short else []
    if reason == "out-of-memory" and halved:
        return halved
    if halved:  # a worker may have been ended by hand, too
        return [_resume(step) if step is not None else _again(), *halved]
    if reason == "loss-not-finite":
        rate = state.problem.facts.get("learning_rate")
        if isinstance(rate, int | float) and rate > 0:
            lower = float(f"{rate / 10:.1g}")
            return [Remedy("settings", tr("Lower the learning rate to {rate}", rate=f"{lower:g}"),
                           changes={"learning_rate": lower})]  # fmt: skip
    if fix == "run.resume":
        return [_resume(step)] if step is not None else [_again()]
    if fix is None or fix == "run.again":
        return [_again()]
    if fix == "go.train":
        return [Remedy("settings", tr("Change the settings"))]
    return [Remedy("action", tr(BY_ID[fix].title).rstrip("…"), BY_ID[fix].icon, target=fix), _again()]


def _halve(step: int | None, training: Any) -> list[Remedy]:
    """Return the way on with half the batch and twice the accumulation, where there is one."""
    changes = smaller_batch(training) if training is not None else None
    if changes is None:
        return []
    size, times = changes["per_device_train_batch_size"], changes["gradient_accumulation_steps"]
    text = tr("Halve the batch and go on from step {step}", step=words.count(step or 0))
    if step is None:
        text = tr("Halve the batch and start over")
    tip = tr("Batches of {size} rows, of which {times} make a step: each step trains on the same rows as before",
             size=words.count(size), times=words.count(times))  # fmt: skip
    return [Remedy("resume", text, "play", changes=changes, tip=tip)]


def _resume(step: int) -> Remedy:
    return Remedy("resume", tr("Resume from step {step}", step=words.count(step)), "play")


def _again() -> Remedy:
    return Remedy("again", tr("Start again"), "refresh")


class RunOutcome(Card):
    """The card of an ended run; `chosen` carries the remedy whose button was pressed."""

    chosen = Signal(object)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent=parent)
        self._picture, self._title, self._hint = Picture("check", 20), Strong(), Body(tone="muted")
        self._hint.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self._title.setWordWrap(True)
        self._tiles = TileRow()
        said = QVBoxLayout()
        said.setSpacing(4)
        said.addWidget(self._title)
        said.addWidget(self._hint)
        said.addStretch(1)
        self._buttons = QHBoxLayout()
        self._buttons.setSpacing(GRID)
        message = QHBoxLayout()
        message.setSpacing(GRID)
        message.addWidget(self._picture, 0, Qt.AlignmentFlag.AlignTop)
        message.addLayout(said, 1)
        self._head = QBoxLayout(QBoxLayout.Direction.LeftToRight)
        self._head.setSpacing(GRID)
        self._head.addLayout(message, 1)
        self._head.addLayout(self._buttons)
        self._head.setAlignment(self._buttons, Qt.AlignmentFlag.AlignTop | Qt.AlignmentFlag.AlignLeft)
        self.body.addLayout(self._head)
        self.add(self._tiles)
        self._shown: Any = None
        self._remedies: list[Remedy] = []
        self._has_accent = True

    def show_outcome(self, state: RunState, training: Any, is_base: bool = False) -> None:
        """Show how a run ended."""
        outcome = outcome_of(state, training, is_base)
        if (state.id, state.state, outcome) == self._shown:
            return
        self._shown = (state.id, state.state, outcome)
        tone, icon = STATES.get(state.state, ("muted", "dot"))
        self._remedies = outcome.remedies
        self._picture.show_icon(icon, tone)
        self._title.setText(outcome.title)
        self._hint.setText(outcome.hint)
        self._hint.setVisible(bool(outcome.hint))
        self._tiles.set_values(outcome.tiles)
        self._tiles.setVisible(bool(outcome.tiles))
        self.setAccessibleName(f"{outcome.title} {outcome.hint}")
        self._draw_buttons()

    def set_accent(self, on: bool) -> None:
        """Give the main way on the accent colour, or leave it to another button of the page."""
        if on != self._has_accent:
            self._has_accent = on
            self._draw_buttons()

    def _draw_buttons(self) -> None:
        while self._buttons.count():
            button = self._buttons.takeAt(0).widget()
            button.hide()
            button.deleteLater()
        for at, remedy in enumerate(self._remedies):
            button = self._button(remedy, is_main=at == 0 and self._has_accent)
            self._buttons.addWidget(button)
            button.show()

    def resizeEvent(self, event: object) -> None:
        wide = self.width() >= SIDE_BY_SIDE
        self._head.setDirection(QBoxLayout.Direction.LeftToRight if wide else QBoxLayout.Direction.TopToBottom)

    def first_button(self) -> QPushButton | None:
        """Return the button of the main way on."""
        item = self._buttons.itemAt(0)
        return item.widget() if item else None

    def _button(self, remedy: Remedy, is_main: bool) -> QPushButton:
        make = main_button if is_main else quiet_button
        is_other = remedy.kind == "resume" and remedy.changes
        name = "halve" if is_other else remedy.target or remedy.kind
        button = make(tr(remedy.text), f"train.{name}", remedy.icon)
        button.setToolTip(tr(remedy.tip) if remedy.tip else "")
        button.clicked.connect(lambda: self.chosen.emit(remedy))
        return button
