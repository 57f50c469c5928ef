"""The window's process: application, theme, the window, its beginning and its end."""

import gc
import locale
import signal
import socket
import sys
from pathlib import Path

from PySide6.QtCore import QObject, QSocketNotifier, Qt, QThreadPool, QTimer, Signal
from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import QApplication

from studio import __version__
from studio.core.paths import workspace_dir
from studio.core.rundir import readable_id
from studio.ui import crash, theme
from studio.ui.i18n import set_language, tr
from studio.ui.notices import Notice
from studio.ui.spare import SpareKeeper
from studio.ui.store import Store
from studio.ui.window import MainWindow


def make_app() -> QApplication:
    """Return the application, made if there is none yet."""
    app = QApplication.instance()
    if app is not None:
        return app
    QGuiApplication.setHighDpiScaleFactorRoundingPolicy(Qt.HighDpiScaleFactorRoundingPolicy.PassThrough)
    # A thread that computes hands over after a millisecond: the window asks it several times for one event.
    sys.setswitchinterval(0.001)
    app = QApplication(sys.argv[:1])
    app.setApplicationName("Attune")
    app.setApplicationVersion(__version__)
    app.setDesktopFileName("attune")
    # Qt takes the desktop's locale for C functions too, and then "0.5" is no number in half of Europe.
    locale.setlocale(locale.LC_NUMERIC, "C")
    return app


def make_window(workspace: Path, keep_spare: bool = True) -> MainWindow:
    """Return the window of a workspace, not yet shown; it takes up living runs as soon as events flow.

    keep_spare: have a worker ready for what the person starts, while memory allows.
    """
    app = make_app()
    store = Store(Path(workspace))
    set_language(app, store.settings.language)
    follow_settings(app, store)
    window = MainWindow(store)
    store.setParent(window)
    window.app = app  # the application must live as long as its window
    QTimer.singleShot(0, store, store.wake)
    if keep_spare:
        store.probes.are_automatic = True
        window.closed.connect(SpareKeeper(store, window).end)
    return window


def follow_settings(app: QApplication, store: Store) -> None:
    """Draw the application in the theme that the settings name, now and after each change."""

    def show_theme() -> None:
        chosen = store.settings.theme
        name = theme.system_theme(app) if chosen == "system" else chosen
        if app.property("theme") != name or not app.styleSheet():
            theme.apply(app, theme.load_theme(name))

    store.settings_changed.connect(show_theme)
    app.styleHints().colorSchemeChanged.connect(_WhileAlive(store, show_theme).call)
    show_theme()


class _WhileAlive(QObject):
    """A receiver that goes with its parent, so that a connection to the application goes too."""

    def __init__(self, parent: QObject, fn: object):
        super().__init__(parent)
        self._fn = fn

    def call(self, *_: object) -> None:
        self._fn()


def run(workspace: Path, demo: bool = False) -> int:
    """Show the window until it is closed; return the exit status. `demo` runs the guided sample in it."""
    crash.log_qt_messages()
    app = make_app()
    window = make_window(workspace)
    errors = _Errors(window)
    crash.catch_exceptions(errors.happened.emit)
    for report in crash.take_reports(window.store.workspace):
        title = tr("The window crashed last time; runs were not touched.")
        window.store.notice.emit(Notice(title, tr("The report: {path}", path=report), "warning", "workspace.open"))
    crash.watch(window.store.workspace)
    interrupts = _Interrupts(window)
    window.show()
    # What the window is made of stays: to look through all of it for what can go takes longer than a frame.
    gc.collect()
    gc.freeze()
    if demo:
        from studio.ui.demo import Demo

        QTimer.singleShot(0, Demo(window).begin)
    status = app.exec()
    interrupts.close()
    QThreadPool.globalInstance().waitForDone()  # what is being written, while the looks still keep their maps
    crash.unwatch(window.store.workspace)
    for state in window.store.runs.values():
        if state.is_active and state.kind != "inspect":
            print(tr("The run {name} goes on in the background.", name=readable_id(state.id)), file=sys.stderr)
    if window.store.queue.ids:
        print(tr("Trainings in the queue, which follow by themselves: {n}.", n=len(window.store.queue.ids)),
              file=sys.stderr)  # fmt: skip
    return status


class _Errors(QObject):
    """Brings exceptions of any thread to the window's notices."""

    happened = Signal(object)

    def __init__(self, window: MainWindow):
        super().__init__(window)
        self.happened.connect(window.store.fail)


class _Interrupts:
    """Ctrl+C closes the window: the signal's wake-up byte rouses Qt's loop, and Python then runs its handler."""

    def __init__(self, window: MainWindow):
        self._read, self._write = socket.socketpair()
        self._write.setblocking(False)
        self._read.setblocking(False)
        self._old = signal.signal(signal.SIGINT, lambda *_: window.close())
        signal.set_wakeup_fd(self._write.fileno())
        self._notifier = QSocketNotifier(self._read.fileno(), QSocketNotifier.Type.Read, window)
        self._notifier.activated.connect(lambda *_: self._read.recv(64))

    def close(self) -> None:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGINT, self._old)
        self._notifier.setEnabled(False)
        self._read.close()
        self._write.close()


def show_alone(page: str) -> None:
    """Show the window with one page open, on the run whose directory stands on the command line, and exit."""
    directory = Path(sys.argv[1]).absolute() if len(sys.argv) > 1 else None
    window = make_window(directory.parent.parent if directory else workspace_dir())
    if directory is not None:
        window.store.select_run(directory.name)
    window.show_page(page)
    window.show()
    sys.exit(window.app.exec())
