"""What the Inspect page looks into: a trained run, the starter or a model folder; its texts and its last look."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QFileDialog, QSizePolicy, QWidget

from studio import demo
from studio.attention import timeline
from studio.core.anatomy import WRITTEN, answers_with, describe_model
from studio.core.events import Explained
from studio.core.files import read_json
from studio.core.reasons import Failure
from studio.core.rundir import RunDir, list_runs, read_events
from studio.core.spec import Against
from studio.core.state import Summary, read_summary
from studio.tasks.base import task_of
from studio.ui import words
from studio.ui.i18n import tr
from studio.ui.panels.evaluations import example_rows, read_predictions
from studio.ui.panels.trained import describe_run, is_trained
from studio.ui.store import Store
from studio.ui.threads import background
from studio.ui.views.look import Look, look_at_step, state_names
from studio.ui.widgets.choice import Choice

N_EXAMPLES = 40
SAMPLE_WORDS = (7, 24)  # a text of so many words fills a head's map without crowding it
N_INSPECTIONS = 20  # so many of the newest are searched for an earlier look


@dataclass(frozen=True)
class Other:
    """What a subject is compared with: a run, perhaps at a checkpoint's step, or a model; `short` is its name."""

    run: str = ""
    model: str = ""
    checkpoint: int | None = None
    short: str = ""

    def spec(self, workspace: Path) -> Against:
        """Return it as an inspection's spec has it."""
        run = str(workspace / "runs" / self.run) if self.run else None
        return Against(run=run, model=self.model or None, checkpoint=self.checkpoint)


@dataclass(frozen=True)
class Subject:
    """A trained run by its id, a model (`starter` or a folder), or a saved inspection.

    name: for captions; short: of the run or model alone. checkpoint: a step of the run, in place of its model. against:
    what it is compared with; None for its own beginning.
    """

    run: str = ""
    model: str = ""
    name: str = ""
    file: str = ""
    is_untrained: bool = False  # a run without a trained model, of which only a sentence that was watched can be seen
    short: str = ""
    checkpoint: int | None = None
    against: Other | None = None

    def is_of(self, spec: dict[str, Any]) -> bool:
        """Return whether an inspection's spec is about this subject."""
        other = self.against
        told = _told(other.run, other.model, other.checkpoint) if other is not None else None
        asked, against = spec, spec.get("against")
        own = _told(self.run, self.model, self.checkpoint)
        if not (self.run or self.model) or _told(*(asked.get(name) for name in _TOLD)) != own:
            return False
        return (against and _told(*(against.get(name) for name in _TOLD)) or None) == told

    def state_names(self) -> dict[str, str]:
        """Return what the states are called where it is compared with another; else nothing."""
        other = self.against
        if other is None:
            return {}
        is_one_run = bool(self.run) and other.run == self.run
        return state_names(self.short, self.checkpoint, other.short, other.checkpoint, is_one_run)


_TOLD = ("run", "model", "checkpoint")


def _told(run: str | None, model: str | None, checkpoint: int | None) -> tuple[str, str, int | None]:
    """Return a run or a model as what can be compared: the run's id, or the model's folder."""
    return Path(run).name if run else "", model_path(model) if model and not run else "", checkpoint


def model_path(model: str) -> str:
    """Return the folder of a model by name, or the name where there is none."""
    try:
        return describe_model(model).path
    except Failure:
        return model


def of_run(summary: Summary, is_untrained: bool = False, checkpoint: int | None = None) -> Subject:
    """Return a run as a subject; is_untrained: it has no model yet; checkpoint: a step of it."""
    step = [tr("step {n}", n=checkpoint)] if checkpoint is not None else []
    name = " · ".join([summary.name, words.file_name(summary.model), *step])
    return Subject(run=summary.id, name=name, is_untrained=is_untrained, short=summary.name, checkpoint=checkpoint)


def of_model(model: str) -> Subject:
    """Return `starter` or a folder as a subject."""
    name = tr("starter") if model == "starter" else words.file_name(model)
    return Subject(model=model, name=name, short=name)


def of_file(path: Path, name: str) -> Subject:
    """Return a saved inspection as a subject; name: what it was about."""
    return Subject(file=str(path), name=name)


@dataclass(frozen=True)
class Seen:
    """A run that can be looked into: as it ended or as a sentence that was watched, and at its checkpoints."""

    summary: Summary
    subjects: tuple[Subject, ...]


def runs_to_see(workspace: Path) -> list[Seen]:
    """Return the trained runs, those that watch a sentence and those with checkpoints, newest first; reads files."""
    found = []
    for run in list_runs(workspace):
        if "-train-" not in run.id:
            continue
        trained, steps = is_trained(run), [*run.checkpoints()][::-1] if run.resolved_file.is_file() else []
        if trained or steps or timeline.steps(run.path):
            summary = read_summary(run)
            own = [of_run(summary, not trained)] if trained or timeline.steps(run.path) else []
            found.append(Seen(summary, (*own, *(of_run(summary, checkpoint=step) for step in steps))))
    return found


def last_watched(workspace: Path, subject: Subject) -> Look | None:
    """Return what the newest capture of a run's watched sentence holds; None where none was watched."""
    run = workspace / "runs" / subject.run
    is_own = subject.run and subject.checkpoint is None and subject.against is None
    found = timeline.steps(run) if is_own else []
    return look_at_step(run, found[-1], found[0], subject.name) if found else None


def roles_of(workspace: Path, subject: Subject) -> list[tuple[str, str]]:
    """Return id and label of the texts that a run's model reads at once, or those of a folder's that reads two.

    None for any other folder: it has a text, a pair or a chat.
    """
    if not subject.run:
        answers = answers_with(model_path(subject.model)) if subject.model else ""
        if answers == WRITTEN:
            written = tr("What the decoder writes; empty: the model writes it")
            return [("text", tr("Type or paste a text: the encoder reads it")), ("text_pair", written)]
        if answers == "question-answering":
            return [("text", tr("Question")), ("text_pair", tr("Type or paste the text that answers it"))]
        return []
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
        if not subject.is_of(read_json(run.spec_file) or {}):
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
        self._runs: list[Seen] = []
        self.setObjectName("inspect.subject")
        self.setAccessibleName(tr("Model to look into"))
        self.setPlaceholderText(tr("Choose a model"))
        self.setSizeAdjustPolicy(Choice.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.setMinimumContentsLength(28)
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
        background(lambda: runs_to_see(workspace), self._show, self._store.fail, self, key="runs")

    def _see(self, run_id: str) -> None:
        """Offer a run as soon as there is a capture of the sentence that it watches."""
        state = self._store.runs.get(run_id)
        if state is not None and state.watched and all(seen.summary.id != run_id for seen in self._runs):
            self.read()

    def _follow_current(self, _: str) -> None:
        self._picked = None
        self.read()

    def _pick(self, index: int) -> None:
        subject = self.itemData(index)
        self.choose(subject) if subject is not None else self.choose_folder()

    def _show(self, found: list[Seen]) -> None:
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
        runs = {seen.summary.id: seen.subjects for seen in self._runs}

        def now(subject: Subject | None) -> Subject | None:
            """Return a subject as it can be seen now: a checkpoint that went gives way to the run's model."""
            if subject is None or subject.model or subject.file:
                return subject
            known = runs.get(subject.run, ())
            same = [each for each in known if each.checkpoint == subject.checkpoint]
            return next(iter([*same, *known]), None)

        if (found := now(self._picked)) is not None:
            return found
        if self._store.current_run in runs:
            return runs[self._store.current_run][0]
        return now(self._subject) or next((subjects[0] for subjects in runs.values()), None)

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
        for seen in self._runs:
            for subject in seen.subjects:
                parts = [tr("Step {n}", n=subject.checkpoint)] if subject.checkpoint is not None else []
                parts += [describe_run(seen.summary), *[tr("in training")] * subject.is_untrained]
                self.addItem("  ·  ".join(parts), subject)
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
