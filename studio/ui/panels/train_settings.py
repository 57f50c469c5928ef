"""The settings of the next run, beside the facts of the run that is shown."""

import math

from PySide6.QtCore import QEvent, QObject, Qt, Signal
from PySide6.QtWidgets import QHBoxLayout, QLabel, QPushButton, QScrollArea, QTabWidget, QVBoxLayout, QWidget

from studio.core.estimate import batch_size
from studio.core.registry import PluginConfig, parse_config, plugin
from studio.core.spec import TrainingSpec, training_defaults
from studio.tasks.base import task_of
from studio.ui import editors, words
from studio.ui.draft import field_messages
from studio.ui.forms import Form
from studio.ui.i18n import tr
from studio.ui.notices import message_of
from studio.ui.panels.run_about import RunAbout, method_name, model_name
from studio.ui.panels.train_estimate import EstimateStrip
from studio.ui.store import Store
from studio.ui.theme import GRID
from studio.ui.widgets.cards import Card, Finding
from studio.ui.widgets.labels import Small

WIDTH = 336  # of the facts of a run; the form takes what it needs
_SCROLL_BAR = 12


class SettingsColumn(Card):
    """Two tabs: the form of the next run with what it will train, and what the shown run is."""

    reuse_asked = Signal()
    rate_asked = Signal()

    def __init__(self, store: Store, start: QWidget, parent: QWidget | None = None) -> None:
        super().__init__(parent=parent)
        self._store = store
        self.layout().setContentsMargins(GRID + 4, GRID, GRID + 4, GRID + 4)
        self.form = Form(TrainingSpec)
        self.form.setObjectName("train.form")
        self.form.changed.connect(self._take)
        self.find_rate = find_rate_button()
        self.find_rate.clicked.connect(self.rate_asked)
        self.form.add_beside("learning_rate", self.find_rate)
        self.about = RunAbout()
        self.about.reuse_asked.connect(self.reuse_asked)
        self.tabs = QTabWidget()
        self.tabs.addTab(_scrolled(self._settings()), tr("Settings"))
        self.tabs.addTab(_scrolled(self.about), tr("This run"))
        self.tabs.setTabVisible(1, False)
        self.add(self.tabs, 1)
        self.obstacle = Finding()
        self.obstacle.acted.connect(self._go_to_obstacle)
        self.add(self.obstacle)
        self.estimate = EstimateStrip(store)
        self.estimate.applied.connect(self.show_form)
        self.estimate.forecast.changed.connect(self._show_automatic)
        self.add(self.estimate)
        self.add(start)
        self.tabs.currentChanged.connect(lambda _: self._fit())
        self.form.installEventFilter(self)
        store.draft_changed.connect(self._show_draft)
        store.busy_changed.connect(lambda: self._show_draft("busy"))
        store.runs_changed.connect(lambda: self._show_draft("runs"))
        self._show_draft("training")
        self._fit()

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        if event.type() == QEvent.Type.LayoutRequest:
            self._fit()  # *More* was opened or closed
        return False

    def _fit(self) -> None:
        """Give the form the width that it needs, and the curves the rest."""
        margins = self.layout().contentsMargins()
        needed = self.form.minimumSizeHint().width() + _SCROLL_BAR + margins.left() + margins.right()
        self.setFixedWidth(max(WIDTH, needed) if self.tabs.currentIndex() == 0 else WIDTH)

    def show_form(self, field: str = "") -> None:
        """Bring the form to the front, with the focus in a field."""
        self.tabs.setCurrentIndex(0)
        if field:
            self.form.focus(field)

    def show_estimate(self, on: bool) -> None:
        """Say what the next run will take, beside the button that starts it."""
        self.estimate.show_forecast(on)

    def show_about(self, has_run: bool) -> None:
        """Offer the facts of a run as a tab, or not."""
        self.tabs.setTabVisible(1, has_run)

    def _settings(self) -> QWidget:
        content = QWidget()
        content.setObjectName("scrolled")
        self._links = {page: _link(store_page=page, column=self) for page in ("data", "model", "method")}
        chosen = QHBoxLayout()
        chosen.setSpacing(2)
        for at, link in enumerate(self._links.values()):
            if at:
                arrow = QLabel("▸")
                arrow.setProperty("tone", "muted")
                chosen.addWidget(arrow)
            chosen.addWidget(link)
        chosen.addStretch(1)
        self._steps = Small()
        layout = QVBoxLayout(content)
        layout.setContentsMargins(0, GRID, 0, GRID)
        layout.setSpacing(GRID)
        layout.addLayout(chosen)
        layout.addWidget(self.form)
        layout.addWidget(self._steps)
        layout.addStretch(1)
        return content

    def _take(self, field: str) -> None:
        # The form says which values differ; a field that is back at its default leaves the draft as well.
        values, draft = self.form.values(), self._store.draft
        for name in [n for n in draft.training if n not in values]:
            values[name] = training_defaults(draft.task)[name]
        self._store.set_training(**values)

    def _show_draft(self, part: str) -> None:
        store, draft = self._store, self._store.draft
        self.form.set_defaults(training_defaults(draft.task))
        if part == "training":
            self.form.set_values(draft.training)
        data = words.file_name(draft.source.path) if draft.source else tr("Choose data")
        texts = {"data": data, "model": model_name(draft.model) if draft.model else tr("Choose a model")}
        texts["method"] = method_name(draft.method.get("kind", ""))
        for page, link in self._links.items():
            link.setToolTip(texts[page])
            width = 128 if page == "data" else 84
            link.setText(link.fontMetrics().elidedText(texts[page], Qt.TextElideMode.ElideMiddle, width))
        self._show_automatic()
        self._steps.setText(self._steps_text())
        problems = [] if store.busy else store.problems()
        self.find_rate.setEnabled(not problems and not store.busy and not store.training_run())
        wrong = field_messages(problems, "training")
        self.form.set_errors({name: message_of(problem) for name, problem in wrong.items()})
        others = [p for p in problems if not p.field.startswith("training.")]
        self.obstacle.setVisible(bool(others))
        if others:
            self._page = page_of(others[0].field)
            self.obstacle.show_finding("warning", message_of(others[0]), tr(words.PAGES[self._page]))

    def _go_to_obstacle(self) -> None:
        self._store.show_page(self._page)

    def _show_automatic(self) -> None:
        try:
            config: PluginConfig = parse_config("methods", self._store.draft.method)
        except ValueError:
            return  # the Model page says what is wrong with it
        rate = task_of(self._store.draft.task).learning_rate(plugin("methods", config).learning_rate(config))
        self.form.show_automatic("learning_rate", editors.say(rate))
        settled = self.estimate.forecast.training
        size = settled.per_device_train_batch_size if settled is not None else batch_size(TrainingSpec())
        self.form.show_automatic("per_device_train_batch_size", editors.say(size))

    def _steps_text(self) -> str:
        """Say how many steps the next run takes, where the rows are known."""
        draft = self._store.draft
        if draft.table is None or self.form.errors():
            return ""
        shares = sum(p for p in (draft.validation, draft.test) if isinstance(p, int | float))
        t = TrainingSpec.model_validate(self.form.all_values())
        n_rows = round(draft.table.table.num_rows * (1 - shares))
        batch = batch_size(t, n_rows) * t.gradient_accumulation_steps
        per_epoch = max(1, math.ceil(n_rows / batch))
        return tr("Steps: {steps} an epoch, {all} in all, on about {rows} rows.", rows=words.count(n_rows),
                  steps=words.count(per_epoch),
                  all=words.count(math.ceil(per_epoch * t.num_train_epochs)))  # fmt: skip


def page_of(field: str) -> str:
    """Return the page that holds a field of the spec."""
    return {"model": "model", "method": "model", "training": "train"}.get(field.split(".")[0], "data")


def _link(store_page: str, column: SettingsColumn) -> QPushButton:
    button = QPushButton()
    button.setProperty("link", True)
    button.setObjectName(f"train.{store_page}")
    button.setAccessibleDescription(tr("Opens the page where it is chosen"))
    button.setCursor(Qt.CursorShape.PointingHandCursor)
    page = "model" if store_page == "method" else store_page
    button.clicked.connect(lambda: column._store.show_page(page))
    return button


def find_rate_button() -> QPushButton:
    """Return the link beside the learning rate that looks for one."""
    button = QPushButton(tr("Find…"))
    button.setProperty("link", True)
    button.setObjectName("train.find_rate")
    button.setAccessibleName(tr("Find a learning rate"))
    button.setToolTip(tr("Find a learning rate: a short sweep over growing rates shows where the loss falls fastest"))
    button.setCursor(Qt.CursorShape.PointingHandCursor)
    return button


def _scrolled(content: QWidget) -> QScrollArea:
    area = QScrollArea()
    area.setWidgetResizable(True)
    area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
    content.setObjectName("scrolled")
    area.setWidget(content)
    return area
