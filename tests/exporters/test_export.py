"""Every format holds what was trained, and the check notices when it does not."""

import contextlib
import errno
import io
import json
import re
import shutil
import sys

import numpy as np
import pytest

from studio.core.reasons import Failure
from studio.core.registry import family
from studio.exporters import folder as export_folder
from studio.exporters import onnx_program, onnx_rewrites
from studio.exporters.folder import export_model
from studio.exporters.reference import Reference
from studio.exporters.runners import OnnxRunner, TorchRunner
from studio.exporters.verification import verify, verify_in_fresh_process

IGNORE = lambda *_: None  # noqa: E731


def model_file(folder):
    return next(path for path in folder.iterdir() if path.suffix in (".onnx", ".safetensors"))


def test_export_is_verified_in_a_fresh_process(exported):
    format_id, folder, result, phases = exported
    assert result["verified"] and not result["problems"], result["problems"]
    assert result["directory"] == str(folder) and result["format"] == format_id
    assert result["n_rows"] == 240
    assert result["metric"] >= 0.9 and abs(result["metric"] - result["reference_metric"]) <= 0.01
    assert [1, 1] in result["shapes_checked"] and [8, 17] in result["shapes_checked"]
    assert [8, 64] in result["shapes_checked"]
    assert result["size_bytes"] == model_file(folder).stat().st_size
    assert result["latency_ms"] > 0 and result["reference_latency_ms"] > 0
    assert phases[0] == "exporting" and phases[-1] == ("verifying", 1.0)
    assert json.loads((folder / "verification.json").read_text())["verified"] is True


def test_folder_is_complete_and_alone(exported):
    _, folder, _, _ = exported
    assert {"config.json", "tokenizer.json", "README.md", "verification.json"} <= {p.name for p in folder.iterdir()}
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]


def test_code_in_the_card_runs(exported):
    _, folder, _, _ = exported
    code = re.search(r"```python\n(.*?)```", (folder / "README.md").read_text(encoding="utf-8"), re.DOTALL).group(1)
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        code = code.replace("path/to/this/folder", folder.as_posix()).replace("Write a text here.", "the cat word1")
        exec(code, {})
    assert "animals" in said.getvalue()


def garble(folder):
    path = model_file(folder)
    data = bytearray(path.read_bytes())
    for i in range(len(data) // 3, len(data) * 2 // 3):
        data[i] ^= 0x5A
    path.write_bytes(data)


def truncate(folder):
    path = model_file(folder)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def negate_a_matrix(folder):
    """The file stays well-formed; only the numbers are wrong."""
    path = model_file(folder)
    if path.suffix == ".safetensors":
        from safetensors.numpy import load_file, save_file

        weights = load_file(path)
        weights["bert.encoder.layer.0.attention.output.dense.weight"] *= -1
        save_file(weights, path, metadata={"format": "pt"})
        return
    import onnx

    program = onnx.load(path)
    square = next(
        t for t in program.graph.initializer if list(t.dims) == [32, 32] and t.data_type in (1, 2, 3)
    )  # float32, uint8, int8
    square.CopyFrom(onnx.numpy_helper.from_array(-onnx.numpy_helper.to_array(square), square.name))
    onnx.save(program, path)


def swap_labels(folder):
    path = folder / "config.json"
    config = json.loads(path.read_text())
    config["id2label"]["0"], config["id2label"]["1"] = config["id2label"]["1"], config["id2label"]["0"]
    path.write_text(json.dumps(config))


def replace_tokenizer(folder):
    path = folder / "tokenizer.json"
    content = json.loads(path.read_text())
    words = content["model"]["vocab"]
    words["cat"], words["dog"] = words["dog"], words["cat"]
    path.write_text(json.dumps(content))


@pytest.mark.parametrize("damage", [garble, truncate, negate_a_matrix, swap_labels, replace_tokenizer])
def test_damage_is_noticed(exported, reference, tmp_path, damage):
    format_id, folder, _, _ = exported
    copy = shutil.copytree(folder, tmp_path / "copy")
    damage(copy)
    verdict = verify(copy, reference, format_id)
    assert verdict["verified"] is False and verdict["problems"]
    if damage is swap_labels:
        assert verdict["labels_equal"] is False and verdict["tokenizer_equal"] is True
    if damage is replace_tokenizer:
        assert verdict["tokenizer_equal"] is False and verdict["labels_equal"] is True


def test_process_that_dies_has_not_verified(reference, tmp_path):
    verdict = verify_in_fresh_process(tmp_path, reference, "no-such-format", IGNORE)
    assert verdict["verified"] is False and "status 2" in verdict["problems"][0]


def test_unverified_export_leaves_nothing_behind(model, tokenizer, measured, origin, tmp_path, monkeypatch):
    """An exporter whose file arrives broken: the fresh process says so, and no folder takes the name."""
    exporter = family("exporters")["safetensors"]
    honest = type(exporter).export

    def broken(self, model, tokenizer, directory, *others):
        honest(self, model, tokenizer, directory, *others)
        truncate(directory)

    monkeypatch.setattr(type(exporter), "export", broken)
    with pytest.raises(Failure) as failure:
        export_model(model, tokenizer, exporter.Config(), tmp_path / "out", measured, origin, lambda _: IGNORE)
    assert failure.value.problem.reason == "export-unverified"
    assert "loading" in str(failure.value)
    assert list(tmp_path.iterdir()) == []


def test_stop_ends_the_export_and_leaves_nothing(model, tokenizer, measured, origin, tmp_path):
    class Stop(Exception):
        pass

    def progress(phase):
        def report(done, total):
            if phase == "verifying":
                raise Stop

        return report

    with pytest.raises(Stop):
        config = family("exporters")["safetensors"].Config()
        export_model(model, tokenizer, config, tmp_path / "out", measured, origin, progress)
    assert list(tmp_path.iterdir()) == []


def test_folder_with_files_is_left_alone(model, tokenizer, measured, origin, tmp_path):
    (tmp_path / "mine.txt").write_text("precious")
    with pytest.raises(Failure) as failure:
        config = family("exporters")["safetensors"].Config()
        export_model(model, tokenizer, config, tmp_path, measured, origin, lambda _: IGNORE)
    assert failure.value.problem.reason == "target-exists"
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_reference_survives_its_file(reference, model, tokenizer, measured):
    """Rows come back as the tokenizer gave them, and padded to the left where the tokenizer pads so."""
    loaded = Reference.load(reference)
    texts = list(measured.rows.fields["text"][:5])
    encoded = tokenizer(texts, truncation=True, max_length=measured.max_length)
    assert [row["input_ids"][0].tolist() for row in loaded.rows[:5]] == encoded["input_ids"]
    loaded.facts["padding"]["side"] = "left"
    batch = loaded.padded([0, 1, 2])
    for i, row in enumerate([0, 1, 2]):
        size = loaded.rows[row]["input_ids"].size
        assert batch["input_ids"][i, -size:].tolist() == encoded["input_ids"][row]
        assert not batch["attention_mask"][i, : batch["attention_mask"].shape[1] - size].any()


def test_token_scales_change_nothing_but_rounding(model, tokenizer, rows, tmp_path):
    texts = ["word1 word2", "word3 cat word4 word5"]
    program, _ = onnx_program.trace(model, tokenizer(texts, padding=True, return_tensors="pt"))
    onnx_rewrites.scale_tokens(program)
    assert sum(node.op_type == "ReduceMax" for node in program.graph) == 4  # q, k, v share one; 6 of 12 matrices
    onnx_program.save(program, tmp_path)
    batch = dict(tokenizer([text for text, _ in rows[:16]], padding=True, return_tensors="np"))
    expected = TorchRunner(model)(batch)
    assert np.abs(OnnxRunner(tmp_path / "model.onnx", 1)(batch) - expected).max() < 1e-4 * np.abs(expected).max()


def test_export_without_room_says_so_and_leaves_nothing(tmp_path):
    """Weights are put in place as a whole: what had no room is gone when it is told, and there seems to be some."""
    said = f"I/O error: no space (os error {112 if sys.platform == 'win32' else errno.ENOSPC})"
    with pytest.raises(Failure) as caught, export_folder._work_folder(tmp_path / "out" / "model") as work:
        (work / "half").touch()
        raise RuntimeError(said)
    assert caught.value.problem.reason == "no-room" and list((tmp_path / "out").iterdir()) == []
