"""What is hidden, how options are read, and how vectors are judged; metrics are those of the usual libraries."""

import copy
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
import transformers

from studio.core.registry import family, parse_config
from studio.sources.texts import Texts
from studio.tasks.base import MASKED, Answers, Rows, task_of
from studio.tasks.masked_lm import TOP
from studio.tasks.word_hiding import guess_hidden_alone, hide_words
from tests.in_process import execute

DRAWS = np.random.default_rng(3)


def rows_of(gold: list[Any], **fields: list[str]) -> Rows:
    made = {role: Texts(pa.chunked_array([pa.array(each, pa.large_string())])) for role, each in fields.items()}
    return Rows(made, gold, range(len(gold)))


# --- masked language model -----------------------------------------------------------------------------------------


def test_hidden_words_are_a_pure_function_of_seed_epoch_and_row() -> None:
    ids, words = list(range(10, 110)), [-1, *np.repeat(np.arange(49), 2).tolist(), -1]

    def hide(share: float = 0.15, whole: bool = True, seed: int = 1, epoch: int = 0) -> tuple[list[int], list[int]]:
        return hide_words(ids, words, 5, 1000, share, whole, seed, epoch)

    assert hide() == hide() and len({str(hide(seed=s, epoch=e)) for s in (1, 2) for e in (0, 1, 2)}) == 6
    n_hidden, kinds = [], Counter()
    for seed in range(200):
        hidden, labels = hide(seed=seed)
        places = [i for i, label in enumerate(labels) if label != MASKED]
        assert all(labels[i] == ids[i] for i in places)
        assert all(hidden[i] == ids[i] for i in set(range(100)) - {*places})
        assert Counter(words[i] for i in places).keys() >= {words[places[0]]} and labels[0] == labels[-1] == MASKED
        assert set(Counter(words[i] for i in places).values()) == {2}, "both pieces of a word, or none"
        n_hidden.append(len(places))
        kinds.update("mask" if hidden[i] == 5 else "same" if hidden[i] == ids[i] else "other" for i in places)
    assert np.mean(n_hidden) == pytest.approx(0.15 * 98, rel=0.08)
    shares = {kind: n / kinds.total() for kind, n in kinds.items()}
    assert shares == pytest.approx({"mask": 0.8, "other": 0.1, "same": 0.1}, abs=0.02)
    pieces = [label for seed in range(20) for label in Counter(
        words[i] for i, label in enumerate(hide(whole=False, seed=seed)[1]) if label != MASKED).values()]  # fmt: skip
    assert 1 in pieces, "single pieces where words are not kept whole"
    nothing = hide_words([1, 2], [-1, -1], 5, 1000, 0.15, True, 0, 0)
    assert nothing[1] == [1, MASKED], "a batch without a label would have no loss"


def test_joined_texts_lose_no_token_and_know_their_rows(tiny: Callable[[str], Path]) -> None:
    tokenizer = transformers.AutoTokenizer.from_pretrained(tiny("bert"))
    texts = ["the apple is red", "", "the sea is blue and deep but the coal is black", "the leaf is thin"]
    task = task_of(parse_config("tasks", {"kind": "masked-lm", "mlm_probability": 0.3}))
    made = task.encode({"text": texts}, tokenizer, 12)
    whole, owners = [], []
    for ids, labels, behind, row in zip(made["input_ids"], made["labels"], made["behind"], made["row"], strict=True):
        shown = [i if label == MASKED else label for i, label in zip(ids, labels, strict=True)]
        assert len(ids) <= 12 and shown[0] == tokenizer.cls_token_id and shown[-1] == tokenizer.sep_token_id
        whole += shown[1:-1]
        owners += [row - b for b in behind[1:-1]]
    plain = tokenizer(texts, add_special_tokens=False)["input_ids"]
    assert whole == [i for ids in plain for i in [*ids, tokenizer.sep_token_id]]
    assert owners == [row for row, ids in enumerate(plain) for _ in range(len(ids) + 1)]
    assert made["row"][-1] == 3 and not any(made["cut"])
    alone = task_of(parse_config("tasks", {"kind": "masked-lm", "chunking": "lines"})).encode(
        {"text": texts}, tokenizer, 12)  # fmt: skip
    assert alone["row"] == [0, 1, 2, 3] and alone["cut"] == [False, False, True, False]


def test_gaps_of_one_text_leave_the_others_of_its_piece_their_hidden_words(tiny: Callable[[str], Path]) -> None:
    tokenizer = transformers.AutoTokenizer.from_pretrained(tiny("bert"))
    mask = tokenizer.mask_token_id
    texts = ["the apple is red", "the [MASK] is blue and [MASK]", "the coal is black", "the leaf is thin"]
    task = task_of(parse_config("tasks", {"kind": "masked-lm", "mlm_probability": 0.9}))
    made = task.encode({"text": texts}, tokenizer, 64)
    ids, labels, words, behind = (made[name][0] for name in ("input_ids", "labels", "words", "behind"))
    owners = made["row"][0] - np.array(behind)
    assert len(made["row"]) == 1 and made["asked"] == [True]
    assert {int(owners[i]) for i, label in enumerate(labels) if label != MASKED} == {0, 1, 2, 3}
    own = np.flatnonzero(owners == 1)
    assert [labels[i] for i in own if labels[i] != MASKED] == [mask, mask], "of the text with gaps these alone"
    assert all(labels[i] == mask for i in own if ids[i] == mask)
    batch = task.training_collator(tokenizer, 1)([{name: made[name][0] for name in made}])
    is_gap = np.array(words + [-1] * (batch["labels"].shape[1] - len(words))) == -1
    assert (batch["labels"][0].numpy()[is_gap] == MASKED).all(), "a gap teaches nothing"

    outputs = [np.ones((len(ids), 1 + 2 * TOP))]
    values = task.answers(outputs, made, rows_of([""] * 4, text=texts), []).values
    assert values["known"].tolist() == [gold != mask for gold in values["gold"]]
    assert {int(row) for row in values["row"][~values["known"]]} == {1} and (~values["known"]).sum() == 2
    alone = task.encode({"text": texts[1:2]}, tokenizer, 64)
    assert [each for each in alone["labels"][0] if each != MASKED] == [mask, mask]


def test_training_with_the_head_for_hidden_words_alone_has_the_whole_loss_and_gradient(tiny: Callable) -> None:
    for architecture in ("bert", "roberta", "distilbert", "modernbert", "electra"):
        whole = transformers.AutoModelForMaskedLM.from_pretrained(tiny(architecture)).train()
        alone = guess_hidden_alone(copy.deepcopy(whole))
        ids = torch.randint(5, 150, (3, 16))
        labels = torch.where(torch.rand(3, 16) < 0.2, ids, MASKED)
        found = []
        for each in (whole, alone):
            torch.manual_seed(1)
            outputs = each(input_ids=ids, attention_mask=torch.ones_like(ids), labels=labels)
            outputs.loss.backward()
            found.append((outputs.loss.item(), each.get_input_embeddings().weight.grad.norm().item()))
        assert found[0] == pytest.approx(found[1], abs=1e-5), architecture
        assert outputs.logits.shape[:2] == (1, (labels != MASKED).sum()), architecture
        assert alone.eval()(input_ids=ids, labels=labels).logits.shape[:2] == (3, 16)


def test_masked_metrics_are_those_of_torch_and_sklearn() -> None:
    from sklearn.metrics import accuracy_score

    task = family("tasks")["masked-lm"]
    n, vocabulary = 200, 30
    logits = torch.tensor(DRAWS.normal(size=(n, 8, vocabulary)) * 3, dtype=torch.float32)
    labels = torch.full((n, 8), MASKED)
    for i in range(n - 1):  # the last row has nothing hidden
        places = DRAWS.choice(8, DRAWS.integers(1, 5), replace=False)
        labels[i, places] = torch.tensor(DRAWS.integers(0, vocabulary, len(places)))
    kept = task.reduce(logits, labels)
    assert kept.shape == (n, 8, 1 + 2 * TOP)
    features = {"labels": labels.tolist(), "words": [[-1] * 8] * n, "behind": [[0] * 8] * n, "row": list(range(n))}
    features |= {"asked": [False] * n}
    rows = rows_of([""] * n, text=["text"] * n)
    answers = task.answers(list(kept.numpy()), features, rows, [])
    judged = task.judge(answers, rows, [])
    there = labels != MASKED
    loss = torch.nn.functional.cross_entropy(logits[there], labels[there]).item()
    measured = judged.measured()
    assert measured == pytest.approx(
        {"loss": loss, "perplexity": np.exp(loss), "accuracy": accuracy_score(labels[there], logits[there].argmax(-1))},
        rel=1e-5,
    )  # fmt: skip
    assert task.score(answers, rows.gold, []) == pytest.approx(measured["perplexity"], rel=1e-6)
    row = torch.nn.functional.cross_entropy(logits[5][there[5]], labels[5][there[5]]).item()
    assert judged.losses[5] == pytest.approx(row, rel=1e-5) and np.isnan(judged.losses[-1])
    assert np.isnan(judged.metrics["perplexity"]([n - 1])), "no hidden word, no perplexity"
    gaps = task.judge(task.answers(list(kept.numpy()), features | {"asked": [True] * n}, rows, []), rows, [])
    assert gaps.measured() == {}, "what stood in a text's own gaps nobody knows"


# --- multiple choice -----------------------------------------------------------------------------------------------


def table(answers: list[str], options: list[list[str]]) -> pa.Table:
    import json

    columns = {"q": [f"question {i}" for i in range(len(answers))], "o": [json.dumps(each) for each in options]}
    return pa.table(columns | {"a": answers})


COLUMNS = {"question": "q", "option_1": "o", "answer": "a"}


@pytest.mark.parametrize(
    ("answers", "options", "found"),
    [
        (["A", "c", "(b)", "B."] * 4, [["x", "y", "z"]] * 16, [0, 2, 1, 1]),
        (["0", "2", "1", "1"] * 4, [["x", "y", "z"]] * 16, [0, 2, 1, 1]),
        (["1", "3", "2", "2"] * 4, [["x", "y", "z"]] * 16, [0, 2, 1, 1]),
        (["x", "z", "y", "y"] * 4, [["x", "y", "z"]] * 16, [0, 2, 1, 1]),
        (["1", "2", "1", "1"] * 4, [["x", "y", "z"]] * 16, "answer-ambiguous"),
        (["3", "4", "3", "3"] * 4, [["3", "4", "5", "6"]] * 16, "answer-ambiguous"),
        (["A", "w", "B", "B"] * 4, [["x", "y", "z"]] * 16, "answer-no-option"),
        (["A", "D", "B", "B"] * 4, [["x", "y", "z"]] * 16, "answer-no-option"),
        (["A"] * 16, [list("abcdefg")] * 16, "too-many-options"),
    ],
)
def test_the_right_option_is_told_by_letter_number_or_text(answers: list, options: list, found: Any) -> None:
    task = family("tasks")["multiple-choice"]
    made = table(answers, options)
    problems = task.check(made, COLUMNS)
    if isinstance(found, str):
        assert [problem.reason for problem in problems] == [found] and problems[0].field
        return
    assert problems == [] and task.rows(made, COLUMNS).gold[:4] == found
    said = task_of(parse_config("tasks", {"kind": "multiple-choice", "answer_is": "letter"}))
    assert [p.reason for p in said.check(made, COLUMNS)] == ([] if answers[0] == "A" else ["answer-no-option"])


def test_choice_metrics_are_those_of_sklearn_and_leave_out_what_is_no_option() -> None:
    from sklearn.metrics import accuracy_score, log_loss

    task = family("tasks")["multiple-choice"]
    n = 200
    sizes = DRAWS.integers(2, 5, n)
    options = {f"option_{k + 1}": [f"o{k}" if k < size else "" for size in sizes] for k in range(4)}
    gold = [int(DRAWS.integers(0, size)) for size in sizes]
    rows = rows_of(gold, question=["q"] * n, **options)
    logits = DRAWS.normal(size=(n, 4)).astype(np.float32) * 2
    answers = task.answers(logits, {}, rows, [])
    measured = task.judge(answers, rows, []).measured()
    masked = np.where(np.arange(4) < sizes[:, None], logits.astype(float), -np.inf)
    chances = np.exp(masked) / np.exp(masked).sum(-1, keepdims=True)
    expected = {"loss": log_loss(gold, chances, labels=range(4)), "accuracy": accuracy_score(gold, masked.argmax(-1))}
    assert measured == pytest.approx(expected, abs=1e-6)
    assert task.score(answers, gold, []) == measured["accuracy"] != accuracy_score(gold, logits.argmax(-1))
    titles = [block.title for block in task.judge(answers, rows, []).blocks()]
    assert "Accuracy by number of options" in titles


# --- embeddings ----------------------------------------------------------------------------------------------------


def embeddings(examples: str) -> Any:
    return task_of(parse_config("tasks", {"kind": "embeddings", "examples": examples}))


def test_ranks_are_those_of_sklearn_and_equal_vectors_are_no_success() -> None:
    from sklearn.metrics import label_ranking_average_precision_score, top_k_accuracy_score

    n, task = 200, embeddings("pairs")
    first = DRAWS.normal(size=(n, 16))
    second = first + DRAWS.normal(size=(n, 16)) * 1.5
    rows = rows_of([""] * n, text=[f"a{i}" for i in range(n)], text_2=[f"b{i}" for i in range(n)])
    outputs = np.stack([first, second], 1).astype(np.float32)
    answers = task.answers(outputs, {}, rows, [])
    measured = task.judge(answers, rows, []).measured()
    a, b = (each / np.linalg.norm(each, axis=-1, keepdims=True) for each in (first, second))
    cosines = a @ b.T
    assert measured["mrr"] == pytest.approx(label_ranking_average_precision_score(np.eye(n), cosines), abs=1e-9)
    for k in (1, 5, 10):
        assert measured[f"recall_at_{k}"] == top_k_accuracy_score(np.arange(n), cosines, k=k)
    loss = torch.nn.functional.cross_entropy(torch.tensor(cosines * 20), torch.arange(n)).item()
    assert measured["loss"] == pytest.approx(loss, rel=1e-4) and 0.2 < measured["mrr"] < 0.95
    assert task.score(answers, rows.gold, []) == measured["mrr"]
    flat = task.answers(np.ones((n, 2, 4), np.float32), {}, rows, [])
    assert task.judge(flat, rows, []).measured()["mrr"] == pytest.approx(1 / n), "all equal is the worst"
    alike = rows_of([""] * 4, text=list("abcd"), text_2=["x", "x", "y", "y"])
    places = np.array([[1, 0], [1, 0], [0, 1], [0, 1]], np.float32)
    copies = task.answers(np.stack([places, places], 1), {}, alike, [])
    assert task.score(copies, alike.gold, []) == 1.0, "a copy of the own text is no other text"


def test_scored_triplet_and_labelled_metrics_are_those_of_the_libraries() -> None:
    from scipy.stats import spearmanr
    from sklearn.neighbors import KNeighborsClassifier

    n = 200
    vectors = DRAWS.normal(size=(n, 3, 8)).astype(np.float32)
    unit = vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)
    alike, other = (unit[:, 0] * unit[:, 1]).sum(-1), (unit[:, 0] * unit[:, 2]).sum(-1)
    scores = np.round(alike * 2 + 2.5 + DRAWS.normal(size=n), 1).clip(0, 5).tolist()
    texts = {"text": ["a"] * n, "text_2": ["b"] * n}
    task, rows = embeddings("scored_pairs"), rows_of(scores, **texts)
    answers = task.answers(vectors[:, :2], {}, rows, [])
    expected = spearmanr(alike, scores).statistic
    assert task.judge(answers, rows, []).measured()["spearman"] == pytest.approx(expected, abs=1e-6)
    assert task.score(answers, scores, []) == pytest.approx(expected, abs=1e-6)
    assert max(task.targets({}, rows, [])["labels"]) <= 1 < max(scores)

    task, rows = embeddings("triplets"), rows_of([""] * n, **texts, text_3=["c"] * n)
    answers = task.answers(vectors, {}, rows, [])
    judged = task.judge(answers, rows, [])
    margin = torch.nn.TripletMarginLoss(margin=5.0, eps=0)(*(torch.tensor(unit[:, k]) for k in range(3))).item()
    assert judged.measured() == pytest.approx({"loss": margin, "accuracy": float((alike > other).mean())}, rel=1e-5)

    labels = [f"l{k}" for k in DRAWS.integers(0, 3, n)]
    near = vectors[:, 0] + np.eye(8, dtype=np.float32)[[int(label[1]) for label in labels]] * 2
    task, rows = embeddings("labelled_texts"), rows_of(labels, text=["a"] * n, label=labels)
    answers = task.answers(near[:, None], {}, rows, [])
    unit = near / np.linalg.norm(near, axis=-1, keepdims=True)
    neighbours = KNeighborsClassifier(2).fit(unit, labels).kneighbors(unit, return_distance=False)[:, 1]
    expected = np.mean([labels[i] == label for i, label in zip(neighbours, labels, strict=True)])
    assert task.judge(answers, rows, []).measured()["accuracy"] == expected == task.score(answers, labels, [])
    assert any(block.title == "Map of the texts" and block.groups for block in task.judge(answers, rows, []).blocks())


def test_saved_model_opens_with_sentence_transformers_and_with_transformers(
    make_spec: Callable, workspace: Path
) -> None:
    from sentence_transformers import SentenceTransformer

    from studio.core.continuing import continue_with
    from studio.engine.trained import open_trained

    spec = make_spec("embeddings", num_train_epochs=1, learning_rate=1e-3) | {"method": "lora"}
    run, state = execute(workspace, spec)
    assert state.state == "finished", state.problem
    folder = continue_with(run)
    texts = ["where is the red cup in Velden", "a blue boat"]
    theirs = SentenceTransformer(folder, device="cpu").encode(texts)
    model, tokenizer = open_trained(workspace, str(run.path)).load()
    batch = tokenizer(texts, padding=True, return_tensors="pt")
    with torch.inference_mode():
        ours = model(**batch)["sentence_embedding"].numpy()
        plain = transformers.AutoModel.from_pretrained(folder)(**batch).last_hidden_state
    assert np.abs(theirs - ours).max() < 1e-5 and np.ptp(ours) > 0.1
    weights = batch["attention_mask"][..., None]
    assert np.abs(((plain * weights).sum(1) / weights.sum(1)).numpy() - ours).max() < 1e-5


@pytest.mark.parametrize("method", ["full", "lora"])
def test_classifier_goes_on_from_a_masked_language_model(
    method: str, make_spec: Callable, tiny_csv: Path, workspace: Path
) -> None:
    from studio.core.continuing import continue_with
    from studio.engine.trained import open_trained

    run, state = execute(workspace, make_spec("masked-lm", num_train_epochs=2) | {"method": method})
    assert state.state == "finished", state.problem
    spec = {
        "kind": "train", "model": continue_with(run), "data": {"train": str(tiny_csv)},
        "columns": {"text": "text", "label": "label"}, "training": {"num_train_epochs": 1, "precision": "fp32"},
    }  # fmt: skip
    after, done = execute(workspace, spec)
    assert done.state == "finished", done.problem
    before = open_trained(workspace, str(run.path)).merged()[0].state_dict()
    tokenizer = transformers.AutoTokenizer.from_pretrained(spec["model"])
    began = open_trained(workspace, str(after.path)).load_base(tokenizer)
    name = "bert.encoder.layer.1.output.dense.weight"
    assert torch.allclose(began.state_dict()[name], before[name], atol=1e-6)
    untrained = open_trained(workspace, str(run.path)).load_base(tokenizer)
    assert not torch.equal(before[name], untrained.state_dict()[name])


def test_gaps_are_filled_and_neighbours_are_named() -> None:
    task = family("tasks")["masked-lm"]
    values = {
        "row": np.array([0, 0]), "gold": np.array([4, 7]), "known": np.array([False, True]),
        "log_probability": np.zeros(2), "logs": np.log(np.full((2, TOP), 0.2)),
        "tokens": np.tile(np.arange(TOP), (2, 1)), "names": {i: f"word{i}" for i in range(9)},
    }  # fmt: skip
    bars = task.explain(Answers({}, values), {"text": "a [MASK] b"}, [])
    assert [bar.title for bar in bars] == ["Gap 1", "Instead of word7"]
    assert list(bars[0].values) == [f"word{i}" for i in range(TOP)]

    vectors = np.eye(4, dtype=np.float32)[[0, 1, 0, 2]][:, None] + 0.1
    vectors /= np.linalg.norm(vectors, axis=-1, keepdims=True)
    (shown,) = embeddings("pairs").explain(Answers({}, {"vectors": vectors, "texts": list("abcd")}), {"text": "a"}, [])
    assert [line[0] for line in shown.rows] == ["c", "b", "d"] and shown.rows[0][1] == pytest.approx(1)
