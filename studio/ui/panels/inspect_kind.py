"""Which attention of an encoder-decoder is shown: the encoder's, the decoder's, or that of one to the other."""

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QComboBox, QWidget

from studio.ui.i18n import tr
from studio.ui.views.look import KINDS, Look


class KindChoice(QComboBox):
    """Offers the kinds of attention that were captured of a text, where there are several. chosen: another of them."""

    chosen = Signal(str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("inspect.kind")
        self.setAccessibleName(tr("Which attention of an encoder-decoder"))
        self.setToolTip(
            tr("Encoder: its text to itself. Decoder: what is written to itself. Cross: what is written to the text.")
        )
        self.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToContents)
        self.activated.connect(lambda _: self.chosen.emit(self.currentData()))
        self.hide()

    def show_look(self, look: Look) -> None:
        """Offer what there is of a look, and say which of it is shown."""
        self.clear()
        for kind in look.kinds:
            self.addItem(tr(KINDS.get(kind, kind)), kind)
        self.setCurrentIndex(self.findData(look.kind))
        self.setVisible(len(look.kinds) > 1)
