"""What the trained model answers, written down before an export is measured against it."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from studio.exporters.runners import TorchRunner

BATCH_SIZE = 32
PROBE_LENGTHS = (1, 17)  # and the longest that the model takes
PROBE_ROWS = (1, 8)
_LONGEST_PROBE = 1024
_MOST_TEXTS = 256
_HARD_TEXTS = (
    "",
    " \t two  blanks\n",
    "Ünïcode, Straße, naïve, 中文文本, עברית, 👩🏽‍🚀",
    "HTTP://Example.org/?q=1&r=2 [MASK] <s> </s> [SEP] $%^&*",
    "a1b2c3 3.14159 1,000,000 --- ... unbelievablyoverlongword" * 3,
    "word " * 1200,
)

Batch = dict[str, np.ndarray]


@dataclass(frozen=True)
class Reference:
    """Rows, gold labels and probes with the trained model's float32 logits.

    rows: one batch of a single row, [1, tokens], for each text. gold: label indices [rows]. logits: [rows, labels].
    probes: batches of several sizes and lengths with their logits. facts: what is no array: `task`, `labels` (names
    in order), `trained` (folder of the trained model), `max_length`, `texts` with their `token_ids`, `padding`.
    """

    facts: dict[str, Any]
    rows: list[Batch]
    gold: np.ndarray
    logits: np.ndarray
    probes: list[tuple[Batch, np.ndarray]]

    def batches(self, size: int = BATCH_SIZE) -> Iterator[tuple[np.ndarray, Batch]]:
        """Yield indices of rows and the rows padded to one length, in order of length."""
        order = np.argsort([row["input_ids"].size for row in self.rows], kind="stable")
        for start in range(0, len(order), size):
            chosen = order[start : start + size]
            yield chosen, self.padded(chosen)

    def padded(self, indices: Sequence[int] | np.ndarray) -> Batch:
        """Return the rows at `indices` as one batch."""
        return pad([self.rows[int(i)] for i in indices], self.facts["padding"])

    def save(self, path: Path) -> None:
        """Write everything to one .npz file."""
        lengths = np.array([row["input_ids"].size for row in self.rows])
        arrays = {"facts": np.array(json.dumps(self.facts)), "lengths": lengths, "gold": self.gold}
        arrays["logits"] = self.logits
        for name in self.rows[0]:
            arrays[f"rows.{name}"] = np.concatenate([row[name][0] for row in self.rows])
        for i, (batch, logits) in enumerate(self.probes):
            arrays |= {f"probe{i}.{name}": value for name, value in batch.items()} | {f"probe{i}": logits}
        np.savez(path, **arrays)

    @staticmethod
    def load(path: Path) -> "Reference":
        """Return what `save` wrote."""
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        names = [name.removeprefix("rows.") for name in arrays if name.startswith("rows.")]
        ends = np.cumsum(arrays["lengths"])[:-1]
        columns = [np.split(arrays[f"rows.{name}"], ends) for name in names]
        rows = [
            {name: part[None] for name, part in zip(names, parts, strict=True)} for parts in zip(*columns, strict=True)
        ]
        n_probes = sum(name.startswith("probe") and "." not in name for name in arrays)
        probes = [({n: arrays[f"probe{i}.{n}"] for n in names}, arrays[f"probe{i}"]) for i in range(n_probes)]
        return Reference(json.loads(str(arrays["facts"])), rows, arrays["gold"], arrays["logits"], probes)


def make_reference(
    model: Any,
    tokenizer: Any,
    trained: Path,
    task: str,
    labels: Sequence[str],
    texts: Sequence[str],
    gold: Sequence[int],
    max_length: int,
    progress: Callable[[float, float], None],
) -> Reference:
    """Return what `model` (plain, float32, in eval mode) answers to `texts` and to the probes.

    trained: folder that holds the same model. labels: names by index. gold: label index of each text.
    """
    encoded = tokenizer(list(texts), truncation=True, max_length=max_length)
    rows = [
        {name: np.array([encoded[name][i]], np.int64) for name in tokenizer.model_input_names if name in encoded}
        for i in range(len(texts))
    ]
    compared = [*texts[:: max(1, len(texts) // _MOST_TEXTS)], *_HARD_TEXTS]
    facts = {
        "task": task,
        "labels": list(labels),
        "trained": str(trained),
        "max_length": max_length,
        "texts": compared,
        "token_ids": [tokenizer(text, truncation=True, max_length=max_length)["input_ids"] for text in compared],
        "padding": {
            "side": tokenizer.padding_side,
            "values": {"input_ids": tokenizer.pad_token_id or 0, "token_type_ids": tokenizer.pad_token_type_id},
        },
    }
    reference = Reference(facts, rows, np.array(gold, np.int64), np.empty((len(rows), len(labels)), np.float32), [])
    run, done = TorchRunner(model), 0
    for chosen, batch in reference.batches():
        reference.logits[chosen] = run(batch)
        done += len(chosen)
        progress(done, len(rows))
    longest = longest_input(model, tokenizer)
    try:
        reference.probes.extend(_probes(run, rows, longest, facts["padding"]))
    except (IndexError, RuntimeError):
        # Some models name more positions than they have; the texts' own limit is known to work.
        reference.probes.extend(_probes(run, rows, max_length, facts["padding"]))
    return reference


def longest_input(model: Any, tokenizer: Any) -> int:
    """Return how many tokens the model takes, as far as a check needs to go."""
    positions = getattr(model.config, "max_position_embeddings", None) or _LONGEST_PROBE
    return min(positions, tokenizer.model_max_length, _LONGEST_PROBE)


def _probes(
    run: TorchRunner, rows: Sequence[Batch], longest: int, padding: Mapping[str, Any]
) -> list[tuple[Batch, np.ndarray]]:
    """Return batches of every probe length and size, and one of mixed lengths, with their logits."""
    stream = {name: np.concatenate([row[name][0] for row in rows]) for name in rows[0]}

    def row(start: int, length: int) -> Batch:
        return {name: np.resize(np.roll(ids, -start), length)[None] for name, ids in stream.items()}

    lengths = [*PROBE_LENGTHS, longest]
    batches = [pad([row(97 * i, length) for i in range(n)], padding) for length in lengths for n in PROBE_ROWS]
    batches.append(pad([row(31 * i, lengths[i % 3]) for i in range(4)], padding))
    return [(batch, run(batch)) for batch in batches]


def pad(rows: Sequence[Batch], padding: Mapping[str, Any]) -> Batch:
    """Return rows [1, tokens] as one batch [rows, longest], padded as the tokenizer pads; masked with 0."""
    longest = max(row["input_ids"].size for row in rows)
    batch = {}
    for name in rows[0]:
        batch[name] = np.full((len(rows), longest), padding["values"].get(name, 0), np.int64)
        for line, row in zip(batch[name], rows, strict=True):
            ids = row[name][0]
            line[len(line) - len(ids) if padding["side"] == "left" else 0 :][: len(ids)] = ids
    return batch
