"""A run as a Python file: without Attune, its losses are those of the run."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from studio.core.reasons import Failure
from studio.core.registry import family
from studio.core.rundir import create_run
from studio.core.spec import EvaluateSpec, parse_spec
from studio.core.state import RunState
from studio.takeaway.script import save_script
from tests.in_process import execute

METHODS = ["full", {"kind": "freeze", "layers": 1}, {"kind": "lora", "r": 4}]
# As if Attune were not installed, which it is where the tests run.
ALONE = "import runpy, sys; sys.modules['studio'] = None; del sys.argv[0]; runpy.run_path(sys.argv[0], {}, '__main__')"


def losses(script: Path, folder: Path) -> dict[int, float]:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-P", "-c", ALONE, str(script), str(folder)],
        capture_output=True, text=True, encoding="utf-8", cwd=script.parent, env=environment, timeout=240,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    said = [json.loads(line) for line in done.stdout.splitlines()]
    return {each["step"]: each["loss"] for each in said if "loss" in each}


def distance(state: RunState, found: dict[int, float]) -> float:
    series = state.series["train", "loss"]
    first = dict(zip(series.x[:20].astype(int).tolist(), series.y[:20].tolist(), strict=True))
    assert len(first) == 20
    return max(abs(value - found[step]) for step, value in first.items())


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method if isinstance(method, str) else method["kind"])
def test_script_trains_as_the_run_did(workspace: Path, tmp_path: Path, tiny_spec: dict, method: object) -> None:
    tiny_spec["training"] |= {"gradient_accumulation_steps": 1, "early_stopping_patience": 5}
    run, state = execute(workspace, tiny_spec | {"method": method})
    assert state.state == "finished", state.problem
    script = tmp_path / "my script.py"
    save_script(run, script)
    found = losses(script, tmp_path / "out")
    assert distance(state, found) <= 1e-4
    saved = "adapter_model.safetensors" if method == METHODS[2] else "model.safetensors"
    assert (tmp_path / "out" / "model" / saved).is_file()
    if method == "full":
        tiny_spec["training"] |= {"seed": 43}
        assert distance(execute(workspace, tiny_spec)[1], found) > 1e-2, "another seed is another run"


def test_script_starts_the_head_of_a_number_as_the_run_did(workspace: Path, tmp_path: Path, tiny_spec: dict) -> None:
    rows = [f"red {i},blue {i % 7},{50 + i % 5}" for i in range(120)]
    (tmp_path / "pairs.csv").write_text("\n".join(["a,b,score", *rows]) + "\n", encoding="utf-8")
    tiny_spec |= {
        "data": tiny_spec["data"] | {"train": str(tmp_path / "pairs.csv")},
        "columns": {"text": "a", "text_pair": "b", "label": "score"},
        "task": {"kind": "text-classification", "problem_type": "regression"},
    }
    run, state = execute(workspace, tiny_spec)
    assert state.state == "finished", state.problem
    save_script(run, tmp_path / "script.py")
    found = losses(tmp_path / "script.py", tmp_path / "out")
    assert distance(state, found) <= 1e-4
    assert max(found.values()) < 100, "a head that begins at zero is 2,700 off"


def test_all_methods_are_covered_above() -> None:
    assert {method if isinstance(method, str) else method["kind"] for method in METHODS} == set(family("methods"))


def test_script_takes_other_files_and_kinds_of_rows_and_plain_layers(
    workspace: Path, tmp_path: Path, tiny_spec: dict
) -> None:
    import pyarrow.csv
    import pyarrow.parquet

    table = pyarrow.csv.read_csv(tiny_spec["data"]["train"])
    lines = [json.dumps(row) for row in table.to_pylist()]
    (tmp_path / "train.jsonl").write_text("\n".join([*lines[:90], '{"text": "no label"}']) + "\n", encoding="utf-8")
    pyarrow.parquet.write_table(table.slice(90, 20), tmp_path / "validation.parquet")
    held_out = [f"{row['label']};{row['text']}" for row in table.to_pylist()[110:]]
    (tmp_path / "test.csv").write_text("\n".join(["label;text", *held_out]) + "\n", encoding="utf-8")
    parts = {"train": "train.jsonl", "validation": "validation.parquet", "test": "test.csv"}
    data = {part: str(tmp_path / name) for part, name in parts.items()}
    tiny_spec["training"] |= {"kernels": "plain", "gradient_accumulation_steps": 2, "per_device_train_batch_size": 3}
    run, state = execute(workspace, tiny_spec | {"data": data})
    assert state.state == "finished", state.problem
    save_script(run, tmp_path / "script.py")
    assert distance(state, losses(tmp_path / "script.py", tmp_path / "out")) <= 1e-4
    (tmp_path / "train.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    with pytest.raises(AssertionError, match="its content has changed since"):
        losses(tmp_path / "script.py", tmp_path / "changed")


def test_script_says_what_it_leaves_out_and_carries_no_import_of_attune(workspace: Path, tiny_spec: dict) -> None:
    from studio.takeaway.script import script_of

    tiny_spec["training"] |= {"num_train_epochs": 1}
    run, _ = execute(workspace, tiny_spec)
    run.rename('a "quoted" \\name')
    text = script_of(run)
    compile(text, "script.py", "exec")
    top = text.split('"""')[1]
    assert "What it leaves out" in top and "crash safety" in top and "live curves" in top and "a 'quoted' /name" in top
    assert not re.search(r"^\s*(from|import) studio", text, re.M) and "# [" not in text and "noqa" not in text


def test_runs_that_can_not_be_scripts_say_why(workspace: Path, tiny_spec: dict, tmp_path: Path) -> None:
    early = create_run(workspace, parse_spec(tiny_spec))
    other = create_run(workspace, EvaluateSpec(run=str(early.path)))
    for run, reason in ((early, "script-too-early"), (other, "script-no-training")):
        with pytest.raises(Failure) as caught:
            save_script(run, tmp_path / "script.py")
        assert caught.value.problem.reason == reason
    assert not (tmp_path / "script.py").exists()
