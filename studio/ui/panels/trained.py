"""Which trained run a page is about: a chooser that follows the window's current run."""

from pathlib import Path

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QSizePolicy, QWidget

from studio.core.registry import family
from studio.core.rundir import RunDir, list_runs
from studio.core.state import Summary, read_summary
from studio.ui import words
from studio.ui.i18n import tr
from studio.ui.store import Store
from studio.ui.threads import background
from studio.ui.widgets.choice import Choice


def is_trained(run: RunDir) -> bool:
    """Return whether a run holds a trained model that can be loaded."""
    return (run.model_dir / "tokenizer_config.json").is_file() and run.resolved_file.is_file()


def trained_runs(workspace: Path) -> list[Summary]:
    """Return the runs of a workspace that hold a trained model, newest first; reads files."""
    return [read_summary(run) for run in list_runs(workspace) if "-train-" in run.id and is_trained(run)]


def describe_run(summary: Summary) -> str:
    """Return a run in one line: its name, data, model, method."""
    method = family("methods").get(summary.method)
    parts = [summary.name, words.file_name(summary.data), words.file_name(summary.model)]
    return "  ·  ".join(p for p in [*parts, tr(method.label) if method else summary.method] if p)


class RunChooser(Choice):
    """The trained runs of the workspace; choosing one makes it the window's current run.

    chosen: the run that the page is about now, "" when there is no trained run. It follows the current run where
    that is trained, and is the newest trained run otherwise.
    """

    chosen = Signal(str)

    def __init__(self, store: Store, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._store = store
        self._shown: str | None = None
        self._known: list[Summary] = []
        self.setAccessibleName(tr("Trained run"))
        self.setSizeAdjustPolicy(Choice.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.setMinimumContentsLength(44)
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Fixed)
        self.hide()
        self.activated.connect(lambda index: store.select_run(self.itemData(index)))
        store.runs_changed.connect(self.read)
        store.current_run_changed.connect(lambda _: self.read())
        self.read()

    def run(self) -> str:
        """Return the id of the run that the page is about, or ""."""
        return self._shown or ""

    def summary(self) -> Summary | None:
        """Return what is known of the run that the page is about."""
        return next((s for s in self._known if s.id == self._shown), None)

    def read(self) -> None:
        """Look for trained runs again."""
        workspace = self._store.workspace
        background(lambda: trained_runs(workspace), self._show, self._store.fail, self, key="runs")

    def _show(self, found: list[Summary]) -> None:
        ids = [summary.id for summary in found]
        wanted = self._store.current_run if self._store.current_run in ids else self._shown
        run = wanted if wanted in ids else ids[0] if ids else ""
        if found != self._known:
            self._known = found
            self.clear()
            for summary in found:
                self.addItem(describe_run(summary), summary.id)
        self.setCurrentIndex(ids.index(run) if run else -1)
        self.setVisible(bool(found))
        if run != self._shown:
            self._shown = run
            self.chosen.emit(run)
