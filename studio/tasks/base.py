"""What all tasks share: roles and rows of data, what a model is given and gives, and how that is judged."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from studio.core.anatomy import ModelInfo, Tensor, classifier_head
from studio.core.blocks import Block
from studio.core.reasons import Problem
from studio.core.registry import PluginConfig, family
from studio.sources.texts import Texts, digest

MASKED = -100  # the label that a loss passes over


@dataclass(frozen=True)
class Role:
    """A column that a task needs: its id in the spec and its name for people.

    is_gold: it holds what the model shall say, so that rows without it can still be predicted. is_input: the model
    reads it, or learns to say it; else it only puts rows in groups.
    """

    id: str
    label: str
    help: str
    is_optional: bool = False
    is_gold: bool = False
    is_input: bool = True


@dataclass(frozen=True)
class Sample:
    """A file among the samples: its title and what is in it, for people, and the settings of the task that suit it."""

    title: str
    summary: str
    file: str
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Rows:
    """Rows of a data set as a task reads them.

    fields: what the model reads, by role. gold: what it shall say, in the task's own form; None where nobody knows.
    indices: each one's place in the file.
    """

    fields: dict[str, Texts]
    gold: Sequence[Any]
    indices: Sequence[int]

    def __len__(self) -> int:
        return len(self.indices)

    def select(self, chosen: Sequence[int]) -> "Rows":
        """Return some of the rows, by their places among these."""
        fields = {role: texts.select(chosen) for role, texts in self.fields.items()}
        return Rows(fields, [self.gold[i] for i in chosen], [self.indices[i] for i in chosen])

    def digests(self, roles: Sequence[str] | None = None) -> list[bytes]:
        """Return bytes that stand for what the model reads of each row, or for some of its roles."""
        found = [map(digest, self.fields[role]) for role in roles or self.fields]
        return [b"".join(each) for each in zip(*found, strict=True)]


def join_rows(parts: Sequence[Rows]) -> Rows:
    """Return the rows of several parts as one; their texts are copied."""
    import pyarrow as pa

    kinds = pa.large_string()
    fields = {
        role: Texts(pa.chunked_array([pa.array(list(part.fields[role]), kinds) for part in parts]))
        for role in parts[0].fields
    }
    return Rows(fields, [each for part in parts for each in part.gold], [i for part in parts for i in part.indices])


@dataclass(frozen=True)
class Judged:
    """What a model's answers to rows with gold are worth.

    losses: of each row, for sorting. metrics: functions by name from places of rows (an index array or a slice) to a
    number, `loss` first; NaN where it is not defined. blocks: what to look at. right: whether each row is, where a row
    is one or the other.
    """

    losses: np.ndarray
    metrics: dict[str, Callable[[Any], float]]
    blocks: Callable[[], list[Block]]
    right: np.ndarray | None = None

    def measured(self) -> dict[str, float]:
        """Return the metrics over all rows, without those that are not defined."""
        found = {name: float(metric(slice(None))) for name, metric in self.metrics.items()}
        return {name: value for name, value in found.items() if not np.isnan(value)}


@dataclass(frozen=True)
class Answers:
    """A model's answers to rows.

    columns: what a table of predictions holds, one value a row, `predicted` among them. values: the numbers behind
    them, in the task's own form.
    """

    columns: dict[str, Sequence[Any]]
    values: dict[str, Any] = field(default_factory=dict)


class Task:
    """Base of all tasks: the settings of one, and what most of them have in common.

    The window uses `guess_roles`, `check`, `overview`, `rows_behind` and `rows`, on pyarrow tables. The worker makes
    features of rows (`encode`, then `targets`), batches of features (`collator`), and takes a model's outputs apart
    (`answers`, `judge`). A feature is what goes through the model at once: a row, or a part of a long one, whose
    place among the rows then stands in the feature's `row`.

    auto_class: transformers' class of models. pipeline: what the hub calls the task. output_names: those of a model's
    outputs that count; several of one shape become the last axis of one array. target_names: the columns that
    `targets` returns. per_token: outputs have an axis of tokens behind the one of features. is_plain: one text or pair
    a feature, and labels as one number, or one a token, or floats, as frozen layers that are computed once need it.
    takes_one_text: the model takes the tokens of one text too, [1, token]; else only the part below its head does.
    can_smooth: labels can be softened. has_head: its models have a layer of their own for it, which is new where a
    model comes without. sample: its file among the samples. more_samples: for what else it can do.
    main_metric: the one by which the best
    checkpoint is chosen. training: settings of a training that suit the task better than the usual ones, by name.
    rate_factor: how many times as high the method's own learning rate should be. is_base: what it trains is a base
    for other tasks, so that a run keeps a copy without adapters. batch_tokens: of a batch that is measured; fewer
    where a token's output is large. n_company: rows of the data that are answered behind a typed one for `explain`.
    """

    id: str
    label: str
    summary: str
    order: int
    Config: type[PluginConfig]
    auto_class: str
    pipeline: str
    roles: tuple[Role, ...]
    sample: str
    more_samples: tuple[Sample, ...] = ()
    main_metric: str
    greater_is_better = True
    output_names: tuple[str, ...] = ("logits",)
    target_names: tuple[str, ...] = ("labels",)
    per_token = False
    is_plain = True
    takes_one_text = True
    can_smooth = False
    has_head = True
    is_base = False
    batch_tokens = 8192
    n_company = 0
    training: Mapping[str, Any] = {}
    rate_factor = 1.0

    def __init__(self, config: Any):
        self.config = config

    def samples(self) -> list[Sample]:
        """Return all samples of this task, that for its usual settings first."""
        return [Sample(self.label, self.summary, self.sample), *self.more_samples]

    # --- on tables ---------------------------------------------------------------------------------------------

    def suits(self, table: Any) -> bool:
        """Return whether a table's columns are so clearly for this task that it is chosen unasked."""
        return False

    def guess_roles(self, table: Any) -> dict[str, str]:
        """Return a column for each role; roles without a guess are absent."""
        raise NotImplementedError

    def check(self, table: Any, columns: dict[str, str]) -> list[Problem]:
        """Return what stands against training on these rows, and what a person should know of them."""
        raise NotImplementedError

    def overview(self, table: Any, columns: dict[str, str]) -> list[Block]:
        """Return what the rows are; what needs a role that no column has is absent."""
        raise NotImplementedError

    def rows_behind(self, reason: str, table: Any, columns: dict[str, str]) -> list[int]:
        """Return the rows that a finding of `check` speaks of, by their place; none when it speaks of all."""
        return []

    def rows(self, table: Any, columns: dict[str, str]) -> Rows:
        """Return all rows, complete or not; roles without a column are absent or without gold."""
        raise NotImplementedError

    def looked_at(self, fields: Mapping[str, str]) -> tuple[str, str | None]:
        """Return the text of a row, or the pair of texts, that the model reads at once and whose attention is shown."""
        first, second, *_ = [fields.get(role.id, "") for role in self.roles if not role.is_gold] + ["", ""]
        return first, second or None

    def may_lack(self) -> set[str]:
        """Return the roles without whose columns a file can still be predicted."""
        return {role.id for role in self.roles if role.is_gold}

    def complete(self, rows: Rows) -> list[int]:
        """Return the places of the rows that can be trained and measured on."""
        needed = [rows.fields[role.id] for role in self.roles if role.id in rows.fields and not role.is_optional]
        return [
            i for i, each in enumerate(zip(rows.gold, *needed, strict=True)) if each[0] is not None and all(each[1:])
        ]

    def labels(self, gold: Sequence[Any]) -> list[str]:
        """Return the names that the model chooses from, in a stable order; none where it does not choose."""
        return []

    def unknown(self, gold: Sequence[Any], labels: Sequence[str]) -> list[str]:
        """Return the names in `gold` that are not among `labels`."""
        return sorted(set(self.labels([each for each in gold if each is not None])) - set(labels))

    def strata(self, rows: Rows) -> list[str] | None:
        """Return the group of each row of which every part of a split shall have its share, or None."""
        return None

    def groups(self, rows: Rows) -> list[bytes]:
        """Return what keeps rows together: those with the same value belong in one part of a split."""
        return rows.digests()

    # --- for the model -----------------------------------------------------------------------------------------

    def check_training(self, training: Any) -> list[Problem]:
        """Return what does not go together with this task in a TrainingSpec, at its fields."""
        if self.can_smooth or not training.label_smoothing_factor:
            return []
        message = "Labels can be softened only where exactly one of several is right."
        return [Problem("field-invalid", {"message": message}, "training.label_smoothing_factor")]

    def learning_rate(self, usual: float) -> float:
        """Return the learning rate for a method that usually learns well with another."""
        return float(f"{usual * self.rate_factor:.6g}")

    def check_model(self, info: ModelInfo) -> list[Problem]:
        """Return what a person should know of this task with a model."""
        return []

    def output_width(self, info: ModelInfo) -> int:
        """Return how many numbers the model gives for a token, where they are so many that memory must have them."""
        return 0

    def wrap(self, model: Any, folder: Any) -> Any:
        """Return a loaded model as this task trains and asks it. folder: where it was loaded from."""
        return model

    def finish_folder(self, model: Any, folder: Any) -> None:
        """Add to a folder with a saved model what other libraries need to read it as a model for this task."""

    def head(self, labels: Sequence[str]) -> dict[str, Any]:
        """Return the settings of a model's config that its new head is made from."""
        return {
            "num_labels": len(labels),
            "id2label": dict(enumerate(labels)),
            "label2id": {label: i for i, label in enumerate(labels)},
        }

    def head_start(self, gold: Sequence[Any], labels: Sequence[str]) -> tuple[list[float], float] | None:
        """Return what each output of a new head shall begin around, and how widely they shall spread, or None.

        gold: of the training rows.
        """
        return None

    def head_tensors(self, info: ModelInfo, labels: Sequence[str]) -> list[Tensor]:
        """Return the weights that the new head adds to a model."""
        return classifier_head(info, len(labels))

    def tensors(self, info: ModelInfo, labels: Sequence[str]) -> list[Tensor]:
        """Return the weights of a model with its new head."""
        return [*info.tensors, *self.head_tensors(info, labels)]

    def encode(self, batch: Mapping[str, Sequence[str]], tokenizer: Any, max_length: int) -> dict[str, list[Any]]:
        """Return features of a batch of rows by column: the tokenizer's own, `length` in tokens, `cut`.

        batch: fields by role. A task that makes more than one feature of a row adds `row`, its place in the batch.
        """
        raise NotImplementedError

    def targets(self, features: Any, rows: Rows, labels: Sequence[str]) -> dict[str, list[Any]]:
        """Return the columns of features that hold what the model shall say, such as `labels`."""
        raise NotImplementedError

    def settings_of_features(self) -> dict[str, Any]:
        """Return the settings that features depend on; others may change while the same features are used."""
        return self.config.model_dump()

    def fitted(self, answers: "Answers | None", rows: Rows) -> PluginConfig:
        """Return the settings of this task with what the trained model teaches, such as a threshold.

        answers: to the validation rows; None where there are none, and `rows` then are those of the training.
        """
        return self.config

    def collator(self, tokenizer: Any) -> Any:
        """Return what makes a batch of features, padded to the longest of them."""
        from transformers import DataCollatorWithPadding

        # On a processor each new shape costs its kernels a preparation; a multiple of 8 keeps them few.
        return DataCollatorWithPadding(tokenizer, pad_to_multiple_of=8)

    def training_collator(self, tokenizer: Any, seed: int) -> Any:
        """Return what makes a batch of training features; its `set_epoch`, if it has one, is told each epoch."""
        return self.collator(tokenizer)

    def reduce(self, outputs: Any, labels: Any) -> Any:
        """Return what is kept of the outputs (a torch tensor) of a batch of features, with the labels they have.

        labels: None where nobody knows them, as in the batches that an export is tried with.
        """
        return outputs

    def compared(self, outputs: np.ndarray) -> np.ndarray:
        """Return those of the kept outputs that are close where two models are."""
        return outputs

    def agreement(self, ours: "Answers", theirs: "Answers") -> float | None:
        """Return the share of answers of two models that are the same; None where each row has one answer."""
        return None

    def export_features(self, features: dict[str, list[Any]]) -> dict[str, list[Any]]:
        """Return features of rows as an exported model reads them."""
        return features

    def decode(self, answers: Answers, tokenizer: Any) -> Answers:
        """Return answers in words, where they are tokens."""
        return answers

    def n_unlabelled(self, features: Any) -> int:
        """Return how many features have lost all that they should teach to the longest length."""
        if not self.per_token or "labels" not in features.column_names:
            return 0
        return sum(all(label == MASKED for label in labels) for labels in features["labels"])

    def token_labels(self, feature: Mapping[str, Any], labels: Sequence[str]) -> list[str]:
        """Return what each token of a feature is trained on, "" for nothing; empty where it is not done by token."""
        if not self.per_token or "labels" not in feature:
            return []
        return ["" if label == MASKED else labels[label] for label in feature["labels"]]

    def answers(self, outputs: Any, features: Mapping[str, Any], rows: Rows, labels: Sequence[str]) -> Answers:
        """Return a model's answers to rows; by numpy alone, so that a script can stand without Attune.

        outputs: one array of all features [feature, …], or a list with one [token, …] a feature.
        """
        raise NotImplementedError

    def score(self, answers: Answers, gold: Sequence[Any], labels: Sequence[str]) -> float:
        """Return `main_metric` by numpy alone."""
        raise NotImplementedError

    def judge(self, answers: Answers, rows: Rows, labels: Sequence[str]) -> Judged:
        """Return what answers to rows with gold are worth, by the field's usual libraries."""
        raise NotImplementedError

    def gold_text(self, gold: Any) -> str:
        """Return gold as a person reads it."""
        return "" if gold is None else str(gold)

    def probabilities(self, answers: Answers, labels: Sequence[str]) -> dict[str, float]:
        """Return the probability of each label for the first row, where exactly one label is right; else nothing."""
        return {}

    def explain(self, answers: Answers, fields: Mapping[str, str], labels: Sequence[str]) -> list[Block]:
        """Return what to show of the answer to the first row, unless `probabilities` say it all."""
        return []


def task_of(config: PluginConfig) -> Any:
    """Return the task that a spec asks for, with its settings."""
    return type(family("tasks")[config.kind])(config)


def of_tokens(output: np.ndarray, length: int, side: str) -> np.ndarray:
    """Return the part [token, …] of an output that belongs to no padding."""
    return output[len(output) - length :] if side == "left" else output[:length]


def missing_columns(table: Any, columns: Mapping[str, str], roles: Sequence[Role]) -> list[Problem]:
    """Return a problem for each role whose column is not chosen, is not there, or has another role too."""
    problems = []
    for role in roles:
        column = columns.get(role.id)
        if not column and not role.is_optional:
            problems.append(Problem("role-missing", {"role": role.label}, f"columns.{role.id}"))
        elif column and column not in table.column_names:
            facts = {"column": column, "columns": ", ".join(table.column_names)}
            problems.append(Problem("column-missing", facts, f"columns.{role.id}"))
    chosen = [c for c in columns.values() if c]
    last = next((role for role in roles if role.is_gold), roles[-1])
    for column in {c for c in chosen if chosen.count(c) > 1}:
        problems.append(Problem("role-twice", {"column": column}, f"columns.{last.id}"))
    return problems


def columns_by_name(table: Any, usual: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """Return the column of each role whose name is one of its usual names, the first of these first."""
    names = {name.lower().strip(): name for name in table.column_names}
    found: dict[str, str] = {}
    for role, candidates in usual.items():
        column = next((names[n] for n in candidates if n in names and names[n] not in found.values()), None)
        if column:
            found[role] = column
    return found


def word_lengths(texts: Sequence[str]) -> tuple[list[float], list[float]]:
    """Return edges and counts of a histogram of lengths in words; no bar is an artefact of where the edges fall."""
    words = np.array([len(t.split()) for t in texts if t] or [0])
    width = max(1, -(-int(words.max()) // 30))
    edges = np.arange(0, int(words.max()) + width + 1, width)
    heights, edges = np.histogram(words, edges)
    return edges.tolist(), heights.tolist()
