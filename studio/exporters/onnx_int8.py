"""ONNX with 8-bit weights: a quarter of the size, and faster on the processor.

Matrices are quantised by ONNX Runtime, one scale a column, and activations while the model runs, after two rewrites
of the graph (`onnx_rewrites.py`) that keep most of the accuracy.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

from studio.core.registry import PluginConfig
from studio.core.spec import setting
from studio.exporters.onnx_program import USAGE, quiet, save, trace
from studio.exporters.onnx_rewrites import quantise_embeddings, scale_tokens
from studio.exporters.runners import OnnxRunner, Runner, Tolerance, Wrap, as_it_is


class Config(PluginConfig):
    """How the weights are made small."""

    kind: Literal["onnx-int8"] = "onnx-int8"
    reduce_range: bool = setting(
        False,
        "For older processors",
        "Weights use 7 of 8 bits. Without it sums can overflow on Intel and AMD processors that lack VNNI.",
        advanced=True,
    )


class OnnxInt8:
    """Writes the model as an ONNX graph with int8 weights."""

    id = "onnx-int8"
    label = "ONNX int8"
    summary = "A quarter of the size, and faster on the processor, for a very small loss of accuracy."
    order = 30
    Config = Config
    tolerance = Tolerance(agreement=0.97, number=0.1, metric_drop=0.01, rms=0.2, padding=False)
    files = ("model.onnx", "model.onnx.data")
    usage = USAGE

    def export(
        self, model: Any, tokenizer: Any, directory: Path, config: Config, example: Any, progress: Callable
    ) -> None:
        from transformers.exporters import OnnxRuntimeDynamicConfig, OnnxRuntimeQuantizer
        from transformers.exporters.configs import ExportFormat

        program, inputs = trace(model, example)
        progress(0.5, 1)
        quantise_embeddings(program)
        scale_tokens(program)
        dynamic = OnnxRuntimeDynamicConfig(
            op_types_to_quantize=["MatMul", "Gemm"], per_channel=True, reduce_range=config.reduce_range
        )
        with quiet():
            program = OnnxRuntimeQuantizer(dynamic).quantize(program, inputs, ExportFormat.ONNX)
        progress(0.9, 1)
        save(program, directory)

    def load(self, directory: Path, n_threads: int, output_names: Sequence[str], wrap: Wrap = as_it_is) -> Runner:
        return OnnxRunner(directory / "model.onnx", n_threads, output_names)


PLUGIN = OnnxInt8()
