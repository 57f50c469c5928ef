"""The ways to look at attention, one file each: a head's matrix, lines, a table of all heads, …

Belongs here: one module a view, with a subclass of `base.View` called `VIEW`; what they share (`look.py` the maps of
one text and their statistics, `selection.py` what is chosen, `numbers.py`, `files.py`) stands beside without one. A
view draws from its look, its statistics and the one selection that all views share, and never from another view; what
only the worker can find out it asks for by a command. May import `studio.core`, `studio.attention` (the parts without
torch) and `studio.ui.widgets`. A new view is a new file.
"""

import importlib
import pkgutil
from functools import cache


@cache
def all_views() -> dict[str, type]:
    """Return the classes of all views by id, in the order in which a person should see them."""
    modules = [importlib.import_module(f"{__name__}.{found.name}") for found in pkgutil.iter_modules(__path__)]
    views = [module.VIEW for module in modules if hasattr(module, "VIEW")]
    return {view.id: view for view in sorted(views, key=lambda view: view.order)}
