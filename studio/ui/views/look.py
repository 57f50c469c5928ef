"""What the Inspect page knows of one text: its maps in each state, their statistics and their caption; no Qt."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from studio.attention import deep, maps, timeline
from studio.attention.look_file import SavedLook
from studio.core.events import Explained
from studio.core.locks import Hold

BEFORE, AFTER, DIFFERENCE, BOTH = "before", "after", "difference", "both"
STATES = {BEFORE: "Before", AFTER: "After", DIFFERENCE: "Difference", BOTH: "Both"}
THUMBNAIL = 64
FEW_ROWS = 48  # of a long text, for what must be there at once
ENCODER, DECODER, CROSS = "encoder", "decoder", "cross"
KINDS = {ENCODER: "Encoder", DECODER: "Decoder", CROSS: "Cross"}
LOWEST_FIRST = ("entropy", "distance")  # the most telling head has the lowest value


@dataclass(frozen=True, eq=False)
class Look:
    """One text seen by a model: `maps` by state (before, after), float32 [layer, head, query, key].

    `probabilities` by state and label, `checks` by state; `special`, `word_ids` and `segments` (0 and 1 of a pair of
    texts, None for special tokens) by token, `offsets` the start and end of each in its text. Of an encoder-decoder the
    `tokens` are those of the encoder, or for the kind `decoder` the decoder's; for `cross` they are the keys, and
    `queries` the decoder's tokens. `captures`: all that was captured, by state. `fields`: the row by role, where it is
    more than a text; `gold`: its label, where one is known; `said`: the answer in words by state, where it is no label;
    `answers`: what of a model folder answers, as `anatomy.answers_with`. What was done to the maps (see `filters`):
    `without_special` and `without_first`: special tokens, or the first token, were left out and the rows renormalised;
    `whole_words`: pieces of a word were merged. `directories`: where the captures lie, by state. `home` keeps the
    folders of a worker or an opened file for as long as its maps are used. `run`: the folder of the run, where it is of
    one; `step`: after how many of its steps, where the sentence was watched while it trained, and before it is after
    `first_step`. `names`: what the states are called, where another model than its own beginning stands before.
    """

    text: str
    subject: str
    maps: Mapping[str, np.ndarray]
    tokens: list[str]
    special: list[bool]
    word_ids: list[int | None]
    probabilities: Mapping[str, Mapping[str, float]]
    checks: Mapping[str, Mapping[str, Any]]
    kind: str = "attention"
    ids: list[int] = field(default_factory=list)
    segments: list[int | None] = field(default_factory=list)
    fields: Mapping[str, str] = field(default_factory=dict)
    gold: str = ""
    said: Mapping[str, str] = field(default_factory=dict)
    answers: str = ""
    offsets: list[tuple[int, int]] = field(default_factory=list)
    mask_token: str = ""
    without_special: bool = False
    without_first: bool = False
    whole_words: bool = False
    directories: Mapping[str, str] = field(default_factory=dict)
    home: Any = None
    run: str = ""
    step: int | None = None
    first_step: int = 0
    queries: list[str] = field(default_factory=list)
    captures: Mapping[str, maps.SavedCapture] = field(default_factory=dict)
    names: Mapping[str, str] = field(default_factory=dict)

    @property
    def key(self) -> tuple:
        """What tells one look from another: what was found out about one holds for no other.

        The same in all its kinds, and with tokens left out or merged.
        """
        row, where = tuple(sorted(self.fields.items())), tuple(sorted(self.directories.items()))
        return self.subject, self.run, self.text, row, self.step, where

    def title(self, state: str) -> str:
        """Return a state's short name, for a button or the head of a column."""
        steps = {BEFORE: f"Step {self.first_step}", AFTER: f"Step {self.step}"} if self.step is not None else {}
        return (self.names or steps).get(state) or STATES[state]

    def state_words(self, state: str) -> str:
        """Return a state in words, for captions."""
        if self.names:
            first, last = self.names[BEFORE], self.names[AFTER]
        elif self.step is not None:
            first = f"after step {self.first_step}" if self.first_step else "before training"
            last = f"after step {self.step}"
        else:
            return STATE_WORDS[state]
        return {BEFORE: first, AFTER: last, DIFFERENCE: f"difference, {last} - {first}"}[state]

    @property
    def query_tokens(self) -> list[str]:
        """The tokens that look: of each row."""
        return self.queries or self.tokens

    @property
    def key_tokens(self) -> list[str]:
        """The tokens that are looked at: of each column."""
        return self.tokens

    @property
    def is_cross(self) -> bool:
        """Whether the tokens that look are others than those looked at."""
        return self.kind == CROSS

    @property
    def kinds(self) -> list[str]:
        """The kinds of attention that `of_kind` can give; several of an encoder-decoder."""
        return kinds_of(next(iter(self.captures.values()))) if self.captures else [self.kind]

    def of_kind(self, kind: str) -> "Look":
        """Return the same text's maps of another kind, nothing left out or merged."""
        whole = {"without_special": False, "without_first": False, "whole_words": False}
        return replace(self, **_of_kind(self.captures, kind), **whole)

    @property
    def states(self) -> list[str]:
        """The states that can be shown; the difference and both side by side only where there are two."""
        return [BEFORE, AFTER, DIFFERENCE, BOTH] if len(self.maps) == 2 else list(self.maps)

    @property
    def is_filtered(self) -> bool:
        """Whether its tokens are others than those that the model read."""
        return self.without_special or self.without_first or self.whole_words

    @property
    def shape(self) -> tuple[int, int]:
        """Layers and heads."""
        return next(iter(self.maps.values())).shape[:2]

    @property
    def verified(self) -> bool:
        """Whether every state passed its checks."""
        return all(checks.get("verified") is True for checks in self.checks.values())

    @property
    def is_deep(self) -> bool:
        """Whether the text is so long that no head is ever computed whole."""
        return any(deep.is_deep(maps) for maps in self.maps.values())

    def head(self, state: str, layer: int, head: int) -> np.ndarray | deep.Head:
        """Return one head's map as `matrix` does; of a long text what computes only what is looked at."""
        if not self.is_deep:
            return self.matrix(state, layer, head)
        first, less = (AFTER, BEFORE) if state == DIFFERENCE else (state, None)
        return deep.Head(self.maps[first].layers[layer], head, self.maps[less].layers[layer] if less else None)

    def looked_at(self, state: str, layer: int, head: int, query: int = -1) -> np.ndarray:
        """Return where a token looks, [key]; without one the mean over the rows, of a long text over some of them."""
        if query >= 0:  # a row alone: a head that is kept as queries and keys is not computed whole
            states = (AFTER, BEFORE) if state == DIFFERENCE else (state,)
            first, *less = (np.asarray(self.maps[each][layer, head, query]) for each in states)
            return first - less[0] if less else first
        values = self.head(state, layer, head)
        if not self.is_deep:
            return values.mean(axis=0)
        return np.mean([values[int(row), :] for row in deep.some_rows(len(self.query_tokens), FEW_ROWS)], axis=0)

    def matrix(self, state: str, layer: int, head: int) -> np.ndarray:
        """Return one head's map [query, key] in before, after or difference."""
        if state == DIFFERENCE:
            return np.subtract(self.maps[AFTER][layer, head], self.maps[BEFORE][layer, head])
        return self.maps[state][layer, head]


@dataclass(frozen=True, eq=False)
class Measured:
    """A number of all heads [layer, head] that a view found out, such as how much a head matters."""

    title: str
    values: np.ndarray
    lowest_first: bool = False


@dataclass(frozen=True, eq=False)
class Statistics:
    """Numbers of all heads, [layer, head] each: by state and name, and how much each changed (None for one state).

    measured: what views found out besides, by id. thumbnails: of a long text the heads' pictures by state.
    """

    by_state: Mapping[str, Mapping[str, np.ndarray]] = field(default_factory=dict)
    change: np.ndarray | None = None
    measured: Mapping[str, Measured] = field(default_factory=dict)
    thumbnails: Mapping[str, np.ndarray] = field(default_factory=dict)

    def values(self, name: str, state: str) -> np.ndarray | None:
        """Return a statistic in a state; the difference and both are told by their after."""
        if name == "change":
            return self.change
        if name in self.measured:
            return self.measured[name].values
        return self.by_state.get(state if state in self.by_state else AFTER, {}).get(name)

    def order(self, name: str, state: str) -> np.ndarray | None:
        """Return the flat indices of the heads, the most telling first; None for `index` and what is not known."""
        values = self.values(name, state)
        lowest = self.measured[name].lowest_first if name in self.measured else name in LOWEST_FIRST
        return None if values is None else maps.head_order(values, descending=not lowest)


def state_names(
    own: str, own_step: int | None, other: str, other_step: int | None, is_one_run: bool = False
) -> dict[str, str]:
    """Return what the states are called where a model stands against another: by name, or by step of one run."""
    if is_one_run and own_step != other_step:
        steps = {AFTER: own_step, BEFORE: other_step}
        return {state: "Trained" if step is None else f"Step {step}" for state, step in steps.items()}
    pairs = {AFTER: (own, own_step), BEFORE: (f"{other} (other)" if own == other else other, other_step)}
    return {state: name if step is None else f"{name}, step {step}" for state, (name, step) in pairs.items()}


def load_look(
    answer: Explained, subject: str, gold: str = "", kind: str = "", names: Mapping[str, str] | None = None
) -> Look:
    """Return what an answer's folders hold; gold: the label of the row, where it is known; kind: as `look_of`.

    Raises FileNotFoundError or ValueError where they are damaged.
    """
    folders = {state: Path(directory) for state, directory in answer.directories.items()}
    # A worker keeps its newest answers, and whatever a window still shows: this one, or another at the same run.
    hold = Hold(*folders.values())
    saved = {state: maps.load(folder) for state, folder in folders.items()}
    return replace(look_of(saved, answer, subject, gold, kind), home=hold, names=names or {})


def look_of(
    saved: Mapping[str, maps.SavedCapture], answer: Explained, subject: str, gold: str = "", kind: str = ""
) -> Look:
    """Return the captures of each state as a look; kind: of attention, where they have it, else the first they have.

    Raises KeyError where they lack the maps of the text.
    """
    first = next(iter(saved.values()))
    known = kinds_of(first)
    return Look(
        text=answer.text,
        subject=subject,
        probabilities=answer.probabilities,
        checks={state: capture.checks for state, capture in saved.items()},
        fields=answer.fields,
        said=answer.said,
        answers=answer.answers,
        gold=gold,
        mask_token=first.facts.get("mask_token") or "",
        directories=answer.directories,
        captures=saved,
        **_of_kind(saved, kind if kind in known else known[0]),
    )


def kinds_of(capture: maps.SavedCapture) -> list[str]:
    """Return the kinds of attention that can be shown of a capture: those whose rows and columns have a name."""
    if "attention" in capture.maps:
        return ["attention"]
    n_decoded, cross = len(capture.facts.get("decoder_tokens") or []), capture.maps.get(CROSS)
    # A look at a long text is by tiles, whose numbers are of one text with itself.
    named = cross is not None and cross.shape[-2:] == (n_decoded, len(capture.tokens)) and not deep.is_deep(cross)
    return [ENCODER, DECODER, CROSS] if named and capture.maps[DECODER].shape[-1] == n_decoded else [ENCODER]


def _of_kind(saved: Mapping[str, maps.SavedCapture], kind: str) -> dict[str, Any]:
    """Return what of a look depends on the kind of attention: its maps, and what is known of their tokens."""
    first = next(iter(saved.values()))
    side = "decoder_" if kind == DECODER else ""
    tokens = first.facts[f"{side}tokens"]
    facts = {name: first.facts.get(side + name) for name in ("ids", "special", "word_ids", "segments", "offsets")}
    return {
        "kind": kind,
        "maps": {state: capture.maps[kind] for state, capture in saved.items()},
        "tokens": tokens,
        "queries": first.facts["decoder_tokens"] if kind == CROSS else [],
        "special": facts["special"] or [False] * len(tokens),
        "word_ids": facts["word_ids"] or [None] * len(tokens),
        "ids": facts["ids"] or [],
        "segments": facts["segments"] or [None] * len(tokens),
        "offsets": [tuple(each) for each in facts["offsets"] or []],
    }


def look_of_file(saved: SavedLook) -> Look:
    """Return an opened inspection as a look; its maps are read from where they were unpacked."""
    facts = saved.facts
    answer = Explained(
        id="", text=facts.text, probabilities=facts.probabilities, fields=facts.fields, said=facts.said,
        answers=facts.answers,
        directories=saved.directories,
    )  # fmt: skip
    kind = str(facts.view.get("kind", ""))
    look = look_of(saved.captures, answer, facts.subject, facts.gold, kind)
    return replace(look, home=saved.home, step=facts.step, first_step=facts.first_step, names=facts.names)


def look_at_step(run: Path, step: int, first: int, subject: str) -> Look:
    """Return a sentence that was watched while a run trained, after a step; before it is what the `first` one saw.

    Raises FileNotFoundError or ValueError where a capture is gone or damaged.
    """
    steps = {BEFORE: first, AFTER: step}  # of the first step too, so that a chosen difference stays chosen
    saved = {state: timeline.load(run, at) for state, at in steps.items()}
    facts = saved[AFTER].facts
    probabilities = {
        state: dict(zip(each.facts.get("labels") or [], each.facts.get("probabilities") or [], strict=False))
        for state, each in saved.items()
    }
    directories = {state: str(timeline.directory(run, at)) for state, at in steps.items()}
    answer = Explained(id="", text=facts.get("text") or "", probabilities=probabilities, directories=directories)
    return replace(look_of(saved, answer, subject), run=str(run), step=step, first_step=first)


def difference_thumbnails(look: Look, side: int = THUMBNAIL) -> np.ndarray:
    """Return after - before of every head, pooled to [layer, head, side, side] by the value furthest from 0."""
    side = min(side, len(look.tokens))
    rows = []
    for before, after in zip(look.maps[BEFORE], look.maps[AFTER], strict=True):
        row = maps.atlas(maps.difference(before, after)[None], side)
        rows.append(row.reshape(side, len(before), side).swapaxes(0, 1))
    return np.stack(rows)


def measure(look: Look) -> Statistics:
    """Return the statistics of all heads; takes up to two seconds at 512 tokens. Of a long text: of some rows."""
    if look.is_deep:
        surveys = {state: deep.survey(values, THUMBNAIL) for state, values in look.maps.items()}
        changed = deep.change(look.maps[BEFORE], look.maps[AFTER]) if len(look.maps) == 2 else None
        found = {state: survey.statistics for state, survey in surveys.items()}
        return Statistics(found, changed, thumbnails={state: each.thumbnails for state, each in surveys.items()})
    by_state = {state: maps.head_statistics(values, not look.is_cross) for state, values in look.maps.items()}
    change = maps.js_divergence(look.maps[BEFORE], look.maps[AFTER]) if len(look.maps) == 2 else None
    return Statistics(by_state, change)


STATE_WORDS = {
    BEFORE: "before fine-tuning",
    AFTER: "after fine-tuning",
    DIFFERENCE: "difference, after - before",
}


def normalisation(look: Look, whose: str = "rows") -> str:
    """Return what was left out or merged, and what the rows sum to, for captions."""
    left_out = ["special tokens"] * look.without_special + ["the first token"] * look.without_first
    parts = ["pieces of words merged (keys summed, queries averaged)"] * look.whole_words
    if left_out:
        parts.append(f"{' and '.join(left_out)} left out, {whose} renormalised to sum 1")
    else:
        parts.append(f"{whose} sum to 1 over the keys")
    return ", ".join(parts)


def axes(look: Look) -> str:
    """Return what rows and columns are, for captions."""
    if look.is_cross:
        return "row = query (token of the decoder, looks), column = key (token of the encoder, looked at)"
    return "row = query (looks), column = key (looked at)"


def marked(look: Look, header: str) -> str:
    """Return the first header of a file of numbers; where a check failed it says so, so that it goes with them."""
    return header if look.verified else f"NOT VERIFIED · {header}"


def about(look: Look) -> str:
    """Return what a file of numbers of all heads must say: model, states, normalisation, text, and what failed."""
    states = [f"{state}: {look.state_words(state)}" for state in look.maps] if look.names else []
    if not states and look.step is not None:
        states = [f"after step {look.step}"]
    warning = [] if look.verified else ["NOT VERIFIED"]
    return " · ".join([*warning, look.subject, *states, normalisation(look), look.text])


def caption(look: Look, state: str, layer: int, head: int) -> str:
    """Return what a figure of one head must say: model, layer, head, state, normalisation; counted from 1."""
    n_layers, n_heads = look.shape
    kind = "" if look.kind == "attention" else f"{look.kind} "
    parts = [look.subject, f"{kind}layer {layer + 1} of {n_layers}, head {head + 1} of {n_heads}"]
    if len(look.maps) == 2 or state == BEFORE:
        parts.append(look.state_words(state))
    elif look.step is not None:
        parts.append(look.state_words(AFTER))
    parts.append(normalisation(look, "rows of each state" if state == DIFFERENCE else "rows"))
    parts.append(axes(look))
    if not look.verified:
        parts.insert(0, "NOT VERIFIED")
    return " · ".join(parts)
