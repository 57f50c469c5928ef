"""Draws what a task shows: each kind of block of `core.blocks` once."""

from collections.abc import Callable
from typing import Any

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QSizePolicy, QVBoxLayout, QWidget

from studio.core import blocks
from studio.ui import words
from studio.ui.i18n import tr
from studio.ui.theme import GRID
from studio.ui.widgets.bars import BarsView, HistogramView
from studio.ui.widgets.chart_view import ChartView
from studio.ui.widgets.labels import Strong
from studio.ui.widgets.line_chart import LineChart
from studio.ui.widgets.matrix import MatrixView
from studio.ui.widgets.rows import Column, RowsTable
from studio.ui.widgets.scatter import ScatterChart
from studio.ui.widgets.side_texts import SideTextsView
from studio.ui.widgets.span_texts import SpanTextsView
from studio.ui.widgets.tiles import TileRow
from studio.ui.widgets.token_texts import TokenTextsView


class BlockView(QWidget):
    """A block with its title; `selected` (column → value) when a click picks rows, {} when it lets them go."""

    selected = Signal(dict)

    def __init__(self, block: blocks.Block, drawing: QWidget) -> None:
        super().__init__()
        self.block, self.drawing = block, drawing
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(GRID)
        if block.title:
            layout.addWidget(Strong(tr(block.title)))
            self.setAccessibleName(tr(block.title))
            drawing.setAccessibleName(tr(block.title))
        grows = drawing.sizePolicy().verticalPolicy() in (QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Preferred)
        layout.addWidget(drawing, int(grows))
        if not grows:
            layout.addStretch(1)

    def let_go(self) -> None:
        """Forget what was clicked, without a word."""
        if isinstance(self.drawing, BarsView | MatrixView):
            self.drawing.let_go()


def draw(block: blocks.Block) -> BlockView:
    """Return a widget that draws a block; raises TypeError for a kind that is not known."""
    try:
        drawer = _DRAWERS[type(block)]
    except KeyError:
        raise TypeError(f"no drawing for {type(block).__name__}") from None
    return drawer(block)


def _tiles(block: blocks.Tiles) -> BlockView:
    return BlockView(block, TileRow({words.word(words.METRICS, name): value for name, value in block.values.items()}))


def _bars(block: blocks.Bars) -> BlockView:
    drawing = BarsView(block.values, block.unit, bool(block.select), block.intervals, block.reference, block.whole)
    view = BlockView(block, drawing)
    drawing.chosen.connect(lambda name: view.selected.emit({block.select: name} if name else {}))
    return view


def _histogram(block: blocks.Histogram) -> BlockView:
    return BlockView(block, HistogramView(block.edges, block.counts, block.unit))


def _matrix(block: blocks.Matrix) -> BlockView:
    drawing = MatrixView(
        block.rows, block.columns, block.values, block.row_axis, block.column_axis, clickable=block.select is not None
    )
    view = BlockView(block, drawing)

    def choose(row: int, column: int) -> None:
        first, second = block.select or ("", "")
        view.selected.emit({first: block.rows[row], second: block.columns[column]} if row >= 0 else {})

    drawing.chosen.connect(choose)
    return view


def _table(block: blocks.Table) -> BlockView:
    kinds = [_kind([row[at] for row in block.rows]) for at in range(len(block.header))]
    columns = [Column(str(at), tr(name), kinds[at]) for at, name in enumerate(block.header)]
    table = RowsTable([*columns], id_key="row")
    table.set_rows([{"row": n} | {str(at): value for at, value in enumerate(row)} for n, row in enumerate(block.rows)])
    return BlockView(block, table)


def _kind(values: list[Any]) -> str:
    known = [value for value in values if value is not None]
    return "number" if known and all(isinstance(v, int | float) for v in known) else "text"


_DRAWERS: dict[type, Callable[[Any], BlockView]] = {
    blocks.Tiles: _tiles,
    blocks.Bars: _bars,
    blocks.Histogram: _histogram,
    blocks.Matrix: _matrix,
    blocks.Table: _table,
    blocks.Curves: lambda block: BlockView(block, ChartView(LineChart(block))),
    blocks.Scatter: lambda block: BlockView(block, ChartView(ScatterChart(block))),
    blocks.SpanTexts: lambda block: BlockView(block, SpanTextsView(block.texts, block.colour_order())),
    blocks.TokenTexts: lambda block: BlockView(block, TokenTextsView(block.texts)),
    blocks.Texts: lambda block: BlockView(block, SideTextsView(block.columns, block.rows)),
}
