"""A file: what the trained model says of each of its rows, written beside them as a table."""

from pathlib import Path

from PySide6.QtCore import QUrl
from PySide6.QtGui import QDesktopServices
from PySide6.QtWidgets import QFileDialog, QHBoxLayout, QVBoxLayout, QWidget

from studio.core.reasons import Failure
from studio.core.registry import family
from studio.ui import words
from studio.ui.i18n import tr
from studio.ui.panels.job import JobStrip
from studio.ui.store import Store
from studio.ui.theme import GRID, GROUP
from studio.ui.threads import background
from studio.ui.widgets.buttons import main_button, quiet_button
from studio.ui.widgets.cards import Card, EmptyState
from studio.ui.widgets.labels import PathLabel, Small
from studio.ui.widgets.table import DataTable

KINDS = {"CSV": ".csv", "JSON lines": ".jsonl", "Parquet": ".parquet"}
LONGEST_LINE = 1 << 26  # bytes of a row as JSON
SHOWN = 1000  # rows of a result that are read into the window


class PredictFile(QWidget):
    """Asks for a file, has it predicted, and shows what was written."""

    def __init__(self, store: Store, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._store = store
        self._run = self._job = self._out = ""
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, GRID, 0, 0)
        layout.setSpacing(GROUP)
        self.choose = main_button(tr("Choose a file…"), "evaluate.predict", "open")
        self.choose.clicked.connect(self._ask)
        self.empty = EmptyState(
            "evaluate",
            tr("Let the model answer every row of a file."),
            [self.choose],
            tr("The file has the columns that the model reads, under the same names. The answers are written to a new "
               "file: CSV, JSON lines or Parquet."),
        )  # fmt: skip
        layout.addWidget(self.empty, 1)
        self.job = JobStrip(store)
        layout.addWidget(self.job)
        self.card = Card(tr("Written"))
        self.card.add_to_header(self._make_tools())
        self.path = PathLabel()
        self.counted = Small()
        self.table = DataTable()
        for widget, stretch in ((self.path, 0), (self.counted, 0), (self.table, 1)):
            self.card.add(widget, stretch)
        self.card.hide()
        layout.addWidget(self.card, 3)
        store.run_changed.connect(self._follow)

    def _make_tools(self) -> QWidget:
        tools = QWidget()
        row = QHBoxLayout(tools)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(GRID)
        self.folder = quiet_button(tr("Open the folder"), "evaluate.folder", "folder")
        self.folder.clicked.connect(
            lambda: QDesktopServices.openUrl(QUrl.fromLocalFile(str(Path(self.path.text()).parent)))
        )
        again = quiet_button(tr("Another file…"), "evaluate.predict_again", "open")
        again.clicked.connect(self._ask)
        row.addWidget(self.folder)
        row.addWidget(again)
        return tools

    def show_run(self, run_id: str) -> None:
        """Be about another trained run."""
        if run_id != self._run:
            self._run = run_id
            self._job = ""
            self.choose.setEnabled(True)
            self.card.hide()
            self.empty.show()
            self.job.show_run("")

    def _ask(self) -> None:
        endings = " ".join(f"*{end}" for source in family("sources").values() for end in source.endings)
        title = tr("Rows to answer")
        path, _ = QFileDialog.getOpenFileName(self, title, "", tr("Data ({endings})", endings=endings))
        if not path:
            return
        filters = ";;".join(f"{name} (*{ending})" for name, ending in KINDS.items())
        wanted = str(Path(path).with_name(f"{Path(path).stem}-predicted.csv"))
        out, kind = QFileDialog.getSaveFileName(self, tr("Write the answers to"), wanted, filters)
        if out:
            ending = next(ending for name, ending in KINDS.items() if kind.startswith(name) or not kind)
            self.predict(path, out if Path(out).suffix in KINDS.values() else out + ending)

    def predict(self, path: str | Path, out: str | Path) -> None:
        """Have the rows of a file predicted into another file."""
        from studio.sources.tables import source_for

        try:
            source = source_for(path)
        except Failure as error:
            self._store.fail(error)
            return
        self._job = self._store.predict(self._run, source, out)
        self.choose.setEnabled(not self._job)  # one at a time
        self._out = str(out)
        self.job.show_run(self._job, words.file_name(str(path)))

    def _follow(self, run_id: str) -> None:
        state = self._store.runs.get(run_id)
        if run_id != self._job or state is None or state.is_active:
            return
        self._job = ""
        self.choose.setEnabled(True)
        if state.state == "finished":
            background(lambda: _first_rows(self._out), self._show, self._store.fail, self, key="predicted")

    def _show(self, found: tuple[object, int]) -> None:
        table, n_rows = found
        self.path.setText(self._out)
        shown = tr("{n} rows", n=words.count(n_rows))
        if n_rows > SHOWN:
            shown += " · " + tr("the first {n} are shown", n=words.count(SHOWN))
        self.counted.setText(shown)
        self.table.set_table(table)
        self.empty.hide()
        self.card.show()


def _first_rows(path: str) -> tuple[object, int]:
    import pyarrow.csv
    import pyarrow.json
    import pyarrow.parquet

    ending = Path(path).suffix.lower()
    if ending == ".csv":
        table = pyarrow.csv.read_csv(path, parse_options=pyarrow.csv.ParseOptions(newlines_in_values=True))
    elif ending == ".jsonl":
        table = pyarrow.json.read_json(path, pyarrow.json.ReadOptions(block_size=LONGEST_LINE))
    else:
        table = pyarrow.parquet.read_table(path)
    # One column a label would be too many.
    names = [name for name in table.column_names if not name.startswith("p(")]
    return table.select(names).slice(0, SHOWN), table.num_rows
