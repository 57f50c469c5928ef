"""The numbers beside a head: the badge with its checks, and the table of its statistics."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QGridLayout, QLabel, QWidget

from studio.ui import words
from studio.ui.i18n import tr
from studio.ui.theme import GRID, number_font
from studio.ui.views.look import AFTER, BEFORE, Look, Statistics
from studio.ui.widgets.chips import Chip
from studio.ui.widgets.labels import Small

STATISTICS = {
    "entropy": ("Entropy", "How widely the rows look, in nats: 0 is one token, ln n is all n alike."),
    "max": ("Largest weight", "The largest weight of a row, on average."),
    "distance": ("Distance", "How many tokens away the rows look, on average."),
    "sink": ("On the first", "Weight on the first token, on average."),
    "previous": ("On the previous", "Weight on the token before, on average."),
    "self": ("On itself", "Weight of the tokens on themselves, on average."),
}

SMALL = 0.01  # three decimals no longer tell such numbers from each other
NAME_WIDTH = 90  # of a column, in pixels


class StatisticsTable(QWidget):
    """The numbers of one head, a column for each state."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._grid = QGridLayout(self)
        self._grid.setContentsMargins(0, 0, 0, 0)
        self._grid.setHorizontalSpacing(GRID)
        self._grid.setVerticalSpacing(4)
        self._grid.setColumnStretch(0, 1)
        self._heads = {BEFORE: Small(), AFTER: Small()}
        for column, label in enumerate(self._heads.values(), 1):
            self._grid.addWidget(label, 0, column, Qt.AlignmentFlag.AlignRight)
        self._of_one = ""  # the state of a look that has no other
        self._names: dict[str, Small] = {}
        self._cells: dict[tuple[str, str], QLabel] = {}
        for row, (name, (title, meaning)) in enumerate(STATISTICS.items(), 1):
            self._add_row(row, name, tr(title), tr(meaning))
        meaning = tr("Jensen–Shannon divergence of before and after in nats: 0 is no change, 0.693 the most.")
        self._add_row(len(STATISTICS) + 1, "change", tr("Change"), meaning)
        self._grid.setRowStretch(len(STATISTICS) + 2, 1)

    def name_states(self, look: Look) -> None:
        """Head the columns with what the states of a look are called; of one state there is one column."""
        self._of_one = next(iter(look.maps)) if len(look.maps) == 1 else ""
        for state, label in self._heads.items():
            name = tr(look.title(state))
            label.setText(label.fontMetrics().elidedText(name, Qt.TextElideMode.ElideMiddle, NAME_WIDTH))
            label.setToolTip(name)

    def show_head(self, statistics: Statistics, layer: int, head: int) -> None:
        """Show the numbers of a head; what is not known yet is a dash, what can't be known is hidden."""
        # For each cell that comes while it is seen the whole window would be laid out anew.
        was_hidden = self.isHidden()
        self.hide()
        self._show_head(statistics, layer, head)
        self.setVisible(not was_hidden)

    def _show_head(self, statistics: Statistics, layer: int, head: int) -> None:
        by_state = statistics.by_state or {self._of_one: {}}  # nothing is measured yet
        one_state = len(by_state) == 1 and "" not in by_state
        known = {name for found in statistics.by_state.values() for name in found} or {*STATISTICS}
        for name in STATISTICS:
            self._names[name].setVisible(name in known)
        for state, label in self._heads.items():
            label.setVisible(not one_state)
            for name in STATISTICS:
                values = statistics.by_state.get(state, {}).get(name)
                cell = self._cells[name, state]
                cell.setVisible(name in known and (state in by_state or not one_state))
                _show_number(cell, values, layer, head)
        self._names["change"].setVisible(not one_state)
        self._cells["change", BEFORE].hide()
        self._cells["change", AFTER].setVisible(not one_state)
        _show_number(self._cells["change", AFTER], statistics.change, layer, head)

    def number(self, name: str, state: str = AFTER) -> str:
        """Return a number as it is shown."""
        return self._cells[name, state].text()

    def _add_row(self, row: int, name: str, title: str, meaning: str) -> None:
        label = self._names[name] = Small(title)
        label.setWordWrap(False)
        label.setToolTip(meaning)
        self._grid.addWidget(label, row, 0)
        for column, state in enumerate((BEFORE, AFTER), 1):
            cell = self._cells[name, state] = QLabel("–")
            cell.setFont(number_font())
            cell.setAccessibleName(title)
            self._grid.addWidget(cell, row, column, Qt.AlignmentFlag.AlignRight)


def show_checks(
    chip: Chip, numbers: QLabel, checks: Mapping[str, Mapping[str, Any]], verified: bool, kind: str = "attention"
) -> None:
    """Show whether the maps passed their checks, and the numbers behind it: of the states the larger error.

    kind: whose layers and heads are told; the errors are of all kinds.
    """
    chip.set(tr("Verified") if verified else tr("Not verified"), "good" if verified else "bad")
    first = next(iter(checks.values()))
    logits = _worst(checks, "logit_difference")
    layers, heads = (_of_kind(first.get(name), kind) for name in ("n_layers", "n_heads"))
    parts = [
        tr("rows {error}", error=_short(_worst(checks, "row_sum_error"))),
        tr("leak {error}", error=_short(_worst(checks, "causal_leak"))),
        tr("logits equal") if logits == 0 else tr("logits {error}", error=_short(logits)),
        tr("{layers} × {heads} heads", layers=layers, heads=heads),
    ]
    numbers.setText(" · ".join(parts))
    explained = tr(
        "rows: how far a row's sum is from 1. leak: the largest weight on a token that may not be seen. logits: the "
        "model's answer with and without the capture. heads: as many as the model has."
    )
    for widget in (chip, numbers):
        widget.setToolTip(f"{numbers.text()}\n{explained}")


def _of_kind(counts: Any, kind: str) -> Any:
    return counts.get(kind) if isinstance(counts, Mapping) else counts


def _worst(checks: Mapping[str, Mapping[str, Any]], name: str) -> float | None:
    """Return the largest of a check over the states, None where it was not finite."""
    values = [found.get(name) for found in checks.values()]
    return None if any(value is None for value in values) else max(values)


def _short(value: float | None) -> str:
    if value is None:
        return "NaN"
    return "0" if value == 0 else f"{value:.0e}".replace("e-0", "e-")


def _show_number(cell: QLabel, values: np.ndarray | None, layer: int, head: int) -> None:
    known = values is not None
    cell.setText(three(float(values[layer, head])) if known else "–")
    cell.setToolTip(repr(float(values[layer, head])) if known else "")


def compared(*values: float) -> list[str]:
    """Return numbers that are compared, as text with three decimals; of small ones with a power of ten they share."""
    largest = max(map(abs, values))
    if not 0 < largest < SMALL:  # nor any that is none
        return [three(value) for value in values]
    power = math.floor(math.log10(largest))
    return [f"{value / 10**power:.3f}e{power}".replace("-", "−") for value in values]


def three(value: float) -> str:
    """Return a number as a column of numbers wants it: three decimals, fewer where it is large."""
    return f"{value:.3f}".replace("-", "−") if abs(value) < 9.9995 else words.number(value, 3)
