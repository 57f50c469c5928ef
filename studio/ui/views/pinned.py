"""A look that is kept beside another: two texts, or two models, head by head."""

from pathlib import Path

from PySide6.QtWidgets import QVBoxLayout, QWidget

from studio.ui import words
from studio.ui.i18n import tr
from studio.ui.theme import GRID
from studio.ui.views.answers import in_words
from studio.ui.views.base import View
from studio.ui.views.figures import writing
from studio.ui.views.files import FORMATS, Write
from studio.ui.views.look import AFTER, BOTH, DIFFERENCE, Look, caption
from studio.ui.views.selection import HEADS, SCALE, STATE, Selection
from studio.ui.widgets.buttons import quiet_button
from studio.ui.widgets.cards import Finding
from studio.ui.widgets.deep_matrix import DeepMatrix
from studio.ui.widgets.head_figure import WRITERS
from studio.ui.widgets.labels import Body, ElidedLabel, Small


class PinnedView(View):
    """The chosen head in a look that was kept, of whatever text and model; other looks come and go beside it."""

    id = "pinned"
    title = "Kept look"
    help = "Keep what you see, then look at another text or model beside it, head by head."
    order = 90
    takes_long = True

    def __init__(self, selection: Selection, parent: QWidget | None = None) -> None:
        super().__init__(selection, parent)
        self.pinned: Look | None = None
        self.keep = quiet_button(tr("Keep this look"), "pinned.keep")
        self.keep.setParent(self)
        self.keep.clicked.connect(self.pin)
        self.keep.hide()  # until it stands beside the view's name
        self.hint, self.text, self.said, self.warning = Body(), ElidedLabel(), Small(), Finding("bad")
        self.hint.setText(tr("Keep the look on screen here, then look at another text, or choose another model."))
        self.matrix = DeepMatrix()
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(GRID)
        for widget in (self.hint, self.text, self.said, self.warning):
            layout.addWidget(widget)
        layout.addWidget(self.matrix, 1)
        self._draw()

    def tools(self) -> list[QWidget]:
        return [self.keep]

    def pin(self) -> None:
        """Keep the look that all views show now."""
        self.pinned = self.look
        self._draw()

    def show_selection(self, part: str) -> None:
        if part in (HEADS, STATE, SCALE):
            self._draw()

    def _draw(self) -> None:
        look, (layer, head) = self.pinned, self.selection.head
        has_head = look is not None and layer < look.shape[0] and head < look.shape[1]
        self.matrix.setVisible(has_head)
        self.warning.setVisible(look is not None and not look.verified)
        self.hint.setVisible(look is None)
        for label in (self.text, self.said):
            label.setVisible(look is not None)
        if look is None:
            return
        self.text.setText(tr("“{text}”", text=look.text))
        self.said.setText(" · ".join([look.subject, *_answers(look)]))
        if not look.verified:
            self.warning.show_finding("bad", tr("These maps failed their check. Don't rely on them."))
        if not has_head:
            n_layers, n_heads = look.shape
            self.said.setText(tr("{n} × {m} heads: it has no such head.", n=n_layers, m=n_heads))
            return
        state = self._state(look)
        self.matrix.set_gamma(self.selection.gamma)
        self.matrix.set_mean(self.selection.averaged)
        self.matrix.set_per_head(self.selection.per_head)
        values, told = look.head(state, layer, head), caption(look, state, layer, head)
        self.matrix.set_matrix(values, look.query_tokens, look.key_tokens, told, state == DIFFERENCE)

    def _state(self, look: Look) -> str:
        """Return the chosen state, or where the kept look does not have it what comes nearest."""
        wanted = AFTER if self.selection.state == BOTH else self.selection.state
        return wanted if wanted in look.states else look.states[-1 if len(look.states) == 1 else 1]

    def meaning(self) -> str:
        is_own = self.selection.per_head or self.selection.state == DIFFERENCE
        return tr("Colours: this head's own scale") if is_own else tr("Colours: 0 to 1 for all heads")

    def formats(self) -> dict[str, str]:
        return {ending: FORMATS[ending] for ending in WRITERS} if self.pinned is not None else {}

    def export(self, ending: str, path: Path) -> Write:
        return writing(ending, {path: self.matrix.figure()})


def _answers(look: Look) -> list[str]:
    """Return what each state of a look says, in words."""
    found = []
    for state in look.maps:
        probabilities = look.probabilities.get(state) or {}
        best = max(probabilities, key=probabilities.get) if probabilities else ""
        told = in_words(look, look.said[state], tr) if state in look.said else ""
        said = f"{best} {words.percent(probabilities[best])}" if best else told
        if said:
            found.append(f"{tr(look.title(state))}: {said}" if len(look.maps) > 1 else said)
    return found


VIEW = PinnedView
