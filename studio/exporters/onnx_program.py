"""Turns a transformers model into an ONNX graph by `transformers.exporters`, and writes graphs to disk."""

import contextlib
import logging
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_ONE_FILE_BYTES = 1_500_000_000  # protobuf ends at 2 GB, the graph itself included

USAGE = """\
import onnxruntime, transformers

folder = "FOLDER"
tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
session = onnxruntime.InferenceSession(f"{folder}/model.onnx")
inputs = tokenizer([TEXT], padding=True, truncation=True, return_tensors="np")
outputs = session.run(None, {i.name: inputs[i.name] for i in session.get_inputs()})
for output, values in zip(session.get_outputs(), outputs):
    print(output.name, values)
print(transformers.AutoConfig.from_pretrained(folder).id2label)
"""


def trace(model: Any, example: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """Return the model as an `onnx_ir.Model` with free batch size and length, and the batch it was traced with.

    example: two rows of different length as one padded batch of torch tensors; a size of 1, or a mask of ones, could
    be traced as a constant.
    """
    from transformers.exporters import OnnxConfig, OnnxExporter

    with quiet():
        return OnnxExporter().export(model, dict(example), OnnxConfig(dynamic=True)).program, example


def save(program: Any, directory: Path) -> None:
    """Write an `onnx_ir.Model` as `model.onnx`; the weights of a very large one go to `model.onnx.data`."""
    import onnx_ir

    values = [v.const_value for graph in program.graphs() for v in graph.initializers.values()]
    large = sum(value.nbytes for value in values if value is not None) > _ONE_FILE_BYTES
    onnx_ir.save(program, directory / "model.onnx", external_data="model.onnx.data" if large else None)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep off what the ONNX libraries print on every export: progress on stdout, notes on untested versions."""
    with contextlib.redirect_stdout(sys.stderr), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        former = logging.root.manager.disable
        logging.disable(max(former, logging.WARNING))
        try:
            yield
        finally:
            logging.disable(former)
