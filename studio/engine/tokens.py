"""Rows as features, made once: a file of the workspace holds them by content and settings, and is mapped."""

import contextlib
import hashlib
import json
import os
import secrets
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from studio.tasks.base import Rows

_VERSION = 3  # of what a cached file holds
_STALE_SECONDS = 24 * 3600
_MOST_BYTES = 2 << 30  # of all cached files; the ones that were used longest ago make room


def tokenise(
    task: Any,
    rows: Rows,
    labels: Sequence[str],
    tokenizer: Any,
    max_length: int,
    workspace: Path,
    check: Callable[[], None] = lambda: None,
) -> tuple[Any, int]:
    """Return a datasets.Dataset of features (with what the model shall say, where it is known) and how many were cut.

    Columns: the tokenizer's own, `length` in tokens, `row` (its place in `rows`), those of the task. The same rows,
    tokenizer, task and length map the file of the first call. check: called now and then while it takes long; what it
    raises goes on to the caller.
    """
    dataset = _features(task, rows, tokenizer, max_length, workspace / "cache" / "tokens", check)
    n_cut = sum(dataset["cut"])
    dataset = dataset.remove_columns(["cut"])
    if all(each is not None for each in rows.gold) and not task.unknown(rows.gold, labels):
        for name, values in task.targets(dataset, rows, labels).items():
            # Its own name at each call: datasets keeps what it derives from one in files of that name.
            dataset = dataset.add_column(name, values, new_fingerprint=secrets.token_hex(8))
    return dataset, n_cut


def for_model(task: Any, model: Any, dataset: Any) -> Any:
    """Return features with the columns alone that a model takes, and those of what it shall say."""
    import inspect

    inner = model.get_base_model() if hasattr(model, "get_base_model") else model  # peft's own takes anything
    taken = {*inspect.signature(inner.forward).parameters, *task.target_names}
    return dataset.select_columns([name for name in dataset.column_names if name in taken])


def _features(task: Any, rows: Rows, tokenizer: Any, max_length: int, folder: Path, check: Callable[[], None]) -> Any:
    import pyarrow as pa
    from datasets import Dataset
    from datasets.table import InMemoryTable

    def encode(batch: dict[str, list[str]], places: list[int]) -> dict[str, list[Any]]:
        check()
        features = task.encode(batch, tokenizer, max_length)
        of_batch = features.get("row", range(len(features["length"])))
        return features | {"row": [places[i] for i in of_batch]}

    file = folder / f"{_key(task, rows, tokenizer, max_length)}.arrow"
    # A file that a power cut left half-written is made again.
    with contextlib.suppress(Exception):
        dataset = Dataset.from_file(str(file))
        if dataset[-1]["row"] == len(rows) - 1:
            os.utime(file)
            return dataset
    folder.mkdir(parents=True, exist_ok=True)
    partial = folder / f".{file.stem}.{os.getpid()}.partial"
    try:
        texts = next(iter(rows.fields.values()))  # the others lie in other columns of the same table
        table = pa.table({role: each.column for role, each in rows.fields.items()})
        Dataset(InMemoryTable(table)).select(texts.places).map(
            encode, batched=True, with_indices=True, remove_columns=list(rows.fields), cache_file_name=str(partial),
            load_from_cache_file=False, new_fingerprint="tokens",
        )  # fmt: skip
        os.replace(partial, file)
    except PermissionError:
        if not file.exists():  # on Windows: another worker made it meanwhile, and has it mapped
            raise
    finally:
        partial.unlink(missing_ok=True)
    _make_room(folder, file)
    return Dataset.from_file(str(file))


def _key(task: Any, rows: Rows, tokenizer: Any, max_length: int) -> str:
    """Return what the features depend on, as one name."""
    settings: Any = [_VERSION, task.id, task.settings_of_features(), list(rows.fields), max_length]
    settings.append(type(tokenizer).__name__)
    if tokenizer.is_fast:
        backend = json.loads(tokenizer.backend_tokenizer.to_str())
        settings.append({k: v for k, v in backend.items() if k not in ("truncation", "padding")})
    else:
        settings += [tokenizer.get_vocab(), {k: str(v) for k, v in tokenizer.init_kwargs.items()}]
    found = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    for texts in rows.fields.values():
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
