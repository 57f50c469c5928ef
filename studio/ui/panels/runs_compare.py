"""Several trainings in one picture: their curves over each other, and what distinguishes their specs.

Importing this module imports pyqtgraph.
"""

from dataclasses import dataclass
from typing import Any

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QHBoxLayout, QLabel, QSizePolicy, QTabBar, QVBoxLayout, QWidget

from studio.core.rundir import RunDir, read_events, readable_id
from studio.core.state import RunState, new_state
from studio.ui import words
from studio.ui.i18n import tr
from studio.ui.panels.runs_rows import score_of
from studio.ui.panels.spec_difference import differences
from studio.ui.store import Store
from studio.ui.theme import GRID
from studio.ui.threads import background
from studio.ui.widgets.cards import Card
from studio.ui.widgets.labels import Small
from studio.ui.widgets.plot import CurvePlot
from studio.ui.widgets.rows import Column, RowsTable

MOST = 12  # runs in one picture; more can't be told apart
_LOSSES = (("train", "smoothed"), ("validation", "points"))


@dataclass(frozen=True)
class Compared:
    """A run with all its points."""

    id: str
    name: str
    spec: Any
    state: RunState


def read_compared(run: RunDir) -> Compared:
    """Return a run with its points, read from its log; call it in the background. Raises Failure."""
    state = new_state(run)
    for event in read_events(run):
        state.apply(event)
    return Compared(run.id, run.name() or readable_id(run.id), run.spec(), state)


class RunsCompare(QWidget):
    """Overlays the losses and the scores of trainings, above the table of their differences."""

    def __init__(self, store: Store, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._store = store
        self._ids: list[str] = []
        self._kept: dict[str, tuple[int, Compared]] = {}
        self._shown: list[Compared] = []
        self.loss, self.score = CurvePlot(tr("Loss")), CurvePlot()
        self.score.setAccessibleName(tr("Metric"))
        self.loss.link([self.score])
        self.loss.set_smoothing(store.settings.smoothing)
        self.which = QTabBar()
        self.which.setExpanding(False)
        for title in (tr("Training loss"), tr("Validation loss")):
            self.which.addTab(title)
        self.which.currentChanged.connect(lambda _: self._draw())
        self.note = Small()
        self._table_place = Card(tr("What distinguishes them"))
        self._table: RowsTable | None = None
        self._same = QLabel(tr("Their specs are the same."))
        self._same.setProperty("tone", "muted")
        self._table_place.add(self._same)
        plots = Card()
        plots.layout().setContentsMargins(GRID, 4, GRID, 4)
        head = QHBoxLayout()
        head.addWidget(self.which)
        head.addWidget(self.note, 1, Qt.AlignmentFlag.AlignRight)
        plots.body.addLayout(head)
        row = QHBoxLayout()
        row.setSpacing(GRID)
        for plot, stretch in ((self.loss, 3), (self.score, 2)):
            plot.canvas.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Ignored)
            row.addWidget(plot, stretch)
        plots.body.addLayout(row, 1)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(GRID)
        layout.addWidget(plots, 3)
        layout.addWidget(self._table_place, 2)

    def show_runs(self, ids: list[str]) -> None:
        """Show these trainings; their logs are read in the background, only what grew is read again."""
        self._ids = ids[:MOST]
        self.note.setText(tr("Reading the logs…"))
        store, kept, wanted = self._store, dict(self._kept), list(self._ids)

        def read() -> dict[str, tuple[int, Compared]]:
            found = {}
            for run_id in wanted:
                run = store.run_dir(run_id)
                size = run.events_file.stat().st_size if run.events_file.exists() else 0
                has = kept.get(run_id)
                # A name can change without the log.
                fresh = has is None or has[0] != size or has[1].name != (run.name() or readable_id(run_id))
                found[run_id] = (size, read_compared(run)) if fresh else has
            return found

        def show(found: dict[str, tuple[int, Compared]]) -> None:
            self._kept = found
            self._shown = [found[run_id][1] for run_id in wanted]
            more = len(ids) - len(wanted)
            self.note.setText(tr("The first {n} of the chosen runs.", n=MOST) if more > 0 else "")
            self._draw()
            self._tell_differences()

        background(read, show, store.fail, self, key="compare")

    def _draw(self) -> None:
        split, style = _LOSSES[self.which.currentIndex()]
        for plot in (self.loss, self.score):
            plot.clear_curves()
        for at, run in enumerate(self._shown):
            loss = run.state.series.get((split, "loss"))
            if loss is not None and len(loss):
                self.loss.set_curve(run.id, loss.x, loss.y, run.name, style, at)
            scores = [name for s, name in run.state.series if s == "validation" and name != "loss"]
            name = "accuracy" if "accuracy" in scores else next(iter(scores), "")
            points = run.state.series.get(("validation", name))
            if points is not None and len(points):
                title = tr("{metric}, {run}", metric=words.word(words.METRICS, name), run=run.name)
                self.score.set_curve(run.id, points.x, points.y, title, "points", at)

    def _tell_differences(self) -> None:
        if self._table is not None:
            self._table.hide()
            self._table.deleteLater()
        found = differences({run.id: run.spec for run in self._shown})
        self._same.setVisible(not found)
        rows = [{"id": title, "title": title} | values for title, values in [*found, *_results(self._shown)]]
        columns = [Column("title", "", width=160)]
        self._table = RowsTable([*columns, *(Column(run.id, run.name) for run in self._shown)])
        self._table.setAccessibleName(tr("What distinguishes them"))
        self._table.set_rows(rows)
        self._table_place.add(self._table, 1)


def _results(runs: list[Compared]) -> list[tuple[str, dict[str, str]]]:
    """Return what came out of each run, as lines below the differences."""
    score, seconds = {}, {}
    for run in runs:
        value = score_of(run.state.latest.get("test") or run.state.latest.get("validation") or {})
        score[run.id] = words.metric(value) if value is not None else "–"
        seconds[run.id] = words.duration(run.state.train_seconds) if run.state.train_seconds else "–"
    return [(tr("Score"), score), (tr("Training time"), seconds)]
