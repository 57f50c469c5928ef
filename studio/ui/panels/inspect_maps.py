"""The maps of one look: the strip of tokens, all heads, and the views of those that are chosen, held together."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QKeySequence, QResizeEvent, QShortcut
from PySide6.QtWidgets import QHBoxLayout, QInputDialog, QVBoxLayout, QWidget

from studio.core.events import Studied
from studio.ui.i18n import tr
from studio.ui.notices import Notice
from studio.ui.panels.inspect_heads import HeadsCard
from studio.ui.panels.inspect_rail import HeadsRail
from studio.ui.panels.inspect_stage import HeadStage
from studio.ui.panels.inspect_strip import MOST_LINES, Prediction, StripArea, TokenStrip
from studio.ui.store import Store
from studio.ui.theme import GROUP
from studio.ui.threads import background
from studio.ui.views.look import AFTER, BOTH, DIFFERENCE, Look, Measured, Statistics, measure
from studio.ui.views.selection import CELL, HEADS, HOVER, SCALE, STATE, Selection
from studio.ui.widgets.buttons import icon_button
from studio.ui.widgets.cards import Card
from studio.ui.widgets.labels import ElidedLabel

ROOM_FOR_TWO, LOW = 1150, 520  # pixels: the width that two views beside all heads take, and a page that is low


class MapsView(QWidget):
    """Shows a look; what is chosen stays from one look to the next.

    shown: its maps are on screen. asked: what a view asks of the text that is shown; look_at: another text that it
    wants to be looked at (see `views.base`). rewritten: the start and end of a word in its text, whether that is the
    second of a pair, and what is to stand in its place. look_chosen: another look of the same model is to be shown.
    """

    shown = Signal()
    asked = Signal(str, dict)
    rewritten = Signal(int, int, bool, str)
    look_at = Signal(str, dict)
    look_chosen = Signal(object)

    def __init__(self, store: Store, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._store = store
        self.look: Look | None = None  # as the worker answered
        self._shown: Look | None = None  # the same, perhaps of fewer tokens
        self._statistics = Statistics()
        self._tint: tuple[np.ndarray, bool, str] | None = None  # what a view tints the strip with
        self._options: Mapping[str, Any] | None = None  # of a saved inspection, until its maps are on screen
        self._has_chosen = False  # until the person chooses a head, the one that changed most is shown
        self.selection = Selection(self)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(GROUP)
        layout.addWidget(self._make_strip())
        row = QHBoxLayout()
        row.setSpacing(GROUP)
        self.heads, self.rail, self.head = HeadsCard(), HeadsRail(), HeadStage(self.selection)
        self._wants_fold: bool | None = None  # as the person said; else by how much room two views have
        self._wants_strip = False  # all of the strip, in a low window too
        self.heads.head_chosen.connect(self.choose_head)
        self.rail.stepped.connect(self.heads.step)
        for signal in (self.heads.fold.clicked, self.rail.opened, QShortcut(QKeySequence("Ctrl+B"), self).activated):
            signal.connect(self.fold)
        self.head.split.toggled.connect(self._split)
        self.head.filter_chosen.connect(self._filter)
        self.head.asked.connect(self.asked)
        self.head.look_at.connect(self._look_at)
        self.head.measured.connect(self._keep_measured)
        self.head.look_chosen.connect(self._choose_look)
        self.head.kind.chosen.connect(self.show_kind)
        self.head.tinted.connect(self._tint_with)
        self.head.failed.connect(self._store.fail)
        self.selection.changed.connect(self._follow)
        self._follow(SCALE)
        row.addWidget(self.rail)
        row.addWidget(self.heads, 4)
        row.addWidget(self.head, 7)
        layout.addLayout(row, 1)

    def _make_strip(self) -> QWidget:
        card = Card()
        self.prediction, self.strip = Prediction(), TokenStrip()
        self.strip.locked.connect(self._lock_token)
        self.strip.rewrite_asked.connect(self._rewrite)
        self.strip_note = ElidedLabel()
        self.strip_note.setProperty("level", "small")
        self.strip_note.setFixedWidth(self.prediction.width())
        self.strip.setToolTip(tr("Click a token to see where it looks"))
        self.area = StripArea(self.strip)
        self.unfold = icon_button("chevron-down", tr("Show more of the text and of the answer"), "inspect.strip")
        self.refold = icon_button("chevron-up", tr("Show one line of the text"), "inspect.line")
        left = QVBoxLayout()
        left.setSpacing(4)
        left.addWidget(self.prediction)
        left.addWidget(self.strip_note)
        left.addStretch(1)
        row = QHBoxLayout()
        row.setSpacing(GROUP)
        row.addLayout(left)
        row.addWidget(self.area, 1, Qt.AlignmentFlag.AlignTop)
        for button, wanted in ((self.unfold, True), (self.refold, False)):
            button.clicked.connect(lambda _, wanted=wanted: self._unfold(wanted))
            row.addWidget(button, 0, Qt.AlignmentFlag.AlignTop)
        card.body.addLayout(row)
        return card

    # --- room --------------------------------------------------------------------------------------------------

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._make_room()

    def fold(self) -> None:
        """Fold the card of all heads away, or bring it back; so it stays until there is another number of views."""
        self._wants_fold = not self.heads.isHidden()
        had_focus = any(each.isAncestorOf(self.focusWidget()) for each in (self.heads, self.rail) if self.focusWidget())
        self._make_room()
        if had_focus:
            (self.rail.open if self._wants_fold else self.heads.fold).setFocus()

    def _split(self) -> None:
        self._wants_fold = None
        self._make_room()

    def _unfold(self, wanted: bool) -> None:
        self._wants_strip = wanted
        self._make_room()
        (self.refold if wanted else self.unfold).setFocus()  # the button that was clicked is gone

    def _make_room(self) -> None:
        """Give a small window's room to the views: the strip has one line, and of two views the heads make way."""
        crowded = self.head.split.isChecked() and self.width() < ROOM_FOR_TWO
        folds = crowded if self._wants_fold is None else self._wants_fold
        self.heads.setHidden(folds)
        self.rail.setVisible(folds)
        is_low = self.height() < LOW
        is_short = is_low and not self._wants_strip
        self.unfold.setVisible(is_short)
        self.refold.setVisible(is_low and not is_short)
        self.prediction.set_short(is_short)
        self.strip_note.setHidden(is_short)
        self.area.set_most_lines(1 if is_short else MOST_LINES)

    @property
    def shown_look(self) -> Look | None:
        """The look that is on screen, perhaps without its special tokens."""
        return self._shown

    @property
    def statistics(self) -> Statistics:
        """The numbers of all heads, as far as they are known."""
        return self._statistics

    def forget(self) -> None:
        """Forget the look and which head was chosen: another model comes."""
        self.look = self._shown = None
        self._has_chosen = False
        self.head.forget()
        self.selection.show_state(AFTER)

    def show_look(self, look: Look, options: Mapping[str, Any] | None = None) -> None:
        """Show what a model saw in a text; options: those of a saved inspection, for `set_options`."""
        self.look, self._shown, self._tint = look, None, None
        self._options = options
        self.prediction.show_look(look)
        self.head.options.offer(look)
        if options is not None:
            self.head.options.set_filters(options)
        self._filter()

    def _filter(self) -> None:
        look, filters = self.look, self.head.options.filters()

        def take(shown: Look) -> None:
            if look is self.look:  # else another model was chosen meanwhile
                self._show_maps(shown)

        if look is not None:
            background(lambda: filters.apply(look), take, self._store.fail, self, key="maps")

    def _show_maps(self, shown: Look) -> None:
        if self._shown is None or self._shown.tokens != shown.tokens:
            self.selection.lock(-1)  # it may be a token that is gone
            self.selection.hover(-1, -1)
        self.selection.fit(shown)
        self._shown, self._statistics = shown, Statistics()
        self._tint = None
        self.strip.set_tokens(shown.tokens, shown.word_ids)
        self.strip.lock(self._locked_in_strip())
        self.heads.show_look(shown, self.selection.state, self._statistics)
        self.heads.select(self.selection.heads)
        self.rail.show_head(*self.selection.head)
        ordered_by = self.heads.order_name()
        self.head.show_look(shown)
        self.heads.order_by(ordered_by)  # what views know of the heads from before is no reason for another order
        if self._options is not None:
            options, self._options = self._options, None
            self.set_options(options)
        self._paint_strip()
        self.shown.emit()

        def take(statistics: Statistics) -> None:
            if shown is self._shown:
                self._show_statistics(replace(statistics, measured=self._statistics.measured))

        background(lambda: measure(shown), take, self._store.fail, self, key="measure")

    def _show_statistics(self, statistics: Statistics) -> None:
        self._statistics = statistics
        self.heads.show_look(self._shown, self.selection.state, statistics)
        self.head.show_statistics(statistics)
        if not self._has_chosen and statistics.by_state:
            leading = statistics.order("change" if statistics.change is not None else "entropy", self.selection.state)
            self.selection.choose_head(*divmod(int(leading[0]), self._shown.shape[1]))
            self._has_chosen = False

    def _keep_measured(self, name: str, title: str, values: np.ndarray, lowest_first: bool) -> None:
        if self._shown is not None and values.shape == self._shown.shape:
            measured = {**self._statistics.measured, name: Measured(title, values, lowest_first)}
            self._show_statistics(replace(self._statistics, measured=measured))
            self.heads.order_by(name)

    def choose_head(self, layer: int, head: int, joins: bool = False) -> None:
        """Show a head large, or let it join those that are chosen; layer and head from 0."""
        self._has_chosen = True
        self.selection.choose_head(layer, head, joins)

    def show_kind(self, kind: str) -> None:
        """Show the same text's attention of the encoder, of the decoder, or across; no worker is asked."""
        if self.look is not None and kind != self.look.kind and kind in self.look.kinds:
            self.look_chosen.emit(self.look.of_kind(kind))

    def _choose_look(self, look: Look) -> None:
        if self.look is not None and look.run == self.look.run:  # else another model came meanwhile
            self.look_chosen.emit(look)

    def show_state(self, state: str) -> None:
        """Show before, after, their difference, or both side by side."""
        self.selection.show_state(state)

    def _look_at(self, text: str, fields: dict[str, str]) -> None:
        self._has_chosen = True  # the head whose row this is stays
        self.look_at.emit(text, fields)

    def take(self, answer: Studied) -> None:
        """Give the worker's answer to the view that asked."""
        self.head.take(answer)

    def show_progress(self, what: str, done: float, total: float) -> None:
        """Say to the views that wait for a study how far the worker is with it."""
        self.head.show_progress(what, done, total)

    def _lock_token(self, query: int) -> None:
        """Lock the token that was clicked; one that is locked with the token it looks at stays so.

        In cross attention the strip has the tokens that are looked at.
        """
        if self._shown is not None and self._shown.is_cross:
            self.selection.lock(self.selection.cell[0], query)
        elif query != self.selection.cell[0]:
            self.selection.lock(query, -1)

    def _locked_in_strip(self) -> int:
        return self.selection.cell[self._shown is not None and self._shown.is_cross]

    def _rewrite(self, token: int, how: str) -> None:
        """Mask, remove or replace a token: what does the model say, and where does it look, without it?"""
        look = self._shown
        if look is None or not look.offsets or look.offsets[token][0] == look.offsets[token][1]:
            return  # a special token stands nowhere in the text
        word = {"mask": look.mask_token or "…", "remove": ""}.get(how)
        if word is None:
            word, ok = QInputDialog.getText(self, tr("Replace"), tr("Instead of “{t}”:", t=look.tokens[token]))
            if not ok:
                return
        self.rewritten.emit(*look.offsets[token], look.segments[token : token + 1] == [1], word)

    # --- following the selection -------------------------------------------------------------------------------

    def _follow(self, part: str) -> None:
        if part == SCALE:
            self.heads.grid.set_per_head(self.selection.per_head)
            self.heads.grid.set_gamma(self.selection.gamma)
            self.heads.grid.set_mean(self.selection.averaged)
        if self._shown is None:
            return
        if part == HEADS:
            self._has_chosen = True
            self.heads.select(self.selection.heads)
            self.rail.show_head(*self.selection.head)
        elif part == STATE:
            self.heads.show_look(self._shown, self.selection.state, self._statistics)
        elif part == CELL:
            # It would answer with a lock of the query alone, and the key would be lost.
            self.strip.blockSignals(True)
            self.strip.lock(self._locked_in_strip())
            self.strip.blockSignals(False)
            self.area.show_token(self._locked_in_strip())
        if part in (HEADS, STATE, CELL, HOVER):
            self._paint_strip()

    def _tint_with(self, weights: np.ndarray | None, signed: bool, note: str) -> None:
        self._tint = None if weights is None else (weights, signed, note)
        self._paint_strip()

    def _paint_strip(self) -> None:
        """Tint the tokens: by where the token under the pointer looks, by what a view found, by the head."""
        if self._shown is None:
            return
        state, (query, key) = self.selection.state, self.selection.hovered
        is_difference = state == DIFFERENCE
        self.strip.mark(-1 if self._shown.is_cross else query, key)
        locked = self.selection.cell[0]
        if self._tint is not None and query < 0:
            self.strip.set_weights(*self._tint[:2])
            self.strip_note.setText(self._tint[2])
            return
        looking = query if query >= 0 else locked
        weights = self._shown.looked_at(state if state != BOTH else AFTER, *self.selection.head, looking)
        self.strip.set_weights(weights, is_difference)
        if looking >= 0:
            note = tr("Tint: where “{token}” looks", token=self._shown.query_tokens[looking])
        elif is_difference:
            note = tr("Tint: orange more, blue less looked at")
        else:
            note = tr("Tint: what this head looks at")
        self.strip_note.setText(note)

    def say_saved(self, paths: list[Path]) -> None:
        """Say which files were written, and where."""
        names = ", ".join(path.name for path in paths)
        said = tr("Saved {names}.", names=names) if len(paths) < 4 else tr("Saved {n} files.", n=len(paths))
        self._store.notice.emit(Notice(said, str(paths[0].parent), "good"))

    # --- what a saved inspection keeps -------------------------------------------------------------------------

    def options(self) -> dict[str, Any]:
        """Return what a saved inspection keeps of what is chosen."""
        chosen = self.selection
        return {
            "kind": self.look.kind if self.look is not None else "",
            "heads": chosen.heads, "state": chosen.state, "cell": chosen.cell, "order": self.heads.order_name(),
            "views": [view.id for view in self.head.views()], "view_options": self.head.view_options(),
            **self.head.options.chosen(),
        }  # fmt: skip

    def set_options(self, options: Mapping[str, Any]) -> None:
        """Choose of the look that is shown what a saved inspection has; what does not fit it is left alone."""
        look, chosen = self.look, self.selection
        self.head.options.set_colours(options)
        heads = tuple(pair for pair in map(_pair, _list(options.get("heads"))) if _within(pair, look.shape))
        if heads:
            self._has_chosen = True
            chosen.choose_heads(tuple(dict.fromkeys(heads)))
        if options.get("state") in look.states:
            chosen.show_state(options["state"])
        self.heads.order_by(options.get("order"))
        self.head.show_views(_list(options.get("views")))
        self.head.set_view_options(options.get("view_options"))
        cell = _pair(options.get("cell"))
        n_queries, n_keys = len(self._shown.query_tokens), len(self._shown.key_tokens)
        if cell is not None and -1 <= cell[0] < n_queries and -1 <= cell[1] < n_keys:
            chosen.lock(*cell)


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list | tuple) else []


def _pair(value: Any) -> tuple[int, int] | None:
    """Return two whole numbers, None for anything else."""
    values = _list(value)
    return tuple(values) if len(values) == 2 and all(type(each) is int for each in values) else None


def _within(pair: tuple[int, int] | None, shape: tuple[int, int]) -> bool:
    return pair is not None and 0 <= pair[0] < shape[0] and 0 <= pair[1] < shape[1]
