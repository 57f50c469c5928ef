"""Fixtures of the window's tests; a test that leaves a thread, a window or an unexpected warning behind fails."""

import gc
import logging
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

os.environ["QT_QPA_PLATFORM"] = "offscreen"
from PySide6.QtCore import QCoreApplication, QEvent, QThreadPool
from PySide6.QtWidgets import QApplication

from studio.core import events as ev
from studio.core.rundir import EventWriter, RunDir, create_run
from studio.core.spec import parse_spec
from studio.ui import neighbours, theme
from studio.ui.app import make_window
from studio.ui.store import Store
from studio.ui.window import MainWindow


class _Warnings(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.records: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(f"{record.name}: {record.getMessage()}")


def _threads() -> set[threading.Thread]:
    # Threads that Python did not start (Qt's pool) stay in its list as dummies.
    return {t for t in threading.enumerate() if not isinstance(t, threading._DummyThread)}


def _settle() -> None:
    QThreadPool.globalInstance().waitForDone(5000)
    for _ in range(3):
        QCoreApplication.processEvents()
        QCoreApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)
    gc.collect()


@pytest.fixture(scope="module", autouse=True)
def quick_collections() -> Iterator[None]:
    """Set aside what other tests imported: a collection after each test would walk through all of torch otherwise."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture(autouse=True)
def leaves_nothing(request: pytest.FixtureRequest, qapp: QApplication) -> Iterator[None]:
    """Fail a test that leaves threads, top-level widgets or unexpected warnings (`caplog` expects them)."""
    threads, windows, warnings = _threads(), set(QApplication.topLevelWidgets()), _Warnings()
    if not qapp.styleSheet():
        theme.apply(qapp, theme.load_theme("light"))
    logging.getLogger().addHandler(warnings)
    yield
    logging.getLogger().removeHandler(warnings)
    _settle()
    assert not (left := _threads() - threads), f"threads left running: {left}"
    left_windows = [w for w in QApplication.topLevelWidgets() if w not in windows]
    for widget in left_windows:
        widget.close()
        widget.deleteLater()
    assert not left_windows, f"top-level widgets left: {left_windows}"
    if "caplog" not in request.fixturenames:
        assert not warnings.records, f"unexpected warnings: {warnings.records}"


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    return tmp_path / "my workspace ä"


@pytest.fixture
def store(workspace: Path, qapp: QApplication) -> Iterator[Store]:
    store = Store(workspace)
    yield store
    store.close()
    _settle()
    store.deleteLater()


@pytest.fixture
def window(workspace: Path, qapp: QApplication, monkeypatch: pytest.MonkeyPatch) -> Iterator[MainWindow]:
    monkeypatch.setattr(neighbours, "LOOK_MS", 200)  # what others do is seen soon
    window = make_window(workspace, keep_spare=False)
    window.resize(1024, 640)
    window.show()
    yield window
    window.close()
    _settle()
    window.deleteLater()


@pytest.fixture
def csv_file(tmp_path: Path) -> Path:
    """A small data set: 40 texts, two labels."""
    path = tmp_path / "reviews.csv"
    rows = [f"{['a dull', 'a bright'][i % 2]} film number {i},{['bad', 'good'][i % 2]}" for i in range(40)]
    path.write_text("\n".join(["text,label", *rows]) + "\n", encoding="utf-8")
    return path


@pytest.fixture
def training_events() -> list[ev.Event]:
    """What a training of 20 steps says."""
    return [
        ev.Started(attempt=1, pid=1, version="0", time=1000.0),
        ev.Phase(name="training"),
        ev.DataReady(n_train=32, n_validation=4, n_test=4, labels=["bad", "good"]),
        ev.ModelReady(n_parameters=22_713_216, n_trainable=300_000),
        *(
            ev.Metrics(
                split="train", step=step, epoch=step / 10, total_steps=20, train_seconds=step * 0.5,
                values={"loss": 1 / step, "learning_rate": 1e-3, "grad_norm": 1.0, "samples_per_second": 64.0},
            )
            for step in range(1, 21)
        ),
        ev.Metrics(split="validation", step=20, epoch=2.0, values={"loss": 0.1, "accuracy": 0.9}),
        ev.Checkpoint(step=20, path="checkpoints/20"),
        ev.Metrics(split="test", step=20, epoch=2.0, values={"loss": 0.1, "accuracy": 0.875}),
        ev.Finished(result={"steps": 20}, time=1010.0),
    ]  # fmt: skip


@pytest.fixture
def recorded_run(workspace: Path, csv_file: Path, training_events: list[ev.Event]) -> RunDir:
    """A finished training of 20 steps, as its worker left it."""
    spec = parse_spec({"data": {"train": str(csv_file)}, "columns": {"text": "text", "label": "label"}})
    run = create_run(workspace, spec)
    writer = EventWriter(run.events_file)
    writer.write(training_events)
    writer.close()
    return run
