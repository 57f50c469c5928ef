"""Loads model folders: tokenizers, and base models with a new head; never foreign code."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from studio.core.anatomy import describe_model
from studio.core.reasons import Failure
from studio.core.spec import TrainSpec
from studio.tasks.base import task_of

# Nothing is fetched, and nothing that a folder brings is executed.
SAFE = {"local_files_only": True, "trust_remote_code": False}


def load_tokenizer(folder: Path) -> Any:
    """Return the tokenizer of a model folder. Raises Failure "model-no-tokenizer"."""
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, **SAFE)
    except (OSError, ValueError) as error:
        raise Failure("model-no-tokenizer", "model", path=str(folder)) from error
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token or tokenizer.unk_token
    return tokenizer


def load_base(spec: TrainSpec, labels: Sequence[str], tokenizer: Any) -> Any:
    """Return the base model with a new head for `labels`, the same for the same seed.

    Raises Failure for a folder that can't be used or a model type that can't do the task.
    """
    import transformers

    info, task = describe_model(spec.model), task_of(spec.task)
    auto = getattr(transformers, task.auto_class)
    config = transformers.AutoConfig.from_pretrained(info.path, **SAFE)
    if type(config) not in auto._model_mapping:
        raise Failure("model-unsupported", "model", model_type=info.model_type, task=task.label)
    for name, value in task.head(labels).items():
        setattr(config, name, value)
    if config.pad_token_id is None:
        config.pad_token_id = tokenizer.pad_token_id
    auto._model_mapping[type(config)]  # importing its code draws random numbers, the first time in a process alone
    transformers.set_seed(spec.training.seed)
    model = auto.from_pretrained(
        info.path, config=config, use_safetensors=True, dtype="float32", ignore_mismatched_sizes=True, **SAFE
    )
    return task.wrap(model, Path(info.path))


def start_head(model: Any, means: Sequence[float], spread: float) -> bool:
    """Let the outputs of a new head begin around `means`, in steps of `spread`; return whether it has a bias for that.

    With AdamW a weight moves by about the learning rate a step, however large the error is: from zero, a bias would
    need tens of thousands of steps to a number like 3.5, and the layers below are spoilt in getting there. For labels
    that few rows have see section 4.1 of Lin et al. 2017, https://arxiv.org/abs/1708.02002.
    """
    import torch

    found = [each for each in model.modules() if isinstance(each, torch.nn.Linear)]
    last = [each for each in found if each.out_features == len(means)][-1:]
    if not last or last[0].bias is None:
        return False
    with torch.no_grad():
        last[0].weight.mul_(spread)
        last[0].bias.copy_(torch.tensor(means))
    return True
