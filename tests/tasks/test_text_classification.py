"""One label, several labels, a number, pairs: what is read, and metrics equal to the libraries' own."""

import numpy as np
import pyarrow as pa
import pytest
from scipy.special import expit, softmax
from sklearn import metrics as sk

from studio.sources.texts import Texts
from studio.tasks.base import Rows
from studio.tasks.judging import calibration_error
from studio.tasks.text_classification import Config, TextClassification, spearman, split_labels

ONE = TextClassification(Config())
SEVERAL = TextClassification(Config(problem_type="multi_label_classification"))
NUMBER = TextClassification(Config(problem_type="regression"))
LABELS = ["a", "b", "c"]


def rows_of(gold: list) -> Rows:
    return Rows({"text": Texts(pa.chunked_array([[f"text {i}" for i in range(len(gold))]]))}, gold, range(len(gold)))


def judge(task: TextClassification, outputs: np.ndarray, gold: list, labels: list[str]):
    rows = rows_of(gold)
    answers = task.answers(outputs, {}, rows, labels)
    judged = task.judge(answers, rows, labels)
    main = judged.metrics[task.main_metric](slice(None))
    assert task.score(answers, gold, labels) == pytest.approx(main, nan_ok=True), "the script's own way"
    assert [type(block).__name__ for block in judged.blocks()]
    return judged


@pytest.mark.parametrize("n_used", [3, 2, 1])
def test_one_label_is_judged_as_scikit_learn_does(n_used: int) -> None:
    rng = np.random.default_rng(n_used)
    logits = rng.normal(size=(200, 3)).astype(np.float32)
    gold = rng.integers(0, n_used, 200)
    found = judge(ONE, logits, [LABELS[i] for i in gold], LABELS).measured()
    p, best = softmax(logits.astype(float), -1), logits.argmax(-1)
    assert found["loss"] == pytest.approx(sk.log_loss(gold, p, labels=[0, 1, 2]))
    assert found["accuracy"] == sk.accuracy_score(gold, best)
    assert found["f1_macro"] == sk.f1_score(gold, best, average="macro", zero_division=0)
    assert found["mcc"] == pytest.approx(sk.matthews_corrcoef(gold, best))
    if n_used == 3:
        assert found["auc"] == pytest.approx(sk.roc_auc_score(gold, p, multi_class="ovr"))
    else:
        assert "auc" not in found, "of a label that no row has it says nothing"


def test_of_two_labels_auc_is_the_second_ones() -> None:
    rng = np.random.default_rng(0)
    logits, gold = rng.normal(size=(200, 2)), rng.integers(0, 2, 200)
    found = judge(ONE, logits, [LABELS[i] for i in gold], LABELS[:2]).measured()
    assert found["auc"] == pytest.approx(sk.roc_auc_score(gold, softmax(logits, -1)[:, 1]))


@pytest.mark.parametrize("share", [0.4, 0.0])
def test_several_labels_are_judged_as_the_libraries_do(share: float) -> None:
    import torch

    rng = np.random.default_rng(1)
    logits, gold = rng.normal(size=(200, 3)).astype(np.float32), (rng.random((200, 3)) < share).astype(int)
    names = [tuple(label for label, on in zip(LABELS, row, strict=True) if on) for row in gold]
    found = judge(SEVERAL, logits, names, LABELS).measured()
    told = expit(logits) >= 0.5
    loss = torch.nn.functional.binary_cross_entropy_with_logits(torch.tensor(logits), torch.tensor(gold).float())
    assert found["loss"] == pytest.approx(loss.item(), rel=1e-5)
    assert found["f1_micro"] == pytest.approx(sk.f1_score(gold, told, average="micro", zero_division=0))
    assert found["f1_macro"] == pytest.approx(sk.f1_score(gold, told, average="macro", zero_division=0))
    assert found["subset_accuracy"] == sk.accuracy_score(gold, told)
    assert ("auc" in found) == (share > 0)


@pytest.mark.parametrize("constant", [False, True])
def test_numbers_are_judged_as_the_libraries_do(constant: bool) -> None:
    from scipy.stats import pearsonr, spearmanr

    rng = np.random.default_rng(2)
    gold = rng.integers(1, 6, 200).astype(float)  # with many ties
    told = np.zeros(200) if constant else gold + rng.normal(size=200).round(1)
    found = judge(NUMBER, told[:, None], gold.tolist(), []).measured()
    assert found["rmse"] == pytest.approx(sk.root_mean_squared_error(gold, told))
    assert found["r2"] == pytest.approx(sk.r2_score(gold, told))
    if constant:
        assert "spearman" not in found and np.isnan(spearman(told, gold))
    else:
        assert found["spearman"] == pytest.approx(spearmanr(told, gold).statistic)
        assert found["pearson"] == pytest.approx(pearsonr(told, gold).statistic)


def test_calibration_error_is_the_gap_of_bins_by_their_rows() -> None:
    confidence = np.array([0.95, 0.95, 0.95, 0.95, 0.55, 0.55])
    right = np.array([1, 1, 1, 0, 1, 0])
    assert calibration_error(confidence, right) == pytest.approx((0.20 * 4 + 0.05 * 2) / 6)
    assert calibration_error(np.ones(3), np.ones(3)) == 0


def test_cells_hold_several_labels_in_the_usual_ways() -> None:
    assert split_labels('["b", "a", "b"]') == ("b", "a")
    assert split_labels("red; blue;") == split_labels("red|blue") == split_labels("red, blue") == ("red", "blue")
    assert split_labels("a, b; c") == ("a, b", "c"), "the rarer mark separates"
    table = pa.table({"text": ["one", "two", "three"], "label": ["x;y", "", "y"]})
    columns = {"text": "text", "label": "label"}
    assert SEVERAL.rows(table, columns).gold == [("x", "y"), (), ("y",)], "no label is an answer too"
    assert ONE.rows(table, columns).gold == ["x;y", None, "y"]
    assert SEVERAL.rows(table, {"text": "text"}).gold == [None] * 3


def test_numbers_and_lists_that_were_not_meant_are_told() -> None:
    texts = [f"text {i}" for i in range(24)]
    words = pa.table({"text": texts, "label": ["1.5", "2,5", "good", "4"] * 6})
    (problem,) = NUMBER.check(words, {"text": "text", "label": "label"})
    assert (problem.reason, problem.field, problem.facts["row"]) == ("not-a-number", "columns.label", 3)
    lists = pa.table({"text": texts, "label": ["x", "x;y", "y", "y;z", "z;x", "z"] * 4})
    assert [p.reason for p in ONE.check(lists, {"text": "text", "label": "label"})] == ["several-labels"]
    assert SEVERAL.check(lists, {"text": "text", "label": "label"}) == []
    assert NUMBER.labels([1.0, 2.5]) == [] and NUMBER.head([])["num_labels"] == 1


def test_a_pair_is_read_as_one_row() -> None:
    table = pa.table({"premise": ["A man sleeps."], "hypothesis": ["He is awake."], "label": ["no"]})
    roles = ONE.guess_roles(table)
    assert roles == {"text": "premise", "text_pair": "hypothesis", "label": "label"}
    rows = ONE.rows(table, roles)
    assert {role: list(texts) for role, texts in rows.fields.items()} == {
        "text": ["A man sleeps."],
        "text_pair": ["He is awake."],
    }
