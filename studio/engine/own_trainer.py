"""transformers' Trainer as Attune trains: its order of rows, its quick layers, its choice of the best checkpoint.

A training that is saved as a script carries this source, so it knows no run. Imported by the worker only, since it
imports transformers' Trainer at the top.
"""

from collections.abc import Iterator
from typing import Any

import torch  # noqa: TID253
from transformers import Trainer  # noqa: TID253

from studio.engine import kernels


class LengthGroupedSampler(torch.utils.data.Sampler):
    """Rows in batches of like length, in an order that is a pure function of seed and epoch.

    transformers' own draws from the global random state, so that a resumed epoch would see another order. told: is
    called with the epoch when its first row is asked for.
    """

    def __init__(self, lengths: list[int], batch_size: int, seed: int, grouped: bool = True, told: Any = None):
        self.lengths, self.batch_size, self.seed, self.grouped, self.told = lengths, batch_size, seed, grouped, told
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.lengths)

    def __iter__(self) -> Iterator[int]:
        if self.told is not None:
            self.told(self.epoch)
        generator = torch.Generator().manual_seed(self.seed * 100_003 + self.epoch)
        order = torch.randperm(len(self.lengths), generator=generator).tolist()
        if not self.grouped:
            return iter(order)
        # Sorting within pools of 50 batches keeps most of the randomness and nearly all of the gain.
        pool = self.batch_size * 50
        batches = []
        for start in range(0, len(order), pool):
            rows = sorted(order[start : start + pool], key=self.lengths.__getitem__, reverse=True)
            batches += [rows[i : i + self.batch_size] for i in range(0, len(rows), self.batch_size)]
        # The one smaller batch goes last: the loader cuts the rows into batches by counting.
        batches.sort(key=len, reverse=True)
        n_full = sum(len(batch) == self.batch_size for batch in batches)
        mixed = [batches[i] for i in torch.randperm(n_full, generator=generator).tolist()] + batches[n_full:]
        return iter([row for batch in mixed for row in batch])


class OwnTrainer(Trainer):
    """transformers' Trainer with Attune's order of rows, optimiser and choice of the best checkpoint.

    lengths: tokens of each training row. quick: the model's layers in their quick form. train_collator: makes the
    batches of training, where those of evaluation are made otherwise; its `set_epoch` is told each epoch.
    """

    def __init__(
        self,
        *args: Any,
        lengths: list[int],
        group_by_length: bool,
        quick: kernels.Kernels | None = None,
        train_collator: Any = None,
        **kwargs: Any,
    ):
        super().__init__(*args, **kwargs)
        self.train_collator = train_collator or self.data_collator
        self.lengths, self.group_by_length, self.kernels = lengths, group_by_length, quick

    def create_optimizer(self, model: Any = None) -> Any:
        if self.kernels is None or self.optimizer is not None:
            return super().create_optimizer(model)
        decayed = self.get_decay_parameter_names(self.model)
        trained = [(name, p) for name, p in self.model.named_parameters() if p.requires_grad]
        groups = [
            {"params": [p for name, p in trained if name in decayed], "weight_decay": self.args.weight_decay},
            {"params": [p for name, p in trained if name not in decayed], "weight_decay": 0.0},
        ]
        _, options = self.get_optimizer_cls_and_kwargs(self.args, self.model)
        self.optimizer = kernels.AdamW(groups, self.kernels.embeddings, **options)
        return self.optimizer

    def _clip_grad_norm(self, model: Any) -> Any:
        if self.kernels is None:
            return super()._clip_grad_norm(model)
        return self.optimizer.optimizer.clip(self.args.max_grad_norm)

    def _get_grad_norm(self, model: Any, grad_norm: Any = None) -> Any:
        if self.kernels is None or grad_norm is not None:
            return super()._get_grad_norm(model, grad_norm)
        return self.optimizer.optimizer.clip(0.0)

    def floating_point_ops(self, inputs: Any) -> int:
        return 0  # Trainer's count walks through all parameters at each step, and nobody reads it

    def _get_train_sampler(self, train_dataset: Any = None) -> Any:
        # Grouped by step, not by batch: with half the batch and twice the accumulation each step has the same rows.
        n_rows = self.args.train_batch_size * self.args.gradient_accumulation_steps
        told = getattr(self.train_collator, "set_epoch", None)
        return LengthGroupedSampler(self.lengths, n_rows, self.args.seed, self.group_by_length, told)

    def get_train_dataloader(self) -> Any:
        former, self.data_collator = self.data_collator, self.train_collator
        try:
            return super().get_train_dataloader()
        finally:
            self.data_collator = former

    def evaluate(self, *args: Any, **kwargs: Any) -> dict[str, float]:
        # Its loader draws from the state of training, which must not tell whether it was left or made up for.
        random_state = torch.get_rng_state()
        try:
            return super().evaluate(*args, **kwargs)
        finally:
            torch.set_rng_state(random_state)

    def _determine_best_metric(self, metrics: dict[str, float], trial: Any) -> bool:
        """Trainer's choice, but of two evaluations with the same metric the one with the lower loss is the better."""
        if f"eval_{self.args.metric_for_best_model}" not in metrics:
            return False  # a stop cut the evaluation short, or it is not defined, as a correlation with one number is
        losses = {entry["step"]: entry["eval_loss"] for entry in self.state.log_history if "eval_loss" in entry}
        best_step, best_metric = self.state.best_global_step, self.state.best_metric
        is_best = super()._determine_best_metric(metrics, trial)
        name = f"eval_{self.args.metric_for_best_model}"
        if not is_best and best_step in losses and metrics.get(name) == best_metric:
            is_best = metrics["eval_loss"] < losses[best_step]
            if is_best:
                self.state.best_global_step = self.state.global_step
        return is_best
