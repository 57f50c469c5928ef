"""What the trained model answers, written down before an export is measured against it."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from studio.core.registry import parse_config
from studio.exporters.runners import TorchRunner
from studio.sources.texts import Texts
from studio.tasks.base import MASKED, Rows, of_tokens, task_of

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
    """Features and probes with what the trained model gives for them, in float32.

    rows: one batch of a single feature, [1, …, tokens], for each. outputs: the task's own part of what the model gives
    for each. probes: batches of several sizes and lengths with what the task keeps of them. facts: what is no array:
    `task` (its settings), `fields`, `gold`, `labels`, `features` (columns that the model does not read), `trained`
    (folder of the trained model), `max_length`, `texts` with their `token_ids`, `padding`.
    """

    facts: dict[str, Any]
    rows: list[Batch]
    outputs: list[np.ndarray]
    probes: list[tuple[Batch, np.ndarray]]

    @property
    def task(self) -> Any:
        return task_of(parse_config("tasks", self.facts["task"]))

    def data(self) -> Rows:
        """Return the rows that the features are of."""
        import pyarrow as pa

        fields = {
            role: Texts(pa.chunked_array([pa.array(t, pa.large_string())])) for role, t in self.facts["fields"].items()
        }
        return Rows(fields, self.facts["gold"], range(len(self.facts["gold"])))

    def batches(self, size: int = BATCH_SIZE) -> Iterator[tuple[np.ndarray, Batch]]:
        """Yield indices of features and these padded to one length, in order of length."""
        order = np.argsort(self.facts["features"]["length"], kind="stable")
        for start in range(0, len(order), size):
            chosen = order[start : start + size]
            yield chosen, self.padded(chosen)

    def padded(self, indices: Sequence[int] | np.ndarray) -> Batch:
        """Return the features at `indices` as one batch."""
        return pad([self.rows[int(i)] for i in indices], self.facts["padding"])

    def kept(self, chosen: Sequence[int] | np.ndarray, outputs: np.ndarray) -> list[np.ndarray]:
        """Return the task's own part of the outputs [feature, …] of a padded batch, one array a feature."""
        import torch

        task, features, side = self.task, self.facts["features"], self.facts["padding"]["side"]
        labels = None
        if task.per_token and "labels" in features:
            labels = np.full(outputs.shape[:2], MASKED)
            for line, i in zip(labels, chosen, strict=True):
                own = features["labels"][int(i)]
                line[len(line) - len(own) if side == "left" else 0 :][: len(own)] = own
            labels = torch.from_numpy(labels)
        found = task.reduce(torch.from_numpy(outputs), labels).numpy()
        if not task.per_token:
            return list(found)
        return [of_tokens(each, features["length"][int(i)], side) for each, i in zip(found, chosen, strict=True)]

    def example(self) -> dict[str, Any]:
        """Return the shortest and the longest feature as one batch of torch tensors."""
        import torch

        sizes = [row["input_ids"].shape[-1] for row in self.rows]
        return {k: torch.from_numpy(v) for k, v in self.padded([int(np.argmin(sizes)), int(np.argmax(sizes))]).items()}

    def save(self, path: Path) -> None:
        """Write everything to one .npz file."""
        arrays: dict[str, np.ndarray] = {"facts": np.array(json.dumps(self.facts))}
        for name in self.rows[0]:
            arrays |= _flat(f"rows.{name}", [row[name] for row in self.rows])
        arrays |= _flat("outputs", self.outputs)
        for i, (batch, outputs) in enumerate(self.probes):
            arrays |= {f"probe{i}.{name}": value for name, value in batch.items()} | {f"probe{i}": outputs}
        np.savez(path, **arrays)

    @staticmethod
    def load(path: Path) -> "Reference":
        """Return what `save` wrote."""
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        names = [name.removeprefix("rows.") for name in arrays if name.startswith("rows.") and not _is_shapes(name)]
        columns = [_unflat(arrays, f"rows.{name}") for name in names]
        rows = [dict(zip(names, parts, strict=True)) for parts in zip(*columns, strict=True)]
        n_probes = sum(name.startswith("probe") and "." not in name for name in arrays)
        probes = [({n: arrays[f"probe{i}.{n}"] for n in names}, arrays[f"probe{i}"]) for i in range(n_probes)]
        return Reference(json.loads(str(arrays["facts"])), rows, _unflat(arrays, "outputs"), probes)


def _flat(name: str, values: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
    """Return arrays of any shapes, of one number of axes, as one array and their shapes."""
    return {name: np.concatenate([v.ravel() for v in values]), f"{name}.shapes": np.array([v.shape for v in values])}


def _unflat(arrays: Mapping[str, np.ndarray], name: str) -> list[np.ndarray]:
    shapes = arrays[f"{name}.shapes"]
    sizes = shapes.prod(-1) if shapes.shape[-1] else np.ones(len(shapes), int)
    parts = np.split(arrays[name], np.cumsum(sizes)[:-1])
    return [part.reshape(shape) for part, shape in zip(parts, shapes, strict=True)]


def _is_shapes(name: str) -> bool:
    return name.endswith(".shapes")


def make_reference(
    model: Any,
    tokenizer: Any,
    trained: Path,
    task: Any,
    data: Rows,
    features: Mapping[str, list[Any]],
    labels: Sequence[str],
    max_length: int,
    progress: Callable[[float, float], None],
) -> Reference:
    """Return what `model` (plain, float32, in eval mode) gives for features and for the probes.

    trained: folder that holds the same model. data: rows with gold. features: those of the rows, by column.
    """
    run, done = TorchRunner(model, task.output_names), 0
    names = [name for name in features if name in run.input_names and name not in task.target_names]
    padding = {
        "side": tokenizer.padding_side,
        "values": {"input_ids": tokenizer.pad_token_id or 0, "token_type_ids": tokenizer.pad_token_type_id},
    }
    rows = [
        {name: np.array([_square(features[name][i], name, padding)], np.int64) for name in names}
        for i in range(len(features["length"]))
    ]
    texts = [text for field in data.fields.values() for text in field]
    compared = [*texts[:: max(1, len(texts) // _MOST_TEXTS)], *_HARD_TEXTS]
    facts = {
        "task": task.config.model_dump(),
        "fields": {role: list(field) for role, field in data.fields.items()},
        "gold": list(data.gold),
        "labels": list(labels),
        "features": {name: values for name, values in features.items() if name not in names},
        "trained": str(trained),
        "max_length": max_length,
        "texts": compared,
        "token_ids": [tokenizer(text, truncation=True, max_length=max_length)["input_ids"] for text in compared],
        "padding": padding,
    }
    reference = Reference(facts, rows, [np.empty(0)] * len(rows), [])
    for chosen, batch in reference.batches():
        for i, outputs in zip(chosen, reference.kept(chosen, run(batch)), strict=True):
            reference.outputs[int(i)] = outputs
        done += len(chosen)
        progress(done, len(rows))
    longest = longest_input(model, tokenizer)
    try:
        reference.probes.extend(_probes(task, run, rows, longest, facts["padding"]))
    except (IndexError, RuntimeError):
        # Some models name more positions than they have; the texts' own limit is known to work.
        reference.probes.extend(_probes(task, run, rows, max_length, facts["padding"]))
    return reference


def longest_input(model: Any, tokenizer: Any) -> int:
    """Return how many tokens the model takes, as far as a check needs to go."""
    positions = getattr(model.config, "max_position_embeddings", None) or _LONGEST_PROBE
    return min(positions, tokenizer.model_max_length, _LONGEST_PROBE)


def _probes(
    task: Any, run: TorchRunner, rows: Sequence[Batch], longest: int, padding: Mapping[str, Any]
) -> list[tuple[Batch, np.ndarray]]:
    """Return batches of every probe length and size, and one of mixed lengths, with their logits."""
    stream = {name: np.concatenate([row[name].ravel() for row in rows]) for name in rows[0]}
    ahead = rows[0]["input_ids"].shape[:-1]  # axes in front of the tokens

    def row(start: int, length: int) -> Batch:
        return {name: np.resize(np.roll(ids, -start), (*ahead, length)) for name, ids in stream.items()}

    lengths = [*PROBE_LENGTHS, longest]
    batches = [pad([row(97 * i, length) for i in range(n)], padding) for length in lengths for n in PROBE_ROWS]
    batches.append(pad([row(31 * i, lengths[i % 3]) for i in range(4)], padding))
    return [(batch, seen(task, run(batch))) for batch in batches]


def seen(task: Any, outputs: np.ndarray) -> np.ndarray:
    """Return what a task keeps of outputs whose labels nobody knows."""
    import torch

    return task.reduce(torch.from_numpy(outputs), None).numpy()


def _square(values: list[Any], name: str, padding: Mapping[str, Any]) -> list[Any]:
    """Return the texts of a feature, where it has several, padded to its longest one."""
    if not values or not isinstance(values[0], list):
        return values
    longest = max(map(len, values))
    more = [[padding["values"].get(name, 0)] * (longest - len(each)) for each in values]
    is_left = padding["side"] == "left"
    return [extra + own if is_left else own + extra for extra, own in zip(more, values, strict=True)]


def pad(rows: Sequence[Batch], padding: Mapping[str, Any]) -> Batch:
    """Return features [1, …, tokens] as one batch, padded as the tokenizer pads; masked with 0."""
    shape = np.max([row["input_ids"].shape[1:] for row in rows], axis=0)
    batch = {}
    for name in rows[0]:
        batch[name] = np.full((len(rows), *shape), padding["values"].get(name, 0), np.int64)
        for line, row in zip(batch[name], rows, strict=True):
            own = row[name][0]
            ahead = tuple(slice(n) for n in own.shape[:-1])
            last = slice(shape[-1] - own.shape[-1], None) if padding["side"] == "left" else slice(own.shape[-1])
            line[(*ahead, last)] = own
    return batch
