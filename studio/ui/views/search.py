"""Which heads look in a certain way: a named pattern, one group of tokens at another, or a pattern that is painted."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from PySide6.QtCore import QTimer, Signal
from PySide6.QtGui import QResizeEvent, QShowEvent
from PySide6.QtWidgets import (
    QBoxLayout,
    QComboBox,
    QHBoxLayout,
    QLineEdit,
    QVBoxLayout,
    QWidget,
)

from studio.attention import heads
from studio.ui import words
from studio.ui.i18n import tr
from studio.ui.theme import GRID, GROUP
from studio.ui.threads import background
from studio.ui.views.base import View
from studio.ui.views.look import AFTER, BEFORE, BOTH, DIFFERENCE, Look
from studio.ui.views.selection import HEADS, STATE, Selection
from studio.ui.widgets.buttons import flat_button, icon_button
from studio.ui.widgets.labels import Small, set_tone
from studio.ui.widgets.pattern_painter import PatternPainter
from studio.ui.widgets.ranking import HeadRanking

UNIFORM, BLOCK, PAINTED = "uniform", "block", "painted"
PATTERNS = {
    "previous": ("Previous token", "on the token before"),
    "next": ("Next token", "on the token after"),
    "self": ("Itself", "on the token itself"),
    "first": ("First token", "on the first token"),
    "special": ("Special tokens", "on special tokens such as [SEP], without the first token"),
    "same token": ("Same token", "on the same token elsewhere"),
    "induction": ("Induction", "on the token that came after the same token earlier"),
    "local": ("Nearby", "on tokens at most 3 away"),
    UNIFORM: ("Even look", ""),
    BLOCK: ("One group at another…", "from one group on the other"),
    PAINTED: ("Painted pattern", "on the painted cells"),
}
SHADES = {"Strong": 1.0, "Half": 0.5, "Faint": 0.2, "Erase": 0.0}
GROUP_TIP = "Tokens by their numbers, such as 2-5, 8"
MOST_TOKENS = 4096  # a pattern of more would not fit beside the maps
STROKE_MS = 150  # so long after the last stroke the search begins
SIDE_BY_SIDE = 430  # pixels


@dataclass(frozen=True, eq=False)
class Found:
    """What a search found: `scores` [layer, head], of a difference after - before; `even`: what an even look would
    give [layer]; `n_rows`: over so many rows."""

    scores: np.ndarray
    even: np.ndarray
    n_rows: int


class Superseded(Exception):
    """A newer search has begun."""


def find(look: Look, state: str, pattern: np.ndarray | None, tell: Callable[[int, int], None]) -> Found:
    """Return how much each head looks in a pattern, or without one how evenly it looks."""
    states = (BEFORE, AFTER) if state == DIFFERENCE else (state,)
    n_heads = look.shape[0] * look.shape[1] * len(states)
    scores = []
    for place, name in enumerate(states):

        def told(done: int, n: int, place: int = place) -> None:
            tell(done + place * n, n_heads)

        maps = look.maps[name]
        scores.append(heads.uniformity(maps, told) if pattern is None else heads.search(maps, pattern, told))
    found = scores[0] if len(scores) == 1 else scores[1] - scores[0]
    if pattern is None:
        return Found(found, np.ones(look.shape[0]), len(look.tokens))
    even, n_rows = heads.even(look.maps[states[-1]], pattern)
    return Found(found, even, int(n_rows.max(initial=0)))


def tokens_of(text: str, n_tokens: int) -> list[int]:
    """Return the tokens that a text like `2-5, 8` names, from 0. Raises ValueError where it makes no sense."""
    chosen: list[int] = []
    for part in text.replace("–", "-").split(","):
        first, _, last = part.partition("-")
        chosen += range(int(first) - 1, int(last or first))
    if not chosen or min(chosen) < 0 or max(chosen) >= n_tokens:
        raise ValueError(text)
    return sorted(set(chosen))


class SearchView(View):
    """A pattern to choose or to paint, and the heads that look so, the strongest first."""

    id = "search"
    title = "Search"
    help = (
        "Choose or paint a pattern of looking (row = query = the token that looks, column = key = the token looked "
        "at): the heads that look so come first."
    )
    order = 50
    takes_all_kinds = True

    _told = Signal(int, int, int)

    def __init__(self, selection: Selection, parent: QWidget | None = None) -> None:
        super().__init__(selection, parent)
        self.found: Found | None = None
        self._ticket = 0
        self._patterns: dict[str, np.ndarray] | None = None  # of the look; None until they are found
        self._painted_on: list[str] = []  # the tokens of the grid
        self._kept: dict[str, Any] = {}  # what a saved inspection has, until the grid has the tokens of its look
        self._told.connect(self._show_progress)
        self._timer = QTimer(self, singleShot=True, interval=STROKE_MS)
        self._timer.timeout.connect(self.search)
        self.choice = QComboBox()
        self.choice.setObjectName("search.pattern")
        self.choice.setAccessibleName(tr("Pattern to search for"))
        for name, (title, _) in PATTERNS.items():
            self.choice.addItem(tr(title), name)
        self.choice.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.choice.setMinimumContentsLength(12)
        self.choice.activated.connect(lambda _: self._choose())
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(GRID)
        column.addWidget(self._make_groups())
        self._row = QBoxLayout(QBoxLayout.Direction.LeftToRight)
        self._row.setSpacing(GROUP)
        self.painter = PatternPainter()
        self.painter.painted.connect(self._take_painted)
        self._row.addWidget(self.painter, 1)
        self.ranking = HeadRanking()
        self.ranking.head_chosen.connect(selection.choose_head)
        self._row.addWidget(self.ranking, 1)
        column.addLayout(self._row, 1)
        self._brushes = self._make_brushes()
        self.said = Small()
        column.addWidget(self.said)

    # --- making ------------------------------------------------------------------------------------------------

    def tools(self) -> list[QWidget]:
        return [self.choice, *self._brushes]

    def _make_groups(self) -> QWidget:
        self.groups = QWidget()
        row = QHBoxLayout(self.groups)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(GRID)
        self.looking, self.looked_at = QLineEdit(), QLineEdit()
        swap = flat_button(tr("Swap"), "search.swap")
        swap.clicked.connect(self._swap)
        for field, name in ((self.looking, tr("Tokens")), (self.looked_at, tr("look at"))):
            label = Small(name)
            label.setWordWrap(False)
            field.setAccessibleName(name)
            field.setToolTip(tr(GROUP_TIP))
            field.textEdited.connect(lambda _: self._choose())
            row.addWidget(label)
            row.addWidget(field, 1)
        row.addWidget(swap)
        self.groups.hide()
        return self.groups

    def _make_brushes(self) -> list[QWidget]:
        self.shade = QComboBox()
        self.shade.setAccessibleName(tr("Shade to paint with"))
        self.shade.setToolTip(tr("Paint on the grid with this shade; the right button erases"))
        for name, shade in SHADES.items():
            self.shade.addItem(tr(name), shade)
        self.shade.activated.connect(lambda _: setattr(self.painter, "shade", self.shade.currentData()))
        clear = icon_button("trash", tr("Clear the grid"), "search.clear")
        clear.clicked.connect(self.painter.clear)
        invert = icon_button("invert", tr("Invert the grid"), "search.invert")
        invert.clicked.connect(self.painter.invert)
        return [self.shade, clear, invert]

    # --- what is searched --------------------------------------------------------------------------------------

    def why_not(self, look: Look) -> str:
        n_tokens = len(look.tokens)
        if look.is_cross:
            return tr("A pattern is of one text with itself; in cross attention one text looks at another.")
        if n_tokens <= MOST_TOKENS:
            return ""
        return tr("Search takes {most} tokens at most; this text has {n}.", most=MOST_TOKENS, n=words.count(n_tokens))

    def show_look(self, look: Look) -> None:
        super().show_look(look)
        self.found = self._patterns = None
        self._kept = {}
        self._ticket += 1
        if self.isVisible():
            self._prepare()

    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        if self.look is not None and self.found is None:
            self._prepare()

    def _prepare(self) -> None:
        """Find the patterns of the text; nothing is searched while nobody looks."""
        look = self.look

        def prepare() -> tuple[dict[str, np.ndarray], np.ndarray]:
            ids = look.ids or np.unique(look.tokens, return_inverse=True)[1].tolist()
            return heads.patterns(ids, look.special), heads.seen_by_any(next(iter(look.maps.values())))

        background(prepare, lambda known: self._begin(look, *known), self.failed.emit, self, key="prepare")

    def _begin(self, look: Look, patterns: dict[str, np.ndarray], allowed: np.ndarray) -> None:
        if look is not self.look:
            return
        self._patterns = patterns
        if look.tokens != self._painted_on:  # else what was painted stays
            self._painted_on = look.tokens
            self.painter.set_tokens(look.tokens, allowed)
            self._offer_groups(look)
        self._restore() if self._kept else self._choose()

    def show_selection(self, part: str) -> None:
        if part == HEADS:
            self.ranking.select(*self.selection.head)
        elif part == STATE:
            self.search()

    def pattern_name(self) -> str:
        """Return which pattern is searched for."""
        return self.choice.currentData()

    def choose(self, name: str) -> None:
        """Search for a pattern by its name, a key of PATTERNS."""
        self.choice.setCurrentIndex(self.choice.findData(name))
        self._choose()

    def _offer_groups(self, look: Look) -> None:
        """Begin with the two texts of a pair, else with the two halves."""
        n_tokens, sides = len(look.tokens), look.segments
        first, second = ([i + 1 for i, side in enumerate(sides) if side == which] for which in (0, 1))
        if not second:
            middle = max(n_tokens // 2, 1)
            first, second = range(1, middle + 1), range(min(middle + 1, n_tokens), n_tokens + 1)
        self.looking.setText(f"{first[0]}-{first[-1]}")
        self.looked_at.setText(f"{second[0]}-{second[-1]}")

    def _swap(self) -> None:
        former = self.looking.text()
        self.looking.setText(self.looked_at.text())
        self.looked_at.setText(former)
        self._choose()

    def _choose(self) -> None:
        """Draw the chosen pattern on the grid, where it can be painted on, and search."""
        name = self.pattern_name()
        self.groups.setVisible(name == BLOCK)
        self.painter.setVisible(self._is_wide() or name == PAINTED)
        for widget in (self.painter, *self._brushes):
            widget.setEnabled(name != UNIFORM)
        if self._patterns is None:
            return
        if name not in (PAINTED, UNIFORM):
            self.painter.set_pattern(self._pattern())
        self.search()

    def _take_painted(self) -> None:
        self.choice.setCurrentIndex(self.choice.findData(PAINTED))
        self.groups.hide()
        self._timer.start()

    def _pattern(self) -> np.ndarray:
        """Return the pattern [query, key]; an empty one where the text has none, or the groups make no sense."""
        n_tokens, name = len(self.look.tokens), self.pattern_name()
        if name == PAINTED:
            return self.painter.pattern()
        if name == BLOCK:
            return heads.block(n_tokens, self._group(self.looking), self._group(self.looked_at))
        return self._patterns.get(name, np.zeros((n_tokens, n_tokens), dtype=bool))

    def _group(self, field: QLineEdit) -> list[int]:
        try:
            group = tokens_of(field.text(), len(self.look.tokens))
        except ValueError:
            group = []
        set_tone(field, "" if group else "bad")
        field.setToolTip(" ".join(self.look.tokens[i] for i in group) or tr(GROUP_TIP))
        return group

    # --- searching ---------------------------------------------------------------------------------------------

    def search(self) -> None:
        """Search for the pattern in the state that is shown; a newer search ends an older one."""
        self._ticket += 1
        self.found = None
        if self._patterns is None or not self.isVisible():
            return
        look, ticket = self.look, self._ticket
        state = AFTER if self.selection.state == BOTH else self.selection.state
        pattern = None if self.pattern_name() == UNIFORM else self._pattern()

        def tell(done: int, n: int) -> None:
            if ticket != self._ticket:
                raise Superseded
            self._told.emit(ticket, done, n)

        def work() -> Found | None:
            try:
                return find(look, state, pattern, tell)
            except Superseded:
                return None

        def take(found: Found | None) -> None:
            if found is not None and ticket == self._ticket and look is self.look:
                self._show_found(found)

        background(work, take, self.failed.emit, self, key="search")

    def _show_progress(self, ticket: int, done: int, n: int) -> None:
        if ticket == self._ticket and self.found is None:
            self.said.setText(tr("Searching… {done} of {n} heads", done=done, n=n))

    def _show_found(self, found: Found) -> None:
        self.found = found
        self._ticket += 1  # what is still on its way of the progress came too late
        difference = self.selection.state == DIFFERENCE
        strength = np.abs(found.scores)
        order = np.argsort(-strength.ravel(), kind="stable") if found.n_rows else []
        even = None if difference or self.pattern_name() == UNIFORM else float(found.even.mean())
        self.ranking.set_ranking(order, found.scores, self.look.shape[1], None if difference else 1.0, even)
        self.ranking.select(*self.selection.head)
        self.said.setText(self._explained(found, difference))
        if found.n_rows:
            title = tr("Search: {pattern}", pattern=tr(PATTERNS[self.pattern_name()][0]).rstrip("…").lower())
            self.measured.emit(self.id, title, strength if difference else found.scores, False)

    def _explained(self, found: Found, difference: bool) -> str:
        """Return in words what the score means, and what an even look would score."""
        name, n_tokens = self.pattern_name(), len(self.look.tokens)
        if not found.n_rows:
            nothing = tr("Nothing to search for: no token of this text can look so.")
            return tr("Paint some cells: the heads that look there come first.") if name == PAINTED else nothing
        if name == UNIFORM:
            said = tr("Score: how evenly a head looks at what it looks at; 1 is an even look, 0 a single token.")
        else:
            said = tr(
                "Score: the share of its weight that a head puts {where}, averaged over the {n} of {all} tokens that "
                "can; 0 to 1. An even look would give {even}: heads near that mark are no find.",
                where=tr(PATTERNS[name][1]), n=found.n_rows, all=n_tokens, even=_range(found.even),
            )  # fmt: skip
        parts = [said]
        if difference:
            parts.insert(0, tr("How the score changed, after − before, the largest change first."))
        if found.n_rows <= 2 and name != UNIFORM:
            parts.append(tr("Few tokens stand behind it."))
        if name == PAINTED and self.painter.n_tokens_a_cell() > 1:
            parts.append(tr("A painted cell stands for {n} tokens.", n=self.painter.n_tokens_a_cell()))
        return " ".join(parts)

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        wide = self._is_wide()
        self._row.setDirection(QBoxLayout.Direction.LeftToRight if wide else QBoxLayout.Direction.TopToBottom)
        self.painter.setVisible(wide or self.pattern_name() == PAINTED)

    def _is_wide(self) -> bool:
        """Return whether grid and ranking stand side by side; else a grid that is not painted on only takes room."""
        return self.width() >= SIDE_BY_SIDE

    # --- saving ------------------------------------------------------------------------------------------------

    def options(self) -> dict[str, Any]:
        if self._kept:
            return self._kept
        kept = {"pattern": self.pattern_name(), "looking": self.looking.text(), "looked_at": self.looked_at.text()}
        return kept | ({"painted": self.painter.cells()} if self.pattern_name() == PAINTED else {})

    def set_options(self, options: dict[str, Any]) -> None:
        cells = [(int(query), int(key), float(shade)) for query, key, shade in options.get("painted") or []]
        self._kept = {**options, "painted": cells}
        if self._patterns is not None:
            self._restore()

    def _restore(self) -> None:
        """Set the controls as they were kept, and search."""
        kept, self._kept = self._kept, {}
        for field, name in ((self.looking, "looking"), (self.looked_at, "looked_at")):
            field.setText(str(kept.get(name, field.text())))
        if kept["painted"]:
            self.painter.set_cells(kept["painted"])
        self.choose(kept["pattern"] if kept.get("pattern") in PATTERNS else self.pattern_name())


def _range(even: np.ndarray) -> str:
    """Return the score of an even look, or of several layers with other windows the least and the most."""
    low, high = (f"{value:.2g}" for value in (even.min(), even.max()))
    return low if low == high else tr("{low} to {high}", low=low, high=high)


VIEW = SearchView
