"""The first losses of a training are those of a plain script with the libraries alone."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer import losses as st_losses
from sentence_transformers.sentence_transformer import modules as st_modules

from studio.core.replay import read_state
from studio.tasks.base import Rows, task_of
from studio.tasks.word_hiding import hide_words
from tests.in_process import execute

SEED = 42
SAME = {"group_by_length": False, "kernels": "plain", "precision": "fp32", "num_train_epochs": 1, "max_length": 48}


class Plain(transformers.Trainer):
    """transformers' Trainer that takes rows in the order of the run."""

    def _get_train_sampler(self, train_dataset: Any = None) -> Any:
        order = torch.randperm(len(self.train_dataset), generator=torch.Generator().manual_seed(SEED * 100_003))
        return order.tolist()


def plain_losses(model: Any, features: list, collate: Callable, batch: int, folder: Path) -> list[float]:
    arguments = transformers.TrainingArguments(
        output_dir=str(folder), per_device_train_batch_size=batch, learning_rate=1e-3, num_train_epochs=1,
        warmup_steps=0.06, weight_decay=0.01, seed=SEED, logging_steps=1, report_to="none", disable_tqdm=True,
        use_cpu=True, save_strategy="no", remove_unused_columns=False,
    )  # fmt: skip
    trainer = Plain(model, arguments, data_collator=collate, train_dataset=features)
    trainer.add_callback(_Enough())
    trainer.train()
    return [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]


class _Enough(transformers.TrainerCallback):
    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        control.should_training_stop = state.global_step >= 20


def run_losses(workspace: Path, spec: dict) -> tuple[list[float], Rows, Path]:
    """Return the first 20 losses of a run, its training rows and the folder of its base model."""
    from studio.engine.trained import open_trained

    run, state = execute(workspace, spec)
    assert state.state == "finished", state.problem
    trained = open_trained(workspace, str(run.path))
    series = read_state(run).series["train", "loss"]
    return series.y[:20].tolist(), trained.parts()["train"], Path(trained.spec.model)


def masked_lm(rows: Rows, tokenizer: Any, folder: Path) -> tuple[Any, list[dict], Callable]:
    """Return model, features and collator of a plain script; what is hidden is the run's own choice."""
    features = []
    for text in rows.fields["text"]:
        encoded = tokenizer(text, truncation=True, max_length=48)
        special = tokenizer.get_special_tokens_mask(encoded["input_ids"], already_has_special_tokens=True)
        words = [-1 if s else w for s, w in zip(special, encoded.word_ids(), strict=True)]
        ids, labels = hide_words(
            encoded["input_ids"], words, tokenizer.mask_token_id, len(tokenizer), 0.2, True, SEED, 0
        )
        features.append(dict(encoded) | {"input_ids": ids, "labels": labels})
    transformers.set_seed(SEED)
    model = transformers.AutoModelForMaskedLM.from_pretrained(folder)
    return model, features, transformers.DataCollatorForTokenClassification(tokenizer, pad_to_multiple_of=8)


def multiple_choice(rows: Rows, tokenizer: Any, folder: Path) -> tuple[Any, list[dict], Callable]:
    """Return model, features and collator of a plain script."""
    names = [name for name in rows.fields if name.startswith("option_")]
    features = []
    for i, gold in enumerate(rows.gold):
        options = [rows.fields[name][i] for name in names]
        encoded = tokenizer([rows.fields["question"][i]] * len(options), options, truncation=True, max_length=48)
        features.append(dict(encoded) | {"labels": gold})
    transformers.set_seed(SEED)
    model = transformers.AutoModelForMultipleChoice.from_pretrained(folder)
    return model, features, transformers.DataCollatorForMultipleChoice(tokenizer, pad_to_multiple_of=8)


class _Loss(torch.nn.Module):
    def __init__(self, loss: Any):
        super().__init__()
        self.loss = loss

    def forward(self, columns: list[dict], labels: Any) -> dict[str, Any]:
        return {"loss": self.loss(columns, labels)}


def embeddings(loss: str) -> Callable:
    """Return a function that makes model, features and collator of a plain sentence-transformers script."""

    def make(rows: Rows, tokenizer: Any, folder: Path) -> tuple[Any, list[dict], Callable]:
        roles = [role for role in ("text", "text_2", "text_3") if role in rows.fields]
        codes = {label: i for i, label in enumerate(sorted(set(rows.gold)))}
        labels = [each / 5 if isinstance(each, float) else codes[each] for each in rows.gold]
        texts = [[rows.fields[role][i] for role in roles] for i in range(len(rows))]
        word = st_modules.Transformer(str(folder))
        made = SentenceTransformer(modules=[word, st_modules.Pooling(word.get_embedding_dimension())], device="cpu")

        def collate(batch: list[tuple[list[str], float]]) -> dict[str, Any]:
            columns = [
                dict(tokenizer(list(column), padding=True, truncation=True, max_length=48, pad_to_multiple_of=8,
                               return_tensors="pt"))
                for column in zip(*(texts for texts, _ in batch), strict=True)
            ]  # fmt: skip
            return {"columns": columns, "labels": torch.tensor([label for _, label in batch])}

        return _Loss(getattr(st_losses, loss)(made)), list(zip(texts, labels, strict=True)), collate

    return make


EMBEDDINGS = {
    "pairs": "MultipleNegativesRankingLoss",
    "triplets": "TripletLoss",
    "scored_pairs": "CosineSimilarityLoss",
    "labelled_texts": "BatchAllTripletLoss",
}


def write_embeddings(path: Path) -> dict[str, str]:
    """Write 96 rows that serve all kinds of examples; return the columns by role."""
    colours, things = ["red", "blue", "green", "white"], ["cup", "key", "door", "boat"]
    lines = ["a,b,c,score,label"]
    for i in range(96):
        c, t, other = colours[i % 4], things[i // 4 % 4], things[(i // 4 + 1) % 4]
        lines.append(f"where is the {c} {t} in {i},the {c} {t} of {i},no {other} at all,{i % 11 / 2},{t}")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return {"text": "a", "text_2": "b", "text_3": "c", "score": "score", "label": "label"}


@pytest.mark.parametrize(("task", "plain"), [("masked-lm", masked_lm), ("multiple-choice", multiple_choice)])
def test_losses_are_those_of_a_plain_script(
    task: str, plain: Callable, make_spec: Callable, workspace: Path, tmp_path: Path
) -> None:
    spec = make_spec(task, **SAME | {"per_device_train_batch_size": 2, "learning_rate": 1e-3})
    spec["task"] |= {"chunking": "lines"} if task == "masked-lm" else {}
    ours, rows, folder = run_losses(workspace, spec)
    made = plain(rows, transformers.AutoTokenizer.from_pretrained(folder), folder)
    theirs = plain_losses(*made, 2, tmp_path)
    assert len(theirs) == 20 and np.abs(np.array(ours[: len(theirs)]) - theirs).max() <= 1e-4
    assert np.ptp(theirs) > 1e-2


@pytest.mark.parametrize("examples", EMBEDDINGS)
def test_losses_are_those_of_plain_sentence_transformers(
    examples: str, make_spec: Callable, workspace: Path, tmp_path: Path
) -> None:
    columns = write_embeddings(tmp_path / "rows.csv")
    spec = make_spec("embeddings", **SAME | {"per_device_train_batch_size": 4, "learning_rate": 1e-3})
    config = {"kind": "embeddings", "examples": examples}
    n = task_of(parse(config)).n_texts
    used = [*list(columns)[:n], *({"scored_pairs": ["score"], "labelled_texts": ["label"]}.get(examples, []))]
    spec |= {"task": config, "columns": {role: columns[role] for role in used}}
    spec["data"] = {"train": str(tmp_path / "rows.csv"), "validation": 0, "test": 0}
    ours, rows, folder = run_losses(workspace, spec)
    made = embeddings(EMBEDDINGS[examples])(rows, transformers.AutoTokenizer.from_pretrained(folder), folder)
    theirs = plain_losses(*made, 4, tmp_path / "plain")
    assert len(theirs) == 20 and np.abs(np.array(ours[: len(theirs)]) - theirs).max() <= 1e-4
    assert np.ptp(theirs) > 1e-3


def parse(config: dict) -> Any:
    """Return the settings of a task."""
    from studio.core.registry import parse_config

    return parse_config("tasks", config)
