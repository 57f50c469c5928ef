"""The Inspect page: where the heads of a model look in a text, before and after its fine-tuning."""

from typing import Any

from PySide6.QtCore import QEvent, QObject, Qt
from PySide6.QtGui import QKeyEvent
from PySide6.QtWidgets import (
    QHBoxLayout,
    QPlainTextEdit,
    QProgressBar,
    QPushButton,
    QStackedLayout,
    QStackedWidget,
    QVBoxLayout,
    QWidget,
)

from studio.core.anatomy import describe_model
from studio.core.events import Explained
from studio.core.files import read_json
from studio.core.reasons import Problem
from studio.ui.i18n import tr
from studio.ui.notices import message_of, words_of
from studio.ui.panels.inspect_loading import Loading
from studio.ui.panels.inspect_maps import MapsView
from studio.ui.panels.inspect_subject import Subject, SubjectChooser, earlier_look, examples, of_model
from studio.ui.panels.inspection import Inspection
from studio.ui.reading import problem_of
from studio.ui.store import Store
from studio.ui.theme import GRID, GROUP, MARGIN
from studio.ui.threads import background
from studio.ui.views.look import Look, load_look
from studio.ui.widgets.buttons import icon_button, main_button, quiet_button
from studio.ui.widgets.cards import EmptyState, ErrorLine
from studio.ui.widgets.labels import Title

MOST_LINES = 3  # of the field; a longer text scrolls


class InspectPanel(QWidget):
    """A model, a text, all heads of it and one of them large."""

    def __init__(self, store: Store, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("page.inspect")
        self._store = store
        self._subject: Subject | None = None
        self._look: Look | None = None  # as the worker answered
        self._row: tuple[str, dict[str, str]] = ("", {})  # the text that was asked last as a row of more fields
        self._examples: list[str] = []
        self._adopted: tuple[str, str] = ("", "")  # run and answer of an inspection that someone else started
        self._specs: dict[str, dict[str, Any]] = {}
        self._inspection = Inspection(store, self, attention=True)
        self.chooser = SubjectChooser(store)
        self._pages = QStackedLayout(self)
        self._pages.addWidget(self._make_empty())
        self._pages.addWidget(self._make_content())
        self._pages.setCurrentIndex(1)
        self.chooser.chosen.connect(self._show_subject)
        self._inspection.answered.connect(self._take)
        self._inspection.studied.connect(self.maps.take)
        self._inspection.progressed.connect(self.maps.show_progress)
        self._inspection.changed.connect(self._show_state)
        store.run_changed.connect(self._watch)

    # --- making ------------------------------------------------------------------------------------------------

    def _make_empty(self) -> QWidget:
        starter = main_button(tr("Look into the starter"), "inspect.starter", "inspect")
        starter.clicked.connect(lambda: self.chooser.choose(of_model("starter")))
        folder = quiet_button(tr("Model folder…"), "inspect.folder", "folder")
        folder.clicked.connect(self.chooser.choose_folder)
        return EmptyState(
            "inspect",
            tr("See where each attention head looks. Try it on the starter now; no training is needed."),
            [starter, folder],
            tr("Once a model is trained, its heads stand here before and after, with those that changed most first."),
        )

    def _make_content(self) -> QWidget:
        content = QWidget()
        layout = QVBoxLayout(content)
        layout.setContentsMargins(MARGIN, GROUP, MARGIN, GROUP)
        layout.setSpacing(GRID)
        header = QHBoxLayout()
        header.addWidget(Title(tr("Inspect")))
        header.addStretch(1)
        header.addWidget(self.chooser)
        layout.addLayout(header)
        layout.addLayout(self._make_question())
        self.error = ErrorLine()
        layout.addWidget(self.error)
        self.stage = QStackedWidget()
        self.prompt = EmptyState(
            "inspect",
            tr("Look inside: which token looks at which, in every head of the model."),
            hint=tr("The first look loads the model and takes about ten seconds; the next ones are quick."),
        )
        self.loading = Loading()
        self._refusal = self._make_refusal()
        self.maps = MapsView(self._store)
        self.maps.shown.connect(self._show_maps)
        self.maps.asked.connect(self._study)
        self.maps.look_at.connect(self.look_at)
        for page in (self.prompt, self.loading, self._refusal, self.maps):
            self.stage.addWidget(page)
        layout.addWidget(self.stage, 1)
        return content

    def _make_question(self) -> QHBoxLayout:
        self.text = QPlainTextEdit()
        self.text.setObjectName("inspect.text")
        self.text.setPlaceholderText(tr("Type or paste a text"))
        self.text.setAccessibleName(tr("Text to look into"))
        self.text.setTabChangesFocus(True)
        self.text.installEventFilter(self)
        self.text.textChanged.connect(self.clear_error)
        self.text.document().documentLayout().documentSizeChanged.connect(lambda _: self._fit_text())
        self.other = icon_button("refresh", tr("Another text of the test part"), "inspect.example")
        self.other.clicked.connect(self._next_example)
        self.button = main_button(tr("Look inside"), "inspect.look")
        self.button.setToolTip(tr("Run the text and show the attention of every head (Ctrl+Enter)"))
        self.button.clicked.connect(self.look)
        self.button.setMinimumWidth(self.button.sizeHint().width() + GROUP)
        self.bar = QProgressBar(self.text)
        self.bar.setRange(0, 0)
        self.bar.setTextVisible(False)
        self.bar.setAccessibleName(tr("Looking"))
        self.bar.hide()
        row = QHBoxLayout()
        row.setSpacing(GRID)
        row.addWidget(self.text, 1)
        row.addWidget(self.other, 0, Qt.AlignmentFlag.AlignTop)
        row.addWidget(self.button, 0, Qt.AlignmentFlag.AlignTop)
        self._fit_text()
        return row

    def _fit_text(self) -> None:
        """Make the field as high as its text, so that the room goes to the maps."""
        n_lines = min(max(1, round(self.text.document().size().height())), MOST_LINES)
        self.text.setFixedHeight(n_lines * self.text.fontMetrics().lineSpacing() + 18)

    def _make_refusal(self) -> QWidget:
        page = QWidget()
        layout = QVBoxLayout(page)
        layout.setContentsMargins(0, 0, 0, 0)
        return page

    # --- the subject -------------------------------------------------------------------------------------------

    def _show_subject(self, subject: Subject | None) -> None:
        self._subject, self._look = subject, None
        self._adopted = ("", "")
        self.maps.forget()
        self._pages.setCurrentIndex(0 if subject is None else 1)
        if subject is None:
            self._inspection.show_run("")
            return
        self.clear_error()
        if subject.run:
            self._inspection.show_run(subject.run)
        else:
            self._inspection.show_model(subject.model)
        self.stage.setCurrentWidget(self.prompt)
        workspace = self._store.workspace

        def read() -> tuple[list[str], Explained | None, Look | None]:
            if subject.model:
                describe_model(subject.model)
            texts, answer = examples(workspace, subject), earlier_look(workspace, subject)
            try:
                return texts, answer, load_look(answer, subject.name) if answer is not None else None
            except (OSError, ValueError):  # maps that are gone or damaged are no reason not to look again
                return texts, None, None

        background(read, self._begin, self._refuse_exception, self, key="subject")

    def _begin(self, found: tuple[list[str], Explained | None, Look | None]) -> None:
        """Show what was looked at last, or offer a text to begin with."""
        self._examples, answer, look = found
        self.other.setVisible(len(self._examples) > 1)
        if self._look is not None or self._inspection.is_busy:
            return
        if look is not None and answer is not None:
            self._put_text(answer.text)
            self._show_look(look)
        elif not self.text.toPlainText().strip():
            self._next_example()

    def _next_example(self) -> None:
        if self._examples:
            self._examples = self._examples[1:] + self._examples[:1]
            self._put_text(self._examples[-1])

    def _put_text(self, text: str) -> None:
        if self.text.toPlainText() != text:
            self.text.setPlainText(text)

    # --- asking ------------------------------------------------------------------------------------------------

    def look(self) -> None:
        """Ask for the attention of the text in the field."""
        text = self.text.toPlainText().strip()
        if not text:
            self.error.show_text(message_of(Problem("text-empty")))
            self.text.setFocus()
        elif self._subject is not None:
            self.clear_error()
            self._inspection.ask(text, self._fields_of(text))

    def _fields_of(self, text: str) -> dict[str, str]:
        return self._row[1] if text == self._row[0] else {}

    def _study(self, what: str, options: dict[str, Any]) -> None:
        """Ask the worker what a view wants to know of the text that is shown."""
        if self._look is not None:
            self._inspection.study(what, self._look.text, self._look.fields, options)

    def look_at(self, text: str, fields: dict[str, str] | None = None) -> None:
        """Put a text into the field and ask; fields: the row by role, where the model reads more than a text."""
        self._put_text(text)
        self._row = (text.strip(), fields or {})
        self.look()

    def clear_error(self) -> None:
        """Take back what is said of the field."""
        self.error.clear()

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        # Enter looks; a line break is typed with Shift. Typing loads the model, so that the first look comes sooner.
        if watched is self.text and event.type() == QEvent.Type.KeyPress and isinstance(event, QKeyEvent):
            plain = event.modifiers() in (Qt.KeyboardModifier.NoModifier, Qt.KeyboardModifier.KeypadModifier)
            if event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter) and plain:
                self.look()
                return True
            if event.text() and self._inspection.problem is None:
                self._inspection.warm_up()
        return super().eventFilter(watched, event)

    def _show_state(self) -> None:
        """Show what the worker does: how its loading goes, or why it ended."""
        inspection = self._inspection
        waits = inspection.is_busy and self._look is not None
        busy = tr("Loading…") if inspection.is_loading else tr("Looking…")
        self.button.setText(busy if waits else tr("Look inside"))
        # Over the lower edge of the field: what is on screen stays where it is.
        self.bar.setGeometry(GRID, self.text.height() - 5, self.text.width() - 2 * GRID, 4)
        self.bar.setVisible(waits)
        if inspection.problem is not None:
            self._refuse(inspection.problem)
        elif inspection.is_busy and self._look is None:
            self.loading.show_run(inspection.state())
            self.stage.setCurrentWidget(self.loading)

    def _watch(self, run_id: str) -> None:
        """Show what an inspection of the same subject found that was started elsewhere: by the guided sample."""
        state = self._store.runs.get(run_id)
        own = self._inspection.state()
        if state is None or state.kind != "inspect" or state is own or self._subject is None:
            return
        spec = self._spec_of(run_id)
        if not spec.get("text") or not self._subject.is_of(self._store.workspace, spec):
            return
        answers = [answer for answer in state.explained.values() if answer.directories]
        if not answers:
            if state.is_active and self._look is None:
                self._put_text(spec["text"])
                self.loading.show_run(state)
                self.stage.setCurrentWidget(self.loading)
        elif self._adopted != (run_id, answers[-1].id):
            self._adopted = (run_id, answers[-1].id)
            self._put_text(answers[-1].text)
            self._take(answers[-1])

    # --- showing -----------------------------------------------------------------------------------------------

    def _take(self, answer: Explained) -> None:
        subject = self._subject
        if subject is None:
            return
        if answer.reason:
            problem = Problem(answer.reason, answer.facts)
            if answer.reason.startswith("text-") or answer.reason == "capture-memory":
                self.error.show_text(message_of(problem))
                if self._look is None:
                    self.stage.setCurrentWidget(self.prompt)
            else:
                self._refuse(problem)
            return
        fields = self._fields_of(answer.text)
        background(
            lambda: load_look(answer, subject.name, fields), self._show_look, self._refuse_exception, self, key="look"
        )

    def _show_look(self, look: Look) -> None:
        self._look = look
        self.maps.show_look(look)

    def _show_maps(self) -> None:
        if self._look is not None:
            self.stage.setCurrentWidget(self.maps)
            self._show_state()

    # --- what can't be shown -----------------------------------------------------------------------------------

    def _refuse_exception(self, error: Exception) -> None:
        self._refuse(problem_of(error))

    def _refuse(self, problem: Problem) -> None:
        """Say why this model can't be looked into, and what to do."""
        self._look = None
        said = words_of(problem)
        again = quiet_button(tr("Try again"), "inspect.again", "refresh")
        again.clicked.connect(self._try_again)
        folder = quiet_button(tr("Model folder…"), "inspect.folder", "folder")
        folder.clicked.connect(self.chooser.choose_folder)
        layout = self._refusal.layout()
        while layout.count():
            layout.takeAt(0).widget().deleteLater()
        layout.addWidget(EmptyState("warning", said.title, [again, folder], said.hint))
        self.stage.setCurrentWidget(self._refusal)

    def _try_again(self) -> None:
        self._inspection.problem = None
        self.look()

    def _spec_of(self, run_id: str) -> dict[str, Any]:
        if run_id not in self._specs:
            self._specs[run_id] = read_json(self._store.run_dir(run_id).spec_file) or {}
        return self._specs[run_id]

    def main_action(self) -> QPushButton:
        """Return the button that Ctrl+Enter clicks."""
        return self.button
