"""The timeline of a watched sentence: every head's line, and scrubbing shows what all heads saw at a step."""

import threading
from dataclasses import replace

import numpy as np
import pytest
from PySide6.QtCore import QPointF, QThreadPool

from studio.attention.capture import Capture, save
from studio.attention.look_file import LookFacts, open_look, save_look
from studio.attention.timeline import Timeline, directory
from studio.ui.views.look import AFTER, BEFORE, DIFFERENCE, caption, look_at_step, look_of_file
from studio.ui.views.selection import Selection
from studio.ui.views.timeline import MOST_READ, TimelineView
from studio.ui.widgets.sparklines import Sparklines

TOKENS = ["[CLS]", "late", "kind", "[SEP]"]
TEXT, LABELS, STEPS = "late kind", ["bad", "good"], [0, 5, 10]
SHAPE = (2, 3, 4, 4)


def maps_at(step: int) -> np.ndarray:
    """Return maps of which head 1.2 turns from an even look to one on the first token, the others stay."""
    maps = np.full(SHAPE, 0.25, dtype=np.float32)
    sharp = step / 10
    maps[1, 2] = (1 - sharp) * 0.25
    maps[1, 2, :, 0] += sharp
    return maps


def write(run, step: int, verified: bool = True) -> None:
    checks = {"verified": verified, "row_sum_error": 0.0, "causal_leak": 0.0, "logit_difference": 0.0}
    said = np.array([0.9 - step / 20, 0.1 + step / 20])
    captured = Capture(maps_at(step), None, said, checks, {"attention": ["a", "b"]})
    facts = {"special": [True, False, False, True], "word_ids": [None, 0, 1, None], "text": TEXT, "step": step}
    save(captured, TOKENS, directory(run, step), labels=LABELS, **facts)


@pytest.fixture
def run(tmp_path):
    for step in STEPS:
        write(tmp_path, step)
    return tmp_path


@pytest.fixture
def view(qtbot, run) -> TimelineView:
    view = TimelineView(Selection())
    qtbot.addWidget(view)
    view.resize(500, 400)
    view.show()
    view.show_look(look_at_step(run, 10, 0, "a run"))
    qtbot.waitUntil(lambda: view.slider.maximum() == 2)
    return view


def test_every_head_has_a_line_and_the_one_that_changed_falls(view):
    lines = view.lines._values
    assert lines.shape == (3, 2, 3) and view.statistic.currentData() == "entropy"
    np.testing.assert_allclose(lines[:, 1, 2], [np.log(4), lines[1, 1, 2], 0.0], atol=1e-6)
    assert np.ptp(lines[:, 0, :]) == 0
    view.lines.head_chosen.emit(1, 2)
    assert view.selection.head == (1, 2) and "0 to 1.39" in view.scale.text()


def test_scrubbing_shows_what_all_heads_saw_at_that_step(qtbot, view):
    with qtbot.waitSignal(view.look_chosen) as chosen:
        view.slider.setValue(1)
    (look,) = chosen.args
    assert look.step == 5 and look.text == TEXT and look.states[:3] == [BEFORE, AFTER, DIFFERENCE]
    np.testing.assert_array_equal(look.maps[AFTER], maps_at(5))
    np.testing.assert_array_equal(look.maps[BEFORE], maps_at(0))
    assert look.probabilities[AFTER] == pytest.approx({"bad": 0.65, "good": 0.35})
    first = look_at_step(view._timeline.run, 0, 0, "a run")
    assert first.states == look.states and not first.matrix(DIFFERENCE, 1, 2).any()
    view.show_look(look)
    assert view.step.text() == "step 5 of 10" and "bad 65" in view.said.text()


def test_any_two_steps_are_compared(qtbot, view):
    looks = []
    view.look_chosen.connect(lambda look: (looks.append(look), view.show_look(look)))
    view.slider.setValue(1)
    qtbot.waitUntil(lambda: len(looks) == 1)
    view.from_here.click()
    qtbot.waitUntil(lambda: len(looks) == 2)
    assert (looks[-1].first_step, looks[-1].step) == (5, 5) and "step 5" in view.from_here.text()
    view.slider.setValue(2)
    qtbot.waitUntil(lambda: len(looks) == 3)
    look = looks[-1]
    assert [look.title(state) for state in (BEFORE, AFTER)] == ["Step 5", "Step 10"]
    np.testing.assert_allclose(look.matrix(DIFFERENCE, 1, 2), (maps_at(10) - maps_at(5))[1, 2], atol=1e-6)
    view.from_here.click()
    qtbot.waitUntil(lambda: looks[-1].first_step == 0)


def test_captures_that_come_while_it_trains_are_followed_and_failed_ones_are_no_line(qtbot, run, view):
    write(run, 15, verified=False)
    view._read()
    qtbot.waitUntil(lambda: view.slider.maximum() == 3)
    assert np.isnan(view.lines._values[3]).all() and "1 captures failed" in view.scale.text()


def test_reading_that_takes_longer_than_the_clock_is_shown_as_it_comes(qtbot, run, monkeypatch):
    """The clock ticks while a read is on its way: nothing of it is lost, and no second one begins."""
    for step in range(15, 70, 5):
        write(run, step)
    view, gate, real, begun, seen = TimelineView(Selection()), threading.Event(), Timeline.update, [], []
    qtbot.addWidget(view)

    def slow(timeline, most=None):
        begun.append(timeline)
        changed = real(timeline, most)
        gate.wait(10)
        return changed

    monkeypatch.setattr(Timeline, "update", slow)
    draw = view._draw
    monkeypatch.setattr(view, "_draw", lambda: (seen.append(len(view._timeline.steps)), draw()))
    view.show_look(look_at_step(run, 10, 0, "a run"))
    qtbot.waitUntil(lambda: len(begun) == 1)
    for _ in range(3):
        view._clock.timeout.emit()
    gate.set()
    qtbot.waitUntil(lambda: view.slider.maximum() == 13)
    assert seen[:2] == [MOST_READ, 14] and view.lines._values.shape[0] == 14
    qtbot.waitUntil(lambda: view._reading is None)
    assert len(begun) == 3  # two with something new, and one that found nothing


def test_a_look_of_a_model_that_is_gone_does_not_come_back(qtbot, view):
    chosen = []
    view.look_chosen.connect(chosen.append)
    view.slider.setValue(1)
    view.forget()
    QThreadPool.globalInstance().waitForDone()
    qtbot.wait(20)
    assert not chosen


def test_a_distance_that_there_is_not_is_said(view):
    for moment in view._timeline._moments.values():
        moment.statistics["attention"].pop("distance")
    view.statistic.setCurrentIndex(view.statistic.findData("distance"))
    assert "There is none here" in view.scale.text() and not view.lines._values.size
    view.statistic.setCurrentIndex(0)
    assert view.lines._values.shape == (3, 2, 3) and "0 to 1.39" in view.scale.text()


def test_a_run_that_watched_nothing_says_where_to_begin(run, tmp_path_factory):
    look = look_at_step(run, 10, 0, "a run")
    view = TimelineView(Selection())
    assert view.why_not(look) == ""
    assert "Watch a sentence" in view.why_not(replace(look, run=str(tmp_path_factory.mktemp("other"))))
    assert "Watch a sentence" in view.why_not(replace(look, run=""))
    view.deleteLater()


def test_a_line_is_found_under_the_pointer(qtbot):
    lines = Sparklines()
    qtbot.addWidget(lines)
    lines.resize(400, 300)
    lines.set_lines(np.arange(4), np.random.default_rng(0).random((4, 6, 12)))
    assert lines.hit(lines.cell(4, 7).center()) == (4, 7) and lines.hit(QPointF(1, 1)) == (-1, -1)


def test_a_step_is_saved_and_opened_as_what_it_was(qtbot, run, tmp_path_factory):
    look = look_at_step(run, 5, 0, "a run")
    path = tmp_path_factory.mktemp("saved") / "step.attune-look"
    facts = LookFacts(subject=look.subject, text=look.text, states=list(look.maps), step=look.step)
    save_look(path, facts, look.directories)
    opened = look_of_file(open_look(path))
    np.testing.assert_array_equal(opened.maps[AFTER], maps_at(5))
    assert (opened.step, opened.text) == (5, TEXT) and "after step 5" in caption(opened, AFTER, 0, 0)
