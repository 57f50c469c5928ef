import json
import subprocess
import sys
from pathlib import Path

import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QPushButton

from studio.core import commands
from studio.core import events as ev
from studio.core.reasons import REASONS
from studio.core.rundir import RunDir
from studio.core.state import RunState
from studio.ui import words
from studio.ui.actions import ACTIONS, BY_ID, MENUS
from studio.ui.notices import Notice
from studio.ui.palette import score
from studio.ui.window import MainWindow

HEAVY = ("torch", "transformers", "datasets", "pyarrow", "pyqtgraph", "pandas", "sklearn")
START = """
import json, os, sys
os.environ["QT_QPA_PLATFORM"] = "offscreen"
from pathlib import Path
from studio.ui.app import make_window
window = make_window(Path(sys.argv[1]))
window.show()
window.app.processEvents()
import psutil
print(json.dumps({"modules": sorted(sys.modules), "bytes": psutil.Process().memory_info().rss}))
window.close()
"""


def test_the_empty_window_is_small_and_imports_nothing_heavy(tmp_path: Path) -> None:
    root = Path(__file__).resolve().parents[2]
    command = [sys.executable, "-W", "ignore", "-c", START, str(tmp_path)]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert not set(HEAVY) & set(found["modules"])
    assert found["bytes"] < 150e6


def test_actions_are_one_of_a_kind_and_every_fix_is_one() -> None:
    assert len(BY_ID) == len(ACTIONS)
    shortcuts = [action.shortcut for action in ACTIONS if action.shortcut]
    assert len(set(shortcuts)) == len(shortcuts)
    assert {reason.fix for reason in REASONS.values() if reason.fix} <= set(BY_ID)
    assert {action.menu for action in ACTIONS if action.menu} == set(MENUS)


@pytest.mark.parametrize("page", words.PAGES)
def test_every_page_opens_by_its_shortcut_without_a_word(qtbot, window: MainWindow, page: str) -> None:
    number = list(words.PAGES).index(page) + 1
    qtbot.keyClick(window, getattr(Qt.Key, f"Key_{number}"), Qt.KeyboardModifier.ControlModifier)
    assert window.page == page
    assert window.stack.currentWidget().objectName() == f"page.{page}"
    assert [n.title for n in window.notice_bar.past] == []
    needed = window.minimumSizeHint()
    assert needed.width() <= 1024 and needed.height() <= 640


def test_the_palette_finds_by_a_few_letters_and_does_it(qtbot, window: MainWindow) -> None:
    window.actions_by_id["palette.show"].trigger()
    box = window.palette_box
    qtbot.keyClicks(box.field, "runs")
    assert box.titles()[0] == "Runs"
    assert "Stop" not in box.titles()
    qtbot.keyClick(box.field, Qt.Key.Key_Return)
    assert window.page == "runs" and box.isHidden()
    window.show_palette()
    qtbot.keyClick(box.field, Qt.Key.Key_Escape)
    assert box.isHidden()


def test_letters_in_a_row_and_beginnings_of_words_count_more() -> None:
    assert score("ods", "Open a data set") > 0
    assert score("xyz", "Open a data set") == 0
    assert score("run", "Runs") > score("run", "Resume until noon")


def test_a_notice_offers_its_fix_and_its_undo_and_stays_under_the_bell(qtbot, window: MainWindow) -> None:
    undone = []
    window.store.notice.emit(Notice("Gone.", fix="go.runs", undo=lambda: undone.append(True)))
    bar = window.notice_bar
    assert bar.isVisible() and bar.text() == "Gone."
    qtbot.mouseClick(bar.undo, Qt.MouseButton.LeftButton)
    assert undone == [True] and bar.isHidden()
    window.store.notice.emit(Notice("Broken <b>.", tone="bad", fix="go.runs"))
    qtbot.mouseClick(bar.fix, Qt.MouseButton.LeftButton)
    assert window.page == "runs"
    assert [n.title for n in bar.past[:2]] == ["Broken <b>.", "Gone."]
    window.status.bell.click()
    assert window.past_notices.isVisible()


def test_stop_is_offered_only_while_a_run_works(qtbot, window: MainWindow, recorded_run: RunDir) -> None:
    assert not window.actions_by_id["run.stop"].isEnabled()
    window.store.select_run(recorded_run.id)
    qtbot.waitUntil(lambda: window.store.runs[recorded_run.id].state == "finished", timeout=5000)
    assert not window.actions_by_id["run.stop"].isEnabled()
    assert window.actions_by_id["run.again"].isEnabled()
    assert "finished" in window.findChild(QPushButton, "thread.run").text()


def test_a_dropped_file_is_told_apart(qtbot, window: MainWindow, csv_file: Path, tmp_path: Path) -> None:
    window.open_path(csv_file)
    qtbot.waitUntil(lambda: window.store.draft.table is not None and not window.store.busy, timeout=10000)
    assert window.page == "data"
    window.store.save_spec(tmp_path / "spec.json")
    window.store.set_training(seed=7)
    window.open_path(tmp_path / "spec.json")
    assert window.store.draft.training.get("seed", 42) == 42
    (tmp_path / "model").mkdir()
    window.open_path(tmp_path / "model")
    qtbot.waitUntil(lambda: not window.store.busy, timeout=10000)
    assert window.page == "model" and window.store.draft.model_problem.reason == "model-no-config"


def test_place_and_theme_of_the_window_are_kept(window: MainWindow) -> None:
    window.setGeometry(20, 30, 900, 600)
    window.actions_by_id["theme.dark"].trigger()
    assert window.app.property("theme") == "dark"
    window.close()
    kept = json.loads((window.store.workspace / "settings.json").read_text())
    assert kept["window"][:4] == [20, 30, 900, 600] and kept["theme"] == "dark"
    window.store.change_settings(theme="light")


def test_save_and_measure_now_reach_the_worker(window: MainWindow) -> None:
    store, actions = window.store, window.actions_by_id
    run = store.run_dir("20260101-000000-train-0001")
    run.path.mkdir(parents=True)
    rows = ev.DataReady(n_train=8, n_validation=0, n_test=0, labels=["a", "b"], n_truncated=0)
    store.runs[run.id] = state = RunState(id=run.id, state="running", phase="training", data=rows)
    store.current_run = run.id
    store.run_changed.emit(run.id)
    assert actions["run.save"].isEnabled() and not actions["run.evaluate"].isEnabled(), "no validation rows"
    state.data = rows.model_copy(update={"n_validation": 2})
    store.run_changed.emit(run.id)
    for name in ("run.save", "run.evaluate"):
        actions[name].trigger()
    assert [command.type for command in commands.receive(run.path)] == ["save", "evaluate"]
    state.state = "finished"
    store.run_changed.emit(run.id)
    assert not actions["run.save"].isEnabled() and not actions["run.evaluate"].isEnabled()
