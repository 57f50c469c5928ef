"""What the person prefers: small, and never the cause of a start that fails."""

import os
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from studio.core.files import read_json, write_json


class MachineSettings(BaseModel):
    """What the last probe found of this machine; speed: seconds for a second by the formula of `core.estimate`."""

    model_config = ConfigDict(extra="ignore")
    precision: Literal["bf16", "fp16", "fp32"] = "fp32"
    speed: float = 1.0
    gpu_bytes: int = 0


class Settings(BaseModel):
    """The settings of one workspace."""

    model_config = ConfigDict(extra="ignore")
    theme: Literal["system", "light", "dark"] = "system"
    language: str = "en"
    recent_models: list[str] = []
    recent_data: list[str] = []
    window: list[int] = []
    smoothing: float = 0.6
    notify: bool = True  # tell on the desktop when a long run ends
    x_axis: Literal["step", "epoch", "tokens", "time"] = "step"
    plots: list[str] = []  # what the small plots of a run show, see ui.panels.run_subjects
    machine: MachineSettings = MachineSettings()


def load_settings(workspace: Path) -> tuple[Settings, Path | None]:
    """Return the settings, and where a damaged file was put aside (None when it was sound).

    A value that does not fit falls back to its default; the others are kept.
    """
    path = workspace / "settings.json"
    if not path.exists():
        return Settings(), None
    value = read_json(path)
    try:
        return Settings.model_validate(value), None
    except ValidationError as error:
        backup = path.with_suffix(".damaged.json")
        try:
            os.replace(path, backup)
        except OSError:
            backup = None
        good = dict(value) if isinstance(value, dict) else {}
        for item in error.errors():
            if item["loc"]:
                good.pop(str(item["loc"][0]), None)
        return Settings.model_validate(good), backup


def save_settings(workspace: Path, settings: Settings) -> None:
    """Write the settings by rename."""
    write_json(workspace / "settings.json", settings.model_dump())
