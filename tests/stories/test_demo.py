"""The newcomer's first command, from a wheel unpacked far from this checkout."""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np

from tests.core.test_samples import read_rows, tfidf_accuracy

ROOT = Path(__file__).parents[2]


def test_demo_from_a_wheel_does_the_whole_job(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    zipfile.ZipFile(wheel).extractall(tmp_path / "elsewhere")
    command = [sys.executable, "-P", "-m", "studio", "demo", "--no-window", "--json"]
    env = os.environ | {"PYTHONPATH": str(tmp_path / "elsewhere"), "ATTUNE_WORKSPACE": str(tmp_path / "Werk Ü")}
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, encoding="utf-8")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout.splitlines()[-1])

    spec = json.loads((Path(result["train"]["run"]) / "spec.json").read_text(encoding="utf-8"))
    assert spec["data"]["train"]["path"].startswith(str(tmp_path / "elsewhere")), "it must not lean on the checkout"
    assert result["evaluate"]["metrics"]["accuracy"] == result["train"]["metrics"]["test"]["accuracy"]
    for state in ("before", "after"):
        assert result["inspect"][state]["checks"]["verified"] is True
    before, after = (
        np.load(Path(result["inspect"][state]["directory"]) / "attention.npz")["attention"]
        for state in ("before", "after")
    )
    assert before.shape == after.shape == (6, 12, *before.shape[2:]) and np.abs(before - after).max() > 0.01
    exported = result["export"]
    assert exported["verified"] is True and exported["format"] == "onnx-int8"
    assert 0.2 < exported["size_bytes"] / exported["reference_size_bytes"] < 0.27, "the size that the format promises"
    assert exported["metric"] > exported["reference_metric"] - 0.01
    assert {"README.md", "config.json", "tokenizer.json"} <= {p.name for p in Path(exported["directory"]).iterdir()}

    starter, words = accuracy_of_both(Path(result["train"]["run"]))
    assert 0.85 <= starter <= 0.97
    assert words <= starter - 0.03, "counting words must not be enough for the sample"


def accuracy_of_both(run: Path) -> tuple[float, float]:
    """Accuracy on the held-out rows of the trained starter, and of word counts with logistic regression."""
    import pyarrow.parquet

    split = json.loads((run / "resolved.json").read_text(encoding="utf-8"))["split"]
    rows = read_rows()
    held_out = split["validation"] + split["test"]
    tables = [pyarrow.parquet.read_table(run / f"predictions-{name}.parquet") for name in ("validation", "test")]
    right = sum(a == b for t in tables for a, b in zip(t["label"].to_pylist(), t["predicted"].to_pylist(), strict=True))
    return right / len(held_out), tfidf_accuracy([rows[i] for i in split["train"]], [rows[i] for i in held_out])
