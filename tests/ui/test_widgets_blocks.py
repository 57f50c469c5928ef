"""The blocks that tasks return: what is hit, said, left out and printed."""

import numpy as np
import pytest
from pydantic import TypeAdapter, ValidationError
from PySide6.QtCore import QPoint, QPointF, QRect, Qt
from PySide6.QtGui import QFontMetrics, QGuiApplication, QImage, QKeySequence, QPainter
from pytestqt.qtbot import QtBot
from test_widgets_small import shown

from studio.core import blocks
from studio.core.blocks import Points, Span, SpanText, Token, TokenText
from studio.ui.report.blocks import block_html, chart_picture
from studio.ui.theme import current, number_font
from studio.ui.widgets.blocks import draw
from studio.ui.widgets.span_runs import MOST, runs, said
from studio.ui.widgets.token_texts import folded

NAN = float("nan")
LONG = "nothing here " * 120 + "born in Paris of course " + "nothing there " * 120


def span(text: str, part: str, label: str, kind: str = "") -> Span:
    start = text.index(part)
    return Span(start=start, end=start + len(part), label=label, kind=kind)


def test_blocks_survive_json_and_refuse_lists_of_unequal_length() -> None:
    kinds: TypeAdapter = TypeAdapter(blocks.AnyBlock)
    for block in (
        blocks.Curves(series={"a": Points(x=[0.0, 1.0], y=[NAN, 0.5], note="AUC 0.5")}, diagonal=True),
        blocks.Scatter(x=[0.0], y=[float("inf")], groups=["a"]),
        blocks.SpanTexts(texts=[SpanText(text="Paris", gold=[Span(start=0, end=5, label="LOC", kind="missed")])]),
        blocks.TokenTexts(texts=[TokenText(tokens=[Token(text="[PAD]", kind="padding")])]),
        blocks.Texts(columns=["a"], rows=[["b"]]),
        blocks.Bars(values={"a": 1.0}, intervals={"a": (0.5, NAN)}, reference=0.9),
    ):
        assert kinds.validate_json(block.model_dump_json()).model_dump_json() == block.model_dump_json()
    assert kinds.validate_python({"type": "bars", "values": {"a": 1.0}}).intervals == {}, "as older versions wrote it"
    assert kinds.validate_python({"type": "span_texts", "texts": []}).labels == [], "as older versions wrote it"
    for wrong in (
        lambda: Points(x=[0.0], y=[]),
        lambda: blocks.Scatter(x=[0.0], y=[0.0], groups=["a", "b"]),
        lambda: blocks.Texts(columns=["a"], rows=[["b", "c"]]),
    ):
        with pytest.raises(ValidationError):
            wrong()


def test_a_chart_tells_the_point_that_is_near_and_only_of_curves_that_are_shown(qtbot: QtBot) -> None:
    series = {"low": Points(x=[0.0, 0.5, 1.0], y=[0.1, 0.1, NAN]), "high": Points(x=[0.0, 1.0], y=[0.9, 0.9])}
    view = shown(qtbot, draw(blocks.Curves(series=series, x_axis="Recall", unit_square=True)), 400, 320)
    canvas, legend = view.drawing.canvas, view.drawing.legend
    qtbot.mouseMove(canvas, canvas.place(1).toPoint() + QPoint(4, -3))
    qtbot.waitUntil(lambda: canvas.point() == 1)
    assert "Recall: 0.5" in canvas.accessibleDescription() and canvas.hit(QPointF(200, 150)) == -1
    legend.entry("0").click()
    assert canvas.point() == -1 and canvas.hit(canvas.place(1)) == -1
    qtbot.keyClick(canvas, Qt.Key.Key_Right)
    qtbot.keyClick(canvas, Qt.Key.Key_Right)
    assert canvas.point() == 4
    legend.entry("0").click()
    qtbot.keyClick(canvas, Qt.Key.Key_Down)
    assert canvas.point() == 1, "the nearest of the other curve that is a number"
    qtbot.keyClick(canvas, Qt.Key.Key_Escape)
    assert canvas.point() == -1 and "low" in canvas.accessibleDescription()


def test_small_groups_of_many_points_share_a_colour_and_no_outlier_is_lost(qtbot: QtBot) -> None:
    n = 20_000
    groups = [f"g{i % 10 if i < 5000 else i % 8}" for i in range(n)]
    x, y = np.zeros(n), np.zeros(n)
    x[777], y[777] = 0.93, 0.93  # on no line of the grid
    texts = [str(i) for i in range(n)]
    view = shown(qtbot, draw(blocks.Scatter(x=x.tolist(), y=y.tolist(), groups=groups, texts=texts)), 400, 320)
    canvas = view.drawing.canvas
    assert view.drawing.legend.entry("8").text() == "2 others"
    assert canvas.hit(canvas.place(777)) == 777
    assert canvas.accessibleDescription().startswith("20,000 points: g0 ")
    image, place = canvas.grab().toImage(), canvas.place(777).toPoint()
    assert image.pixel(place) != image.pixel(place + QPoint(-30, 30)), "something is drawn where the outlier is"


def test_spans_are_found_behind_letters_of_two_units_and_their_errors_are_told(qtbot: QtBot) -> None:
    text = "👍👍 Berlin met Merkel"
    item = SpanText(text=text, gold=[span(text, "Berlin", "LOC", "missed"), span(text, "Merkel", "PER")],
                    predicted=[span(text, "Merkel", "ORG", "wrong type")])  # fmt: skip
    view = shown(qtbot, draw(blocks.SpanTexts(texts=[item])), 500, 200)
    drawing, before = view.drawing.list.drawing, QFontMetrics(number_font()).horizontalAdvance("👍👍 ")
    end = before + QFontMetrics(number_font()).horizontalAdvance("Berlin")
    for x in (before + 3, end - 3):
        assert drawing.tip(0, QPoint(x, 8), 480) == "Gold: LOC “Berlin” (Missed)"
    assert drawing.tip(0, QPoint(before - 6, 8), 480) == ""
    tags = [(run.text, run.is_gold) for run in runs(item) if run.tag]
    assert tags == [("− LOC", True), ("≠ ORG", False), ("PER", True)]
    assert "Predicted: ORG “Merkel” (Wrong type)" in said(item)


def test_a_label_has_its_colour_whatever_else_is_found(qtbot: QtBot) -> None:
    """As before and after a training, side by side."""
    text = "Merkel met"
    item = SpanText(text=text, predicted=[span(text, "Merkel", "PER")])
    more = SpanText(text="Berlin", predicted=[Span(start=0, end=6, label="LOC")])
    extra = SpanText(text="1954", predicted=[Span(start=0, end=4, label="AGE")])  # not among the labels

    def row(texts: list[SpanText], labels: list[str]) -> QImage:
        image = QImage(300, 40, QImage.Format.Format_RGB32)
        image.fill(current().colour("surface"))
        view = shown(qtbot, draw(blocks.SpanTexts(texts=texts, labels=labels)), 300, 100)
        with QPainter(image) as painter:
            view.drawing.list.drawing.paint(painter, QRect(0, 0, 300, 40), 0, current())
        return image

    labels = ["LOC", "ORG", "PER"]
    assert row([item], []) != row([item, more], []), "without all labels each block has its own colours"
    assert row([item], labels) == row([item, more], labels) == row([item, more, extra], labels) != row([item], [])
    alone, beside = (block_html(blocks.SpanTexts(texts=t, labels=labels)) for t in ([item], [item, more]))
    assert alone.split("<p>")[-1] in beside


def test_spans_outside_a_text_do_no_harm() -> None:
    item = SpanText(text="short", gold=[Span(start=-3, end=99, label="A")], predicted=[Span(start=9, end=2)])
    assert [run.text for run in runs(item)] == ["short", "A"] and runs(SpanText(text="")) == []


def test_a_long_context_shows_what_is_near_its_answer_until_all_is_asked_for(qtbot: QtBot) -> None:
    item = SpanText(text=LONG, gold=[span(LONG, "Paris", "")])
    excerpt = "".join(run.text for run in runs(item))
    assert len(excerpt) < MOST and "born in Paris of course" in excerpt and excerpt.startswith("… ")
    assert "".join(run.text for run in runs(item, whole=True)) == LONG
    view = shown(qtbot, draw(blocks.SpanTexts(texts=[item, SpanText(text="short")])), 400, 300)
    lazy = view.drawing.list
    before = lazy.row_height(0)
    lazy.setCurrentIndex(lazy.model().index(0, 0))
    qtbot.keyClick(lazy, Qt.Key.Key_Return)
    assert lazy.row_height(0) > 3 * before
    qtbot.keyClick(lazy, Qt.Key.Key_Return)
    assert lazy.row_height(0) == before and not lazy.drawing.toggle(1)


def test_thousands_of_texts_are_laid_out_only_when_someone_comes_near(qtbot: QtBot) -> None:
    texts = [SpanText(text=f"text number {i} is here", row=i) for i in range(5000)]
    view = shown(qtbot, draw(blocks.SpanTexts(texts=texts)), 400, 300)
    lazy = view.drawing.list
    assert lazy.model().rowCount() < 100
    known = lazy.model().rowCount()
    lazy.verticalScrollBar().setValue(lazy.verticalScrollBar().maximum())
    qtbot.waitUntil(lambda: lazy.model().rowCount() > known)
    lazy.setCurrentIndex(lazy.model().index(3, 0))
    qtbot.keySequence(lazy, QKeySequence.StandardKey.Copy)
    assert QGuiApplication.clipboard().text() == "text number 3 is here"


def test_padding_is_folded_and_keeps_the_places_of_its_tokens(qtbot: QtBot) -> None:
    tokens = [Token(text="[CLS]", kind="special"), Token(text="Paris", label="B-LOC"),
              *[Token(text="[PAD]", kind="padding")] * 90, Token(text="[SEP]", kind="special")]  # fmt: skip
    chips = folded(tokens)
    assert [(chip.text, chip.first) for chip in chips][1:] == [("Paris", 1), ("[PAD] × 90", 2), ("[SEP]", 92)]
    view = shown(qtbot, draw(blocks.TokenTexts(texts=[TokenText(tokens=tokens)])), 500, 160)
    drawing = view.drawing.list.drawing
    said = {drawing.tip(0, QPoint(x, 8), 480) for x in range(0, 400, 4)}
    assert "Token 2: 'Paris'\nLabel: B-LOC" in said and "Token 3 – 92: '[PAD]'\nPadding" in said
    assert drawing.text(0).startswith("[CLS] Paris (B-LOC)")


def test_bars_tell_their_intervals_and_what_they_are_measured_against(qtbot: QtBot) -> None:
    block = blocks.Bars(values={"a": 0.5, "b": -0.1}, intervals={"a": (0.4, 0.75)}, reference=0.6, select="label")
    view = shown(qtbot, draw(block), 400, 100)
    assert view.drawing.describe(0) == "a: 0.5\n95 % interval 0.4000 – 0.7500\nDashed line: 0.6"
    assert view.drawing.describe(1) == "b: -0.1\nDashed line: 0.6"
    assert "95 % interval" in view.drawing.accessibleDescription()


def test_bars_are_shares_of_a_whole_that_is_not_their_sum(qtbot: QtBot) -> None:
    block = blocks.Bars(values={"noise": 30.0, "events": 10.0}, unit="rows", whole=120)
    drawing = shown(qtbot, draw(block), 400, 100).drawing
    assert "25" in drawing.accessibleDescription() and "75" not in drawing.accessibleDescription()
    assert drawing._range() == (0.0, 120.0)


def test_every_block_is_printed_and_an_empty_one_is_left_out(qapp: object) -> None:
    text = "Merkel <met> Berlin"
    item = SpanText(text=text, gold=[span(text, "Merkel", "PER")], predicted=[span(text, "Berlin", "LOC", "invented")])
    spans = block_html(blocks.SpanTexts(title="Mistakes", texts=[item] * 40))
    assert "underline" in spans and "&lt;met&gt;" in spans and "+&nbsp;LOC" in spans and "28 more" in spans
    tokens = block_html(blocks.TokenTexts(texts=[TokenText(tokens=[Token(text="<s>", kind="cut", label="B-X")])]))
    assert "line-through" in tokens and "&lt;s&gt;" in tokens and "B-X" in tokens
    assert "a &amp; b" in block_html(blocks.Texts(columns=["Before"], rows=[["a & b"]]))
    assert "0.4000 – 0.6000" in block_html(blocks.Bars(values={"a": 0.5}, intervals={"a": (0.4, 0.6)}))
    assert "nan" in block_html(blocks.Matrix(rows=["a"], columns=["b"], values=[[NAN]]))
    points = blocks.Scatter(x=[0.0, 1.0], y=[0.0, NAN], groups=["a", "b"])
    assert chart_picture(points).width() > 900
    for empty in (blocks.SpanTexts(texts=[]), blocks.TokenTexts(texts=[]), blocks.Texts(columns=["a"], rows=[])):
        assert block_html(empty) == ""
    assert chart_picture(blocks.Curves(series={})) is None and chart_picture(blocks.Texts(columns=[], rows=[])) is None
