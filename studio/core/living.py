"""Which runs a workspace has, which of them live and which have changed, found without opening their logs."""

import threading
import time
from dataclasses import dataclass
from pathlib import Path

from studio.core.rundir import RunDir

_SETTLING_NS = 3_000_000_000  # a folder that changed so lately may change again within the same tick of its clock


@dataclass(frozen=True)
class Seen:
    """What a look at a run's directory tells: whether a worker lives in it, and since when the last one was there.

    changed, worked, named: when a file came or went, when a worker last took the run up and when it was renamed, in
    nanoseconds since the epoch, 0 for never.
    """

    changed: int
    worked: int
    named: int
    is_alive: bool


class Lookout:
    """Looks at all runs of a workspace again and again; a run at rest costs one question to the file system."""

    def __init__(self, workspace: Path):
        self._folder = workspace / "runs"
        self._seen: dict[str, Seen] = {}
        self._looking = threading.Lock()

    def look(self) -> dict[str, Seen]:
        """Return what is known of each run now, by id; may be called from any thread."""
        with self._looking:
            settled_before = time.time_ns() - _SETTLING_NS
            found = {}
            try:
                names = [path.name for path in self._folder.iterdir()]
            except OSError:
                names = []
            for name in names:
                run, known = RunDir(self._folder / name), self._seen.get(name)
                changed = _time(run.path)
                # A worker that begins or renames a file changes the folder; one that writes its log does not.
                is_at_rest = known is not None and known.changed == changed < settled_before and not known.is_alive
                if is_at_rest:
                    found[name] = known
                elif run.spec_file.is_file():
                    # In this order: a worker that comes in between is seen by the next look.
                    worked, named = _time(run.lock_file), _time(run.meta_file)
                    found[name] = Seen(changed, worked, named, run.is_alive())
            self._seen = found
            return dict(found)

    def trainings(self) -> list[RunDir]:
        """Return the trainings whose workers live."""
        living = (name for name, seen in self.look().items() if seen.is_alive and is_training(name))
        return [RunDir(self._folder / name) for name in living]


def is_training(run_id: str) -> bool:
    """Return whether an id is that of a training."""
    return "-train-" in run_id


def _time(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0
