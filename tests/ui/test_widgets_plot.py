"""The curve plot: nothing is lost at any zoom, numbers leave as they came, and it does not grow."""

import csv
import gc
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
from PySide6.QtCore import Qt
from pytestqt.qtbot import QtBot

from studio.core.series import AXES, Series, Track
from studio.ui.widgets.along import ALONG
from studio.ui.widgets.curves import Curve, log_ticks, nice_ticks, tick_texts
from studio.ui.widgets.plot import CurvePlot


def add(track: Track, step: float, value: float) -> Series:
    track.extend(dict.fromkeys(AXES, [step]), {"loss": [value]})
    return track.series["loss"]


@pytest.fixture
def plot(qtbot: QtBot) -> CurvePlot:
    widget = CurvePlot("Loss")
    qtbot.addWidget(widget)
    widget.resize(640, 320)
    widget.show()
    qtbot.waitExposed(widget)
    return widget


@pytest.mark.parametrize("span", [(0, 100_000), (30_000, 70_000), (49_000, 51_000), (49_990, 50_010)])
def test_a_spike_and_a_nan_survive_at_every_zoom(span: tuple[int, int]) -> None:
    y = np.sin(np.arange(100_000) / 900)
    y[50_000], y[50_003] = 40.0, np.nan
    curve = Curve("loss")
    curve.set_points(np.arange(100_000.0), y)
    drawn = curve.drawn(*span, most=500, log=False)
    assert len(drawn.x) <= 600 and np.nanmax(drawn.y) == 40.0
    assert drawn.x[drawn.y == 40.0] == 50_000
    assert 50_003 in drawn.missing


def test_what_a_log_axis_cannot_show_is_marked_and_the_rest_stays() -> None:
    curve = Curve("loss")
    curve.set_points(np.arange(5.0), np.array([100.0, 0.0, -3.0, 10.0, np.inf]))
    drawn = curve.drawn(0, 4, most=100, log=True)
    assert drawn.missing.tolist() == [1, 2, 4]
    assert drawn.y[drawn.x == 3] == pytest.approx(1.0)
    assert drawn.lone.tolist() == [0, 3], "points without a neighbour are drawn as dots"


def test_smoothing_goes_on_where_it_was_and_forgets_what_a_resume_cut() -> None:
    values = np.random.default_rng(0).normal(size=3000)
    values[[5, 900]] = np.nan
    track, grown, whole = Track(), Curve("a"), Curve("b")
    for step, value in enumerate(values):
        series = add(track, step, value)
        if step % 700 == 0:
            grown.set_points(series.x, series.y)
            grown.smoothed(0.9)
    track.cut_after(1500)
    grown.set_points(series.x, series.y, series.n_cuts)
    cut = grown.smoothed(0.9).copy()
    whole.set_points(np.arange(1501.0), values[:1501])
    np.testing.assert_allclose(cut, whole.smoothed(0.9), rtol=1e-12)
    add(track, 1501, 99.0)
    grown.set_points(series.x, series.y, series.n_cuts)
    assert grown.smoothed(0.9)[-1] == pytest.approx(cut[-1] + 0.1 * (99 - cut[-1]))


def test_the_numbers_leave_bit_by_bit(plot: CurvePlot, tmp_path: Path) -> None:
    y = np.random.default_rng(1).normal(size=5000) ** 9
    y[7:15] = np.nan, np.inf, -np.inf, 0.0, -0.0, 5e-324, 2.2250738585072009e-308, np.nextafter(1.0, 2.0)
    x = np.cumsum(np.random.default_rng(2).random(5000))  # seconds
    plot.set_along("time")
    plot.set_curve("t", x, y, "training, raw")
    plot.set_curve("h", np.arange(3.0), np.ones(3), "hidden")
    plot._legend.entry("h").click()
    plot.export_csv(str(tmp_path / "out.csv"))
    with open(tmp_path / "out.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["curve", "seconds", "value"] and {row[0] for row in rows[1:]} == {"training, raw"}
    assert np.array([float(row[1]) for row in rows[1:]]).tobytes() == x.tobytes()
    assert np.array([float(row[2]) for row in rows[1:]]).tobytes() == y.tobytes()


def test_the_svg_has_text_as_text_and_no_pictures(plot: CurvePlot, tmp_path: Path) -> None:
    plot.set_curve("v", np.arange(9.0), np.arange(9.0), "validation", "points")
    plot.export_svg(str(tmp_path / "plot.svg"))
    svg = (tmp_path / "plot.svg").read_text(encoding="utf-8")
    assert ">validation</text>" in svg.replace("\n", "") and "<image" not in svg


def test_linked_plots_share_steps_and_crosshair(qtbot: QtBot) -> None:
    above, below = CurvePlot("Loss"), CurvePlot("Accuracy")
    for plot in (above, below):
        qtbot.addWidget(plot)
        plot.resize(640, 240)
        plot.show()
    above.link([below])
    above.set_curve("t", np.arange(100.0), np.arange(100.0) / 7, "training")
    below.set_curve("v", np.array([10.0, 90.0]), np.array([0.5, 0.75]), "validation", "points")
    above.show_steps((20.0, 40.0))
    above.redraw()
    below.redraw()
    assert above.view.viewRange()[0] == below.view.viewRange()[0] == [20.0, 40.0]
    above.show_cursor(70.0)
    assert above._legend.entry("t")._value == "10.00" and below._legend.entry("v")._value == "0.7500"
    qtbot.keyClick(below, Qt.Key.Key_Home)
    above.redraw()
    assert above.view.viewRange()[0] == [0.0, 99.0]


def test_redraws_are_gathered(plot: CurvePlot, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = []
    redraw = plot.redraw
    plot._timer.timeout.disconnect()
    plot._timer.timeout.connect(lambda: (drawn.append(1), redraw()))
    track, began = Track(), time.monotonic()
    for step in range(300):
        series = add(track, step, step)
        plot.set_curve("t", series.x, series.y)
        qtbot.wait(1)
    assert 1 <= len(drawn) <= 2 + 10 * (time.monotonic() - began), "ten times a second"
    qtbot.waitUntil(lambda: plot._lines["t"].line.xData[-1] == 299)


def test_thousands_of_refreshes_do_not_leak(plot: CurvePlot) -> None:
    track = Track()
    for step in range(200):
        series = add(track, step, np.cos(step))

    def refresh(times: int) -> None:
        for _ in range(times):
            add(track, len(track), 1.0)
            plot.set_curve("t", series.x, series.y, "training", "smoothed")
            plot.set_curve("v", series.x[::50], series.y[::50], "validation", "points")
            plot.redraw()
            if len(series) % 10 == 0:
                plot.canvas.viewport().repaint()

    refresh(400)
    gc.collect()
    n_items, n_objects, rss = len(plot.view.allChildren()), len(gc.get_objects()), psutil.Process().memory_info().rss
    refresh(2500)
    gc.collect()
    assert len(plot.view.allChildren()) == n_items
    assert len(gc.get_objects()) - n_objects < 500
    assert psutil.Process().memory_info().rss - rss < 8e6, "a leak of 3 kB a refresh would show"


@pytest.mark.parametrize(("low", "high"), [(0.0, 866.0), (-1e-5, 1e-4), (0.49, 0.51), (0.0, 1e7)])
def test_ticks_are_few_different_and_inside(low: float, high: float) -> None:
    _, ticks = nice_ticks(low, high, 6)
    texts = tick_texts(ticks)
    assert 3 <= len(ticks) <= 7 and len(set(texts)) == len(texts)
    assert all(low - 1e-12 <= tick <= high + 1e-9 * high for tick in ticks)


def test_a_log_axis_within_one_decade_still_has_ticks() -> None:
    assert len(log_ticks(0.31, 0.68, 6)) >= 3
    assert log_ticks(1e-3, 1e3, 10) == pytest.approx([1e-3, 1e-2, 0.1, 1, 10, 100, 1000])


@pytest.mark.parametrize(
    ("name", "low", "high", "words"),
    [
        ("step", 0.0, 4.0, ["0", "1", "2", "3", "4"]),
        ("epoch", 0.0, 2.0, ["0.0", "0.5", "1.0", "1.5", "2.0"]),
        ("tokens", 0.0, 4e6, ["0", "1.0 M", "2.0 M", "3.0 M", "4.0 M"]),
        ("time", 0.0, 40.0, ["0 s", "10 s", "20 s", "30 s", "40 s"]),
        ("time", 100.0, 3000.0, ["10 min", "20 min", "30 min", "40 min", "50 min"]),
        ("time", 0.0, 20_000.0, ["0 s", "1 h", "2 h", "3 h", "4 h", "5 h"]),
    ],
)
def test_each_axis_has_ticks_in_its_own_words(name: str, low: float, high: float, words: list[str]) -> None:
    assert tuple(ALONG) == AXES
    _, ticks = ALONG[name].ticks(low, high, 6)
    assert [word.replace("\N{NO-BREAK SPACE}", " ") for word in ALONG[name].tick_words(ticks)] == words


def test_a_log_of_a_million_points_redraws_in_the_time_of_a_short_one(plot: CurvePlot) -> None:
    rng = np.random.default_rng(0)

    def seconds(n: int) -> float:
        plot.set_curve("t", np.arange(float(n)), rng.normal(size=n), "training", "smoothed", version=n)
        plot.redraw()
        while plot.curves()["t"].is_behind:
            plot.redraw()
        began = time.thread_time()
        for _ in range(5):
            plot.redraw()
        return time.thread_time() - began

    seconds(5000)
    curve = Curve("t", "smoothed")
    curve.set_points(np.arange(1e6), rng.normal(size=1_000_000))
    ends = []
    while not ends or curve.is_behind:
        ends += [curve.drawn(0, 1e6, 2000, False).x[-1], curve.drawn(0, 1e6, 2000, False, 0.9).x[-1]]
    for way in (ends[::2], ends[1::2]):
        assert len(way) >= 3 and way == sorted(way) and way[-1] == 999_999.0, "bit by bit, to the last"
    assert seconds(1_000_000) < 6 * seconds(20_000), "not fifty times as long"


@pytest.mark.parametrize("ending", ["png", "svg", "csv"])
def test_file_that_can_not_be_written_is_said_at_the_menu(plot, qtbot, monkeypatch, tmp_path, ending) -> None:
    from PySide6.QtWidgets import QFileDialog

    from studio.ui.widgets.plot_menu import PlotMenuButton

    plot.set_curve("a", np.arange(5.0), np.arange(5.0))
    button = plot.findChild(PlotMenuButton)
    place = tmp_path / "good" / f"curves.{ending}"
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_: (str(place), ""))
    write = {"png": plot.export_png, "svg": plot.export_svg, "csv": plot.export_csv}[ending]
    button._save(ending, write)
    qtbot.waitUntil(lambda: "can't be written" in button.accessibleDescription(), timeout=5000)
    place.parent.mkdir()
    button._save(ending, write)
    qtbot.waitUntil(lambda: place.exists() and place.stat().st_size > 0, timeout=5000)


def test_ticks_of_small_numbers_that_lie_close_are_told_apart() -> None:
    assert tick_texts([3.66e-4, 3.665e-4, 3.67e-4]) == ["3.66e−4", "3.665e−4", "3.67e−4"]
    assert tick_texts([0.0, 1e-5, 2e-5]) == ["0", "1e−5", "2e−5"]
