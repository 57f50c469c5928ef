"""Long texts: what is shown of maps that are never whole equals the whole maps."""

import numpy as np
import pytest

from studio.attention import deep, maps
from studio.attention.qk import Layers, Mask, QueryKeys

N_HEADS, N_TOKENS, WIDTH = 3, 700, 8


def causal(seed: int) -> QueryKeys:
    """Queries and keys of a causal layer with a window of 500 tokens, and with a sharp head."""
    chance = np.random.default_rng(seed)
    query, key = chance.normal(size=(2, N_HEADS, N_TOKENS, WIDTH)).astype(np.float32)
    query[1] *= 6
    scores = np.einsum("hqd,hkd->hqk", query.astype(float), key.astype(float)) / WIDTH**0.5
    steps = np.arange(N_TOKENS)[None] - np.arange(N_TOKENS)[:, None]
    scores[:, (steps > 0) | (steps < -499)] = -np.inf
    return QueryKeys(query, key, np.log(np.exp(scores).sum(-1)), WIDTH**-0.5, Mask(band=(-499, 0)))


@pytest.fixture(scope="module")
def before() -> Layers:
    return Layers([causal(1), causal(2)])


@pytest.fixture(scope="module")
def after() -> Layers:
    return Layers([causal(1), causal(3)])


def test_some_rows_are_the_rows_of_the_map(before):
    rows = deep.some_rows(N_TOKENS, 9)
    assert rows[0] == 0 and rows[-1] == N_TOKENS - 1 and len(rows) == 9
    np.testing.assert_array_equal(deep.rows_of(before.layers[1], 1, rows), np.asarray(before[1, 1])[rows])


def test_survey_of_all_rows_is_what_whole_maps_say(before):
    whole = np.stack(list(before))
    found, expected = deep.survey(before, 64, N_TOKENS), maps.head_statistics(whole)
    assert found.statistics.keys() == expected.keys()
    for name, values in expected.items():
        np.testing.assert_allclose(found.statistics[name], values, rtol=1e-4, err_msg=name)
    pictures = maps.atlas(whole, 64).reshape(2, 64, N_HEADS, 64).swapaxes(1, 2)
    # Both divide 700 rows into 64 bands, rounded differently: each cell is the strongest of nearly the same.
    assert np.mean(found.thumbnails == pictures) > 0.5 and found.thumbnails.max() == pictures.max()


def test_change_of_all_rows_is_the_divergence_and_of_an_equal_layer_none(before, after):
    expected = maps.js_divergence(np.stack(list(before)), np.stack(list(after)))
    found = deep.change(before, after, N_TOKENS)
    np.testing.assert_allclose(found, expected, atol=1e-7)
    assert found[0].max() < 1e-12 < 1e-3 < found[1].min()


@pytest.mark.parametrize("level", [0, 1, 2])
def test_tiles_hold_every_strongest_cell(before, after, level):
    tiles = deep.Tiles(deep.Head(after.layers[1], 1, before.layers[1]))
    whole = np.asarray(after[1, 1]) - np.asarray(before[1, 1])
    assert tiles.n_levels == 3
    step = 1 << level
    side = -(-N_TOKENS // step)
    rows = [[tiles.tile(level, r, c) for c in range(-(-side // deep.TILE))] for r in range(-(-side // deep.TILE))]
    found = np.block(rows)
    for row in range(0, N_TOKENS, step):
        cells = np.split(whole[row : row + step], range(step, N_TOKENS, step), axis=1)
        strongest = [part.flat[np.abs(part).argmax()] for part in cells]
        np.testing.assert_array_equal(np.abs(found[row // step]), np.abs(strongest))


def test_tiles_are_forgotten_beyond_their_budget(before):
    one = deep.TILE * deep.TILE * 4
    tiles = deep.Tiles(deep.Head(before.layers[0], 0), cache_bytes=2 * one)
    for column in range(2):
        tiles.tile(0, 1, column)
    tiles.known(0, 1, 0)
    tiles.tile(0, 0, 0)
    assert tiles.n_bytes <= 2 * one and tiles.known(0, 1, 1) is None and tiles.known(0, 1, 0) is not None


def test_tiles_of_means_hold_the_mean_of_their_cells(before):
    whole = np.asarray(before[0, 0])
    found = deep.Tiles(deep.Head(before.layers[0], 0), mean=True).tile(2, 0, 0)
    assert found.shape == (N_TOKENS // 4, N_TOKENS // 4)
    np.testing.assert_allclose(found, whole.reshape(175, 4, 175, 4).mean((1, 3)), rtol=1e-5, atol=1e-8)
