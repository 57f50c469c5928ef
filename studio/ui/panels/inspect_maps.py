"""The maps of one look: the strip of tokens, all heads, one head large, held together."""

from pathlib import Path

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QHBoxLayout, QVBoxLayout, QWidget

from studio.ui.i18n import tr
from studio.ui.notices import Notice
from studio.ui.panels.inspect_heads import HeadsCard
from studio.ui.panels.inspect_look import AFTER, BOTH, DIFFERENCE, Look, Statistics, measure, without_special
from studio.ui.panels.inspect_stage import HeadStage
from studio.ui.panels.inspect_strip import Prediction, StripArea, TokenStrip
from studio.ui.store import Store
from studio.ui.theme import GROUP
from studio.ui.threads import background
from studio.ui.widgets.cards import Card
from studio.ui.widgets.labels import ElidedLabel


class MapsView(QWidget):
    """Shows a look; state, head, order and filter stay from one look to the next. shown: its maps are on screen."""

    shown = Signal()

    def __init__(self, store: Store, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._store = store
        self._look: Look | None = None  # as the worker answered
        self._shown: Look | None = None  # the same, perhaps without its special tokens
        self._statistics = Statistics()
        self._state, self._head = AFTER, (0, 0)
        self._has_chosen = False  # until the person chooses a head, the one that changed most is shown
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(GROUP)
        layout.addWidget(self._make_strip())
        row = QHBoxLayout()
        row.setSpacing(GROUP)
        self.heads, self.head = HeadsCard(), HeadStage()
        self.heads.head_chosen.connect(self.choose_head)
        self.head.state_chosen.connect(self.show_state)
        self.head.filter_chosen.connect(self._filter)
        self.head.scale_chosen.connect(self._scale)
        self.head.cell_hovered.connect(self._hover)
        self.head.failed.connect(self._store.fail)
        self.head.saved.connect(self._say_saved)
        self._scale(True, 1.0)
        row.addWidget(self.heads, 4)
        row.addWidget(self.head, 7)
        layout.addLayout(row, 1)

    def _make_strip(self) -> QWidget:
        card = Card()
        self.prediction, self.strip = Prediction(), TokenStrip()
        self.strip.locked.connect(lambda _: self._tint())
        self.strip_note = ElidedLabel()
        self.strip_note.setProperty("level", "small")
        self.strip_note.setFixedWidth(self.prediction.width())
        self.strip.setToolTip(tr("Click a token to see where it looks"))
        area = StripArea(self.strip)
        left = QVBoxLayout()
        left.setSpacing(4)
        left.addWidget(self.prediction)
        left.addWidget(self.strip_note)
        left.addStretch(1)
        row = QHBoxLayout()
        row.setSpacing(GROUP)
        row.addLayout(left)
        row.addWidget(area, 1, Qt.AlignmentFlag.AlignTop)
        card.body.addLayout(row)
        return card

    def forget(self) -> None:
        """Forget the look and which head was chosen: another model comes."""
        self._look = self._shown = None
        self._has_chosen = False
        self._state = AFTER

    def show_look(self, look: Look) -> None:
        """Show what a model saw in a text."""
        self._look = look
        n_layers, n_heads = look.shape
        if self._head[0] >= n_layers or self._head[1] >= n_heads:
            self._head = (0, 0)
        if self._state not in look.states:
            self._state = AFTER if AFTER in look.states else look.states[0]
        self.prediction.show_probabilities(look.probabilities)
        self._filter(self.head.no_special.isChecked())

    def _filter(self, leave_out: bool) -> None:
        look = self._look
        if look is not None:
            cut = without_special if leave_out else (lambda whole: whole)
            background(lambda: cut(look), self._show_maps, self._store.fail, self, key="maps")

    def _show_maps(self, shown: Look) -> None:
        self._shown, self._statistics = shown, Statistics()
        self.strip.set_tokens(shown.tokens, shown.word_ids)
        self._draw()
        self.shown.emit()

        def take(statistics: Statistics) -> None:
            if shown is self._shown:
                self._show_statistics(statistics)

        background(lambda: measure(shown), take, self._store.fail, self, key="measure")

    def _show_statistics(self, statistics: Statistics) -> None:
        self._statistics = statistics
        if not self._has_chosen:
            leading = statistics.order("change" if statistics.change is not None else "entropy", self._state)
            self._head = divmod(int(leading[0]), self._shown.shape[1])
        self._draw()

    def _draw(self) -> None:
        shown = self._shown
        self.heads.show_look(shown, self._state, self._statistics)
        self.heads.select(*self._head)
        self.head.show_head(shown, self._state, *self._head)
        self.head.show_statistics(self._statistics)
        self._tint()

    def choose_head(self, layer: int, head: int) -> None:
        """Show a head large; layer and head from 0."""
        self._has_chosen = True
        if self._shown is not None and (layer, head) != self._head:
            self._head = (layer, head)
            self.heads.select(layer, head)
            self.head.show_head(self._shown, self._state, layer, head)
            self.head.show_statistics(self._statistics)
            self._tint()

    def show_state(self, state: str) -> None:
        """Show before, after, their difference, or both side by side."""
        self._state = state
        if self._shown is not None:
            self._draw()

    def _tint(self) -> None:
        """Tint the tokens by how much they are looked at: by the locked token, else by all."""
        locked = self.strip.locked_token()
        if self._shown is None:
            return
        values = self._shown.matrix(self._state if self._state != BOTH else AFTER, *self._head)
        self.strip.set_weights(values[locked] if locked >= 0 else values.mean(axis=0), self._state == DIFFERENCE)
        self.strip.mark(-1, -1)
        if locked >= 0:
            note = tr("Tint: where “{token}” looks", token=self._shown.tokens[locked])
        elif self._state == DIFFERENCE:
            note = tr("Tint: looked at more or less")
        else:
            note = tr("Tint: what this head looks at")
        self.strip_note.setText(note)

    def _hover(self, query: int, key: int) -> None:
        if query < 0 or self._shown is None:
            self._tint()
            return
        values = self._shown.matrix(self._state if self._state != BOTH else AFTER, *self._head)
        self.strip.set_weights(values[query], self._state == DIFFERENCE)
        self.strip.mark(query, key)

    def _scale(self, per_head: bool, gamma: float) -> None:
        self.heads.grid.set_per_head(per_head)
        self.heads.grid.set_gamma(gamma)

    def _say_saved(self, paths: list[Path]) -> None:
        names = ", ".join(path.name for path in paths)
        self._store.notice.emit(Notice(tr("Saved {names}.", names=names), str(paths[0].parent), "good"))
