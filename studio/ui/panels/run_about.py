"""What a training run is: its rows, its model, its settings, and what was picked for it and why."""

from dataclasses import dataclass
from typing import Any

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QLabel, QVBoxLayout, QWidget

from studio.core.registry import family
from studio.core.rundir import RunDir, readable_id
from studio.core.spec import TrainingSpec
from studio.core.state import RunState
from studio.ui import editors, words
from studio.ui.i18n import tr
from studio.ui.notices import message_of
from studio.ui.theme import GRID, number_font
from studio.ui.widgets.buttons import flat_button
from studio.ui.widgets.cards import Finding
from studio.ui.widgets.labels import Strong


@dataclass(frozen=True)
class RunFacts:
    """What a run's directory says of it besides its events: its name and its spec."""

    name: str
    spec: Any

    @property
    def line(self) -> str:
        """Data, model and method in a few words."""
        return " ▸ ".join([words.file_name(self.spec.data.train.path), model_name(self.spec.model), self.method])

    @property
    def method(self) -> str:
        return method_name(self.spec.method.kind)


def read_facts(run: RunDir) -> RunFacts:
    """Return the facts of a run; reads files, so call it in the background. Raises Failure."""
    return RunFacts(run.name() or readable_id(run.id), run.spec())


def model_name(model: str) -> str:
    """Return a model as people call it: the starter, or the name of a folder."""
    return tr("Starter") if model == "starter" else words.file_name(model)


def method_name(kind: str) -> str:
    """Return the name of a method."""
    plugin = family("methods").get(kind)
    return tr(plugin.label) if plugin else kind


class RunAbout(QWidget):
    """The facts of the shown run, in sections; `reuse_asked` when its settings shall be those of the next run."""

    reuse_asked = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("scrolled")
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, GRID, GRID, GRID)
        layout.setSpacing(GRID)
        self._body = QVBoxLayout()
        self._body.setSpacing(4)
        layout.addLayout(self._body)
        self._reuse = flat_button(tr("Use these settings for the next run"), "train.reuse", "refresh")
        self._reuse.clicked.connect(self.reuse_asked)
        layout.addWidget(self._reuse, 0, Qt.AlignmentFlag.AlignLeft)
        layout.addStretch(1)
        self._shown: Any = None

    def show_run(self, state: RunState, facts: RunFacts | None) -> None:
        """Show a run; the texts are made anew only when one of them is another."""
        wanted = sections(state, facts)
        self._reuse.setVisible(facts is not None)
        if wanted == self._shown:
            return
        self._shown = wanted
        while self._body.count():
            widget = self._body.takeAt(0).widget()
            widget.hide()
            widget.deleteLater()
        for heading, lines in wanted:
            title = Strong(heading)
            title.setContentsMargins(0, GRID if self._body.count() else 0, 0, 0)
            self._body.addWidget(title)
            for tone, text in lines:
                self._body.addWidget(_line(tone, text))


def sections(state: RunState, facts: RunFacts | None) -> list[tuple[str, list[tuple[str, str]]]]:
    """Return what there is to say of a run: headings, each with lines of (tone, text); tone "" is plain."""
    found = []
    if state.data is not None:
        d = state.data
        counts = (tr("training"), d.n_train), (tr("validation"), d.n_validation), (tr("test"), d.n_test)
        lines = [("", " · ".join(f"{words.count(n)} {name}" for name, n in counts))]
        lines.append(("", tr("{n} labels", n=len(d.labels))))
        if d.n_truncated:
            lines.append(("warning", tr("{n} texts are longer and were cut.", n=words.count(d.n_truncated))))
        found.append((tr("Rows"), lines))
    if state.model is not None:
        m = state.model
        share = words.percent(m.n_trainable / max(1, m.n_parameters), 0 if m.n_trainable == m.n_parameters else 1)
        text = tr("{some} of {all} parameters train ({share})", some=words.count(m.n_trainable),
                  all=words.count(m.n_parameters), share=share)  # fmt: skip
        found.append((tr("Model"), [("", text)]))
    if state.picked:
        found.append((tr("Picked for you"), [("", _pick(p)) for p in state.picked.values()]))
    if facts is not None:
        found.append((tr("Settings"), [("", text) for text in _settings(facts.spec.training)]))
    if state.warnings:
        found.append((tr("Good to know"), [("warning", message_of(p)) for p in state.warnings]))
    began = tr("Began {moment}") if state.started or state.is_active else tr("Added {moment}")
    when = [began.format(moment=words.moment(state.started or state.created))]
    if state.attempt > 1:
        when.append(tr("Attempt {n}", n=state.attempt))
    seconds = state.result.get("train_seconds") or state.train_seconds
    if seconds:
        when.append(tr("Trained for {time}", time=words.duration(seconds)))
    found.append((tr("Time"), [("", " · ".join(when))]))
    return found


def picked_name(name: str) -> str:
    """Return what people call a thing that was picked: the title of its setting, if it is one."""
    known = TrainingSpec.model_fields.get(name)
    return tr(known.title) if known else words.word({}, name).capitalize()


def _pick(pick: Any) -> str:
    return tr("{name} {value}: {why}.", name=picked_name(pick.name), value=editors.say(pick.value), why=tr(pick.why))


def _settings(training: TrainingSpec) -> list[str]:
    """Return the five settings that matter, and those of the others that are not at their default."""
    found = []
    for name, info in TrainingSpec.model_fields.items():
        value, extra = getattr(training, name), info.json_schema_extra or {}
        if not extra.get("advanced") or value != info.default:
            found.append(f"{tr(info.title)} {editors.say(value)}" + (f" {tr(extra['unit'])}" if extra["unit"] else ""))
    return found


def _line(tone: str, text: str) -> QWidget:
    if tone:
        return Finding(tone, text)
    label = QLabel(text)
    label.setWordWrap(True)
    label.setFont(number_font())
    label.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
    return label
