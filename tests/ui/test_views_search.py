"""The search of heads: the one that was made to look so comes first, with what an even look would give."""

import json
import threading

import numpy as np
import pytest
from PySide6.QtCore import Qt, QThreadPool

from studio.attention import heads
from studio.attention.qk import Layers
from studio.ui.views import search
from studio.ui.views.look import Look
from studio.ui.views.search import SearchView, tokens_of
from studio.ui.views.selection import Selection

TOKENS = ["[CLS]", "the", "film", "is", "the", "film", "[SEP]", "dull", "[SEP]"]
IDS = [1, 5, 6, 7, 5, 6, 2, 9, 2]
N, PREVIOUS, EVEN = len(TOKENS), (1, 2), 1 / 9
GOOD = {"verified": True}


def maps_of(seed: int, causal: bool = False) -> np.ndarray:
    weights = np.random.default_rng(seed).random((2, 3, N, N)) + 0.05
    weights = np.tril(weights) if causal else weights
    weights[PREVIOUS] = np.eye(N, k=-1) * 0.96 + 0.04 * np.tril(np.ones((N, N))) / np.arange(1, N + 1)[:, None]
    return (weights / weights.sum(axis=-1, keepdims=True)).astype(np.float32)


def look_of(causal: bool = False, n_states: int = 2, pair: bool = True) -> Look:
    states = dict(zip(("after", "before"), (maps_of(1, causal), maps_of(2, causal)), strict=True))
    return Look(
        text="the film is the film", subject="starter", maps={k: states[k] for k in ("after", "before")[:n_states]},
        tokens=TOKENS, special=[t.startswith("[") for t in TOKENS], word_ids=[None, 0, 1, 2, 3, 4, None, 0, None],
        probabilities={}, checks={"after": GOOD}, ids=IDS,
        segments=[None, 0, 0, 0, 0, 0, None, 1, None] if pair else [None, *[0] * 7, None],
    )  # fmt: skip


@pytest.fixture
def view(qtbot) -> SearchView:
    view = SearchView(Selection())
    view.selection.setParent(view)
    view.selection.changed.connect(view.show_selection)
    for tool in view.tools():
        tool.setParent(view)
    view.emitted = []
    view.measured.connect(lambda *told: view.emitted.append(told))
    qtbot.addWidget(view)
    view.resize(700, 420)
    view.show()
    return view


def searched(qtbot, view: SearchView, look: Look | None = None, pattern: str = "") -> None:
    if look is not None:
        view.show_look(look)
    if pattern:
        qtbot.waitUntil(lambda: view._patterns is not None)
        view.choose(pattern)
    qtbot.waitUntil(lambda: view.found is not None)


def test_the_head_that_looks_so_leads_and_the_words_say_what_chance_would_give(qtbot, view):
    searched(qtbot, view, look_of(causal=True), "previous")
    assert view.ranking.heads()[0] == PREVIOUS
    own = maps_of(1, True)[PREVIOUS]
    assert view.ranking.values()[0] == pytest.approx(np.mean([own[i, i - 1] for i in range(1, N)]), abs=1e-6)
    even = np.mean([1 / (i + 1) for i in range(1, N)])
    assert f"An even look would give {even:.2g}:" in view.said.text() and "8 of 9 tokens" in view.said.text()
    assert view.ranking.mark == pytest.approx(even)
    name, title, values, lowest_first = view.emitted[-1]
    assert (name, title, lowest_first) == ("search", "Search: previous token", False)
    assert np.unravel_index(values.argmax(), values.shape) == PREVIOUS
    view.ranking.setCurrentRow(3)
    assert view.selection.head == view.ranking.heads()[3]
    # Of a model that only looks back, no head can look at the next token: it is said, and nothing is ranked.
    searched(qtbot, view, pattern="next")
    assert view.ranking.count() == 0 and "no token of this text" in view.said.text()


def test_the_difference_is_how_much_the_score_changed_the_largest_first(qtbot, view):
    look = look_of()
    view.selection.show_state("difference")
    searched(qtbot, view, look, "local")
    pattern = heads.patterns(IDS)["local"]
    change = heads.search(look.maps["after"], pattern) - heads.search(look.maps["before"], pattern)
    assert [change[head] for head in view.ranking.heads()] == pytest.approx(view.ranking.values())
    assert np.abs(view.ranking.values()).tolist() == sorted(np.abs(change.ravel()), reverse=True)
    assert (change < 0).any() and view.ranking.is_signed() and "after − before" in view.said.text()
    view.selection.show_state("before")
    qtbot.waitUntil(lambda: view.found is not None)
    np.testing.assert_allclose(view.found.scores, heads.search(look.maps["before"], pattern))
    searched(qtbot, view, pattern="uniform")
    np.testing.assert_allclose(view.found.scores, heads.uniformity(look.maps["before"]))


def test_a_painted_pattern_is_searched_for_and_can_begin_with_a_named_one(qtbot, view):
    look = look_of(causal=True)
    searched(qtbot, view, look, "previous")
    painter = view.painter
    expected = np.eye(N, k=-1, dtype=np.float32)
    np.testing.assert_array_equal(painter.pattern(), expected)
    view.shade.setCurrentIndex(1)
    view.shade.activated.emit(1)

    def at(query, key):
        return painter.cell_rect(query, key).center().toPoint()

    qtbot.mousePress(painter, Qt.MouseButton.LeftButton, pos=at(5, 0))
    qtbot.mouseRelease(painter, Qt.MouseButton.LeftButton, pos=at(5, 0))
    qtbot.mouseClick(painter, Qt.MouseButton.RightButton, pos=at(3, 2))
    qtbot.mouseClick(painter, Qt.MouseButton.LeftButton, pos=at(2, 6))  # the future, which nobody sees
    expected[5, 0], expected[3, 2] = 0.5, 0
    np.testing.assert_array_equal(painter.pattern(), expected)
    assert view.pattern_name() == "painted"
    qtbot.waitUntil(lambda: view.found is not None and "painted" in view.emitted[-1][1])
    np.testing.assert_allclose(view.found.scores, heads.search(look.maps["after"], expected))
    kept = view.options()
    painter.clear()
    qtbot.waitUntil(lambda: "Paint some cells" in view.said.text())
    painter.invert()
    np.testing.assert_array_equal(painter.pattern(), np.tril(np.ones((N, N))))
    view.set_options(kept)
    np.testing.assert_array_equal(painter.pattern(), expected)


def test_groups_are_the_texts_of_a_pair_or_what_is_typed(qtbot, view):
    look = look_of(n_states=1)
    searched(qtbot, view, look, "block")
    assert (view.looking.text(), view.looked_at.text()) == ("2-6", "8-8")
    np.testing.assert_allclose(view.found.scores, look.maps["after"][:, :, 1:6, 7].mean(axis=-1), rtol=1e-5)
    assert f"An even look would give {EVEN:.2g}" in view.said.text()
    view.looked_at.setText("2, 4-5")
    view.looked_at.textEdited.emit("2, 4-5")
    expected = look.maps["after"][:, :, 1:6][..., [1, 3, 4]].sum(axis=-1).mean(axis=-1)
    qtbot.waitUntil(lambda: view.found is not None and np.allclose(view.found.scores, expected, rtol=1e-5))
    view.looked_at.textEdited.emit(view.looked_at.setText("2-10"))
    qtbot.waitUntil(lambda: view.ranking.count() == 0)
    assert view.looked_at.property("tone") == "bad"
    assert tokens_of("3–4,1", 5) == [0, 2, 3]
    for wrong in ("", "0", "4-6", "x", "3-2"):
        with pytest.raises(ValueError):
            tokens_of(wrong, 5)


def test_only_the_newest_search_counts_and_a_hidden_view_searches_nothing(qtbot, view):
    look = look_of()
    view.hide()
    view.show_look(look)
    qtbot.wait(100)
    assert not view.emitted and view.found is None
    view.show()
    qtbot.waitUntil(lambda: view.found is not None)
    first = len(view.emitted)
    for name in ("next", "self", "first", "same token"):
        view.choose(name)
    qtbot.waitUntil(lambda: view.found is not None)
    qtbot.wait(100)
    np.testing.assert_allclose(view.found.scores, heads.search(look.maps["after"], heads.patterns(IDS)["same token"]))
    assert [told[1] for told in view.emitted[first:]] == ["Search: same token"]


@pytest.mark.parametrize("is_late", [False, True], ids=["told to end", "at its end"])
def test_a_search_of_a_former_look_says_nothing_and_shows_nothing(qtbot, view, monkeypatch, is_late):
    searched(qtbot, view, look_of(), "previous")
    gate, real, failures = threading.Event(), search.find, []
    view.failed.connect(failures.append)

    def slow(look, state, pattern, tell):
        gate.wait(10)
        return real(look, state, pattern, (lambda done, n: None) if is_late else tell)

    monkeypatch.setattr(search, "find", slow)
    view.choose("self")
    view.hide()  # so that no search of the other look takes its place
    view.show_look(look_of(causal=True))
    n_emitted = len(view.emitted)
    gate.set()
    QThreadPool.globalInstance().waitForDone()
    qtbot.wait(20)
    assert not failures and view.found is None and len(view.emitted) == n_emitted


def test_a_saved_search_comes_back_with_its_look(qtbot, view):
    look = look_of(causal=True)
    searched(qtbot, view, look, "previous")
    view.painter.clear()
    view.painter.paint_cell(5, 2, 0.5)
    view.looking.setText("3-4")
    qtbot.waitUntil(lambda: view.found is not None and "painted" in view.emitted[-1][1])
    kept, painted, scores = view.options(), view.painter.pattern(), view.found.scores
    assert kept["painted"] == [(5, 2, 0.5)]

    other = SearchView(Selection(view))
    qtbot.addWidget(other)
    for tool in other.tools():
        tool.setParent(other)
    other.show()
    other.show_look(look)
    other.set_options(json.loads(json.dumps(kept)))
    assert other.options()["painted"] == kept["painted"]  # saved again before anything was read
    qtbot.waitUntil(lambda: other.found is not None)
    assert other.options() == kept
    np.testing.assert_array_equal(other.painter.pattern(), painted)
    np.testing.assert_array_equal(other.found.scores, scores)
    other.set_options(kept | {"painted": [(99, 0, 1.0), (1, 1, 1.0)]})
    assert other.options()["painted"] == [(1, 1, 1.0)]


def test_long_texts_are_painted_on_coarser_cells_and_too_long_ones_refused(qtbot, view):
    n = 100
    weights = np.full((1, 2, n, n), 1 / n, dtype=np.float32)
    weights[0, 1] = np.eye(n, k=-1)
    words = [f"w{i}" for i in range(n)]
    look = Look("t", "starter", {"after": Layers(list(weights))}, words, [False] * n, [*range(n)], {}, {"after": GOOD},
                ids=[*range(n)], segments=[0] * n)  # fmt: skip
    searched(qtbot, view, look, "previous")
    assert view.ranking.heads()[0] == (0, 1) and view.ranking.values()[0] == 1.0
    view.painter.clear()
    view.painter.paint_cell(10, 3, 1.0)
    painted = np.argwhere(view.painter.pattern())
    assert view.painter.n_tokens_a_cell() == 3 and len(painted) in (4, 6, 9)
    assert (painted.min(axis=0) == [10 * n // 48, 3 * n // 48]).all()
    qtbot.waitUntil(lambda: view.found is not None and "stands for 3 tokens" in view.said.text())
    assert not view.why_not(look)
    long = Look("t", "starter", look.maps, ["w"] * 5000, [], [], {}, {})
    assert "4096" in view.why_not(long)


def test_what_is_found_in_a_look_that_was_forgotten_is_not_shown(qtbot, view, monkeypatch):
    searched(qtbot, view, look_of(causal=True))
    gate, done, real = threading.Event(), [], search.find
    monkeypatch.setattr(search, "find", lambda *asked: gate.wait(5) and done.append(real(*asked)) or done[-1])
    view.search()
    view.forget()
    gate.set()
    qtbot.waitUntil(lambda: bool(done))
    qtbot.wait(50)
    assert view.found is None
