"""Texts with words hidden: how they are cut into pieces, what is hidden of these, and a model that guesses it."""

import functools
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from studio.tasks.base import MASKED

JOINED_ROWS = 1000  # texts that are joined at a time, so that batches of so many make the same features
NO_WORD = -1  # the number of a token that belongs to no word


def hide_words(
    ids: Sequence[int], words: Sequence[int], mask: int, n_tokens: int, share: float, whole: bool, seed: int, epoch: int
) -> tuple[list[int], list[int]]:
    """Return token ids with some hidden, and labels: what is hidden, and -100 elsewhere.

    A pure function of its arguments, so that a resume sees what a straight run does. Of what is hidden, 80 % become
    the mask, 10 % any token, 10 % stay (Devlin et al. 2019, https://arxiv.org/abs/1810.04805).
    """
    hidden, labels = np.array(ids), np.full(len(ids), MASKED)
    groups = np.asarray(words)
    usable = np.flatnonzero(groups >= 0)
    if not len(usable):
        labels[:1] = hidden[:1]  # without a label the loss of a batch could be no number
        return hidden.tolist(), labels.tolist()
    rng = np.random.default_rng([seed, epoch, zlib.crc32(hidden.astype(np.int32).tobytes())])
    units = groups[usable] if whole else np.arange(len(usable))
    _, unit, sizes = np.unique(units, return_inverse=True, return_counts=True)
    order = rng.permutation(len(sizes))
    wanted = max(1, round(share * len(usable)))
    n_units = max(1, int((np.cumsum(sizes[order]) <= wanted).sum()))
    taken = usable[np.isin(unit, order[:n_units])]
    labels[taken] = hidden[taken]
    luck = rng.random(len(taken))
    others = rng.integers(0, n_tokens, len(taken))
    hidden[taken] = np.where(luck < 0.8, mask, np.where(luck < 0.9, others, hidden[taken]))
    return hidden.tolist(), labels.tolist()


def joined_pieces(texts: Sequence[str], tokenizer: Any, max_length: int) -> list[tuple]:
    """Return (ids, words, behind, row, cut) of the pieces of all texts one after the other.

    Each piece has the tokenizer's own special tokens around it, and a separator behind each text. row: of its end.
    """
    example = tokenizer("a", return_special_tokens_mask=True)
    marks = np.array(example["special_tokens_mask"])
    n_before = int(marks.argmin()) if not marks.all() else 1
    before, after = example["input_ids"][:n_before], example["input_ids"][n_before + int((1 - marks).sum()) :]
    room = max(1, max_length - len(before) - len(after))
    found = []
    for start in range(0, len(texts), JOINED_ROWS):
        part = list(texts[start : start + JOINED_ROWS])
        encoded = tokenizer(part, add_special_tokens=False, verbose=False)
        ids: list[int] = []
        words: list[int] = []
        rows: list[int] = []
        for i, own in enumerate(encoded["input_ids"]):
            first = len(words)
            numbers = words_of(encoded, i, own, [0] * len(own), tokenizer.mask_token_id)
            tail = [] if tokenizer.sep_token_id is None else [tokenizer.sep_token_id]
            ids += own + tail
            words += [n if n < 0 else first + n for n in numbers] + [NO_WORD] * len(tail)
            rows += [start + i] * (len(own) + len(tail))
        for at in range(0, len(ids), room):
            piece, places = ids[at : at + room], rows[at : at + room]
            behind = [places[-1] - place for place in places]
            found.append(
                (before + piece + after, [NO_WORD] * len(before) + words[at : at + room] + [NO_WORD] * len(after),
                 [behind[0]] * len(before) + behind + [0] * len(after), places[-1], False)
            )  # fmt: skip
    return found


def lines(texts: Sequence[str], tokenizer: Any, max_length: int) -> list[tuple]:
    """Return (ids, words, behind, row, cut) of each text by itself, with the tokenizer's own special tokens."""
    encoded = tokenizer(list(texts), truncation=True, max_length=max_length, return_special_tokens_mask=True)
    found = []
    for row, ids in enumerate(encoded["input_ids"]):
        special = encoded["special_tokens_mask"][row]
        words = words_of(encoded, row, ids, special, tokenizer.mask_token_id)
        cut = bool(encoded.encodings and encoded.encodings[row].overflowing)
        found.append((ids, words, [0] * len(ids), row, cut))
    return found


def words_of(encoded: Any, row: int, ids: Sequence[int], special: Sequence[int], mask: int) -> list[int]:
    """Return the number of the word that each token of a row belongs to, -1 for special tokens and gaps."""
    own = encoded.word_ids(row) if encoded.encodings else list(range(len(ids)))
    return [
        NO_WORD if is_special or token == mask else i if word is None else word
        for i, (token, is_special, word) in enumerate(zip(ids, special, own, strict=True))
    ]


class WordBatch:
    """Makes batches of features, padded to a multiple of 8 tokens.

    hide: (ids, words, epoch) to what is hidden of them in that epoch; without it, what the features have hidden.
    """

    def __init__(self, tokenizer: Any, hide: Any = None):
        self.tokenizer, self.hide, self.epoch = tokenizer, hide, 0

    def set_epoch(self, epoch: int) -> None:
        """Hide other words from here on: those of an epoch."""
        self.epoch = epoch

    def __call__(self, features: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        import torch

        inputs, labels = [], []
        for feature in features:
            own = {name: feature[name] for name in feature if name in self.tokenizer.model_input_names}
            hidden = feature["labels"]
            if self.hide is not None:
                whole = [i if label == MASKED else label for i, label in zip(own["input_ids"], hidden, strict=True)]
                own["input_ids"], hidden = self.hide(whole, feature["words"], self.epoch)
            inputs.append(own)
            labels.append(hidden)
        # On a processor each new shape costs its kernels a preparation; a multiple of 8 keeps them few.
        batch = dict(self.tokenizer.pad(inputs, return_tensors="pt", pad_to_multiple_of=8))
        width = batch["input_ids"].shape[1]
        is_left = self.tokenizer.padding_side == "left"
        padded = [[MASKED] * ((width - len(e)) * is_left) + list(e) + [MASKED] * ((width - len(e)) * (not is_left))
                  for e in labels]  # fmt: skip
        return batch | {"labels": torch.tensor(padded)}


def guess_hidden_alone(model: Any) -> Any:
    """Return a model that in training computes its head for the hidden words alone, whose losses alone count.

    The loss is the same; the head of all words costs as much as a small encoder, and most of the memory.
    """
    kind = type(model)
    first = next((name for name in _FIRST_OF_HEAD if hasattr(model, name)), None)
    if first is None:
        return model

    class HiddenAlone(kind):
        @functools.wraps(kind.forward)
        def forward(self, *args: Any, labels: Any = None, **kwargs: Any) -> Any:
            if labels is None or not self.training:
                return super().forward(*args, labels=labels, **kwargs)
            there = labels != MASKED
            take = getattr(self, first).register_forward_pre_hook(lambda _, given: given[0][there].unsqueeze(0))
            try:
                return super().forward(*args, labels=labels[there].unsqueeze(0), **kwargs)
            finally:
                take.remove()

    HiddenAlone.__name__ = HiddenAlone.__qualname__ = kind.__name__  # a saved config names the library's own class
    model.__class__ = HiddenAlone
    return model


_FIRST_OF_HEAD = ("cls", "lm_head", "vocab_transform", "generator_predictions", "head", "predictions")
