"""What is left of the card of all heads when it is folded away: the way back, and a step to the next head."""

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QWidget

from studio.ui.i18n import tr
from studio.ui.theme import GRID, number_font
from studio.ui.widgets.buttons import icon_button
from studio.ui.widgets.cards import Card
from studio.ui.widgets.labels import Small

WIDTH = 44


class HeadsRail(Card):
    """A narrow card. opened: all heads are wanted again. stepped: so many heads further, in the order of the grid."""

    opened = Signal()
    stepped = Signal(int)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__("", parent)
        self.setAccessibleName(tr("Heads, folded away"))
        self.setFixedWidth(WIDTH)
        margins = self.layout().contentsMargins()
        self.layout().setContentsMargins(GRID, margins.top(), GRID, margins.bottom())
        self.open = icon_button("panel", tr("Show all heads (Ctrl+B)"), "inspect.unfold")
        self.open.clicked.connect(self.opened)
        self.former = icon_button("chevron-up", tr("The head before, in the order of the heads"), "inspect.former")
        self.next = icon_button("chevron-down", tr("The next head, in the order of the heads"), "inspect.next")
        self.former.clicked.connect(lambda: self.stepped.emit(-1))
        self.next.clicked.connect(lambda: self.stepped.emit(1))
        self.head = Small()
        self.head.setFont(number_font())
        self.head.setAlignment(Qt.AlignmentFlag.AlignHCenter)
        for widget in (self.open, self.former, self.head, self.next):
            self.body.addWidget(widget, 0, Qt.AlignmentFlag.AlignHCenter)
        self.body.addStretch(1)

    def show_head(self, layer: int, head: int) -> None:
        """Say which head leads, counted from 0."""
        self.head.setText(f"{layer + 1} · {head + 1}")
        self.head.setToolTip(tr("Layer {layer} · Head {head}", layer=layer + 1, head=head + 1))
