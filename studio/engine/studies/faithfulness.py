"""How far an explanation can be believed: what happens as its strongest tokens go or come, beside what chance does."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np

from studio.attention import coalitions, gates
from studio.attention.interface import inner_model, uses_interface
from studio.engine.studies.target import blank_of, value_function

if TYPE_CHECKING:
    from studio.engine.studies.asked import Target
    from studio.engine.subject import Subject

SHORT = 48  # tokens; a longer text takes so much longer that less is tried
MOST_STEPS, FEWER_STEPS = 12, 8  # of a curve: several tokens go at once
ORDERS, FEWER_ORDERS = 6, 3  # random ones
STRONGEST = 5  # tokens that are spoken of
MOST_OCCLUDED = 96  # tokens that are left out one by one
_KEPT_NOTES = 4


def faithfulness(subject: Subject, model: Any, target: Target, weights: np.ndarray, key: Any) -> dict[str, Any]:
    """Return the curves of an explanation's weights [token], of chance beside them, and what else tests it; as JSON.

    steps [step]: numbers of tokens; `deletion` and `insertion` [step]: the target as the strongest go, and as only
    they are there; `random_…`: the mean of several random orders, with the spread `random_…_spread` (standard
    deviation). `occlusion` [free token]: what is lost when each goes alone (None for long texts); `spearman`: its
    rank correlation with the weights. `uniform`: the target when every head looks evenly at all it may see, None
    where heads can't be changed. key: what the text, the state and the target are told from others by.
    """
    free = np.flatnonzero(~target.stays)
    value = value_function(model, target, blank_of(subject.tokenizer))
    steps, key = _steps(len(free)), json.dumps(key, sort_keys=True, default=str)
    if key not in subject.notes:
        subject.notes[key] = _chance(value, len(free), steps) | {"uniform": _uniform(model, target)}
        while len(subject.notes) > _KEPT_NOTES:
            del subject.notes[next(iter(subject.notes))]
    chance = subject.notes[key]
    scores = np.asarray(weights, dtype=np.float64)[free]
    deletion, insertion = (curve(value, scores, steps) for curve in (coalitions.deletion, coalitions.insertion))
    return chance | {
        "steps": steps.tolist(),
        "n_strongest": _n_strongest(len(free)),
        "deletion": deletion.tolist(),
        "insertion": insertion.tolist(),
        "deletion_area": coalitions.area(deletion, steps),
        "insertion_area": coalitions.area(insertion, steps),
        "spearman": _rank_correlation(scores, chance["occlusion"]),
    }


def _steps(n_tokens: int) -> np.ndarray:
    """Return after how many tokens a curve has a point; none and all are among them, and those that are told of."""
    most = MOST_STEPS if n_tokens <= SHORT else FEWER_STEPS
    even = np.linspace(0, n_tokens, min(n_tokens, most) + 1).round().astype(int)
    steps = np.array([*even, _n_strongest(n_tokens)])
    return np.unique([*steps, *(n_tokens - steps)])


def _n_strongest(n_tokens: int) -> int:
    return min(STRONGEST, max(1, n_tokens // 3))


def _chance(value: coalitions.Value, n_tokens: int, steps: np.ndarray) -> dict[str, Any]:
    """Return what does not depend on the explanation."""
    random, found = np.random.default_rng(0), {}
    orders = [random.random(n_tokens) for _ in range(ORDERS if n_tokens <= SHORT else FEWER_ORDERS)]
    curves = np.stack([coalitions.deletion(value, order, steps) for order in orders])
    # Of random tokens it is the same whether so many went or the others came: steps are the same from both ends.
    for name, each in (("deletion", curves), ("insertion", curves[:, ::-1])):
        found[f"random_{name}"] = each.mean(axis=0).tolist()
        found[f"random_{name}_spread"] = each.std(axis=0).tolist()
        found[f"random_{name}_area"] = coalitions.area(each.mean(axis=0), steps)
    found["occlusion"] = coalitions.occlusion(value, n_tokens).tolist() if n_tokens <= MOST_OCCLUDED else None
    return found


def _uniform(model: Any, target: Target) -> float | None:
    """Return the target when no head chooses where it looks (the control of Wiegreffe & Pinter 2019)."""
    import torch

    inner = inner_model(model)
    if not uses_interface(inner):
        return None
    with torch.inference_mode():
        with gates.ablated(model, {}) as seen:
            model(**target.inputs)
        even = {name: dict.fromkeys(range(heads[0]), "uniform") for name, heads in seen.items()}
        with gates.ablated(model, even):
            return target.value(model(**target.inputs))[0].item()


def _rank_correlation(scores: np.ndarray, occlusion: list[float] | None) -> float | None:
    from scipy.stats import spearmanr

    if occlusion is None or len(scores) < 3 or np.ptp(scores) == 0 or np.ptp(occlusion) == 0:
        return None
    return float(spearmanr(scores, occlusion).statistic)
