"""Texts are tokenised once, by content and settings."""

from pathlib import Path

import pyarrow as pa
import pytest

from studio.core.registry import family
from studio.engine import models, tokens
from studio.sources.texts import Texts
from studio.tasks.base import Rows


def texts_of(*texts: str) -> Texts:
    return Texts(pa.chunked_array([list(texts)]))


TEXTS = texts_of("the apple is red", "a ripe pear in a bowl of tin", "rain")
TASK = family("tasks")["text-classification"]
ROWS = Rows({"text": TEXTS}, ["fruit", "fruit", "water"], [0, 1, 2])
LABELS = ["fruit", "water"]


class Counted:
    """A tokenizer that counts the texts it is given."""

    def __init__(self, tokenizer: object):
        self._tokenizer, self.n_texts = tokenizer, 0

    def __getattr__(self, name: str) -> object:
        return getattr(self._tokenizer, name)

    def __call__(self, texts: list[str], pairs: object, **options: object) -> object:
        self.n_texts += len(texts)
        return self._tokenizer(texts, pairs, **options)


@pytest.fixture
def tokenizer(tiny_model: Path) -> Counted:
    return Counted(models.load_tokenizer(tiny_model))


def test_second_call_maps_the_first_ones_file(workspace: Path, tokenizer: Counted, tiny_model: Path, tmp_path) -> None:
    first, n_cut = tokens.tokenise(TASK, ROWS, LABELS, tokenizer, 8, workspace)
    assert n_cut == 1 and first["length"][:] == [6, 8, 3] and first["labels"][:] == [0, 0, 1]
    assert tokenizer.n_texts == 3
    again, n_cut = tokens.tokenise(TASK, ROWS, LABELS, tokenizer, 8, workspace)
    assert (again.to_dict(), n_cut, tokenizer.n_texts) == (first.to_dict(), 1, 3)
    assert again.cache_files, "mapped, not in memory"
    tokenizer.save_pretrained(tmp_path)  # the copy that a trained model carries
    tokens.tokenise(TASK, ROWS, LABELS[::-1], Counted(models.load_tokenizer(tmp_path)), 8, workspace)
    assert len(list((workspace / "cache" / "tokens").glob("*.arrow"))) == 1


def test_other_content_or_settings_are_made_anew(workspace: Path, tokenizer: Counted) -> None:
    tokens.tokenise(TASK, ROWS, LABELS, tokenizer, 8, workspace)
    longer, n_cut = tokens.tokenise(TASK, ROWS, LABELS, tokenizer, 16, workspace)
    assert n_cut == 0 and longer["length"][:] == [6, 10, 3]
    texts = texts_of("the apple is", "red a ripe pear in a bowl of tin", "rain")
    other = Rows({"text": texts}, ROWS.gold, ROWS.indices)
    assert tokens.tokenise(TASK, other, LABELS, tokenizer, 16, workspace)[0]["length"][:] == [5, 11, 3]


def test_half_a_file_is_made_again(workspace: Path, tokenizer: Counted) -> None:
    first, _ = tokens.tokenise(TASK, ROWS, LABELS, tokenizer, 8, workspace)
    expected = first.to_dict()
    file = next((workspace / "cache" / "tokens").glob("*.arrow"))
    data = file.read_bytes()
    del first
    file.write_bytes(data[: len(data) // 2])
    assert tokens.tokenise(TASK, ROWS, LABELS, tokenizer, 8, workspace)[0].to_dict() == expected


def test_what_is_derived_from_one_data_set_is_not_taken_for_another(workspace: Path, tokenizer: Counted) -> None:
    for n_rows in (3, 40, 7):
        rows = Rows({"text": texts_of(*list(TEXTS) * 14)}, ROWS.gold * 14, list(range(42))).select(range(n_rows))
        dataset, _ = tokens.tokenise(TASK, rows, LABELS, tokenizer, 8, workspace)
        assert dataset.sort("length")["length"][:] == sorted(dataset["length"]) and len(dataset) == n_rows


def test_tokenising_can_be_stopped_and_leaves_nothing(workspace: Path, tokenizer: Counted) -> None:
    def stop() -> None:
        raise InterruptedError

    with pytest.raises(InterruptedError):
        tokens.tokenise(TASK, ROWS, LABELS, tokenizer, 8, workspace, stop)
    assert not list((workspace / "cache" / "tokens").glob("*.arrow"))


def test_old_files_make_room(workspace: Path, tokenizer: Counted, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokens, "_MOST_BYTES", 1)
    for length in (8, 9, 10):
        dataset, _ = tokens.tokenise(TASK, ROWS, LABELS, tokenizer, length, workspace)
    assert len(list((workspace / "cache" / "tokens").glob("*.arrow"))) == 1 and len(dataset) == 3
