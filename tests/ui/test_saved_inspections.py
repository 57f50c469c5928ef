"""Saved inspections, web pages and figures: what stands in the files is what is on screen."""

import base64
import errno
import json
import os
import re
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PySide6.QtGui import QImage
from PySide6.QtQml import QJSEngine
from test_inspect_panel import (
    AFTER,
    BEFORE,
    FACTS,
    GOOD,
    MOST_CHANGED,
    N_HEADS,
    N_LAYERS,
    PROBABILITIES,
    TEXT,
    TOKENS,
    RecordedStore,
    left,
    open_panel,
    wait_measured,
)
from test_inspect_panel import store as store

from studio.attention.capture import Capture, save
from studio.attention.look_file import LookFacts, save_look
from studio.core.events import Explained
from studio.core.paths import resources_dir
from studio.ui import theme
from studio.ui.panels.inspect import InspectPanel
from studio.ui.panels.inspect_subject import of_model
from studio.ui.panels.inspect_work import Cancelled, Progress
from studio.ui.views.figures import figure_of, write_head
from studio.ui.views.look import Look, caption, load_look
from studio.ui.views.page import write_page
from studio.ui.widgets.heat import picture


@pytest.fixture
def answer(tmp_path) -> Explained:
    """An answer with the maps of both states on disk, whose tokens are what could break a page."""
    directories = {}
    for state, values in (("before", BEFORE), ("after", AFTER)):
        directories[state] = str(tmp_path / "maps" / state)
        save(Capture(values, None, None, GOOD, {}), TOKENS, Path(directories[state]), **FACTS)
    return Explained(id="x", text=TEXT, probabilities=PROBABILITIES, directories=directories)


@pytest.fixture
def look(answer) -> Look:
    return load_look(answer, "reviews </script><b> {{title}}")


@pytest.fixture
def panel(qtbot, store, answer) -> InspectPanel:
    panel = open_panel(qtbot, store)
    panel.chooser.choose(of_model("starter"))
    qtbot.waitUntil(lambda: bool(panel.text.toPlainText()))
    panel._put_row({}, TEXT)
    panel._take(answer)
    wait_measured(qtbot, panel)
    return panel


def test_a_saved_inspection_opens_with_the_same_views_without_a_model(qtbot, panel, store, tmp_path, workspace):
    maps, path = panel.maps, tmp_path / "one.attune-look"
    maps.choose_head(0, 2)
    maps.choose_head(1, 0, joins=True)
    maps.show_state("both")
    maps.selection.lock(3, 2)
    maps.head.options.actions_by_name["lifted"].trigger()
    maps.heads.order_by("change")
    kept = maps.options()
    assert tuple(kept["cell"]) == (3, 2)
    with qtbot.waitSignal(panel.files.saved):
        panel.files.save(path)

    other = RecordedStore(workspace)
    opened = open_panel(qtbot, other)
    opened.open_file(path)
    wait_measured(qtbot, opened)
    assert json.dumps(opened.maps.options()) == json.dumps(kept)
    np.testing.assert_array_equal(left(opened), BEFORE[1, 0])
    assert opened.maps.strip.locked_token() == 3 and opened.maps.head.badge.text() == "Verified"
    assert opened.text.toPlainText() == TEXT and opened.chooser.currentText() == "one.attune-look"
    assert opened.maps.prediction.text() == panel.maps.prediction.text() and other.n_started == 0

    # What needs the model says so, and no worker is started.
    opened.look()
    assert "needs the model" in opened.error.text() and other.n_started == 0
    said = []
    opened.maps.head.view("matrix").take = said.append
    opened.maps.head.view("matrix").asked.emit("ablate", {})
    qtbot.waitUntil(lambda: bool(said))
    assert said[0].reason == "look-no-model" and other.n_started == 0
    # Another subject and back: it is read anew.
    opened.chooser.choose(of_model("starter"))
    opened.chooser._pick(opened.chooser.findText("one.attune-look"))
    wait_measured(qtbot, opened)
    np.testing.assert_array_equal(left(opened), BEFORE[1, 0])
    other.close()


def test_a_changed_file_turns_the_badge_red_and_a_wrong_one_is_told_at_the_page(qtbot, panel, answer, tmp_path):
    tampered = AFTER.copy()
    tampered[MOST_CHANGED][2] *= 2
    save(Capture(tampered, None, None, GOOD, {}), TOKENS, Path(answer.directories["after"]), **FACTS)
    path = tmp_path / "tampered.attune-look"
    save_look(path, LookFacts(states=["after"], text=TEXT), answer.directories)
    before = left(panel).copy()
    for content in (b"label,text\n", path.read_bytes()[:-200]):
        (tmp_path / "wrong.attune-look").write_bytes(content)
        panel.open_file(tmp_path / "wrong.attune-look")
        qtbot.waitUntil(lambda: "wrong.attune-look" in panel.error.text())
        np.testing.assert_array_equal(left(panel), before)  # what was there stays
        panel.clear_error()
    panel.open_file(path)
    qtbot.waitUntil(lambda: panel.maps.head.badge.text() == "Not verified")
    assert panel.maps.head.warning.isVisible() and "rows 1e+0" in panel.maps.head.numbers.text()


def test_options_that_do_not_fit_are_left_alone(qtbot, panel):
    kept = panel.maps.options()
    wrong = {
        "heads": [[9, 9], ["a", 0], 3, [True, 0]], "state": "later", "cell": [40, 2], "order": "nothing",
        "views": [4, "x"], "view_options": {"matrix": {"a": []}, "x": {}, "lines": 3},
    }  # fmt: skip
    panel.maps.set_options(wrong)
    panel.maps.set_options({"heads": None, "cell": 3, "views": {}, "view_options": []})
    assert panel.maps.options() == kept


def test_a_locked_cell_keeps_its_key_and_is_let_go_when_tokens_change_their_places(qtbot, panel):
    panel.maps.head.view("matrix").matrices["left"].lock(6, 5)
    assert panel.maps.selection.cell == (6, 5) and panel.maps.strip.locked_token() == 6
    panel.maps.head.options.actions_by_name["no_special"].trigger()
    qtbot.waitUntil(lambda: left(panel).shape == (5, 5))
    assert panel.maps.selection.cell == (-1, -1)
    wait_measured(qtbot, panel)


def test_an_inspection_dropped_on_the_window_opens_on_its_page(qtbot, window, answer, tmp_path):
    path = tmp_path / "dropped.attune-look"
    save_look(path, LookFacts(states=["after"], text=TEXT), {"after": answer.directories["after"]})
    window.open_path(path)
    panel = window.pages["inspect"]
    wait_measured(qtbot, panel)
    assert window.page == "inspect"
    np.testing.assert_array_equal(panel.maps.look.maps["after"], AFTER)
    assert panel.maps.selection.state == "after" and not panel.maps.head.states["difference"].isVisible()
    text = write_page(panel.maps.look, tmp_path / "one.html").read_text(encoding="utf-8")
    assert facts_of(text)["state"] == "after" and "thumbnails-difference" not in held(text)


# --- the web page ----------------------------------------------------------------------------------------------


def held(text: str) -> dict[str, str]:
    return dict(re.findall(r'<script type="text/plain" id="([^"]+)">([^<]*)</script>', text))


def facts_of(text: str) -> dict:
    return json.loads(re.search(r'<script type="application/json" id="look">(.*?)</script>', text, re.DOTALL)[1])


def test_the_page_loads_nothing_and_holds_the_maps(look, tmp_path):
    text = write_page(look, tmp_path / "page.html", heads=[(1, 2)]).read_text(encoding="utf-8")
    assert not re.search(r"https?:|//[a-z]|src=|href=|@import|url\(|fetch\(|XMLHttp|\beval\(", text)
    assert "default-src 'none'" in text
    assert text.count("<script") == text.count("</script>") == 2 + 3 + 2 * N_LAYERS * N_HEADS
    assert "&lt;b&gt; {{title}}" in text and "<b>" not in text
    facts, parts = facts_of(text), held(text)
    assert facts["subject"] == look.subject and facts["tokens"] == TOKENS and facts["head"] == [1, 2]
    for state, values in (("before", BEFORE), ("after", AFTER)):
        for layer, head in np.ndindex(N_LAYERS, N_HEADS):
            found = np.frombuffer(base64.b64decode(parts[f"{state}-{layer}-{head}"]), dtype="<f4")
            np.testing.assert_array_equal(found.reshape(7, 7), values[layer, head])
    small = np.frombuffer(base64.b64decode(parts["thumbnails-difference"]), dtype=np.uint8).reshape(6, 7, 7)
    limits = np.array(facts["limits"]["difference"])[:, None, None]
    expected = (AFTER - BEFORE).reshape(6, 7, 7)
    assert np.abs((small.astype(float) - 128) / 127 * limits - expected).max() <= limits.max() / 254 + 1e-6


def test_the_script_of_the_page_reads_the_same_numbers(qapp, look, tmp_path):
    text = write_page(look, tmp_path / "page.html").read_text(encoding="utf-8")
    parts, engine = held(text), QJSEngine()
    loaded = engine.evaluate((resources_dir() / "inspect" / "page.js").read_text(encoding="utf-8"))
    assert not loaded.isError(), loaded.toString()

    def run(code: str) -> object:
        found = engine.evaluate(f"JSON.stringify({code})")
        assert not found.isError(), found.toString()
        return json.loads(found.toString())

    before, after = (f'floatsOf("{parts[f"{state}-1-1"]}")' for state in ("before", "after"))
    read = run(f"Array.from({after}).map(numberText)")
    np.testing.assert_array_equal(np.array(read, dtype=np.float32).reshape(7, 7), AFTER[1, 1])
    assert max(map(len, read)) <= 14 and run("numberText(Math.fround(0.1))") == "0.1"
    difference = np.array(run(f"Array.from(differenceOf({before}, {after}))"), dtype=np.float32)
    np.testing.assert_array_equal(difference.reshape(7, 7), AFTER[1, 1] - BEFORE[1, 1])
    np.testing.assert_allclose(run(f"Array.from(columnMeans({after}, 7))"), AFTER[1, 1].mean(axis=0), rtol=1e-6)
    for n in range(1, 9):  # every length that base64 can have
        assert run(f'Array.from(bytesOf("{base64.b64encode(bytes(range(250, 250 - n, -1))).decode()}"))') == list(
            range(250, 250 - n, -1)
        )
    facts = json.dumps(facts_of(text))
    for state in ("before", "after", "difference"):
        assert run(f"captionOf({facts}, '{state}', 1, 2)") == caption(look, state, 1, 2)
    table = run("Array.from(coloursOf(['#F6F7F9', '#4F4FCC']))")
    assert [table[0], table[255]] == [0xFFF9F7F6, 0xFFCC4F4F]
    assert run("[shade(0.5, 1, 1, false), shade(-1, 1, 1, true), shade(2, 1, 0.4, true)]") == [128, 0, 255]


DOCUMENT = """
var elements = {}, data = %s, drawn = [];
function element(id) {
  var drawing = new Proxy({}, { get: function (_, name) {
    if (name === "measureText") return function (text) { return { width: 7 * text.length }; };
    if (name === "createImageData") return function (w, h) { return { data: new Uint8Array(4 * w * h) }; };
    return function (text) { if (name === "fillText") drawn.push(String(text)); };
  } });
  return { id: id, style: {}, dataset: {}, children: [], textContent: data[id] || "",
    parentElement: { clientWidth: 600 }, getContext: function () { return drawing; },
    append: function (child) { this.children.push(child); },
    setAttribute: function (name, value) { this[name] = value; },
    getBoundingClientRect: function () { return { left: 0, top: 0 }; } };
}
var window = { matchMedia: function () { return { matches: false }; }, devicePixelRatio: 1 };
var document = { createElement: element, querySelectorAll: function () { return []; },
  getElementById: function (id) {
    if (/^(before|after)-/.test(id) && !(id in data)) return null;
    return elements[id] = elements[id] || element(id);
  } };
"""


@pytest.mark.parametrize("is_cross", [False, True])
def test_the_page_shows_the_cell_under_the_pointer_and_where_a_token_looks(qapp, look, tmp_path, is_cross):
    queries, values = (["<s>", "great", "</s>"], AFTER[:, :, 2:5]) if is_cross else (TOKENS, AFTER)
    if is_cross:
        look = replace(look, kind="cross", maps={"after": values}, queries=queries)
    text = write_page(look, tmp_path / "page.html", heads=[(1, 0)]).read_text(encoding="utf-8")
    engine, parts = QJSEngine(), held(text) | {"look": json.dumps(facts_of(text))}

    def run(code: str) -> str:
        found = engine.evaluate(code)
        assert not found.isError(), found.toString() + found.property("stack").toString()
        return found.toString()

    run(DOCUMENT % json.dumps(parts))
    run((resources_dir() / "inspect" / "page.js").read_text(encoding="utf-8"))
    assert {*queries, *TOKENS} <= {*json.loads(run("JSON.stringify(drawn)"))}
    left, top = (7 * max(map(len, tokens)) + 14 for tokens in (queries, TOKENS))
    at = f"{{clientX: {left} + 26 * 4 + 3, clientY: {top} + 26 * 2 + 3}}"  # the third row, the fifth column
    said = run(f"elements.over.onmousemove({at}); elements.value.textContent")
    assert said.startswith(f"3 “{queries[2]}” looks at 5 “{TOKENS[4]}”: ")
    assert np.float32(said.rpartition(" ")[2]) == values[1, 0, 2, 4]
    strip = "asking" if is_cross else "strip"
    run(f"elements.over.onmouseleave(); elements.{strip}.children[1].onclick()")
    assert run("elements.tint.textContent") == f"Tint: where “{queries[1]}” looks"
    tints = json.loads(run("JSON.stringify(elements.strip.children.map(c => c.style.background))"))
    assert len(tints) == len(TOKENS) and tints.index("#4f4fcc") == values[1, 0, 1].argmax()
    assert run("elements.caption.textContent") == caption(look, "after", 1, 0)


def test_of_a_long_text_the_page_holds_the_chosen_and_leading_heads(look, tmp_path):
    one_head = len(TOKENS) ** 2 * 4 * 4 // 3 * 2
    path = write_page(look, tmp_path / "page.html", heads=[(0, 2)], most_bytes=2 * one_head)
    text = path.read_text(encoding="utf-8")
    # The chosen one and the one that changed most; thumbnails of all.
    expected = {f"{state}-{head}" for state in ("before", "after") for head in ("0-2", "1-1")}
    assert {name for name in held(text) if name[0] in "ab"} == expected
    assert len(base64.b64decode(held(text)["thumbnails-after"])) == 6 * 49
    assert "All values are held of 2 of 6 heads." in text


def test_a_page_of_what_failed_its_check_says_so_and_a_cancelled_one_is_not_written(look, tmp_path):
    failed = replace(look, checks={"after": {"verified": False, "row_sum_error": None}})
    text = write_page(failed, tmp_path / "page.html").read_text(encoding="utf-8")
    assert "Not verified" in text and "rows NaN" in text and "failed their check" in text
    progress = Progress()
    progress.stop.set()
    with pytest.raises(Cancelled):
        write_page(look, tmp_path / "other.html", told=progress.told)
    assert [path.name for path in tmp_path.iterdir() if "other" in path.name] == []


# --- figures ---------------------------------------------------------------------------------------------------


def test_the_figure_for_print_is_white_with_lossless_colours_in_every_format(qapp, look, tmp_path):
    theme.apply(qapp, theme.load_theme("dark"))
    try:
        figure = figure_of(look, "after", 1, 1, per_head=True, gamma=0.4)
        for ending in ("png", "svg", "pdf", "csv", "npz"):
            assert write_head(look, ending, tmp_path, "after", 1, 1, True, 0.4, dpi=192)[0].is_file()
    finally:
        theme.apply(qapp, theme.load_theme("light"))
    colours = figure.scale.colours(AFTER[1, 1], theme.load_theme("light"))
    stem = tmp_path / "attention-layer2-head2-after"
    image = QImage(f"{stem}.png")
    assert image.dotsPerMeterX() == round(192 / 0.0254) and image.pixelColor(2, 2).name() == "#ffffff"
    expected, (x, y) = picture(colours), figure._corner()
    for query, key in np.ndindex(7, 7):
        at = int((x + (key + 0.5) * figure.cell()) * 2), int((y + (query + 0.5) * figure.cell()) * 2)
        assert image.pixel(*at) == expected.pixel(key, query)
    pdf = Path(f"{stem}.pdf").read_bytes()
    assert b"/DCTDecode" not in pdf and b"/FontFile" in pdf and b"/Title" in pdf
    cell = max(figure.cell(), 4)
    shape = (7 * cell, 7 * cell, 3)
    streams = [zlib.decompress(found) for found in re.findall(rb"stream\r?\n(x.*?)\r?\nendstream", pdf, re.DOTALL)]
    matrices = [np.frombuffer(s, np.uint8).reshape(shape) for s in streams if len(s) == np.prod(shape)]
    rgb = np.stack([colours >> shift & 255 for shift in (16, 8, 0)], axis=-1)
    assert any(np.array_equal(found[::cell, ::cell], rgb) for found in matrices)
    svg = Path(f"{stem}.svg").read_text(encoding="utf-8")
    for word in ("layer 2 of 2, head 2 of 3", "after fine-tuning", "rows sum to 1", "γ 0.4", "##ll"):
        assert word in svg
    with pytest.raises(OSError):
        write_head(look, "pdf", tmp_path / "absent", "after", 0, 0, True, 1.0, dpi=96)


def test_figures_of_several_heads_are_written_into_a_folder(qtbot, panel, store, tmp_path):
    notices = []
    store.notice.connect(notices.append)
    panel.maps.show_state("difference")
    dialog = panel.files.ask_figures()
    dialog.which.setCurrentIndex(dialog.which.findData("ranked"))
    dialog.n_leading.setValue(2)
    dialog.formats["csv"].setChecked(True)
    assert dialog.note.text() == "4 files" and dialog.heads()[0] == MOST_CHANGED
    with qtbot.waitSignal(panel.files.saved):
        dialog.wanted.emit(dialog.batch(tmp_path))
    heads = panel.maps.heads.ranking.heads()[:2]
    names = {f"attention-layer{a + 1}-head{b + 1}-difference.{e}" for a, b in heads for e in ("pdf", "csv")}
    assert names == {path.name for path in tmp_path.iterdir() if path.suffix in (".pdf", ".csv")}
    assert "Saved 4 files" in notices[-1].title
    # A folder that can't be written to is told at the page.
    dialog.wanted.emit(dialog.batch(tmp_path / "absent"))
    qtbot.waitUntil(lambda: "can't write" in panel.error.text())
    dialog.reject()


def test_files_are_written_side_by_side_and_a_full_disk_leaves_no_half(qtbot, panel, tmp_path, monkeypatch):
    look, head, saved = panel.maps.shown_look, panel.maps.head, []
    panel.files.saved.connect(saved.extend)
    names = ["one.attune-look", "one.csv", "one.html", "one.npz", "one.pdf"]

    def write() -> None:
        for name in names[1:2] + names[3:]:
            head.export(name.partition(".")[2], tmp_path / name)
        panel.files.save_page(tmp_path / "one.html")
        panel.files.save(tmp_path / "one.attune-look")

    write()
    assert panel.files.work.title.text() == "Writing one.csv… and 4 more"
    qtbot.waitUntil(lambda: not panel.files.work.is_busy)
    there = {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
    assert sorted(path.name for path in saved) == names == sorted(there)

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    failed = []
    panel.files.failed.connect(failed.append)
    write()
    qtbot.waitUntil(lambda: not panel.files.work.is_busy)
    assert [error.problem.reason for error in failed] == ["no-room"] * 5 and "disk is full" in panel.error.text()
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()} == there
    assert panel.maps.shown_look is look and len(saved) == 5


@pytest.mark.parametrize("ending", ["csv", "npz-all"])
def test_what_is_cancelled_half_way_leaves_no_file(qtbot, panel, tmp_path, ending):
    view, folder = panel.maps.head.view("matrix"), tmp_path / "out"
    folder.mkdir()

    def stop(done: int, total: int) -> None:
        if done == total // 2:
            assert [path.suffix for path in folder.iterdir()] == [".tmp"]
            raise Cancelled

    with pytest.raises(Cancelled):
        view.export(ending, folder / f"one.{ending}")(stop)
    assert not list(folder.iterdir())


def test_a_cancelled_batch_stops_at_the_next_file(qtbot, panel, tmp_path):
    dialog = panel.files.ask_figures()
    dialog.which.setCurrentIndex(dialog.which.findData("all"))
    work, written = panel.files.work, []
    batch = dialog.batch(tmp_path)

    def write(told):
        def stop_at_two(done, total):
            if done == 2:
                work.cancel()
            told(done, total)

        return batch.write(stop_at_two)

    work.start("Writing", write, written.append)
    qtbot.waitUntil(lambda: not work.is_busy)
    assert len(list(tmp_path.glob("*.pdf"))) == 2 and not written and not panel.error.text()
    dialog.reject()
