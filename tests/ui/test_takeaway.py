"""What the window saves of a run, and what it says when it can't."""

from pathlib import Path

from studio.core.rundir import RunDir
from studio.core.spec import read_spec
from studio.ui.notices import Notice


def test_spec_is_saved_and_a_script_says_why_not(window, qtbot, recorded_run: RunDir, tmp_path: Path) -> None:
    said: list[Notice] = []
    window.store.notice.connect(said.append)
    names = ("run.script", "run.spec", "run.spec_resolved", "run.report")
    assert not any(window.actions_by_id[name].isEnabled() for name in names), "there is no run yet"
    window.store.select_run(recorded_run.id)
    qtbot.waitUntil(lambda: window.actions_by_id["run.script"].isEnabled(), timeout=10_000)
    assert all(window.actions_by_id[name].isEnabled() for name in names)
    window.takeaway.save_spec(tmp_path / "spec.json", is_resolved=False)
    qtbot.waitUntil(lambda: len(said) == 1, timeout=10_000)
    assert said[0].tone == "good" and read_spec(tmp_path / "spec.json") == recorded_run.spec()
    window.takeaway.save_script(tmp_path / "script.py")
    qtbot.waitUntil(lambda: len(said) == 2, timeout=10_000)
    assert said[1].tone == "bad" and "has not read its rows yet" in said[1].title
    assert not (tmp_path / "script.py").exists()
