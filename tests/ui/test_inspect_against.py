"""A model against another one on the Inspect page: which are offered, what is asked, and what the states are called."""

import threading
from dataclasses import replace

import numpy as np
import pytest
from looks import make_look
from recorded_runs import add_model
from test_inspect_panel import AFTER, BEFORE, MOST_CHANGED, TEXT, wait_measured
from test_inspect_panel import captures as captures
from test_inspect_panel import looked as looked
from test_inspect_panel import panel as panel
from test_inspect_panel import store as store

from studio.attention.look_file import open_look
from studio.core.events import Explained
from studio.core.files import read_json, write_json
from studio.core.rundir import create_run
from studio.core.spec import parse_spec
from studio.ui.panels import inspect as inspect_panel
from studio.ui.panels import inspect_against
from studio.ui.panels.inspect_against import AgainstChooser, others_of
from studio.ui.panels.inspect_subject import Other, Subject, of_file, of_model, runs_to_see
from studio.ui.views.look import about, caption, look_of_file, state_names

OTHER_PROBABILITIES = {"before": {"bad": 0.1, "good": 0.9}, "after": {"bad": 0.97, "good": 0.03}}


@pytest.fixture
def other_run(workspace, recorded_run):
    """Another run that learned the same labels."""
    run = create_run(workspace, parse_spec(read_json(recorded_run.spec_file) | {"name": "more rows"}))
    add_model(run)
    return run


def add_checkpoint(run, step):
    write_json(run.checkpoints_dir / f"checkpoint-{step}" / "trainer_state.json", {"global_step": step})


def test_what_can_be_compared_is_offered_and_nothing_else(workspace, recorded_run, other_run):
    add_model(recorded_run)
    spec = read_json(recorded_run.spec_file)
    tags = {"task": "token-classification", "columns": {"tokens": "text", "tags": "label"}}
    other_task = create_run(workspace, parse_spec(spec | tags))
    other_labels = create_run(workspace, parse_spec(spec))
    for run in (other_task, other_labels):
        add_model(run)
    write_json(other_labels.resolved_file, {"labels": ["x", "y"]})
    add_checkpoint(recorded_run, 5)
    add_checkpoint(recorded_run, 10)
    seen = {each.summary.id: each.subjects for each in runs_to_see(workspace)}
    own = seen[recorded_run.id]
    assert [subject.checkpoint for subject in own] == [None, 10, 5]
    found = [(other.run, other.checkpoint) for other, _ in others_of(workspace, own[0])]
    assert found == [(recorded_run.id, 5), (recorded_run.id, 10), (other_run.id, None)]
    killed = create_run(workspace, parse_spec(spec))
    write_json(killed.resolved_file, read_json(recorded_run.resolved_file))
    add_checkpoint(killed, 7)
    assert (killed.id, 7) in [(other.run, other.checkpoint) for other, _ in others_of(workspace, own[0])]
    # Of a checkpoint, the model that the run ended with is one more.
    found = [(other.run, other.checkpoint) for other, _ in others_of(workspace, own[1])]
    assert found[:2] == [(recorded_run.id, None), (recorded_run.id, 5)]
    assert {*found[2:]} == {(killed.id, 7), (other_run.id, None)}, "of the same second, in either order"


def test_another_run_stands_before_under_its_own_name(qtbot, looked, store, other_run, captures, tmp_path):
    panel = looked
    panel.against.show_subject(panel.chooser.subject())
    qtbot.waitUntil(lambda: panel.against.count() == 2)
    panel.against.setCurrentIndex(1)
    panel.against.activated.emit(1)
    # The same text is looked at again, by a worker that knows both.
    assert store.asked[-1].text == TEXT and store.how["against"].run.endswith(other_run.id)
    store.answer(probabilities=OTHER_PROBABILITIES, directories=captures())
    wait_measured(qtbot, panel)
    head = panel.maps.head
    assert head.states["before"].text() == "more rows" and head.states["after"].text() != "After"
    assert panel.maps.prediction.text().startswith("more rows good 90")
    assert panel.maps.heads.ranking_title() == "Differ most"
    head.states["difference"].click()
    matrix = head.view("matrix")
    np.testing.assert_allclose(matrix.matrices["left"].values, (AFTER - BEFORE)[MOST_CHANGED], atol=1e-6)
    assert "more rows" in matrix.matrices["left"].caption
    # Names go into the file, and come back with it.
    panel.files.save(tmp_path / "two.attune-look")
    qtbot.waitUntil((tmp_path / "two.attune-look").exists)
    assert look_of_file(open_look(tmp_path / "two.attune-look")).title("before") == "more rows"
    # Its own beginning stands before again.
    panel.against.choose(None)
    assert store.how["against"] is None
    store.answer(probabilities=OTHER_PROBABILITIES, directories=captures())
    qtbot.waitUntil(lambda: head.states["before"].text() == "Before")


def test_two_folders_are_compared_and_one_stands_alone(qtbot, panel, store, captures, tmp_path):
    panel.chooser.choose(of_model("starter"))
    assert panel.against.currentText() == "alone"
    store.settings.recent_models.append(str(tmp_path))
    panel.against.show_subject(panel.chooser.subject())
    assert [panel.against.itemText(i) for i in range(2)] == ["alone", f"against {tmp_path.name}"]
    panel.against.activated.emit(1)
    panel.look_at(TEXT)
    assert store.how["model"] == "starter" and store.how["against"].model == str(tmp_path)


def test_what_was_read_of_one_model_is_not_offered_for_the_next(qtbot, panel, store, other_run, monkeypatch):
    gate, real, done = threading.Event(), inspect_against.others_of, []
    monkeypatch.setattr(inspect_against, "others_of", lambda *about: gate.wait(5) and done.append(1) or real(*about))
    panel.against.show_subject(panel.chooser.subject())
    panel.chooser.choose(of_model("starter"))
    offered = [panel.against.itemText(i) for i in range(panel.against.count())]
    gate.set()
    qtbot.waitUntil(lambda: bool(done))
    qtbot.wait(50)
    assert [panel.against.itemText(i) for i in range(panel.against.count())] == offered
    assert panel.against.currentText() == "alone"


def test_what_was_read_of_a_model_is_not_shown_as_the_next_ones(qtbot, panel, store, tmp_path, captures, monkeypatch):
    run, gate, real, done = panel.chooser.subject(), threading.Event(), inspect_panel.earlier_look, []
    answer = Explained(id="1", text=TEXT, probabilities={}, directories=captures())
    monkeypatch.setattr(inspect_panel, "earlier_look", lambda *about: gate.wait(5) and done.append(1) or answer)
    panel.chooser.choose(of_model("starter"))
    panel.chooser.choose(of_file(tmp_path / "gone.attune-look", "a file"))
    gate.set()
    qtbot.waitUntil(lambda: bool(done))
    qtbot.wait(100)
    assert panel._look is None and panel.maps.look is None
    # Nor is what went wrong with it.
    monkeypatch.setattr(inspect_panel, "earlier_look", real)
    panel.chooser.choose(of_model("starter"))
    panel.look_at(TEXT)
    gone = {state: str(tmp_path / "gone") for state in ("before", "after")}
    store.answer(probabilities={}, directories=gone)
    panel.chooser.choose(run)
    qtbot.wait(100)
    assert panel.stage.currentWidget() is not panel._refusal


def test_what_is_compared_with_stays_chosen_while_others_are_read(qtbot, store):
    chooser = AgainstChooser(store)
    qtbot.addWidget(chooser)
    run, other = Subject(run="own", short="own"), Other(run="other", short="other")
    chooser.take(run)
    chooser._fill([(Other(run="other", short="other"), "other")])
    chooser.choose(other)  # the same as is offered
    assert chooser.count() == 2 and chooser.currentText() == "against other"
    chooser.take(replace(run, against=Other(run="third", short="third")))
    chooser._fill([(other, "other")])
    assert chooser.count() == 3 and chooser.currentText() == "against third"


def test_captions_and_files_name_the_model_that_stands_before():
    names = {"before": "Monday", "after": "Tuesday"}
    look = make_look(names=names)
    assert "before: Monday · after: Tuesday" in about(look) and "before" not in about(make_look())
    # Of one state alone, the one before is not what the model is called by.
    assert "Monday" in caption(make_look(("before",), names=names), "before", 0, 0)
    assert "before fine-tuning" in caption(make_look(("before",)), "before", 0, 0)
    assert "fine-tuning" not in caption(make_look(("after",)), "after", 0, 0)


def test_states_are_named_by_what_tells_them_apart():
    assert state_names("A", None, "B", None) == {"after": "A", "before": "B"}
    assert state_names("A", 20, "A", 10, is_one_run=True) == {"after": "Step 20", "before": "Step 10"}
    assert state_names("A", None, "A", 10, is_one_run=True) == {"after": "Trained", "before": "Step 10"}
    # Two runs may be called the same.
    assert state_names("A", None, "A", 10) == {"after": "A", "before": "A (other), step 10"}
    assert state_names("A", None, "A", None) == {"after": "A", "before": "A (other)"}
