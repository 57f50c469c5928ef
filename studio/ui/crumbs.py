"""The thread of work, always in sight: data, model, method, run; each leads to its page."""

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QFrame, QHBoxLayout, QLabel, QPushButton

from studio.core.registry import family
from studio.core.rundir import readable_id
from studio.core.state import RunState
from studio.ui import words
from studio.ui.i18n import tr
from studio.ui.store import Store
from studio.ui.theme import follow_theme, pixmap

_LONGEST = 28  # letters of one crumb


class Crumbs(QFrame):
    """`reviews.csv ▸ starter ▸ LoRA ▸ train 7f3a · training 43 %`; `chosen` carries a page's name."""

    chosen = Signal(str)

    def __init__(self, store: Store):
        super().__init__()
        self.setObjectName("thread")
        self._store = store
        self._layout = QHBoxLayout(self)
        self._layout.setContentsMargins(0, 0, 0, 0)
        self._layout.setSpacing(0)
        self._buttons: dict[str, QPushButton] = {}
        for i, (part, page) in enumerate((("data", "data"), ("model", "model"), ("method", "model"), ("run", "train"))):
            if i:
                self._layout.addWidget(_Arrow())
            button = QPushButton()
            button.setObjectName(f"thread.{part}")
            button.clicked.connect(lambda _=False, page=page: self.chosen.emit(page))
            self._buttons[part] = button
            self._layout.addWidget(button)
        self._layout.addStretch(1)
        for signal in (store.draft_changed, store.current_run_changed, store.run_changed, store.busy_changed):
            signal.connect(lambda *_: self.refresh())
        self.refresh()

    def refresh(self) -> None:
        """Draw what the store says now."""
        draft, state = self._store.draft, self._store.runs.get(self._store.current_run)
        data = words.file_name(draft.source.path) if getattr(draft.source, "path", "") else tr("no data yet")
        kind = draft.method.get("kind", "")
        method = family("methods")[kind].label if kind in family("methods") else kind
        name = self._store.run_name(self._store.current_run) if state else tr("no run yet")
        for part, text, full in (
            ("data", data, getattr(draft.source, "path", "")),
            ("model", words.file_name(draft.model) or tr("no model"), draft.model),
            ("method", tr(method), ""),
            ("run", f"{name} · {say_state(state)}" if state else name, state.id if state else ""),
        ):
            short = text if len(text) <= _LONGEST + 16 * (part == "run") else text[: _LONGEST - 1] + "…"
            if self._buttons[part].text() != short:
                self._buttons[part].setText(short)
                self._buttons[part].setToolTip(full)
        here = bool(state and state.is_active)
        if self._buttons["run"].property("here") != here:
            self._buttons["run"].setProperty("here", here)
            self._buttons["run"].style().polish(self._buttons["run"])


class _Arrow(QLabel):
    def __init__(self) -> None:
        super().__init__()
        self.setAlignment(Qt.AlignmentFlag.AlignCenter)
        follow_theme(self, lambda theme: self.setPixmap(
            pixmap("chevron", 12, theme.colour("muted"), self.devicePixelRatioF())
        ))  # fmt: skip


def say_state(state: RunState) -> str:
    """Return what a run does, with its share: `training 43 %`, or how it ended."""
    if not state.is_active:
        return words.word(words.STATES, state.state)
    if state.state != "running":
        return words.word(words.STATES, state.state)
    text = words.word(words.PHASES, state.phase or "loading")
    share = share_done(state)
    return f"{text} {words.percent(share)}" if share is not None else text


def share_done(state: RunState) -> float | None:
    """Return how much of a run, or of what it does now, is done, or None while unknown."""
    done, total = state.progress
    if state.kind == "train" and state.phase in ("training", "evaluating", "saving") and state.total_steps:
        return state.step / state.total_steps
    return done / total if total else None


def title_of(state: RunState) -> str:
    """Return what a run is: `Training train 7f3a`."""
    return f"{words.word(words.KINDS, state.kind).capitalize()} {readable_id(state.id)}"
