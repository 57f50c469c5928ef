"""How the rows are shared out: training, validation and test, by share or by a file of its own."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QFileDialog, QHBoxLayout, QLabel, QMenu, QPushButton, QWidget

from studio.core.reasons import Failure, Problem
from studio.core.registry import PluginConfig
from studio.core.spec import DataSpec
from studio.ui import words
from studio.ui.editors import editor_for
from studio.ui.i18n import tr
from studio.ui.notices import message_of
from studio.ui.theme import GRID, GROUP
from studio.ui.widgets.cards import Card, ErrorLine
from studio.ui.widgets.labels import Strong
from studio.ui.widgets.split import SplitBar

SHARES = (0.0, 0.05, 0.1, 0.15, 0.2, 0.3)


class SplitCard(Card):
    """Shows the split of the draft; `chosen` carries what of it is changed: validation, test or seed."""

    chosen = Signal(dict)

    def __init__(self, ask_file: Callable[[QWidget], str] | None = None, parent: QWidget | None = None) -> None:
        super().__init__(parent=parent)
        self.ask_file = ask_file or _ask_file
        self.bar = SplitBar()
        self.bar.setObjectName("data.split")
        self.bar.changed.connect(lambda validation, test: self._drag(validation, test))
        self._parts: dict[str, Any] = {"validation": 0.1, "test": 0.1}
        self._counted: dict[str, tuple[Any, int]] = {}  # rows of the files, once they are read
        self.buttons = {name: _PartButton(self, name) for name in self._parts}
        self.seed = editor_for(int)
        self.seed.setObjectName("data.seed")
        self.seed.setFixedWidth(72)
        field = DataSpec.model_fields["seed"]
        self.seed.setAccessibleName(tr(field.title))
        self.seed.setToolTip(f"{tr(field.title)}: {tr(field.description)}")
        self.seed.edited.connect(self._take_seed)
        seed_label = QLabel(tr("Seed"))
        seed_label.setBuddy(self.seed)
        self.error = ErrorLine()
        line = QHBoxLayout()
        line.setSpacing(GROUP)
        line.addWidget(Strong(tr("Split")))
        line.addWidget(self.bar, 1)
        choices = QHBoxLayout()
        choices.setSpacing(GRID)
        for button in self.buttons.values():
            choices.addWidget(button)
        choices.addSpacing(GRID)
        choices.addWidget(seed_label)
        choices.addWidget(self.seed)
        line.addLayout(choices)
        self.body.addLayout(line)
        self.add(self.error)

    def show_split(self, n_rows: int, validation: Any, test: Any, seed: int) -> None:
        """Show the parts (shares or sources) of `n_rows` rows that can be used."""
        self._parts = {"validation": validation, "test": test}
        shares = [part if isinstance(part, int | float) else 0.0 for part in (validation, test)]
        self.bar.set_split(n_rows, *shares)
        for name, button in self.buttons.items():
            config, n = self._counted.get(name, (None, 0))
            button.show_part(self._parts[name], n if config == self._parts[name] else 0)
        self.seed.set_value(seed)

    def show_problems(self, problems: list[Problem]) -> None:
        """Say what is wrong with the split."""
        self.error.show_text(message_of(problems[0]) if problems else "")

    def show_rows(self, part: str, n_rows: int) -> None:
        """Say how many rows the file of a part has."""
        self._counted[part] = (self._parts[part], n_rows)
        self.buttons[part].show_part(self._parts[part], n_rows)

    def _drag(self, validation: float, test: float) -> None:
        dragged = {"validation": validation, "test": test}
        self.chosen.emit({n: share for n, share in dragged.items() if isinstance(self._parts[n], int | float)})

    def _take_seed(self) -> None:
        value = self.seed.value()
        if isinstance(value, int) and 0 <= value < 2**31:
            self.error.clear()
            self.chosen.emit({"seed": value})
        else:
            self.error.show_text(tr("The seed is a whole number from 0 to 2,147,483,647."))

    def choose_file(self, name: str) -> None:
        """Let the person choose a file for a part."""
        from studio.sources.tables import source_for

        path = self.ask_file(self)
        if not path:
            return
        try:
            self.chosen.emit({name: source_for(path)})
        except Failure as error:
            self.error.show_text(message_of(error.problem))


class _PartButton(QPushButton):
    """One part of the split, with a menu of shares and a file instead."""

    def __init__(self, card: SplitCard, name: str) -> None:
        super().__init__()
        self._name, self._title = name, tr(DataSpec.model_fields[name].title)
        self.setObjectName(f"data.{name}")
        menu = QMenu(self)
        for share in SHARES:
            text = words.percent(share) if share else tr("None")
            menu.addAction(text, lambda share=share: card.chosen.emit({name: share}))
        menu.addSeparator()
        menu.addAction(tr("A file of its own…"), lambda: card.choose_file(name))
        self.setMenu(menu)

    def show_part(self, part: Any, n_rows: int = 0) -> None:
        """Show a share, or the file that stands for it with its number of rows once that is known."""
        if isinstance(part, PluginConfig):
            said = self.fontMetrics().elidedText(words.file_name(part.path), Qt.TextElideMode.ElideMiddle, 120)
            self.setToolTip(part.path + (f"\n{tr('{n} rows', n=words.count(n_rows))}" if n_rows else ""))
        else:
            said = ""  # the bar says the share
            self.setToolTip(tr(DataSpec.model_fields[self._name].description))
        self.setText(" · ".join(filter(None, [self._title, said, words.count(n_rows) if n_rows else ""])))


def read_part(config: PluginConfig, source: PluginConfig, columns: dict[str, str], workspace: Path, part: str) -> int:
    """Return how many rows a part's own file has; `source` and `columns` are those of the training rows.

    Raises Failure, with the part as its field: the file can't be read, or lacks a column.
    """
    from studio.sources.tables import open_table

    if getattr(source, "header", None) is False and hasattr(config, "header"):
        config = config.model_copy(update={"header": False})  # as the training will read it
    try:
        table = open_table(config, workspace).table
    except Failure as error:
        raise Failure(error.problem.reason, f"data.{part}", **error.problem.facts) from error
    missing = [column for column in columns.values() if column not in table.column_names]
    if missing:
        raise Failure("column-missing", f"data.{part}", column=missing[0], columns=", ".join(table.column_names))
    return table.num_rows


def _ask_file(parent: QWidget) -> str:
    return QFileDialog.getOpenFileName(parent, tr("A file for this part of the split"))[0]
