"""LoRA: small matrices beside the frozen ones train (Hu et al. 2021, https://arxiv.org/abs/2106.09685)."""

from collections.abc import Sequence
from typing import Any, Literal

from studio.core.anatomy import ModelInfo, Tensor, classify
from studio.core.reasons import Failure, Problem
from studio.core.registry import PluginConfig
from studio.core.spec import setting


class Config(PluginConfig):
    """Names and meanings as in peft's LoraConfig; all linear layers of the stack get an adapter."""

    kind: Literal["lora"] = "lora"
    r: int = setting(8, "Rank", "Width of the adapter. More can learn more.", ge=1, le=512)
    lora_alpha: int = setting(16, "Alpha", "The adapter counts alpha / rank times.", ge=1, le=2048)
    lora_dropout: float = setting(0.05, "Dropout", "Share of the adapter's input left out, against overfitting.",
                                  "", True, ge=0, lt=1)  # fmt: skip


class Lora:
    """Trains an adapter on every linear layer of the stack, and the head with its pooler."""

    id = "lora"
    label = "LoRA"
    summary = "Small matrices beside the frozen ones train. Little memory, a small file, before and after at a switch."
    order = 30
    Config = Config

    def learning_rate(self, config: Config) -> float:
        return 1e-3

    def check(self, info: ModelInfo, config: Config) -> list[Problem]:
        return []

    def n_trainable(self, tensors: Sequence[Tensor], config: Config) -> list[tuple[Tensor, int]]:
        adapters = [
            (Tensor(f"{t.name}.lora", (config.r, sum(t.shape)), t.part, t.layer), config.r * sum(t.shape))
            for t in tensors
            if t.layer is not None and len(t.shape) == 2
        ]
        return [(t, t.n_parameters if t.part == "head" else 0) for t in tensors] + adapters

    def apply(self, model: Any, config: Config) -> Any:
        """Return the model wrapped by peft. Raises Failure "method-unsupported" where it has no linear layer."""
        from peft import LoraConfig, get_peft_model
        from torch.nn import Linear
        from transformers.pytorch_utils import Conv1D

        modules = dict(model.named_modules())
        targets = [
            name for name, module in modules.items()
            if isinstance(module, Linear | Conv1D) and classify(f"{name}.weight")[1] is not None
        ]  # fmt: skip
        if not targets:
            raise Failure("method-unsupported", "method", method=self.label, model_type=model.config.model_type)
        heads = {name for name, _ in model.named_parameters() if classify(name)[0] == "head"}
        parents = {".".join(name.split(".")[:-1]) for name in heads}
        # What shares the word embeddings stays with them: a copy of its own would be as large as these.
        words = model.get_input_embeddings().weight
        saved = sorted(name for name in parents if all(p is not words for p in modules[name].parameters()))
        adapter = LoraConfig(
            r=config.r, lora_alpha=config.lora_alpha, lora_dropout=config.lora_dropout,
            target_modules=targets, modules_to_save=saved,
            fan_in_fan_out=any(isinstance(modules[name], Conv1D) for name in targets),
        )  # fmt: skip
        return get_peft_model(model, adapter)

    def merge(self, model: Any) -> Any:
        """Return the plain model with the adapter added into its weights."""
        return model.merge_and_unload()


PLUGIN = Lora()
