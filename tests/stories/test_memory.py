"""A worker that gets no more memory says so with numbers, and goes on with half the batch from its checkpoint."""

import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from studio.core import events as ev
from studio.core.rundir import RunDir, read_events
from studio.core.spec import parse_spec
from studio.core.state import RunState
from studio.ui.window import MainWindow

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux limits another process' memory")


@pytest.fixture
def wide_model(tiny_model: Path, tmp_path: Path) -> Path:
    """The tiny model with feed-forward layers so wide that a batch of 48 takes hundreds of megabytes."""
    import shutil

    from transformers import BertConfig, BertModel

    folder = tmp_path / "wide-bert"
    shutil.copytree(tiny_model, folder)
    config = BertConfig.from_pretrained(folder)
    config.hidden_size, config.intermediate_size = 128, 8192
    BertModel(config).save_pretrained(folder)
    return folder


def training_again(run: RunDir) -> int:
    """Wait until a second attempt begins to train, and return the worker's pid.

    Without the window: by the time that it heard of it, the first step might have taken what is to be missing.
    """
    end = time.monotonic() + 60
    while time.monotonic() < end:
        told = read_events(run)
        began = [i for i, event in enumerate(told) if isinstance(event, ev.Started)]
        phases = [event.name for event in told[began[-1] :] if isinstance(event, ev.Phase)] if len(began) > 1 else []
        if "training" in phases:
            return told[began[-1]].pid
        time.sleep(0.005)
    raise AssertionError("the second attempt does not train")


def test_out_of_memory_is_named_and_half_the_batch_goes_on(
    open_window: Callable[..., MainWindow], until: Callable[..., None], tiny_spec: dict, wide_model: Path, monkeypatch
) -> None:
    # Threads that begin later would need address space of their own.
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    training = {"num_train_epochs": 4, "per_device_train_batch_size": 48, "precision": "fp32", "kernels": "plain"}
    window = open_window()
    store = window.store
    run_id = store.start_run(parse_spec(tiny_spec | {"model": str(wide_model), "training": training}))
    store.select_run(run_id)
    window.show_page("train")

    def state() -> RunState:
        return store.runs[run_id]

    until(lambda: len(state().checkpoints) > 0, "the first checkpoint")
    store.stop(run_id)
    until(lambda: run_id not in store.followers, "the stop")
    assert state().state == "stopped", state().problem
    step = state().checkpoints[-1].step

    store.resume(run_id)
    pid = training_again(store.run_dir(run_id))
    worker = psutil.Process(pid)
    limit = worker.memory_info().vms + (40 << 20)
    worker.rlimit(psutil.RLIMIT_AS, (limit, limit))
    until(lambda: run_id not in store.followers, "the end for want of memory")
    assert state().state == "failed" and state().problem.reason == "out-of-memory", state().problem
    facts = state().problem.facts
    assert facts["batch"] == 48 and facts["asked"].endswith("MB") and facts["free"].endswith("MB")

    page = window.pages["train"]
    until(lambda: page.main_action().text().startswith("Halve the batch and go on from step"), "the way on")
    page.main_action().click()
    until(lambda: run_id not in store.followers, "the end of the run")
    assert state().state == "finished", state().problem
    resumed = [e for e in read_events(store.run_dir(run_id)) if isinstance(e, ev.Started)]
    assert resumed[-1].from_step >= step
    # 72 rows in batches of 48, later 24 twice: two steps an epoch, before and after.
    assert state().total_steps == state().step == 8
    assert store.run_dir(run_id).spec().training.per_device_train_batch_size == 24
