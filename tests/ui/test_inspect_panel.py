"""The Inspect page on saved captures: what it shows is what was captured, and what failed its check is called so."""

import csv
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from looks import make_look
from PySide6.QtCore import Qt
from PySide6.QtGui import QImage
from PySide6.QtWidgets import QLabel
from recorded_runs import add_evaluation, add_model

from studio.attention import maps
from studio.attention.capture import Capture, save
from studio.core import events as ev
from studio.core.anatomy import HEADLESS, NEXT_TOKEN, WRITTEN
from studio.core.commands import Command, Explain
from studio.core.files import write_json
from studio.core.reasons import Problem
from studio.core.rundir import EventWriter, RunDir, create_run
from studio.core.spec import InspectSpec
from studio.core.state import RunState
from studio.ui.notices import at_end
from studio.ui.panels.inspect import InspectPanel
from studio.ui.panels.inspect_strip import Prediction
from studio.ui.panels.inspect_subject import of_model
from studio.ui.panels.inspection import Inspection
from studio.ui.store import Store
from studio.ui.views import all_views
from studio.ui.views.look import Look, caption
from studio.ui.views.page import write_page

TEXT = "the film is dull"
TOKENS = ["[CLS]", "the", "film", "is", "du", "##ll", "[SEP]"]
FACTS = {"special": [True, *[False] * 5, True], "word_ids": [None, 0, 1, 2, 3, 3, None], "text": TEXT}
N_LAYERS, N_HEADS, MOST_CHANGED = 2, 3, (1, 1)
GOOD = {
    "row_sum_error": 2e-7, "causal_leak": 0.0, "padding_leak": 0.0, "output_error": 1e-7, "logit_difference": 0.0,
    "n_layers": N_LAYERS, "n_heads": N_HEADS, "verified": True,
}  # fmt: skip
PROBABILITIES = {"before": {"bad": 0.52, "good": 0.48}, "after": {"bad": 0.97, "good": 0.03}}


def random_maps(seed: int) -> np.ndarray:
    weights = np.random.default_rng(seed).random((N_LAYERS, N_HEADS, len(TOKENS), len(TOKENS)), dtype=np.float32) ** 3
    return weights / weights.sum(axis=-1, keepdims=True)


BEFORE = random_maps(1)
# Every head moves a little, one of them wholly.
AFTER = (BEFORE * 0.9 + random_maps(2) * 0.1).astype(np.float32)
AFTER[MOST_CHANGED] = random_maps(3)[MOST_CHANGED]


class RecordedStore(Store):
    """A store whose inspections answer from a record, when `answer` is called."""

    asked: list[Explain]
    n_started = 0

    def inspect(self, run_id: str = "", model: str = "", **how: object) -> str:
        self.asked, self.n_started, self.how = [], self.n_started + 1, {"run_id": run_id, "model": model} | how
        self.runs["look"] = RunState(id="look", kind="inspect")
        self.apply("look", [ev.Started(pid=1, version="0"), ev.Phase(name="model")])
        return "look"

    def send(self, run_id: str, command: Command) -> None:
        if isinstance(command, Explain):
            self.asked.append(command)

    def answer(self, **values) -> None:
        asked = self.asked[-1]
        self.apply("look", [ev.Phase(name="ready"), ev.Explained(id=asked.id, text=asked.text, **values)])


@pytest.fixture
def store(workspace, qapp):
    store = RecordedStore(workspace)
    yield store
    store.close()


def open_panel(qtbot, store: Store) -> InspectPanel:
    panel = InspectPanel(store)
    qtbot.addWidget(panel)
    panel.resize(1000, 620)
    panel.show()
    return panel


@pytest.fixture
def panel(qtbot, store: Store, recorded_run: RunDir) -> InspectPanel:
    add_model(recorded_run)
    add_evaluation(recorded_run)
    panel = open_panel(qtbot, store)
    qtbot.waitUntil(lambda: bool(panel.text.toPlainText()))
    return panel


@pytest.fixture
def captures(tmp_path):
    """Folders with the maps of both states, as the engine writes them."""

    def write(**checks) -> dict[str, str]:
        folders = {"before": tmp_path / "maps" / "before", "after": tmp_path / "maps" / "after"}
        modules = {"attention": [f"layer.{i}" for i in range(N_LAYERS)]}
        for folder, values in zip(folders.values(), (BEFORE, AFTER), strict=True):
            save(Capture(values, None, None, GOOD | checks, modules), TOKENS, folder, **FACTS)
        return {state: str(folder) for state, folder in folders.items()}

    return write


@pytest.fixture
def looked(qtbot, panel: InspectPanel, store: RecordedStore, captures) -> InspectPanel:
    """The panel after the worker answered, with all heads measured."""
    panel.look_at(TEXT)
    assert panel.stage.currentWidget() is panel.loading
    assert store.asked[-1].attention and store.asked[-1].text == TEXT
    store.answer(probabilities=PROBABILITIES, directories=captures())
    wait_measured(qtbot, panel)
    return panel


def wait_measured(qtbot, panel: InspectPanel) -> None:
    qtbot.waitUntil(lambda: panel.stage.currentWidget() is panel.maps)
    qtbot.waitUntil(lambda: panel.maps.head.view("matrix").numbers.number("entropy") != "–")


def export(qtbot, panel: InspectPanel, ending: str, path: Path) -> None:
    """Have what the view on the left shows written, and wait for it."""
    with qtbot.waitSignal(panel.files.saved):
        panel.maps.head.export(ending, path)


def left(panel: InspectPanel) -> np.ndarray:
    return panel.maps.head.view("matrix").matrices["left"].values


def test_the_head_that_changed_most_is_shown_first_and_any_other_when_chosen(qtbot, looked):
    np.testing.assert_array_equal(left(looked), AFTER[MOST_CHANGED])
    grid = looked.maps.heads.grid
    grid.setFocus()
    qtbot.mouseClick(grid, Qt.MouseButton.LeftButton, pos=grid.head_rect(0, 2).center().toPoint())
    np.testing.assert_array_equal(left(looked), AFTER[0, 2])
    qtbot.keyClick(grid, Qt.Key.Key_Left)
    np.testing.assert_array_equal(left(looked), AFTER[0, 1])
    table, head = looked.maps.head.view("matrix").numbers, looked.maps.head
    assert table.number("self") == f"{np.trace(AFTER[0, 1]) / len(TOKENS):.3f}"
    assert table.number("self", "before") == f"{np.trace(BEFORE[0, 1]) / len(TOKENS):.3f}"
    assert table.number("change") == f"{maps.js_divergence(BEFORE, AFTER)[0, 1]:.3f}"
    assert head.badge.text() == "Verified" and not head.warning.isVisible()
    assert head.numbers.text() == "rows 2e-7 · leak 0 · logits equal · 2 × 3 heads"


def test_prediction_before_and_after_stands_beside_the_tokens(looked):
    assert looked.maps.prediction.text() == "Before bad 52\u00a0%; After bad 97\u00a0%"
    assert looked.maps.strip.weights() == pytest.approx(AFTER[MOST_CHANGED].mean(axis=0))
    looked.maps.strip.lock(3)
    assert looked.maps.strip.weights() == pytest.approx(AFTER[MOST_CHANGED][3])


def test_order_by_change_begins_with_the_most_changed(looked):
    heads = looked.maps.heads
    assert heads.ranking.heads()[0] == MOST_CHANGED
    heads.order_by("change")
    first = heads.grid.head_rect(*MOST_CHANGED)
    others = [heads.grid.head_rect(layer, head) for layer in range(N_LAYERS) for head in range(N_HEADS)]
    assert all((first.y(), first.x()) <= (other.y(), other.x()) for other in others)
    change = maps.js_divergence(BEFORE, AFTER)
    assert [change[head] for head in heads.ranking.heads()] == sorted(change.ravel(), reverse=True)
    heads.order_by("entropy")
    entropy = maps.head_statistics(AFTER)["entropy"]
    assert heads.ranking.heads()[0] == np.unravel_index(entropy.argmin(), entropy.shape)


def test_difference_is_after_minus_before_and_both_stand_side_by_side(qtbot, looked):
    looked.maps.choose_head(0, 0)
    looked.maps.head.states["difference"].click()
    np.testing.assert_allclose(left(looked), AFTER[0, 0] - BEFORE[0, 0])
    right = looked.maps.head.view("matrix").matrices["right"]
    assert not right.isVisible()
    looked.maps.head.states["both"].click()
    np.testing.assert_array_equal(left(looked), BEFORE[0, 0])
    np.testing.assert_array_equal(right.values, AFTER[0, 0])
    # One scale for both, else the eye compares colours that mean different weights.
    assert right.isVisible() and right.scale == looked.maps.head.view("matrix").matrices["left"].scale
    for head in np.ndindex(N_LAYERS, N_HEADS):
        looked.maps.choose_head(*head)
        assert right.scale.limit == max(BEFORE[head].max(), AFTER[head].max())


def test_what_is_not_verified_is_called_so(qtbot, panel, store, captures, tmp_path):
    panel.look_at(TEXT)
    store.answer(probabilities=PROBABILITIES, directories=captures(row_sum_error=0.31, verified=False))
    wait_measured(qtbot, panel)
    head = panel.maps.head
    assert head.badge.text() == "Not verified" and "rows 3e-1" in head.numbers.text()
    assert head.warning.isVisible() and "failed their check" in head.warning.text()
    export(qtbot, panel, "csv", tmp_path / "head.csv")
    assert "NOT VERIFIED" in (tmp_path / "head.csv").read_text(encoding="utf-8")


def test_without_special_tokens_rows_are_renormalised_and_it_is_said(qtbot, looked):
    looked.maps.choose_head(0, 0)
    looked.maps.head.options.actions_by_name["no_special"].trigger()
    qtbot.waitUntil(lambda: left(looked).shape == (5, 5))
    inner = AFTER[0, 0, 1:-1, 1:-1]
    np.testing.assert_allclose(left(looked), inner / inner.sum(axis=-1, keepdims=True), rtol=1e-6)
    assert "renormalised" in looked.maps.head.meaning.text()
    assert "renormalised" in looked.maps.head.view("matrix").matrices["left"].caption
    wait_measured(qtbot, looked)


def test_without_the_first_token_and_with_whole_words_it_is_said_and_exact(qtbot, looked, tmp_path):
    looked.maps.choose_head(0, 0)
    looked.maps.selection.lock(6, 6)  # a token that will be gone
    head = looked.maps.head
    head.options.actions_by_name["no_first"].trigger()
    qtbot.waitUntil(lambda: left(looked).shape == (6, 6))
    inner = AFTER[0, 0, 1:, 1:].astype(float)
    np.testing.assert_allclose(left(looked), inner / inner.sum(axis=-1, keepdims=True), rtol=1e-5)
    assert "first token" in head.meaning.text()
    assert "the first token left out" in head.view("matrix").matrices["left"].caption
    head.options.actions_by_name["no_special"].trigger()
    head.options.actions_by_name["whole_words"].trigger()
    qtbot.waitUntil(lambda: left(looked).shape == (4, 4))
    rest = AFTER[0, 0, 1:-1, 1:-1].astype(float)
    rest /= rest.sum(axis=-1, keepdims=True)
    keys = np.column_stack([rest[:, :3], rest[:, 3] + rest[:, 4]])
    np.testing.assert_allclose(left(looked), np.vstack([keys[:3], keys[3:].mean(axis=0)]), rtol=1e-5)
    np.testing.assert_allclose(left(looked).sum(axis=-1), 1, atol=1e-6)
    export(qtbot, looked, "npz", tmp_path / "head.npz")
    with np.load(tmp_path / "head.npz") as file:
        assert file["tokens"].tolist() == ["the", "film", "is", "dull"]
        caption = str(file["caption"])
    assert "pieces of words merged" in caption and "special tokens and the first token left out" in caption
    assert "Words, not pieces" in head.meaning.text()
    wait_measured(qtbot, looked)


def test_a_row_that_a_view_found_is_looked_at_with_its_fields(qtbot, looked, store, captures):
    row = {"text": "the film", "text_b": "is dull"}
    looked.question.set_roles([("text", "Text"), ("text_b", "Second text")])
    looked.maps.selection.choose_head(0, 2)
    looked.maps.head.view("matrix").look_at.emit("the film", row)
    assert looked.text.toPlainText() == "the film"
    assert (store.asked[-1].text, store.asked[-1].fields) == ("the film", row)
    store.answer(probabilities=PROBABILITIES, directories=captures(), fields=row)
    qtbot.waitUntil(lambda: looked.maps.look.text == "the film")
    wait_measured(qtbot, looked)
    qtbot.waitUntil(lambda: bool(looked.maps._statistics.by_state))
    assert looked.maps.look.fields == row and looked.maps.selection.head == (0, 2)
    looked.look_at("another")
    assert store.asked[-1].fields == {"text": "another", "text_b": ""}


def test_exported_files_hold_the_numbers_and_say_what_they_are(qtbot, looked, tmp_path):
    looked.maps.choose_head(1, 2)
    head = looked.maps.head
    for name in ("png", "svg", "csv", "npz", "npz-all"):
        export(qtbot, looked, name, tmp_path / f"{name}.{name.removesuffix('-all')}")
    with np.load(tmp_path / "npz.npz") as file:
        np.testing.assert_array_equal(file["attention"], AFTER[1, 2])
        assert file["tokens"].tolist() == TOKENS and (int(file["layer"]), int(file["head"])) == (1, 2)
        caption = str(file["caption"])
    for word in ("starter", "layer 2 of 2", "head 3 of 3", "after fine-tuning", "rows sum to 1"):
        assert word in caption
    with np.load(tmp_path / "npz-all.npz") as file:
        np.testing.assert_array_equal(file["before"], BEFORE)
        np.testing.assert_array_equal(file["after"], AFTER)
    with open(tmp_path / "csv.csv", encoding="utf-8", newline="") as file:
        header, *rows = csv.reader(file)
    assert caption in header[0] and header[1:] == TOKENS == [row[0] for row in rows]
    np.testing.assert_array_equal(np.array([row[1:] for row in rows], dtype=np.float32), AFTER[1, 2])
    svg = (tmp_path / "svg.svg").read_text(encoding="utf-8")
    assert "layer 2 of 2" in svg and all(f">{token}<" in svg for token in TOKENS) and "data:image/png" in svg
    assert QImage(str(tmp_path / "png.png")).width() > 300

    head.states["both"].click()
    export(qtbot, looked, "csv", tmp_path / "pair.csv")
    assert {"pair-before.csv", "pair-after.csv"} <= {path.name for path in tmp_path.iterdir()}


def test_a_wrong_text_is_told_at_the_field_and_a_refused_model_on_the_stage(panel, store):
    panel.text.clear()
    panel.look()
    assert "no text" in panel.error.text() and store.n_started == 0
    panel.look_at(TEXT)
    store.answer(probabilities={}, reason="text-too-long", facts={"n_tokens": 842, "most": 512})
    assert panel.error.text() == "The text has 842 tokens; the model takes 512. Shorten the text."
    panel.look_at(TEXT + " too")
    assert not panel.error.text()
    store.answer(probabilities={}, reason="capture-unsupported", facts={"model_type": "deberta-v2"})
    refusal = panel.stage.currentWidget().findChild(type(panel.prompt))
    assert "deberta-v2" in refusal.accessibleName() and store.n_started == 1


def test_the_empty_page_leads_to_the_starter(qtbot, store):
    panel = open_panel(qtbot, store)
    qtbot.waitUntil(lambda: panel._pages.currentIndex() == 0)
    next(b for b in panel.findChildren(type(panel.button)) if b.objectName() == "inspect.starter").click()
    assert panel.chooser.subject() == of_model("starter") and panel._pages.currentIndex() == 1
    qtbot.waitUntil(lambda: bool(panel.text.toPlainText()))


def test_a_folder_that_is_no_model_is_refused_in_words(qtbot, panel, tmp_path):
    write_json(tmp_path / "model" / "config.json", {"model_type": "bert"})
    panel.chooser.choose(of_model(str(tmp_path / "model")))
    qtbot.waitUntil(lambda: panel.stage.currentWidget() is panel._refusal)
    assert "no weights" in panel._refusal.findChild(type(panel.prompt)).accessibleName()


def record_look(workspace, trained: RunDir, directories: dict[str, str]) -> RunDir:
    """Write an inspection as the guided sample's worker leaves it."""
    run = create_run(workspace, InspectSpec(run=str(trained.path), text=TEXT))
    answer = ev.Explained(id="first", text=TEXT, probabilities=PROBABILITIES, directories=directories)
    writer = EventWriter(run.events_file)
    writer.write([ev.Started(pid=1, version="0"), answer, ev.Finished()])
    writer.close()
    return run


def test_what_was_looked_at_last_is_there_again_without_a_worker(qtbot, store, workspace, recorded_run, captures):
    add_model(recorded_run)
    record_look(workspace, recorded_run, captures())
    panel = open_panel(qtbot, store)
    wait_measured(qtbot, panel)
    assert panel.text.toPlainText() == TEXT and store.n_started == 0
    np.testing.assert_array_equal(left(panel), AFTER[MOST_CHANGED])


def test_a_look_that_was_started_elsewhere_is_shown(qtbot, panel, store, workspace, recorded_run, captures):
    run = record_look(workspace, recorded_run, captures())
    store.attach(run.id)
    wait_measured(qtbot, panel)
    assert panel.text.toPlainText() == TEXT and store.n_started == 0


def test_a_token_is_masked_and_looked_at_again(qtbot, panel, store, captures, monkeypatch):
    starts = [0, 0, 4, 9, 12, 14, 0]
    ends = [0, 3, 8, 11, 14, 16, 0]
    monkeypatch.setitem(FACTS, "offsets", [*zip(starts, ends, strict=True)])
    monkeypatch.setitem(FACTS, "segments", [None, *[0] * 5, None])
    monkeypatch.setitem(FACTS, "mask_token", "[MASK]")
    panel.look_at(TEXT)
    store.answer(probabilities=PROBABILITIES, directories=captures())
    wait_measured(qtbot, panel)
    panel.maps.strip.rewrite_asked.emit(0, "mask")
    assert store.asked[-1].text == TEXT, "[CLS] stands nowhere in the text"
    panel.maps.strip.rewrite_asked.emit(2, "mask")
    assert store.asked[-1].text == "the [MASK] is dull" == panel.text.toPlainText()


def test_what_is_right_stands_beside_what_is_said(qtbot, looked, store, captures):
    looked.question.put({"text": TEXT}, "bad")
    looked.look()
    store.answer(probabilities=PROBABILITIES, directories=captures())
    qtbot.waitUntil(lambda: "Label bad" in looked.maps.prediction.text())
    looked.look_at(TEXT)  # typed: nobody knows its label
    store.answer(probabilities={}, said={"before": "B-PER", "after": "O"}, directories=captures())
    qtbot.waitUntil(lambda: "Label" not in looked.maps.prediction.text())
    assert "B-PER" in looked.maps.prediction.text()


def test_spans_are_said_in_words_and_no_answer_is_not_called_nothing_written(qtbot, looked, tmp_path):
    spans = [{"start": 4, "end": 8, "label": "PER"}, {"start": 12, "end": 16, "label": "LOC"}]
    look = replace(looked.maps.look, probabilities={}, gold=json.dumps(spans[1:]),
                   said={"before": "[]", "after": json.dumps(spans)})  # fmt: skip
    prediction, told = looked.maps.prediction, "2 spans: PER “film”, LOC “dull”"
    prediction.show_look(look)
    assert prediction.text() == f"Before no spans ; After {told} ; Label 1 span: LOC “dull”"
    page = write_page(look, tmp_path / "page.html").read_text("utf-8")
    assert told in page and "Label 1 span: LOC “dull”" in page and "&quot;start&quot;" not in page
    prediction.show_look(replace(look, gold="", said={"before": "in Rome", "after": ""}))
    assert prediction.text() == "Before in Rome ; After no answer "
    prediction.show_look(replace(look, gold="", said={"before": "", "after": "17"}, answers="written-text"))
    assert prediction.text() == "Before writes nothing ; After 17 "


def test_a_locked_cell_keeps_its_key_beside_the_strip(looked):
    """The strip shows the query of a locked cell, and does not lock it anew without its key."""
    looked.maps.head.view("matrix").matrices["left"].lock(2, 3)
    assert looked.maps.selection.cell == (2, 3) and looked.maps.strip.locked_token() == 2


def test_views_that_asked_for_the_same_get_the_same_answer(looked):
    stage, taken = looked.maps.head, []
    stage.show_view("lines", 1)
    views = [stage.view("matrix"), stage.view("lines")]
    for view in views:
        view.take = lambda answer, view=view: taken.append((view.id, answer.id))
        view.asked.emit("nothing", {"layer": 1})
    stage.take(ev.Studied(id="one", what="nothing"))
    assert taken == [("matrix", "one"), ("lines", "one")]
    views[0].asked.emit("nothing", {"layer": 0})
    views[1].asked.emit("nothing", {"layer": 1})
    stage.take(ev.Studied(id="two", what="nothing"))
    assert taken[2:] == [("lines", "two")]


def test_two_views_stand_side_by_side_and_share_what_is_chosen(looked):
    stage, selection = looked.maps.head, looked.maps.selection
    stage.split.setChecked(True)
    first, second = stage.views()
    assert first.isVisible() and second.isVisible() and first is not second
    stage.show_view(first.id, 1)
    assert stage.views() == [second, first]
    selection.choose_head(0, 1)
    looked.maps.choose_head(1, 0, joins=True)
    assert selection.heads == ((1, 0), (0, 1)) and looked.maps.heads.grid.selected() == (1, 0)
    np.testing.assert_array_equal(left(looked), AFTER[1, 0])
    stage.split.setChecked(False)
    assert stage.views() == [second]


def test_every_view_fits_the_smallest_window_beside_any_other(looked):
    stage, names = looked.maps.head, [*all_views()]
    stage.split.setChecked(True)
    for name, other in zip(names, names[1:] + names[:1], strict=True):
        stage.show_view(name)
        stage.show_view(other, 1)
        least = looked.minimumSizeHint()
        assert least.width() <= 940 and least.height() <= 566, (name, other, least)


def test_an_answer_about_a_look_that_is_gone_is_no_answer_to_this_one(qtbot, looked, store, captures, tmp_path):
    stage, taken = looked.maps.head, []
    stage.show_view("lines", 1)
    view = stage.view("lines")
    view.take = taken.append
    view.asked.emit("nothing", {})
    looked.look_at(TEXT + " again")
    folders = {state: shutil.copytree(path, tmp_path / f"new-{state}") for state, path in captures().items()}
    store.answer(probabilities=PROBABILITIES, directories={state: str(path) for state, path in folders.items()})
    qtbot.waitUntil(lambda: stage._look.text == TEXT + " again")
    stage.take(ev.Studied(id="late", what="nothing"))
    assert not taken
    view.asked.emit("nothing", {})
    stage.take(ev.Studied(id="new", what="nothing"))
    assert [answer.id for answer in taken] == ["new"]


def test_a_pointer_that_rests_where_a_shorter_text_has_no_cell_harms_nothing(qtbot, looked):
    look, matrix = looked.maps.look, looked.maps.head.view("matrix").matrices["left"]
    matrix._hover((5, 6))
    assert looked.maps.selection.hovered == (5, 6)
    short = {state: values[:, :, :3, :3] for state, values in look.maps.items()}
    looked.maps.show_look(
        replace(look, text="short", maps=short, tokens=look.tokens[:3], special=look.special[:3],
                word_ids=look.word_ids[:3], segments=look.segments[:3], ids=look.ids[:3], captures={})
    )  # fmt: skip
    qtbot.waitUntil(lambda: matrix.values.shape == (3, 3))
    matrix.viewport().grab()
    assert looked.maps.selection.hovered == (-1, -1) and matrix.values.shape == (3, 3)


def test_what_is_clicked_while_the_next_look_is_read_harms_nothing(qtbot, looked):
    look, maps, matrix = looked.maps.look, looked.maps, looked.maps.head.view("matrix").matrices["left"]
    less = {state: values[:1, :, :4, :4] for state, values in look.maps.items()}
    short = replace(look, text="short", maps=less, tokens=TOKENS[:4], special=look.special[:4],
                    word_ids=look.word_ids[:4], segments=look.segments[:4], ids=[], captures={})  # fmt: skip
    maps.show_look(short)
    matrix.lock(6, 6)  # of the former text, which is still on screen
    maps.choose_head(1, 2)
    maps.heads.head_chosen.emit(1, 0, True)
    qtbot.waitUntil(lambda: matrix.values.shape == (4, 4))
    assert maps.selection.cell == (-1, -1) and maps.selection.heads == ((0, 0),)
    matrix.viewport().grab()
    # And from now on there is nothing else to choose.
    maps.selection.lock(2, 4)
    maps.selection.choose_heads(((1, 0), (0, 2)))
    assert maps.selection.cell == (-1, -1) and maps.selection.heads == ((0, 2),)
    maps.selection.lock(3, -1)
    assert maps.selection.cell == (3, -1)
    matrix.viewport().grab()


def test_a_look_that_comes_after_another_model_was_chosen_is_not_shown(qtbot, looked):
    maps, shown = looked.maps, []
    maps.shown.connect(lambda: shown.append(maps.shown_look))
    maps.show_look(maps.look, {"heads": [[0, 1]], "order": "index"})  # of a file
    maps.forget()
    qtbot.wait(100)
    assert not shown and maps.shown_look is None


def test_looks_differ_by_the_second_text_and_the_step_too(looked):
    look = looked.maps.look
    assert look.key == replace(look, without_special=True, tokens=[]).key
    assert look.key != replace(look, fields={"text": look.text, "text_pair": "other"}).key
    assert look.key != replace(look, step=5).key
    assert "after step 5" in caption(replace(look, step=5), "after", 0, 0)


def test_a_killed_inspection_is_told_on_its_page_and_resumes_from_nothing(looked):
    killed = Problem("worker-killed", {"signal": "SIGKILL", "cause": "Someone ended it."})
    state = RunState(id="look", kind="inspect", state="failed", problem=killed)
    assert at_end(state, "a look") is None
    assert "checkpoint" not in at_end(replace(state, kind="evaluate"), "an evaluation").hint
    looked._refuse(killed)
    said = " ".join(label.text() for label in looked.stage.currentWidget().findChildren(QLabel))
    assert "SIGKILL" in said and "loaded anew" in said and "checkpoint" not in said


def test_maps_stay_when_the_process_that_held_the_model_was_killed(looked, store):
    answers = []
    looked._inspection.studied.connect(answers.append)
    looked._study("importance", {"about": 7})
    killed = {"signal": "SIGKILL", "cause": "Someone ended it."}
    store.apply("look", [ev.Failed(reason="worker-killed", facts=killed)])
    assert looked.stage.currentWidget() is looked.maps and looked._look is not None
    said = looked.error.text()
    assert "SIGKILL" in said and "loaded anew" in said and "checkpoint" not in said
    assert [(each.what, each.about, each.reason) for each in answers] == [("importance", 7, "inspection-ended")]
    looked.look()
    assert not looked.error.text() and store.n_started == 2


def test_small_weights_are_lifted_in_a_long_text_until_a_person_says_otherwise(looked, monkeypatch):
    options, short, long = looked.maps.head.options, looked._look, replace(looked._look, text="long")
    monkeypatch.setattr(Look, "is_deep", property(lambda look: look is long))
    lift = options.actions_by_name["lifted"]
    options.offer(long)
    assert looked.maps.selection.lifted and lift.isChecked()
    options.offer(short)
    assert not looked.maps.selection.lifted
    lift.trigger()
    options.offer(short)
    assert looked.maps.selection.lifted
    lift.trigger()
    options.offer(long)
    assert not looked.maps.selection.lifted


def test_a_question_that_can_not_be_sent_is_not_waited_for(qtbot, workspace, recorded_run):
    """On a full disk a question can't be written where the worker looks for it."""
    add_model(recorded_run)
    store = Store(workspace)
    said, answers, inspection = [], [], Inspection(store, attention=True)
    store.notice.connect(said.append)
    inspection.studied.connect(answers.append)
    inspection._run = recorded_run.id
    (recorded_run.path / "commands").write_text("no folder")
    inspection.ask(TEXT)
    assert not inspection.is_busy and len(said) == 1
    inspection.study("target", TEXT, {}, {})
    assert not inspection.is_studying
    qtbot.waitUntil(lambda: bool(answers))
    assert (answers[0].what, answers[0].reason) == ("target", "workspace-unwritable")
    store.close()


@pytest.mark.parametrize(
    ("answers", "probabilities", "said"),
    [
        ("question-answering", {}, "no answer"),
        (WRITTEN, {}, "writes nothing"),
        (NEXT_TOKEN, {"word": 0.0003}, "0.03\N{NO-BREAK SPACE}%"),
        (NEXT_TOKEN, {"word": 0.25}, "25\N{NO-BREAK SPACE}%"),
    ],
)
def test_a_small_or_empty_answer_is_told_as_what_it_is(qtbot, answers, probabilities, said) -> None:
    prediction = Prediction()
    qtbot.addWidget(prediction)
    probabilities = {"after": probabilities}
    told = {} if probabilities["after"] else {"after": ""}
    prediction.show_look(make_look(("after",), answers=answers, probabilities=probabilities, said=told))
    assert said in prediction.text()


@pytest.mark.parametrize(("answers", "why"), [
    ("masked-lm", "Put [MASK]"), ("multiple-choice", "no choice"), (HEADLESS, "head"), ("", "gives no answer"),
])  # fmt: skip
def test_who_has_no_answer_says_why(qtbot, answers, why) -> None:
    prediction = Prediction()
    qtbot.addWidget(prediction)
    prediction.show_look(make_look(("after",), answers=answers, probabilities={"after": {}}, said={}))
    assert why in prediction._none.text()
