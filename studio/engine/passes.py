"""Single passes through a model, forward and backward, to see what they take; nothing of them stays."""

import contextlib
import time
from collections.abc import Iterator, Sequence
from typing import Any

import torch  # noqa: TID253

from studio.core import events as ev
from studio.core.reasons import Failure
from studio.engine import device
from studio.engine.kernels import Kernels, layer_stack
from studio.engine.tokens import for_model
from studio.engine.trainer import AttuneTrainer

_WORTH_SECONDS = 1200.0  # a compilation takes one to two minutes, and may be in vain
_LEAST_GAIN = 1.05
_PLACES = (0.5, 0.9)  # of the batches that are timed, among all by their length


def row_bytes(model: Any, task: Any, tokenizer: Any, dataset: Any, precision: str, is_quick: bool) -> float:
    """Return the activations in bytes that a forward pass keeps for one of the longest features of a dataset.

    From the tensors that autograd saves for the backward pass, so that neither what the weights take nor what the
    system's allocator holds is counted: those of two rows less those of one.
    """
    longest = sorted(range(len(dataset)), key=dataset["length"].__getitem__)[-2:]
    collate, inputs = task.collator(tokenizer), for_model(task, model, dataset)
    model.to(device.device()).train()
    quick = Kernels(model, precision == "bf16") if is_quick else None
    try:
        found = [_saved_bytes(model, _batch(collate, inputs, rows), precision) for rows in (longest[-1:], longest)]
    finally:
        if quick is not None:
            quick.undo()
    return float(found[-1] - found[0]) if len(longest) > 1 else float(found[0])


def _saved_bytes(model: Any, batch: dict[str, Any], precision: str) -> int:
    found: dict[int, int] = {}

    def see(tensor: Any) -> Any:
        storage = tensor.untyped_storage()
        found[storage.data_ptr()] = storage.nbytes()
        return tensor

    kept = torch.autograd.graph.saved_tensors_hooks(see, lambda tensor: tensor)
    with device.same_random_state(), kept, device.autocast(precision):
        result = model(**{name: value.to(device.device()) for name, value in batch.items()})
    del result
    return sum(found.values())


def _batch(collate: Any, dataset: Any, rows: Sequence[int]) -> dict[str, Any]:
    chosen = dataset.select(list(rows))
    return dict(collate([chosen[i] for i in range(len(chosen))]))


def pick_compile(trainer: AttuneTrainer, asked: bool | str, known: ev.Picked | None, seconds: float) -> ev.Picked:
    """Compile the layers of a Trainer's model where that pays, and return whether and why.

    asked: the setting; `auto` tries it where the training takes long. known: what an earlier attempt found.
    seconds: of the training, by the formula. Raises Failure "can-not-compile" where it was asked for.
    """
    found = known or ev.Picked(name="torch_compile", value=asked, why="as you asked")
    if found.value is False:
        return found
    is_open = found.value == "auto"
    too_short = ev.Picked(name="torch_compile", value=False, why="the training is too short for it to pay")
    if is_open and seconds < _WORTH_SECONDS:
        return too_short
    trainer.report.phase("compiling")
    with _no_trace(trainer):
        eager = _seconds(trainer)
        n_batches = len(trainer.get_train_dataloader()) * trainer.args.num_train_epochs
        if is_open and n_batches * eager < _WORTH_SECONDS:
            return too_short
        began = time.perf_counter()
        _compile(trainer.model)
        try:
            _seconds(trainer, n_times=1)
        except Exception as error:  # whatever a compiler, or the lack of one, may raise
            undo_compile(trainer.model)
            if not is_open:
                raise Failure("can-not-compile", "training.torch_compile", message=str(error)[:500]) from error
            return ev.Picked(name="torch_compile", value=False, why=f"this machine can't: {type(error).__name__}")
        cost = time.perf_counter() - began
        gain = eager / _seconds(trainer)
    if not is_open:
        return found
    is_quicker = gain >= _LEAST_GAIN
    if not is_quicker:
        undo_compile(trainer.model)
    why = f"compiled layers are {gain:.2f} × as fast here, found in {cost:.0f} s"
    return ev.Picked(name="torch_compile", value=is_quicker, why=why)


@contextlib.contextmanager
def _no_trace(trainer: AttuneTrainer) -> Iterator[None]:
    with device.same_random_state():
        try:
            yield
        finally:
            trainer.forget_gradients()


def _seconds(trainer: AttuneTrainer, n_times: int = 3) -> float:
    """Return the mean seconds of a batch forward and backward, each the least of some times."""
    order = sorted(range(len(trainer.lengths)), key=trainer.lengths.__getitem__)
    size = min(trainer.args.train_batch_size, len(order))
    found = []
    trainer.model.to(trainer.args.device).train()
    for place in _PLACES:
        start = round(place * (len(order) - size))
        batch = _batch(trainer.data_collator, trainer.train_dataset, order[start : start + size])
        times = []
        for _ in range(n_times):
            trainer.report.check()
            began = time.perf_counter()
            with device.autocast("bf16" if trainer.args.bf16 else "fp16" if trainer.args.fp16 else "fp32"):
                outputs = trainer.model(**{name: value.to(trainer.args.device) for name, value in batch.items()})
            loss = outputs["loss"]
            loss.backward()
            device.wait()
            times.append(time.perf_counter() - began)
            trainer.forget_gradients()
        found.append(min(times))
    return sum(found) / len(found)


def _layers(model: Any) -> list[Any]:
    # Layer by layer: they are alike, so that one compilation serves them all. Stand-ins have no weights.
    return [layer for layer in layer_stack(model) or [model] if next(layer.parameters(), None) is not None]


def _compile(model: Any) -> None:
    for layer in _layers(model):
        layer.compile(dynamic=True)
        layer._compiled_call_impl = _InTraining(layer, layer._compiled_call_impl)


class _InTraining:
    """Calls a compiled layer while it trains, and the layer itself otherwise, which would be compiled once more."""

    def __init__(self, layer: Any, compiled: Any):
        self.layer, self.compiled = layer, compiled

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return (self.compiled if self.layer.training else self.layer._call_impl)(*args, **kwargs)


def undo_compile(model: Any) -> None:
    """Let the layers of a model run as they are again."""
    for layer in _layers(model):
        layer._compiled_call_impl = None
