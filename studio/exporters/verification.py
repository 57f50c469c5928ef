"""Proves that an exported folder is the trained model: loads it afresh, by its own runtime, and compares numbers.

Runs in a process of its own (`verify_in_fresh_process`), so that nothing of the export is still in memory.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from studio.core.processes import command, environment
from studio.core.registry import family
from studio.exporters.reference import BATCH_SIZE, Reference, seen
from studio.exporters.runners import Runner, load_transformers, n_usable_cores

Progress = Callable[[float, float], None]
_LEAST_DROP = 1e-3  # of the metric where answers are numbers
_TIMED_BATCHES = 4
_TIMED_ROUNDS = 5
_TIMED_SECONDS = 15.0  # after this the rounds end, however slow the model is


def verify_in_fresh_process(directory: Path, reference: Path, format_id: str, progress: Progress) -> dict[str, Any]:
    """Return the verdict of `verify` from a new process; one that dies without a verdict has not verified.

    progress: gets steps done and all steps; what it raises ends the process and goes on to the caller.
    """
    verdict: dict[str, Any] | None = None
    arguments = command("verify", str(directory), str(reference), "--format", format_id)
    process = subprocess.Popen(arguments, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, env=environment())
    try:
        for line in process.stdout:
            said = json.loads(line)
            if "progress" in said:
                progress(*said["progress"])
            else:
                verdict = said
        status = process.wait()
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        process.stdout.close()
    if verdict is None:
        problem = f"The process that loaded the exported model ended with status {status}."
        return {"format": format_id, "verified": False, "problems": [problem]}
    return verdict


def main(argv: list[str]) -> int:
    """Verify as the command line says, print progress and the verdict as lines of JSON; 0 if verified, else 1."""
    parser = argparse.ArgumentParser(prog="attune verify")
    parser.add_argument("directory", type=Path)
    parser.add_argument("reference", type=Path)
    parser.add_argument("--format", required=True, choices=list(family("exporters")))
    given = parser.parse_args(argv)
    # Libraries print too: from here on their stdout is stderr, and the verdict's is ours alone.
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def say(value: dict[str, Any]) -> None:
        print(json.dumps(value), file=out, flush=True)

    verdict = verify(given.directory, given.reference, given.format, lambda *steps: say({"progress": steps}))
    say(verdict)
    return 0 if verdict["verified"] else 1


def verify(directory: Path, reference: Path, format_id: str, progress: Progress = lambda *_: None) -> dict[str, Any]:
    """Return whether the folder holds the trained model, with everything that was measured.

    Keys: format, verified, problems (in words), n_threads, size_bytes (of the model's files), n_rows, metric_name,
    metric and reference_metric, rms_logit_difference, max_logit_difference, prediction_agreement, shapes_checked
    ([rows, tokens] each), labels_equal, tokenizer_equal, latency_ms and reference_latency_ms (for 32 rows; the
    reference is PyTorch), latency_ms_single and reference_latency_ms_single (for one row). What could not be measured
    is absent. Never raises.
    """
    check = _Check(directory, format_id)
    try:
        expected = Reference.load(reference)
        runner = check.load(expected.task)
    except Exception as error:
        check.problem("loading", error)
        return check.verdict()
    n_batches = -(-len(expected.rows) // BATCH_SIZE)
    n_steps = n_batches + len(expected.probes) + 2 * _TIMED_ROUNDS * _TIMED_BATCHES
    done = 0

    def step() -> None:
        nonlocal done
        done += 1
        progress(done, n_steps)

    for name, part in (
        ("the label names", lambda: check.labels(expected)),
        ("the tokenizer", lambda: check.tokenizer(expected)),
        ("the rows", lambda: check.rows(expected, runner, step)),
        ("the shapes", lambda: check.shapes(expected, runner, step)),
        ("the speed", lambda: check.speed(expected, runner, step)),
    ):
        try:
            part()
        except Exception as error:
            check.problem(name, error)
    progress(n_steps, n_steps)
    return check.verdict()


class _Check:
    """Collects measurements and problems of one exported folder."""

    def __init__(self, directory: Path, format_id: str):
        self.directory = directory
        self.plugin = family("exporters")[format_id]
        self.n_threads = n_usable_cores()
        self.facts: dict[str, Any] = {"format": format_id, "n_threads": self.n_threads}
        self.problems: list[str] = []

    def problem(self, where: str, error: Exception) -> None:
        text = " ".join(str(error).split()) or "no message"
        self.problems.append(f"Checking {where} failed: {type(error).__name__}: {text[:400]}")

    def verdict(self) -> dict[str, Any]:
        head = {"format": self.facts.pop("format"), "verified": not self.problems}
        return head | self.facts | {"problems": self.problems}

    def load(self, task: Any) -> Runner:
        self.facts["size_bytes"] = sum(
            path.stat().st_size for pattern in self.plugin.files for path in self.directory.glob(pattern)
        )
        return self.plugin.load(self.directory, self.n_threads, task.output_names, task.wrap)

    def labels(self, expected: Reference) -> None:
        if not expected.facts["labels"]:
            return
        names = json.loads((self.directory / "config.json").read_text(encoding="utf-8"))["id2label"]
        equal = [names.get(str(i)) for i in range(len(names))] == expected.facts["labels"]
        self.facts["labels_equal"] = equal
        if not equal:
            self.problems.append("The label names in config.json are not those of the trained model.")

    def tokenizer(self, expected: Reference) -> None:
        import transformers

        tokenizer = transformers.AutoTokenizer.from_pretrained(
            self.directory, local_files_only=True, trust_remote_code=False
        )
        facts = expected.facts
        n_different = sum(
            tokenizer(text, truncation=True, max_length=facts["max_length"])["input_ids"] != ids
            for text, ids in zip(facts["texts"], facts["token_ids"], strict=True)
        )
        same_padding = tokenizer.padding_side == facts["padding"]["side"]
        same_padding &= (tokenizer.pad_token_id or 0) == facts["padding"]["values"]["input_ids"]
        self.facts["tokenizer_equal"] = n_different == 0 and same_padding
        if n_different:
            self.problems.append(f"The tokenizer splits {n_different} of {len(facts['texts'])} texts differently.")
        if not same_padding:
            self.problems.append("The tokenizer pads differently.")

    def rows(self, expected: Reference, runner: Runner, step: Callable[[], None]) -> None:
        """Compare the answers to all rows, and what they are worth by the task's metric."""
        outputs = list(expected.outputs)
        for chosen, batch in expected.batches():
            for i, output in zip(chosen, expected.kept(chosen, runner(batch)), strict=True):
                outputs[int(i)] = output
            step()
        task, data = expected.task, expected.data()
        self.facts["n_rows"] = len(data)
        found, wanted = (
            np.concatenate([task.compared(each).ravel() for each in e]) for e in (outputs, expected.outputs)
        )
        if not np.isfinite(found).all():
            self.problems.append("The exported model answers with numbers that are not finite.")
            return
        ours, theirs = (self._answers(task, each, expected, data) for each in (outputs, expected.outputs))
        metric, trained = (
            task.judge(each, data, expected.facts["labels"]).metrics[task.main_metric](slice(None))
            for each in (ours, theirs)
        )
        allowed = self.plugin.tolerance
        agreement, is_number = _agreement(ours.columns["predicted"], theirs.columns["predicted"], allowed.number)
        by_answer = task.agreement(ours, theirs)
        agreement = agreement if by_answer is None else by_answer
        difference = found - wanted
        self.facts |= {
            "metric_name": task.main_metric,
            "metric": metric,
            "reference_metric": trained,
            "prediction_agreement": agreement,
            "rms_logit_difference": float(np.sqrt(np.square(difference).mean())),
        }
        self._compare_logits(difference, wanted)
        drop = trained - metric if task.greater_is_better else (metric - trained) / max(1.0, abs(trained))
        # A rank or a square changes with the last digit of a number; a label does not.
        changes = is_number or not task.greater_is_better
        if not drop <= max(allowed.metric_drop, _LEAST_DROP if changes else 0.0) + 1e-9:
            self.problems.append(f"{task.main_metric} falls from {trained:.4f} to {metric:.4f}.")
        if agreement < allowed.agreement:
            self.problems.append(f"Only {agreement:.1%} of the rows get the answer that the trained model gives.")
        share = self.facts["rms_logit_difference"] / max(float(wanted.std()), 1e-6)
        if share > allowed.rms:
            self.problems.append(f"The outputs differ by {share:.0%} of their spread.")

    def _answers(self, task: Any, outputs: list[np.ndarray], expected: Reference, data: Any) -> Any:
        given = outputs if task.per_token else np.array(outputs)
        return task.answers(given, expected.facts["features"], data, expected.facts["labels"])

    def shapes(self, expected: Reference, runner: Runner, step: Callable[[], None]) -> None:
        """Run every length and batch size; a row must mean the same alone and padded."""
        self.facts["shapes_checked"] = []
        for batch, answer in expected.probes:
            shape = list(batch["input_ids"].shape)
            logits = seen(expected.task, runner(batch))
            if logits.shape != answer.shape or not np.isfinite(logits).all():
                self.problems.append(f"A batch of {shape[0]} rows with {shape[1]} tokens gets no usable answer.")
                continue
            self.facts["shapes_checked"].append(shape)
            self._compare_logits(logits - answer, answer)
            step()
        if self.plugin.tolerance.padding:
            sizes = [row["input_ids"].shape[-1] for row in expected.rows]
            shortest, longest = int(np.argmin(sizes)), int(np.argmax(sizes))
            chosen = [shortest, longest]
            padded = expected.kept(chosen, runner(expected.padded(chosen)))[0]
            alone = expected.kept(chosen[:1], runner(expected.rows[shortest]))[0]
            self._compare_logits(expected.task.compared(alone - padded), expected.task.compared(padded))

    def _compare_logits(self, difference: np.ndarray, answer: np.ndarray) -> None:
        found = float(np.abs(difference).max(initial=0.0))
        self.facts["max_logit_difference"] = max(found, self.facts.get("max_logit_difference", 0.0))
        allowed = self.plugin.tolerance.logits * max(1.0, float(np.abs(answer).max(initial=0.0)))
        if not found <= allowed:  # so that NaN is a difference too
            self.problems.append(f"The logits differ by up to {found:.2g}.")

    def speed(self, expected: Reference, runner: Runner, step: Callable[[], None]) -> None:
        """Time the exported and the trained model in turn, on the same batches and as many threads."""
        import torch

        torch.set_num_threads(self.n_threads)
        trained = load_transformers(Path(expected.facts["trained"]), expected.task.output_names, expected.task.wrap)
        rows = np.resize(np.arange(len(expected.rows)), max(len(expected.rows), BATCH_SIZE))
        starts = np.linspace(0, len(rows) - BATCH_SIZE, _TIMED_BATCHES).astype(int)
        batches = [expected.padded(rows[start : start + BATCH_SIZE]) for start in starts]
        singles = [expected.rows[int(rows[start])] for start in starts]
        for name, inputs in (("", batches), ("_single", singles)):
            ours, theirs = _time_in_turn([runner, trained], inputs, step)
            self.facts |= {f"latency_ms{name}": ours, f"reference_latency_ms{name}": theirs}


def _agreement(ours: Sequence[Any], theirs: Sequence[Any], near: float) -> tuple[float, bool]:
    """Return the share of rows with the same answer, and whether they are numbers: within `near` of their spread."""
    if not isinstance(theirs[0], float):
        return sum(a == b for a, b in zip(ours, theirs, strict=True)) / len(theirs), False
    a, b = np.array(ours), np.array(theirs)
    return float((np.abs(a - b) <= near * max(float(b.std()), 1e-6)).mean()), True


def _time_in_turn(runners: list[Runner], inputs: list[dict], step: Callable[[], None]) -> list[float]:
    """Return each runner's milliseconds for one of `inputs`: the best of some rounds, and of those the median.

    The best, since other programs can only make a round slower. In turn, since a machine gets hot and busy.
    """
    best = np.full((len(runners), len(inputs)), np.inf)
    for runner in runners:
        runner(inputs[0])
    began = time.monotonic()
    for _ in range(_TIMED_ROUNDS):
        for i, batch in enumerate(inputs):
            for k, runner in enumerate(runners):
                time.sleep(0.005)  # the other runtime's threads spin for a moment after their work
                start = time.perf_counter()
                runner(batch)
                best[k, i] = min(best[k, i], (time.perf_counter() - start) * 1000)
            step()
        if time.monotonic() - began > _TIMED_SECONDS:
            break
    return [float(np.median(times)) for times in best]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
