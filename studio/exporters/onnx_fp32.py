"""ONNX in full precision, for ONNX Runtime and everything else that reads ONNX."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

from studio.core.registry import PluginConfig
from studio.exporters.onnx_program import USAGE, save, trace
from studio.exporters.runners import OnnxRunner, Runner, Tolerance, Wrap, as_it_is


class Config(PluginConfig):
    """Nothing to choose."""

    kind: Literal["onnx"] = "onnx"


class Onnx:
    """Writes the model as an ONNX graph with free batch size and length."""

    id = "onnx"
    label = "ONNX"
    summary = "Runs in ONNX Runtime on any system and in many languages, without PyTorch. Same answers, same size."
    order = 20
    Config = Config
    tolerance = Tolerance(logits=1e-3)
    files = ("model.onnx", "model.onnx.data")
    usage = USAGE

    def export(
        self, model: Any, tokenizer: Any, directory: Path, config: Config, example: Any, progress: Callable
    ) -> None:
        program, _ = trace(model, example)
        progress(0.8, 1)
        save(program, directory)

    def load(self, directory: Path, n_threads: int, output_names: Sequence[str], wrap: Wrap = as_it_is) -> Runner:
        return OnnxRunner(directory / "model.onnx", n_threads, output_names)


PLUGIN = Onnx()
