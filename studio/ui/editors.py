"""One editor for each type of setting: number, number or word, choice, switch, text.

An editor has `value()`, `set_value(value)`, the signal `edited()` for changes by the person's hand, and shows what
was typed even when it does not fit: the form then says so.
"""

import math
import types
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QKeyEvent, QWheelEvent
from PySide6.QtWidgets import QCheckBox, QComboBox, QHBoxLayout, QLineEdit, QPushButton, QWidget

from studio.ui import words
from studio.ui.i18n import tr
from studio.ui.theme import number_font

OPTIONS = {
    "auto": "Automatic",
    "all": "All",
    "joined": "Joined",
    "lines": "Line by line",
    "pairs": "Pairs",
    "triplets": "Triplets",
    "scored_pairs": "Scored pairs",
    "labelled_texts": "Texts with labels",
    "multiple-negatives": "Multiple negatives",
    "triplet": "Triplet",
    "cosent": "CoSENT",
    "batch-all-triplet": "Batch, all triplets",
    "mean": "Mean",
    "cls": "First token",
    "letter": "A letter",
    "from 0": "A number from 0",
    "from 1": "A number from 1",
    "text": "The option's text",
    "entities": "Entities",
    "classes": "Classes",
    "single_label_classification": "One label",
    "multi_label_classification": "Several labels",
    "regression": "A number",
    "linear": "Linear",
    "cosine": "Cosine",
    "constant_with_warmup": "Constant",
    "True": "Yes",
    "False": "No",
    "bf16": "bf16",
    "fp16": "fp16",
    "fp32": "fp32",
    "none": "None",
    "tensorboard": "TensorBoard",
    "wandb": "wandb",
    ",": "Comma",
    ";": "Semicolon",
    "\t": "Tab",
    "|": "Bar",
    " ": "Blank",
    "line": "Line",
    "paragraph": "Paragraph",
    "iob1": "IOB1",
    "iob2": "IOB2",
    "iobes": "IOBES",
    "utf-8": "UTF-8",
    "utf-8-sig": "UTF-8 with mark",
    "utf-16": "UTF-16",
    "utf-16-le": "UTF-16 LE",
    "utf-16-be": "UTF-16 BE",
    "gb18030": "GB 18030",
    "big5": "Big5",
    "shift_jis": "Shift JIS",
    "euc_kr": "EUC-KR",
    "cp1252": "Windows-1252",
    "cp1251": "Windows-1251",
    "iso8859-2": "ISO 8859-2",
}


def editor_for(annotation: Any) -> "NumberEdit | WordOrNumber | Choice | Switch | TextEdit":
    """Return an editor for a field's type: float, int, bool, str, Literal, or a union of one with a Literal."""
    types_, literals = _split(annotation)
    if literals and not types_:
        return Choice(literals)
    if bool in types_:
        return Choice([*literals, True, False]) if literals else Switch()
    if float in types_ or int in types_:
        number = NumberEdit(float if float in types_ else int)
        return WordOrNumber(number, literals[0]) if literals else number
    return TextEdit()


def say(value: Any) -> str:
    """Return a setting's value as its editor shows it."""
    if isinstance(value, bool | str):
        return words.word(OPTIONS, str(value)) if str(value) in OPTIONS else str(value)
    if isinstance(value, float):
        return _number_text(value)
    return str(value)


class NumberEdit(QLineEdit):
    """A number as people type it: `5e-4`, `0.0005`, `1,000`; Up and Down step it, the wheel does not."""

    edited = Signal()

    def __init__(self, kind: type, parent: QWidget | None = None):
        super().__init__(parent)
        self._kind = kind
        self.setFont(number_font())
        self.textEdited.connect(self.edited)

    def value(self) -> Any:
        """Return the number, or the text where it is none."""
        text = self.text().strip().replace("\N{NO-BREAK SPACE}", "").replace("−", "-")
        if text.count(",") == 1 and "." not in text and len(text.split(",")[1]) != 3:
            text = text.replace(",", ".")  # a decimal comma
        text = text.replace(",", "")
        try:
            number = float(text)
        except ValueError:
            return self.text()
        return int(number) if self._kind is int and math.isfinite(number) and number == int(number) else number

    def set_value(self, value: Any) -> None:
        if value != self.value():
            self.setText(_number_text(value) if isinstance(value, int | float) else str(value))

    def keyPressEvent(self, event: QKeyEvent) -> None:
        up = {Qt.Key.Key_Up: 1, Qt.Key.Key_Down: -1}.get(event.key())
        value = self.value()
        if up is None or not isinstance(value, int | float):
            super().keyPressEvent(event)
            return
        if self._kind is int:
            value += up * (1 if value < 32 else 10 ** (len(str(int(value))) - 2))
        else:
            value = _neighbour(value, up)
        self.setText(_number_text(value))
        self.edited.emit()


class WordOrNumber(QWidget):
    """A number, or a word such as `auto` by the button beside it."""

    edited = Signal()

    def __init__(self, number: NumberEdit, word: str, parent: QWidget | None = None):
        super().__init__(parent)
        self.word, self.number = word, number
        self.button = QPushButton(say(word))
        self.button.setCheckable(True)
        self.button.setProperty("toggle", True)
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        layout.addWidget(number, 1)
        layout.addWidget(self.button)
        self.setFocusProxy(number)
        self._kept = ""
        number.edited.connect(self._type)
        self.button.clicked.connect(self._toggle)

    def value(self) -> Any:
        return self.word if self.button.isChecked() else self.number.value()

    def set_value(self, value: Any) -> None:
        self.button.setChecked(value == self.word)
        if value != self.word:
            self.number.set_value(value)
        else:
            self.number.clear()

    def show_automatic(self, text: str) -> None:
        """Say faintly in the empty field what the word stands for now."""
        self.number.setPlaceholderText(text)

    def _type(self) -> None:
        self.button.setChecked(not self.number.text().strip())
        self.edited.emit()

    def _toggle(self, on: bool) -> None:
        if on:
            self._kept = self.number.text() or self._kept
            self.number.clear()
        else:
            self.number.setText(self._kept or self.number.placeholderText())
            self.number.setFocus()
        self.edited.emit()


class Choice(QComboBox):
    """One of a few words; the wheel scrolls the page instead of changing it."""

    edited = Signal()

    def __init__(self, options: list[Any], parent: QWidget | None = None):
        super().__init__(parent)
        for option in options:
            self.addItem(say(option), option)
        self.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.setMinimumContentsLength(6)
        self.activated.connect(lambda _: self.edited.emit())

    def value(self) -> Any:
        return self.currentData()

    def set_value(self, value: Any) -> None:
        for i in range(self.count()):
            if self.itemData(i) == value and type(self.itemData(i)) is type(value):
                self.setCurrentIndex(i)

    def wheelEvent(self, event: QWheelEvent) -> None:
        event.ignore()


class Switch(QCheckBox):
    """Yes or no."""

    edited = Signal()

    def __init__(self, parent: QWidget | None = None):
        super().__init__(parent)
        self.clicked.connect(lambda _: self.edited.emit())

    def value(self) -> bool:
        return self.isChecked()

    def set_value(self, value: Any) -> None:
        self.setChecked(bool(value))


class TextEdit(QLineEdit):
    """A line of text; \\t stands for a tab."""

    edited = Signal()

    def __init__(self, parent: QWidget | None = None):
        super().__init__(parent)
        self.textEdited.connect(self.edited)
        self.setToolTip(tr("\\t stands for a tab"))

    def value(self) -> str:
        return self.text().replace("\\t", "\t")

    def set_value(self, value: Any) -> None:
        if value != self.value():
            self.setText(str(value).replace("\t", "\\t"))
            self.setCursorPosition(0)  # a long text shows how it begins


def _split(annotation: Any) -> tuple[list[type], list[Any]]:
    """Return the plain types and the literal values that an annotation allows."""
    origin = get_origin(annotation)
    if origin is Literal:
        return [], list(get_args(annotation))
    if origin is Annotated:
        return _split(get_args(annotation)[0])
    if origin in (Union, types.UnionType):
        parts = [_split(part) for part in get_args(annotation)]
        return [t for part in parts for t in part[0]], [v for part in parts for v in part[1]]
    return [annotation], []


def _number_text(value: float) -> str:
    if isinstance(value, int):
        return str(value)
    if value and not 1e-3 <= abs(value) < 1e6:
        mantissa, exponent = f"{value:.6e}".split("e")
        return f"{mantissa.rstrip('0').rstrip('.')}e{int(exponent)}"
    return f"{value:g}" if value == float(f"{value:g}") else repr(value)


def _neighbour(value: float, up: int) -> float:
    """Return the next number of the ladder 1, 2, 5, 10 … in every decade."""
    if value <= 0:
        return 0.01 if up > 0 else 0.0
    decade = math.floor(math.log10(value))
    ladder = [m * 10.0**e for e in range(decade - 1, decade + 3) for m in (1, 2, 5)]
    if up > 0:
        return float(f"{min(x for x in ladder if x > value * 1.0001):.3g}")
    return float(f"{max(x for x in ladder if x < value * 0.9999):.3g}")
