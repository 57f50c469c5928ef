"""The quiet line at the bottom: what runs, how far it is, what it uses, and the bell."""

from PySide6.QtCore import QSize, Signal
from PySide6.QtWidgets import QFrame, QHBoxLayout, QLabel, QProgressBar, QToolButton

from studio.core.state import RunState
from studio.ui import words
from studio.ui.crumbs import say_state, share_done, title_of
from studio.ui.i18n import tr
from studio.ui.store import Store
from studio.ui.theme import GROUP, current, number_font, set_icon


class StatusLine(QFrame):
    """Shows the run that works now; `bell_rung` when the person wants the past notices."""

    bell_rung = Signal()

    def __init__(self, store: Store):
        super().__init__()
        self.setObjectName("statusLine")
        self.setFixedHeight(28)
        self._store = store
        layout = QHBoxLayout(self)
        layout.setContentsMargins(GROUP, 0, 8, 0)
        layout.setSpacing(GROUP)
        self.what, self.eta, self.memory = QLabel(), QLabel(), QLabel()
        self.bar = QProgressBar()
        self.bar.setRange(0, 1000)
        self.bar.setTextVisible(False)
        self.bar.setFixedWidth(160)
        self.bar.setAccessibleName(tr("Progress"))
        for label in (self.what, self.eta, self.memory):
            label.setFont(number_font(current().small))
        self.bell = QToolButton()
        self.bell.setObjectName("bell")
        self.bell.setIconSize(QSize(16, 16))
        self.bell.setToolTip(tr("Past notices"))
        self.bell.setAccessibleName(tr("Past notices"))
        self.bell.clicked.connect(self.bell_rung)
        set_icon(self.bell, "bell", "muted")
        for widget in (self.what, self.bar, self.eta):
            layout.addWidget(widget)
        layout.addStretch(1)
        layout.addWidget(self.memory)
        layout.addWidget(self.bell)
        store.run_changed.connect(lambda _: self.refresh())
        store.runs_changed.connect(self.refresh)
        store.busy_changed.connect(self.refresh)
        self.refresh()

    def refresh(self) -> None:
        """Draw what the store says now."""
        state = self._working()
        self.bar.setVisible(state is not None)
        self.eta.setVisible(state is not None)
        if state is None:
            reading = {"data": tr("Reading the data…"), "model": tr("Reading the model…")}
            self.what.setText(next((text for part, text in reading.items() if part in self._store.busy), tr("Ready")))
            self.memory.clear()
            return
        text = f"{title_of(state)} · {say_state(state)}"
        if state.total_steps and state.kind == "train":
            text += tr(" · step {step} of {total}", step=words.count(state.step), total=words.count(state.total_steps))
        self.what.setText(text)
        share = share_done(state)
        self.bar.setValue(round(1000 * (share or 0)))
        left = state.eta_seconds
        self.eta.setText(tr("{time} left", time=words.duration(left)) if left else "")
        used = state.resources
        if used is not None:
            text = tr("worker {size} · {cpu} % processor", size=words.size(used.rss_bytes), cpu=round(used.cpu_percent))
            self.memory.setText(text)

    def _working(self) -> RunState | None:
        """Return the run to show: a training before others; an inspection that waits for questions is at rest."""
        active = [s for s in self._store.runs.values() if s.is_active and (s.kind, s.phase) != ("inspect", "ready")]
        return next((s for s in active if s.kind == "train"), active[0] if active else None)
