"""A choice that shortens what does not fit, with an ellipsis, where Qt would cut it in the middle of a letter."""

from PySide6.QtCore import QEvent, Qt
from PySide6.QtGui import QKeyEvent, QPaintEvent, QWheelEvent
from PySide6.QtWidgets import QComboBox, QStyle, QStyleOptionComboBox, QStylePainter


class Choice(QComboBox):
    """A QComboBox whose text ends in an ellipsis where it is too long; the list below and its tooltip have it whole."""

    def shown_text(self) -> str:
        """Return what stands in it, as it is painted."""
        option = QStyleOptionComboBox()
        self.initStyleOption(option)
        return self._fit(option).currentText

    def paintEvent(self, event: QPaintEvent) -> None:
        option = QStyleOptionComboBox()
        self.initStyleOption(option)
        painter = QStylePainter(self)
        painter.drawComplexControl(QStyle.ComplexControl.CC_ComboBox, option)
        painter.drawControl(QStyle.ControlElement.CE_ComboBoxLabel, self._fit(option))

    def event(self, event: QEvent) -> bool:
        if event.type() == QEvent.Type.ToolTip and self.currentText():
            self.setToolTip(f"{self.accessibleName()}: {self.currentText()}")
        return super().event(event)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Let the arrows open the list: in it, unlike in the closed box, they choose nothing on their way."""
        if event.key() in (Qt.Key.Key_Up, Qt.Key.Key_Down):
            self.showPopup()
        else:
            super().keyPressEvent(event)

    def wheelEvent(self, event: QWheelEvent) -> None:
        """Choose nothing while a person scrolls past."""
        event.ignore()

    def _fit(self, option: QStyleOptionComboBox) -> QStyleOptionComboBox:
        place = QStyle.SubControl.SC_ComboBoxEditField
        room = self.style().subControlRect(QStyle.ComplexControl.CC_ComboBox, option, place, self).width()
        text = option.currentText or self.placeholderText()
        option.currentText = self.fontMetrics().elidedText(text, Qt.TextElideMode.ElideRight, room - 4)
        return option
