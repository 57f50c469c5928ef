"""Heads over many rows of the data: the mean and spread of a number, and the rows in which a head fires most."""

from pathlib import Path
from typing import Any

import numpy as np
from PySide6.QtGui import QShowEvent
from PySide6.QtWidgets import (
    QComboBox,
    QFrame,
    QHBoxLayout,
    QListWidgetItem,
    QPlainTextEdit,
    QProgressBar,
    QScrollArea,
    QSpinBox,
    QVBoxLayout,
    QWidget,
)

from studio.attention import over_rows
from studio.core.events import Studied
from studio.core.reasons import Problem
from studio.ui import words
from studio.ui.i18n import tr
from studio.ui.notices import message_of, words_of
from studio.ui.theme import GRID, current
from studio.ui.threads import background
from studio.ui.views.base import View
from studio.ui.views.look import AFTER, BEFORE, DIFFERENCE, LOWEST_FIRST, Look
from studio.ui.views.selection import HEADS, STATE, Selection
from studio.ui.views.slices import CONTRASTS, SLICES, bands_of, slices_of
from studio.ui.widgets.buttons import quiet_button
from studio.ui.widgets.labels import ElidedLabel, Small, Strong
from studio.ui.widgets.ranking import Line, Ranking
from studio.ui.widgets.spread import Band, SpreadPlot

STATISTICS = {
    "entropy": ("Entropy", "how widely the rows of the map look, in nats; 0 is a single token"),
    "max": ("Largest weight", "the largest weight of a row of the map, on average"),
    "sink": ("On the first token", "weight on the first token"),
    "distance": ("Distance", "how many tokens away it looks"),
    "previous": ("On the previous token", "weight on the token before"),
    "next": ("On the next token", "weight on the token after"),
    "self": ("On itself", "weight of the tokens on themselves"),
    "special": ("On special tokens", "weight on special tokens without the first token"),
    "same token": ("On the same token", "weight on the same token elsewhere, where there is one"),
    "induction": ("Induction", "weight on the token that came after the same token earlier, where there is one"),
    "local": ("Nearby", "weight on tokens at most 3 away"),
    "uniform": ("Evenness", "how evenly it looks: 1 is an even look"),
    over_rows.CHANGE: ("Change", "Jensen–Shannon divergence of before and after in nats, 0 to 0.693"),
}
SOURCES = {"validation": "Validation rows", "test": "Test rows", "train": "Training rows", "texts": "Texts typed here"}
N_ROWS, MOST_ROWS = 100, 1000
FILTERS = {
    "without_special": "without special tokens",
    "without_first": "without the first token",
    "whole_words": "words, not pieces",
}  # what View leaves out or merges; asked with the rows
LEAST_PLOT = 44  # logical pixels; in a low window slices scroll
MOST_SHOWN = 200  # lines in the list of rows
TEXTS_HEIGHT = 88


class AggregateView(View):
    """A number of every head in many rows; the chosen head's values, and the rows behind them."""

    id = "aggregate"
    title = "Over rows"
    help = "A head's number over many rows of the data, and the rows in which it fires most."
    order = 70
    asks_of_look = False

    def __init__(self, selection: Selection, parent: QWidget | None = None) -> None:
        super().__init__(selection, parent)
        self.numbers: dict[str, dict[str, np.ndarray]] = {}
        self.rows: list[dict[str, Any]] = []
        self._result: dict[str, Any] = {}
        self._is_asking = False
        column = self._column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(GRID)
        column.addLayout(self._make_question())
        self.texts = QPlainTextEdit()
        self.texts.setPlaceholderText(tr("One text on a line"))
        self.texts.setAccessibleName(tr("Texts to measure"))
        self.texts.setTabChangesFocus(True)
        self.texts.setFixedHeight(TEXTS_HEIGHT)
        self.texts.hide()
        column.addWidget(self.texts)
        self.bar = QProgressBar()
        self.bar.setTextVisible(False)
        self.bar.setAccessibleName(tr("Progress"))
        self.bar.hide()
        column.addWidget(self.bar)
        self.said = Small(
            tr("This number of every head in many rows: its mean, its spread, and where a head fires most.")
        )
        column.addWidget(self.said)
        column.addWidget(self._make_found(), 1)
        column.addStretch(1)

    # --- making ------------------------------------------------------------------------------------------------

    def _make_question(self) -> QHBoxLayout:
        self.statistic, self.source, self.n_rows = QComboBox(), QComboBox(), QSpinBox()
        self.statistic.setObjectName("aggregate.statistic")
        self.statistic.setAccessibleName(tr("Number to compare"))
        for name, (title, _) in STATISTICS.items():
            self.statistic.addItem(tr(title), name)
        self.statistic.currentIndexChanged.connect(lambda _: self._show())
        self.source.setAccessibleName(tr("Rows to measure"))
        for name, title in SOURCES.items():
            self.source.addItem(tr(title), name)
        self.source.currentIndexChanged.connect(lambda _: self._offer())
        self.slices = QComboBox()
        self.slices.setObjectName("aggregate.slices")
        self.slices.setAccessibleName(tr("Rows that are compared"))
        for name, title in SLICES.items():
            self.slices.addItem(tr(title), name)
        self.slices.currentIndexChanged.connect(lambda _: self._show())
        self._slices = QWidget()  # it has its place before there are rows with a label
        QHBoxLayout(self._slices).addWidget(self.slices)
        self._slices.layout().setContentsMargins(0, 0, 0, 0)
        self.slices.hide()
        for choice in (self.statistic, self.source, self.slices):
            choice.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
            choice.setMinimumContentsLength(12)
        self.n_rows.setRange(1, MOST_ROWS)
        self.n_rows.setValue(N_ROWS)
        self.n_rows.setMinimumWidth(96)
        self.n_rows.lineEdit().setTextMargins(6, 0, 0, 0)  # a stylesheet's padding does not reach it
        self.n_rows.setAccessibleName(tr("How many rows"))
        self.n_rows.setToolTip(tr("How many rows, spread evenly over the part"))
        self.button = quiet_button(tr("Measure"), "aggregate.measure")
        self.button.clicked.connect(self._ask_or_stop)
        row = QHBoxLayout()
        row.setSpacing(GRID)
        row.addWidget(self.source, 1)
        row.addWidget(self.n_rows)
        row.addWidget(self.button)
        return row

    def _make_found(self) -> QWidget:
        self.found = QWidget()
        column = QVBoxLayout(self.found)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(4)
        self.title_line, self.plot = Strong(), SpreadPlot()
        self.plot.picked.connect(self._look_at_row)
        self.ranking = Ranking(tr("Rows in which the head fires most"), wide=True)
        self.ranking.itemClicked.connect(self._look_at_item)
        self.ranking.itemActivated.connect(self._look_at_item)
        self.order = QComboBox()
        self.order.setAccessibleName(tr("Order of the rows"))
        self.order.addItem(tr("Fires most first"), False)
        self.order.addItem(tr("Fires least first"), True)
        self.order.currentIndexChanged.connect(lambda _: self._show_head())
        self.behind = ElidedLabel()
        self.behind.setProperty("level", "small")
        head = QHBoxLayout()
        head.setSpacing(GRID)
        head.addWidget(self.title_line)
        head.addWidget(self.behind, 1)
        head.addWidget(self.order)
        column.addLayout(head)
        self.plot.setObjectName("scrolled")
        self._plot_area = QScrollArea()
        self._plot_area.setFrameShape(QFrame.Shape.NoFrame)
        self._plot_area.setWidgetResizable(True)
        self._plot_area.setWidget(self.plot)
        column.addWidget(self._plot_area, 1)  # as high as its bands where there is room
        column.addWidget(self.ranking, 1)
        self.found.hide()
        return self.found

    def tools(self) -> list[QWidget]:
        return [self.statistic, self._slices]

    # --- asking ------------------------------------------------------------------------------------------------

    def show_look(self, look: Look) -> None:
        is_first = self.look is None
        super().show_look(look)
        has_data = bool(look.run)  # which knows its rows
        for place, name in enumerate(SOURCES):
            self.source.model().item(place).setEnabled(has_data or name == "texts")
        if is_first or not self.source.model().item(self.source.currentIndex()).isEnabled():
            self.source.setCurrentIndex(self.source.findData("validation" if has_data else "texts"))
        if not has_data and not self.numbers:
            self._say(tr("A model folder has no data of its own: type texts, or look into a trained run."))
        self.statistic.model().item(self.statistic.findData(over_rows.CHANGE)).setEnabled(len(look.maps) == 2)
        if self.numbers and not self._is_asking:
            self._say(self._said_of_filters())
        self._offer()
        self._show()

    def _offer(self) -> None:
        typed = self.source.currentData() == "texts"
        self.texts.setVisible(typed)
        self.n_rows.setVisible(not typed)

    def measure(self) -> None:
        """Ask the worker for the numbers of all heads in the chosen rows."""
        if self.source.currentData() == "texts":
            texts = [line for line in self.texts.toPlainText().splitlines() if line.strip()]
            if not texts:
                self._say(message_of(Problem("text-empty")))
                self.texts.setFocus()
                return
            options: dict[str, Any] = {"texts": texts}
        else:
            options = {"split": self.source.currentData(), "n_rows": self.n_rows.value()}
        filters = [name for name in FILTERS if getattr(self.look, name, False)]
        if filters:
            options["filters"] = filters
        self._wait(True)
        self._say(tr("Measuring…"))
        self.asked.emit("aggregate", options)

    def _ask_or_stop(self) -> None:
        if self._is_asking:
            self.asked.emit("aggregate", {"stop": True})
        else:
            self.measure()

    def _wait(self, on: bool) -> None:
        self._is_asking = on
        self.button.setText(tr("Stop") if on else tr("Measure"))
        self.bar.setVisible(on)
        self.bar.setRange(0, 0)

    def _show_found(self, on: bool) -> None:
        self.found.setVisible(on)
        self._column.setStretch(self._column.count() - 1, int(not on))  # else the question would drift to the middle

    def _say(self, text: str) -> None:
        self.said.setText(text)
        self.said.setVisible(bool(text))

    def show_progress(self, done: float, total: float) -> None:
        if self._is_asking:
            self.bar.setRange(0, int(total))
            self.bar.setValue(int(done))
            self._say(tr("Measuring row {done} of {total}…", done=int(done) + 1, total=int(total)))

    def take(self, answer: Studied) -> None:
        self._wait(False)
        if answer.reason:
            self._say(message_of(Problem(answer.reason, answer.facts)))
            return
        self._result = answer.result
        directory = Path(answer.directory or "")
        background(lambda: over_rows.load(directory), self._take_numbers, self.failed.emit, self, key="numbers")

    def _take_numbers(self, loaded: tuple[dict[str, dict[str, np.ndarray]], list[dict[str, Any]]]) -> None:
        self.numbers, self.rows = loaded
        self.slices.setVisible(any("said" in row for row in self.rows))
        self.behind.setText(self._said_of_rows())
        self._say(self._said_of_filters())
        self._show_found(True)
        self._show()

    def forget(self) -> None:
        self.numbers, self.rows, self.look = {}, [], None
        self.slices.hide()
        self._wait(False)
        self._show_found(False)
        self._say("")

    # --- showing -----------------------------------------------------------------------------------------------

    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        self._show()

    def show_selection(self, part: str) -> None:
        if part == HEADS:
            self._show_head()
        elif part == STATE:
            self._show()

    def values(self, state: str) -> np.ndarray | None:
        """Return the chosen number in a state, [row, layer, head]; None where it was not measured."""
        name = self.statistic.currentData()
        if name == over_rows.CHANGE:
            return self.numbers.get(over_rows.BETWEEN, {}).get(name)
        if state == DIFFERENCE:
            before, after = (self.numbers.get(each, {}).get(name) for each in (BEFORE, AFTER))
            return None if before is None or after is None else after - before
        return self.numbers.get(state if state in self.numbers else AFTER, {}).get(name)

    def _show(self) -> None:
        """Show the chosen number; the grid can be ordered by its mean and its spread from now on."""
        values = self.values(self.selection.state)
        if values is None or self.look is None or values.shape[1:] != self.look.shape:
            return
        title = tr(STATISTICS[self.statistic.currentData()][0])
        mean, spread, n = over_rows.mean_and_spread(values)
        if n.any() and self.isVisible():
            is_lowest = self._is_lowest()
            self.measured.emit("rows-spread", tr("Spread over rows: {name}", name=title), spread, False)
            self.measured.emit("rows", tr("Mean over rows: {name}", name=title), mean, is_lowest)
            differs = over_rows.between_groups(values, self._groups()[1])
            if np.isfinite(differs).any():
                contrast = tr(CONTRASTS[self.slices.currentData()], name=title)
                self.measured.emit("rows-slices", contrast, differs, False)
        self._show_head()

    def _is_lowest(self) -> bool:
        """Return whether the most telling value is the lowest."""
        return self.statistic.currentData() in LOWEST_FIRST and self.selection.state != DIFFERENCE

    def _groups(self) -> tuple[list[str], np.ndarray]:
        by = "" if self.slices.isHidden() else self.slices.currentData()
        state = self.selection.state if self.selection.state in self.numbers else AFTER
        return slices_of(self.rows, by, state)

    def _show_head(self) -> None:
        """Show the values of the chosen head in all rows."""
        layer, head = self.selection.head
        values = self.values(self.selection.state)
        if values is None or layer >= values.shape[1] or head >= values.shape[2]:
            return
        own = values[:, layer, head]
        mean, spread, n = over_rows.mean_and_spread(own)
        title, meaning = STATISTICS[self.statistic.currentData()]
        name = tr("Layer {layer} · Head {head}", layer=layer + 1, head=head + 1)
        if not n:
            self.title_line.setText(tr("{head}: none of the rows has one", head=name))
        else:
            self.title_line.setText(f"{name}: {_told(mean, spread)}{self._said_of_slices(own)}")
        tip = tr("{title}: {meaning}. Mean ± standard deviation over {n} rows.", title=title, meaning=meaning, n=int(n))
        eta = tr("η²: how much of the spread over rows lies between those that are compared, 0 to 1.")
        self.title_line.setToolTip(f"{tip}\n{eta}" if self._groups()[0] else tip)
        texts = [row["text"] for row in self.rows]
        self.plot.show_bands(self._bands(layer, head), texts, tr(title))
        self._plot_area.setMaximumHeight(self.plot.height())
        self._plot_area.setMinimumHeight(min(self.plot.height(), LEAST_PLOT))
        lowest = self._is_lowest() != bool(self.order.currentData())
        order = over_rows.strongest(own, lowest)[:MOST_SHOWN]
        names, groups = self._groups()
        titles = [f"{names[group]} · {text}" if group >= 0 else text for text, group in zip(texts, groups, strict=True)]
        self.ranking.set_lines([Line(int(i), titles[i], float(own[i]), texts[i]) for i in order])

    def _said_of_slices(self, own: np.ndarray) -> str:
        differs = float(over_rows.between_groups(own, self._groups()[1]))
        return f" · η² {differs:.2f}" if np.isfinite(differs) else ""

    def _bands(self, layer: int, head: int) -> list[Band]:
        """Return what is compared: slices of the rows, before and after, or the one number that there is."""
        name, theme, state = self.statistic.currentData(), current(), self.selection.state
        slices, groups = self._groups()
        if slices:
            own = self.values(state)[:, layer, head]
            return bands_of(own, slices, groups, theme.series)
        pairs = [("", AFTER)]
        if BEFORE in self.numbers:
            pairs = [(tr(self.look.title(each)), each) for each in (BEFORE, AFTER)]
        if name == over_rows.CHANGE or state == DIFFERENCE:
            pairs = [
                (tr("After − before") if state == DIFFERENCE and name != over_rows.CHANGE else tr("Change"), state)
            ]
        bands = []
        for place, (title, which) in enumerate(pairs):
            own = self.values(which)[:, layer, head]
            mean, spread, _ = over_rows.mean_and_spread(own)
            bands.append(Band(title, own, float(mean), float(spread), theme.series[place]))
        return bands

    def _said_of_rows(self) -> str:
        """Return how many rows stand behind the numbers, and why others do not."""
        result = self._result
        source = tr(SOURCES[result["source"]]).lower()
        said = tr("{n} of {all} {source}", n=result["n_rows"], all=result["n_asked"], source=source)
        reasons = []
        for reason, n in result["n_left_out"].items():
            title = tr("failed their check") if reason == "unverified" else _short(reason)
            reasons.append(f"{n} {title}")
        left_out = tr(" · left out: {reasons}", reasons=", ".join(reasons)) if reasons else ""
        return said + left_out + tr(" · every capture verified")

    def _said_of_filters(self) -> str:
        """Return what of each row was measured, where that is not what is on screen."""
        applied = self._result.get("filters", [])
        if self.look is None or applied == [name for name in FILTERS if getattr(self.look, name)]:
            return ""
        what = tr(", ").join(tr(FILTERS[name]) for name in applied) or tr("all tokens")
        return tr("These rows were measured as: {what}. Measure again for what View shows now.", what=what)

    def meaning(self) -> str:
        return tr("Mean ± standard deviation over rows") if self.numbers else ""

    # --- rows --------------------------------------------------------------------------------------------------

    def _look_at_item(self, item: QListWidgetItem) -> None:
        self._look_at_row(self.ranking.keys()[self.ranking.row(item)])

    def _look_at_row(self, place: int) -> None:
        row = self.rows[place]
        # A row of one field is a text like any other.
        self.look_at.emit(row["text"], row["fields"] if len(row["fields"]) > 1 else {})

    def options(self) -> dict[str, Any]:
        chosen = {"statistic": self.statistic, "source": self.source, "slices": self.slices}
        return {name: choice.currentData() for name, choice in chosen.items()}

    def set_options(self, options: dict[str, Any]) -> None:
        for choice, name in ((self.statistic, "statistic"), (self.source, "source"), (self.slices, "slices")):
            if choice.findData(options.get(name)) >= 0:
                choice.setCurrentIndex(choice.findData(options[name]))


def _told(mean: float, spread: float) -> str:
    said = words.number(float(mean), 3).replace("-", "−")
    return f"{said} ± {words.number(float(spread), 2)}" if np.isfinite(spread) else said


def _short(reason: str) -> str:
    """Return why rows were left out in a few words."""
    known = {"text-too-long": tr("longer than the model takes"), "text-empty": tr("without a text")}
    return known.get(reason) or words_of(Problem(reason)).title


VIEW = AggregateView
