import subprocess
import sys
import threading
import weakref
from pathlib import Path

import pytest
from PySide6.QtCore import QObject, QThread

from studio.ui import crash, i18n, words
from studio.ui.threads import background


def fail(error: Exception) -> None:
    raise AssertionError(error)


def test_the_answer_comes_on_the_gui_thread(qtbot) -> None:
    owner, found = QObject(), []
    gui = QThread.currentThread()
    background(lambda: threading.get_ident(), lambda r: found.append((r, QThread.currentThread() is gui)), fail, owner)
    qtbot.waitUntil(lambda: bool(found))
    assert found[0][0] != threading.get_ident() and found[0][1]


def test_a_failure_comes_as_the_exception(qtbot) -> None:
    owner, found = QObject(), []
    background(lambda: 1 / 0, fail, found.append, owner)
    qtbot.waitUntil(lambda: bool(found))
    assert isinstance(found[0], ZeroDivisionError)


def test_only_the_newest_answer_of_a_key_counts(qtbot) -> None:
    owner, found, gate = QObject(), [], threading.Event()
    background(lambda: gate.wait(5) and "old", found.append, fail, owner, key="k")
    background(lambda: "new", found.append, fail, owner, key="k")
    gate.set()
    qtbot.waitUntil(lambda: bool(found))
    qtbot.wait(50)
    assert found == ["new"]


def test_an_owner_that_is_gone_hears_nothing(qtbot) -> None:
    owner, found, gate = QObject(), [], threading.Event()
    background(lambda: gate.wait(5), found.append, fail, owner)
    owner.deleteLater()
    qtbot.wait(20)
    gate.set()
    qtbot.wait(100)
    assert found == []


def test_what_was_found_is_let_go_once_it_was_delivered(qtbot) -> None:
    owner, found = QObject(), []
    for _ in range(60):  # one alone is let go by any code, mostly
        background(threading.Event, lambda result: found.append(weakref.ref(result)), fail, owner)
        qtbot.wait(2)
    qtbot.waitUntil(lambda: len(found) == 60)
    qtbot.waitUntil(lambda: not any(reference() for reference in found), timeout=1000)


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (words.count(866), "866"),
        (words.count(67349), "67,349"),
        (words.count(22_713_216), "22.7 M"),
        (words.count(999_999), "1.0 M"),
        (words.size(1.3e9), "1.3 GB"),
        (words.size(640), "640 B"),
        (words.duration(250), "4 min 10 s"),
        (words.duration(3599.9), "1 h"),
        (words.duration(0.42), "0.4 s"),
        (words.number(0.8784), "0.8784"),
        (words.number(5e-4), "5.0e-04"),
        (words.number(float("nan")), "NaN"),
        (words.percent(0.434), "43 %"),
        (words.file_name("C:\\data\\reviews.csv"), "reviews.csv"),
    ],
)
def test_numbers_are_said_as_people_read_them(said: str, expected: str) -> None:
    assert said.replace("\N{NO-BREAK SPACE}", " ") == expected


def test_text_is_looked_up_in_the_language_and_else_said_in_english(qapp, tmp_path, monkeypatch) -> None:
    (tmp_path / "i18n").mkdir()
    (tmp_path / "i18n" / "xx.json").write_text('{"Step {n}": "Schritt {n}"}', encoding="utf-8")
    monkeypatch.setattr(i18n, "resources_dir", lambda: tmp_path)
    i18n.set_language(qapp, "xx")
    try:
        assert i18n.tr("Step {n}", n=3) == "Schritt 3"
        assert i18n.tr("Stop {n}", n=3) == "Stop 3"
    finally:
        i18n.set_language(qapp, "en")
    assert i18n.tr("100 %") == "100 %"


def test_a_crash_of_the_window_is_found_at_the_next_start_and_a_clean_end_is_not(tmp_path: Path) -> None:
    root = Path(__file__).resolve().parents[2]
    code = "import sys; from pathlib import Path; from studio.ui import crash; crash.watch(Path(sys.argv[1])); "
    crashed, clean = "import faulthandler; faulthandler._sigsegv()", "crash.unwatch(Path(sys.argv[1]))"
    killed = "import os; os._exit(9)"
    for end in (crashed, clean, killed):
        subprocess.run([sys.executable, "-c", code + end, str(tmp_path)], cwd=root, capture_output=True, timeout=60)
    reports = crash.take_reports(tmp_path)
    assert len(reports) == 1 and "Segmentation fault" in reports[0].read_text()
    assert crash.take_reports(tmp_path) == []
