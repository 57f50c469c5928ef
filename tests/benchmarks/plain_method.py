"""What a user would write for a part of the model: transformers' Trainer, with frozen layers or with peft.

    python plain_method.py MODEL_DIR TRAIN.tsv DEV.tsv --method full|freeze-all|freeze-half|lora [--rows N] [--epochs N]

All defaults of Trainer but batch 16, as the plain full fine-tuning that Attune is measured against. Prints one JSON
line: samples per second of training, its seconds, and the accuracy on DEV.
"""

import argparse
import json
import os
import time

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import numpy as np
from datasets import load_dataset
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    DataCollatorWithPadding,
    Trainer,
    TrainingArguments,
    set_seed,
)


def freeze(model, n_layers: int) -> None:
    """Freeze the embeddings and the first layers; pooler and head train."""
    for name, parameter in model.named_parameters():
        is_head = "pooler" in name or "classifier" in name
        at = int(name.split("encoder.layer.")[1].split(".")[0]) if "encoder.layer." in name else -1
        parameter.requires_grad_(is_head or at >= n_layers)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("model", "train", "dev"):
        parser.add_argument(name)
    parser.add_argument("--method", choices=("full", "freeze-all", "freeze-half", "lora"), default="full")
    parser.add_argument("--rows", type=int)
    parser.add_argument("--epochs", type=float, default=5)
    parser.add_argument("--lr", type=float, default=5e-5)
    given = parser.parse_args()
    set_seed(42)
    tokenizer = AutoTokenizer.from_pretrained(given.model)
    files, names = {"train": given.train, "dev": given.dev}, ["text", "label"]
    data = load_dataset("csv", data_files=files, sep="\t", column_names=names, quoting=3)
    if given.rows:
        data["train"] = data["train"].select(range(given.rows))
    data = data.map(lambda rows: tokenizer(rows["text"], truncation=True), batched=True)
    n_labels = len(set(data["train"]["label"]))
    model = AutoModelForSequenceClassification.from_pretrained(given.model, num_labels=n_labels)
    n_layers = model.config.num_hidden_layers
    if given.method.startswith("freeze"):
        freeze(model, n_layers if given.method == "freeze-all" else n_layers // 2)
    elif given.method == "lora":
        from peft import LoraConfig, get_peft_model

        targets = ["query", "key", "value", "attention.output.dense", "intermediate.dense", "output.dense"]
        adapter = LoraConfig(
            r=8,
            lora_alpha=16,
            lora_dropout=0.05,
            target_modules=targets,
            modules_to_save=["pooler.dense", "classifier"],
        )
        model = get_peft_model(model, adapter)
    arguments = TrainingArguments(
        "plain_out", per_device_train_batch_size=16, per_device_eval_batch_size=64, num_train_epochs=given.epochs,
        learning_rate=given.lr, report_to=[], save_strategy="no", disable_tqdm=True,
    )  # fmt: skip
    trainer = Trainer(
        model, arguments, train_dataset=data["train"], eval_dataset=data["dev"],
        data_collator=DataCollatorWithPadding(tokenizer),
        compute_metrics=lambda e: {"accuracy": float((np.argmax(e.predictions, -1) == e.label_ids).mean())},
    )  # fmt: skip
    began = time.perf_counter()
    trainer.train()
    seconds = time.perf_counter() - began
    result = {
        "samples_per_second": round(len(data["train"]) * given.epochs / seconds, 2),
        "train_seconds": round(seconds, 1),
        "n_trainable": sum(p.numel() for p in model.parameters() if p.requires_grad),
        "accuracy": round(trainer.evaluate()["eval_accuracy"], 4),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
