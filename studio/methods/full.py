"""Full fine-tuning: every weight trains."""

from collections.abc import Sequence
from typing import Any, Literal

from studio.core.anatomy import ModelInfo, Tensor
from studio.core.reasons import Problem
from studio.core.registry import PluginConfig


class Config(PluginConfig):
    """Nothing to choose."""

    kind: Literal["full"] = "full"


class Full:
    """Trains all weights of the model."""

    id = "full"
    label = "Full"
    summary = "Every weight trains. The best results when there are many rows; the file is as large as the model."
    order = 10
    Config = Config

    def learning_rate(self, config: Config) -> float:
        return 1e-4

    def check(self, info: ModelInfo, config: Config) -> list[Problem]:
        return []

    def n_trainable(self, tensors: Sequence[Tensor], config: Config) -> list[tuple[Tensor, int]]:
        return [(tensor, tensor.n_parameters) for tensor in tensors]

    def apply(self, model: Any, config: Config) -> Any:
        return model

    def merge(self, model: Any) -> Any:
        return model


PLUGIN = Full()
