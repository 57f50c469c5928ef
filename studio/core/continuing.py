"""Goes on from a trained run: its model as the base of another task."""

from studio.core.reasons import Failure
from studio.core.rundir import RunDir

BASE_FOLDER = "base"  # in a run's folder: the model without adapters, where the model itself has them


def continue_with(run: RunDir) -> str:
    """Return the folder of a run's model as a base model, adapters merged. Raises Failure "run-not-finished"."""
    for folder in (run.path / BASE_FOLDER, run.model_dir):
        if (folder / "config.json").is_file():
            return str(folder)
    raise Failure("run-not-finished", "model", run=run.id)
