"""What one number of a map is: from query and key over score, scale, mask and softmax to what is passed on."""

import numpy as np
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QScrollArea, QVBoxLayout, QWidget

from studio.ui import words
from studio.ui.i18n import tr
from studio.ui.theme import GRID
from studio.ui.views.of_vectors import VectorView
from studio.ui.views.selection import HOVER, Selection
from studio.ui.widgets.labels import Small, Strong
from studio.ui.widgets.stages import Stage

STAGES = {
    "query": "Query",
    "key": "Key",
    "score": "Score",
    "scale": "Scale",
    "mask": "Mask",
    "softmax": "Softmax",
    "value": "Value",
    "passed": "Passed on",
}
UNKNOWN = {
    "query": "What “{query}” looks for, as a vector.",
    "key": "What “{key}” can be found by, as a vector.",
    "score": "Both multiplied number by number and added up: how well they fit.",
    "scale": "The score times a fixed number.",
    "mask": "Plus −∞ where “{query}” may not look.",
    "value": "What “{key}” has to say, as a vector.",
    "passed": "The weight times the value.",
}


class CellView(VectorView):
    """The cell under the pointer, else the locked one; of a token that looks at nothing in particular its strongest."""

    id = "cell"
    title = "One cell"
    help = "What am I looking at? The cell under the pointer, step by step, from query and key to what is passed on."
    order = 35
    takes_filtered = False

    def __init__(self, selection: Selection, parent: QWidget | None = None) -> None:
        super().__init__(selection, parent)
        self._cell = (-1, -1)
        self.heading, self.note = Strong(), Small()
        self.heading.setWordWrap(True)
        self.stages = {name: Stage(tr(title)) for name, title in STAGES.items()}
        inside = QWidget()
        inside.setObjectName("scrolled")
        column = QVBoxLayout(inside)
        column.setContentsMargins(0, 0, GRID, 0)
        column.setSpacing(GRID)
        column.addWidget(self.heading)
        column.addWidget(self.note)
        for stage in self.stages.values():
            column.addWidget(stage)
        column.addStretch(1)
        self.area = QScrollArea()
        self.area.setAccessibleName(tr("From query and key to what is passed on, step by step"))
        self.area.setProperty("ring", True)
        self.area.setWidget(inside)
        self.area.setWidgetResizable(True)
        self.area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.area)

    def show_selection(self, part: str) -> None:
        # Where the pointer left the map, the last cell stays to be read.
        if part == HOVER and min(self.selection.hovered) < 0 and min(self.selection.cell) < 0 and self._cell[0] >= 0:
            return
        super().show_selection(part)

    def cell(self) -> tuple[int, int]:
        """Return the query and the key that are explained, counted as the tokens on screen; -1 for none."""
        n_tokens = len(self.look.tokens)
        for query, key in (self.selection.hovered, self.selection.cell):
            if 0 <= query < n_tokens and 0 <= key < n_tokens:
                return query, key
        query = self.selection.hovered[0] if self.selection.hovered[0] >= 0 else self.selection.cell[0]
        if 0 <= query < n_tokens:
            return query, int(self._map_row(query).argmax())
        return self._cell if max(self._cell) < n_tokens else (-1, -1)

    def show_vectors(self) -> None:
        query, key = self._cell = self.cell()
        known = query >= 0
        for stage in self.stages.values():
            stage.setVisible(known)
        self.heading.setText(tr("What am I looking at?"))
        if not known:
            self.note.setText(
                tr(
                    "Point at a cell of the matrix, or click one: here it is taken apart step by step. The button with "
                    "two columns, above, shows the matrix beside this."
                )
            )
            self.note.show()
            return
        tokens = self.look.tokens
        self.heading.setText(tr("“{query}” looks at “{key}”", query=tokens[query], key=tokens[key]))
        self.note.setText(self.waiting())
        self.note.setVisible(bool(self.note.text()))
        if self.vectors() is None:
            self._show_unknown(query, key)
        else:
            self._show_known(query, key)

    def meaning(self) -> str:
        return tr("Vectors: {state}", state=self.state_words()) if self.look and self.state_words() else ""

    def _map_row(self, query: int) -> np.ndarray:
        """Return where a query looks, as the map on screen has it."""
        return np.asarray(self.look.maps[self.state()][*self.selection.head, query], dtype=np.float64)

    def _show_unknown(self, query: int, key: int) -> None:
        """Say what each step will be; of the map itself the weight is known already."""
        names, row = {"query": self.look.tokens[query], "key": self.look.tokens[key]}, self._map_row(query)
        for name, said in UNKNOWN.items():
            self.stages[name].show_step(tr(said).format(**names), None)
            self.stages[name].picture.clear()
        self.stages["softmax"].show_step(self._share_of_row(row[key], row), row[key])
        self.stages["softmax"].picture.show_bars(row, self.look.tokens, key)

    def _show_known(self, query: int, key: int) -> None:
        vectors, places, tokens = self.vectors(), self.places(), self.look.tokens
        at, of = int(places[query]), int(places[key])
        row, names = vectors.row(at), {"query": tokens[query], "key": tokens[key]}
        q, k, v = (each.astype(np.float64) for each in (vectors.query[at], vectors.key[of], vectors.value[of]))
        limit = float(max(np.abs(vectors.query[at]).max(), np.abs(vectors.key[places]).max()))
        weight, added = float(row.weights[of]), float(row.added[of])
        steps = {
            "query": (tr("What “{query}” looks for: {n} numbers. Their length:", n=len(q), **names), _length(q)),
            "key": (tr("What “{key}” can be found by: {n} numbers. Their length:", n=len(k), **names), _length(k)),
            "score": (tr("Both multiplied number by number, and added up: how well they fit."), row.scores[of]),
            "scale": (self._scale_words(vectors.scale, len(q)), row.scaled[of]),
            "mask": (self._mask_words(added, names), row.scaled[of] + added),
            "softmax": (self._share_of_row(weight, row.weights), weight),
            "value": (tr("What “{key}” has to say: {n} numbers. Their length:", n=len(v), **names), _length(v)),
            "passed": (self._passed_words(weight, v, vectors.output[at]), weight * _length(v)),
        }
        for name, (said, number) in steps.items():
            self.stages[name].show_step(said, number)
        for name, values, most in (
            ("query", q, limit), ("key", k, limit), ("score", q * k, 0.0),
            ("value", v, 0.0), ("passed", weight * v, float(np.abs(vectors.value[of]).max())),
        ):  # fmt: skip
            self.stages[name].picture.show_vector(values, most)
        self.stages["softmax"].picture.show_bars(row.weights[places], tokens, key)

    def _scale_words(self, scale: float, width: int) -> str:
        if np.isclose(scale, width**-0.5):
            return tr("Times {scale} = 1/√{n}: longer vectors would else make the weights extreme.",
                      scale=words.number(scale), n=width)  # fmt: skip
        return tr("Times {scale}, as this model does.", scale=words.number(scale))

    def _mask_words(self, added: float, names: dict[str, str]) -> str:
        if added == -np.inf:
            return tr("Plus −∞: “{query}” may not look at “{key}”.", **names)
        if added == 0:
            return tr("Plus 0: “{query}” may look at “{key}”.", **names)
        return tr("Plus {added}: what this model adds for how far apart they stand.", added=words.number(added))

    def _share_of_row(self, weight: float, row: np.ndarray) -> str:
        said = tr("e to this, as a share of the sum over all {n} keys: {share}. The row's sum: {sum}.", n=len(row),
                  share=words.percent(weight, 1), sum=f"{row.sum():.4f}")  # fmt: skip
        if self.look.without_special and self.vectors() is not None:
            query, key = self._cell
            renormalised = words.number(float(self._map_row(query)[key]))
            said += " " + tr("Without special tokens, as the map shows it: {value}.", value=renormalised)
        return said

    def _passed_words(self, weight: float, value: np.ndarray, output: np.ndarray) -> str:
        return tr(
            "The weight times the value, {weight} × {length}. Of all keys together the head passes on {whole}.",
            weight=words.number(weight), length=words.number(_length(value)),
            whole=words.number(_length(output.astype(np.float64))),
        )  # fmt: skip


def _length(vector: np.ndarray) -> float:
    return float(np.linalg.norm(vector))


VIEW = CellView
