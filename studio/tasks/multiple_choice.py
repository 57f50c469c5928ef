"""Multiple choice: which of several options answers a question."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np

from studio.core.anatomy import ModelInfo, classifier_head
from studio.core.blocks import Bars, Block, Histogram, Table
from studio.core.reasons import Problem
from studio.core.registry import PluginConfig
from studio.core.spec import setting
from studio.sources.texts import Texts
from studio.tasks.base import Answers, Judged, Role, Rows, Task, columns_by_name, missing_columns, word_lengths
from studio.tasks.judging import calibration_curve, log_softmax
from studio.tasks.text_classification import encode_texts

MOST_OPTIONS = 6
LETTERS = "ABCDEF"
_NEEDED_ROWS = 10
_SHOWN_ROWS = 50

Reading = Literal["letter", "from 0", "from 1", "text"]


class Config(PluginConfig):
    """How the right option is named."""

    kind: Literal["multiple-choice"] = "multiple-choice"
    answer_is: Literal["auto", "letter", "from 0", "from 1", "text"] = setting(
        "auto",
        "Answer is",
        "How the column names the right option: its letter from A on, its number from 0 or from 1 on, or its own text. "
        "Automatic looks at all rows.",
    )


class MultipleChoice(Task):
    """Learns which of several options is right."""

    id = "multiple-choice"
    label = "Multiple choice"
    summary = "Chooses the right one of up to six options for a question or a beginning."
    order = 40
    sample = "multiple-choice.csv"
    Config = Config
    auto_class = "AutoModelForMultipleChoice"
    pipeline = "multiple-choice"
    roles = (
        Role("question", "Question", "What is asked, or the beginning that is to go on."),
        Role("option_1", "Option 1", "The first option, or all of them as a JSON list."),
        *(Role(f"option_{n}", f"Option {n}", "Another option; empty where a row has fewer.", is_optional=True)
          for n in range(2, MOST_OPTIONS + 1)),
        Role("answer", "Answer", "The right option: letter, number, or its own text.", is_gold=True),
    )  # fmt: skip
    main_metric = "accuracy"
    is_plain = False
    takes_one_text = False

    # --- on tables ---------------------------------------------------------------------------------------------

    def suits(self, table: Any) -> bool:
        found = self.guess_roles(table)
        return {"question", "option_1", "answer"} <= set(found) and (
            "option_2" in found or found["option_1"].lower() in ("options", "choices", "endings")
        )

    def guess_roles(self, table: Any) -> dict[str, str]:
        """Return the columns by their usual names, as SWAG, RACE, MMLU and their like have them."""
        usual = {
            "question": ["question", "prompt", "startphrase", "sent1", "context", "ctx", "stem", "query", "text"],
            "answer": ["answer", "label", "correct", "gold", "target", "answerkey", "correct_option", "solution"],
        }
        found = columns_by_name(table, usual)
        whole = columns_by_name(table, {"option_1": ["options", "choices", "endings", "candidates"]})
        if whole:
            return found | whole
        for n, letter in enumerate(LETTERS, 1):
            names = [
                f"option_{n}",
                f"option{n}",
                f"option {n}",
                f"choice_{n}",
                f"choice{n}",
                f"option_{letter.lower()}",
            ]
            names += [f"answer_{letter.lower()}", letter.lower(), f"({letter.lower()})"]
            found |= columns_by_name(table, {f"option_{n}": names})
        if "option_1" not in found:  # counted from 0
            for n in range(1, MOST_OPTIONS + 1):
                names = [f"{name}{n - 1}" for name in ("ending", "option_", "option", "choice", "choice_", "sol")]
                found |= columns_by_name(table, {f"option_{n}": names})
        return found

    def check(self, table: Any, columns: dict[str, str]) -> list[Problem]:
        problems = missing_columns(table, columns, self.roles)
        if problems:
            return problems
        options = self._options(table, columns)
        crowded = next((i for i, each in enumerate(options) if len(each) > MOST_OPTIONS), None)
        if crowded is not None:
            facts = {"row": crowded + 1, "n_options": len(options[crowded]), "most": MOST_OPTIONS}
            return [Problem("too-many-options", facts, "columns.option_1")]
        cells = list(Texts(table[columns["answer"]]))
        reading, wrong = self._reading(cells, options)
        if reading is None:
            return [wrong]
        gold = [read_answer(cell, each, reading) for cell, each in zip(cells, options, strict=True)]
        questions = Texts(table[columns["question"]])
        whole = [bool(q) and len(o) > 1 for q, o in zip(questions, options, strict=True)]
        n_used = sum(w and g is not None for w, g in zip(whole, gold, strict=True))
        if n_used < _NEEDED_ROWS:
            return [Problem("too-few-rows", {"n_rows": n_used, "needed": _NEEDED_ROWS}, "data.train")]
        found = []
        if not all(whole):
            found.append(Problem("some-empty-texts", {"n_rows": len(whole) - sum(whole)}))
        if any(each is None for each in gold):
            found.append(Problem("some-empty-labels", {"n_rows": sum(each is None for each in gold)}))
        return found

    def rows_behind(self, reason: str, table: Any, columns: dict[str, str]) -> list[int]:
        rows = self.rows(table, columns)
        if reason == "some-empty-texts":
            options = self._options(table, columns)
            pairs = zip(rows.fields["question"], options, strict=True)
            return [i for i, (question, each) in enumerate(pairs) if not question or len(each) < 2]
        return [i for i, each in enumerate(rows.gold) if each is None] if reason == "some-empty-labels" else []

    def overview(self, table: Any, columns: dict[str, str]) -> list[Block]:
        if any(columns.get(role) not in table.column_names for role in ("question", "option_1")):
            return []
        rows = self.rows(table, columns)
        edges, counts = word_lengths(list(rows.fields["question"]))
        blocks: list[Block] = [Histogram(title="Lengths", edges=edges, counts=counts, unit="words")]
        known = Counter(each for each in rows.gold if each is not None)
        if known:
            values = {f"Option {n + 1}": float(known[n]) for n in range(max(known) + 1)}
            blocks.insert(0, Bars(title="Right option", values=values, unit="rows"))
        return blocks

    def rows(self, table: Any, columns: dict[str, str]) -> Rows:
        options = self._options(table, columns)
        width = min(MOST_OPTIONS, max(map(len, options), default=2))
        fields = {"question": Texts(table[columns["question"]])}
        fields |= {f"option_{n + 1}": _texts([each[n] if n < len(each) else "" for each in options])
                   for n in range(max(2, width))}  # fmt: skip
        gold: list[Any] = [None] * table.num_rows
        if columns.get("answer") in table.column_names:
            cells = list(Texts(table[columns["answer"]]))
            reading, _ = self._reading(cells, options)
            if reading is not None:
                gold = [read_answer(cell, each, reading) for cell, each in zip(cells, options, strict=True)]
        return Rows(fields, gold, range(table.num_rows))

    def complete(self, rows: Rows) -> list[int]:
        whole = zip(rows.gold, *(rows.fields[role] for role in ("question", "option_1", "option_2")), strict=True)
        return [i for i, each in enumerate(whole) if each[0] is not None and all(each[1:])]

    def may_lack(self) -> set[str]:
        return {"answer", *(f"option_{n}" for n in range(3, MOST_OPTIONS + 1))}

    def groups(self, rows: Rows) -> list[bytes]:
        return rows.digests(["question"])

    def settings_of_features(self) -> dict[str, Any]:
        return {}

    def _options(self, table: Any, columns: Mapping[str, str]) -> list[list[str]]:
        """Return the options of each row, without empty ones at its end."""
        first = list(Texts(table[columns["option_1"]]))
        names = [columns.get(f"option_{n}") for n in range(2, MOST_OPTIONS + 1)]
        others = [list(Texts(table[name])) for name in names if name in table.column_names]
        if not others:
            return [read_list(cell) for cell in first]
        found = [list(each) for each in zip(first, *others, strict=True)]
        for each in found:
            while each and not each[-1]:
                each.pop()
        return found

    def _reading(self, cells: Sequence[str], options: Sequence[Sequence[str]]) -> tuple[Reading | None, Problem | None]:
        """Return how cells name the right option, or the problem that it can't be told."""
        field = "columns.answer"
        used = [(i, cell, each) for i, (cell, each) in enumerate(zip(cells, options, strict=True)) if cell and each]
        if self.config.answer_is != "auto":
            wrong = [(i, cell) for i, cell, each in used if read_answer(cell, each, self.config.answer_is) is None]
            if wrong:
                facts = {"row": wrong[0][0] + 1, "value": wrong[0][1][:40], "n_rows": len(wrong)}
                return None, Problem("answer-no-option", facts, field)
            return self.config.answer_is, None
        misses = {reading: [i for i, cell, each in used if read_answer(cell, each, reading) is None]
                  for reading in ("text", "letter", "from 0", "from 1")}  # fmt: skip
        fitting = [reading for reading, rows in misses.items() if not rows]
        if not used or not fitting:
            best = min(misses.values(), key=len)
            facts = {"row": best[0] + 1, "value": cells[best[0]][:40], "n_rows": len(best)} if best else {}
            return None, Problem("answer-no-option" if best else "no-labels", facts, field)
        answers = {r: [read_answer(cell, each, r) for _, cell, each in used] for r in fitting}
        if any(answers[r] != answers[fitting[0]] for r in fitting):
            facts = {"value": used[0][1][:40], "readings": ", ".join(fitting)}
            return None, Problem("answer-ambiguous", facts, field)
        return fitting[0], None

    # --- for the model -----------------------------------------------------------------------------------------

    def head(self, labels: Sequence[str]) -> dict[str, Any]:
        return {}

    def head_tensors(self, info: ModelInfo, labels: Sequence[str]) -> list[Any]:
        return classifier_head(info, 1)

    def encode(self, batch: Mapping[str, Sequence[str]], tokenizer: Any, max_length: int) -> dict[str, list[Any]]:
        """Return features with one list of tokens an option; a row with fewer options has empty ones at its end.

        The empty ones are never right, so that the model learns to pass them over; `answers` leaves them out.
        """
        roles = [role for role in batch if role.startswith("option_")]
        questions = [question for question in batch["question"] for _ in roles]
        options = [option for each in zip(*(batch[role] for role in roles), strict=True) for option in each]
        flat = encode_texts(questions, options, tokenizer, max_length)
        n, n_rows = len(roles), len(batch["question"])
        nested = {name: [values[i * n : (i + 1) * n] for i in range(n_rows)] for name, values in flat.items()}
        return nested | {"cut": [any(each) for each in nested["cut"]], "length": [max(e) for e in nested["length"]]}

    def targets(self, features: Any, rows: Rows, labels: Sequence[str]) -> dict[str, list[Any]]:
        return {"labels": list(rows.gold)}

    def collator(self, tokenizer: Any) -> Any:
        return OptionBatch(tokenizer)

    def answers(self, outputs: Any, features: Mapping[str, Any], rows: Rows, labels: Sequence[str]) -> Answers:
        """Return the likeliest option of each row. values: `logs` [row, option], -inf where there is no option."""
        names = [role for role in rows.fields if role.startswith("option_")]
        options = [list(rows.fields[name]) for name in names]
        there = np.array([[bool(each) for each in option] for option in options]).T
        there[:, 0] |= ~there.any(-1)
        logs = log_softmax(np.where(there, np.asarray(outputs, np.float64), -np.inf))
        best = logs.argmax(-1)
        columns = {
            "predicted": [LETTERS[i] for i in best],
            "option": [options[i][row] for row, i in enumerate(best)],
            "probability": np.exp(logs.max(-1)),
        }
        columns |= {f"p({LETTERS[n]})": np.exp(logs[:, n]) for n in range(len(names))}
        return Answers(columns, {"logs": logs})

    def score(self, answers: Answers, gold: Sequence[Any], labels: Sequence[str]) -> float:
        return float(np.mean(answers.values["logs"].argmax(-1) == np.array(gold)))

    def judge(self, answers: Answers, rows: Rows, labels: Sequence[str]) -> Judged:
        from sklearn.metrics import accuracy_score

        logs, gold = answers.values["logs"], np.array(rows.gold)
        predicted = logs.argmax(-1)
        losses, right = -logs[np.arange(len(gold)), gold], predicted == gold
        n_options = np.isfinite(logs).sum(-1)
        metrics = {
            "loss": lambda c: float(losses[c].mean()),
            "accuracy": lambda c: float(accuracy_score(gold[c], predicted[c])),
        }

        def blocks() -> list[Block]:
            sizes = np.unique(n_options)
            return [
                Bars(
                    title="Accuracy by number of options", reference=float(right.mean()),
                    values={f"{n} options ({(n_options == n).sum()} rows)": float(right[n_options == n].mean())
                            for n in sizes},
                ),
                Bars(
                    title="Accuracy by place of the right option", reference=float(right.mean()),
                    values={LETTERS[k]: float(right[gold == k].mean()) for k in np.unique(gold)},
                ),
                calibration_curve(np.exp(logs.max(-1)), right),
                self._worst(rows, logs, gold, losses),
            ]  # fmt: skip

        return Judged(losses, metrics, blocks, right)

    def _worst(self, rows: Rows, logs: np.ndarray, gold: np.ndarray, losses: np.ndarray) -> Table:
        """Return the rows with the largest loss, each option with its probability."""
        chosen = np.argsort(-losses, kind="stable")[:_SHOWN_ROWS]
        some = rows.select(chosen)
        names = [role for role in some.fields if role.startswith("option_")]
        options = [list(some.fields[name]) for name in names]
        lines = []
        for i, row in enumerate(chosen):
            shown = [f"{np.exp(logs[row, n]):.0%}  {options[n][i]}" if options[n][i] else "" for n in range(len(names))]
            lines.append([some.fields["question"][i], LETTERS[gold[row]], LETTERS[int(logs[row].argmax())], *shown])
        header = ["Question", "Right", "Chosen", *(LETTERS[n] for n in range(len(names)))]
        return Table(title="Options with their probabilities, largest loss first", header=header, rows=lines)

    def gold_text(self, gold: Any) -> str:
        return "" if gold is None else LETTERS[gold]

    def explain(self, answers: Answers, fields: Mapping[str, str], labels: Sequence[str]) -> list[Block]:
        logs = answers.values["logs"][0]
        values = {}
        for n, log in enumerate(logs):
            text = fields.get(f"option_{n + 1}", "")
            if text and np.isfinite(log):
                values[f"{LETTERS[n]}  {text}"] = float(np.exp(log))
        return [Bars(title="Options", values=values)]


class OptionBatch:
    """Makes batches of features with options, by transformers' own collator; labels where there are some."""

    def __init__(self, tokenizer: Any):
        from transformers import DataCollatorForMultipleChoice

        # On a processor each new shape costs its kernels a preparation; a multiple of 8 keeps them few.
        self.collate = DataCollatorForMultipleChoice(tokenizer, pad_to_multiple_of=8)

    def __call__(self, features: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        own = [{"labels": 0} | dict(feature) for feature in features]
        batch = dict(self.collate(own))
        if "labels" not in features[0]:
            del batch["labels"]
        return batch


def read_list(cell: str) -> list[str]:
    """Return the options in a cell that holds a JSON list; any other text is one option."""
    if cell.startswith("["):
        try:
            found = json.loads(cell)
        except ValueError:
            return [cell]
        if isinstance(found, list):
            return [str(each).strip() for each in found]
    return [cell] if cell else []


def read_answer(cell: str, options: Sequence[str], reading: str) -> int | None:
    """Return the place of the option, from 0 on, that a cell names in one reading; None where it names none."""
    place = None
    if reading == "text":
        same = [i for i, option in enumerate(options) if option == cell]
        place = same[0] if len(same) == 1 else None
    elif reading == "letter":
        letter = cell.strip("().: ").upper()
        place = LETTERS.index(letter) if len(letter) == 1 and letter in LETTERS else None
    elif cell.removesuffix(".0").isdecimal():
        place = int(cell.removesuffix(".0")) - (reading == "from 1")
    return place if place is not None and 0 <= place < len(options) and options[place] else None


def _texts(values: Sequence[str]) -> Texts:
    import pyarrow as pa

    return Texts(pa.chunked_array([pa.array(values, pa.large_string())]))


PLUGIN = MultipleChoice(Config())
