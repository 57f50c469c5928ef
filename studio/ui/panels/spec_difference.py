"""What distinguishes the specs of several runs, as lines of a table."""

from collections.abc import Mapping
from typing import Any

from studio.core.registry import family
from studio.core.spec import DataSpec, TrainingSpec, dump_spec
from studio.ui import editors, words
from studio.ui.i18n import tr
from studio.ui.panels.run_about import method_name, model_name

_TITLES = {
    "data.train.path": "Data", "task.kind": "Task", "model": "Model", "method.kind": "Method",
    "columns.text": "Text column", "columns.label": "Label column",
}  # fmt: skip
_DULL = ("name", "version", "kind", "data.train.kind")


def differences(specs: Mapping[str, Any]) -> list[tuple[str, dict[str, str]]]:
    """Return the settings that are not the same in all specs, by title: each with its words by run id.

    specs: TrainSpecs by run id. A setting that a spec lacks is shown as a dash.
    """
    flat = {run: _flatten(dump_spec(spec)) for run, spec in specs.items()}
    names = dict.fromkeys(name for values in flat.values() for name in values if name not in _DULL)
    found = []
    for name in names:
        values = {run: values[name] for run, values in flat.items() if name in values}
        if len(values) < len(flat) or len({repr(value) for value in values.values()}) > 1:
            found.append((title_of(name), {run: _say(name, values[run]) if run in values else "–" for run in flat}))
    return found


def title_of(name: str) -> str:
    """Return the title of a spec's field by its dotted path."""
    part, _, last = name.rpartition(".")
    methods = [method.Config for method in family("methods").values()]
    for fields in {"training": [TrainingSpec], "data": [DataSpec], "method": methods}.get(part, []):
        if last in fields.model_fields and fields.model_fields[last].title:
            return tr(fields.model_fields[last].title)
    return tr(_TITLES[name]) if name in _TITLES else words.word({}, last or name).capitalize()


def _say(name: str, value: Any) -> str:
    if name == "method.kind":
        return method_name(value)
    if name == "model":
        return model_name(value)
    if name.endswith("path"):
        return words.file_name(value)
    return editors.say(value)


def _flatten(value: Any, path: str = "") -> dict[str, Any]:
    if not isinstance(value, dict):
        return {path: value}
    return {
        name: inner
        for key, part in value.items()
        for name, inner in _flatten(part, f"{path}.{key}" if path else key).items()
    }
