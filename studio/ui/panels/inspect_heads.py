"""All heads at a glance: the grid in a chosen order, and the ranking beside it."""

from collections.abc import Sequence

import numpy as np
from PySide6.QtCore import QSize, Qt, Signal
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QApplication, QFrame, QScrollArea, QWidget

from studio.ui.i18n import tr
from studio.ui.theme import GROUP
from studio.ui.threads import background
from studio.ui.views.look import AFTER, BEFORE, BOTH, DIFFERENCE, Look, Statistics, difference_thumbnails
from studio.ui.widgets.buttons import icon_button
from studio.ui.widgets.cards import Card
from studio.ui.widgets.choice import Choice
from studio.ui.widgets.heads import MOST_CELL, HeadGrid
from studio.ui.widgets.labels import Small, Strong
from studio.ui.widgets.ranking import LINE, HeadRanking

ORDERS = {
    "index": "By layer",
    "change": "By change",
    "entropy": "By entropy",
    "max": "By largest weight",
    "distance": "By distance",
    "sink": "By first token",
    "previous": "By previous token",
    "self": "By itself",
}
_RANKINGS = {
    "change": ("Changed most by the training", "Jensen–Shannon divergence, 0 to 0.693"),
    "entropy": ("Look most sharply", "Entropy of the rows in nats: 0 is one token"),
    "max": ("Largest weights", "The largest weight of a row, on average"),
    "distance": ("Look nearest", "How many tokens away the rows look, on average"),
    "sink": ("Look at the first token", "Weight on the first token, on average"),
    "previous": ("Look at the token before", "Weight on the token before, on average"),
    "self": ("Look at themselves", "Weight of the tokens on themselves, on average"),
}
ORDER_LETTERS = 20
NAMES = (34, 40)  # what the grid's own words take at its left and its top
BESIDES, RANKED_LINES, LEAST_GRID = 132, 3, 96  # what the card holds besides grid and ranking, in pixels
LOW = 400  # the height of a card in which the grid needs the ranking's room


class HeadsCard(Card):
    """The grid of all heads, how it is ordered, and which heads lead.

    head_chosen: layer and head, from 0, and whether they are to join those that are chosen (Ctrl or Shift).
    """

    head_chosen = Signal(int, int, bool)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(tr("Heads"), parent)
        self._look: Look | None = None
        self._statistics = Statistics()
        self._state = "after"
        self._heads: tuple[tuple[int, int], ...] = ((0, 0),)
        self.order = Choice()
        self.order.setObjectName("inspect.order")
        self.order.setSizeAdjustPolicy(self.order.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.order.setMinimumContentsLength(ORDER_LETTERS)  # a long order must not make the card wider
        self.order.setAccessibleName(tr("Order of the heads"))
        for key, title in ORDERS.items():
            self.order.addItem(tr(title), key)
        self.order.currentIndexChanged.connect(self._arrange)
        self.add_to_header(self.order)
        self.fold = icon_button("panel", tr("Fold the heads away, for more room (Ctrl+B)"), "inspect.fold")
        self.add_to_header(self.fold)
        self.grid = HeadGrid()
        self.grid.setObjectName("scrolled")
        self.grid.setWhatsThis(
            tr(
                "Every small picture is one head: its rows are the tokens that look, its columns those looked at. A "
                "click or the arrow keys show it large; with Ctrl or Shift several heads are chosen."
            )
        )
        self.grid.head_chosen.connect(self._choose)
        self.area = QScrollArea()  # of many layers in a low window not all are seen at once
        self.area.setFrameShape(QFrame.Shape.NoFrame)
        self.area.setWidgetResizable(True)
        self.area.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.area.setWidget(self.grid)
        self.add(self.area)
        self._ranking_title = Strong()
        self.add(self._ranking_title)
        self.ranking = HeadRanking()
        self.ranking.head_chosen.connect(self._choose)
        self.add(self.ranking, 1)
        self._note = Small()
        self.add(self._note)

    def minimumSizeHint(self) -> QSize:
        # Not what the grid has now: it takes what the window gives, and must not keep it from shrinking.
        return QSize(super().minimumSizeHint().width(), BESIDES + 2 * LINE + LEAST_GRID)

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._fit()

    def _fit(self) -> None:
        """Make the grid as high as its width asks for, and leave some lines to the ranking."""
        if self._look is None:
            return
        n_layers, n_heads = self._look.shape
        cell = min((self.width() - 2 * GROUP - NAMES[0]) / n_heads, MOST_CELL)
        room = self.height() - BESIDES - (RANKED_LINES if self.height() >= LOW else 1) * LINE
        self.area.setFixedHeight(max(LEAST_GRID, min(room, round(NAMES[1] + n_layers * cell))))

    def show_look(self, look: Look, state: str, statistics: Statistics) -> None:
        """Show the heads of a look in a state; statistics may still be empty and come with a later call."""
        is_new = (look, state) != (self._look, self._state)
        if self._look is None or self._look.shape != look.shape:
            self.grid.wait(look.shape)  # of differences the pictures come later than the numbers
        self._look, self._state, self._statistics = look, state, statistics
        self._fit()
        if look.is_deep:
            self._show_long(look, state, statistics)
        elif is_new and state == DIFFERENCE:
            # Of a long text it takes longer than a frame.
            background(
                lambda: difference_thumbnails(look), lambda found: self._show_difference(look, found), self._fail, self,
                key="heads",
            )  # fmt: skip
        elif is_new:
            self.grid.set_maps(look.maps[AFTER if state == BOTH else state])
        self._offer_orders()
        self._arrange()

    def select(self, heads: Sequence[tuple[int, int]]) -> None:
        """Show which heads are chosen, the leading one first."""
        self._heads = tuple(heads)
        self.grid.select(*heads[0], others=heads[1:])
        self._bring_into_sight()
        self.ranking.select(*heads[0])

    def step(self, by: int) -> None:
        """Choose the head so many places further, in the order of the grid."""
        if self._look is not None:
            self.head_chosen.emit(*self.grid.beside(by), False)

    def _bring_into_sight(self) -> None:
        layer, head = self._heads[0]
        if self._look is not None and layer < self._look.shape[0] and head < self._look.shape[1]:
            place = self.grid.head_rect(layer, head).center()
            self.area.ensureVisible(int(place.x()), int(place.y()), 12, 12)

    def _choose(self, layer: int, head: int) -> None:
        held = QApplication.keyboardModifiers()
        joins = bool(held & (Qt.KeyboardModifier.ControlModifier | Qt.KeyboardModifier.ShiftModifier))
        self.head_chosen.emit(layer, head, joins)

    def order_name(self) -> str:
        """Return how the heads are ordered: index, entropy or change."""
        return self.order.currentData()

    def order_by(self, name: str) -> None:
        """Order the heads by index, entropy, change or a measure; what is not known is left alone."""
        row = self.order.findData(name)
        if row >= 0:
            self.order.setCurrentIndex(row)

    def ranking_title(self) -> str:
        """Return what the ranking is by."""
        return self._ranking_title.text()

    def _show_long(self, look: Look, state: str, statistics: Statistics) -> None:
        """Show what was found of a long text's heads, which takes a while; until then that they are measured."""
        pictures = statistics.thumbnails
        if state == DIFFERENCE and pictures:
            self.grid.set_maps(pictures[AFTER] - pictures[BEFORE], difference=True)
        elif pictures:
            self.grid.set_maps(pictures[AFTER if state == BOTH else state])
        else:
            self.grid.wait(look.shape)

    def _show_difference(self, look: Look, thumbnails: np.ndarray) -> None:
        if look is self._look and self._state == DIFFERENCE:
            self.grid.set_maps(thumbnails, difference=True)

    def _fail(self, error: Exception) -> None:
        raise error  # it would be a fault of ours

    def _offer_orders(self) -> None:
        """A model in one state has no change; what is being measured can't be chosen yet."""
        for name, found in self._statistics.measured.items():
            title = tr("By {name}", name=found.title[:1].lower() + found.title[1:])
            if self.order.findData(name) < 0:
                self.order.addItem(title, name)
            self.order.setItemText(self.order.findData(name), title)
        for row in range(self.order.count()):
            name = self.order.itemData(row)
            known = name == "index" or self._statistics.values(name, self._state) is not None
            self.order.model().item(row).setEnabled(known)
        if not self.order.model().item(self.order.currentIndex()).isEnabled() and self._statistics.by_state:
            self.order.setCurrentIndex(0)

    def _arrange(self) -> None:
        if self._look is None:
            return
        name = self.order_name()
        self.order.setToolTip(self.order.currentText())
        self.grid.set_order(self._statistics.order(name, self._state))
        measured = self._statistics.measured
        known = name in _RANKINGS or name in measured
        ranked = name if known else "change" if self._statistics.change is not None else "entropy"
        values = self._statistics.values(ranked, self._state)
        title, note = _RANKINGS[ranked] if ranked in _RANKINGS else (measured[ranked].title, "")
        # Two models that were trained apart did not change from one to the other.
        self._ranking_title.setText(tr("Differ most") if ranked == "change" and self._look.names else tr(title))
        self._note.setText(tr(note) if values is not None else tr("Measuring the heads…"))
        self._note.setVisible(bool(self._note.text()))
        order = self._statistics.order(ranked, self._state)
        self.ranking.set_ranking([] if order is None else order, values, self._look.shape[1])
        self.select(self._heads)
