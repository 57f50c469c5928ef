"""The curve plot: nothing is lost at any zoom, numbers leave as they came, and it does not grow."""

import csv
import gc
from pathlib import Path

import numpy as np
import psutil
import pytest
from PySide6.QtCore import Qt
from pytestqt.qtbot import QtBot

from studio.core.series import Series
from studio.ui.widgets.curves import Curve, log_ticks, nice_ticks, tick_texts
from studio.ui.widgets.plot import CurvePlot


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
    series, grown, whole = Series(), Curve("a"), Curve("b")
    for step, value in enumerate(values):
        series.append(step, value)
        if step % 700 == 0:
            grown.set_points(series.x, series.y)
            grown.smoothed(0.9)
    series.cut_after(1500)
    grown.set_points(series.x, series.y)
    cut = grown.smoothed(0.9).copy()
    whole.set_points(np.arange(1501.0), values[:1501])
    np.testing.assert_allclose(cut, whole.smoothed(0.9), rtol=1e-12)
    series.append(1501, 99.0)
    grown.set_points(series.x, series.y)
    assert grown.smoothed(0.9)[-1] == pytest.approx(cut[-1] + 0.1 * (99 - cut[-1]))


def test_the_numbers_leave_bit_by_bit(plot: CurvePlot, tmp_path: Path) -> None:
    y = np.random.default_rng(1).normal(size=5000) ** 9
    y[7], y[8] = np.nan, np.inf
    plot.set_curve("t", np.arange(5000.0), y, "training, raw")
    plot.set_curve("h", np.arange(3.0), np.ones(3), "hidden")
    plot._legend.entry("h").click()
    plot.export_csv(str(tmp_path / "out.csv"))
    with open(tmp_path / "out.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["curve", "step", "value"] and {row[0] for row in rows[1:]} == {"training, raw"}
    np.testing.assert_array_equal(np.array([float(row[2]) for row in rows[1:]]), y)


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
    series = Series()
    for step in range(300):
        series.append(step, step)
        plot.set_curve("t", series.x, series.y)
        qtbot.wait(1)
    assert 1 <= len(drawn) <= 8
    qtbot.waitUntil(lambda: plot._items["t"].line.xData[-1] == 299)


def test_thousands_of_refreshes_do_not_leak(plot: CurvePlot) -> None:
    series = Series()
    for step in range(200):
        series.append(step, np.cos(step))

    def refresh(times: int) -> None:
        for _ in range(times):
            series.append(len(series), 1.0)
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
