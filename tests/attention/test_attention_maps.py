"""The numbers a page shows of saved maps."""

import csv
import io
import json
import subprocess
import sys
import zipfile
from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny_models import make_input, make_model

from studio.attention import maps
from studio.attention.capture import capture, save


def random_maps(seed=0, shape=(2, 3, 7, 7)):
    values = np.random.default_rng(seed).gamma(0.3, size=shape)
    return (values / values.sum(axis=-1, keepdims=True)).astype(np.float32)


def test_entropy_of_even_and_of_single_looks():
    even = np.full((1, 1, 4, 8), 1 / 8, dtype=np.float32)
    np.testing.assert_allclose(maps.entropy(even), np.log(8), rtol=1e-6)
    assert (maps.entropy(np.eye(5, dtype=np.float32)[None, None]) == 0).all()


def test_js_divergence_is_a_bounded_symmetric_distance():
    a, b = random_maps(1), random_maps(2)
    assert np.array_equal(maps.js_divergence(a, b), maps.js_divergence(b, a))
    assert (maps.js_divergence(a, a) == 0).all()
    assert (maps.js_divergence(a, b) > 0.01).all()
    # Looks that share no key are as far apart as can be.
    eye = np.eye(6, dtype=np.float32)[None, None]
    np.testing.assert_allclose(maps.js_divergence(eye, np.roll(eye, 1, axis=-1)), np.log(2), rtol=1e-12)
    # By hand: one row, (1, 0) against (.5, .5).
    one, half = np.array([[[[1, 0]]]], dtype=np.float32), np.array([[[[0.5, 0.5]]]], dtype=np.float32)
    by_hand = 0.5 * np.log(1 / 0.75) + 0.5 * (0.5 * np.log(0.5 / 0.75) + 0.5 * np.log(0.5 / 0.25))
    np.testing.assert_allclose(maps.js_divergence(one, half), by_hand, rtol=1e-12)


def test_padding_rows_count_nowhere():
    a, b = random_maps(1), random_maps(2)
    padded_a, padded_b = (np.pad(x, ((0, 0), (0, 0), (0, 3), (0, 3))) for x in (a, b))
    np.testing.assert_allclose(maps.js_divergence(padded_a, padded_b), maps.js_divergence(a, b), rtol=1e-9)
    for name, values in maps.head_statistics(a).items():
        np.testing.assert_allclose(maps.head_statistics(padded_a)[name], values, rtol=1e-5, err_msg=name)


def test_difference_is_after_minus_before_of_equal_shapes():
    a, b = random_maps(1), random_maps(2)
    np.testing.assert_array_equal(maps.difference(a, b), b - a)
    with pytest.raises(ValueError, match="can't be compared"):
        maps.difference(a, b[..., :3])


def test_head_statistics_name_the_heads_they_should():
    previous, own, first = np.eye(6, k=-1), np.eye(6), np.zeros((6, 6))
    previous[0, 0] = first[:, 0] = 1
    table = maps.head_statistics(np.stack([previous, own, first])[None].astype(np.float32))
    assert {name: values.shape for name, values in table.items()} == dict.fromkeys(table, (1, 3))
    np.testing.assert_allclose(table["previous"], [[1, 0, 1 / 5]])
    np.testing.assert_allclose(table["self"], [[1 / 6, 1, 1 / 6]])
    np.testing.assert_allclose(table["sink"], [[2 / 6, 1 / 6, 1]])
    np.testing.assert_allclose(table["distance"], [[5 / 6, 0, 15 / 6]])
    np.testing.assert_allclose(table["entropy"], 0)
    np.testing.assert_allclose(table["max"], 1)
    assert "previous" not in maps.head_statistics(random_maps(shape=(1, 2, 4, 9)))


def test_heads_are_ordered_by_any_statistic():
    assert maps.head_order(np.array([[0.1, 0.9], [0.5, 0.9]])).tolist() == [1, 3, 2, 0]
    assert maps.head_order(np.array([[0.1, 0.9], [0.5, 0.9]]), descending=False).tolist() == [0, 2, 1, 3]


def test_atlas_puts_each_head_in_its_place():
    values = np.zeros((2, 3, 50, 50), dtype=np.float32)
    values[1, 2, 49, 0] = 0.8
    picture = maps.atlas(values, 8)
    assert picture.shape == (16, 24) and picture.dtype == np.float32
    assert np.argwhere(picture).tolist() == [[15, 16]] and picture[15, 16] == np.float32(0.8)
    # The mean hides a single cell: its last thumbnail cell stands for 7 x 6 of the map.
    np.testing.assert_allclose(maps.atlas(values, 8, mean=True)[15, 16], 0.8 / 42, rtol=1e-5)
    assert maps.atlas(values, 8, per_head=True)[15, 16] == 1
    order = maps.head_order(values.max(axis=(2, 3)))
    assert np.argwhere(maps.atlas(values, 8, order=order)).tolist() == [[7, 0]]
    assert np.argwhere(maps.atlas(-values, 8) < 0).tolist() == [[15, 16]]


def test_atlas_repeats_small_maps_and_pools_exactly():
    np.testing.assert_array_equal(
        maps.atlas(np.array([[[[1, 2], [3, 4]]]], dtype=np.float32), 4),
        [[1, 1, 2, 2], [1, 1, 2, 2], [3, 3, 4, 4], [3, 3, 4, 4]],
    )
    values = random_maps(shape=(1, 2, 12, 12))
    blocks = values.reshape(1, 2, 4, 3, 4, 3)
    np.testing.assert_array_equal(maps.atlas(values, 4), np.hstack(list(blocks.max(axis=(3, 5))[0])))
    np.testing.assert_allclose(
        maps.atlas(values, 4, mean=True), np.hstack(list(blocks.mean(axis=(3, 5))[0])), rtol=1e-6
    )


def test_colours_come_from_the_lookup():
    lookup = np.array([0xFF000000, 0xFF112233, 0xFFFFFFFF], dtype=np.uint32)
    colours = maps.to_rgb(np.array([[-1, 0, 0.5], [1, 2, np.nan]]), lookup)
    assert colours.dtype == np.uint32
    assert colours.tolist() == [[lookup[0], lookup[0], lookup[1]], [lookup[2], lookup[2], lookup[0]]]
    assert maps.to_rgb(np.array([0.0]), lookup, low=-0.3, high=0.3).tolist() == [lookup[1]]
    assert maps.to_rgb(np.array([0.1]), lookup, gamma=0.5).tolist() == [lookup[1]]


def test_csv_reads_back_as_the_same_numbers():
    matrix, tokens = random_maps()[0, 0], ["[CLS]", "a,b", '"', "é", "=1", "\n", "[SEP]"]
    text = io.StringIO(newline="")
    csv.writer(text).writerows(maps.csv_rows(matrix, tokens, tokens))
    header, *rows = csv.reader(io.StringIO(text.getvalue(), newline=""))
    assert header[1:] == tokens and [row[0] for row in rows] == tokens
    assert np.array_equal(np.array([row[1:] for row in rows], dtype=np.float32), matrix)
    with pytest.raises(ValueError, match="does not fit"):
        next(maps.csv_rows(matrix, tokens[:3], tokens))


@pytest.mark.parametrize("family", ["bert", "bart"])
@pytest.mark.parametrize("mapped", [False, True])
def test_saved_capture_is_read_back(tmp_path, monkeypatch, family, mapped):
    monkeypatch.setattr(maps, "MAP_FROM_BYTES", 0 if mapped else 1 << 40)
    captured = capture(make_model(family), make_input(family, 0))
    save(captured, list("abcdefghijk"), tmp_path / "é 1", ids=list(range(11)), text="a b c")
    saved = maps.load(tmp_path / "é 1")

    expected = captured.attention if family == "bart" else {"attention": captured.attention}
    assert list(saved.maps) == list(expected)
    for kind, values in expected.items():
        assert isinstance(saved.maps[kind], np.memmap) == mapped
        assert saved.maps[kind].dtype == np.float32
        np.testing.assert_array_equal(saved.maps[kind], values)
    assert saved.tokens == list("abcdefghijk") and saved.facts["text"] == "a b c"
    assert saved.checks == captured.checks
    np.testing.assert_allclose(saved.facts["probabilities"], captured.probabilities)
    assert sorted(path.name for path in (tmp_path / "é 1").iterdir()) == [
        "attention.npz",
        "checks.json",
        "tokens.json",
    ]


def test_damaged_captures_are_told(tmp_path):
    captured = capture(make_model("bert"), make_input("bert", 0))
    with pytest.raises(FileNotFoundError):
        maps.load(tmp_path)
    nowhere = captured.checks | {"row_sum_error": float("nan"), "verified": False}
    save(replace(captured, checks=nowhere), ["a"] * 11, tmp_path)
    assert json.loads((tmp_path / "checks.json").read_text(), parse_constant=pytest.fail)["row_sum_error"] is None
    file = tmp_path / "attention.npz"
    file.write_bytes(file.read_bytes()[:-200])
    with pytest.raises(ValueError, match=tmp_path.name):
        maps.load(tmp_path)
    with pytest.raises(zipfile.BadZipFile):
        zipfile.ZipFile(file)


def test_window_reads_maps_without_torch():
    modules = ", ".join(f"studio.attention.{name}" for name in ("maps", "qk", "heads", "paths", "coalitions"))
    code = f"import sys, {modules}; print(sorted({{'torch', 'transformers', 'PySide6'}} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_token_facts_of_a_fast_tokenizer():
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    from studio.attention.capture import token_facts

    raw = Tokenizer(models.WordPiece({"[UNK]": 0, "[CLS]": 1, "[SEP]": 2, "good": 3, "##ness": 4, "me": 5}))
    raw.pre_tokenizer = pre_tokenizers.Whitespace()
    raw.post_processor = processors.BertProcessing(("[SEP]", 2), ("[CLS]", 1))
    raw.model.unk_token = "[UNK]"
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=raw, cls_token="[CLS]", sep_token="[SEP]", unk_token="[UNK]")
    encoded = tokenizer("goodness me", return_tensors="pt", return_token_type_ids=False)
    assert torch.is_tensor(encoded["input_ids"])
    assert token_facts(tokenizer, encoded, "goodness me") == {
        "tokens": ["[CLS]", "good", "##ness", "me", "[SEP]"],
        "ids": [1, 3, 4, 5, 2],
        "special": [True, False, False, False, True],
        "text": "goodness me",
        "word_ids": [None, 0, 0, 1, None],
        "segments": [None, 0, 0, 0, None],
        "offsets": [(0, 0), (0, 4), (4, 8), (9, 11), (0, 0)],
        "mask_token": None,
    }
