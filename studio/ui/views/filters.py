"""A look without some of its tokens, or with words in place of their pieces; rows always sum to 1; no Qt."""

from dataclasses import dataclass, replace

from studio.attention.grouping import chosen, grouped, ids_of, joined, members, words
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
        kept = (self.without_special, self.without_first, self.whole_words)
        groups = chosen(look.tokens, look.word_ids, look.segments or None, look.special, *kept)
        found = members(groups)
        return _shown(look, groups, found, self) if found else look


def can_merge(look: Look) -> bool:
    """Return whether any word of a look is in pieces, as far as its tokenizer tells."""
    return len(set(words(look.tokens, look.word_ids, look.segments))) < len(look.tokens)


def _shown(look: Look, groups: list[int], places: list[list[int]], filters: Filters) -> Look:
    return replace(
        look,
        maps={state: grouped(values, groups) for state, values in look.maps.items()},
        tokens=[joined([look.tokens[i] for i in each]) for each in places],
        ids=ids_of(look.ids, places) if look.ids else [],
        segments=[look.segments[each[0]] for each in places] if look.segments else [],
        offsets=[(look.offsets[each[0]][0], look.offsets[each[-1]][1]) for each in places] if look.offsets else [],
        special=[look.special[each[0]] for each in places],
        word_ids=[look.word_ids[each[0]] for each in places],
        without_special=filters.without_special,
        without_first=filters.without_first,
        whole_words=filters.whole_words,
    )
