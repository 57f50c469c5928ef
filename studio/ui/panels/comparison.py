"""Size, metric and time of the formats exported so far, beside the trained model's."""

from collections.abc import Sequence
from typing import Any

from PySide6.QtWidgets import QHBoxLayout, QVBoxLayout, QWidget

from studio.core.blocks import Bars
from studio.core.registry import family
from studio.ui import words
from studio.ui.i18n import tr
from studio.ui.panels.exports import Export
from studio.ui.theme import GROUP
from studio.ui.widgets.blocks import draw
from studio.ui.widgets.cards import Card
from studio.ui.widgets.labels import Small


def comparison_blocks(exports: Sequence[Export]) -> list[Bars]:
    """Return bars of size, metric and time by format, the trained model first."""
    reference = tr("Trained model")
    formats = family("exporters")
    results = {tr(formats[e.format].label): e.result for e in exports}
    metric = next((r["metric_name"] for r in results.values() if r.get("metric_name")), "")
    rows = (
        (tr("Size"), "MB", "size_bytes", "reference_size_bytes", 1e-6),
        (words.word(words.METRICS, metric) if metric else tr("Metric"), "", "metric", "reference_metric", 1.0),
        (tr("Time for 32 texts"), "ms", "latency_ms", "reference_latency_ms", 1.0),
    )
    blocks = []
    for title, unit, key, reference_key, scale in rows:
        first = next((r[reference_key] for r in results.values() if r.get(reference_key) is not None), None)
        values: dict[str, Any] = {} if first is None else {reference: first * scale}
        values |= {name: r[key] * scale for name, r in results.items() if r.get(key) is not None}
        blocks.append(Bars(title=title, values=values, unit=unit))
    return [block for block in blocks if block.values]


class Comparison(Card):
    """Three small bar charts; hidden while nothing was measured."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(tr("Formats compared"), parent)
        self._charts = QHBoxLayout()
        self._charts.setSpacing(2 * GROUP)
        self.body.addLayout(self._charts)
        self._note = Small()
        self.add(self._note)
        self.hide()

    def show_exports(self, exports: Sequence[Export]) -> None:
        """Compare these exports, one a format."""
        while self._charts.count():
            widget = self._charts.takeAt(0).widget()
            if widget is not None:
                widget.deleteLater()
        for block in comparison_blocks(exports):
            column = QWidget()
            layout = QVBoxLayout(column)
            layout.setContentsMargins(0, 0, 0, 0)
            layout.addWidget(draw(block))
            layout.addStretch(1)
            self._charts.addWidget(column, 1)
        self._note.setText(tr("Measured on this computer, each format by its own runtime."))
        self.setVisible(bool(exports))
