"""The views that ask what heads and tokens do: what they ask, and what of the answer is on screen."""

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from looks import written
from PySide6.QtCore import Qt

from studio.attention import paths
from studio.core.anatomy import WRITTEN
from studio.core.events import Studied
from studio.ui.views.ablate import AblateView, change_of
from studio.ui.views.attributions import AttributionsView, weights_of
from studio.ui.views.filters import Filters
from studio.ui.views.look import AFTER, BEFORE, BOTH, DIFFERENCE, Look
from studio.ui.views.selection import Selection

TOKENS = ["[CLS]", "the", "film", "is", "the", "end", "[SEP]"]
ADDED = [True, *[False] * 5, True]
TARGET = {"words": "probability of “{label}”", "facts": {"label": "bad"}, "is_probability": True, "per_token": False}
N = len(TOKENS)


def random_maps(seed: int, n: int = N) -> np.ndarray:
    weights = np.random.default_rng(seed).random((2, 3, n, n), dtype=np.float32) ** 3
    return weights / weights.sum(axis=-1, keepdims=True)


LOOK = Look(
    text="the film is the end", subject="a model", run="a run", tokens=TOKENS, special=ADDED,
    maps={BEFORE: random_maps(1), AFTER: random_maps(2)}, word_ids=[None, 0, 1, 2, 3, 4, None],
    ids=[2, 5, 6, 7, 5, 8, 3], segments=[None] * N, probabilities={BEFORE: {}, AFTER: {}},
    checks={BEFORE: {"verified": True}, AFTER: {"verified": True}},
)  # fmt: skip


@pytest.fixture
def selection(qapp) -> Selection:
    return Selection()


def shown(qtbot, view, look: Look = LOOK) -> list:
    """Show a view with a look; return what it asks from now on."""
    asked: list = []
    view.asked.connect(lambda what, options: asked.append((what, options)))
    view.selection.changed.connect(view.show_selection)
    for widget in (view, *view.tools()):
        qtbot.addWidget(widget)
    view.resize(600, 400)
    view.show()
    view.show_look(look)
    return asked


# --- Ablate ----------------------------------------------------------------------------------------------------------


def ablated(value: float, **edited) -> Studied:
    plain = {"value": 0.97, "probabilities": {"bad": 0.97, "good": 0.03}, "answers": ["bad"], "loss": None}
    other = plain | {"value": value, "probabilities": {"bad": value, "good": 1 - value}} | edited
    states = {BEFORE: {"plain": plain, "edited": plain}, AFTER: {"plain": plain, "edited": other}}
    return Studied(id="1", what="ablate", result={"target": TARGET, "states": states})


def test_chosen_heads_are_asked_about_and_only_the_newest_choice(qtbot, selection):
    view = AblateView(selection)
    asked = shown(qtbot, view)
    qtbot.waitUntil(lambda: len(asked) == 1)
    assert asked[0] == ("ablate", {"edits": [[0, 0, "zero"]], "kind": "attention", "token": -1, "about": 2})
    for head in (1, 2):  # while the answer is on its way
        selection.choose_head(1, head, add=True)
    qtbot.wait(300)
    assert len(asked) == 1
    view.take(ablated(0.31))
    qtbot.waitUntil(lambda: len(asked) == 2)
    assert asked[1][1]["edits"] == [[0, 0, "zero"], [1, 1, "zero"], [1, 2, "zero"]]
    view.take(ablated(0.31))
    view._lines[1, 1].drop.click()
    assert selection.heads == ((1, 2), (0, 0))
    qtbot.waitUntil(lambda: len(asked) == 3)
    view.take(ablated(0.31))
    view.live.setChecked(False)
    line = view._lines[0, 0]
    line.ways.setCurrentIndex(line.ways.findData("scale"))
    line.ways.activated.emit(2)
    line.slider.setValue(-50)
    qtbot.wait(300)
    assert len(asked) == 3
    view.button.click()
    assert asked[3][1]["edits"] == [[0, 0, -0.5], [1, 2, "zero"]]


def test_the_answer_stands_beside_that_of_all_heads(qtbot, selection):
    view = AblateView(selection)
    shown(qtbot, view)
    view.take(ablated(0.31, answers=["good"], loss=1.2))
    after = view.answers[AFTER]
    assert after.isVisible() and not view.answers[BEFORE].isVisible()
    assert after.target.text() == "Probability of “bad”: 0.970 → 0.310 (−0.660)"
    assert after.rest.text() == "The answer turns from “bad” to “good”"
    assert after.bars.rows() == [("bad", 0.97, 0.31), ("good", 0.03, 0.69)]
    selection.show_state(BOTH)
    assert view.answers[BEFORE].isVisible() and view.answers[BEFORE].rest.text() == "The answer stays “bad”"
    assert change_of(0.5, 0.50001) == "0.500 → 0.500 (±0.000)"
    assert change_of(0.5, 0.9004) == "0.500 → 0.900 (+0.400)"
    # Of a large vocabulary a word has a small share, and what becomes of it is seen all the same.
    assert change_of(3.67e-4, 1.2e-5) == "3.670e−4 → 0.120e−4 (−3.550e−4)"
    assert change_of(0.0, 0.0) == "0.000 → 0.000 (±0.000)"


@pytest.mark.parametrize(("answers", "none"), [("", "no answer"), (WRITTEN, "nothing is written")])
def test_an_answer_without_a_word_is_called_what_it_is(qtbot, selection, answers: str, none: str):
    view = AblateView(selection)
    shown(qtbot, view, replace(LOOK, answers=answers))
    view.take(ablated(0.31, answers=[""]))
    assert view.answers[AFTER].rest.text() == f"The answer turns from “bad” to “{none}”"


def test_what_can_not_be_edited_is_said(qtbot, selection):
    view = AblateView(selection)
    shown(qtbot, view)
    view.take(ablated(0.31))
    view.take(Studied(id="2", what="ablate", reason="heads-fixed", facts={"model_type": "mpnet"}))
    assert "mpnet" in view.note.text() and "not changed" in view.note.text()
    assert not view.answers[AFTER].isVisible()


def test_importance_orders_the_grid(qtbot, selection):
    view = AblateView(selection)
    asked, measured = shown(qtbot, view), []
    view.measured.connect(lambda *found: measured.append(found))
    qtbot.mouseClick(view.rank, Qt.MouseButton.LeftButton)
    assert asked[-1][0] == "importance" and not view.rank.isEnabled()
    values = {BEFORE: np.zeros((2, 3)).tolist(), AFTER: np.arange(6.0).reshape(2, 3).tolist()}
    view.take(Studied(id="3", what="importance", result={"target": TARGET, "states": values, "n_rows": 1}))
    name, title, found, lowest_first = measured[0]
    assert (name, title, lowest_first) == ("importance", "Importance · After", False) and view.rank.isEnabled()
    np.testing.assert_array_equal(found, np.arange(6.0).reshape(2, 3))
    selection.show_state(BEFORE)
    assert measured[-1][1] == "Importance · Before" and not measured[-1][2].any()
    selection.show_state(BOTH)
    assert len(measured) == 3 and measured[-1][1] == "Importance · After"
    view.hide()
    selection.show_state(BEFORE)
    assert len(measured) == 3  # nobody looks: the grid stays in the order that it has
    view.show()
    assert measured[-1][1] == "Importance · Before"
    view.show_look(replace(LOOK, without_special=True))  # the same text drawn otherwise: its numbers are known
    assert len(measured) == 5
    view.show_look(replace(LOOK, text="another"))
    assert len(measured) == 5


def important(value: float, about: int, **rows) -> Studied:
    values = {BEFORE: np.zeros((2, 3)).tolist(), AFTER: np.full((2, 3), value).tolist()}
    result = {"target": TARGET, "states": values, "part": "", "n_rows": 1, "n_left_out": 0} | rows
    return Studied(id="6", what="importance", about=about, result=result)


def test_importance_over_rows_says_how_many_and_can_be_stopped(qtbot, selection):
    view = AblateView(selection)
    asked, measured = shown(qtbot, view), []
    view.measured.connect(lambda *found: measured.append(found))
    tool = view.importance
    tool.over.setCurrentIndex(tool.over.findData(100))
    tool.button.click()
    what, options = asked[-1]
    assert (what, options["rows"], options["kind"], "token" in options) == ("importance", 100, "attention", False)
    assert tool.button.text() == "Stop" and tool.bar.isVisible()
    view.show_progress(3, 98)
    assert "row 4 of 98" in tool.said.text() and tool.bar.value() == 3
    view.show_look(replace(LOOK, text="another"))  # the rows are the same whatever is on screen
    view.take(important(2.0, options["about"], part="test", n_rows=96, n_left_out=2))
    assert tool.said.text() == "Importance: mean over 96 test rows · 2 left out: too long, or empty"
    assert measured[-1][1] == "Importance · After, 96 rows" and (measured[-1][2] == 2.0).all()
    assert tool.button.text() == "Importance of all heads" and not tool.bar.isVisible()
    view.show_look(LOOK)
    assert len(measured) == 2 and measured[-1][1] == "Importance · After, 96 rows"
    tool.button.click()
    tool.button.click()
    assert asked[-1][1]["stop"] is True and asked[-1][1]["about"] == asked[-2][1]["about"]
    view.take(Studied(id="7", what="importance", about=asked[-1][1]["about"], reason="study-replaced"))
    assert "stopped" in tool.said.text() and tool.button.text() == "Importance of all heads"
    view.show_look(replace(LOOK, subject="another model"))
    assert len(measured) == 2 and not tool.states
    view.show_look(replace(LOOK, run=""))  # two model folders have no rows
    assert not tool.over.isVisible()
    tool.button.click()
    assert "rows" not in asked[-1][1] and asked[-1][1]["token"] == -1


def test_what_was_asked_of_another_text_or_kind_is_not_its_answer(qtbot, selection):
    view = AblateView(selection)
    asked = shown(qtbot, view)
    view.button.click()
    view.importance.button.click()
    former = {what: options["about"] for what, options in asked[-2:]}
    view.show_look(replace(LOOK, kind="decoder"))  # of the same text
    view.take(important(2.0, former["importance"]))
    view.take(ablated(0.31).model_copy(update={"about": former["ablate"]}))
    assert not view.importance.states and not view._shown and view.rank.isEnabled()
    selection.lock(3)
    view.button.click()
    assert (asked[-1][1]["kind"], asked[-1][1]["token"]) == ("decoder", 3)
    view.take(ablated(0.31).model_copy(update={"about": asked[-1][1]["about"]}))
    assert view._shown


def test_numbers_of_heads_that_were_chosen_before_say_so(qtbot, selection):
    view = AblateView(selection)
    asked = shown(qtbot, view)
    view.live.setChecked(False)
    selection.choose_heads(((0, 0), (1, 1)))
    view.button.click()
    selection.choose_head(1, 2)  # while the answer is on its way
    view.take(ablated(0.31))
    assert view.note.text() == "With 2 heads changed. Of what was chosen before: ask the model again."
    view.button.click()
    assert asked[-1][1]["edits"] == [[1, 2, "zero"]]
    view.take(ablated(0.31))
    assert view.note.text() == "With one head changed."
    selection.choose_head(0, 2)
    assert "ask the model again" in view.note.text() and view.answers[AFTER].isVisible()


# --- Explain ---------------------------------------------------------------------------------------------------------

WEIGHTS = [9.0, 1.0, 4.0, 0.5, -2.0, 3.0, 7.0]  # of special tokens too, which are left aside
CURVES = {
    "steps": [0, 1, 2, 3, 4, 5], "n_strongest": 1, "deletion": [0.97, 0.31, 0.2, 0.2, 0.1, 0.1],
    "insertion": [0.1, 0.9, 0.9, 0.9, 0.9, 0.97], "random_deletion": [0.97, 0.9, 0.7, 0.5, 0.3, 0.1],
    "random_insertion": [0.1, 0.3, 0.5, 0.7, 0.9, 0.97], "deletion_area": 0.3, "insertion_area": 0.8,
    "random_deletion_area": 0.6, "random_insertion_area": 0.6, "spearman": 0.9, "occlusion": [0.1] * 5, "uniform": 0.5,
}  # fmt: skip


def explained(method: str = "gradient", **other) -> Studied:
    states = {name: {"weights": (np.array(WEIGHTS) * (name == AFTER)).tolist()} | CURVES | other for name in LOOK.maps}
    result = {"target": TARGET, "method": method, "ids": LOOK.ids, "added": ADDED, "stays": ADDED, "blank": "[MASK]"}
    return Studied(id="4", what="attributions", result=result | {"states": states})


def reads(place: int = 0) -> Studied:
    found = explained("reads")
    rows = np.eye(N)[place].tolist()
    return found.model_copy(update={"result": found.result | {"states": {name: {"reads": rows} for name in LOOK.maps}}})


def test_an_explanation_stands_beside_its_test(qtbot, selection, tmp_path: Path):
    view = AttributionsView(selection)
    asked, tints = shown(qtbot, view), []
    view.tinted.connect(lambda *tint: tints.append(tint))
    qtbot.waitUntil(lambda: bool(asked))
    options = {"method": "gradient", "kind": "attention", "token": -1, "states": [AFTER], "about": 1}
    assert asked == [("attributions", options)]
    view.take(explained())
    np.testing.assert_array_equal(tints[-1][0], [0, 1, 4, 0.5, -2, 3, 0])
    assert tints[-1][1] is True and "gradient" in tints[-1][2]
    assert view.verdict.text() == (
        "Without the strongest token the probability of “bad” goes from 0.970 to 0.310; without a random one: 0.900. "
        "Over all tokens its order does better than chance."
    )
    for said in ("ρ 0.90", "evenly: 0.500", "becomes [MASK]"):
        assert said in view.note.text()
    assert view._bars.widget()._names == ["film", "end", "2 the", "is", "5 the"]
    np.testing.assert_array_equal(view.chart.canvas._chart.y[:6], CURVES["deletion"])
    written(view, "csv", tmp_path / "weights.csv")
    with open(tmp_path / "weights.csv", encoding="utf-8", newline="") as file:
        assert list(csv.reader(file))[3] == ["film", "4.0"]
    selection.show_state(BEFORE)
    assert len(asked) == 1 and not tints[-1][0].any()  # both were answered
    selection.show_state(DIFFERENCE)
    np.testing.assert_array_equal(tints[-1][0], [0, 1, 4, 0.5, -2, 3, 0])
    assert view.verdict.text().startswith("After: Without"), "of two states it says which was tested"
    view.hide()
    assert tints[-1][0] is None


def test_an_explanation_that_is_no_better_than_chance_is_called_so(qtbot, selection):
    view = AttributionsView(selection)
    shown(qtbot, view)
    view.take(explained(deletion_area=0.7))
    assert "only one of the two" in view.verdict.text()
    view.take(explained(deletion_area=0.7, insertion_area=0.5, spearman=None, occlusion=None, uniform=None))
    assert "Too long to leave out" in view.note.text() and "evenly" not in view.note.text()
    assert "no better than chance: don't rely on it" in view.verdict.text()


@pytest.mark.parametrize("cut", [False, True])
def test_what_follows_from_the_maps_is_computed_here_and_tested_there(qtbot, selection, cut: bool):
    view = AttributionsView(selection)
    look = Filters(without_special=True).apply(LOOK) if cut else LOOK
    asked = shown(qtbot, view, look)
    view.method.setCurrentIndex(view.method.findData("rollout"))
    qtbot.waitUntil(lambda: bool(asked) and asked[-1][1]["method"] == "reads")
    view.take(reads(place=2))
    qtbot.waitUntil(lambda: asked[-1][1]["method"] == "given")
    given = asked[-1][1]["weights"]
    assert list(given) == [AFTER]  # only what is shown
    view.take(explained("gradient"))  # asked for before, and no rollout
    assert view.weights() is None
    selection.show_state(DIFFERENCE)
    qtbot.waitUntil(lambda: len(asked[-1][1].get("weights", {})) == 2)
    given = asked[-1][1]["weights"]
    expected = np.zeros(N)
    whole = paths.rollout(look.maps[AFTER])
    expected[~np.array(ADDED) if cut else slice(None)] = whole[1 if cut else 2]
    np.testing.assert_allclose(given[AFTER], expected)
    assert set(given) == {BEFORE, AFTER} and given[BEFORE] != given[AFTER]
    view.take(explained("given"))
    assert len(view.weights()) == len(look.tokens) and view._found["method"] == "rollout"


def test_a_rollout_and_a_head_under_way_at_once_are_told_apart(qtbot, selection):
    """Both are tested as weights that were given; so are two heads, one chosen after the other."""
    view = AttributionsView(selection)
    asked = shown(qtbot, view)
    tickets = []
    for name in ("rollout", "head"):
        view.method.setCurrentIndex(view.method.findData(name))
        if not view._reads:
            qtbot.waitUntil(lambda: bool(asked) and asked[-1][1]["method"] == "reads")
            view.take(reads().model_copy(update={"about": asked[-1][1]["about"]}))
        qtbot.waitUntil(lambda: asked[-1][1]["method"] == "given" and asked[-1][1]["about"] not in tickets)
        tickets.append(asked[-1][1]["about"])
    rollout = explained("given").model_copy(update={"about": tickets[0]})
    view.take(rollout)
    assert view.weights() is None  # not the head's, though the head is chosen
    refused = Studied(id="8", what="attributions", about=tickets[0], reason="flow-too-long", facts={})
    view.take(refused)
    assert "Asking" in view.verdict.text()
    selection.choose_head(1, 1)
    qtbot.waitUntil(lambda: asked[-1][1]["about"] != tickets[1])
    view.take(explained("given").model_copy(update={"about": tickets[1]}))
    assert view.weights() is None  # another head's
    view.take(explained("given").model_copy(update={"about": asked[-1][1]["about"]}))
    assert view._found["method"] == "head" and view.weights() is not None


def test_across_a_text_is_explained_and_what_has_no_meaning_there_says_so(qtbot, selection):
    view = AttributionsView(selection)
    across = {state: np.full((2, 3, 4, N), 1 / N, dtype=np.float32) for state in LOOK.maps}
    look = replace(LOOK, kind="cross", maps=across, queries=list("abcd"))
    selection.lock(2)
    asked = shown(qtbot, view, look)
    qtbot.waitUntil(lambda: bool(asked))
    assert (asked[-1][1]["kind"], asked[-1][1]["token"]) == ("cross", 2)
    view.take(explained())
    assert view.weights() is not None and "0.970" in view.verdict.text()
    n = len(asked)
    view.method.setCurrentIndex(view.method.findData("rollout"))
    qtbot.waitUntil(lambda: "no meaning in cross" in view.verdict.text())
    assert len(asked) == n and "Encoder" in view.verdict.text() and view.weights() is None
    assert not view.why_not(look) and "Encoder" in view.why_not(replace(LOOK, kind="decoder"))


def test_a_head_is_what_it_looks_at():
    head = weights_of("head", LOOK, AFTER, (1, 2), 3, {})
    np.testing.assert_array_equal(head, LOOK.maps[AFTER][1, 2, 3].astype(float))
    mean = weights_of("head", LOOK, AFTER, (1, 2), -1, {})
    np.testing.assert_allclose(mean, LOOK.maps[AFTER][1, 2].mean(axis=0), rtol=1e-6)


def test_what_has_no_answer_says_why_in_its_place(qtbot, selection):
    view = AttributionsView(selection)
    shown(qtbot, view)
    view.take(explained())
    facts = {"n_tokens": 300, "most": 128}
    view.take(Studied(id="5", what="attributions", reason="flow-too-long", facts=facts))
    assert "300 tokens" in view.verdict.text() and not view.chart.isVisible() and not view._bars.isVisible()
