"""A run's spec as the file that the command line takes: as it was asked for, or with what was picked for it."""

from pathlib import Path
from typing import Any

from studio.core.estimate import as_picked
from studio.core.files import read_json, write_json
from studio.core.reasons import Failure
from studio.core.registry import PluginConfig
from studio.core.rundir import RunDir
from studio.core.spec import TrainSpec, dump_spec
from studio.sources.tables import open_table


def save_spec(run: RunDir, path: Path, is_resolved: bool) -> None:
    """Write a run's spec. Raises Failure where it was never resolved, or where the file can't be written."""
    spec = resolved_spec(run) if is_resolved else run.spec()
    try:
        write_json(path, dump_spec(spec))
    except OSError as error:
        raise Failure("workspace-unwritable", path=str(path), message=error.strerror or str(error)) from error


def resolved_spec(run: RunDir) -> Any:
    """Return a run's spec with a value in the place of each `auto` that was picked.

    Quick layers have no name of their own: `kernels` stays automatic. Raises Failure "spec-unresolved".
    """
    spec = run.spec()
    if not isinstance(spec, TrainSpec):
        return spec  # other kinds of run pick nothing
    found = read_json(run.resolved_file)
    if found is None:
        raise Failure("spec-unresolved", run=run.id)
    picked = {name: each["value"] for name, each in found["picked"].items()}
    training = as_picked(spec.training, picked)
    named = ("learning_rate", "precision", "threads", "torch_compile", "max_length")
    changes = {name: picked[name] for name in named if name in picked}
    if picked.get("kernels") == "plain":
        changes["kernels"] = "plain"
    parts = {name: _resolved_source(getattr(spec.data, name), run) for name in ("train", "validation", "test")}
    return spec.model_copy(
        update={"training": training.model_copy(update=changes), "data": spec.data.model_copy(update=parts)}
    )


def _resolved_source(part: Any, run: RunDir) -> Any:
    """Return a source with the options that were found out; as it is where its file is gone."""
    if not isinstance(part, PluginConfig):
        return part
    try:
        return open_table(part, run.path.parent.parent).config
    except Failure:
        return part
