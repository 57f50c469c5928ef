"""One verified capture of a model's attention, in place: any model of the interface, PEFT included."""

from __future__ import annotations

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
    Recorder,
    base_implementation,
    forward_options,
    inner_model,
    memory_refusal,
    recording,
    switched,
    undisturbed,
    uses_interface,
)
from studio.attention.qk import INDEX, Layers, QueryKeys, write_layers
from studio.attention.spy import sees_no_future, watching
from studio.core.files import write_json

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module

__all__ = ["Capture", "CaptureRefused", "base_state", "capture", "kind_of", "map_bytes", "save", "token_facts"]

BUDGET_BYTES = 1 << 30


@dataclass(frozen=True, eq=False)
class Capture:
    """The attention of one text: maps, what the model said, and how far both can be believed.

    `attention` is float32 [layer, head, query, key]; of an encoder-decoder a dictionary of such arrays: encoder,
    decoder, cross; of a model of two towers text and vision, of one with stages (Swin) stage 1, stage 2, … Where not
    every layer is a map in memory it is `Layers`, indexed in the same way. `logits` is the model's float32 logits
    without the batch axis (None for a model without head), `probabilities` [label] of a classifier, `modules` the
    names of the captured modules in the order of the layers.
    """

    attention: np.ndarray | Layers | dict[str, np.ndarray | Layers]
    logits: np.ndarray | None
    probabilities: np.ndarray | None
    checks: dict[str, Any]
    modules: dict[str, list[str]]


def capture(
    model: Module,
    encoded: Mapping[str, Tensor],
    budget_bytes: int = BUDGET_BYTES,
    queries: bool | None = None,
    spool: Path | None = None,
) -> Capture:
    """Return the attention of one encoded input (batch of one; padding allowed) and its checks.

    The model runs twice, plainly and with our attention function, in eval and inference mode; its attention
    implementation, training flags and random state are as before afterwards. With `queries`, layers are kept as
    queries and keys where that is smaller than the map; by default where maps exceed the budget. What exceeds
    `budget_bytes` even so is written into the folder `spool` (give it to `save`). Encoder-decoders need
    `decoder_input_ids` where their forward does. Raises CaptureRefused: nothing of the model's attention can be
    seen, the maps exceed `budget_bytes` and there is no `spool`, the batch is not one, or the model stays in
    training mode.
    """
    import torch

    # For PEFT the names and the implementation are those of the model inside; the forward is the wrapper's.
    inner = inner_model(model)
    if not hasattr(inner, "set_attn_implementation"):
        raise CaptureRefused("capture-unsupported", model_type=type(inner).__name__)
    device = next(model.parameters()).device
    inputs = {name: value.to(device) for name, value in encoded.items() if name != "labels"}
    if (n_rows := len(next(iter(inputs.values())))) != 1:
        raise CaptureRefused("capture-batch", n_rows=n_rows)
    expected = heads_of(inner.config)
    needed = _map_bytes(inputs, expected)
    if needed > budget_bytes and spool is None and not queries:
        raise memory_refusal(needed, budget_bytes)
    queries = needed > budget_bytes if queries is None else queries
    options = forward_options(inner)

    # The random state is restored once, at the end: were it the same in both runs, dropout would go unseen.
    with undisturbed(model, device), torch.inference_mode():
        if uses_interface(inner):
            with recording(inner, budget_bytes, queries, spool) as recorder:
                out = model(**inputs, **options)
            with switched(inner, base_implementation(inner)):
                plain = model(**inputs, **options)
        else:
            recorder = Recorder({}, budget_bytes, queries, spool)
            causal, mask = sees_no_future(model, inputs, options), inputs.get("attention_mask")
            # In inference mode torch does not take matrix products apart, and what is used could not be seen.
            with torch.inference_mode(False), torch.no_grad():
                plain = model(**inputs, **options)
                with watching(inner, recorder, causal, None if mask is None else mask[0].bool().cpu().numpy()):
                    out = model(**inputs, **options)
        difference = _largest_difference(out, plain)

    groups = _grouped(recorder.take(), inner.config)
    shapes = {kind: records[0].maps.shape for kind, records in groups.items()}
    real = {kind: _real(kind, shape, inputs) for kind, shape in shapes.items()}
    half = torch.is_autocast_enabled(device.type) or any(part.element_size() < 4 for part in model.parameters())
    checks = verify(groups, real, expected, difference, half)
    if not checks["verified"] and not uses_interface(inner):
        # What was only watched and does not add up may be no attention at all: it is not shown, not even in red.
        raise CaptureRefused("capture-unsupported", model_type=inner.config.model_type)
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


def map_bytes(model: Module, encoded: Mapping[str, Tensor]) -> int:
    """Return the bytes that the full maps of one encoded text take in float32."""
    inner = inner_model(model)
    return _map_bytes(encoded, heads_of(inner.config))


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
    """Return what `save` writes of the tokens: `tokens`, `ids`, `special`, `text`.

    Of a fast tokenizer also `word_ids`, `segments` (which text of a pair), `offsets` in it, and its `mask_token`.
    """
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
        facts["segments"] = encoded.sequence_ids(0)
        facts["offsets"] = encoded.encodings[0].offsets
        facts["mask_token"] = tokenizer.mask_token
    return facts


def save(captured: Capture, tokens: list[str], directory: Path, **facts: Any) -> None:
    """Write `attention.npz`, `tokens.json` (tokens, facts, modules, probabilities) and `checks.json`, each by rename.

    `query_tokens` and `key_tokens` name rows and columns; virtual tokens of a prompt method are labelled there.

    What is kept as `Layers` is written beside it: `layers.json` and the arrays that it names.
    The checks come last: where they are, the rest is complete. Numbers that are not finite are written as null.
    """
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    maps = captured.attention
    kinds = maps if isinstance(maps, dict) else {"attention": maps}
    _write_arrays(directory / "attention.npz", {k: m for k, m in kinds.items() if isinstance(m, np.ndarray)})
    layers = {kind: values for kind, values in kinds.items() if isinstance(values, Layers)}
    if layers:
        write_layers(directory, layers)
    else:
        (directory / INDEX).unlink(missing_ok=True)
    probabilities = None if captured.probabilities is None else captured.probabilities.tolist()
    known = {"tokens": list(tokens), "modules": captured.modules, "probabilities": probabilities}
    if "attention" in kinds:
        known |= _sides(kinds["attention"].shape, list(tokens))
    write_json(directory / "tokens.json", known | facts)
    finite = {
        name: None if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in captured.checks.items()
    }
    write_json(directory / "checks.json", finite)


def _sides(shape: tuple[int, ...], tokens: list[str]) -> dict[str, list[str]]:
    """Return the tokens of the rows and of the columns: prompt methods put virtual ones in front of one or both."""
    names = {"query_tokens": shape[-2] - len(tokens), "key_tokens": shape[-1] - len(tokens)}
    return {name: [f"[virtual {i}]" for i in range(1, n + 1)] + tokens for name, n in names.items()}


def heads_of(config: Any) -> dict[str, tuple[int | None, int | None]]:
    """Return the layers and heads that a config promises, for each kind of attention."""
    if _has_towers(config):
        return {
            kind: (part.num_hidden_layers, part.num_attention_heads)
            for kind, part in (("text", config.text_config), ("vision", config.vision_config))
        }
    config = config.get_text_config()
    if hasattr(config, "depths"):
        stages = zip(config.depths, config.num_heads, strict=True)
        return {f"stage {number}": stage for number, stage in enumerate(stages, start=1)}

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


def _has_towers(config: Any) -> bool:
    """Return whether a model has a tower for text and one for pictures, neither of which sees the other."""
    return all(hasattr(config, part) for part in ("text_config", "vision_config", "projection_dim"))


def _map_bytes(inputs: Mapping[str, Tensor], expected: Mapping) -> int:
    """Return what full maps will take, told before the forward; of pictures and sounds only the forward tells."""
    text = inputs.get("input_ids", inputs.get("inputs_embeds"))
    n_tokens = 0 if text is None else text.shape[1]
    n_target = inputs["decoder_input_ids"].shape[1] if "decoder_input_ids" in inputs else n_tokens
    cells = {"decoder": n_target**2, "cross": n_target * n_tokens, "vision": 0}
    return sum(
        (layers or 0) * (heads or 0) * cells.get(kind, n_tokens**2) * 4 for kind, (layers, heads) in expected.items()
    )


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


def _grouped(records: list[Record], config: Any) -> dict[str, list[Record]]:
    """Return the records by kind of attention, told from the names of their modules."""
    if not records:
        raise CaptureRefused("capture-nothing")
    groups: dict[str, list[Record]] = {kind: [] for kind in ("attention", "encoder", "decoder", "cross")}
    for record in records:
        groups.setdefault(kind_of(record.module, config), []).append(record)
    groups = {kind: members for kind, members in groups.items() if members}
    for kind, members in groups.items():
        if len({record.maps.shape for record in members}) > 1:
            raise CaptureRefused("capture-uneven", kind=kind)
    return groups


def kind_of(module: str, config: Any) -> str:
    """Return which kind of attention a module is, told from its name: attention, encoder, decoder, cross, …"""
    parts = module.lower().split(".")
    if _has_towers(config):
        return "vision" if any("vision" in part for part in parts) else "text"
    if hasattr(config.get_text_config(), "depths"):
        return f"stage {1 + next((int(part) for part in parts if part.isdigit()), 0)}"
    if not config.is_encoder_decoder:
        return "attention"
    side = next((place for place, part in enumerate(parts) if part in ("encoder", "decoder")), 0)
    if parts[side] != "decoder":
        return "encoder"
    crosses = any(sign in part for part in parts[side + 1 :] for sign in ("cross", "encdec", "encoder_a"))
    return "cross" if crosses else "decoder"


def _real(kind: str, shape: tuple[int, ...], inputs: Mapping[str, Tensor]) -> tuple[np.ndarray, np.ndarray]:
    """Return which queries and which keys are no padding; tokens put in front by prompt methods are real."""

    def side(name: str, length: int) -> np.ndarray:
        mask = inputs.get(name)
        known = np.ones(0, dtype=bool) if mask is None else mask[0].bool().cpu().numpy()
        if len(known) <= length:
            return np.concatenate([np.ones(length - len(known), dtype=bool), known])
        if known.all():
            return np.ones(length, dtype=bool)
        # A sound's mask counts samples, and which frames are left of them only the model knows.
        raise CaptureRefused("capture-unsupported", model_type="padded audio")

    if kind == "vision" or kind.startswith("stage"):
        return side("", shape[-2]), side("", shape[-1])
    queries = "decoder_attention_mask" if kind in ("decoder", "cross") else "attention_mask"
    keys = "decoder_attention_mask" if kind == "decoder" else "attention_mask"
    return side(queries, shape[-2]), side(keys, shape[-1])


def _stacked(records: list[Record]) -> np.ndarray | Layers:
    """Return the maps as one array [layer, head, query, key]; empties `records`, so that memory does not double."""
    if any(isinstance(record.maps, QueryKeys | np.memmap) for record in records):
        return Layers([record.maps for record in records])
    maps = np.empty((len(records), *records[0].maps.shape), dtype=np.float32)
    for layer in range(len(maps)):
        maps[layer] = records.pop(0).maps
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
