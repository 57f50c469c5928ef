"""Loads models: a base model with a new head, a trained run, its state before the training; never foreign code."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from studio.core.anatomy import describe_model
from studio.core.files import read_json
from studio.core.reasons import Failure
from studio.core.registry import plugin
from studio.core.rundir import RunDir
from studio.core.spec import TrainSpec

_SAFE = {"local_files_only": True, "trust_remote_code": False}


def load_tokenizer(folder: Path) -> Any:
    """Return the tokenizer of a model folder. Raises Failure "model-no-tokenizer"."""
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, **_SAFE)
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

    info = describe_model(spec.model)
    auto = getattr(transformers, plugin("tasks", spec.task).auto_class)
    config = transformers.AutoConfig.from_pretrained(info.path, **_SAFE)
    if type(config) not in auto._model_mapping:
        raise Failure("model-unsupported", "model", model_type=info.model_type)
    config.num_labels = len(labels)
    config.id2label = dict(enumerate(labels))
    config.label2id = {label: i for i, label in enumerate(labels)}
    config.problem_type = "single_label_classification"
    if config.pad_token_id is None:
        config.pad_token_id = tokenizer.pad_token_id
    transformers.set_seed(spec.training.seed)
    return auto.from_pretrained(
        info.path, config=config, use_safetensors=True, dtype="float32", ignore_mismatched_sizes=True, **_SAFE
    )


def trained_labels(run: RunDir) -> list[str]:
    """Return the labels of a trained run. Raises Failure "run-not-finished"."""
    resolved = read_json(run.resolved_file) or {}
    if "labels" not in resolved or not (run.model_dir / "tokenizer_config.json").is_file():
        raise Failure("run-not-finished", "run", run=run.id)
    return resolved["labels"]


def load_trained(run: RunDir) -> tuple[Any, Any]:
    """Return model (with its adapter, if it has one) and tokenizer of a trained run, on the processor, in eval mode."""
    import transformers

    labels = trained_labels(run)
    spec = run.spec()
    tokenizer = load_tokenizer(run.model_dir)
    if (run.model_dir / "adapter_config.json").is_file():
        from peft import PeftModel

        model = PeftModel.from_pretrained(load_base(spec, labels, tokenizer), run.model_dir)
    else:
        auto = getattr(transformers, plugin("tasks", spec.task).auto_class)
        model = auto.from_pretrained(run.model_dir, use_safetensors=True, dtype="float32", **_SAFE)
    return model.eval(), tokenizer


def merged(run: RunDir) -> tuple[Any, Any]:
    """Return the trained model of a run as a plain transformers model, and its tokenizer."""
    model, tokenizer = load_trained(run)
    return plugin("methods", run.spec().method).merge(model).eval(), tokenizer
