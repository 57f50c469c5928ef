"""The maps we capture are the model's own, the model is left as it was, and a capture that lies says so."""

import copy
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from peft import IA3Config, LoraConfig, PrefixTuningConfig, PromptTuningConfig, get_peft_model
from tiny_models import CAPTURED, MEDIA, WATCHED, make_input, make_media, make_model
from transformers import PreTrainedModel
from transformers.masking_utils import AttentionMaskInterface, sdpa_mask

import studio.attention.capture as capture_module
import studio.attention.interface as interface
from studio.attention import maps
from studio.attention.capture import CaptureRefused, base_state, capture, save
from studio.attention.checks import Sums, verify
from studio.core.reasons import REASONS

PADDINGS = {"full": 0, "right padding": 3, "left padding": -3}


def eager_maps(model, inputs):
    """Return what the model says of itself, by kind, [layer, head, query, key]."""
    own = {part: part.config._attn_implementation for part in model.modules() if isinstance(part, PreTrainedModel)}
    model.set_attn_implementation("eager")
    with torch.inference_mode():
        out = model(**inputs, output_attentions=True, use_cache=False)
    for part, implementation in own.items():
        part.config._attn_implementation = implementation
    kinds = {"attention": "attentions"}
    if model.config.is_encoder_decoder:
        kinds = {"encoder": "encoder_attentions", "decoder": "decoder_attentions", "cross": "cross_attentions"}
    return {kind: torch.cat(out[name]).numpy() for kind, name in kinds.items()}


def by_kind(captured):
    return captured.attention if isinstance(captured.attention, dict) else {"attention": captured.attention}


@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("family", CAPTURED)
def test_maps_are_the_models_own(models, family, padding):
    model, inputs = models(family), make_input(family, PADDINGS[padding])
    captured = capture(model, inputs)
    assert captured.checks["verified"], captured.checks

    own = eager_maps(model, inputs)
    maps = by_kind(captured)
    assert list(maps) == list(own)
    real = inputs["attention_mask"][0].bool().numpy()
    for kind, values in maps.items():
        assert values.dtype == np.float32 and values.shape == own[kind].shape
        queries = real if kind in ("attention", "encoder") else slice(None)
        np.testing.assert_allclose(values[:, :, queries], own[kind][:, :, queries], rtol=0, atol=1e-5)
        if kind != "decoder":
            assert (values[..., ~real] == 0).all()
        # A test on nearly uniform maps would not notice wrong scores.
        assert values.std() > 0.02


@pytest.mark.parametrize("family", CAPTURED)
def test_logits_are_those_of_the_plain_run(models, family):
    model, inputs = models(family), make_input(family, 3)
    captured = capture(model, inputs)
    with torch.inference_mode():
        logits = model(**inputs).logits[0]
    assert torch.equal(torch.from_numpy(captured.logits), logits)
    assert captured.checks["logit_difference"] == 0
    if logits.ndim == 1:
        np.testing.assert_allclose(captured.probabilities, logits.softmax(-1), atol=1e-6)
    else:
        assert captured.probabilities is None


@pytest.mark.parametrize("family", MEDIA)
def test_maps_of_pictures_and_sounds(models, family):
    model, inputs = models(family), make_media(family)
    captured = capture(model, inputs)
    assert captured.checks["verified"], captured.checks
    own = [part.config._attn_implementation for part in model.modules() if isinstance(part, PreTrainedModel)]
    assert "eager" not in own
    model.set_attn_implementation("eager")
    seen = {}
    hooks = [
        module.register_forward_hook(lambda _module, _inputs, output, name=name: seen.__setitem__(name, output[1]))
        for name, module in model.named_modules()
        if family == "swin" and name in sum(captured.modules.values(), [])
    ]
    with torch.inference_mode():
        out = model(**inputs, output_attentions=True)
    model.set_attn_implementation("sdpa")
    for hook in hooks:
        hook.remove()
    if family == "clip":
        eager = {"text": out.text_model_output.attentions, "vision": out.vision_model_output.attentions}
    elif family == "swin":
        # It returns the last block of each stage alone, the windows in the batch; here the heads of each window
        # follow one another.
        eager = {kind: [seen[name] for name in names] for kind, names in captured.modules.items()}
    elif family == "whisper":
        eager = {kind: out[f"{kind}_attentions"] for kind in ("encoder", "decoder", "cross")}
    else:
        eager = {"attention": out.attentions}
    assert list(by_kind(captured)) == list(eager)
    for kind, values in by_kind(captured).items():
        maps = torch.stack([layer.flatten(0, 1) for layer in eager[kind]]).numpy()
        queries = slice(0, 8) if kind == "text" else slice(None)
        np.testing.assert_allclose(values[:, :, queries], maps[:, :, queries], rtol=0, atol=1e-5)


@pytest.mark.parametrize("family", ["t5", "bart", "marian", "whisper", "clip"])
def test_two_layers_a_side_are_counted(family):
    two = {"t5": {"num_decoder_layers": 2}, "bart": {"decoder_layers": 2}, "marian": {"decoder_layers": 2}}
    model = make_model(family, **two.get(family, {}))
    checks = capture(model, make_media(family) if family in MEDIA else make_input(family, 0)).checks
    kinds = ("text", "vision") if family == "clip" else ("encoder", "decoder", "cross")
    assert checks["n_layers"] == dict.fromkeys(kinds, 2) and checks["verified"]


@pytest.mark.parametrize("family", ["t5", "bart"])
def test_encoder_decoder_has_three_kinds_with_their_counts(models, family):
    captured = capture(models(family), make_input(family, 0))
    assert captured.checks["n_layers"] == {"encoder": 2, "decoder": 3, "cross": 3}
    n_heads = 4 if family == "t5" else 2
    assert captured.checks["n_heads"] == {"encoder": 4, "decoder": n_heads, "cross": n_heads}
    assert all(name.split(".")[-1] in ("encoder_attn", "EncDecAttention") for name in captured.modules["cross"])


def test_layers_are_ordered_by_number_not_by_text():
    model = make_model("bert", num_hidden_layers=12)
    inputs = make_input("bert", 0)
    captured = capture(model, inputs)
    np.testing.assert_allclose(captured.attention, eager_maps(model, inputs)["attention"], rtol=0, atol=1e-5)
    assert captured.modules["attention"][2:4] == [f"bert.encoder.layer.{i}.attention.self" for i in (2, 3)]


def test_sliding_window_hides_what_lies_behind_it(models):
    values = capture(models("mistral"), make_input("mistral", 0)).attention
    rows, columns = np.indices(values.shape[-2:])
    assert (values[..., columns <= rows - 4] == 0).all()
    assert (values[..., (columns <= rows) & (columns > rows - 4)] > 0).all()


def test_sixteen_bits_are_captured_in_float32():
    model = make_model("llama").to(torch.bfloat16)
    captured = capture(model, make_input("llama", 0))
    assert captured.attention.dtype == np.float32
    assert captured.checks["verified"] and captured.checks["row_sum_error"] < 1e-5


@pytest.mark.parametrize("family", ["bert", "t5", "gemma2"])
def test_model_is_left_as_it_was(family):
    model = make_model(family).train()
    model.get_submodule("encoder" if family == "t5" else "bert" if family == "bert" else "model").eval()
    parts = [part for part in model.modules() if isinstance(part, PreTrainedModel)]
    implementations = [part.config._attn_implementation for part in parts]
    flags = [module.training for module in model.modules()]
    state = torch.random.get_rng_state()
    capture(model, make_input(family, 0))
    assert [part.config._attn_implementation for part in parts] == implementations
    assert [module.training for module in model.modules()] == flags
    assert torch.equal(torch.random.get_rng_state(), state)

    def broken(*_args, **_options):
        raise RuntimeError("in the middle of a forward")

    model.register_forward_pre_hook(broken)
    with pytest.raises(RuntimeError, match="in the middle"):
        capture(model, make_input(family, 0))
    assert [part.config._attn_implementation for part in parts] == implementations
    assert [module.training for module in model.modules()] == flags


@pytest.mark.parametrize("method", ["lora", "ia3"])
def test_disabled_adapter_is_the_base_model(method):
    base, inputs = make_model("bert"), make_input("bert", 3)
    before = capture(base, inputs)
    config = {
        "lora": LoraConfig(task_type="SEQ_CLS", r=4, target_modules="all-linear"),
        "ia3": IA3Config(task_type="SEQ_CLS", target_modules=["query", "dense"], feedforward_modules=["dense"]),
    }[method]
    tuned = get_peft_model(base, config)
    with torch.no_grad():
        for parameter in tuned.parameters():
            if parameter.requires_grad:
                parameter.add_(0.3 * torch.randn_like(parameter))
    after = capture(tuned, inputs)
    trained = [parameter.requires_grad for parameter in tuned.parameters()]
    with base_state(tuned):
        again = capture(tuned, inputs)

    assert before.checks["verified"] and after.checks["verified"] and again.checks["verified"]
    assert before.modules == after.modules
    assert torch.equal(torch.from_numpy(before.attention), torch.from_numpy(again.attention))
    assert torch.equal(torch.from_numpy(before.logits), torch.from_numpy(again.logits))
    assert np.abs(after.attention - before.attention).max() > 0.01
    assert [parameter.requires_grad for parameter in tuned.parameters()] == trained


@pytest.mark.parametrize(("method", "n_rows"), [(PrefixTuningConfig, 11), (PromptTuningConfig, 13)])
def test_virtual_tokens_widen_the_maps_and_are_labelled(tmp_path, method, n_rows):
    model = get_peft_model(make_model("llama"), method(task_type="CAUSAL_LM", num_virtual_tokens=2))
    captured = capture(model, make_input("llama", 0))
    assert captured.attention.shape == (2, 4, n_rows, 13)
    assert captured.checks["verified"], captured.checks
    save(captured, list("abcdefghijk"), tmp_path)
    facts = maps.load(tmp_path).facts
    assert facts["key_tokens"] == ["[virtual 1]", "[virtual 2]", *"abcdefghijk"]
    assert facts["query_tokens"] == facts["key_tokens"][-n_rows:] and facts["tokens"] == list("abcdefghijk")
    assert captured.attention[..., -11:, :2].min() > 0


def trained_losses(probes):
    """Return the losses of 50 steps with dropout; every fifth step is looked into, or not."""
    torch.manual_seed(5)
    model = make_model("bert", hidden_dropout_prob=0.1, attention_probs_dropout_prob=0.1).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    losses = []
    for step in range(50):
        ids = torch.randint(3, 60, (4, 20))
        loss = model(input_ids=ids, labels=ids[:, 0] % 3).loss
        loss.backward()
        if probes and step % 5 == 0:
            assert capture(model, make_input("bert", 3), queries=probes == "queries").checks["verified"]
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    return losses


@pytest.mark.parametrize("probes", ["maps", "queries"])
def test_probes_leave_a_training_bit_for_bit_alone(probes):
    losses = trained_losses(None)
    assert losses == trained_losses(probes) and len(set(losses)) == 50


def test_base_state_needs_an_adapter(models):
    with pytest.raises(CaptureRefused) as refused, base_state(models("bert")):
        pass
    assert refused.value.reason_id == "capture-no-adapter"


@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("family", WATCHED)
def test_watched_maps_are_the_models_own(models, family, padding):
    """Files without the interface: the same badge, against what their own eager code returns."""
    model, inputs = models(family), make_input(family, PADDINGS[padding])
    captured = capture(model, inputs)
    assert captured.checks["verified"], captured.checks
    eager = model
    if family == "falcon":
        eager = type(model)._from_config(copy.deepcopy(model.config), attn_implementation="eager").eval()
        eager.load_state_dict(model.state_dict())
    with torch.inference_mode():
        own = torch.cat(eager(**inputs, output_attentions=True).attentions)
        logits = model(**inputs).logits[0]
    if family == "xlnet" and own.shape[1] != 4:
        own = own.permute(0, 3, 1, 2)
    real = inputs["attention_mask"][0].bool().numpy()
    np.testing.assert_allclose(captured.attention[:, :, real], own.numpy()[:, :, real], rtol=0, atol=1e-5)
    assert (captured.attention[..., ~real] == 0).all() and captured.attention.std() > 0.02
    assert torch.equal(torch.from_numpy(captured.logits), logits)
    rows, columns = np.indices(captured.attention.shape[-2:])
    bidirectional = family in ("deberta_v2", "deberta", "mpnet", "xlnet")
    assert (captured.attention[..., columns > rows] == 0).all() != bidirectional


@pytest.mark.parametrize(
    ("family", "reason"), [("fnet", "nothing"), ("mamba", "nothing"), ("funnel", "uneven")]
)
def test_what_has_no_maps_of_one_shape_is_refused(family, reason):
    with pytest.raises(CaptureRefused) as refused:
        capture(make_model(family), make_input(family, 0))
    assert refused.value.reason_id == f"capture-{reason}"


def test_watched_weights_that_nobody_uses_are_no_attention(models, monkeypatch):
    model = models("mpnet")
    layer = type(model.mpnet.encoder.layer[0].attention.attn)
    forward = layer.forward

    def decoy(self, hidden, *args, **options):
        torch.randn(1, 4, 11, 11).softmax(dim=-1)
        return forward(self, hidden, *args, **options)

    expected = capture(model, make_input("mpnet", 0)).attention
    monkeypatch.setattr(layer, "forward", decoy)
    np.testing.assert_array_equal(capture(model, make_input("mpnet", 0)).attention, expected)


def test_watched_maps_that_do_not_add_up_are_refused(models, monkeypatch):
    keep = interface.Recorder.keep
    monkeypatch.setattr(interface.Recorder, "keep", lambda self, record: ".1." in record.module and keep(self, record))
    with pytest.raises(CaptureRefused) as refused:
        capture(models("mpnet"), make_input("mpnet", 0))
    assert refused.value.reason_id == "capture-unsupported"


def test_maps_that_falcon_returns_under_sdpa_are_flagged(models):
    """What `output_attentions=True` gives there looks into the future, and so it is said."""
    model, inputs = models("falcon"), make_input("falcon", 0)
    assert model.config._attn_implementation == "sdpa"
    with torch.inference_mode():
        maps = torch.cat(model(**inputs, output_attentions=True).attentions).numpy()
    records = []
    for number, values in enumerate(maps):
        sums = Sums(11, 11, causal=True)
        sums.add(np.arange(11), values)
        records.append(interface.Record(f"layer.{number}", values, 4, sums, 0.0))
    everything = {"attention": (np.ones(11, dtype=bool),) * 2}
    checks = verify({"attention": records}, everything, {"attention": (2, 4)}, 0.0, half=False)
    assert not checks["verified"] and checks["causal_leak"] > 0.01


def test_too_large_is_refused_before_the_forward(models, monkeypatch):
    model, inputs = models("bert"), make_input("bert", 0)
    needed = 2 * 4 * 11 * 11 * 4
    assert capture(model, inputs, budget_bytes=needed).checks["verified"]
    monkeypatch.setattr(model, "forward", None)
    with pytest.raises(CaptureRefused) as refused:
        capture(model, inputs, budget_bytes=needed - 1)
    assert refused.value.details["needed_bytes"] == needed and refused.value.reason_id == "capture-memory"


def test_budget_holds_where_the_estimate_is_wrong(models, monkeypatch):
    monkeypatch.setattr("studio.attention.capture._map_bytes", lambda *_: 0)
    with pytest.raises(CaptureRefused) as refused:
        capture(models("bert"), make_input("bert", 0), budget_bytes=2 * 4 * 11 * 11 * 4 - 1)
    assert refused.value.reason_id == "capture-memory"
    assert models("bert").config._attn_implementation == "sdpa"


def test_every_refusal_has_words():
    text = "".join(Path(module.__file__).read_text(encoding="utf-8") for module in (interface, capture_module))
    used = set(re.findall(r'CaptureRefused\(\s*"([a-z-]+)"', text))
    assert len(used) > 5 and used <= set(REASONS)


def test_only_one_text_at_a_time(models):
    inputs = {name: value.repeat(2, 1) for name, value in make_input("bert", 0).items()}
    with pytest.raises(CaptureRefused) as refused:
        capture(models("bert"), inputs)
    assert refused.value.reason_id == "capture-batch"


# Sabotage: every check must be able to turn red.


@pytest.mark.parametrize("family", ["bert", "llama"])
def test_removed_mask_function_is_refused(models, family, monkeypatch):
    for name in interface.IMPLEMENTATIONS.values():
        monkeypatch.delitem(AttentionMaskInterface._global_mapping, name, raising=False)
    monkeypatch.setattr(AttentionMaskInterface, "register", lambda *_: None)
    with pytest.raises(CaptureRefused) as refused:
        capture(models(family), make_input(family, 0))
    assert refused.value.reason_id == "capture-mask"


@pytest.mark.parametrize(("family", "padding"), [("bert", 3), ("llama", -3), ("mistral", 0), ("modernbert", 0)])
def test_lost_mask_is_not_verified(models, family, padding, monkeypatch):
    register = AttentionMaskInterface.register
    monkeypatch.setattr(AttentionMaskInterface, "register", lambda name, _: register(name, lambda **_: None))
    captured = capture(models(family), make_input(family, padding))
    monkeypatch.undo()
    assert not captured.checks["verified"]
    assert captured.checks["logit_difference"] > 1e-3
    assert capture(models(family), make_input(family, padding)).checks["verified"]


def test_lost_causality_is_not_verified(models, monkeypatch):
    def everything(*args, **options):
        mask = sdpa_mask(*args, **options | {"allow_is_causal_skip": False})
        return torch.ones_like(mask)

    register = AttentionMaskInterface.register
    monkeypatch.setattr(AttentionMaskInterface, "register", lambda name, _: register(name, everything))
    checks = capture(models("llama"), make_input("llama", 0)).checks
    assert not checks["verified"] and checks["causal_leak"] > 0.01


def tampered(change):
    """Return an `eager_function` whose formula gives changed weights, its output untouched."""
    original = interface.eager_function

    def find(module):
        def formula(*args, **options):
            output, weights = original(module)(*args, **options)
            return output, change(weights)

        return formula

    return find


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (lambda weights: weights * 1.001, "row_sum_error"),
        (lambda weights: weights.roll(-1, dims=-1), "padding_leak"),
        (lambda weights: torch.full_like(weights, float("nan")), "row_sum_error"),
    ],
)
def test_wrong_weights_are_not_verified(models, monkeypatch, change, error):
    monkeypatch.setattr(interface, "eager_function", tampered(change))
    checks = capture(models("bert"), make_input("bert", 3)).checks
    assert not checks["verified"]
    assert not checks[error] <= 1e-5


@pytest.mark.parametrize(("family", "forgotten"), [("bert", {"scaling": 0.5}), ("t5", {"position_bias": None})])
def test_weights_of_another_formula_are_not_verified(models, monkeypatch, family, forgotten):
    """Rows still sum to one, but these weights times the values are not what the layer gave."""
    original = interface.eager_function

    def find(module):
        return lambda *args, **options: original(module)(*args, **options | forgotten)

    monkeypatch.setattr(interface, "eager_function", find)
    checks = capture(models(family), make_input(family, 0)).checks
    assert not checks["verified"]
    assert checks["output_error"] > 1e-3 and checks["row_sum_error"] < 1e-5 and checks["logit_difference"] == 0


def test_lost_layer_is_not_verified(models, monkeypatch):
    add = interface.Recorder.add

    def forgetful(self, module, *args):
        if ".layer.1." not in self.names[id(module)]:
            add(self, module, *args)

    monkeypatch.setattr(interface.Recorder, "add", forgetful)
    checks = capture(models("bert"), make_input("bert", 0)).checks
    assert checks["n_layers"] == 1 and not checks["verified"]


def test_model_that_stays_in_training_is_refused(monkeypatch):
    model = make_model("bert").train()
    monkeypatch.setattr(model, "eval", lambda: model)
    with pytest.raises(CaptureRefused) as refused:
        capture(model, make_input("bert", 0))
    assert refused.value.reason_id == "capture-training"


def test_dropout_on_is_not_verified(monkeypatch):
    model = make_model("bert")
    dropout = torch.nn.functional.dropout
    monkeypatch.setattr(torch.nn.functional, "dropout", lambda x, p=0.5, *_args, **_options: dropout(x, 0.3, True))
    assert not capture(model, make_input("bert", 0)).checks["verified"]


def test_swapped_adapter_is_not_verified():
    """The adapter changes between the two runs, as a second thread might do."""
    model = get_peft_model(make_model("bert"), LoraConfig(task_type="SEQ_CLS", target_modules="all-linear"))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(0, 0.3)
    model.register_forward_hook(lambda *_: model.base_model.disable_adapter_layers())
    assert not capture(model, make_input("bert", 0)).checks["verified"]
