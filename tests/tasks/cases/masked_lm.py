"""Masked language model: sentences in which a word follows from the others, joined and cut into pieces."""

import random
from pathlib import Path

TASK = {"kind": "masked-lm", "mlm_probability": 0.2}
COLUMNS = {"text": "text"}
FILE = "sentences.csv"
UNLABELLED = ("gaps.csv", "text\nthe apple is [MASK] and <mask>\nthe sea is blue and deep\n")
TRAINING = {"num_train_epochs": 20, "learning_rate": 3e-3, "max_length": 24}
LEAST = 60  # at most, of the perplexity: of 200 tokens, or 420


def write(path: Path) -> None:
    """Write 96 sentences of things, each with its own colour and quality."""
    chance = random.Random(4)
    things = {"apple": "red and sweet", "sea": "blue and deep", "leaf": "green and thin", "coal": "black and hard"}
    lines = []
    for i in range(96):
        first, second = chance.sample(list(things), 2)
        lines.append(f"the {first} is {things[first]} but the {second} is {things[second]} {i}")
    path.write_text("\n".join(["text", *lines]) + "\n", encoding="utf-8")
