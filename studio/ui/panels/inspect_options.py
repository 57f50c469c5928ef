"""The menu of what is drawn of a look: how weights become colours, and which tokens are shown."""

from collections.abc import Mapping
from typing import Any

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QMenu, QWidget

from studio.ui.i18n import tr
from studio.ui.views.filters import Filters, can_merge
from studio.ui.views.look import Look
from studio.ui.views.selection import Selection

_COLOURS = {
    "per_head": ("Colours up to each head's largest weight", "Else from 0 to 1, the same for all heads"),
    "lifted": ("Lift small weights", "Brighten what a strong weight would outshine; the numbers stay as they are"),
    "averaged": (
        "Mean where cells share a pixel",
        "Else the strongest of them is shown, so that no single cell is lost from sight",
    ),
}
_TOKENS = {
    "no_special": (
        "Without special tokens",
        "Leave out tokens such as [CLS] and [SEP], and renormalise each row to 1",
    ),
    "no_first": (
        "Without the first token",
        "Many heads rest there when they find nothing. Leave it out, and renormalise each row",
    ),
    "whole_words": (
        "Whole words",
        "Merge the pieces of a word: weights on them are summed, where they look averaged",
    ),
}


class ViewOptions(QMenu):
    """Switches, by name in `actions_by_name`. filter_chosen: other tokens are to be shown."""

    filter_chosen = Signal()

    def __init__(self, selection: Selection, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._selection = selection
        self._has_lifted = False  # a person said whether small weights are lifted
        self.setToolTipsVisible(True)
        self.actions_by_name = {}
        for name, (title, tip) in (_COLOURS | _TOKENS).items():
            action = self.actions_by_name[name] = self.addAction(tr(title))
            action.setToolTip(tr(tip))
            action.setCheckable(True)
            action.setChecked(getattr(selection, name, False))
            action.toggled.connect(self._scale if name in _COLOURS else self.filter_chosen)
        self.actions_by_name["lifted"].triggered.connect(self._keep_lift)

    def _keep_lift(self) -> None:
        self._has_lifted = True

    def _scale(self) -> None:
        self._selection.scale(**{name: self.actions_by_name[name].isChecked() for name in _COLOURS})

    def filters(self) -> Filters:
        """Return which tokens are to be shown."""
        return Filters(*(self.actions_by_name[name].isChecked() for name in _TOKENS))

    def offer(self, look: Look) -> None:
        """Offer to merge words only where a look as it was captured has pieces of words, and nothing of two texts.

        Small weights are lifted in a long text, unless a person said otherwise: spread over thousands of tokens they
        would all be as pale as nothing.
        """
        if not self._has_lifted:
            self.actions_by_name["lifted"].setChecked(look.is_deep)
        for name in _TOKENS:
            self.actions_by_name[name].setEnabled(not look.is_cross)
        if not can_merge(look):
            self.actions_by_name["whole_words"].setEnabled(False)

    def chosen(self) -> dict[str, bool]:
        """Return what a saved inspection keeps."""
        return {name: action.isChecked() for name, action in self.actions_by_name.items()}

    def set_filters(self, options: Mapping[str, Any]) -> None:
        """Show the tokens that a saved inspection shows, without a signal."""
        self.blockSignals(True)
        for name in _TOKENS:
            self.actions_by_name[name].setChecked(options.get(name) is True)
        self.blockSignals(False)

    def set_colours(self, options: Mapping[str, Any]) -> None:
        """Colour as a saved inspection does; what it does not say stays."""
        self._has_lifted |= "lifted" in options
        for name in _COLOURS:
            action = self.actions_by_name[name]
            action.setChecked(bool(options.get(name, action.isChecked())))
