"""The curves of a training: a large plot of the loss, below it metric, learning rate and gradient norm, linked.

Importing this module imports pyqtgraph.
"""

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QBoxLayout, QSizePolicy, QVBoxLayout, QWidget

from studio.core.state import RunState
from studio.ui import words
from studio.ui.i18n import tr
from studio.ui.theme import GRID
from studio.ui.widgets.cards import Card
from studio.ui.widgets.labels import Small
from studio.ui.widgets.plot import CurvePlot

TAKE_TURNS = 1000  # steps
SIDE_BY_SIDE = 600  # the least width in pixels of three small plots in a row
SHARES = ("accuracy", "f1_macro", "f1", "entity_f1", "exact_match")  # metrics between 0 and 1, as they are drawn


class RunPlots(QWidget):
    """Draws the series of one run; hand the state over as often as it changes."""

    def __init__(self, smoothing: float, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.loss = CurvePlot(tr("Loss"))
        # The small ones have no room for a heading: their legends say what they show.
        self.score, self.rate, self.gradient = CurvePlot(), CurvePlot(), CurvePlot()
        self.score.setAccessibleName(tr("Metric"))
        self.rate.setAccessibleName(tr("Learning rate"))
        self.gradient.setAccessibleName(tr("Gradient norm"))
        self.all = [self.loss, self.score, self.rate, self.gradient]
        for plot in self.all:
            plot.set_smoothing(smoothing)
        self.loss.smoothing_changed.connect(self.gradient.set_smoothing)
        self.loss.link(self.all[1:])
        waiting = (
            tr("The loss is drawn from the first step on."), tr("The first score comes with the first evaluation."),
            tr("Learning rate"), tr("Gradient norm"),
        )  # fmt: skip
        self._cards = [_PlotCard(plot, text) for plot, text in zip(self.all, waiting, strict=True)]
        self._cards[0].setMinimumHeight(200)
        self._row = QBoxLayout(QBoxLayout.Direction.LeftToRight)
        self._row.setSpacing(GRID)
        for card in self._cards[1:]:
            card.setMinimumHeight(140)
            card.plot.setMinimumWidth(120)
            card.plot.show_position(False)
            self._row.addWidget(card, 1)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(GRID)
        layout.addWidget(self._cards[0], 3)
        layout.addLayout(self._row, 2)
        self._run, self._turn = "", 0

    def show_state(self, state: RunState) -> None:
        """Draw the points of a run; another run's curves go first."""
        if state.id != self._run:
            self._run = state.id
            for plot in self.all:
                plot.clear_curves()
                plot.reset_view()
        self._draw(self.loss, state, "train", "loss", tr("training"), "smoothed", 0)
        self._draw(self.loss, state, "validation", "loss", tr("validation"), "points", 1)
        # While a long run goes on the small plots take turns: all four at once would hold the window for 30 ms.
        self._turn = (self._turn + 1) % 3
        takes_turns = state.is_active and state.step > TAKE_TURNS
        if not takes_turns or self._turn == 0:
            self._draw(self.rate, state, "train", "learning_rate", tr("Learning rate"), "line", 0)
        if not takes_turns or self._turn == 1:
            self._draw(self.gradient, state, "train", "grad_norm", tr("Gradient norm"), "smoothed", 0)
        if not takes_turns or self._turn == 2:
            self._draw_scores(state)
        for card in self._cards:
            card.show_plot(bool(card.plot.curves()))

    def _draw_scores(self, state: RunState) -> None:
        names = [name for split, name in state.series if split == "validation" and name != "loss"]
        shares = [name for name in SHARES if name in names]
        for at, name in enumerate(shares or sorted(names)):
            self._draw(self.score, state, "validation", name, words.word(words.METRICS, name), "points", 1 + at)

        for card in self._cards:
            card.show_plot(bool(card.plot.curves()))

    def resizeEvent(self, event: object) -> None:
        # Side by side the three would be too narrow to read; below each other they share the loss' steps.
        wanted = QBoxLayout.Direction.LeftToRight if self.width() >= SIDE_BY_SIDE else QBoxLayout.Direction.TopToBottom
        if self._row.direction() != wanted:
            self._row.setDirection(wanted)

    def _draw(
        self, plot: CurvePlot, state: RunState, split: str, name: str, title: str, style: str, colour: int
    ) -> None:
        series = state.series.get((split, name))
        if series is not None and len(series):
            plot.set_curve(f"{split} {name}", series.x, series.y, title, style, colour)


class _PlotCard(Card):
    """A plot on a card, and a line in its place until there is something to draw."""

    def __init__(self, plot: CurvePlot, text: str) -> None:
        super().__init__()
        self.plot, self._waiting = plot, Small(text)
        # Its own hint is that of a large picture; in a scrolled page it takes the room that there is.
        plot.canvas.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Ignored)
        self._waiting.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self.layout().setContentsMargins(GRID, 4, GRID // 2, 4)
        self.add(self._waiting, 1)
        self.add(plot, 1)
        self.show_plot(False)

    def show_plot(self, on: bool) -> None:
        if on == self.plot.isHidden():
            self._waiting.setVisible(not on)
            self.plot.setVisible(on)
