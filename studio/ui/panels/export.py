"""The Export page: write a trained run for other programs, and verify what was written."""

from pathlib import Path

from PySide6.QtCore import Qt, QUrl
from PySide6.QtGui import QDesktopServices
from PySide6.QtWidgets import (
    QFileDialog,
    QGridLayout,
    QHBoxLayout,
    QLineEdit,
    QScrollArea,
    QStackedLayout,
    QVBoxLayout,
    QWidget,
)

from studio.core.reasons import Problem
from studio.core.registry import family
from studio.ui.forms import Form
from studio.ui.i18n import tr
from studio.ui.notices import message_of
from studio.ui.panels.comparison import Comparison
from studio.ui.panels.exports import Export, default_folder, is_taken, read_exports
from studio.ui.panels.format_card import FormatCards
from studio.ui.panels.job import JobStrip
from studio.ui.panels.trained import RunChooser
from studio.ui.panels.verification import Verification
from studio.ui.store import Store
from studio.ui.theme import GRID, GROUP, MARGIN
from studio.ui.threads import background
from studio.ui.widgets.buttons import main_button, quiet_button
from studio.ui.widgets.cards import Card, EmptyState, ErrorLine
from studio.ui.widgets.labels import Small, Title


class ExportPanel(QWidget):
    """Formats as cards, a folder, the button, and what the verification of the chosen format said."""

    def __init__(self, store: Store, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("page.export")
        self._store = store
        self._run = ""
        self._exports: list[Export] = []
        self._forms: dict[str, Form] = {}
        self.chooser = RunChooser(store)
        self._pages = QStackedLayout(self)
        self._pages.addWidget(self._make_empty())
        self._pages.addWidget(self._make_content())
        self._pages.setCurrentIndex(1)
        self.chooser.chosen.connect(self._show_run)
        store.run_changed.connect(self._follow)
        self.cards.choose(next(iter(self.cards.cards)))
        self._show_button()

    # --- making ------------------------------------------------------------------------------------------------

    def _make_empty(self) -> QWidget:
        button = main_button(tr("Go to Train"), "export.train", "train")
        button.clicked.connect(lambda: self._store.show_page("train"))
        return EmptyState(
            "export",
            tr("There is no trained model to export yet."),
            [button],
            tr("Once a training has finished, its model can be written for other programs: smaller, faster, verified."),
        )

    def _make_content(self) -> QWidget:
        page = QWidget()
        outer = QVBoxLayout(page)
        outer.setContentsMargins(MARGIN, GROUP, 0, 0)
        outer.setSpacing(GRID)
        header = QHBoxLayout()
        header.setContentsMargins(0, 0, MARGIN, 0)
        header.addWidget(Title(tr("Export")))
        header.addStretch(1)
        header.addWidget(self.chooser)
        outer.addLayout(header)
        scroll = QScrollArea()
        scroll.setWidgetResizable(True)
        scroll.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        content = QWidget()
        content.setObjectName("scrolled")
        scroll.setWidget(content)
        outer.addWidget(scroll, 1)
        layout = QVBoxLayout(content)
        layout.setSpacing(GROUP)
        bar = scroll.verticalScrollBar()

        def keep_margin() -> None:
            # The scroll bar stands in the margin, so that the cards end where the header ends.
            layout.setContentsMargins(0, 0, MARGIN - (bar.sizeHint().width() if bar.maximum() else 0), GROUP)

        bar.rangeChanged.connect(keep_margin)
        keep_margin()
        layout.addWidget(Small(tr(
            "Every export is loaded again by its own runtime in a fresh process and compared with the trained model "
            "on all held-out rows. Only then is it called verified."
        )))  # fmt: skip
        self.cards = FormatCards(list(family("exporters").values()))
        self.cards.chosen.connect(self._choose_format)
        layout.addWidget(self.cards)
        layout.addWidget(self._make_target())
        self.verification = Verification()
        self.verification.open_requested.connect(self._open_folder)
        layout.addWidget(self.verification)
        self.comparison = Comparison()
        layout.addWidget(self.comparison)
        layout.addStretch(1)
        return page

    def _make_target(self) -> QWidget:
        card = Card()
        self._form_place = QVBoxLayout()
        card.body.addLayout(self._form_place)
        grid = QGridLayout()
        grid.setHorizontalSpacing(GRID)
        grid.setVerticalSpacing(4)
        grid.setColumnStretch(1, 1)
        label = Small(tr("Folder"))
        label.setWordWrap(False)
        self.folder = QLineEdit()
        self.folder.setObjectName("export.folder")
        self.folder.setAccessibleName(tr("Folder to export to"))
        self.folder.textChanged.connect(self._check_folder)
        choose = quiet_button(tr("Choose…"), "export.choose", "folder")
        choose.clicked.connect(self.choose_folder)
        self.button = main_button(tr("Export"), "export.start", "export")
        self.button.clicked.connect(self.start)
        for column, widget in enumerate((label, self.folder, choose, self.button)):
            grid.addWidget(widget, 0, column)
        self.folder_error = ErrorLine()
        grid.addWidget(self.folder_error, 1, 1, 1, 3)
        card.body.addLayout(grid)
        self.job = JobStrip(self._store)
        card.add(self.job)
        return card

    # --- the person's choices ----------------------------------------------------------------------------------

    def _choose_format(self, format_id: str) -> None:
        form = self._forms.get(format_id)
        if form is None:
            form = self._forms[format_id] = Form(family("exporters")[format_id].Config)
            self._form_place.addWidget(form)
        for each in self._forms.values():
            each.setVisible(each is form and form.has_fields())
        self._propose_folder()
        self._show_format()

    def _propose_folder(self) -> None:
        summary = self.chooser.summary()
        if summary is not None and self.cards.format():
            self.folder.setText(str(default_folder(self._store.workspace, summary.name, self.cards.format())))
            self.folder.setCursorPosition(0)

    def choose_folder(self) -> None:
        """Ask for a folder to export to."""
        start = str(Path(self.folder.text()).parent)
        path = QFileDialog.getExistingDirectory(self, tr("Folder to export to"), start)
        if path:
            self.folder.setText(path)

    def _check_folder(self) -> None:
        text = self.folder.text().strip()
        if not text:
            problem = tr("Choose a folder.")
        elif not Path(text).expanduser().is_absolute():
            problem = tr("Write the whole path, from the root of the disk.")
        elif is_taken(Path(text).expanduser()):
            problem = message_of(Problem("target-exists", {"path": text}))
        else:
            problem = ""
        self.folder_error.show_text(problem)
        self._show_button()

    def start(self) -> None:
        """Export the run in the chosen format."""
        format_id = self.cards.format()
        values = {"kind": format_id} | self._forms[format_id].values()
        try:
            config = family("exporters")[format_id].Config.model_validate(values)
        except ValueError:
            return  # the form says at the field what is wrong
        job = self._store.export(self._run, config, Path(self.folder.text().strip()).expanduser())
        if job:
            self.job.show_run(job, format_name(format_id))
            self.read()

    # --- following ---------------------------------------------------------------------------------------------

    def _show_run(self, run_id: str) -> None:
        self._run, self._exports = run_id, []
        self._pages.setCurrentIndex(1 if run_id else 0)
        self.job.show_run("")
        self._propose_folder()
        self._show_exports([])
        self.read()

    def read(self) -> None:
        """Look again for what was exported of the run."""
        if self._run:
            workspace, run_id = self._store.workspace, self._run
            background(
                lambda: read_exports(workspace, run_id), self._show_exports, self._store.fail, self, key="exports"
            )

    def _follow(self, run_id: str) -> None:
        state = self._store.runs.get(run_id)
        if state is None or state.kind != "export":
            return
        self._show_button()
        if not state.is_active:
            if run_id == self.job.run():
                self.job.show_run("")  # what went wrong is said by the verification
            self.read()
            self._propose_folder_if_taken()

    def _propose_folder_if_taken(self) -> None:
        if is_taken(Path(self.folder.text())):
            self._propose_folder()

    def _show_exports(self, found: list[Export]) -> None:
        is_first_look, self._exports = not self._exports, found
        active = next((e for e in found if e.state.is_active), None)
        if active is not None and self.job.run() != active.run_id:
            self._store.attach(active.run_id)
            self.job.show_run(active.run_id, format_name(active.format))
            if active.format in self.cards.cards:
                self.cards.choose(active.format)
        elif is_first_look and found and found[0].format in self.cards.cards:
            self.cards.choose(found[0].format)
        for format_id, card in self.cards.cards.items():
            own = [e for e in found if e.format == format_id]
            card.show_export(own[0] if own else None, next((e for e in own if e.is_measured), None))
        self.comparison.show_exports(self._newest_measured())
        self._show_format()
        self._show_button()

    def _newest_measured(self) -> list[Export]:
        result = []
        for format_id in self.cards.cards:
            own = (e for e in self._exports if e.format == format_id and e.is_measured)
            result += [e for e in [next(own, None)] if e is not None]
        return result

    def _show_format(self) -> None:
        ended = (e for e in self._exports if e.format == self.cards.format() and not e.state.is_active)
        self.verification.show_export(next(ended, None))

    def _show_button(self) -> None:
        state = self._store.runs.get(self.job.run())
        busy = state is not None and state.is_active
        self.button.setEnabled(bool(self._run and self.folder.text()) and not busy and not self.folder_error.text())

    def _open_folder(self, folder: str) -> None:
        QDesktopServices.openUrl(QUrl.fromLocalFile(folder))


def format_name(format_id: str) -> str:
    """Return what a format is called; one whose plug-in is gone is called by its id."""
    plugin = family("exporters").get(format_id)
    return tr(plugin.label) if plugin else format_id


if __name__ == "__main__":
    from studio.ui.app import show_alone

    show_alone("export")
