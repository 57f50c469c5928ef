"""Queries and keys stand for the map: every head and tile computed from them is the model's own."""

import json

import numpy as np
import pytest
import torch
from test_attention_capture import eager_maps
from tiny_models import CAPTURED, make_input, make_model

import studio.attention.interface as interface
import studio.attention.streaming as streaming
from studio.attention import maps, qk
from studio.attention.capture import CaptureRefused, capture, save
from studio.attention.interface import Recorder, recording

N_TOKENS = 60
OWN_FORMULA = ["gemma2", "gpt_oss"]  # softcap, sinks


def long_input(family, padding=0):
    ids = torch.randint(3, 60, (1, N_TOKENS), generator=torch.Generator().manual_seed(2))
    ids[0, -1] = 2
    return make_input(family, padding, ids)


def by_kind(captured):
    return captured.attention if isinstance(captured.attention, dict) else {"attention": captured.attention}


@pytest.mark.parametrize("padding", [0, 7, -7])
@pytest.mark.parametrize("family", CAPTURED)
def test_heads_and_tiles_are_those_of_the_full_map(models, family, padding):
    model, inputs = models(family), long_input(family, padding)
    captured, full = capture(model, inputs, queries=True), capture(model, inputs)
    assert captured.checks["verified"], captured.checks
    assert captured.checks["n_layers"] == full.checks["n_layers"]
    for kind, values in by_kind(full).items():
        layers = by_kind(captured)[kind]
        if family in OWN_FORMULA:
            np.testing.assert_array_equal(layers, values)
            continue
        assert all(isinstance(layer, qk.QueryKeys) for layer in layers.layers) and layers.shape == values.shape
        np.testing.assert_allclose(np.asarray(layers), values, rtol=0, atol=1e-6)
        # A tile is the same cells, however it is asked for.
        np.testing.assert_array_equal(layers[1, 1, 7:40, 20:31], layers[1, 1][7:40, 20:31])
        np.testing.assert_array_equal(layers[1, 1, 9], layers[1][1][9])
        assert layers[1, 1, 9, 3] == layers[1, 1][9, 3]
        assert maps.head_statistics(layers, False)["entropy"] == pytest.approx(
            maps.head_statistics(values, False)["entropy"], abs=1e-4
        )


@pytest.mark.parametrize("family", ["bert", "llama", "mistral", "t5"])
def test_output_is_that_of_sdpa(models, family):
    model, inputs = models(family), long_input(family)
    with torch.inference_mode():
        plain = model(**inputs, use_cache=False)
        with recording(model, 1 << 30, queries=True):
            out = model(**inputs, use_cache=False)
    for name, value in plain.items():
        if torch.is_tensor(value):
            assert torch.equal(out[name], value), name


def test_everything_that_reads_maps_reads_queries(models):
    """What the window computes of maps (thumbnails, changes, tables) it computes of queries and keys as well."""
    texts = [long_input("llama"), long_input("llama", 7)]
    before, after = (capture(models("llama"), text, queries=True).attention for text in texts)
    before_maps, after_maps = (capture(models("llama"), text).attention for text in texts)
    np.testing.assert_allclose(maps.atlas(before, 8), maps.atlas(before_maps, 8), atol=1e-6)
    np.testing.assert_allclose(maps.difference(before, after), maps.difference(before_maps, after_maps), atol=1e-6)
    np.testing.assert_allclose(
        maps.js_divergence(before, after), maps.js_divergence(before_maps, after_maps), atol=1e-5
    )
    np.testing.assert_allclose(before[:, :, 3:5, 7], before_maps[:, :, 3:5, 7], atol=1e-6)


def test_a_short_text_is_kept_as_maps(models):
    inputs = {name: value[:, -16:] for name, value in long_input("bert").items()}
    assert isinstance(capture(models("bert"), inputs, queries=True).attention, np.ndarray)


def test_masks_are_kept_in_few_words(models):
    """A mask of 32,768 tokens would be 1 GiB: as band and padding it is nothing."""
    window = capture(models("mistral"), long_input("mistral", 7), queries=True).attention.layers[0].mask
    assert window.band[0] == -3 and window.table is None and (~window.keys).sum() == 7
    bias = capture(models("t5"), long_input("t5"), queries=True).attention["encoder"].layers
    assert bias[0].mask is bias[1].mask and bias[0].mask.table.shape == (4, N_TOKENS, N_TOKENS)


@pytest.mark.parametrize("form", ["bool", "float", "random"])
def test_any_form_of_mask(form):
    n = 24
    generator = torch.Generator().manual_seed(1)
    query, key, value = (torch.randn(1, heads, n, 4, generator=generator) for heads in (4, 2, 2))
    mask = torch.rand(n, n, generator=generator) > 0.5 if form == "random" else torch.ones(n, n).tril().bool()
    mask[5] = False
    module = type("Attention", (torch.nn.Module,), {"num_key_value_groups": 2, "is_causal": False})().eval()
    module.__class__.__module__ = "transformers.models.llama.modeling_llama"
    given = mask[None, None] if form != "float" else torch.where(mask, 0.25, torch.finfo(torch.float32).min)[None, None]
    formula = interface.eager_function(module)
    output, weights = formula(
        module, query, key, value, torch.where(mask, 0.25 * (form == "float"), -torch.inf), scaling=0.5
    )
    call = streaming.Call("a", module, query, key, value, given, {"scaling": 0.5}, output, formula, False)
    record = streaming.read(call, Recorder({}, 1 << 20, queries=True))
    assert isinstance(record.maps, qk.QueryKeys) and record.qk_error < 1e-6
    np.testing.assert_allclose(np.asarray(record.maps), weights[0].nan_to_num(0), atol=1e-6)
    assert (np.asarray(record.maps)[:, 5] == 0).all()


@pytest.mark.parametrize("mapped", [False, True], ids=["few", "many"])
@pytest.mark.parametrize("spooled", [False, True])
def test_saved_queries_are_read_back_and_many_as_memory_maps(models, tmp_path, monkeypatch, spooled, mapped):
    monkeypatch.setattr(qk, "MAP_FROM_BYTES", 1000 if mapped else 1 << 30)
    inputs = long_input("llama", 7)
    spool = tmp_path if spooled else None
    captured = capture(models("llama"), inputs, 0 if spooled else 1 << 30, queries=True, spool=spool)
    assert isinstance(captured.attention.layers[0].query, np.memmap) == spooled
    save(captured, ["x"] * N_TOKENS, tmp_path)
    saved = maps.load(tmp_path)
    assert isinstance(saved.maps["attention"].layers[0].query, np.memmap) == mapped
    np.testing.assert_array_equal(np.asarray(saved.maps["attention"]), np.asarray(captured.attention))
    n_bytes = sum(path.stat().st_size for path in tmp_path.glob("*.npy"))
    assert n_bytes < captured.attention.size * 4 / 2
    # A later, short answer in the same folder is not mistaken for this one.
    save(capture(models("llama"), inputs), ["x"] * N_TOKENS, tmp_path)
    assert isinstance(maps.load(tmp_path).maps["attention"], np.ndarray)


def test_queries_are_kept_by_themselves_where_maps_exceed_the_budget(models, tmp_path):
    model, inputs = models("llama"), long_input("llama")
    needed = 2 * 4 * N_TOKENS**2 * 4
    assert isinstance(capture(model, inputs, needed, spool=tmp_path).attention, np.ndarray)
    layers = capture(model, inputs, needed - 1, spool=tmp_path).attention.layers
    assert all(isinstance(layer, qk.QueryKeys) for layer in layers) and not list(tmp_path.iterdir())


def test_maps_beyond_the_budget_go_to_the_folder(models, tmp_path):
    inputs = long_input("gemma2", 7)
    with pytest.raises(CaptureRefused, match="would take"):
        capture(models("gemma2"), inputs, budget_bytes=1000, queries=True)
    captured = capture(models("gemma2"), inputs, budget_bytes=4 * N_TOKENS**2 * 4, spool=tmp_path)
    assert captured.checks["verified"]
    assert [isinstance(layer, np.memmap) for layer in captured.attention.layers] == [False, True]
    np.testing.assert_array_equal(np.asarray(captured.attention), capture(models("gemma2"), inputs).attention)


@pytest.mark.parametrize("rows", [1, 7, 60])
@pytest.mark.parametrize("family", ["bert", "mistral", "gemma2", "t5"])
def test_chunks_of_rows_are_the_map(models, family, rows, monkeypatch):
    n_heads = 4
    monkeypatch.setattr(streaming, "CHUNK_BYTES", rows * 4 * n_heads * N_TOKENS)
    model, inputs = models(family), long_input(family, 7)
    own, real = eager_maps(model, inputs), inputs["attention_mask"][0].bool().numpy()
    captured = capture(model, inputs)
    assert captured.checks["verified"]
    for kind, values in by_kind(captured).items():
        queries = real if kind in ("attention", "encoder") else slice(None)
        np.testing.assert_allclose(values[:, :, queries], own[kind][:, :, queries], rtol=0, atol=1e-5)


def test_sixteen_bits_are_files_of_sixteen_bits(tmp_path):
    model = make_model("llama").to(torch.bfloat16)
    captured = capture(model, long_input("llama"), queries=True)
    full = capture(model, long_input("llama"))
    assert captured.attention.layers[0].query.dtype == np.float16
    assert captured.checks["verified"] and captured.checks["bits"] == 16
    np.testing.assert_allclose(np.asarray(captured.attention), full.attention, atol=1e-3)
    assert capture(make_model("llama"), long_input("llama"), queries=True).checks["bits"] == 32


# Sabotage: every check must be able to turn red.


@pytest.mark.parametrize("error", ["scale", "lse", "mask"])
def test_wrong_queries_are_not_verified(models, monkeypatch, error):
    def kept(array, recorder):
        changed = {"scale": array * 1.01, "lse": array + 0.01, "mask": array}[error]
        return changed if (array.ndim == 2) == (error == "lse") else array

    monkeypatch.setattr(streaming, "_kept", kept)
    if error == "mask":
        monkeypatch.setattr(streaming, "_compact", lambda *_: qk.Mask())
        monkeypatch.setattr(streaming, "QK_BOUND", 9.0)
    checks = capture(models("llama"), long_input("llama", 7), queries=True).checks
    assert not checks["verified"] and checks["qk_error"] > 1e-5
    assert error != "mask" or (checks["causal_leak"] > 0 and checks["padding_leak"] > 0)
    assert error != "lse" or checks["row_sum_error"] > 1e-3


def test_another_formula_is_kept_as_maps(models, monkeypatch):
    """What queries and keys can't say (here: a factor unknown to them) is found by the sample of rows."""
    original = interface.eager_function

    def find(module):
        return lambda *args, scaling, **options: original(module)(*args, scaling=scaling * 2, **options)

    monkeypatch.setattr(interface, "eager_function", find)
    captured = capture(models("llama"), long_input("llama"), queries=True)
    assert isinstance(captured.attention, np.ndarray)
    assert captured.checks["output_error"] > 1e-3 and not captured.checks["verified"]


def test_names_of_layers_stay_in_their_folder(models, tmp_path):
    save(capture(models("llama"), long_input("llama"), queries=True), ["x"] * N_TOKENS, tmp_path)
    file = tmp_path / qk.INDEX
    index = json.loads(file.read_text())
    index["attention"][0]["query"] = "../elsewhere.npy"
    file.write_text(json.dumps(index))
    with pytest.raises(ValueError, match="outside"):
        maps.load(tmp_path)
