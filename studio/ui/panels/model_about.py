"""What the chosen model is: its facts, and its layers with what of them trains."""

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QGridLayout, QLabel, QScrollArea, QVBoxLayout, QWidget

from studio.core.anatomy import ModelInfo, Tensor, layer_strip
from studio.ui import words
from studio.ui.i18n import tr
from studio.ui.theme import GRID, GROUP, number_font
from studio.ui.widgets.cards import Card
from studio.ui.widgets.labels import PathLabel, Small, Strong
from studio.ui.widgets.layers import LayerStrip


class ModelAbout(Card):
    """Shows a model; `layer_clicked` carries a row of the strip: 0 the embeddings, then the layers, then the head."""

    layer_clicked = Signal(int)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(" ", parent)
        self.path = PathLabel()
        self.path.setProperty("level", "small")
        self.add(self.path)
        self._facts = QGridLayout()
        self._facts.setHorizontalSpacing(GROUP)
        self._facts.setVerticalSpacing(GRID)
        self.body.addSpacing(GRID)
        self.body.addLayout(self._facts)
        self.body.addSpacing(GRID)
        self.strip = LayerStrip()
        self.strip.setObjectName("model.strip")
        self.strip.layer_clicked.connect(self.layer_clicked)
        inside = QWidget()
        inside.setObjectName("scrolled")
        place = QVBoxLayout(inside)
        place.setContentsMargins(0, 0, 0, 0)
        place.addWidget(self.strip)
        self._area = QScrollArea()
        self._area.setWidgetResizable(True)
        self._area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self._area.setWidget(inside)
        self.add(self._area, 100)
        self.trainable = Strong()
        self.trainable.setObjectName("model.trainable")
        self.hint = Small()
        self.add(self.trainable)
        self.add(self.hint)
        self.body.addStretch(1)

    def show_model(self, info: ModelInfo) -> None:
        """Show the facts of a model."""
        is_starter = info.name == "starter"
        self.set_title(tr("Starter · all-MiniLM-L6-v2") if is_starter else info.name)
        self.path.setText(info.path)
        self.path.setVisible(not is_starter)
        while self._facts.count():
            self._facts.takeAt(0).widget().deleteLater()
        for i, (name, value, exact) in enumerate(_facts(info)):
            row, column = divmod(i, 3)
            cell = _Fact(name, value, exact)
            self._facts.addWidget(cell, row, column)

    def show_trainable(self, pieces: list[tuple[Tensor, int]], hint: str) -> None:
        """Show the layers, each part by its size, with the share of it that trains."""
        self.strip.set_layers(layer_strip(pieces))
        self._area.setMaximumHeight(self.strip.sizeHint().height())
        self.hint.setText(hint)
        self.hint.setVisible(bool(hint))


class _Fact(QWidget):
    """A named fact; the exact value on hover."""

    def __init__(self, name: str, value: str, exact: str) -> None:
        super().__init__()
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(2)
        label = Small(name)
        label.setWordWrap(False)
        said = QLabel(value)
        said.setFont(number_font())
        said.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        said.setToolTip(exact)
        self.setAccessibleName(f"{name}: {value}")
        layout.addWidget(label)
        layout.addWidget(said)


def _facts(info: ModelInfo) -> list[tuple[str, str, str]]:
    """Return name, shown value and exact value of what is known of a model."""

    def number(n: int) -> tuple[str, str]:
        return (words.count(n), f"{n:,}") if n else ("–", tr("Its config does not say."))

    longest = (tr("{n} tokens", n=words.count(info.max_positions)), f"{info.max_positions:,}")
    known: list[tuple[str, tuple[str, str]]] = [
        (tr("Architecture"), (info.model_type, info.model_type)),
        (tr("Layers"), number(info.n_layers)),
        (tr("Heads per layer"), number(info.n_heads)),
        (tr("Width"), number(info.hidden_size)),
        (tr("Vocabulary"), number(info.vocab_size)),
        (tr("Longest text"), longest if info.max_positions else ("–", tr("Its config does not say."))),
        (tr("Parameters"), number(info.n_parameters)),
        (tr("Size"), (words.size(info.size_bytes), f"{info.size_bytes:,} B")),
        (tr("Licence"), (info.license or tr("not stated"), tr("As the model's README says."))),
    ]
    return [(name, *said) for name, said in known]
