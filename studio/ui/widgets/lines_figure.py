"""Lines between tokens as a figure for print: vector text, the heads named in their colours, the meaning stated."""

from dataclasses import dataclass

from PySide6.QtCore import QPointF, QRect, QRectF, QSizeF, Qt
from PySide6.QtGui import QFontMetrics, QPainter, QPen

from studio.ui.i18n import tr
from studio.ui.theme import Theme, load_theme, number_font
from studio.ui.widgets.head_figure import FONT, MARGIN, WRAPPED, fill
from studio.ui.widgets.marks import series_pen
from studio.ui.widgets.strands import SIGNED, Span, Strand, paint_strands, strand_colour

PITCH, ROOM, MOST_LABEL, LEAST_WIDTH, PAD = 18, 260, 160, 420, 6


@dataclass(frozen=True)
class LinesFigure:
    """The lines of heads with their tokens and names; drawn in the light theme."""

    strands: list[Strand]
    names: list[str]
    query_tokens: list[str]
    key_tokens: list[str]
    caption: str
    said: str
    gamma: float = 1.0

    def size(self) -> QSizeF:
        """Return the size of the figure in logical pixels."""
        rows = max(len(self.query_tokens), len(self.key_tokens))
        return QSizeF(self._width(), self._top() + rows * PITCH + 32 + 16 * self._legend_lines())

    def paint(self, painter: QPainter) -> None:
        """Draw the figure at the origin."""
        theme, size = load_theme("light"), self.size()
        fill(painter, size, theme.colour("surface"))
        painter.setFont(number_font(FONT))
        painter.setPen(theme.colour("text"))
        painter.drawText(QRectF(MARGIN, 8, self._width() - 2 * MARGIN, self._top()), WRAPPED, self.caption)
        left = MARGIN + self._label(self.query_tokens)
        span = Span(left, self._width() - MARGIN - self._label(self.key_tokens), PITCH, self._top())
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        paint_strands(painter, theme, self.strands, span, self.gamma, size.height(), dashed=True)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing, False)
        self._paint_tokens(painter, theme, span)
        self._paint_legend(painter, theme)

    def meaning(self) -> str:
        """Return what the lines mean."""
        return self.said

    def _paint_tokens(self, painter: QPainter, theme: Theme, span: Span) -> None:
        metrics, wide = painter.fontMetrics(), self._width()
        sides = (
            (self.query_tokens, MARGIN, span.left, Qt.AlignmentFlag.AlignRight, tr("query: looks →")),
            (self.key_tokens, span.right, wide - MARGIN, Qt.AlignmentFlag.AlignLeft, tr("→ key: looked at")),
        )
        for tokens, left, right, align, head in sides:
            flags = align | Qt.AlignmentFlag.AlignVCenter
            painter.setPen(theme.colour("muted"))
            # The heads of the columns reach over the lines, up to the middle.
            shift = ROOM / 2 - PAD
            begin = left - shift if left == span.right else left
            title = QRectF(begin, self._top() - PITCH, right - left + shift, PITCH)
            painter.drawText(title, flags, head)
            painter.setPen(theme.colour("text"))
            for row, token in enumerate(tokens):
                rect = QRectF(left, span.top + row * PITCH, right - left, PITCH).adjusted(PAD, 0, -PAD, 0)
                text = metrics.elidedText(token, Qt.TextElideMode.ElideRight, int(rect.width()) + 1)
                painter.drawText(rect, flags, text)

    def _paint_legend(self, painter: QPainter, theme: Theme) -> None:
        top, across = self.size().height() - 16 * self._legend_lines() - 12, self._entries_in_line()
        wide = (self._width() - 2 * MARGIN) / across
        for place, (name, series, is_more) in enumerate(self._legend()):
            x, y = MARGIN + place % across * wide, top + place // across * 16
            pen = series_pen(theme, series, 2.5) if series >= 0 else QPen()
            pen.setColor(strand_colour(theme, series, is_more, 1.0))
            pen.setWidthF(2.5)
            painter.setPen(pen)
            painter.drawLine(QPointF(x, y + 8), QPointF(x + 18, y + 8))
            painter.setPen(theme.colour("muted"))
            painter.drawText(QRectF(x + 24, y, wide - 24, 16), Qt.AlignmentFlag.AlignVCenter, name)

    def _entries_in_line(self) -> int:
        metrics = QFontMetrics(number_font(FONT))
        widest = max((metrics.horizontalAdvance(name) for name, *_ in self._legend()), default=0) + 40
        return max(1, int((self._width() - 2 * MARGIN) // widest))

    def _legend_lines(self) -> int:
        return -(-len(self._legend()) // self._entries_in_line())

    def _legend(self) -> list[tuple[str, int, bool]]:
        if any(strand.series == SIGNED for strand in self.strands):
            heads = ", ".join(self.names)
            return [(tr("{heads}: more", heads=heads), SIGNED, True), (tr("{heads}: less", heads=heads), SIGNED, False)]
        return [(name, strand.series, True) for name, strand in zip(self.names, self.strands, strict=True)]

    def _label(self, tokens: list[str]) -> float:
        metrics = QFontMetrics(number_font(FONT))
        return float(min(MOST_LABEL, max(map(metrics.horizontalAdvance, tokens), default=0)) + 2 * PAD + 2)

    def _width(self) -> float:
        labels = self._label(self.query_tokens) + self._label(self.key_tokens)
        return max(2 * MARGIN + labels + ROOM, LEAST_WIDTH)

    def _top(self) -> float:
        room = QRect(0, 0, int(self._width()) - 2 * MARGIN, 10_000)
        height = QFontMetrics(number_font(FONT)).boundingRect(room, WRAPPED, self.caption).height()
        return 8.0 + height + 8 + PITCH
