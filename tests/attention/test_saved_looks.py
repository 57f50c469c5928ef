"""An inspection as one file: what comes back is what was saved, and what is not so is refused or called so."""

import errno
import io
import json
import os
import pickle
import shutil
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import pytest

from studio.attention import look_file
from studio.attention.capture import Capture, save
from studio.attention.look_file import LookFacts, open_look, save_look
from studio.attention.qk import Layers, Mask, QueryKeys
from studio.core.locks import HELD
from studio.core.reasons import Failure

TOKENS = ["<s>", "a", "b", "c", "d"]
CHECKS = {
    "row_sum_error": 1e-7, "causal_leak": 0.0, "logit_difference": 0.0, "n_layers": 2, "n_heads": 3, "bits": 32,
    "verified": True,
}  # fmt: skip


def causal_maps(seed: int) -> np.ndarray:
    weights = np.tril(np.random.default_rng(seed).random((2, 3, 5, 5)) + 0.01)
    return (weights / weights.sum(axis=-1, keepdims=True)).astype(np.float32)


MAPS = {"before": causal_maps(1), "after": causal_maps(2)}


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    for state, values in MAPS.items():
        save(Capture(values, None, None, CHECKS, {"attention": []}), TOKENS, tmp_path / state, special=[False] * 5)
    path = tmp_path / "Übung 1.attune-look"
    facts = LookFacts(
        subject="tiny", text="abcd", probabilities={"after": {"bad": 0.9}}, states=["before", "after"],
        view={"heads": [[1, 2]]},
    )  # fmt: skip
    save_look(path, facts, {state: tmp_path / state for state in MAPS})
    return path


def rewritten(path: Path, changed: dict[str, bytes | None] | None = None, compress: int = zipfile.ZIP_STORED) -> Path:
    """Write the file anew, with some members changed, added or (None) left out: what another program could do."""
    target = path.with_name("changed.attune-look")
    with zipfile.ZipFile(path) as source:
        members = {name: source.read(name) for name in source.namelist()} | (changed or {})
    with zipfile.ZipFile(target, "w", compress) as archive:
        for name, content in members.items():
            if content is not None:
                archive.writestr(name, content)
    return target


def arrays(**named: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.savez(file, **named)
    return file.getvalue()


def reason(path: Path) -> str:
    with pytest.raises(Failure) as failed:
        open_look(path)
    return failed.value.problem.reason


def test_what_is_opened_is_what_was_saved(saved: Path) -> None:
    look = open_look(saved)
    assert (look.facts.subject, look.facts.text, look.facts.view) == ("tiny", "abcd", {"heads": [[1, 2]]})
    for state, values in MAPS.items():
        np.testing.assert_array_equal(look.captures[state].maps["attention"], values)
        assert look.captures[state].tokens == TOKENS and look.captures[state].checks["verified"] is True
    with zipfile.ZipFile(saved) as archive:
        assert {info.compress_type for info in archive.infolist()} == {zipfile.ZIP_STORED}
    home = Path(look.home.name)
    assert home.is_dir()
    # Saved again from where it was unpacked, it is the same.
    again = saved.with_name("again.attune-look")
    save_look(again, look.facts, look.directories)
    np.testing.assert_array_equal(open_look(again).captures["after"].maps["attention"], MAPS["after"])
    del look
    assert not home.exists()


def test_what_a_killed_window_unpacked_is_cleared_and_what_is_open_stays(saved: Path, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    look = open_look(saved)
    dead = Path(shutil.copytree(look.home.name, tmp_path / "attune-look-dead"))
    for folder in (dead, Path(look.home.name)):
        os.utime(folder / HELD, (0, 0))
    assert open_look(saved).facts == look.facts
    assert Path(look.home.name).is_dir() and not dead.exists()


def test_maps_that_go_while_they_are_saved_are_said_to_be_gone(saved: Path, monkeypatch) -> None:
    look = open_look(saved)
    real = look_file._add

    def add(*arguments) -> str:
        shutil.rmtree(look.directories["after"], ignore_errors=True)
        return real(*arguments)

    monkeypatch.setattr(look_file, "_add", add)
    with pytest.raises(Failure) as failed:
        save_look(saved.with_name("again.attune-look"), look.facts, look.directories)
    assert failed.value.problem.reason == "look-gone" and not list(saved.parent.glob("*again*"))


def test_queries_and_keys_of_a_long_text_come_back(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    query, key = rng.standard_normal((2, 40, 8), dtype=np.float32), rng.standard_normal((1, 40, 8), dtype=np.float32)
    layer = QueryKeys(query, key, np.zeros((2, 40)), 0.3, Mask((-40, 0)))
    lse = np.log(np.stack([layer[head] for head in range(2)]).astype(np.float64).sum(-1))
    layer = QueryKeys(query, key, lse, 0.3, Mask((-40, 0)))
    checks = CHECKS | {"n_layers": 1, "n_heads": 2}
    save(Capture(Layers([layer]), None, None, checks, {}), ["t"] * 40, tmp_path / "after")
    path = tmp_path / "long.attune-look"
    save_look(path, LookFacts(states=["after"]), {"after": tmp_path / "after"})
    look = open_look(path)
    assert look.captures["after"].checks["verified"] is True
    np.testing.assert_array_equal(look.captures["after"].maps["attention"][0, 1], layer[1])
    with np.load(io.BytesIO(arrays(lse=lse + 0.01))) as wrong:
        file = io.BytesIO()
        np.save(file, wrong["lse"])
    changed = open_look(rewritten(path, {"after/attention-0-lse.npy": file.getvalue()}))
    assert changed.captures["after"].checks["verified"] is False
    assert changed.captures["after"].checks["row_sum_error"] > 5e-3


@pytest.mark.parametrize(
    ("change", "row_error", "leak"),
    [
        (lambda m: m[1, 2, 3].__imul__(1.5), 0.5, 0.0),
        (lambda m: m[0, 0, 1].__setitem__(slice(None), [0.4, 0.4, 0.2, 0, 0]), 0.0, 0.2),
        (lambda m: m[0, 0, 1].__setitem__(slice(None), [1.5, -0.5, 0, 0, 0]), None, 0.0),
        (lambda m: m[0, 0, 1].__setitem__(0, np.nan), None, 0.0),
        (lambda m: m[0, 0, 1].__setitem__(slice(None), m[0, 0, 1][[1, 0, 2, 3, 4]]), 0.0, 0.0),  # sums to 1 as before
    ],
)
def test_changed_maps_are_not_shown_as_fact(saved: Path, change, row_error: float | None, leak: float) -> None:
    tampered = MAPS["after"].copy()
    change(tampered)
    look = open_look(rewritten(saved, {"after/attention.npz": arrays(attention=tampered)}))
    checks = look.captures["after"].checks
    assert checks["verified"] is False and look.captures["before"].checks["verified"] is True
    assert checks["row_sum_error"] == (None if row_error is None else pytest.approx(row_error, abs=1e-5))
    assert checks["causal_leak"] == pytest.approx(leak)


def test_what_failed_its_check_stays_so_and_a_file_that_says_otherwise_is_not_believed(saved: Path) -> None:
    claimed = CHECKS | {"n_heads": 4}
    look = open_look(rewritten(saved, {"after/checks.json": json.dumps(claimed).encode()}))
    assert look.captures["after"].checks["verified"] is False and look.captures["after"].checks["n_heads"] == 3


def test_damaged_foreign_and_newer_files_are_told_apart(saved: Path, tmp_path: Path) -> None:
    whole = saved.read_bytes()
    cut = tmp_path / "cut.attune-look"
    cut.write_bytes(whole[: len(whole) // 2])
    assert reason(cut) == "look-damaged"
    at = whole.index(MAPS["after"][1].tobytes()[:64])
    cut.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
    assert reason(cut) == "look-damaged"  # a bit that fell over
    cut.write_bytes(b"text,label\n")
    assert reason(cut) == "look-foreign"
    with zipfile.ZipFile(cut, "w") as archive:
        archive.writestr("word/document.xml", "<x/>")
    assert reason(cut) == "look-foreign"
    assert reason(tmp_path / "absent.attune-look") == "look-missing"
    assert reason(tmp_path) in ("look-unreadable", "look-missing")  # a folder
    with zipfile.ZipFile(saved) as archive:
        facts = json.loads(archive.read("look.json"))
    newer = rewritten(saved, {"look.json": json.dumps(facts | {"version": 2, "attune": "9.0"}).encode()})
    assert reason(newer) == "look-newer"
    for wrong in (facts | {"states": []}, facts | {"states": ["after", "after"]}, facts | {"text": 5}, []):
        assert reason(rewritten(saved, {"look.json": json.dumps(wrong).encode()})) in ("look-damaged", "look-foreign")
    assert reason(rewritten(saved, {"look.json": b"[" * 200_000})) == "look-damaged"
    assert reason(rewritten(saved, {"after/attention.npz": None})) == "look-damaged"


def huge_header(shape: str, descr: str = "<f4") -> bytes:
    header = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode() + b"\0" * 64


def npz(content: bytes, name: str = "attention.npy", compress: int = zipfile.ZIP_STORED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compress) as archive:
        archive.writestr(name, content)
    return file.getvalue()


class Bomb:
    def __reduce__(self) -> tuple:
        return (pytest.fail, ("a pickle was executed",))


def test_what_wants_more_than_to_be_looked_at_is_not_opened(saved: Path, tmp_path: Path) -> None:
    assert reason(rewritten(saved, compress=zipfile.ZIP_DEFLATED)) == "look-unsafe"
    for name in ("../evil-1.npy", "/evil-1.npy", "after/run.py", "after/../../evil-1.npy", "after\\evil-1.npy"):
        assert reason(rewritten(saved, {name: b"x"})) == "look-unsafe", name
    objects = io.BytesIO()
    np.save(objects, np.array([Bomb()], dtype=object), allow_pickle=True)
    tried = {
        "an array of objects": npz(objects.getvalue()),
        "a pickle": npz(pickle.dumps(Bomb())),
        "a huge array": npz(huge_header("(99999999, 999999, 99999, 999)")),
        "less than nothing": npz(huge_header("(-1, -1, 4, 4)")),
        "words": npz(huge_header("(1,)", "<U16")),
        "code in its header": npz(b"\x93NUMPY\x01\x00\x14\x00__import__('os')   \n"),
        "a compressed array": npz(b"\0" * 100_000, compress=zipfile.ZIP_DEFLATED),
        "a path": npz(huge_header("(16,)"), "../evil.npy"),
        "nothing": npz(b""),
        "no zip": b"PK nothing",
        "another shape": arrays(attention=MAPS["after"][:, :, :4]),
        "whole numbers": arrays(attention=np.ones((2, 3, 5, 5), dtype=bool)),
    }
    for what, content in tried.items():
        found = reason(rewritten(saved, {"after/attention.npz": content}))
        assert found in ("look-unsafe", "look-damaged"), what
    index = {"attention": [{"map": "../../../evil.npy"}]}
    for wrong in (index, {"attention": [{"map": None}]}, {"attention": []}, {"attention": 3}, [], "x"):
        assert reason(rewritten(saved, {"after/layers.json": json.dumps(wrong).encode()})) == "look-damaged"
    for wrong in ({"tokens": "abcde"}, {"tokens": TOKENS, "special": [True]}, {"tokens": []}, [1], {}):
        assert reason(rewritten(saved, {"after/tokens.json": json.dumps(wrong).encode()})) == "look-damaged"
    assert not [path for path in tmp_path.parent.rglob("evil*")]


def test_a_full_disk_is_told_and_leaves_the_former_file(saved: Path, tmp_path: Path, monkeypatch) -> None:
    former, sources = saved.read_bytes(), {"after": tmp_path / "after"}

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(look_file, "_add", full)
    with pytest.raises(Failure) as failed:
        save_look(saved, LookFacts(states=["after"]), sources)
    assert failed.value.problem.reason == "no-room" and saved.read_bytes() == former
    assert not list(tmp_path.glob(".*.tmp"))
    monkeypatch.setattr(look_file, "free_bytes", lambda path: 10)
    with pytest.raises(Failure) as failed:
        open_look(saved)
    assert failed.value.problem.reason == "no-room"
    with pytest.raises(Failure) as failed:
        save_look(saved, LookFacts(states=["after"]), {"after": tmp_path / "gone"})
    assert failed.value.problem.reason == "look-gone"
