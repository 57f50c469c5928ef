"""What the worker does now, as a line of stages from starting to measuring."""

from dataclasses import dataclass

from PySide6.QtCore import QPointF, QRectF, QSize, Qt
from PySide6.QtGui import QFontMetrics, QPainter, QPen
from PySide6.QtWidgets import QSizePolicy, QWidget

from studio.core.state import RunState
from studio.ui import words
from studio.ui.i18n import tr
from studio.ui.theme import current, number_font, pixmap

ORDER = ("loading", "data", "model", "training", "saving", "evaluating")
NAMES = {
    "loading": "start", "data": "data", "model": "model", "training": "training", "saving": "saving",
    "evaluating": "measuring",
}  # fmt: skip
DOT, GAP = 12, 6


@dataclass(frozen=True)
class Stage:
    """One stage of a run; status: done, now or ahead. `text` says what happens in it now."""

    name: str
    status: str
    text: str


def stage_of(state: RunState) -> str:
    """Return the stage that a run is in; an evaluation between two steps belongs to the training."""
    if state.phase == "evaluating":
        # The model is saved before it is measured for good; a resume has the former attempt's model already.
        is_last = "model" in state.artefacts and (state.attempt == 1 or state.step >= state.total_steps)
        return "evaluating" if is_last else "training"
    if state.phase in ("frozen", "compiling"):
        return "model"
    return state.phase if state.phase in ORDER else "loading"


def stages(state: RunState) -> list[Stage]:
    """Return the stages of a run that is active."""
    now = ORDER.index(stage_of(state))
    found = []
    for at, name in enumerate(ORDER):
        text = tr(NAMES[name])
        if at == now:
            text = words.word(words.PHASES, state.phase or "loading")
            share = share_of(state)
            if share is not None and not (name == "training" and state.phase == "evaluating"):
                text = f"{text} {words.percent(share)}"
        found.append(Stage(name, "done" if at < now else "now" if at == now else "ahead", text))
    return found


def share_of(state: RunState) -> float | None:
    """Return how much of the present stage is done, 0 to 1, or None while nobody knows."""
    if stage_of(state) == "training":
        return state.step / state.total_steps if state.total_steps else None
    done, total = state.progress
    return done / total if total else None


class RunSteps(QWidget):
    """The stages side by side: what is done is ticked, what goes on is strong, what comes is faint."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._stages: list[Stage] = []
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)

    def show_state(self, state: RunState) -> None:
        """Show where a run is."""
        found = stages(state)
        if found != self._stages:
            self._stages = found
            self.setAccessibleName(next((s.text for s in found if s.status == "now"), ""))
            self.update()

    def sizeHint(self) -> QSize:
        return QSize(420, 20)

    def minimumSizeHint(self) -> QSize:
        return QSize(200, 20)

    def paintEvent(self, event: object) -> None:
        theme, painter = current(), QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        fonts = {status: number_font(theme.small, status == "now") for status in ("done", "now", "ahead")}
        widths = [QFontMetrics(fonts[s.status]).horizontalAdvance(s.text) + DOT + GAP for s in self._stages]
        free = self.width() - sum(widths) - 2
        line = min(40.0, free / max(1, len(widths) - 1) - 2 * GAP)
        x, middle = 1.0, self.height() / 2
        for stage, width in zip(self._stages, widths, strict=True):
            self._paint_dot(painter, QRectF(x, middle - DOT / 2, DOT, DOT), stage.status)
            painter.setFont(fonts[stage.status])
            painter.setPen(theme.colour("text" if stage.status == "now" else "muted"))
            place = QRectF(x + DOT + GAP, 0, width, self.height())
            painter.drawText(place, Qt.AlignmentFlag.AlignVCenter, stage.text)
            x += width + GAP
            if stage is not self._stages[-1] and line > 3:
                painter.setPen(QPen(theme.colour("hairline"), 1))
                painter.drawLine(QPointF(x, middle), QPointF(x + line, middle))
                x += line + GAP

    def _paint_dot(self, painter: QPainter, rect: QRectF, status: str) -> None:
        theme = current()
        if status == "done":
            painter.drawPixmap(rect.topLeft(), pixmap("check", DOT, theme.colour("good"), self.devicePixelRatioF()))
            return
        painter.setBrush(theme.colour("accent") if status == "now" else Qt.BrushStyle.NoBrush)
        painter.setPen(QPen(theme.colour("accent" if status == "now" else "muted"), 1.2))
        painter.drawEllipse(rect.center(), 3.5, 3.5)
