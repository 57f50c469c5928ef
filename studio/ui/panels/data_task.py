"""What the model shall learn from the rows: the task, and its settings beside it."""

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QComboBox, QHBoxLayout, QWidget

from studio.core.registry import PluginConfig, family
from studio.tasks.base import task_of
from studio.ui.draft import field_errors
from studio.ui.forms import Form
from studio.ui.i18n import tr
from studio.ui.theme import MARGIN
from studio.ui.widgets.buttons import flat_button
from studio.ui.widgets.flow import FlowLayout
from studio.ui.widgets.labels import Strong


class TaskBar(QWidget):
    """The tasks to choose from, and the settings of the chosen one; `chosen` carries its config."""

    chosen = Signal(object)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._config: PluginConfig | None = None
        self.forms: list[Form] = []
        self.tasks = QComboBox()
        self.tasks.setObjectName("data.task")
        self.tasks.setAccessibleName(tr("What the model learns"))
        for task in family("tasks").values():
            self.tasks.addItem(tr(task.label), task.id)
        self.tasks.activated.connect(self._choose_task)
        choice = QWidget()
        line = QHBoxLayout(choice)
        line.setContentsMargins(0, 0, 0, 0)
        line.addWidget(Strong(tr("Task")))
        line.addWidget(self.tasks)
        self.sees = flat_button(tr("What the model sees"), "data.sees", "inspect")
        self.sees.setCheckable(True)
        self.sees.setProperty("toggle", True)
        self.sees.setToolTip(tr("Show the rows token by token, as the chosen model gets them"))
        place = QWidget()
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(place, 1)
        row.addWidget(self.sees, 0, Qt.AlignmentFlag.AlignTop)
        self._flow = FlowLayout(place, spacing=MARGIN)
        self._flow.addWidget(choice)

    def show_task(self, config: PluginConfig) -> None:
        """Show a task and its settings."""
        task = task_of(config)
        if self._config is None or config.kind != self._config.kind:
            self._build(type(config))
        self._config = config
        self.tasks.setCurrentIndex(self.tasks.findData(task.id))
        self.tasks.setToolTip(tr(task.summary))
        for form in self.forms:
            form.set_values(config.model_dump(exclude={"kind"}))

    def _build(self, config: type[PluginConfig]) -> None:
        for form in self.forms:
            self._flow.removeWidget(form)
            form.hide()
            form.deleteLater()
        extra = {name: field.json_schema_extra or {} for name, field in config.model_fields.items() if field.title}
        plain = [[name] for name in extra if not extra[name].get("advanced")]
        advanced = [name for name in extra if extra[name].get("advanced")]
        self.forms = [Form(config, names) for names in [*plain, *([advanced] if advanced else [])]]
        for form in self.forms:
            form.changed.connect(lambda _: self._choose())
            self._flow.addWidget(form)
            form.show()

    def _choose_task(self, _: int) -> None:
        self.chosen.emit(family("tasks")[self.tasks.currentData()].Config())

    def _choose(self) -> None:
        from pydantic import ValidationError

        values = self._config.model_dump() | {n: value for form in self.forms for n, value in form.values().items()}
        try:
            config = type(self._config).model_validate(values)
        except ValidationError as error:
            for form in self.forms:
                form.set_errors({k: v for k, v in field_errors(error).items() if k in form.all_values()})
            return
        self.chosen.emit(config)
