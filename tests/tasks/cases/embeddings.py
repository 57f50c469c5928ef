"""Sentence embeddings: two sentences in other words about the same thing and place."""

import random
from pathlib import Path

TASK = {"kind": "embeddings"}
COLUMNS = {"text": "text", "text_2": "text_2", "label": "label"}
FILE = "pairs.csv"
UNLABELLED = ("texts.csv", "text\nwhere is the red cup in Velden\na blue boat of Harlow\n")
TRAINING = {"num_train_epochs": 12, "learning_rate": 3e-3, "max_length": 24}
LEAST = 0.3


def write(path: Path) -> None:
    """Write 96 pairs of a question and a statement, of four places."""
    chance = random.Random(6)
    colours, things = ["red", "blue", "green", "white"], ["cup", "key", "door", "boat", "coat", "bell"]
    places = ["Velden", "Harlow", "Tolland", "Merrin"]
    rows = [(c, t, p) for c in colours for t in things for p in places]
    chance.shuffle(rows)
    lines = [f"where is the {c} {t} in {p},a {c} {t} of {p},{p}" for c, t, p in rows]
    path.write_text("\n".join(["text,text_2,label", *lines]) + "\n", encoding="utf-8")
