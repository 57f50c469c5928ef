"""What can be asked of a row besides its attention, one file each: what heads and words do for the answer.

Belongs here: one module a study, named as the command's `what`, with a function `study(subject, asked, states, out)`
that returns the fields of an `events.Studied`: `result` (numbers by state, as JSON) and, for arrays, `directory`. What
several studies share (`asked.py`, `target.py`, `following.py`, `faithfulness.py`) stands beside without one.
May import torch inside functions, `studio.attention` and `studio.engine`. A new study is a new file.
"""

import importlib
import pkgutil
from collections.abc import Callable
from typing import Any

from studio.core.commands import Explain, Study
from studio.core.reasons import Failure


def is_long(asked: Explain | Study) -> bool:
    """Return whether a question is about many rows, and takes minutes."""
    return isinstance(asked, Study) and (asked.what == "aggregate" or bool(asked.options.get("rows")))


def find(what: str) -> Callable[..., dict[str, Any]]:
    """Return the function of a study. Raises Failure "study-unknown"."""
    known = what in {module.name for module in pkgutil.iter_modules(__path__)}
    study = getattr(importlib.import_module(f"{__name__}.{what}"), "study", None) if known else None
    if study is None:
        raise Failure("study-unknown", what=what)
    return study
