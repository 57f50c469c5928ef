"""Looks made of small arrays, for the tests of views."""

from pathlib import Path

import numpy as np

from studio.ui.views.base import View
from studio.ui.views.files import untold
from studio.ui.views.look import Look

TOKENS = ["[CLS]", "un", "##believ", "##able", "film", "[SEP]", "so", "dull", "[SEP]"]
WORD_IDS = [None, 0, 0, 0, 1, None, 0, 1, None]
SEGMENTS = [None, 0, 0, 0, 0, None, 1, 1, None]


def random_maps(seed: int, n_layers: int = 2, n_heads: int = 4, n_tokens: int = len(TOKENS)) -> np.ndarray:
    """Return maps [layer, head, query, key] whose rows sum to 1."""
    weights = np.random.default_rng(seed).random((n_layers, n_heads, n_tokens, n_tokens)) ** 4
    return (weights / weights.sum(axis=-1, keepdims=True)).astype(np.float32)


def make_look(states: tuple[str, ...] = ("before", "after"), **changes) -> Look:
    """Return a look at a pair of texts."""
    fields = {
        "text": "unbelievable film", "subject": "a model", "tokens": TOKENS, "ids": list(range(10, 10 + len(TOKENS))),
        "maps": {state: random_maps(seed) for seed, state in enumerate(states)},
        "special": [token.startswith("[") for token in TOKENS], "word_ids": WORD_IDS, "segments": SEGMENTS,
        "probabilities": {}, "checks": {state: {"verified": True} for state in states},
    }  # fmt: skip
    return Look(**fields | changes)


def written(view: View, ending: str, path: Path) -> list[Path]:
    """Write what a view shows, and return the files."""
    return view.export(ending, path)(untold)


def long_look(n_tokens: int = 120, n_heads: int = 12) -> Look:
    """Return a look at a long text, one layer with many heads."""
    tokens = [f"token{i}" for i in range(n_tokens)]
    return make_look(
        ("after",), maps={"after": random_maps(9, 1, n_heads, n_tokens)}, tokens=tokens, ids=list(range(n_tokens)),
        special=[False] * n_tokens, word_ids=list(range(n_tokens)), segments=[0] * n_tokens,
    )  # fmt: skip
