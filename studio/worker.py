"""The other process: takes up one run, does what its spec asks and says how it ended."""

import contextlib
import ctypes
import faulthandler
import importlib
import locale
import os
import signal
import sys
import threading
import time
import traceback
from pathlib import Path

from studio import __version__
from studio.core import events as ev
from studio.core.files import read_json
from studio.core.locks import Lock, holder, is_held
from studio.core.rundir import RunDir

# What a run imports on its way; the last ones are not imported by the engine itself but by what it calls.
_WARM = (
    "studio.engine.train", "studio.engine.trainer", "studio.engine.probe", "studio.engine.inspect", "datasets", "peft",
    "sklearn.model_selection", "sklearn.metrics", "pyarrow.compute", "pyarrow.parquet",
    "transformers.models.auto.modeling_auto", "transformers.models.bert.modeling_bert",
)  # fmt: skip
_MOST_AT_REST = 700e6  # bytes; a spare that probes have made larger is replaced


def main(directory: str, warming: threading.Thread | None = None) -> int:
    """Execute the run in `directory`; 0 when it finished or was stopped, 1 when it failed, 3 when it has a worker.

    warming: a thread that imports what the run needs; given by a spare, whose process is settled already.
    """
    run = RunDir(Path(directory).absolute())
    lock = Lock(run.lock_file)
    if not lock.acquire({}):
        return 3
    if warming is None:
        _settle_process()
    try:
        return _work(run, warming)
    finally:
        lock.release()


def _work(run: RunDir, warming: threading.Thread | None) -> int:
    from studio.engine.reporter import Reporter, StopRequested

    report = Reporter(run)
    step, seconds = _resume_from(run) if report.state.attempt else (0, None)
    report.say(
        ev.Started(
            attempt=report.state.attempt + 1,
            from_step=step,
            train_seconds=seconds,
            pid=os.getpid(),
            version=__version__,
        )
    )
    signal.signal(signal.SIGTERM, lambda *_: report.stop.set())
    try:
        spec = run.spec()
        report.phase("loading")
        if warming is not None:
            warming.join()
        end = importlib.import_module(f"studio.engine.{spec.kind}").run(run, spec, report)
    except StopRequested:
        end = ev.Stopped(step=report.state.step)
    except BaseException as error:
        traceback.print_exc()
        from studio.engine.checkpoints import discard_partial
        from studio.engine.failures import problem_of

        problem = problem_of(error, run)
        discard_partial(run)  # on a full disk this makes the room for the last words
        end = ev.Failed(reason=problem.reason, facts=problem.facts, field=problem.field)
    try:
        report.say(end)
        report.close()
    except OSError:
        traceback.print_exc()
        return 1
    return 1 if isinstance(end, ev.Failed) else 0


def wait(assignment: Path, window_pid: int) -> int:
    """Import what is slow, and wait for the file `assignment` to name a run; then be that run's worker.

    After a probe it waits again. Ends with 0 when the window of `window_pid` is gone (its lock is free), or when
    memory is short.
    """
    _settle_process()
    warming = threading.Thread(target=_warm_up, name="warming", daemon=True)
    warming.start()
    while True:
        _await(assignment, window_pid)
        run = RunDir(Path(read_json(assignment)["run"]))
        assignment.unlink()
        _log_to(run.log_file)
        status = main(str(run.path), warming)
        if not run.is_probe:
            return status
        if not _rest():
            os._exit(status)  # at once: a run that is given to it now would be lost


def _await(assignment: Path, window_pid: int) -> None:
    next_look = 0.0
    while not assignment.exists():
        if time.monotonic() >= next_look:
            next_look = time.monotonic() + 0.5
            lock = assignment.parent / "window.lock"
            if not is_held(lock) or holder(lock).get("pid") != window_pid or is_memory_short():
                os._exit(0)  # the thread may be in the middle of an import
        time.sleep(0.02)


def _log_to(path: Path | str) -> None:
    with open(path, "ab") as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)


def _rest() -> bool:
    """Let go of what a probe took; False when too much of it stays for a process that only waits."""
    import gc

    import psutil
    import torch

    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    _log_to(os.devnull)
    gc.collect()
    torch.cuda.empty_cache()
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL("libc.so.6").malloc_trim(0)
    return torch.cuda.is_available() or psutil.Process().memory_info().rss < _MOST_AT_REST


def is_memory_short() -> bool:
    """Return whether the machine needs the memory that a waiting spare takes."""
    import psutil

    return psutil.virtual_memory().available < 1 << 29


def _warm_up() -> None:
    for name in _WARM:
        importlib.import_module(name)


def _resume_from(run: RunDir) -> tuple[int, float | None]:
    """Return the step that a resume goes on from, and the clock of that step."""
    from studio.engine.checkpoints import last_checkpoint, seconds_of

    found = last_checkpoint(run)
    return (found[0], seconds_of(found[1])) if found else (0, None)


def _settle_process() -> None:
    """Give way to the window, keep the decimal point, keep freed memory, and leave a trace of native crashes."""
    faulthandler.enable()
    locale.setlocale(locale.LC_NUMERIC, "C")
    # Libraries write more than is worth keeping; transformers reads this when it is imported.
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    if sys.platform == "win32":
        import psutil

        psutil.Process().nice(psutil.BELOW_NORMAL_PRIORITY_CLASS)
        return
    os.nice(5)
    if sys.platform == "linux":
        _keep_freed_memory()


def _keep_freed_memory() -> None:
    """Tell glibc not to give freed memory back: a training step frees and takes the same blocks again and again."""
    trim_threshold, top_pad, mmap_threshold = -1, -2, -3  # names and numbers of malloc.h
    try:
        libc = ctypes.CDLL("libc.so.6")
        libc.mallopt(trim_threshold, 1 << 30)
        libc.mallopt(mmap_threshold, 1 << 30)
        libc.mallopt(top_pad, 64 << 20)
    except (OSError, AttributeError):
        pass  # another C library, which has its own ways


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
