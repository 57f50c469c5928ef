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


def read_parts() -> dict[str, tuple[list[str], list[str]]]:
    """Return texts and labels of train, validation and test, as the run had split them."""
    parts: dict[str, tuple[list[str], list[str]]] = {name: ([], []) for name in ("train", "validation", "test")}
    for file in FILES:
        path = Path(file["path"])
        with open(path, "rb") as stream:
            if hashlib.file_digest(stream, "sha256").hexdigest() != file["sha256"]:
                raise SystemExit(f"{path} is not the file that the run was trained on: its content has changed since.")
        table = READERS[file["kind"]].read(Settings(path=str(path), **file["options"])).table
        texts, labels = TASK.rows(table, COLUMNS)
        codes = zlib.decompress(base64.b64decode(file["part_of_row"]))
        for text, label, code in zip(texts, labels, codes, strict=False):
            if code:  # rows behind the last code are left out
                part = parts[("train", "validation", "test")[code - 1]]
                part[0].append(text)
                part[1].append(label)
    return parts


def tokenise(texts: list[str], labels: list[str], tokenizer: Any) -> Dataset:
    """Return rows as token ids, with their length and the number of their label."""
    encoded = dict(tokenizer(texts, truncation=True, max_length=MAX_LENGTH))
    encoded["length"] = [len(ids) for ids in encoded["input_ids"]]
    return Dataset.from_dict(encoded | {"labels": [LABELS.index(label) for label in labels]})


def load_tokenizer() -> Any:
    """Return the tokenizer of the model's folder."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(MODEL, **SAFE)
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token or tokenizer.unk_token
    return tokenizer


def load_base(tokenizer: Any) -> Any:
    """Return the model with a new head, the same for the same seed."""
    config = transformers.AutoConfig.from_pretrained(MODEL, **SAFE)
    config.num_labels = len(LABELS)
    config.id2label = dict(enumerate(LABELS))
    config.label2id = {label: i for i, label in enumerate(LABELS)}
    config.problem_type = "single_label_classification"
    if config.pad_token_id is None:
        config.pad_token_id = tokenizer.pad_token_id
    transformers.set_seed(SEED)
    return AUTO_CLASS.from_pretrained(
        MODEL, config=config, use_safetensors=True, dtype="float32", ignore_mismatched_sizes=True, **SAFE
    )


def main() -> None:
    """Train as the run did, print the losses, and save the model."""
    out = Path(sys.argv[1] if len(sys.argv) > 1 else OUT)
    out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(THREADS)
    is_cpu = IS_QUICK or not torch.cuda.is_available()
    tokenizer = load_tokenizer()
    parts = {name: tokenise(*rows, tokenizer) for name, rows in read_parts().items() if rows[0]}
    model = METHOD.apply(load_base(tokenizer), METHOD_SETTINGS)
    held = hold_in_bf16(model) if PRECISION == "bf16" else 0
    make_batch = padded = transformers.DataCollatorWithPadding(tokenizer, pad_to_multiple_of=8)
    datasets = dict(parts)
    # [if quick]
    quick = Kernels(model, in_bf16=PRECISION == "bf16")
    # [end]
    # [if frozen]
    # The frozen layers' output is the same in every epoch, so that it is computed once.
    progress = SimpleNamespace(progress=lambda name: lambda done, total: None)
    model.to("cpu" if is_cpu else "cuda")
    used = {name: parts[name] for name in ("train", "validation") if name in parts}
    frozen = Trunk(model, n_frozen_layers(model), used, tokenizer, Settings(path=out), PRECISION, progress)
    datasets, make_batch = frozen.parts, collate
    # [end]
    validation = datasets.get("validation")
    if validation is not None:
        validation = validation.select(np.argsort(parts["validation"]["length"], kind="stable"))
    trainer = OwnTrainer(
        model=model,
        args=transformers.TrainingArguments(output_dir=str(out / "checkpoints"), use_cpu=is_cpu, **ARGUMENTS),
        train_dataset=datasets["train"],
        eval_dataset=validation,
        data_collator=make_batch,
        processing_class=tokenizer,
        compute_metrics=lambda result: {MAIN_METRIC: TASK.score(result.predictions, result.label_ids)},
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
    if "test" in parts:
        trainer.data_collator = padded
        trainer.evaluate(parts["test"], metric_key_prefix="test")
    print(f"The model lies in {out / 'model'}", file=sys.stderr)


# [wiring]

if __name__ == "__main__":
    main()
