"""What a model is compared with, head by head: another run, a checkpoint, or another model folder."""

from pathlib import Path
from typing import Any

from studio.attention import capture as attention
from studio.core.anatomy import WRITTEN
from studio.core.reasons import Failure
from studio.core.spec import Against
from studio.engine.folders import Folder, load_folder
from studio.engine.trained import Trained, open_trained

SAMPLE = "The cat sat."  # for settings of a tokenizer that its vocabulary does not tell, such as lower case


def load_other(trained: Trained, tuned: Any, tokenizer: Any, workspace: Path, against: Against) -> tuple[Any, int]:
    """Return the model of another run or checkpoint that answers what `tuned` does, of this run, and its most tokens.

    Raises Failure: "answers-differ", "tokens-differ", "heads-differ", those of `open_trained`.
    """
    if against.model:
        raise Failure("answers-differ", "against", model=trained.run.id, other=against.model)
    other = open_trained(workspace, against.run or trained.run.id, "against", against.checkpoint)
    if (other.task.id, other.labels) != (trained.task.id, trained.labels):
        raise Failure("answers-differ", "against", model=trained.run.id, other=other.run.id)
    model, its_tokenizer = other.load()
    _require_same_heads((trained.run.id, tuned, tokenizer), (other.run.id, model, its_tokenizer))
    return model, other.max_positions


def load_two(name: str, against: Against) -> tuple[Folder, Folder]:
    """Return the model of a folder and the one that it is compared with.

    Where the two have other answers they are loaded without any: their attention can be compared all the same.
    Raises Failure: "answers-differ", "tokens-differ", "heads-differ", those of `load_folder`.
    """
    if not against.model:
        raise Failure("answers-differ", "against", model=name, other=against.run or "")
    own, other = load_folder(name), load_folder(against.model)
    if (own.answers, own.labels) != (other.answers, other.labels):
        if WRITTEN in (own.answers, other.answers):
            raise Failure("answers-differ", "against", model=name, other=against.model)
        own, other = (load_folder(each, with_answers=False) for each in (name, against.model))
    _require_same_heads((name, own.model, own.tokenizer), (against.model, other.model, other.tokenizer))
    return own, other


def _require_same_heads(own: tuple[str, Any, Any], other: tuple[str, Any, Any]) -> None:
    """Raise Failure where the heads of two models (name, model, tokenizer) can't be compared one by one."""
    (name, model, tokenizer), (its_name, its_model, its_tokenizer) = own, other
    named = {"model": name, "other": its_name}
    same_words = tokenizer.get_vocab() == its_tokenizer.get_vocab()
    if not same_words or tokenizer(SAMPLE).input_ids != its_tokenizer(SAMPLE).input_ids:
        raise Failure("tokens-differ", "against", **named)
    found, its = (attention.heads_of(each.config) for each in (model, its_model))
    if found != its:
        n_own, n_other = (", ".join(f"{n} × {m}" for n, m in each.values()) for each in (found, its))
        raise Failure("heads-differ", "against", **named, n_own=n_own, n_other=n_other)
