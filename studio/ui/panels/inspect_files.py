"""The menu of an inspection's files: open, save, as a web page, as figures."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QFileDialog, QMenu, QToolButton, QWidget

from studio.attention.look_file import SUFFIX, LookFacts, open_look, save_look
from studio.core.disk import can_not_write
from studio.ui.i18n import tr
from studio.ui.panels.inspect_figures import Batch, FiguresDialog
from studio.ui.panels.inspect_maps import MapsView
from studio.ui.panels.inspect_work import WorkLine
from studio.ui.theme import set_icon
from studio.ui.views.files import Told, Write
from studio.ui.views.look import Look, look_of_file
from studio.ui.views.page import write_page

STEM_LENGTH = 40


class InspectionFiles(QToolButton):
    """Opens and saves inspections, and writes what is shown as a page or as figures, each in the background.

    opened: path, look and options of an inspection. saved: the files that were written. failed: an exception.
    """

    opened = Signal(object, object, object)
    saved = Signal(list)
    failed = Signal(object)

    def __init__(self, maps: MapsView, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._maps = maps
        self.work = WorkLine()
        self.work.failed.connect(self.failed)
        maps.head.writing.connect(self.write)
        self.setObjectName("inspect.files")
        tip = tr("Open or save an inspection, as a file, as a web page or as figures")
        self.setToolTip(tip)
        self.setAccessibleName(tip)
        set_icon(self, "more", "muted")
        menu = QMenu(self)
        menu.addAction(tr("Open an inspection…"), self.ask_open)
        self._of_look = [
            menu.addAction(tr("Save this inspection…"), self._ask_save),
            menu.addAction(tr("Save as a web page (HTML)…"), self._ask_page),
            menu.addAction(tr("Figures of several heads…"), self.ask_figures),
        ]
        menu.insertSeparator(self._of_look[1])
        menu.aboutToShow.connect(self._offer)
        self.setMenu(menu)
        self.setPopupMode(self.ToolButtonPopupMode.InstantPopup)

    def _offer(self) -> None:
        for action in self._of_look:
            action.setEnabled(self._maps.shown_look is not None)
        if self._maps.shown_look is not None and self._maps.shown_look.is_deep:
            self._of_look[-1].setEnabled(False)  # no figure has room for a head of so many tokens

    # --- asking ------------------------------------------------------------------------------------------------

    def ask_open(self) -> None:
        """Ask for a file and open it."""
        kinds = tr("Inspections (*{suffix})", suffix=SUFFIX) + ";;" + tr("All files (*)")
        path, _ = QFileDialog.getOpenFileName(self, tr("Open an inspection"), "", kinds)
        if path:
            self.open(Path(path))

    def _ask_save(self) -> None:
        if (path := self._ask_path(tr("Save this inspection"), SUFFIX)) is not None:
            self.save(path)

    def _ask_page(self) -> None:
        if (path := self._ask_path(tr("Save as a web page"), ".html")) is not None:
            self.save_page(path)

    def _ask_path(self, title: str, suffix: str) -> Path | None:
        if self._maps.shown_look is None:
            return None
        path, _ = QFileDialog.getSaveFileName(self, title, file_stem(self._maps.look.text) + suffix, f"*{suffix}")
        if not path or self._maps.shown_look is None:  # another model may have come meanwhile
            return None
        return Path(path) if path.lower().endswith(suffix) else Path(path + suffix)

    def ask_figures(self) -> FiguresDialog | None:
        """Ask which heads to write as figures, and write them."""
        maps = self._maps
        if maps.shown_look is None:
            return None
        chosen, ranking = maps.selection, maps.heads.ranking
        dialog = FiguresDialog(
            maps.shown_look, chosen.heads, ranking.heads(), maps.heads.ranking_title(), chosen.state, chosen.per_head,
            chosen.gamma, self,
        )  # fmt: skip
        dialog.wanted.connect(self.write_figures)
        dialog.finished.connect(dialog.deleteLater)
        dialog.open()
        return dialog

    # --- doing -------------------------------------------------------------------------------------------------

    def open(self, path: Path) -> None:
        """Open an inspection; `opened` brings it."""

        def read(_: Any) -> tuple[Look, Mapping[str, Any]]:
            saved = open_look(path)
            return look_of_file(saved), saved.facts.view

        self.work.start(
            tr("Opening {name}…", name=path.name), read, lambda found: self.opened.emit(path, found[0], found[1]),
            name="open", ends_with_window=True,
        )  # fmt: skip

    def write(self, path: Path, write: Write) -> None:
        """Write what a view gave for it."""

        def guarded(told: Told) -> list[Path]:
            try:
                return write(told)
            except OSError as error:
                raise can_not_write(path, error) from error

        self.work.start(tr("Writing {name}…", name=path.name), guarded, self.saved.emit)

    def write_figures(self, batch: Batch) -> None:
        """Write the figures of several heads; when the window is closed the rest of them is left."""
        self.work.start(tr("Writing the figures…"), batch.write, self.saved.emit, ends_with_window=True)

    def save(self, path: Path) -> None:
        """Save what is shown, with what is chosen of it."""
        look = self._maps.look
        facts = LookFacts(
            subject=look.subject,
            text=look.text,
            fields=dict(look.fields),
            probabilities={state: dict(found) for state, found in look.probabilities.items()},
            gold=look.gold,
            step=look.step,
            first_step=look.first_step,
            names=dict(look.names),
            said=dict(look.said),
            answers=look.answers,
            states=list(look.maps),
            view=self._maps.options(),
        )

        def write(_: Any) -> list[Path]:
            save_look(path, facts, look.directories)
            return [path]

        self.work.start(tr("Saving {name}…", name=path.name), write, self.saved.emit)

    def save_page(self, path: Path) -> None:
        """Write what is shown as one web page."""
        maps, chosen = self._maps, self._maps.selection
        how = {
            "heads": chosen.heads, "state": chosen.state, "per_head": chosen.per_head, "gamma": chosen.gamma,
            "query": chosen.cell[0], "statistics": maps.statistics,
        }  # fmt: skip
        look = maps.shown_look

        def write(told: Any) -> list[Path]:
            return [write_page(look, path, told=told, **how)]

        self.work.start(tr("Writing {name}…", name=path.name), write, self.saved.emit)


def file_stem(text: str) -> str:
    """Return a file's name made of the first words of a text."""
    kept = "".join(letter if letter.isalnum() else " " for letter in text[: 4 * STEM_LENGTH])
    return "-".join(kept.split())[:STEM_LENGTH].rstrip("-") or "inspection"
