"""Numbers and curves that tell what answers are worth: one label, several labels, a number."""

from typing import Any

import numpy as np

from studio.core.blocks import Bars, Block, Curves, Histogram, Matrix, Points, Scatter, Table
from studio.sources.texts import Texts
from studio.tasks.base import Judged

_MOST_POINTS = 200  # of a curve
_MOST_DOTS = 2000  # of a scatter
_BINS = 15  # as Guo et al. 2017 count the calibration error


def log_softmax(logits: np.ndarray) -> np.ndarray:
    """Return log probabilities [..., labels] in float64."""
    shifted = logits.astype(np.float64) - logits.max(-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))


def calibration_bins(confidence: np.ndarray, right: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return mean confidence, share of right ones and number of rows of 15 equal bins; NaN where a bin is empty."""
    place = np.minimum((confidence * _BINS).astype(int), _BINS - 1)
    n = np.bincount(place, minlength=_BINS).astype(float)
    with np.errstate(invalid="ignore"):
        return np.bincount(place, confidence, _BINS) / n, np.bincount(place, right, _BINS) / n, n


def calibration_error(confidence: np.ndarray, right: np.ndarray) -> float:
    """Return the expected calibration error (Guo et al. 2017, https://arxiv.org/abs/1706.04599) over 15 bins.

    confidence: probability of what was answered [rows]. right: whether it was right [rows].
    """
    mean, share, n = calibration_bins(confidence, right.astype(float))
    return float(np.nansum(np.abs(mean - share) * n) / max(1, n.sum()))


def calibration_curve(confidence: np.ndarray, right: np.ndarray) -> Curves:
    """Return how often answers of some probability are right, against that probability."""
    mean, share, n = calibration_bins(confidence, right.astype(float))
    there = n > 0
    note = f"ECE {calibration_error(confidence, right):.3f}"
    return Curves(
        title="Calibration", series={"Model": Points(x=mean[there].tolist(), y=share[there].tolist(), note=note)},
        x_axis="Probability of the answer", y_axis="Share that is right", diagonal=True, unit_square=True,
    )  # fmt: skip


def ranking_curves(gold: np.ndarray, scores: np.ndarray, labels: list[str]) -> list[Curves]:
    """Return precision over recall and ROC, each label against the rest, without labels that all or no rows have.

    gold: 0 or 1 [rows, labels]. scores: [rows, labels].
    """
    from sklearn.metrics import auc, average_precision_score, precision_recall_curve, roc_curve

    recalls, rates = {}, {}
    for i, label in enumerate(labels):
        if not 0 < gold[:, i].sum() < len(gold):
            continue
        precision, recall, _ = precision_recall_curve(gold[:, i], scores[:, i])
        note = f"AP {average_precision_score(gold[:, i], scores[:, i]):.3f}"
        recalls[label] = _points(recall[::-1], precision[::-1], note)
        wrong, found, _ = roc_curve(gold[:, i], scores[:, i])
        rates[label] = _points(wrong, found, f"AUC {auc(wrong, found):.3f}")
    if not recalls:
        return []
    return [
        Curves(title="Precision and recall", series=recalls, x_axis="Recall", y_axis="Precision", unit_square=True),
        Curves(
            title="ROC", series=rates, x_axis="False positive rate", y_axis="True positive rate", diagonal=True,
            unit_square=True,
        ),
    ]  # fmt: skip


def _points(x: np.ndarray, y: np.ndarray, note: str) -> Points:
    chosen = np.unique(np.linspace(0, len(x) - 1, min(len(x), _MOST_POINTS)).round().astype(int))
    return Points(x=x[chosen].tolist(), y=y[chosen].tolist(), note=note)


def spearman(a: np.ndarray, b: np.ndarray) -> float:
    """Return Spearman's rank correlation, ties at their mean rank; NaN where one of them does not vary."""

    def ranks(values: np.ndarray) -> np.ndarray:
        _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
        return (np.cumsum(counts) - (counts - 1) / 2)[place]

    if len(a) < 2 or np.ptp(a) == 0 or np.ptp(b) == 0:
        return float("nan")
    return float(np.corrcoef(ranks(a), ranks(b))[0, 1])


def judge_one(logits: np.ndarray, gold: np.ndarray, labels: list[str]) -> Judged:
    """Judge logits [rows, labels] of which the highest is the answer. gold: indices of labels [rows]."""
    from sklearn.metrics import accuracy_score, confusion_matrix, f1_score, matthews_corrcoef

    logs = log_softmax(logits)
    chances = np.exp(logs)
    predicted, known = logits.argmax(-1), list(range(len(labels)))
    losses = -logs[np.arange(len(gold)), gold]
    confidence, right = chances[np.arange(len(gold)), predicted], predicted == gold
    ranked = labels[-1:] if len(labels) == 2 else labels  # of two labels the curves of one are those of the other
    kept = [labels.index(label) for label in ranked]
    truth = np.eye(len(labels), dtype=int)[gold][:, kept]

    metrics = {
        "loss": lambda c: float(losses[c].mean()),
        "accuracy": lambda c: float(accuracy_score(gold[c], predicted[c])),
        "f1_macro": lambda c: float(f1_score(gold[c], predicted[c], average="macro", zero_division=0)),
        "f1_micro": lambda c: float(f1_score(gold[c], predicted[c], average="micro", zero_division=0)),
        "auc": lambda c: _auc(truth[c], chances[c][:, kept]),
        "mcc": lambda c: float(matthews_corrcoef(gold[c], predicted[c])),
        "ece": lambda c: calibration_error(confidence[c], right[c]),
    }

    def blocks() -> list[Block]:
        matrix = confusion_matrix(gold, predicted, labels=known)
        by_label = f1_score(gold, predicted, labels=known, average=None, zero_division=0)
        return [
            Matrix(
                title="Confusion", rows=labels, columns=labels, values=matrix.tolist(),
                row_axis="Label", column_axis="Predicted", select=("label", "predicted"),
            ),
            Bars(title="F1 by label", values=dict(zip(labels, by_label.tolist(), strict=True)), select="label"),
            *ranking_curves(truth, chances[:, kept], ranked),
            calibration_curve(confidence, right),
        ]  # fmt: skip

    return Judged(losses, metrics, blocks, right)


def judge_several(logits: np.ndarray, gold: np.ndarray, labels: list[str]) -> Judged:
    """Judge logits [rows, labels], each label by itself. gold: 0 or 1 [rows, labels]."""
    from sklearn.metrics import f1_score, precision_recall_curve

    logits = logits.astype(np.float64)
    chances = 1 / (1 + np.exp(-logits))
    told = chances >= 0.5
    losses = (np.logaddexp(0, logits) - logits * gold).mean(-1)  # binary cross-entropy, as torch's with logits
    right = (told == gold).all(-1)

    metrics = {
        "loss": lambda c: float(losses[c].mean()),
        "f1_micro": lambda c: float(f1_score(gold[c], told[c], average="micro", zero_division=0)),
        "f1_macro": lambda c: float(f1_score(gold[c], told[c], average="macro", zero_division=0)),
        "subset_accuracy": lambda c: float(right[c].mean()),
        "auc": lambda c: _auc(gold[c], chances[c]),
    }

    def blocks() -> list[Block]:
        by_label = f1_score(gold, told, average=None, zero_division=0)
        lines = []
        for i, label in enumerate(labels):
            if not gold[:, i].any():
                continue
            precision, recall, thresholds = precision_recall_curve(gold[:, i], chances[:, i])
            f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-12)
            best = int(f1[:-1].argmax())
            counts = [int(gold[:, i].sum()), int(told[:, i].sum())]
            there = [round(float(v), 4) for v in (thresholds[best], f1[best])]
            lines.append([label, *there, round(float(by_label[i]), 4), *counts])
        header = ["Label", "Threshold", "F1 there", "F1 at 0.5", "Rows", "Predicted"]
        return [
            Bars(title="F1 by label", values=dict(zip(labels, by_label.tolist(), strict=True))),
            Table(title="Best threshold of each label", header=header, rows=lines),
            *ranking_curves(gold, chances, labels),
            calibration_curve(np.maximum(chances, 1 - chances).ravel(), (told == gold).ravel()),
        ]

    return Judged(losses, metrics, blocks, right)


def judge_numbers(told: np.ndarray, gold: np.ndarray, texts: Texts) -> Judged:
    """Judge numbers [rows] against the true ones [rows]; texts: what they were said of."""
    from sklearn.metrics import mean_absolute_error, mean_squared_error, r2_score

    errors = told - gold

    def pearson(c: Any) -> float:
        varies = len(gold[c]) > 1 and np.ptp(told[c]) and np.ptp(gold[c])
        return float(np.corrcoef(told[c], gold[c])[0, 1]) if varies else float("nan")

    metrics = {
        "loss": lambda c: float(np.square(errors[c]).mean()),
        "spearman": lambda c: spearman(told[c], gold[c]),
        "pearson": pearson,
        "rmse": lambda c: float(np.sqrt(mean_squared_error(gold[c], told[c]))),
        "mae": lambda c: float(mean_absolute_error(gold[c], told[c])),
        "r2": lambda c: float(r2_score(gold[c], told[c])) if len(gold[c]) > 1 else float("nan"),
    }

    def blocks() -> list[Block]:
        chosen = np.unique(np.linspace(0, len(gold) - 1, min(len(gold), _MOST_DOTS)).round().astype(int))
        shown = [text[:200] for text in texts.select(chosen)]
        heights, edges = np.histogram(errors, 30)
        return [
            Scatter(
                title="Predicted and true", x=gold[chosen].tolist(), y=told[chosen].tolist(), texts=shown,
                x_axis="True", y_axis="Predicted", diagonal=True,
            ),
            Scatter(
                title="Residuals", x=told[chosen].tolist(), y=errors[chosen].tolist(), texts=shown,
                x_axis="Predicted", y_axis="Predicted less true", zero_line=True,
            ),
            Histogram(title="Errors", edges=edges.tolist(), counts=heights.tolist(), unit="predicted less true"),
        ]  # fmt: skip

    return Judged(np.square(errors), metrics, blocks)


def _auc(gold: np.ndarray, scores: np.ndarray) -> float:
    """Return the mean area under ROC of the labels, each against the rest; NaN where all or no rows have one."""
    from sklearn.metrics import roc_auc_score

    usable = (gold.sum(0) > 0) & (gold.sum(0) < len(gold))
    if not usable.all():
        return float("nan")
    return float(np.mean([roc_auc_score(gold[:, i], scores[:, i]) for i in range(gold.shape[1])]))
