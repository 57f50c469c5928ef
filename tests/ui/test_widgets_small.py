"""Blocks, layers, split, log and tiles: what a click means, and what is said."""

import pytest
from PySide6.QtCore import QPoint, Qt
from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import QWidget
from pytestqt.qtbot import QtBot

from studio.core import blocks
from studio.ui import theme
from studio.ui.widgets.blocks import draw
from studio.ui.widgets.chips import FITS, STATES, Chip
from studio.ui.widgets.flow import FlowLayout
from studio.ui.widgets.layers import LayerStrip
from studio.ui.widgets.log import LogView
from studio.ui.widgets.split import SplitBar
from studio.ui.widgets.tiles import MetricTile, TileRow

LABELS = ["billing", "refund", "other"]
NOTHING = blocks.Points(x=[], y=[])
TOKENS = [blocks.Token(text="a" * 300, kind=kind, label="B-X") for kind in ("", "special", "cut", "continued")]


def shown(qtbot: QtBot, widget: QWidget, width: int, height: int) -> QWidget:
    qtbot.addWidget(widget)
    widget.resize(width, height)
    widget.show()
    return widget


def test_a_click_on_a_cell_picks_its_rows_and_a_second_lets_them_go(qtbot: QtBot) -> None:
    block = blocks.Matrix(
        title="Confusion", rows=LABELS, columns=LABELS, values=[[9, 1, 0], [2, 8, 0], [0, 3, 7]],
        row_axis="Label", column_axis="Predicted", select=("label", "predicted"),
    )  # fmt: skip
    view = shown(qtbot, draw(block), 400, 300)
    picked = []
    view.selected.connect(picked.append)
    place = view.drawing.cell_rect(2, 1).center().toPoint()
    qtbot.mouseClick(view.drawing, Qt.MouseButton.LeftButton, pos=place)
    qtbot.mouseClick(view.drawing, Qt.MouseButton.LeftButton, pos=place)
    assert picked == [{"label": "other", "predicted": "refund"}, {}]
    assert "3 (30.0" in view.drawing.describe(2, 1)


def test_a_click_on_a_bar_picks_its_value(qtbot: QtBot) -> None:
    block = blocks.Bars(values={"pos": 30.0, "neg": 12.0}, unit="rows", select="label")
    view = shown(qtbot, draw(block), 300, 100)
    picked = []
    view.selected.connect(picked.append)
    qtbot.mouseClick(view.drawing, Qt.MouseButton.LeftButton, pos=QPoint(50, 36))
    qtbot.keyClick(view.drawing, Qt.Key.Key_Up)
    qtbot.keyClick(view.drawing, Qt.Key.Key_Return)
    assert picked == [{"label": "neg"}, {"label": "pos"}]


@pytest.mark.parametrize("name", ["light", "dark"])
def test_every_block_is_drawn_in_both_themes(name: str, qtbot: QtBot, qapp: object) -> None:
    every = [
        blocks.Tiles(title="Metrics", values={"accuracy": 0.5, "loss": float("nan")}),
        blocks.Bars(title="Labels", values={"a": 0.0, "b": float("nan"), "c" * 90: -2.0}),
        blocks.Bars(title="None", values={}),
        blocks.Histogram(title="Lengths", edges=[0, 1, 2], counts=[0, 5], unit="words"),
        blocks.Histogram(title="None", edges=[], counts=[]),
        blocks.Matrix(title="Empty row", rows=["a", "b"], columns=["a"], values=[[0], [float("nan")]]),
        blocks.Table(title="Checks", header=["Check", "Value"], rows=[["a", 1.0], [None, 2]]),
        blocks.Bars(title="Intervals", values={"a": float("nan")}, intervals={"a": (0.1, float("nan"))}, reference=0.5),
        blocks.Curves(title="Curves", series={"a": blocks.Points(x=[0, 1], y=[float("nan"), 1]), "b": NOTHING}),
        blocks.Curves(title="None", series={}, diagonal=True, unit_square=True),
        blocks.Scatter(title="Points", x=[0, float("inf")], y=[float("nan"), 1], diagonal=True, zero_line=True),
        blocks.Scatter(title="None", x=[], y=[], zero_line=True),
        blocks.SpanTexts(title="Spans", texts=[blocks.SpanText(text=""), blocks.SpanText(text="a\nb" * 900)]),
        blocks.SpanTexts(title="None", texts=[]),
        blocks.TokenTexts(title="Tokens", texts=[blocks.TokenText(tokens=[]), blocks.TokenText(tokens=TOKENS)]),
        blocks.Texts(title="Texts", columns=["Before", "After"], rows=[["", "a" * 5000]]),
        blocks.Texts(title="None", columns=[], rows=[]),
    ]
    before = theme.current().name
    theme.apply(qapp, theme.load_theme(name))
    for block in every:
        view = shown(qtbot, draw(block), 240, 160)
        assert not view.grab().isNull()
    theme.apply(qapp, theme.load_theme(before))


def test_a_block_of_an_unknown_kind_is_refused() -> None:
    with pytest.raises(TypeError):
        draw(blocks.Block(title="?"))


def test_layers_tell_their_parts_and_which_are_frozen(qtbot: QtBot) -> None:
    parts = [("query", 100, 0.0), ("feed-forward", 800, 0.0), ("norms", 1, 1.0)]
    strip = LayerStrip()
    strip.set_layers([("embeddings", [("embeddings", 5000, 0.0)]), ("layer 1", parts), ("head", [("head", 9, 1.0)])])
    shown(qtbot, strip, 420, 140)
    for part, rect in enumerate(strip.part_rects(1)):
        assert strip.hit(rect.center()) == (1, part)
    assert strip.describe(1, 0) == "Layer 1 · Query\n100 parameters · frozen"
    assert "901 parameters · 1 train" in strip.describe(1, -1)
    with qtbot.waitSignal(strip.layer_clicked) as clicked:
        qtbot.mouseClick(strip, Qt.MouseButton.LeftButton, pos=strip.part_rects(2)[0].center().toPoint())
    assert clicked.args == [2]
    qtbot.keyClick(strip, Qt.Key.Key_Up)
    with qtbot.waitSignal(strip.layer_clicked) as clicked:
        qtbot.keyClick(strip, Qt.Key.Key_Return)
    assert clicked.args == [1]


def test_the_borders_of_the_split_are_dragged(qtbot: QtBot) -> None:
    bar = shown(qtbot, SplitBar(), 412, 44)
    bar.set_split(1000, 0.1, 0.1)
    assert bar.counts() == (800, 100, 100)
    told = []
    bar.changed.connect(lambda *shares: told.append(shares))
    start = QPoint(round(bar.border_x(0)), 12)
    qtbot.mousePress(bar, Qt.MouseButton.LeftButton, pos=start)
    qtbot.mouseMove(bar, QPoint(start.x() - 40, 12))
    bar.mouseMoveEvent(_drag(start.x() - 40))
    qtbot.mouseRelease(bar, Qt.MouseButton.LeftButton, pos=QPoint(start.x() - 40, 12))
    assert told == [(0.2, 0.1)] and bar.counts() == (700, 200, 100)
    qtbot.keyClick(bar, Qt.Key.Key_Down)
    qtbot.keyClick(bar, Qt.Key.Key_Left)
    assert told[-1] == (0.19, 0.11)


def _drag(x: int) -> object:
    from PySide6.QtCore import QEvent, QPointF
    from PySide6.QtGui import QMouseEvent

    left = Qt.MouseButton.LeftButton
    return QMouseEvent(QEvent.Type.MouseMove, QPointF(x, 12), QPointF(x, 12), left, left, Qt.KeyboardModifier(0))


def test_the_log_follows_its_end_until_the_reader_scrolls_away(qtbot: QtBot) -> None:
    log = shown(qtbot, LogView(), 300, 120)
    log.append_lines("\n".join(f"line {n}" for n in range(100)))
    assert log.is_following()
    log.view.verticalScrollBar().setValue(10)
    log.append_lines("more")
    assert not log.is_following() and log.view.verticalScrollBar().value() == 10
    qtbot.keyClick(log.view, Qt.Key.Key_F, Qt.KeyboardModifier.ControlModifier)
    log.search.setText("line 42")
    assert log.find_next() and log.view.textCursor().selectedText() == "line 42"
    log.search.setText("nowhere")
    assert not log.find_next()


def test_a_tile_says_and_copies_the_exact_value(qtbot: QtBot) -> None:
    tile = shown(qtbot, MetricTile("Accuracy", 0.8784123456789, 0.0112), 200, 60)
    assert "0.8784123456789" in tile.toolTip() and "± 0.011" in tile.accessibleName()
    qtbot.mouseClick(tile, Qt.MouseButton.LeftButton)
    assert QGuiApplication.clipboard().text() == "0.8784123456789"
    row = shown(qtbot, TileRow({"Loss": 0.5, "Accuracy": None}), 300, 60)
    kept = row.tile("Loss")
    row.set_values({"Loss": 0.25})
    assert row.tile("Loss") is kept and "0.25" in kept.toolTip()


def test_states_and_fits_differ_by_more_than_their_colour(qtbot: QtBot) -> None:
    chips = [Chip() for _ in [*STATES, *FITS]]
    for chip, state in zip(chips, STATES, strict=False):
        chip.set_state(state)
    for chip, fit in zip(chips[len(STATES) :], FITS, strict=True):
        chip.set_fit(fit)
    assert len({chip.text() for chip in chips}) == len(chips) and all(chip.accessibleName() for chip in chips)
    assert len({STATES[s][1] for s in ("running", "paused", "finished", "failed", "ended")}) == 5
    for chip in chips:
        chip.deleteLater()


def test_centred_lines_are_about_equally_long(qtbot: QtBot) -> None:
    place = QWidget()
    qtbot.addWidget(place)
    flow = FlowLayout(place, centred=True)
    for _ in range(6):
        one = QWidget()
        one.setFixedSize(100, 20)
        flow.addWidget(one)
    assert [len(line) for line in flow._lines(550)] == [3, 3], "not five, and one alone"
    assert [len(line) for line in flow._lines(50)] == [1] * 6
