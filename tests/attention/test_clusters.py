"""Kinds of heads: planted ones are found, and the measure of how well is that of a well-kept library."""

import numpy as np
from sklearn.metrics import silhouette_score

from studio.attention import clusters

CHANCE = np.random.default_rng(6)
PLANTED = np.repeat([2, 0, 1], [24, 15, 9])
NAMES = ("entropy", "sink", "previous")
MIDDLES = np.array([[0.1, 0.9, 0.0], [0.2, 0.1, 0.8], [2.5, 0.1, 0.1]])


def planted():
    order = CHANCE.permutation(len(PLANTED))
    points = MIDDLES[PLANTED[order]] + CHANCE.normal(size=(len(PLANTED), 3)) * 0.04
    return points, PLANTED[order]


def test_planted_kinds_are_found_the_largest_first_and_named_by_what_they_have():
    points, truth = planted()
    statistics = {name: points[:, i].reshape(6, 8) for i, name in enumerate(NAMES)}
    kinds, told = clusters.head_clusters(statistics)
    assert kinds.shape == (6, 8) and told == ["entropy", "sink", "previous"]
    expected = {2: 0, 0: 1, 1: 2}
    np.testing.assert_array_equal(kinds.ravel(), [expected[t] for t in truth])
    np.testing.assert_array_equal(clusters.head_clusters(statistics)[0], kinds)


def test_silhouette_is_that_of_scikit_learn():
    for k in (2, 3, 5):
        points = CHANCE.normal(size=(40, 4))
        labels = clusters.k_means(points, k)
        assert len(np.unique(labels)) == k
        assert abs(clusters.silhouette(points, labels) - silhouette_score(points, labels)) < 1e-9
    alone = np.array([0] * 10 + [1])
    points = CHANCE.normal(size=(11, 2))
    assert abs(clusters.silhouette(points, alone) - silhouette_score(points, alone)) < 1e-9


def test_heads_that_are_all_the_same_are_one_kind():
    kinds, _ = clusters.head_clusters({"entropy": np.ones((2, 3)), "sink": np.zeros((2, 3))})
    assert not kinds.any()
    assert clusters.head_clusters({"entropy": np.ones((1, 1))})[0].tolist() == [[0]]
