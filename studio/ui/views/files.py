"""Heads as files of numbers: CSV with tokens, NPZ with a caption; no Qt.

All are written in a thread, beside what stands there, and take its name once they are whole.
"""

import csv
import io
import zipfile
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from studio.attention import maps
from studio.core.files import renamed
from studio.ui.views.look import Look, about, caption

Told = Callable[[int, int], None]  # gets what is done and how much there is; what it raises ends the work
Write = Callable[[Told], list[Path]]  # writes files in any thread and returns them; raises OSError

FORMATS = {
    "png": "Picture (PNG)…",
    "svg": "Figure with vector text (SVG)…",
    "pdf": "Figure for print (PDF)…",
    "csv": "Table (CSV)…",
    "npz": "NumPy array (NPZ)…",
    "npz-all": "All heads as NumPy arrays (NPZ)…",
}
OF_NUMBERS = ("csv", "npz", "npz-all")  # of a head that is never whole there are none


def file_stem(state: str, layer: int, head: int, kind: str = "attention") -> str:
    """Return a name for a figure's file."""
    of_kind = "" if kind == "attention" else f"{kind}-"
    return f"attention-{of_kind}layer{layer + 1}-head{head + 1}-{state}"


def path_of(path: Path, state: str, shown: Collection[str]) -> Path:
    """Return where a state goes: of two that are `shown` each has a file of its own."""
    return path if len(shown) == 1 else path.with_stem(f"{path.stem}-{state}")


def untold(done: int, total: int) -> None:
    """Tell nobody how far it is."""


@contextmanager
def table(path: Path) -> Iterator[Any]:
    """Give a CSV writer; the file takes its name when it is whole."""
    with renamed(path, shared=True) as file:
        text = io.TextIOWrapper(file, encoding="utf-8", newline="")
        try:
            yield csv.writer(text, lineterminator="\n")
        finally:
            text.detach()  # what it holds goes to the file, which its owner closes


def write_table(path: Path, header: list[str], rows: Iterable[Sequence[str]]) -> list[Path]:
    """Write a table of what was taken from a view."""
    with table(path) as file:
        file.writerow(header)
        file.writerows(rows)
    return [path]


def write_csv(path: Path, look: Look, state: str, layer: int, head: int, told: Told = untold) -> None:
    """Write one head with tokens at top and left; the caption stands in the corner, so that readers find the header."""
    rows = maps.csv_rows(look.matrix(state, layer, head), look.query_tokens, look.key_tokens)
    corner, *keys = next(rows)
    with table(path) as file:
        file.writerow([f"{corner} · {caption(look, state, layer, head)}", *keys])
        for done, row in enumerate(rows):
            told(done, len(look.query_tokens))
            file.writerow(row)


def write_npz(path: Path, look: Look, state: str, layer: int, head: int) -> None:
    """Write one head: `attention` float32 [query, key], its tokens, `caption`, `state`, `layer` and `head` from 0.

    `tokens` and `query_tokens` are the same, except of cross attention: there the first are the keys.
    """
    with renamed(path, shared=True) as file:
        np.savez(
            file,
            attention=look.matrix(state, layer, head),
            tokens=np.array(look.tokens),
            query_tokens=np.array(look.query_tokens),
            caption=np.array(caption(look, state, layer, head)),
            state=np.array(state),
            layer=np.array(layer),
            head=np.array(head),
        )


def write_all_heads(path: Path, look: Look, told: Told = untold) -> None:
    """Write every head: an array [layer, head, query, key] for each state, tokens as `write_npz` and `caption`.

    One head at a time: all of them need not fit into memory.
    """
    kind = "" if look.kind == "attention" else f"{look.kind} · "
    note = f"{kind}[layer, head, query, key] · {about(look)}"
    facts = {"tokens": look.tokens, "query_tokens": look.query_tokens, "caption": note}
    heads = list(np.ndindex(*look.shape))
    with renamed(path, shared=True) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for number, (state, values) in enumerate(look.maps.items()):
            with archive.open(f"{state}.npy", "w", force_zip64=True) as target:
                header = {"descr": np.lib.format.dtype_to_descr(values.dtype), "fortran_order": False}
                np.lib.format.write_array_header_1_0(target, header | {"shape": tuple(values.shape)})
                for done, at in enumerate(heads):
                    told(number * len(heads) + done, len(look.maps) * len(heads))
                    target.write(np.ascontiguousarray(values[at], dtype=values.dtype).data)
        for name, said in facts.items():
            with archive.open(f"{name}.npy", "w") as target:
                np.lib.format.write_array(target, np.array(said))
