"""The merged model as safetensors: what transformers itself loads."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

from studio.core.registry import PluginConfig
from studio.exporters.runners import Runner, Tolerance, Wrap, as_it_is, load_transformers


class Config(PluginConfig):
    """Nothing to choose."""

    kind: Literal["safetensors"] = "safetensors"


class MergedSafetensors:
    """Writes the weights as they were trained, adapters merged in."""

    id = "safetensors"
    label = "safetensors"
    summary = "The model as trained, in full precision. For Python with transformers, and to train on from here."
    order = 10
    Config = Config
    tolerance = Tolerance(logits=1e-5)
    files = ("model*.safetensors",)
    usage = """\
import transformers

model = transformers.pipeline(PIPELINE, model="FOLDER")
print(model(TEXT))
"""

    def export(
        self, model: Any, tokenizer: Any, directory: Path, config: Config, example: Any, progress: Callable
    ) -> None:
        model.save_pretrained(directory)

    def load(self, directory: Path, n_threads: int, output_names: Sequence[str], wrap: Wrap = as_it_is) -> Runner:
        """Return the model on PyTorch; the number of threads is one for the whole process."""
        import torch

        torch.set_num_threads(n_threads)
        return load_transformers(directory, output_names, wrap)


PLUGIN = MergedSafetensors()
