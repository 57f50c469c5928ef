"""Runs a model on batches of token ids, whatever runtime holds it."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np


class Runner(Protocol):
    """A loaded model: a batch of int64 arrays [rows, …, tokens] by input name in, float32 outputs [rows, …] out.

    Several outputs of one shape, such as the start and the end of an answer, lie side by side in a last axis.
    """

    input_names: tuple[str, ...]

    def __call__(self, batch: Mapping[str, np.ndarray]) -> np.ndarray: ...


@dataclass(frozen=True)
class Tolerance:
    """How far a format may lie from the trained model.

    logits: largest difference, as a share of the largest logit where that is above 1. agreement: least share of rows
    with the same answer. number: how far a number may lie off to be the same answer, as a share of the spread of the
    trained model's numbers. metric_drop: largest loss of the metric. rms: largest root mean square of the
    differences, as a share of the logits' standard deviation. padding: whether a row must get the same answer alone
    and padded, within `logits`.
    """

    logits: float = float("inf")
    agreement: float = 1.0
    number: float = 0.05
    metric_drop: float = 0.0
    rms: float = float("inf")
    padding: bool = True


class TorchRunner:
    """A transformers model in eval mode."""

    def __init__(self, model: Any, output_names: Sequence[str] = ("logits",)):
        import inspect

        self._model, self._output_names = model.eval(), output_names
        self.input_names = tuple(inspect.signature(model.forward).parameters)

    def __call__(self, batch: Mapping[str, np.ndarray]) -> np.ndarray:
        import torch

        inputs = {name: torch.from_numpy(value) for name, value in batch.items() if name in self.input_names}
        device = next(self._model.parameters()).device
        with torch.inference_mode():
            outputs = self._model(**{name: value.to(device) for name, value in inputs.items()})
        return _side_by_side([outputs[name].float().cpu().numpy() for name in self._output_names])


class OnnxRunner:
    """A session of ONNX Runtime on the processor. Raises onnxruntime's errors for a file that is no model."""

    def __init__(self, path: Path, n_threads: int, output_names: Sequence[str] = ("logits",)):
        import onnxruntime

        self._output_names = list(output_names)

        options = onnxruntime.SessionOptions()
        # ONNX Runtime counts every core of the machine, not those that this process may use.
        options.intra_op_num_threads = n_threads
        options.log_severity_level = 3  # 3 is errors only
        self._session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        self.input_names = tuple(spec.name for spec in self._session.get_inputs())

    def __call__(self, batch: Mapping[str, np.ndarray]) -> np.ndarray:
        return _side_by_side(self._session.run(self._output_names, {name: batch[name] for name in self.input_names}))


def _side_by_side(outputs: Sequence[np.ndarray]) -> np.ndarray:
    return outputs[0] if len(outputs) == 1 else np.stack(outputs, axis=-1)


Wrap = Callable[[Any, Path], Any]


def as_it_is(model: Any, directory: Path) -> Any:
    """Return a loaded model; a task may make something else of it (`Task.wrap`)."""
    return model


def load_transformers(directory: Path, output_names: Sequence[str] = ("logits",), wrap: Wrap = as_it_is) -> TorchRunner:
    """Return the model in a transformers folder, in float32, on the processor; code in the folder never runs."""
    import transformers

    safe = {"local_files_only": True, "trust_remote_code": False}
    config = transformers.AutoConfig.from_pretrained(directory, **safe)
    model_class = getattr(transformers, config.architectures[0])
    model = model_class.from_pretrained(directory, config=config, use_safetensors=True, dtype="float32")
    return TorchRunner(wrap(model, directory), output_names)


def n_usable_cores() -> int:
    """Return the number of physical cores that this process may use."""
    import psutil

    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(psutil.cpu_count(logical=False) or allowed, allowed))
