"""What all tests share: no network, tiny data and models that are made on the spot."""

import os
import socket
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
os.environ["HF_HUB_OFFLINE"] = "1"
# Long before any import of torch: two tests at once must not fight for the cores by spinning.
os.environ.setdefault("GOMP_SPINCOUNT", "5000")

import pytest

TOPICS = {
    "fruit": ["the apple is red", "a ripe pear in a bowl", "we ate two plums", "peel the orange first"],
    "metal": ["iron rusts in rain", "copper wire is soft", "the steel beam bent", "a tin can of nails"],
    "water": ["the river runs cold", "rain fell on the lake", "a glass of water", "the sea was calm"],
}


def pytest_addoption(parser: pytest.Parser) -> None:
    """Offer what is too slow for every day."""
    whole = "each task from end to end with each architecture, where else every one of either has its turn"
    parser.addoption("--every-pair", action="store_true", help=whole)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the folders whose tests are long, so that in the end no process works alone."""
    long = ["stories", "engine", "exporters", "takeaway", "tests", "tasks", "attention"]  # "tests": the command line's
    items.sort(key=lambda item: long.index(item.path.parent.name) if item.path.parent.name in long else len(long))


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let connections go to this machine only; anything else fails the test."""
    connect = socket.socket.connect

    def guarded(self: socket.socket, address: object) -> None:
        if isinstance(address, tuple) and str(address[0]) not in ("127.0.0.1", "::1", "localhost"):
            raise AssertionError(f"a test tried to reach {address}")
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", guarded)


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty workspace in a folder with a blank and letters beyond ASCII."""
    folder = tmp_path / "Werkstatt Übung 工作"
    folder.mkdir()
    monkeypatch.setenv("ATTUNE_WORKSPACE", str(folder))
    return folder


@pytest.fixture(scope="session")
def tiny_csv(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """120 short texts in three classes that differ in their words."""
    lines = ["text,label"]
    for i in range(10):
        for label, texts in TOPICS.items():
            lines += [f"{text} number {i} of {len(label)},{label}" for text in texts]
    path = tmp_path_factory.mktemp("data") / "tiny.csv"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BERT of two layers and four heads with random weights and a word tokenizer, saved as a model folder."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("models") / "tiny-bert"
    words = sorted({w for texts in TOPICS.values() for text in texts for w in text.split()})
    words += ["number", "of", *map(str, range(12))]
    vocabulary = {w: i for i, w in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", *dict.fromkeys(words)])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    special = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **special).save_pretrained(folder)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(vocabulary), hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64,
        max_position_embeddings=64,
    )  # fmt: skip
    BertModel(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def make_spec(tiny_csv: Path, tiny_model: Path) -> Callable[..., dict]:
    """A function that returns a training of the tiny model on the tiny data, changed by what it is given."""

    def make(**training: object) -> dict:
        return {
            "data": {"train": str(tiny_csv), "validation": 0.2, "test": 0.2},
            "columns": {"text": "text", "label": "label"},
            "model": str(tiny_model),
            "training": {
                "num_train_epochs": 3,
                "learning_rate": 3e-3,
                "per_device_train_batch_size": 8,
                "precision": "fp32",
            }
            | training,
        }

    return make


@pytest.fixture
def tiny_spec(make_spec: Callable[..., dict]) -> dict:
    """A training of the tiny model on the tiny data, as a JSON object; takes a second."""
    return make_spec()
