"""The Model page: which model, what it is, and which of its weights train."""

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QHBoxLayout, QStackedWidget, QVBoxLayout, QWidget

from studio.core.anatomy import Tensor
from studio.core.reasons import Problem
from studio.core.registry import family
from studio.ui import words
from studio.ui.actions import action_button
from studio.ui.draft import field_messages
from studio.ui.i18n import tr
from studio.ui.notices import message_of, words_of
from studio.ui.panels.method_choice import MethodChoice
from studio.ui.panels.model_about import ModelAbout
from studio.ui.panels.model_choices import ModelChoices
from studio.ui.store import Store
from studio.ui.theme import GROUP, MARGIN
from studio.ui.widgets.buttons import main_button, quiet_button
from studio.ui.widgets.cards import Card, EmptyState


class ModelPanel(QWidget):
    """Draws the draft's model and method."""

    def __init__(self, store: Store, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.store = store
        self.choices = ModelChoices()
        self.choices.chosen.connect(store.choose_model)
        self.about = ModelAbout()
        self.about.layer_clicked.connect(self._freeze_to)
        self.method = MethodChoice()
        self.method.chosen.connect(store.set_method)
        self.problem_place = Card()
        self.trainable = self.about.trainable
        self.about_stack = QStackedWidget()
        self.about_stack.addWidget(self.about)
        self.about_stack.addWidget(self.problem_place)
        self.next = main_button(tr("Continue to training"), "model.continue", "arrow-right")
        self.next.setLayoutDirection(Qt.LayoutDirection.RightToLeft)  # the arrow stands behind the words
        self.next.clicked.connect(lambda: store.show_page("train"))
        layout = QHBoxLayout(self)
        layout.setContentsMargins(MARGIN, GROUP, MARGIN, GROUP)
        layout.setSpacing(GROUP)
        layout.addWidget(self.choices)
        layout.addWidget(self.about_stack, 1)
        right = QVBoxLayout()
        right.setSpacing(GROUP)
        right.addWidget(self.method, 1)
        right.addWidget(self.next)
        layout.addLayout(right)
        store.draft_changed.connect(self._draw_part)
        store.settings_changed.connect(self._show_choices)
        self.show_model()

    def show_model(self) -> None:
        """Draw the draft's model and method as they are now."""
        draft = self.store.draft
        self._show_choices()
        if draft.model_problem is not None:
            self._show_problem(draft.model_problem)
        elif draft.model_info is not None:
            self.about.show_model(draft.model_info)
            self.about_stack.setCurrentWidget(self.about)
        self._show_method()

    def _show_choices(self) -> None:
        self.choices.show_models(self.store.draft.model, self.store.settings.recent_models)

    def _show_problem(self, problem: Problem) -> None:
        body, said = self.problem_place.body, words_of(problem)
        while body.count():
            body.takeAt(0).widget().deleteLater()
        buttons = [action_button("model.open")]
        if self.store.draft.model != "starter":
            starter = quiet_button(tr("Take the starter"), "model.take_starter")
            starter.clicked.connect(lambda: self.store.choose_model("starter"))
            buttons.append(starter)
        body.addWidget(EmptyState("warning", said.title, buttons, said.hint))
        self.about_stack.setCurrentWidget(self.problem_place)

    def _show_method(self) -> None:
        draft = self.store.draft
        problems = self.store.problems()
        errors = {name: message_of(p) for name, p in field_messages(problems, "method").items()}
        self.method.show_method(draft.method, errors)
        pieces = draft.trainable()
        can_freeze = _has_layers(draft.method["kind"]) and draft.model_info is not None
        self.about.show_trainable(pieces, tr("Click a layer to freeze it and all below it.") if can_freeze else "")
        self._show_counts(pieces if not errors else [])
        wrong = [p for p in problems if p.field == "model" or p.field.startswith("method")]
        self.next.setEnabled(not wrong and draft.model_info is not None)
        self.next.setToolTip(message_of(wrong[0]) if wrong else "")

    def _show_counts(self, pieces: list[tuple[Tensor, int]]) -> None:
        total, n = sum(t.n_parameters for t, _ in pieces), sum(n for _, n in pieces)
        if not total:
            self.trainable.setText(tr("Trainable –"))
            self.trainable.setToolTip("")
            return
        share = words.percent(n / total, 1)
        self.trainable.setText(tr("Trainable {n} of {total} ({share})", n=_millions(n), total=_millions(total),
                                  share=share))  # fmt: skip
        self.trainable.setToolTip(tr("{n} of {total} parameters", n=f"{n:,}", total=f"{total:,}"))

    def _freeze_to(self, row: int) -> None:
        """Freeze the layers up to a row of the strip; a click on the topmost frozen one gives it back."""
        draft = self.store.draft
        if not _has_layers(draft.method["kind"]) or draft.model_info is None:
            return
        frozen = draft.method.get("layers", family("methods")[draft.method["kind"]].Config().layers)
        n_layers = draft.model_info.n_layers
        layers = "all" if row > n_layers else row - 1 if row == frozen and row else row
        self.store.set_method({**draft.method, "layers": n_layers if layers == "all" == frozen else layers})

    def _draw_part(self, part: str) -> None:
        if part == "model":
            self.show_model()
        elif part in ("method", "findings"):
            self._show_method()


def _has_layers(kind: str) -> bool:
    """Whether a method is told how many layers stay frozen, so that a click on a layer can say it."""
    return "layers" in family("methods")[kind].Config.model_fields


def _millions(n: int) -> str:
    return words.count(n) if n >= 1e6 else f"{n / 1e6:.2g}{words.THIN}M"


if __name__ == "__main__":
    from studio.ui.app import show_alone

    show_alone("model")
