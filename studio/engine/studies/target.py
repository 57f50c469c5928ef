"""What a model says of a text as one number, in every task: what gradients, ablations and curves are of."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from studio.attention.capture import token_facts
from studio.attention.gates import token_value
from studio.attention.interface import undisturbed
from studio.core.anatomy import NEXT_TOKEN, WRITTEN
from studio.engine.studies.asked import (
    Asked,
    Said,
    Target,
    likely_ids,
    named,
    readable,
    said_next,
)
from studio.engine.studies.following import next_token, written_text

if TYPE_CHECKING:
    from torch import Tensor

    from studio.engine.subject import Subject

_NEVER = 1e6


def target_of(
    subject: Subject, model: Any, encoded: Any, fields: Mapping[str, str], options: Mapping[str, Any]
) -> Target:
    """Return the number that a model's answer to an encoded text comes down to.

    options: `label` the name of the class (else the predicted one), `token` the place of the token whose tag or word
    it is about (else all), `gold` what is right, `kind` the attention that is shown. Of another state of the model ask
    with the `choice` of the first.
    """
    asked = _asked(subject, model, encoded, fields, options)
    return replace(_KINDS[subject.answers](asked), added=asked.special)


def said_of(subject: Subject, model: Any, encoded: Any) -> Said:
    """Return what a model says of an encoded text by itself, nothing of one that has no head."""
    import torch

    if subject.answers == NEXT_TOKEN:
        inputs, takes = subject.inputs(encoded, model), inspect.signature(model.forward).parameters
        last = {"logits_to_keep": 1} if "logits_to_keep" in takes else {}  # of a long text all would take gigabytes
        with undisturbed(model, next(model.parameters()).device), torch.inference_mode():
            return said_next(subject.tokenizer, model(**inputs, **last).logits[0, -1])
    if subject.answers == "embeddings":
        return Said()
    asked = _asked(subject, model, encoded, {}, {})
    if subject.answers == "masked-lm" and subject.tokenizer.mask_token_id not in asked.inputs["input_ids"]:
        return Said()  # nothing was asked of it
    return _KINDS[subject.answers](asked).say(asked.outputs)


def _asked(subject: Subject, model: Any, encoded: Any, fields: Mapping[str, str], options: Mapping[str, Any]) -> Asked:
    """Give a text to a model, and return what is known of both."""
    import torch

    inputs = subject.inputs(encoded, model)
    with undisturbed(model, next(model.parameters()).device), torch.inference_mode():
        outputs = model(**inputs)
    known = token_facts(subject.tokenizer, encoded, "")
    word_ids = known.get("word_ids")
    special = np.array(known["special"])
    if word_ids is not None:  # a word that the model does not know stands in the text
        special &= np.array([word is None for word in word_ids])
    else:
        special &= np.array(known["ids"]) != subject.tokenizer.unk_token_id
    starts = ~special
    if word_ids is not None:
        starts &= np.array([i == 0 or word != word_ids[i - 1] for i, word in enumerate(word_ids)])
    return Asked(subject, model, encoded, inputs, outputs, fields, options, special, starts)


def states_of(subject: Subject, states: tuple[str, ...], asked: Any, options: Mapping[str, Any]) -> Any:
    """Yield name, model and target of each state, all of what the last state predicts; each is there while it runs."""
    encoded, choice = subject.encode(asked.text, asked.fields), {}
    for name in reversed(states):
        with subject.state(name) as model:
            target = target_of(subject, model, encoded, asked.fields, {**options, **choice})
            choice = target.choice
            yield name, model, target


def blank_of(tokenizer: Any) -> int:
    """Return the token that stands for one that is left out: a mask, else an unknown one, else padding."""
    known = (tokenizer.mask_token_id, tokenizer.unk_token_id, tokenizer.pad_token_id, tokenizer.eos_token_id, 0)
    return next(each for each in known if each is not None)


def value_function(model: Any, target: Target, blank: int) -> Callable[[np.ndarray], np.ndarray]:
    """Return the value function of `coalitions` over the tokens that may go, [coalition, free token]."""
    free = np.flatnonzero(~target.stays)
    whole = token_value(model, target.inputs, target.value, blank)
    known: dict[bytes, float] = {}  # curves have their ends in common, and one of a token alone is an occlusion

    def value(coalitions: np.ndarray) -> np.ndarray:
        keys = [each.tobytes() for each in coalitions]
        new = {key: each for key, each in zip(keys, coalitions, strict=True) if key not in known}
        if new:
            stays = np.ones((len(new), len(target.stays)), dtype=bool)
            stays[:, free] = [*new.values()]
            known.update(zip(new, whole(stays).tolist(), strict=True))
        return np.array([known[key] for key in keys])

    return value


# --- the tasks ---------------------------------------------------------------------------------------------------


def _class(asked: Asked) -> Target:
    import torch

    labels, config, logits = asked.subject.labels, asked.model.config, asked.outputs.logits
    if config.problem_type == "regression" or logits.shape[-1] == 1:
        return _number(asked)
    several = config.problem_type == "multi_label_classification"
    log = torch.nn.functional.logsigmoid if several else (lambda values: values.log_softmax(-1))
    wanted = asked.options.get("label")
    best = labels.index(wanted) if wanted in labels else int(logits[0].argmax())

    def of(outputs: Any) -> Tensor:
        return log(outputs.logits.float())[:, best]

    def say(outputs: Any) -> Said:
        logs = log(outputs.logits[0].float())
        named = dict(zip(labels, logs.exp().tolist(), strict=False))
        likely = max(named, key=named.get)
        loss = -logs[labels.index(asked.gold)].item() if asked.gold in labels and not several else None
        return Said(named, [likely], loss)

    return Target(
        "probability of “{label}”", {"label": labels[best]}, asked.inputs, of, lambda outputs: of(outputs).exp(), say,
        asked.special, is_log=True, choice={"label": labels[best]},
    )  # fmt: skip


def _number(asked: Asked) -> Target:
    def of(outputs: Any) -> Tensor:
        return outputs.logits.float().flatten(1)[:, 0]

    def say(outputs: Any) -> Said:
        value, loss = of(outputs)[0].item(), None
        try:
            loss = (value - float(asked.gold)) ** 2 if asked.gold else None
        except ValueError:  # what stands in the row is no number
            pass
        return Said({}, [f"{value:.4g}"], loss)

    return Target("predicted number", {}, asked.inputs, of, of, say, asked.special)


def _option(asked: Asked) -> Target:
    """The score of the option that is read; all of them compete when the model is asked for its answer."""
    from studio.tasks.multiple_choice import LETTERS

    def of(outputs: Any) -> Tensor:
        return outputs.logits.float()[:, 0]

    task, device = asked.subject.trained.task, next(asked.model.parameters()).device
    fields = {role: text for role, text in asked.fields.items() if role == "question" or role.startswith("option_")}
    fields = {role: text for role, text in fields.items() if text}
    asks = None
    if "question" in fields and len(fields) > 2:
        features = task.encode({role: [text] for role, text in fields.items()}, asked.subject.tokenizer,
                               asked.subject.max_length)  # fmt: skip
        feature = {name: values[0] for name, values in features.items() if name not in ("cut", "length")}
        asks = {name: value.to(device) for name, value in task.collator(asked.subject.tokenizer)([feature]).items()}

    def say(outputs: Any) -> Said:
        shares = outputs.logits[0].float().log_softmax(-1)
        if asks is None:
            return Said()  # its score is the target itself
        named = dict(zip(LETTERS, shares.exp().tolist(), strict=False))
        gold = asked.gold if asked.gold in named else None
        return Said(named, [max(named, key=named.get)], -shares[LETTERS.index(gold)].item() if gold else None)

    return Target(
        "score of the option that is read (log-odds)", {}, asked.inputs, of, of, say, asked.special, asks=asks
    )


def _tags(asked: Asked) -> Target:
    import torch

    labels, starts = asked.subject.labels, asked.starts
    token = asked.options.get("token", -1)
    places = [token] if 0 <= token < len(starts) and not asked.special[token] else np.flatnonzero(starts).tolist()
    tags = asked.options.get("tags")
    if tags is None:
        tags = asked.outputs.logits[0, places].argmax(-1).tolist()
        tags = [labels.index(asked.options["label"])] * len(tags) if asked.options.get("label") in labels else tags

    def of(outputs: Any) -> Tensor:
        logs = outputs.logits.float().log_softmax(-1)[:, places, tags]
        return logs.logsumexp(-1) - float(np.log(len(places)))

    def say(outputs: Any) -> Said:
        logits = outputs.logits[0].float()
        told = [labels[i] for i in logits[torch.as_tensor(np.flatnonzero(starts))].argmax(-1).tolist()]
        one = dict(zip(labels, logits[places[0]].softmax(-1).tolist(), strict=True)) if len(places) == 1 else {}
        return Said(one, told)

    words, facts = "mean probability of the predicted tags", {}
    if len(places) == 1:
        name = asked.subject.tokenizer.convert_ids_to_tokens(asked.encoded["input_ids"][0].tolist())[places[0]]
        words, facts = "probability of the tag “{label}” of “{token}”", {"label": labels[tags[0]], "token": name}
    return Target(
        words, facts, asked.inputs, of, lambda outputs: of(outputs).exp(), say, asked.special, is_log=True,
        choice={"tags": tags}, per_token=True,
    )  # fmt: skip


def _span(asked: Asked) -> Target:
    from studio.tasks.question_answering import Config

    tokenizer, trained = asked.subject.tokenizer, asked.subject.trained
    config = trained.task.config if trained else Config()
    ids = asked.encoded["input_ids"][0].tolist()
    parts = asked.encoded.sequence_ids(0)
    context = np.array([part == 1 for part in parts]) if 1 in parts else ~asked.special
    null = ids.index(tokenizer.cls_token_id) if tokenizer.cls_token_id in ids else 0

    def best(outputs: Any) -> tuple[int, int]:
        starts, ends = (
            each[0].float().cpu().numpy().astype(float) for each in (outputs.start_logits, outputs.end_logits)
        )
        sums = starts[:, None] + ends[None]
        length = np.arange(len(ids))[None] - np.arange(len(ids))[:, None]
        fits = context[:, None] & context[None] & (length >= 0) & (length < config.max_answer_length)
        sums = np.where(fits, sums, -np.inf)
        place = np.unravel_index(int(sums.argmax()), sums.shape)
        threshold = _NEVER if config.null_threshold == "auto" else config.null_threshold
        if starts[null] + ends[null] - sums[place] > threshold:
            return null, null
        return int(place[0]), int(place[1])

    def words_of(span: tuple[int, int]) -> str:
        return "" if span == (null, null) else tokenizer.decode(ids[span[0] : span[1] + 1])

    def say(outputs: Any) -> Said:
        return Said({}, [words_of(best(outputs))])

    span = tuple(asked.options.get("span") or best(asked.outputs))

    def of(outputs: Any) -> Tensor:
        starts, ends = outputs.start_logits.float().log_softmax(-1), outputs.end_logits.float().log_softmax(-1)
        return starts[:, span[0]] + ends[:, span[1]]

    words, facts = "probability of the answer “{answer}”", {"answer": words_of(span)}
    if not facts["answer"]:
        words, facts = "probability that there is no answer", {}
    return Target(
        words, facts, asked.inputs, of, lambda outputs: of(outputs).exp(), say, asked.special,
        is_log=True, choice={"span": list(span)},
    )  # fmt: skip


def _word(asked: Asked) -> Target:
    tokenizer, ids = asked.subject.tokenizer, asked.inputs["input_ids"][0]
    masked = np.array(ids.tolist()) == tokenizer.mask_token_id
    places = np.flatnonzero(masked if masked.any() else ~asked.special).tolist() or [0]
    tokens = asked.options.get("tokens")
    if tokens is None:
        tokens = (asked.outputs.logits[0, places].argmax(-1) if masked.any() else ids[places]).tolist()
    likely = likely_ids(asked.outputs.logits[0, places[0]], tokens[:1])

    def of(outputs: Any) -> Tensor:
        logits = outputs.logits[:, places].float()
        chosen = logits.log_softmax(-1)[:, range(len(places)), tokens]
        return chosen.logsumexp(-1) - float(np.log(len(places)))

    def say(outputs: Any) -> Said:
        logits = outputs.logits[0, places].float()
        best = logits.argmax(-1).tolist()
        if len(places) > 1:
            return Said({}, [readable(tokenizer, [i])[0] for i in best])
        return Said(named(tokenizer, logits[0], likely), readable(tokenizer, best))

    words, facts = "mean probability of the text's own tokens", {}
    if masked.any():
        words, facts = "mean probability of the words at the masked places", {}
        if len(places) == 1:
            words, facts = "probability of “{token}”", {"token": readable(tokenizer, tokens[:1])[0]}
    return Target(
        words, facts, asked.inputs, of, lambda outputs: of(outputs).exp(), say, asked.special | masked, is_log=True,
        choice={"tokens": tokens},
    )  # fmt: skip


def _vector(asked: Asked) -> Target:
    """The cosine with the text's own vector; it is at its highest there, and its gradient is 0.

    Gradients are therefore of another number: how far the vector has come from an empty text's to the text's own.
    """
    import torch

    def vector(outputs: Any) -> Tensor:
        known = outputs.get("sentence_embedding")
        found = outputs["last_hidden_state"].mean(dim=1) if known is None else known
        return torch.nn.functional.normalize(found.float(), dim=-1)

    ids = asked.inputs["input_ids"]
    empty = torch.where(torch.as_tensor(asked.special, device=ids.device), ids, blank_of(asked.subject.tokenizer))
    with undisturbed(asked.model, ids.device), torch.inference_mode():
        nothing = vector(asked.model(**{**asked.inputs, "input_ids": empty}))[0]
    # Tensors of inference mode can't take part in a backward; copies made outside of it can.
    own, nothing = vector(asked.outputs)[0].clone(), nothing.clone()
    way = own - nothing

    def of(outputs: Any) -> Tensor:
        return (vector(outputs) - nothing) @ way / (way @ way).clamp_min(1e-12)

    def value(outputs: Any) -> Tensor:
        return vector(outputs) @ own

    return Target(
        "cosine with the vector of the whole text", {}, asked.inputs, of, value, lambda outputs: Said(), asked.special
    )


_KINDS = {
    "text-classification": _class,
    "token-classification": _tags,
    "question-answering": _span,
    "masked-lm": _word,
    "multiple-choice": _option,
    "embeddings": _vector,
    NEXT_TOKEN: next_token,
    WRITTEN: written_text,
}
