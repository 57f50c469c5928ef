"""Question answering with contexts that take several parts, and questions that have no answer."""

import json
import random
from pathlib import Path

TASK = {"kind": "question-answering", "doc_stride": 8, "max_answer_length": 4}
COLUMNS = {"context": "context", "question": "question", "answers": "answers"}
FILE = "questions.json"
UNLABELLED = ("open.csv", "context,question\nthe key is red and the cup is blue,what colour is the cup\n")
TRAINING = {"num_train_epochs": 12, "learning_rate": 5e-3, "max_length": 32}
LEAST = 0.3  # of the main metric on the test rows


def write(path: Path) -> None:
    """Write 96 questions on 48 contexts, a sixth of which has no answer there."""
    chance = random.Random(2)
    things = ["key", "cup", "door", "boat", "coat"]
    colours = ["red", "blue", "green", "white"]
    paragraphs = []
    for i in range(48):
        there = chance.sample(things, 3)
        colour = {thing: chance.choice(colours) for thing in there}
        context = " and ".join(f"the {thing} is {colour[thing]}" for thing in there)
        context += f" and nothing else is known of the house number {i}" * (1 + i % 3)
        asked = [there[0], there[2] if i % 3 else next(t for t in things if t not in there)]
        qas = []
        for k, thing in enumerate(asked):
            answers = []
            if thing in colour:
                start = context.index(f"the {thing} is ") + len(f"the {thing} is ")
                answers = [{"text": colour[thing], "answer_start": start}]
            qas.append({"id": f"{i}.{k}", "question": f"what colour is the {thing}", "answers": answers})
        paragraphs.append({"context": context, "qas": qas})
    path.write_text(json.dumps({"data": [{"title": "things", "paragraphs": paragraphs}]}), encoding="utf-8")
