"""What is drawn as lines: merged words against a loop, thresholds against a sum by hand."""

import numpy as np
import pytest

from studio.attention import grouping, lines

# [CLS] un ##believ ##able film [SEP] un ##real [SEP]: the second text counts its words anew.
WORD_IDS = [None, 0, 0, 0, 1, None, 0, 0, None]
SEGMENTS = [None, 0, 0, 0, 0, None, 1, 1, None]


def random_rows(n):
    weights = np.random.default_rng(4).random((n, n)) ** 4
    return weights / weights.sum(axis=1, keepdims=True)


def test_words_are_their_pieces_together():
    tokens = ["[CLS]", "un", "##believ", "##able", "film", "[SEP]", "un", "##real", "[SEP]"]
    starts = grouping.starts(grouping.words(tokens, WORD_IDS, SEGMENTS))
    assert starts.tolist() == [0, 1, 4, 5, 6, 8]
    # A word that ends one text and one that begins the next are not one, though both may be the first.
    assert grouping.words(["un", "un"], [0, 0], [0, 1]) == [0, 1]
    weights = random_rows(9)
    merged = lines.by_words(weights, starts, starts)
    groups = [[0], [1, 2, 3], [4], [5], [6, 7], [8]]
    for i, queries in enumerate(groups):
        for j, keys in enumerate(groups):
            expected = sum(weights[q, k] for q in queries for k in keys) / len(queries)
            assert merged[i, j] == pytest.approx(expected, abs=1e-12)
    np.testing.assert_allclose(merged.sum(axis=1), 1)


def test_the_strongest_lines_that_make_up_a_share_are_kept():
    rows = np.array([[0.5, 0.3, 0.2, 0.0], [0.05, 0.9, 0.05, 0.0], [-0.6, 0.1, 0.3, 0.0]])
    kept = lines.strongest(rows, 0.75)
    assert kept.tolist() == [[True, True, False, False], [False, True, False, False], [True, False, True, False]]
    np.testing.assert_array_equal(lines.strongest(rows, 1.0), rows != 0)
    # Exactly a half is reached by the first alone.
    assert lines.strongest(np.array([[0.5, 0.25, 0.25]]), 0.5).tolist() == [[True, False, False]]
    weights = random_rows(40)
    for share in (0.3, 0.9, 0.99):
        kept = lines.strongest(weights, share)
        for row, chosen in zip(weights, kept, strict=True):
            assert row[chosen].sum() >= share - 1e-9 > row[chosen].sum() - row[chosen].min()
            assert row[chosen].min() >= row[~chosen].max()


def test_lines_come_weakest_first_and_no_more_than_asked_for():
    weights = random_rows(12)
    queries, keys, values = lines.edges(weights, 0.9, 0.02, 30)
    assert len(values) == 30 and (np.diff(values) >= 0).all() and values.min() >= 0.02
    np.testing.assert_array_equal(values, weights[queries, keys])
    every = lines.edges(weights, 0.9, 0.02)[2]
    assert sorted(every)[-30:] == list(values)
    assert len(lines.edges(np.zeros((3, 3)))[2]) == 0
