"""The texts of a table's column, read from the mapped file as they are asked for."""

import hashlib
from collections.abc import Iterator, Sequence
from typing import Any, overload

import numpy as np

_BATCH = 1000  # texts that are Python's own at a time


class Texts(Sequence[str]):
    """Some of the values of an Arrow column, without blanks around them; a gap is "".

    Nothing is copied where the column has strings without such blanks: what is mapped stays mapped.

    column: pyarrow ChunkedArray. places: which of its values, in order; all by default.
    """

    def __init__(self, column: Any, places: np.ndarray | None = None):
        self.column = _trimmed(column)
        self.places = np.arange(len(column)) if places is None else places

    def __len__(self) -> int:
        return len(self.places)

    @overload
    def __getitem__(self, at: int) -> str: ...
    @overload
    def __getitem__(self, at: slice) -> "Texts": ...
    def __getitem__(self, at: Any) -> Any:
        if isinstance(at, slice):
            return self._with(self.places[at])
        return self.column[int(self.places[at])].as_py() or ""

    def __iter__(self) -> Iterator[str]:
        for start in range(0, len(self), _BATCH):
            for value in self.column.take(self.places[start : start + _BATCH]).to_pylist():
                yield value or ""

    def select(self, chosen: Sequence[int]) -> "Texts":
        """Return the texts at some places of these ones."""
        return self._with(self.places[np.asarray(chosen, dtype=np.int64)])

    def values(self) -> Any:
        """Return the texts as an Arrow column of their own."""
        return self.column.take(self.places)

    def _with(self, places: np.ndarray) -> "Texts":
        found = object.__new__(Texts)
        found.column, found.places = self.column, places
        return found


def digest(text: str) -> bytes:
    """Return 16 bytes that stand for a text, to compare many of them without holding them."""
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()


def _trimmed(column: Any) -> Any:
    import pyarrow as pa
    import pyarrow.compute as pc

    if not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
        strings = [None if value is None else str(value).strip() for value in column.to_pylist()]
        return pa.chunked_array([pa.array(strings, pa.large_string())])
    trimmed = pc.utf8_trim_whitespace(column)
    is_same = pc.all(pc.equal(trimmed, column)).as_py()
    return column if is_same in (True, None) else trimmed
