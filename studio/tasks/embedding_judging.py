"""What vectors of texts are worth: which text is nearest, how the own one ranks, and a map of all."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from studio.core.blocks import Bars, Block, Histogram, Scatter
from studio.tasks.base import Judged

SCALE = 20.0  # of cosines before a softmax, as sentence-transformers has it
MARGIN = 5.0  # of triplets, likewise
_MOST_DOTS = 2000
_QUERIES = 1024  # that are compared with all texts at a time


def nearest(queries: np.ndarray, texts: np.ndarray, skip_own: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Return the place of the nearest text for each query, and its cosine. skip_own: not the one at the same place."""
    places, cosines = np.zeros(len(queries), int), np.zeros(len(queries), np.float32)
    for start in range(0, len(queries), _QUERIES):
        part = queries[start : start + _QUERIES] @ texts.T
        own = np.arange(len(part))
        if skip_own and len(texts) > 1:
            part[own, start + own] = -np.inf
        places[start : start + _QUERIES] = best = part.argmax(-1)
        cosines[start : start + _QUERIES] = part[own, best]
    return places, cosines


def ranked(queries: np.ndarray, texts: np.ndarray, names: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Return the rank, from 1 on, of each query's own text among all different texts, and the loss of ranking so.

    Another text that is exactly as near counts as nearer, so that equal vectors are no success; a copy of the own
    text does not count.
    """
    number = {name: i for i, name in enumerate(dict.fromkeys(names))}
    places = np.array([number[name] for name in names])
    first = np.unique(places, return_index=True)[1]  # one of each
    ranks, losses = np.zeros(len(queries), int), np.zeros(len(queries))
    for start in range(0, len(queries), _QUERIES):
        part = (queries[start : start + _QUERIES] @ texts[first].T).astype(np.float64)
        lines, own = np.arange(len(part)), places[start : start + _QUERIES]
        mine = part[lines, own]
        ranks[start : start + _QUERIES] = (part >= mine[:, None]).sum(-1)
        top = part.max(-1)
        logs = np.log(np.exp(SCALE * (part - top[:, None])).sum(-1)) + SCALE * top
        losses[start : start + _QUERIES] = logs - SCALE * mine
    return ranks, losses


def judge_ranks(values: Mapping[str, Any]) -> Judged:
    ranks, losses = values["ranks"], values["losses"]
    metrics = {
        "loss": lambda c: float(losses[c].mean()),
        "mrr": lambda c: float((1 / ranks[c]).mean()),
        **{f"recall_at_{k}": lambda c, k=k: float((ranks[c] <= k).mean()) for k in (1, 5, 10)},
    }

    def blocks() -> list[Block]:
        shares = {str(k): float((ranks <= k).mean()) for k in (1, 2, 3, 5, 10, 20, 50) if k < max(2, len(ranks))}
        return [Bars(title="Own text among the nearest", values=shares), _alike(values["alike"])]

    return Judged(losses, metrics, blocks, ranks == 1)


def judge_triplets(values: Mapping[str, Any]) -> Judged:
    vectors, right = values["vectors"], values["alike"] > values["other"]
    near, far = (np.linalg.norm(vectors[:, 0] - vectors[:, k], axis=-1) for k in (1, 2))
    losses = np.maximum(near - far + MARGIN, 0).astype(float)
    metrics = {"loss": lambda c: float(losses[c].mean()), "accuracy": lambda c: float(right[c].mean())}

    def blocks() -> list[Block]:
        gap = values["alike"] - values["other"]
        heights, edges = np.histogram(gap, 30)
        unit = "similarity to the second less that to the third"
        return [Histogram(title="Margin", edges=edges.tolist(), counts=heights.tolist(), unit=unit)]

    return Judged(losses, metrics, blocks, right)


def judge_labels(values: Mapping[str, Any], gold: np.ndarray) -> Judged:
    vectors, right = values["vectors"][:, 0], gold[values["best"]] == gold
    losses = 1.0 - (vectors * vectors[values["best"]]).sum(-1).astype(float)
    losses[~right] += 1.0
    metrics = {"loss": lambda c: float(losses[c].mean()), "accuracy": lambda c: float(right[c].mean())}

    def blocks() -> list[Block]:
        shares = {str(label): float(right[gold == label].mean()) for label in np.unique(gold)}
        return [Bars(title="Nearest neighbour has the same label", values=shares, select="label")]

    return Judged(losses, metrics, blocks, right)


def _alike(alike: np.ndarray) -> Histogram:
    heights, edges = np.histogram(alike, 30)
    return Histogram(title="Similarity of pairs", edges=edges.tolist(), counts=heights.tolist(), unit="cosine")


def map_of(vectors: np.ndarray, texts: Sequence[str], labels: Sequence[str] | None) -> list[Block]:
    """Return the texts on the two axes along which they differ most (PCA), coloured by label."""
    from sklearn.decomposition import PCA

    chosen = np.unique(np.linspace(0, len(vectors) - 1, min(len(vectors), _MOST_DOTS)).round().astype(int))
    if len(chosen) < 3 or np.ptp(vectors[chosen], axis=0).max() == 0:
        return []
    pca = PCA(2, svd_solver="full").fit(vectors[chosen])
    places, shares = pca.transform(vectors[chosen]), pca.explained_variance_ratio_
    groups = [str(labels[int(i)]) or "–" for i in chosen] if labels is not None else []
    axes = [f"Component {k + 1} ({share:.0%} of the variance)" for k, share in enumerate(shares)]
    return [
        Scatter(
            title="Map of the texts", x=places[:, 0].tolist(), y=places[:, 1].tolist(), groups=groups,
            texts=[texts[int(i)][:200] for i in chosen], x_axis=axes[0], y_axis=axes[1],
        )
    ]  # fmt: skip
