"""What a study is asked of: a text as a model was given it, and the one number that its answer comes down to."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor

    from studio.engine.subject import Subject

SHOWN_TOKENS = 5  # of a vocabulary, beside the one that is predicted


@dataclass(frozen=True)
class Said:
    """What a model answers: probabilities by label where there is one choice, the answers in words, the loss."""

    probabilities: dict[str, float] = field(default_factory=dict)
    answers: list[str] = field(default_factory=list)
    loss: float | None = None


@dataclass(frozen=True, eq=False)
class Target:
    """One number of a model's outputs, for one text.

    words, facts: what it is, a template and what fills it. inputs: what the model is given, a batch of one. of: the
    outputs of a batch → [row], with gradients. value: the same → the number that people are shown, [row]: where
    `is_log` the probability whose logarithm `of` is. say: outputs of the batch of one → what is answered. stays:
    tokens that can't be left out, bool [token]; added: those of them that the tokenizer added. per_token: it depends on
    the option `token`. choice: options with which another state of the model has the same
    target. asks: what the model is given to `say`, where that is not `inputs`.
    """

    words: str
    facts: dict[str, Any]
    inputs: dict[str, Tensor]
    of: Callable[[Any], Tensor]
    value: Callable[[Any], Tensor]
    say: Callable[[Any], Said]
    stays: np.ndarray
    is_log: bool = False
    choice: dict[str, Any] = field(default_factory=dict)
    asks: dict[str, Tensor] | None = None
    per_token: bool = False
    added: np.ndarray = field(default_factory=lambda: np.zeros(0, dtype=bool))

    def one(self, outputs: Any) -> Tensor:
        """Return the number of a batch of one."""
        return self.of(outputs)[0]

    def told(self) -> dict[str, Any]:
        """Return what it is, as JSON."""
        told = {"words": self.words, "facts": self.facts}
        return told | {"is_probability": self.is_log, "per_token": self.per_token}


@dataclass(frozen=True, eq=False)
class Asked:
    """A text as a model in one state was given it, and what came out."""

    subject: Subject
    model: Any
    encoded: Any
    inputs: dict[str, Tensor]
    outputs: Any
    fields: Mapping[str, str]
    options: Mapping[str, Any]
    special: np.ndarray  # tokens that the tokenizer added
    starts: np.ndarray  # tokens with which a word begins

    @property
    def gold(self) -> str | None:
        """What the row should be answered with, where it is known."""
        task = self.subject.trained.task if self.subject.trained else None
        named = [self.fields.get(role.id) for role in task.roles if role.is_gold] if task else []
        return self.options.get("gold") or next(filter(None, named), None)


def token_name(tokenizer: Any, token: int) -> str:
    """Return what the tokenizer calls a token; a vocabulary may have more, to be of a round size."""
    return tokenizer.convert_ids_to_tokens(token) or f"#{token}"


def likely_ids(logits: Tensor, first: list[int]) -> list[int]:
    """Return some tokens and then the likeliest others, from the logits of one place.

    They are found once, of the model as it is: another answer tells of the same tokens.
    """
    found = logits.topk(min(SHOWN_TOKENS, len(logits))).indices.tolist()
    return [*first, *(i for i in found if i not in first)]


def said_next(tokenizer: Any, logits: Tensor) -> Said:
    """Return what is most likely to come next, from the logits [token of the vocabulary] of one place."""
    found = named(tokenizer, logits.float(), likely_ids(logits, []))
    return Said(found, [next(iter(found))])


def named(tokenizer: Any, logits: Tensor, ids: list[int]) -> dict[str, float]:
    """Return the probabilities of some tokens by name."""
    return dict(zip(readable(tokenizer, ids), logits.softmax(-1)[ids].tolist(), strict=True))


def id_of(tokenizer: Any, token: str | None) -> int | None:
    """Return the id of a token by its name in the vocabulary, None for any other word."""
    found = tokenizer.convert_tokens_to_ids(token) if token else None
    return found if found is not None and tokenizer.convert_ids_to_tokens(found) == token else None


def readable(tokenizer: Any, ids: Iterable[int]) -> list[str]:
    """Return tokens as people write them; those that would read alike, or as nothing, as the tokenizer names them."""
    ids = list(ids)
    texts = [tokenizer.decode([i]).strip() for i in ids]
    unclear = {text for text in texts if texts.count(text) > 1 or not text or "\ufffd" in text}
    return [token_name(tokenizer, i) if text in unclear else text for i, text in zip(ids, texts, strict=True)]
