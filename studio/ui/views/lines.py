"""Who looks at whom as lines: several heads in their colours, of all tokens or of one."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QComboBox, QHBoxLayout, QPushButton, QSlider, QVBoxLayout, QWidget

from studio.attention import grouping
from studio.attention.lines import by_words, edges
from studio.ui import words
from studio.ui.i18n import tr
from studio.ui.theme import GRID, GROUP
from studio.ui.threads import background
from studio.ui.views.base import View
from studio.ui.views.figures import writing
from studio.ui.views.files import FORMATS, Write, path_of
from studio.ui.views.look import AFTER, BEFORE, BOTH, DIFFERENCE, Look, caption
from studio.ui.views.selection import CELL, HEADS, HOVER, SCALE, STATE, Selection
from studio.ui.widgets.attention_lines import AttentionLines
from studio.ui.widgets.head_figure import WRITERS
from studio.ui.widgets.labels import Small, Strong
from studio.ui.widgets.legend import Legend
from studio.ui.widgets.lines_figure import LinesFigure
from studio.ui.widgets.strands import SIGNED, Strand, least_weight

BLOCKS = {"all": "All tokens", "aa": "A → A", "ab": "A → B", "ba": "B → A", "bb": "B → B"}
LEAST_SHARE, USUAL_SHARE = 30, 90  # per cent of a row's weight
QUICK_CELLS = 60_000  # more take longer than a frame to put in order
CHUNK, MOST_LINES = 256, 60_000
Head = tuple[int, int]


@dataclass(frozen=True, eq=False)
class Side:
    """The tokens or words of one text: `starts` [unit] are their first tokens, `shown` those that have a place."""

    starts: np.ndarray
    ends: np.ndarray
    labels: list[str]
    shown: np.ndarray

    def names(self) -> list[str]:
        """Return what stands in the places."""
        return [self.labels[i] for i in self.shown]


@dataclass(frozen=True, eq=False)
class Units:
    """What stands on the left and on the right; except of cross attention, units of the same text."""

    left: Side
    right: Side

    @property
    def queries(self) -> np.ndarray:
        """The units on the left, in the order of their places."""
        return self.left.shown

    @property
    def keys(self) -> np.ndarray:
        """The units on the right, in the order of their places."""
        return self.right.shown

    def weights(self, look: Look, state: str, head: Head, rows: np.ndarray) -> np.ndarray:
        """Return the weights of some units of the left side on all of the right, [row, key]."""
        first, last = int(rows[0]), int(rows[-1])
        starts, ends = self.left.starts, self.left.ends
        values = _part(look, state, head, slice(int(starts[first]), int(ends[last])), slice(None))
        begin = starts[first : last + 1] - starts[first]
        return by_words(values, begin, self.right.starts)[np.ix_(rows - first, self.keys)]

    def column(self, look: Look, state: str, head: Head, key: int) -> np.ndarray:
        """Return how much each unit of the left side looks at one of the right, [query]."""
        columns = slice(int(self.right.starts[key]), int(self.right.ends[key]))
        values = _part(look, state, head, slice(None), columns)
        return by_words(values, self.left.starts, np.zeros(1, dtype=np.intp))[self.queries, 0]

    def strand(self, look: Look, state: str, head: Head, share: float, series: int) -> Strand:
        """Return the lines of one head: of each row the strongest that make up a share of it."""
        parts = []
        for start in range(0, len(self.queries), CHUNK):
            rows = self.queries[start : start + CHUNK]
            queries, keys, weights = edges(self.weights(look, state, head, rows), share, most=MOST_LINES)
            parts.append((queries + start, keys, weights))
        if not parts:
            return Strand(np.zeros(0, int), np.zeros(0, int), np.zeros(0), series=series)
        queries, keys, weights = (np.concatenate(each) for each in zip(*parts, strict=True))
        order = np.argsort(np.abs(weights), kind="stable")[-MOST_LINES:]
        limit = float(np.abs(weights).max(initial=0.0)) or 1.0
        return Strand(queries[order], keys[order], weights[order], limit, series)


class LinesView(View):
    """The chosen heads as lines; both states stand side by side."""

    id = "lines"
    title = "Lines"
    help = (
        "A line from each token that looks (query, on the left) to those it looks at (keys, on the right): the "
        "stronger, the more weight. Point at a token to see its lines alone, click to lock it."
    )
    order = 20
    takes_all_kinds = True

    def __init__(self, selection: Selection, parent: QWidget | None = None) -> None:
        super().__init__(selection, parent)
        self.share, self.merges, self.block = USUAL_SHARE, False, "all"
        self._units: Units | None = None
        self._series: dict[Head, int] = {}  # a head keeps its colour while it is chosen
        self._hidden: set[Head] = set()
        self.bar = self._make_tools()
        self.legend = Legend(below=0)
        self.legend.toggled.connect(self._toggle)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        layout.addWidget(self.legend)
        row = QHBoxLayout()
        row.setSpacing(GROUP)
        self.lines: dict[str, AttentionLines] = {}
        self._places: dict[str, QWidget] = {}
        self._titles: dict[str, Strong] = {}
        for place in ("left", "right"):
            self._places[place] = holder = QWidget()
            column = QVBoxLayout(holder)
            column.setContentsMargins(0, 0, 0, 0)
            column.setSpacing(4)
            self._titles[place], lines = Strong(), AttentionLines()
            lines.pair_hovered.connect(lambda query, key: selection.hover(*self._tokens(query, key)))
            lines.pair_locked.connect(lambda query, key: selection.lock(*self._tokens(query, key)))
            self.lines[place] = lines
            column.addWidget(self._titles[place])
            column.addWidget(lines, 1)
            row.addWidget(holder, 1)
        layout.addLayout(row, 1)

    def _make_tools(self) -> QWidget:
        self.blocks = QComboBox()
        self.blocks.setAccessibleName(tr("Which text looks at which"))
        for name, title in BLOCKS.items():
            self.blocks.addItem(tr(title), name)
        self.blocks.setToolTip(
            tr("Of a pair of texts: which looks at which. Special tokens belong to neither and are left out.")
        )
        self.blocks.currentIndexChanged.connect(lambda _: self._set("block", self.blocks.currentData()))
        self.words = _toggle(tr("Words"), tr("Pieces of a word as one: of keys the sum, of queries the mean"))
        self.words.toggled.connect(lambda on: self._set("merges", on))
        self.layer = QPushButton(tr("Whole layer"))
        self.layer.setProperty("flat", True)
        self.layer.setToolTip(tr("Show all heads of this layer; Ctrl+click in the grid adds or takes away one"))
        self.layer.clicked.connect(self._choose_layer)
        self.slider = QSlider(Qt.Orientation.Horizontal)
        self.slider.setRange(LEAST_SHARE, 100)
        self.slider.setValue(self.share)
        self.slider.setFixedWidth(56)
        self.slider.setAccessibleName(tr("Share of each row that is drawn"))
        self.slider.setToolTip(tr("Of each row the strongest lines that together make up this share of it are drawn"))
        self.slider.valueChanged.connect(lambda value: self._set("share", value))
        self.drawn = Small(words.percent(self.share / 100))
        self.drawn.setWordWrap(False)
        self.drawn.setToolTip(self.slider.toolTip())
        self.drawn.setFixedWidth(self.drawn.fontMetrics().horizontalAdvance(words.percent(1.0)) + 4)
        self.slider.valueChanged.connect(lambda value: self.drawn.setText(words.percent(value / 100)))
        bar = QWidget(self)
        bar.hide()
        row = QHBoxLayout(bar)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(GRID)
        for tool in (self.blocks, self.words, self.layer, self.slider, self.drawn):
            row.addWidget(tool)
        return bar

    def tools(self) -> list[QWidget]:
        return [self.bar]

    # --- showing -----------------------------------------------------------------------------------------------

    def show_look(self, look: Look) -> None:
        super().show_look(look)
        self.blocks.setVisible(self._is_pair())
        if not self._is_pair() and self.block != "all":
            self.blocks.setCurrentIndex(0)
        self._arrange()

    def show_selection(self, part: str) -> None:
        if self.look is None:
            return
        if part in (HEADS, STATE, SCALE):
            self._draw()
        elif part == CELL:
            self._lock()
        elif part == HOVER:
            for lines in self.lines.values():
                lines.hover(*self._rows(*self.selection.hovered))

    def shown(self) -> dict[str, str]:
        """Return which state stands where: left, and right where two are shown."""
        state = self.selection.state
        return {"left": BEFORE, "right": AFTER} if state == BOTH else {"left": state}

    def heads(self) -> list[Head]:
        """Return the heads that are drawn, the leading one first."""
        return [head for head in self.selection.heads if head not in self._hidden]

    def _set(self, name: str, value: Any) -> None:
        if getattr(self, name) != value:
            setattr(self, name, value)
            if self.look is not None:
                self._draw() if name == "share" else self._arrange()

    def _arrange(self) -> None:
        """Put the tokens or words of both sides in their places."""
        self._units = units_of(self.look, self.merges, self.block)
        for lines in self.lines.values():
            lines.set_tokens(self._units.left.names(), self._units.right.names())
        self._draw()
        self._lock()

    def _draw(self) -> None:
        look, units, shown = self.look, self._units, self.shown()
        self._name_heads()
        heads, share = self.heads(), self.share / 100
        per_head, gamma = self.selection.per_head, self.selection.gamma
        series = {head: SIGNED if self.selection.state == DIFFERENCE else self._series[head] for head in heads}

        def find() -> dict[str, list[Strand]]:
            found = {
                place: [units.strand(look, state, head, share, series[head]) for head in heads]
                for place, state in shown.items()
            }
            limits = [max(s.limit for s in same) if per_head else 1.0 for same in zip(*found.values(), strict=True)]
            return {
                place: [_visible(s, limit, gamma) for s, limit in zip(strands, limits, strict=True)]
                for place, strands in found.items()
            }

        def take(found: dict[str, list[Strand]]) -> None:
            if look is not self.look or units is not self._units:
                return
            for place, strands in found.items():
                state = shown[place]
                rows = lambda side, index, state=state: self._all_of(state, heads, side, index)  # noqa: E731
                self.lines[place].set_strands(strands, [_short(head) for head in heads], rows, gamma)

        for place, holder in self._places.items():
            holder.setVisible(place in shown)
            self._titles[place].setVisible(len(shown) > 1)
            self._titles[place].setText(tr(look.title(shown[place])) if place in shown else "")
        cells = len(units.left.starts) * len(units.right.starts) * len(heads) * len(shown)
        if cells > QUICK_CELLS or not isinstance(look.maps[next(iter(look.maps))], np.ndarray):
            background(find, take, self.failed.emit, self, key="lines")
        else:
            # An earlier answer that is still on its way would come over this one.
            background(lambda: None, lambda _: None, self.failed.emit, self, key="lines")
            take(find())

    def _all_of(self, state: str, heads: list[Head], side: str, index: int) -> np.ndarray:
        """Return every weight of one unit, [head, other unit]."""
        units = self._units
        if side == "key":
            rows = [units.column(self.look, state, head, int(units.keys[index])) for head in heads]
        else:
            rows = [units.weights(self.look, state, head, units.queries[[index]])[0] for head in heads]
        return np.stack(rows) if rows else np.zeros((0, 0))

    def _name_heads(self) -> None:
        """Give each chosen head a colour, which it keeps, and an entry in the legend."""
        heads = self.selection.heads
        for head in set(self._series) - set(heads):
            self.legend.remove(_key(head))
            del self._series[head]
        self._hidden &= set(heads)
        signed = self.selection.state == DIFFERENCE
        for head in heads:
            if head not in self._series:
                free = next(i for i in range(len(heads) + 1) if i not in self._series.values())
                self._series[head] = free
                self.legend.add(_key(head), _short(head), free, "line")
        self.legend.setVisible(len(heads) > 1 and not signed)

    def _toggle(self, key: str, shown: bool) -> None:
        head = tuple(int(part) for part in key.split("."))
        self._hidden.discard(head) if shown else self._hidden.add(head)
        self._draw()

    def _lock(self) -> None:
        for lines in self.lines.values():
            lines.lock(*self._rows(*self.selection.cell))

    def _choose_layer(self) -> None:
        if self.look is not None:
            layer, head = self.selection.head
            others = [(layer, other) for other in range(self.look.shape[1]) if other != head]
            self.selection.choose_heads(((layer, head), *others))

    def _is_pair(self) -> bool:
        return self.look is not None and not self.look.is_cross and {0, 1} <= set(self.look.segments)

    def _rows(self, query: int, key: int) -> tuple[int, int]:
        """Return in which rows the tokens stand, -1 for those that do not."""
        if self._units is None:
            return -1, -1
        found = []
        for token, side in ((query, self._units.left), (key, self._units.right)):
            unit = int(np.searchsorted(side.starts, token, side="right")) - 1
            at = np.flatnonzero(side.shown == unit) if token >= 0 else []
            found.append(int(at[0]) if len(at) else -1)
        return found[0], found[1]

    def _tokens(self, query: int, key: int) -> tuple[int, int]:
        """Return the (first) tokens of rows, -1 for none."""
        units = self._units
        return (
            int(units.left.starts[units.queries[query]]) if query >= 0 else -1,
            int(units.right.starts[units.keys[key]]) if key >= 0 else -1,
        )

    # --- words and files ---------------------------------------------------------------------------------------

    def meaning(self) -> str:
        parts = [tr("No special tokens, rows renormalised")] if self.look and self.look.without_special else []
        if self.selection.state == DIFFERENCE:
            parts.append(tr("orange: more, blue: less"))
        parts.append(tr("{share} of each row", share=words.percent(self.share / 100)))
        parts.append(tr("own scale each") if self.selection.per_head else tr("Scale 0 to 1"))
        return " · ".join(parts) + (tr(", γ {gamma}", gamma=self.selection.gamma) if self.selection.lifted else "")

    def formats(self) -> dict[str, str]:
        return {ending: FORMATS[ending] for ending in WRITERS}

    def file_stem(self) -> str:
        layer, head = self.selection.head
        kind = "" if self.look is None or self.look.kind == "attention" else f"{self.look.kind}-"
        return f"attention-lines-{kind}layer{layer + 1}-head{head + 1}-{self.selection.state}"

    def export(self, ending: str, path: Path) -> Write:
        """Return what writes the lines that are shown, all or those of the locked token, of two states each a file."""
        shown = self.shown()
        figures = {path_of(path, state, shown): self.figure(place) for place, state in shown.items()}
        return writing(ending, {target: lambda figure=figure: figure for target, figure in figures.items()})

    def figure(self, place: str = "left") -> LinesFigure:
        """Return what is shown as a figure."""
        lines, state, heads = self.lines[place], self.shown()[place], self.heads()
        layer, head = heads[0] if heads else self.selection.head
        said = [caption(self.look, state, layer, head)]
        if len(heads) > 1:
            said.append(tr("and {heads}", heads=", ".join(map(_short, heads[1:]))))
        said += [tr("the strongest lines"), self.meaning()]
        if self.merges:
            said.append(tr("pieces of words together"))
        if self.block != "all":
            said.append(tr(BLOCKS[self.block]))
        strands = lines.strands if lines.active()[0] == "" else lines.active_strands()
        return LinesFigure(
            strands, lines.names, lines.query_tokens, lines.key_tokens, " · ".join(said), self.meaning(), lines.gamma
        )

    def options(self) -> dict[str, Any]:
        return {"share": self.share, "words": self.merges, "block": self.block}

    def set_options(self, options: dict[str, Any]) -> None:
        self.slider.setValue(int(options.get("share", self.share)))
        self.words.setChecked(bool(options.get("words", self.merges)))
        if options.get("block") in BLOCKS:
            self.blocks.setCurrentIndex(self.blocks.findData(options["block"]))


def units_of(look: Look, merges: bool, block: str) -> Units:
    """Return what stands on both sides: tokens or words, of both texts or of one each."""
    n_tokens = len(look.tokens)
    segments = look.segments or [None] * n_tokens
    groups = grouping.words(look.tokens, look.word_ids, segments) if merges else range(n_tokens)
    starts = grouping.starts(groups)
    whose = np.array([-1 if segments[i] is None else segments[i] for i in starts])
    left, right = (
        _side(look.tokens, starts, np.arange(len(starts)) if block == "all" else np.flatnonzero(whose == "ab".index(c)))
        for c in block[:2]
    )
    if look.is_cross:  # of the decoder's tokens nobody told which are of one word
        places = np.arange(len(look.queries))
        left = _side(look.queries, places, places)
    return Units(left, right)


def _side(tokens: list[str], starts: np.ndarray, shown: np.ndarray) -> Side:
    ends = np.append(starts[1:], len(tokens))
    return Side(starts, ends, [grouping.joined(tokens[a:b]) for a, b in zip(starts, ends, strict=True)], shown)


def _part(look: Look, state: str, head: Head, rows: slice, columns: slice) -> np.ndarray:
    if state == DIFFERENCE:
        return _part(look, AFTER, head, rows, columns) - _part(look, BEFORE, head, rows, columns)
    return np.asarray(look.maps[state][*head, rows, columns], dtype=np.float64)


def _visible(strand: Strand, limit: float, gamma: float) -> Strand:
    seen = np.abs(strand.weights) >= least_weight(limit, gamma)
    return Strand(strand.queries[seen], strand.keys[seen], strand.weights[seen], limit, strand.series)


def _short(head: Head) -> str:
    return tr("L{layer} H{head}", layer=head[0] + 1, head=head[1] + 1)


def _key(head: Head) -> str:
    return f"{head[0]}.{head[1]}"


def _toggle(text: str, tip: str) -> QPushButton:
    button = QPushButton(text)
    button.setProperty("toggle", True)
    button.setCheckable(True)
    button.setToolTip(tip)
    return button


VIEW = LinesView
