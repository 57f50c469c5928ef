"""The Data page once there is a file: all its rows, what was found in them, and how they are split."""

from pathlib import Path
from typing import Any

from PySide6.QtCore import QEvent, QObject, Qt, QTimer
from PySide6.QtWidgets import QHBoxLayout, QMenu, QStackedWidget, QVBoxLayout, QWidget

from studio.core.paths import sample_file
from studio.core.reasons import Problem
from studio.core.registry import PluginConfig, family
from studio.tasks.base import task_of
from studio.ui import words
from studio.ui.actions import action_button
from studio.ui.draft import HARMLESS
from studio.ui.i18n import tr
from studio.ui.notices import message_of, words_of
from studio.ui.panels.data_about import HEIGHT, LOW_HEIGHT, AboutRow
from studio.ui.panels.data_file import FileBar, RefusedBar
from studio.ui.panels.data_rows import LEAST_HEIGHT, RowsCard
from studio.ui.panels.data_sees import SEEN_HEIGHT, SeesCard
from studio.ui.panels.data_skeleton import Skeleton
from studio.ui.panels.data_split import SplitCard, read_part
from studio.ui.panels.data_task import TaskBar
from studio.ui.reading import problem_of
from studio.ui.store import Store
from studio.ui.theme import GROUP
from studio.ui.threads import background
from studio.ui.widgets.buttons import main_button
from studio.ui.widgets.cards import EmptyState

PATIENCE_MS = 150  # a file that is read faster shows no skeleton


class DataDesk(QWidget):
    """Draws the draft's data: being read, refused, or opened."""

    def __init__(self, store: Store, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.store = store
        self._shown: Any = None  # the table that is on screen
        self._dismissed: Problem | None = None
        self._about_key: Any = None
        self._part_problems: dict[str, Problem] = {}  # of the files that stand for a part of the split
        self.file = FileBar()
        self.file.add_choices(self._fill_choices)
        self.file.source_chosen.connect(store.open_source)
        self.task = TaskBar()
        self.task.chosen.connect(store.set_task)
        self.sees = SeesCard(store)
        self.task.sees.toggled.connect(self._show_sees)
        self.refused = RefusedBar()
        self.refused.closed.connect(self._dismiss)
        self.refused.change_asked.connect(lambda: self._act("data.open"))
        self.rows = RowsCard()
        self.rows.filtered.connect(self.file.show_filter)
        self.file.add_counts(self.rows.counted, self.rows.filter_button)
        self.file.add_tool(self.rows.search)
        self.rows.role_chosen.connect(lambda column, role: store.set_role(column, role or None))
        self.about = AboutRow()
        self.rows.all_asked.connect(self.about.let_go)
        self.about.selected.connect(self._filter_by_value)
        self.about.show_asked.connect(self._filter_by_finding)
        self.split = SplitCard()
        self.split.chosen.connect(lambda values: store.set_split(**values))
        self.use = main_button(tr("Use this data"), "data.use", "arrow-right")
        self.use.setLayoutDirection(Qt.LayoutDirection.RightToLeft)  # the arrow stands behind the words
        self.use.clicked.connect(lambda: store.show_page("model"))
        self.body = QStackedWidget()
        self.skeleton, self.opened, self.error_place = Skeleton(), self._opened_page(), QWidget()
        QVBoxLayout(self.error_place).setContentsMargins(0, 0, 0, 0)
        for page in (self.skeleton, self.opened, self.error_place):
            self.body.addWidget(page)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(GROUP)
        layout.addWidget(self.file)
        layout.addWidget(self.refused)
        layout.addWidget(self.task)
        layout.addWidget(self.body, 1)
        self._patience = QTimer(self, singleShot=True, interval=PATIENCE_MS)
        self._patience.timeout.connect(self.show_data)
        store.draft_changed.connect(self._draw_part)
        store.busy_changed.connect(self._note_busy)
        if "data" in store.busy:
            self.file.take_options(store.draft.source)
        self.show_data()

    # --- what stands on the page ---------------------------------------------------------------------------------

    def show_data(self) -> None:
        """Draw the draft's data as it is now."""
        draft, busy = self.store.draft, "data" in self.store.busy
        self.file.setVisible(draft.source is not None)
        if draft.source is not None:
            self.file.show_source(draft.source, draft.table)
        has_refused = draft.table_problem is not None and draft.table is not None and not busy
        self.refused.setVisible(has_refused and draft.table_problem is not self._dismissed)
        if has_refused:
            self.refused.show_problem(draft.table_problem)
        for widget in (self.rows.search, self.rows.counted, self.task):
            widget.setVisible(draft.table is not None)
        self.task.show_task(draft.task)
        if draft.table is not None:
            self._show_table()
        elif busy:
            self.body.setCurrentWidget(self.skeleton)
        elif draft.table_problem is not None:
            self._show_error(draft.table_problem)

    def _show_table(self) -> None:
        draft = self.store.draft
        if draft.table is not self._shown:
            self._shown = draft.table
            self.rows.show_table(draft.table.table)
        self.body.setCurrentWidget(self.opened)
        self._show_roles()
        self._show_findings()
        self._show_split()

    def _show_error(self, problem: Problem) -> None:
        """Say in the middle of the page why the file is none."""
        layout, said = self.error_place.layout(), words_of(problem)
        while layout.count():
            layout.takeAt(0).widget().deleteLater()
        buttons = [action_button("data.open"), action_button("data.sample")]
        layout.addWidget(EmptyState("warning", said.title, buttons, said.hint))
        self.body.setCurrentWidget(self.error_place)

    def _show_roles(self) -> None:
        draft = self.store.draft
        self.rows.show_roles(task_of(draft.task).roles, draft.columns)

    def _show_findings(self) -> None:
        draft = self.store.draft
        if draft.table is None:
            return
        wrong = [p for p in draft.problems() if p.field.startswith(("columns.", "data.train"))]
        at_columns = [p for p in wrong if p.field.startswith("columns.")]
        self.rows.error.show_text(" ".join(message_of(p) for p in at_columns))
        others = [p for p in wrong if p not in at_columns]
        harmless = [p for p in draft.findings if p.reason in HARMLESS]
        self.about.show_findings(others + harmless, draft.table.problems, is_whole=not at_columns)
        self._show_use()
        self._read_about()

    def _show_split(self) -> None:
        draft = self.store.draft
        if draft.table is None:
            return
        unused = sum(p.facts["n_rows"] for p in draft.findings if p.reason.startswith("some-empty"))
        n_rows = draft.table.table.num_rows - unused
        self.split.show_split(n_rows, draft.validation, draft.test, draft.split_seed)
        problems = [p for p in draft.problems() if p.field in ("data.validation", "data.test")]
        self.split.show_problems(problems or list(self._part_problems.values()))
        self._show_use()

    def _read_parts(self) -> None:
        """Look into the files that stand for a part of the split."""
        draft, workspace = self.store.draft, self.store.workspace
        for part, config in (("validation", draft.validation), ("test", draft.test)):
            self._part_problems.pop(part, None)
            if not isinstance(config, PluginConfig) or draft.table is None:
                continue
            source, columns = draft.source, dict(draft.columns)

            def show(n_rows: int, part: str = part, config: PluginConfig = config) -> None:
                if getattr(self.store.draft, part) is config:
                    self.split.show_rows(part, n_rows)

            def fail(error: Exception, part: str = part, config: PluginConfig = config) -> None:
                if getattr(self.store.draft, part) is config:
                    self._part_problems[part] = problem_of(error)
                    self._show_split()

            background(
                lambda part=part, config=config, source=source, columns=columns: read_part(
                    config, source, columns, workspace, part
                ),
                show, fail, self, key=f"part {part}",
            )  # fmt: skip

    def _show_use(self) -> None:
        wrong = [p for p in self.store.problems() if p.field.startswith(("columns", "data"))]
        wrong += self._part_problems.values()
        self.use.setEnabled(not wrong)
        self.task.sees.setEnabled(not wrong)
        self.use.setToolTip(message_of(wrong[0]) if wrong else "")

    def _read_about(self) -> None:
        """Let the task look at all rows in the background; the cards stay as they were until it has."""
        draft = self.store.draft
        table, columns, task = draft.table.table, dict(draft.columns), task_of(draft.task)
        if (draft.table, columns, draft.task) == self._about_key:
            return
        self._about_key = (draft.table, columns, draft.task)
        background(lambda: task.overview(table, columns), self.about.show_blocks, self.store.fail, self, key="about")

    # --- what the person does ------------------------------------------------------------------------------------

    def _filter_by_value(self, values: dict[str, str]) -> None:
        if not values:
            self.rows.clear_filter()
            return
        table = self.store.draft.table.table
        column, value = next(iter(values.items()))

        def find() -> list[int]:
            import pyarrow.compute as pc

            return pc.indices_nonzero(pc.equal(pc.utf8_trim_whitespace(table[column]), value)).to_pylist()

        background(find, lambda rows: self.rows.filter_to(rows, f"{column}: {value}"), self.store.fail, self, "filter")

    def _filter_by_finding(self, problem: Problem) -> None:
        self.about.let_go()
        draft = self.store.draft
        table, columns, task = draft.table.table, dict(draft.columns), task_of(draft.task)
        name = words_of(problem).title.rstrip(".")
        background(
            lambda: task.rows_behind(problem.reason, table, columns),
            lambda rows: self.rows.filter_to(rows, name), self.store.fail, self, "filter",
        )  # fmt: skip

    def _show_sees(self, on: bool) -> None:
        """Show the rows as the model sees them in the place of the table, or the table again."""
        self.rows.setVisible(not on)
        self.sees.setVisible(on)
        self._fit_about(self.rows.parentWidget().height())
        if on:
            self.sees.look()
        else:
            self.sees.leave()

    def _dismiss(self) -> None:
        self._dismissed = self.store.draft.table_problem
        self.refused.hide()

    def _fill_choices(self, menu: QMenu) -> None:
        current = self.store.draft.source.path if self.store.draft.source else ""
        menu.addAction(tr("Another file…"), lambda: self._act("data.open"))
        samples = menu.addMenu(tr("A sample"))
        for task in family("tasks").values():
            for number, sample in enumerate(task.samples()):
                samples.addAction(tr(sample.title), lambda t=task.id, number=number: self.store.open_sample(t, number))
        samples_dir = sample_file().parent
        recent = [p for p in self.store.settings.recent_data if p != current and Path(p).parent != samples_dir]
        if recent:
            menu.addSection(tr("Recent"))
        for path in recent:
            action = menu.addAction(words.file_name(path), lambda path=path: self.store.open_data(path))
            action.setToolTip(path)

    def _act(self, action: str) -> None:
        self.window().actions_by_id[action].trigger()

    def _note_busy(self) -> None:
        if "data" in self.store.busy:
            self._patience.start()
        else:
            self._patience.stop()

    def _draw_part(self, part: str) -> None:
        if part == "data" and "data" in self.store.busy:
            self.file.take_options(self.store.draft.source)  # the rest is drawn when it is read, or when it takes long
        elif part == "data":
            self.show_data()
        elif part == "task":
            self.task.show_task(self.store.draft.task)
            self.task.sees.setChecked(False)
        elif part == "columns":
            self._show_roles()
            self._show_use()
            self.task.sees.setChecked(False)
        elif part == "findings":
            self._read_parts()
            self._show_findings()
            self._show_split()
        elif part == "split":
            self._read_parts()
            self._show_split()

    def _fit_about(self, height: int) -> None:
        """Show the cards below the rows where these and the split leave room for them: the rows come first."""
        least = SEEN_HEIGHT if self.task.sees.isChecked() else LEAST_HEIGHT
        room = height - least - self.split.sizeHint().height() - 2 * GROUP
        self.about.setVisible(room >= LOW_HEIGHT)
        self.about.setFixedHeight(HEIGHT if self.height() >= 560 and room >= HEIGHT else LOW_HEIGHT)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        if event.type() == QEvent.Type.Resize:
            self._fit_about(watched.height())
        return super().eventFilter(watched, event)

    # --- construction --------------------------------------------------------------------------------------------

    def _opened_page(self) -> QWidget:
        page = QWidget()
        layout = QVBoxLayout(page)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(GROUP)
        layout.addWidget(self.rows, 1)
        layout.addWidget(self.sees, 1)
        self.sees.hide()
        layout.addWidget(self.about)
        last = QHBoxLayout()
        last.setSpacing(GROUP)
        last.addWidget(self.split, 1)
        last.addWidget(self.use)
        layout.addLayout(last)
        page.installEventFilter(self)
        return page
