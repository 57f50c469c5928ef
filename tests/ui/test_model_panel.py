import json
from pathlib import Path

import pytest
from PySide6.QtCore import QMimeData, QPointF, Qt, QUrl
from PySide6.QtGui import QDropEvent

from studio.core.anatomy import Tensor
from studio.ui.panels.model import ModelPanel
from studio.ui.window import MainWindow

HIDDEN, LAYERS = 8, 3


def write_model(folder: Path, **config) -> Path:
    """Write a BERT of three tiny layers as a folder of files; its weights are zeros."""
    folder.mkdir(parents=True)
    shapes = {"embeddings.word_embeddings.weight": (50, HIDDEN), "pooler.dense.weight": (HIDDEN, HIDDEN)}
    for i in range(LAYERS):
        for name in ("query", "key", "value"):
            shapes[f"encoder.layer.{i}.attention.self.{name}.weight"] = (HIDDEN, HIDDEN)
        shapes[f"encoder.layer.{i}.attention.output.dense.weight"] = (HIDDEN, HIDDEN)
        shapes[f"encoder.layer.{i}.output.dense.weight"] = (HIDDEN, 4 * HIDDEN)
    header, at = {}, 0
    for name, shape in shapes.items():
        size = 4 * shape[0] * shape[1]
        header[name] = {"dtype": "F32", "shape": list(shape), "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(header).encode()
    (folder / "model.safetensors").write_bytes(len(text).to_bytes(8, "little") + text + bytes(at))
    values = {
        "model_type": "bert", "num_hidden_layers": LAYERS, "num_attention_heads": 2, "hidden_size": HIDDEN,
        "vocab_size": 50, "max_position_embeddings": 64,
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(values | config))
    (folder / "tokenizer.json").write_text("{}")
    (folder / "README.md").write_text("---\nlicense: mit\n---\n")
    return folder


@pytest.fixture
def panel(qtbot, window: MainWindow) -> ModelPanel:
    window.show_page("model")
    qtbot.waitUntil(lambda: window.store.draft.model_info is not None)
    return window.pages["model"]


def choose(qtbot, panel: ModelPanel, folder: Path) -> None:
    panel.store.choose_model(str(folder))
    qtbot.waitUntil(lambda: "model" not in panel.store.busy)


def shown(panel: ModelPanel) -> str:
    """Return all words in the middle of the page."""
    return " ".join(w.text() for w in panel.about_stack.currentWidget().findChildren(object) if hasattr(w, "text"))


def n_trainable(panel: ModelPanel) -> int:
    return sum(n for _, n in panel.store.draft.trainable())


def test_a_folder_shows_what_it_is_and_is_remembered(qtbot, panel: ModelPanel, tmp_path: Path) -> None:
    folder = write_model(tmp_path / "my tiny bert ü")
    choose(qtbot, panel, folder)
    words = shown(panel)
    for expected in ("my tiny bert ü", "bert", "3", "2", "8", "50", "64 tokens", "mit"):
        assert expected in words
    assert panel.choices.card(str(folder)).isChecked()
    panel.choices.card("starter").click()
    qtbot.waitUntil(lambda: panel.store.draft.model_info is not None)
    assert panel.store.draft.model_info.n_layers == 6
    assert not panel.choices.card(str(folder)).isChecked()


def test_the_method_changes_what_trains(panel: ModelPanel) -> None:
    total = sum(t.n_parameters for t, _ in panel.store.draft.trainable())
    assert panel.trainable.text().replace("\N{NO-BREAK SPACE}", " ") == "Trainable 22.7 M of 22.7 M (100.0 %)"
    panel.method.cards["lora"].click()
    assert panel.store.draft.method == {"kind": "lora"}
    eight = n_trainable(panel)
    assert 0 < eight < 0.05 * total
    rank = panel.method.forms["lora"].editor("r")
    rank.set_value(16)
    rank.edited.emit()
    assert panel.store.draft.method == {"kind": "lora", "r": 16}
    assert n_trainable(panel) > 1.5 * eight


def test_a_click_on_a_layer_freezes_up_to_it_and_one_more_gives_it_back(qtbot, panel: ModelPanel) -> None:
    def click_row(row: int) -> None:
        strip = panel.about.strip
        qtbot.mouseClick(strip, Qt.MouseButton.LeftButton, pos=strip.part_rects(row)[0].center().toPoint())

    click_row(2)
    assert panel.store.draft.method == {"kind": "full"}, "only a method that freezes hears the click"
    panel.method.cards["freeze"].click()
    before = panel.trainable.text()
    for clicked, frozen in ((5, 5), (5, 4), (0, 0), (7, "all"), (7, 6), (2, 2)):
        click_row(clicked)
        assert panel.store.draft.method["layers"] == panel.method.forms["freeze"].all_values()["layers"] == frozen
    assert panel.trainable.text() != before
    trained = {t.layer for t, n in panel.store.draft.trainable() if n}
    assert trained == {2, 3, 4, 5, None}


def test_the_new_head_is_counted_with_the_labels_of_the_data(qtbot, panel: ModelPanel, csv_file: Path) -> None:
    panel.store.open_data(csv_file)
    qtbot.waitUntil(lambda: panel.store.draft.table is not None)
    heads: list[Tensor] = [t for t, _ in panel.store.draft.trainable() if t.name == "classifier.weight"]
    assert [t.shape for t in heads] == [(2, 384)]


def test_too_many_frozen_layers_are_said_at_the_field(panel: ModelPanel) -> None:
    panel.store.set_method({"kind": "freeze", "layers": 9})
    assert "has 6 layers" in panel.method.forms["freeze"].errors()["layers"]
    assert not panel.next.isEnabled()
    panel.store.set_method({"kind": "freeze", "layers": 2})
    assert panel.method.forms["freeze"].errors() == {}
    assert panel.next.isEnabled()


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda f: (f / "model.safetensors").unlink(), "safetensors"),
        (lambda f: (f / "model.safetensors").write_bytes(b"\x08"), "damaged"),
        (lambda f: (f / "tokenizer.json").unlink(), "tokenizer"),
        (lambda f: (f / "config.json").unlink(), "config.json"),
        (lambda f: (f / "config.json").write_text('{"model_type": "bert", "auto_map": {"AutoModel": "x.Y"}}'), "code"),
        (lambda f: f.rename(f.parent / "elsewhere"), "no model folder"),
    ],
)
def test_a_folder_that_is_no_model_says_why_and_offers_a_way_on(qtbot, panel, tmp_path, damage, said) -> None:
    folder = write_model(tmp_path / "model")
    damage(folder)
    choose(qtbot, panel, folder)
    assert said in shown(panel)
    assert not panel.next.isEnabled()
    buttons = {b.objectName(): b for b in panel.about_stack.currentWidget().findChildren(object) if hasattr(b, "click")}
    assert "action.model.open" in buttons
    buttons["model.take_starter"].click()
    qtbot.waitUntil(panel.next.isEnabled)
    assert panel.store.draft.model == "starter"


def test_a_dropped_folder_is_the_model(qtbot, window: MainWindow, tmp_path: Path) -> None:
    folder, data = write_model(tmp_path / "dropped"), QMimeData()
    data.setUrls([QUrl.fromLocalFile(str(folder))])
    event = QDropEvent(
        QPointF(400, 300), Qt.DropAction.CopyAction, data, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier
    )
    window.dropEvent(event)
    qtbot.waitUntil(lambda: window.store.draft.model_info is not None and window.store.draft.model == str(folder))
    assert window.page == "model"
    assert window.pages["model"].choices.card(str(folder)).isChecked()
