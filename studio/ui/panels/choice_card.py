"""A card to choose by a click: a title, a word about it, and an accent when it is the one."""

from PySide6.QtCore import QRect, QSize, Qt
from PySide6.QtGui import QColor, QFont, QFontMetrics, QPainter, QPen
from PySide6.QtWidgets import QAbstractButton, QSizePolicy, QWidget

from studio.ui.theme import GRID, current, pixmap

PAD, ICON = 12, 16


class ChoiceCard(QAbstractButton):
    """One of several choices; checked when it is the chosen one.

    elide: the text takes one line, shortened in the middle; else it wraps. is_inset: it lies on a card.
    """

    def __init__(
        self,
        title: str,
        text: str = "",
        icon: str = "",
        elide: bool = False,
        is_inset: bool = False,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self._text, self._icon, self._elide, self._is_inset = text, icon, elide, is_inset
        self.setText(title)
        self.setCheckable(True)
        self.setCursor(Qt.CursorShape.PointingHandCursor)
        self.setAccessibleName(title)
        self.setAccessibleDescription(text)
        policy = QSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Minimum)
        policy.setHeightForWidth(not elide)
        self.setSizePolicy(policy)
        if elide:
            self.setToolTip(text)

    def hasHeightForWidth(self) -> bool:
        return not self._elide

    def heightForWidth(self, width: int) -> int:
        title, small = self._fonts()
        height = QFontMetrics(title).height() + 2 * PAD
        if self._text:
            height += 4 + self._text_rect(QFontMetrics(small), width - 2 * PAD - self._indent()).height()
        return height

    def sizeHint(self) -> QSize:
        return QSize(200, self.heightForWidth(200 if self._elide else max(self.width(), 160)))

    def minimumSizeHint(self) -> QSize:
        return QSize(96, self.sizeHint().height() if self._elide else 48)

    def paintEvent(self, event: object) -> None:
        theme, painter = current(), QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        chosen, hovered = self.isChecked(), self.underMouse() and self.isEnabled()
        shade = 0.03 * self._is_inset + 0.04 * hovered
        ground = theme.mix("accent", 0.10) if chosen else theme.mix("text", shade)
        edge = theme.accent if chosen or self.hasFocus() else None
        painter.setPen(QPen(QColor(edge), 1.5) if edge else Qt.PenStyle.NoPen)
        painter.setBrush(QColor(ground))
        painter.drawRoundedRect(self.rect().toRectF().adjusted(0.75, 0.75, -0.75, -0.75), theme.radius, theme.radius)
        title, small = self._fonts()
        metrics, left = QFontMetrics(title), PAD + self._indent()
        width = self.width() - left - PAD
        if self._icon:
            colour = theme.colour("accent" if chosen else "muted")
            top = PAD + (metrics.height() - ICON) // 2
            painter.drawPixmap(PAD, top, pixmap(self._icon, ICON, colour, self.devicePixelRatioF()))
        painter.setFont(title)
        painter.setPen(theme.colour("text"))
        shown = metrics.elidedText(self.text(), Qt.TextElideMode.ElideMiddle, width)
        painter.drawText(QRect(left, PAD, width, metrics.height()), Qt.AlignmentFlag.AlignVCenter, shown)
        if not self._text:
            return
        painter.setFont(small)
        painter.setPen(theme.colour("muted"))
        top, flags = PAD + metrics.height() + 4, Qt.AlignmentFlag.AlignTop | Qt.TextFlag.TextWordWrap
        text = self._text
        if self._elide:
            text = QFontMetrics(small).elidedText(text, Qt.TextElideMode.ElideMiddle, width)
        painter.drawText(QRect(left, top, width, self.height() - top), flags, text)

    def enterEvent(self, event: object) -> None:
        self.update()

    def leaveEvent(self, event: object) -> None:
        self.update()

    def _indent(self) -> int:
        return ICON + GRID if self._icon else 0

    def _text_rect(self, metrics: QFontMetrics, width: int) -> QRect:
        if self._elide:
            return QRect(0, 0, width, metrics.height())
        return metrics.boundingRect(QRect(0, 0, max(1, width), 10_000), Qt.TextFlag.TextWordWrap, self._text)

    def _fonts(self) -> tuple[QFont, QFont]:
        theme, title, small = current(), QFont(self.font()), QFont(self.font())
        title.setPixelSize(theme.body)
        title.setWeight(QFont.Weight.DemiBold)
        small.setPixelSize(theme.small)
        return title, small
