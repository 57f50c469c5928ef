"""Size, metric and speed of the formats exported so far, beside the trained model's."""

from collections.abc import Sequence

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
    """Return bars of size, metric and speed by format, the trained model first.

    Speed is told as a multiple of PyTorch's in the same minute: times of different exports were taken at different
    moments, and the computer may have been busy in one of them.
    """
    formats = family("exporters")
    results = {tr(formats[e.format].label): e.result for e in exports}
    first = next(iter(results.values()), {})
    trained = tr("Trained model")
    metric = words.word(words.METRICS, first.get("metric_name", "")) or tr("Metric")
    sizes = {trained: first.get("reference_size_bytes")} | {n: r.get("size_bytes") for n, r in results.items()}
    metrics = {trained: first.get("reference_metric")} | {n: r.get("metric") for n, r in results.items()}
    speeds = {trained: 1.0} | {
        name: r["reference_latency_ms"] / r["latency_ms"] for name, r in results.items() if r.get("latency_ms")
    }
    blocks = [
        Bars(title=tr("Size in MB"), values={n: v / 1e6 for n, v in sizes.items() if v is not None}),
        Bars(title=metric, values={n: v for n, v in metrics.items() if v is not None}),
        Bars(title=tr("Speed, PyTorch is 1"), values=speeds),
    ]
    return blocks if results else []


class Comparison(Card):
    """Three small bar charts of the verified formats; hidden while there is none."""

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
        verified = [export for export in exports if export.is_verified]
        for block in comparison_blocks(verified):
            column = QWidget()
            layout = QVBoxLayout(column)
            layout.setContentsMargins(0, 0, 0, 0)
            layout.addWidget(draw(block))
            layout.addStretch(1)
            self._charts.addWidget(column, 1)
        self._note.setText(tr("Measured on this computer with 32 texts at a time, each format by its own runtime."))
        self.setVisible(bool(verified))
