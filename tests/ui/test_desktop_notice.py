"""A word on the desktop: for long runs, while one looks elsewhere, and silently absent where there is no tray."""

import sys
from pathlib import Path

import pytest
from PySide6.QtWidgets import QSystemTrayIcon

from studio.core import events as ev
from studio.core.state import RunState
from studio.ui import desktop_notice
from studio.ui.desktop_notice import is_worth_telling


def state_of(seconds: float, end: ev.Event, kind: str = "train") -> RunState:
    state = RunState(id="20260101-000000-train-abcd", kind=kind)
    state.apply(ev.Started(pid=1, version="0", time=1000.0))
    state.apply(end.model_copy(update={"time": 1000.0 + seconds}))
    return state


@pytest.mark.parametrize("end", [ev.Finished(), ev.Stopped(step=3), ev.Failed(reason="disk-full")])
def test_long_runs_are_told_of_while_the_window_is_not_looked_at(end: ev.Event) -> None:
    assert is_worth_telling(state_of(61, end), is_active=False, is_wanted=True)
    assert not is_worth_telling(state_of(61, end), is_active=True, is_wanted=True)
    assert not is_worth_telling(state_of(61, end), is_active=False, is_wanted=False)
    assert not is_worth_telling(state_of(59, end), is_active=False, is_wanted=True)
    assert not is_worth_telling(state_of(61, end, "inspect"), is_active=False, is_wanted=True)


@pytest.fixture
def told(window, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """What the tray was asked to show; a system that has one, and a window that nobody looks at."""
    found: list[tuple[str, str]] = []
    monkeypatch.setattr(desktop_notice.shutil, "which", lambda name: None)
    monkeypatch.setattr(QSystemTrayIcon, "isSystemTrayAvailable", staticmethod(lambda: True))
    monkeypatch.setattr(QSystemTrayIcon, "supportsMessages", staticmethod(lambda: True))
    monkeypatch.setattr(QSystemTrayIcon, "showMessage", lambda self, title, text, *rest: found.append((title, text)))
    monkeypatch.setattr(type(window), "isActiveWindow", lambda self: False)
    return found


def test_end_is_told_once_and_a_click_opens_the_run(window, told: list, recorded_run) -> None:
    store = window.store
    store.runs[recorded_run.id] = state = state_of(75, ev.Finished())
    state.id = recorded_run.id
    store.run_ended.emit(recorded_run.id)
    assert len(told) == 1 and "finished" in told[0][0] and "1 min 15 s" in told[0][1].replace("\N{NO-BREAK SPACE}", " ")
    window.desktop._tray.messageClicked.emit()
    assert store.current_run == recorded_run.id and window.page == "train"
    window.actions_by_id["notify.switch"].trigger()
    assert not store.settings.notify and not window.actions_by_id["notify.switch"].isChecked()
    store.run_ended.emit(recorded_run.id)
    assert len(told) == 1, "switched off"


def test_replay_of_an_old_run_is_not_told(window, told: list, recorded_run, qtbot) -> None:
    window.store.settings.notify = True
    with qtbot.waitSignal(window.store.followers.ended, timeout=10_000):
        window.store.attach(recorded_run.id)
    assert window.store.runs[recorded_run.id].state == "finished" and told == []


def test_without_a_tray_nothing_happens(window, recorded_run, told: list, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(QSystemTrayIcon, "isSystemTrayAvailable", staticmethod(lambda: False))
    window.store.runs[recorded_run.id] = state_of(75, ev.Failed(reason="disk-full"))
    window.store.run_ended.emit(recorded_run.id)
    assert window.desktop._tray is None and told == []


@pytest.mark.skipif(sys.platform != "linux", reason="the command that Linux has")
@pytest.mark.parametrize("ending", ["echo default", "exit 1", "sleep 60"])
def test_desktop_of_linux_is_asked_by_its_own_command(
    window, recorded_run, told: list, qtbot, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, ending: str
) -> None:
    command = tmp_path / "notify-send"
    command.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" >> {tmp_path}/asked\nexec {ending}\n')
    command.chmod(0o755)
    monkeypatch.setattr(desktop_notice.shutil, "which", lambda name: str(command))
    window.store.runs[recorded_run.id] = state = state_of(75, ev.Failed(reason="disk-full", facts={"path": "a<b"}))
    state.id = recorded_run.id
    window.show_page("model")
    window.store.run_ended.emit(recorded_run.id)
    if ending == "exit 1":
        qtbot.waitUntil(lambda: len(told) == 1)  # by the tray then
    elif ending == "echo default":
        qtbot.waitUntil(lambda: window.page == "train")
        assert window.store.current_run == recorded_run.id and told == []
    else:
        qtbot.waitUntil((tmp_path / "asked").exists)
        assert window.page == "model" and told == []
    asked = (tmp_path / "asked").read_text().split("\n--\n")[1]
    assert recorded_run.id[-4:] in asked and "<" not in asked
