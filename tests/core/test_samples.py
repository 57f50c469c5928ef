"""The sample data set keeps what its README and the demo promise."""

import csv
import re
from collections import Counter, defaultdict
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold
from sklearn.pipeline import make_pipeline

from studio.core.registry import family, plugin
from studio.sources.tables import source_for

SAMPLES = Path(__file__).parents[2] / "resources/samples"
SUPPORT_DESK = Path(__file__).parents[2] / "resources/samples/support_desk.csv"

Row = tuple[str, str]


def tfidf_accuracy(train: list[Row], test: list[Row]) -> float:
    """Accuracy on `test`, 0 to 1, of logistic regression on TF-IDF of words and word pairs."""
    words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)
    model = make_pipeline(words, LogisticRegression(C=10, solver="newton-cg"))
    model.fit(*zip(*train, strict=True))
    return float(model.score(*zip(*test, strict=True)))


def read_rows(path: Path = SUPPORT_DESK) -> list[Row]:
    """The (text, label) pairs of a sample file, in file order."""
    with path.open(encoding="utf-8", newline="") as file:
        return [(row["text"], row["label"]) for row in csv.DictReader(file, strict=True)]


def trigrams(text: str) -> set[tuple[str, ...]]:
    words = re.findall(r"\w+", text.lower())
    return {tuple(words[i : i + 3]) for i in range(len(words) - 2)}


@pytest.fixture(scope="module")
def rows() -> list[Row]:
    return read_rows()


def test_file_is_plain_utf8_csv_with_the_two_columns(rows):
    first_line = SUPPORT_DESK.read_bytes().split(b"\n", 1)[0]
    assert first_line.rstrip(b"\r") == b"text,label"
    assert all(text == text.strip() and "\n" not in text and label for text, label in rows)


def test_eight_topics_have_at_least_eighty_messages_each(rows):
    counts = Counter(label for _, label in rows)
    assert len(counts) == 8
    assert min(counts.values()) >= 80


def test_messages_have_three_to_eighty_words(rows):
    outside = [text for text, _ in rows if not 3 <= len(text.split()) <= 80]
    assert outside == []


def test_no_message_occurs_twice(rows):
    counts = Counter(" ".join(re.findall(r"\w+", text.lower())) for text, _ in rows)
    assert [text for text, n in counts.items() if n > 1] == []


def test_messages_are_not_made_from_templates(rows):
    """Fewer than 1 % of the pairs share half of the trigrams of the shorter message."""
    sets = [trigrams(text) for text, _ in rows]
    holders = defaultdict(list)
    for index, grams in enumerate(sets):
        for gram in grams:
            holders[gram].append(index)
    shared = Counter(pair for held in holders.values() for pair in combinations(held, 2))
    alike = sum(n >= 0.5 * min(len(sets[a]), len(sets[b])) for (a, b), n in shared.items())
    assert alike < 0.01 * len(rows) * (len(rows) - 1) / 2


def test_topics_cannot_be_told_by_their_words_alone(rows):
    """Word counts get some way, and leave room for a model that understands the sentence."""
    labels = [label for _, label in rows]
    folds = StratifiedKFold(5, shuffle=True, random_state=42).split(rows, labels)
    scores = [tfidf_accuracy([rows[i] for i in train], [rows[i] for i in test]) for train, test in folds]
    accuracy = np.mean(scores)
    assert 0.45 <= accuracy <= 0.80


def test_pairs_for_embeddings_have_near_misses_that_shared_words_do_not_tell_apart() -> None:
    with (SAMPLES / "embeddings.csv").open(encoding="utf-8", newline="") as file:
        pairs = list(csv.DictReader(file, strict=True))
    said, titles = ([pair[name] for pair in pairs] for name in ("text", "text_2"))
    assert len(set(said)) == len(set(titles)) == len(pairs), "no text twice"
    assert f"`embeddings.csv`: {len(pairs)} " in (SAMPLES / "README.md").read_text("utf-8")
    devices, troubles = (Counter(title.split(": ")[part] for title in titles) for part in (0, 1))
    assert min(devices.values()) >= 10 and min(troubles.values()) >= 3, "each has neighbours of the same kind"
    words = TfidfVectorizer(sublinear_tf=True).fit([*said, *titles])
    nearness = (words.transform(said) @ words.transform(titles).T).toarray()
    ranks = (nearness >= np.diag(nearness)[:, None]).sum(-1)
    assert (1 / ranks).mean() < 0.1


@pytest.mark.parametrize("number", [1, 2, 3])
def test_samples_of_other_answers_open_as_they_are_meant(number: int) -> None:
    """Columns, settings and rows fit: nothing stands against training, and no row is there twice."""
    task = family("tasks")["text-classification"]
    sample = task.samples()[number]
    config = source_for(SAMPLES / sample.file)
    table = plugin("sources", config).read(config).table
    made = type(task)(task.Config(**sample.settings))
    columns = made.guess_roles(table)
    assert made.check(table, columns) == [] and table.num_rows >= 600
    assert list(columns.values()) == {
        1: ["notice", "topics"], 2: ["review", "stars"], 3: ["premise", "hypothesis", "label"],
    }[number]  # fmt: skip
    rows = made.rows(table, columns)
    assert len(set(rows.digests())) == len(rows), "no row twice"
    if number == 3:
        assert max(Counter(rows.gold).values()) <= len(rows) / 3 + 1, "no answer is more frequent"
    assert f"`{sample.file}`: {table.num_rows} " in (SAMPLES / "README.md").read_text("utf-8")
