"""The Evaluate page: try the trained model on a text, see how well it does on unseen rows, have a file answered."""

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QHBoxLayout, QStackedLayout, QTabWidget, QVBoxLayout, QWidget

from studio.ui.i18n import tr
from studio.ui.panels.predict_file import PredictFile
from studio.ui.panels.results import Results
from studio.ui.panels.trained import RunChooser
from studio.ui.panels.try_it import TryIt
from studio.ui.store import Store
from studio.ui.theme import GRID, GROUP, MARGIN
from studio.ui.widgets.buttons import main_button
from studio.ui.widgets.cards import EmptyState
from studio.ui.widgets.labels import Title


class EvaluatePanel(QWidget):
    """Three tabs about one trained run: Try it, Results, A file."""

    def __init__(self, store: Store, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("page.evaluate")
        self._pages = QStackedLayout(self)
        self.chooser = RunChooser(store)
        self._pages.addWidget(self._make_empty(store))
        self._pages.addWidget(self._make_content(store))
        self._pages.setCurrentIndex(1)
        self.setFocusProxy(self.try_it.text)
        self.chooser.chosen.connect(self._show_run)

    def _make_empty(self, store: Store) -> QWidget:
        button = main_button(tr("Go to Train"), "evaluate.train", "train")
        button.clicked.connect(lambda: store.show_page("train"))
        return EmptyState(
            "evaluate",
            tr("There is no trained model yet."),
            [button],
            tr("Once a training has finished, you can try its model on texts of your own and see where it errs."),
        )

    def _make_content(self, store: Store) -> QWidget:
        content = QWidget()
        layout = QVBoxLayout(content)
        layout.setContentsMargins(MARGIN, GROUP, MARGIN, GROUP)
        layout.setSpacing(GRID)
        header = QHBoxLayout()
        header.addWidget(Title(tr("Evaluate")))
        header.addStretch(1)
        header.addWidget(self.chooser)
        layout.addLayout(header)
        self.try_it, self.results, self.file = TryIt(store), Results(store), PredictFile(store)
        self.results.row_chosen.connect(self._try)
        self.results.examples_found.connect(self.try_it.set_examples)
        self.tabs = QTabWidget()
        self.tabs.setDocumentMode(True)
        self.tabs.addTab(self.try_it, tr("Try it"))
        self.tabs.addTab(self.results, tr("Results"))
        self.tabs.addTab(self.file, tr("A file"))
        self.tabs.tabBar().setFocusPolicy(Qt.FocusPolicy.TabFocus)
        layout.addWidget(self.tabs, 1)
        return content

    def _show_run(self, run_id: str) -> None:
        self._pages.setCurrentIndex(1 if run_id else 0)
        self.try_it.show_run(run_id)
        self.results.show_run(run_id)
        self.file.show_run(run_id)

    def _try(self, row: dict[str, str]) -> None:
        self.tabs.setCurrentWidget(self.try_it)
        self.try_it.try_row(row)


if __name__ == "__main__":
    from studio.ui.app import show_alone

    show_alone("evaluate")
