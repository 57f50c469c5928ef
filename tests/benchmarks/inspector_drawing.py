"""How quickly the inspector draws: thumbnails, one head, hovering, and a long text by tiles.

    python -m tests.benchmarks.inspector_drawing [--tokens 512] [--layers 12] [--heads 12] [--long 8192]
        [--writing [batch | page | look | open | …]]

Prints medians in milliseconds, and the memory that opening a look takes. With `--writing`, instead, how late the window
is while each kind of file is written, or only those whose names have the word that follows.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
from PySide6.QtCore import QPointF
from PySide6.QtWidgets import QApplication

from studio.attention.deep import Head
from studio.attention.qk import Layers, Mask, QueryKeys
from studio.ui.app import make_app
from studio.ui.panels.inspect_maps import MapsView
from studio.ui.store import Store
from studio.ui.views.look import Look
from studio.ui.widgets.deep_matrix import DeepMatrix
from studio.ui.widgets.heads import HeadGrid
from tests.benchmarks.inspector_writing import save_capture, written


def milliseconds(work: Callable[[], object], times: int = 30) -> float:
    """Return the median of what `work` takes."""
    taken = []
    for _ in range(times):
        start = time.perf_counter()
        work()
        taken.append((time.perf_counter() - start) * 1000)
    return statistics.median(taken)


def random_maps(n_layers: int, n_heads: int, n_tokens: int) -> np.ndarray:
    """Return random causal maps whose rows sum to one."""
    chance = np.random.default_rng(0)
    maps = chance.random((n_layers, n_heads, n_tokens, n_tokens), dtype=np.float32) ** 8
    maps *= np.tri(n_tokens, dtype=np.float32)
    maps /= maps.sum(-1, keepdims=True)
    return maps


def look_of(maps: np.ndarray) -> Look:
    """Return a look at maps of a text."""
    tokens = [f"token{i}" for i in range(maps.shape[-1])]
    checks = {"row_sum_error": 1e-7, "causal_leak": 0.0, "logit_difference": 0.0, "verified": True}
    plain = [False] * len(tokens)
    words, first = [*range(len(tokens))], [0] * len(tokens)
    return Look("", "random", {"after": maps}, tokens, plain, words, {}, {"after": checks}, segments=first)


def drawn_atlas(app: QApplication) -> None:
    grid = HeadGrid()
    grid.resize(1200, 1000)
    grid.show()
    grid.set_maps(random_maps(32, 32, 32))
    while grid._reduced is None:
        app.processEvents()
    grid.grab()
    print(f"32 x 32 thumbnails, repaint          {milliseconds(grid.grab):8.2f} ms")
    gammas = iter(np.linspace(0.3, 1, 1000))

    def recoloured() -> None:
        grid.set_gamma(float(next(gammas)))
        grid.grab()

    print(f"32 x 32 thumbnails, other colours    {milliseconds(recoloured):8.2f} ms")
    grid.close()


def opened_look(app: QApplication, store: Store, maps: np.ndarray) -> None:
    view = MapsView(store)
    view.resize(1200, 800)
    view.show()
    app.processEvents()
    shown: list[float] = []
    view.shown.connect(lambda: shown.append(time.perf_counter()))
    before, start, latest = psutil.Process().memory_info().rss, time.perf_counter(), [0.0]
    view.show_look(look_of(maps))
    last = time.perf_counter()
    while not view._statistics.by_state or view.heads.grid._reduced is None:
        app.processEvents()
        now = time.perf_counter()
        latest.append(now - last)
        last = now
        time.sleep(0.001)
    taken, more = time.perf_counter() - start, psutil.Process().memory_info().rss - before
    shape = " x ".join(map(str, maps.shape))
    print(f"open {shape}: on screen {1000 * (shown[0] - start):.0f} ms, all measured {1000 * taken:.0f} ms, "
          f"{more / 1e6:.0f} MB more, longest hold {1000 * max(latest):.0f} ms")  # fmt: skip
    n_layers, n_heads = maps.shape[:2]
    heads = iter([(i % n_layers, i // n_layers % n_heads) for i in range(1, 1000)])

    def choose() -> None:
        view.choose_head(*next(heads))
        view.grab()

    print(f"click on a head, drawn               {milliseconds(choose):8.2f} ms")
    matrix = view.head.view("matrix").matrices["left"]
    cells = iter([(i % maps.shape[-1], i * 7 % maps.shape[-1]) for i in range(1, 1000)])

    def hover() -> None:
        matrix._hover(next(cells))
        matrix.viewport().grab()

    print(f"hover a cell, highlighted            {milliseconds(hover):8.2f} ms")
    view.close()


def deep_head(n_tokens: int) -> QueryKeys:
    chance = np.random.default_rng(1)
    query, key = chance.normal(size=(2, 1, n_tokens, 64)).astype(np.float32)
    lse = np.empty((1, n_tokens))
    for start in range(0, n_tokens, 512):
        scores = query[0, start : start + 512].astype(float) @ key[0].T.astype(float) / 8
        steps = np.arange(n_tokens)[None] - np.arange(start, min(n_tokens, start + 512))[:, None]
        lse[0, start : start + 512] = np.log(np.exp(np.where(steps > 0, -np.inf, scores)).sum(-1))
    return QueryKeys(query, key, lse, 1 / 8, Mask(band=(-n_tokens, 0)))


def zoomed(app: QApplication, n_tokens: int) -> None:
    layer = Layers([deep_head(n_tokens)]).layers[0]
    matrix = DeepMatrix()
    matrix.resize(800, 800)
    matrix.show()
    tokens = [f"t{i}" for i in range(n_tokens)]
    before = psutil.Process().memory_info().rss
    start = time.perf_counter()
    matrix.set_matrix(Head(layer, 0), tokens, tokens)
    app.processEvents()
    held = time.perf_counter() - start
    while not matrix.is_complete():
        app.processEvents()
    print(
        f"{n_tokens} tokens: window held {held * 1000:.0f} ms, whole head {time.perf_counter() - start:.2f} s, ", end=""
    )
    start = time.perf_counter()
    matrix.set_zoom(1e6, QPointF(400, 500))
    while not matrix.is_complete():
        app.processEvents()
    print(f"exact cells {time.perf_counter() - start:.2f} s, "
          f"{(psutil.Process().memory_info().rss - before) / 1e6:.0f} MB more")  # fmt: skip
    matrix.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, usual in (("tokens", 512), ("layers", 12), ("heads", 12), ("long", 8192)):
        parser.add_argument(f"--{name}", type=int, default=usual)
    parser.add_argument("--workspace", type=Path, default=Path("bench-workspace"))
    parser.add_argument("--writing", nargs="?", const="")
    asked = parser.parse_args()
    app = make_app()
    if asked.writing is not None:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            look = look_of(random_maps(asked.layers, asked.heads, asked.tokens))
            look = replace(look, directories=save_capture(look, folder / "maps"))
            long_look = look_of(random_maps(1, 1, 2048))
            written(Store(asked.workspace), look, long_look, folder / "files", asked.writing)
        return
    drawn_atlas(app)
    opened_look(app, Store(asked.workspace), random_maps(asked.layers, asked.heads, asked.tokens))
    zoomed(app, asked.long)


if __name__ == "__main__":
    main()
