"""What the studio costs: steps of `attune train` against those of a bare Trainer with the very same settings.

    python tests/benchmarks/studio_cost.py DATA.tsv [--rows 2048] [--pairs 5]

DATA has no header: text, tab, label. Both train one epoch of the starter with the same rows in the same order, layers,
precision and optimiser; the bare one has no log, no commands, no clock and no checkpoints. Seconds are counted from the
end of the first step to the end of the last one. Prints one JSON object a pair and one with the median.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from studio import supervisor
from studio.core import events as ev
from studio.core.processes import environment
from studio.core.rundir import create_run, read_events
from studio.core.spec import parse_spec
from studio.worker import _settle_process


def spec_of(data: Path) -> dict:
    return {
        "data": {"train": str(data), "validation": 0.0, "test": 0.0},
        "columns": {"text": 0, "label": 1},
        "training": {"num_train_epochs": 1, "evaluations_per_epoch": 1},
    }


def with_studio(data: Path, folder: Path) -> float:
    run = supervisor.start_new(folder, parse_spec(spec_of(data)))
    for _ in supervisor.follow(run):
        pass
    steps = [e for e in read_events(run) if isinstance(e, ev.Metrics) and e.split == "train"]
    return steps[-1].time - steps[0].time


def bare(data: Path, folder: Path) -> float:
    """Train in this process, with nothing of the studio but what makes it quick; return the seconds."""
    _settle_process()
    import torch
    from transformers import DataCollatorWithPadding, Trainer, TrainerCallback, TrainingArguments

    from studio.engine import kernels, train
    from studio.engine.reporter import Reporter
    from studio.engine.trainer import AttuneTrainer

    class Bare(Trainer):
        create_optimizer, _get_train_sampler = AttuneTrainer.create_optimizer, AttuneTrainer._get_train_sampler
        floating_point_ops = AttuneTrainer.floating_point_ops

        def _clip_grad_norm(self, model: object) -> object:
            return self.optimizer.optimizer.clip(self.args.max_grad_norm)

        def _get_grad_norm(self, model: object, grad_norm: object = None) -> object:
            return grad_norm

    class Times(TrainerCallback):
        def on_step_end(self, *_: object, **__: object) -> None:
            times.append(time.perf_counter())

    times: list[float] = []
    spec = parse_spec(spec_of(data))
    run = create_run(folder, spec)
    report = Reporter(run)
    prepared = train.prepare(run, spec, report, is_resume=False)
    report.close()
    t = prepared.training
    arguments = TrainingArguments(
        output_dir=str(folder), num_train_epochs=1, learning_rate=prepared.picks["learning_rate"].value,
        per_device_train_batch_size=t.per_device_train_batch_size, weight_decay=t.weight_decay,
        lr_scheduler_type=t.lr_scheduler_type, warmup_steps=t.warmup_steps, seed=t.seed,
        use_cpu=not torch.cuda.is_available(), bf16=prepared.picks["precision"].value == "bf16",
        save_strategy="no", logging_strategy="no", report_to=[], disable_tqdm=True,
    )  # fmt: skip
    trainer = Bare(
        model=prepared.model, args=arguments, train_dataset=prepared.datasets["train"],
        data_collator=DataCollatorWithPadding(prepared.tokenizer, pad_to_multiple_of=8), callbacks=[Times()],
    )  # fmt: skip
    is_quick = prepared.picks["kernels"].value == "quick"
    trainer.kernels = kernels.Kernels(prepared.model, arguments.bf16) if is_quick else None
    trainer.lengths, trainer.group_by_length = list(prepared.datasets["train"]["length"]), t.group_by_length
    trainer.train()
    return times[-1] - times[0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--rows", type=int, default=2048)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--bare", action="store_true", help="only the bare one, on the whole file")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if given.bare:
            print(json.dumps(bare(given.data.absolute(), folder)))
            return
        data = folder / "rows.tsv"
        lines = given.data.read_text(encoding="utf-8").splitlines()[: given.rows]
        data.write_text("\n".join(lines) + "\n", encoding="utf-8")
        costs = []
        for i in range(given.pairs):
            command = [sys.executable, __file__, str(data), "--bare"]

            def run_bare(command: list[str] = command) -> float:
                done = subprocess.run(command, capture_output=True, text=True, env=environment())
                return json.loads(done.stdout.splitlines()[-1])

            # In turn, so that neither always has the warmer machine.
            if i % 2:
                plain, ours = run_bare(), with_studio(data, folder)
            else:
                ours, plain = with_studio(data, folder), run_bare()
            costs.append(ours / plain - 1)
            print(
                json.dumps({"studio": round(ours, 2), "bare": round(plain, 2), "cost": round(costs[-1], 4)}), flush=True
            )
        print(json.dumps({"median_cost": round(statistics.median(costs), 4)}))


if __name__ == "__main__":
    main()
