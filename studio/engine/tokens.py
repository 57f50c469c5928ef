"""Texts as token ids, made once: a file of the workspace holds them by content and settings, and is mapped."""

import contextlib
import hashlib
import json
import os
import secrets
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from studio.engine.data import Rows
from studio.sources.texts import Texts

_VERSION = 1  # of what a cached file holds
_STALE_SECONDS = 24 * 3600
_MOST_BYTES = 2 << 30  # of all cached files; the ones that were used longest ago make room


def tokenise(
    rows: Rows,
    labels: Sequence[str],
    tokenizer: Any,
    max_length: int,
    workspace: Path,
    check: Callable[[], None] = lambda: None,
) -> tuple[Any, int]:
    """Return a datasets.Dataset of token ids (with `labels` where gold is known) and how many texts were cut.

    Columns: the tokenizer's own, `length` in tokens, `labels` as indices. The same texts, tokenizer and length map
    the file of the first call. check: called now and then while it takes long; what it raises goes on to the caller.
    """
    dataset = _tokens(rows.texts, tokenizer, max_length, workspace / "cache" / "tokens", check)
    n_cut = sum(dataset["cut"])
    dataset = dataset.remove_columns(["cut"])
    number = {label: i for i, label in enumerate(labels)}
    if all(label in number for label in rows.labels):
        # Its own name at each call: datasets keeps what it derives from one in files of that name.
        name = secrets.token_hex(8)
        dataset = dataset.add_column("labels", [number[label] for label in rows.labels], new_fingerprint=name)
    return dataset, n_cut


def _tokens(texts: Texts, tokenizer: Any, max_length: int, folder: Path, check: Callable[[], None]) -> Any:
    import pyarrow as pa
    from datasets import Dataset
    from datasets.table import InMemoryTable

    def encode(batch: dict[str, list[str]]) -> dict[str, list[Any]]:
        check()
        encoded = tokenizer([text or "" for text in batch["text"]], truncation=True, max_length=max_length)
        cut = [bool(e.overflowing) for e in encoded.encodings] if encoded.encodings else [False] * len(batch["text"])
        return dict(encoded) | {"cut": cut, "length": [len(ids) for ids in encoded["input_ids"]]}

    file = folder / f"{_key(texts, tokenizer, max_length)}.arrow"
    # A file that a power cut left half-written is made again.
    with contextlib.suppress(Exception):
        dataset = Dataset.from_file(str(file))
        if len(dataset) == len(texts):
            os.utime(file)
            return dataset
    folder.mkdir(parents=True, exist_ok=True)
    partial = folder / f".{file.stem}.{os.getpid()}.partial"
    try:
        Dataset(InMemoryTable(pa.table({"text": texts.column}))).select(texts.places).map(
            encode, batched=True, remove_columns=["text"], cache_file_name=str(partial), load_from_cache_file=False,
            new_fingerprint="tokens",
        )  # fmt: skip
        os.replace(partial, file)
    except PermissionError:
        if not file.exists():  # on Windows: another worker made it meanwhile, and has it mapped
            raise
    finally:
        partial.unlink(missing_ok=True)
    _make_room(folder, file)
    return Dataset.from_file(str(file))


def _key(texts: Texts, tokenizer: Any, max_length: int) -> str:
    """Return what the token ids depend on, as one name."""
    settings: Any = [_VERSION, max_length, type(tokenizer).__name__]
    if tokenizer.is_fast:
        backend = json.loads(tokenizer.backend_tokenizer.to_str())
        settings.append({k: v for k, v in backend.items() if k not in ("truncation", "padding")})
    else:
        settings += [tokenizer.get_vocab(), {k: str(v) for k, v in tokenizer.init_kwargs.items()}]
    found = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    for text in texts:
        data = text.encode("utf-8", "surrogatepass")
        found.update(len(data).to_bytes(8, "big") + data)
    return found.hexdigest()[:24]


def _make_room(folder: Path, newest: Path) -> None:
    for left in (*folder.glob("tmp*"), *folder.glob(".*.partial")):  # by a worker that was killed
        with contextlib.suppress(OSError):
            if time.time() - left.stat().st_mtime > _STALE_SECONDS:
                left.unlink()
    files = sorted(folder.glob("*.arrow"), key=lambda file: file.stat().st_mtime)
    used = sum(file.stat().st_size for file in files)
    for file in files:
        if used <= _MOST_BYTES or file == newest:
            break
        # Windows keeps a file that another worker has mapped.
        with contextlib.suppress(OSError):
            used -= file.stat().st_size
            file.unlink()
