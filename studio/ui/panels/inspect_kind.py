"""Which attention of an encoder-decoder is shown: the encoder's, the decoder's, or that of one to the other."""

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QComboBox, QWidget

from studio.ui.i18n import tr
from studio.ui.views.look import KINDS, Look


class KindChoice(QComboBox):
    """Offers the kinds of attention that were captured, where there are several. chosen: the same text's look of one.

    What is looked at stays as it was captured: no worker is asked.
    """

    chosen = Signal(object)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._look: Look | None = None
        self.setObjectName("inspect.kind")
        self.setAccessibleName(tr("Which attention of an encoder-decoder"))
        self.setToolTip(
            tr("Encoder: its text to itself. Decoder: what is written to itself. Cross: what is written to the text.")
        )
        self.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToContents)
        self.activated.connect(lambda _: self.choose(self.currentData()))
        self.hide()

    def show_look(self, look: Look) -> None:
        """Offer what there is of a look, and say which of it is shown."""
        self._look = look
        self.clear()
        for kind in look.kinds:
            self.addItem(tr(KINDS.get(kind, kind)), kind)
        self.setCurrentIndex(self.findData(look.kind))
        self.setVisible(len(look.kinds) > 1)

    def choose(self, kind: str) -> None:
        """Show another kind, where there is such."""
        if self._look is not None and kind != self._look.kind and kind in self._look.kinds:
            self.chosen.emit(self._look.of_kind(kind))
