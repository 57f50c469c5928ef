"""Sentence embeddings: texts that mean the same come to lie close to each other."""

import importlib.util
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from studio.core.anatomy import ModelInfo
from studio.core.blocks import Block, Histogram, Table, Tiles
from studio.core.reasons import Problem
from studio.core.registry import PluginConfig
from studio.core.spec import setting
from studio.sources.texts import Texts
from studio.tasks.base import Answers, Judged, Role, Rows, Task, columns_by_name, missing_columns, word_lengths
from studio.tasks.embedding_judging import judge_labels, judge_ranks, judge_triplets, map_of, nearest, ranked
from studio.tasks.judging import judge_numbers, spearman
from studio.tasks.sentence_model import SentenceBatch, as_sentences, read_pooling, write_sentence_folder
from studio.tasks.text_classification import encode_texts, to_number

PAIRS = "pairs"
TRIPLETS = "triplets"
SCORED = "scored_pairs"
LABELLED = "labelled_texts"
_NEEDED_ROWS = 10
_SHOWN_NEIGHBOURS = 10
LOSSES = {
    PAIRS: ("multiple-negatives",),
    TRIPLETS: ("triplet", "multiple-negatives"),
    SCORED: ("cosine", "cosent"),
    LABELLED: ("batch-all-triplet",),
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
    has_head = False
    pipeline = "sentence-similarity"
    roles = (
        Role("text", "Text", "The first text of a row."),
        Role("text_2", "Second text", "The one that belongs to it, or is compared with it.", is_optional=True),
        Role("text_3", "Third text", "In triplets: one that does not belong to the first.", is_optional=True),
        Role("score", "Score", "In scored pairs: how alike the two are.", is_optional=True, is_gold=True),
        Role("label", "Label", "Colours the map; labelled texts learn from it.", is_optional=True, is_input=False),
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

    def looked_at(self, fields: Mapping[str, str]) -> tuple[str, str | None]:
        return fields.get("text", ""), None  # a model of sentences reads each by itself

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
            found = judge_triplets(values)
        elif examples == LABELLED:
            found = judge_labels(values, np.array(rows.gold))
        else:
            found = judge_ranks(values)
        shown = [values["vectors"][:, 0], values["texts"], rows.fields.get("label")]
        return Judged(found.losses, found.metrics, lambda: [*found.blocks(), *map_of(*shown)], found.right)

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


PLUGIN = Embeddings(Config())
