"""Multiple choice: which of two to four options is alive."""

import random
from pathlib import Path

TASK = {"kind": "multiple-choice"}
COLUMNS = {"question": "question", **{f"option_{n}": f"option_{n}" for n in range(1, 5)}, "answer": "answer"}
FILE = "choices.csv"
UNLABELLED = (
    "open.csv",
    "question,option_1,option_2\nwhich of these is alive,a red cup,a blue cat\nwhich is alive,a horse,a key\n",
)
TRAINING = {"num_train_epochs": 8, "learning_rate": 3e-3, "max_length": 24}
LEAST = 0.7


def write(path: Path) -> None:
    """Write 96 questions; a third has two options, a third three, a third four."""
    chance = random.Random(5)
    colours, things = ["red", "blue", "green", "white"], ["cup", "key", "door", "boat", "coat"]
    animals = ["cat", "dog", "horse", "goose", "otter"]
    lines = ["question,option_1,option_2,option_3,option_4,answer"]
    for i in range(96):
        n = 2 + i % 3
        options = [f"a {chance.choice(colours)} {chance.choice(things)}" for _ in range(n)]
        right = chance.randrange(n)
        options[right] = f"a {chance.choice(colours)} {chance.choice(animals)}"
        lines.append(",".join([f"which of the {n} things in house {i} is alive", *options, *[""] * (4 - n), "ABCD"[right]]))
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
