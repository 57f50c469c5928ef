"""What the model on the Inspect page is compared with: its own beginning, a checkpoint, another run or model."""

from pathlib import Path

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QFileDialog, QSizePolicy, QWidget

from studio.core.files import read_json
from studio.core.rundir import RunDir, list_runs
from studio.core.state import read_summary
from studio.ui import words
from studio.ui.i18n import tr
from studio.ui.panels.inspect_subject import Other, Subject, model_path
from studio.ui.panels.trained import is_trained
from studio.ui.store import Store
from studio.ui.threads import background
from studio.ui.widgets.choice import Choice

_FOLDER = "folder"


def others_of(workspace: Path, subject: Subject) -> list[tuple[Other, str]]:
    """Return what a run can be compared with besides its beginning, and how to call each; reads files.

    Its own checkpoints, and what learned the same task with the same labels: trained runs, and checkpoints of others.
    """
    own = RunDir(workspace / "runs" / subject.run)
    answers, found = _answers(own), []
    if subject.checkpoint is not None and is_trained(own):
        found.append((Other(run=subject.run, short=subject.short), tr("its trained model")))
    for step in own.checkpoints():
        if step != subject.checkpoint:
            other = Other(run=subject.run, checkpoint=step, short=subject.short)
            found.append((other, tr("its step {n}", n=step)))
    for run in list_runs(workspace):
        if run.id == subject.run or "-train-" not in run.id or _answers(run) != answers:
            continue
        name = read_summary(run).name
        if is_trained(run):
            found.append((Other(run=run.id, short=name), name))
        else:  # it was killed, or it is being trained
            steps = run.checkpoints()
            found += [
                (Other(run=run.id, checkpoint=n, short=name), tr("{run}, step {n}", run=name, n=n)) for n in steps
            ]
    return found


def _answers(run: RunDir) -> tuple[object, object]:
    """Return what tells whether two runs answer the same question: the kind of task, and the labels."""
    task, resolved = (read_json(run.spec_file) or {}).get("task"), read_json(run.resolved_file) or {}
    return task.get("kind") if isinstance(task, dict) else task, resolved.get("labels")


class AgainstChooser(Choice):
    """The choice beside the model's. chosen: an `Other`, None for the model's own beginning or, of a folder, alone."""

    chosen = Signal(object)

    def __init__(self, store: Store, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._store = store
        self._subject: Subject | None = None
        self.setObjectName("inspect.against")
        self.setAccessibleName(tr("Compared with"))
        self.setSizeAdjustPolicy(Choice.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.setMinimumContentsLength(16)
        self.setMaxVisibleItems(24)
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Fixed)
        self.activated.connect(self._pick)
        self.hide()

    def show_subject(self, subject: Subject | None) -> None:
        """Offer what a subject can be compared with; it is compared with nothing else to begin with."""
        self._subject = subject
        can = subject is not None and not subject.file and not subject.is_untrained
        self.setVisible(can)
        if not can:
            return
        if subject.run:
            workspace = self._store.workspace
            self._fill([])

            def fill(others: list[tuple[Other, str]]) -> None:
                if self._subject is not None and self._subject.run == subject.run:  # else it is no longer about this
                    self._fill(others)

            background(lambda: others_of(workspace, subject), fill, self._store.fail, self, key="others")
        else:
            known = dict.fromkeys(["starter", *self._store.settings.recent_models])
            own = model_path(subject.model)
            self._fill([(_of_model(path), words.file_name(path)) for path in known if model_path(path) != own])

    def take(self, subject: Subject) -> None:
        """Know what the page is compared with now."""
        self._subject = subject

    def _fill(self, others: list[tuple[Other, str]]) -> None:
        self.clear()
        is_run = self._subject is not None and bool(self._subject.run)
        self.addItem(tr("against its beginning") if is_run else tr("alone"), None)
        for other, said in others:
            self.addItem(tr("against {other}", other=said), other)
            where = other.model or other.run
            self.setItemData(self.count() - 1, where, Qt.ItemDataRole.ToolTipRole)
        if not is_run:
            self.insertSeparator(self.count())
            self.addItem(tr("against a model folder…"), _FOLDER)
        self._select(self._against())

    def _against(self) -> Other | None:
        return self._subject.against if self._subject is not None else None

    def _select(self, other: Other | None) -> None:
        if self._place(other) < 0:  # such as a folder that was just chosen
            self.insertItem(1, tr("against {other}", other=other.short), other)
        self.setCurrentIndex(self._place(other))

    def _place(self, other: Other | None) -> int:
        # Qt knows a value of Python again only where it is the same object.
        return next((i for i in range(self.count()) if self.itemData(i) == other), -1)

    def _pick(self, index: int) -> None:
        other = self.itemData(index)
        if other == _FOLDER:
            path = QFileDialog.getExistingDirectory(self, tr("Choose a model folder"))
            if not path:
                self._select(self._against())
                return
            other = _of_model(path)
        self.choose(other)

    def choose(self, other: Other | None) -> None:
        """Compare with another, None for the model's own beginning."""
        self._select(other)
        if other != self._against():
            self.chosen.emit(other)


def _of_model(path: str) -> Other:
    return Other(model=path, short=tr("starter") if path == "starter" else words.file_name(path))
