"""What a model answers when some of its heads do something else.

options: `edits`, [[layer, head, "zero" | "uniform" | factor], …], layers and heads from 0 in the order of the maps;
`kind` of the attention whose heads they are (encoder, decoder, cross); `label`, `token`, `gold` as `target.target_of`
has them. result: `target` in words; `states`: by name `plain` and `edited`, each with the target's `value`,
`probabilities` by label, `answers` in words, and `loss` where the right answer is known.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from studio.attention import gates
from studio.attention.capture import kind_of
from studio.attention.interface import by_number, inner_model, undisturbed, uses_interface
from studio.core.reasons import Failure
from studio.engine.studies.asked import Target
from studio.engine.studies.target import states_of

if TYPE_CHECKING:
    from studio.core.commands import Study
    from studio.engine.subject import Subject


def study(subject: Subject, asked: Study, states: tuple[str, ...], out: Path) -> dict[str, Any]:
    """Return the answers with all heads and with the edits. Raises Failure: heads-fixed, heads-shared, head-unknown."""
    found: dict[str, Any] = {}
    for name, model, target in states_of(subject, states, asked, asked.options):
        require_heads(model)
        plain, seen = _answer(model, target, {})
        edits = by_module(asked.options.get("edits", []), layers_of(model, seen, asked.options.get("kind", "")))
        found[name] = {"plain": plain, "edited": _answer(model, target, edits)[0]}
        told = target.told()
    return {"result": {"target": told, "states": {name: found[name] for name in states}}}


def require_heads(model: Any) -> None:
    """Raise Failure "heads-fixed" for a model whose heads can't be changed."""
    inner = inner_model(model)
    if not uses_interface(inner):
        raise Failure("heads-fixed", model_type=inner.config.model_type)


def layers_of(model: Any, seen: dict[str, list[int]], kind: str = "") -> dict[str, int]:
    """Return the modules whose maps are shown, in the order of the layers, with their numbers of heads.

    seen: what ran (see `gates.ablated`). kind: of attention, of an encoder-decoder; by default what the text is read
    with. Raises Failure: heads-shared (one module serves several layers), kind-unknown.
    """
    inner = inner_model(model)
    if any(len(heads) > 1 for heads in seen.values()):
        raise Failure("heads-shared")
    kinds = (kind,) if kind else ("attention", "encoder")
    shown = [name for name in sorted(seen, key=by_number) if kind_of(name, inner.config) in kinds]
    if not shown:
        raise Failure("kind-unknown", kind=kind or "its own")
    return {name: seen[name][0] for name in shown}


def by_module(edits: list[list[Any]], layers: dict[str, int]) -> dict[str, dict[int, gates.Edit]]:
    """Return edits by module. Raises Failure "head-unknown" for a head or a way of editing that there is not."""
    found: dict[str, dict[int, gates.Edit]] = {}
    for layer, head, how in edits:
        is_known = how in ("zero", "uniform") or (isinstance(how, int | float) and not isinstance(how, bool))
        if not (0 <= layer < len(layers) and 0 <= head < list(layers.values())[layer] and is_known):
            raise Failure("head-unknown", layer=layer + 1, head=head + 1)
        found.setdefault(list(layers)[layer], {})[head] = how
    return found


def _answer(
    model: Any, target: Target, edits: dict[str, dict[int, gates.Edit]]
) -> tuple[dict[str, Any], dict[str, list[int]]]:
    import torch

    device = next(model.parameters()).device
    with undisturbed(model, device), torch.inference_mode(), gates.ablated(model, edits) as seen:
        outputs = model(**target.inputs)
        ran = {name: list(heads) for name, heads in seen.items()}
        said = target.say(outputs if target.asks is None else model(**target.asks))
    answer = {"value": target.value(outputs)[0].item(), "probabilities": said.probabilities}
    return answer | {"answers": said.answers, "loss": said.loss}, ran
