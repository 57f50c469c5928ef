"""What is chosen of a look: one selection that every view shows and every view may change."""

from PySide6.QtCore import QObject, Signal

from studio.ui.views.look import AFTER, Look

HEADS, STATE, CELL, HOVER, SCALE = "heads", "state", "cell", "hover", "scale"
NONE = (-1, -1)
LIFTED = 0.4  # the exponent that makes small weights visible beside a sink


class Selection(QObject):
    """Heads, a state, a cell and how weights become colours. changed: the name of the part that is another now.

    heads: (layer, head) from 0, the leading one first; there is always one. state: before, after, difference or both.
    cell: the query and the key that are locked, -1 for none of them. hovered: those under the pointer. per_head: each
    head's colours end at its own largest weight. lifted: small weights are brightened. averaged: cells that share a
    pixel show their mean, else the strongest of them. Nothing outside of the look that it was last made to `fit`.
    """

    changed = Signal(str)

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.heads: tuple[tuple[int, int], ...] = ((0, 0),)
        self.state = AFTER
        self.cell = self.hovered = NONE
        self._look_sizes: tuple[tuple[int, int], tuple[int, int]] | None = None  # heads and cells; None for any
        self.per_head, self.lifted, self.averaged = True, False, False

    @property
    def head(self) -> tuple[int, int]:
        """The leading head."""
        return self.heads[0]

    @property
    def gamma(self) -> float:
        """The exponent of the colours."""
        return LIFTED if self.lifted else 1.0

    def choose_head(self, layer: int, head: int, add: bool = False) -> None:
        """Make a head the leading one, alone; or `add` it to the others, or take it away where it is one of them."""
        chosen = (layer, head)
        if not add:
            self.choose_heads((chosen,))
        elif chosen in self.heads:
            self.choose_heads(tuple(each for each in self.heads if each != chosen) or (chosen,))
        else:
            self.choose_heads((chosen, *self.heads))

    def choose_heads(self, heads: tuple[tuple[int, int], ...]) -> None:
        """Make these the chosen heads, the leading one first."""
        known = heads if self._look_sizes is None else [each for each in heads if _within(each, self._look_sizes[0])]
        self._set("heads", tuple(known) or ((0, 0),), HEADS)

    def show_state(self, state: str) -> None:
        """Show before, after, difference or both."""
        self._set("state", state, STATE)

    def lock(self, query: int, key: int = -1) -> None:
        """Lock a token that looks, and one that is looked at; -1 for none."""
        self._set("cell", self._known_cell(query, key), CELL)

    def hover(self, query: int, key: int) -> None:
        """Say which cell is under the pointer; -1 for none."""
        self._set("hovered", self._known_cell(query, key), HOVER)

    def scale(self, per_head: bool, lifted: bool, averaged: bool = False) -> None:
        """Choose how weights become colours."""
        if (per_head, lifted, averaged) != (self.per_head, self.lifted, self.averaged):
            self.per_head, self.lifted, self.averaged = per_head, lifted, averaged
            self.changed.emit(SCALE)

    def fit(self, look: Look) -> None:
        """Let go of what a look does not have, and from now on choose nothing outside of it.

        Until a view has the next look it shows the former one, and may be clicked.
        """
        self._look_sizes = look.shape, (len(look.query_tokens), len(look.key_tokens))
        if self.state not in look.states:
            self.show_state(AFTER if AFTER in look.states else look.states[0])
        self.choose_heads(self.heads)
        self.lock(*self.cell)
        self.hover(*self.hovered)

    def _known_cell(self, query: int, key: int) -> tuple[int, int]:
        is_known = self._look_sizes is None or _within((query, key), self._look_sizes[1])
        return (query, key) if is_known else NONE

    def _set(self, name: str, value: object, part: str) -> None:
        if getattr(self, name) != value:
            setattr(self, name, value)
            self.changed.emit(part)


def _within(place: tuple[int, int], sizes: tuple[int, int]) -> bool:
    return all(each < size for each, size in zip(place, sizes, strict=True))
