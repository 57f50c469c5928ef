"""Maps of fewer tokens: some left out, pieces of a word merged, every row renormalised; numpy only.

A grouping is an int for each token: which of the new tokens it is part of, from 0 and in order, -1 for none.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from studio.attention.qk import Layers

LEFT_OUT = -1
_BEGINS_WORD = ("▁", "Ġ")  # sentencepiece, byte-level BPE: of one "word" that is a whole text
_GOES_ON = "##"  # what BERT's pieces of a word begin with


def words(
    tokens: Sequence[str], word_ids: Sequence[int | None], segments: Sequence[int | None] | None = None
) -> list[int]:
    """Return the number of the word of each token, from 0; a token without a word is one by itself."""
    sides = segments or [None] * len(tokens)
    groups: list[int] = []
    for place, (token, word, side) in enumerate(zip(tokens, word_ids, sides, strict=True)):
        goes_on = place > 0 and word is not None and (word, side) == (word_ids[place - 1], sides[place - 1])
        groups.append(groups[-1] + (not goes_on or token.startswith(_BEGINS_WORD)) if groups else 0)
    return groups


def chosen(
    tokens: Sequence[str],
    word_ids: Sequence[int | None],
    segments: Sequence[int | None] | None,
    special: Sequence[bool],
    without_special: bool = False,
    without_first: bool = False,
    whole_words: bool = False,
) -> list[int]:
    """Return the grouping that leaves out special tokens or the first one, or merges the pieces of words."""
    groups = words(tokens, word_ids, segments) if whole_words else [*range(len(tokens))]
    # A word that the model does not know stays: it stands in the text.
    out = {
        place
        for place, (is_special, word) in enumerate(zip(special, word_ids, strict=True))
        if without_special and is_special and word is None or without_first and place == 0
    }
    return _renumbered([LEFT_OUT if place in out else group for place, group in enumerate(groups)])


def members(groups: Sequence[int]) -> list[list[int]]:
    """Return the places of the tokens of each group."""
    found: list[list[int]] = [[] for _ in range(max(groups, default=LEFT_OUT) + 1)]
    for place, group in enumerate(groups):
        if group != LEFT_OUT:
            found[group].append(place)
    return found


def ids_of(ids: Sequence[int], members: Sequence[Sequence[int]]) -> list[int]:
    """Return the id of each group: of a single token its own, of several one below 0 that equal words share."""
    known: dict[tuple[int, ...], int] = {}
    pieces = [tuple(ids[i] for i in each) for each in members]
    return [each[0] if len(each) == 1 else known.setdefault(each, -1 - len(known)) for each in pieces]


def _renumbered(groups: Sequence[int]) -> list[int]:
    """Return groups counted from 0 without gaps."""
    order = {group: place for place, group in enumerate(dict.fromkeys(g for g in groups if g != LEFT_OUT))}
    return [order.get(group, LEFT_OUT) for group in groups]


def joined(pieces: Sequence[str]) -> str:
    """Return a group's tokens as one."""
    return pieces[0] + "".join(piece.removeprefix(_GOES_ON) for piece in pieces[1:])


def starts(groups: Sequence[int]) -> np.ndarray:
    """Return where each group begins among the tokens that are kept, [group]."""
    kept = np.asarray(groups, dtype=np.intp)
    return np.flatnonzero(np.diff(kept[kept >= 0], prepend=-1))


def grouped(attention: np.ndarray | Layers, groups: Sequence[int]) -> np.ndarray | Layers:
    """Return maps [layer, head, query, key] of the groups: weights on a group's keys are summed, its queries averaged.

    Where tokens are left out (-1), each row is divided by what is left of it, before rows are averaged; one that only
    saw what is left out is zero, and counts in no average. So every other row sums to 1. `Layers` stay such: a head
    is computed when it is looked at. Raises ValueError where the groups do not fit.
    """
    groups = np.asarray(groups, dtype=int)
    if attention.shape[-2:] != (len(groups), len(groups)):
        raise ValueError(f"{len(groups)} tokens do not fit maps of {tuple(attention.shape[-2:])}")
    if isinstance(attention, Layers):
        return Layers([_GroupedLayer(layer, groups) for layer in attention.layers])
    return np.stack([_averaged(_summed(layer, groups), groups) for layer in attention])


class _GroupedLayer:
    """One layer's maps of groups, indexed like [head, query, key], each head computed when it is asked for."""

    def __init__(self, layer: Any, groups: np.ndarray):
        self._layer, self._groups = layer, groups
        self.shape = (layer.shape[0], int(groups.max()) + 1, int(groups.max()) + 1)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: Any) -> np.ndarray:
        head, *rest = index if isinstance(index, tuple) else (index,)
        if not isinstance(head, int | np.integer):
            return np.asarray(self)[index]
        whole = _averaged(_summed(np.asarray(self._layer[head])[None], self._groups), self._groups)[0]
        return whole[tuple(rest)] if rest else whole

    def __iter__(self) -> Iterator[np.ndarray]:
        return (self[head] for head in range(len(self)))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        whole = np.stack(list(self))
        return whole if dtype is None else whole.astype(dtype, copy=False)


def _summed(layer: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Return [head, query, group] of rows that sum to 1, or to 0 where nothing is left."""
    kept, begins = groups >= 0, starts(groups)
    sums = layer[..., kept]
    if len(begins) < kept.sum():
        sums = np.add.reduceat(sums, begins, axis=-1)
    if kept.all():
        return sums
    # What a sink leaves over may be a millionth of the row; it is summed, not taken as 1 - sink, so it stays exact.
    totals = sums.sum(axis=-1, keepdims=True)
    return np.divide(sums, totals, out=np.zeros_like(sums), where=totals > 0)


def _averaged(rows: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Return float32 [head, group, group], the mean of each group's rows that are not zero."""
    kept, begins = groups >= 0, starts(groups)
    rows = rows[:, kept]
    if len(begins) == kept.sum():
        return rows.astype(np.float32, copy=False)
    real = np.add.reduceat((rows.sum(axis=-1) > 0).astype(np.float32), begins, axis=1)[..., None]
    return np.add.reduceat(rows, begins, axis=1) / np.maximum(real, 1)
