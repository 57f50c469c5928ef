"""What a model says that writes: the token that comes next, and the text of an encoder-decoder, as one number."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

import numpy as np

from studio.attention import gates
from studio.attention.interface import inner_model
from studio.engine import decoders
from studio.engine.studies.asked import (
    Asked,
    Said,
    Target,
    id_of,
    likely_ids,
    named,
    readable,
)

if TYPE_CHECKING:
    from torch import Tensor

OF_DECODER = ("decoder", "cross")  # kinds of attention whose rows are the decoder's tokens


def next_token(asked: Asked) -> Target:
    """Return the probability of the token that comes next, or that came after the one that `token` names.

    Its `label` may name another one. The loss is that of the whole text, the mean over its tokens but the first.
    """
    tokenizer, ids = asked.subject.tokenizer, asked.inputs["input_ids"][0]
    token, last = asked.options.get("token", -1), len(ids) - 1
    place = token if 0 <= token <= last else last
    own = ids[place + 1] if place < last else asked.outputs.logits[0, place].argmax()
    chosen = id_of(tokenizer, asked.options.get("label"))
    wanted = int(own) if chosen is None else chosen
    likely = likely_ids(asked.outputs.logits[0, place], [wanted])
    # A head over a large vocabulary takes as long as all layers, and a test of an explanation asks it of many texts.
    n_kept = len(ids) - place
    can_keep = "logits_to_keep" in inspect.signature(inner_model(asked.model).forward).parameters
    inputs = asked.inputs | ({"logits_to_keep": n_kept} if can_keep else {})

    def of(outputs: Any) -> Tensor:
        return outputs.logits[:, -n_kept].float().log_softmax(-1)[:, wanted]

    def say(outputs: Any) -> Said:
        logits = outputs.logits[0].float()
        shares = named(tokenizer, logits[place], likely)
        best = readable(tokenizer, [int(logits[place].argmax())])
        loss = -logits[:-1].log_softmax(-1)[range(last), ids[1:]].mean().item() if last else None
        return Said(shares, best, loss)

    facts = {"token": readable(tokenizer, [wanted])[0]}
    words = "probability that “{token}” comes next"
    if place < last:
        words = "probability that “{token}” comes after “{before}”"
        facts["before"] = readable(tokenizer, [int(ids[place])])[0]
    return Target(
        words, facts, inputs, of, lambda outputs: of(outputs).exp(), say,
        asked.special | (np.arange(len(ids)) > place), is_log=True, per_token=True, asks=asked.inputs,
        choice={"label": tokenizer.convert_ids_to_tokens(wanted)},
    )  # fmt: skip


def written_text(asked: Asked) -> Target:
    """Return the probability of what the decoder is given to write, per token, each after those before it.

    Of a `kind` of attention with the decoder's rows, `token` names one of them: then it is the probability of the
    token that follows that one. The loss is that of the whole text.
    """
    import torch

    tokenizer, follow = asked.subject.tokenizer, asked.encoded["labels"][0].tolist()
    is_of_decoder = asked.options.get("kind") in OF_DECODER
    token = asked.options.get("token", -1) if is_of_decoder else -1
    known = [place for place, label in enumerate(follow) if label != decoders.UNKNOWN]
    places = [token] if 0 <= token < len(follow) else known or [0]
    best = asked.outputs.logits[0].argmax(-1).tolist()
    wanted = asked.options.get("tokens") or [
        best[place] if follow[place] == decoders.UNKNOWN else follow[place] for place in places
    ]
    likely = likely_ids(asked.outputs.logits[0, places[0]], wanted[:1])
    loss = torch.nn.functional.cross_entropy

    def of(outputs: Any) -> Tensor:
        return outputs.logits[:, places].float().log_softmax(-1)[:, range(len(places)), wanted].mean(-1)

    def say(outputs: Any) -> Said:
        logits = outputs.logits[0].float()
        labels = torch.tensor(follow, device=logits.device)
        told = loss(logits, labels, ignore_index=decoders.UNKNOWN).item() if known else None
        if len(places) == 1 and is_of_decoder:
            best = readable(tokenizer, [int(logits[places[0]].argmax())])
            return Said(named(tokenizer, logits[places[0]], likely), best, told)
        # Whatever its decoder was given: what it would write now, with heads as they are.
        read = {name: value for name, value in asked.inputs.items() if name != "decoder_input_ids"}
        is_known = not gates.are_edited()
        ids = asked.subject.written(asked.encoded, asked.model) if is_known else decoders.written(asked.model, read)
        return Said({}, [tokenizer.decode(ids[0][0], skip_special_tokens=True).strip()], told)

    words, facts = "probability per token of what is written", {}
    if asked.fields.get("text_pair", "").strip():
        words = "probability per token of the given text"
    if 0 <= token < len(follow):
        after, then = readable(tokenizer, [asked.inputs["decoder_input_ids"][0, token].item(), wanted[0]])
        words, facts = "probability that “{token}” is written after “{before}”", {"token": then, "before": after}
    return Target(
        words, facts, asked.inputs, of, lambda outputs: of(outputs).exp(), say, asked.special, is_log=True,
        choice={"tokens": wanted}, per_token=is_of_decoder,
    )  # fmt: skip
