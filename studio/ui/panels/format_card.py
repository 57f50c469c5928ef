"""A format to export to: what it is, and what it costs and gains once that was measured."""

from typing import Any

from PySide6.QtCore import QSize, Qt, Signal
from PySide6.QtGui import QColor, QKeyEvent, QMouseEvent, QPainter, QPen
from PySide6.QtWidgets import QGridLayout, QHBoxLayout, QLabel, QSizePolicy, QWidget

from studio.ui import words
from studio.ui.i18n import tr
from studio.ui.panels.exports import Export
from studio.ui.theme import GRID, current, number_font
from studio.ui.widgets.cards import Card
from studio.ui.widgets.chips import Chip
from studio.ui.widgets.labels import Small, set_tone

ABOUT = 1.15  # two measurements of one model on a busy computer differ by as much


def size_gain(result: dict[str, Any]) -> str:
    """Return how the size compares with the trained model's, "" where that is not known."""
    reference = result.get("reference_size_bytes")
    if not reference:
        return ""
    times = result["size_bytes"] / reference
    return tr("same size") if 0.98 < times < 1.02 else tr("{n} × the size", n=words.number(times, 2))


def metric_change(result: dict[str, Any]) -> str:
    """Return the change of the metric in points."""
    metric, reference = result.get("metric"), result.get("reference_metric")
    if metric is None or reference is None:
        return ""
    points = 100 * (metric - reference)
    if abs(points) < 0.005:
        return tr("unchanged")
    return tr("{n} points", n=f"{points:+.2f}".replace("-", "−"))


def speed_gain(result: dict[str, Any]) -> str:
    """Return how the speed compares with the trained model's in PyTorch, in the few words that fit."""
    latency, reference = result.get("latency_ms"), result.get("reference_latency_ms")
    if not latency or not reference:
        return ""
    times = reference / latency
    if 1 / ABOUT <= times <= ABOUT:
        return tr("as fast")
    if times > 1:
        return tr("{n} × as fast", n=words.number(times, 2))
    return tr("{n} × as slow", n=words.number(1 / times, 2))


def milliseconds(value: float) -> str:
    """Return a latency as people read it."""
    return f"{words.number(value, 3)}{words.THIN}ms"


class FormatCard(Card):
    """One format; `chosen` when it is clicked or Space is pressed on it."""

    chosen = Signal(str)

    def __init__(self, plugin: Any, parent: QWidget | None = None) -> None:
        super().__init__(tr(plugin.label), parent)
        self.format = plugin.id
        self.setObjectName(f"export.format.{plugin.id}")
        self._selected = False
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setCursor(Qt.CursorShape.PointingHandCursor)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Preferred)
        self.chip = Chip()
        self.add_to_header(self.chip)
        summary = Small(tr(plugin.summary))
        summary.setAlignment(Qt.AlignmentFlag.AlignTop)
        self.add(summary, 1)
        grid = QGridLayout()
        grid.setHorizontalSpacing(GRID)
        grid.setVerticalSpacing(2)
        grid.setColumnStretch(2, 1)
        self._values: dict[str, tuple[QLabel, Small]] = {}
        self._names: dict[str, Small] = {}
        names = {"size": tr("Size"), "metric": tr("Metric"), "speed": tr("Time, 32 texts")}
        for line, (key, name) in enumerate(names.items()):
            value, gain = QLabel(), Small()
            value.setFont(number_font())
            gain.setWordWrap(False)
            label = Small(name)
            label.setWordWrap(False)
            grid.addWidget(label, line, 0)
            grid.addWidget(value, line, 1)
            grid.addWidget(gain, line, 2, Qt.AlignmentFlag.AlignRight)
            self._values[key] = (value, gain)
            self._names[key] = label
        self.body.addLayout(grid)
        self.show_export(None, None)

    def show_export(self, latest: Export | None, measured: Export | None) -> None:
        """Show how the newest export of this format stands, and the numbers of the newest that was measured."""
        self.chip.set(*chip_of(latest))
        self.setAccessibleDescription(self.chip.text())
        result = measured.result if measured else {}
        metric = result.get("metric_name", "")
        self._names["metric"].setText(words.word(words.METRICS, metric) if metric else tr("Metric"))
        for key, name, say, gain in (
            ("size", "size_bytes", words.size, size_gain),
            ("metric", "metric", words.metric, metric_change),
            ("speed", "latency_ms", milliseconds, speed_gain),
        ):
            known = result.get(name) is not None
            self._show_value(key, say(result[name]) if known else "", gain(result) if known else "")

    def value(self, key: str) -> str:
        """Return what the card says of `size`, `metric` or `speed`."""
        value, gain = self._values[key]
        return f"{value.text()} {gain.text()}".strip()

    def _show_value(self, key: str, text: str, gain: str) -> None:
        value, label = self._values[key]
        value.setText(text or tr("not yet"))
        set_tone(value, "" if text else "muted")
        label.setText(gain)

    def set_selected(self, selected: bool) -> None:
        """Mark the card as the chosen one."""
        self._selected = selected
        self.update()

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        if event.button() == Qt.MouseButton.LeftButton and self.rect().contains(event.position().toPoint()):
            self.chosen.emit(self.format)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.key() in (Qt.Key.Key_Space, Qt.Key.Key_Return, Qt.Key.Key_Enter):
            self.chosen.emit(self.format)
        else:
            super().keyPressEvent(event)

    def minimumSizeHint(self) -> QSize:
        return QSize(220, super().minimumSizeHint().height())

    def enterEvent(self, event: object) -> None:
        self.update()

    def leaveEvent(self, event: object) -> None:
        self.update()

    def paintEvent(self, event: object) -> None:
        super().paintEvent(event)
        theme, painter = current(), QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        ground = theme.mix("accent", 0.10) if self._selected else theme.mix("text", 0.04) if self.underMouse() else None
        marked = self._selected or self.hasFocus()
        painter.setPen(QPen(theme.colour("accent"), 1.5) if marked else Qt.PenStyle.NoPen)
        painter.setBrush(QColor(ground) if ground else Qt.BrushStyle.NoBrush)
        painter.drawRoundedRect(self.rect().toRectF().adjusted(0.75, 0.75, -0.75, -0.75), theme.radius, theme.radius)


def chip_of(export: Export | None) -> tuple[str, str, str]:
    """Return word, tone and icon for how an export stands; only a verified one is good."""
    if export is None:
        return tr("not exported"), "muted", ""
    if export.state.is_active:
        return tr("running"), "accent", "play"
    if export.is_verified:
        return tr("verified"), "good", "check"
    problem = export.state.problem
    if export.is_measured or (problem is not None and problem.reason == "export-unverified"):
        return tr("not verified"), "bad", "error"
    return tr("failed"), "bad", "error"


class FormatCards(QWidget):
    """The formats side by side, one of them chosen."""

    chosen = Signal(str)

    def __init__(self, plugins: list[Any], parent: QWidget | None = None) -> None:
        super().__init__(parent)
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(GRID * 2)
        self.cards = {plugin.id: FormatCard(plugin) for plugin in plugins}
        for card in self.cards.values():
            card.chosen.connect(self.choose)
            layout.addWidget(card, 1)
        self._format = ""

    def choose(self, format_id: str) -> None:
        """Choose a format."""
        self._format = format_id
        for card in self.cards.values():
            card.set_selected(card.format == format_id)
        self.chosen.emit(format_id)

    def format(self) -> str:
        """Return the id of the chosen format."""
        return self._format
