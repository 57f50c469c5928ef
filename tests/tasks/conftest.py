"""Each task's case (a file in `cases`), and tiny models of several architectures with tokenizers that cut words."""

import importlib
import json
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from studio.core.anatomy import ModelInfo, describe_model

CASES = {
    path.stem.replace("_", "-"): importlib.import_module(f"tests.tasks.cases.{path.stem}")
    for path in sorted((Path(__file__).parent / "cases").glob("[a-z]*.py"))
}
SHAPE = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48}
FAMILIES = {
    "bert": ("BertModel", "BertConfig", SHAPE),
    "roberta": ("RobertaModel", "RobertaConfig", SHAPE),
    "distilbert": ("DistilBertModel", "DistilBertConfig", {"dim": 32, "n_layers": 2, "n_heads": 4, "hidden_dim": 48}),
    "modernbert": (
        "ModernBertModel",
        "ModernBertConfig",
        SHAPE | {"local_attention": 16, "global_attn_every_n_layers": 2},
    ),
    "electra": ("ElectraModel", "ElectraConfig", SHAPE | {"embedding_size": 16}),
    "llama": ("LlamaModel", "LlamaConfig", SHAPE | {"num_key_value_heads": 2}),  # a decoder, two queries share a key
}


@pytest.fixture(scope="session")
def starter_info() -> ModelInfo:
    return describe_model("starter")


@pytest.fixture(scope="session")
def rows_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A function that returns the file of a task's case."""

    @cache
    def make(task: str) -> Path:
        path = tmp_path_factory.mktemp("rows") / CASES[task].FILE
        CASES[task].write(path)
        return path

    return make


@pytest.fixture(scope="session")
def tiny(
    tmp_path_factory: pytest.TempPathFactory, rows_of: Callable[[str], Path]
) -> Callable[[str], Path]:  # fmt: skip
    """A function that returns the folder of a model of two layers with random weights, of one of FAMILIES."""

    @cache
    def make(family: str) -> Path:
        import torch
        import transformers

        folder = tmp_path_factory.mktemp("models") / family
        texts = [rows_of(task).read_text("utf-8") for task in CASES]
        tokenizer = (_byte_pairs if family == "roberta" else _pieces)(texts)
        tokenizer.save_pretrained(folder)
        model, config, options = FAMILIES[family]
        ids = {f"{name}_token_id": getattr(tokenizer, f"{name}_token_id") for name in ("pad", "cls", "sep")}
        torch.manual_seed(0)
        made = getattr(transformers, config)(
            vocab_size=len(tokenizer), max_position_embeddings=130, bos_token_id=ids["cls_token_id"],
            eos_token_id=ids["sep_token_id"], **options, **ids,
        )  # fmt: skip
        getattr(transformers, model)(made).save_pretrained(folder)
        return folder

    return make


def _pieces(texts: list[str]):
    """Return a tokenizer as BERT's, which cuts rare words into pieces and has pairs."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    made = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    made.normalizer, made.pre_tokenizer = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()
    made.train_from_iterator(texts, trainers.WordPieceTrainer(vocab_size=200, special_tokens=special))
    made.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    names = dict(zip(("pad_token", "unk_token", "cls_token", "sep_token", "mask_token"), special, strict=True))
    return PreTrainedTokenizerFast(tokenizer_object=made, model_max_length=128, **names)


def _byte_pairs(texts: list[str]):
    """Return a tokenizer as RoBERTa's, whose tokens have the blank before them."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=420, special_tokens=special, initial_alphabet=alphabet)
    made.train_from_iterator(texts, trainer)
    made.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0), add_prefix_space=False)
    names = {"cls_token": "<s>", "bos_token": "<s>", "pad_token": "<pad>", "sep_token": "</s>", "eos_token": "</s>"}
    return PreTrainedTokenizerFast(
        tokenizer_object=made, unk_token="<unk>", mask_token="<mask>", model_max_length=128,
        model_input_names=["input_ids", "attention_mask"], **names,
    )  # fmt: skip


@pytest.fixture(scope="session")
def make_spec(rows_of: Callable[[str], Path], tiny: Callable[[str], Path]) -> Callable[..., dict]:
    """A function that returns the training of a task's case with a tiny model, as a JSON object."""

    def make(task: str, family: str = "bert", **training: object) -> dict:
        case = CASES[task]
        return {
            "data": {"train": str(rows_of(task)), "validation": 0.2, "test": 0.2},
            "columns": case.COLUMNS,
            "task": case.TASK,
            "model": str(tiny(family)),
            "training": {"per_device_train_batch_size": 8, "precision": "fp32"} | case.TRAINING | training,
        }

    return make


def read_lines(path: Path) -> list[dict]:
    """Return the rows of a JSON-lines file."""
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]
