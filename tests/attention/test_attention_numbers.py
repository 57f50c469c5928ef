"""The numbers beside the maps: what is known exactly is met exactly, and two ways to one number agree."""

import numpy as np
import pytest
import torch
from tiny_models import CAPTURED, make_input, make_model

from studio.attention import coalitions, gates, heads, paths
from studio.attention.capture import CaptureRefused, capture
from studio.attention.qk import Layers

A1, A2 = np.array([[0.5, 0.5], [0.2, 0.8]]), np.array([[0.9, 0.1], [0.3, 0.7]])
TOY = np.stack([A1, A2])[:, None]
GATED = [family for family in CAPTURED if family not in ("albert", "t5", "bart", "marian")]


def target(outputs):
    logits = outputs.logits[0]
    return (logits if logits.ndim == 1 else logits[-1])[1]


def targets(outputs):
    """The same of every text of a batch."""
    return (outputs.logits if outputs.logits.ndim == 2 else outputs.logits[:, -1])[:, 1]


def test_toy_rollout_and_flow_are_exact():
    np.testing.assert_allclose(paths.rollout(TOY), [[0.7175, 0.2825], [0.1975, 0.8025]], rtol=0, atol=1e-12)
    np.testing.assert_allclose(paths.max_flow(TOY), [[0.8, 0.3], [0.25, 1.0]], rtol=0, atol=1e-9)
    np.testing.assert_allclose(paths.rollout(TOY, residual=False), A2 @ A1, atol=1e-12)
    with pytest.raises(ValueError, match="can't be followed"):
        paths.rollout(np.ones((1, 1, 2, 3)))


def test_flow_is_no_more_than_a_token_gives_and_no_less_than_its_best_path():
    values = np.random.default_rng(0).dirichlet(np.ones(5), (3, 2, 5))
    flow = paths.max_flow(values)
    layers = (values.mean(axis=1) + np.eye(5)) / 2
    best = np.minimum(layers[1][:, :, None], layers[0][None]).max(axis=1)
    best = np.minimum(layers[2][:, :, None], best[None]).max(axis=1)
    assert (flow <= 1 + 1e-9).all() and (flow >= best - 1e-9).all()
    assert (flow >= paths.rollout(values) - 1e-9).all()


def test_relevance_by_hand():
    """One layer, two heads: the identity, and the mean of what is positive of A * dA."""
    maps = np.stack([A1, A2])[None]
    gradients = np.array([[[[1.0, -1.0], [0.0, 2.0]], [[1.0, 1.0], [-3.0, 0.0]]]])
    np.testing.assert_allclose(paths.relevance(maps, gradients), [[1 + (0.5 + 0.9) / 2, 0.05], [0.0, 1.8]])
    np.testing.assert_allclose(paths.gradient_times_attention(maps, gradients)[0, 0], [[0.5, -0.5], [0.0, 1.6]])


def test_relevance_across_by_hand():
    """One layer each: the encoder mixes its second token into its first, the decoder its first into its second."""
    encoder = np.array([[0.5, 0.5], [0.0, 1.0]])[None, None]
    decoder = np.array([[1.0, 0.0, 0.0], [0.25, 0.75, 0.0], [0.0, 0.0, 1.0]])[None, None]
    cross = np.array([[0.6, 0.4], [0.2, 0.8], [0.5, 0.5]])[None, None]
    to_cross = np.array([[1.0, 0.0], [0.0, 1.0], [0.0, -1.0]])[None, None]  # what spoke against it counts for nothing
    off = {"encoder": [[0.0, 2.0], [0.0, 0.0]], "decoder": [[0.0] * 3, [4.0, 0.0, 0.0], [0.0] * 3]}
    sides = [(maps, np.array(off[name])[None, None]) for name, maps in (("encoder", encoder), ("decoder", decoder))]
    read = np.array([[1.0, 1.0], [0.0, 1.0]])  # each token, and what it took from others as shares
    written = np.array([[1.0, 0.0, 0.0], [1.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    spoke = np.array([[0.6, 0.0], [0.0, 0.8], [0.0, 0.0]])
    np.testing.assert_allclose(paths.relevance_across(*sides, (cross, to_cross)), written.T @ spoke @ read)


@pytest.mark.parametrize("family", GATED)
def test_gates_of_heads_are_what_their_weights_do(family):
    """Two code paths: the gate's own derivative, and the sum of A * dL/dA over the head's map."""
    model, inputs = make_model(family), make_input(family, 3)
    flags = [parameter.grad for parameter in model.parameters()]
    found = gates.head_gradients(model, inputs, target)
    assert [parameter.grad for parameter in model.parameters()] == flags
    captured = capture(model, inputs)
    assert list(found.gates) == captured.modules["attention"]
    scale = max(np.abs(values).max() for values in found.gates.values())
    assert scale > 1e-6
    for layer, (name, gate) in enumerate(found.gates.items()):
        by_cell = (found.weights[name].astype(np.float64) * found.gradients[name]).sum(axis=(1, 2))
        np.testing.assert_allclose(gate, by_cell, rtol=0, atol=1e-6 * max(scale, 1.0))
        real = inputs["attention_mask"][0].bool().numpy()
        np.testing.assert_allclose(found.weights[name][:, real], captured.attention[layer][:, real], atol=1e-5)


@pytest.mark.parametrize("family", ["bert", "llama"])
def test_gates_are_the_central_difference(family):
    model, inputs = make_model(family).double(), make_input(family, 3)
    found = gates.head_gradients(model, inputs, target)

    def at(name, head, factor):
        with torch.no_grad(), gates.ablated(model, {name: {head: factor}}):
            return target(model(**inputs)).item()

    scale = max(np.abs(values).max() for values in found.gates.values())
    for name, values in found.gates.items():
        for head, gate in enumerate(values):
            central = (at(name, head, 1 + 1e-4) - at(name, head, 1 - 1e-4)) / 2e-4
            assert abs(gate - central) <= 0.01 * max(abs(gate), 1e-3 * scale)


def test_gradients_by_weights_of_another_target_do_not_agree(monkeypatch):
    """Sabotage: were the map detached from the output, the two paths would part."""
    model, inputs = make_model("bert"), make_input("bert", 0)
    original = gates._weights

    def other(*args):
        weights, allowed = original(*args)
        return weights.softmax(dim=-1), allowed

    right = gates.head_gradients(model, inputs, target)
    monkeypatch.setattr(gates, "_weights", other)
    wrong = gates.head_gradients(model, inputs, target)
    name = next(iter(right.gates))
    assert np.abs((right.weights[name] * wrong.gradients[name]).sum(axis=(1, 2)) - right.gates[name]).max() > 1e-4


def test_ablation_of_heads():
    model, inputs = make_model("llama"), make_input("llama", 3)
    name = "model.layers.0.self_attn"

    def logits(edits):
        with torch.inference_mode(), gates.ablated(model, edits):
            return model(**inputs).logits[0]

    with torch.inference_mode():
        plain = model(**inputs).logits[0]
    assert torch.equal(logits({}), plain)
    torch.testing.assert_close(logits({name: {0: 1.0}}), plain, atol=1e-5, rtol=1e-5)
    assert torch.equal(logits({name: {0: "zero"}}), logits({name: {0: 0.0}}))
    assert not torch.allclose(logits({name: {0: "zero"}}), plain, atol=1e-3)

    # Zero is the head's columns of the output projection taken away; uniform is an even look at what it may see.
    changed = make_model("llama")
    with torch.no_grad():
        changed.get_submodule(name).o_proj.weight[:, 8:16] = 0
        by_hand = changed(**inputs).logits[0]
    torch.testing.assert_close(logits({name: {1: "zero"}}), by_hand, atol=1e-5, rtol=1e-5)
    with torch.no_grad():
        changed = make_model("llama")
        changed.get_submodule(name).q_proj.weight[8:16] = 0
        even = changed(**inputs).logits[0]
    torch.testing.assert_close(logits({name: {1: "uniform"}}), even, atol=1e-5, rtol=1e-5)
    assert model.config._attn_implementation == "sdpa"


def test_ablation_is_refused_where_heads_have_no_gates():
    with pytest.raises(CaptureRefused), gates.ablated(make_model("mpnet"), {}):
        pass
    with pytest.raises(KeyError, match="nowhere"), gates.ablated(make_model("bert"), {"nowhere": {0: "zero"}}):
        pass


def ordinary(family, seed):
    """Return a model with random weights of ordinary size: of sharp ones twenty steps are not enough."""
    sharp = make_model(family)
    torch.manual_seed(seed)
    return type(sharp)(sharp.config).eval()


@pytest.mark.parametrize("family", ["bert", "distilbert", "llama", "gpt2"])
def test_integrated_gradients_are_complete(family):
    model, inputs = ordinary(family, 0), make_input(family, 0)
    torch.manual_seed(0)
    state = torch.random.get_rng_state()
    values, share = gates.integrated_gradients(model, inputs, targets, steps=20, most_steps=20)
    assert torch.equal(torch.random.get_rng_state(), state)
    with torch.no_grad():
        table = model.get_input_embeddings()
        whole = target(model(**inputs)).item()
        table.weight[:] = table.weight.mean(dim=0)
        nothing = target(model(**inputs)).item()
    assert values.shape == (11,) and share <= 0.01, share
    if family != "gpt2":  # its head is the table itself
        assert values.sum() == pytest.approx(whole - nothing, rel=0.01)


def test_integrated_gradients_of_an_encoder_decoder_are_those_of_its_encoder():
    model, inputs = ordinary("bart", 0), make_input("bart", 0)
    values, share = gates.integrated_gradients(model, inputs, targets)
    table = model.get_encoder().get_input_embeddings()
    hook = table.register_forward_hook(lambda module, _, out: (table.weight.mean(0) * table.embed_scale).expand_as(out))
    with torch.no_grad():
        nothing = target(model(**inputs)).item()
    hook.remove()
    with torch.no_grad():
        whole = target(model(**inputs)).item()
    assert share <= 0.01 and values.sum() == pytest.approx(whole - nothing, rel=0.02)


def test_integrated_gradients_that_are_not_complete_take_more_steps_and_say_so():
    model, inputs = ordinary("distilbert", 3), make_input("distilbert", 0)
    _, rough = gates.integrated_gradients(model, inputs, targets, steps=20, most_steps=20)
    _, fine = gates.integrated_gradients(model, inputs, targets)
    assert rough > 0.01 >= fine


def test_points_of_integrated_gradients_go_through_the_model_together(monkeypatch):
    model, inputs = ordinary("gpt2", 0), make_input("gpt2", 0)
    calls = []
    model.register_forward_hook(lambda module, args, outputs: calls.append(len(outputs.logits)))
    together, _ = gates.integrated_gradients(model, inputs, targets, steps=20, most_steps=20)
    assert calls == [2, 20]
    monkeypatch.setattr(gates, "TOKENS_AT_ONCE", 1)
    alone, _ = gates.integrated_gradients(model, inputs, targets, steps=20, most_steps=20)
    assert calls[2:] == [2, *[1] * 20]
    np.testing.assert_allclose(together, alone, rtol=0, atol=1e-6)


def game(coalition):
    """Seven tokens, of which some only count together."""
    c = coalition.astype(float)
    return 2 * c[:, 0] - c[:, 1] + 3 * c[:, 2] * c[:, 3] + np.sin(c @ np.arange(7.0)) + 0.7


def test_kernel_shap_of_all_coalitions_is_shapley():
    exact = coalitions.shapley(game, 7)
    np.testing.assert_allclose(coalitions.kernel_shap(game, 7), exact, rtol=0, atol=1e-6)
    everything = game(np.ones((1, 7), dtype=bool)) - game(np.zeros((1, 7), dtype=bool))
    assert exact.sum() == pytest.approx(everything[0], abs=1e-12)
    # By hand: two tokens worth three together share them.
    np.testing.assert_allclose(coalitions.shapley(lambda c: 3.0 * c.all(axis=1) + c[:, 0], 2), [2.5, 1.5], atol=1e-12)
    # Sabotage: with half of the coalitions it is another number.
    half = coalitions.every_coalition(7)[::2]
    assert np.abs(coalitions.kernel_shap(game, 7, half) - exact).max() > 1e-3
    with pytest.raises(ValueError, match="too many"):
        coalitions.shapley(game, 30)


def test_lime_of_a_linear_model_is_the_model():
    weights = np.array([0.3, -2.0, 0.0, 1.5, 0.25])
    np.testing.assert_allclose(coalitions.lime(lambda c: c @ weights + 4, 5), weights, rtol=0, atol=1e-4)
    assert np.abs(coalitions.lime(game, 7)[:3] - [2, -1, 0]).max() > 0.01


def test_curves_of_faithfulness():
    weights = np.array([1.0, 4.0, 0.0, 2.0])
    value = lambda c: c @ weights  # noqa: E731
    np.testing.assert_array_equal(coalitions.deletion(value, weights), [7, 3, 1, 0, 0])
    np.testing.assert_array_equal(coalitions.insertion(value, weights), [0, 4, 6, 7, 7])
    np.testing.assert_array_equal(coalitions.occlusion(value, 4), weights)
    assert coalitions.area(coalitions.deletion(value, weights)) < coalitions.area(coalitions.deletion(value, -weights))
    assert coalitions.area(coalitions.insertion(value, weights)) == (0 / 2 + 4 + 6 + 7 + 7 / 2) / 4


def test_tokens_that_stay_are_the_text():
    model, inputs = make_model("bert"), make_input("bert", 0)
    value = gates.token_value(model, inputs, lambda outputs: outputs.logits[:, 1], blank=0)
    with torch.inference_mode():
        plain = target(model(**inputs)).item()
        blank = target(model(**inputs | {"input_ids": torch.zeros(1, 11, dtype=torch.long)})).item()
    found = value(np.array([[True] * 11, [False] * 11]))
    np.testing.assert_allclose(found, [plain, blank], rtol=1e-5, atol=1e-6)


def test_search_names_the_heads():
    ids = [1, 7, 8, 9, 7, 8, 9, 2]
    found = heads.patterns(ids, [True, *[False] * 6, True])
    assert np.argwhere(found["induction"]).tolist() == [[4, 2], [5, 3], [6, 4]]
    assert found["same token"][4].nonzero()[0].tolist() == [1] and found["special"][3].nonzero()[0].tolist() == [7]
    names = ["previous", "next", "self", "first", "induction", "same token"]
    maps = []
    for name in names:
        # Where a head finds none of its own it rests on the first token.
        rest = np.zeros((8, 8)) + (np.arange(8) == 0)
        looks = found[name].any(axis=1, keepdims=True)
        maps.append(np.where(looks, found[name] / np.maximum(found[name].sum(axis=1, keepdims=True), 1), rest))
    maps = np.stack(maps).astype(np.float32)[None]
    for place, name in enumerate(names):
        scores = heads.search(maps, found[name])
        assert scores.shape == (1, 6) and scores[0, place] == 1 and (scores <= 1 + 1e-6).all()
        if name != "first":
            assert scores.argmax() == place and (np.delete(scores, place) < 0.5).all(), name
    np.testing.assert_array_equal(heads.search(Layers(list(maps)), found["self"]), heads.search(maps, found["self"]))


def test_search_for_a_painted_pattern():
    maps = np.zeros((1, 2, 4, 4), dtype=np.float32)
    maps[0, 0, :, 2] = 1
    maps[0, 1] = 0.25
    np.testing.assert_allclose(heads.search(maps, heads.block(4, [0, 1], [2])), [[1, 0.25]])
    painted = np.zeros((4, 4))
    painted[0, 2], painted[0, 3] = 0.2, 0.4  # its strongest shade counts as one, and only its row counts
    np.testing.assert_allclose(heads.search(maps, painted), [[0.5, 0.375]])
    maps[0, :, 1] = 0
    np.testing.assert_allclose(heads.search(maps, heads.block(4, [0, 1], [2])), [[1, 0.25]])
    assert (heads.search(maps, np.zeros((4, 4), dtype=bool)) == 0).all()
    with pytest.raises(ValueError, match="does not fit"):
        heads.search(maps, np.ones((3, 4)))
    np.testing.assert_allclose(heads.uniformity(maps), [[0, 1]])
