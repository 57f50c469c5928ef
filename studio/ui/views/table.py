"""All heads in a table: every number that is known of them, sorted by any, and which are of one kind."""

from pathlib import Path

import numpy as np
from PySide6.QtWidgets import QVBoxLayout, QWidget

from studio.attention.clusters import head_clusters
from studio.ui.i18n import tr
from studio.ui.theme import GRID
from studio.ui.threads import background
from studio.ui.views.base import View
from studio.ui.views.files import Write, write_table
from studio.ui.views.look import AFTER, BEFORE, BOTH, DIFFERENCE, Look, Statistics, marked
from studio.ui.views.numbers import STATISTICS
from studio.ui.views.selection import HEADS, STATE, Selection
from studio.ui.widgets.labels import Small
from studio.ui.widgets.number_table import Column, NumberTable

CHANGE = ("Change", "Jensen–Shannon divergence of before and after in nats: 0 is no change, 0.693 the most.")
KIND = "Heads alike in these numbers: k-means, as many kinds as tell them apart best; named by what stands out."
NEW = "kind"


class TableView(View):
    """A row for each head; a click chooses it, several with Ctrl or Shift."""

    id = "table"
    title = "Table"
    help = "All heads with their numbers: a click on a column sorts, a click on a row chooses the head."
    order = 40
    takes_all_kinds = True

    def __init__(self, selection: Selection, parent: QWidget | None = None) -> None:
        super().__init__(selection, parent)
        self._kinds: tuple[np.ndarray, list[str]] | None = None
        self.table, self.note = NumberTable(), Small()
        self.table.view.widths = {0: 64, 1: 64}
        self.table.rows_chosen.connect(self._choose)
        self.table.sorted_by.connect(self._order_grid)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(GRID)
        layout.addWidget(self.table, 1)
        layout.addWidget(self.note)

    def show_look(self, look: Look) -> None:
        super().show_look(look)
        self.statistics, self._kinds = Statistics(), None
        self._fill()

    def show_statistics(self, statistics: Statistics) -> None:
        was = self.statistics
        super().show_statistics(statistics)
        self._fill()
        if statistics.by_state and statistics.by_state is not was.by_state:
            state = AFTER if AFTER in statistics.by_state else next(iter(statistics.by_state))
            numbers = dict(statistics.by_state[state])
            look = self.look
            background(lambda: head_clusters(numbers), lambda kinds: self._take_kinds(look, kinds), self.failed.emit,
                       self, key="kinds")  # fmt: skip

    def show_selection(self, part: str) -> None:
        if self.look is None:
            return
        if part == STATE:
            self._fill()
        elif part == HEADS:
            self._mark()

    def columns(self) -> list[Column]:
        """Return what is known of the heads, in the state that is chosen; both states have a column each."""
        n_layers, n_heads = self.look.shape
        layers, heads = np.divmod(np.arange(n_layers * n_heads), n_heads)
        found = [Column(tr("Layer"), layers + 1), Column(tr("Head"), heads + 1)]
        for name, (title, meaning) in STATISTICS.items():
            found += self._of_state(name, tr(title), tr(meaning))
        if self.statistics.change is not None:
            found.append(Column(tr(CHANGE[0]), self.statistics.change.ravel(), tr(CHANGE[1]), id="change"))
        for name, measured in self.statistics.measured.items():
            if name != NEW:
                found.append(Column(tr(measured.title), measured.values.ravel().astype(float), id=name))
        if self._kinds is not None:
            labels, told = self._kinds
            names = [self._kind_name(kind, told) for kind in labels.ravel()]
            found.append(Column(tr("Kind"), names, tr(KIND), id=NEW))
        return found

    def _of_state(self, name: str, title: str, meaning: str) -> list[Column]:
        by_state, state = self.statistics.by_state, self.selection.state
        known = {each: values[name].ravel() for each, values in by_state.items() if name in values}
        if not known:
            return []
        if state == BOTH and len(known) == 2:
            words = {BEFORE: tr("before"), AFTER: tr("after")}
            return [
                Column(f"{title}, {self.look.names.get(each) or words[each]}", known[each], meaning)
                for each in (BEFORE, AFTER)
            ]
        if state == DIFFERENCE and len(known) == 2:
            return [Column(tr("Δ {name}", name=title), known[AFTER] - known[BEFORE], meaning, signed=True)]
        return [Column(title, known[state if state in known else next(iter(known))], meaning, id=name)]

    def _kind_name(self, kind: int, told: list[str]) -> str:
        name = told[kind]
        title = tr(STATISTICS[name.removeprefix("-")][0])
        said = tr("little: {name}", name=title) if name.startswith("-") else title
        return f"{kind + 1} · {said}"

    def _take_kinds(self, look: Look | None, kinds: tuple[np.ndarray, list[str]]) -> None:
        if look is self.look:
            self._kinds = kinds
            self._fill()

    def _fill(self) -> None:
        self.table.set_columns(self.columns())
        self._mark()
        self.note.setText(tr("Measuring the heads…"))
        self.note.setVisible(not self.statistics.by_state)

    def _mark(self) -> None:
        n_heads = self.look.shape[1]
        rows = [layer * n_heads + head for layer, head in self.selection.heads]
        if rows != self.table.chosen():
            self.table.choose(rows)

    def _choose(self, rows: list[int]) -> None:
        n_heads = self.look.shape[1]
        self.selection.choose_heads(tuple(divmod(row, n_heads) for row in rows))

    def _order_grid(self, name: str, lowest_first: bool) -> None:
        """Sorted by kind, the grid can be ordered so too: the kinds are a number that only this view knows."""
        if name == NEW and self._kinds is not None:
            self.measured.emit(NEW, tr("Kind"), self._kinds[0].astype(float), True)

    def meaning(self) -> str:
        if self.look is None or len(self.look.maps) < 2:
            return ""
        state = self.selection.state
        if state == BOTH:
            first, last = (tr(self.look.title(each)) for each in (BEFORE, AFTER))
            return tr("Numbers: {first} and {last}", first=first, last=last)
        return tr("Numbers: {state}", state=tr(self.look.state_words(state)))

    def formats(self) -> dict[str, str]:
        return {"csv": "Table of all heads (CSV)…"}

    def file_stem(self) -> str:
        return "attention-all-heads"

    def export(self, ending: str, path: Path) -> Write:
        """Return what writes all heads in the order on screen; every number reads back as the same float."""
        columns, order = self.table.model.columns, [*self.table.model.order]
        first, *others = [column.title for column in columns]
        # The same in each row, for tables of several models are joined; what it is of would be lost in a header.
        same = {"Model": self.look.subject, "Numbers": self.meaning(), "Text": self.look.text}
        rows = (
            [*(c.values[row] if c.is_text else repr(c.values[row].item()) for c in columns), *same.values()]
            for row in order
        )
        header = [marked(self.look, first), *others, *same]
        return lambda told: write_table(path, header, rows)


VIEW = TableView
