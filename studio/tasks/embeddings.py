"""Sentence embeddings: texts that mean the same come to lie close to each other."""

import functools
import importlib.util
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from studio.core.anatomy import ModelInfo
from studio.core.blocks import Bars, Block, Histogram, Scatter, Table, Tiles
from studio.core.reasons import Problem
from studio.core.registry import PluginConfig
from studio.core.spec import setting
from studio.sources.texts import Texts
from studio.tasks.base import Answers, Judged, Role, Rows, Task, columns_by_name, missing_columns, word_lengths
from studio.tasks.judging import judge_numbers, spearman
from studio.tasks.text_classification import encode_texts

PAIRS = "pairs"
TRIPLETS = "triplets"
SCORED = "scored_pairs"
LABELLED = "labelled_texts"
SCALE = 20.0  # of cosines before a softmax, as sentence-transformers has it
MARGIN = 5.0  # of triplets, likewise
_NEEDED_ROWS = 10
_MOST_DOTS = 2000
_SHOWN_NEIGHBOURS = 10
_QUERIES = 1024  # that are compared with all texts at a time
LOSSES = {
    PAIRS: ("multiple-negatives",),
    TRIPLETS: ("triplet", "multiple-negatives"),
    SCORED: ("cosine", "cosent"),
    LABELLED: ("batch-all-triplet",),
}
LOSS_CLASSES = {
    "multiple-negatives": "MultipleNegativesRankingLoss",
    "triplet": "TripletLoss",
    "cosine": "CosineSimilarityLoss",
    "cosent": "CoSENTLoss",
    "batch-all-triplet": "BatchAllTripletLoss",
}


class Config(PluginConfig):
    """What the rows are, and what is learned from them; losses as sentence-transformers has them."""

    kind: Literal["embeddings"] = "embeddings"
    examples: Literal["pairs", "triplets", "scored_pairs", "labelled_texts"] = setting(
        PAIRS,
        "Rows",
        "Pairs: two texts that belong together, such as a question and its answer. Triplets: a text, one that is like "
        "it, one that is not. Scored pairs: two texts and how alike they are. Labelled texts: those of one label are "
        "alike.",
    )
    loss: Literal["auto", "multiple-negatives", "triplet", "cosine", "cosent", "batch-all-triplet"] = setting(
        "auto",
        "Loss",
        "Automatic takes the usual one for such rows: for pairs, the others of a batch are wrong answers.",
    )
    pooling: Literal["auto", "mean", "cls"] = setting(
        "auto", "Pooling", "How tokens become one vector. Automatic takes the model's own way, else the mean.", "", True
    )
    highest_score: float = setting(
        0.0, "Highest score", "The score of texts that mean the same; 0 finds it out: 1, 5, 10 or 100.", "", True, ge=0
    )


class Embeddings(Task):
    """Learns to place texts so that those that belong together lie close."""

    id = "embeddings"
    label = "Sentence embeddings"
    summary = "Turns texts into vectors, for search, duplicates and groups: those that belong together lie close."
    order = 45
    sample = "embeddings.csv"
    Config = Config
    auto_class = "AutoModel"
    pipeline = "sentence-similarity"
    roles = (
        Role("text", "Text", "The first text of a row."),
        Role("text_2", "Second text", "The one that belongs to it, or is compared with it.", is_optional=True),
        Role("text_3", "Third text", "In triplets: one that does not belong to the first.", is_optional=True),
        Role("score", "Score", "In scored pairs: how alike the two are.", is_optional=True, is_gold=True),
        Role("label", "Label", "Colours the map; labelled texts learn from it.", is_optional=True),
    )
    output_names = ("sentence_embedding",)
    is_plain = False
    is_base = True
    n_company = 500

    @property
    def main_metric(self) -> str:
        return {PAIRS: "mrr", TRIPLETS: "accuracy", SCORED: "spearman", LABELLED: "accuracy"}[self.config.examples]

    @property
    def n_texts(self) -> int:
        """Texts of a row that is trained on."""
        return {PAIRS: 2, TRIPLETS: 3, SCORED: 2, LABELLED: 1}[self.config.examples]

    # --- on tables ---------------------------------------------------------------------------------------------

    def suits(self, table: Any) -> bool:
        names = {name.lower() for name in table.column_names}
        return {"anchor", "positive"} <= names and "negative" not in names

    def guess_roles(self, table: Any) -> dict[str, str]:
        found = columns_by_name(table, _USUAL_NAMES)
        free = [name for name in table.column_names if name not in found.values()]
        for role in ("text", "text_2")[: self.n_texts]:
            if role not in found and free:
                found[role] = free.pop(0)
        wanted = {*_TEXT_ROLES[: self.n_texts], "label", *(["score"] if self.config.examples == SCORED else [])}
        return {role: column for role, column in found.items() if role in wanted}

    def check(self, table: Any, columns: dict[str, str]) -> list[Problem]:
        problems = missing_columns(table, columns, [self._needed(role) for role in self.roles])
        if problems:
            return problems
        rows = self.rows(table, columns)
        if self.config.examples == SCORED:
            cells = Texts(table[columns["score"]])
            wrong = [i for i, (cell, gold) in enumerate(zip(cells, rows.gold, strict=True)) if cell and gold is None]
            if wrong:
                facts = {"n_rows": len(wrong), "row": wrong[0] + 1, "value": cells[wrong[0]][:40]}
                return [Problem("not-a-number", facts, "columns.score")]
            known = {each for each in rows.gold if each is not None}
            if len(known) == 1:
                return [Problem("one-number", {"value": known.pop()}, "columns.score")]
            if known and self.config.highest_score and max(known) > self.config.highest_score:
                message = f"A score of {max(known):g} is above the highest."
                return [Problem("field-invalid", {"message": message}, "task.highest_score")]
        used = rows.select(self.complete(rows))
        if len(used) < _NEEDED_ROWS:
            return [Problem("too-few-rows", {"n_rows": len(used), "needed": _NEEDED_ROWS}, "data.train")]
        if self.config.examples == LABELLED and len(set(used.gold)) == 1:
            return [Problem("one-class", {"label": used.gold[0]}, "columns.label")]
        found = []
        if len(used) < len(rows):
            found.append(Problem("some-empty-texts", {"n_rows": len(rows) - len(used)}))
        copies = len(used) - len(set(used.digests([role for role in used.fields if role in _TEXT_ROLES])))
        if copies:
            found.append(Problem("duplicates", {"n_rows": copies}))
        return found

    def _needed(self, role: Role) -> Role:
        needed = [*_TEXT_ROLES[: self.n_texts]]
        needed += {SCORED: ["score"], LABELLED: ["label"]}.get(self.config.examples, [])
        return Role(role.id, role.label, role.help, role.id not in needed, role.is_gold)

    def rows_behind(self, reason: str, table: Any, columns: dict[str, str]) -> list[int]:
        rows = self.rows(table, columns)
        whole = self.complete(rows)
        if reason == "some-empty-texts":
            return sorted(set(range(len(rows))) - set(whole))
        if reason == "duplicates":
            digests = rows.digests([role for role in rows.fields if role in _TEXT_ROLES])
            counts: dict[bytes, int] = {}
            for i in whole:
                counts[digests[i]] = counts.get(digests[i], 0) + 1
            return sorted((i for i in whole if counts[digests[i]] > 1), key=lambda i: (digests[i], i))
        return []

    def overview(self, table: Any, columns: dict[str, str]) -> list[Block]:
        if columns.get("text") not in table.column_names:
            return []
        rows = self.rows(table, columns)
        texts = [text for role in rows.fields if role in _TEXT_ROLES for text in rows.fields[role]]
        edges, counts = word_lengths(texts)
        blocks: list[Block] = [Histogram(title="Lengths", edges=edges, counts=counts, unit="words")]
        scores = [each for each in rows.gold if isinstance(each, float)]
        if scores:
            heights, edges = np.histogram(scores, min(30, len(set(scores))))
            blocks.insert(0, Histogram(title="Scores", edges=edges.tolist(), counts=heights.tolist(), unit="rows"))
        return blocks

    def rows(self, table: Any, columns: dict[str, str]) -> Rows:
        """Return all rows; a label stands among the fields, though the model does not read it."""
        wanted = [*_TEXT_ROLES[: self.n_texts], "label"]
        fields = {role: Texts(table[columns[role]]) for role in wanted if columns.get(role) in table.column_names}
        gold: list[Any] = [""] * table.num_rows  # texts that stand side by side belong together
        if self.config.examples == SCORED:
            is_there = columns.get("score") in table.column_names
            gold = [to_number(cell) for cell in Texts(table[columns["score"]])] if is_there else [None] * len(gold)
        elif self.config.examples == LABELLED:
            gold = [label or None for label in fields["label"]] if "label" in fields else [None] * len(gold)
        return Rows(fields, gold, range(table.num_rows))

    def complete(self, rows: Rows) -> list[int]:
        texts = [rows.fields[role] for role in _TEXT_ROLES[: self.n_texts] if role in rows.fields]
        if len(texts) < self.n_texts:
            return []
        return [
            i for i, each in enumerate(zip(rows.gold, *texts, strict=True)) if each[0] is not None and all(each[1:])
        ]

    def may_lack(self) -> set[str]:
        return {role.id for role in self.roles} - {"text"}

    def groups(self, rows: Rows) -> list[bytes]:
        return rows.digests(["text"])

    def settings_of_features(self) -> dict[str, Any]:
        return {}

    def strata(self, rows: Rows) -> list[str] | None:
        return list(rows.gold) if self.config.examples == LABELLED else None

    # --- for the model -----------------------------------------------------------------------------------------

    def check_training(self, training: Any) -> list[Problem]:
        found = super().check_training(training)
        if loss_name(self.config) not in LOSSES[self.config.examples]:
            message = f"For such rows there is: {', '.join(LOSSES[self.config.examples])}."
            found.append(Problem("field-invalid", {"message": message}, "task.loss"))
        if importlib.util.find_spec("sentence_transformers") is None:
            found.append(Problem("sentence-transformers-missing", {}, "task"))
        return found

    def head(self, labels: Sequence[str]) -> dict[str, Any]:
        return {}

    def head_tensors(self, info: ModelInfo, labels: Sequence[str]) -> list[Any]:
        return []

    def wrap(self, model: Any, folder: Any) -> Any:
        own_way, is_unit = read_pooling(Path(folder))
        way = own_way if self.config.pooling == "auto" else self.config.pooling
        return as_sentences(model, way, is_unit, loss_name(self.config))

    def finish_folder(self, model: Any, folder: Any) -> None:
        if (Path(folder) / "config.json").is_file():
            inner = model.get_base_model() if hasattr(model, "get_base_model") else model
            write_sentence_folder(Path(folder), inner.pooling_way, inner.is_unit, inner.config.hidden_size)

    def encode(self, batch: Mapping[str, Sequence[str]], tokenizer: Any, max_length: int) -> dict[str, list[Any]]:
        """Return features with one list of tokens a text of the row."""
        parts = [encode_texts(batch[role], None, tokenizer, max_length) for role in batch if role.startswith("text")]
        names = [name for name in parts[0] if name not in ("cut", "length")]
        nested = {name: [list(each) for each in zip(*(part[name] for part in parts), strict=True)] for name in names}
        lengths, cuts = ([part[name] for part in parts] for name in ("length", "cut"))
        return nested | {
            "length": [max(each) for each in zip(*lengths, strict=True)],
            "cut": [any(each) for each in zip(*cuts, strict=True)],
        }

    def targets(self, features: Any, rows: Rows, labels: Sequence[str]) -> dict[str, list[Any]]:
        if self.config.examples == SCORED:
            return {"labels": self._scaled(rows.gold).tolist()}
        if self.config.examples == LABELLED:
            number = {label: i for i, label in enumerate(sorted(set(rows.gold)))}
            return {"labels": [number[label] for label in rows.gold]}
        return {"labels": [0] * len(rows)}

    def _scaled(self, scores: Sequence[float]) -> np.ndarray:
        """Return scores so that 1 is the highest that there can be."""
        most = float(np.abs(scores).max()) if len(scores) else 1.0
        top = self.config.highest_score or next((each for each in (1.0, 5.0, 10.0, 100.0) if most <= each), most)
        return np.array(scores, float) / top

    def collator(self, tokenizer: Any) -> Any:
        return SentenceBatch(tokenizer)

    def export_features(self, features: dict[str, list[Any]]) -> dict[str, list[Any]]:
        """Return one feature a text: an exported model reads texts, and knows no rows."""
        inputs = [name for name in features if name.endswith(("_ids", "_mask"))]
        n = len(features["input_ids"][0])
        alone = {name: [each for row in features[name] for each in row] for name in inputs}
        return alone | {
            "length": [len(ids) for ids in alone["input_ids"]],
            "row": [row for row in features.get("row", range(len(features["length"]))) for _ in range(n)],
        }

    def answers(self, outputs: Any, features: Mapping[str, Any], rows: Rows, labels: Sequence[str]) -> Answers:
        """Return which text is nearest, or how alike two are. values: `vectors` [row, text, channel] of length 1."""
        found = np.asarray(outputs, np.float32)
        vectors = found.reshape(len(rows), -1, found.shape[-1])
        vectors = vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12)
        texts = list(rows.fields["text"])
        values = {"vectors": vectors, "texts": texts}
        if self.config.examples == LABELLED or vectors.shape[1] == 1:
            best, cosines = nearest(vectors[:, 0], vectors[:, 0], skip_own=True)
            names = list(rows.fields["label"]) if "label" in rows.fields else texts
            columns: dict[str, Any] = {"predicted": [names[i] for i in best], "nearest": [texts[i] for i in best],
                                       "similarity": cosines.astype(float)}  # fmt: skip
            if self.config.examples != LABELLED:
                columns["embedding"] = [json.dumps([round(float(x), 6) for x in each]) for each in vectors[:, 0]]
            return Answers(columns, values | {"best": best})
        alike = (vectors[:, 0] * vectors[:, 1]).sum(-1).astype(float)
        if self.config.examples == SCORED:
            return Answers({"predicted": alike.tolist()}, values | {"alike": alike})
        if self.config.examples == TRIPLETS:
            other = (vectors[:, 0] * vectors[:, 2]).sum(-1).astype(float)
            told = ["second" if a > b else "third" for a, b in zip(alike, other, strict=True)]
            columns = {"predicted": told, "similarity": alike, "similarity to third": other}
            return Answers(columns, values | {"alike": alike, "other": other})
        seconds = list(rows.fields["text_2"])
        best, _ = nearest(vectors[:, 0], vectors[:, 1])
        ranks, losses = ranked(vectors[:, 0], vectors[:, 1], seconds)
        columns = {"predicted": [seconds[i] for i in best], "similarity": alike, "rank": ranks}
        return Answers(columns, values | {"alike": alike, "ranks": ranks, "losses": losses})

    def score(self, answers: Answers, gold: Sequence[Any], labels: Sequence[str]) -> float:
        values = answers.values
        if self.config.examples == SCORED:
            return spearman(values["alike"], np.array(gold))
        if self.config.examples == TRIPLETS:
            return float((values["alike"] > values["other"]).mean())
        if self.config.examples == LABELLED:
            return float(np.mean([gold[i] == each for i, each in zip(values["best"], gold, strict=True)]))
        return float((1 / values["ranks"]).mean())

    def judge(self, answers: Answers, rows: Rows, labels: Sequence[str]) -> Judged:
        values, examples = answers.values, self.config.examples
        if examples == SCORED:
            found = judge_numbers(values["alike"], self._scaled(rows.gold), rows.fields["text"])
        elif examples == TRIPLETS:
            found = _judge_triplets(values)
        elif examples == LABELLED:
            found = _judge_labels(values, np.array(rows.gold))
        else:
            found = _judge_ranks(values)
        shown = [values["vectors"][:, 0], values["texts"], rows.fields.get("label")]
        return Judged(found.losses, found.metrics, lambda: [*found.blocks(), *_map(*shown)], found.right)

    def gold_text(self, gold: Any) -> str:
        return f"{gold:g}" if isinstance(gold, float) else gold or ""

    def explain(self, answers: Answers, fields: Mapping[str, str], labels: Sequence[str]) -> list[Block]:
        """Return the nearest of the rows behind the first, and how alike the first row's own texts are."""
        vectors, texts = answers.values["vectors"], answers.values["texts"]
        found: list[Block] = []
        if vectors.shape[1] > 1 and fields.get("text_2"):
            found.append(Tiles(title="Similarity", values={"cosine": float(vectors[0, 0] @ vectors[0, 1])}))
        cosines = vectors[1:, 0] @ vectors[0, 0]
        order = np.argsort(-cosines, kind="stable")[:_SHOWN_NEIGHBOURS]
        lines = [[texts[1 + i], round(float(cosines[i]), 4)] for i in order]
        if lines:
            found.append(Table(title="Nearest texts of the data", header=["Text", "Similarity"], rows=lines))
        return found


_TEXT_ROLES = ("text", "text_2", "text_3")
_USUAL_NAMES = {
    "text": ["text", "sentence1", "anchor", "query", "question", "premise", "text1", "text_1", "text_a", "sentence"],
    "text_2": ["text_2", "sentence2", "positive", "answer", "passage", "hypothesis", "text2", "text_b", "document"],
    "text_3": ["text_3", "negative", "sentence3", "text3"],
    "score": ["score", "similarity", "rating", "similarity_score"],
    "label": ["label", "topic", "category", "class", "genre"],
}


def loss_name(config: Any) -> str:
    """Return the loss that is asked for, where it is automatic the usual one for such rows."""
    return LOSSES[config.examples][0] if config.loss == "auto" else config.loss


def to_number(cell: str) -> float | None:
    """Return the number in a cell, or None."""
    try:
        number = float(cell.replace(",", "."))
    except ValueError:
        return None
    return number if np.isfinite(number) else None


def nearest(queries: np.ndarray, texts: np.ndarray, skip_own: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Return the place of the nearest text for each query, and its cosine. skip_own: not the one at the same place."""
    places, cosines = np.zeros(len(queries), int), np.zeros(len(queries), np.float32)
    for start in range(0, len(queries), _QUERIES):
        part = queries[start : start + _QUERIES] @ texts.T
        own = np.arange(len(part))
        if skip_own and len(texts) > 1:
            part[own, start + own] = -np.inf
        places[start : start + _QUERIES] = best = part.argmax(-1)
        cosines[start : start + _QUERIES] = part[own, best]
    return places, cosines


def ranked(queries: np.ndarray, texts: np.ndarray, names: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Return the rank, from 1 on, of each query's own text among all different texts, and the loss of ranking so.

    Another text that is exactly as near counts as nearer, so that equal vectors are no success; a copy of the own
    text does not count.
    """
    number = {name: i for i, name in enumerate(dict.fromkeys(names))}
    places = np.array([number[name] for name in names])
    first = np.unique(places, return_index=True)[1]  # one of each
    ranks, losses = np.zeros(len(queries), int), np.zeros(len(queries))
    for start in range(0, len(queries), _QUERIES):
        part = (queries[start : start + _QUERIES] @ texts[first].T).astype(np.float64)
        lines, own = np.arange(len(part)), places[start : start + _QUERIES]
        mine = part[lines, own]
        ranks[start : start + _QUERIES] = (part >= mine[:, None]).sum(-1)
        top = part.max(-1)
        logs = np.log(np.exp(SCALE * (part - top[:, None])).sum(-1)) + SCALE * top
        losses[start : start + _QUERIES] = logs - SCALE * mine
    return ranks, losses


def _judge_ranks(values: Mapping[str, Any]) -> Judged:
    ranks, losses = values["ranks"], values["losses"]
    metrics = {
        "loss": lambda c: float(losses[c].mean()),
        "mrr": lambda c: float((1 / ranks[c]).mean()),
        **{f"recall_at_{k}": lambda c, k=k: float((ranks[c] <= k).mean()) for k in (1, 5, 10)},
    }

    def blocks() -> list[Block]:
        shares = {str(k): float((ranks <= k).mean()) for k in (1, 2, 3, 5, 10, 20, 50) if k < max(2, len(ranks))}
        return [Bars(title="Own text among the nearest", values=shares), _alike(values["alike"])]

    return Judged(losses, metrics, blocks, ranks == 1)


def _judge_triplets(values: Mapping[str, Any]) -> Judged:
    vectors, right = values["vectors"], values["alike"] > values["other"]
    near, far = (np.linalg.norm(vectors[:, 0] - vectors[:, k], axis=-1) for k in (1, 2))
    losses = np.maximum(near - far + MARGIN, 0).astype(float)
    metrics = {"loss": lambda c: float(losses[c].mean()), "accuracy": lambda c: float(right[c].mean())}

    def blocks() -> list[Block]:
        gap = values["alike"] - values["other"]
        heights, edges = np.histogram(gap, 30)
        unit = "similarity to the second less that to the third"
        return [Histogram(title="Margin", edges=edges.tolist(), counts=heights.tolist(), unit=unit)]

    return Judged(losses, metrics, blocks, right)


def _judge_labels(values: Mapping[str, Any], gold: np.ndarray) -> Judged:
    vectors, right = values["vectors"][:, 0], gold[values["best"]] == gold
    losses = 1.0 - (vectors * vectors[values["best"]]).sum(-1).astype(float)
    losses[~right] += 1.0
    metrics = {"loss": lambda c: float(losses[c].mean()), "accuracy": lambda c: float(right[c].mean())}

    def blocks() -> list[Block]:
        shares = {str(label): float(right[gold == label].mean()) for label in np.unique(gold)}
        return [Bars(title="Nearest neighbour has the same label", values=shares, select="label")]

    return Judged(losses, metrics, blocks, right)


def _alike(alike: np.ndarray) -> Histogram:
    heights, edges = np.histogram(alike, 30)
    return Histogram(title="Similarity of pairs", edges=edges.tolist(), counts=heights.tolist(), unit="cosine")


def _map(vectors: np.ndarray, texts: Sequence[str], labels: Sequence[str] | None) -> list[Block]:
    """Return the texts on the two axes along which they differ most (PCA), coloured by label."""
    from sklearn.decomposition import PCA

    chosen = np.unique(np.linspace(0, len(vectors) - 1, min(len(vectors), _MOST_DOTS)).round().astype(int))
    if len(chosen) < 3 or np.ptp(vectors[chosen], axis=0).max() == 0:
        return []
    pca = PCA(2, svd_solver="full").fit(vectors[chosen])
    places, shares = pca.transform(vectors[chosen]), pca.explained_variance_ratio_
    groups = [str(labels[int(i)]) or "–" for i in chosen] if labels is not None else []
    axes = [f"Component {k + 1} ({share:.0%} of the variance)" for k, share in enumerate(shares)]
    return [
        Scatter(
            title="Map of the texts", x=places[:, 0].tolist(), y=places[:, 1].tolist(), groups=groups,
            texts=[texts[int(i)][:200] for i in chosen], x_axis=axes[0], y_axis=axes[1],
        )
    ]  # fmt: skip


class SentenceBatch:
    """Makes batches [row, text, token] of features, padded to a multiple of 8 tokens."""

    def __init__(self, tokenizer: Any):
        self.tokenizer = tokenizer

    def __call__(self, features: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        import torch

        names = [name for name in features[0] if name != "labels"]
        n = len(features[0]["input_ids"])
        flat = [{name: feature[name][i] for name in names} for feature in features for i in range(n)]
        padded = self.tokenizer.pad(flat, return_tensors="pt", pad_to_multiple_of=8)
        batch = {name: values.view(len(features), n, -1) for name, values in padded.items()}
        if "labels" in features[0]:
            batch["labels"] = torch.tensor([feature["labels"] for feature in features])
        return batch


def as_sentences(model: Any, way: str, is_unit: bool, loss_name: str) -> Any:
    """Return a model whose outputs are `sentence_embedding` and, with labels, the `loss` of sentence-transformers.

    Token ids [row, text, token] give [row, text, channel], with as little padding as sentence-transformers has;
    [text, token] give [text, channel]. way: `mean` or `cls`. is_unit: vectors have the length 1.
    """
    kind = type(model)

    class Sentences(kind):
        def forward(
            self,
            input_ids: Any,
            attention_mask: Any,
            token_type_ids: Any = None,
            labels: Any = None,
            return_dict: bool = True,
        ) -> dict[str, Any]:
            if input_ids.dim() == 2:
                return {"sentence_embedding": self.embed(input_ids, attention_mask, token_type_ids)}
            # As sentence-transformers: the first texts in one pass, all others in a second one.
            n = input_ids.shape[1]
            texts = []
            for places in ([0], list(range(1, n))):
                parts = [None if each is None else each[:, places].transpose(0, 1).flatten(0, 1)
                         for each in (input_ids, attention_mask, token_type_ids)]  # fmt: skip
                if places:
                    texts += self.embed(*without_padding(*parts)).unflatten(0, (len(places), -1)).unbind(0)
            import torch

            found = {"sentence_embedding": torch.stack(texts, 1)}
            if labels is None:
                return found
            with torch.autocast(labels.device.type, enabled=False):
                loss = loss_of(loss_name).compute_loss_from_embeddings([each.float() for each in texts], labels)
            return {"loss": loss} | found

        def embed(self, input_ids: Any, attention_mask: Any, token_type_ids: Any) -> Any:
            given = {} if token_type_ids is None else {"token_type_ids": token_type_ids}
            tokens = super().forward(input_ids=input_ids, attention_mask=attention_mask, **given)[0]
            return pool(tokens, attention_mask, way, is_unit)

    Sentences.__name__ = Sentences.__qualname__ = kind.__name__  # a saved config names the library's own class
    model.__class__ = Sentences
    model.pooling_way, model.is_unit = way, is_unit
    return model


def without_padding(input_ids: Any, mask: Any, kinds: Any) -> list[Any]:
    """Return batches [text, token] without the tokens that are padding in all texts, but for a multiple of 8."""
    width = -(-int(mask.sum(-1).max()) // 8) * 8
    is_left = bool((mask[:, :width].sum() != mask.sum()).item())
    part = slice(-width, None) if is_left else slice(0, width)
    return [None if each is None else each[:, part] for each in (input_ids, mask, kinds)]


def pool(tokens: Any, mask: Any, way: str, is_unit: bool) -> Any:
    """Return one vector a text of its tokens [text, token, channel], as sentence-transformers does."""
    import torch

    if way == "cls":
        vectors = tokens[:, 0]
    else:
        weights = mask.unsqueeze(-1).to(tokens.dtype)
        vectors = (tokens * weights).sum(1) / weights.sum(1).clamp(min=1e-9)
    return torch.nn.functional.normalize(vectors, dim=-1) if is_unit else vectors


@functools.cache
def loss_of(name: str) -> Any:
    """Return a loss of sentence-transformers, which works on embeddings and knows no model."""
    from sentence_transformers.sentence_transformer import losses
    from torch.nn import Identity

    return getattr(losses, LOSS_CLASSES[name])(Identity())


def read_pooling(folder: Path) -> tuple[str, bool]:
    """Return how a folder of sentence-transformers pools (`mean` or `cls`), and whether vectors get the length 1."""
    modules, way, is_unit = folder / "modules.json", "mean", False
    if not modules.is_file():
        return way, is_unit
    for module in json.loads(modules.read_text(encoding="utf-8")):
        is_unit |= module["type"].endswith("Normalize")
        config = folder / module["path"] / "config.json"
        if module["type"].endswith("Pooling") and config.is_file():
            told = json.loads(config.read_text(encoding="utf-8"))
            is_cls = told.get("pooling_mode") == "cls" or told.get("pooling_mode_cls_token")
            way = "cls" if is_cls else "mean"
    return way, is_unit


def write_sentence_folder(folder: Path, way: str, is_unit: bool, width: int) -> None:
    """Add what makes a model's folder one of sentence-transformers."""
    kinds = [("", "Transformer"), ("1_Pooling", "Pooling"), *([("2_Normalize", "Normalize")] if is_unit else [])]
    modules = [
        {"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for i, (path, kind) in enumerate(kinds)
    ]
    pooling = {
        "word_embedding_dimension": width,
        "pooling_mode_cls_token": way == "cls",
        "pooling_mode_mean_tokens": way == "mean",
        "pooling_mode_max_tokens": False,
        "pooling_mode_mean_sqrt_len_tokens": False,
    }
    for path, _ in kinds[1:]:
        (folder / path).mkdir(exist_ok=True)
    (folder / "modules.json").write_text(json.dumps(modules, indent=2), encoding="utf-8")
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(pooling, indent=2), encoding="utf-8")


PLUGIN = Embeddings(Config())
