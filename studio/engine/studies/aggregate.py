"""What every head does over many rows of the data: its numbers in each, before and after.

options: `split` (train, validation or test) and `n_rows` spread evenly over it, or `texts` in their place; `filters`,
those of `FILTERS` that apply: what is left out of each text and merged, as on screen; `stop` ends a measurement that
runs. result: `source` (the split, or `texts`), `filters`, `n_asked`, `n_rows` that were measured, and `n_left_out` by
the reason for which others were not (`unverified`: the capture failed its checks). The directory holds what
`attention.over_rows.load` reads: the rows (of one label each with `gold` and, by state, `said`), and numbers by state
[row, layer, head], under `between` how much each head changed.
"""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from studio.core.commands import Study
from studio.core.reasons import Failure

MOST_ROWS = 1000
UNVERIFIED = "unverified"
FILTERS = ("without_special", "without_first", "whole_words")


def study(subject: Any, asked: Study, states: tuple[str, ...], out: Path) -> dict[str, Any]:
    """Return the fields of an `events.Studied`.

    Raises Failure: aggregate-no-data, split-empty, aggregate-nothing, data-changed, study-replaced.
    """
    from studio.attention import over_rows

    if asked.options.get("stop"):
        raise Failure("study-replaced")
    source, rows = _rows(subject, asked.options)
    filters = [name for name in FILTERS if name in asked.options.get("filters", ())]
    measured: list[dict[str, dict[str, np.ndarray]]] = []
    kept, left_out = [], Counter()
    for done, row in enumerate(rows):
        subject.progress(done, len(rows))
        try:
            numbers = _measure(subject, row, states, filters)
        except Failure as failure:
            left_out[failure.problem.reason] += 1
            continue
        measured.append(numbers)
        kept.append(row)
    if not measured:
        reasons = ", ".join(f"{reason} ({n})" for reason, n in left_out.most_common())
        raise Failure("aggregate-nothing", n_rows=len(rows), reasons=reasons)
    by_state = {name: over_rows.stack([numbers[name] for numbers in measured]) for name in measured[0]}
    over_rows.save(out, by_state, kept)
    result = {"source": source, "filters": filters}
    result |= {"n_asked": len(rows), "n_rows": len(kept), "n_left_out": dict(left_out)}
    return {"result": result, "directory": str(out)}


def _measure(
    subject: Any, row: dict[str, Any], states: tuple[str, ...], filters: Sequence[str]
) -> dict[str, dict[str, np.ndarray]]:
    """Return the numbers of a row by state and name. Raises Failure where a state can't be captured or believed."""
    from studio.attention import capture as attention
    from studio.attention import grouping, maps, over_rows

    encoded = subject.encode(row["text"], row["fields"])
    facts = attention.token_facts(subject.tokenizer, encoded, row["text"])
    ids, special, groups = facts["ids"], facts["special"], None
    if filters:
        word_ids = facts.get("word_ids") or [None] * len(ids)
        wanted = dict.fromkeys(filters, True)
        groups = grouping.chosen(facts["tokens"], word_ids, facts.get("segments"), special, **wanted)
        places = grouping.members(groups)
        if not places:
            raise Failure("text-empty", "text")
        ids, special = grouping.ids_of(ids, places), [special[each[0]] for each in places]
    seen, numbers, said = {}, {}, {}
    for name in states:
        with subject.state(name) as model:
            captured = attention.capture(subject.body(model), subject.inputs(encoded, model))
        if captured.checks.get("verified") is not True:
            raise Failure(UNVERIFIED)
        if row.get("gold") in subject.labels and captured.probabilities is not None:
            said[name] = subject.labels[int(captured.probabilities.argmax())]
        found = captured.attention
        if isinstance(found, dict):  # of an encoder-decoder the encoder reads the text
            found = found["encoder"]
        if groups is not None:
            found = grouping.grouped(found, groups)
        seen[name] = found
        numbers[name] = over_rows.measure(found, ids, special)
    if said:
        row["said"] = said
    if len(seen) == 2:
        numbers[over_rows.BETWEEN] = {over_rows.CHANGE: maps.js_divergence(*seen.values()).astype(np.float32)}
    return numbers


def _rows(subject: Any, options: dict[str, Any]) -> tuple[str, list[dict[str, Any]]]:
    """Return where the rows come from, and each as text, fields and place in its file."""
    texts = [text.strip() for text in options.get("texts") or [] if text.strip()][:MOST_ROWS]
    if texts:
        return "texts", [{"text": text, "fields": {}, "index": place} for place, text in enumerate(texts)]
    if subject.trained is None:
        raise Failure("aggregate-no-data")
    split = options.get("split", "validation")
    part = subject.parts().get(split)
    if part is None or not len(part):
        raise Failure("split-empty", "data", split=split)
    n_rows = min(int(options.get("n_rows", 200)), MOST_ROWS, len(part))
    chosen = part.select(np.unique(np.linspace(0, len(part) - 1, n_rows).astype(int)).tolist())
    found = []
    for place in range(len(chosen)):
        fields = {role: texts[place] or "" for role, texts in chosen.fields.items()}
        row = {"text": next(iter(fields.values())), "fields": fields, "index": int(chosen.indices[place])}
        gold = chosen.gold[place]
        found.append(row | ({"gold": gold} if isinstance(gold, str) and gold in subject.labels else {}))
    return split, found
