"""A tiny classifier that has learned something, and each format's export of it, made once."""

import random

import pytest
import torch
import transformers
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from studio.core.registry import family
from studio.exporters.card import Origin
from studio.exporters.folder import Measured, export_model
from studio.exporters.reference import make_reference
from studio.sources.texts import Texts
from studio.tasks.base import Rows

TOPICS = {
    "animals": "cat dog horse goose otter",
    "food": "bread soup rice plum cheese",
    "weather": "rain wind snow fog hail",
}
FILLER = [f"word{i}" for i in range(90)]
LABELS = sorted(TOPICS)
MAX_LENGTH = 48
OPTIONS = {"onnx-int8": {"reduce_range": True}}  # the demo's story exports with the defaults


@pytest.fixture(scope="session")
def tokenizer():
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *FILLER, *" ".join(TOPICS.values()).split()]
    vocabulary = {word: i for i, word in enumerate(words)}
    made = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=made, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]",
        model_max_length=64, model_input_names=["input_ids", "token_type_ids", "attention_mask"],
    )  # fmt: skip


@pytest.fixture(scope="session")
def rows():
    """240 texts of 2 to 30 words, one or two of which tell the topic."""
    chance = random.Random(3)
    made = []
    for _ in range(240):
        label = chance.randrange(len(LABELS))
        words = chance.choices(FILLER, k=chance.randint(1, 28))
        for word in chance.choices(TOPICS[LABELS[label]].split(), k=chance.randint(1, 2)):
            words.insert(chance.randint(0, len(words)), word)
        made.append((" ".join(words), label))
    return made


@pytest.fixture(scope="session")
def model(tokenizer, rows):
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=len(tokenizer), hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64,
        max_position_embeddings=64, pad_token_id=0, num_labels=len(LABELS),
        id2label=dict(enumerate(LABELS)), label2id={label: i for i, label in enumerate(LABELS)},
    )  # fmt: skip
    made = transformers.BertForSequenceClassification(config)
    batch = tokenizer([text for text, _ in rows], padding=True, return_tensors="pt")
    gold = torch.tensor([label for _, label in rows])
    optimizer = torch.optim.AdamW(made.parameters(), lr=5e-3)
    for _ in range(40):
        optimizer.zero_grad()
        made(**batch, labels=gold).loss.backward()
        optimizer.step()
    return made.eval()


@pytest.fixture(scope="session")
def measured(rows, tokenizer):
    import pyarrow as pa

    task, texts = family("tasks")["text-classification"], [text for text, _ in rows]
    data = Rows({"text": Texts(pa.chunked_array([texts]))}, [LABELS[label] for _, label in rows], range(len(rows)))
    features = task.encode({"text": texts}, tokenizer, MAX_LENGTH)
    return Measured(task, data, features, LABELS, MAX_LENGTH)


@pytest.fixture(scope="session")
def reference(tmp_path_factory, model, tokenizer, measured):
    """The file with what the tiny model answers."""
    folder = tmp_path_factory.mktemp("reference")
    model.save_pretrained(folder / "trained")
    made = make_reference(
        model, tokenizer, folder / "trained", measured.task, measured.rows, measured.features, LABELS, MAX_LENGTH,
        lambda *_: None,
    )  # fmt: skip
    made.save(folder / "reference.npz")
    return folder / "reference.npz"


@pytest.fixture(scope="session")
def origin():
    return Origin("Topics", "a tiny model", "topics.csv", 240, "Text classification", "Full fine-tuning")


@pytest.fixture(scope="session", params=list(family("exporters")))
def exported(request, tmp_path_factory, model, tokenizer, measured, origin):
    """Format, folder, what `export_model` returned, and the phases that it reported, for each format."""
    exporter = family("exporters")[request.param]
    folder = tmp_path_factory.mktemp("exports") / "mit Ümläuten" / request.param
    phases = []

    def progress(phase):
        phases.append(phase)
        return lambda done, total: phases.append((phase, done / total))

    config = exporter.Config(**OPTIONS.get(request.param, {}))
    result = export_model(model, tokenizer, config, folder, measured, origin, progress)
    return request.param, folder, result, phases
