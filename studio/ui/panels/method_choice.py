"""How the model is trained: the methods as cards, the settings of the chosen one, and what of the model trains."""

from typing import Any

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QButtonGroup, QScrollArea, QVBoxLayout, QWidget

from studio.core.registry import family
from studio.ui.forms import Form
from studio.ui.i18n import tr
from studio.ui.panels.choice_card import ChoiceCard
from studio.ui.theme import GRID
from studio.ui.widgets.cards import Card

WIDTH = 328


class MethodChoice(Card):
    """Chooses a method of the registry and its settings; `chosen` carries {"kind": …, settings as typed}."""

    chosen = Signal(dict)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(tr("Method"), parent)
        self.cards: dict[str, ChoiceCard] = {}
        self.forms: dict[str, Form] = {}
        self.setFixedWidth(WIDTH)
        group = QButtonGroup(self)
        inside = QWidget()
        inside.setObjectName("scrolled")
        column = QVBoxLayout(inside)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(GRID)
        for method in family("methods").values():
            card = ChoiceCard(tr(method.label), tr(method.summary), is_inset=True)
            card.setObjectName(f"method.{method.id}")
            card.clicked.connect(lambda _=False, kind=method.id: self._choose(kind))
            group.addButton(card)
            column.addWidget(card)
            self.cards[method.id] = card
            form = Form(method.Config)
            form.changed.connect(lambda _, kind=method.id: self._choose(kind))
            self.forms[method.id] = form
        column.addSpacing(GRID)
        for form in self.forms.values():
            column.addWidget(form)
        column.addStretch(1)
        area = QScrollArea()
        area.setWidgetResizable(True)
        area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        area.setWidget(inside)
        self.add(area, 1)

    def show_method(self, method: dict[str, Any], errors: dict[str, str]) -> None:
        """Show the chosen method with its settings, and what is wrong with them."""
        kind = method["kind"]
        form = self.forms[kind]
        for name, other in self.forms.items():
            other.setVisible(name == kind and other.has_fields())
        self.cards[kind].setChecked(True)
        form.set_values({name: value for name, value in method.items() if name != "kind"})
        form.set_errors(errors)

    def _choose(self, kind: str) -> None:
        self.chosen.emit({"kind": kind} | self.forms[kind].values())
