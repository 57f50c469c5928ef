"""Texts side by side under their columns, wrapped: before and after, neighbours, candidates."""

from PySide6.QtCore import QPoint, QPointF, QRect, QSize, Qt
from PySide6.QtGui import QFontMetrics, QPainter, QPen, QTextLayout
from PySide6.QtWidgets import QSizePolicy, QVBoxLayout, QWidget

from studio.ui.i18n import tr
from studio.ui.theme import Theme, current, number_font
from studio.ui.widgets.lazy_list import PAD, LazyList
from studio.ui.widgets.wrapped import wrapped

MOST = 420  # characters of a text that is shown whole
_SPACE, _SAMPLED, _NARROW = 16, 60, 132


class SideTextsView(QWidget):
    """Rows of texts; the names of the columns stay above while they scroll."""

    def __init__(self, columns: list[str], rows: list[list[str]], parent: QWidget | None = None) -> None:
        super().__init__(parent)
        drawing = _TextsDrawing(columns, rows)
        self.list = LazyList(drawing)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(0)
        layout.addWidget(_Header(drawing, self.list))
        layout.addWidget(self.list, 1)
        self.setFocusProxy(self.list)

    def setAccessibleName(self, name: str) -> None:
        super().setAccessibleName(name)
        self.list.setAccessibleName(name)


class _TextsDrawing:
    def __init__(self, columns: list[str], rows: list[list[str]]) -> None:
        self.columns, self._rows, self._whole, self._laid = columns, rows, set(), {}

    def __len__(self) -> int:
        return len(self._rows)

    def places(self, width: int) -> list[tuple[int, int]]:
        """Return left and width of the columns: short texts take what they need, the others share what is left."""
        letters, small = QFontMetrics(number_font()), QFontMetrics(number_font(current().small))
        wanted = []
        for at, name in enumerate(self.columns):
            texts = [letters.horizontalAdvance(row[at][:MOST]) for row in self._rows[:_SAMPLED]]
            wanted.append(max([*texts, small.horizontalAdvance(tr(name))], default=0) + 2)
        room = width - _SPACE * (len(wanted) - 1)
        narrow = [w for w in wanted if w <= _NARROW]
        if len(narrow) == len(wanted) or sum(narrow) > room / 2:
            narrow = []
        share = (room - sum(narrow)) / max(1, len(wanted) - len(narrow))
        widths = [w if narrow and w <= _NARROW else max(24, int(share)) for w in wanted]
        lefts = [sum(widths[:at]) + at * _SPACE for at in range(len(widths))]
        return list(zip(lefts, widths, strict=True))

    def height(self, row: int, width: int) -> int:
        return round(max(height for _, _, height in self._lay(row, width)))

    def text(self, row: int) -> str:
        cells = zip(self.columns, self._rows[row], strict=True)
        return "; ".join(f"{tr(name)}: {' '.join(text.split())}" for name, text in cells)

    def tip(self, row: int, at: QPoint, width: int) -> str:
        long = any(len(text) > MOST for text in self._rows[row])
        return tr("Enter or a double click shows the whole text or what matters of it") if long else ""

    def toggle(self, row: int) -> bool:
        self._whole ^= {row}
        return any(len(text) > MOST for text in self._rows[row])

    def paint(self, painter: QPainter, rect: QRect, row: int, theme: Theme) -> None:
        painter.setPen(theme.colour("text"))
        for left, layout, _ in self._lay(row, rect.width()):
            layout.draw(painter, QPointF(rect.left() + left, rect.top()))

    def _lay(self, row: int, width: int) -> list[tuple[int, QTextLayout, float]]:
        """Return the cells of a row: left, what is drawn there, and its height."""
        key = (row, width, row in self._whole)
        if key not in self._laid:
            if len(self._laid) > 400:
                self._laid.clear()
            most = None if row in self._whole else MOST
            texts = [text if len(text) <= MOST else f"{text[:most]}{' …' if most else ''}" for text in self._rows[row]]
            places = zip(self.places(width), texts, strict=True)
            self._laid[key] = [(left, *wrapped(text, wide, number_font())) for (left, wide), text in places]
        return self._laid[key]


class _Header(QWidget):
    """The names of the columns above a list."""

    def __init__(self, drawing: _TextsDrawing, below: LazyList) -> None:
        super().__init__()
        self._drawing, self._below = drawing, below
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setAccessibleName(", ".join(map(tr, drawing.columns)))
        below.verticalScrollBar().rangeChanged.connect(self.update)

    def sizeHint(self) -> QSize:
        return QSize(120, QFontMetrics(number_font(current().small)).height() + 8)

    def paintEvent(self, event: object) -> None:
        theme, painter = current(), QPainter(self)
        painter.setFont(number_font(theme.small))
        painter.setPen(theme.colour("muted"))
        width = self._below.viewport().width() - 2 * PAD
        for name, (left, wide) in zip(self._drawing.columns, self._drawing.places(width), strict=True):
            shown = painter.fontMetrics().elidedText(tr(name), Qt.TextElideMode.ElideRight, wide)
            rect = QRect(PAD + left, 0, wide, self.height() - 2)
            painter.drawText(rect, Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter, shown)
        painter.setPen(QPen(theme.colour("hairline"), 1))
        painter.drawLine(0, self.height() - 1, self.width(), self.height() - 1)
