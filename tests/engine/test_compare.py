"""How far a measured difference can be believed."""

import numpy as np

from studio.engine import compare
from studio.tasks.judging import judge_one


def judged(right: np.ndarray):
    """Judge answers that are right where `right` says so."""
    gold = np.arange(len(right)) % 2
    told = np.where(right, gold, 1 - gold)
    return judge_one(np.eye(2)[told] * 2.0, gold, ["a", "b"])


def titles(ours: np.ndarray, theirs: np.ndarray) -> list[str]:
    found = compare.blocks(judged(ours), judged(theirs), "accuracy", ("A", "B"), lambda: None)
    return [block.title for block in found]


def test_only_a_difference_beyond_chance_is_called_real() -> None:
    rng = np.random.default_rng(0)
    theirs = rng.random(400) < 0.8
    better = theirs | (rng.random(400) < 0.5)
    first, second = titles(better, theirs)
    assert first == "A less B: a real difference in Accuracy" and "p = " in second
    other = rng.permutation(theirs)  # as good, in other rows
    assert titles(other, theirs)[0] == "A less B: no difference beyond chance in Accuracy"
    assert titles(theirs, theirs) == [
        "A less B: no difference beyond chance in Accuracy",
        "Rows that one alone has right (McNemar: p = 1)",
    ]
    # Five rows of difference, all in favour of A: the percentile interval alone would call it real.
    assert "no difference" in titles(np.ones(40, bool), np.arange(40) > 4)[0]


def test_mcnemar_is_the_exact_binomial() -> None:
    ours, theirs = np.array([1] * 8 + [0] * 1 + [1] * 20, bool), np.array([0] * 8 + [1] * 1 + [1] * 20, bool)
    # Two-sided, 8 of 9: 2 · (9 + 1) / 2⁹
    assert compare._mcnemar(ours, theirs) == (8, 1, 2 * 10 / 512)


def test_groups_show_their_gap() -> None:
    right = np.array([True] * 60 + [False] * 30 + [True] * 30)
    metric = judged(right).metrics["accuracy"]
    groups = {"city": ["north"] * 60 + ["south"] * 60, "rare": ["x"] * 118 + ["y"] * 2}
    (bars,) = compare.group_blocks(metric, "accuracy", groups, lambda: None)
    assert bars.values == {"north": 1.0, "south": 0.5} and bars.reference == 0.75 and bars.select == "city"
    low, high = bars.intervals["south"]
    assert low < 0.5 < high and "gap 0.500" in bars.title
    lengths = {"length": ["over 9"] * 40 + ["up to 4"] * 40 + ["5 to 9"] * 40}
    (bars,) = compare.group_blocks(metric, "accuracy", lengths, lambda: None)
    assert list(bars.values) == ["up to 4", "5 to 9", "over 9"]


def test_what_is_not_defined_has_no_interval() -> None:
    found = compare.bootstrap({"auc": lambda c: float("nan"), "rmse": lambda c: 2.5}, 20, lambda: None)
    assert found == {"rmse": [2.5, 2.5]}


def test_all_rows_right_is_not_certain() -> None:
    shares = {"all": lambda c: 1.0, "none": lambda c: 0.0}
    assert compare.bootstrap(shares, 60, lambda: None) == {"all": [0.95, 1.0], "none": [0.0, 0.05]}
    assert compare.bootstrap(shares, 2, lambda: None) == {"all": [0.0, 1.0], "none": [0.0, 1.0]}
    same = np.ones(40, bool)
    (bars, _) = compare.blocks(judged(same), judged(same), "accuracy", ("A", "B"), lambda: None)
    assert bars.intervals["Accuracy"] == (0.0, 0.0), "what is the same in each row differs by nothing"
