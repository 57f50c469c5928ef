"""Heads over rows: the numbers shown are those of the files, and a row leads to its own look."""

from dataclasses import replace

import numpy as np
import pytest
from PySide6.QtCore import Qt

from studio.attention import over_rows
from studio.core.events import Studied
from studio.ui.views.aggregate import AggregateView
from studio.ui.views.look import Look
from studio.ui.views.selection import Selection

N_ROWS, HEAD = 12, (1, 2)
ROWS = [{"text": f"row {i}", "fields": {"text": f"row {i}", "text_b": "more"}, "index": 7 * i} for i in range(N_ROWS)]


def numbers_of(seed: int) -> dict[str, np.ndarray]:
    random = np.random.default_rng(seed)
    found = {name: random.random((N_ROWS, 2, 3), dtype=np.float32) for name in ("entropy", "sink", "induction")}
    found["induction"][[2, 5]] = np.nan  # rows without a token that comes twice
    return found


NUMBERS = {"before": numbers_of(1), "after": numbers_of(2)}
CHANGE = np.random.default_rng(3).random((N_ROWS, 2, 3)).astype(np.float32)


def look_of(*states: str, run: str = "") -> Look:
    maps = {state: np.full((2, 3, 4, 4), 0.25, dtype=np.float32) for state in states}
    checks = {state: {"verified": True} for state in states}
    return Look("t", "a run", maps, list("abcd"), [False] * 4, [*range(4)], {}, checks, run=run)


@pytest.fixture
def view(qtbot) -> AggregateView:
    view = AggregateView(Selection())
    view.selection.setParent(view)
    view.selection.changed.connect(view.show_selection)
    for tool in view.tools():
        tool.setParent(view)
    view.told, view.questions = [], []
    view.measured.connect(lambda *told: view.told.append(told))
    view.asked.connect(lambda what, options: view.questions.append((what, options)))
    qtbot.addWidget(view)
    view.resize(600, 500)
    view.show()
    view.show_look(look_of("before", "after", run="a run"))
    view.selection.choose_head(*HEAD)
    return view


@pytest.fixture
def answered(qtbot, view, tmp_path) -> AggregateView:
    over_rows.save(tmp_path / "numbers", NUMBERS | {"between": {"change": CHANGE}}, ROWS)
    view.n_rows.setValue(14)
    view.button.click()
    assert view.questions == [("aggregate", {"split": "validation", "n_rows": 14})] and view.button.text() == "Stop"
    view.show_progress(3, 14)
    assert "row 4 of 14" in view.said.text() and view.bar.value() == 3
    left_out = {"unverified": 1, "text-too-long": 1}
    result = {"source": "validation", "n_asked": 14, "n_rows": N_ROWS, "n_left_out": left_out}
    view.take(Studied(id="x", what="aggregate", result=result, directory=str(tmp_path / "numbers")))
    qtbot.waitUntil(lambda: bool(view.rows))
    return view


def choose(view: AggregateView, name: str) -> None:
    view.statistic.setCurrentIndex(view.statistic.findData(name))


def test_mean_spread_and_the_rows_in_which_the_head_fires_most(answered):
    view = answered
    choose(view, "sink")
    own = NUMBERS["after"]["sink"][:, *HEAD]
    assert view.title_line.text() == f"Layer 2 · Head 3: {own.mean():.3f} ± {own.std(ddof=1):.2f}"
    assert view.ranking.keys() == np.argsort(-own).tolist()
    assert view.ranking.values() == pytest.approx(sorted(own, reverse=True))
    spread, mean = view.told[-2:]
    np.testing.assert_allclose(mean[2], NUMBERS["after"]["sink"].mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(spread[2], NUMBERS["after"]["sink"].std(axis=0, ddof=1), rtol=1e-5)
    assert (mean[0], mean[1], mean[3]) == ("rows", "Mean over rows: On the first token", False)
    assert view.button.text() == "Measure" and not view.bar.isVisible()
    said = view.behind.text()
    assert "12 of 14 validation rows" in said and "1 failed their check" in said and "1 longer than" in said
    choose(view, "entropy")  # the sharpest look is the most telling
    own = NUMBERS["after"]["entropy"][:, *HEAD]
    assert view.ranking.keys() == np.argsort(own).tolist() and view.told[-1][3] is True
    view.order.setCurrentIndex(1)
    assert view.ranking.keys() == np.argsort(-own).tolist()


def test_each_state_and_the_difference_have_their_own_numbers(answered):
    view = answered
    choose(view, "sink")
    before, after = (NUMBERS[state]["sink"][:, *HEAD] for state in ("before", "after"))
    for state, own in (("before", before), ("after", after), ("both", after), ("difference", after - before)):
        view.selection.show_state(state)
        assert view.ranking.values() == pytest.approx(sorted(own, reverse=True)), state
    view.selection.show_state("both")
    choose(view, "change")
    assert view.ranking.values() == pytest.approx(sorted(CHANGE[:, *HEAD], reverse=True))
    choose(view, "induction")  # rows that have none count nowhere
    assert sorted(view.ranking.keys()) == [i for i in range(N_ROWS) if i not in (2, 5)]
    known = np.delete(NUMBERS["after"]["induction"][:, *HEAD], [2, 5])
    assert f"{known.mean():.3f} ±" in view.title_line.text()


def test_a_row_is_looked_at_with_all_its_fields(qtbot, answered):
    looked = []
    answered.look_at.connect(lambda *row: looked.append(row))
    item = answered.ranking.item(2)
    answered.ranking.itemClicked.emit(item)
    place = answered.ranking.keys()[2]
    assert looked == [(f"row {place}", ROWS[place]["fields"])]
    dot = answered.plot.dot(1, 4).toPoint()
    qtbot.mouseClick(answered.plot, Qt.MouseButton.LeftButton, pos=dot)
    assert looked[-1][0] == "row 4"


def test_stop_refusal_and_a_model_without_data(view):
    view.measure()
    view.button.click()
    assert view.questions[-1] == ("aggregate", {"stop": True})
    view.take(Studied(id="x", what="aggregate", reason="study-replaced"))
    assert "stopped" in view.said.text() and view.button.text() == "Measure" and not view.found.isVisible()
    view.forget()
    view.show_look(look_of("before", "after"))  # two folders; their heads can differ in what is typed
    assert view.source.currentData() == "texts" and not view.source.model().item(0).isEnabled()
    assert view.statistic.model().item(view.statistic.findData("change")).isEnabled()
    view.forget()
    view.show_look(look_of("after"))
    assert "no data of its own" in view.said.text() and view.texts.isVisible() and not view.n_rows.isVisible()
    view.measure()
    assert "no text" in view.said.text() and len(view.questions) == 2
    view.texts.setPlainText("one\n\n two ")
    view.measure()
    assert view.questions[-1] == ("aggregate", {"texts": ["one", " two "]})


def test_what_the_menu_leaves_out_is_left_out_of_the_rows_and_said(qtbot, answered, tmp_path):
    view = answered
    assert not view.said.text()
    words = replace(look_of("before", "after", run="a run"), whole_words=True, without_special=True)
    view.show_look(words)
    assert "measured as: all tokens" in view.said.text() and view.said.isVisible()
    view.measure()
    assert view.questions[-1][1]["filters"] == ["without_special", "whole_words"]
    result = view._result | {"filters": ["without_special", "whole_words"]}
    view.take(Studied(id="y", what="aggregate", result=result, directory=str(tmp_path / "numbers")))
    qtbot.waitUntil(lambda: not view.said.text())
    view.show_look(look_of("before", "after", run="a run"))
    assert "measured as: without special tokens, words, not pieces." in view.said.text()
    view.show_look(words)
    assert not view.said.isVisible()


def test_rows_are_compared_by_label_and_by_right_or_wrong(qtbot, view, tmp_path):
    gold = ["good", "bad"] * (N_ROWS // 2)
    said = [{"before": "good", "after": "bad" if i == 4 else gold[i]} for i in range(N_ROWS)]
    rows = [row | {"gold": gold[i], "said": said[i]} for i, row in enumerate(ROWS)]
    rows[5] = ROWS[5]  # nobody knows its label
    over_rows.save(tmp_path / "numbers", NUMBERS, rows)
    assert view.slices.isHidden()
    result = {"source": "test", "n_asked": 12, "n_rows": 12, "n_left_out": {}}
    view.take(Studied(id="x", what="aggregate", result=result, directory=str(tmp_path / "numbers")))
    qtbot.waitUntil(lambda: bool(view.rows))
    choose(view, "sink")
    assert not view.slices.isHidden() and "η²" not in view.title_line.text()
    view.slices.setCurrentIndex(view.slices.findData("label"))
    own = NUMBERS["after"]["sink"][:, *HEAD]
    good, bad = (own[[i for i in range(N_ROWS) if gold[i] == label and i != 5]] for label in ("good", "bad"))
    bands = view.plot._bands
    assert [band.name for band in bands] == ["bad", "good"]
    assert [band.mean for band in bands] == pytest.approx([bad.mean(), good.mean()])
    assert [band.spread for band in bands] == pytest.approx([bad.std(ddof=1), good.std(ddof=1)])
    every = np.concatenate([good, bad])
    between = sum(len(part) * (part.mean() - every.mean()) ** 2 for part in (good, bad))
    share = between / ((every - every.mean()) ** 2).sum()
    name, title, values, lowest = view.told[-1]
    assert (name, title, lowest) == ("rows-slices", "Contrast of labels: On the first token", False)
    assert values[HEAD] == pytest.approx(share, rel=1e-4) and f"η² {share:.2f}" in view.title_line.text()
    first = view.ranking.keys()[0]
    assert view.ranking.item(0).text().startswith(gold[first]) or first == 5
    view.slices.setCurrentIndex(view.slices.findData("right"))
    for state, wrong in (("before", [i for i in range(N_ROWS) if gold[i] == "bad" and i != 5]), ("after", [4])):
        view.selection.show_state(state)
        assert np.flatnonzero(np.isfinite(view.plot._bands[1].values)).tolist() == wrong
    dot = view.plot.dot(1, 4).toPoint()
    looked = []
    view.look_at.connect(lambda *row: looked.append(row[0]))
    qtbot.mouseClick(view.plot, Qt.MouseButton.LeftButton, pos=dot)
    assert looked == ["row 4"]
    view.slices.setCurrentIndex(0)
    assert [band.name for band in view.plot._bands] == ["Before", "After"]
