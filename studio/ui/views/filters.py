"""A look without some of its tokens, or with words in place of their pieces; rows always sum to 1; no Qt."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from studio.attention.grouping import LEFT_OUT, grouped, joined, words
from studio.ui.views.look import Look


@dataclass(frozen=True)
class Filters:
    """What of a text is shown: without special tokens, without the first token (a sink), words in place of pieces."""

    without_special: bool = False
    without_first: bool = False
    whole_words: bool = False

    def apply(self, look: Look) -> Look:
        """Return what is left of a look; the whole of it where nothing would be left."""
        # Rows of queries and keys can't be cut and renormalised; of two texts there is no one list of tokens to cut.
        if self == Filters() or look.is_deep or look.is_cross:
            return look
        groups = words(look.tokens, look.word_ids, look.segments) if self.whole_words else [*range(len(look.tokens))]
        # A word that the model does not know stays: it stands in the text.
        out = {
            place
            for place, (special, word) in enumerate(zip(look.special, look.word_ids, strict=True))
            if self.without_special and special and word is None or self.without_first and place == 0
        }
        groups = _renumbered([LEFT_OUT if place in out else group for place, group in enumerate(groups)])
        members: list[list[int]] = [[] for _ in range(max(groups, default=LEFT_OUT) + 1)]
        for place, group in enumerate(groups):
            if group != LEFT_OUT:
                members[group].append(place)
        return _shown(look, groups, members, self) if members else look


def can_merge(look: Look) -> bool:
    """Return whether any word of a look is in pieces, as far as its tokenizer tells."""
    return len(set(words(look.tokens, look.word_ids, look.segments))) < len(look.tokens)


def _shown(look: Look, groups: list[int], members: list[list[int]], filters: Filters) -> Look:
    return replace(
        look,
        maps={state: grouped(values, groups) for state, values in look.maps.items()},
        tokens=[joined([look.tokens[i] for i in each]) for each in members],
        ids=_ids(look.ids, members) if look.ids else [],
        segments=[look.segments[each[0]] for each in members] if look.segments else [],
        offsets=[(look.offsets[each[0]][0], look.offsets[each[-1]][1]) for each in members] if look.offsets else [],
        special=[look.special[each[0]] for each in members],
        word_ids=[look.word_ids[each[0]] for each in members],
        without_special=filters.without_special,
        without_first=filters.without_first,
        whole_words=filters.whole_words,
    )


def _renumbered(groups: Sequence[int]) -> list[int]:
    """Return groups counted from 0 without gaps."""
    order = {group: place for place, group in enumerate(dict.fromkeys(g for g in groups if g != LEFT_OUT))}
    return [order.get(group, LEFT_OUT) for group in groups]


def _ids(ids: Sequence[int], members: Sequence[Sequence[int]]) -> list[int]:
    """Return the id of each group: of a single token its own, of several one below 0 that equal words share."""
    known: dict[tuple[int, ...], int] = {}
    pieces = [tuple(ids[i] for i in each) for each in members]
    return [each[0] if len(each) == 1 else known.setdefault(each, -1 - len(known)) for each in pieces]
