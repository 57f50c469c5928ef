"""The lines: as strong as the weights, of the chosen heads, tokens or words, of all tokens or of one."""

from dataclasses import replace

import numpy as np
import pytest
from looks import TOKENS, long_look, make_look, written
from PySide6.QtCore import QPoint, Qt
from PySide6.QtGui import QColor, QImage

from studio.attention.qk import Layers, QueryKeys
from studio.ui.theme import current
from studio.ui.views.filters import Filters
from studio.ui.views.lines import LinesView, units_of
from studio.ui.views.look import AFTER, Look
from studio.ui.views.selection import Selection

HEADS = ((1, 2), (0, 1))


@pytest.fixture
def selection(qapp):
    return Selection()


@pytest.fixture
def view(qtbot, selection):
    view = LinesView(selection)
    selection.changed.connect(view.show_selection)
    qtbot.addWidget(view)
    view.resize(600, 420)
    view.show()
    selection.choose_heads(HEADS)
    view.show_look(make_look())
    return view


def test_a_look_that_tells_nothing_of_its_texts_has_lines(view):
    view.words.setChecked(True)
    view.show_look(make_look(segments=[]))
    assert not view.blocks.isVisibleTo(view.bar) and view._units.left.names()[1] == "unbelievable"


def drawn(strand, shape):
    """Return the lines of a head as a matrix."""
    matrix = np.zeros(shape)
    matrix[strand.queries, strand.keys] = strand.weights
    return matrix


def test_of_each_row_the_strongest_lines_are_drawn_and_more_with_the_slider(view, selection):
    selection.scale(per_head=False, lifted=True)  # with γ every weight above 2e-4 can be seen
    for share in (100, 60):
        view.slider.setValue(share)
        for strand, head in zip(view.lines["left"].strands, HEADS, strict=True):
            full, found = view.look.maps["after"][head], drawn(strand, (9, 9))
            for row, shown in zip(full, found, strict=True):
                expected, sum_so_far = np.zeros(9), 0.0
                for key in np.argsort(-row):
                    if sum_so_far < share / 100 * row.sum() - 1e-7 and row[key] > 1 * (0.5 / 16) ** 2.5:
                        expected[key] = row[key]
                    sum_so_far += row[key]
                np.testing.assert_allclose(shown, expected, atol=1e-7)


def test_a_line_is_as_strong_as_its_weight(view, selection):
    """The strongest line has the head's colour, one of half the weight is half way to the ground."""
    maps = {"after": np.zeros((1, 1, 9, 9), dtype=np.float32)}
    maps["after"][0, 0, 2, 2], maps["after"][0, 0, 5, 5] = 1.0, 0.5
    selection.choose_heads(((0, 0),))
    view.show_look(make_look(("after",), maps=maps))
    lines = view.lines["left"]
    image, span = lines.viewport().grab().toImage(), lines._span()

    def colour(row):
        return QColor(image.pixel(int(span.left + 30), round(lines.token_rect("query", row).center().y())))

    theme = current()
    assert colour(2) == QColor(theme.series[0])
    assert colour(5) == QColor(theme.mix(theme.series[0], 0.5))
    assert colour(3) == QColor(theme.surface)


def test_the_token_under_the_pointer_shows_every_line_of_its_own_alone(view, selection, qtbot):
    lines, maps = view.lines["left"], view.look.maps["after"]
    qtbot.mouseMove(lines.viewport(), lines.token_rect("query", 4).center().toPoint())
    assert selection.hovered == (4, -1) and lines.active() == ("query", 4)
    for strand, head in zip(lines.active_strands(), HEADS, strict=True):
        np.testing.assert_allclose(strand.weights, maps[head][4], atol=1e-7)
    best = TOKENS[int(maps[HEADS[0]][4].argmax())]
    assert lines.describe().startswith(f"“film” looks most at “{best}”")
    qtbot.mouseMove(lines.viewport(), lines.token_rect("key", 7).center().toPoint())
    assert lines.active() == ("key", 7)
    for strand, head in zip(lines.active_strands(), HEADS, strict=True):
        np.testing.assert_allclose(strand.weights, maps[head][:, 7], atol=1e-7)


def test_a_click_locks_and_a_second_token_makes_a_cell(view, selection, qtbot):
    lines = view.lines["left"]

    def click(side, row):
        at = lines.token_rect(side, row).center().toPoint()
        qtbot.mouseClick(lines.viewport(), Qt.MouseButton.LeftButton, pos=at)

    click("query", 4)
    assert selection.cell == (4, -1) and lines.active() == ("query", 4)
    click("key", 7)
    assert selection.cell == (4, 7)
    value = float(view.look.maps["after"][HEADS[0]][4, 7])
    assert lines.describe().startswith(f"“film” looks at “dull”: L2 H3 {value:.3g}"[:30])
    qtbot.keyClick(lines, Qt.Key.Key_Down)
    assert selection.cell == (5, 7)
    qtbot.keyClick(lines, Qt.Key.Key_Escape)
    assert selection.cell == (-1, -1) and lines.active() == ("", -1)


def test_words_are_those_of_the_whole_page():
    """To a sentencepiece tokenizer a whole text is one word: its tokens tell where the words begin."""
    tokens, n = ["▁the", "▁bo", "at", "▁is"], 4
    look = Look("t", "m", {AFTER: np.full((1, 1, n, n), 1 / n, np.float32)}, tokens, [False] * n, [0] * n, {}, {},
                segments=[0] * n)  # fmt: skip
    units = units_of(look, True, "all")
    assert units.left.starts.tolist() == [0, 1, 3]
    assert units.left.labels == Filters(whole_words=True).apply(look).tokens == ["▁the", "▁boat", "▁is"]


def test_words_stand_for_their_pieces(view, selection):
    view.slider.setValue(100)
    selection.scale(per_head=False, lifted=True)
    view.words.setChecked(True)
    lines, whole = view.lines["left"], view.look.maps["after"][HEADS[0]].astype(float)
    assert lines.query_tokens == ["[CLS]", "unbelievable", "film", "[SEP]", "so", "dull", "[SEP]"]
    np.testing.assert_allclose(lines._rows("query", 1)[0][2], whole[1:4, 4].mean(), atol=1e-7)
    np.testing.assert_allclose(lines._rows("key", 1)[0][4], whole[6, 1:4].sum(), atol=1e-7)
    np.testing.assert_allclose(drawn(lines.strands[0], (7, 7))[1, 2], whole[1:4, 4].mean(), atol=1e-7)
    # The cell that is locked is the word's first piece, and any piece of it is the word.
    lines.pair_locked.emit(1, 5)
    assert selection.cell == (1, 7)
    selection.lock(3, 4)
    assert lines.active() == ("query", 1) and lines.pair() == (1, 2)


@pytest.mark.parametrize(("block", "queries", "keys"), [("ab", [1, 2, 3, 4], [6, 7]), ("bb", [6, 7], [6, 7])])
def test_a_block_of_a_pair_shows_one_text_looking_at_another(view, block, queries, keys):
    assert not view.blocks.isHidden()
    view.blocks.setCurrentIndex(view.blocks.findData(block))
    lines, whole = view.lines["left"], view.look.maps["after"][HEADS[0]]
    assert lines.query_tokens == [TOKENS[i] for i in queries] and lines.key_tokens == [TOKENS[i] for i in keys]
    np.testing.assert_allclose(lines._rows("query", 1)[0], whole[queries[1], keys], atol=1e-7)
    view.show_look(make_look(segments=[0] * 9))
    assert view.blocks.isHidden() and view.block == "all"


def test_the_difference_is_signed_and_both_stand_side_by_side(view, selection):
    selection.show_state("difference")
    maps, lines = view.look.maps, view.lines["left"]
    np.testing.assert_allclose(
        lines._rows("query", 3)[0], maps["after"][HEADS[0]][3] - maps["before"][HEADS[0]][3], atol=1e-7
    )
    assert (lines.strands[0].weights < 0).any() and (lines.strands[0].weights > 0).any()
    selection.show_state("both")
    assert view.lines["right"].isVisible()
    np.testing.assert_allclose(view.lines["left"]._rows("query", 3)[1], maps["before"][HEADS[1]][3], atol=1e-7)
    np.testing.assert_allclose(view.lines["right"]._rows("query", 3)[1], maps["after"][HEADS[1]][3], atol=1e-7)


def test_heads_keep_their_colours_and_can_be_hidden(view, selection):
    colours = {head: strand.series for head, strand in zip(HEADS, view.lines["left"].strands, strict=True)}
    selection.choose_head(0, 3, add=True)
    now = dict(zip(view.heads(), [strand.series for strand in view.lines["left"].strands], strict=True))
    assert {head: now[head] for head in HEADS} == colours and len(set(now.values())) == 3
    view.legend.entry("1.2").click()
    assert (1, 2) not in view.heads() and len(view.lines["left"].strands) == 2
    view.layer.click()
    assert set(selection.heads) == {(0, head) for head in range(4)}


def test_special_tokens_are_left_out_with_the_cards_filter(view):
    view.show_look(Filters(without_special=True).apply(view.look))
    assert "[CLS]" not in view.lines["left"].query_tokens
    assert view.meaning().startswith("No special tokens")


def test_a_figure_has_its_words_as_text_and_its_heads_named(view, tmp_path):
    svg, png, pdf = (tmp_path / f"lines.{ending}" for ending in ("svg", "png", "pdf"))
    assert [written(view, path.suffix[1:], path) for path in (svg, png, pdf)] == [[svg], [png], [pdf]]
    text = svg.read_text(encoding="utf-8")
    assert ">film</text>" in text.replace("\n", "") and ">L1 H2</text>" in text.replace("\n", "")
    assert "layer 2 of 2, head 3 of 4" in text and "90" in text
    printed = pdf.read_bytes()
    assert b"/FontFile" in printed and b"/Subtype /Image" not in printed  # words and lines, and no picture of them
    assert not QImage(str(png)).isNull()


def test_many_lines_are_drawn_without_holding_up_the_window(view, selection, qtbot):
    selection.choose_heads(((0, 0),))
    view.show_look(long_look())
    selection.choose_heads(tuple((0, head) for head in range(12)))
    selection.scale(per_head=True, lifted=True)
    lines = view.lines["left"]
    with qtbot.waitSignal(lines.drawn, timeout=30_000, check_params_cb=lambda n: n > 4000):
        view.slider.setValue(99)
    assert lines.verticalScrollBar().maximum() > 1500
    qtbot.mouseMove(lines.viewport(), QPoint(10, 60))
    assert lines.active()[0] == "query"


def test_of_a_long_text_lines_and_rows_are_computed_from_queries_and_keys(view, selection, monkeypatch, qtbot):
    chance = np.random.default_rng(2)
    n_tokens, scale = 300, 0.5
    query, key = (chance.normal(size=(4, n_tokens, 8)).astype(np.float32) for _ in range(2))
    powers = np.exp(scale * np.einsum("hqd,hkd->hqk", query.astype(float), key.astype(float)))
    layer = QueryKeys(query, key, np.log(powers.sum(axis=-1)), scale)
    dense = powers / powers.sum(axis=-1, keepdims=True)
    monkeypatch.setattr(QueryKeys, "__array__", lambda *_, **__: pytest.fail("the whole map was computed"))
    selection.choose_heads(((0, 1),))
    look = long_look(n_tokens, 4)
    view.slider.setValue(60)
    view.show_look(replace(look, maps={"after": Layers([layer])}))
    lines = view.lines["left"]
    qtbot.waitUntil(lambda: bool(lines.strands) and len(lines.query_tokens) == n_tokens)
    strand = lines.strands[0]
    np.testing.assert_allclose(strand.weights, dense[1][strand.queries, strand.keys], atol=1e-6)
    kept = np.sort(dense[1][7])[::-1]
    n_kept = int(np.searchsorted(np.cumsum(kept), 0.6)) + 1
    seen = kept[:n_kept] >= dense[1].max() * 0.5 / 16
    assert (strand.queries == 7).sum() == seen.sum() > 1
    np.testing.assert_allclose(lines._rows("query", 7)[0], dense[1][7], atol=1e-6)
    np.testing.assert_allclose(lines._rows("key", 9)[0], dense[1][:, 9], atol=1e-6)
