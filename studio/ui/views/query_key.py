"""Why a token looks where it does: its query beside every key, product by product, to the weights."""

from pathlib import Path

import numpy as np
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QVBoxLayout, QWidget

from studio.attention.vectors import HeadVectors
from studio.core.files import renamed
from studio.ui.i18n import tr
from studio.ui.views.files import Write, write_table
from studio.ui.views.look import caption
from studio.ui.views.of_vectors import VectorView
from studio.ui.views.selection import Selection
from studio.ui.widgets.labels import Body
from studio.ui.widgets.vector_rows import QueryRow, VectorRows


class QueryKeyView(VectorView):
    """One query of the leading head: the locked token's, else the one under the pointer, else the first."""

    id = "query_key"
    title = "Query · key"
    help = (
        "How the weights of one row come about: the query of the token that looks times the key of each token looked "
        "at, scaled, masked, and made to add up to 1 by softmax."
    )
    order = 30
    takes_filtered = False

    def __init__(self, selection: Selection, parent: QWidget | None = None) -> None:
        super().__init__(selection, parent)
        self._query = 0
        self.rows = VectorRows()
        self.rows.key_hovered.connect(lambda key: selection.hover(*((self._query, key) if key >= 0 else (-1, -1))))
        self.rows.key_chosen.connect(self._choose)
        self.rows.moved.connect(self._move)
        self.note = Body()
        self.note.setAlignment(Qt.AlignmentFlag.AlignCenter)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.note, 1)
        layout.addWidget(self.rows, 1)

    def show_vectors(self) -> None:
        why = self.waiting()
        self.note.setText(why)
        self.note.setVisible(bool(why))
        self.rows.setVisible(not why)
        if why:
            return
        query = self._wanted()
        self._query = query
        row = self.row(query)
        vectors, places = self.vectors(), self.places()
        largest = float(max(np.abs(vectors.query[places]).max(), np.abs(vectors.key[places]).max()))
        self.rows.show_row(row, largest)
        chosen, pointed = self.selection.cell, self.selection.hovered
        self.rows.mark(chosen[1] if chosen[0] == query else pointed[1] if pointed[0] == query else -1)

    def row(self, query: int) -> QueryRow:
        """Return what is shown of a query, counted as the tokens on screen."""
        vectors, places, tokens = self.vectors(), self.places(), self.look.tokens
        found = vectors.row(int(places[query]))
        return QueryRow(
            tokens[query], tokens, vectors.query[places[query]], vectors.key[places], vectors.scale,
            found.scores[places], found.scaled[places], found.added[places], found.weights[places],
        )  # fmt: skip

    def _wanted(self) -> int:
        for query in (self.selection.cell[0], self.selection.hovered[0], self._query):
            if 0 <= query < len(self.look.tokens):
                return query
        return 0

    def _choose(self, key: int) -> None:
        cell = (self._query, key)
        self.selection.lock(*((self._query, -1) if cell == self.selection.cell else cell))

    def _move(self, step: int) -> None:
        if self.look is not None:
            self.selection.lock(min(max(0, self._query + step), len(self.look.tokens) - 1), self.selection.cell[1])

    def meaning(self) -> str:
        parts = [tr("Vectors: {state}", state=self.state_words())] if self.look and self.state_words() else []
        if self.look and self.look.without_special:
            parts.append(tr("Softmax over all tokens, special ones too"))
        return " · ".join(parts)

    def formats(self) -> dict[str, str]:
        known = self.look is not None and self.vectors() is not None
        return {"csv": "Scores and weights of this query (CSV)…", "npz": "Vectors of this head (NPZ)…"} if known else {}

    def file_stem(self) -> str:
        layer, head = self.selection.head
        return f"query-key-layer{layer + 1}-head{head + 1}-{self.state()}"

    def export(self, ending: str, path: Path) -> Write:
        """Return what writes the rows that are shown as CSV, or the head's vectors with their mask as NPZ."""
        if ending == "npz":
            vectors = self.vectors()
            return lambda told: _write_vectors(vectors, path)
        row, said = self.row(self._query), caption(self.look, self.state(), *self.selection.head)
        header = [f"key of query {self._query + 1} “{row.token}” · {said}", "q·k", "scaled", "mask", "softmax"]
        numbers = zip(row.score, row.scaled, row.added, row.weight, strict=True)
        rows = [[token, *(f"{value:.9g}" for value in of)] for token, of in zip(row.tokens, numbers, strict=True)]
        return lambda told: write_table(path, header, rows)


def _write_vectors(vectors: HeadVectors, path: Path) -> list[Path]:
    with renamed(path, shared=True) as file:
        vectors.save(file)
    return [path]


VIEW = QueryKeyView
