"""Results: the metrics of a trained run on some rows, the picture of its mistakes, and the rows behind them."""

from functools import partial
from pathlib import Path

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import (
    QComboBox,
    QFileDialog,
    QHBoxLayout,
    QScrollArea,
    QSplitter,
    QStackedLayout,
    QVBoxLayout,
    QWidget,
)

from studio.core.blocks import Block, Matrix
from studio.core.reasons import Failure
from studio.core.registry import family
from studio.core.state import RunState
from studio.tasks.base import task_of
from studio.ui import words
from studio.ui.i18n import tr
from studio.ui.panels.evaluations import (
    SPLITS,
    Evaluation,
    Measured,
    example_rows,
    measured_parts,
    others_of,
    read_evaluation,
)
from studio.ui.panels.job import JobStrip
from studio.ui.panels.prediction_rows import PredictionRows
from studio.ui.store import Store
from studio.ui.theme import GRID, GROUP
from studio.ui.threads import background
from studio.ui.widgets.blocks import BlockView, draw
from studio.ui.widgets.buttons import main_button
from studio.ui.widgets.cards import Card, EmptyState
from studio.ui.widgets.labels import Small
from studio.ui.widgets.tiles import TileRow

PARTS = {"test": "Test part", "validation": "Validation part", "train": "Training part"}
ROW_HEIGHT, NAMES_HEIGHT = 22, 100  # of a matrix that is easy to hit, in logical pixels
_FILE = ("file", "")  # the chooser's last entry: ask for a file


class Results(QWidget):
    """What was measured on the chosen part.

    row_chosen: the texts of a row that was clicked, by column, and its label. examples_found: such rows to try.
    """

    row_chosen = Signal(dict)
    examples_found = Signal(list)

    def __init__(self, store: Store, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._store = store
        self._run = ""
        self._titles: dict[str, str] = {}  # of the texts that the run's task reads
        self._parts: dict[tuple[str, str], Measured] = {}
        self._wanted: tuple[str, str] | None = None
        self._views: list[BlockView] = []
        self._jobs: dict[str, tuple[str, tuple[str, str]]] = {}  # evaluation run: trained run, part
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, GRID, 0, 0)
        layout.setSpacing(GRID)
        layout.addLayout(self._make_top())
        self.job = JobStrip(store)
        layout.addWidget(self.job)
        self._pages = QStackedLayout()
        layout.addLayout(self._pages, 1)
        self._pages.addWidget(self._make_body())
        self._pages.addWidget(self._make_unmeasured())
        store.run_changed.connect(self._follow)

    # --- making ------------------------------------------------------------------------------------------------

    def _make_top(self) -> QVBoxLayout:
        top, row = QVBoxLayout(), QHBoxLayout()
        top.setSpacing(GRID)
        row.setSpacing(GROUP)
        self.part = QComboBox()
        self.part.setObjectName("evaluate.part")
        self.part.setAccessibleName(tr("Rows to measure on"))
        self.part.setToolTip(tr("The rows that the model is measured on"))
        self.part.setMinimumWidth(200)
        self.part.activated.connect(self._choose)
        self.against = QComboBox()
        self.against.setObjectName("evaluate.against")
        self.against.setAccessibleName(tr("Compare with another run"))
        self.against.setToolTip(tr("Measure another run on the same rows, and see whether the difference is real"))
        self.against.activated.connect(self._compare)
        self.checkpoint = QComboBox()
        self.checkpoint.setObjectName("evaluate.checkpoint")
        self.checkpoint.setAccessibleName(tr("Model or checkpoint"))
        self.checkpoint.setToolTip(tr("Measure a checkpoint that the run still has instead of the model that it kept"))
        self.checkpoint.activated.connect(self._measure_checkpoint)
        self.checkpoint.hide()
        self.n_rows = Small()
        self.n_rows.setWordWrap(False)
        self.tiles = TileRow()
        row.addWidget(self.part)
        row.addWidget(self.n_rows)
        row.addStretch(1)
        row.addWidget(self.checkpoint)
        row.addWidget(self.against)
        top.addLayout(row)
        top.addWidget(self.tiles)
        return top

    def _make_body(self) -> QWidget:
        body = QSplitter(Qt.Orientation.Horizontal)
        body.setChildrenCollapsible(False)
        body.setHandleWidth(GROUP)
        scroll = QScrollArea()
        scroll.setWidgetResizable(True)
        scroll.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        scroll.setMinimumWidth(336)
        content = QWidget()
        content.setObjectName("scrolled")
        self._blocks = QVBoxLayout(content)
        self._blocks.setContentsMargins(0, 0, 0, 0)
        self._blocks.setSpacing(GROUP)
        scroll.setWidget(content)
        self.rows = PredictionRows()
        self.rows.row_chosen.connect(self.row_chosen)
        self.rows.failed.connect(self._store.fail)
        self.rows.filter.clicked.connect(lambda: self._filter(None, {}))
        body.addWidget(scroll)
        body.addWidget(self.rows)
        body.setStretchFactor(0, 5)
        body.setStretchFactor(1, 5)
        return body

    def _make_unmeasured(self) -> QWidget:
        self.measure = main_button(tr("Measure"), "evaluate.measure")
        self.measure.clicked.connect(lambda: self._start(*self._key()))
        return EmptyState(
            "evaluate",
            tr("This run has not been measured on these rows yet."),
            [self.measure],
            tr("Measuring predicts every row with the trained model and compares with its label."),
        )

    # --- what the page tells it --------------------------------------------------------------------------------

    def show_run(self, run_id: str) -> None:
        """Be about another trained run."""
        self._run, self._wanted = run_id, None
        roles = task_of(self._store.run_dir(run_id).spec().task).roles if run_id else ()
        self._titles = {role.id: role.label for role in roles if not role.is_gold}
        self._show_others()
        self.read()

    def read(self) -> None:
        """Look again for what was measured."""
        if self._run:
            workspace, run_id = self._store.workspace, self._run
            background(lambda: measured_parts(workspace, run_id), self._show_parts, self._store.fail, self, key="parts")

    # --- choosing what is measured -----------------------------------------------------------------------------

    def _show_parts(self, found: list[Measured]) -> None:
        self._parts = {measured.key: measured for measured in found}
        wanted = self._wanted or self._key()
        self.part.clear()
        for split in SPLITS:
            missing = (split, "") not in self._parts
            name = tr(PARTS[split])
            self.part.addItem(tr("{part} (not measured)", part=name) if missing else name, (split, ""))
        for key in self._parts:
            if key[1]:
                self.part.addItem(words.file_name(key[1]), key)
                self.part.setItemData(self.part.count() - 1, key[1], Qt.ItemDataRole.ToolTipRole)
        self.part.insertSeparator(self.part.count())
        self.part.addItem(tr("A file…"), _FILE)
        known = [self.part.itemData(i) for i in range(self.part.count())]
        if wanted not in self._parts:
            wanted = next(iter(self._parts), ("test", ""))
        self.part.setCurrentIndex(known.index(wanted))
        self._show_part()

    def _key(self) -> tuple[str, str]:
        return self.part.currentData() or ("test", "")

    def _choose(self, _: int) -> None:
        if self._key() == _FILE:
            self._ask_file()
            return
        self._wanted = self._key()
        self._show_part()

    def _ask_file(self) -> None:
        endings = " ".join({f"*{end}": 0 for source in family("sources").values() for end in source.endings})
        title = tr("Measure on the rows of a file")
        path, _ = QFileDialog.getOpenFileName(self, title, "", tr("Data ({endings})", endings=endings))
        if path:
            self.measure_file(path)
        else:
            self._show_parts(list(self._parts.values()))

    def measure_file(self, path: str | Path) -> None:
        """Measure the run on the rows of a file that has the same columns."""
        self._start("", str(Path(path).absolute()))

    def _show_others(self) -> None:
        """Offer the runs that learned the same task."""
        self.against.clear()
        self.against.addItem(tr("Compare with…"), "")
        workspace, run_id = self._store.workspace, self._run

        def show(found: tuple[list[tuple[str, str]], list[int]]) -> None:
            others, steps = found
            for name, other in others:
                self.against.addItem(name, other)
            self.against.setVisible(bool(others))
            self.checkpoint.clear()
            self.checkpoint.addItem(tr("Kept model"), None)
            for step in steps:
                self.checkpoint.addItem(tr("Step {step}", step=words.count(step)), step)
            self.checkpoint.setVisible(bool(steps))

        self.against.hide()
        run = self._store.run_dir(run_id) if run_id else None
        background(
            lambda: (others_of(workspace, run_id), list(run.checkpoints()) if run else []),
            show, self._store.fail, self, key="others",
        )  # fmt: skip

    def _measure_checkpoint(self, _: int) -> None:
        self._start(*self._key(), checkpoint=self.checkpoint.currentData())

    def _compare(self, _: int) -> None:
        other = self.against.currentData()
        if other:
            self._start(*self._key(), against=other)

    def _start(self, split: str, path: str, against: str = "", checkpoint: int | None = None) -> None:
        from studio.sources.tables import source_for

        try:
            source = source_for(path) if path else None
        except Failure as error:
            self._store.fail(error)
            return
        job = self._store.evaluate(self._run, split=split or "test", data=source, against=against,
                                   checkpoint=checkpoint)  # fmt: skip
        if job:
            self._jobs[job] = (self._run, (split, path))
            self.job.show_run(job)

    # --- following an evaluation -------------------------------------------------------------------------------

    def _follow(self, run_id: str) -> None:
        if run_id not in self._jobs:
            return
        state: RunState = self._store.runs[run_id]
        if state.is_active:
            return
        trained, key = self._jobs.pop(run_id)
        if trained == self._run:
            if state.state == "finished":
                self._wanted = key
            self.read()

    # --- showing -----------------------------------------------------------------------------------------------

    def _show_part(self) -> None:
        measured = self._parts.get(self._key())
        self._pages.setCurrentIndex(0 if measured else 1)
        if measured is None:
            self.n_rows.clear()
            self.tiles.set_values({})
            return
        background(lambda: read_evaluation(measured), self._show, self._fail, self, key="read")

    def _fail(self, error: Exception) -> None:
        self._pages.setCurrentIndex(1)
        self._store.fail(error)

    def _show(self, found: Evaluation) -> None:
        self.n_rows.setText(tr("{n} rows", n=words.count(found.n_rows)))
        if found.measured.checkpoint:
            step = words.count(found.measured.checkpoint)
            self.n_rows.setText(tr("{n} rows, checkpoint of step {step}", n=words.count(found.n_rows), step=step))
        names = {words.word(words.METRICS, name): value for name, value in found.metrics.items()}
        widths = {words.word(words.METRICS, name): width for name, width in found.half_widths.items()}
        self.tiles.set_values(names, widths)
        self._draw_blocks(found.blocks)
        self.rows.show_predictions(found.predictions, self._titles)
        self.examples_found.emit(example_rows(found.predictions))

    def _draw_blocks(self, blocks: list[Block]) -> None:
        self._views = []
        while self._blocks.count():
            widget = self._blocks.takeAt(0).widget()
            if widget is not None:
                widget.deleteLater()
        for block in blocks:
            card = Card(tr(block.title), wraps=True)
            view = draw(block.model_copy(update={"title": ""}))
            if isinstance(block, Matrix):
                view.setMinimumHeight(ROW_HEIGHT * len(block.rows) + NAMES_HEIGHT)
            view.selected.connect(partial(self._filter, view))
            self._views.append(view)
            card.add(view)
            self._blocks.addWidget(card)
        self._blocks.addStretch(1)

    def _filter(self, source: QWidget | None, equals: dict[str, str]) -> None:
        """Show the rows behind what was clicked in one block; the others let go of what was clicked before."""
        for view in self._views:
            if view is not source:
                view.let_go()
        self.rows.filter_by(equals)
