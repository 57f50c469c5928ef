"""A head that is never whole: what is drawn is what its map holds, and only what is in sight is computed."""

import numpy as np
from PySide6.QtCore import QPointF

from studio.attention.deep import TILE, Head
from studio.attention.qk import Mask, QueryKeys
from studio.ui.theme import current
from studio.ui.widgets.deep_matrix import DeepMatrix

N_TOKENS, BRIGHT = 3000, (2950, 2900)


def long_head() -> Head:
    """A causal head that looks at the token before, but for one row that looks at one far cell alone."""
    query = np.zeros((1, N_TOKENS, 2), dtype=np.float32)
    key = np.zeros((1, N_TOKENS, 2), dtype=np.float32)
    query[0, BRIGHT[0], 0] = key[0, BRIGHT[1], 0] = 24.0
    scores = np.einsum("hqd,hkd->hqk", query, key)
    scores[:, np.triu_indices(N_TOKENS, 1)[0], np.triu_indices(N_TOKENS, 1)[1]] = -np.inf
    return Head(QueryKeys(query, key, np.log(np.exp(scores.astype(float)).sum(-1)), 1.0, Mask(band=(-N_TOKENS, 0))), 0)


def shown(qtbot, head) -> DeepMatrix:
    matrix = DeepMatrix()
    qtbot.addWidget(matrix)
    tokens = [f"t{i}" for i in range(N_TOKENS)]
    matrix.resize(500, 460)
    matrix.show()
    matrix.set_matrix(head, tokens, tokens, "a caption")
    return matrix


def colours_around(matrix: DeepMatrix, cell: tuple[int, int]) -> set[int]:
    image = matrix.viewport().grab().toImage()
    x, y = matrix.cell_rect(*cell).center().toPoint().toTuple()
    return {image.pixel(x + dx, y + dy) & 0xFFFFFF for dx in range(-3, 4) for dy in range(-3, 4)}


def test_a_single_strong_cell_is_seen_from_afar_and_exact_from_near(qtbot):
    head = long_head()
    matrix = shown(qtbot, head)
    qtbot.waitUntil(matrix.is_complete, timeout=20000)
    full = matrix.scale.colours(np.float32(1.0), current()) & 0xFFFFFF
    assert full in colours_around(matrix, BRIGHT) and full not in colours_around(matrix, (2900, 2000))

    matrix.set_zoom(10_000, matrix.cell_rect(*BRIGHT).center())
    qtbot.waitUntil(matrix.is_complete, timeout=20000)
    assert matrix._in_sight()[0] == 0 and float(head[BRIGHT]) == 1.0
    assert full in colours_around(matrix, BRIGHT)
    assert full not in colours_around(matrix, (BRIGHT[0] - 1, BRIGHT[1]))


def test_only_what_is_in_sight_is_computed(qtbot):
    asked = []

    class Counting(Head):
        def __getitem__(self, index):
            asked.append(index)
            return super().__getitem__(index)

    whole = long_head()
    matrix = shown(qtbot, Counting(whole._layer, 0))
    matrix.set_zoom(10_000, QPointF(150, 150))
    qtbot.waitUntil(matrix.is_complete, timeout=20000)
    level, rows, columns = matrix._in_sight()
    assert level == 0 and len(rows) * len(columns) <= 4
    matrix._tiles.tile(0, rows.start, columns.start)
    exact = [rows for rows, _ in asked if isinstance(rows, slice) and rows.stop - rows.start <= TILE]
    assert 1 <= len(exact) <= 4, "tiles out of sight were computed"
