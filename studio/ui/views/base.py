"""What every view is: a widget that draws a look as the shared selection says."""

from pathlib import Path
from typing import Any

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QWidget

from studio.core.events import Studied
from studio.ui.i18n import tr
from studio.ui.views.files import Write
from studio.ui.views.look import Look, Statistics
from studio.ui.views.selection import Selection


class View(QWidget):
    """One way to look at attention; a subclass is one file, with the class as its `VIEW`.

    asked: what to ask the worker, as (what, options) of a `commands.Study` about the text that is shown; the answer
    comes to `take`. measured: a new number of all heads, as (id, title, values [layer, head], lowest first), by which
    the grid can be ordered from then on. tinted: how the token strip is tinted, as (weights [token], signed, note);
    weights None gives it back to the attention. look_chosen: another look that all views are to show, such as what the
    model saw at an earlier step of its training. look_at: a text, or a row by role, that is to be looked at in its
    place. failed: an exception.
    """

    id = ""
    title = ""  # as the choice of views has it
    help = ""  # what one sees here, one sentence
    order = 0
    takes_long = False  # whether it can show a text of which no head is ever computed whole
    takes_all_kinds = False  # whether it can show a decoder's attention, to itself and to its encoder
    asks_of_look = True  # whether what it asks is about the look on screen, and of no use with another
    takes_filtered = True  # whether it can show words in place of their pieces, and a text without its first token

    asked = Signal(str, dict)
    measured = Signal(str, str, object, bool)
    tinted = Signal(object, bool, str)
    look_at = Signal(str, dict)
    look_chosen = Signal(object)
    failed = Signal(object)

    def __init__(self, selection: Selection, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName(f"view.{self.id}")
        self.setWhatsThis(tr(self.help))  # F1
        self.selection = selection
        self.look: Look | None = None
        self.statistics = Statistics()

    def why_not(self, look: Look) -> str:
        """Return why this view has nothing to show of a look, in words; empty where it has."""
        return ""

    def tools(self) -> list[QWidget]:
        """Return what stands beside the view's name: its own controls."""
        return []

    def show_look(self, look: Look) -> None:
        """Show another look; the selection already fits it."""
        self.look = look

    def show_statistics(self, statistics: Statistics) -> None:
        """Show the numbers of all heads, which are found a moment after their look."""
        self.statistics = statistics

    def show_selection(self, part: str) -> None:
        """Show what is chosen now; part: what of it changed, a constant of `selection`."""

    def take(self, answer: Studied) -> None:
        """Show the worker's answer to what was asked last; one with a `reason` says why there is none."""

    def show_progress(self, done: float, total: float) -> None:
        """Show how far the worker is with what was asked."""

    def forget(self) -> None:
        """Forget what was found out about a model: another one comes."""
        self.look = None

    def meaning(self) -> str:
        """Return in words what the colours say and how rows are normalised, for the foot of the card."""
        return ""

    def formats(self) -> dict[str, str]:
        """Return what this view can be saved as: ending → title."""
        return {}

    def file_stem(self) -> str:
        """Return a name for its file."""
        return f"attention-{self.id}"

    def export(self, ending: str, path: Path) -> Write:
        """Take what is shown now, and return what writes it in a thread: it must touch no widget."""
        raise NotImplementedError

    def options(self) -> dict[str, Any]:
        """Return what a saved inspection keeps of this view's own controls."""
        return {}

    def set_options(self, options: dict[str, Any]) -> None:
        """Set the controls as a saved inspection has them; unknown names are left alone."""
