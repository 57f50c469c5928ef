"""Tokens left out and words merged, the baseline of a search, and heads over many texts: numbers found another way."""

import numpy as np
import pytest

from studio.attention import grouping, heads, over_rows
from studio.attention.qk import Layers, Mask, QueryKeys

N = 7
TOKENS = ["[CLS]", "the", "du", "##ll", "film", "s", "[SEP]"]
WORD_IDS = [None, 0, 1, 1, 2, 0, None]  # the last word is of a second text


def random_maps(causal=False, shape=(2, 3, N, N), seed=0):
    weights = np.random.default_rng(seed).gamma(0.4, size=shape) + 1e-4
    weights = np.tril(weights) if causal else weights
    return (weights / weights.sum(axis=-1, keepdims=True)).astype(np.float32)


def by_hand(maps, groups):
    """Return the maps of groups by their definition, cell by cell."""
    n_groups = max(groups) + 1
    found = np.zeros((*maps.shape[:2], n_groups, n_groups))
    for layer, head in np.ndindex(*maps.shape[:2]):
        for query in range(n_groups):
            rows = []
            for i in np.flatnonzero(np.array(groups) == query):
                row = np.zeros(n_groups)
                for j, key in enumerate(groups):
                    if key >= 0:
                        row[key] += maps[layer, head, i, j]
                if row.sum() > 0:
                    rows.append(row / row.sum())
            if rows:
                found[layer, head, query] = np.mean(rows, axis=0)
    return found


@pytest.mark.parametrize("groups", [[-1, 0, 1, 2, 3, 4, -1], [0, 1, 2, 2, 3, 4, 5], [-1, 0, 1, 1, 2, 3, -1]])
@pytest.mark.parametrize("causal", [False, True])
def test_rows_sum_to_one_after_leaving_out_and_merging(groups, causal):
    maps = random_maps(causal)
    found = grouping.grouped(maps, groups)
    assert found.dtype == np.float32 and np.abs(found.sum(axis=-1) - 1).max() < 1e-6
    np.testing.assert_allclose(found, by_hand(maps, groups), atol=1e-6)
    lazy = grouping.grouped(Layers(list(maps)), groups)
    assert isinstance(lazy, Layers) and lazy.shape == found.shape
    np.testing.assert_array_equal(np.asarray(lazy), found)
    np.testing.assert_array_equal(lazy[1, 2, 3], found[1, 2, 3])


def test_a_row_that_saw_only_what_is_left_out_is_empty_and_counts_in_no_average():
    maps = np.zeros((1, 1, 4, 4), dtype=np.float32)
    maps[0, 0, :, 0] = 1
    maps[0, 0, 2] = [1 - 2e-6, 0, 1e-6, 1e-6]  # almost all on the sink: what is left is still exact
    found = grouping.grouped(maps, [-1, 0, 0, 1])[0, 0]
    np.testing.assert_allclose(found, [[0.5, 0.5], [0, 0]], atol=1e-6)
    with pytest.raises(ValueError, match="do not fit"):
        grouping.grouped(maps, [0, 1])


def test_words_are_told_by_id_by_text_of_a_pair_and_by_their_mark():
    assert grouping.words(TOKENS, WORD_IDS, [None, 0, 0, 0, 0, 1, None]) == [0, 1, 2, 2, 3, 4, 5]
    assert grouping.words(["a", "b"], [None, None]) == [0, 1]  # a tokenizer that knows no words
    assert grouping.words(["a", "b"], [0, 0], [0, 1]) == [0, 1]
    assert grouping.words(["▁a", "b", "▁c"], [0, 0, 0]) == [0, 0, 1]


@pytest.mark.parametrize("causal", [False, True])
def test_an_even_head_scores_the_baseline(causal):
    allowed = np.tril(np.ones((N, N), dtype=bool)) if causal else np.ones((N, N), dtype=bool)
    flat = np.broadcast_to(allowed / allowed.sum(axis=1, keepdims=True), (2, 3, N, N)).astype(np.float32)
    for name, pattern in heads.patterns([1, 5, 6, 5, 6, 5, 2], [True, *[False] * 5, True]).items():
        even, n_rows = heads.even(flat, pattern)
        np.testing.assert_allclose(heads.search(flat, pattern), np.broadcast_to(even[:, None], (2, 3)), atol=1e-6)
        assert (n_rows == (pattern & allowed).any(axis=1).sum()).all(), name
    even, n_rows = heads.even(flat, heads.patterns(range(N))["next"])
    assert (n_rows[0], even[0]) == ((0, 0) if causal else (N - 1, pytest.approx(1 / N)))


def test_what_may_be_seen_is_the_mask_or_how_far_weights_reach():
    lower = np.tril(np.ones((N, N), dtype=bool))
    window = lower & ~np.tril(np.ones((N, N), dtype=bool), -3)
    maps = random_maps(causal=True)
    np.testing.assert_array_equal(heads.seen(maps[0]), lower)
    maps[:, :, 5, 2] = 0  # one weight that has vanished hides nothing
    np.testing.assert_array_equal(heads.seen(maps[0]), lower)
    np.testing.assert_array_equal(heads.seen(maps[0] * window), window)
    padded = np.pad(maps[0], ((0, 0), (0, 2), (0, 2)))
    np.testing.assert_array_equal(heads.seen(padded), np.pad(lower, ((0, 2), (0, 2))))
    zeros = np.zeros((2, N, 4), dtype=np.float32)
    keys = QueryKeys(zeros, zeros, np.zeros((2, N)), 1.0, Mask(band=(-2, 0)))
    np.testing.assert_array_equal(heads.seen(keys), window)


def test_a_search_says_how_far_it_is_and_can_be_ended():
    maps, told = random_maps(), []
    heads.search(maps, np.eye(N), lambda done, n: told.append((done, n)))
    assert told == [(done, 6) for done in range(1, 7)]

    def end(done, n):
        raise KeyboardInterrupt

    for ended in (heads.search, lambda maps, _, tell: heads.uniformity(maps, tell)):
        with pytest.raises(KeyboardInterrupt):
            ended(maps, np.eye(N), end)


def test_numbers_over_rows_count_only_rows_that_have_one(tmp_path):
    texts = [[1, 5, 6, 5, 2], [1, 5, 6, 7, 2], [1, 8, 8, 9, 2]]  # the second has no token twice
    rows = [over_rows.measure(random_maps(shape=(2, 3, 5, 5), seed=i), ids, [True, False, False, False, True])
            for i, ids in enumerate(texts)]  # fmt: skip
    numbers = over_rows.stack(rows)
    assert np.isnan(numbers["same token"][1]).all() and np.isfinite(numbers["same token"][[0, 2]]).all()
    mean, spread, n = over_rows.mean_and_spread(numbers["same token"])
    pair = numbers["same token"][[0, 2]].astype(float)
    np.testing.assert_allclose(mean, pair.mean(axis=0))
    np.testing.assert_allclose(spread, np.abs(pair[0] - pair[1]) / np.sqrt(2), rtol=1e-6)
    assert (n == 2).all()
    # By hand: of the first text the middle token of three tokens looks at its equal, and that one back.
    maps = random_maps(shape=(2, 3, 5, 5), seed=0)
    np.testing.assert_allclose(numbers["same token"][0], (maps[:, :, 1, 3] + maps[:, :, 3, 1]) / 2, rtol=1e-5)
    np.testing.assert_allclose(numbers["special"][0], maps[..., 4].mean(axis=-1), rtol=1e-5)
    nothing = over_rows.mean_and_spread(np.full((3, 2), np.nan))
    assert np.isnan(nothing[0]).all() and np.isnan(nothing[1]).all() and (nothing[2] == 0).all()
    assert over_rows.strongest(np.array([0.1, np.nan, 0.7, 0.7])).tolist() == [2, 3, 0]
    assert over_rows.strongest(np.array([0.1, np.nan, 0.7]), lowest=True).tolist() == [0, 2]
    kept = [{"text": "ä", "fields": {}, "index": 4}]
    over_rows.save(tmp_path / "new", {"after": numbers}, kept)
    loaded, rows = over_rows.load(tmp_path / "new")
    assert rows == kept
    np.testing.assert_array_equal(loaded["after"]["sink"], numbers["sink"])


def test_what_lies_between_groups_is_the_f_of_an_analysis_of_variance():
    from scipy.stats import f_oneway

    random = np.random.default_rng(5)
    groups = random.integers(-1, 3, 40)
    values = random.normal(size=(40, 2, 3)) + groups[:, None, None] * 0.5
    values[[3, 7], 1, 2] = np.nan  # rows without a number count nowhere
    found = over_rows.between_groups(values, groups)
    for place in np.ndindex(2, 3):
        own = values[(slice(None), *place)]
        parts = [own[(groups == group) & np.isfinite(own)] for group in range(3)]
        n, f = sum(map(len, parts)), f_oneway(*parts).statistic
        assert found[place] == pytest.approx(f * 2 / (f * 2 + n - 3))
    assert np.isnan(over_rows.between_groups(values, np.zeros(40, dtype=int))).all()
    assert np.isnan(over_rows.between_groups(np.ones((4, 1)), np.array([0, 0, 1, 1]))).all()
    two = over_rows.between_groups(np.array([[0.0], [0.0], [1.0], [1.0]]), np.array([0, 0, 1, 1]))
    np.testing.assert_allclose(two, 1)
