"""Rows as the model gets them: every token with what it is, and what of a row is cut off."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from studio.core import events as ev
from studio.core.anatomy import describe_model
from studio.core.blocks import Token, TokenText, TokenTexts
from studio.core.rundir import RunDir
from studio.core.spec import TrainSpec
from studio.engine import models
from studio.engine.data import read_parts, workspace_of
from studio.engine.reporter import Reporter
from studio.engine.tokens import tokenise
from studio.tasks.base import Rows, task_of

_SHOWN = 40  # rows: the longest, and others spread over all
_LONGEST = 4096  # tokens of a text of which the cut ones are shown


def run(run_dir: RunDir, spec: TrainSpec, report: Reporter) -> ev.Seen:
    """Return some training rows as the model would get them, the cut ones first, and how many of all are cut."""
    task, info = task_of(spec.task), describe_model(spec.model)
    parts, _, _ = read_parts(spec, workspace_of(run_dir.path))
    rows, labels = parts["train"], task.labels(parts["train"].gold)
    tokenizer = models.load_tokenizer(info.path)
    max_length = min(spec.training.max_length, info.max_positions or spec.training.max_length)
    n_rows = n_cut = n_unlabelled = 0
    datasets = {}
    for name, part in parts.items():
        if len(part):
            datasets[name], cut = tokenise(
                task, part, labels, tokenizer, max_length, workspace_of(run_dir.path), report.check
            )
            n_rows, n_cut = n_rows + len(part), n_cut + cut
            n_unlabelled += task.n_unlabelled(datasets[name])
    dataset = datasets["train"]
    lengths = np.array(dataset["length"])
    spread = np.linspace(0, len(lengths) - 1, _SHOWN * 3 // 4).round().astype(int)
    chosen = dict.fromkeys([*np.argsort(-lengths, kind="stable")[: _SHOWN // 4].tolist(), *spread.tolist()])
    texts, n_tokens = [], np.zeros(2)
    for i in chosen:
        feature = dataset[i]
        n_tokens += _count(feature["input_ids"], tokenizer.unk_token_id)
        row = rows.select([feature["row"]])
        told = task.gold_text(row.gold[0])
        note = f"row {row.indices[0] + 1} · {feature['length']} tokens" + (f" · {told[:80]}" if told else "")
        texts.append(seen(task, feature, row, tokenizer, labels, max_length, note))
    block = TokenTexts(title="What the model sees", texts=texts).model_dump(mode="json")
    return ev.Seen(
        block=block, n_rows=n_rows, n_cut=n_cut, n_unlabelled=n_unlabelled, max_length=max_length,
        unknown_share=float(n_tokens[0] / max(1.0, n_tokens[1])),
    )  # fmt: skip


def _count(ids: Sequence[Any], unknown: int | None) -> np.ndarray:
    """Return how many of the ids of a text, or of several, are unknown, and how many there are."""
    if ids and isinstance(ids[0], list):
        return np.sum([_count(each, unknown) for each in ids], axis=0)
    return np.array([sum(each == unknown for each in ids), len(ids)], float)


def seen(
    task: Any, feature: Mapping[str, Any], row: Rows, tokenizer: Any, labels: Sequence[str], max_length: int, note: str
) -> TokenText:
    """Return one feature as the model gets it alone, padded as in a batch. row: the one row that it is of."""
    ids = feature["input_ids"]
    if ids and isinstance(ids[0], list):  # several texts in a row, such as question and options
        parts = [{name: values[i] for name, values in feature.items() if isinstance(values, list)}
                 for i in range(len(ids))]  # fmt: skip
        found = [seen(task, part, row, tokenizer, labels, max_length, "").tokens for part in parts]
        return TokenText(tokens=[token for tokens in found for token in tokens], note=note)
    names = task.token_labels(feature, labels)
    tokens = _tokens(ids, tokenizer, names)
    whole = task.encode({role: list(text) for role, text in row.fields.items()}, tokenizer, _LONGEST)["input_ids"]
    if task.is_plain and len(whole) == 1 and not isinstance(whole[0][0], list):  # what a part lacks others may have
        tokens = _with_cut(tokens, ids, whole[0], tokenizer)
    width = -(-len(ids) // 8) * 8
    pad = Token(text=tokenizer.pad_token or "", kind="padding")
    padding = [pad] * (width - len(ids))
    return TokenText(tokens=padding + tokens if tokenizer.padding_side == "left" else tokens + padding, note=note)


def _tokens(ids: Sequence[int], tokenizer: Any, labels: Sequence[str]) -> list[Token]:
    texts = tokenizer.convert_ids_to_tokens(list(ids))
    special = set(tokenizer.all_special_ids) - {tokenizer.unk_token_id}  # an unknown word is a word of the text
    found = []
    for id, text, label in zip(ids, texts, labels or [""] * len(ids), strict=True):
        kind = "special" if id in special else "continued" if text.startswith("##") else ""
        found.append(Token(text=text, kind=kind, label=label))
    return found


def _with_cut(tokens: list[Token], ids: Sequence[int], whole: Sequence[int], tokenizer: Any) -> list[Token]:
    """Return tokens with those in their place that the longest length cuts off."""
    n = 0
    while n < min(len(ids), len(whole)) and ids[n] == whole[n]:
        n += 1
    rest = len(ids) - n  # what stands behind the cut: the special tokens of the end
    lost = whole[n : len(whole) - rest]
    if not lost or list(whole[len(whole) - rest :]) != list(ids[n:]):
        return tokens
    cut = [Token(text=text, kind="cut") for text in tokenizer.convert_ids_to_tokens(list(lost))]
    return [*tokens[:n], *cut, *tokens[n:]]
