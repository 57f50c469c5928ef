"""What each token did for the answer, by several methods, each beside the test of whether it can be believed."""

from pathlib import Path
from typing import Any

import numpy as np
from PySide6.QtCore import Qt, QTimer
from PySide6.QtGui import QHideEvent, QResizeEvent, QShowEvent
from PySide6.QtWidgets import QComboBox, QFrame, QHBoxLayout, QScrollArea, QVBoxLayout, QWidget

from studio.attention import paths
from studio.core.blocks import Curves, Points
from studio.core.events import Studied
from studio.core.reasons import Problem
from studio.ui import words
from studio.ui.i18n import tr
from studio.ui.notices import message_of
from studio.ui.theme import GRID, GROUP
from studio.ui.threads import background
from studio.ui.views.base import View
from studio.ui.views.files import Write, write_table
from studio.ui.views.look import AFTER, BEFORE, DECODER, DIFFERENCE, Look, marked
from studio.ui.views.numbers import compared
from studio.ui.views.selection import CELL, HEADS, STATE, Selection
from studio.ui.widgets.bars import BarsView
from studio.ui.widgets.chart_view import ChartView
from studio.ui.widgets.heat import token_text
from studio.ui.widgets.labels import Body, ElidedLabel
from studio.ui.widgets.line_chart import LineChart

METHODS = {
    "gradient": ("Gradient × attention", "What each weight on a token did for the answer, to first order; summed."),
    "relevance": ("Relevance", "Only what spoke for the answer, followed through the layers (Chefer 2021)."),
    "integrated": ("Integrated gradients", "The gradient on the way from mean tokens to the text's; adds up to all."),
    "rollout": ("Rollout", "Attention of all heads, multiplied from layer to layer (Abnar 2020); knows no answer."),
    "flow": ("Flow", "The most that can flow from a token to where the answer is read; for short texts."),
    "head": ("Chosen head", "Where the chosen head looks; knows nothing of the layers before and after it."),
}  # fmt: skip
SIGNED = ("gradient", "integrated")
FROM_MAPS = ("rollout", "head")  # computed here; the worker only tests them
WITHIN = ("rollout", "flow")  # what follows attention from layer to layer, of one text to itself
GIVEN = "given"  # what the worker calls them
MOST_BARS = 40
PAUSE_MS = 120
BARS_WIDTH, LEAST_CHART, ROOM_FOR_BARS = 190, 84, 380


class AttributionsView(View):
    """Tints the tokens by what they did for the answer, and shows what happens without the strongest of them."""

    id = "attributions"
    title = "Explain"
    help = "What each token did for the answer, by several methods, and the test of whether to believe it."
    order = 65
    takes_filtered = False
    takes_all_kinds = True

    def __init__(self, selection: Selection, parent: QWidget | None = None) -> None:
        super().__init__(selection, parent)
        self._found: dict[str, Any] = {}  # the newest answer's result
        self._reads: dict[str, Any] = {}  # the same of where the answer is read from
        self._sent = ""  # the method that is asked about
        self._ticket = 0  # of that question: two of maps are both tested as weights that were given
        self._is_stale = True
        self._timer = QTimer(self, singleShot=True, interval=PAUSE_MS)
        self._timer.timeout.connect(self._ask)
        self.method = QComboBox()
        self.method.setAccessibleName(tr("Method"))
        for name, (title, meaning) in METHODS.items():
            self.method.addItem(tr(title), name)
            self.method.setItemData(self.method.count() - 1, tr(meaning), Qt.ItemDataRole.ToolTipRole)
        self.method.currentIndexChanged.connect(lambda _: self._changed())
        self.verdict, self.note = Body(), ElidedLabel()
        self.note.setProperty("level", "small")
        self._bars = QScrollArea()
        self._bars.setAccessibleName(tr("The strongest tokens"))
        self._bars.setProperty("ring", True)
        self._bars.setFrameShape(QFrame.Shape.NoFrame)
        self._bars.setWidgetResizable(True)
        self._bars.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self._bars.setFixedWidth(BARS_WIDTH)
        self.chart: ChartView | None = None
        self._row = QHBoxLayout()
        self._row.setSpacing(GROUP)
        self._row.addWidget(self._bars)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(GRID)
        layout.addWidget(self.verdict)
        layout.addLayout(self._row, 1)
        layout.addWidget(self.note)

    def tools(self) -> list[QWidget]:
        return [self.method]

    def why_not(self, look: Look) -> str:
        if look.kind == DECODER:
            return tr("{view} is about the text that is read. Choose “Encoder” or “Cross” above.", view=tr(self.title))
        return ""

    # --- following ---------------------------------------------------------------------------------------------

    def show_look(self, look: Look) -> None:
        is_other = self.look is None or (self.look.key, self.look.kind) != (look.key, look.kind)
        super().show_look(look)
        if is_other:
            self._found, self._reads = {}, {}
            self._clear()
        self._changed() if is_other or self._chosen() in FROM_MAPS else self._draw()

    def show_selection(self, part: str) -> None:
        per_token = self._found.get("target", {}).get("per_token")
        if part == HEADS and self._chosen() == "head" or part == CELL and (self._chosen() == "head" or per_token):
            self._reads = {} if per_token else self._reads
            self._changed()
        elif part == STATE:
            known = {*self._found.get("states", {})}
            self._draw() if known >= {*self._states()} else self._changed()

    def _states(self) -> list[str]:
        """Return the states that are to be explained: only those that are shown, since each takes its time."""
        if self.look is None or self.selection.state in self.look.maps:
            return [self.selection.state]
        return list(self.look.maps) if self.selection.state == DIFFERENCE else [AFTER]

    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        if self._is_stale:
            self._changed()
        else:
            self._draw()

    def hideEvent(self, event: QHideEvent) -> None:
        super().hideEvent(event)
        self.tinted.emit(None, False, "")

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._make_room()

    def _make_room(self) -> None:
        self._bars.setVisible(bool(self._found) and self.width() >= ROOM_FOR_BARS)

    def _chosen(self) -> str:
        return self.method.currentData()

    # --- asking ------------------------------------------------------------------------------------------------

    def _changed(self) -> None:
        self._is_stale = True
        self.method.setToolTip(tr(METHODS[self._chosen()][1]))
        if self.isVisible():
            self._timer.start()

    def _ask(self) -> None:
        if self.look is None or not self.isVisible():
            return
        method = self._sent = self._chosen()
        self._ticket += 1
        self._is_stale = False
        if self.look.is_cross and method in WITHIN:
            self._refuse(Problem("method-kind", {"method": tr(METHODS[method][0]).lower(), "kind": self.look.kind}))
            return
        self.verdict.setText(tr("Asking the model…"))
        if method in FROM_MAPS and not {*self._reads.get("states", {})} >= {*self._states()}:
            self._study("reads")
        elif method in FROM_MAPS:
            self._weigh(method)
        else:
            self._study(method)

    def _study(self, method: str, **options: Any) -> None:
        asked = {"method": method, "kind": self.look.kind, "token": self._token(), "states": self._states()}
        self.asked.emit("attributions", asked | {"about": self._ticket} | options)

    def _token(self) -> int:
        """Return the locked token, counted with those that the tokenizer added."""
        query = self.selection.cell[0]
        if query < 0 or not self.look.without_special:
            return query
        added = self._reads.get("added") or self._found.get("added")
        return int(np.flatnonzero(~np.array(added))[query]) if added else -1

    def _weigh(self, method: str) -> None:
        """Follow the maps in the background, and let the worker test what comes of it."""
        states = [state for state in self._states() if state in self._reads["states"]]
        look, head, query, reads = self.look, self.selection.head, self.selection.cell[0], self._reads
        ticket = self._ticket

        def work() -> dict[str, list[float]]:
            return {
                state: whole(look, reads["added"], weights_of(method, look, state, head, query, reads))
                for state in states
            }

        def test(weights: dict[str, list[float]]) -> None:
            if look is self.look and ticket == self._ticket:
                self._study(GIVEN, weights=weights)

        background(work, test, self.failed.emit, self, key="weights")

    def take(self, answer: Studied) -> None:
        # What was asked before another method or head was chosen may still come in, and is not of that one.
        if answer.about not in (None, self._ticket):
            return
        if answer.reason:
            self._refuse(Problem(answer.reason, answer.facts))
            return
        if self.look is None or len(answer.result["ids"]) - self._n_cut(answer.result) != len(self.look.tokens):
            return
        if answer.result["method"] == "reads":
            self._reads = answer.result
            if self._sent in FROM_MAPS:
                self._weigh(self._sent)
            return
        if self._sent and answer.result["method"] != (GIVEN if self._sent in FROM_MAPS else self._sent):
            return
        self._found = answer.result | {"method": self._sent or answer.result["method"]}
        self._draw()

    def _refuse(self, problem: Problem) -> None:
        self._clear()
        self.verdict.setText(message_of(problem))

    def _n_cut(self, result: dict[str, Any]) -> int:
        return sum(result["added"]) if self.look.without_special else 0

    # --- showing -----------------------------------------------------------------------------------------------

    def weights(self) -> np.ndarray | None:
        """Return the weights [token] of the tokens that are shown, 0 for those that the tokenizer added."""
        states = self._found.get("states")
        if not states or self.look is None:
            return None
        state, stays = self.selection.state, np.array(self._found["added"])
        if state == DIFFERENCE and len(states) == 2:
            values = np.subtract(states[AFTER]["weights"], states[BEFORE]["weights"])
        else:
            values = np.array(self._state()["weights"])
        values = np.where(stays, 0.0, values)
        return values[~stays] if self.look.without_special else values

    def _state(self) -> dict[str, Any]:
        states = self._found["states"]
        return states.get(self.selection.state) or states[AFTER if AFTER in states else next(iter(states))]

    def _clear(self) -> None:
        self._found = {}
        self.verdict.clear()
        self.note.clear()
        self._make_room()
        if self.chart is not None:
            self.chart.hide()
        self.tinted.emit(None, False, "")

    def _draw(self) -> None:
        values = self.weights()
        if values is None:
            return
        method, state = self._found["method"], self._state()
        signed = method in SIGNED or self.selection.state == DIFFERENCE
        if self.isVisible():
            self.tinted.emit(values, signed, tr("Tint: {method}", method=tr(METHODS[method][0]).lower()))
        said = verdict(self._found["target"], state)
        if self.selection.state not in self.look.maps:  # of two the second is tested
            whose = next(name for name, each in self._found["states"].items() if each is state)
            said = f"{tr(self.look.title(whose))}: {said}"
        self.verdict.setText(said)
        said = facts(self._found, state)
        self.note.setText(" · ".join(said))
        self.note.setToolTip("\n".join([*said, *areas(state)]))
        bars = BarsView(self._named(values), signed=signed)
        bars.setObjectName("scrolled")
        self._bars.setWidget(bars)
        self._make_room()
        former = self.chart
        self.chart = ChartView(LineChart(curves(self._found["target"], state)))
        self.chart.canvas.setMinimumSize(160, LEAST_CHART)
        self.chart.setAccessibleName(tr("The answer as tokens go and come"))
        if former is not None:
            self._row.removeWidget(former)
            former.hide()
            former.deleteLater()
        self._row.addWidget(self.chart, 1)

    def _named(self, values: np.ndarray) -> dict[str, float]:
        """Return the strongest tokens by name, highest first; names that come twice have their place."""
        tokens, named = [*map(token_text, self.look.tokens)], {}
        cut = np.array(self._found["added"])
        shown = np.flatnonzero(np.ones(len(values), bool) if self.look.without_special else ~cut)
        strongest = shown[np.argsort(-np.abs(values[shown]), kind="stable")[:MOST_BARS]]
        for i in sorted(strongest, key=lambda i: -values[i]):
            name = tokens[i] if tokens.count(tokens[i]) == 1 else f"{i + 1} {tokens[i]}"
            named[name] = float(values[i])
        return named

    def meaning(self) -> str:
        return tr("Evidence to test, not the reason itself")

    def formats(self) -> dict[str, str]:
        return {"csv": "Table (CSV)…"} if self._found else {}

    def export(self, ending: str, path: Path) -> Write:
        """Return what writes the tokens that are shown with their weights."""
        header = [marked(self.look, "token"), METHODS[self._found["method"]][0]]
        rows = [*zip(self.look.tokens, map(repr, self.weights().tolist()), strict=True)]
        return lambda told: write_table(path, header, rows)

    def options(self) -> dict[str, Any]:
        return {"method": self._chosen()}

    def set_options(self, options: dict[str, Any]) -> None:
        self.method.setCurrentIndex(max(0, self.method.findData(options.get("method"))))


def rows_of(look: Look, reads: dict[str, Any], state: str) -> np.ndarray:
    """Return from which of the shown tokens the answer is read, shares [token]; from all alike where nobody knows."""
    n_tokens = len(look.tokens)
    found = reads["states"][state]["reads"]
    shares = np.full(n_tokens, 1.0) if found is None else np.array(found)
    if found is not None and look.without_special:
        shares = shares[~np.array(reads["added"])]
    return shares / shares.sum() if shares.sum() > 0 else np.full(n_tokens, 1 / n_tokens)


def weights_of(
    method: str, look: Look, state: str, head: tuple[int, int], query: int, reads: dict[str, Any]
) -> np.ndarray:
    """Return what a method that needs only maps gives each shown token, [token]; reads: from where the answer is."""
    maps = look.maps[state]
    if method == "head":
        values = np.asarray(maps[head[0]][head[1]], dtype=np.float64)
        return values[query] if query >= 0 else values.mean(axis=0)
    return rows_of(look, reads, state) @ paths.rollout(maps)


def whole(look: Look, added: list[bool], weights: np.ndarray) -> list[float]:
    """Return weights of all tokens that the model reads, 0 for those that are not shown."""
    if not look.without_special:
        return weights.tolist()
    full = np.zeros(len(added))
    full[~np.array(added)] = weights
    return full.tolist()


def verdict(target: dict[str, Any], state: dict[str, Any]) -> str:
    """Return in words what happens without the strongest tokens, beside what chance does."""
    n = state["n_strongest"]
    at = state["steps"].index(n)
    what = tr(target["words"], **target["facts"])
    one = "Without the strongest token the {what} goes from {first} to {last}; without a random one: {random}."
    several = (
        "Without the {n} strongest tokens the {what} goes from {first} to {last}; without {n} random ones: {random}."
    )
    first, last, random = compared(state["deletion"][0], state["deletion"][at], state["random_deletion"][at])
    said = tr(one if n == 1 else several, n=n, what=what, first=first, last=last, random=random)
    sooner = state["deletion_area"] < state["random_deletion_area"]
    higher = state["insertion_area"] > state["random_insertion_area"]
    if sooner and higher:
        return said + " " + tr("Over all tokens its order does better than chance.")
    if sooner or higher:
        return said + " " + tr("Over all tokens only one of the two curves is better than chance.")
    return said + " " + tr("Over all tokens its order does no better than chance: don't rely on it.")


def facts(found: dict[str, Any], state: dict[str, Any]) -> list[str]:
    """Return what else tests an explanation."""
    said = []
    if state["spearman"] is not None:
        said.append(tr("Agrees with leaving out each token alone: ρ {rho}", rho=f"{state['spearman']:.2f}"))
    elif state["occlusion"] is None:
        said.append(tr("Too long to leave out each token alone"))
    if state["uniform"] is not None:
        said.append(tr("Were every head to look evenly: {value}", value=compared(state["uniform"])[0]))
    if state.get("missing") is not None:
        said.append(tr("Adds up to {share} of the whole", share=words.percent(1 - state["missing"], 1)))
    said.append(tr("A token that goes becomes {blank}", blank=found["blank"]))
    return said


def areas(state: dict[str, Any]) -> list[str]:
    """Return the mean heights of the curves beside those of chance: a good order is low first, and high second."""
    pairs = {tr("Mean height as tokens go"): "deletion", tr("Mean height as tokens come"): "insertion"}
    heights = {what: compared(state[f"{name}_area"], state[f"random_{name}_area"]) for what, name in pairs.items()}
    return [
        tr("{what}: {value}, by chance {random}", what=what, value=value, random=random)
        for what, (value, random) in heights.items()
    ]


def curves(target: dict[str, Any], state: dict[str, Any]) -> Curves:
    """Return the curves of deletion and insertion, with those of chance."""
    steps = [float(step) for step in state["steps"]]
    named = {
        tr("strongest go"): "deletion",
        tr("random go"): "random_deletion",
        tr("strongest come"): "insertion",
        tr("random come"): "random_insertion",
    }
    series = {title: Points(x=steps, y=state[name]) for title, name in named.items()}
    axis = "probability" if target["is_probability"] else "target"
    return Curves(series=series, x_axis="tokens", y_axis=axis)


VIEW = AttributionsView
