"""Text broken into lines at words, where a word is longer than a line inside it."""

from collections.abc import Sequence

from PySide6.QtCore import QPointF
from PySide6.QtGui import QFont, QTextLayout, QTextOption

_BREAK = "\N{LINE SEPARATOR}"


def wrapped(
    text: str, width: float, font: QFont, formats: Sequence[QTextLayout.FormatRange] = (), below: float = 0
) -> tuple[QTextLayout, float]:
    """Return a text laid out in lines of `width` logical pixels, and its height; `below` is added to each line."""
    layout = QTextLayout(text.replace("\n", _BREAK), font)
    option = QTextOption()
    option.setWrapMode(QTextOption.WrapMode.WrapAtWordBoundaryOrAnywhere)
    layout.setTextOption(option)
    layout.setFormats(list(formats))
    layout.beginLayout()
    height = 0.0
    while (line := layout.createLine()).isValid():
        line.setLineWidth(width)
        line.setPosition(QPointF(0, height))
        height += line.height() + below
    layout.endLayout()
    return layout, height
