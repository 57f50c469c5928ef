"""The Inspect page: where the heads of a model look in a text, before and after its fine-tuning."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from PySide6.QtCore import QTimer
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import (
    QHBoxLayout,
    QPushButton,
    QStackedLayout,
    QStackedWidget,
    QVBoxLayout,
    QWidget,
)

from studio.core.anatomy import describe_model
from studio.core.events import Explained, Studied
from studio.core.files import read_json
from studio.core.reasons import Problem
from studio.ui.i18n import tr
from studio.ui.notices import message_of, words_of
from studio.ui.panels.inspect_against import AgainstChooser
from studio.ui.panels.inspect_files import InspectionFiles
from studio.ui.panels.inspect_loading import Loading
from studio.ui.panels.inspect_maps import MapsView
from studio.ui.panels.inspect_question import MOST_LINES, Question
from studio.ui.panels.inspect_subject import (
    Other,
    Subject,
    SubjectChooser,
    earlier_look,
    examples,
    has_chat_template,
    last_watched,
    of_file,
    of_model,
    roles_of,
)
from studio.ui.panels.inspection import Inspection
from studio.ui.reading import problem_of
from studio.ui.store import Store
from studio.ui.theme import GRID, GROUP, MARGIN
from studio.ui.threads import background
from studio.ui.views.look import Look, load_look
from studio.ui.widgets.buttons import main_button, quiet_button
from studio.ui.widgets.cards import EmptyState, ErrorLine
from studio.ui.widgets.labels import Title

LOW, LOW_LINES = 640, 2  # a page that is not as high has fields of so many lines


@dataclass(frozen=True)
class Found:
    """What is known of a subject before it is looked into: roles of its fields, rows to try, the last look."""

    roles: list[tuple[str, str]]
    knows_chat: bool
    rows: list[dict[str, str]]
    look: Look | None


class InspectPanel(QWidget):
    """A model, a text, all heads of it and one of them large."""

    def __init__(self, store: Store, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("page.inspect")
        self._store = store
        self._subject: Subject | None = None
        self._look: Look | None = None  # as the worker answered
        self._asked: tuple[str, dict[str, str], str] = ("", {}, "")  # text, fields and label of the last question
        self._adopted: tuple[str, str] = ("", "")  # run and answer of an inspection that someone else started
        self._specs: dict[str, dict[str, Any]] = {}
        self._inspection = Inspection(store, self, attention=True)
        self._opened: tuple[Subject, Look, Mapping[str, Any]] | None = None  # a saved inspection and its options
        self.chooser = SubjectChooser(store)
        self.against = AgainstChooser(store)
        self.against.chosen.connect(self._compare)
        self.maps = MapsView(store)
        self.files = InspectionFiles(self.maps)
        self.files.opened.connect(self._take_file)
        self.files.failed.connect(self._say_failed)
        self.files.saved.connect(self.maps.say_saved)
        self._pages = QStackedLayout(self)
        self._pages.addWidget(self._make_empty())
        self._pages.addWidget(self._make_content())
        self._pages.setCurrentIndex(1)
        self.chooser.chosen.connect(self._choose)
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
        saved = quiet_button(tr("Open an inspection…"), "inspect.open", "open")
        saved.clicked.connect(self.files.ask_open)
        return EmptyState(
            "inspect",
            tr("See where each attention head looks. Try it on the starter now; no training is needed."),
            [starter, folder, saved],
            tr("Once a model is trained, its heads stand here before and after, with those that changed most first."),
        )

    def _make_content(self) -> QWidget:
        content = QWidget()
        layout = QVBoxLayout(content)
        layout.setContentsMargins(MARGIN, GROUP, MARGIN, GROUP)
        layout.setSpacing(GRID)
        header = QHBoxLayout()
        header.setSpacing(GRID)
        header.addWidget(Title(tr("Inspect")))
        header.addWidget(self.files.work, 1)
        header.addWidget(self.chooser)
        header.addWidget(self.against)
        header.addWidget(self.files)
        layout.addLayout(header)
        self.question = Question()
        self.text, self.button = self.question.text, self.question.button
        self.question.asked.connect(self.look)
        self.question.typed.connect(self._type)
        layout.addWidget(self.question)
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
        self.maps.shown.connect(self._show_maps)
        self.maps.asked.connect(self._study)
        self.maps.look_chosen.connect(self._show_look)
        self.maps.rewritten.connect(self._rewrite)
        self.maps.look_at.connect(self.look_at)
        for page in (self.prompt, self.loading, self._refusal, self.maps):
            self.stage.addWidget(page)
        layout.addWidget(self.stage, 1)
        return content

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self.question.set_most_lines(MOST_LINES if self.height() >= LOW else LOW_LINES)

    def _make_refusal(self) -> QWidget:
        page = QWidget()
        layout = QVBoxLayout(page)
        layout.setContentsMargins(0, 0, 0, 0)
        return page

    # --- the subject -------------------------------------------------------------------------------------------

    def _choose(self, subject: Subject | None) -> None:
        self.against.show_subject(subject)
        self._show_subject(subject)

    def _compare(self, other: Other | None) -> None:
        """Compare the model with another, in the same text if one was looked at."""
        look = self._look
        self._show_subject(replace(self._subject, against=other))
        self.against.take(self._subject)
        if look is not None and look.step is None:
            self.look_at(look.text, look.fields)

    def _show_subject(self, subject: Subject | None) -> None:
        self._subject, self._look = subject, None
        self._adopted = ("", "")
        self.maps.forget()
        self._pages.setCurrentIndex(0 if subject is None else 1)
        if subject is None:
            self._inspection.show_run("")
            return
        self.clear_error()
        if subject.file:
            self._show_file(subject)
            return
        self._opened = None
        workspace = self._store.workspace
        against = subject.against.spec(workspace) if subject.against is not None else None
        if subject.run:
            self._inspection.show_run(subject.run, subject.checkpoint, against)
        else:
            self._inspection.show_model(subject.model, against)
        self.stage.setCurrentWidget(self.prompt)

        def read() -> Found:
            if subject.is_untrained:
                return Found(roles_of(workspace, subject), False, [], last_watched(workspace, subject))
            knows_chat = bool(subject.model) and has_chat_template(Path(describe_model(subject.model).path))
            roles = roles_of(workspace, subject)
            rows, answer = examples(workspace, subject, [role for role, _ in roles]), earlier_look(workspace, subject)
            try:
                if answer is not None:
                    look = load_look(answer, subject.name, names=subject.state_names())
                else:
                    look = last_watched(workspace, subject)
            except (OSError, ValueError):  # maps that are gone or damaged are no reason not to look again
                look = None
            return Found(roles, knows_chat, rows, look)

        begin, refuse = (self._of(subject, act) for act in (self._begin, self._refuse_exception))
        background(read, begin, refuse, self, key="subject")

    def _of(self, subject: Subject, act: Callable[[Any], None]) -> Callable[[Any], None]:
        """Return `act` for what is read of a subject; it does nothing once the page is about another."""
        return lambda found: act(found) if subject is self._subject else None

    def _begin(self, found: Found) -> None:
        """Show what was looked at last, or offer a row to begin with."""
        self.question.set_roles(found.roles, found.knows_chat)
        self.question.set_rows(found.rows)
        if self._look is not None or self._inspection.is_busy:
            return
        if found.look is not None:
            self._put_row(found.look.fields, found.look.text)
            self._show_look(found.look)
            if found.look.step is not None:
                self.maps.head.show_view("timeline")
        elif not self.question.is_typed or not self.text.toPlainText().strip():
            self.question.next_row()

    def _put_row(self, row: Mapping[str, str], text: str = "") -> None:
        self.question.put(dict(row) or {self.question.first_role: text})

    def open_file(self, path: Path) -> None:
        """Show a saved inspection; it needs no model."""
        self.clear_error()
        self.files.open(path)

    def _take_file(self, path: Path, look: Look, options: Mapping[str, Any]) -> None:
        subject = of_file(path, look.subject)
        self._opened = (subject, look, options)
        if self.chooser.subject() == subject:
            self._choose(subject)
        else:
            self.chooser.choose(subject)

    def _show_file(self, subject: Subject) -> None:
        """Show an inspection that was opened, or open it again where another was looked at since."""
        self._inspection.show_run("")
        self.question.set_rows([])
        if self._opened is None or self._opened[0] != subject:
            self.files.open(Path(subject.file))
            return
        _, look, options = self._opened
        self._put_row(look.fields, look.text)
        self._show_look(look, options)

    def _say_failed(self, error: Exception) -> None:
        """Say at the page why a file can't be opened or written; what is shown stays."""
        self._pages.setCurrentIndex(1)
        self.error.show_text(message_of(problem_of(error)))

    # --- asking ------------------------------------------------------------------------------------------------

    def look(self) -> None:
        """Ask for the attention of what stands in the fields."""
        text = self.text.toPlainText().strip()
        if not text:
            self.error.show_text(message_of(Problem("text-empty")))
            self.text.setFocus()
        elif self._subject is not None and self._subject.file:
            self.error.show_text(message_of(Problem("look-no-model")))
        elif self._subject is not None and self._subject.is_untrained:
            self.error.show_text(message_of(Problem("run-in-training")))
        elif self._subject is not None:
            self.clear_error()
            self._asked = (text, self.question.fields(), self.question.gold())
            self._inspection.ask(text, self._asked[1])

    def _study(self, what: str, options: dict[str, Any]) -> None:
        """Ask the worker what a view wants to know of the text that is shown."""
        is_past = self._look is not None and self._look.step is not None
        if is_past or (self._subject is not None and self._subject.file):
            why = {"facts": {"step": self._look.step}, "reason": "step-no-model"} if is_past else {}
            answer = Studied(id="", what=what, about=options.get("about"), **{"reason": "look-no-model"} | why)
            QTimer.singleShot(0, self, lambda: self.maps.take(answer))  # after the view has asked
        elif self._look is not None:
            self._inspection.study(what, self._look.text, self._look.fields, options)

    def _rewrite(self, start: int, end: int, in_second: bool, word: str) -> None:
        """Put another word in the place of some characters of the look that is shown, and look again."""
        if self._look is not None:
            self._put_row(self._look.fields, self._look.text)
            self.question.replace(start, end, word, in_second)
            self.look()

    def look_at(self, text: str, fields: Mapping[str, str] | None = None) -> None:
        """Put a text into the field and ask; fields: the row by role, where the model reads more than a text."""
        self._put_row(fields or {}, text)
        self.look()

    def clear_error(self) -> None:
        """Take back what is said of the field."""
        self.error.clear()

    def _type(self) -> None:
        """Load the model while a person types, so that the first look comes sooner."""
        self.clear_error()
        can_ask = self._subject is not None and not self._subject.is_untrained
        if self.text.hasFocus() and can_ask and self._inspection.problem is None:
            self._inspection.warm_up()

    def _show_state(self) -> None:
        """Show what the worker does: how its loading goes, or why it ended."""
        inspection = self._inspection
        waits = inspection.is_busy and self._look is not None
        busy = tr("Loading…") if inspection.is_loading else tr("Looking…")
        self.question.show_busy(busy if waits else "")
        if inspection.problem is not None and self._look is not None:
            self._tell_end(inspection.problem)
        elif inspection.problem is not None:
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
        if not spec.get("text") or not self._subject.is_of(spec):
            return
        answers = [answer for answer in state.explained.values() if answer.directories]
        if not answers:
            if state.is_active and self._look is None:
                self._put_row({}, spec["text"])
                self.loading.show_run(state)
                self.stage.setCurrentWidget(self.loading)
        elif self._adopted != (run_id, answers[-1].id):
            self._adopted = (run_id, answers[-1].id)
            self._put_row(answers[-1].fields, answers[-1].text)
            self._take(answers[-1])

    # --- showing -----------------------------------------------------------------------------------------------

    def _take(self, answer: Explained) -> None:
        subject = self._subject
        if subject is None:
            return
        if answer.reason:
            problem = Problem(answer.reason, answer.facts)
            if answer.reason.startswith("text-") or answer.reason in ("capture-memory", "no-room"):
                self.error.show_text(message_of(problem))
                if self._look is None:
                    self.stage.setCurrentWidget(self.prompt)
            else:
                self._refuse(problem)
            return
        text, fields, gold = self._asked
        gold = gold if answer.text == text and dict(answer.fields) == fields else ""
        kind = self._look.kind if self._look is not None else ""

        def load() -> Look:
            return load_look(answer, subject.name, gold, kind, subject.state_names())

        show, refuse = (self._of(subject, act) for act in (self._show_look, self._refuse_exception))
        background(load, show, refuse, self, key="look")

    def _show_look(self, look: Look, options: Mapping[str, Any] | None = None) -> None:
        if self._subject is not None and self._subject.run:
            look = replace(look, run=str(self._store.run_dir(self._subject.run).path))
        self._look = look
        self.maps.show_look(look, options)

    def _show_maps(self) -> None:
        if self._look is not None:
            self.stage.setCurrentWidget(self.maps)
            self._show_state()

    # --- what can't be shown -----------------------------------------------------------------------------------

    def _refuse_exception(self, error: Exception) -> None:
        self._refuse(problem_of(error))

    def _tell_end(self, problem: Problem) -> None:
        """Say above a look why nothing more can be asked; its maps lie on the disk, and stay on screen."""
        said = words_of(problem)
        again = tr("Look again: the model is loaded anew.")
        self.error.show_text(f"{said.title} {again if said.fix == 'run.resume' else said.hint}")

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
        # An inspection has no checkpoint: what a training would resume from is simply loaded again.
        hint = tr("Try again: the model is loaded anew.") if said.fix == "run.resume" else said.hint
        layout.addWidget(EmptyState("warning", said.title, [again, folder], hint))
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
