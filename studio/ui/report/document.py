"""A report as pages: HTML of Qt's own kind with the curves as pictures, on screen, on paper and as PDF."""

import html
import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PySide6.QtCore import QMarginsF, Qt, QUrl
from PySide6.QtGui import QFont, QGuiApplication, QImage, QPageLayout, QPageSize, QPdfWriter, QTextDocument

from studio.core.blocks import Bars, Block, Matrix, Table
from studio.core.rundir import RunDir
from studio.ui import words
from studio.ui.i18n import tr
from studio.ui.report.curves import Line, picture
from studio.ui.report.facts import Measured, ReportFacts, read_report
from studio.ui.theme import load_theme

WIDTH_MM = 170  # of A4 less its margins
A4_PX = WIDTH_MM / 25.4 * 96  # the same in the document's own pixels
_WIDE = 560  # the least width in pixels of a row of six numbers
_MOST_LABELS = 16  # of a confusion matrix that still fits on paper
_POINTS = 9.0
_MANY = 10  # rows of a table
_MUTED = ' class="muted"'


def pictures(facts: ReportFacts) -> dict[str, QImage]:
    """Return a report's curves by name; takes a moment, so call it in the background."""
    series = facts.series
    names = [name for split, name in series if split == "validation" and name != "loss"]
    wide, narrow = (WIDTH_MM, 62), (WIDTH_MM / 2 - 3, 45)
    wanted = {
        "loss": (tr("Loss"), wide, [("train", "loss", "smoothed", 0), ("validation", "loss", "points", 1)]),
        "score": (tr("Validation"), wide, [("validation", n, "points", 1 + i) for i, n in enumerate(names)]),
        "rate": (tr("Learning rate"), narrow, [("train", "learning_rate", "line", 0)]),
        "gradient": (tr("Gradient norm"), narrow, [("train", "grad_norm", "smoothed", 3)]),
    }
    found = {}
    for key, (title, (width, height), curves) in wanted.items():
        lines = [
            # While they are read more points may come; a point's x and y are there before it counts.
            Line(_curve_name(split, name), x := points.x.copy(), points.y[: len(x)].copy(), style, colour)
            for split, name, style, colour in curves
            if (points := series.get((split, name)))
        ]
        if lines:
            found[key] = picture(title, lines, width, height)
    return found


def _curve_name(split: str, name: str) -> str:
    return tr({"train": "training"}.get(split, split)) if name == "loss" else words.word(words.METRICS, name)


def document(
    facts: ReportFacts, images: dict[str, QImage], width: float = A4_PX, ratio: float | None = None
) -> QTextDocument:
    """Return a report that a view shows or a printer prints.

    width: of its lines, in logical pixels. ratio: the screen's pixels in one of these; None for a printer.
    """
    result = QTextDocument()
    result.setDocumentMargin(0)
    font = QFont()
    font.setPointSizeF(_POINTS)  # the window's own font has its size in pixels, which a printer takes as its dots
    result.setDefaultFont(font)
    for name, image in images.items():
        if ratio is not None:  # Qt would leave out pixels
            wanted = round(_share(image) * width * ratio)
            image = image.scaledToWidth(wanted, Qt.TransformationMode.SmoothTransformation)
        result.addResource(QTextDocument.ResourceType.ImageResource, QUrl(f"curve:{name}"), image)
    result.setDefaultStyleSheet(_style())
    result.setHtml(_page(facts, images, width))
    result.setMetaInformation(QTextDocument.MetaInformation.DocumentTitle, facts.title)
    return result


def save_report(run: RunDir, path: Path) -> None:
    """Write a training's report as PDF without a window. Raises Failure where there is none, OSError as `write_pdf`."""
    os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
    app = QGuiApplication.instance() or QGuiApplication(["attune"])
    facts = read_report(run)
    write_pdf(document(facts, pictures(facts)), path)
    app.processEvents()


def write_pdf(shown: QTextDocument, path: Path) -> None:
    """Write a report as PDF on A4. Raises OSError where the file can't be written."""
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = QPdfWriter(str(path))
    writer.setTitle(shown.metaInformation(QTextDocument.MetaInformation.DocumentTitle))
    writer.setCreator("Attune")
    writer.setResolution(1200)
    layout = QPageLayout(QPageSize(QPageSize.PageSizeId.A4), QPageLayout.Orientation.Portrait, QMarginsF(0, 0, 0, 0))
    writer.setPageLayout(layout)
    path.unlink(missing_ok=True)
    shown.print_(writer)
    if not path.is_file() or not path.stat().st_size:
        raise OSError(f"{path} can't be written")


def _style() -> str:
    light = load_theme("light")
    return f"""
        body {{ color: {light.text}; }}
        h1 {{ font-size: 17pt; margin-bottom: 2px; }}
        h2 {{ font-size: 12pt; margin-top: 18px; margin-bottom: 6px; }}
        .muted, th {{ color: {light.muted}; }}
        .warning {{ color: {light.warning}; }}
        td, th {{ padding: 2px 14px 2px 0px; text-align: left; font-weight: normal; }}
        .tile {{ padding: 8px 22px 8px 0px; white-space: nowrap; }}
        .cell {{ font-size: 7.5pt; padding: 2px 3px; white-space: nowrap; text-align: right; }}
    """


def _page(facts: ReportFacts, images: dict[str, QImage], width: float) -> str:
    parts = [f"<h1>{_safe(facts.title)}</h1>", f'<p class="muted">{_safe(facts.line)}</p>']
    parts.append(f"<p><b>{_safe(facts.outcome)}</b> {_safe(facts.hint)}</p>")
    tiles, in_row = list(facts.tiles.items()), 6 if width >= _WIDE else 3
    rows = [tiles[i : i + in_row] for i in range(0, len(tiles), in_row)]
    parts.append("<table>" + "".join(f"<tr>{''.join(_tile(*tile) for tile in row)}</tr>" for row in rows) + "</table>")
    if images:
        parts.append(f"<h2>{_safe(tr('Curves'))}</h2>")
        for row in (("loss",), ("score",), ("rate", "gradient")):
            drawn = [_image(name, images[name], width) for name in row if name in images]
            parts.append(f"<p>{' '.join(drawn)}</p>" if drawn else "")
    for at, measured in enumerate(facts.measured):
        # What was found by label is told of the part that counts most.
        parts += _measured(measured, with_blocks=at == 0, on_new_page=at == 0 and bool(images))
    if facts.picked:
        parts.append(f"<h2>{_safe(tr('What was picked, and why'))}</h2>")
        parts.append(_table([tr("Setting"), tr("Picked"), tr("Why")], facts.picked))
    if facts.warnings:
        parts.append(f"<h2>{_safe(tr('Good to know'))}</h2>")
        parts += [f'<p class="warning">{_safe(text)}</p>' for text in facts.warnings]
    for title, rows in facts.sections:
        parts.append(f"<h2>{_safe(title)}</h2>")
        # Many short rows stand in two columns.
        half = -(-len(rows) // 2)
        pairs = [a + b for a, b in zip(rows[:half], [*rows[half:], ("", "")], strict=False)]
        parts.append(_table([], pairs if len(rows) > _MANY else rows))
    return "<body>" + "".join(parts) + "</body>"


def _measured(measured: Measured, with_blocks: bool, on_new_page: bool) -> list[str]:
    title = tr("Measured on the {split} part ({n} rows)", split=measured.title, n=words.count(measured.n_rows))
    rows = [
        (name, words.metric(value), f"{words.metric(interval[0])} – {words.metric(interval[1])}" if interval else "")
        for name, (value, interval) in measured.metrics.items()
    ]
    header = [tr("Metric"), tr("Value"), tr("95 % interval")]
    style = ' style="page-break-before: always"' if on_new_page else ""
    blocks = [_block(block) for block in measured.blocks] if with_blocks else []
    return [f"<h2{style}>{_safe(title)}</h2>", _table(header, rows), *blocks]


def _block(block: Block) -> str:
    """Return a block as a table; numbers that stand above already, and what paper has no room for, are left out."""
    if isinstance(block, Matrix):
        return _matrix(block) if len(block.rows) <= _MOST_LABELS else ""
    if isinstance(block, Bars):
        rows = [(name, words.number(value)) for name, value in block.values.items()]
        return f"<p><b>{_safe(tr(block.title))}</b></p>{_table([], rows)}"
    if isinstance(block, Table):
        return f"<p><b>{_safe(tr(block.title))}</b></p>{_table(block.header, block.rows)}"
    return ""


def _matrix(block: Matrix) -> str:
    values, light = np.array(block.values, float), load_theme("light")
    most = max(1.0, float(np.nanmax(values))) if values.size else 1.0
    head = "".join(f'<th class="cell">{_safe(name)}</th>' for name in block.columns)
    body = ""
    for name, row in zip(block.rows, block.values, strict=True):
        cells = "".join(
            f'<td class="cell" bgcolor="{light.mix("accent", 0.6 * value / most)}">{value:,.0f}</td>' for value in row
        )
        body += f'<tr><th class="cell">{_safe(name)}</th>{cells}</tr>'
    title = tr("{title}: rows are {rows}, columns {columns}", title=tr(block.title), rows=tr(block.row_axis).lower(),
               columns=tr(block.column_axis).lower())  # fmt: skip
    table = f'<table cellspacing="2"><tr><th></th>{head}</tr>{body}</table>'
    return f"<p><b>{_safe(title)}</b></p>{table}"


def _table(header: list[str], rows: Iterable[Iterable[object]]) -> str:
    head = "".join(f"<th>{_safe(name)}</th>" for name in header)
    body = ""
    for first, *rest in rows:
        cells = "".join(f"<td{_MUTED * (at == 1)}>{_safe(str(cell))}</td>" for at, cell in enumerate(rest))
        body += f"<tr><td{_MUTED}>{_safe(str(first))}</td>{cells}</tr>"
    return f"<table>{f'<tr>{head}</tr>' if header else ''}{body}</table>"


def _tile(name: str, value: str) -> str:
    name, value = (_safe(text).replace(" ", "&nbsp;") for text in (name, value))
    return f'<td class="tile"><span class="muted">{name}</span><br><span style="font-size: 14pt">{value}</span></td>'


def _image(name: str, image: QImage, width: float) -> str:
    return f'<img src="curve:{name}" width="{_share(image) * width:.0f}">'


def _share(image: QImage) -> float:
    """Return the share of a line that a picture takes."""
    return image.width() / image.dotsPerMeterX() * 1000 / WIDTH_MM


def _safe(text: str) -> str:
    return html.escape(text)
