from pathlib import Path

import pytest
from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import QPushButton
from recorded_runs import VERDICT, add_model, record_export

from studio.core import events as ev
from studio.core.rundir import RunDir
from studio.ui.panels.export import ExportPanel
from studio.ui.panels.exports import default_folder
from studio.ui.store import Store
from studio.ui.widgets.chips import Chip

CORRUPT = "The logits differ by 41% of their spread."


def open_panel(qtbot, store: Store) -> ExportPanel:
    panel = ExportPanel(store)
    qtbot.addWidget(panel)
    panel.resize(900, 560)
    panel.show()
    with qtbot.waitSignal(panel.chooser.chosen):
        pass
    panel.cards.choose("onnx-int8")
    return panel


def show_end(qtbot, store: Store, trained: RunDir, end: ev.Event, out: Path) -> ExportPanel:
    add_model(trained)
    record_export(store.workspace, trained, end, out)
    panel = open_panel(qtbot, store)
    qtbot.waitUntil(lambda: panel.verification.badge.text() != "not exported")
    return panel


def tone(chip: Chip) -> str:
    return chip._tone


def test_a_verified_export_shows_its_numbers_and_how_it_is_used(qtbot, store: Store, recorded_run, tmp_path) -> None:
    out = tmp_path / "export"
    out.mkdir()
    (out / "README.md").write_text('# m\n```python\nload("path/to/this/folder")\n```\n')
    panel = show_end(qtbot, store, recorded_run, ev.Finished(result=VERDICT), out)
    assert panel.verification.badge.text() == "verified" and tone(panel.verification.badge) == "good"
    card = panel.cards.cards["onnx-int8"]
    assert card.value("size") == "23.4\N{NO-BREAK SPACE}MB 0.26 × the size"
    assert card.value("metric") == "0.9100 −0.50 points"
    assert card.value("speed").endswith("1.5 × as fast")
    assert panel.cards.cards["onnx"].value("size") == "not yet"
    panel.findChild(QPushButton, "export.copy").click()
    assert QGuiApplication.clipboard().text() == f'load("{out.as_posix()}")'


def test_the_badge_is_red_when_the_result_is_not_verified(qtbot, store: Store, recorded_run, tmp_path) -> None:
    verdict = VERDICT | {"verified": False, "labels_equal": False, "problems": [CORRUPT]}
    panel = show_end(qtbot, store, recorded_run, ev.Finished(result=verdict), tmp_path / "export")
    for chip in (panel.verification.badge, panel.cards.cards["onnx-int8"].chip):
        assert chip.text() == "not verified" and tone(chip) == "bad"
    assert CORRUPT in panel.verification.words.text()
    assert panel.verification.words.property("tone") == "bad"


def test_a_refused_export_says_what_is_wrong(qtbot, store: Store, recorded_run, tmp_path) -> None:
    end = ev.Failed(reason="export-unverified", facts={"problems": CORRUPT})
    panel = show_end(qtbot, store, recorded_run, end, tmp_path / "export")
    assert panel.verification.badge.text() == "not verified" and tone(panel.verification.badge) == "bad"
    assert CORRUPT in panel.verification.words.text()
    assert panel.cards.cards["onnx-int8"].value("size") == "not yet"


def test_a_missing_word_of_the_verification_is_no_verification(qtbot, store: Store, recorded_run, tmp_path) -> None:
    verdict = {name: value for name, value in VERDICT.items() if name != "verified"}
    panel = show_end(qtbot, store, recorded_run, ev.Finished(result=verdict), tmp_path / "export")
    assert tone(panel.verification.badge) == "bad"


def test_a_folder_with_something_in_it_is_refused_before_the_start(qtbot, store: Store, recorded_run, tmp_path) -> None:
    add_model(recorded_run)
    panel = open_panel(qtbot, store)
    assert panel.button.isEnabled() and panel.folder.text().startswith(str(store.workspace / "exports"))
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("mine")
    panel.folder.setText(str(tmp_path / "full"))
    assert not panel.button.isEnabled() and "not empty" in panel.folder_error.text()


def test_the_next_folder_is_free(tmp_path) -> None:
    first = default_folder(tmp_path, "my run: 1/2", "onnx")
    first.mkdir(parents=True)
    (first / "model.onnx").touch()
    assert first.name == "my-run-1-2-onnx"
    assert default_folder(tmp_path, "my run: 1/2", "onnx").name == "my-run-1-2-onnx-2"


@pytest.mark.usefixtures("recorded_run")  # a run, but without a model
def test_without_a_trained_run_the_way_to_one_is_shown(qtbot, store: Store) -> None:
    panel = open_panel(qtbot, store)
    way = panel.findChild(QPushButton, "export.train")
    qtbot.waitUntil(way.isVisible)
    with qtbot.waitSignal(store.page_requested) as asked:
        way.click()
    assert asked.args == ["train"]
