"""Where else the numbers of a training go: TensorBoard's event files, Weights & Biases; and what these need."""

from importlib.util import find_spec

from studio.core.reasons import Problem

# The first that is installed is used.
_LIBRARIES = {"tensorboard": ("tensorboard", "tensorboardX"), "wandb": ("wandb",)}


def reports_of(asked: str) -> list[str]:
    """Return the programs that a training reports to; `auto` means TensorBoard where its library is installed."""
    if asked == "auto":
        return ["tensorboard"] if is_installed("tensorboard") else []
    return {"none": [], "all": ["tensorboard", "wandb"]}.get(asked, [asked])


def is_installed(name: str) -> bool:
    """Return whether a library is there that writes for the program `name`; it is not imported."""
    return any(find_spec(library) is not None for library in _LIBRARIES[name])


def missing_library(asked: str) -> Problem | None:
    """Return the problem of a program that was asked for without its library being installed."""
    for name in reports_of(asked):
        if not is_installed(name):
            return Problem("report-library-missing", {"library": name}, "training.report_to")
    return None
