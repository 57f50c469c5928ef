"""A task's blocks as they are printed: tables and marked texts as HTML, charts as pictures."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from PySide6.QtCore import QPointF, QRectF, Qt
from PySide6.QtGui import QFontMetricsF, QImage, QPainter

from studio.core.blocks import Bars, Block, Curves, Matrix, Scatter, SpanTexts, Table, Texts, TokenTexts
from studio.ui import words
from studio.ui.i18n import tr
from studio.ui.report.curves import DPI
from studio.ui.report.tables import heading, safe, table
from studio.ui.theme import load_theme, number_font
from studio.ui.widgets.chart_view import Chart
from studio.ui.widgets.line_chart import LineChart
from studio.ui.widgets.marks import paint_mark, series_colour, series_pen
from studio.ui.widgets.scatter import ScatterChart
from studio.ui.widgets.span_runs import KINDS, SIGNS, TONES, Run, runs
from studio.ui.widgets.token_texts import KINDS as TOKEN_KINDS
from studio.ui.widgets.token_texts import Chip, folded

CHARTS: dict[type, Callable[[Any], Chart]] = {Curves: LineChart, Scatter: ScatterChart}
MOST_TEXTS, MOST_ROWS, MOST_LETTERS = 12, 20, 420  # that are printed of one block
_MOST_LABELS = 16  # of a confusion matrix that still fits on paper
_SCALE = DPI / 108  # dots of paper in one logical pixel
_MM = DPI / 25.4
_NARROW, _WIDE = (82, 68), (170, 84)  # of a chart without its legend
_ROOMY = 6  # series from which on a chart is wide
_GROUND = 0.18


def chart_picture(block: Block) -> QImage | None:
    """Return a block of curves or points as a picture with its title and legend, None for another kind or none."""
    if type(block) not in CHARTS:
        return None
    chart = CHARTS[type(block)](block)
    if not len(chart.x):
        return None
    wide = len(chart.entries) > _ROOMY
    across, up = (side * _MM / _SCALE for side in (_WIDE if wide else _NARROW))
    theme = load_theme("light")
    font = number_font(theme.small)
    line = QFontMetricsF(font).height() + 3
    places = _legend(chart, across, QFontMetricsF(font)) if len(chart.entries) > 1 else []
    down = up + (line * (places[-1][1] + 1) + 4 if places else 0)
    image = QImage(round(across * _SCALE), round(down * _SCALE), QImage.Format.Format_RGB32)
    image.setDotsPerMeterX(round(_MM * 1000))
    image.setDotsPerMeterY(round(_MM * 1000))
    image.fill(Qt.GlobalColor.white)
    painter = QPainter(image)
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    painter.scale(_SCALE, _SCALE)
    painter.setFont(number_font(theme.small, bold=True))
    painter.setPen(theme.colour("text"))
    painter.drawText(QPointF(2, line - 3), tr(block.title))
    chart.paint(painter, QRectF(0, line + 2, across, up - line - 2), theme)
    painter.setFont(font)
    for entry, (left, at) in zip(chart.entries, places, strict=False):
        middle = up + line * (at + 0.5)
        if entry.swatch == "mark":
            paint_mark(painter, entry.index, QPointF(left + 6, middle), 3.5, series_colour(theme, entry.index))
        else:
            painter.setPen(series_pen(theme, entry.index, 2))
            painter.drawLine(QPointF(left, middle), QPointF(left + 12, middle))
        painter.setPen(theme.colour("text"))
        painter.drawText(QPointF(left + 17, middle + line / 4), f"{entry.name}  {entry.note}".rstrip())
    painter.end()
    return image


def block_html(block: Block) -> str:
    """Return a block as HTML; numbers that stand above already, and what paper has no room for, are left out."""
    writer = _WRITERS.get(type(block))
    return writer(block) if writer else ""


def _legend(chart: Chart, width: float, metrics: QFontMetricsF) -> list[tuple[float, int]]:
    """Return left and line of each entry of a chart's legend."""
    places, left, line = [], 0.0, 0
    for entry in chart.entries:
        wide = metrics.horizontalAdvance(f"{entry.name}  {entry.note}".rstrip()) + 32
        if left and left + wide > width:
            left, line = 0.0, line + 1
        places.append((left, line))
        left += wide
    return places


def _bars(block: Bars) -> str:
    if not block.intervals and block.reference is None:
        rows = [(name, words.number(value)) for name, value in block.values.items()]
        return heading(tr(block.title)) + table([], rows)
    spread = {name: f"{words.number(low)} – {words.number(high)}" for name, (low, high) in block.intervals.items()}
    rows = [(name, words.number(value), spread.get(name, "")) for name, value in block.values.items()]
    if block.reference is not None:
        rows.append((tr("Compared with"), words.number(block.reference), ""))
    return heading(tr(block.title)) + table(["", tr("Value"), tr("95 % interval")], rows)


def _matrix(block: Matrix) -> str:
    if len(block.rows) > _MOST_LABELS:
        return ""
    values, light = np.array(block.values, float), load_theme("light")
    shares = np.where(np.isfinite(values), values, 0.0).clip(0.0) / max(1.0, values[np.isfinite(values)].max(initial=0))
    head = "".join(f'<th class="cell">{safe(name)}</th>' for name in block.columns)
    body = ""
    for name, row, share in zip(block.rows, block.values, shares, strict=True):
        grounds = [light.mix("accent", 0.6 * float(each)) for each in share]
        cells = "".join(
            f'<td class="cell" bgcolor="{ground}">{value:,.0f}</td>' for value, ground in zip(row, grounds, strict=True)
        )
        body += f'<tr><th class="cell">{safe(name)}</th>{cells}</tr>'
    title = tr("{title}: rows are {rows}, columns {columns}", title=tr(block.title), rows=tr(block.row_axis).lower(),
               columns=tr(block.column_axis).lower())  # fmt: skip
    return heading(title) + f'<table cellspacing="2"><tr><th></th>{head}</tr>{body}</table>'


def _table(block: Table) -> str:
    return heading(tr(block.title)) + table([tr(name) for name in block.header], block.rows)


def _texts(block: Texts) -> str:
    rows = [[_short(cell) for cell in row] for row in block.rows[:MOST_ROWS]]
    if not rows:
        return ""
    shown = table([tr(name) for name in block.columns], rows, muted=())
    return heading(tr(block.title)) + shown + _more(block.rows, MOST_ROWS)


def _span_texts(block: SpanTexts) -> str:
    if not block.texts:
        return ""
    labels = block.colour_order()
    kinds = {span.kind for text in block.texts for span in (*text.gold, *text.predicted)}
    key = [tr("Gold is underlined, predicted is tinted.")]
    key += [f"{SIGNS[kind]} {tr(title).lower()}" for kind, title in KINDS.items() if kind in kinds]
    parts = [heading(tr(block.title)), f'<p class="muted">{safe("  ".join(key))}</p>']
    for text in block.texts[:MOST_TEXTS]:
        shown = "".join(_run(run, labels) for run in runs(text))
        note = f'<br><span class="muted">{safe(text.note)}</span>' if text.note else ""
        parts.append(f"<p>{shown}{note}</p>")
    return "".join([*parts, _more(block.texts, MOST_TEXTS)])


def _run(run: Run, labels: list[str]) -> str:
    light = load_theme("light")
    text = safe(run.text).replace("\n", "<br>")
    spans = (run.tag,) if run.tag else run.predicted
    style = ""
    if spans and not run.is_gold:
        colour = series_colour(light, labels.index(spans[0].label)).name()
        style += f"background-color: {light.mix(colour, 0.3 if run.tag else _GROUND)};"
    if run.tag:
        tone = light.colour(TONES[run.tag.kind]).name() if run.tag.kind and run.is_gold else light.text
        return f'<span style="{style} color: {tone}; font-size: 7pt">&nbsp;{text.replace(" ", "&nbsp;")}&nbsp;</span>'
    if run.gold:
        style += "text-decoration: underline;"
    return f'<span style="{style}">{text}</span>' if style else text


def _token_texts(block: TokenTexts) -> str:
    if not block.texts:
        return ""
    light = load_theme("light")
    grounds = {"special": light.mix("accent", 0.2), "cut": light.mix("bad", 0.12), "": light.mix("text", 0.07)}
    grounds |= {"continued": light.mix("text", 0.14), "padding": light.surface}
    kinds = {token.kind for text in block.texts for token in text.tokens}
    key = " ".join(_ground(tr(title), kind, grounds) for kind, title in TOKEN_KINDS.items() if kind in kinds)
    parts = [heading(tr(block.title)), f"<p>{key}</p>" if key else ""]
    for text in block.texts[:MOST_TEXTS]:
        chips = [_chip(chip, grounds) for chip in folded(text.tokens)]
        note = f'<br><span class="muted">{safe(text.note)}</span>' if text.note else ""
        parts.append(f"<p>{''.join(chips)}{note}</p>")
    return "".join([*parts, _more(block.texts, MOST_TEXTS)])


def _chip(chip: Chip, grounds: dict[str, str]) -> str:
    token = chip.token
    return " " * (token.kind != "continued") + _ground(chip.text, token.kind, grounds, token.label)


def _ground(text: str, kind: str, grounds: dict[str, str], label: str = "") -> str:
    struck = "text-decoration: line-through" * (kind == "cut")
    shown = f'<span style="{struck}">{safe(text).replace(" ", "&nbsp;")}</span>'
    below = f'<span class="muted" style="font-size: 7pt">&nbsp;{safe(label)}</span>' if label else ""
    return f'<span style="background-color: {grounds[kind]}">&nbsp;{shown}{below}&nbsp;</span>'


def _more(values: Sequence[Any], shown: int) -> str:
    rest = len(values) - shown
    return f'<p class="muted">{safe(tr("{n} more", n=words.count(rest)))}</p>' if rest > 0 else ""


def _short(text: str) -> str:
    return text if len(text) <= MOST_LETTERS else text[:MOST_LETTERS].rstrip() + " …"


_WRITERS: dict[type, Callable[[Any], str]] = {
    Bars: _bars,
    Matrix: _matrix,
    Table: _table,
    Texts: _texts,
    SpanTexts: _span_texts,
    TokenTexts: _token_texts,
}
