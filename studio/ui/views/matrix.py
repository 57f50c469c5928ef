"""One head large: who looks at whom, cell by cell, before and after, and its numbers."""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QHBoxLayout, QPushButton, QVBoxLayout, QWidget

from studio.ui.i18n import tr
from studio.ui.theme import GROUP
from studio.ui.threads import background
from studio.ui.views.base import View
from studio.ui.views.figures import writing
from studio.ui.views.files import (
    FORMATS,
    OF_NUMBERS,
    Told,
    Write,
    file_stem,
    path_of,
    write_all_heads,
    write_csv,
    write_npz,
)
from studio.ui.views.look import AFTER, BEFORE, BOTH, DIFFERENCE, Look, Statistics, caption
from studio.ui.views.numbers import StatisticsTable
from studio.ui.views.selection import CELL, HEADS, SCALE, STATE, Selection
from studio.ui.widgets.deep_matrix import DeepMatrix
from studio.ui.widgets.head_figure import WRITERS
from studio.ui.widgets.labels import Strong
from studio.ui.widgets.marginals import Marginals

STATISTICS_WIDTH, ROOM_FOR_ALL, ROOM_FOR_ONE = 184, 780, 420
SLOW_VALUES = 500_000


class MatrixView(View):
    """The leading head's map; both states stand side by side."""

    id = "matrix"
    title = "Matrix"
    help = (
        "Row = query = the token that looks; column = key = the token looked at. Each row adds up to 1. Point at a "
        "cell to read it, click to lock it; Ctrl+wheel or + and − zoom."
    )
    order = 10
    takes_long = takes_all_kinds = True

    def __init__(self, selection: Selection, parent: QWidget | None = None) -> None:
        super().__init__(selection, parent)
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(GROUP)
        self.matrices: dict[str, DeepMatrix] = {}
        self._places: dict[str, QWidget] = {}
        self._titles: dict[str, Strong] = {}
        for place in ("left", "right"):
            self._places[place] = holder = QWidget()
            column = QVBoxLayout(holder)
            column.setContentsMargins(0, 0, 0, 0)
            column.setSpacing(4)
            title = self._titles[place] = Strong()
            matrix = self.matrices[place] = DeepMatrix()
            matrix.cell_hovered.connect(selection.hover)
            matrix.cell_locked.connect(selection.lock)
            column.addWidget(title)
            column.addWidget(matrix, 1)
            row.addWidget(holder, 1)
        self.sums = QPushButton(tr("Sums"), self)
        self.sums.setProperty("toggle", True)
        self.sums.setCheckable(True)
        self.sums.setToolTip(
            tr("Bars beside the map: how widely each row looks, how much each column is looked at. A click locks it.")
        )
        self.sums.toggled.connect(lambda _: self._sum_up())
        self.sums.hide()
        self.numbers = StatisticsTable()
        self.numbers.setFixedWidth(STATISTICS_WIDTH)
        row.addWidget(self.numbers)

    def tools(self) -> list[QWidget]:
        return [self.sums]

    def show_look(self, look: Look) -> None:
        super().show_look(look)
        self.numbers.name_states(look)
        self._draw()

    def show_statistics(self, statistics: Statistics) -> None:
        super().show_statistics(statistics)
        self.numbers.show_head(statistics, *self.selection.head)

    def show_selection(self, part: str) -> None:
        if part in (HEADS, STATE, SCALE) and self.look is not None:
            self._draw()
            self.numbers.show_head(self.statistics, *self.selection.head)
        elif part == CELL and self.look is not None:
            self._lock()

    def shown(self) -> dict[str, str]:
        """Return which state stands where: left, and right where two are shown."""
        state = self.selection.state
        return {"left": BEFORE, "right": AFTER} if state == BOTH else {"left": state}

    def _draw(self) -> None:
        look, head, shown = self.look, self.selection.head, self.shown()
        limit = self._limit()
        for place, matrix in self.matrices.items():
            state = shown.get(place)
            self._places[place].setVisible(state is not None)
            self._titles[place].setVisible(len(shown) > 1)
            if state is None:
                continue
            self._titles[place].setText(tr(look.title(state)))
            matrix.set_gamma(self.selection.gamma)
            matrix.set_mean(self.selection.averaged)
            values, text = look.head(state, *head), caption(look, state, *head)
            matrix.set_matrix(values, look.query_tokens, look.key_tokens, text, state == DIFFERENCE, limit)
        self._sum_up()
        self._lock()
        self._make_room()

    def _sum_up(self) -> None:
        """Show what rows and columns come to, if that is wanted; of a long text it takes longer than a frame."""
        for place, state in self.shown().items() if self.look is not None else ():
            matrix, difference = self.matrices[place], state == DIFFERENCE
            values, wanted = matrix.values, self.sums.isChecked() and not self.look.is_deep

            def take(found: Marginals | None, matrix: DeepMatrix = matrix, values: np.ndarray = values) -> None:
                if matrix.values is values:
                    matrix.set_marginals(found)

            if wanted and values.size > SLOW_VALUES:
                matrix.set_marginals(None)
                find = partial(Marginals.of, values, difference)
                background(find, take, self.failed.emit, self, key=f"sums {place}")
            else:
                take(Marginals.of(np.asarray(values), difference) if wanted else None)

    def _lock(self) -> None:
        for place in self.shown():
            self.matrices[place].blockSignals(True)
            self.matrices[place].lock(*self.selection.cell)
            self.matrices[place].blockSignals(False)

    def _make_room(self) -> None:
        """Two maps side by side need the place of the numbers where there is little."""
        self.numbers.setVisible(self.width() >= (ROOM_FOR_ALL if len(self.shown()) > 1 else ROOM_FOR_ONE))

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._make_room()

    def _limit(self) -> float:
        """Return the value at the end of the colour scale."""
        if not self.selection.per_head or self.look.is_deep:
            return 1.0
        maps = [self.look.matrix(state, *self.selection.head) for state in self.shown().values()]
        return max(float(np.abs(values).max(initial=0.0)) for values in maps) or 1.0

    def meaning(self) -> str:
        if self.selection.per_head and not self.look.is_deep:
            colours = tr("Colours: this head's own scale")
        else:
            low = "−1" if self.selection.state == DIFFERENCE else "0"
            colours = tr("Colours: {low} to 1 for all heads", low=low)
        mean = tr(" · mean of cells that share a pixel") if self.selection.averaged else ""
        lifted = tr(", γ {gamma}", gamma=self.selection.gamma) if self.selection.lifted else ""
        signs = tr("orange: more, blue: less · ") if self.selection.state == DIFFERENCE else ""
        return signs + colours + lifted + mean

    def options(self) -> dict[str, Any]:
        return {"sums": self.sums.isChecked()}

    def set_options(self, options: dict[str, Any]) -> None:
        self.sums.setChecked(bool(options.get("sums", self.sums.isChecked())))

    def formats(self) -> dict[str, str]:
        is_deep = self.look is not None and self.look.is_deep
        return {ending: title for ending, title in FORMATS.items() if not (is_deep and ending in OF_NUMBERS)}

    def file_stem(self) -> str:
        return file_stem(self.selection.state, *self.selection.head, self.look.kind if self.look else "attention")

    def export(self, ending: str, path: Path) -> Write:
        """Return what writes the head that is shown, or with npz-all every head; side by side makes two files."""
        look, head, shown = self.look, self.selection.head, self.shown()
        targets = {place: path_of(path, state, shown) for place, state in shown.items()}
        if ending in WRITERS:
            return writing(ending, {target: self.matrices[place].figure() for place, target in targets.items()})

        def write(told: Told) -> list[Path]:
            if ending == "npz-all":
                write_all_heads(path, look, told)
                return [path]
            for place, state in shown.items():
                if ending == "csv":
                    write_csv(targets[place], look, state, *head, told)
                else:
                    write_npz(targets[place], look, state, *head)
            return [*targets.values()]

        return write


VIEW = MatrixView
