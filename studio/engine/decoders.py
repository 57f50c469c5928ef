"""What the decoder of an encoder-decoder reads: a text that was given, or what the model itself writes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from studio.attention.interface import undisturbed
from studio.core.anatomy import describe_model
from studio.core.reasons import Failure
from studio.engine.models import SAFE

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module

MOST_WRITTEN = 40  # tokens
UNKNOWN = -100  # what follows a token, where nobody knows; transformers' losses leave it out
_NO_WEIGHTS = {"final_logits_bias"}  # zeros that a folder need not hold


def load_writer(folder: str) -> Module:
    """Return the encoder-decoder of a folder with the head that writes.

    Raises Failure: model-unsupported (it is no text that it writes), writer-incomplete (its decoder or head is not in
    the folder, and would be drawn at random).
    """
    import transformers

    auto, config = transformers.AutoModelForSeq2SeqLM, transformers.AutoConfig.from_pretrained(folder, **SAFE)
    if type(config) not in auto._model_mapping:
        task = "attention of an encoder and decoder"
        raise Failure("model-unsupported", "model", model_type=describe_model(folder).model_type, task=task)
    model, found = auto.from_pretrained(
        folder, config=config, use_safetensors=True, dtype="float32", output_loading_info=True, **SAFE
    )
    if missing := sorted(set(found["missing_keys"]) - _NO_WEIGHTS):
        raise Failure("writer-incomplete", "model", name=Path(folder).name, n=len(missing), first=missing[0])
    return model.eval()


def written(model: Module, encoded: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
    """Return what the decoder reads while the model writes, one greedy choice after the other, int64 [1, token].

    It begins with the token that starts the decoder and ends before the end token, with `MOST_WRITTEN` at most. Also
    what follows each token, int64 [1, token], `UNKNOWN` where it was not written any more.
    """
    import torch

    device = next(model.parameters()).device
    inputs = {name: value.to(device) for name, value in encoded.items()}
    with undisturbed(model, device), torch.inference_mode():
        # Without a cache: one of transformers 5 counts the layers of the encoder, of which there may be fewer.
        ids = model.generate(
            **inputs, max_new_tokens=MOST_WRITTEN, min_length=0, num_beams=1, do_sample=False, early_stopping=False,
            use_cache=False,
        )  # fmt: skip
    ids = ids[:1].cpu().clone()
    ends = model.generation_config.eos_token_id
    known = set(ends if isinstance(ends, list) else [ends])
    if ids.shape[1] > 1 and ids[0, -1].item() in known:
        return ids[:, :-1], ids[:, 1:]
    return ids, torch.nn.functional.pad(ids[:, 1:], (0, 1), value=UNKNOWN)


def given(model: Module, tokenizer: Any, text: str) -> tuple[Tensor, Tensor]:
    """Return what the decoder reads where it is to write a text, and that text; int64 [1, token] each.

    It reads the same one place to the right.
    """
    labels = tokenizer(text_target=text, return_tensors="pt")["input_ids"]
    return model.prepare_decoder_input_ids_from_labels(labels=labels), labels


@contextmanager
def read_by_decoder(model: Module) -> Iterator[list[Tensor]]:
    """Give a list that what a model's decoder reads is put into, int64 [1, token] a forward; nothing without one."""
    inner, seen = model.get_base_model() if hasattr(model, "get_base_model") else model, []
    decoder = inner.get_decoder() if inner.config.is_encoder_decoder else None
    if decoder is None or decoder is inner:
        yield seen
        return

    def note(module: Module, args: tuple[Any, ...], options: dict[str, Any]) -> None:
        ids = options.get("input_ids", args[0] if args else None)
        if ids is not None:
            seen.append(ids.cpu().clone())

    hook = decoder.register_forward_pre_hook(note, with_kwargs=True)
    try:
        yield seen
    finally:
        hook.remove()


def decoder_facts(tokenizer: Any, ids: Tensor) -> dict[str, Any]:
    """Return what a capture's `tokens.json` holds of the decoder's tokens."""
    found = ids[0].tolist()
    known = set(tokenizer.all_special_ids)
    return {
        "decoder_tokens": tokenizer.convert_ids_to_tokens(found),
        "decoder_ids": found,
        "decoder_special": [token in known for token in found],
    }
