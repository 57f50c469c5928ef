"""The spec of a run as a file: as asked, and with what was picked."""

import json
from pathlib import Path

import pytest

from studio.core.files import write_json
from studio.core.reasons import Failure
from studio.core.rundir import create_run
from studio.core.spec import parse_spec, read_spec
from studio.takeaway.spec_file import save_spec

PICKED = {
    "kernels": "quick", "precision": "bf16", "learning_rate": 2e-4, "max_length": 64, "threads": 2,
    "per_device_train_batch_size": 16, "gradient_accumulation_steps": 2, "torch_compile": False,
    "frozen_output": "once",
}  # fmt: skip


def test_spec_is_saved_as_asked_and_as_resolved(workspace: Path, tmp_path: Path, tiny_csv: Path) -> None:
    asked = parse_spec({"data": {"train": str(tiny_csv)}, "columns": {"text": "text", "label": "label"}})
    run = create_run(workspace, asked)
    out = tmp_path / "specs" / "spec.json"
    save_spec(run, out, is_resolved=False)
    assert read_spec(out) == asked
    with pytest.raises(Failure) as caught:
        save_spec(run, out, is_resolved=True)
    assert caught.value.problem.reason == "spec-unresolved"
    write_json(run.resolved_file, {"picked": {name: {"value": v, "why": ""} for name, v in PICKED.items()}})
    save_spec(run, out, is_resolved=True)
    found = read_spec(out)
    changed = {name: value for name, value in found.training if value != getattr(asked.training, name)}
    wanted = {name: PICKED[name] for name in PICKED if name not in ("kernels", "frozen_output")}
    assert changed == wanted and found.data.train.delimiter == ","
    assert "auto" not in json.dumps(found.data.train.model_dump())
    assert found.model_copy(update={"training": asked.training, "data": asked.data}) == asked
