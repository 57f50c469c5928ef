"""Token classification: names and places in sentences of a few words, some of which the tokenizer cuts into pieces."""

import random
from pathlib import Path

TASK = {"kind": "token-classification"}
COLUMNS = {"text": "tokens", "labels": "tags"}
FILE = "names.conll"
UNLABELLED = ("texts.csv", "tokens\nMara Stone left Velden\nnobody came to Port Merrin\n")
TRAINING = {"num_train_epochs": 12, "learning_rate": 5e-3}
LEAST = 0.6  # of the main metric on the test rows


def write(path: Path) -> None:
    """Write 96 sentences with 2 types of entities."""
    chance = random.Random(1)
    people = ["Mara Stone", "Tobias", "Oskar Lindqvist", "Leila", "Henry Marsh", "Joana"]
    places = ["Harlow", "Port Merrin", "Velden", "Upper Tolland"]
    patterns = ["{p} lives in {l} .", "{p} left {l} for {l}", "in {l} it rained", "{p} met {p} .", "nobody came to {l}"]
    lines = []
    for i in range(96):
        for word in f"{patterns[i % 5]} {i}".split():
            kind = {"{p}": "PER", "{l}": "LOC"}.get(word)
            found = chance.choice(people if kind == "PER" else places).split() if kind else [word]
            tags = [f"B-{kind}"] + [f"I-{kind}"] * (len(found) - 1) if kind else ["O"]
            lines += [f"{a} {b}" for a, b in zip(found, tags, strict=True)]
        lines.append("")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
