"""A table header that carries the role of each column as a chip, to be changed from its menu."""

from collections.abc import Mapping, Sequence

from PySide6.QtCore import QPoint, QRect, QSize, Qt, Signal
from PySide6.QtGui import QFontMetrics, QMouseEvent, QPainter
from PySide6.QtWidgets import QApplication, QHeaderView, QMenu, QWidget

from studio.ui.i18n import tr
from studio.ui.theme import current
from studio.ui.widgets.chips import HEIGHT as CHIP_HEIGHT
from studio.ui.widgets.chips import chip_width, paint_chip

PAD = 11  # as the cells have it


class RoleHeader(QHeaderView):
    """Names of columns, a sort arrow, and below them role chips once roles are known.

    A click on a name asks to sort, a click on a chip opens the menu of roles. `role_chosen`: column, role id.
    """

    role_chosen = Signal(str, str)
    sort_asked = Signal(int)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(Qt.Orientation.Horizontal, parent)
        self._choices: list[tuple[str, str]] = []
        self._assigned: dict[str, str] = {}
        self._sort: tuple[int, bool] | None = None
        self._hovered = -1
        self.setSectionsClickable(True)
        self.setMouseTracking(True)
        self.setMinimumSectionSize(88)

    def set_roles(self, choices: Sequence[tuple[str, str]], assigned: Mapping[str, str]) -> None:
        """Show roles: `choices` are (id, shown name), the last one that of columns that have none."""
        self._choices, self._assigned = list(choices), dict(assigned)
        self.updateGeometry()
        self.geometriesChanged.emit()
        self.viewport().update()

    def set_sort(self, column: int, descending: bool) -> None:
        """Show by which column the rows are sorted, -1 for none."""
        self._sort = (column, descending) if column >= 0 else None
        self.viewport().update()

    def has_roles(self) -> bool:
        """Return whether there are chips."""
        return bool(self._choices)

    def role_of(self, column: int) -> tuple[str, str]:
        """Return the id and the shown name of a column's role."""
        role = self._assigned.get(self._name(column), self._choices[-1][0] if self._choices else "")
        return role, dict(self._choices).get(role, role)

    def chip_rect(self, column: int) -> QRect:
        """Return where the chip of a column is, in the header's pixels."""
        width = min(chip_width(self.role_of(column)[1] + " ▾"), self.sectionSize(column) - PAD - 4)
        left = self.sectionViewportPosition(column) + PAD - 2
        return QRect(left, self.height() - CHIP_HEIGHT - 6, width, CHIP_HEIGHT)

    def open_menu(self, column: int) -> QMenu:
        """Open the menu of a column's roles at its chip."""
        menu = QMenu(self)
        menu.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        now, name = self.role_of(column)[0], self._name(column)
        for role, text in self._choices:
            action = menu.addAction(text)
            action.setCheckable(True)
            action.setChecked(role == now)
            action.triggered.connect(lambda _=False, role=role: self.role_chosen.emit(name, role))
        menu.popup(self.viewport().mapToGlobal(self.chip_rect(column).bottomLeft() + QPoint(0, 2)))
        return menu

    def sizeHint(self) -> QSize:
        return QSize(super().sizeHint().width(), 58 if self._choices else 32)

    def paintSection(self, painter: QPainter, rect: QRect, column: int) -> None:
        theme = current()
        painter.save()
        painter.fillRect(rect, theme.colour("surface"))
        painter.setPen(theme.colour("hairline"))
        painter.drawLine(rect.bottomLeft(), rect.bottomRight())
        font = QApplication.font()
        font.setPixelSize(theme.body)
        font.setBold(bool(self._choices))
        painter.setFont(font)
        name = rect.adjusted(PAD, 0, -PAD, 0)
        if self._choices:
            name.setHeight(30)
        arrow = ""
        if self._sort is not None and self._sort[0] == column:
            arrow = " ↓" if self._sort[1] else " ↑"
        metrics = QFontMetrics(font)
        room = name.width() - metrics.horizontalAdvance(arrow)
        text = metrics.elidedText(self._name(column), Qt.TextElideMode.ElideRight, room) + arrow
        painter.setPen(theme.colour("text" if self._choices else "muted"))
        right = self.model().headerData(column, Qt.Orientation.Horizontal, Qt.ItemDataRole.TextAlignmentRole)
        side = Qt.AlignmentFlag(right) if right and not self._choices else Qt.AlignmentFlag.AlignLeft
        painter.drawText(name, Qt.AlignmentFlag.AlignVCenter | side, text)
        if self._choices:
            role, shown = self.role_of(column)
            chip = self.chip_rect(column)
            tone = "muted" if role == self._choices[-1][0] else "accent"
            paint_chip(painter, QPoint(chip.left(), chip.top()), shown + " ▾", tone, "", chip.width())
            if column == self._hovered:
                painter.setRenderHint(QPainter.RenderHint.Antialiasing)
                painter.setPen(theme.colour("accent"))
                painter.drawRoundedRect(chip.adjusted(0, 0, -1, -1), CHIP_HEIGHT / 2, CHIP_HEIGHT / 2)
        painter.restore()

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        column = self._chip_at(event.position().toPoint())
        if column != self._hovered:
            self._hovered = column
            self.setToolTip(tr("What this column is for") if column >= 0 else "")
            self.viewport().update()
        super().mouseMoveEvent(event)

    def mousePressEvent(self, event: QMouseEvent) -> None:
        column = self._chip_at(event.position().toPoint())
        if column >= 0 and event.button() == Qt.MouseButton.LeftButton:
            self.open_menu(column)
            return
        self._pressed = event.position().toPoint()
        super().mousePressEvent(event)

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        at, pressed = event.position().toPoint(), getattr(self, "_pressed", None)
        super().mouseReleaseEvent(event)
        # A drag at a border changes a width; only a click in the middle of a name sorts.
        if pressed is not None and (at - pressed).manhattanLength() < 4 and self.cursor().shape() != _RESIZING:
            self.sort_asked.emit(self.logicalIndexAt(at))

    def _chip_at(self, at: QPoint) -> int:
        column = self.logicalIndexAt(at)
        return column if self._choices and column >= 0 and self.chip_rect(column).contains(at) else -1

    def _name(self, column: int) -> str:
        return str(self.model().headerData(column, Qt.Orientation.Horizontal) or "")


_RESIZING = Qt.CursorShape.SplitHCursor
