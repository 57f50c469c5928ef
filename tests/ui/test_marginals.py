"""The bars beside a map: as long as the entropies and sums that they stand for, and beside their own cells."""

import math

import numpy as np
import pytest
from looks import make_look, random_maps
from PySide6.QtCore import QPoint, Qt
from PySide6.QtGui import QColor

from studio.ui.theme import current
from studio.ui.views.matrix import MatrixView
from studio.ui.views.selection import Selection
from studio.ui.widgets.marginals import GAP, ROOM


@pytest.fixture
def view(qtbot):
    selection = Selection()
    view = MatrixView(selection)
    selection.changed.connect(view.show_selection)
    qtbot.addWidget(view)
    view.resize(620, 460)
    view.show()
    view.show_look(make_look())
    return view


def bar_length(matrix, start, step):
    """Return how many pixels from `start` on have a bar's colours."""
    image, theme = matrix.viewport().grab().toImage(), current()
    ground, n = QColor(theme.surface), 0
    while QColor(image.pixel(int(start[0] + n * step[0]), int(start[1] + n * step[1]))) != ground:
        n += 1
    return n


def test_bars_are_as_long_as_entropies_and_sums(view):
    matrix, values = view.matrices["left"], random_maps(1)[0, 0].astype(float)
    before = matrix._area()
    view.sums.setChecked(True)
    assert matrix._area().width() == before.width() - ROOM
    entropies = [-sum(w * math.log(w) for w in row if w > 0) for row in values]
    sums = [sum(row[key] for row in values) for key in range(len(values))]
    whole = matrix._whole()
    for i in range(len(values)):
        y, x = matrix.cell_rect(i, 0).center().y(), matrix.cell_rect(0, i).center().x()
        expected = entropies[i] / max(entropies) * (ROOM - GAP)
        assert bar_length(matrix, (whole.right() + GAP + 1, y), (1, 0)) == pytest.approx(expected - 1, abs=2)
        expected = sums[i] / max(sums) * (ROOM - GAP)
        assert bar_length(matrix, (x, whole.bottom() + GAP + 1), (0, 1)) == pytest.approx(expected - 1, abs=2)
    said = matrix.describe(3, 4)
    assert f"row's entropy {entropies[3]:.2f}" in said and f"column's sum {sums[4]:.3g}"[:18] in said
    view.sums.setChecked(False)
    assert matrix._area() == before and "entropy" not in matrix.describe(3, 4)


def test_of_a_difference_they_say_what_moved(view):
    view.sums.setChecked(True)
    view.selection.show_state("difference")
    moved = view.look.maps["after"][0, 0].astype(float) - view.look.maps["before"][0, 0]
    marginals = view.matrices["left"]._marginals
    np.testing.assert_allclose(marginals.rows, [sum(abs(v) for v in row) / 2 for row in moved], atol=1e-6)
    np.testing.assert_allclose(marginals.columns, [sum(moved[:, key]) for key in range(9)], atol=1e-6)
    view.set_options({"sums": False})
    assert view.matrices["left"]._marginals is None and view.options() == {"sums": False}


def test_a_click_on_a_bar_locks_its_token(view, qtbot):
    matrix = view.matrices["left"]
    beside = matrix._whole().right() + GAP + 2

    def press(x: float, y: float) -> None:
        qtbot.mouseClick(matrix.viewport(), Qt.MouseButton.LeftButton, pos=QPoint(int(x), int(y)))

    press(beside, matrix.cell_rect(4, 0).center().y())
    assert view.selection.cell == (-1, -1), "there are no bars yet"
    view.sums.setChecked(True)
    whole = matrix._whole()
    press(whole.right() + GAP + 2, matrix.cell_rect(4, 0).center().y())
    assert view.selection.cell == matrix.locked() == (4, -1)
    assert matrix.describe(4, -1).startswith("the row of “film” · entropy ")
    press(matrix.cell_rect(0, 7).center().x(), whole.bottom() + GAP + 2)
    assert view.selection.cell == (-1, 7) and "the column of “dull” · sum " in matrix.accessibleDescription()
    press(matrix.cell_rect(0, 7).center().x(), whole.bottom() + GAP + 2)
    assert view.selection.cell == (-1, -1), "a second click lets it go"


def test_a_locked_token_is_seen_in_the_map(view):
    """Whoever clicks a token in the strip sees its row; before, the map said nothing."""
    matrix = view.matrices["left"]
    top, middle = matrix.cell_rect(3, 0).top(), int(matrix._whole().center().x()) + 3

    def has_line() -> bool:
        image = matrix.viewport().grab().toImage()
        return QColor(current().accent) in [image.pixelColor(middle, int(top) + at) for at in (-1, 0, 1)]

    assert not has_line()
    view.selection.lock(3)
    assert has_line()
