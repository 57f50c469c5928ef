"""What the verification of one export said: the verdict, each check with its number, how the files are used."""

from dataclasses import dataclass
from typing import Any

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QFontDatabase, QGuiApplication
from PySide6.QtWidgets import QGridLayout, QHBoxLayout, QLabel, QPlainTextEdit, QVBoxLayout, QWidget

from studio.core.registry import family
from studio.exporters.reference import PROBE_LENGTHS, PROBE_ROWS
from studio.ui import words
from studio.ui.i18n import tr
from studio.ui.notices import message_of
from studio.ui.panels.exports import Export, usage_code
from studio.ui.panels.format_card import chip_of, milliseconds
from studio.ui.theme import GRID, GROUP, number_font
from studio.ui.widgets.buttons import flat_button, quiet_button
from studio.ui.widgets.cards import Card, Picture
from studio.ui.widgets.chips import Chip
from studio.ui.widgets.labels import Body, PathLabel, Strong

N_SHAPES = (len(PROBE_LENGTHS) + 1) * len(PROBE_ROWS) + 1  # every length and size, and one batch of mixed lengths
_PLAN = "After the export the files are loaded afresh, and this is what is compared and measured:"
_ICONS = {True: ("check", "good"), False: ("error", "bad"), None: ("dot", "muted")}


@dataclass(frozen=True)
class Check:
    """One line of the table; `passed` is None for what is measured and not judged."""

    name: str
    value: str
    passed: bool | None
    exact: str = ""


def checks_of(result: dict[str, Any]) -> list[Check]:
    """Return the lines of a verdict; what could not be measured is said to be missing."""
    allowed = family("exporters")[result["format"]].tolerance
    verified = result.get("verified") is True
    missing = tr("could not be measured")

    def judged(name: str, key: str, say: Any, passes: Any) -> Check:
        value = result.get(key)
        if value is None:
            return Check(name, missing, False)
        return Check(name, say(value), verified or passes(value), repr(value))

    reference = result.get("reference_metric", float("nan"))
    n_rows = words.count(result.get("n_rows", 0))
    return [
        judged(tr("Label names"), "labels_equal", lambda v: tr("equal") if v else tr("different"), bool),
        judged(tr("Tokenizer"), "tokenizer_equal", lambda v: tr("equal") if v else tr("different"), bool),
        judged(
            tr("Same answer as the trained model"), "prediction_agreement",
            lambda v: tr("{share} of {n} rows", share=words.percent(v, 1), n=n_rows), lambda v: v >= allowed.agreement,
        ),
        judged(
            words.word(words.METRICS, result.get("metric_name", "")) or tr("Metric"), "metric",
            lambda v: tr("{value}, trained {reference}", value=words.metric(v), reference=words.metric(reference)),
            lambda v: reference - v <= allowed.metric_drop + 1e-9,
        ),
        # How much is allowed grows with the logits, so a number between the two limits is not judged here.
        judged(
            tr("Largest difference of a logit"), "max_logit_difference", lambda v: words.number(v, 2),
            lambda v: True if v <= allowed.logits else None,
        ),
        judged(
            tr("Lengths and batch sizes"), "shapes_checked",
            lambda v: tr("{n} of {total} shapes", n=len(v), total=N_SHAPES), lambda v: len(v) == N_SHAPES,
        ),
        *_measured(result),
    ]  # fmt: skip


def planned_checks() -> list[Check]:
    """Return the lines as they stand before anything was exported."""
    names = (
        tr("Label names"), tr("Tokenizer"), tr("Same answer as the trained model"), tr("Metric"),
        tr("Largest difference of a logit"), tr("Lengths and batch sizes"), tr("Time for 32 texts"), tr("Size"),
    )  # fmt: skip
    return [Check(name, tr("not yet"), None) for name in names]


def _measured(result: dict[str, Any]) -> list[Check]:
    lines = []
    for name, end in ((tr("Time for 32 texts"), ""), (tr("Time for one text"), "_single")):
        ours, theirs = result.get(f"latency_ms{end}"), result.get(f"reference_latency_ms{end}")
        if ours is not None and theirs is not None:
            said = tr("{ours}, PyTorch {theirs}", ours=milliseconds(ours), theirs=milliseconds(theirs))
            lines.append(Check(name, said, None, f"{ours!r}, {theirs!r}"))
    if "size_bytes" in result:
        lines.append(Check(tr("Size"), words.size(result["size_bytes"]), None, f"{result['size_bytes']:,} B"))
    return lines


class Verification(Card):
    """One export that has ended, or what will be checked. open_requested: the folder to show."""

    open_requested = Signal(str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(tr("Verification"), parent)
        self._directory = ""
        self.badge = Chip()
        self.header.insertWidget(1, self.badge)
        row = QHBoxLayout()
        row.setSpacing(2 * GROUP)
        self.words = Body()
        self.words.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self._table = QGridLayout()
        self._table.setHorizontalSpacing(GRID)
        self._table.setVerticalSpacing(6)
        self._table.setColumnStretch(2, 1)
        left = QVBoxLayout()
        left.setSpacing(GRID)
        left.addWidget(self.words)
        left.addLayout(self._table)
        left.addStretch(1)
        row.addLayout(left, 1)
        self._usage = self._make_usage()
        self._no_usage = QWidget()
        row.addWidget(self._usage, 1)
        row.addWidget(self._no_usage, 1)
        self.body.addLayout(row)
        self._place = QWidget()
        place = QHBoxLayout(self._place)
        place.setContentsMargins(0, 0, 0, 0)
        place.setSpacing(GRID)
        self.path = PathLabel()
        self.open = quiet_button(tr("Open folder"), "export.open", "open")
        self.open.clicked.connect(lambda: self.open_requested.emit(self._directory))
        place.addWidget(self.path, 1)
        place.addWidget(self.open)
        self.add(self._place)
        self.show_export(None)

    def _make_usage(self) -> QWidget:
        usage = QWidget()
        layout = QVBoxLayout(usage)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        line = QHBoxLayout()
        line.addWidget(Strong(tr("How to use it")))
        line.addStretch(1)
        copy = flat_button(tr("Copy"), "export.copy", "copy")
        copy.clicked.connect(lambda: QGuiApplication.clipboard().setText(self.code.toPlainText()))
        line.addWidget(copy)
        layout.addLayout(line)
        self.code = QPlainTextEdit()
        self.code.setReadOnly(True)
        self.code.setAccessibleName(tr("How to use it"))
        font = QFontDatabase.systemFont(QFontDatabase.SystemFont.FixedFont)
        font.setPixelSize(12)
        self.code.setFont(font)
        self.code.setLineWrapMode(QPlainTextEdit.LineWrapMode.NoWrap)
        self.code.setTabChangesFocus(True)
        self.code.setMinimumHeight(150)
        layout.addWidget(self.code, 1)
        return usage

    def show_export(self, export: Export | None) -> None:
        """Show an export that has ended; the badge comes from the run's own result and nothing else."""
        self.badge.set(*chip_of(export))
        text, tone = verdict_of(export) if export else (_PLAN, "muted")
        self.words.setText(tr(text) if export is None else text)
        self.words.setProperty("tone", tone)
        self.words.style().polish(self.words)
        if export is None:
            self._show_checks(planned_checks())
            self._show_usage("")
            self._place.hide()
            return
        self._show_checks(checks_of(export.result) if export.is_measured else [])
        self._directory = str(export.directory)
        code = usage_code(export.readme).replace("path/to/this/folder", export.directory.as_posix())
        self._show_usage(code if export.is_verified else "")
        self.path.setText(self._directory)
        self._place.setVisible(export.directory.is_dir() and export.is_measured)

    def _show_usage(self, code: str) -> None:
        self.code.setPlainText(code)
        self._usage.setVisible(bool(code))
        self._no_usage.setVisible(not code)

    def _show_checks(self, checks: list[Check]) -> None:
        while self._table.count():
            widget = self._table.takeAt(0).widget()
            if widget is not None:
                widget.hide()  # until it goes it would stand at the card's corner
                widget.deleteLater()
        for line, check in enumerate(checks):
            picture = Picture(_ICONS[check.passed][0], 14, _ICONS[check.passed][1])
            name, value = QLabel(check.name), QLabel(check.value)
            value.setProperty("tone", {True: "", False: "bad", None: "muted"}[check.passed])
            value.setFont(number_font())
            value.setToolTip(check.exact)
            value.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
            self._table.addWidget(picture, line, 0)
            self._table.addWidget(name, line, 1)
            self._table.addWidget(value, line, 2, Qt.AlignmentFlag.AlignRight)


def verdict_of(export: Export) -> tuple[str, str]:
    """Return in words how an export ended, and the tone to say it in."""
    if export.is_verified:
        gone = "" if export.directory.is_dir() else " " + tr("Its folder is no longer there.")
        return tr("The files were loaded afresh and are the trained model, within what this format allows.") + gone, ""
    if export.state.problem is not None:
        return message_of(export.state.problem), "bad"
    problems = " ".join(export.result.get("problems") or [])
    return tr("The exported model is not what was trained. {problems}", problems=problems).strip(), "bad"
