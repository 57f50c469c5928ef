"""A look that is kept: it stays as it was while others come, with the same head of each side by side."""

from dataclasses import replace

import numpy as np
import pytest

from studio.ui.views.look import AFTER, BEFORE, DIFFERENCE, Look
from studio.ui.views.pinned import PinnedView
from studio.ui.views.selection import Selection


def look_at(text: str, seed: int, shape: tuple[int, int] = (2, 3)) -> Look:
    chance, n = np.random.default_rng(seed), len(text.split())
    maps = {state: chance.dirichlet(np.ones(n), (*shape, n)).astype(np.float32) for state in (BEFORE, AFTER)}
    said = {BEFORE: {"bad": 0.6, "good": 0.4}, AFTER: {"bad": 0.1, "good": 0.9}}
    checks = dict.fromkeys(maps, {"verified": True})
    return Look(text, "a model", maps, text.split(), [False] * n, [*range(n)], said, checks)


@pytest.fixture
def view(qtbot) -> PinnedView:
    view = PinnedView(Selection())
    view.selection.changed.connect(view.show_selection)
    qtbot.addWidget(view)
    view.show()
    return view


def test_a_kept_look_stays_while_others_are_looked_at(view):
    first, second = look_at("it was dull", 1), look_at("it was rather good", 2)
    assert not view.matrix.isVisible() and not view.formats()
    view.show_look(first)
    view.keep.click()
    view.show_look(second)
    view.selection.choose_head(1, 2)
    np.testing.assert_array_equal(view.matrix.values, first.maps[AFTER][1, 2])
    assert "it was dull" in view.text.text() and "good 90" in view.said.text()
    view.selection.show_state(DIFFERENCE)
    np.testing.assert_array_equal(view.matrix.values, first.maps[AFTER][1, 2] - first.maps[BEFORE][1, 2])
    view.keep.click()
    np.testing.assert_array_equal(view.matrix.values, second.matrix(DIFFERENCE, 1, 2))


def test_a_head_that_the_kept_model_has_not_is_called_so_and_a_failed_check_too(view):
    small = look_at("it was dull", 1, (1, 2))
    view.show_look(replace(small, checks=dict.fromkeys(small.maps, {"verified": False})))
    view.keep.click()
    assert view.matrix.isVisible() and view.warning.isVisible()
    view.show_look(look_at("it was dull", 1))
    view.selection.choose_head(1, 2)
    assert not view.matrix.isVisible() and "no such head" in view.said.text()
