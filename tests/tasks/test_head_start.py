"""A new head begins with what the training rows say on average; off, the losses are those of a plain script."""

from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import transformers

from studio.core.files import read_json
from studio.core.registry import plugin
from studio.core.rundir import RunDir
from studio.tasks import judging
from tests.in_process import execute
from tests.tasks.test_parity import N_STEPS, attune_losses, plain_losses

WORDS = ["red", "blue", "paris", "rome", "dog", "cat"]
KINDS = {
    "regression": lambda i: str(100 + 10 * (i % 6)),
    "multi_label_classification": lambda i: ["", "common", "common", "common; rare"][i % 4],
}


@pytest.fixture
def spec(request: pytest.FixtureRequest, tmp_path: Path, tiny_model: Path) -> dict:
    rows = [f"{WORDS[i % 6]} number {i % 12} of {WORDS[i % 5]} {i},{KINDS[request.param](i)}" for i in range(90)]
    (tmp_path / "rows.csv").write_text("\n".join(["text,label", *rows]) + "\n", encoding="utf-8")
    return {
        "data": {"train": str(tmp_path / "rows.csv"), "validation": 0.2, "test": 0.1},
        "columns": {"text": "text", "label": "label"},
        "task": {"kind": "text-classification", "problem_type": request.param},
        "model": str(tiny_model),
        "training": {
            "kernels": "plain", "precision": "fp32", "group_by_length": False, "num_train_epochs": 1, "seed": 7,
            "per_device_train_batch_size": 3, "learning_rate": 1e-3, "evaluations_per_epoch": 1,
        },
    }  # fmt: skip


def plain(spec: dict, run: RunDir, out: Path) -> list[float]:
    table = plugin("sources", run.spec().data.train).read(run.spec().data.train).table
    rows = table.take(read_json(run.resolved_file)["split"]["train"]).to_pylist()
    tokenizer, names = transformers.AutoTokenizer.from_pretrained(spec["model"]), ["common", "rare"]
    is_number = spec["task"]["problem_type"] == "regression"
    features = [
        dict(tokenizer(row["text"]))
        | {"labels": float(row["label"]) if is_number else [float(name in row["label"]) for name in names]}
        for row in rows
    ]
    head = {"num_labels": 1 if is_number else 2, "problem_type": spec["task"]["problem_type"]}
    collator = transformers.DataCollatorWithPadding(tokenizer, pad_to_multiple_of=8)
    return plain_losses("AutoModelForSequenceClassification", spec, head, features, collator, out)


@pytest.mark.parametrize("spec", KINDS, indirect=True)
def test_help_that_is_off_leaves_a_plain_training(spec: dict, workspace: Path, tmp_path: Path) -> None:
    helped, run = attune_losses(workspace, spec)
    start = read_json(run.resolved_file)["picked"]["head_start"]["value"]
    spec["task"]["starts_at_mean"] = False
    ours, run = attune_losses(workspace, spec)
    theirs = plain(spec, run, tmp_path / "plain")
    assert len(ours) == N_STEPS and np.allclose(ours, theirs, rtol=1e-5, atol=1e-4)
    assert "head_start" not in read_json(run.resolved_file)["picked"]
    assert np.mean(helped) < np.mean(ours)
    if spec["task"]["problem_type"] == "regression":
        assert start == [[pytest.approx(125, abs=5)], pytest.approx(17, abs=2)]
        assert np.mean(helped) < 0.1 * np.mean(ours), "100 is far from where a plain head begins"
    else:
        common, rare = start[0]
        assert common > 0.5 and rare == pytest.approx(np.log(1 / 3), abs=0.3) and start[1] == 1


@pytest.mark.parametrize("spec", ["regression"], indirect=True)
def test_a_metric_that_is_not_defined_ends_no_training(spec: dict, workspace: Path) -> None:
    with mock.patch.object(judging, "spearman", lambda *_: float("nan")):
        _, state = execute(workspace, spec)
    assert state.state == "finished", state.problem
    assert "spearman" not in state.result["metrics"]["test"] and state.result["metrics"]["test"]["rmse"] > 0
