"""The card in which the views stand, one or two side by side, with the proof of what they show."""

import contextlib
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from PySide6.QtCore import QSize, Qt, Signal
from PySide6.QtWidgets import (
    QButtonGroup,
    QComboBox,
    QFileDialog,
    QHBoxLayout,
    QMenu,
    QPushButton,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

from studio.attention.deep import DEEP
from studio.core.events import Studied
from studio.ui.i18n import tr
from studio.ui.panels.inspect_kind import KindChoice
from studio.ui.panels.inspect_options import ViewOptions
from studio.ui.theme import GRID, GROUP
from studio.ui.views import all_views
from studio.ui.views.base import View
from studio.ui.views.look import CROSS, DECODER, STATES, Look, Statistics
from studio.ui.views.numbers import show_checks
from studio.ui.views.selection import HEADS, SCALE, STATE, Selection
from studio.ui.widgets.buttons import icon_button
from studio.ui.widgets.cards import Card, Finding
from studio.ui.widgets.chips import Chip
from studio.ui.widgets.flow import FlowLayout
from studio.ui.widgets.labels import Body, Small

STATE_WIDTH = 120  # of the name on a state's button, in pixels
SECOND = "lines"  # what stands on the right when a person first asks for two views


LEAST = QSize(272, 176)  # of a view
MOST_WORDS = 440  # the width of a sentence that stands in a view's place


@dataclass(frozen=True, eq=False)
class _Asker:
    """A view that waits for the answer to a study, what it asked, and of which look."""

    view: View
    options: dict[str, Any]
    look: Look | None


class HeadStage(Card):
    """The views of a look, held together by the selection. filter_chosen: what is left out or merged is another now.

    asked, measured, tinted, look_at: what a view asks and found (see `views.base`). writing: the path that a view is to
    be written to, and what writes it in a thread.
    """

    filter_chosen = Signal()
    asked = Signal(str, dict)
    measured = Signal(str, str, object, bool)
    tinted = Signal(object, bool, str)
    look_at = Signal(str, dict)
    look_chosen = Signal(object)
    writing = Signal(object, object)
    failed = Signal(object)

    def __init__(self, selection: Selection, parent: QWidget | None = None) -> None:
        super().__init__(" ", parent)
        self.selection = selection
        self._look: Look | None = None
        self._statistics = Statistics()
        self._views: dict[str, View] = {}
        self._askers: dict[str, list[_Asker]] = {}  # who waits for the answer of which study
        self._refusals: dict[str, str] = {}  # why a view has nothing to show of this look, by its id
        self.badge, self.numbers = Chip(), Small()
        self.numbers.setWordWrap(False)
        self.header.insertWidget(1, self.badge)
        self.kind = KindChoice()
        self.add_to_header(self.kind)
        self.states = self._make_states()
        self.split = icon_button("columns", tr("Show two views side by side"), "inspect.split")
        self.split.setCheckable(True)
        self.split.toggled.connect(self._show_second)
        self.add_to_header(self.split)
        self.export_button = icon_button("save", tr("Save this view as a figure or as numbers"), "inspect.save")
        self._menu = QMenu(self)
        self._menu.aboutToShow.connect(self._fill_menu)
        self.export_button.setMenu(self._menu)
        self.export_button.setPopupMode(self.export_button.ToolButtonPopupMode.InstantPopup)
        self.add_to_header(self.export_button)
        self.warning = Finding("bad")
        self.warning.hide()
        self.add(self.warning)
        self.places = [_Place(), _Place()]
        row = QHBoxLayout()
        row.setSpacing(GROUP)
        for place in self.places:
            place.chosen.connect(lambda name, place=place: self.show_view(name, self.places.index(place)))
            row.addWidget(place, 1)
        self.places[1].hide()
        self.body.addLayout(row, 1)
        self._add_foot()
        selection.changed.connect(self._follow)
        self.show_view(next(iter(all_views())))

    # --- making ------------------------------------------------------------------------------------------------

    def _make_states(self) -> dict[str, QPushButton]:
        group, buttons = QButtonGroup(self), {}
        for state, title in STATES.items():
            button = buttons[state] = QPushButton(tr(title))
            button.setObjectName(f"inspect.{state}")
            button.setProperty("toggle", True)
            button.setCheckable(True)
            group.addButton(button)
            button.clicked.connect(lambda _, state=state: self.selection.show_state(state))
            self.add_to_header(button)
        return buttons

    def _add_foot(self) -> None:
        self.meaning = Small()
        self.meaning.setAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        options = icon_button("chevron-down", tr("What is drawn: colours, special tokens"), "inspect.view")
        options.setText(tr("View"))
        options.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        options.setLayoutDirection(Qt.LayoutDirection.RightToLeft)
        self.options = ViewOptions(self.selection, self)
        self.options.filter_chosen.connect(self.filter_chosen)
        options.setMenu(self.options)
        options.setPopupMode(options.ToolButtonPopupMode.InstantPopup)
        row = QHBoxLayout()
        row.setSpacing(GROUP)
        row.addWidget(self.numbers)
        row.addWidget(self.meaning, 1)
        row.addWidget(options)
        self.body.addLayout(row)

    # --- views -------------------------------------------------------------------------------------------------

    def view(self, name: str) -> View:
        """Return a view by its id; it is made when it is first asked for."""
        if name not in self._views:
            view = self._views[name] = all_views()[name](self.selection)
            view.asked.connect(lambda what, options, view=view: self._ask(view, what, options))
            view.measured.connect(self.measured)
            view.tinted.connect(self.tinted)
            view.look_at.connect(self.look_at)
            view.look_chosen.connect(self.look_chosen)
            view.failed.connect(self.failed)
            if self._fits(view):
                view.show_look(self._look)
                view.show_statistics(self._statistics)
        return self._views[name]

    def show_view(self, name: str, place: int = 0) -> None:
        """Show a view in a place, 0 or 1; where the other place has it, the two change places."""
        other = self.places[1 - place]
        if other.view is not None and other.view.id == name and self.places[place].view is not None:
            other.show_view(self.places[place].view, self._look)
        self.places[place].show_view(self.view(name), self._look)
        self._say()

    def views(self) -> list[View]:
        """Return the views on screen, the one on the left first."""
        return [place.view for place in self.places if place.view is not None and not place.isHidden()]

    def show_views(self, names: list[str]) -> None:
        """Show one view or two, by their ids; what there is not is left out."""
        known = [name for name in names if isinstance(name, str) and name in all_views()][:2]
        for place, name in enumerate(known):
            self.show_view(name, place)
        if known:
            self.split.setChecked(len(known) > 1)

    def view_options(self) -> dict[str, dict[str, Any]]:
        """Return the options of every view that was opened, by its id."""
        return {name: options for name, view in self._views.items() if (options := view.options())}

    def set_view_options(self, options: Any) -> None:
        """Set the views' own options as a saved inspection has them; what a view does not take is left alone."""
        for name, own in options.items() if isinstance(options, dict) else ():
            if name in all_views() and isinstance(own, dict):
                with contextlib.suppress(TypeError, ValueError, KeyError, IndexError, AttributeError):
                    self.view(name).set_options(own)

    def _show_second(self, on: bool) -> None:
        if on and self.places[1].view is None:
            first = self.places[0].view.id
            self.show_view(next(name for name in (SECOND, *all_views()) if name != first and name in all_views()), 1)
        self.places[1].setVisible(on)

    def _ask(self, view: View, what: str, options: dict[str, Any]) -> None:
        self._askers.setdefault(what, []).append(_Asker(view, options, self._look))
        self.asked.emit(what, options)

    def take(self, answer: Studied) -> None:
        """Give a study's answer to the view that asked for it, and to those that asked for the same."""
        waiting = self._askers.pop(answer.what, [])
        # Only the newest question of a kind is answered; one about a look that is gone is no answer to this one.
        views = dict.fromkeys(each.view for each in waiting if each.options == waiting[-1].options)
        asked = waiting[-1].look if waiting else None
        is_of_now = asked is None or (self._look is not None and asked.key == self._look.key)
        for view in views:
            if is_of_now or not view.asks_of_look:
                view.take(answer)

    def show_progress(self, what: str, done: float, total: float) -> None:
        """Say to the views that wait for the answer to a study how far the worker is."""
        for view in {each.view for each in self._askers.get(what, [])}:
            view.show_progress(done, total)

    def forget(self) -> None:
        """Forget what views found out about a model: another one comes."""
        self._askers.clear()
        self._look, self._refusals = None, {}
        for view in self._views.values():
            view.forget()

    # --- showing -----------------------------------------------------------------------------------------------

    def show_look(self, look: Look) -> None:
        """Show what a model saw in a text."""
        self._look, self._statistics = look, Statistics()
        self.kind.show_look(look)
        for name, button in self.states.items():
            _name(button, tr(look.title(name)))
            button.setVisible(len(look.states) > 1)
            button.setChecked(name == self.selection.state)
        show_checks(self.badge, self.numbers, look.checks, look.verified, look.kind)
        self.warning.setVisible(not look.verified)
        if not look.verified:
            self.warning.show_finding("bad", self._why_unverified(look))
        self._refusals = {}
        for view in self._views.values():
            if self._fits(view):
                view.show_look(look)
                view.show_statistics(self._statistics)
        for place in self.places:
            place.show_view(place.view, look)
        self._say()

    def show_statistics(self, statistics: Statistics) -> None:
        """Show the numbers of all heads."""
        self._statistics = statistics
        for view in self._fitting():
            view.show_statistics(statistics)

    def _fits(self, view: View) -> bool:
        """Return whether a view can show the look; found out once, for it is asked at every move of the pointer."""
        if self._look is not None and view.id not in self._refusals:
            self._refusals[view.id] = why_not(view, self._look)
        return self._refusals.get(view.id) == ""

    def _fitting(self) -> list[View]:
        return [view for view in self._views.values() if self._fits(view)]

    def _follow(self, part: str) -> None:
        for view in self._fitting():
            view.show_selection(part)
        if part in (HEADS, STATE, SCALE):
            self._say()

    def _say(self) -> None:
        """Say which heads are shown, and what the colours mean."""
        heads = self.selection.heads
        title = tr("Layer {layer} · Head {head}", layer=heads[0][0] + 1, head=heads[0][1] + 1)
        several = tr("{head} +{n}", head=title, n=len(heads) - 1)  # short: the header is full
        self.set_title(title if len(heads) == 1 else several)
        self.states[self.selection.state].setChecked(True)
        known = self.places[0].view is not None and self.places[0].view in self._fitting()
        parts = [_filtered(self._look), self.places[0].view.meaning()] if known else []
        self.meaning.setText(" · ".join(filter(None, parts)))

    def _why_unverified(self, look: Look) -> str:
        failed = [tr(look.title(s)) for s, checks in look.checks.items() if checks.get("verified") is not True]
        which = tr(" ({states})", states=", ".join(failed)) if len(look.checks) > 1 else ""
        return tr(
            "These maps failed their check{which} and may not be what the model computed. Don't rely on them.",
            which=which,
        )

    # --- files -------------------------------------------------------------------------------------------------

    def _fill_menu(self) -> None:
        self._menu.clear()
        for view in self.views():
            if len(self.views()) > 1:
                self._menu.addSection(tr(view.title))
            for ending, title in view.formats().items():
                self._menu.addAction(tr(title), lambda view=view, ending=ending: self._ask_path(view, ending))

    def _ask_path(self, view: View, ending: str) -> None:
        if self._look is None:
            return
        suffix, stem = ending.removesuffix("-all"), view.file_stem()
        stem = "attention-all-heads" if ending.endswith("-all") else stem
        path, _ = QFileDialog.getSaveFileName(self, tr(view.formats()[ending]), f"{stem}.{suffix}", f"*.{suffix}")
        if path and self._look is not None:  # another model may have come meanwhile
            self.export(ending, Path(path), view)

    def export(self, ending: str, path: Path, view: View | None = None) -> None:
        """Have what a view shows now written, by default the one on the left, in one of its formats."""
        if not path.suffix:
            path = path.with_suffix("." + ending.removesuffix("-all"))
        self.writing.emit(path, (view or self.places[0].view).export(ending, path))


def _name(button: QPushButton, title: str) -> None:
    """Give a state's button its name; a long one is cut in the middle, for runs differ at the end."""
    button.setText(button.fontMetrics().elidedText(title, Qt.TextElideMode.ElideMiddle, STATE_WIDTH))
    button.setToolTip(title if button.text() != title else "")
    button.setAccessibleName(title)


def why_not(view: View, look: Look) -> str:
    """Return why a view has nothing to show of a look, in words; empty where it has."""
    if look.is_deep and not view.takes_long:
        n = len(look.tokens)
        return tr("{view} is for texts up to {most} tokens; this one has {n}.", view=tr(view.title), most=DEEP, n=n)
    if (look.without_first or look.whole_words) and not view.takes_filtered:
        return tr(
            "{view} is about the tokens as the model reads them. Under View, show all of them and no whole words.",
            view=tr(view.title),
        )
    if look.kind in (DECODER, CROSS) and not view.takes_all_kinds:
        return tr("{view} is about the text that the encoder reads. Choose “Encoder” above.", view=tr(view.title))
    return view.why_not(look)


def _filtered(look: Look) -> str:
    """Return what of the text is shown, for the foot of the card."""
    left_out = [tr("special tokens")] * look.without_special + [tr("first token")] * look.without_first
    parts = [tr("Words, not pieces")] if look.whole_words else []
    if left_out:
        parts.append(tr("Without {what}: rows renormalised", what=tr(" and ").join(left_out)))
    return " · ".join(parts)


class _Place(QWidget):
    """Room for one view, with the choice of views above it. chosen: the id of the view that is wanted here."""

    chosen = Signal(str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.view: View | None = None
        self.choice = QComboBox()
        self.choice.setAccessibleName(tr("View"))
        for name, view in all_views().items():
            self.choice.addItem(tr(view.title), name)
            self.choice.setItemData(self.choice.count() - 1, tr(view.help), Qt.ItemDataRole.ToolTipRole)
        self.choice.activated.connect(lambda _: self.chosen.emit(self.choice.currentData()))
        head = QWidget()
        policy = QSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Minimum)
        policy.setHeightForWidth(True)
        head.setSizePolicy(policy)
        self._tools = FlowLayout(head)
        self._tools.addWidget(self.choice)
        self._layout = QVBoxLayout(self)
        self._layout.setContentsMargins(0, 0, 0, 0)
        self._layout.setSpacing(GRID)
        self._layout.addWidget(head)
        self._refusal = Body()
        self._refusal.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self._refusal.setMaximumWidth(MOST_WORDS)
        self._refused = QWidget()
        around = QHBoxLayout(self._refused)
        around.addStretch(1)
        around.addWidget(self._refusal, 8)
        around.addStretch(1)
        self._refused.hide()
        self._layout.addWidget(self._refused, 1)

    def minimumSizeHint(self) -> QSize:
        return LEAST  # two views that would rather have more room still fit the smallest window

    def show_view(self, view: View | None, look: Look | None) -> None:
        """Show a view, or why it has nothing to show of a look."""
        if view is None:
            return
        if view is not self.view:
            self._take_out()
            self.view = view
            self._layout.addWidget(view, 1)
            self.choice.setCurrentIndex(self.choice.findData(view.id))
            self.choice.setToolTip(tr(view.help))
            for tool in view.tools():
                self._tools.addWidget(tool)
                tool.show()
            self._order_tab(view)
        why = why_not(view, look) if look is not None else ""
        self._refusal.setText(why)
        self._refused.setVisible(bool(why))
        view.setVisible(not why)
        for tool in view.tools():
            tool.setVisible(not why)

    def _order_tab(self, view: View) -> None:
        """Have Tab go from the choice to its tools and on into the view, as they stand, whenever they were made."""
        stops = [
            widget
            for holder in (*view.tools(), view)
            for widget in (holder, *holder.findChildren(QWidget))
            if widget.focusPolicy() & Qt.FocusPolicy.TabFocus
            and widget.window() is self.window()  # no list of a choice
        ]
        for before, after in pairwise([self.choice, *stops]):
            QWidget.setTabOrder(before, after)

    def _take_out(self) -> None:
        while self._tools.count() > 1:  # the choice stays
            item = self._tools.takeAt(1)
            if item.widget() is not None:
                item.widget().hide()
        if self.view is not None and self.view.parentWidget() is self:
            self._layout.removeWidget(self.view)
            self.view.hide()
