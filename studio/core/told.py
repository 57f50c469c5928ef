"""Which ends of runs nobody has been told of, such as those of a night in which the computer was switched off."""

from pathlib import Path

from studio.core import queue
from studio.core.files import read_json, write_json
from studio.core.rundir import RunDir, list_runs
from studio.core.state import read_summary

_MOST = 3  # more notices at once would tell nothing
_BAD_ENDS = ("ended", "failed")


def left_behind(workspace: Path) -> list[RunDir]:
    """Return the newest trainings that ended badly and that `note_told` was not called for since, newest first."""
    found = []
    at_work = queue.current(workspace)  # it goes on by itself
    for run in list_runs(workspace):
        if "-train-" not in run.id or run.id == at_work or read_summary(run).state not in _BAD_ENDS:
            continue
        if (read_json(run.meta_file) or {}).get("told") != _last_word(run):
            found.append(run)
        if len(found) == _MOST:
            break
    return found


def note_told(run: RunDir) -> None:
    """Remember that the person was told how a run ended; a later attempt is told of again."""
    write_json(run.meta_file, (read_json(run.meta_file) or {}) | {"told": _last_word(run)})


def _last_word(run: RunDir) -> int:
    try:
        return run.events_file.stat().st_size
    except OSError:
        return 0
