# [about]

from __future__ import annotations

# [imports]
import base64
import hashlib
import json
import sys
import zlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
import transformers
from datasets import Dataset
from transformers import EarlyStoppingCallback, TrainerCallback

# [settings]


class Failure(Exception):
    """What stands against the training: a reason, the setting that it belongs to, and facts."""

    def __init__(self, reason: str, field: str = "", /, **facts: Any):
        super().__init__(reason, field, facts)


class Settings(SimpleNamespace):
    """Settings by name."""

    def model_copy(self, update: dict[str, Any]) -> Settings:
        return Settings(**(vars(self) | update))


# ------------------------------------------------------------------------- from Attune's own source, as it trained with

# [code]


# ------------------------------------------------------------------------------------------------- the training itself


class Printer(TrainerCallback):
    """Prints what Trainer logs, one line of JSON each."""

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float] | None = None, **_: Any) -> None:
        print(json.dumps({"step": state.global_step} | (logs or {})), flush=True)


def read_parts() -> dict[str, Rows]:
    """Return the rows of train, validation and test, as the run had split them; parts without rows are absent."""
    parts = {}
    for file in FILES:
        path = Path(file["path"])
        with open(path, "rb") as stream:
            if hashlib.file_digest(stream, "sha256").hexdigest() != file["sha256"]:
                raise SystemExit(f"{path} is not the file that the run was trained on: its content has changed since.")
        table = READERS[file["kind"]].read(Settings(path=str(path), **file["options"])).table
        rows = TASK.rows(table, COLUMNS)
        codes = zlib.decompress(base64.b64decode(file["part_of_row"]))
        for i, name in enumerate(("train", "validation", "test"), 1):
            chosen = [row for row, code in enumerate(codes) if code == i]
            if chosen:
                parts[name] = rows.select(chosen)
    return parts


def tokenise(rows: Rows, tokenizer: Any) -> Dataset:
    """Return rows as the model gets them, with their length and what it shall say."""
    fields = {role: list(texts) for role, texts in rows.fields.items()}
    features = TASK.encode(fields, tokenizer, MAX_LENGTH)
    del features["cut"]
    dataset = Dataset.from_dict({"row": list(range(len(rows)))} | features)
    for name, values in TASK.targets(dataset, rows, LABELS).items():
        dataset = dataset.add_column(name, values)
    return dataset


def kept(outputs: Any, labels: Any) -> Any:
    """Return what counts of a batch's outputs, as one tensor."""
    outputs = outputs[:N_OUTPUTS] if isinstance(outputs, tuple) else (outputs,)
    return TASK.reduce(outputs[0] if len(outputs) == 1 else torch.stack(outputs, dim=-1), labels)


def scorer(rows: Rows, features: Dataset, order: Any, tokenizer: Any) -> Any:
    """Return what measures the outputs of features that come in some order."""

    def score(result: Any) -> dict[str, float]:
        found: list[Any] = [None] * len(order)
        for i, output in zip(order, result.predictions, strict=True):
            length = features[int(i)]["length"]
            found[i] = of_tokens(output, length, tokenizer.padding_side) if PER_TOKEN else output
        answers = TASK.answers(found if PER_TOKEN else np.array(found), features, rows, LABELS)
        return {MAIN_METRIC: TASK.score(answers, rows.gold, LABELS)}

    return score


def load_tokenizer() -> Any:
    """Return the tokenizer of the model's folder."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(MODEL, **SAFE)
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token or tokenizer.unk_token
    return tokenizer


def load_base(tokenizer: Any) -> Any:
    """Return the model with a new head, the same for the same seed."""
    config = transformers.AutoConfig.from_pretrained(MODEL, **SAFE)
    for name, value in HEAD.items():
        setattr(config, name, value)
    if config.pad_token_id is None:
        config.pad_token_id = tokenizer.pad_token_id
    AUTO_CLASS._model_mapping[type(config)]  # importing its code draws random numbers
    transformers.set_seed(SEED)
    model = AUTO_CLASS.from_pretrained(
        MODEL, config=config, use_safetensors=True, dtype="float32", ignore_mismatched_sizes=True, **SAFE
    )
    return TASK.wrap(model, Path(MODEL))


def main() -> None:
    """Train as the run did, print the losses, and save the model."""
    out = Path(sys.argv[1] if len(sys.argv) > 1 else OUT)
    out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(THREADS)
    is_cpu = IS_QUICK or not torch.cuda.is_available()
    tokenizer = load_tokenizer()
    rows = read_parts()
    parts = {name: tokenise(each, tokenizer) for name, each in rows.items()}
    base = load_base(tokenizer)
    # [if started]
    start_head(base, *HEAD_START)
    # [end]
    model = METHOD.apply(base, METHOD_SETTINGS)
    held = hold_in_bf16(model) if PRECISION == "bf16" else 0
    make_batch = padded = TASK.collator(tokenizer)
    make_training_batch = TASK.training_collator(tokenizer, SEED)
    datasets = {name: for_model(TASK, model, each) for name, each in parts.items()}
    # [if quick]
    quick = Kernels(model, in_bf16=PRECISION == "bf16")
    # [end]
    # [if frozen]
    # The frozen layers' output is the same in every epoch, so that it is computed once.
    progress = SimpleNamespace(progress=lambda name: lambda done, total: None)
    model.to("cpu" if is_cpu else "cuda")
    used = {name: parts[name] for name in ("train", "validation") if name in parts}
    frozen = Trunk(model, n_frozen_layers(model), used, tokenizer, Settings(path=out), PRECISION, progress)
    datasets, make_batch, make_training_batch = frozen.parts, collate, collate
    # [end]
    validation, score = datasets.get("validation"), None
    if validation is not None:
        order = np.argsort(parts["validation"]["length"], kind="stable")
        validation = validation.select(order)
        score = scorer(rows["validation"], parts["validation"], order, tokenizer)
    trainer = OwnTrainer(
        model=model,
        args=transformers.TrainingArguments(output_dir=str(out / "checkpoints"), use_cpu=is_cpu, **ARGUMENTS),
        train_dataset=datasets["train"],
        eval_dataset=validation,
        data_collator=make_batch,
        train_collator=make_training_batch,
        processing_class=tokenizer,
        compute_metrics=score,
        preprocess_logits_for_metrics=kept,
        callbacks=[Printer(), *([EarlyStoppingCallback(PATIENCE)] if PATIENCE else [])],
        lengths=list(parts["train"]["length"]),
        group_by_length=GROUP_BY_LENGTH,
        # [if quick]
        quick=quick,
        # [end]
    )
    trainer.remove_callback(transformers.PrinterCallback)
    trainer.train()
    # [if frozen]
    frozen.undo()
    # [end]
    # [if quick]
    quick.undo()
    # [end]
    if held:
        restore(model, load_base(tokenizer))
    model.to("cpu" if is_cpu else "cuda")
    trainer.save_model(str(out / "model"))
    TASK.finish_folder(model, out / "model")
    if "test" in parts:
        trainer.data_collator = padded
        trainer.compute_metrics = scorer(rows["test"], parts["test"], range(len(parts["test"])), tokenizer)
        trainer.evaluate(for_model(TASK, model, parts["test"]), metric_key_prefix="test")
    print(f"The model lies in {out / 'model'}", file=sys.stderr)


# [wiring]

if __name__ == "__main__":
    main()
