"""What is picked for a machine."""

import pytest
import torch

from studio.core.reasons import Failure
from studio.engine import device


def test_fp16_is_for_gpus_without_bf16(monkeypatch: pytest.MonkeyPatch) -> None:
    if not torch.cuda.is_available():
        with pytest.raises(Failure) as refused:
            device.pick_precision("fp16")
        assert (refused.value.problem.reason, refused.value.problem.field) == ("fp16-needs-gpu", "training.precision")
    # No such GPU is at hand: what torch says of it is put in its mouth.
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(device, "_gain", lambda half, hidden_size: f"gains in {half}")
    for has_bf16, expected in ((False, "fp16"), (True, "bf16")):
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda *_, known=has_bf16, **__: known)
        picked = device.pick_precision("auto")
        assert picked.name == expected and f"gains in torch.{'bfloat16' if has_bf16 else 'float16'}" in picked.why


def test_random_state_comes_back_whatever_is_drawn() -> None:
    import random

    import numpy as np

    before = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state()
    with pytest.raises(KeyError), device.same_random_state():
        random.random(), np.random.rand(), torch.rand(1)
        raise KeyError
    assert random.getstate() == before[0] and np.random.get_state()[1].tolist() == before[1]
    assert torch.equal(torch.get_rng_state(), before[2])
