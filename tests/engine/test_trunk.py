"""Frozen layers computed once: the rest learns what it would have learnt, or the run says why not."""

import json
import os
import shutil
from pathlib import Path

import pytest
import torch

from studio.core import events as ev
from studio.core.rundir import read_events
from studio.engine import trunk
from tests.in_process import execute


def train_here(workspace: Path, spec: dict, **method: object) -> tuple[dict, dict]:
    """Train in this process; return what was picked, and the losses by step."""
    run, state = execute(workspace, spec | {"method": {"kind": "freeze", **method}})
    assert not list(run.path.glob("trunk.*")), "it goes with the end of the run"
    told = read_events(run)
    losses = {e.step: e.values["loss"] for e in told if isinstance(e, ev.Metrics) and e.split == "train"}
    picked = json.loads(run.resolved_file.read_text())["picked"]
    return picked, losses | {"test": state.result["metrics"]["test"]["loss"]}


@pytest.fixture
def plain_dropout(tiny_spec: dict, tmp_path: Path) -> dict:
    """The tiny training on a model without dropout, so that two trainings see the same numbers."""
    folder = Path(shutil.copytree(tiny_spec["model"], tmp_path / "model"))
    config = json.loads((folder / "config.json").read_text())
    config |= {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    (folder / "config.json").write_text(json.dumps(config))
    return tiny_spec | {"model": str(folder)}


@pytest.mark.parametrize("layers", [1, "all"])
def test_rest_learns_what_it_would_have_learnt(workspace: Path, plain_dropout: dict, layers: object) -> None:
    picked, once = train_here(workspace, plain_dropout, layers=layers)
    assert picked["frozen_output"]["value"] == "once"
    picked, anew = train_here(workspace, plain_dropout, layers=layers, cache="off")
    assert picked["frozen_output"] == {"value": "each epoch", "why": "as you asked"}
    assert once.keys() == anew.keys() and len(once) > 20
    for step, loss in anew.items():
        assert once[step] == pytest.approx(loss, abs=2e-3), "but for the rounding to 16 bits"


def test_nothing_frozen_first_nothing_computed_once(workspace: Path, tiny_spec: dict) -> None:
    picked, _ = train_here(workspace, tiny_spec, layers=0)
    assert "frozen_output" not in picked


def test_short_disk_falls_back_and_says_so(
    workspace: Path, tiny_spec: dict, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trunk, "_ROOM_BYTES", shutil.disk_usage(workspace).total)
    picked, losses = train_here(workspace, tiny_spec, layers=1)
    assert picked["frozen_output"]["value"] == "each epoch" and "disk has no room" in picked["frozen_output"]["why"]
    assert len(losses) > 20


def test_wrong_output_is_found_out(workspace: Path, tiny_spec: dict, monkeypatch: pytest.MonkeyPatch) -> None:
    replace = os.replace

    def garble(source: Path, target: Path) -> None:
        replace(source, target)
        if Path(target).name == "trunk.bin":
            values = torch.from_file(str(target), shared=True, size=Path(target).stat().st_size // 2,
                                     dtype=torch.float16)  # fmt: skip
            values[: len(values) // 2].neg_()

    monkeypatch.setattr(trunk.os, "replace", garble)
    picked, losses = train_here(workspace, tiny_spec, layers=1)
    assert picked["frozen_output"]["value"] == "each epoch" and "other logits" in picked["frozen_output"]["why"]
    assert len(losses) > 20
