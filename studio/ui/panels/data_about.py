"""What the rows are: findings, how many of each label, how long the texts are."""

from collections.abc import Sequence

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QHBoxLayout, QScrollArea, QVBoxLayout, QWidget

from studio.core.blocks import Block
from studio.core.reasons import Problem
from studio.ui.draft import HARMLESS
from studio.ui.i18n import tr
from studio.ui.notices import words_of
from studio.ui.theme import GRID, GROUP
from studio.ui.widgets.bars import BarsView
from studio.ui.widgets.blocks import BlockView, draw
from studio.ui.widgets.cards import Card, Finding

HEIGHT, LOW_HEIGHT = 176, 144


class AboutRow(QWidget):
    """A card of findings, and one for each block of a task's overview.

    show_asked: a finding whose rows are to be shown. selected: {column: value}, from a click into a block.
    """

    show_asked = Signal(object)
    selected = Signal(dict)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setFixedHeight(HEIGHT)
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(GROUP)
        self.findings = _ScrolledCard(tr("Findings"))
        self.findings.setObjectName("data.findings")
        layout.addWidget(self.findings, 1)
        self._layout = layout
        self._cards: list[Card] = []
        self._drawn: dict[str, BlockView] = {}

    def let_go(self) -> None:
        """Choose none of the bars."""
        for drawn in self._drawn.values():
            if isinstance(drawn.drawing, BarsView):
                drawn.drawing.let_go()

    def show_findings(
        self, problems: Sequence[Problem], while_reading: Sequence[Problem] = (), is_whole: bool = True
    ) -> None:
        """Show what was found, the worst first; that nothing was is worth a line too.

        while_reading: what the source found, whose rows can't be shown: many it has left out.
        is_whole: False when the rows could not be looked at, for want of a column.
        """
        self.findings.clear()
        found = [(problem, problem.reason in HARMLESS) for problem in problems]
        found = sorted(found, key=lambda pair: pair[1]) + [(problem, False) for problem in while_reading]
        for problem, can_show in found:
            said, is_harmless = words_of(problem), can_show or problem in while_reading
            finding = Finding("warning" if is_harmless else "bad", f"{said.title} {said.hint}".strip(),
                              tr("Show") if can_show else "")  # fmt: skip
            finding.setObjectName(f"finding.{problem.reason}")
            finding.acted.connect(lambda problem=problem: self.show_asked.emit(problem))
            self.findings.add_row(finding)
        if not is_whole:
            self.findings.add_row(Finding("info", tr("The rows are looked at once the columns above are right.")))
        elif not found:
            self.findings.add_row(Finding("good", tr("Nothing stands against training on these rows.")))
        self.findings.end()

    def show_blocks(self, blocks: Sequence[Block]) -> None:
        """Draw a task's overview of the rows."""
        for card in self._cards:
            self._layout.removeWidget(card)
            card.deleteLater()
        self._cards, self._drawn = [], {}
        for block in blocks:
            card = _ScrolledCard(tr(block.title))
            drawn = draw(block.model_copy(update={"title": ""}))  # the card has the title
            drawn.selected.connect(self.selected)
            card.add_row(drawn, 1)
            self._drawn[block.title] = drawn
            self._layout.addWidget(card, 1)
            self._cards.append(card)
            card.show()

    def has_blocks(self) -> bool:
        """Return whether a task's overview is drawn."""
        return bool(self._drawn)

    def block(self, title: str) -> BlockView:
        """Return what draws the block of this title; KeyError where there is none."""
        return self._drawn[title]


class _ScrolledCard(Card):
    """A card whose rows scroll below its title."""

    def __init__(self, title: str) -> None:
        super().__init__(title)
        area = QScrollArea()
        area.setWidgetResizable(True)
        area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        inside = QWidget()
        inside.setObjectName("scrolled")
        area.setWidget(inside)
        self._rows = QVBoxLayout(inside)
        self._rows.setContentsMargins(0, 0, 0, 0)
        self._rows.setSpacing(GRID)
        self.add(area, 1)

    def add_row(self, widget: QWidget, stretch: int = 0) -> None:
        self._rows.addWidget(widget, stretch)

    def end(self) -> None:
        """Push the rows to the top."""
        self._rows.addStretch(1)

    def clear(self) -> None:
        while self._rows.count():
            item = self._rows.takeAt(0)
            if item.widget() is not None:
                item.widget().hide()
                item.widget().deleteLater()
