"""What a model folder holds, read from its config and the headers of its safetensors, without loading a weight.

The file format: https://huggingface.co/docs/safetensors (8 bytes of length, then a JSON header).
"""

import json
import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from studio.core.files import read_json
from studio.core.paths import resources_dir, starter_dir
from studio.core.reasons import Failure

PARTS = ("embeddings", "query", "key", "value", "output", "feed-forward", "norms", "head", "other")
_LAYER = re.compile(r"(?:^|\.)(?:layers?|h|blocks?)\.(\d+)\.")
_PART_RULES = [
    ("norms", re.compile(r"norm|(^|\.)ln_", re.I)),
    ("query", re.compile(r"\.(query|q_proj|q_lin|q|Wqkv|c_attn|qkv\w*|query_key_value)\.(?!.*norm)")),
    ("key", re.compile(r"\.(key|k_proj|k_lin|k)\.")),
    ("value", re.compile(r"\.(value|v_proj|v_lin|v)\.")),
    ("output", re.compile(r"(attention\.output\.dense|o_proj|out_proj|out_lin|attn\.c_proj|attn\.Wo|Attention\.o)\.")),
]
_HEAD = re.compile(
    r"(^|\.)(pooler|classifier|pre_classifier|score|head|sequence_summary)\."
    r"|(^|\.)(cls|lm_head|vocab_transform|vocab_layer_norm|vocab_projector|generator_predictions|generator_lm_head)\."
    r"|(^|\.)decoder\.(bias|weight)$"
)
_EMBEDDINGS = re.compile(r"embed|(^|\.)w[tp]e\.|shared\.")
# Heads of pre-training that a fine-tuned classifier does not have.
_UNUSED = re.compile(
    r"^(cls|lm_head|mlm|vocab_\w+|discriminator_predictions|generator_\w+|predictions|decoder\.(bias|weight)|head)\b"
    r"|position_ids$|rotary_emb\.inv_freq$|token_type_ids$"
)
HEADLESS = "headless"  # it names a head that can't be loaded whole
NEXT_TOKEN, WRITTEN = "next-token", "written-text"  # what a model without a task of the studio answers with
_HEADS = {
    "ForSequenceClassification": "text-classification",
    "ForTokenClassification": "token-classification",
    "ForQuestionAnswering": "question-answering",
    "ForMaskedLM": "masked-lm",
    "ForPreTraining": "masked-lm",  # of BERT; a folder without such a head is loaded without one
    "ForCausalLM": NEXT_TOKEN,
    "LMHeadModel": NEXT_TOKEN,
}
_NO_POOLER = ("roberta", "xlm-roberta", "camembert", "electra", "distilbert", "modernbert", "mpnet")


@dataclass(frozen=True)
class Tensor:
    """One weight of a model: its part, its layer (None outside the stack) and its shape."""

    name: str
    shape: tuple[int, ...]
    part: str
    layer: int | None

    @property
    def n_parameters(self) -> int:
        return math.prod(self.shape)


@dataclass(frozen=True)
class ModelInfo:
    """What a model folder is; sizes in bytes, `max_positions` in tokens."""

    path: str
    name: str
    model_type: str
    n_layers: int
    n_heads: int
    hidden_size: int
    vocab_size: int
    max_positions: int
    size_bytes: int
    license: str
    tensors: tuple[Tensor, ...]
    other_heads: tuple[str, ...] = ()  # names of weights that a classifier does not have, such as of a masked LM

    @property
    def n_parameters(self) -> int:
        return sum(t.n_parameters for t in self.tensors)


def model_folder(name: str) -> Path:
    """Return the folder of a model by its name: `starter` or a path. Raises Failure."""
    if not name:
        raise Failure("model-none", "model")
    if name != "starter":
        return Path(name)
    folder = starter_dir()
    if folder is None:
        raise Failure("starter-missing", "model")
    return folder


def describe_model(name: str) -> ModelInfo:
    """Return what the model `name` (`starter` or a folder) is.

    Raises Failure: model-missing, model-no-config, model-custom-code, model-no-safetensors, model-corrupt,
    model-no-tokenizer.
    """
    folder = model_folder(name)
    if not folder.is_dir():
        raise Failure("model-missing", "model", path=str(folder))
    config = read_json(folder / "config.json")
    if not isinstance(config, dict) or "model_type" not in config:
        raise Failure("model-no-config", "model", path=str(folder))
    if config.get("auto_map"):
        raise Failure("model-custom-code", "model", path=str(folder))
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise Failure("model-no-safetensors", "model", path=str(folder))
    if not any((folder / f).is_file() for f in ("tokenizer.json", "vocab.txt", "tokenizer.model", "spiece.model")):
        raise Failure("model-no-tokenizer", "model", path=str(folder))
    shapes = [item for file in files for item in read_shapes(file)]
    text = config.get("text_config") or config
    return ModelInfo(
        path=str(folder),
        name="starter" if name == "starter" else folder.name,
        model_type=config["model_type"],
        n_layers=_first(text, "num_hidden_layers", "n_layers", "n_layer", "num_layers"),
        n_heads=_first(text, "num_attention_heads", "n_heads", "n_head"),
        hidden_size=_first(text, "hidden_size", "dim", "n_embd", "d_model"),
        vocab_size=_first(text, "vocab_size"),
        max_positions=_usable_positions(text),
        size_bytes=sum(file.stat().st_size for file in files),
        license=_license(folder),
        tensors=tuple(_tensors(shapes, config["model_type"])),
        other_heads=tuple(name for name, _ in shapes if _UNUSED.search(name)),
    )


def writes(folder: str) -> bool:
    """Return whether a model folder holds an encoder and a decoder that writes: a T5, not a classifier made of one."""
    config = read_json(Path(folder) / "config.json") or {}
    is_classifier = any("ForSequenceClassification" in str(name) for name in config.get("architectures") or [])
    return bool(config.get("is_encoder_decoder")) and not is_classifier


def answers_with(folder: str) -> str:
    """Return what the head of a model folder answers with: the id of a task, `NEXT_TOKEN`, `WRITTEN`, or nothing.

    Told from its config alone, so that the window need not load it.
    """
    if writes(folder):
        return WRITTEN
    config = read_json(Path(folder) / "config.json") or {}
    if config.get("model_type") == "xlnet":
        return ""  # it guesses tokens in any order, by inputs of its own
    names = [str(name) for name in config.get("architectures") or []]
    return next((what for ending, what in _HEADS.items() if any(name.endswith(ending) for name in names)), "")


@cache
def _architectures() -> dict[str, list[str]]:
    found = read_json(resources_dir() / "architectures.json") or {}
    return {auto_class: types.split() for auto_class, types in found.items()}


def can_be(info: ModelInfo, auto_class: str) -> bool:
    """Return whether transformers makes a model of this kind of such a folder; True for classes that are not listed.

    Told from a list, so that the window need not import transformers.
    """
    types = _architectures().get(auto_class)
    return types is None or info.model_type in types


def read_shapes(file: Path) -> list[tuple[str, tuple[int, ...]]]:
    """Return names and shapes of the tensors in a safetensors file. Raises Failure "model-corrupt"."""
    try:
        with open(file, "rb") as stream:
            length = int.from_bytes(stream.read(8), "little")
            header = json.loads(stream.read(min(length, 100_000_000)))
        header.pop("__metadata__", None)
        end = max((value["data_offsets"][1] for value in header.values()), default=0)
        size = file.stat().st_size
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise Failure("model-corrupt", "model", path=str(file), message="Its header makes no sense.") from error
    if size != 8 + length + end:
        message = f"It should have {8 + length + end:,} bytes and has {size:,}."
        raise Failure("model-corrupt", "model", path=str(file), message=message)
    return [(name, tuple(value["shape"])) for name, value in header.items()]


def classify(name: str) -> tuple[str, int | None]:
    """Return the part and the layer that a parameter belongs to, from its name in a checkpoint or a model."""
    found = _LAYER.search(name)
    layer = int(found[1]) if found else None
    if layer is None:
        if _HEAD.search(name):
            return "head", None
        if _EMBEDDINGS.search(name):
            return "embeddings", None
        return ("norms" if _PART_RULES[0][1].search(name) else "other"), None
    for part, rule in _PART_RULES:
        if rule.search(name):
            return part, layer
    return "feed-forward", layer


def classifier_head(info: ModelInfo, n_labels: int) -> list[Tensor]:
    """Return the weights that a new classification head adds to a model, as transformers builds it."""
    h, kind = info.hidden_size, info.model_type
    shapes: list[tuple[str, tuple[int, ...]]]
    if kind in _DENSE_HEADS:
        dense = _DENSE_HEADS[kind]
        shapes = [(f"{dense}.weight", (h, h)), ("classifier.weight", (n_labels, h)), ("classifier.bias", (n_labels,))]
        shapes += [("head.norm.weight", (h,))] if kind == "modernbert" else [(f"{dense}.bias", (h,))]
    elif kind in _ENCODERS:
        shapes = [("classifier.weight", (n_labels, h)), ("classifier.bias", (n_labels,))]
    else:
        shapes = [("score.weight", (n_labels, h))]
    has_pooler = any("pooler" in t.name for t in info.tensors)
    if kind in ("bert", "deberta-v2", "albert") and not has_pooler:
        shapes += [("pooler.dense.weight", (h, h)), ("pooler.dense.bias", (h,))]
    return [Tensor(name, shape, "head", None) for name, shape in shapes]


def token_head(info: ModelInfo, n_outputs: int, name: str = "classifier") -> list[Tensor]:
    """Return the weights of a model with a new head that answers at each token, as transformers builds it.

    Without a pooler, which such models don't have.
    """
    h = info.hidden_size
    shapes: list[tuple[str, tuple[int, ...]]] = [(f"{name}.weight", (n_outputs, h)), (f"{name}.bias", (n_outputs,))]
    if info.model_type == "modernbert":
        shapes += [("head.dense.weight", (h, h)), ("head.norm.weight", (h,))]
    kept = [tensor for tensor in info.tensors if "pooler" not in tensor.name]
    return [*kept, *(Tensor(name, shape, "head", None) for name, shape in shapes)]


_DENSE_HEADS = {
    "roberta": "classifier.dense", "xlm-roberta": "classifier.dense", "camembert": "classifier.dense",
    "electra": "classifier.dense", "mpnet": "classifier.dense", "distilbert": "pre_classifier",
    "modernbert": "head.dense",
}  # fmt: skip
_ENCODERS = ("bert", "deberta-v2", "deberta", "albert", "xlnet", "roformer")


def masked_lm_head(info: ModelInfo) -> list[Tensor]:
    """Return the weights that a head for masked words adds to a model whose word embeddings it shares.

    The bias of the words counts as no part of the head, since an adapter leaves it as it is.
    """
    h, dense, norm = info.hidden_size, *_MASKED_HEADS.get(info.model_type, _MASKED_HEADS["bert"])
    embedded = next((t.shape[1] for t in info.tensors if "word_embeddings" in t.name), h)
    out = embedded if info.model_type == "electra" else h
    shapes = [(f"{dense}.weight", (out, h)), (f"{norm}.weight", (out,))]
    if info.model_type != "modernbert":
        shapes += [(f"{dense}.bias", (out,)), (f"{norm}.bias", (out,))]
    bias = Tensor(_WORD_BIASES.get(info.model_type, "cls.predictions.bias"), (info.vocab_size,), "other", None)
    return [*(Tensor(name, shape, "head", None) for name, shape in shapes), bias]


_MASKED_HEADS = {
    "bert": ("cls.predictions.transform.dense", "cls.predictions.transform.LayerNorm"),
    "roberta": ("lm_head.dense", "lm_head.layer_norm"),
    "xlm-roberta": ("lm_head.dense", "lm_head.layer_norm"),
    "camembert": ("lm_head.dense", "lm_head.layer_norm"),
    "mpnet": ("lm_head.dense", "lm_head.layer_norm"),
    "distilbert": ("vocab_transform", "vocab_layer_norm"),
    "electra": ("generator_predictions.dense", "generator_predictions.LayerNorm"),
    "modernbert": ("head.dense", "head.norm"),
}
_WORD_BIASES = {
    "roberta": "lm_head.bias", "xlm-roberta": "lm_head.bias", "camembert": "lm_head.bias", "mpnet": "lm_head.bias",
    "distilbert": "vocab_projector.bias", "electra": "generator_lm_head.bias", "modernbert": "decoder.bias",
}  # fmt: skip


def layer_strip(pieces: Iterable[tuple[Tensor, int]]) -> list[tuple[str, list[tuple[str, int, float]]]]:
    """Return rows for drawing a model: (layer name, [(part, parameters, share that trains)]), from the bottom up.

    pieces: tensors with the number of their parameters that train.
    """
    rows: dict[str, dict[str, list[int]]] = {}
    pieces = sorted(pieces, key=lambda p: (_position(p[0]), PARTS.index(p[0].part)))
    for tensor, n_trainable in pieces:
        row = "embeddings" if _position(tensor) < 0 else "head" if tensor.layer is None else f"layer {tensor.layer + 1}"
        total = rows.setdefault(row, {}).setdefault(tensor.part, [0, 0])
        total[0] += tensor.n_parameters
        total[1] += n_trainable
    return [
        (row, [(part, n, trainable / n if n else 0.0) for part, (n, trainable) in parts.items()])
        for row, parts in rows.items()
    ]


def _position(tensor: Tensor) -> float:
    if tensor.layer is not None:
        return tensor.layer
    return -1 if "embed" in tensor.name.lower() or tensor.part == "embeddings" else math.inf


def _tensors(shapes: list[tuple[str, tuple[int, ...]]], model_type: str) -> list[Tensor]:
    found = []
    for name, shape in shapes:
        if _UNUSED.search(name) or ("pooler" in name and model_type in _NO_POOLER):
            continue
        part, layer = classify(name)
        if re.match(r"(classifier|score|pre_classifier)\.", name):
            continue  # the head of another task: a new one takes its place
        found.append(Tensor(name, shape, part, layer))
    return found


def _first(config: dict[str, Any], *names: str) -> int:
    return next((int(config[n]) for n in names if isinstance(config.get(n), int)), 0)


def _usable_positions(config: dict[str, Any]) -> int:
    most = _first(config, "max_position_embeddings", "n_positions")
    # Roberta's positions begin behind the padding index.
    return most - 2 if config.get("model_type") in ("roberta", "xlm-roberta", "camembert") and most else most


def _license(folder: Path) -> str:
    try:
        text = (folder / "README.md").read_text(encoding="utf-8", errors="replace")[:4000]
    except OSError:
        return ""
    found = re.search(r"^license:\s*(\S+)", text, re.M)
    return found[1] if found else ""
