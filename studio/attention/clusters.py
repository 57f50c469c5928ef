"""Heads of the same kind: k-means on their statistics, with as many kinds as tell them apart best; numpy only."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

MOST_KINDS, ROUNDS = 8, 100


def standardised(values: np.ndarray) -> np.ndarray:
    """Return points [point, number] with mean 0 and spread 1 of each number; one that is the same for all is 0."""
    centred = values - values.mean(axis=0)
    spread = centred.std(axis=0)
    return centred / np.where(spread > 1e-12, spread, 1.0)


def k_means(points: np.ndarray, k: int) -> np.ndarray:
    """Return the cluster of each point, [point] from 0 to k - 1, the largest cluster first.

    Begins with the point nearest to the middle and then always the one furthest from all chosen: the same answer for
    the same points. Fewer clusters come out where there are fewer different points.
    """
    centres = [points[np.argmin(((points - points.mean(axis=0)) ** 2).sum(axis=1))]]
    while len(centres) < k:
        nearest = _distances(points, np.array(centres)).min(axis=1)
        if nearest.max() == 0:
            break
        centres.append(points[nearest.argmax()])
    centres, labels = np.array(centres), np.full(len(points), -1)
    for _ in range(ROUNDS):
        found = _distances(points, centres).argmin(axis=1)
        if np.array_equal(found, labels):
            break
        labels = found
        centres = np.array([points[labels == i].mean(axis=0) if (labels == i).any() else centres[i]
                            for i in range(len(centres))])  # fmt: skip
    kinds, counts = np.unique(labels, return_counts=True)
    ranked = kinds[np.argsort(-counts, kind="stable")]
    return np.array([int(np.flatnonzero(ranked == label)[0]) for label in labels])


def silhouette(points: np.ndarray, labels: np.ndarray) -> float:
    """Return how well clusters are told apart, -1 to 1: the mean silhouette (Rousseeuw 1987); 0 for a single one."""
    kinds = np.unique(labels)
    if len(kinds) < 2:
        return 0.0
    distances = np.sqrt(_distances(points, points))
    members = labels[None] == kinds[:, None]
    sums = distances @ members.T
    counts = members.sum(axis=1)
    own = np.searchsorted(kinds, labels)
    at = np.arange(len(points))
    inside = sums[at, own] / np.maximum(counts[own] - 1, 1)
    means = sums / counts
    means[at, own] = np.inf
    outside = means.min(axis=1)
    widths = np.where(counts[own] > 1, (outside - inside) / np.maximum(np.maximum(outside, inside), 1e-300), 0.0)
    return float(widths.mean())


def head_clusters(statistics: Mapping[str, np.ndarray]) -> tuple[np.ndarray, list[str]]:
    """Return the kind of each head, [layer, head] from 0, and of each kind the statistic it stands out by most.

    statistics: name → [layer, head]. A name with "-" before it says that the kind has little of it.
    """
    names = list(statistics)
    shape = statistics[names[0]].shape
    points = standardised(np.stack([np.asarray(statistics[name], dtype=np.float64).ravel() for name in names], axis=1))
    tried = [k_means(points, k) for k in range(2, min(MOST_KINDS, len(points) - 1) + 1)]
    labels = max(tried, key=lambda labels: silhouette(points, labels), default=np.zeros(len(points), dtype=int))
    told = []
    for kind in range(labels.max(initial=0) + 1):
        middle = points[labels == kind].mean(axis=0)
        most = int(np.abs(middle).argmax())
        told.append(("" if middle[most] >= 0 else "-") + names[most])
    return labels.reshape(shape), told


def _distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the squared distances of points, [a, b]."""
    return np.maximum((a**2).sum(axis=1)[:, None] + (b**2).sum(axis=1)[None] - 2 * a @ b.T, 0.0)
