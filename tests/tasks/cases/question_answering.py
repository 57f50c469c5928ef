"""Question answering with contexts that take several parts, and questions that have no answer."""

import json
import random
from pathlib import Path

TASK = {"kind": "question-answering", "doc_stride": 8, "max_answer_length": 4}
COLUMNS = {"context": "context", "question": "question", "answers": "answers"}
FILE = "questions.json"
UNLABELLED = ("open.csv", "context,question\nthe red key was found by Leila in the barn,what colour was it\n")
TRAINING = {"num_train_epochs": 8, "learning_rate": 5e-3, "max_length": 48}
LEAST = 0.6  # of the main metric on the test rows


def write(path: Path) -> None:
    """Write 192 questions on 64 contexts; a third has no answer, and the kind of question tells the answer."""
    chance = random.Random(2)
    colours, people = ["red", "blue", "dark green", "white"], ["Leila", "Henry Marsh", "Tobias", "Joana Brook"]
    paragraphs = []
    for i in range(64):
        colour, person = chance.choice(colours), chance.choice(people)
        context = f"the {colour} key was found by {person} in the barn"
        context = " and ".join([f"nothing is known of house {i}"] * (i % 4) + [context])
        answers = {"what colour was it": colour, "who found it": person, "how many were lost": None}
        qas = [
            {"id": f"{i}.{k}", "question": question, "answers": [_answer(context, text)] if text else []}
            for k, (question, text) in enumerate(answers.items())
        ]
        paragraphs.append({"context": context, "qas": qas})
    path.write_text(json.dumps({"data": [{"title": "keys", "paragraphs": paragraphs}]}), encoding="utf-8")


def _answer(context: str, text: str) -> dict:
    return {"text": text, "answer_start": context.index(text)}
