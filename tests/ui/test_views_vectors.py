"""The views of a head's vectors: the numbers are those of the vectors, and what does not fit the map is not shown."""

import csv
from dataclasses import replace

import numpy as np
import pytest
from looks import TOKENS, make_look, written
from PySide6.QtCore import QPoint, Qt

from studio.attention.qk import Mask
from studio.attention.vectors import HeadVectors, load_vectors
from studio.core.events import Studied
from studio.ui.theme import current, lookup_table
from studio.ui.views.cell import CellView
from studio.ui.views.filters import Filters
from studio.ui.views.query_key import QueryKeyView
from studio.ui.views.selection import Selection
from studio.ui.words import number

N, D, SCALE = len(TOKENS), 8, 8**-0.5
EXTRA = np.array([token.startswith("[") for token in TOKENS])


def softmax(scores):
    powers = np.exp(scores - scores.max())
    return powers / powers.sum()


def make_vectors(seed, mask):
    """Return the vectors of a head, and its map computed here by a loop."""
    chance = np.random.default_rng(seed)
    query, key, value = (chance.normal(size=(N, D)).astype(np.float32) for _ in range(3))
    weights = np.zeros((N, N), dtype=np.float32)
    for i in range(N):
        last = i + 1 if mask.band else N
        scores = [SCALE * np.dot(query[i].astype(float), k) for k in key[:last].astype(float)]
        weights[i, :last] = softmax(np.array(scores))
    ids = np.arange(10, 10 + N)
    return HeadVectors(query, key, value, weights @ value, SCALE, mask, ids, EXTRA), weights


@pytest.fixture(params=[Mask(), Mask((1 - N, 0))], ids=["all", "causal"])
def told(request, tmp_path):
    """A look of two states, and the folder in which the worker wrote the vectors of layer 2, head 3."""
    maps, found = {}, {}
    for seed, state in enumerate(("before", "after")):
        found[state], weights = make_vectors(seed, request.param)
        maps[state] = np.zeros((2, 4, N, N), dtype=np.float32)
        maps[state][...] = weights
        found[state].save(tmp_path / f"{state}.npz")
    return make_look(maps=maps), found, tmp_path


def answer(folder, **changes):
    result = {"layer": 1, "head": 2, "states": {"before": {}, "after": {}}}
    return Studied(**{"id": "a", "what": "vectors", "result": result, "directory": str(folder)} | changes)


@pytest.fixture
def open_view(qtbot):
    def open_view(kind, look):
        selection = Selection()
        selection.choose_heads(((1, 2),))
        view = kind(selection)
        view.questions = []
        view.asked.connect(lambda what, options: view.questions.append((what, options)))
        selection.changed.connect(view.show_selection)
        qtbot.addWidget(view)
        view.resize(760, 460)
        view.show_look(look)
        view.show()
        return view

    return open_view


def tell(qtbot, view, folder, **changes):
    view.take(answer(folder, **changes))
    qtbot.waitUntil(lambda: view.vectors() is not None or bool(view._refused))


@pytest.mark.parametrize("kind", [QueryKeyView, CellView])
def test_vectors_are_asked_for_once_a_head_and_only_while_the_view_is_seen(qtbot, open_view, told, kind):
    look, _, folder = told
    view = open_view(kind, look)
    ask = ("vectors", {"layer": 1, "head": 2})
    assert view.questions == [ask] and "Asking the model" in view.waiting()
    tell(qtbot, view, folder)
    assert view.waiting() == ""
    view.hide()
    view.selection.choose_head(0, 1)
    assert view.questions == [ask]
    view.show()
    assert view.questions == [ask, ("vectors", {"layer": 0, "head": 1})]
    view.selection.choose_head(1, 2)
    assert len(view.questions) == 2 and view.vectors() is not None
    view.show_look(replace(look, text="another", ids=[99] * N))
    assert view.questions[2:] == [ask] and view.vectors() is None


def test_query_and_keys_show_the_numbers_of_the_vectors(qtbot, open_view, told):
    look, found, folder = told
    view = open_view(QueryKeyView, look)
    tell(qtbot, view, folder)
    for state in ("after", "before"):
        view.selection.show_state(state)
        view.selection.lock(6, -1)
        rows, vectors = view.rows, found[state]
        assert rows.row.token == "so"
        for key in range(N):
            q, k = vectors.query[6].astype(float), vectors.key[key].astype(float)
            dot = sum(a * b for a, b in zip(q, k, strict=True))
            assert rows.row.score[key] == pytest.approx(dot, abs=1e-9)
            assert rows.row.scaled[key] == pytest.approx(dot * SCALE, abs=1e-9)
            assert rows.row.weight[key] == pytest.approx(float(look.maps[state][1, 2, 6, key]), abs=1e-6)
            assert rows.row.added[key] == (-np.inf if vectors.mask.band and key > 6 else 0)
        assert rows.row.weight.sum() == pytest.approx(1)
    q, k = float(vectors.query[6, 3]), float(vectors.key[2, 3])
    product = f"{np.float32(q) * np.float32(k):.7g}".replace("-", "−")
    assert rows.describe("product", 2, 3).endswith(f"= {product}")
    assert number(float(rows.row.weight[2])) in rows.describe("weight", 2, -1) or rows.row.weight[2] < 1e-3


def test_strips_have_the_colours_of_the_numbers_and_say_them_on_hover(qtbot, open_view, told):
    look, found, folder = told
    view = open_view(QueryKeyView, look)
    tell(qtbot, view, folder)
    view.selection.lock(4, -1)
    rows, vectors, table = view.rows, found["after"], lookup_table("difference", current())
    image = rows.viewport().grab().toImage()
    limit = max(np.abs(vectors.query).max(), np.abs(vectors.key).max())
    for column, key, place, value in (("key", -1, 2, vectors.query[4, 2]), ("key", 3, 5, vectors.key[3, 5])):
        at = rows.place_of(column, key, place)
        shade = round((float(value) / limit + 1) / 2 * 255)
        near = [table[min(255, max(0, shade + d))] for d in (-1, 0, 1)]
        assert image.pixel(at.toPoint()) in [int(colour) for colour in near]
        assert rows.hit(at) == ("query" if key < 0 else "key", key, place)
        assert f"{float(value):.7g}".replace("-", "−") in rows.describe(*rows.hit(at))
    qtbot.mouseMove(rows.viewport(), rows.place_of("key", 3, 5).toPoint())
    assert view.selection.hovered == (4, 3)
    qtbot.mouseClick(rows.viewport(), Qt.MouseButton.LeftButton, pos=rows.place_of("weight", 2).toPoint())
    assert view.selection.cell == (4, 2)
    qtbot.mouseMove(rows.viewport(), QPoint(1, 1))
    qtbot.keyClick(rows, Qt.Key.Key_Down)
    assert view.selection.cell == (5, 2) and rows.row.token == TOKENS[5]


def test_a_cell_is_taken_apart_step_by_step(qtbot, open_view, told):
    look, found, folder = told
    view = open_view(CellView, look)
    assert "Point at a cell" in view.note.text() or "Asking" in view.note.text()
    view.selection.lock(6, 4)
    # Before the worker answers, the map's own number stands there and nothing else.
    weight = float(look.maps["after"][1, 2, 6, 4])
    assert view.stages["softmax"].number() == number(weight) and view.stages["score"].number() == "–"
    tell(qtbot, view, folder)
    v = found["after"]
    q, k, value = (each.astype(float) for each in (v.query[6], v.key[4], v.value[4]))
    expected = {
        "query": np.sqrt((q**2).sum()), "key": np.sqrt((k**2).sum()), "score": (q * k).sum(),
        "scale": (q * k).sum() * SCALE, "mask": (q * k).sum() * SCALE, "softmax": weight,
        "value": np.sqrt((value**2).sum()), "passed": weight * np.sqrt((value**2).sum()),
    }  # fmt: skip
    for name, found_number in expected.items():
        shown = view.stages[name].number().replace("−", "-")
        assert float(shown) == pytest.approx(found_number, rel=2e-3), name
    assert "1/√8" in view.stages["scale"].said() and "1.0000" in view.stages["softmax"].said()
    np.testing.assert_allclose(view.stages["score"].picture.values, q * k)
    np.testing.assert_allclose(view.stages["passed"].picture.values, weight * value, rtol=1e-5)
    view.selection.hover(3, 8)
    assert view.heading.text() == "“##able” looks at “[SEP]”"
    if v.mask.band:
        assert "−∞" in view.stages["mask"].said() and view.stages["mask"].number() == "-∞".replace("-", "−")
        assert view.stages["softmax"].number() == "0"


def test_without_special_tokens_the_same_vectors_are_shown(qtbot, open_view, told):
    look, found, folder = told
    view = open_view(CellView, look)
    tell(qtbot, view, folder)
    cut = Filters(without_special=True).apply(look)
    view.show_look(cut)
    assert len(view.questions) == 1
    view.selection.lock(5, 3)  # "dull" looks at "film"
    q, k = found["after"].query[7].astype(float), found["after"].key[4].astype(float)
    assert float(view.stages["score"].number().replace("−", "-")) == pytest.approx(q @ k, rel=2e-3)
    assert number(float(cut.maps["after"][1, 2, 5, 3])) in view.stages["softmax"].said()


@pytest.mark.parametrize("kind", [QueryKeyView, CellView])
def test_vectors_that_do_not_fit_the_map_are_not_shown(qtbot, open_view, told, kind):
    look, found, folder = told
    wrong = replace(found["after"], query=found["after"].query * 1.01)
    wrong.save(folder / "after.npz")
    view = open_view(kind, look)
    tell(qtbot, view, folder)
    assert view.vectors() is None and "differ from the map" in view.waiting()
    replace(found["after"], ids=found["after"].ids + 1).save(folder / "after.npz")
    view = open_view(kind, look)
    tell(qtbot, view, folder)
    assert view.vectors() is None and "another text" in view.waiting()


def test_a_refusal_is_said_in_words(open_view, told):
    look, _, folder = told
    view = open_view(QueryKeyView, look)
    view.take(answer(folder, reason="vectors-formula", facts={"error": "3e-2"}))
    assert "by 3e-2" in view.note.text() and view.rows.isHidden()


def test_what_is_exported_reads_back(qtbot, open_view, told, tmp_path):
    look, found, folder = told
    view = open_view(QueryKeyView, look)
    assert view.formats() == {}
    tell(qtbot, view, folder)
    view.selection.lock(5, -1)
    assert set(view.formats()) == {"csv", "npz"}
    written(view, "csv", tmp_path / "row.csv")
    with open(tmp_path / "row.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    assert [row[0] for row in rows[1:]] == TOKENS and "layer 2 of 2, head 3 of 4" in rows[0][0]
    np.testing.assert_allclose([float(row[4]) for row in rows[1:]], look.maps["after"][1, 2, 5], atol=1e-6)
    written(view, "npz", tmp_path / "head.npz")
    np.testing.assert_array_equal(load_vectors(tmp_path / "head.npz").value, found["after"].value)
