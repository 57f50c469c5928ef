"""The models to choose from: the starter, those used before, and any folder."""

from pathlib import Path

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QButtonGroup, QScrollArea, QVBoxLayout, QWidget

from studio.ui.actions import action_button
from studio.ui.i18n import tr
from studio.ui.panels.choice_card import ChoiceCard
from studio.ui.theme import GRID, GROUP
from studio.ui.widgets.labels import Small, Strong

WIDTH = 200


class ModelChoices(QWidget):
    """Cards of models; `chosen` carries `starter` or a folder."""

    chosen = Signal(str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setFixedWidth(WIDTH)
        self._group = QButtonGroup(self)
        self._cards: dict[str, ChoiceCard] = {}
        outer = QVBoxLayout(self)
        outer.setContentsMargins(0, 0, 0, 0)
        outer.setSpacing(GROUP)
        inside = QWidget()
        inside.setObjectName("scrolled")
        self._layout = QVBoxLayout(inside)
        self._layout.setContentsMargins(0, 0, 0, 0)
        self._layout.setSpacing(GRID)
        area = QScrollArea()
        area.setWidgetResizable(True)
        area.setWidget(inside)
        outer.addWidget(area, 1)
        self.open = action_button("model.open")
        outer.addWidget(self.open)
        hint = Small(tr("Or drop a folder here. Models are read from safetensors files; their code never runs."))
        outer.addWidget(hint)

    def show_models(self, model: str, recent: list[str]) -> None:
        """Show the starter and the folders used before, with the chosen one marked."""
        folders = ([model] if model not in ("starter", "", *recent) else []) + recent
        if list(self._cards) != ["starter", *folders]:
            self._build(folders)
        for name, card in self._cards.items():
            card.setChecked(name == model)

    def card(self, model: str) -> ChoiceCard:
        """Return the card of a model; KeyError where there is none."""
        return self._cards[model]

    def _build(self, folders: list[str]) -> None:
        for card in self._cards.values():
            self._group.removeButton(card)
        self._cards = {}
        while self._layout.count():
            item = self._layout.takeAt(0)
            if item.widget() is not None:
                item.widget().hide()
                item.widget().deleteLater()
        text = tr("all-MiniLM-L6-v2: small, quick, good at short texts. It comes with Attune.")
        self._add("starter", ChoiceCard(tr("Starter"), text, "sample"))
        if folders:
            self._layout.addSpacing(GRID)
            self._layout.addWidget(Strong(tr("Folders")))
        for folder in folders:
            self._add(folder, ChoiceCard(Path(folder).name, folder, "folder", elide=True))
        self._layout.addStretch(1)

    def _add(self, model: str, card: ChoiceCard) -> None:
        card.setObjectName(f"model.{model}")
        card.clicked.connect(lambda: self.chosen.emit(model))
        self._group.addButton(card)
        self._layout.addWidget(card)
        self._cards[model] = card
        card.show()
