"""The Data page: an empty desk with ways forward, then a file with all its rows."""

from PySide6.QtWidgets import QStackedWidget, QVBoxLayout, QWidget

from studio.core.registry import family
from studio.core.rundir import list_runs
from studio.ui.actions import action_button
from studio.ui.i18n import tr
from studio.ui.store import Store
from studio.ui.theme import GROUP, MARGIN
from studio.ui.widgets.buttons import flat_button
from studio.ui.widgets.cards import EmptyState
from studio.ui.widgets.flow import FlowLayout


class DataPanel(QWidget):
    """Shows the empty desk until the draft has data, or a file that is refused."""

    def __init__(self, store: Store, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.store = store
        self.stack = QStackedWidget()
        self.resume = action_button("run.continue")
        self.stack.addWidget(self._empty_page())
        self.desk: QWidget | None = None
        layout = QVBoxLayout(self)
        layout.setContentsMargins(MARGIN, GROUP, MARGIN, GROUP)
        layout.addWidget(self.stack)
        store.draft_changed.connect(lambda part: self.show_data())
        store.runs_changed.connect(self._offer_last_run)
        self._offer_last_run()
        self.show_data()

    def show_data(self) -> None:
        """Open the desk as soon as there is anything to show on it."""
        draft = self.store.draft
        if self.desk is None and (draft.source is not None or draft.table_problem is not None):
            # Only now: the empty window is on screen sooner without the table and the forms.
            from studio.ui.panels.data_desk import DataDesk

            self.desk = DataDesk(self.store)
            self.stack.addWidget(self.desk)
            self.stack.setCurrentWidget(self.desk)

    def _offer_last_run(self) -> None:
        self.resume.setVisible(any("-train-" in run.id for run in list_runs(self.store.workspace)))

    def _empty_page(self) -> QWidget:
        page = EmptyState(
            "data",
            tr("Start with examples of what your model shall do."),
            [action_button("data.open", main=True), action_button("data.sample"), self.resume],
            tr("CSV, TSV, JSON, JSONL, Parquet, CoNLL, SQuAD or plain text; or drop a file here."),
        )
        samples = FlowLayout(centred=True)
        for task in family("tasks").values():
            for number, sample in enumerate(task.samples()):
                button = flat_button(tr(sample.title), f"data.sample.{task.id}" + (f".{number}" if number else ""))
                button.setToolTip(tr("Open the sample: {summary}", summary=tr(sample.summary)))
                button.clicked.connect(lambda _, task=task.id, number=number: self.store.open_sample(task, number))
                samples.addWidget(button)
        page.add_below(tr("A sample of each task"), samples)
        return page


if __name__ == "__main__":
    from studio.ui.app import show_alone

    show_alone("data")
