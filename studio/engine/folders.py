"""Model folders that were not trained here, loaded as they are: with the head that they hold, else without one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from studio.core.anatomy import NEXT_TOKEN, WRITTEN, answers_with, describe_model
from studio.core.reasons import Failure
from studio.engine import decoders, models

AUTO_CLASSES = {
    "text-classification": "AutoModelForSequenceClassification",
    "token-classification": "AutoModelForTokenClassification",
    "question-answering": "AutoModelForQuestionAnswering",
    "masked-lm": "AutoModelForMaskedLM",
    NEXT_TOKEN: "AutoModelForCausalLM",
}
_NAMED = ("text-classification", "token-classification")  # whose labels stand in the config


@dataclass(frozen=True)
class Folder:
    """A model, in eval mode, and its tokenizer; max_length in tokens. answers: what with, as `anatomy.answers_with`.

    lacks_head: it names one, which can't be loaded whole.
    """

    model: Any
    tokenizer: Any
    max_length: int
    labels: list[str]
    answers: str
    lacks_head: bool = False


def load_folder(name: str, with_answers: bool = True) -> Folder:
    """Return the model of a folder, or `starter`; with_answers: with its head.

    A head of which a part is not in the folder would be drawn at random: such a model is loaded without it.
    Raises Failure: those of `describe_model` and of `decoders.load_writer`.
    """
    if not name:
        raise Failure("model-none", "model")
    info = describe_model(name)
    answers, tokenizer = answers_with(info.path) if with_answers else "", models.load_tokenizer(Path(info.path))
    model = decoders.load_writer(info.path) if answers == WRITTEN else _with_head(info.path, answers)
    lacks_head = model is None and bool(answers)
    if model is None:
        answers, model = "", _load(info.path, "AutoModel")[0]
    if answers in (WRITTEN, NEXT_TOKEN):
        model.config.use_cache = False  # nothing is written on: keys and values would be kept for nobody
    config = model.config
    labels = [config.id2label[i] for i in sorted(config.id2label)] if answers in _NAMED else []
    return Folder(model, tokenizer, info.max_positions or 512, labels, answers, lacks_head)


def _with_head(path: str, answers: str) -> Any:
    """Return the model with its head, None where it has none or not the whole of it."""
    import transformers

    if answers not in AUTO_CLASSES:
        return None
    auto = AUTO_CLASSES[answers]
    config = transformers.AutoConfig.from_pretrained(path, **models.SAFE)
    if type(config) not in getattr(transformers, auto)._model_mapping:
        return None
    model, missing = _load(path, auto)
    return None if missing else model


def _load(path: str, auto: str) -> tuple[Any, list[str]]:
    """Return a model and the names of its weights that are not in the folder."""
    import transformers

    model, found = getattr(transformers, auto).from_pretrained(
        path, use_safetensors=True, dtype="float32", output_loading_info=True, **models.SAFE
    )
    return model.eval(), sorted(found["missing_keys"])
