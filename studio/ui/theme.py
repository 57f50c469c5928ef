"""The look: tokens, palette, one stylesheet, icons and attention colours, for light and dark."""

import json
from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path

import numpy as np
from PySide6.QtCore import QByteArray, QObject, QRectF, QSize, Qt, Signal
from PySide6.QtGui import QColor, QFont, QIcon, QPainter, QPalette, QPixmap
from PySide6.QtSvg import QSvgRenderer
from PySide6.QtWidgets import QAbstractButton, QApplication, QWidget

from studio.core.paths import resources_dir
from studio.ui.stylesheet import stylesheet

GRID, GROUP, MARGIN = 8, 16, 24  # logical pixels: inside a group, between groups, at a page's edge


@dataclass(frozen=True)
class Theme:
    """One look; colours are `#RRGGBB`, sizes logical pixels.

    series: colour-blind safe colours of curves. attention: stops from nothing to most. difference: stops from
    less through none to more.
    """

    name: str
    ground: str
    surface: str
    raised: str
    hairline: str
    text: str
    muted: str
    accent: str
    on_accent: str
    good: str
    warning: str
    bad: str
    series: tuple[str, ...]
    attention: tuple[str, ...]
    difference: tuple[str, ...]
    title: int
    body: int
    small: int
    grid: int
    group: int
    margin: int
    radius: int

    def colour(self, name: str) -> QColor:
        """Return a colour by token name (`muted`), or a `#RRGGBB` as it is."""
        return QColor(name if name.startswith("#") else getattr(self, name))

    def mix(self, name: str, share: float, over: str = "surface") -> str:
        """Return `share` of colour `name` laid over colour `over`, as `#RRGGBB`: tints of chips, bars, hovers."""
        top, under = self.colour(name), self.colour(over)
        parts = [round(t * share + u * (1 - share)) for t, u in zip(_rgb(top), _rgb(under), strict=True)]
        return "#{:02X}{:02X}{:02X}".format(*parts)


@cache
def load_theme(name: str) -> Theme:
    """Return the theme `light` or `dark` from `resources/theme/tokens.json`."""
    tokens = json.loads((theme_dir() / "tokens.json").read_text(encoding="utf-8"))
    values = {key: tuple(v) if isinstance(v, list) else v for key, v in (tokens["sizes"] | tokens[name]).items()}
    return Theme(name=name, **{f.name: values[f.name] for f in fields(Theme) if f.name != "name"})


def theme_dir() -> Path:
    """Return the folder with the tokens and the few pictures that the stylesheet names."""
    return resources_dir() / "theme"


def current() -> Theme:
    """Return the theme that is on screen."""
    app = QApplication.instance()
    return load_theme((app.property("theme") if app else None) or "light")


def system_theme(app: QApplication) -> str:
    """Return `dark` when the person's desktop is dark, else `light`."""
    return "dark" if app.styleHints().colorScheme() == Qt.ColorScheme.Dark else "light"


def apply(app: QApplication, theme: Theme) -> None:
    """Draw the whole application in `theme`, now and from now on."""
    app.setProperty("theme", theme.name)
    if app.style().objectName() != "fusion":
        app.setStyle("Fusion")
    font = app.font()
    font.setPixelSize(theme.body)
    app.setFont(font)
    app.setPalette(palette(theme))
    app.setStyleSheet(stylesheet(theme, theme_dir()))
    _hook(app).changed.emit()


def palette(theme: Theme) -> QPalette:
    """Return the theme as a palette for the Fusion style."""
    role, group = QPalette.ColorRole, QPalette.ColorGroup
    result = QPalette()
    for roles, colour in (
        ((role.Window,), theme.ground),
        ((role.Base, role.Button), theme.surface),
        ((role.AlternateBase,), theme.ground),
        ((role.ToolTipBase, role.Light), theme.raised),
        ((role.Mid, role.Midlight, role.Dark), theme.hairline),
        ((role.Text, role.WindowText, role.ButtonText, role.ToolTipText, role.BrightText), theme.text),
        ((role.PlaceholderText,), theme.muted),
        ((role.Highlight, role.Link, role.LinkVisited, role.Accent), theme.accent),
        ((role.HighlightedText,), theme.on_accent),
    ):
        for each in roles:
            result.setColor(each, QColor(colour))
    for each in (role.Text, role.WindowText, role.ButtonText):
        result.setColor(group.Disabled, each, QColor(theme.mix("muted", 0.65)))
    return result


def follow_theme(widget: QWidget, repaint: Callable[[Theme], None]) -> None:
    """Call `repaint(theme)` now and at each change of theme, for as long as `widget` lives."""
    follower = _Follower(widget, repaint)
    app = QApplication.instance()
    _hook(app).changed.connect(follower.repaint)
    follower.repaint()


def lookup_table(name: str, theme: Theme | None = None) -> np.ndarray:
    """Return the colours of `attention` or `difference` as uint32 [256], 0xFFRRGGBB (QImage.Format_RGB32).

    For `difference` index 128 is no difference.
    """
    return _lookup_table(name, (theme or current()).name)


@cache
def _lookup_table(name: str, theme: str) -> np.ndarray:
    stops = np.array([_rgb(QColor(stop)) for stop in getattr(load_theme(theme), name)], float)
    # 255.5 puts the middle stop of a difference on index 128 to within half a step.
    at = np.linspace(0, 255 if name != "difference" else 256, len(stops))
    red, green, blue = (np.interp(np.arange(256), at, stops[:, i]).round().astype(np.uint32) for i in range(3))
    table = 0xFF000000 | red << 16 | green << 8 | blue
    table.setflags(write=False)
    return table.astype(np.uint32)


def icon(name: str, colour: str = "text") -> QIcon:
    """Return the icon `resources/icons/<name>.svg` in a colour (token or `#RRGGBB`) of the theme on screen."""
    return _icon(name, current().colour(colour).name(), current().name)


def set_icon(button: QAbstractButton, name: str, colour: str = "text") -> None:
    """Give a button an icon that changes with the theme."""
    follow_theme(button, lambda theme: button.setIcon(icon(name, colour)))


@cache
def _icon(name: str, colour: str, theme: str) -> QIcon:
    result = QIcon()
    faded = QColor(load_theme(theme).mix(colour, 0.4))
    for size in (16, 20, 24):
        for ratio in (1, 2):
            result.addPixmap(pixmap(name, size, QColor(colour), ratio))
            result.addPixmap(pixmap(name, size, faded, ratio), QIcon.Mode.Disabled)
    return result


def pixmap(name: str, size: int, colour: QColor, ratio: float = 1) -> QPixmap:
    """Return an icon as a picture of `size` logical pixels, for a screen of device pixel ratio `ratio`."""
    svg = _svg(name).replace("currentColor", colour.name())
    picture = QPixmap(QSize(round(size * ratio), round(size * ratio)))
    picture.fill(Qt.GlobalColor.transparent)
    painter = QPainter(picture)
    QSvgRenderer(QByteArray(svg.encode())).render(painter, QRectF(picture.rect()))
    painter.end()
    picture.setDevicePixelRatio(ratio)
    return picture


@cache
def _svg(name: str) -> str:
    return (resources_dir() / "icons" / f"{name}.svg").read_text(encoding="utf-8")


def number_font(size: int = 0, bold: bool = False) -> QFont:
    """Return the application's font with figures of equal width; `size` in logical pixels, 0 for the body's."""
    font = QApplication.font()
    font.setPixelSize(size or current().body)
    font.setBold(bold)
    font.setFeature(QFont.Tag("tnum"), 1)
    return font


class _Hook(QObject):
    """Lives as a child of the application and tells of changes of the theme."""

    changed = Signal()


class _Follower(QObject):
    """A child of a widget, so that its connection ends with the widget."""

    def __init__(self, widget: QWidget, repaint: Callable[[Theme], None]):
        super().__init__(widget)
        self._repaint = repaint

    def repaint(self) -> None:
        self._repaint(current())


def _hook(app: QApplication) -> _Hook:
    hook = app.findChild(_Hook, "theme")
    if hook is None:
        hook = _Hook(app)
        hook.setObjectName("theme")
    return hook


def _rgb(colour: QColor) -> tuple[int, int, int]:
    return colour.red(), colour.green(), colour.blue()
