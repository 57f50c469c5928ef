"""Each task's losses are those of a plain script with transformers: same seed, rows, order, and fp32."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import transformers

from studio.core.files import read_json
from studio.core.replay import read_state
from studio.core.rundir import RunDir
from tests.in_process import execute

N_STEPS = 20


def attune_losses(workspace: Path, spec: dict) -> tuple[list[float], RunDir]:
    run, state = execute(workspace, spec)
    assert state.state == "finished", state.problem
    return read_state(run).series["train", "loss"].y[:N_STEPS].tolist(), run


def plain_losses(model_class: str, spec: dict, head: dict, features: list[dict], collator: object, out: Path) -> list:
    """Return the losses of transformers' Trainer on features, in the order of Attune's rows."""
    t = spec["training"]

    class Ordered(transformers.Trainer):
        def _get_train_sampler(self, *_: object) -> list[int]:
            generator = torch.Generator().manual_seed(t["seed"] * 100_003)
            return torch.randperm(len(features), generator=generator).tolist()

    transformers.set_seed(t["seed"])
    model = getattr(transformers, model_class).from_pretrained(spec["model"], **head)
    arguments = transformers.TrainingArguments(
        output_dir=str(out), num_train_epochs=1, learning_rate=t["learning_rate"], weight_decay=0.01,
        per_device_train_batch_size=t["per_device_train_batch_size"], warmup_steps=0.06, lr_scheduler_type="linear",
        seed=t["seed"], use_cpu=True, logging_steps=1, save_strategy="no", report_to="none", disable_tqdm=True,
        remove_unused_columns=False,
    )  # fmt: skip
    trainer = Ordered(model=model, args=arguments, train_dataset=features, data_collator=collator)
    trainer.train()
    return [line["loss"] for line in trainer.state.log_history if "loss" in line][:N_STEPS]


@pytest.fixture
def spec_of(make_spec: Callable[..., dict]) -> Callable[[str], dict]:
    def make(task: str) -> dict:
        return make_spec(
            task, kernels="plain", group_by_length=False, num_train_epochs=1, per_device_train_batch_size=3, seed=7,
            learning_rate=1e-3, evaluations_per_epoch=1, max_length=64,
        )  # fmt: skip

    return make


def rows_in(run: RunDir) -> list[dict]:
    """Return the training rows of a run, as its source reads them."""
    from studio.core.registry import plugin

    source = run.spec().data.train
    table = plugin("sources", source).read(source).table
    return table.take(read_json(run.resolved_file)["split"]["train"]).to_pylist()


def test_token_classification(workspace: Path, tmp_path: Path, spec_of: Callable[[str], dict]) -> None:
    spec = spec_of("token-classification")
    ours, run = attune_losses(workspace, spec)
    tokenizer = transformers.AutoTokenizer.from_pretrained(spec["model"])
    names = read_json(run.resolved_file)["labels"]
    features = []
    for row in rows_in(run):
        encoded = tokenizer(row["tokens"].split(" "), is_split_into_words=True, truncation=True, max_length=64)
        tags, labels, before = row["tags"].split(" "), [], None
        for word in encoded.word_ids():
            labels.append(-100 if word is None or word == before else names.index(tags[word]))
            before = word
        features.append(dict(encoded) | {"labels": labels})
    collator = transformers.DataCollatorForTokenClassification(tokenizer, pad_to_multiple_of=8)
    theirs = plain_losses(
        "AutoModelForTokenClassification", spec, {"num_labels": len(names)}, features, collator, tmp_path / "plain"
    )
    assert len(ours) == N_STEPS and max(abs(a - b) for a, b in zip(ours, theirs, strict=True)) <= 1e-4


def test_question_answering(workspace: Path, tmp_path: Path, spec_of: Callable[[str], dict]) -> None:
    spec = spec_of("question-answering")
    ours, run = attune_losses(workspace, spec)
    tokenizer = transformers.AutoTokenizer.from_pretrained(spec["model"])
    features = []
    for row in rows_in(run):
        answers = json.loads(row["answers"])
        encoded = tokenizer(
            row["question"], row["context"], truncation="only_second", max_length=spec["training"]["max_length"],
            stride=8, return_overflowing_tokens=True, return_offsets_mapping=True,
        )  # fmt: skip
        for i, offsets in enumerate(encoded.pop("offset_mapping")):
            start = end = 0
            if answers["text"]:
                first, text = answers["answer_start"][0], answers["text"][0]
                inside = [k for k, place in enumerate(encoded.sequence_ids(i)) if place == 1]
                if offsets[inside[0]][0] <= first and offsets[inside[-1]][1] >= first + len(text):
                    start = max(k for k in inside if offsets[k][0] <= first)
                    end = min(k for k in inside if offsets[k][1] >= first + len(text))
            names = ("input_ids", "token_type_ids", "attention_mask")
            feature = {name: encoded[name][i] for name in names if name in encoded}
            features.append(feature | {"start_positions": start, "end_positions": end})
    collator = transformers.DataCollatorWithPadding(tokenizer, pad_to_multiple_of=8)
    theirs = plain_losses("AutoModelForQuestionAnswering", spec, {}, features, collator, tmp_path / "plain")
    assert len(ours) == N_STEPS and max(abs(a - b) for a, b in zip(ours, theirs, strict=True)) <= 1e-4
