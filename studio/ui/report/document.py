"""A report as pages: HTML of Qt's own kind with the curves as pictures, on screen, on paper and as PDF."""

import os
from pathlib import Path

from PySide6.QtCore import QMarginsF, Qt, QUrl
from PySide6.QtGui import QFont, QGuiApplication, QImage, QPageLayout, QPageSize, QPdfWriter, QTextDocument

from studio.core.blocks import Block
from studio.core.rundir import RunDir
from studio.ui import words
from studio.ui.i18n import tr
from studio.ui.report.blocks import block_html, chart_picture
from studio.ui.report.curves import Line, picture
from studio.ui.report.facts import Measured, ReportFacts, read_report
from studio.ui.report.tables import safe, table
from studio.ui.theme import load_theme

WIDTH_MM = 170  # of A4 less its margins
A4_PX = WIDTH_MM / 25.4 * 96  # the same in the document's own pixels
_WIDE = 560  # the least width in pixels of a row of six numbers
_POINTS = 9.0
_MANY = 10  # rows of a table
_CHART = "block"  # with its place begins the name of a chart among the pictures


def pictures(facts: ReportFacts) -> dict[str, QImage]:
    """Return a report's curves and charts by name; takes a moment, so call it in the background."""
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
    # What was found by label is told of the part that counts most.
    blocks = facts.measured[0].blocks if facts.measured else []
    charts = {f"{_CHART}{at}": chart_picture(block) for at, block in enumerate(blocks)}
    return found | {name: image for name, image in charts.items() if image is not None}


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
    parts = [f"<h1>{safe(facts.title)}</h1>", f'<p class="muted">{safe(facts.line)}</p>']
    parts.append(f"<p><b>{safe(facts.outcome)}</b> {safe(facts.hint)}</p>")
    tiles, in_row = list(facts.tiles.items()), 6 if width >= _WIDE else 3
    rows = [tiles[i : i + in_row] for i in range(0, len(tiles), in_row)]
    parts.append("<table>" + "".join(f"<tr>{''.join(_tile(*tile) for tile in row)}</tr>" for row in rows) + "</table>")
    has_curves = any(not name.startswith(_CHART) for name in images)
    if has_curves:
        parts.append(f"<h2>{safe(tr('Curves'))}</h2>")
        for row in (("loss",), ("score",), ("rate", "gradient")):
            drawn = [_image(name, images[name], width) for name in row if name in images]
            parts.append(f"<p>{' '.join(drawn)}</p>" if drawn else "")
    for at, measured in enumerate(facts.measured):
        blocks = _blocks(measured.blocks, images, width) if at == 0 else []
        parts += [*_measured(measured, on_new_page=at == 0 and has_curves), *blocks]
    if facts.picked:
        parts.append(f"<h2>{safe(tr('What was picked, and why'))}</h2>")
        parts.append(table([tr("Setting"), tr("Picked"), tr("Why")], facts.picked))
    if facts.warnings:
        parts.append(f"<h2>{safe(tr('Good to know'))}</h2>")
        parts += [f'<p class="warning">{safe(text)}</p>' for text in facts.warnings]
    for title, rows in facts.sections:
        parts.append(f"<h2>{safe(title)}</h2>")
        # Many short rows stand in two columns.
        half = -(-len(rows) // 2)
        pairs = [a + b for a, b in zip(rows[:half], [*rows[half:], ("", "")], strict=False)]
        parts.append(table([], pairs if len(rows) > _MANY else rows))
    return "<body>" + "".join(parts) + "</body>"


def _measured(measured: Measured, on_new_page: bool) -> list[str]:
    title = tr("Measured on the {split} part ({n} rows)", split=measured.title, n=words.count(measured.n_rows))
    rows = [
        (name, words.metric(value), f"{words.metric(interval[0])} – {words.metric(interval[1])}" if interval else "")
        for name, (value, interval) in measured.metrics.items()
    ]
    header = [tr("Metric"), tr("Value"), tr("95 % interval")]
    style = ' style="page-break-before: always"' if on_new_page else ""
    return [f"<h2{style}>{safe(title)}</h2>", table(header, rows)]


def _blocks(blocks: list[Block], images: dict[str, QImage], width: float) -> list[str]:
    """Return blocks as HTML; charts that follow each other stand side by side where they fit."""
    parts: list[str] = []
    charts: list[str] = []
    for at, block in enumerate(blocks):
        name = f"{_CHART}{at}"
        if name in images:
            charts.append(_image(name, images[name], width))
            continue
        if charts:
            parts.append(f"<p>{' '.join(charts)}</p>")
            charts = []
        parts.append(block_html(block))
    return [*parts, f"<p>{' '.join(charts)}</p>"] if charts else parts


def _tile(name: str, value: str) -> str:
    name, value = (safe(text).replace(" ", "&nbsp;") for text in (name, value))
    return f'<td class="tile"><span class="muted">{name}</span><br><span style="font-size: 14pt">{value}</span></td>'


def _image(name: str, image: QImage, width: float) -> str:
    return f'<img src="curve:{name}" width="{_share(image) * width:.0f}">'


def _share(image: QImage) -> float:
    """Return the share of a line that a picture takes."""
    return image.width() / image.dotsPerMeterX() * 1000 / WIDTH_MM
