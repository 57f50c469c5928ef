"""The head grid and the matrix of one head: what is under the pointer is what the array holds."""

from pathlib import Path

import numpy as np
import pytest
from PySide6.QtCore import QPoint, Qt
from PySide6.QtGui import QFontMetrics, QImage
from pytestqt.qtbot import QtBot

from studio.ui.theme import current, load_theme, lookup_table, number_font
from studio.ui.widgets.head_figure import write_png, write_svg
from studio.ui.widgets.head_matrix import HeadMatrix
from studio.ui.widgets.heads import HeadGrid
from studio.ui.widgets.heat import Scale, first_fitting, furthest, picture


def some_maps(n_layers: int, n_heads: int, n: int) -> np.ndarray:
    maps = np.random.default_rng(0).random((n_layers, n_heads, n, n), dtype=np.float32)
    return maps / maps.sum(-1, keepdims=True)


@pytest.fixture
def grid(qtbot: QtBot) -> HeadGrid:
    widget = HeadGrid()
    qtbot.addWidget(widget)
    widget.resize(420, 260)
    widget.show()
    return widget


def test_every_place_of_a_permuted_grid_answers_with_its_head(grid: HeadGrid, qtbot: QtBot) -> None:
    grid.set_maps(some_maps(4, 6, 8))
    grid.set_order(np.random.default_rng(1).permutation(24))
    seen = set()
    for layer in range(4):
        for head in range(6):
            rect = grid.head_rect(layer, head)
            for corner in (rect.topLeft(), rect.center(), rect.bottomRight()):
                assert grid.hit(corner) == (layer, head)
            seen.add((rect.x(), rect.y()))
            with qtbot.waitSignal(grid.head_chosen) as chosen:
                qtbot.mouseClick(grid, Qt.MouseButton.LeftButton, pos=rect.center().toPoint())
            assert chosen.args == [layer, head]
    assert len(seen) == 24
    assert grid.hit(grid.rect().bottomRight().toPointF()) == (-1, -1)


def test_the_picture_at_a_place_is_that_of_its_head(grid: HeadGrid) -> None:
    maps = np.zeros((2, 3, 4, 4), dtype=np.float32)
    maps[1, 2] = 1.0
    grid.set_maps(maps)
    for order in (None, np.array([5, 0, 1, 2, 3, 4])):
        grid.set_order(order)
        image = QImage(grid.size(), QImage.Format.Format_RGB32)
        grid.render(image)
        dark = {(x, y) for x in range(2) for y in range(3)
                if image.pixel(grid.head_rect(x, y).center().toPoint()) == lookup_table("attention")[255]}  # fmt: skip
        assert dark == {(1, 2)}


def test_the_order_must_name_each_head_once(grid: HeadGrid) -> None:
    grid.set_maps(some_maps(2, 2, 4))
    with pytest.raises(ValueError):
        grid.set_order(np.array([0, 1, 1, 3]))


def test_large_maps_are_reduced_in_the_background(grid: HeadGrid, qtbot: QtBot) -> None:
    grid.set_maps(some_maps(6, 6, 160))
    assert grid._reduced is None
    qtbot.waitUntil(lambda: grid._reduced is not None)
    assert grid._reduced.shape == (6, 6, 64, 64)


@pytest.fixture
def matrix(qtbot: QtBot) -> HeadMatrix:
    widget = HeadMatrix()
    qtbot.addWidget(widget)
    widget.resize(400, 360)
    widget.show()
    return widget


def test_hover_reads_the_value_of_the_array_at_every_zoom(matrix: HeadMatrix, qtbot: QtBot) -> None:
    values = some_maps(1, 1, 60)[0, 0, :40]
    matrix.set_matrix(values, [f"q{i}" for i in range(40)], [f"k{i}" for i in range(60)])
    for zoom in (1.0, 4.0):
        matrix.set_zoom(zoom)
        area = matrix._area()
        for x, y in ((0.02, 0.03), (0.4, 0.3), (0.7, 0.5)):
            place = QPoint(int(area.left() + x * area.width()), int(area.top() + y * area.height()))
            with qtbot.waitSignal(matrix.cell_hovered) as hovered:
                qtbot.mouseMove(matrix.viewport(), QPoint(1, 1))
                qtbot.mouseMove(matrix.viewport(), place)
            query, key = matrix.hit(place.toPointF())
            assert hovered.args in ([query, key], [-1, -1])
            rect = matrix.cell_rect(query, key)
            assert rect.contains(place.toPointF())
            painted = matrix.viewport().grab().toImage().pixel(rect.center().toPoint())
            matrix._hover((-1, -1))
            plain = matrix.viewport().grab().toImage().pixel(rect.center().toPoint())
            assert plain == matrix.scale.colours(values[query, key], load_theme("light")), painted
            said = matrix.describe(query, key)
            assert f"q{query}" in said and f"k{key}" in said
            assert float(said.rsplit(": ")[1]) == pytest.approx(values[query, key], abs=5e-5)


def test_a_click_locks_and_the_arrows_move_on(matrix: HeadMatrix, qtbot: QtBot) -> None:
    matrix.set_matrix(np.eye(5, dtype=np.float32), list("abcde"), list("abcde"))
    qtbot.mouseClick(matrix.viewport(), Qt.MouseButton.LeftButton, pos=matrix.cell_rect(2, 3).center().toPoint())
    assert matrix.locked() == (2, 3)
    qtbot.keyClick(matrix, Qt.Key.Key_Left)
    assert matrix.locked() == (2, 2) and "1.000" in matrix.accessibleDescription()
    qtbot.keyClick(matrix, Qt.Key.Key_Escape)
    assert matrix.locked() == (-1, -1)


def test_a_map_grows_sharp_with_its_window(matrix: HeadMatrix) -> None:
    """A picture that was pooled to a few pixels must not be stretched over a large map."""
    n = 420
    tokens = [f"t{i}" for i in range(n)]
    matrix.resize(200, 140)
    matrix.set_matrix(np.eye(n, dtype=np.float32), tokens, tokens)
    matrix.viewport().grab()
    small = matrix._image.width()
    matrix.resize(700, 600)
    matrix.viewport().grab()
    assert small < 120 and matrix._image.width() == min(n, int(n * matrix._cell())) > 300


def test_long_words_leave_room_for_the_map_and_the_value_is_always_read(matrix: HeadMatrix) -> None:
    tokens = [f"an-unusually-long-word-{i}" for i in range(6)]
    matrix.resize(260, 200)
    matrix.set_matrix(np.eye(6, dtype=np.float32), tokens, tokens)
    assert matrix._whole().height() > 200 * 0.35
    metrics = QFontMetrics(number_font(current().small))
    full, short = matrix.describe(2, 2), [matrix._tell(2, 2, most) for most in (12, 6, 3)]
    said = first_fitting(metrics, metrics.horizontalAdvance(short[1]), full, *short)
    assert said == short[1] and said.endswith(": 1.000") and "an-un…" in said


def test_pooling_keeps_the_value_furthest_from_nothing() -> None:
    values = np.zeros((512, 300), dtype=np.float32)
    values[77, 200], values[401, 9] = -0.7, 0.3
    pooled = furthest(values, 100, 70)
    assert pooled.shape == (100, 70) and pooled.min() == np.float32(-0.7) and pooled.max() == np.float32(0.3)


def test_no_difference_has_the_middle_colour_whatever_the_gamma() -> None:
    table = lookup_table("difference")
    for gamma in (1.0, 0.4):
        low, none, high = Scale(True, 0.5, gamma).colours(np.array([-0.5, 0.0, 0.5]), load_theme("light"))
        assert (low, none, high) == (table[0], table[128], table[255])


def test_the_figure_has_tokens_as_text_and_every_value_as_a_square(matrix: HeadMatrix, tmp_path: Path) -> None:
    values = some_maps(1, 1, 6)[0, 0]
    tokens = ["[CLS]", "电影", "<b>", "&", "\n", "[SEP]"]
    matrix.set_matrix(values, tokens, tokens, "Layer 1 of 6, head 2 of 12")
    figure = matrix.figure()()
    write_svg(figure, tmp_path / "head.svg")
    svg = (tmp_path / "head.svg").read_text(encoding="utf-8")
    for text in ("[CLS]", "电影", "&lt;b&gt;", "&amp;", "Layer 1 of 6", "the token that looks"):
        assert text in svg
    write_png(figure, tmp_path / "head.png", scale=1.0)
    image = QImage(str(tmp_path / "head.png"))
    left, top = figure._corner()
    expected = picture(matrix.scale.colours(values, load_theme("light")))
    for query in range(6):
        for key in range(6):
            x, y = int(left + (key + 0.5) * figure.cell()), int(top + (query + 0.5) * figure.cell())
            assert image.pixel(x, y) == expected.pixel(key, query)
    with pytest.raises(OSError):
        write_svg(figure, tmp_path / "absent" / "head.svg")
