"""Masked language model: an encoder learns the words of a field by guessing those that are hidden from it."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np

from studio.core.anatomy import ModelInfo, masked_lm_head
from studio.core.blocks import Bars, Block, Histogram, Table
from studio.core.reasons import Failure, Problem
from studio.core.registry import PluginConfig
from studio.core.spec import setting
from studio.sources.texts import Texts, digest
from studio.tasks.base import MASKED, Answers, Judged, Role, Rows, Task, columns_by_name, missing_columns, word_lengths
from studio.tasks.word_hiding import NO_WORD, WordBatch, guess_hidden_alone, hide_words, joined_pieces, lines

MASK_LABELS = ("labels", "words", "behind", "asked")  # columns of features that are not the model's
TOP = 5  # guesses for a word that are kept
FIXED_SEED = 20181011  # of the words that are hidden where models are measured
FIXED_EPOCH = 0
_NEEDED_ROWS = 10
_MOST_MISSED = 20


class Config(PluginConfig):
    """What is hidden; names as transformers has them."""

    kind: Literal["masked-lm"] = "masked-lm"
    mlm_probability: float = setting(
        0.15, "Hidden words", "Share of the tokens that the model has to guess.", gt=0, le=0.9
    )
    whole_words: bool = setting(
        True, "Whole words", "All pieces of a word are hidden together, so that none gives the others away."
    )
    chunking: Literal["joined", "lines"] = setting(
        "joined",
        "Texts",
        "Joined: all texts one after the other, cut into pieces of the longest length, so that nothing is lost. "
        "Lines: each text by itself, cut off at the longest length.",
    )


class MaskedLM(Task):
    """Learns to guess words that are hidden from it, and so the language of the texts."""

    id = "masked-lm"
    label = "Masked language model"
    summary = (
        "Adapts an encoder to the language of your texts, by guessing hidden words; then go on as a classifier. "
        "A model without a head for words, such as the starter, gets a new one that begins by guessing at random."
    )
    order = 50
    sample = "masked-lm.csv"
    Config = Config
    auto_class = "AutoModelForMaskedLM"
    pipeline = "fill-mask"
    roles = (Role("text", "Text", "What the model reads, and hides words of."),)
    main_metric = "perplexity"
    greater_is_better = False
    target_names = MASK_LABELS
    per_token = True
    is_plain = False
    is_base = True
    batch_tokens = 1024  # the model gives one number a word of its vocabulary for each

    # --- on tables ---------------------------------------------------------------------------------------------

    def guess_roles(self, table: Any) -> dict[str, str]:
        names = ["text", "sentence", "content", "body", "message", "review", "article", "paragraph", "line"]
        found = columns_by_name(table, {"text": names})
        if not found and table.column_names:
            sample = table.slice(0, 200)
            lengths = {n: sum(len(str(v or "")) for v in sample[n].to_pylist()) for n in table.column_names}
            found = {"text": max(lengths, key=lengths.get)}
        return found

    def check(self, table: Any, columns: dict[str, str]) -> list[Problem]:
        problems = missing_columns(table, columns, self.roles)
        if problems:
            return problems
        counts = Counter(digest(text) if text else b"" for text in Texts(table[columns["text"]]))
        n_empty = counts.pop(b"", 0)
        n_rows = sum(counts.values())
        if not n_rows:
            return [Problem("empty-texts", {}, "columns.text")]
        if n_rows < _NEEDED_ROWS:
            return [Problem("too-few-rows", {"n_rows": n_rows, "needed": _NEEDED_ROWS}, "data.train")]
        found = [Problem("some-empty-texts", {"n_rows": n_empty})] if n_empty else []
        if n_rows > len(counts):
            found.append(Problem("duplicates", {"n_rows": n_rows - len(counts)}))
        return found

    def rows_behind(self, reason: str, table: Any, columns: dict[str, str]) -> list[int]:
        texts = Texts(table[columns["text"]])
        if reason == "some-empty-texts":
            return [i for i, text in enumerate(texts) if not text]
        if reason == "duplicates":
            counts = Counter(digest(text) for text in texts if text)
            places = [i for i, text in enumerate(texts) if text and counts[digest(text)] > 1]
            return sorted(places, key=lambda i: (texts[i], i))
        return []

    def overview(self, table: Any, columns: dict[str, str]) -> list[Block]:
        if columns.get("text") not in table.column_names:
            return []
        edges, counts = word_lengths(Texts(table[columns["text"]]))
        return [Histogram(title="Lengths", edges=edges, counts=counts, unit="words")]

    def rows(self, table: Any, columns: dict[str, str]) -> Rows:
        # What the model shall say stands in the text itself.
        return Rows({"text": Texts(table[columns["text"]])}, [""] * table.num_rows, range(table.num_rows))

    # --- for the model -----------------------------------------------------------------------------------------

    def check_model(self, info: ModelInfo) -> list[Problem]:
        return [] if has_word_head(info) else [Problem("head-new", {"model": info.name})]

    def output_width(self, info: ModelInfo) -> int:
        return round(info.vocab_size * self.config.mlm_probability)

    def wrap(self, model: Any, folder: Any) -> Any:
        return guess_hidden_alone(model)

    def head(self, labels: Sequence[str]) -> dict[str, Any]:
        return {}

    def head_tensors(self, info: ModelInfo, labels: Sequence[str]) -> list[Any]:
        return masked_lm_head(info)

    def tensors(self, info: ModelInfo, labels: Sequence[str]) -> list[Any]:
        # What pools a text for a classifier has no part in guessing words.
        return [t for t in info.tensors if "pooler" not in t.name] + self.head_tensors(info, labels)

    def encode(self, batch: Mapping[str, Sequence[str]], tokenizer: Any, max_length: int) -> dict[str, list[Any]]:
        """Return features with words hidden that are the same at each call, as models are measured.

        `labels` holds what is hidden, `words` the number of each token's word (-1 for none), `behind` how many rows
        before the feature's `row` each token stands, `asked` whether some row has gaps: then these alone are hidden of
        that row, and words of the others.
        """
        if tokenizer.mask_token_id is None:
            raise Failure("model-no-mask", "model")
        texts = [text or "" for text in batch["text"]]
        is_joined = self.config.chunking == "joined"
        pieces = joined_pieces(texts, tokenizer, max_length) if is_joined else lines(texts, tokenizer, max_length)
        names = ["input_ids", "attention_mask", *MASK_LABELS, "row", "cut", "length"]
        if "token_type_ids" in tokenizer.model_input_names:
            names.append("token_type_ids")
        features: dict[str, list[Any]] = {name: [] for name in names}
        for ids, words, behind, row, cut in pieces:
            gaps = [i for i, each in enumerate(ids) if each == tokenizer.mask_token_id]
            asking = {behind[i] for i in gaps}
            free = [NO_WORD if place in asking else word for word, place in zip(words, behind, strict=True)]
            labels = [MASKED] * len(ids)
            if not gaps or max(free) > NO_WORD:
                ids, labels = self._hide(ids, free, tokenizer, FIXED_SEED, FIXED_EPOCH)
            for i in gaps:
                labels[i] = tokenizer.mask_token_id
            made = {"input_ids": ids, "attention_mask": [1] * len(ids), "labels": labels, "words": words,
                    "behind": behind, "asked": bool(gaps), "row": row, "cut": cut, "length": len(ids),
                    "token_type_ids": [0] * len(ids)}  # fmt: skip
            for name in names:
                features[name].append(made[name])
        return features

    def _hide(
        self, ids: list[int], words: list[int], tokenizer: Any, seed: int, epoch: int
    ) -> tuple[list[int], list[int]]:
        return hide_words(
            ids, words, tokenizer.mask_token_id, len(tokenizer), self.config.mlm_probability, self.config.whole_words,
            seed, epoch,
        )  # fmt: skip

    def token_labels(self, feature: Mapping[str, Any], labels: Sequence[str]) -> list[str]:
        return ["" if label == MASKED else "hidden" for label in feature["labels"]]

    def targets(self, features: Any, rows: Rows, labels: Sequence[str]) -> dict[str, list[Any]]:
        return {}

    def collator(self, tokenizer: Any) -> Any:
        return WordBatch(tokenizer)

    def training_collator(self, tokenizer: Any, seed: int) -> Any:
        return WordBatch(tokenizer, lambda ids, words, epoch: self._hide(ids, words, tokenizer, seed, epoch))

    def reduce(self, outputs: Any, labels: Any) -> Any:
        """Return [..., token, 1 + 2 · TOP]: the log probability of what is hidden, the best ones, and their tokens.

        All are 0 where nothing is hidden. Without labels: what tells two models apart, of each token.
        """
        import torch

        if labels is None:
            some = torch.linspace(0, outputs.shape[-1] - 1, 63, device=outputs.device).long()
            logits = outputs.float()
            return torch.cat([logits.logsumexp(-1, keepdim=True), logits[..., some]], -1)
        there = labels != MASKED
        logs = outputs[there].float().log_softmax(-1)
        best = logs.topk(TOP)
        kept = torch.zeros((*labels.shape, 1 + 2 * TOP), device=outputs.device)
        hidden = labels[there].to(logs.device).unsqueeze(-1)
        kept[there] = torch.cat([logs.gather(-1, hidden), best.values, best.indices.float()], -1)
        return kept

    def compared(self, outputs: np.ndarray) -> np.ndarray:
        return outputs[..., :1] if outputs.shape[-1] == 1 + 2 * TOP else outputs

    def agreement(self, ours: Answers, theirs: Answers) -> float | None:
        """Return the share of hidden words for which both guess the same."""
        return float((ours.values["tokens"][:, 0] == theirs.values["tokens"][:, 0]).mean())

    def answers(self, outputs: Any, features: Mapping[str, Any], rows: Rows, labels: Sequence[str]) -> Answers:
        """Return the guesses for each hidden token, in the order of the features.

        values: `row`, `gold` (its token), `log_probability` of it, `tokens` and `logs` [hidden, TOP], `known` (whether
        `gold` is).
        """
        parts = []
        columns = (features[name] for name in ("labels", "words", "behind", "row", "asked"))
        for output, hidden, words, behind, row, asked in zip(outputs, *columns, strict=True):
            hidden = np.asarray(hidden)
            there = np.flatnonzero(hidden != MASKED)
            kept = np.asarray(output)[there]
            place = row - np.asarray(behind)[there]
            is_known = (np.asarray(words)[there] > NO_WORD) | (not asked)  # a gap is no word
            facts = np.stack([place, hidden[there], is_known], -1)
            parts.append(np.concatenate([facts, kept], -1))
        found = np.concatenate(parts)
        values = {
            "row": found[:, 0].astype(int), "gold": found[:, 1].astype(int), "known": found[:, 2] > 0,
            "log_probability": found[:, 3], "logs": found[:, 4 : 4 + TOP],
            "tokens": found[:, 4 + TOP :].astype(int),
        }  # fmt: skip
        told: list[list[str]] = [[] for _ in range(len(rows))]
        for row, tokens in zip(values["row"], values["tokens"], strict=True):
            told[row].append(str(tokens[0]))
        return Answers({"predicted": [" ".join(each) for each in told]}, values)

    def score(self, answers: Answers, gold: Sequence[Any], labels: Sequence[str]) -> float:
        known = answers.values["known"]
        return float(np.exp(-answers.values["log_probability"][known].mean()))

    def decode(self, answers: Answers, tokenizer: Any) -> Answers:
        """Return answers with the hidden words and the guesses as a person reads them."""
        values = answers.values
        used = sorted({*values["gold"].tolist(), *values["tokens"].ravel().tolist()})
        shown = (tokenizer.convert_tokens_to_string([token]) for token in tokenizer.convert_ids_to_tokens(used))
        names = {i: text.strip() or str(i) for i, text in zip(used, shown, strict=True)}
        n_rows = len(answers.columns["predicted"])
        hidden: list[list[str]] = [[] for _ in range(n_rows)]
        told: list[list[str]] = [[] for _ in range(n_rows)]
        for row, gold, known, tokens in zip(*(values[n] for n in ("row", "gold", "known", "tokens")), strict=True):
            hidden[row].append(names[int(gold)] if known else "?")
            told[row].append(names[int(tokens[0])])
        columns = {"hidden": [" | ".join(each) for each in hidden], "predicted": [" | ".join(each) for each in told]}
        return Answers(columns, values | {"names": names})

    def judge(self, answers: Answers, rows: Rows, labels: Sequence[str]) -> Judged:
        values, n = answers.values, len(rows)
        known = values["known"]
        row, logs = values["row"][known], values["log_probability"][known]
        gold, tokens = values["gold"][known], values["tokens"][known]
        counts = np.bincount(row, minlength=n).astype(float)
        sums = -np.bincount(row, logs, n)
        right = np.bincount(row, tokens[:, 0] == gold, n)

        def mean(of: np.ndarray, chosen: Any) -> float:
            total = counts[chosen].sum()
            return float(of[chosen].sum() / total) if total else float("nan")

        metrics = {
            "loss": lambda c: mean(sums, c),
            "perplexity": lambda c: float(np.exp(mean(sums, c))),
            "accuracy": lambda c: mean(right, c),
        }
        with np.errstate(invalid="ignore"):
            losses = sums / counts

        def blocks() -> list[Block]:
            among = (tokens == gold[:, None]).cumsum(-1).clip(max=1).mean(0)
            heights, edges = np.histogram(-logs, 30)
            shown: list[Block] = [
                Bars(title="Hidden word among the first guesses", values={str(k + 1): float(v) for k, v in
                                                                           enumerate(among)}),
                Histogram(title="Loss of a hidden word", edges=edges.tolist(), counts=heights.tolist(), unit="loss"),
            ]  # fmt: skip
            return [*shown, *_most_missed(gold, tokens, values.get("names"))]

        return Judged(losses, metrics, blocks)

    def explain(self, answers: Answers, fields: Mapping[str, str], labels: Sequence[str]) -> list[Block]:
        """Return the guesses for each gap of the first row; where the text has none, for the words that were hidden."""
        values, names = answers.values, answers.values["names"]
        found: list[Block] = []
        for i in np.flatnonzero(values["row"] == 0):
            was = f"Gap {len(found) + 1}" if not values["known"][i] else f"Instead of {names[int(values['gold'][i])]}"
            guesses = zip(values["tokens"][i], values["logs"][i], strict=True)
            found.append(Bars(title=was, values={names[int(token)]: float(np.exp(log)) for token, log in guesses}))
        return found


def _most_missed(gold: np.ndarray, tokens: np.ndarray, names: Mapping[int, str] | None) -> list[Block]:
    """Return which words are missed most often, and what is said instead; nothing while tokens have no names."""
    missed = Counter(gold[tokens[:, 0] != gold].tolist())
    if names is None or not missed:
        return []
    lines = []
    for token, n in missed.most_common(_MOST_MISSED):
        own = gold == token
        said = Counter(tokens[own & (tokens[:, 0] != gold), 0].tolist()).most_common(3)
        lines.append([names[token], int(own.sum()), n, ", ".join(names[each] for each, _ in said)])
    return [Table(title="Words missed most often", header=["Word", "Hidden", "Missed", "Guessed instead"], rows=lines)]


def has_word_head(info: ModelInfo) -> bool:
    """Return whether a model folder has weights of a head for masked words."""
    marks = ("predictions.transform.", "lm_head.dense", "vocab_transform.", "generator_predictions.", "head.dense")
    return any(mark in name for name in info.other_heads for mark in marks if "discriminator" not in name)


PLUGIN = MaskedLM(Config())
