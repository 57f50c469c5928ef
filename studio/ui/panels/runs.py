"""The Runs page: what waits in the queue, every run of the workspace, and several of them in one picture."""

from dataclasses import replace
from typing import Any

from PySide6.QtCore import QEvent, Qt, QTimer, Signal
from PySide6.QtGui import QKeyEvent, QKeySequence, QShortcut
from PySide6.QtWidgets import QHBoxLayout, QLineEdit, QSplitter, QStackedWidget, QTabBar, QVBoxLayout, QWidget

from studio.core.state import ACTIVE, Summary
from studio.ui import words
from studio.ui.actions import action_button
from studio.ui.i18n import tr
from studio.ui.panels.runs_queue import QueueCard
from studio.ui.panels.runs_rows import Summaries, kind_title, kinds_of, row_of
from studio.ui.store import Store
from studio.ui.theme import GRID, GROUP, MARGIN
from studio.ui.threads import background
from studio.ui.widgets.buttons import SearchField, main_button, quiet_button
from studio.ui.widgets.cards import Card, EmptyState
from studio.ui.widgets.labels import Small
from studio.ui.widgets.rows import Column, RowsTable

READ_MS = 2000  # how often the list looks for what other windows and the command line do
DRAW_MS = 1000

COLUMNS = (
    Column("state", "State", "state", width=100),
    Column("name", "Name"),
    Column("data", "Data", width=128),
    Column("model", "Model", width=80),
    Column("method", "Method", width=76),
    Column("score", "Score", "number", lambda score: "" if score is None else words.score(score), 72),
    Column("seconds", "Took", "number", lambda seconds: words.duration(seconds) if seconds else "", 88),
    Column("created", "Began", "time", words.moment, 100),
    Column("sparkline", "Loss", "spark", width=84),
)


class RunsPanel(QWidget):
    """Lists the runs; opens, renames, resumes, deletes and compares what is selected."""

    def __init__(self, store: Store, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.store = store
        self._summaries, self._reader, self._is_reading = [], Summaries(store.workspace), False
        self._told = ""
        self._kind, self.rows = "train", []  # the rows that the table shows
        self.kinds = QTabBar()
        self.kinds.setExpanding(False)
        self.kinds.setAccessibleName(tr("Kinds of run"))
        self.kinds.currentChanged.connect(self._choose_kind)
        self.search_field = SearchField(tr("Search runs"))
        self.search_field.setMaximumWidth(240)
        self.search_field.searched.connect(lambda _: self._draw())
        self.table = RowsTable([replace(c, title=tr(c.title)) for c in COLUMNS])
        self.table.setAccessibleName(tr("Runs"))
        self.table.activated.connect(lambda row: self.open_run(row["id"]))
        self.table.selection_changed.connect(self._show_selection)
        self.compare: Any = None
        self.stack = QStackedWidget()
        self.empty = EmptyState(
            "runs",
            tr("Every run is kept here, with its settings, its curves and what came out."),
            [action_button("data.sample"), action_button("go.train")],
            tr("Two or more trainings side by side show which settings made the difference."),
        )
        self.stack.addWidget(self.empty)
        self.queue = QueueCard(store)
        self.queue.opened.connect(self.open_run)
        filled = QWidget()
        column = QVBoxLayout(filled)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(GROUP)
        column.addWidget(self.queue)
        column.addWidget(self._list(), 1)
        self.stack.addWidget(filled)
        self.stack.setCurrentIndex(1)  # until the list has been read nobody knows that there is none
        layout = QVBoxLayout(self)
        layout.setContentsMargins(MARGIN, GROUP, MARGIN, GROUP)
        layout.addWidget(self.stack)
        self._clock = QTimer(self, interval=READ_MS)
        self._clock.timeout.connect(self.read)
        self._soon = QTimer(self, singleShot=True, interval=DRAW_MS)
        self._soon.timeout.connect(self.read)
        store.runs_changed.connect(self.read)
        store.queue.changed.connect(self._draw)
        store.run_changed.connect(lambda run_id: self._soon.isActive() or self._soon.start())
        self._show_selection()

    def search(self) -> None:
        """Put the cursor into the search field."""
        self.search_field.setFocus(Qt.FocusReason.ShortcutFocusReason)

    def read(self) -> None:
        """Read the list again, in the background; nothing happens while the page is not in sight."""
        if not self.isVisible() or self._is_reading:
            return
        self._is_reading = True
        background(self._reader.read, self._show, self._give_up, self)

    def open_run(self, run_id: str) -> None:
        """Show a run on the page of its kind."""
        kind = next((s.kind for s in self._summaries if s.id == run_id), "train")
        if kind == "train":
            self.store.select_run(run_id)
        else:
            summary = next(s for s in self._summaries if s.id == run_id)
            trained = words.file_name(summary.model)
            if (self.store.workspace / "runs" / trained).is_dir() and trained:
                self.store.select_run(trained)
        self.store.show_page(kind if kind in words.PAGES else "evaluate")

    def selected_ids(self) -> list[str]:
        """Return the ids of the selected runs, in the order of the table."""
        return [row["id"] for row in self.table.selected()]

    def showEvent(self, event: object) -> None:
        self.read()
        self._clock.start()

    def hideEvent(self, event: object) -> None:
        self._clock.stop()

    # what is shown

    def _show(self, summaries: list[Summary]) -> None:
        self._is_reading = False
        if summaries == self._summaries and summaries and not self._is_changed():
            return
        self._summaries = summaries
        self._show_kinds()
        self._draw()

    def _give_up(self, error: Exception) -> None:
        self._is_reading = False
        if repr(error) != self._told:  # the same thing every two seconds would be a nuisance
            self._told = repr(error)
            self.store.fail(error)

    def _is_changed(self) -> bool:
        """Return whether the store knows a fresher state of a run than the table shows."""
        shown = {row["id"]: row["state"] for row in self.rows}
        return any(shown.get(s.id, self._state_of(s)) != self._state_of(s) for s in self._summaries)

    def _state_of(self, summary: Summary) -> str:
        known = self.store.runs.get(summary.id)
        # A run that is followed is known to the moment; the summary is written every few seconds.
        return known.state if known is not None and known.is_active == (summary.state in ACTIVE) else summary.state

    def _show_kinds(self) -> None:
        kinds = kinds_of(self._summaries)
        if [self.kinds.tabData(i) for i in range(self.kinds.count())] == kinds:
            return
        self.kinds.blockSignals(True)
        while self.kinds.count():
            self.kinds.removeTab(0)
        for kind in kinds:
            self.kinds.setTabData(self.kinds.addTab(kind_title(kind)), kind)
        if self._kind not in kinds and kinds:
            self._kind = kinds[0]
        if kinds:
            self.kinds.setCurrentIndex(kinds.index(self._kind))
        self.kinds.blockSignals(False)

    def _choose_kind(self, index: int) -> None:
        self._kind = self.kinds.tabData(index)
        self._draw()

    def _draw(self) -> None:
        self.stack.setCurrentIndex(1 if self._summaries else 0)
        query = self.search_field.text().casefold()
        waiting = self.store.queue.ids
        known = {s.id: s for s in self._summaries}
        self.queue.show_rows([row_of(known[i], "queued") for i in waiting if i in known])
        shown = [s for s in self._summaries if s.kind == self._kind and s.id not in waiting and s.state != "queued"]
        rows = [row_of(s, self._state_of(s)) for s in shown]
        if query:
            rows = [r for r in rows if any(query in str(r[k]).casefold() for k in ("name", "data", "model", "method"))]
        self.rows = rows
        self.table.set_rows(rows)
        self._show_selection()

    def _show_selection(self) -> None:
        rows = self.table.selected()
        ids = [row["id"] for row in rows]
        trainings = [row["id"] for row in rows if row["kind"] == "train"]
        self.open_button.setEnabled(len(rows) == 1)
        self.rename_button.setEnabled(len(rows) == 1)
        self.resume_button.setEnabled(len(rows) == 1 and self._can_resume(rows[0]))
        self.delete_button.setEnabled(bool(rows) and all(row["state"] not in ACTIVE for row in rows))
        compares = len(trainings) >= 2
        self.hint.setText(
            "" if compares or self._kind != "train" else tr("Select two or more trainings to compare them.")
        )
        if ids != self._named:
            self._end_rename(keep=False)
            self._named = ids
        if compares:
            self._show_comparison(trainings)
        elif self.compare is not None:
            self.compare.hide()

    def _show_comparison(self, ids: list[str]) -> None:
        if self.compare is None:
            from studio.ui.panels.runs_compare import RunsCompare

            self.compare = RunsCompare(self.store)
            self.splitter.addWidget(self.compare)
            self.splitter.setSizes([290, 400])
        self.compare.show()
        self.compare.show_runs(ids)

    def _can_resume(self, row: dict[str, Any]) -> bool:
        if row["kind"] != "train":
            return False
        if row["state"] == "paused":
            return True
        run = self.store.run_dir(row["id"])
        return row["state"] in ("stopped", "failed", "ended") and any(run.checkpoints_dir.glob("checkpoint-*"))

    # what can be done

    def _resume(self) -> None:
        for run_id in self.selected_ids()[:1]:
            self.store.resume(run_id)
            self.store.show_page("train")

    def _delete(self) -> None:
        if self.delete_button.isEnabled():
            self.store.delete(*self.selected_ids())

    def _begin_rename(self) -> None:
        rows = self.table.selected()
        if len(rows) == 1:
            view = self.table.view
            cell = view.model().index(view.selected_rows()[0], [c.key for c in COLUMNS].index("name"))
            view.scrollTo(cell)
            place = view.visualRect(cell).adjusted(0, 1, 0, -1)
            place.setWidth(max(200, place.width()))
            self.name_field.setGeometry(place)
            self.name_field.setText(rows[0]["name"])
            self.name_field.selectAll()
            self.name_field.show()
            self.name_field.setFocus()

    def _end_rename(self, keep: bool) -> None:
        if self.name_field.isHidden():
            return
        ids, name = self._named, self.name_field.text().strip()
        self.name_field.hide()
        if keep and name and ids:
            self.store.rename(ids[0], name)
        self.table.setFocus()

    # what it is made of

    def _list(self) -> QWidget:
        self.open_button = main_button(tr("Open"), "runs.open", "arrow-right")
        self.open_button.clicked.connect(lambda: self.open_run(self.selected_ids()[0]))
        self.resume_button = quiet_button(tr("Resume"), "runs.resume", "play")
        self.resume_button.clicked.connect(self._resume)
        self.rename_button = quiet_button(tr("Rename"), "runs.rename", "edit")
        self.rename_button.clicked.connect(self._begin_rename)
        self.delete_button = quiet_button(tr("Delete"), "runs.delete", "trash")
        self.delete_button.clicked.connect(self._delete)
        self.name_field, self._named = _NameField(self.table.view.viewport()), []
        self.name_field.left.connect(lambda: self._end_rename(keep=False))
        self.name_field.setObjectName("runs.name")
        self.name_field.setAccessibleName(tr("New name of the run"))
        self.name_field.setVisible(False)
        self.name_field.returnPressed.connect(lambda: self._end_rename(keep=True))
        self.name_field.editingFinished.connect(lambda: self._end_rename(keep=True))
        for key, act in (
            (Qt.Key.Key_F2, self._begin_rename),
            (QKeySequence.StandardKey.Delete, self._delete),
        ):
            shortcut = QShortcut(QKeySequence(key), self.table, act)
            shortcut.setContext(Qt.ShortcutContext.WidgetWithChildrenShortcut)  # as an argument PySide ignores it
        self.hint = Small()
        self.hint.setWordWrap(False)
        head = QHBoxLayout()
        head.setSpacing(GROUP)
        head.addWidget(self.kinds)
        head.addStretch(1)
        head.addWidget(self.search_field, 1)
        foot = QHBoxLayout()
        foot.setSpacing(GRID)
        foot.addWidget(self.hint, 1)
        for widget in (self.rename_button, self.delete_button, self.resume_button, self.open_button):
            foot.addWidget(widget)
        card = Card()
        card.body.addLayout(head)
        card.add(self.table, 1)
        card.body.addLayout(foot)
        self.splitter = QSplitter(Qt.Orientation.Vertical)
        self.splitter.setChildrenCollapsible(False)
        self.splitter.addWidget(card)
        return self.splitter


class _NameField(QLineEdit):
    """A field that Esc leaves, before the window's own Esc."""

    left = Signal()

    def event(self, event: QEvent) -> bool:
        if event.type() == QEvent.Type.ShortcutOverride and event.key() == Qt.Key.Key_Escape:
            event.accept()
            return True
        return super().event(event)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.key() == Qt.Key.Key_Escape:
            self.left.emit()
        else:
            super().keyPressEvent(event)


if __name__ == "__main__":
    from studio.ui.app import show_alone

    show_alone("runs")
