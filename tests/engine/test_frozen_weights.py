"""Frozen weights are held in bf16 while the rest trains, and come back as they were loaded."""

from pathlib import Path

import torch

from studio.core.registry import parse_config, plugin
from studio.core.spec import parse_spec
from studio.engine import frozen_weights, models


def test_frozen_weights_come_back_and_trained_ones_stay(tiny_spec: dict) -> None:
    spec = parse_spec(tiny_spec | {"method": {"kind": "lora", "r": 4}})
    tokenizer = models.load_tokenizer(Path(spec.model))

    def fresh() -> torch.nn.Module:
        return models.load_base(spec, ["a", "b"], tokenizer)

    config = parse_config("methods", {"kind": "lora", "r": 4})
    model = plugin("methods", config).apply(fresh(), config)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    saved = frozen_weights.hold_in_bf16(model)
    halved = {name for name, p in model.named_parameters() if p.dtype == torch.bfloat16}
    assert halved and saved == sum(2 * before[name].numel() for name in halved)
    assert not any(p.requires_grad for name, p in model.named_parameters() if name in halved)
    assert not any("lora" in name or "Norm" in name or "modules_to_save" in name for name in halved)
    frozen_weights.restore(model, fresh())
    for name, p in model.named_parameters():
        assert p.dtype == torch.float32 and torch.equal(p, before[name]), name
