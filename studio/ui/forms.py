"""Forms that draw themselves from a pydantic class: the fields made by `core.spec.setting`."""

from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel, ValidationError
from PySide6.QtCore import QEvent, QSize, Qt, Signal
from PySide6.QtWidgets import (
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QToolButton,
    QToolTip,
    QVBoxLayout,
    QWidget,
)

from studio.ui.draft import field_errors
from studio.ui.editors import WordOrNumber, editor_for, say
from studio.ui.i18n import tr
from studio.ui.theme import GRID, follow_theme, icon, set_icon
from studio.ui.widgets.cards import ErrorLine

EDITOR_WIDTH, UNIT_WIDTH = 132, 64  # the same everywhere, so that the columns of all forms stand in line


class Form(QWidget):
    """The settings of a pydantic class: label, editor, unit, help, error and a way back to the default.

    fields: names to show, in this order; by default all that have a title. Advanced ones stand under *More*, by
    group. `changed` carries a field's name, after a change by the person's hand.
    """

    changed = Signal(str)

    def __init__(self, model: type[BaseModel], fields: Sequence[str] | None = None, parent: QWidget | None = None):
        super().__init__(parent)
        self.model = model
        self._rows: dict[str, _Row] = {}
        self._outer_errors: dict[str, str] = {}
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(GRID)
        names = list(fields) if fields is not None else [n for n, f in model.model_fields.items() if f.title]
        advanced: dict[str, list[str]] = {}
        plain = []
        for name in names:
            extra = _extra(model, name)
            if extra.get("advanced"):
                advanced.setdefault(extra.get("group", ""), []).append(name)
            else:
                plain.append(name)
        layout.addLayout(self._grid({"": plain}))
        self._more = self._advanced = None
        if advanced:
            self._add_more(layout, advanced)
        self._refresh()

    def has_fields(self) -> bool:
        """Return whether there is anything to choose."""
        return bool(self._rows)

    def values(self) -> dict[str, Any]:
        """Return the values that differ from their defaults; what does not fit comes as it was typed."""
        return {name: row.value() for name, row in self._rows.items() if row.is_changed()}

    def all_values(self) -> dict[str, Any]:
        """Return the values of all fields."""
        return {name: row.value() for name, row in self._rows.items()}

    def set_values(self, values: dict[str, Any]) -> None:
        """Show these values, and the defaults of the fields that are absent; `changed` is not emitted."""
        for name, row in self._rows.items():
            row.set_value(values.get(name, row.default))
        self._refresh()

    def set_defaults(self, defaults: dict[str, Any]) -> None:
        """Take other defaults for some fields; a field that shows its former one shows the new one."""
        for name, row in self._rows.items():
            row.set_default(defaults.get(name, row.default))
        self._refresh()

    def set_errors(self, errors: dict[str, str]) -> None:
        """Show messages at their fields, beside what the form itself finds wrong."""
        self._outer_errors = dict(errors)
        self._refresh()

    def errors(self) -> dict[str, str]:
        """Return the messages that are shown, by field."""
        return {name: row.error.text() for name, row in self._rows.items() if row.error.text()}

    def show_automatic(self, name: str, text: str) -> None:
        """Say in the field `name` what its automatic value would be."""
        editor = self._rows[name].editor
        if isinstance(editor, WordOrNumber):
            editor.show_automatic(text)

    def add_beside(self, name: str, widget: QWidget) -> None:
        """Put a small widget between the label of a field and its editor."""
        head = self._rows[name].head
        head.insertWidget(head.count() - 1, widget)

    def editor(self, name: str) -> QWidget:
        """Return the editor of a field."""
        return self._rows[name].editor

    def focus(self, name: str) -> None:
        """Bring a field into view and give it the focus."""
        row = self._rows.get(name)
        if row is None:
            return
        if self._advanced is not None and self._advanced.isAncestorOf(row.editor):
            self._more.setChecked(True)
        row.editor.setFocus(Qt.FocusReason.OtherFocusReason)

    def _grid(self, groups: dict[str, list[str]]) -> QGridLayout:
        grid = QGridLayout()
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setHorizontalSpacing(GRID)
        grid.setVerticalSpacing(6)
        grid.setColumnStretch(0, 1)
        at = 0
        for group, names in groups.items():
            if group:
                heading = QLabel(tr(group))
                heading.setProperty("level", "small")
                heading.setContentsMargins(0, GRID, 0, 0)
                grid.addWidget(heading, at, 0, 1, 4)
                at += 1
            for name in names:
                row = _Row(self, name)
                row.add_to(grid, at)
                self._rows[name] = row
                at += 2
        return grid

    def _add_more(self, layout: QVBoxLayout, groups: dict[str, list[str]]) -> None:
        self._more = QPushButton()
        self._more.setObjectName("more")
        self._more.setCheckable(True)
        self._more.setProperty("flat", True)
        self._advanced = QWidget()
        self._advanced.setVisible(False)
        self._advanced.setLayout(self._grid(groups))
        self._more.toggled.connect(self._advanced.setVisible)
        self._more.toggled.connect(lambda _: self._draw_more())
        follow_theme(self._more, lambda theme: self._draw_more())
        layout.addWidget(self._more, 0, Qt.AlignmentFlag.AlignLeft)
        layout.addWidget(self._advanced)

    def _draw_more(self) -> None:
        inside = [row for row in self._rows.values() if self._advanced.isAncestorOf(row.editor)]
        n = sum(row.is_changed() for row in inside)
        self._more.setText(tr("More · {n} changed", n=n) if n else tr("More"))
        self._more.setIcon(icon("chevron-down" if self._more.isChecked() else "chevron", "muted"))

    def _edit(self, name: str) -> None:
        self._outer_errors.pop(name, None)
        self._refresh()
        self.changed.emit(name)

    def _refresh(self) -> None:
        wrong = self._wrong()
        for name, row in self._rows.items():
            row.show_state(wrong.get(name, ""))
        if self._more is not None:
            if any(self._advanced.isAncestorOf(self._rows[name].editor) for name in wrong if name in self._rows):
                self._more.setChecked(True)
            self._draw_more()

    def _wrong(self) -> dict[str, str]:
        found = dict(self._outer_errors)
        try:
            self.model.model_validate(self.values())
        except ValidationError as error:
            found |= {name: message for name, message in field_errors(error).items() if name in self._rows}
        return found


class _Row:
    """The widgets of one field."""

    def __init__(self, form: Form, name: str):
        info = form.model.model_fields[name]
        title, help_text = tr(info.title or name), tr(info.description) if info.description else ""
        self.default = info.get_default(call_default_factory=True)
        self.editor = editor_for(info.annotation)
        self.editor.setObjectName(f"field.{name}")
        self.editor.setAccessibleName(title)
        self.editor.setAccessibleDescription(help_text)
        for widget in (self.editor, self.editor.focusProxy()):
            if widget is not None:
                widget.setToolTip(help_text)
                widget.setWhatsThis(help_text)
        self.editor.setFixedWidth(EDITOR_WIDTH)
        self.editor.set_value(self.default)
        self.editor.edited.connect(lambda: form._edit(name))
        self.label = QLabel(title)
        self.label.setBuddy(self.editor)
        self.label.setToolTip(help_text)
        self.help = _HelpButton(title, help_text)
        self.help.setVisible(bool(help_text))
        self.unit = QLabel(tr(_extra(form.model, name).get("unit", "")))
        self.unit.setProperty("level", "small")
        if any(_extra(form.model, field).get("unit") for field in form.model.model_fields):
            self.unit.setMinimumWidth(UNIT_WIDTH)
        self.back = _BackButton()
        self.back.say(self.default)
        self.back.clicked.connect(lambda: self._go_back(form, name))
        self.error = ErrorLine()

    def add_to(self, grid: QGridLayout, at: int) -> None:
        self.head = head = QHBoxLayout()
        head.setSpacing(2)
        head.addWidget(self.label)
        head.addWidget(self.help)
        head.addStretch(1)
        grid.addLayout(head, at, 0)
        grid.addWidget(self.editor, at, 1)
        grid.addWidget(self.unit, at, 2)
        grid.addWidget(self.back, at, 3)
        grid.addWidget(self.error, at + 1, 0, 1, 4)

    def value(self) -> Any:
        return self.editor.value()

    def is_changed(self) -> bool:
        value = self.value()
        return value != self.default or isinstance(value, bool) != isinstance(self.default, bool)

    def set_value(self, value: Any) -> None:
        if value != self.value() or isinstance(value, bool) != isinstance(self.value(), bool):
            self.editor.set_value(value)

    def set_default(self, default: Any) -> None:
        if default == self.default:
            return
        was_changed, self.default = self.is_changed(), default
        self.back.say(default)
        if not was_changed:
            self.editor.set_value(default)

    def show_state(self, error: str) -> None:
        self.back.setVisible(self.is_changed())
        if error != self.error.text():
            self.error.show_text(error)
        field = self.editor.focusProxy() or self.editor
        if bool(field.property("wrong")) != bool(error):
            field.setProperty("wrong", bool(error))
            field.style().unpolish(field)
            field.style().polish(field)

    def _go_back(self, form: Form, name: str) -> None:
        self.editor.set_value(self.default)
        form._edit(name)


class _HelpButton(QToolButton):
    """The question mark beside a label: says the help on click and to the keyboard."""

    def __init__(self, title: str, text: str):
        super().__init__()
        self.setProperty("tiny", True)
        self.setIconSize(QSize(14, 14))
        self.setToolTip(text)
        self.setAccessibleName(tr("Help on {title}", title=title))
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        set_icon(self, "help", "muted")
        self.clicked.connect(lambda: QToolTip.showText(self.mapToGlobal(self.rect().bottomLeft()), text, self))


class _BackButton(QToolButton):
    """The dot of a changed setting; under the mouse it becomes the way back."""

    def __init__(self):
        super().__init__()
        self.setProperty("tiny", True)
        self.setIconSize(QSize(14, 14))
        policy = self.sizePolicy()
        policy.setRetainSizeWhenHidden(True)
        self.setSizePolicy(policy)
        follow_theme(self, lambda theme: self._draw("dot"))

    def say(self, default: Any) -> None:
        """Tell where it leads back to."""
        tip = tr("Back to {default}", default=say(default))
        self.setToolTip(tip)
        self.setAccessibleName(tip)

    def event(self, event: QEvent) -> bool:
        if event.type() in (QEvent.Type.Enter, QEvent.Type.FocusIn):
            self._draw("undo")
        elif event.type() in (QEvent.Type.Leave, QEvent.Type.FocusOut):
            self._draw("dot")
        return super().event(event)

    def _draw(self, name: str) -> None:
        self.setIcon(icon(name, "accent"))


def _extra(model: type[BaseModel], name: str) -> dict[str, Any]:
    extra = model.model_fields[name].json_schema_extra
    return extra if isinstance(extra, dict) else {}
