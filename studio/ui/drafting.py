"""What the person prepares in the window: its verbs, from a file to a spec that can start."""

from pathlib import Path
from typing import Any

from PySide6.QtCore import QObject, Signal

from studio.core.disk import can_not_write, is_full, no_room
from studio.core.files import write_json
from studio.core.paths import resources_dir
from studio.core.reasons import Failure, Problem
from studio.core.registry import PluginConfig, family, parse_config
from studio.core.settings import Settings, load_settings, save_settings
from studio.core.spec import TrainSpec, read_spec
from studio.tasks.base import task_of
from studio.ui import notices
from studio.ui.draft import Draft
from studio.ui.i18n import tr
from studio.ui.notices import Notice
from studio.ui.reading import Rows, look_at, problem_of, read_rows
from studio.ui.threads import background


class Drafting(QObject):
    """Holds the settings and the draft of the next run; signals carry ids, never data.

    draft_changed: a part of the draft (task, data, columns, findings, split, model, method, training). busy_changed:
    `busy` is another.
    """

    draft_changed = Signal(str)
    busy_changed = Signal()
    settings_changed = Signal()
    page_requested = Signal(str)
    notice = Signal(object)

    def __init__(self, workspace: Path, parent: QObject | None = None):
        super().__init__(parent)
        self.workspace = workspace
        self.settings, self._damaged_settings = load_settings(workspace)
        self.draft = Draft()
        self.busy: set[str] = set()  # parts of the draft that are being read: "data", "model"
        self._former_data: tuple[Any, ...] | None = None  # comes back when the file that is being read is none

    def change_settings(self, **values: Any) -> None:
        """Change and keep settings, e.g. `change_settings(theme="dark")`."""
        self.settings = Settings.model_validate(self.settings.model_dump() | values)
        try:
            save_settings(self.workspace, self.settings)
        except OSError as error:
            self.fail(can_not_write(self.workspace, error))
        self.settings_changed.emit()

    def fail(self, error: BaseException) -> None:
        """Tell the person of a failure."""
        if isinstance(error, OSError) and is_full(error):
            error = no_room(self.workspace)
        self.notice.emit(notices.from_exception(error))

    def open_data(self, path: str | Path) -> None:
        """Read a file as the data of the next run; the task and the roles of columns are guessed."""
        from studio.sources.tables import source_for

        try:
            config = source_for(path)
        except Failure as error:
            self._refuse_data(error)
            return
        self._read_data(config, {}, guess=True)

    def open_sample(self, task: str, number: int = 0) -> None:
        """Read a sample of a task as the data of the next run, by default its first."""
        from studio.sources.tables import source_for

        sample = family("tasks")[task].samples()[number]
        self.draft.task = parse_config("tasks", {"kind": task} | sample.settings)
        self.draft_changed.emit("task")
        self._read_data(source_for(resources_dir() / "samples" / sample.file), {})

    def set_task(self, config: PluginConfig) -> None:
        """Choose the task and its settings; columns keep the roles that it has too, the others are guessed."""
        draft, task = self.draft, task_of(config)
        draft.task, draft.findings = config, []
        self.draft_changed.emit("task")
        roles = {role.id for role in task.roles}
        kept = {role: column for role, column in draft.columns.items() if role in roles}
        if draft.table is None:
            draft.columns = kept
            return
        guessed = task.guess_roles(draft.table.table)
        free = {role: column for role, column in guessed.items() if column not in kept.values()}
        draft.columns = free | kept
        self.draft_changed.emit("columns")
        self._look_again()

    def open_source(self, config: PluginConfig) -> None:
        """Read data as `config` says; columns that have a role keep it where they still exist."""
        self._read_data(config, dict(self.draft.columns))

    def _read_data(self, config: PluginConfig, wanted: dict[str, str], guess: bool = False) -> None:
        draft, workspace = self.draft, self.workspace
        task = None if guess else task_of(draft.task)
        if draft.table is not None:
            self._former_data = (draft.source, draft.table, draft.columns, draft.findings, draft.labels)
        draft.source, draft.table, draft.table_problem, draft.findings = config, None, None, []

        def show(rows: Rows) -> None:
            self._former_data = None
            draft.task = rows.task
            draft.table, draft.columns, draft.findings, draft.labels = (
                rows.table, rows.columns, rows.findings, rows.labels,
            )  # fmt: skip
            draft.source = rows.table.config
            self._set_busy("data", False)
            self._remember("recent_data", draft.source.path)
            for part in ("task", "data", "columns", "findings"):
                self.draft_changed.emit(part)

        self._set_busy("data", True)
        self.draft_changed.emit("data")
        background(lambda: read_rows(config, workspace, task, wanted), show, self._refuse_data, self, key="data")

    def _refuse_data(self, error: Exception) -> None:
        """Keep the data that was there, and let the Data page say what is wrong with the other."""
        self.draft.table_problem = problem_of(error)
        if self._former_data is not None:
            draft = self.draft
            draft.source, draft.table, draft.columns, draft.findings, draft.labels = self._former_data
            self._former_data = None
        self._set_busy("data", False)
        for part in ("data", "columns", "findings"):
            self.draft_changed.emit(part)
        self.page_requested.emit("data")

    def set_role(self, column: str, role: str | None) -> None:
        """Give a column a role (an id of the task's roles), or take it away with None."""
        columns = {r: c for r, c in self.draft.columns.items() if c != column and r != role}
        self.draft.columns = columns | ({role: column} if role else {})
        self.draft.findings = []
        self.draft_changed.emit("columns")
        if self.draft.table is not None:
            self._look_again()

    def _look_again(self) -> None:
        """Let the task look at the rows in the background."""
        task, table, columns = task_of(self.draft.task), self.draft.table.table, dict(self.draft.columns)

        def show(found: tuple[list[Problem], list[str]]) -> None:
            self.draft.findings, self.draft.labels = found
            self.draft_changed.emit("findings")

        background(lambda: look_at(task, table, columns), show, self.fail, self, key="findings")

    def set_split(self, validation: Any = None, test: Any = None, seed: int | None = None) -> None:
        """Change the parts of the split: shares, or configs of sources; None leaves one as it is."""
        draft = self.draft
        draft.validation = draft.validation if validation is None else validation
        draft.test = draft.test if test is None else test
        draft.split_seed = draft.split_seed if seed is None else seed
        self.draft_changed.emit("split")

    def choose_model(self, name: str) -> None:
        """Choose `starter` or a model folder, and read what it is."""
        from studio.core.anatomy import describe_model

        self.draft.model, self.draft.model_info, self.draft.model_problem = name, None, None

        def show(info: Any) -> None:
            self.draft.model_info = info
            self._set_busy("model", False)
            if name != "starter":
                self._remember("recent_models", name)
            self.draft_changed.emit("model")

        def fail(error: Exception) -> None:
            self.draft.model_problem = problem_of(error)
            self._set_busy("model", False)
            self.draft_changed.emit("model")

        self._set_busy("model", True)
        self.draft_changed.emit("model")
        background(lambda: describe_model(name), show, fail, self, key="model")

    def set_method(self, values: dict[str, Any] | PluginConfig) -> None:
        """Choose the method and its settings: `{"kind": "lora", "r": 8}`; wrong values show up in `problems`."""
        self.draft.method = values.model_dump(mode="json") if isinstance(values, PluginConfig) else dict(values)
        self.draft_changed.emit("method")

    def set_training(self, **values: Any) -> None:
        """Change settings of the training by name; wrong values show up in `problems`."""
        self.draft.training = self.draft.training | values
        self.draft_changed.emit("training")

    def problems(self) -> list[Problem]:
        """Return everything that keeps the draft from starting, each at its field."""
        return self.draft.problems()

    def load_spec(self, path: str | Path) -> None:
        """Take a training's spec file as the draft."""
        try:
            spec = read_spec(Path(path))
            if not isinstance(spec, TrainSpec):
                raise Failure("spec-invalid", errors=tr("kind: only a training opens in the window"))
        except Failure as error:
            self.fail(error)
            return
        self.take_spec(spec)

    def take_spec(self, spec: TrainSpec) -> None:
        """Make the draft what `spec` says."""
        self.draft.take(spec)
        self._former_data = None
        self.open_source(spec.data.train)
        self.choose_model(spec.model)
        for part in ("task", "columns", "split", "method", "training"):
            self.draft_changed.emit(part)

    def save_spec(self, path: str | Path) -> None:
        """Write the draft as a spec that the command line runs unchanged."""
        try:
            self.draft.spec()
            write_json(Path(path), self.draft.as_json())
        except (Failure, OSError) as error:
            self.fail(error)
            return
        self.notice.emit(Notice(tr("The spec was saved."), str(path), "good"))

    def _set_busy(self, part: str, busy: bool) -> None:
        (self.busy.add if busy else self.busy.discard)(part)
        self.busy_changed.emit()

    def _remember(self, which: str, value: str) -> None:
        known = [value, *(v for v in getattr(self.settings, which) if v != value)]
        self.change_settings(**{which: known[:8]})
