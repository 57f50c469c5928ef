"""The report of a training as a sheet of paper in the window, with the ways to take it along."""

from pathlib import Path

from PySide6.QtCore import Qt, QTimer
from PySide6.QtGui import QImage, QPalette, QTextDocument
from PySide6.QtWidgets import QFileDialog, QHBoxLayout, QTextBrowser, QVBoxLayout, QWidget

from studio.core.reasons import Failure
from studio.core.state import RunState
from studio.ui.i18n import tr
from studio.ui.notices import Notice
from studio.ui.report.document import A4_PX, document, pictures, write_pdf
from studio.ui.report.facts import ReportFacts, read_report
from studio.ui.store import Store
from studio.ui.theme import GRID, MARGIN, load_theme
from studio.ui.threads import background
from studio.ui.widgets.buttons import flat_button, quiet_button

_LATER_MS = 2000  # after an event of a run that still works: its report is made anew at most this often


class RunReport(QWidget):
    """Shows what there is to say of one training; saves it as PDF and prints it."""

    def __init__(self, store: Store, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._store, self._state = store, None
        self._found: tuple[ReportFacts, dict[str, QImage]] | None = None  # None until it has been gathered
        self.paper = QTextBrowser()
        self.paper.setObjectName("report.paper")
        self.paper.setAccessibleName(tr("Report"))
        self.paper.setOpenLinks(False)
        self.paper.setVerticalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOn)  # so that the width is known
        # Paper is white in the dark, too; the colours of what stands on it are made for that.
        light, palette = load_theme("light"), self.paper.palette()
        palette.setColor(QPalette.ColorRole.Base, light.colour("surface"))
        palette.setColor(QPalette.ColorRole.Text, light.colour("text"))
        self.paper.setPalette(palette)
        self.paper.setStyleSheet(f"QTextBrowser {{ background: {light.surface}; color: {light.text}; }}")
        self.save_button = quiet_button(tr("Save as PDF…"), "report.pdf", "save")
        self.save_button.clicked.connect(self._ask_pdf)
        self.print_button = flat_button(tr("Print…"), "report.print")
        self.print_button.clicked.connect(self._print)
        row = QHBoxLayout()
        row.setSpacing(GRID)
        row.addStretch(1)
        row.addWidget(self.print_button)
        row.addWidget(self.save_button)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(GRID)
        layout.addWidget(self.paper, 1)
        layout.addLayout(row)
        self._timer = QTimer(self, singleShot=True, interval=_LATER_MS)
        self._timer.timeout.connect(self.read)
        self._fitting = QTimer(self, singleShot=True, interval=100)
        self._fitting.timeout.connect(self._fit)
        self._read_as: tuple[object, ...] = ()
        self._shown: QTextDocument | None = None
        self._enable()

    def show_state(self, state: RunState) -> None:
        """Show a run, anew when it has gone on since the last time."""
        is_other = self._state is None or self._state.id != state.id
        self._state = state
        if is_other:
            self._read_as, self._found = (), None
            self.paper.clear()
            self._enable()
        if self.isVisible() and self._key() != self._read_as:
            if is_other or not state.is_active:
                self.read()
            elif not self._timer.isActive():
                self._timer.start()

    def showEvent(self, event: object) -> None:
        if self._state is not None:
            self.show_state(self._state)
            if self._found is None and not self._read_as:
                self.read()

    def read(self) -> None:
        """Gather what there is to say, in the background, and show it."""
        state, self._read_as = self._state, self._key()
        run = self._store.run_dir(state.id)

        def gather() -> tuple[ReportFacts, dict[str, QImage]]:
            facts = read_report(run, state)
            return facts, pictures(facts)

        background(gather, self._take, self._store.fail, self, key="report")

    def write_pdf(self, path: str | Path) -> None:
        """Write the report as PDF, and say where it lies."""
        try:
            write_pdf(document(*self._found), Path(path))
        except OSError as error:
            self._store.fail(Failure("workspace-unwritable", path=str(path), message=str(error)))
            return
        self._store.notice.emit(Notice(tr("The report was saved."), str(path), "good"))

    def _key(self) -> tuple[object, ...]:
        state = self._state
        return state.id, state.state, state.step, state.attempt, len(state.artefacts), state.ended

    def resizeEvent(self, event: object) -> None:
        self._fitting.start()

    def _take(self, found: tuple[ReportFacts, dict[str, QImage]]) -> None:
        self._found = found
        self._fit()
        self._enable()

    def _fit(self) -> None:
        """Lay the report out as wide as the paper is, at most as on A4."""
        if self._found is None:
            return
        at, former = self.paper.verticalScrollBar().value(), self._shown
        width = self.paper.viewport().width() - 2 * MARGIN - GRID
        self._shown = document(*self._found, min(width, A4_PX), self.devicePixelRatioF())
        self._shown.setParent(self)
        self.paper.setDocument(self._shown)
        frame = self._shown.rootFrame()
        look = frame.frameFormat()
        look.setMargin(MARGIN)
        frame.setFrameFormat(look)
        self.paper.verticalScrollBar().setValue(at)
        if former is not None:
            former.deleteLater()

    def _enable(self) -> None:
        for button in (self.save_button, self.print_button):
            button.setEnabled(self._found is not None)

    def _ask_pdf(self) -> None:
        name = f"{self._store.run_name(self._state.id)}.pdf"
        path, _ = QFileDialog.getSaveFileName(self, tr("Save the report"), name, "PDF (*.pdf)")
        if path:
            self.write_pdf(path if path.lower().endswith(".pdf") else f"{path}.pdf")

    def _print(self) -> None:
        try:
            from PySide6.QtPrintSupport import QPrintDialog, QPrinter
        except ImportError as error:  # on Linux it needs CUPS
            self._store.fail(Failure("no-printing", message=str(error)))
            return
        printer = QPrinter(QPrinter.PrinterMode.HighResolution)
        dialog = QPrintDialog(printer, self)
        dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        dialog.accepted.connect(lambda: document(*self._found).print_(printer))
        dialog.open()
