"""The quick layers compute what the layers that they stand for compute."""

from pathlib import Path

import pytest
import torch
from torch import nn
from transformers import (
    AutoModelForSequenceClassification,
    BertConfig,
    BertForSequenceClassification,
    T5Config,
    T5ForSequenceClassification,
)

from studio.engine import kernels


def small_bert(dropout: float, vocabulary: int = 5000) -> BertForSequenceClassification:
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=vocabulary, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64,
        max_position_embeddings=64, hidden_dropout_prob=dropout, attention_probs_dropout_prob=dropout,
    )  # fmt: skip
    config._attn_implementation = "sdpa"
    return BertForSequenceClassification(config).train()


def batch() -> dict[str, torch.Tensor]:
    ids = torch.randint(1, 5000, (6, 11), generator=torch.Generator().manual_seed(1))
    ids[0, 7:] = 0
    ids[3, 2] = ids[1, 4]
    return {"input_ids": ids, "attention_mask": (ids > 0).long(), "labels": torch.tensor([0, 1, 0, 1, 1, 0])}


def gradients(model: nn.Module) -> dict[str, torch.Tensor]:
    model(**batch()).loss.backward()
    return {name: p.grad for name, p in model.named_parameters() if p.grad is not None}


def test_loss_and_gradients_are_those_of_the_plain_layers() -> None:
    plain, quick = small_bert(0.0), small_bert(0.0)
    made = kernels.Kernels(quick, in_bf16=False)
    expected, found = gradients(plain), gradients(quick)
    name = "bert.embeddings.word_embeddings.weight"
    ids, rows = made.embeddings[0].gradient()
    assert name not in found and 0 not in ids, "no gradient for the padding"
    found[name] = torch.zeros_like(expected[name]).index_copy(0, ids, rows)
    assert expected.keys() == found.keys()
    for key, value in expected.items():
        torch.testing.assert_close(found[key], value, rtol=1e-4, atol=1e-6)


def test_attention_with_a_position_bias_keeps_it() -> None:
    def small_t5() -> T5ForSequenceClassification:
        torch.manual_seed(0)
        config = T5Config(
            vocab_size=5000, d_model=32, d_kv=8, d_ff=64, num_layers=2, num_heads=4, dropout_rate=0.0, num_labels=2,
            pad_token_id=0, eos_token_id=1, decoder_start_token_id=0,
        )  # fmt: skip
        config._attn_implementation = "sdpa"
        return T5ForSequenceClassification(config).train()

    inputs = batch()
    inputs["input_ids"][:, -1] = 1
    inputs["input_ids"][0, 6], inputs["input_ids"][0, -1] = 1, 0
    inputs["attention_mask"] = (inputs["input_ids"] > 0).long()
    losses = []
    for is_quick in (False, True):
        model = small_t5()
        if is_quick:
            kernels.Kernels(model, in_bf16=False)
        loss = model(**inputs).loss
        loss.backward()
        bias = model.transformer.encoder.block[0].layer[0].SelfAttention.relative_attention_bias
        losses.append((loss.item(), bias.weight.grad.abs().sum().item()))
    assert losses[1] == pytest.approx(losses[0], rel=1e-2) and losses[1][1] > 0


def test_dropout_drops_its_share_and_keeps_the_mean() -> None:
    layer = kernels.Dropout(0.1).train()
    x = torch.ones(300, 1000, requires_grad=True)
    torch.manual_seed(3)
    y = layer(x)
    assert (y == 0).float().mean().item() == pytest.approx(0.1, abs=0.002)
    assert y.mean().item() == pytest.approx(1.0, abs=0.003)
    y.sum().backward()
    assert torch.equal(x.grad, y), "the gradient passes where the value did"
    torch.manual_seed(3)
    assert torch.equal(layer(x), y), "the masks are torch's generator's"
    assert torch.equal(layer.eval()(x), x)


def step(model: nn.Module, optimizer: torch.optim.Optimizer, max_norm: float) -> float:
    model(**batch()).loss.backward()
    if isinstance(optimizer, kernels.AdamW):
        norm = optimizer.clip(max_norm)
    else:
        norm = nn.utils.clip_grad_norm_(model.parameters(), max_norm)
    optimizer.step()
    model.zero_grad()
    return float(norm)


def test_steps_are_those_of_adamw_and_rows_without_gradient_stay() -> None:
    plain, quick = small_bert(0.0), small_bert(0.0)
    before = plain.bert.embeddings.word_embeddings.weight.detach().clone()
    made = kernels.Kernels(quick, in_bf16=False)
    options = {"lr": 1e-3, "weight_decay": 0.1, "fused": True}
    ours = kernels.AdamW([{"params": list(quick.parameters())}], made.embeddings, **options)
    theirs = torch.optim.AdamW(plain.parameters(), **options)
    for _ in range(3):
        assert step(quick, ours, 0.1) == pytest.approx(step(plain, theirs, 0.1), rel=1e-4)
    used = batch()["input_ids"].unique()
    used = used[used > 0]
    for (name, p), q in zip(plain.named_parameters(), quick.parameters(), strict=True):
        if "word_embeddings" in name:
            torch.testing.assert_close(q[used], p[used], rtol=1e-3, atol=1e-6)
            unused = torch.ones(len(q), dtype=torch.bool).index_fill_(0, used, False)
            assert torch.equal(q[unused], before[unused])
        else:
            torch.testing.assert_close(q, p, rtol=1e-3, atol=2e-5)


def test_accumulated_batches_make_one_step() -> None:
    one, two = small_bert(0.0), small_bert(0.0)
    rows = []
    for model, n_times in ((one, 1), (two, 2)):
        made = kernels.Kernels(model, in_bf16=False)
        for _ in range(n_times):
            model(**batch()).loss.backward()
        rows.append(made.embeddings[0].gradient())
    assert torch.equal(rows[0][0], rows[1][0])
    torch.testing.assert_close(2 * rows[0][1], rows[1][1])


def test_optimiser_goes_on_from_its_saved_state(tmp_path: Path) -> None:
    def train(n_steps: int, state: dict | None = None) -> tuple[nn.Module, kernels.AdamW]:
        model = small_bert(0.0)
        if state:
            model.load_state_dict(state["model"])
        made = kernels.Kernels(model, in_bf16=False)
        optimizer = kernels.AdamW([{"params": list(model.parameters())}], made.embeddings, lr=1e-3, fused=True)
        if state:
            optimizer.load_state_dict(state["optimizer"])
        for _ in range(n_steps):
            step(model, optimizer, 1.0)
        return model, optimizer

    straight, _ = train(4)
    model, optimizer = train(2)
    torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict()}, tmp_path / "state.pt")
    resumed, _ = train(2, torch.load(tmp_path / "state.pt"))
    for p, q in zip(straight.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(p, q)


def test_undo_leaves_the_model_as_it_came(tmp_path: Path) -> None:
    model = small_bert(0.1)
    kinds = [type(module) for module in model.modules()]
    made = kernels.Kernels(model, in_bf16=True)
    assert [type(module) for module in model.modules()] != kinds
    made.undo()
    assert [type(module) for module in model.modules()] == kinds and model.config._attn_implementation == "sdpa"
    model.save_pretrained(tmp_path)
    again = AutoModelForSequenceClassification.from_pretrained(tmp_path).eval()
    with torch.inference_mode():
        torch.testing.assert_close(again(**batch()).logits, model.eval()(**batch()).logits)


def test_tied_and_small_tables_keep_their_own_gradient() -> None:
    small = small_bert(0.0, vocabulary=5000)
    small.extra = nn.Linear(32, 5000)
    small.extra.weight = small.bert.embeddings.word_embeddings.weight
    assert kernels.Kernels(small, in_bf16=False).embeddings == []
