"""The Inspect page in a small window: what makes way, what comes back, and that everything can still be reached."""

import re
import threading
from dataclasses import replace

import numpy as np
import pytest
from looks import long_look, make_look, random_maps
from PySide6.QtCore import QPoint, Qt
from PySide6.QtGui import QColor, QFontMetrics
from PySide6.QtWidgets import QApplication

from studio.core.paths import resources_dir
from studio.ui import words
from studio.ui.panels import inspect_heads
from studio.ui.panels.inspect import InspectPanel
from studio.ui.panels.inspect_maps import MapsView
from studio.ui.panels.inspect_question import Question
from studio.ui.store import Store
from studio.ui.stylesheet import stylesheet
from studio.ui.theme import current, load_theme, number_font
from studio.ui.views import all_views
from studio.ui.views.look import Look, Statistics, measure
from studio.ui.views.matrix import MatrixView
from studio.ui.views.selection import Selection
from studio.ui.views.table import TableView
from studio.ui.widgets.bars import BarsView
from studio.ui.widgets.choice import Choice
from studio.ui.widgets.heat import token_text
from studio.ui.widgets.vector_rows import QueryRow, VectorRows

SMALL, LARGE = (912, 424), (1316, 690)  # what a window of 1024 x 640 and one of 1440 x 900 leave for the maps


@pytest.fixture
def maps(qtbot, workspace):
    store = Store(workspace)
    view = MapsView(store)
    qtbot.addWidget(view)
    view.resize(*SMALL)
    view.show()
    yield view
    store.close()


def show(qtbot, maps, look):
    maps.show_look(look)
    qtbot.waitUntil(lambda: maps.shown_look is not None and bool(maps.statistics.by_state))
    qtbot.waitUntil(lambda: maps.heads.grid._reduced is not None)


def test_differences_of_a_look_that_is_gone_are_not_drawn_over_the_next(qtbot, monkeypatch):
    card, gate, drawn = inspect_heads.HeadsCard(), threading.Event(), []
    qtbot.addWidget(card)
    first, long = make_look(), replace(make_look(), text="long")
    card.show_look(first, "after", Statistics())
    find = inspect_heads.difference_thumbnails
    monkeypatch.setattr(inspect_heads, "difference_thumbnails", lambda look: gate.wait(5) and find(look))
    monkeypatch.setattr(Look, "is_deep", property(lambda look: look is long))
    monkeypatch.setattr(card.grid, "set_maps", lambda *maps, **how: drawn.append(maps))
    card.show_look(first, "difference", Statistics())
    card.show_look(long, "difference", Statistics())
    gate.set()
    qtbot.wait(100)
    assert not drawn


def test_differences_of_more_heads_than_before_are_waited_for(qtbot):
    """As of a decoder with more layers than its encoder."""
    card = inspect_heads.HeadsCard()
    qtbot.addWidget(card)
    more = make_look(maps={"before": random_maps(5, 3, 5), "after": random_maps(6, 3, 5)})
    for look in (make_look(), more):
        card.show_look(look, "difference", measure(look))
        card.order_by("change")
        last = tuple(n - 1 for n in look.shape)
        card.select([last])
        assert card.grid.selected() == last and not card.grid.head_rect(*last).isEmpty()
        qtbot.waitUntil(lambda: card.grid._reduced is not None)


def test_two_views_in_a_small_window_get_the_room_of_the_heads_and_no_head_is_lost(qtbot, maps):
    show(qtbot, maps, make_look())
    assert maps.heads.isVisible() and not maps.rail.isVisible()
    maps.head.split.setChecked(True)
    assert not maps.heads.isVisible() and maps.rail.isVisible()
    QApplication.processEvents()
    assert min(place.width() for place in maps.head.places) > 380
    maps.choose_head(0, 3)
    assert maps.rail.head.text() == "1 · 4"
    maps.rail.next.click()
    assert maps.selection.head == (1, 0), "the head after the last of a layer is the first of the next"
    for _ in range(9):
        maps.rail.former.click()
    assert maps.selection.head == (0, 0)
    maps.rail.open.click()
    assert maps.heads.isVisible(), "a person may have both"
    maps.resize(900, 420)
    assert maps.heads.isVisible(), "and keeps what was chosen"
    maps.head.split.setChecked(False)
    maps.resize(*LARGE)
    maps.head.split.setChecked(True)
    assert maps.heads.isVisible(), "there is room for all"


def test_the_heads_fold_by_a_button_and_by_a_key(qtbot, maps):
    show(qtbot, maps, make_look())
    maps.heads.fold.click()
    assert maps.rail.isVisible() and not maps.heads.isVisible()
    maps.activateWindow()
    qtbot.waitUntil(maps.isActiveWindow)
    qtbot.keyClick(maps, Qt.Key.Key_B, Qt.KeyboardModifier.ControlModifier)
    assert maps.heads.isVisible() and not maps.rail.isVisible()


def test_a_low_window_has_one_line_of_the_text_and_scrolls_to_the_locked_token(qtbot, maps):
    look = long_look()
    show(qtbot, maps, make_look(probabilities={"before": {"bad": 0.6}, "after": {"good": 0.9}}))
    assert maps.prediction._short.text() == "bad 60\u00a0% → good 90\u00a0%" and not maps.prediction._long.isVisible()
    show(qtbot, maps, look)
    one = maps.area.height()
    assert one < 30 and not maps.strip_note.isVisible()
    maps.selection.lock(100)
    where = maps.strip.mapTo(maps.area, maps.strip.token_rect(100).center())
    assert maps.area.rect().contains(where)
    maps.unfold.click()
    assert maps.area.height() > 2 * one and maps.strip_note.isVisible() and maps.refold.isVisible()
    maps.refold.click()
    assert maps.area.height() == one
    maps.resize(*LARGE)
    assert maps.area.height() > 2 * one and not maps.unfold.isVisible() and not maps.refold.isVisible()


def test_every_head_of_a_deep_model_can_be_reached_in_a_low_window(qtbot, maps):
    n = 32
    look = make_look(("after",), maps={"after": random_maps(1, n, n)})
    show(qtbot, maps, look)
    for layer, head in ((31, 31), (0, 0), (20, 5)):
        maps.choose_head(layer, head)
        where = maps.heads.grid.mapTo(maps.heads.area, maps.heads.grid.head_rect(layer, head).center().toPoint())
        assert maps.heads.area.viewport().rect().contains(where), (layer, head)
        qtbot.mouseClick(maps.heads.area.viewport().childAt(where), Qt.MouseButton.LeftButton,
                         pos=maps.heads.grid.mapFrom(maps.heads.area, where))  # fmt: skip
        assert maps.selection.head == (layer, head)


def test_a_view_that_has_nothing_to_show_has_no_tools(qtbot, maps):
    show(qtbot, maps, make_look())
    maps.head.show_view("timeline")
    timeline = maps.head.view("timeline")
    assert not timeline.play.isVisible() and maps.head.places[0]._refusal.isVisible()
    maps.head.show_view("matrix")
    assert maps.head.view("matrix").sums.isVisible() and not maps.head.places[0]._refusal.isVisible()


def test_a_long_text_has_whole_lines(qtbot):
    question = Question()
    qtbot.addWidget(question)
    question.resize(700, 200)
    question.show()
    question.put({"text": "many words in a row " * 80})
    line = question.text.fontMetrics().lineSpacing()
    for most in (3, 2):
        question.set_most_lines(most)
        QApplication.processEvents()
        margin = question.text.document().documentMargin()
        assert question.text.viewport().height() - margin == pytest.approx(most * line, abs=3)
    question.put({"text": "short"})
    QApplication.processEvents()
    assert not question.text.verticalScrollBar().isVisible()


def test_a_table_that_grows_smaller_keeps_the_chosen_row_in_sight(qtbot):
    selection = Selection()
    view = TableView(selection)
    qtbot.addWidget(view)
    view.resize(600, 500)
    view.show()
    view.show_look(make_look(("after",), maps={"after": random_maps(1, 6, 12)}))
    selection.choose_head(5, 7)
    view.show_selection("heads")
    view.resize(600, 200)
    table = view.table.view

    def in_sight() -> bool:
        return table.viewport().rect().contains(table.visualRect(table.currentIndex()).center())

    qtbot.waitUntil(in_sight, timeout=1000)


def test_what_is_too_long_for_a_choice_ends_in_an_ellipsis(qtbot):
    choice = Choice()
    qtbot.addWidget(choice)
    choice.addItems(["a run with a very long name · support_desk.csv · starter · Full", "short"])
    choice.resize(160, 30)
    choice.show()
    shown = choice.shown_text()
    assert shown.endswith("…") and choice.currentText().startswith(shown[:-1])
    assert QFontMetrics(choice.font()).horizontalAdvance(shown) < 140
    choice.setCurrentIndex(1)
    assert choice.shown_text() == "short"
    # The arrows open the list: in the closed box they would choose whatever they pass, a folder's dialog too.
    chosen = []
    choice.activated.connect(chosen.append)
    choice.setFocus()
    qtbot.keyClick(choice, Qt.Key.Key_Up)
    assert choice.currentIndex() == 1 and not chosen and choice.view().isVisible()
    choice.hidePopup()


def test_the_name_of_the_first_column_has_room(qtbot):
    rows = VectorRows()
    qtbot.addWidget(rows)
    keys = np.ones((2, 4), dtype=np.float32)
    ones = np.ones(2, dtype=np.float32)
    rows.show_row(QueryRow("a", ["a", "b"], keys[0], keys, 0.5, ones * 4, ones * 2, ones * 0, ones / 2))
    left, right = rows._columns()["token"]
    assert right - left > QFontMetrics(number_font(current().small)).horizontalAdvance("query, keys")


def test_bars_below_nothing_have_the_other_colour(qtbot):
    bars = BarsView({"more": 1.0, "less": -1.0}, signed=True)
    qtbot.addWidget(bars)
    bars.resize(300, 60)
    image = bars.grab().toImage()
    middles = {"more": 12, "less": 36}
    found = {name: {image.pixelColor(QPoint(x, y)).name() for x in range(60, 290)} for name, y in middles.items()}
    warm = {name: sum(QColor(c).red() > QColor(c).blue() + 60 for c in colours) for name, colours in found.items()}
    cold = {name: sum(QColor(c).blue() > QColor(c).red() + 60 for c in colours) for name, colours in found.items()}
    assert warm["more"] and cold["less"] and not warm["less"] and not cold["more"]


def test_numbers_and_tokens_are_shown_as_people_write_them():
    assert words.number(-4.32) == "−4.320" and words.number(4.32) == "4.320"
    assert [token_text(token) for token in ("▁man", "Ġman", "ing", "▁")] == ["·man", "·man", "ing", "▁"]


@pytest.mark.parametrize("name", ["light", "dark"])
def test_every_picture_of_the_stylesheet_is_there(name):
    folder = resources_dir() / "theme"
    named = re.findall(r'url\("([^"]+)"\)', stylesheet(load_theme(name), folder))
    assert len({*named}) == 2 and all((folder / path.rsplit("/", 1)[-1]).is_file() for path in named)


def tab_stops(widget, n=80):
    """Return what Tab goes through from a widget on, as far as it is seen."""
    found, at = [], widget
    for _ in range(n * 20):
        at = at.nextInFocusChain()
        if at is widget:
            break
        if at.isVisible() and at.isEnabled() and at.focusPolicy() & Qt.FocusPolicy.TabFocus:
            found.append(at)
    return found


def test_tab_goes_through_the_page_as_it_is_read_and_every_stop_has_a_name(qtbot, workspace):
    store = Store(workspace)
    panel = InspectPanel(store)
    qtbot.addWidget(panel)
    panel.resize(1316, 800)
    panel.show()
    qtbot.waitUntil(lambda: panel._pages.currentIndex() == 0)
    panel._pages.setCurrentIndex(1)
    show(qtbot, panel.maps, make_look())
    panel.stage.setCurrentWidget(panel.maps)
    stage, stops = panel.maps.head, tab_stops(panel)
    matrix = stage.view("matrix")
    options = next(w for w in stops if w.objectName() == "inspect.view")
    wanted = [panel.text, panel.button, panel.maps.strip, panel.maps.heads.order,
              panel.maps.heads.grid, stage.split, stage.places[0].choice, matrix.sums, matrix.matrices["left"],
              options]  # fmt: skip
    places = [stops.index(widget) for widget in wanted]
    assert places == sorted(places)
    stage.split.setChecked(True)
    for name in all_views():
        stage.show_view(name, 1)
        for stop in tab_stops(panel):
            text = stop.text() if hasattr(stop, "text") and callable(stop.text) else ""
            assert stop.accessibleName() or text, (name, type(stop).__name__, stop.objectName())
    store.close()


def test_every_view_says_what_it_is_when_f1_asks(qtbot, maps):
    show(qtbot, maps, make_look())
    for name, view in all_views().items():
        maps.head.show_view(name)
        assert maps.head.view(name).whatsThis() == view.help and len(view.help) > 60, name
    assert "tokens that look" in maps.heads.grid.whatsThis()
    for name in ("matrix", "search"):
        assert "row = query = the token that looks" in all_views()[name].help.lower(), name


def test_bars_of_a_difference_have_the_colours_of_the_map(qtbot):
    view = MatrixView(Selection())
    qtbot.addWidget(view)
    view.resize(620, 460)
    view.show()
    view.selection.show_state("difference")
    view.show_look(make_look())
    view.sums.setChecked(True)
    matrix = view.matrices["left"]
    sums, whole = matrix._marginals.columns, matrix._whole()
    image = matrix.viewport().grab().toImage()
    for key in (int(sums.argmax()), int(sums.argmin())):
        colour = image.pixelColor(int(matrix.cell_rect(0, key).center().x()), int(whole.bottom()) + 7)
        assert (colour.red() > colour.blue()) == (sums[key] > 0), "orange is more, blue is less"


def test_a_text_field_is_seen_as_one_and_shows_the_focus(qtbot):
    question = Question()
    qtbot.addWidget(question)
    question.resize(600, 60)
    question.show()
    question.activateWindow()
    question.button.setFocus()

    def edge() -> QColor:
        return question.text.grab().toImage().pixelColor(0, question.text.height() // 2)

    assert edge() != QColor(current().surface), "it has an edge"
    question.text.setFocus()
    qtbot.waitUntil(question.text.hasFocus)
    assert edge() == QColor(current().accent)
