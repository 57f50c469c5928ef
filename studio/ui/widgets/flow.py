"""A layout that breaks its line of widgets where it is full."""

from bisect import bisect_left

from PySide6.QtCore import QPoint, QRect, QSize, Qt
from PySide6.QtWidgets import QLayout, QLayoutItem, QWidget

from studio.ui.theme import GRID


class FlowLayout(QLayout):
    """Widgets side by side at their own size, in as many lines as needed; read right to left where people do."""

    def __init__(
        self, parent: QWidget | None = None, spacing: int = GRID, centred: bool = False, below: int | None = None
    ) -> None:
        super().__init__(parent)
        self._below = spacing if below is None else below  # between lines
        self._items: list[QLayoutItem] = []
        self._centred = centred
        self.setSpacing(spacing)
        self.setContentsMargins(0, 0, 0, 0)

    def addItem(self, item: QLayoutItem) -> None:
        self._items.append(item)

    def count(self) -> int:
        return len(self._items)

    def itemAt(self, index: int) -> QLayoutItem | None:
        return self._items[index] if 0 <= index < len(self._items) else None

    def takeAt(self, index: int) -> QLayoutItem | None:
        return self._items.pop(index) if 0 <= index < len(self._items) else None

    def expandingDirections(self) -> Qt.Orientation:
        return Qt.Orientation(0)

    def hasHeightForWidth(self) -> bool:
        return True

    def heightForWidth(self, width: int) -> int:
        return self._arrange(QRect(0, 0, width, 0), place=False)

    def sizeHint(self) -> QSize:
        width = sum(item.sizeHint().width() + self.spacing() for item in self._items if not item.isEmpty())
        return QSize(width, self.minimumSize().height())

    def minimumSize(self) -> QSize:
        result = QSize()
        for item in self._items:
            result = result.expandedTo(item.minimumSize())
        return result

    def setGeometry(self, rect: QRect) -> None:
        super().setGeometry(rect)
        self._arrange(rect, place=True)

    def _arrange(self, rect: QRect, place: bool) -> int:
        """Place the items in `rect` and return the height that they take."""
        rect = rect.marginsRemoved(self.contentsMargins())
        mirrored = self.parentWidget() is not None and self.parentWidget().isRightToLeft()
        y = rect.top()
        for line in self._lines(rect.width()):
            width = sum(hint.width() for _, hint in line) + self.spacing() * (len(line) - 1)
            x = rect.left() + (max(0, rect.width() - width) // 2 if self._centred else 0)
            for item, hint in line:
                if place:
                    left = rect.left() + rect.right() - x - hint.width() + 1 if mirrored else x
                    item.setGeometry(QRect(QPoint(left, y), hint))
                x += hint.width() + self.spacing()
            y += max(hint.height() for _, hint in line) + self._below
        margins = self.contentsMargins()
        return max(0, y - rect.top() - self._below) + margins.top() + margins.bottom()

    def _lines(self, width: int) -> list[list[tuple[QLayoutItem, QSize]]]:
        """Return the items with their sizes in lines no wider than `width`; centred ones are about equally long."""
        lines = self._filled(width)
        if not self._centred or len(lines) < 2:
            return lines
        # The narrowest width that needs no line more: nothing is left alone on the last one.
        narrowest = bisect_left(range(width), True, key=lambda tried: len(self._filled(tried)) <= len(lines))
        return self._filled(narrowest)

    def _filled(self, width: int) -> list[list[tuple[QLayoutItem, QSize]]]:
        """Return the items with their sizes, broken where a line of `width` is full."""
        lines: list[list[tuple[QLayoutItem, QSize]]] = []
        used = width + 1
        for item in self._items:
            if item.isEmpty():
                continue
            hint = item.sizeHint().boundedTo(QSize(max(width, 1), 10_000))
            if used + hint.width() > width:
                lines.append([])
                used = 0
            lines[-1].append((item, hint))
            used += hint.width() + self.spacing()
        return lines
