"""How near an answer is to the true ones: SQuAD's rules, and those of CMRC 2018 where answers are Chinese."""

import re
import string
from collections import Counter
from collections.abc import Sequence

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)
_HAN = re.compile(r"[\u4e00-\u9fa5]")
# As CMRC's own script has them.
_CMRC_SIGNS = frozenset("-:_*^/\\~`+=，。：？！“”；’《》……·、「」（）－～『』")


def normalised(answer: str) -> str:
    """Return an answer in lower case without punctuation, articles and blanks that say nothing."""
    return " ".join(_ARTICLES.sub(" ", answer.lower().translate(_PUNCTUATION)).split())


def exact(answer: str, golds: Sequence[str]) -> float:
    """Return 1 if an answer is one of the true ones, "" where there is none, else 0."""
    if not golds:
        return float(not normalised(answer))
    if _is_han(golds):
        return float(any(_without_signs(answer) == _without_signs(gold) for gold in golds))
    return float(any(normalised(answer) == normalised(gold) for gold in golds))


def f1(answer: str, golds: Sequence[str]) -> float:
    """Return the F1 of the words that an answer has in common with the true one that is nearest.

    SQuAD 1.1 and 2.0 (Rajpurkar et al. 2018, the official evaluate-v2.0.py): words as a bag; no answer is right only
    if there is none. True answers with Han characters go by CMRC 2018 (Cui et al. 2019, cmrc2018_evaluate.py): a
    character is a word, and what counts is the longest run of words in common.
    """
    if not golds:
        return float(not normalised(answer))
    return max((_han_f1 if _is_han(golds) else _bag_f1)(answer, gold) for gold in golds)


def _bag_f1(answer: str, gold: str) -> float:
    told, true = normalised(answer).split(), normalised(gold).split()
    if not told or not true:
        return float(told == true)
    return _f1_of(sum((Counter(told) & Counter(true)).values()), len(told), len(true))


def _han_f1(answer: str, gold: str) -> float:
    told, true = _segments(answer), _segments(gold)
    longest, row = 0, [0] * (len(true) + 1)
    for each in told:
        row = [0, *(row[i] + 1 if each == true[i] else 0 for i in range(len(true)))]
        longest = max(longest, *row)
    return _f1_of(longest, len(told), len(true))


def _f1_of(n_both: int, n_told: int, n_true: int) -> float:
    if not n_both:
        return 0.0
    precision, recall = n_both / n_told, n_both / n_true
    return 2 * precision * recall / (precision + recall)


def _is_han(golds: Sequence[str]) -> bool:
    return any(_HAN.search(gold) for gold in golds)


def _without_signs(answer: str) -> str:
    return "".join(sign for sign in answer.lower().strip() if sign not in _CMRC_SIGNS)


def _segments(answer: str) -> list[str]:
    """Return Han characters one by one and what stands between them by words, without signs."""
    return _HAN.sub(lambda match: f" {match[0]} ", _without_signs(answer)).split()
