"""Multiple choice: which of two to four options has the colour that is asked for."""

import random
from pathlib import Path

TASK = {"kind": "multiple-choice"}
COLUMNS = {"question": "question", **{f"option_{n}": f"option_{n}" for n in range(1, 5)}, "answer": "answer"}
FILE = "choices.csv"
UNLABELLED = (
    "open.csv",
    "question,option_1,option_2,option_3,option_4\nwhich is red,red cup,blue key,,\nwhich is blue,red key,blue cup,green door,\n",
)
TRAINING = {"num_train_epochs": 30, "learning_rate": 3e-3, "max_length": 24}
LEAST = 0.5


def write(path: Path) -> None:
    """Write 96 questions; a third has two options, three, or four."""
    chance = random.Random(5)
    colours, things = ["red", "blue", "green", "white"], ["cup", "key", "door", "boat", "coat"]
    lines = ["question,option_1,option_2,option_3,option_4,answer"]
    for i in range(96):
        there = chance.sample(colours, 2 + i % 3)
        right = chance.randrange(len(there))
        options = [f"{colour} {chance.choice(things)}" for colour in there] + [""] * (4 - len(there))
        lines.append(",".join([f"which is {there[right]} in {i}", *options, "ABCD"[right]]))
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
