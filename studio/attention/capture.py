"""One verified capture of a model's attention, in place: any model of the interface, PEFT included."""

from __future__ import annotations

import inspect
import math
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from studio.attention.checks import verify
from studio.attention.interface import (
    CaptureRefused,
    Record,
    base_implementation,
    memory_refusal,
    recording,
    switched,
)
from studio.core.files import write_json

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module

__all__ = ["Capture", "CaptureRefused", "base_state", "capture", "save", "token_facts"]

BUDGET_BYTES = 1 << 30


@dataclass(frozen=True, eq=False)
class Capture:
    """The attention of one text: maps, what the model said, and how far both can be believed.

    `attention` is float32 [layer, head, query, key]; of an encoder-decoder a dictionary of such arrays: encoder,
    decoder, cross. `logits` is the model's float32 logits without the batch axis (None for a model without head),
    `probabilities` [label] of a classifier, `modules` the names of the captured modules in the order of the layers.
    """

    attention: np.ndarray | dict[str, np.ndarray]
    logits: np.ndarray | None
    probabilities: np.ndarray | None
    checks: dict[str, Any]
    modules: dict[str, list[str]]


def capture(model: Module, encoded: Mapping[str, Tensor], budget_bytes: int = BUDGET_BYTES) -> Capture:
    """Return the attention of one encoded text (batch of one; padding allowed) and its checks.

    The model runs twice, plainly and with our attention function, in eval and inference mode; its attention
    implementation, training flags and random state are as before afterwards. Encoder-decoders need
    `decoder_input_ids` where their forward does. Raises CaptureRefused: the file does not use the attention
    interface, the maps exceed `budget_bytes`, the batch is not one, or the model stays in training mode.
    """
    import torch

    # For PEFT the names and the implementation are those of the model inside; the forward is the wrapper's.
    inner = model.get_base_model() if hasattr(model, "get_base_model") else model
    if not hasattr(inner, "set_attn_implementation"):
        raise CaptureRefused("capture-unsupported", model_type=type(inner).__name__)
    device = next(model.parameters()).device
    inputs = {name: value.to(device) for name, value in encoded.items() if name != "labels"}
    expected = _expected(inner.config)
    _refuse_too_large(inputs, inner.config, expected, budget_bytes)
    options: dict[str, Any] = {"return_dict": True}
    if "use_cache" in inspect.signature(inner.forward).parameters:
        options["use_cache"] = False

    # The random state is restored once, at the end: were it the same in both runs, dropout would go unseen.
    with _undisturbed(model, device), torch.inference_mode():
        with recording(inner, budget_bytes) as recorder:
            out = model(**inputs, **options)
        with switched(inner, base_implementation(inner)):
            plain = model(**inputs, **options)
        difference = _largest_difference(out, plain)

    groups = _grouped(recorder.take(), inner.config.is_encoder_decoder)
    real = {kind: _real(kind, records[0].weights.shape, inputs) for kind, records in groups.items()}
    half = torch.is_autocast_enabled(device.type) or any(part.element_size() < 4 for part in model.parameters())
    checks = verify(groups, real, expected, difference, half)
    modules = {kind: [record.module for record in records] for kind, records in groups.items()}
    maps = {kind: _stacked(records) for kind, records in groups.items()}
    logits = out.get("logits")
    return Capture(
        attention=maps.get("attention", maps),
        logits=None if logits is None else logits[0].float().cpu().numpy(),
        probabilities=_probabilities(logits, inner.config),
        checks=checks,
        modules=modules,
    )


@contextmanager
def base_state(model: Module) -> Iterator[None]:
    """Let a PEFT model be its base model for a while; which parameters train is as before afterwards.

    Raises CaptureRefused for a model without an adapter (after full fine-tuning, load the base weights instead).
    """
    if not hasattr(model, "disable_adapter"):
        raise CaptureRefused("capture-no-adapter")
    trained = [(parameter, parameter.requires_grad) for parameter in model.parameters()]
    try:
        with model.disable_adapter():
            yield
    finally:
        # PEFT marks every active adapter as trained when it comes back.
        for parameter, requires_grad in trained:
            parameter.requires_grad = requires_grad


def token_facts(tokenizer: Any, encoded: Mapping[str, Tensor], text: str) -> dict[str, Any]:
    """Return what `save` writes of the tokens: `tokens, ids, special`, `word_ids` of a fast tokenizer, `text`."""
    ids = encoded["input_ids"][0].tolist()
    known = set(tokenizer.all_special_ids)
    facts = {
        "tokens": tokenizer.convert_ids_to_tokens(ids),
        "ids": ids,
        "special": [token in known for token in ids],
        "text": text,
    }
    if tokenizer.is_fast and hasattr(encoded, "word_ids"):
        facts["word_ids"] = encoded.word_ids(0)
    return facts


def save(captured: Capture, tokens: list[str], directory: Path, **facts: Any) -> None:
    """Write `attention.npz`, `tokens.json` (tokens, facts, modules, probabilities) and `checks.json`, each by rename.

    The checks come last: where they are, the rest is complete. Numbers that are not finite are written as null.
    """
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    maps = captured.attention
    _write_arrays(directory / "attention.npz", maps if isinstance(maps, dict) else {"attention": maps})
    probabilities = None if captured.probabilities is None else captured.probabilities.tolist()
    known = {"tokens": list(tokens), "modules": captured.modules, "probabilities": probabilities}
    write_json(directory / "tokens.json", known | facts)
    finite = {
        name: None if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in captured.checks.items()
    }
    write_json(directory / "checks.json", finite)


def _expected(config: Any) -> dict[str, tuple[int | None, int | None]]:
    """Return the layers and heads that a config promises, for each kind of attention."""
    config = config.get_text_config()

    def first(*names: str) -> int | None:
        return next((value for name in names if (value := getattr(config, name, None)) is not None), None)

    if not config.is_encoder_decoder:
        return {"attention": (first("num_hidden_layers"), first("num_attention_heads"))}
    decoder = (
        first("decoder_layers", "num_decoder_layers", "num_hidden_layers"),
        first("decoder_attention_heads", "num_attention_heads"),
    )
    encoder = (first("encoder_layers", "num_hidden_layers"), first("encoder_attention_heads", "num_attention_heads"))
    return {"encoder": encoder, "decoder": decoder, "cross": decoder}


def _refuse_too_large(inputs: Mapping[str, Tensor], config: Any, expected: Mapping, budget_bytes: int) -> None:
    text = inputs.get("input_ids", inputs.get("inputs_embeds"))
    if text is None:
        raise CaptureRefused("capture-unsupported", model_type=config.model_type)
    if text.shape[0] != 1:
        raise CaptureRefused("capture-batch", n_rows=text.shape[0])
    n_tokens = text.shape[1]
    n_target = inputs["decoder_input_ids"].shape[1] if "decoder_input_ids" in inputs else n_tokens
    cells = {"decoder": n_target**2, "cross": n_target * n_tokens}
    needed = sum(
        (layers or 0) * (heads or 0) * cells.get(kind, n_tokens**2) * 4 for kind, (layers, heads) in expected.items()
    )
    if needed > budget_bytes:
        raise memory_refusal(needed, budget_bytes)


@contextmanager
def _undisturbed(model: Module, device: Any) -> Iterator[None]:
    """Hold the model in eval mode; training flags of every module and the random state are as before afterwards."""
    import torch

    flags = [(module, module.training) for module in model.modules()]
    generators = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=generators):
        try:
            model.eval()
            if any(module.training for module in model.modules()):
                raise CaptureRefused("capture-training")
            yield
        finally:
            for module, training in flags:
                module.training = training


def _largest_difference(out: Mapping[str, Any], plain: Mapping[str, Any]) -> float:
    """Return the largest difference of any number the two runs returned; NaN as soon as one is not finite."""
    import torch

    worst = 0.0
    for name, value in plain.items():
        if torch.is_tensor(value) and value.is_floating_point():
            difference = (out[name].double() - value.double()).abs().max().item()
            worst = difference if math.isnan(difference) else max(worst, difference)
            if math.isnan(worst):
                break
    return worst


def _grouped(records: list[Record], encoder_decoder: bool) -> dict[str, list[Record]]:
    """Return the records by kind of attention, told from the names of their modules."""
    if not records:
        raise CaptureRefused("capture-nothing")
    groups: dict[str, list[Record]] = {kind: [] for kind in ("attention", "encoder", "decoder", "cross")}
    for record in records:
        groups[_kind(record.module) if encoder_decoder else "attention"].append(record)
    groups = {kind: members for kind, members in groups.items() if members}
    for kind, members in groups.items():
        if len({record.weights.shape for record in members}) > 1:
            raise CaptureRefused("capture-uneven", kind=kind)
    return groups


def _kind(module: str) -> str:
    parts = module.lower().split(".")
    side = next((place for place, part in enumerate(parts) if part in ("encoder", "decoder")), 0)
    if parts[side] != "decoder":
        return "encoder"
    crosses = any(sign in part for part in parts[side + 1 :] for sign in ("cross", "encdec", "encoder_a"))
    return "cross" if crosses else "decoder"


def _real(kind: str, shape: tuple[int, ...], inputs: Mapping[str, Tensor]) -> tuple[np.ndarray, np.ndarray]:
    """Return which queries and which keys are no padding; tokens put in front by prompt methods are real."""

    def side(name: str, length: int) -> np.ndarray:
        mask = inputs.get(name)
        known = np.ones(length, dtype=bool) if mask is None else mask[0].bool().cpu().numpy()
        return np.concatenate([np.ones(length - len(known), dtype=bool), known])

    queries = "attention_mask" if kind in ("attention", "encoder") else "decoder_attention_mask"
    keys = "decoder_attention_mask" if kind == "decoder" else "attention_mask"
    return side(queries, shape[-2]), side(keys, shape[-1])


def _stacked(records: list[Record]) -> np.ndarray:
    """Return the maps as one array [layer, head, query, key]; empties `records`, so that memory does not double."""
    maps = np.empty((len(records), *records[0].weights.shape), dtype=np.float32)
    for layer in range(len(maps)):
        maps[layer] = records.pop(0).weights
    return maps


def _probabilities(logits: Tensor | None, config: Any) -> np.ndarray | None:
    if logits is None or logits.ndim != 2 or config.problem_type == "regression" or logits.shape[1] == 1:
        return None
    values = logits[0].float()
    several = config.problem_type == "multi_label_classification"
    return (values.sigmoid() if several else values.softmax(dim=-1)).cpu().numpy()


def _write_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write an uncompressed npz by rename; without fsync, since a capture can always be made again."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
    try:
        with os.fdopen(handle, "wb") as file:
            np.savez(file, **arrays)
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
