"""A spec is one file for window and command line: it round-trips, and says where it is wrong."""

import json
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic_core import PydanticUndefined

from studio.core.reasons import REASONS, Failure
from studio.core.registry import family
from studio.core.spec import dump_spec, parse_spec, read_spec

MINIMAL = {"data": {"train": "reviews.csv"}, "columns": {"text": "text", "label": "label"}}
FAMILIES = ("sources", "tasks", "methods", "exporters")
PLUGINS = [(name, plugin) for name in FAMILIES for plugin in family(name).values()]


def other_value(default: Any, annotation: Any) -> Any:
    """A value of the field's type that is not its default."""
    if default is PydanticUndefined:
        return "/a/file.csv"
    choices = [v for part in (annotation, *get_args(annotation)) for v in get_args(part) if isinstance(v, str)]
    if any(choice != default for choice in choices):
        return next(choice for choice in choices if choice != default)
    if isinstance(default, bool):
        return not default
    if isinstance(default, int | float):
        return default * 2 + (0 if default else 0.25)
    return True if bool in get_args(annotation) else 2 if default == "auto" else ";"


@pytest.mark.parametrize(("name", "plugin"), PLUGINS, ids=lambda value: getattr(value, "id", value))
def test_config_of_every_plugin_survives_the_file(name: str, plugin: Any) -> None:
    values = {
        field: other_value(info.default, info.annotation)
        for field, info in plugin.Config.model_fields.items()
        if field != "kind"
    }
    config = plugin.Config(**values)
    assert all(getattr(config, field) == value for field, value in values.items())
    if name == "methods":
        spec = parse_spec(MINIMAL | {"method": config.model_dump()})
        assert parse_spec(json.loads(json.dumps(dump_spec(spec)))).method == config
    else:
        assert plugin.Config.model_validate_json(config.model_dump_json()) == config
    assert plugin.label and plugin.Config.model_fields["kind"].default == plugin.id


def test_spec_round_trips_and_defaults_may_be_left_out(tmp_path: Path) -> None:
    (tmp_path / "spec.json").write_text(json.dumps(MINIMAL), encoding="utf-8-sig")
    spec = read_spec(tmp_path / "spec.json")
    assert spec.data.train.path == str(tmp_path / "reviews.csv"), "paths are relative to the file"
    assert parse_spec(dump_spec(spec)) == spec
    assert spec.method.kind == "full" and spec.model == "starter"


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"training": {"learning_rate": -1}}, "training.learning_rate"),
        ({"training": {"epochs": 3}}, "training.epochs"),
        ({"method": {"kind": "lora", "r": 0}}, "method.r"),
        ({"method": "qlora"}, "method"),
        ({"data": {"train": "reviews.docx"}}, "data.train"),
        ({"data": {"train": "reviews.csv", "validation": 1.5}}, "data.validation"),
        ({"surprise": 1}, "surprise"),
    ],
)
def test_wrong_value_is_named_at_its_field(change: dict, field: str) -> None:
    with pytest.raises(Failure) as caught:
        parse_spec(MINIMAL | change)
    assert field in caught.value.problem.facts["fields"]
    assert field in str(caught.value)


def test_newer_version_and_broken_file_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(Failure) as caught:
        parse_spec(MINIMAL | {"version": 99})
    assert caught.value.problem.reason == "spec-version"
    (tmp_path / "broken.json").write_text('{"data":\n oops')
    with pytest.raises(Failure, match="Line 2"):
        read_spec(tmp_path / "broken.json")
    with pytest.raises(Failure) as caught:
        read_spec(tmp_path / "none.json")
    assert caught.value.problem.reason == "spec-missing"


def test_settings_of_a_training_that_are_absent_are_those_of_the_task() -> None:
    columns = {"context": "context", "question": "question", "answers": "answers"}
    value = {"data": {"train": "a.csv"}, "columns": columns, "task": "question-answering"}
    own = family("tasks")["question-answering"].training
    assert own["max_length"] == parse_spec(value).training.max_length == 384
    asked = parse_spec(value | {"training": {"max_length": 64, "num_train_epochs": 1}})
    assert (asked.training.max_length, asked.training.num_train_epochs) == (64, 1)
    assert parse_spec(dump_spec(asked)) == asked, "what a spec has is kept"
    usual = {"data": {"train": "a.csv"}, "columns": {"text": "text", "label": "label"}}
    assert parse_spec(usual).training.max_length == 128


def test_every_reason_that_the_code_names_has_words() -> None:
    import re

    root = Path(__file__).parents[2] / "studio"
    code = "\n".join(path.read_text(encoding="utf-8") for path in root.rglob("*.py"))
    named = set(re.findall(r'(?:Failure|Problem|CaptureRefused)\(\s*"([a-z-]+)"', code))
    assert named, "the pattern finds none: it no longer fits the code"
    assert named <= set(REASONS)
