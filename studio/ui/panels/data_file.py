"""The opened file at the head of the Data page: its name, its shape, and how it was read."""

from collections.abc import Callable
from typing import Any, Literal

from pydantic import create_model
from PySide6.QtCore import Signal
from PySide6.QtWidgets import QHBoxLayout, QMenu, QPushButton, QVBoxLayout, QWidget

from studio.core.reasons import Problem
from studio.core.registry import PluginConfig, family
from studio.core.spec import setting, source_of
from studio.sources.tables import OpenedTable
from studio.ui import words
from studio.ui.editors import say
from studio.ui.forms import Form
from studio.ui.i18n import tr
from studio.ui.notices import message_of
from studio.ui.theme import GRID, MARGIN, follow_theme, icon
from studio.ui.widgets.buttons import flat_button, icon_button, quiet_button
from studio.ui.widgets.cards import Card, Finding, Picture
from studio.ui.widgets.flow import FlowLayout
from studio.ui.widgets.labels import ElidedLabel, Small


class FileBar(Card):
    """Shows a source and what was read from it; `source_chosen` carries it with other options."""

    source_chosen = Signal(object)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent=parent)
        self._source: PluginConfig | None = None
        self._asked: dict[str, Any] = {}
        self.name = ElidedLabel()
        self.name.setProperty("level", "strong")
        self.name.setObjectName("data.file")
        self.facts = Small()
        self.facts.setWordWrap(False)
        self.options_button = flat_button(tr("How it is read"), "data.options")
        self.options_button.setCheckable(True)
        self.change_button = quiet_button(tr("Change"), "data.change")
        line = QHBoxLayout()
        line.setSpacing(GRID)
        line.addWidget(Picture("data", 20))
        line.addWidget(self.name)
        self._counts = QHBoxLayout()
        self._counts.setSpacing(0)
        self._counts.addWidget(self.facts)
        line.addLayout(self._counts)
        line.addStretch(1)
        self._tools = QHBoxLayout()
        line.addLayout(self._tools)
        line.addWidget(self.options_button)
        line.addWidget(self.change_button)
        self.body.addLayout(line)
        self.options = QWidget()
        self._flow = FlowLayout(self.options, spacing=MARGIN)
        self.found = Small()
        self.forms: list[Form] = []
        self.kind_form: Form | None = None  # where the file may be of several kinds
        self._drawn = ("", "")  # path and kind that the forms are for
        self._box = QWidget()
        box = QVBoxLayout(self._box)
        box.setContentsMargins(0, 0, 0, 0)
        box.setSpacing(GRID)
        box.addWidget(self.options)
        box.addWidget(self.found)
        self.add(self._box)
        self._box.hide()
        self.options_button.toggled.connect(self._box.setVisible)
        self.options_button.toggled.connect(lambda _: self._draw_chevron())
        follow_theme(self.options_button, lambda theme: self._draw_chevron())

    def add_choices(self, fill: Callable[[QMenu], None]) -> None:
        """Let *Change* open a menu that `fill` fills each time."""
        menu = QMenu(self.change_button)
        menu.setToolTipsVisible(True)

        def refill() -> None:
            menu.clear()
            fill(menu)

        menu.aboutToShow.connect(refill)
        self.change_button.setMenu(menu)

    def add_counts(self, counted: QWidget, filter_button: QPushButton) -> None:
        """Put what counts the rows behind the name, and the filter that is on in the place of the other facts."""
        self._counts.insertWidget(0, counted)
        self._counts.addSpacing(GRID)
        self._counts.addWidget(filter_button)

    def show_filter(self, is_on: bool) -> None:
        """Make room for the filter, or say the other facts again."""
        self.facts.setVisible(not is_on)

    def add_tool(self, widget: QWidget) -> None:
        """Put a widget before the buttons."""
        self._tools.addWidget(widget)

    def take_options(self, source: PluginConfig) -> None:
        """Remember what a person asked for, before what is found out fills up the rest."""
        self._asked = _options(source, exclude_defaults=True)

    def show_source(self, source: PluginConfig, opened: OpenedTable | None) -> None:
        """Show a source, and what was read from it once it is."""
        if (source.path, source.kind) != self._drawn:
            self._build_forms(source)
        self._source = source
        for form in self.forms:
            form.set_values(self._asked)
        if self.kind_form is not None:
            self.kind_form.set_values({"kind": tr(family("sources")[source.kind].label)})
        self.name.setText(words.file_name(source.path))
        self.name.setToolTip(source.path)
        self.facts.setText(_facts(opened) if opened is not None else "")
        found = _found(source) if opened is not None else ""
        self.found.setText(tr("Now: {found}", found=found) if found else "")
        self.found.setVisible(bool(self.found.text()))

    def _build_forms(self, source: PluginConfig) -> None:
        for form in [self.kind_form, *self.forms] if self.kind_form else self.forms:
            self._flow.removeWidget(form)
            form.deleteLater()
        self.kind_form = self._form_of_kinds(source)
        names = [name for name, field in type(source).model_fields.items() if field.title]
        # Two below each other, so that a row of them stays low.
        self.forms = [Form(type(source), names[i : i + 2]) for i in range(0, len(names), 2)]
        for form in self.forms:
            form.changed.connect(lambda _: self._choose())
        for form in [self.kind_form, *self.forms] if self.kind_form else self.forms:
            self._flow.addWidget(form)
            form.show()
        self._drawn = (source.path, source.kind)
        self.options_button.setVisible(self._flow.count() > 0)
        if not self._flow.count():
            self.options_button.setChecked(False)

    def _form_of_kinds(self, source: PluginConfig) -> Form | None:
        """Return the choice among the sources whose files end so; None where there is but one."""
        own, path = family("sources")[source.kind], source.path.lower()
        kinds = {tr(p.label): p.id for p in family("sources").values() if p is own or path.endswith(tuple(p.endings))}
        if len(kinds) < 2:
            return None
        found = tr((source_of(source.path) or own).label)
        help_text = "What the file is. It is told by its ending and its first lines."
        kind = setting(found if found in kinds else tr(own.label), "Read as", help_text)
        form = Form(create_model("Kind", kind=(Literal[tuple(kinds)], kind)))
        form.set_values({"kind": tr(own.label)})
        form.changed.connect(lambda _: self._choose_kind(kinds[form.all_values()["kind"]]))
        return form

    def _choose_kind(self, kind: str) -> None:
        self._asked = {}
        self.source_chosen.emit(family("sources")[kind].Config(path=self._source.path))

    def _choose(self) -> None:
        self._asked = {name: value for form in self.forms for name, value in form.values().items()}
        self.source_chosen.emit(type(self._source)(path=self._source.path, **self._asked))

    def _draw_chevron(self) -> None:
        self.options_button.setIcon(icon("chevron-down" if self.options_button.isChecked() else "chevron", "muted"))


class RefusedBar(Card):
    """Says why another file could not be taken, while the former one stays."""

    change_asked = Signal()
    closed = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent=parent)
        self.finding = Finding("bad", "", tr("Another file…"))
        self.finding.setObjectName("data.refused")
        self.finding.acted.connect(self.change_asked)
        close = icon_button("close", tr("Close"), "data.dismiss")
        close.clicked.connect(self.closed)
        line = QHBoxLayout()
        line.setSpacing(GRID)
        line.addWidget(self.finding, 1)
        line.addWidget(close)
        self.body.addLayout(line)

    def show_problem(self, problem: Problem) -> None:
        """Say what is wrong with the file."""
        text = f"{message_of(problem)} {tr('The former data stays.')}"
        self.finding.show_finding("bad", text, tr("Another file…"))


def _options(source: PluginConfig, exclude_defaults: bool = False) -> dict[str, Any]:
    return source.model_dump(exclude={"kind", "path"}, exclude_defaults=exclude_defaults)


def _facts(opened: OpenedTable) -> str:
    n = opened.table.num_columns
    columns = tr("{n} columns", n=words.count(n)) if n != 1 else tr("1 column")
    return f"  ·  {columns}  ·  {words.size(opened.size_bytes)}"


def _found(source: PluginConfig) -> str:
    titles = {name: tr(field.title) for name, field in type(source).model_fields.items() if field.title}
    said = [f"{titles[name]}: {say(value)}" for name, value in _options(source).items() if name in titles]
    return "  ·  ".join(said)
