"""One head in the open: its map before, after, the difference or both, its numbers, its proof, its files."""

from pathlib import Path

import numpy as np
from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import (
    QButtonGroup,
    QFileDialog,
    QHBoxLayout,
    QMenu,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from studio.ui.i18n import tr
from studio.ui.panels.inspect_files import FORMATS, file_stem, write_all_heads, write_csv, write_npz
from studio.ui.panels.inspect_look import AFTER, BEFORE, BOTH, DIFFERENCE, Look, Statistics, caption
from studio.ui.panels.inspect_numbers import StatisticsTable, show_checks
from studio.ui.theme import GROUP
from studio.ui.widgets.buttons import icon_button
from studio.ui.widgets.cards import Card, Finding
from studio.ui.widgets.chips import Chip
from studio.ui.widgets.head_matrix import HeadMatrix
from studio.ui.widgets.labels import Small, Strong

STATES = {BEFORE: "Before", AFTER: "After", DIFFERENCE: "Difference", BOTH: "Both"}
STATISTICS_WIDTH, ROOM_FOR_ALL = 184, 780
LIFTED = 0.4  # the exponent that makes small weights visible beside a sink


class HeadStage(Card):
    """The chosen head, large. state_chosen: before, after, difference or both. filter_chosen: leave specials out.

    cell_hovered: query and key under the pointer, -1 for none. saved: the files that an export wrote.
    """

    state_chosen = Signal(str)
    filter_chosen = Signal(bool)
    scale_chosen = Signal(bool, float)
    cell_hovered = Signal(int, int)
    saved = Signal(list)
    failed = Signal(object)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(" ", parent)
        self._look: Look | None = None
        self._state, self._head = AFTER, (0, 0)
        self.badge, self.numbers = Chip(), Small()
        self.numbers.setWordWrap(False)
        self.header.insertWidget(1, self.badge)
        self.states = self._make_states()
        self.export_button = icon_button("save", tr("Save this head as a figure or as numbers"), "inspect.save")
        self.export_button.setMenu(self._make_menu())
        self.export_button.setPopupMode(self.export_button.ToolButtonPopupMode.InstantPopup)
        self.add_to_header(self.export_button)
        self.warning = Finding("bad")
        self.add(self.warning)
        self._add_maps()
        self._add_foot()

    # --- making ------------------------------------------------------------------------------------------------

    def _make_states(self) -> dict[str, QPushButton]:
        group, buttons = QButtonGroup(self), {}
        for state, title in STATES.items():
            button = buttons[state] = QPushButton(tr(title))
            button.setObjectName(f"inspect.{state}")
            button.setProperty("toggle", True)
            button.setCheckable(True)
            group.addButton(button)
            button.clicked.connect(lambda _, state=state: self.state_chosen.emit(state))
            self.add_to_header(button)
        return buttons

    def _make_menu(self) -> QMenu:
        menu = QMenu(self)
        for name, title in FORMATS.items():
            menu.addAction(tr(title), lambda name=name: self._ask_path(name))
        return menu

    def _add_maps(self) -> None:
        row = QHBoxLayout()
        row.setSpacing(GROUP)
        self.matrices: dict[str, HeadMatrix] = {}
        self._places: dict[str, QWidget] = {}
        self._titles: dict[str, Strong] = {}
        for place in ("left", "right"):
            self._places[place] = holder = QWidget()
            column = QVBoxLayout(holder)
            column.setContentsMargins(0, 0, 0, 0)
            column.setSpacing(4)
            title = self._titles[place] = Strong()
            matrix = self.matrices[place] = HeadMatrix()
            matrix.cell_hovered.connect(self.cell_hovered)
            column.addWidget(title)
            column.addWidget(matrix, 1)
            row.addWidget(holder, 1)
        self.statistics = StatisticsTable()
        self.statistics.setFixedWidth(STATISTICS_WIDTH)
        row.addWidget(self.statistics)
        self.body.addLayout(row, 1)

    def _add_foot(self) -> None:
        self.meaning = Small()
        self.meaning.setAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        options = icon_button("chevron-down", tr("What is drawn: colours, special tokens"), "inspect.view")
        options.setText(tr("View"))
        options.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        options.setLayoutDirection(Qt.LayoutDirection.RightToLeft)
        options.setMenu(self._make_options())
        options.setPopupMode(options.ToolButtonPopupMode.InstantPopup)
        row = QHBoxLayout()
        row.setSpacing(GROUP)
        row.addWidget(self.numbers)
        row.addWidget(self.meaning, 1)
        row.addWidget(options)
        self.body.addLayout(row)

    def _make_options(self) -> QMenu:
        menu = QMenu(self)
        menu.setToolTipsVisible(True)
        self.per_head = menu.addAction(tr("Colours up to each head's largest weight"))
        self.per_head.setToolTip(tr("Else from 0 to 1, the same for all heads"))
        self.per_head.setCheckable(True)
        self.per_head.setChecked(True)
        self.lifted = menu.addAction(tr("Lift small weights"))
        self.lifted.setToolTip(tr("Brighten what a strong weight would outshine; the numbers stay as they are"))
        self.lifted.setCheckable(True)
        self.no_special = menu.addAction(tr("Without special tokens"))
        self.no_special.setToolTip(tr("Leave out tokens such as [CLS] and [SEP], and renormalise each row to 1"))
        self.no_special.setCheckable(True)
        self.per_head.toggled.connect(self._rescale)
        self.lifted.toggled.connect(self._rescale)
        self.no_special.toggled.connect(self.filter_chosen)
        return menu

    # --- showing -----------------------------------------------------------------------------------------------

    def show_head(self, look: Look, state: str, layer: int, head: int) -> None:
        """Show one head of a look in a state."""
        self._look, self._state, self._head = look, state, (layer, head)
        self.set_title(tr("Layer {layer} · Head {head}", layer=layer + 1, head=head + 1))
        for name, button in self.states.items():
            button.setVisible(len(look.states) > 1)
            button.setChecked(name == state)
        show_checks(self.badge, self.numbers, look.checks, look.verified)
        self.warning.setVisible(not look.verified)
        if not look.verified:
            self.warning.show_finding("bad", self._why_unverified(look))
        self._draw()

    def show_statistics(self, statistics: Statistics) -> None:
        """Show the numbers of the chosen head."""
        self.statistics.show_head(statistics, *self._head)

    def shown(self) -> dict[str, str]:
        """Return which state stands where: left, and right where two are shown."""
        return {"left": BEFORE, "right": AFTER} if self._state == BOTH else {"left": self._state}

    def _draw(self) -> None:
        look, (layer, head) = self._look, self._head
        shown = self.shown()
        limit = self._limit()
        for place, matrix in self.matrices.items():
            state = shown.get(place)
            self._places[place].setVisible(state is not None)
            self._titles[place].setVisible(self._state == BOTH)
            if state is None:
                continue
            self._titles[place].setText(tr(STATES[state]))
            values = look.matrix(state, layer, head)
            text = caption(look, state, layer, head)
            matrix.set_gamma(LIFTED if self.lifted.isChecked() else 1.0)
            matrix.set_matrix(values, look.tokens, look.tokens, text, state == DIFFERENCE, limit)
        self.meaning.setText(self._say_meaning())
        self._make_room()

    def _make_room(self) -> None:
        """Two maps side by side need the place of the numbers where the card is narrow."""
        self.statistics.setVisible(self._state != BOTH or self.width() >= ROOM_FOR_ALL)

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._make_room()

    def _limit(self) -> float:
        """Return the value at the end of the colour scale."""
        look = self._look
        if self.per_head.isChecked():
            maps = [look.matrix(state, *self._head) for state in self.shown().values()]
            return max(float(np.abs(values).max(initial=0.0)) for values in maps) or 1.0
        return 1.0

    def _say_meaning(self) -> str:
        """Return in words how the colours are scaled and the rows normalised."""
        if self.per_head.isChecked():
            colours = tr("Colours: this head's own scale")
        else:
            colours = tr("Colours: {low} to 1 for all heads", low="−1" if self._state == DIFFERENCE else "0")
        lifted = tr(", γ {gamma}", gamma=LIFTED) if self.lifted.isChecked() else ""
        cut = tr("No special tokens, rows renormalised · ") if self._look.without_special else ""
        return cut + colours + lifted

    def _why_unverified(self, look: Look) -> str:
        words_of = {BEFORE: tr("before"), AFTER: tr("after")}
        failed = [words_of[s] for s, checks in look.checks.items() if checks.get("verified") is not True]
        which = tr(" ({states})", states=", ".join(failed)) if len(look.checks) > 1 else ""
        return tr(
            "These maps failed their check{which} and may not be what the model computed. Don't rely on them.",
            which=which,
        )

    def _rescale(self) -> None:
        self.scale_chosen.emit(self.per_head.isChecked(), LIFTED if self.lifted.isChecked() else 1.0)
        if self._look is not None:
            self._draw()

    # --- files -------------------------------------------------------------------------------------------------

    def _ask_path(self, name: str) -> None:
        if self._look is None:
            return
        ending = name.removesuffix("-all")
        stem = "attention-all-heads" if name == "npz-all" else file_stem(self._state, *self._head)
        path, _ = QFileDialog.getSaveFileName(self, tr(FORMATS[name]), f"{stem}.{ending}", f"*.{ending}")
        if path:
            self.export(name, Path(path))

    def export(self, name: str, path: Path) -> None:
        """Write the head that is shown: png, svg, csv, npz, or npz-all for every head; side by side makes two files."""
        look, shown = self._look, self.shown()
        if not path.suffix:
            path = path.with_suffix("." + name.removesuffix("-all"))
        try:
            if name == "npz-all":
                write_all_heads(path, look)
                self.saved.emit([path])
                return
            paths = []
            for place, state in shown.items():
                target = path if len(shown) == 1 else path.with_stem(f"{path.stem}-{state}")
                if name in ("png", "svg"):
                    matrix = self.matrices[place]
                    matrix.export_png(target) if name == "png" else matrix.export_svg(target)
                else:
                    (write_csv if name == "csv" else write_npz)(target, look, state, *self._head)
                paths.append(target)
        except OSError as error:
            self.failed.emit(error)
            return
        self.saved.emit(paths)
