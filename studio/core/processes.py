"""How another process of this program is started."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

# A worker outlives its parent, and the parent's Ctrl+C is not for it.
DETACHED: dict[str, Any] = (
    {"creationflags": subprocess.CREATE_NO_WINDOW | subprocess.CREATE_NEW_PROCESS_GROUP}
    if sys.platform == "win32"
    else {"start_new_session": True}
)


def command(*arguments: str) -> list[str]:
    """Return the command line of another process of this program."""
    if getattr(sys, "frozen", False):
        return [sys.executable, *arguments]
    # Without -P a random.py in the user's folder would be imported in place of Python's own.
    return [sys.executable, "-P", "-m", "studio", *arguments]


def n_killed_for_memory() -> int | None:
    """Return how many processes this system has killed for want of memory so far; None where it does not tell."""
    try:
        lines = Path("/proc/vmstat").read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) for line in lines if line.startswith("oom_kill ")), None)


def environment() -> dict[str, str]:
    """Return the environment of a worker: this one's, offline, in UTF-8, able to import this package."""
    package_parent = str(Path(__file__).resolve().parent.parent.parent)
    return os.environ | {
        "HF_HUB_OFFLINE": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "TRANSFORMERS_VERBOSITY": "error",
        "TOKENIZERS_PARALLELISM": "true",
        "PYTHONUTF8": "1",
        # Threads that wait for each other spin at first. By default so long that two processes on the same cores slow
        # each other by a factor of twenty; so they share them, and one alone loses a twentieth.
        "GOMP_SPINCOUNT": os.environ.get("GOMP_SPINCOUNT", "5000"),
        "PYTHONPATH": os.pathsep.join(filter(None, [package_parent, os.environ.get("PYTHONPATH", "")])),
    }
