"""The attention of an encoder-decoder: each kind with its own tokens, in every view, file and figure."""

import csv
from dataclasses import replace

import numpy as np
import pytest
from test_inspect_panel import RecordedStore, export, left, open_panel
from test_inspect_panel import store as store

from studio.attention import maps
from studio.attention.capture import Capture, save
from studio.attention.look_file import LookFacts, open_look, save_look
from studio.core.files import read_json, write_json
from studio.core.reasons import Failure
from studio.ui.panels.inspect_subject import of_model, roles_of
from studio.ui.views import all_views
from studio.ui.views.figures import figure_of
from studio.ui.views.lines import units_of
from studio.ui.views.look import measure
from studio.ui.widgets.heat import token_text

TEXT, SAID = "das haus ist alt", "the house"
READ, WRITTEN = ["▁das", "▁ha", "us", "▁ist", "▁alt", "</s>"], ["<pad>", "▁the", "▁house", "▁is"]
FACTS = {
    "ids": [5, 6, 7, 8, 9, 1], "special": [False] * 5 + [True], "word_ids": [0, 1, 1, 2, 3, None],
    "segments": [0, 0, 0, 0, 0, None], "decoder_tokens": WRITTEN, "decoder_ids": [0, 11, 12, 13],
    "decoder_special": [True, False, False, False], "text": TEXT,
}  # fmt: skip
ANY_KIND = {
    "cross": {"matrix", "lines", "table", "ablate", "attributions"},
    "decoder": {"matrix", "lines", "table", "ablate", "search"},
}


def weights(seed, shape):
    values = np.random.default_rng(seed).random(shape, dtype=np.float32) ** 3
    values = np.tril(values) if shape[-1] == len(WRITTEN) else values
    return (values / values.sum(axis=-1, keepdims=True)).astype(np.float32)


MAPS = {"encoder": weights(1, (2, 4, 6, 6)), "decoder": weights(2, (3, 2, 4, 4)), "cross": weights(3, (3, 2, 4, 6))}
COUNTS = {"n_layers": {k: len(m) for k, m in MAPS.items()}, "n_heads": {k: m.shape[1] for k, m in MAPS.items()}}
CHECKS = {
    "row_sum_error": 2e-7, "causal_leak": 0.0, "padding_leak": 0.0, "output_error": 0.0, "logit_difference": 0.0,
    "verified": True,
} | COUNTS  # fmt: skip


@pytest.fixture
def folder(tmp_path):
    save(Capture(dict(MAPS), None, None, CHECKS, {}), READ, tmp_path / "maps", **FACTS)
    return tmp_path / "maps"


@pytest.fixture
def panel(qtbot, store, folder):
    panel = open_panel(qtbot, store)
    panel.chooser.choose(of_model("starter"))
    qtbot.waitUntil(lambda: bool(panel.text.toPlainText()))
    panel.look_at(TEXT)
    store.answer(probabilities={}, said={"after": SAID}, directories={"after": str(folder)})
    wait_kind(qtbot, panel, "encoder")
    return panel


def wait_kind(qtbot, panel, kind):
    """Wait until a kind is on screen with its heads measured."""
    qtbot.waitUntil(lambda: panel.stage.currentWidget() is panel.maps)
    qtbot.waitUntil(lambda: panel.maps.shown_look is not None and panel.maps.shown_look.kind == kind)
    qtbot.waitUntil(lambda: bool(panel.maps.statistics.by_state))


def choose(qtbot, panel, kind):
    choice = panel.maps.head.kind
    choice.setCurrentIndex(choice.findData(kind))
    choice.activated.emit(choice.currentIndex())
    wait_kind(qtbot, panel, kind)


def test_each_kind_has_its_maps_and_tokens_in_the_same_views(qtbot, panel, store):
    choice, stage = panel.maps.head.kind, panel.maps.head
    assert choice.isVisible() and [choice.itemText(i) for i in range(3)] == ["Encoder", "Decoder", "Cross"]
    assert SAID in panel.maps.prediction.text() and store.n_started == 1
    stage.split.setChecked(True)
    for kind, queries, keys in (("cross", WRITTEN, READ), ("decoder", WRITTEN, WRITTEN), ("encoder", READ, READ)):
        choose(qtbot, panel, kind)
        panel.maps.choose_head(1, 1)
        matrix, lines = stage.view("matrix").matrices["left"], stage.view("lines").lines["left"]
        np.testing.assert_array_equal(left(panel), MAPS[kind][1, 1])
        for widget in (matrix, lines):
            assert [*widget.query_tokens] == [*map(token_text, queries)]
            assert [*widget.key_tokens] == [*map(token_text, keys)]
        assert stage.numbers.text().endswith(f"{len(MAPS[kind])} × {MAPS[kind].shape[1]} heads")
        assert f"{kind} layer 2 of" in matrix.caption
        assert ("token of the encoder" in matrix.caption) == (kind == "cross")
        stage.show_view("table", 1)
        titles = [column.title for column in stage.view("table").columns()]
        expected = maps.head_statistics(MAPS[kind], kind != "cross")
        assert ("Distance" in titles) == ("distance" in expected) == (kind != "cross")
        found = panel.maps.statistics.by_state["after"]
        np.testing.assert_array_equal(found["entropy"], expected["entropy"])
        stage.show_view("lines", 1)
    assert np.triu(panel.maps.look.of_kind("decoder").maps["after"], 1).max() == 0
    assert len(store.asked) == 1, "no worker is asked for another kind"


def test_the_chosen_head_stays_where_it_fits(qtbot, panel):
    panel.maps.choose_head(1, 1)
    choose(qtbot, panel, "cross")
    assert panel.maps.selection.head == (1, 1)
    panel.maps.choose_head(2, 0)
    choose(qtbot, panel, "decoder")
    assert panel.maps.selection.head == (2, 0)
    choose(qtbot, panel, "encoder")
    assert panel.maps.selection.head == (0, 0), "the encoder has two layers"


def test_previous_and_self_are_not_of_two_texts_of_one_length(panel):
    square = {"after": weights(4, (2, 2, 6, 6))}
    cross = replace(panel.maps.look, kind="cross", maps=square, queries=READ[::-1])
    assert set(measure(cross).by_state["after"]) == {"entropy", "max", "sink"}


def test_a_cell_of_cross_attention_is_of_two_texts(qtbot, panel):
    choose(qtbot, panel, "cross")
    panel.maps.choose_head(0, 1)
    strip, selection = panel.maps.strip, panel.maps.selection
    panel.maps.head.view("matrix").matrices["left"].lock(3, 5)
    assert selection.cell == (3, 5) and strip.locked_token() == 5
    np.testing.assert_array_equal(strip.weights(), MAPS["cross"][0, 1, 3])
    assert "▁is" in panel.maps.strip_note.text()
    strip.lock(2)  # a token of the text: the one looked at
    assert selection.cell == (3, 2)
    actions = panel.maps.head.options.actions_by_name
    assert not any(actions[name].isEnabled() for name in ("no_special", "no_first", "whole_words"))
    units = units_of(panel.maps.look, True, "all")
    assert units.right.names() == ["▁das", "▁haus", "▁ist", "▁alt", "</s>"] and units.left.names() == WRITTEN
    summed = np.add.reduceat(MAPS["cross"][0, 1], [0, 1, 3, 4, 5], axis=1)
    np.testing.assert_allclose(units.weights(panel.maps.look, "after", (0, 1), np.arange(4)), summed, rtol=1e-6)


def test_views_of_the_encoders_text_say_why_not(qtbot, panel):
    stage = panel.maps.head
    for kind, able in ANY_KIND.items():
        choose(qtbot, panel, kind)
        for name in all_views():
            stage.show_view(name)
            place = stage.places[0]
            assert place.view.isVisible() == (name in able) and bool(place._refusal.text()) == (name not in able), name
    choose(qtbot, panel, "encoder")
    stage.show_view("query_key")
    assert stage.view("query_key").isVisible()


def test_search_and_filters_are_of_the_decoders_own_tokens(qtbot, panel):
    choose(qtbot, panel, "decoder")
    stage = panel.maps.head
    stage.show_view("search")
    stage.view("search").choose("previous")
    qtbot.waitUntil(lambda: bool(panel.maps.statistics.measured))
    found = next(iter(panel.maps.statistics.measured.values())).values
    np.testing.assert_allclose(found, np.diagonal(MAPS["decoder"], -1, 2, 3).mean(axis=-1), atol=1e-6)
    stage.show_view("matrix")
    stage.options.actions_by_name["no_special"].trigger()
    qtbot.waitUntil(lambda: panel.maps.shown_look.tokens == WRITTEN[1:])
    inner = MAPS["decoder"][(*panel.maps.selection.head, slice(1, None), slice(1, None))]
    np.testing.assert_allclose(left(panel), inner / inner.sum(axis=-1, keepdims=True), rtol=1e-6)


def test_files_have_the_tokens_of_both_sides(qtbot, panel, tmp_path):
    choose(qtbot, panel, "cross")
    panel.maps.choose_head(2, 1)
    stage = panel.maps.head
    stage.show_view("matrix")
    for ending in ("csv", "npz", "npz-all", "svg"):
        export(qtbot, panel, ending, tmp_path / f"{ending}.{ending.removesuffix('-all')}")
    with open(tmp_path / "csv.csv", encoding="utf-8", newline="") as file:
        header, *rows = csv.reader(file)
    assert header[1:] == READ and [row[0] for row in rows] == WRITTEN and "cross layer 3 of 3" in header[0]
    np.testing.assert_array_equal(np.array([row[1:] for row in rows], dtype=np.float32), MAPS["cross"][2, 1])
    for name, expected in (("npz", {"attention": MAPS["cross"][2, 1]}), ("npz-all", {"after": MAPS["cross"]})):
        with np.load(tmp_path / f"{name}.npz") as file:
            assert file["tokens"].tolist() == READ and file["query_tokens"].tolist() == WRITTEN
            for key, values in expected.items():
                np.testing.assert_array_equal(file[key], values)
    figure = figure_of(panel.maps.look, "after", 2, 1, True, 1.0)
    assert len(figure.query_tokens) == 4 and len(figure.key_tokens) == 6 and "cross" in figure.caption
    assert stage.view("matrix").file_stem() == "attention-cross-layer3-head2-after"
    panel.files.menu().aboutToShow.emit()
    able = {action.text(): action.isEnabled() for action in panel.files.menu().actions()}
    assert able["Save this inspection…"] and able["Save as a web page (HTML)…"]


def test_a_saved_inspection_opens_with_its_kind(qtbot, panel, store, workspace, tmp_path):
    choose(qtbot, panel, "cross")
    panel.maps.choose_head(2, 0)
    panel.maps.selection.lock(1, 5)
    with qtbot.waitSignal(panel.files.saved):
        panel.files.save(tmp_path / "one.attune-look")
    other = RecordedStore(workspace)
    opened = open_panel(qtbot, other)
    opened.open_file(tmp_path / "one.attune-look")
    wait_kind(qtbot, opened, "cross")
    np.testing.assert_array_equal(left(opened), MAPS["cross"][2, 0])
    assert opened.maps.selection.cell == (1, 5) and opened.maps.head.badge.text() == "Verified"
    choose(qtbot, opened, "decoder")
    assert opened.maps.shown_look.tokens == WRITTEN and other.n_started == 0
    other.close()


def test_tokens_that_do_not_fit_the_maps_are_refused_or_not_offered(folder, tmp_path, qtbot, store):
    facts = read_json(folder / "tokens.json")
    less = {"decoder_tokens": WRITTEN[:3], "decoder_ids": None, "decoder_special": None}
    write_json(folder / "tokens.json", facts | less)
    path = tmp_path / "wrong.attune-look"
    save_look(path, LookFacts(states=["after"], text=TEXT), {"after": folder})
    with pytest.raises(Failure) as refused:
        open_look(path)
    assert refused.value.problem.reason == "look-damaged"
    panel = open_panel(qtbot, store)
    panel.chooser.choose(of_model("starter"))
    qtbot.waitUntil(lambda: bool(panel.text.toPlainText()))
    panel.look_at(TEXT)
    store.answer(probabilities={}, directories={"after": str(folder)})
    wait_kind(qtbot, panel, "encoder")
    assert not panel.maps.head.kind.isVisible()


def test_both_states_of_a_classifier_fit_the_smallest_window(qtbot, panel, store, folder):
    panel.look_at(TEXT)
    store.answer(
        probabilities={"before": {"good": 0.5}, "after": {"good": 0.9}},
        directories={"before": str(folder), "after": str(folder)},
    )
    qtbot.waitUntil(lambda: panel.maps.look.states[-1] == "both")
    choose(qtbot, panel, "cross")
    panel.maps.show_state("difference")
    assert np.abs(left(panel)).max() == 0 and left(panel).shape == (4, 6)
    assert panel.maps.statistics.change.max() == 0
    panel.maps.head.split.setChecked(True)
    assert panel.minimumSizeHint().width() <= 940 and panel.minimumSizeHint().height() <= 566


def test_a_model_that_writes_is_given_two_fields(qtbot, panel, workspace, tmp_path):
    write_json(tmp_path / "config.json", {"model_type": "t5", "is_encoder_decoder": True})
    roles = roles_of(workspace, of_model(str(tmp_path)))
    panel.question.set_roles(roles)
    assert panel.question.second.isVisible() and not panel.question.mode.isVisible()
    assert panel.question.second.placeholderText() == "What the decoder writes; empty: the model writes it"
    panel.question.put({"text": TEXT})
    assert panel.question.fields() == {"text": TEXT, "text_pair": ""}
    write_json(
        tmp_path / "config.json",
        {"model_type": "bart", "is_encoder_decoder": True, "architectures": ["BartForSequenceClassification"]},
    )
    assert roles_of(workspace, of_model(str(tmp_path))) == []
    for name, roles in (("BertForQuestionAnswering", ["text", "text_pair"]), ("GPT2LMHeadModel", [])):
        write_json(tmp_path / "config.json", {"model_type": "bert", "architectures": [name]})
        assert [role for role, _ in roles_of(workspace, of_model(str(tmp_path)))] == roles
