"""Figures of several heads: which, in which formats, how fine; then one file each into a folder."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from PySide6.QtCore import Signal
from PySide6.QtWidgets import (
    QCheckBox,
    QComboBox,
    QDialog,
    QFileDialog,
    QFormLayout,
    QHBoxLayout,
    QSpinBox,
    QVBoxLayout,
    QWidget,
)

from studio.core.disk import can_not_write
from studio.ui import words
from studio.ui.i18n import tr
from studio.ui.theme import GRID, GROUP
from studio.ui.views.figures import ENDINGS, write_head
from studio.ui.views.look import BOTH, Look
from studio.ui.widgets.buttons import main_button, quiet_button
from studio.ui.widgets.labels import Small

DPI_RANGE, USUAL_DPI, USUAL_LEADING = (72, 1200), 300, 10


@dataclass(frozen=True)
class Batch:
    """Heads of a look to be written in formats into a folder, in a state, coloured as they are shown."""

    look: Look
    heads: tuple[tuple[int, int], ...]
    endings: tuple[str, ...]
    folder: Path
    state: str
    per_head: bool
    gamma: float
    dpi: int

    def write(self, told: Callable[[int, int], None] = lambda done, total: None) -> list[Path]:
        """Write all files and return them. Raises Failure: "no-room", "workspace-unwritable"."""
        paths: list[Path] = []
        total = len(self.heads) * len(self.endings)
        try:
            for layer, head in self.heads:
                for ending in self.endings:
                    told(len(paths), total)
                    paths += write_head(
                        self.look, ending, self.folder, self.state, layer, head, self.per_head, self.gamma, self.dpi
                    )
        except OSError as error:
            raise can_not_write(self.folder, error) from error
        return paths


class FiguresDialog(QDialog):
    """Asks for a batch. wanted: it, once a folder is chosen.

    chosen: the heads that are chosen now, the leading one first. ranked: all heads in the order of the ranking, which
    `ranking` names.
    """

    wanted = Signal(object)

    def __init__(
        self,
        look: Look,
        chosen: Sequence[tuple[int, int]],
        ranked: Sequence[tuple[int, int]],
        ranking: str,
        state: str,
        per_head: bool,
        gamma: float,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self.setWindowTitle(tr("Figures of several heads"))
        self._look, self._chosen, self._ranked = look, tuple(chosen), tuple(ranked)
        self._how = {"state": state, "per_head": per_head, "gamma": gamma}
        n_layers, n_heads = look.shape
        self._all = tuple((layer, head) for layer in range(n_layers) for head in range(n_heads))
        self.which = QComboBox()
        self.which.setAccessibleName(tr("Which heads"))
        layer, head = self._chosen[0]
        one = tr("This head: layer {layer}, head {head}", layer=layer + 1, head=head + 1)
        several = tr("The {n} chosen heads", n=len(self._chosen))
        self.which.addItem(one if len(self._chosen) == 1 else several, "chosen")
        if self._ranked:
            self.which.addItem(tr("The first of the ranking: {ranking}", ranking=ranking), "ranked")
        self.which.addItem(tr("All {n} heads", n=len(self._all)), "all")
        self.n_leading = QSpinBox(minimum=1, maximum=len(self._all), value=min(USUAL_LEADING, len(self._all)))
        self.n_leading.setAccessibleName(tr("How many of the ranking"))
        self.formats = {ending: QCheckBox(title) for ending, title in ENDINGS.items()}
        self.formats["pdf"].setChecked(True)
        self.dpi = QSpinBox(minimum=DPI_RANGE[0], maximum=DPI_RANGE[1], value=USUAL_DPI, suffix=" dpi")
        self.dpi.setAccessibleName(tr("Resolution of PNG"))
        self.note = Small()
        self.save_button = main_button(tr("Choose a folder…"), "inspect.figures.save")
        self.save_button.clicked.connect(self._ask_folder)
        self._arrange()
        for signal in (self.which.currentIndexChanged, self.n_leading.valueChanged):
            signal.connect(self._say)
        for box in self.formats.values():
            box.toggled.connect(self._say)
        self._say()

    def _arrange(self) -> None:
        heads, formats = QHBoxLayout(), QHBoxLayout()
        for row in (heads, formats):
            row.setSpacing(GRID)
        heads.addWidget(self.which, 1)
        heads.addWidget(self.n_leading)
        for ending, box in self.formats.items():
            formats.addWidget(box)
            if ending == "png":
                formats.addWidget(self.dpi)
        formats.addStretch(1)
        form = QFormLayout()
        form.setVerticalSpacing(GRID)
        form.addRow(tr("Heads"), heads)
        form.addRow(tr("Formats"), formats)
        cancel = quiet_button(tr("Cancel"))
        cancel.clicked.connect(self.reject)
        buttons = QHBoxLayout()
        buttons.addWidget(self.note, 1)
        buttons.addWidget(cancel)
        buttons.addWidget(self.save_button)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(GROUP, GROUP, GROUP, GROUP)
        layout.setSpacing(GROUP)
        layout.addLayout(form)
        layout.addLayout(buttons)

    def heads(self) -> tuple[tuple[int, int], ...]:
        """Return the heads that are asked for."""
        asked = self.which.currentData()
        return {"chosen": self._chosen, "ranked": self._ranked[: self.n_leading.value()], "all": self._all}[asked]

    def batch(self, folder: Path) -> Batch:
        """Return what is asked for."""
        endings = tuple(ending for ending, box in self.formats.items() if box.isChecked())
        return Batch(self._look, self.heads(), endings, folder, dpi=self.dpi.value(), **self._how)

    def _say(self) -> None:
        self.n_leading.setVisible(self.which.currentData() == "ranked")
        self.dpi.setEnabled(self.formats["png"].isChecked())
        n_formats = sum(box.isChecked() for box in self.formats.values())
        n_files = len(self.heads()) * n_formats * (2 if self._how["state"] == BOTH else 1)
        self.save_button.setEnabled(n_files > 0)
        said = tr("1 file") if n_files == 1 else tr("{n} files", n=words.count(n_files))
        self.note.setText(said if n_files else tr("Choose a format"))

    def _ask_folder(self) -> None:
        folder = QFileDialog.getExistingDirectory(self, tr("Choose a folder for the figures"))
        if folder:
            self.wanted.emit(self.batch(Path(folder)))
            self.accept()
