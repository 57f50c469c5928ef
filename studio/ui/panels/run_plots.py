"""The curves of a training: a large plot of the loss, below it what the person chose, all along the same axis.

Importing this module imports pyqtgraph.
"""

from collections.abc import Iterable, Sequence

import numpy as np
from PySide6.QtCore import Qt, QTimer, Signal
from PySide6.QtWidgets import QGridLayout, QSizePolicy, QVBoxLayout, QWidget

from studio.core.state import RunState
from studio.ui.i18n import tr
from studio.ui.panels.run_subjects import SCORES, Part, Subject, alongs_of, subject_of, subjects_of
from studio.ui.theme import GRID
from studio.ui.widgets.cards import Card
from studio.ui.widgets.labels import Small
from studio.ui.widgets.plot import CurvePlot
from studio.ui.widgets.plot_menu import PlotMenuButton

TAKE_TURNS = 1000  # steps
QUIET_MS = 500  # so long after the last news those whose turn did not come are drawn
LEAST_WIDTH = 200  # pixels of a small plot beside others
DEFAULT_SUBJECTS = (SCORES, "learning_rate", "grad_norm", "system:processor")


class RunPlots(QWidget):
    """Draws the series of one run; hand the state over as often as it changes.

    along_changed: what x is, for all plots. subjects_changed: what the small plots show, as a list of keys.
    """

    along_changed = Signal(str)
    subjects_changed = Signal(object)

    def __init__(
        self,
        smoothing: float,
        along: str = "step",
        subjects: Sequence[str] = DEFAULT_SUBJECTS,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self.along, self.subjects = along, [*subjects, *DEFAULT_SUBJECTS[len(subjects) :]]
        self.loss = CurvePlot(tr("Loss"))
        # The small ones have no room for a heading: their legends say what they show.
        self.small = [CurvePlot() for _ in DEFAULT_SUBJECTS]
        self.all = [self.loss, *self.small]
        for plot in self.all:
            plot.set_smoothing(smoothing)
            plot.along_chosen.connect(self.set_along)
            self.loss.smoothing_changed.connect(plot.set_smoothing)
        self.loss.link(self.small)
        self._cards = [_PlotCard(plot) for plot in self.all]
        self._cards[0].show_text(tr("The loss is drawn from the first step on."))
        self._cards[0].setMinimumHeight(200)
        self._grid = QGridLayout()
        self._grid.setSpacing(GRID)
        self._n_columns = 0
        for at, card in enumerate(self._cards[1:]):
            card.setMinimumHeight(140)
            card.plot.setMinimumWidth(120)
            card.plot.show_position(False)
            card.plot.subject_chosen.connect(lambda key, at=at: self.set_subject(at, key))
        self._arrange(len(self.small))
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(GRID)
        layout.addWidget(self._cards[0], 3)
        layout.addLayout(self._grid, 2)
        self._state, self._turn = RunState(), 0
        self._quiet = QTimer(self, singleShot=True)
        self._quiet.timeout.connect(lambda: self._draw(range(len(self.small))))

    def show_state(self, state: RunState) -> None:
        """Draw the points of a run; another run's curves go first."""
        if state.id != self._state.id:
            for plot in self.all:
                plot.clear_curves()
                plot.reset_view()
        is_new, self._state = state is not self._state, state
        is_long = state.step > TAKE_TURNS
        if is_long and is_new:
            self._quiet.start(0)  # once the rest of the page stands: both at once would hold the window for 60 ms
        elif is_long and state.is_active:
            # The small plots take turns: all at once would hold the window for 30 ms.
            self._turn = (self._turn + 1) % len(self.small)
            self._draw([self._turn])
            self._quiet.start(QUIET_MS)
        else:
            self._draw(range(len(self.small)))

    def set_along(self, name: str) -> None:
        """Draw all plots along another axis; what is in sight stays in sight."""
        if name != self.along:
            self.along = name
            self._draw(range(len(self.small)))
            self.along_changed.emit(name)

    def set_subject(self, at: int, key: str) -> None:
        """Show something else in a small plot."""
        if key != self.subjects[at]:
            self.subjects[at] = key
            self._draw([at])
            self.subjects_changed.emit(list(self.subjects))

    def _draw(self, small: Iterable[int]) -> None:
        """Draw the loss, and those of the small plots."""
        state = self._state
        self._show_along()
        parts = (("train", tr("training"), "smoothed"), ("validation", tr("validation"), "points"))
        loss = [Part(split, "loss", title, style, at) for at, (split, title, style) in enumerate(parts)]
        self._draw_subject(self.loss, Subject("loss", tr("Loss"), tuple(loss)))
        offered = [(subject.key, subject.title) for subject in subjects_of(state).values()]
        for at in small:
            subject, plot = subject_of(state, self.subjects[at]), self.small[at]
            plot.offered_subjects, plot.subject = offered, subject.key
            plot.setAccessibleName(subject.title)
            plot.set_y_words(subject.say)
            self._draw_subject(plot, subject)
            if subject.key == SCORES:
                text = tr("The first score comes with the first evaluation.")
            else:
                text = subject.title if state.is_active else tr("{title}: not in this run", title=subject.title)
            self._cards[1 + at].show_text(text, offered)
        for card in self._cards:
            card.show_plot(bool(card.plot.curves()))

    def _show_along(self) -> None:
        offered = alongs_of(self._state)
        wanted = self.along if self.along in offered else "step"
        former, span = self.loss.along.name, self.loss.steps_in_sight
        trained = self._state.tracks.get("train")
        if wanted != former and span is not None and trained:
            span = tuple(np.interp(span, trained.on(former), trained.on(wanted)).tolist())
        for plot in self.all:
            plot.offered_along = offered
            if wanted != former:
                plot.set_along(wanted, span)

    def _draw_subject(self, plot: CurvePlot, subject: Subject) -> None:
        shown = {}
        for part in subject.parts:
            series = self._state.series.get((part.split, part.name))
            if series is not None and len(series):
                shown[f"{part.split} {part.name}"] = part, series
        for key in plot.curves().keys() - shown.keys():
            plot.remove_curve(key)
        for key, (part, series) in shown.items():
            x = series.on(plot.along.name)
            plot.set_curve(key, x, series.y, part.title, part.style, part.colour, series.n_cuts)

    def _arrange(self, n_columns: int) -> None:
        if n_columns != self._n_columns:
            self._n_columns = n_columns
            for at, card in enumerate(self._cards[1:]):
                self._grid.addWidget(card, at // n_columns, at % n_columns)

    def resizeEvent(self, event: object) -> None:
        # Four beside each other, two by two, or below each other: whatever leaves them readable.
        self._arrange(next((n for n in (4, 2) if self.width() >= n * LEAST_WIDTH), 1))


class _PlotCard(Card):
    """A plot on a card, and a line in its place until there is something to draw."""

    def __init__(self, plot: CurvePlot) -> None:
        super().__init__()
        self.plot, self._waiting = plot, Small()
        # Its own hint is that of a large picture; in a scrolled page it takes the room that there is.
        plot.canvas.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Ignored)
        self._waiting.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self._menu = PlotMenuButton(plot)
        self.layout().setContentsMargins(GRID, 4, GRID // 2, 4)
        self.add(self._menu, 0)
        self.body.setAlignment(self._menu, Qt.AlignmentFlag.AlignRight)
        self.add(self._waiting, 1)
        self.add(plot, 1)
        self.show_plot(False)

    def show_text(self, text: str, offered: Sequence[tuple[str, str]] = ()) -> None:
        """Say what will be here; where something else can be shown already, its menu is there."""
        self._waiting.setText(text)
        self._menu.setVisible(bool(offered) and not self._waiting.isHidden())

    def show_plot(self, on: bool) -> None:
        self._waiting.setVisible(not on)
        self.plot.setVisible(on)
        self._menu.setVisible(not on and bool(self.plot.offered_subjects))
