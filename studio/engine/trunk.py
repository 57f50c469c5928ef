"""The frozen lower part of a model, computed once: each row's output lies in a file, and the rest trains on it.

Without dropout the output of frozen layers is the same in every epoch. `Trunk` writes it to a memory-mapped file in
the run's directory, and puts layers in the model that hand it on.
"""

import contextlib
import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch  # noqa: TID253
from torch import Tensor, nn  # noqa: TID253

from studio.core.rundir import RunDir
from studio.engine import device
from studio.engine.kernels import layer_stack
from studio.engine.reporter import Reporter

_BATCH_TOKENS = 4096
_ROOM_BYTES = 1 << 30  # what stays free on the disk
_MASKED = -100  # the label that a loss passes over
_TOLERANCE = 0.02  # of the logits, in bf16: batches are padded otherwise here and there


class TrunkRefused(Exception):
    """The frozen part can't be computed once; the text says why."""


def n_frozen_layers(model: nn.Module) -> int:
    """Return how many of the first layers can be computed once: none that trains stands in them or before them."""
    stack = layer_stack(model)
    embeddings = getattr(model.base_model, "embeddings", None) or model.get_input_embeddings()
    if stack is None or any(p.requires_grad for p in embeddings.parameters()):
        return 0
    trained = [any(p.requires_grad for p in layer.parameters()) for layer in stack]
    return trained.index(True) if True in trained else len(trained)


class _Pass(nn.Module):
    """Stands for a frozen layer: hands on what it gets, in the form in which that layer gives it."""

    def __init__(self, in_tuple: bool):
        super().__init__()
        self.in_tuple = in_tuple

    def forward(self, hidden_states: Tensor, *_: Any, **__: Any) -> Any:
        return (hidden_states,) if self.in_tuple else hidden_states


class _Given(nn.Module):
    """Stands for the embeddings: hands on what the batch brings in their place."""

    def forward(self, *arguments: Any, inputs_embeds: Tensor | None = None, **_: Any) -> Tensor:
        if inputs_embeds is not None:
            return inputs_embeds
        return next(each for each in arguments if isinstance(each, Tensor) and each.dim() == 3)


class _Enough(Exception):
    """Ends a forward pass behind the last frozen layer."""


@dataclass
class TrunkRows(torch.utils.data.Dataset):
    """Rows of a part: what the frozen layers give for each, and its label."""

    outputs: Tensor  # [tokens of all rows, channel], memory-mapped
    starts: list[int]
    lengths: list[int]
    labels: list[Any]

    def __len__(self) -> int:
        return len(self.lengths)

    def __getitem__(self, i: int) -> dict[str, Any]:
        start = self.starts[i]
        return {"inputs_embeds": self.outputs[start : start + self.lengths[i]], "labels": self.labels[i]}

    def select(self, order: Sequence[int]) -> "TrunkRows":
        """Return some of the rows, in the given order."""
        starts, lengths, labels = ([values[i] for i in order] for values in (self.starts, self.lengths, self.labels))
        return TrunkRows(self.outputs, starts, lengths, labels)


def collate(rows: list[dict[str, Any]]) -> dict[str, Tensor]:
    """Return a batch [row, token, channel] with its mask, padded with zeros to a multiple of 8 tokens."""
    outputs = [row["inputs_embeds"] for row in rows]
    width = -(-max(len(output) for output in outputs) // 8) * 8
    # The rest of the model computes in autocast's format, or in fp32.
    kind = torch.bfloat16 if outputs[0].dtype == torch.bfloat16 else torch.float32
    batch = torch.zeros(len(rows), width, outputs[0].shape[-1], dtype=kind)
    mask = torch.zeros(len(rows), width, dtype=torch.long)
    for i, output in enumerate(outputs):
        batch[i, : len(output)] = output
        mask[i, : len(output)] = 1
    labels = [row["labels"] for row in rows]
    if isinstance(labels[0], list) and isinstance(labels[0][0], int):  # one a token; several of a row are floats
        labels = [each + [_MASKED] * (width - len(each)) for each in labels]
    return {"inputs_embeds": batch, "attention_mask": mask, "labels": torch.tensor(labels)}


class Trunk:
    """The output of a model's `n_layers` first layers for the rows of `datasets`, and stand-ins for these layers.

    datasets: tokenised parts by name. precision: `bf16`, or another, whose output is kept in fp16. Raises
    TrunkRefused where room is short or where the model does not take the output back; it is then as it was.
    """

    def __init__(
        self, model: Any, n_layers: int, datasets: dict[str, Any], tokenizer: Any, run: RunDir, precision: str,
        report: Reporter,
    ):  # fmt: skip
        self.model, self.n_layers, self.precision = model, n_layers, precision
        self._stack, self._tokenizer, self._report = layer_stack(model), tokenizer, report
        self._dtype = torch.bfloat16 if precision == "bf16" else torch.float16
        self._originals: dict[str, nn.Module] = {}
        self._in_tuple = False
        self.file = run.path / "trunk.bin"
        self.n_tokens = {name: sum(dataset["length"]) for name, dataset in datasets.items()}
        self.n_bytes = sum(self.n_tokens.values()) * model.config.hidden_size * self._dtype.itemsize
        self._require_room()
        model.eval()
        first = next(iter(datasets.values()))
        order = np.argsort(first["length"], kind="stable")
        chosen = order[:: max(1, len(order) // 8)].tolist()  # short and long ones, so that the padding counts
        rows = [first[i] for i in chosen]
        expected = self._call(self._pad(rows)).logits.float()
        outputs = [output[: len(row["input_ids"])] for output, row in zip(self._forward(rows), rows, strict=True)]
        self._compare(expected, outputs)  # before the long way, which would be in vain
        self._put_back()
        self.parts = self._compute(datasets)
        part = next(iter(self.parts.values()))
        self._compare(expected, [part[i]["inputs_embeds"] for i in chosen])

    @contextlib.contextmanager
    def whole(self) -> Iterator[None]:
        """Give the model its own layers back for a while."""
        self._put_back()
        try:
            yield
        finally:
            self._put_in()

    def undo(self) -> None:
        """Give the model its own layers back, and let go of the file."""
        self._put_back()
        self.parts = {}
        _remove(self.file)

    def _require_room(self) -> None:
        import psutil

        if shutil.disk_usage(self.file.parent).free < self.n_bytes + _ROOM_BYTES:
            raise TrunkRefused(f"the disk has no room for {self.n_bytes / 1e6:,.0f} MB")
        if psutil.virtual_memory().available < self.n_bytes:
            raise TrunkRefused(f"{self.n_bytes / 1e6:,.0f} MB would not stay in memory")

    def _compute(self, datasets: dict[str, Any]) -> dict[str, TrunkRows]:
        rows = [(name, i, n) for name, dataset in datasets.items() for i, n in enumerate(dataset["length"])]
        rows.sort(key=lambda row: row[2])
        places = {name: [0] * len(dataset) for name, dataset in datasets.items()}
        progress, written, done = self._report.progress("frozen"), 0, 0
        partial = self.file.with_suffix(".partial")
        try:
            with open(partial, "wb") as file:
                for batch in _batches(rows):
                    outputs = self._forward([datasets[name][i] for name, i, _ in batch])
                    if not torch.isfinite(outputs).all():
                        raise TrunkRefused("the output of the frozen layers does not fit into 16 bits")
                    for (name, i, n), output in zip(batch, outputs, strict=True):
                        places[name][i] = written
                        written += file.write(output[:n].contiguous().view(torch.int16).numpy().data) // 2
                    done += len(batch)
                    progress(done, len(rows))
            os.replace(partial, self.file)
        except OSError as error:
            raise TrunkRefused(error.strerror or str(error)) from error
        finally:
            partial.unlink(missing_ok=True)
        width = self.model.config.hidden_size
        outputs = torch.from_file(str(self.file), shared=False, size=written, dtype=self._dtype).view(-1, width)
        _remove(self.file)  # the mapping holds it, and nothing stays when this process is killed; not on Windows
        return {
            name: TrunkRows(outputs, [at // width for at in places[name]], list(data["length"]), list(data["labels"]))
            for name, data in datasets.items()
        }

    def _forward(self, rows: list[dict[str, Any]]) -> Tensor:
        """Return what the frozen layers give for rows, [row, token, channel] on the processor."""
        caught: list[Tensor] = []

        def catch(_: nn.Module, __: Any, output: Any) -> None:
            self._in_tuple = isinstance(output, tuple)
            caught.append(output[0] if self._in_tuple else output)
            raise _Enough

        hook = self._stack[self.n_layers - 1].register_forward_hook(catch)
        batch = self._pad(rows)
        try:
            self._call(batch)
        except _Enough:
            pass
        except (TypeError, ValueError, RuntimeError, AttributeError) as error:
            raise TrunkRefused("this model does not compute its layers one after the other") from error
        finally:
            hook.remove()
        if not caught or caught[0].shape[:2] != batch["input_ids"].shape:
            raise TrunkRefused("the layers of this model hand on something else than one output a token")
        return caught[0].to("cpu", self._dtype)

    def _pad(self, rows: list[dict[str, Any]]) -> dict[str, Tensor]:
        inputs = [{k: v for k, v in row.items() if k in self._tokenizer.model_input_names} for row in rows]
        return dict(self._tokenizer.pad(inputs, return_tensors="pt", pad_to_multiple_of=8))

    def _call(self, batch: dict[str, Tensor]) -> Any:
        with torch.inference_mode(), device.autocast(self.precision):
            return self.model(**{name: value.to(self.model.device) for name, value in batch.items()})

    def _compare(self, expected: Tensor, outputs: list[Tensor]) -> None:
        """Put the stand-ins in, and compare the logits that come of `outputs` with those of the whole model."""
        try:
            self._put_in()
            batch = collate([{"inputs_embeds": output, "labels": 0} for output in outputs])
            del batch["labels"]
            found = self._call(batch).logits.float()
        except (TypeError, ValueError, RuntimeError, AttributeError) as error:
            self.undo()
            raise TrunkRefused("this model does not take up its own output") from error
        difference = (found - expected).abs().max().item()
        if not difference <= _TOLERANCE * max(1.0, expected.abs().max().item()):
            self.undo()
            raise TrunkRefused(f"this model gives other logits then (by {difference:.2g})")

    def _put_in(self) -> None:
        for i in range(self.n_layers):
            self._originals[str(i)] = self._stack[i]
            self._stack[i] = _Pass(self._in_tuple)
        embeddings = getattr(self.model.base_model, "embeddings", None)
        if embeddings is not None:
            self._originals["embeddings"] = embeddings
            self.model.base_model.embeddings = _Given()

    def _put_back(self) -> None:
        for name, module in self._originals.items():
            if name == "embeddings":
                self.model.base_model.embeddings = module
            else:
                self._stack[int(name)] = module
        self._originals = {}


def _remove(file: Path) -> None:
    # Windows keeps a file that is mapped; the run's next attempt removes it.
    with contextlib.suppress(OSError):
        file.unlink(missing_ok=True)


def _batches(rows: Sequence[tuple[str, int, int]]) -> list[list[tuple[str, int, int]]]:
    """Cut rows, shortest first, into batches of about as many tokens."""
    found: list[list[tuple[str, int, int]]] = [[]]
    for row in rows:
        if found[-1] and (len(found[-1]) + 1) * row[2] > _BATCH_TOKENS:
            found.append([])
        found[-1].append(row)
    return found
