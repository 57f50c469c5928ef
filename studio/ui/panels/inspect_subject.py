"""What the Inspect page looks into: a trained run, the starter or a model folder; its texts and its last look."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QComboBox, QFileDialog, QSizePolicy, QWidget

from studio import demo
from studio.attention import timeline
from studio.core.anatomy import describe_model, writes
from studio.core.events import Explained
from studio.core.files import read_json
from studio.core.reasons import Failure
from studio.core.rundir import RunDir, list_runs, read_events
from studio.core.state import Summary, read_summary
from studio.tasks.base import task_of
from studio.ui import words
from studio.ui.i18n import tr
from studio.ui.panels.evaluations import example_rows, read_predictions
from studio.ui.panels.trained import describe_run, is_trained
from studio.ui.store import Store
from studio.ui.threads import background
from studio.ui.views.look import Look, look_at_step
from studio.ui.widgets.choice import Choice

N_EXAMPLES = 40
SAMPLE_WORDS = (7, 24)  # a text of so many words fills a head's map without crowding it
N_INSPECTIONS = 20  # so many of the newest are searched for an earlier look


@dataclass(frozen=True)
class Subject:
    """A trained run by its id, a model (`starter` or a folder), or a saved inspection; `name` is for captions."""

    run: str = ""
    model: str = ""
    name: str = ""
    file: str = ""
    is_untrained: bool = False  # a run without a trained model, of which only a sentence that was watched can be seen

    def is_of(self, workspace: Path, spec: dict[str, Any]) -> bool:
        """Return whether an inspection's spec is about this subject."""
        if self.run:
            return bool(spec.get("run")) and Path(spec["run"]).name == self.run
        asked = spec.get("model")
        return bool(asked) and bool(self.model) and not spec.get("run") and model_path(asked) == model_path(self.model)


def model_path(model: str) -> str:
    """Return the folder of a model by name, or the name where there is none."""
    try:
        return describe_model(model).path
    except Failure:
        return model


def of_run(summary: Summary, is_untrained: bool = False) -> Subject:
    """Return a run as a subject; is_untrained: it has no model yet."""
    name = " · ".join([summary.name, words.file_name(summary.model)])
    return Subject(run=summary.id, name=name, is_untrained=is_untrained)


def of_model(model: str) -> Subject:
    """Return `starter` or a folder as a subject."""
    return Subject(model=model, name=tr("starter") if model == "starter" else words.file_name(model))


def of_file(path: Path, name: str) -> Subject:
    """Return a saved inspection as a subject; name: what it was about."""
    return Subject(file=str(path), name=name)


def runs_to_see(workspace: Path) -> tuple[list[Summary], set[str]]:
    """Return the trained runs and those that watch a sentence, newest first, and the ids of those without a model."""
    runs = [run for run in list_runs(workspace) if "-train-" in run.id]
    untrained = {run.id for run in runs if not is_trained(run)}
    seen = [read_summary(run) for run in runs if run.id not in untrained or timeline.steps(run.path)]
    return seen, untrained


def last_watched(workspace: Path, subject: Subject) -> Look | None:
    """Return what the newest capture of a run's watched sentence holds; None where none was watched."""
    run = workspace / "runs" / subject.run
    found = timeline.steps(run) if subject.run else []
    return look_at_step(run, found[-1], found[0], subject.name) if found else None


def roles_of(workspace: Path, subject: Subject) -> list[tuple[str, str]]:
    """Return id and label of the texts that a run's model reads at once, or those of a model that writes.

    None for any other model of its own.
    """
    if not subject.run:
        if not subject.model or not writes(model_path(subject.model)):
            return []
        written = tr("What the decoder writes; empty: the model writes it")
        return [("text", tr("Type or paste a text: the encoder reads it")), ("text_pair", written)]
    spec = RunDir(workspace / "runs" / subject.run).spec()
    task = task_of(spec.task)
    labels = {role.id: tr(role.label) for role in task.roles}
    read = task.looked_at({role.id: role.id for role in task.roles if role.id in spec.columns})
    return [(role, labels[role]) for role in read if role]


def has_chat_template(folder: Path) -> bool:
    """Return whether a model folder says how a chat becomes one text."""
    config = read_json(folder / "tokenizer_config.json") or {}
    return (folder / "chat_template.jinja").is_file() or bool(config.get("chat_template"))


def examples(workspace: Path, subject: Subject, roles: list[str]) -> list[dict[str, str]]:
    """Return rows of the run's test part, of handy length first: texts by role, and `label`; reads files."""
    sample = [{(roles or ["text"])[0]: demo.SAMPLE_TEXT}]
    if not subject.run:
        return sample
    run = RunDir(workspace / "runs" / subject.run)
    for split in ("test", "validation"):
        rows = example_rows(read_predictions(run.path / f"predictions-{split}.parquet"), 2000)
        rows = [row for row in rows if row.get(roles[0])]
        if rows:
            low, high = SAMPLE_WORDS
            handy = [row for row in rows if low <= sum(len((row.get(r) or "").split()) for r in roles) <= high]
            # The middle of the list: neither the row that the model finds hardest nor the easiest.
            start = len(handy) // 2
            return (handy[start:] + handy[:start])[:N_EXAMPLES] or rows[:N_EXAMPLES]
    return sample


def earlier_look(workspace: Path, subject: Subject) -> Explained | None:
    """Return the newest answer about a subject whose maps still lie on disk; reads files."""
    about = [run for run in list_runs(workspace) if "-inspect-" in run.id]
    for run in about[:N_INSPECTIONS]:
        if not subject.is_of(workspace, read_json(run.spec_file) or {}):
            continue
        answers = [event for event in read_events(run) if isinstance(event, Explained) and event.directories]
        for answer in reversed(answers):
            if all((Path(directory) / "checks.json").is_file() for directory in answer.directories.values()):
                return answer
    return None


class SubjectChooser(Choice):
    """Trained runs, the starter, recent model folders, and any other folder.

    chosen: the subject that the page is about now, None while nothing is. A trained run that becomes the window's
    current run is taken over; what the person chose here stays until then.
    """

    chosen = Signal(object)

    def __init__(self, store: Store, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._store = store
        self._subject: Subject | None = None
        self._picked: Subject | None = None
        self._is_read = False
        self._runs: list[Summary] = []
        self._untrained: set[str] = set()  # ids of runs without a model
        self.setObjectName("inspect.subject")
        self.setAccessibleName(tr("Model to look into"))
        self.setPlaceholderText(tr("Choose a model"))
        self.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.setMinimumContentsLength(34)
        self.setMaxVisibleItems(24)
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Fixed)
        self.activated.connect(self._pick)
        store.runs_changed.connect(self.read)
        store.run_changed.connect(self._see)
        store.current_run_changed.connect(self._follow_current)
        self.read()

    def subject(self) -> Subject | None:
        """Return what the page is about."""
        return self._subject

    def choose(self, subject: Subject) -> None:
        """Make the page be about a subject."""
        self._picked = subject
        if subject.run:
            self._store.select_run(subject.run)
        self._picked = subject
        self._show(self._runs)

    def choose_folder(self) -> None:
        """Ask for a model folder and make the page be about it."""
        path = QFileDialog.getExistingDirectory(self, tr("Choose a model folder"))
        if path:
            self.choose(of_model(path))
        else:
            self._select()

    def read(self) -> None:
        """Look for trained runs again."""
        workspace = self._store.workspace
        background(lambda: runs_to_see(workspace), self._take_runs, self._store.fail, self, key="runs")

    def _see(self, run_id: str) -> None:
        """Offer a run as soon as there is a capture of the sentence that it watches."""
        state = self._store.runs.get(run_id)
        if state is not None and state.watched and all(summary.id != run_id for summary in self._runs):
            self.read()

    def _follow_current(self, _: str) -> None:
        self._picked = None
        self.read()

    def _pick(self, index: int) -> None:
        subject = self.itemData(index)
        self.choose(subject) if subject is not None else self.choose_folder()

    def _take_runs(self, found: tuple[list[Summary], set[str]]) -> None:
        runs, self._untrained = found
        self._show(runs)

    def _of(self, summary: Summary) -> Subject:
        return of_run(summary, summary.id in self._untrained)

    def _show(self, found: list[Summary]) -> None:
        if found != self._runs or not self._is_read or self._missing(self._picked):
            self._runs, self._is_read = found, True
            self._fill()
        wanted = self._wanted()
        is_new = wanted != self._subject
        self._subject = wanted
        self._select()
        if is_new or wanted is None:
            self.chosen.emit(wanted)

    def _wanted(self) -> Subject | None:
        runs = {summary.id: self._of(summary) for summary in self._runs}
        if self._picked is not None and (self._picked.model or self._picked.file or self._picked.run in runs):
            return self._picked
        if self._store.current_run in runs:
            return runs[self._store.current_run]
        former = self._subject
        if former is not None and (former.model or former.file or former.run in runs):
            return former
        return next(iter(runs.values()), None)

    def _missing(self, subject: Subject | None) -> bool:
        return subject is not None and self._index(subject) < 0

    def _index(self, subject: Subject | None) -> int:
        return next((i for i in range(self.count()) if subject is not None and self.itemData(i) == subject), -1)

    def _select(self) -> None:
        self.setCurrentIndex(self._index(self._subject))
        about = tr("The trained run or model that this page is about")
        self.setToolTip("\n".join(filter(None, (self.currentText(), about))))

    def _fill(self) -> None:
        self.clear()
        for summary in self._runs:
            training = tr("  ·  in training") if summary.id in self._untrained else ""
            self.addItem(describe_run(summary) + training, self._of(summary))
        if self._runs:
            self.insertSeparator(self.count())
        self.addItem(tr("Starter, as it is"), of_model("starter"))
        known = [path for path in self._store.settings.recent_models if path != "starter"]
        picked = self._picked.model if self._picked is not None else ""
        if picked and picked != "starter" and picked not in known:
            known.insert(0, picked)
        for path in known:
            self.addItem(words.file_name(path), of_model(path))
            self.setItemData(self.count() - 1, path, Qt.ItemDataRole.ToolTipRole)
        if self._picked is not None and self._picked.file:
            self.addItem(Path(self._picked.file).name, self._picked)
            self.setItemData(self.count() - 1, f"{self._picked.name}\n{self._picked.file}", Qt.ItemDataRole.ToolTipRole)
        self.insertSeparator(self.count())
        self.addItem(tr("Model folder…"), None)
