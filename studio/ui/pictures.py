"""`attune pictures`: one PNG of each page and of each empty and error state, from the real window drawn offscreen."""

import contextlib
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from studio import __version__
from studio.core import events as ev
from studio.core import queue
from studio.core.files import write_json
from studio.core.locks import Lock
from studio.core.paths import sample_file
from studio.core.rundir import EventWriter, RunDir, create_run, find_run, list_runs
from studio.core.spec import TrainSpec

_MOST_SECONDS = 20.0  # the longest that a page may take to fill
_CALM_SECONDS = 0.8  # so long nothing must be read in the background, for curves and thumbnails to be drawn


@dataclass(frozen=True)
class Picture:
    """A state of the window: how to bring it about, and when it is there."""

    name: str
    page: str
    prepare: Callable = lambda window: None
    is_ready: Callable = lambda window: True


def take_pictures(
    workspace: Path, out: Path, run_name: str, theme: str, size: tuple[int, int], scale: float
) -> list[str]:
    """Write the pictures into `out` and return their paths; the person's settings stay as they are.

    run_name: the run to show, or `last`; without any run only the empty and error states are drawn. size: logical
    pixels. Raises Failure "run-missing" for a name that no run has.
    """
    # Both are read when the application is made.
    os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
    os.environ["QT_SCALE_FACTOR"] = str(scale)
    out.mkdir(parents=True, exist_ok=True)
    files = []
    if run_name != "last" or any("-train-" in run.id for run in list_runs(workspace)):
        run = find_run(workspace, run_name)
        files += _draw(workspace, out, theme, size, _page_pictures(run))
    with tempfile.TemporaryDirectory() as folder:
        files += _draw(Path(folder), out, theme, size, _state_pictures(Path(folder)))
    with tempfile.TemporaryDirectory() as folder, queue_at_work(Path(folder)):
        files += _draw(Path(folder), out, theme, size, _queue_pictures())
    return files


def _page_pictures(run: RunDir) -> list[Picture]:
    """Every page on a run, its data and its model."""
    spec = run.spec()

    def take(window) -> None:
        window.store.take_spec(spec)
        window.store.select_run(run.id)

    def results(window) -> None:
        window.pages["evaluate"].tabs.setCurrentIndex(1)

    def has_curve(window) -> bool:
        return ("train", "loss") in window.store.runs[run.id].series

    def has_report(window) -> bool:
        return not window.pages["train"].view.report.paper.document().isEmpty()

    return [
        Picture("data", "data", take, lambda window: window.store.draft.table is not None),
        Picture("model", "model", is_ready=lambda window: window.store.draft.model_info is not None),
        Picture("train", "train", is_ready=has_curve),
        Picture("inspect", "inspect"),
        Picture("evaluate", "evaluate"),
        Picture("results", "evaluate", results),
        Picture("export", "export"),
        Picture("report", "train", lambda window: window.show_report(), has_report),
        Picture("runs", "runs"),
        Picture("palette", "runs", lambda window: window.show_palette()),
    ]


def _state_pictures(folder: Path) -> list[Picture]:
    """The empty pages of a new workspace, and what they say of data and models that do not work."""
    one_class, broken, no_weights = folder / "one class.csv", folder / "not really.json", folder / "old model"
    one_class.write_text("text,label\n" + "".join(f"message {i},billing\n" for i in range(40)), encoding="utf-8")
    broken.write_text('{"text": "a", \n"label"', encoding="utf-8")
    no_weights.mkdir()
    (no_weights / "config.json").write_text('{"model_type": "bert"}', encoding="utf-8")

    def has_table(window) -> bool:
        return window.store.draft.table is not None

    def out_of_range(window) -> None:
        window.store.choose_model("starter")
        window.store.set_method({"kind": "freeze", "layers": 99})

    pages = ("data", "model", "train", "inspect", "evaluate", "export", "runs")
    return [
        *[Picture(f"{page}-empty", page) for page in pages],
        Picture(
            "data-unreadable", "data", lambda window: window.store.open_data(broken),
            lambda window: window.store.draft.table_problem is not None,
        ),
        Picture("data-one-class", "data", lambda window: window.store.open_data(one_class), has_table),
        Picture("train-problem", "train"),
        Picture("data-sample", "data", lambda window: window.store.open_data(sample_file()), has_table),
        Picture("data-role-missing", "data", lambda window: window.store.set_role("label", None)),
        Picture(
            "model-refused", "model", lambda window: window.store.choose_model(str(no_weights)),
            lambda window: window.store.draft.model_problem is not None,
        ),
        Picture("model-out-of-range", "model", out_of_range, lambda window: window.store.draft.model_info is not None),
    ]  # fmt: skip


@contextlib.contextmanager
def queue_at_work(workspace: Path) -> Iterator[None]:
    """Make a workspace in which one run trains and three wait, without a process that would train them."""
    methods = ({"kind": "full"}, {"kind": "lora", "r": 16}, {"kind": "freeze"}, {"kind": "lora"})
    names = ("baseline", "rank 16", "upper layers only", "two epochs more")
    specs = [
        TrainSpec(data={"train": str(sample_file())}, columns={"text": "text", "label": "label"}, method=m, name=n)
        for m, n in zip(methods, names, strict=True)
    ]
    training, *waiting = [create_run(workspace, spec) for spec in specs]
    losses = [1.6 * 0.97**step + 0.05 * (-1) ** step for step in range(60)]
    started = time.time() - 40
    said: list[ev.Event] = [ev.Started(pid=1, version=__version__, time=started), ev.Phase(name="training")]
    for step, loss in enumerate(losses, 1):
        values = {"loss": loss, "learning_rate": 2e-4, "samples_per_second": 80.0}
        said.append(
            ev.Metrics(split="train", step=step, epoch=step / 90, total_steps=180, train_seconds=step * 0.6,
                       values=values, time=started + step * 0.6)
        )  # fmt: skip
    writer = EventWriter(training.events_file)
    writer.write(said)
    writer.close()
    write_json(training.summary_file, {"state": "running", "seconds": 36.0, "sparkline": losses})
    process, worker = Lock(queue.process_lock(workspace)), Lock(training.lock_file)
    process.acquire({})
    worker.acquire({})
    for run in waiting:
        queue.add(workspace, run.id)
    yield
    worker.release()
    process.release()


def _queue_pictures() -> list[Picture]:
    """The Runs page while trainings wait, and the Train page of one of them."""

    def show_waiting(window) -> None:
        window.store.select_run(window.store.queue.ids[0])

    return [
        Picture(
            "runs-queue", "runs",
            is_ready=lambda window: len(window.pages["runs"].queue.names()) == 3 and bool(window.pages["runs"].rows),
        ),
        Picture("train-queued", "train", show_waiting, lambda window: window.pages["train"].view is not None),
    ]  # fmt: skip


def _draw(workspace: Path, out: Path, theme: str, size: tuple[int, int], pictures: list[Picture]) -> list[str]:
    from PySide6.QtCore import QPoint
    from PySide6.QtGui import QCursor

    from studio.ui.app import make_window

    window = make_window(workspace, keep_spare=False)
    # Not by change_settings, which would be written down.
    window.store.settings = window.store.settings.model_copy(update={"theme": theme})
    window.store.settings_changed.emit()
    window.resize(*size)
    window.show()
    QCursor.setPos(window.mapToGlobal(QPoint(*size)))  # out of the way of what lights up under it
    files = []
    for picture in pictures:
        window.show_page(picture.page)
        picture.prepare(window)
        _settle(window, picture.is_ready)
        path = out / f"{picture.name}-{theme}.png"
        window.grab().save(str(path))
        files.append(str(path))
    window.store.close()
    window.close()
    return files


def _settle(window, is_ready: Callable) -> None:
    """Let the window work until the state is there and nothing has been read for a moment."""
    from PySide6.QtCore import QEvent

    deadline, calm_since = time.monotonic() + _MOST_SECONDS, time.monotonic()
    while time.monotonic() < deadline:
        window.app.processEvents()
        # Outside of Qt's own loop what was deleted stays until it is sent away.
        window.app.sendPostedEvents(None, QEvent.Type.DeferredDelete)
        if window.store.busy or not is_ready(window):
            calm_since = time.monotonic()
        if time.monotonic() - calm_since > _CALM_SECONDS:
            return
        time.sleep(0.01)
