"""Question answering: SQuAD's rules, parts of long contexts, the best span of all of them, and no answer."""

import json
import random
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from studio.core.blocks import Histogram, SpanTexts, Tiles
from studio.core.reasons import Failure
from studio.core.registry import family, parse_config
from studio.core.spec import DataSpec
from studio.engine.data import split_rows
from studio.sources.texts import Texts
from studio.tasks.answer_judging import judge_spans
from studio.tasks.base import Answers, Rows, task_of
from studio.tasks.question_answering import answers_in, best_spans, best_threshold, span_in
from studio.tasks.squad_rules import exact, f1, normalised

COLUMNS = {"context": "context", "question": "question", "answers": "answers"}


def task(**settings: object):
    return task_of(parse_config("tasks", {"kind": "question-answering"} | settings))


def rows_of(contexts: list[str], questions: list[str], gold: list) -> Rows:
    fields = {"context": contexts, "question": questions}
    return Rows({k: Texts(pa.chunked_array([v])) for k, v in fields.items()}, gold, range(len(gold)))


def judged(told: list[str], golds: list[list[str]]):
    contexts = [" | ".join([*gold, text]) for gold, text in zip(golds, told, strict=True)]
    gold = [[(text, context.index(text)) for text in texts] for texts, context in zip(golds, contexts, strict=True)]
    spans = [(c.rindex(t), c.rindex(t) + len(t)) for c, t in zip(contexts, told, strict=True)]
    values = {"told": told, "spans": spans, "losses": np.arange(len(told), dtype=float)}
    return judge_spans(Answers({}, values), rows_of(contexts, ["?"] * len(told), gold))


def test_exact_match_and_f1_are_those_of_the_library() -> None:
    from torchmetrics.functional.text import squad

    chance = random.Random(5)
    words = ["The", "river", "a", "cold,", "harbour!", "an", "Old", "stone", "(bridge)", "1,200", "it's", "the"]
    golds = [[" ".join(chance.choices(words, k=chance.randint(1, 5))) for _ in range(chance.randint(1, 3))]
             for _ in range(200)]  # fmt: skip
    told = [chance.choice(gold) if chance.random() < 0.3 else " ".join(chance.choices(words, k=chance.randint(1, 6)))
            for gold in golds]  # fmt: skip
    found = judged(told, golds)
    for drawn in (np.arange(200), np.random.default_rng(4).integers(0, 200, 200), np.array([3])):
        library = squad(
            [{"prediction_text": told[i], "id": str(k)} for k, i in enumerate(drawn)],
            [{"answers": {"text": golds[i], "answer_start": [0] * len(golds[i])}, "id": str(k)}
             for k, i in enumerate(drawn)],
        )  # fmt: skip
        assert 100 * found.metrics["exact_match"](drawn) == pytest.approx(float(library["exact_match"]), abs=1e-4)
        assert 100 * found.metrics["f1"](drawn) == pytest.approx(float(library["f1"]), abs=1e-4)
    assert "no_answer_accuracy" not in found.metrics and found.right.mean() == found.metrics["exact_match"](slice(None))


@pytest.mark.parametrize(
    ("told", "golds", "em", "score"),
    [
        ("the Eiffel Tower", ["Eiffel tower"], 1, 1), ("in Paris, France", ["Paris"], 0, 0.5), ("", [], 1, 1),
        ("Paris", [], 0, 0), ("the", [], 1, 1), ("", ["Paris"], 0, 0), ("the", ["a"], 1, 1), ("Paris", ["the"], 0, 0),
        ("b a b", ["b b b c"], 0, 2 / 3), ("Rome", ["Paris", "Rome"], 1, 1),
        # As cmrc2018_evaluate.py has it: characters, the longest run of them in common.
        ("1995年，北京", ["1995年北京"], 1, 1), ("在北京市", ["北京"], 0, 2 / 3), ("京北", ["北京"], 0, 0.5),
    ],
)  # fmt: skip
def test_official_rules_hold(told: str, golds: list[str], em: float, score: float) -> None:
    assert (exact(told, golds), f1(told, golds)) == (em, pytest.approx(score))


def test_normalised_answers() -> None:
    assert normalised("The  cat's (an) Answer, a B-52!") == "cats answer b52"


def test_metrics_with_and_without_an_answer() -> None:
    found = judged(["red", "", "blue", ""], [["red"], ["red"], [], []])
    assert found.measured() | {"loss": 0} == {
        "loss": 0, "exact_match": 0.5, "f1": 0.5, "has_answer_exact_match": 0.5, "has_answer_f1": 0.5,
        "no_answer_accuracy": 0.5,
    }  # fmt: skip
    assert np.isnan(found.metrics["no_answer_accuracy"](np.array([0, 1])))
    tiles, bars, histogram, shown = found.blocks()
    assert isinstance(tiles, Tiles) and list(tiles.values.values()) == [0.5, 0.5, 0.5]
    assert list(bars.values.values()) == [2, 2, 1, 1]
    assert isinstance(histogram, Histogram) and sum(histogram.counts) == 4
    assert isinstance(shown, SpanTexts) and {text.row for text in shown.texts[:2]} == {1, 2}
    kinds = {text.row: [s.kind for s in (*text.gold, *text.predicted)] for text in shown.texts}
    assert kinds[1] == ["missed"] and kinds[2] == ["invented"] and kinds[3] == []


def test_spans_of_a_long_context_are_shown_where_they_stand() -> None:
    context = "x " * 900 + "the answer is forty two here" + " y" * 900
    start = context.index("forty")
    values = {"told": ["forty"], "spans": [(start, start + 5)], "losses": np.zeros(1)}
    found = judge_spans(Answers({}, values), rows_of([context], ["?"], [[("forty two", start)]]))
    text = next(block for block in found.blocks() if isinstance(block, SpanTexts)).texts[0]
    assert len(text.text) < 1000 and text.text.startswith("… ") and text.text.endswith(" …")
    assert [text.text[s.start : s.end] for s in (*text.gold, *text.predicted)] == ["forty two", "forty"]
    assert [s.kind for s in (*text.gold, *text.predicted)] == ["wrong border", "wrong border"]


@pytest.mark.parametrize("architecture", ["bert", "roberta"])
def test_parts_cover_the_context_and_one_row_answers_by_its_best_part(architecture: str, tiny) -> None:
    import transformers

    tokenizer = transformers.AutoTokenizer.from_pretrained(tiny(architecture))
    contexts = ["the red key was found by Leila in the barn and " * 6 + "nothing else", "the white key"]
    start = contexts[0].rindex("Leila")
    rows = rows_of(contexts, ["who found it " * 30, "what colour was it"], [[("Leila", start)], []])
    made = task(doc_stride=8, max_answer_length=6)
    features = made.encode({role: list(texts) for role, texts in rows.fields.items()}, tokenizer, 48)
    assert features["row"].count(0) > 2 and features["row"].count(1) == 1 and max(features["length"]) <= 48
    assert features["cut"] == [row == 0 for row in features["row"]], "a question of that length is cut"
    covered = np.zeros(len(contexts[0]), bool)
    for row, starts, ends in zip(features["row"], features["starts"], features["ends"], strict=True):
        for a, b in zip(starts, ends, strict=True):
            if row == 0 and a >= 0:
                covered[a:b] = True
    assert all(covered[i] or sign == " " for i, sign in enumerate(contexts[0]))
    told = made.targets(features, rows, [])
    places = [
        contexts[0][features["starts"][i][a] : features["ends"][i][b]].strip()
        for i, (a, b) in enumerate(zip(told["start_positions"], told["end_positions"], strict=True))
        if a != features["null"][i]
    ]
    assert places and set(places) == {"Leila"} and len(places) < features["row"].count(0)
    outputs = [np.zeros((n, 2)) for n in features["length"]]
    for i, (a, b) in enumerate(zip(told["start_positions"], told["end_positions"], strict=True)):
        outputs[i][a, 0] = outputs[i][b, 1] = 5
    sure = made.answers(outputs, features, rows, [])
    assert [each.strip() for each in sure.columns["predicted"]] == ["Leila", ""]
    assert sure.values["losses"][0] < 1 and made.score(sure, rows.gold, []) == 1
    unknown = rows_of(contexts, ["who found it", "what colour was it"], [None, None])
    assert [each.strip() for each in made.answers(outputs, features, unknown, []).columns["predicted"]][0] == "Leila"


def test_best_spans_are_those_of_a_search_through_all() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        logits = rng.normal(size=(30, 2))
        starts, ends = np.arange(30) * 2, np.arange(30) * 2 + 1
        starts[:8] = ends[:8] = -1
        found = best_spans(logits, starts, ends, 30, 5)[0]
        pairs = [(a, b) for a in range(8, 30) for b in range(a, min(a + 5, 30))]
        every = [(logits[a, 0] + logits[b, 1], starts[a], ends[b]) for a, b in pairs]
        assert found == pytest.approx(max(every))
    assert best_spans(logits, starts * 0 - 1, ends * 0 - 1, 20, 5) == [], "no token of the context"


def test_gold_answers_that_a_part_does_not_hold_whole_are_no_answer_there() -> None:
    starts, ends = np.array([-1, 0, 4, 8, -1]), np.array([-1, 3, 7, 11, -1])
    assert span_in([("b", 5)], starts, ends, 0) == (2, 2)
    assert span_in([("bbb ccc", 4)], starts, ends, 0) == (2, 3)
    assert span_in([("ccc ddd", 8)], starts, ends, 0) == (0, 0) and span_in([], starts, ends, 0) == (0, 0)


def test_threshold_is_the_best_there_is() -> None:
    rng = np.random.default_rng(3)
    for _ in range(40):
        margins, spoken = rng.normal(size=25).round(1), rng.random(25)
        silent = rng.integers(0, 2, 25).astype(float)
        found = best_threshold(margins, spoken.tolist(), silent.tolist())
        worth = [np.where(margins > t, silent, spoken).mean() for t in (found, *np.linspace(-4, 4, 161) + 0.025)]
        assert worth[0] == pytest.approx(max(worth))


def test_answers_are_read_from_json_and_words() -> None:
    context = "the red key and the blue key"
    both = '{"text": ["red", "blue key"], "answer_start": [4, 20]}'
    assert answers_in(both, context) == [("red", 4), ("blue key", 20)]
    assert answers_in('{"text": [], "answer_start": []}', context) == [] and answers_in("", context) is None
    assert answers_in("blue", context) == [("blue", 20)] and answers_in("green", context) is None
    assert answers_in('{"text": ["blue"], "answer_start": [0]}', context) == [("blue", 20)], "sought where it is not"
    assert answers_in('["red", "blue"]', context) == [("red", 4), ("blue", 20)]


def test_what_stands_against_training_is_said_where_it_is() -> None:
    def found(answers: list[str]) -> dict[str, str]:
        data = {"context": ["the red key"] * 20, "question": [f"which {i}" for i in range(20)], "answers": answers}
        return {p.reason: p.field for p in task().check(pa.table(data), COLUMNS)}

    none = json.dumps({"text": [], "answer_start": []})
    assert found(["red"] * 20) == {} and found([none] * 20) == {"only-unanswerable": "columns.answers"}
    assert found(["green"] * 20) == {"answers-not-there": "columns.answers"}
    assert found(["red"] * 18 + ["green", ""]) == {"answers-nowhere": "", "some-empty-labels": ""}
    assert found(["red"] * 2 + [""] * 18)["too-few-rows"] == "data.train"


def test_questions_of_one_context_stay_in_one_part() -> None:
    from studio.core.paths import resources_dir
    from studio.core.spec import source_of

    made = family("tasks")["question-answering"]
    path = Path(resources_dir()) / "samples" / made.sample
    source = source_of(str(path))
    data = source.read(source.Config(path=str(path))).table
    columns = made.guess_roles(data)
    assert made.suits(data) and made.check(data, columns) == [] and data.num_rows == 480
    parts = split_rows(made, made.rows(data, columns), DataSpec(train=source.Config(path=str(path))))
    contexts = [set(part.fields["context"]) for part in parts.values()]
    assert not contexts[0] & contexts[1] and not contexts[0] & contexts[2] and not contexts[1] & contexts[2]
    assert all(any(not gold for gold in part.gold) and len(part) >= 40 for part in parts.values())
    asked = [f"which {i}" for i in range(20)]
    one = pa.table({"context": ["the red key"] * 20, "question": asked, "answers": ["red"] * 20})
    with pytest.raises(Failure) as caught:
        split_rows(made, made.rows(one, COLUMNS), DataSpec(train=source.Config(path=str(path))))
    problem = caught.value.problem
    assert (problem.reason, problem.field) == ("split-together", "data.validation") and problem.facts["n_groups"] == 1
