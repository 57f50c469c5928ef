"""The vectors of a head: its weights follow from them by a formula written here anew, or they are refused."""

import contextlib
import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from tiny_models import make_input

import studio.engine.studies.vectors as vectors
from studio.attention.capture import capture
from studio.attention.qk import Mask
from studio.attention.vectors import load_vectors
from studio.core.commands import Study
from studio.core.reasons import Failure

FAMILIES = ["bert", "distilbert", "modernbert", "albert", "gpt2", "llama", "mistral", "qwen3", "gpt_neox", "t5", "bart"]


class Given:
    """A loaded model and its input, as an inspection has them."""

    def __init__(self, model, inputs):
        self.model, self.encoded = model, inputs
        self.tokenizer = SimpleNamespace(all_special_ids=[1, 2], is_fast=False, convert_ids_to_tokens=lambda ids: ids)

    def encode(self, text, fields):
        return self.encoded

    def inputs(self, encoded, model):
        return encoded

    @contextlib.contextmanager
    def state(self, name):
        yield self.model


def ask(model, inputs, out, layer, head):
    return vectors.study(
        Given(model, inputs), Study(what="vectors", options={"layer": layer, "head": head}), ("after",), out
    )


@pytest.mark.parametrize("family", FAMILIES)
def test_weights_of_every_head_follow_from_its_vectors(models, tmp_path, family):
    model, inputs = models(family), make_input(family, 0)
    maps = capture(model, inputs).attention
    maps = maps["encoder"] if isinstance(maps, dict) else maps
    for layer, head in np.ndindex(*maps.shape[:2]):
        answer = ask(model, inputs, tmp_path, layer, head)
        found = load_vectors(tmp_path / "after.npz")
        assert answer["result"]["states"]["after"]["error"] <= 1e-5
        for query in range(maps.shape[2]):
            row = found.row(query)
            scores = torch.tensor(found.key).double() @ torch.tensor(found.query[query]).double()
            expected = (scores * found.scale + torch.tensor(row.added)).softmax(-1).numpy()
            np.testing.assert_allclose(row.scores, scores.numpy(), rtol=1e-9, atol=1e-9)
            np.testing.assert_allclose(row.weights, expected, atol=1e-9)
            np.testing.assert_allclose(row.weights, maps[layer, head, query], atol=1e-5)
            np.testing.assert_allclose(found.output[query], expected @ found.value, rtol=1e-3, atol=1e-5)


def test_heads_of_a_layer_together_are_what_the_layer_passes_on(models, tmp_path):
    """What the heads pass on, side by side, is what goes into the layer's own projection."""
    model, inputs, seen = models("llama"), make_input("llama", 0), []
    projection = model.model.layers[1].self_attn.o_proj
    hook = projection.register_forward_pre_hook(lambda _, given: seen.append(given[0][0]))
    with torch.inference_mode():
        model(**inputs)
    hook.remove()
    parts = []
    for head in range(4):
        ask(model, inputs, tmp_path, 1, head)
        parts.append(load_vectors(tmp_path / "after.npz").output)
    np.testing.assert_allclose(np.concatenate(parts, axis=1), seen[0].numpy(), rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("family", ["gemma2", "gpt_oss"])
def test_a_head_with_a_formula_of_its_own_is_refused(models, tmp_path, family):
    with pytest.raises(Failure) as refused:
        ask(models(family), make_input(family, 0), tmp_path, 1, 1)
    assert refused.value.problem.reason == "vectors-formula"
    assert not list(tmp_path.glob("*.npz"))


@pytest.mark.parametrize("wrong", ["query", "mask", "value"])
def test_wrong_vectors_turn_red(models, tmp_path, monkeypatch, wrong):
    model, inputs, read = models("llama"), make_input("llama", 0), vectors.in_float32

    def change(call):
        tensor = getattr(read(call), wrong)
        return dataclasses.replace(read(call), **{wrong: tensor + 0.05})

    if wrong == "mask":
        monkeypatch.setattr(vectors, "mask_of", lambda call, bias: Mask())
    else:
        # The model's own weights are computed from what was captured: only our reading of it is disturbed.
        weights = vectors.weights_of
        monkeypatch.setattr(vectors, "weights_of", lambda call, rows: weights(kept[0], rows))
        kept = []
        monkeypatch.setattr(vectors, "in_float32", lambda call: kept.append(read(call)) or change(call))
    with pytest.raises(Failure) as refused:
        ask(model, inputs, tmp_path, 0, 1)
    assert refused.value.problem.reason == "vectors-formula"


def test_a_head_that_is_not_there_is_said_so(models, tmp_path):
    for layer, head in ((2, 0), (0, 4), (-1, 0)):
        with pytest.raises(Failure) as refused:
            ask(models("bert"), make_input("bert", 0), tmp_path, layer, head)
        assert refused.value.problem.reason == "head-unknown"
