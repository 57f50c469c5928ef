"""Several trainings in one picture: their curves over each other, and what distinguishes their specs.

Importing this module imports pyqtgraph.
"""

from dataclasses import dataclass
from typing import Any

from PySide6.QtWidgets import QHBoxLayout, QSizePolicy, QTabBar, QWidget

from studio.core.reasons import Failure
from studio.core.replay import read_state
from studio.core.rundir import RunDir, readable_id
from studio.core.state import RunState
from studio.ui import words
from studio.ui.i18n import tr
from studio.ui.panels.run_subjects import alongs_of, curve_of
from studio.ui.panels.runs_rows import score_name, score_of
from studio.ui.panels.spec_difference import differences
from studio.ui.store import Store
from studio.ui.theme import GRID, GROUP
from studio.ui.threads import background
from studio.ui.widgets.along import ALONG
from studio.ui.widgets.cards import Card
from studio.ui.widgets.labels import Small
from studio.ui.widgets.plot import CurvePlot
from studio.ui.widgets.rows import Column, RowsTable

MOST = 12  # runs in one picture; more can't be told apart
_N_TABS = 3  # the losses and the score; another metric gets a tab behind them


@dataclass(frozen=True)
class Compared:
    """A run with all its points."""

    id: str
    name: str
    spec: Any
    state: RunState


def read_compared(run: RunDir) -> Compared:
    """Return a run with its points, read from its log; call it in the background. Raises Failure."""
    return Compared(run.id, run.name() or readable_id(run.id), run.spec(), read_state(run))


class RunsCompare(QWidget):
    """Overlays the losses and the scores of trainings, above the table of their differences."""

    def __init__(self, store: Store, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._store = store
        self._ids: list[str] = []
        self._kept: dict[str, tuple[int, Compared]] = {}
        self._shown: list[Compared] = []
        self.plot = CurvePlot()
        self.plot.setAccessibleName(tr("Curves of the chosen runs"))
        self.plot.set_smoothing(store.settings.smoothing)
        self.plot.canvas.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Ignored)
        self.which = QTabBar()
        self.which.setExpanding(False)
        for title in (tr("Training loss"), tr("Validation loss"), tr("Score")):
            self.which.addTab(title)
        self.which.currentChanged.connect(lambda _: self._draw())
        self._other = ("", "")
        self.plot.subject_chosen.connect(self._show_other)
        self.plot.along_chosen.connect(self._set_along)
        self.note = Small()
        self.note.setWordWrap(False)
        self._table_place = Card(tr("What distinguishes them"))
        self._table: RowsTable | None = None
        self._same = Small(tr("Their specs are the same."))
        self._same.setVisible(False)
        self._table_place.add(self._same)
        curves = Card()
        curves.layout().setContentsMargins(GROUP, GRID, GRID, 4)
        head = QHBoxLayout()
        head.addWidget(self.which)
        head.addStretch(1)
        head.addWidget(self.note)
        curves.body.addLayout(head)
        curves.add(self.plot, 1)
        curves.body.addStretch()
        self.plot.setVisible(False)
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(GRID)
        layout.addWidget(curves, 5)
        layout.addWidget(self._table_place, 4)

    def show_runs(self, ids: list[str]) -> None:
        """Show these trainings; their logs are read in the background, only what grew is read again."""
        self._ids = ids[:MOST]
        self.note.setText(tr("Reading the logs…"))
        store, kept, wanted = self._store, dict(self._kept), list(self._ids)

        def read() -> dict[str, tuple[int, Compared]]:
            found = {}
            for run_id in wanted:
                run = store.run_dir(run_id)
                try:
                    size = run.events_file.stat().st_size if run.events_file.exists() else 0
                    has = kept.get(run_id)
                    # A name can change without the log.
                    fresh = has is None or has[0] != size or has[1].name != (run.name() or readable_id(run_id))
                    found[run_id] = (size, read_compared(run)) if fresh else has
                except (Failure, OSError):
                    if run.spec_file.exists():
                        raise
                    # It was moved to the bin while it was read.
            return found

        def show(found: dict[str, tuple[int, Compared]]) -> None:
            self._kept = found
            self._shown = [found[run_id][1] for run_id in wanted if run_id in found]
            more = len(ids) - len(wanted)
            self.note.setText(tr("The first {n} of the chosen runs.", n=MOST) if more > 0 else "")
            self._draw()
            self._tell_differences()

        background(read, show, store.fail, self, key="compare")

    def _show_other(self, key: str) -> None:
        """Show another metric, behind the losses and the score."""
        self._other = tuple(key.split(" ", 1))
        if self.which.count() == _N_TABS:
            self.which.addTab("")
        self.which.setTabText(_N_TABS, curve_of(*self._other)[0])
        self.which.setCurrentIndex(_N_TABS)
        self._draw()

    def _set_along(self, name: str) -> None:
        self._store.change_settings(x_axis=name)
        self.plot.reset_view()
        self._draw()

    def _draw(self) -> None:
        self.plot.clear_curves()
        self.plot.setVisible(True)
        at, states = self.which.currentIndex(), [run.state for run in self._shown]
        keys = dict.fromkeys(key for state in states for key in state.series)
        self.plot.offered_subjects = [(" ".join(key), curve_of(*key)[0]) for key in keys]
        self.plot.offered_along = [name for name in ALONG if all(name in alongs_of(state) for state in states)]
        along = self._store.settings.x_axis
        self.plot.set_along(along if along in self.plot.offered_along else "step", self.plot.steps_in_sight)
        for colour, run in enumerate(self._shown):
            split, name = self._key(at, run)
            _, style, say = curve_of(split, name)
            self.plot.set_y_words(say)
            self.plot.subject = f"{split} {name}"
            series = run.state.series.get((split, name))
            if series is not None and len(series):
                self.plot.set_curve(run.id, series.on(self.plot.along.name), series.y, run.name, style, colour)

    def _key(self, tab: int, run: Compared) -> tuple[str, str]:
        if tab == _N_TABS:
            return self._other
        return ("train", "validation", "validation")[tab], "loss" if tab < 2 else _score_name(run)

    def _tell_differences(self) -> None:
        if self._table is not None:
            self._table.hide()
            self._table.deleteLater()
        found = differences({run.id: run.spec for run in self._shown})
        self._same.setVisible(not found)
        rows = [{"id": title, "title": title} | values for title, values in [*found, *_results(self._shown)]]
        self._table = RowsTable([Column("title", ""), *(Column(run.id, run.name, width=104) for run in self._shown)])
        self._table.setAccessibleName(tr("What distinguishes them"))
        self._table.set_rows(rows)
        self._table_place.add(self._table, 1)


def _score_name(run: Compared) -> str:
    """Return the metric whose curve a comparison shows: that of the task."""
    names = [name for split, name in run.state.series if split == "validation" and name != "loss"]
    return score_name(names, getattr(run.spec, "task", None)) or next(iter(names), "")


def _results(runs: list[Compared]) -> list[tuple[str, dict[str, str]]]:
    """Return what came out of each run, as lines below the differences."""
    score, seconds = {}, {}
    for run in runs:
        measured = run.state.latest.get("test") or run.state.latest.get("validation") or {}
        value = score_of(measured, getattr(run.spec, "task", None))
        score[run.id] = words.score(value) if value is not None else "–"
        seconds[run.id] = words.duration(run.state.train_seconds) if run.state.train_seconds else "–"
    return [(tr("Score"), score), (tr("Training time"), seconds)]
