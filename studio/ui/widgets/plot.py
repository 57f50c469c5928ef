"""Curve plots on pyqtgraph: live, zoomable, linked, and honest about every value.

Importing this module imports pyqtgraph (a second): pages import it when they first open.
"""

from collections.abc import Callable, Sequence

import numpy as np
import pyqtgraph as pg
from PySide6.QtCore import QElapsedTimer, QEvent, QObject, QPointF, Qt, QTimer, Signal
from PySide6.QtGui import QColor, QFocusEvent, QKeyEvent, QPainter, QPen
from PySide6.QtWidgets import QHBoxLayout, QSizePolicy, QVBoxLayout, QWidget

from studio.ui import words
from studio.ui.i18n import tr
from studio.ui.theme import GRID, Theme, current, follow_theme
from studio.ui.widgets import plot_export
from studio.ui.widgets.along import ALONG, Along
from studio.ui.widgets.curves import Curve, Drawn, on_axis
from studio.ui.widgets.labels import Small, Strong
from studio.ui.widgets.legend import Legend
from studio.ui.widgets.plot_lines import Lines, Sight
from studio.ui.widgets.plot_menu import PlotMenuButton
from studio.ui.widgets.plot_view import Axis, Box

MOST_POINTS = 4000
REDRAW_MS = 100
TURN_MS = 15  # between two of linked plots: all at once would hold the window for as long as all of them take


class CurvePlot(QWidget):
    """Named curves over steps, with a legend that reads the values, a crosshair and a corner menu.

    y_range: the range of values shown as long as nobody zooms, or None to fit it to what is in sight. log_x: what is
    handed over as x is the power of ten, and the axis says the number itself. along: what x is, see ALONG.
    """

    smoothing_changed = Signal(float)
    log_changed = Signal(bool)
    cursor_moved = Signal(object)  # x, or None when the pointer leaves
    view_moved = Signal(object)  # (low, high), or None for all there is
    along_chosen = Signal(str)  # what x shall be, one of those that were offered
    subject_chosen = Signal(str)  # the key of what shall be drawn, one of those that were offered

    def __init__(
        self,
        title: str = "",
        y_label: str = "",
        x_label: str = "step",
        y_range: tuple[float, float] | None = None,
        parent: QWidget | None = None,
        log_x: bool = False,
    ) -> None:
        super().__init__(parent)
        self._log_x = log_x
        self.title, self.x_label, self.y_label = title, x_label, y_label
        self.along: Along = ALONG["step"]
        self.y_words: Callable[[float], str] = words.number
        self.offered_along: Sequence[str] = ()
        self.offered_subjects: Sequence[tuple[str, str]] = ()
        self.subject = ""
        self.is_log, self.smoothing, self.pen_scale = False, 0.9, 1.0
        self._y_range, self._auto_y, self._x_view, self._cursor = y_range, True, None, None
        self._curves: dict[str, Curve] = {}
        self._lines: dict[str, Lines] = {}
        self._linked: list[CurvePlot] = [self]
        self.setAccessibleName(title)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self.setMinimumSize(200, 96)
        self._focus_by_key = False
        self._build()
        self._since = QElapsedTimer()
        self._timer = QTimer(self, singleShot=True)
        self._timer.timeout.connect(self._redraw_in_turn)
        self._last_of_all = QElapsedTimer()
        follow_theme(self, self._show_theme)

    # What the plot shows

    def set_curve(
        self, key: str, x: np.ndarray, y: np.ndarray, name: str = "", style: str = "line", colour: int | None = None,
        version: int = 0,
    ) -> None:  # fmt: skip
        """Show a curve, or more points of one; call it as often as points come, it is drawn ten times a second.

        x, y: float arrays [n], x ascending, kept without copying. style: line, raw (thin and faint), smoothed (raw
        below its moving average) or points. colour: an index into the theme's series, else the next one. version:
        another number than before where earlier points were taken back.
        """
        curve = self._curves.get(key)
        if curve is None or (name and name != curve.name) or style != curve.style:
            self.remove_curve(key)
            place = len(self._curves) if colour is None else colour
            curve = self._curves[key] = Curve(name or key, style, place)
            self._lines[key] = Lines(self.view)
            self._lines[key].colour(curve, self.smoothing, current())
            self._legend.add(key, curve.name, place, "points" if style == "points" else "solid")
        curve.set_points(x, y, version)
        self._schedule()

    def remove_curve(self, key: str) -> None:
        """Forget a curve."""
        if self._curves.pop(key, None) is not None:
            self._lines.pop(key).remove()
            self._legend.remove(key)
            self._schedule()

    def clear_curves(self) -> None:
        """Forget all curves."""
        for key in list(self._curves):
            self.remove_curve(key)

    def curves(self) -> dict[str, Curve]:
        """Return the curves by key."""
        return dict(self._curves)

    def set_log(self, on: bool) -> None:
        """Show values on a logarithmic axis; those that are not positive are marked on the step axis."""
        if on != self.is_log:
            self.is_log, self._auto_y = on, True
            self._left.set_log(on)
            self._note_axes()
            self._schedule()
            self.log_changed.emit(on)

    def set_smoothing(self, weight: float) -> None:
        """Smooth the curves of style `smoothed` with this weight of the past, 0 to 0.99."""
        weight = min(0.99, max(0.0, weight))
        if weight != self.smoothing:
            self.smoothing = weight
            self._schedule()
            self.smoothing_changed.emit(weight)

    def set_along(self, name: str, span: tuple[float, float] | None = None) -> None:
        """Say what the x of the curves is from now on, a key of ALONG; `span` is what is in sight, None for all."""
        if ALONG[name] != self.along:
            self.along, self.x_label = ALONG[name], ALONG[name].column
            self._bottom.set_along(self.along)
            self._cursor = None
            self._note_axes()
        self._x_view = span
        self._schedule()

    def set_y_words(self, say: Callable[[float], str] | None) -> None:
        """Say values by `say`, on the axis too; None for plain numbers."""
        self.y_words = say or words.number
        self._left.set_words(say)
        self._schedule()

    @property
    def steps_in_sight(self) -> tuple[float, float] | None:
        """The part of the x axis that a person chose, or None for all there is."""
        return self._x_view

    def reset_view(self) -> None:
        """Show all steps and fit the values."""
        self._auto_y = True
        self.show_steps(None)

    def show_steps(self, span: tuple[float, float] | None) -> None:
        """Show the steps from low to high here and in all linked plots; None shows all."""
        for plot in self._linked:
            plot._x_view = span
            plot._auto_y = plot._auto_y or span is None
            plot._schedule()
        self.view_moved.emit(span)

    def show_cursor(self, x: float | None) -> None:
        """Put the crosshair at a step here and in all linked plots, and read the values there."""
        for plot in self._linked:
            plot._cursor = x
            plot._read_out()
        self.cursor_moved.emit(x)

    def link(self, plots: list["CurvePlot"]) -> None:
        """Share the steps in sight and the crosshair with other plots."""
        group = list(dict.fromkeys([self, *plots]))
        for plot in group:
            plot._linked, plot._last_of_all = group, self._last_of_all

    def show_position(self, on: bool) -> None:
        """Say what x is and where the crosshair stands, or leave it to a linked plot that has more room."""
        self._at.setVisible(on)
        self._note_axes()

    def export_csv(self, path: str) -> None:
        """Write every point of the shown curves; see `curves.write_csv`."""
        plot_export.write_csv_of(self, path)

    def export_png(self, path: str, scale: float = 2.0) -> None:
        """Write the plot as it is seen, `scale` pixels for a logical one."""
        plot_export.write_png(self, path, scale)

    def export_svg(self, path: str) -> None:
        """Write the plot as lines and text."""
        plot_export.write_svg(self, path)

    # How it is drawn

    def redraw(self) -> None:
        """Draw now what is known; usually the timer calls it."""
        self._timer.stop()
        self._since.restart()
        low, high = self._steps()
        most = min(MOST_POINTS, max(500, 5 * self.view.screenGeometry().width()))
        seen: list[np.ndarray] = []
        drawn: dict[str, Drawn] = {}
        for key, curve in self._curves.items():
            if curve.is_shown and len(curve.x):
                drawn[key] = curve.drawn(low, high, most, self.is_log)
                seen.append(drawn[key].y[(drawn[key].x >= low) & (drawn[key].x <= high)])
        if self._auto_y:
            bottom, top = self._values(seen)
        else:
            bottom, top = self.view.viewRange()[1]
        self.view.setRange(xRange=(low, high), yRange=(bottom, top), padding=0, disableAutoRange=False)
        ratio = self.devicePixelRatioF()
        pixels = ratio * self.view.screenGeometry().height() / max(top - bottom, 1e-300)
        sight = Sight(low, high, bottom, top, most, self.is_log, pixels, ratio, self.pen_scale)
        for key, lines in self._lines.items():
            if key in drawn:
                lines.draw(self._curves[key], drawn[key], self.smoothing, sight)
            else:
                lines.clear()
        self._read_out()
        if any(self._curves[key].is_behind for key in drawn):
            self._timer.start(TURN_MS)

    def _redraw_in_turn(self) -> None:
        if self._last_of_all.isValid() and self._last_of_all.elapsed() < TURN_MS:
            self._timer.start(TURN_MS)
            return
        self.redraw()
        self._last_of_all.restart()

    def _steps(self) -> tuple[float, float]:
        """Return the steps in sight: those chosen, else all of all linked plots."""
        if self._x_view is not None:
            return self._x_view
        ends = [(c.x[0], c.x[-1]) for plot in self._linked for c in plot._curves.values() if c.is_shown and len(c.x)]
        if not ends:
            return 0.0, 1.0
        low, high = min(e[0] for e in ends), max(e[1] for e in ends)
        if self._log_x and high > low:
            return low - 0.03 * (high - low), high + 0.03 * (high - low)
        return (low, high) if high > low else (low - 1, high + 1)

    def _values(self, seen: list[np.ndarray]) -> tuple[float, float]:
        """Return the range of the value axis that shows `seen`, in its coordinates."""
        finite = [y[np.isfinite(y)] for y in seen]
        finite = [y for y in finite if len(y)]
        if not finite:
            return (-1.0, 0.0) if self.is_log else (self._y_range or (0.0, 1.0))
        low, high = min(float(y.min()) for y in finite), max(float(y.max()) for y in finite)
        if self._y_range and not self.is_log:
            low, high = min(low, self._y_range[0]), max(high, self._y_range[1])
        margin = (high - low) * 0.06 or abs(high) * 0.1 or 1.0
        return low - margin, high + margin

    def _read_out(self) -> None:
        """Move the crosshair and write the values beside the names."""
        xs, ys, brushes = [], [], []
        theme = current()
        for key, curve in self._curves.items():
            at = (float(curve.x[-1]) if len(curve.x) else 0.0) if self._cursor is None else self._cursor
            point = curve.value_at(at)
            self._legend.set_value(key, self.y_words(point[1]) if point else "")
            if point and self._cursor is not None and curve.is_shown:
                y = float(on_axis(np.array([point[1]]), self.is_log)[0])
                if np.isfinite(y):
                    xs.append(point[0])
                    ys.append(y)
                    brushes.append(QColor(theme.series[curve.colour % len(theme.series)]))
        self._crosshair.setVisible(self._cursor is not None)
        at = 0.0 if self._cursor is None else self._cursor
        said = f"{self.x_label} {words.number(10.0**at, 3)}" if self._log_x else self.along.say(at)
        self._at.setText("" if self._cursor is None else said)
        if self._cursor is not None:
            self._crosshair.setValue(self._cursor)
        self._dots.setData(xs, ys, brush=brushes or None)

    def _note_axes(self) -> None:
        along = "" if self.along is ALONG["step"] or self._at.isHidden() else self.along.note()
        self._note.setText(" · ".join(filter(None, [tr("log") if self.is_log else self.y_label, along])))

    def _schedule(self) -> None:
        """Redraw soon: at once after a quiet time, never more than ten times a second, not while hidden."""
        if not self._timer.isActive() and self.isVisible():
            elapsed = self._since.elapsed() if self._since.isValid() else REDRAW_MS
            self._timer.start(max(0, int(REDRAW_MS - elapsed)))

    # What it is made of

    def _build(self) -> None:
        self._left, self._bottom, self.view = Axis("left"), Axis("bottom"), Box()
        self._bottom.set_log(self._log_x)
        self.canvas = pg.PlotWidget(
            viewBox=self.view, axisItems={"left": self._left, "bottom": self._bottom}, enableMenu=False
        )
        self.canvas.hideButtons()
        # pyqtgraph makes its menu without a parent even when it is switched off; it would outlive the plot.
        self.canvas.getPlotItem().ctrlMenu.setParent(self.canvas, Qt.WindowType.Popup)
        self.canvas.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.canvas.setMinimumSize(0, 0)
        self.canvas.getPlotItem().setContentsMargins(0, 4, 8, 0)
        for axis in (self._left, self._bottom):
            axis.setZValue(-1000)  # the grid lies below the curves
        self._crosshair = pg.InfiniteLine(angle=90, movable=False)
        self._crosshair.setVisible(False)
        self._dots = pg.ScatterPlotItem(size=7, pen=None, useCache=False)
        self._dots.setZValue(30)
        for item in (self._crosshair, self._dots):
            self.view.addItem(item, ignoreBounds=True)
        self.view.moved.connect(self._follow_hand)
        self.view.reset_asked.connect(self.reset_view)
        self.canvas.scene().sigMouseMoved.connect(self._follow_pointer)
        self.canvas.viewport().installEventFilter(self)
        self._legend, self._heading = Legend(), Strong(self.title)
        self._legend.toggled.connect(self._show_curve)
        self._note, self._at = Small(self.y_label), Small()
        for label in (self._note, self._at):
            label.setWordWrap(False)
        self.corner = PlotMenuButton(self)
        head = QHBoxLayout()
        head.setSpacing(GRID)
        for widget in (self._heading, self._note, self._legend, self._at, self.corner):
            widget.setMinimumHeight(24)
            head.addWidget(widget, int(widget is self._legend), Qt.AlignmentFlag.AlignTop)
        self._heading.setVisible(bool(self.title))
        layout = QVBoxLayout(self)
        layout.setContentsMargins(4, 4, 4, 4)
        layout.setSpacing(2)
        layout.addLayout(head)
        layout.addWidget(self.canvas, 1)

    def _show_theme(self, theme: Theme) -> None:
        self.canvas.setBackground(theme.surface)
        for axis in (self._left, self._bottom):
            axis.show_theme(theme)
        self._crosshair.setPen(pg.mkPen(theme.muted, width=1))
        for key, lines in self._lines.items():
            lines.colour(self._curves[key], self.smoothing, theme)
        self._schedule()

    def _show_curve(self, key: str, shown: bool) -> None:
        self._curves[key].is_shown = shown
        self._schedule()

    def _follow_hand(self, x: bool, y: bool) -> None:
        if y:
            self._auto_y = False
        if x:
            self.show_steps(tuple(self.view.viewRange()[0]))

    def _follow_pointer(self, at: QPointF) -> None:
        inside = self.view.sceneBoundingRect().contains(at)
        self.show_cursor(self.view.mapSceneToView(at).x() if inside else None)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        if event.type() == QEvent.Type.Leave and self._cursor is not None:
            self.show_cursor(None)
        return False

    def keyPressEvent(self, event: QKeyEvent) -> None:
        low, high = self._steps()
        if event.key() in (Qt.Key.Key_Left, Qt.Key.Key_Right):
            way = 1 if event.key() == Qt.Key.Key_Right else -1
            is_whole = self.along.is_whole and not self._log_x
            least = 1.0 if is_whole else 0.0
            at = (low + high) / 2 if self._cursor is None else self._cursor + way * max(least, (high - low) / 100)
            self.show_cursor(min(high, max(low, round(at) if is_whole else at)))
        elif event.key() in (Qt.Key.Key_Plus, Qt.Key.Key_Equal, Qt.Key.Key_Minus):
            middle = (low + high) / 2 if self._cursor is None else self._cursor
            factor = 1.25 if event.key() == Qt.Key.Key_Minus else 0.8
            self.show_steps((middle - (middle - low) * factor, middle + (high - middle) * factor))
        elif event.key() in (Qt.Key.Key_Home, Qt.Key.Key_0):
            self.reset_view()
        elif event.key() == Qt.Key.Key_Escape and self._cursor is not None:
            self.show_cursor(None)
        else:
            super().keyPressEvent(event)

    def showEvent(self, event: object) -> None:
        self._schedule()

    def resizeEvent(self, event: object) -> None:
        self._schedule()

    def focusInEvent(self, event: QFocusEvent) -> None:
        # A frame that came with the window or a click would be noise; one that came by Tab says where one is.
        self._focus_by_key = event.reason() in (Qt.FocusReason.TabFocusReason, Qt.FocusReason.BacktabFocusReason)
        self.update()

    def focusOutEvent(self, event: QFocusEvent) -> None:
        self.update()

    def paintEvent(self, event: object) -> None:
        if self.hasFocus() and self._focus_by_key:
            painter = QPainter(self)
            painter.setRenderHint(QPainter.RenderHint.Antialiasing)
            painter.setPen(QPen(current().colour("accent"), 1))
            painter.drawRoundedRect(self.rect().adjusted(0, 0, -1, -1), 6, 6)
