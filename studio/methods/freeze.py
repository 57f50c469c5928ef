"""Freeze: the lower part of the model stays as it is, the upper part and the head train."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import Field

from studio.core.anatomy import ModelInfo, Tensor, classify
from studio.core.reasons import Problem
from studio.core.registry import PluginConfig
from studio.core.spec import setting


class Config(PluginConfig):
    """How much of the model stays as it is; the embeddings are frozen too unless no layer is."""

    kind: Literal["freeze"] = "freeze"
    layers: Annotated[int, Field(ge=0, le=1000)] | Literal["all"] = setting(
        3, "Frozen layers", "The first layers that stay as they are; all leaves only the head to train."
    )
    cache: Literal["auto", "off"] = setting(
        "auto", "Frozen output", "Automatic computes what the frozen layers give once for all epochs.", "", True
    )


class Freeze:
    """Trains the layers above the frozen ones, and the head with its pooler."""

    id = "freeze"
    label = "Freeze"
    summary = "Only the upper layers and the head train. Quick, and gentle on what the model already knows."
    order = 20
    Config = Config

    def learning_rate(self, config: Config) -> float:
        return 2e-3 if config.layers == "all" else 2e-4

    def check(self, info: ModelInfo, config: Config) -> list[Problem]:
        if config.layers != "all" and config.layers > info.n_layers:
            facts = {"n_layers": info.n_layers, "asked": config.layers}
            return [Problem("layers-out-of-range", facts, "method.layers")]
        return []

    def n_trainable(self, tensors: Sequence[Tensor], config: Config) -> list[tuple[Tensor, int]]:
        return [(t, 0 if _is_frozen(t.name, config) else t.n_parameters) for t in tensors]

    def apply(self, model: Any, config: Config) -> Any:
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(not _is_frozen(name, config))
        for module in model.modules():
            own = list(module.parameters())
            if own and not any(p.requires_grad for p in own):
                _hold_in_eval(module)
        return model

    def merge(self, model: Any) -> Any:
        return model


def _hold_in_eval(module: Any) -> None:
    """Keep a frozen part without dropout, also when the model is told to train: nothing in it can overfit."""
    module.eval()
    module.train = lambda mode=True: module


def _is_frozen(name: str, config: Config) -> bool:
    part, layer = classify(name)
    if part == "head":
        # A pre-trained pooler was made for another purpose; a frozen one holds the head near chance.
        return False
    if config.layers == "all":
        return True
    if layer is None:
        return config.layers > 0 and "embed" in name
    return layer < config.layers


PLUGIN = Freeze()
