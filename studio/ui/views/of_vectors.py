"""What views of a head's vectors share: they are asked for once per head, and believed only where they fit the map."""

import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PySide6.QtGui import QShowEvent
from PySide6.QtWidgets import QWidget

from studio.attention.vectors import HeadVectors, load_vectors
from studio.core.events import Studied
from studio.core.reasons import Problem
from studio.ui.i18n import tr
from studio.ui.notices import message_of
from studio.ui.threads import background
from studio.ui.views.base import View
from studio.ui.views.look import AFTER, BEFORE, Look
from studio.ui.views.selection import HEADS, Selection

BOUND = 1e-5  # of weights from vectors against the map on screen
Head = tuple[int, int]


class VectorView(View):
    """A view that knows the vectors of the leading head, once the worker has told them; `show_vectors` draws."""

    def __init__(self, selection: Selection, parent: QWidget | None = None) -> None:
        super().__init__(selection, parent)
        self._known: dict[Head, Mapping[str, HeadVectors]] = {}
        self._refused: dict[Head, str] = {}
        self._pending: Head | None = None  # whose vectors were asked for last: only the newest question is answered

    def show_vectors(self) -> None:
        """Draw what is known of the leading head, and say what is not."""
        raise NotImplementedError

    def vectors(self) -> HeadVectors | None:
        """Return the vectors of the leading head in the state that is shown, None while they are not known."""
        return self._known.get(self.selection.head, {}).get(self.state())

    def state(self) -> str:
        """Return the state whose vectors are shown: of two, after."""
        states = [*self.look.maps]
        wanted = self.selection.state
        return wanted if wanted in states else AFTER if AFTER in states else states[0]

    def state_words(self) -> str:
        """Return which state is shown, where the selection means another or more than one."""
        if len(self.look.maps) < 2:
            return ""
        state = self.state()
        return tr(self.look.title(state)) if self.look.names else {BEFORE: tr("before"), AFTER: tr("after")}[state]

    def waiting(self) -> str:
        """Return why there are no vectors yet; empty where there are."""
        head = self.selection.head
        if self.vectors() is not None:
            return ""
        return self._refused.get(head) or tr("Asking the model for the vectors of this head…")

    def places(self) -> np.ndarray:
        """Return where the tokens on screen stand among those that the model read."""
        return self.vectors().kept(self.look.without_special)

    def show_look(self, look: Look) -> None:
        if self.look is None or look.key != self.look.key or not self._fit(look):
            self._forget()
        super().show_look(look)
        self._want()
        self.show_vectors()

    def show_selection(self, part: str) -> None:
        if self.look is None:
            return
        if part == HEADS:
            self._want()
        self.show_vectors()

    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        self._want()
        if self.look is not None:
            self.show_vectors()

    def take(self, answer: Studied) -> None:
        asked, self._pending = self._pending, None
        if answer.reason:
            if asked is not None:
                self._refused[asked] = message_of(Problem(answer.reason, answer.facts))
            self.show_vectors()
            return
        look, head = self.look, (int(answer.result["layer"]), int(answer.result["head"]))
        folder, states = Path(answer.directory or ""), list(answer.result["states"])

        def read() -> dict[str, HeadVectors]:
            return {state: load_vectors(folder / f"{_plain(state)}.npz") for state in states}

        def show(found: dict[str, HeadVectors]) -> None:
            if look is not self.look or not set(look.maps) <= set(found):
                return
            why = self._misfit(found, head)
            if why:
                self._refused[head] = why
            else:
                self._known[head] = found
            self.show_vectors()

        background(read, show, self.failed.emit, self, key="vectors")

    def _want(self) -> None:
        """Ask for the vectors of the leading head, once, and only while someone looks."""
        head = self.selection.head
        known = head in self._known or head in self._refused or head == self._pending
        if self.look is None or not self.isVisible() or known:
            return
        self._pending = head
        self.asked.emit("vectors", {"layer": head[0], "head": head[1]})

    def _forget(self) -> None:
        self._known, self._refused, self._pending = {}, {}, None

    def _fit(self, look: Look) -> bool:
        """Return whether what is known belongs to a look: the same text with or without its special tokens."""
        same = [vectors for states in self._known.values() for vectors in states.values()]
        return all(np.array_equal(v.ids[v.kept(look.without_special)], look.ids) for v in same)

    def _misfit(self, found: Mapping[str, HeadVectors], head: Head) -> str:
        """Return why vectors can't be believed beside the maps on screen; empty where they fit."""
        look, worst = self.look, 0.0
        for state in look.maps:
            vectors = found[state]
            places = vectors.kept(look.without_special)
            if not np.array_equal(vectors.ids[places], look.ids):
                return tr("These vectors are of another text.")
            sample = np.unique(np.linspace(0, len(places) - 1, 16).astype(int))
            for row in sample:
                weights = vectors.row(int(places[row])).weights[places]
                if look.without_special:
                    weights = weights / weights.sum() if weights.sum() > 0 else weights
                error = np.abs(weights - look.maps[state][*head, int(row)]).max()
                worst = float(np.maximum(worst, error))
        bound = 1e-3 if any(checks.get("bits") == 16 for checks in look.checks.values()) else BOUND
        if not worst <= bound:
            return tr("The weights of these vectors differ from the map by {error}.", error=f"{worst:.0e}")
        return ""


def _plain(name: str) -> str:
    """Return a state's name as part of a path, whatever a log says."""
    return re.sub(r"[^a-z]", "", name)
