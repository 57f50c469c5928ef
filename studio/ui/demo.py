"""The guided sample in the window: the person watches, or takes over at any page."""

from collections.abc import Callable
from dataclasses import dataclass

from PySide6.QtCore import QObject, QTimer

from studio import demo
from studio.core.state import RunState
from studio.ui.i18n import tr
from studio.ui.notices import Notice
from studio.ui.window import MainWindow

_LOOK_MS = 1500  # how long a page stays before the demo goes on


@dataclass(frozen=True)
class Step:
    """A page, what starts there (a run's id, or "" when nothing is waited for), and when that is done."""

    page: str
    start: Callable[[], str]
    is_done: Callable[[RunState], bool] = lambda state: state.state == "finished"


class Demo(QObject):
    """Goes through the main job on the sample; a child of the window.

    It turns the page only while the person leaves the page to it, and ends where a step fails: the notice of
    that failure says why.
    """

    def __init__(self, window: MainWindow):
        super().__init__(window)
        self._window, self._store = window, window.store
        self._trained = self._waits_for = self._page = ""
        self._steps = [
            Step("data", self._open),
            Step("model", lambda: ""),
            Step("train", self._train),
            Step("evaluate", lambda: self._store.start_run(demo.evaluate_spec(self._directory()))),
            Step("inspect", self._inspect, lambda state: bool(state.explained)),
            Step("export", self._export),
        ]
        self._at = -1
        self._store.run_changed.connect(self._look)

    def begin(self) -> None:
        """Take the first step."""
        hint = tr("Data, training, evaluation, attention, export: in about three minutes. Take over at any page.")
        self._store.notice.emit(Notice(tr("The guided sample begins."), hint))
        self._page = self._window.page
        self._next()

    def _next(self) -> None:
        self._at += 1
        if self._at == len(self._steps):
            title = tr("The guided sample is done: trained, measured, looked into, exported and verified.")
            self._store.notice.emit(Notice(title, tr("Everything lies in the run's folder."), "good", "run.folder"))
            self.deleteLater()
            return
        step = self._steps[self._at]
        if self._window.page == self._page:
            self._page = step.page
            self._window.show_page(step.page)
        self._waits_for = step.start()
        if not self._waits_for:
            QTimer.singleShot(_LOOK_MS, self, self._next)

    def _look(self, run_id: str) -> None:
        if not self._waits_for or run_id != self._waits_for:
            return
        state = self._store.runs[run_id]
        if self._steps[self._at].is_done(state):
            self._waits_for = ""
            QTimer.singleShot(_LOOK_MS, self, self._next)
        elif not state.is_active:
            self.deleteLater()

    def _open(self) -> str:
        self._store.take_spec(demo.train_spec())
        return ""

    def _train(self) -> str:
        self._trained = self._store.start_run(demo.train_spec())
        self._store.select_run(self._trained)
        return self._trained

    def _inspect(self) -> str:
        return self._store.start_run(demo.inspect_spec(self._directory()))

    def _export(self) -> str:
        out = demo.export_folder(self._store.workspace, self._directory())
        return self._store.start_run(demo.export_spec(self._directory(), out))

    def _directory(self) -> str:
        return str(self._store.run_dir(self._trained).path)
