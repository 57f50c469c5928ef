"""Fixtures of the stories: the real window, the real worker, and a workspace that is left without a living one."""

import contextlib
import csv
import os
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

os.environ["QT_QPA_PLATFORM"] = "offscreen"
from PySide6.QtCore import QCoreApplication, QEvent, QThreadPool
from PySide6.QtWidgets import QApplication

from studio import supervisor
from studio.core.paths import sample_file
from studio.core.rundir import list_runs
from studio.ui.app import make_window
from studio.ui.window import MainWindow


@pytest.fixture
def open_window(workspace: Path, qapp: QApplication) -> Iterator[Callable[..., MainWindow]]:
    """Open a window on the workspace; all are closed at the end, and every worker is ended."""
    opened: list[MainWindow] = []

    def open_one(keep_spare: bool = False) -> MainWindow:
        window = make_window(workspace, keep_spare)
        window.resize(1180, 760)
        window.show()
        opened.append(window)
        return window

    yield open_one
    for window in opened:
        window.close()
    for run in list_runs(workspace):
        supervisor.kill(run)
        deadline = time.monotonic() + 10
        while run.is_alive() and time.monotonic() < deadline:
            time.sleep(0.02)
    QThreadPool.globalInstance().waitForDone(5000)
    for window in opened:
        window.deleteLater()
    for _ in range(3):
        QCoreApplication.processEvents()
        QCoreApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)


@pytest.fixture
def few_messages(tmp_path: Path) -> Path:
    """Twelve messages of each of the sample's topics."""
    rows: dict[str, list[list[str]]] = defaultdict(list)
    with open(sample_file(), encoding="utf-8", newline="") as file:
        header, *lines = csv.reader(file)
    for line in lines:
        rows[line[header.index("label")]].append(line)
    path = tmp_path / "few messages ü.csv"
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        writer.writerows(line for topic in rows.values() for line in topic[:12])
    return path


@pytest.fixture
def until(qtbot) -> Callable[..., None]:
    """Let the window live until something is so; says what did not come."""

    def wait(condition: Callable[[], bool], what: str, seconds: float = 90) -> None:
        with contextlib.suppress(Exception):
            qtbot.waitUntil(condition, timeout=int(seconds * 1000))
            return
        assert condition(), f"this never came: {what}"

    return wait
