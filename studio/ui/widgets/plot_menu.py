"""The corner of a plot: what it shows along which axis, smoothing, and the ways out (picture, vector, numbers)."""

from collections.abc import Callable, Sequence
from typing import Any

from PySide6.QtCore import Qt
from PySide6.QtGui import QActionGroup, QGuiApplication
from PySide6.QtWidgets import (
    QFileDialog,
    QHBoxLayout,
    QLabel,
    QMenu,
    QSlider,
    QToolButton,
    QToolTip,
    QWidget,
    QWidgetAction,
)

from studio.ui.i18n import tr
from studio.ui.theme import number_font, set_icon
from studio.ui.threads import background
from studio.ui.widgets.along import ALONG


class PlotMenuButton(QToolButton):
    """The button in a plot's corner, with its menu."""

    def __init__(self, plot: Any) -> None:
        super().__init__()
        self._plot = plot
        set_icon(self, "more", "muted")
        self.setToolTip(tr("Axis, smoothing, export"))
        self.setAccessibleName(tr("Axis, smoothing, export"))
        self.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
        menu = QMenu(self)
        self._subjects, self._alongs = menu.addMenu(tr("Show")), menu.addMenu(tr("Horizontal axis"))
        self._log = menu.addAction(tr("Logarithmic axis"))
        self._log.setCheckable(True)
        self._log.toggled.connect(plot.set_log)
        menu.addAction(self._smoothing(menu))
        menu.addAction(tr("Show all"), plot.reset_view)
        menu.addSeparator()
        menu.addAction(tr("Copy as picture"), self._copy)
        menu.addAction(tr("Save as PNG…"), lambda: self._save("png", plot.export_png))
        menu.addAction(tr("Save as SVG…"), lambda: self._save("svg", plot.export_svg))
        menu.addAction(tr("Save as CSV…"), lambda: self._save("csv", plot.export_csv))
        menu.aboutToShow.connect(self._show_state)
        self.setMenu(menu)

    def _smoothing(self, menu: QMenu) -> QWidgetAction:
        holder = QWidget()
        row = QHBoxLayout(holder)
        row.setContentsMargins(12, 4, 12, 4)
        row.addWidget(QLabel(tr("Smoothing")))
        self._slider = QSlider(Qt.Orientation.Horizontal)
        self._slider.setRange(0, 99)
        self._slider.setMinimumWidth(120)
        self._slider.setAccessibleName(tr("Smoothing"))
        row.addWidget(self._slider)
        self._number = QLabel()
        self._number.setFont(number_font())
        self._number.setMinimumWidth(32)
        row.addWidget(self._number)
        self._slider.valueChanged.connect(self._smooth)
        action = QWidgetAction(menu)
        action.setDefaultWidget(holder)
        return action

    def _smooth(self, hundredths: int) -> None:
        self._number.setText(f"{hundredths / 100:.2f}")
        self._plot.set_smoothing(hundredths / 100)

    def _show_state(self) -> None:
        plot = self._plot
        kinds = [(name, tr(ALONG[name].title)) for name in plot.offered_along]
        _fill(self._alongs, kinds, plot.along.name, plot.along_chosen.emit)
        _fill(self._subjects, plot.offered_subjects, plot.subject, plot.subject_chosen.emit)
        self._log.setChecked(self._plot.is_log)
        self._slider.setValue(round(self._plot.smoothing * 100))
        self._number.setText(f"{self._plot.smoothing:.2f}")

    def _copy(self) -> None:
        from studio.ui.widgets.plot_export import picture

        QGuiApplication.clipboard().setPixmap(picture(self._plot, self._plot.devicePixelRatioF()))

    def _save(self, ending: str, write: Any) -> None:
        name = (self._plot.title or tr("curves")).lower().replace(" ", "-")
        path, _ = QFileDialog.getSaveFileName(self, tr("Save the plot"), f"{name}.{ending}", f"*.{ending}")
        if not path:
            return
        if ending == "csv":  # a million points take seconds
            background(lambda: write(path), lambda _: None, self._say, self)
            return
        try:
            write(path)
        except OSError as error:
            self._say(error)

    def _say(self, error: Exception) -> None:
        """Say at the button why a file could not be written."""
        text = tr("The file can't be written: {message}", message=getattr(error, "strerror", None) or str(error))
        self.setAccessibleDescription(text)
        QToolTip.showText(self.mapToGlobal(self.rect().bottomLeft()), text, self, self.rect(), 10_000)


def _fill(menu: QMenu, choices: Sequence[tuple[str, str]], chosen: str, choose: Callable[[str], None]) -> None:
    """Make a menu of choices (key, title), of which one is ticked; without choices it is not there."""
    menu.clear()
    menu.menuAction().setVisible(bool(choices))
    group = QActionGroup(menu)
    for key, title in choices:
        action = group.addAction(menu.addAction(title, lambda key=key: choose(key)))
        action.setCheckable(True)
        action.setChecked(key == chosen)
