"""Token classification: words, tags and spans; what the pieces learn; metrics as the libraries have them."""

import json
import random
import warnings
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from seqeval import metrics as seqeval
from seqeval.scheme import IOB2
from sklearn.metrics import accuracy_score, f1_score

from studio.core.blocks import Bars, Matrix, SpanTexts
from studio.core.registry import family, parse_config
from studio.sources.texts import Texts
from studio.tasks.base import MASKED, Rows, task_of
from studio.tasks.tag_judging import SpanErrors
from studio.tasks.tagging import entities_of, first_pieces, iob2, spans_over, token_labels, word_places, words_under

COLUMNS = {"text": "text", "labels": "labels"}


def task(**settings: object):
    return task_of(parse_config("tasks", {"kind": "token-classification"} | settings))


def table(texts: list[str], labels: list[str]) -> pa.Table:
    return pa.table({"text": texts, "labels": labels})


def reasons(texts: list[str], labels: list[str], **settings: object) -> dict[str, str]:
    return {p.reason: p.field for p in task(**settings).check(table(texts, labels), COLUMNS)}


def judged(told: list[list[str]], gold: list[list[str]], labels: list[str], **settings: object):
    """Return how one answer a word is judged, as if a model had been sure of it."""
    texts = [" ".join(f"w{i}" for i in range(len(tags))) for tags in gold]
    rows = Rows({"text": Texts(pa.chunked_array([texts]))}, [tuple(tags) for tags in gold], range(len(gold)))
    made = task(**settings)
    logits, starts, ends = [], [], []
    for text, tags in zip(texts, told, strict=True):
        words = word_places(text, True)
        logits.append(np.array([[9.0 * (label == tag) for label in labels] for tag in tags]).reshape(-1, len(labels)))
        starts.append(words[:, 0].tolist())
        ends.append(words[:, 1].tolist())
    answers = made.answers(logits, {"starts": starts, "ends": ends}, rows, labels)
    return made, answers, rows, made.judge(answers, rows, labels)


def random_tags(chance: random.Random, kinds: list[str], n: int) -> list[str]:
    tags: list[str] = []
    while len(tags) < n:
        kind = chance.choice([*kinds, "", ""])
        tags += [f"B-{kind}", *[f"I-{kind}"] * chance.randrange(3)] if kind else ["O"]
    return tags[:n]


@pytest.mark.parametrize(
    ("kinds", "gold_kinds"), [(["PER", "LOC", "ORG"],) * 2, (["PER"],) * 2, ([], ["PER"]), (["PER"], []), ([], [])],
    ids=["three types", "one type", "nothing found", "nothing there", "nothing at all"],
)  # fmt: skip
def test_entity_metrics_are_those_of_seqeval(kinds: list[str], gold_kinds: list[str]) -> None:
    chance = random.Random(7)
    lengths = [chance.randint(1, 12) for _ in range(200)]
    gold = [random_tags(chance, gold_kinds, n) for n in lengths]
    told = [g if chance.random() < 0.3 else random_tags(chance, kinds, len(g)) for g in gold]
    if not kinds:
        told = [["O"] * n for n in lengths]
    labels = task().labels([tuple(iob2([(0, 1, kind)], 1)) for kind in ["PER", "LOC", "ORG"]])
    made, answers, rows, found = judged(told, gold, labels)
    assert answers.values["tags"] == told
    draws = [np.arange(200), np.random.default_rng(1).integers(0, 200, 200), np.array([5])]
    for rows_drawn in draws:
        a, b = [gold[i] for i in rows_drawn], [told[i] for i in rows_drawn]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            wanted = {
                "entity_f1": seqeval.f1_score(a, b, mode="strict", scheme=IOB2),
                "entity_precision": seqeval.precision_score(a, b, mode="strict", scheme=IOB2),
                "entity_recall": seqeval.recall_score(a, b, mode="strict", scheme=IOB2),
                "token_accuracy": seqeval.accuracy_score(a, b),
            }
            by_type = seqeval.classification_report(a, b, mode="strict", scheme=IOB2, output_dict=True) \
                if any(kinds) or any(gold_kinds) else {}  # fmt: skip
        for name, value in wanted.items():
            assert found.metrics[name](rows_drawn) == pytest.approx(float(value), abs=1e-12), name
        if rows_drawn is draws[0]:
            bars = next(block for block in found.blocks() if isinstance(block, Bars))
            shown = {name.split(" ")[0]: value for name, value in bars.values.items()}
            assert shown == pytest.approx({k: float(v["f1-score"]) for k, v in by_type.items() if " " not in k})
    assert made.score(answers, rows.gold, labels) == pytest.approx(found.metrics["entity_f1"](slice(None)))


def test_class_metrics_are_those_of_scikit_learn() -> None:
    chance, labels = random.Random(3), ["ADJ", "NOUN", "VERB"]
    gold = [[chance.choice(labels) for _ in range(chance.randint(1, 9))] for _ in range(200)]
    told = [[tag if chance.random() < 0.7 else chance.choice(labels) for tag in tags] for tags in gold]
    for a, b in ((gold, told), ([["NOUN"] * len(t) for t in gold],) * 2):
        made, answers, rows, found = judged(b, a, labels, answer="classes")
        for drawn in (np.arange(200), np.random.default_rng(2).integers(0, 200, 200)):
            true, given = ([tag for i in drawn for tag in x[i]] for x in (a, b))
            assert found.metrics["accuracy"](drawn) == pytest.approx(accuracy_score(true, given))
            assert found.metrics["f1_macro"](drawn) == pytest.approx(f1_score(true, given, average="macro"))
        assert made.score(answers, rows.gold, labels) == pytest.approx(found.metrics["accuracy"](slice(None)))
        assert made.main_metric == "accuracy" and next(b for b in found.blocks() if isinstance(b, Matrix)).rows


def test_errors_are_told_by_kind_and_shown_with_the_worst_first() -> None:
    gold = [["B-PER", "I-PER", "O", "B-LOC", "O"], ["B-LOC", "O", "B-ORG", "O", "O"]]
    told = [["B-PER", "O", "O", "B-LOC", "O"], ["B-PER", "O", "O", "O", "B-ORG"]]
    labels = task().labels([tuple(tags) for tags in gold])
    _, _, rows, found = judged(told, gold, labels)
    bars, errors, shown, _, matrix = found.blocks()
    assert errors.values == {"missed": 1, "invented": 1, "wrong type": 1, "wrong border": 1}
    assert isinstance(shown, SpanTexts) and [text.row for text in shown.texts] == [1, 0]
    assert shown.labels == ["LOC", "ORG", "PER"], "all types of the model, so that each keeps its colour"
    assert [span.kind for span in shown.texts[0].gold] == ["wrong type", "missed"]
    assert [(s.start, s.end, s.kind) for s in shown.texts[1].predicted] == [(0, 2, "wrong border"), (9, 11, "")]
    cells = {(a, b): matrix.values[i][k] for i, a in enumerate(matrix.rows) for k, b in enumerate(matrix.columns)}
    assert cells["LOC", "PER"] == 1 and cells["ORG", "nothing"] == 1 and cells["nothing", "ORG"] == 1
    assert cells["PER", "PER"] == 1, "another border is the same type"
    for answer, wanted in (("entities", shown.labels), ("classes", labels)):
        made, answers, rows, _ = judged(told, gold, labels, answer=answer)
        (tried,) = made.explain(answers, {"text": rows.fields["text"][0]}, labels)
        assert tried.labels == wanted
    assert found.right.tolist() == [False, False] and SpanErrors([], []).kinds() == []


def test_tags_of_all_schemes_are_read() -> None:
    wanted = [(0, 2, "PER"), (2, 3, "PER"), (4, 5, "LOC")]
    for tags in ("I-PER I-PER B-PER O I-LOC", "B-PER I-PER B-PER O B-LOC", "B-PER E-PER S-PER O S-LOC",
                 "B-PER L-PER U-PER O U-LOC"):  # fmt: skip
        assert entities_of(tags.split()) == wanted, tags
    assert entities_of(["PER", "PER", "O", "LOC"]) == [(0, 2, "PER"), (3, 4, "LOC")]
    assert entities_of(["B", "I", "O"]) == [(0, 2, "ENTITY")]
    assert iob2(wanted, 5) == ["B-PER", "I-PER", "B-PER", "O", "B-LOC"]


def test_rows_are_read_from_tags_lists_and_spans() -> None:
    texts = ["Mara Stone left Kesh", "nobody came"]
    wanted = [("B-PER", "I-PER", "O", "B-LOC"), ("O", "O")]
    found = task().rows(table(texts, ["B-PER I-PER O B-LOC", "O O"]), COLUMNS)
    assert list(found.gold) == wanted
    lists = table([json.dumps(t.split()) for t in texts], ["['I-PER', 'I-PER', 'O', 'I-LOC']", '["O", "O"]'])
    found = task().rows(lists, COLUMNS)
    assert list(found.gold) == wanted and list(found.fields["text"]) == texts
    spans = [{"start": 0, "end": 10, "label": "PER"}, {"start": 16, "end": 20, "label": "LOC"}]
    found = task().rows(table(texts, [json.dumps(spans), "[]"]), COLUMNS)
    assert list(found.gold) == [((0, 10, "PER"), (16, 20, "LOC")), ()]
    assert task().labels(found.gold) == ["O", "B-LOC", "I-LOC", "B-PER", "I-PER"]
    assert json.loads(task().gold_text(found.gold[0])) == spans and task().gold_text(("O", "B-X")) == "O B-X"
    words = word_places("在北京 U.S.-born", False)
    assert [("在北京 U.S.-born"[a:b]) for a, b in words] == ["在", "北", "京", "U", ".", "S", ".", "-", "born"]
    assert spans_over(words_under([(1, 3, "LOC")], words), words) == [(1, 3, "LOC")]


def test_what_stands_against_training_is_said_where_it_is() -> None:
    good, tags = [f"Mara left Kesh {i}" for i in range(20)], ["B-PER O B-LOC O"] * 20
    assert reasons(good, tags) == {}
    assert reasons(good, ["O B-PER"] * 20) == {"tags-uneven": "columns.labels"}
    assert reasons(good, [*tags[:-1], "O"])["some-tags-uneven"] == ""
    assert reasons(good, ["O O O O"] * 20) == {"no-entities": "columns.labels"}
    assert reasons(good, ["NNP VBD NNP CD"] * 20) == {"tags-no-entities": "columns.labels"}
    assert reasons(good, ["NNP VBD NNP CD"] * 20, answer="classes") == {}
    spans = json.dumps([{"start": 0, "end": 4, "label": "PER"}])
    assert reasons(good, [spans] * 20) == {}
    assert reasons(good, [spans] * 20, answer="classes") == {"spans-no-classes": "columns.labels"}
    wrong = json.dumps([{"start": 0, "end": 2, "label": "PER"}, {"start": 90, "end": 99, "label": "PER"}])
    assert reasons(good, [spans] * 19 + [wrong]) == {"spans-lost": "", "spans-in-words": ""}
    made, data = task(), table(good, [spans] * 19 + [wrong])
    assert [made.rows_behind(reason, data, COLUMNS) for reason in ("spans-lost", "spans-in-words")] == [[19], [19]]


def test_columns_are_guessed_by_name_and_by_content() -> None:
    words, tags = [f"Mara left Kesh {i}" for i in range(20)], ["B-PER O B-LOC O"] * 20
    assert task().guess_roles(pa.table({"tags": tags, "tokens": words})) == {"text": "tokens", "labels": "tags"}
    assert task().guess_roles(pa.table({"a": words, "b": tags})) == {"text": "a", "labels": "b"}
    spans = ['[{"start": 0, "end": 4, "label": "PER"}]'] * 20
    assert task().guess_roles(pa.table({"id": ["1"] * 20, "a": words, "b": spans})) == {"text": "a", "labels": "b"}


@pytest.mark.parametrize("architecture", ["bert", "roberta"])
def test_first_pieces_learn_their_words_tag_as_in_transformers_own_recipe(architecture: str, tiny) -> None:
    import transformers

    tokenizer = transformers.AutoTokenizer.from_pretrained(tiny(architecture))
    words = ["Oskar", "Lindqvist", "left", "Port", "Merrin", "!"]
    tags = ["B-PER", "I-PER", "O", "B-LOC", "I-LOC", "O"]
    text, labels = " ".join(words), ["O", "B-LOC", "I-LOC", "B-PER", "I-PER"]
    features = task().encode({"text": [text]}, tokenizer, 64)
    rows = Rows({"text": Texts(pa.chunked_array([[text]]))}, [tuple(tags)], range(1))
    found = task().targets(features, rows, labels)["labels"][0]
    # Its tokenizers of byte pairs take words only with a blank before each.
    options = {"add_prefix_space": True} if architecture == "roberta" else {}
    usual = transformers.AutoTokenizer.from_pretrained(tiny(architecture), **options)
    if options:
        usual.backend_tokenizer.pre_tokenizer.add_prefix_space = True
    encoded = usual(words, is_split_into_words=True)
    wanted = [
        MASKED if word is None or word == before else labels.index(tags[word])
        for word, before in zip(encoded.word_ids(), [None, *encoded.word_ids()], strict=False)
    ]
    keep = [label for label in found if label != MASKED]
    assert keep == [label for label in wanted if label != MASKED] == [labels.index(tag) for tag in tags]
    if architecture == "bert":
        assert features["input_ids"][0] == encoded["input_ids"] and found == wanted
    assert len(found) > len(words) + 2, "some words are cut into pieces"
    whole = task(label_all_pieces=True).targets(features, rows, labels)["labels"][0]
    special = sum(a == b for a, b in zip(features["starts"][0], features["ends"][0], strict=True))
    assert sum(label == MASKED for label in whole) == special
    assert whole.count(labels.index("B-PER")) == 1, "further pieces of a beginning lie inside"


def test_words_that_are_cut_off_teach_nothing_and_count_as_missed() -> None:
    words = word_places("ab cd ef", True)
    assert first_pieces([0, 0, 3, 0], [0, 2, 5, 0], words).tolist() == [1, 2, -1]
    assert token_labels(["O", "X", "X"], words, [0, 0, 3, 0], [0, 2, 5, 0], {"O": 0, "X": 1}, -100, False) == [
        -100, 0, 1, -100,
    ]  # fmt: skip
    labels = ["O", "B-X", "I-X"]
    rows = Rows({"text": Texts(pa.chunked_array([["ab cd ef"]]))}, [("O", "O", "B-X")], range(1))
    logits = [np.array([[0, 0, 0], [9, 0, 0], [9, 0, 0], [0, 0, 0]], float)]
    answers = task().answers(logits, {"starts": [[0, 0, 3, 0]], "ends": [[0, 2, 5, 0]]}, rows, labels)
    assert answers.columns["predicted"] == ["O O O"]
    assert task().judge(answers, rows, labels).measured()["entity_recall"] == 0
    assert task().judge(answers, rows, labels).losses[0] < 0.01, "of the words that the model saw"


def test_running_text_is_answered_with_spans_whatever_the_training_had() -> None:
    rows = Rows({"text": Texts(pa.chunked_array([["Mara, in Kesh."]]))}, [None], range(1))
    features = {"starts": [[0, 4, 6, 9, 13]], "ends": [[4, 5, 8, 13, 14]]}
    labels = ["O", "B-LOC", "I-LOC", "B-PER", "I-PER"]
    logits = [np.eye(5)[[3, 0, 0, 2, 0]] * 9]
    answers = task().answers(logits, features, rows, labels)
    spans = [{"start": 0, "end": 4, "label": "PER"}, {"start": 9, "end": 13, "label": "LOC"}]
    assert json.loads(answers.columns["predicted"][0]) == spans, "an inside that continues nothing begins an entity"
    shown = task().explain(answers, {"text": "Mara, in Kesh."}, labels)[0].texts[0]
    assert [(s.start, s.end, s.label) for s in shown.predicted] == [(0, 4, "PER"), (9, 13, "LOC")]


def test_sample_has_all_types_in_every_part() -> None:
    from studio.core.paths import resources_dir
    from studio.core.spec import source_of

    made = family("tasks")["token-classification"]
    path = Path(resources_dir()) / "samples" / made.sample
    source = source_of(str(path))
    data = source.read(source.Config(path=str(path))).table
    assert made.suits(data) and made.check(data, made.guess_roles(data)) == []
    assert len(made.labels(made.rows(data, made.guess_roles(data)).gold)) == 9 and data.num_rows > 500


def test_features_without_a_label_are_counted_and_end_a_training_before_it(
    make_spec, workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    from datasets import Dataset

    from tests.in_process import execute

    task = family("tasks")["token-classification"]
    some = Dataset.from_dict({"labels": [[MASKED, 0, MASKED], [MASKED, MASKED], [MASKED]]})
    assert task.n_unlabelled(some) == 2
    monkeypatch.setattr(type(task), "n_unlabelled", lambda self, features: 1)
    _, state = execute(workspace, make_spec("token-classification", num_train_epochs=0.1))
    assert state.state == "finished" and "some-labels-cut" in {problem.reason for problem in state.warnings}
    monkeypatch.setattr(type(task), "n_unlabelled", lambda self, features: len(features))
    _, state = execute(workspace, make_spec("token-classification"))
    assert (state.problem.reason, state.problem.field, state.step) == ("labels-cut", "training.max_length", 0)
