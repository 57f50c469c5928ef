"""What the model answers when the chosen heads do something else, beside what it answers with all of them."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from PySide6.QtCore import Qt, QTimer, Signal
from PySide6.QtGui import QShowEvent
from PySide6.QtWidgets import (
    QCheckBox,
    QComboBox,
    QFrame,
    QHBoxLayout,
    QScrollArea,
    QSlider,
    QVBoxLayout,
    QWidget,
)

from studio.core.anatomy import WRITTEN
from studio.core.events import Studied
from studio.core.reasons import Problem
from studio.ui.i18n import tr
from studio.ui.notices import message_of
from studio.ui.theme import GRID, GROUP
from studio.ui.views.base import View
from studio.ui.views.importance import Importance
from studio.ui.views.look import AFTER, BEFORE, Look
from studio.ui.views.numbers import compared
from studio.ui.views.selection import CELL, HEADS, STATE, Selection
from studio.ui.widgets.buttons import icon_button, quiet_button
from studio.ui.widgets.labels import Body, Small, Strong
from studio.ui.widgets.pair_bars import PairBars

SILENT, EVEN, SCALED = "zero", "uniform", "scale"
WAYS = {SILENT: "silent", EVEN: "looks evenly", SCALED: "scaled"}
PAUSE_MS = 150  # while a slider moves, only its last place is asked about
MOST_LINES, MOST_LABELS = 3, 8
LINE = 30
Way = str | float


class AblateView(View):
    """The chosen heads with what becomes of them, and the answer with and without."""

    id = "ablate"
    title = "Ablate"
    help = "What the model answers when the chosen heads are silent, look evenly, or count more or less."
    order = 60
    takes_all_kinds = True
    asks_of_look = False  # importance over rows is of no text; what is of another one is told by its ticket

    def __init__(self, selection: Selection, parent: QWidget | None = None) -> None:
        super().__init__(selection, parent)
        self._ways: dict[tuple[int, int], Way] = {}
        self._lines: dict[tuple[int, int], _HeadLine] = {}
        self._shown: dict[str, Any] = {}  # the newest answer's result
        self._is_waiting = self._is_stale = False
        self._sent: list[list[Any]] = []  # the edits that were asked about
        self._ticket = 0  # of the newest question
        self._told = ""  # the state whose importance the grid knows
        self.importance = Importance()
        self.importance.asked.connect(self._ask_importance)
        self.importance.found.connect(self._tell_importance)
        self.rank = self.importance.button
        self._timer = QTimer(self, singleShot=True, interval=PAUSE_MS)
        self._timer.timeout.connect(self._ask_live)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(GRID)
        layout.addWidget(self._make_heads())
        layout.addLayout(self._make_row())
        layout.addWidget(self.importance)
        layout.addWidget(self._make_answers(), 1)

    # --- making ------------------------------------------------------------------------------------------------

    def _make_heads(self) -> QWidget:
        inside = QWidget()
        self._rows = QVBoxLayout(inside)
        self._rows.setContentsMargins(0, 0, 0, 0)
        self._rows.setSpacing(2)
        self._area = QScrollArea()
        self._area.setFocusPolicy(Qt.FocusPolicy.NoFocus)  # what stands in it takes the focus
        self._area.setWidgetResizable(True)
        self._area.setFrameShape(QFrame.Shape.NoFrame)
        self._area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        inside.setObjectName("scrolled")
        self._area.setWidget(inside)
        return self._area

    def _make_row(self) -> QHBoxLayout:
        self.button = quiet_button(tr("Ask the model"), "ablate.ask", "play")
        self.button.clicked.connect(self.ask)
        self.live = QCheckBox(tr("At once"))
        self.live.setToolTip(tr("Ask again whenever other heads are chosen"))
        self.live.setChecked(True)
        self.live.toggled.connect(lambda on: self._changed() if on else None)
        self.note = Small(tr("Ctrl+click in the grid chooses several heads."))
        row = QHBoxLayout()
        row.setSpacing(GRID)
        row.addWidget(self.button)
        row.addWidget(self.live)
        row.addWidget(self.note, 1)
        return row

    def _make_answers(self) -> QWidget:
        inside = QWidget()
        inside.setObjectName("scrolled")
        column = QVBoxLayout(inside)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(GROUP)
        self.answers = {state: _Answer() for state in (BEFORE, AFTER)}
        for answer in self.answers.values():
            answer.hide()
            column.addWidget(answer)
        column.addStretch(1)
        area = QScrollArea()
        area.setAccessibleName(tr("The model's answers, with all heads and with the change"))
        area.setProperty("ring", True)
        area.setWidgetResizable(True)
        area.setFrameShape(QFrame.Shape.NoFrame)
        area.setWidget(inside)
        return area

    def tools(self) -> list[QWidget]:
        return [self.importance.tool]

    # --- following ---------------------------------------------------------------------------------------------

    def show_look(self, look: Look) -> None:
        is_other = self.look is None or (self.look.key, self.look.kind) != (look.key, look.kind)
        super().show_look(look)
        for state, answer in self.answers.items():
            answer.title.setText(tr(look.title(state)))
        self.importance.show_look(look)
        if is_other:
            self._shown, self._is_waiting = {}, False
            self._ticket += 1
            for answer in self.answers.values():
                answer.hide()
        self._fill()
        self._tell_importance()
        if is_other:
            self._changed()

    def show_selection(self, part: str) -> None:
        if part == HEADS:
            self._fill()
            self._changed()
        elif part == STATE:
            self._draw()
            self._follow_importance()
        elif part == CELL and self._shown.get("target", {}).get("per_token"):
            self._changed()

    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        self._follow_importance()
        if self._is_stale or not self._shown:
            self._changed()

    def _fill(self) -> None:
        """Have a line for each chosen head; lines of heads that stay are kept."""
        chosen = self.selection.heads
        for head in [head for head in self._lines if head not in chosen]:
            line = self._lines.pop(head)
            self._rows.removeWidget(line)
            line.hide()
            line.deleteLater()
        for place, head in enumerate(sorted(chosen)):
            if head not in self._lines:
                line = self._lines[head] = _HeadLine(*head, self._ways.get(head, SILENT))
                line.changed.connect(lambda way, head=head: self._set_way(head, way))
                line.dropped.connect(lambda head=head: self.selection.choose_head(*head, add=True))
                self._rows.insertWidget(place, line)
            self._lines[head].drop.setVisible(len(chosen) > 1)
        self._area.setFixedHeight(min(len(chosen), MOST_LINES) * (LINE + 2))

    def _set_way(self, head: tuple[int, int], way: Way) -> None:
        self._ways[head] = way
        self._changed()

    # --- asking ------------------------------------------------------------------------------------------------

    def edits(self) -> list[list[Any]]:
        """Return what becomes of the chosen heads: layer, head and the way."""
        return [[*head, self._ways.get(head, SILENT)] for head in sorted(self.selection.heads)]

    def _changed(self) -> None:
        self._is_stale = True
        if self.live.isChecked() and self.isVisible():
            self._timer.start()
        self._say()

    def _say(self) -> None:
        """Say whose the numbers are; those of heads that were chosen before stay until the person asks again."""
        if self._shown and not self._is_waiting:
            is_former = self._is_stale and not self.live.isChecked()
            former = tr("Of what was chosen before: ask the model again.")
            self.note.setText(" ".join([_meaning(self._sent), *[former] * is_former]))

    def _ask_live(self) -> None:
        # One question is on its way; what was chosen meanwhile is asked about when its answer is here.
        if self._is_stale and not self._is_waiting and self.isVisible():
            self.ask()

    def ask(self) -> None:
        """Ask the worker what the model answers now."""
        if self.look is None:
            return
        self._is_waiting, self._is_stale, self._sent = True, False, self.edits()
        self.note.setText(tr("Asking the model…"))
        self._ticket += 1
        self.asked.emit("ablate", {"edits": self._sent, **self._place(), "about": self._ticket})

    def _ask_importance(self, options: dict[str, Any]) -> None:
        if self.look is not None:
            place = {"kind": self.look.kind} if options.get("rows") else self._place()
            self.asked.emit("importance", place | options)

    def _place(self) -> dict[str, Any]:
        """Return of which attention the heads are, and which of its tokens the answer is about."""
        return {"kind": self.look.kind, "token": self._token()}

    def _token(self) -> int:
        return -1 if self.look is None or self.look.is_filtered else self.selection.cell[0]

    def take(self, answer: Studied) -> None:
        if answer.what == "importance":
            self.importance.take(answer)
            return
        if answer.about not in (None, self._ticket):
            return
        self._is_waiting = False
        if answer.reason:
            self.note.setText(message_of(Problem(answer.reason, answer.facts)))
            self._shown = {}
            self._draw()
            return
        self._shown = answer.result
        self._say()
        self._draw()
        if self._is_stale and self.live.isChecked():
            self._timer.start()

    def show_progress(self, done: float, total: float) -> None:
        self.importance.show_progress(done, total)

    def forget(self) -> None:
        super().forget()
        self.importance.forget()

    def _tell_importance(self) -> None:
        states = self.importance.states
        if not states:
            return
        state = self._told = self.importance.state_of(self.selection.state)
        several = tr("Importance · {state}", state=tr(self.look.title(state)))
        title = several if len(states) > 1 else tr("Importance")
        if self.importance.n_rows:
            title = tr("{importance}, {n} rows", importance=title, n=self.importance.n_rows)
        self.measured.emit("importance", title, np.array(states[state], dtype=np.float32), False)

    def _follow_importance(self) -> None:
        # Whoever does not look at this view may have ordered the grid by something else.
        known = self.importance
        if known.states and self.isVisible() and known.state_of(self.selection.state) != self._told:
            self._tell_importance()

    def _draw(self) -> None:
        states, state = self._shown.get("states", {}), self.selection.state
        writes = self.look is not None and self.look.answers == WRITTEN
        none = tr("nothing is written") if writes else tr("no answer")
        for name, answer in self.answers.items():
            answer.setVisible(name in states and (state == name or state not in states))
            if name in states:
                answer.show_answer(self._shown["target"], states[name], len(states) > 1, none)

    def meaning(self) -> str:
        return tr("Faint: all heads · strong: with the change")

    def options(self) -> dict[str, Any]:
        return {"ways": [[*head, way] for head, way in self._ways.items()], "live": self.live.isChecked()}

    def set_options(self, options: dict[str, Any]) -> None:
        self._ways = {(layer, head): way for layer, head, way in options.get("ways", [])}
        self.live.setChecked(options.get("live", True))
        for head, line in self._lines.items():
            line.set_way(self._ways.get(head, SILENT))


class _HeadLine(QWidget):
    """One head and what becomes of it. changed: the way, a word or a factor. dropped: it shall be as it is."""

    changed = Signal(object)
    dropped = Signal()

    def __init__(self, layer: int, head: int, way: Way) -> None:
        super().__init__()
        name = tr("Layer {layer} · Head {head}", layer=layer + 1, head=head + 1)
        self.setFixedHeight(LINE)
        self.ways = QComboBox()
        self.ways.setAccessibleName(tr("What becomes of {head}", head=name))
        for way_name, title in WAYS.items():
            self.ways.addItem(tr(title), way_name)
        self.slider = QSlider(Qt.Orientation.Horizontal)
        self.slider.setRange(-100, 300)
        self.slider.setAccessibleName(tr("Factor"))
        self.factor = Small()
        self.factor.setFixedWidth(36)
        self.drop = icon_button("close", tr("Leave this head as it is"))
        self.drop.clicked.connect(self.dropped)
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(GRID)
        label = Small(name)
        label.setWordWrap(False)
        for widget in (label, self.ways):
            row.addWidget(widget)
        row.addWidget(self.slider, 1)
        row.addWidget(self.factor)
        row.addStretch(0)
        row.addWidget(self.drop)
        self.set_way(way)
        self.ways.activated.connect(lambda _: self._tell())
        self.slider.valueChanged.connect(lambda _: self._tell())

    def way(self) -> Way:
        """Return what becomes of the head."""
        chosen = self.ways.currentData()
        return self.slider.value() / 100 if chosen == SCALED else chosen

    def set_way(self, way: Way) -> None:
        """Show what becomes of the head, without saying so."""
        is_word = isinstance(way, str)
        self.ways.setCurrentIndex(self.ways.findData(way if is_word else SCALED))
        self.slider.blockSignals(True)
        self.slider.setValue(50 if is_word else round(way * 100))
        self.slider.blockSignals(False)
        self._show_factor()

    def _tell(self) -> None:
        self._show_factor()
        self.changed.emit(self.way())

    def _show_factor(self) -> None:
        is_scaled = self.ways.currentData() == SCALED
        self.slider.setVisible(is_scaled)
        self.factor.setVisible(is_scaled)
        self.factor.setText(f"× {self.slider.value() / 100:.2f}".replace("-", "−"))


class _Answer(QWidget):
    """What one state of the model answers, with all heads and with the change."""

    def __init__(self) -> None:
        super().__init__()
        self.title, self.target, self.rest, self.bars = Strong(), Body(), Small(), PairBars()
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(4)
        for widget in (self.title, self.target, self.bars, self.rest):
            column.addWidget(widget)

    def show_answer(self, target: Mapping[str, Any], found: Mapping[str, Any], is_one_of_two: bool, none: str) -> None:
        """Show an answer; target: what its number is; none: what an empty one is called."""
        plain, edited = found["plain"], found["edited"]
        self.title.setVisible(is_one_of_two)
        what = tr(target["words"], **target["facts"])
        self.target.setText(f"{what[:1].upper()}{what[1:]}: {change_of(plain['value'], edited['value'])}")
        shares = plain["probabilities"]
        names = sorted(shares, key=lambda name: -max(shares[name], edited["probabilities"].get(name, 0.0)))
        self.bars.set_rows(
            [(name, shares[name], edited["probabilities"].get(name, 0.0)) for name in names[:MOST_LABELS]]
        )
        self.bars.setVisible(bool(names))
        self.rest.setText(" · ".join(_others(plain, edited, none)))
        self.rest.setVisible(bool(self.rest.text()))


def change_of(before: float, after: float) -> str:
    """Return a change in numbers: from, to, and by how much."""
    # Numbers are rounded first, so that what is shown adds up.
    first, second = compared(before, after)
    power = first.partition("e")[2].replace("−", "-")
    unit = 10.0 ** int(power) if power else 1.0
    change = round(after / unit, 3) - round(before / unit, 3)
    sign = "+" if change > 0 else "−" if change < 0 else "±"
    return f"{first} → {second} ({sign}{abs(change):.3f}{first[first.find('e') :] if power else ''})"


def _others(plain: Mapping[str, Any], edited: Mapping[str, Any], none: str) -> list[str]:
    """Return what else is another with the change: the answers in words, and the loss; none: what an empty one is."""
    first, second = plain["answers"], edited["answers"]
    found = []
    if len(first) == 1:
        named = [name or none for name in (*first, *second)]
        if first == second:
            found.append(tr("The answer stays “{name}”", name=named[0]))
        else:
            found.append(tr("The answer turns from “{first}” to “{second}”", first=named[0], second=named[1]))
    elif first:
        n = sum(a != b for a, b in zip(first, second, strict=True))
        found.append(tr("{n} of {all} answers are others", n=n, all=len(first)))
    if plain.get("loss") is not None and edited.get("loss") is not None:
        found.append(tr("Loss {change}", change=change_of(plain["loss"], edited["loss"])))
    return found


def _meaning(edits: list[list[Any]]) -> str:
    n = len(edits)
    return tr("With one head changed.") if n == 1 else tr("With {n} heads changed.", n=n)


VIEW = AblateView
