"""A word on the desktop when a long run ends while the person looks elsewhere."""

import html
import shutil
import sys

from PySide6.QtCore import QObject, QProcess, QProcessEnvironment, Qt
from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import QApplication, QSystemTrayIcon, QWidget

from studio.core.state import RunState
from studio.ui import words
from studio.ui.i18n import tr
from studio.ui.notices import at_end
from studio.ui.theme import icon

LONG_SECONDS = 60.0  # of work; who waits less does not go away


def is_worth_telling(state: RunState, is_active: bool, is_wanted: bool) -> bool:
    """Return whether the end of a run is told on the desktop. is_active: the window has the person's attention."""
    return is_wanted and not is_active and state.kind != "inspect" and state.worked_seconds >= LONG_SECONDS


class DesktopNotice(QObject):
    """Tells of runs that end, by the desktop's notifications or its tray; a click brings the window to the run."""

    def __init__(self, window: QWidget):
        super().__init__(window)
        self._window, self._tray, self._run = window, None, ""
        self._asked: QProcess | None = None  # it lives until the notification is clicked or gone
        window.store.run_ended.connect(self.note_end)
        window.closed.connect(self._hide)
        QGuiApplication.instance().applicationStateChanged.connect(self._note_application)

    def note_end(self, run_id: str) -> None:
        """Tell of a run that has ended, if it is worth telling."""
        state = self._window.store.runs.get(run_id)
        if state is None:
            return
        said = at_end(state, self._window.store.run_name(run_id))
        if said is not None and is_worth_telling(
            state, self._window.isActiveWindow(), self._window.store.settings.notify
        ):
            self._run = run_id
            took = tr("It took {time}.", time=words.duration(state.worked_seconds))
            self.show_message(said.title, f"{said.hint} {took}".strip(), said.tone)

    def show_message(self, title: str, text: str, tone: str) -> None:
        """Show a message on the desktop, and let the window's entry in the task bar ask for attention."""
        QApplication.alert(self._window)
        # On Linux Qt knows the tray alone: many desktops have none, and on an old one it draws a balloon of its own.
        command = shutil.which("notify-send") if sys.platform == "linux" else None
        if command is None:
            self._show_by_tray(title, text, tone)
            return
        self._hide()
        self._asked = process = QProcess(self)
        process.finished.connect(lambda code: self._take_answer(code, title, text, tone))
        if getattr(sys, "frozen", False):  # the libraries that lie beside this program are not for others
            environment = QProcessEnvironment.systemEnvironment()
            environment.insert("LD_LIBRARY_PATH", environment.value("LD_LIBRARY_PATH_ORIG"))
            process.setProcessEnvironment(environment)
        process.start(
            command,
            [
                "--app-name=Attune",
                "--hint=string:desktop-entry:attune",
                f"--icon=dialog-{'warning' if tone in ('bad', 'warning') else 'information'}",
                f"--action=default={tr('Show the run')}",
                "--",
                title,
                html.escape(text, quote=False),
            ],
        )

    def _take_answer(self, code: int, title: str, text: str, tone: str) -> None:
        said = bytes(self._asked.readAllStandardOutput().data()).decode(errors="replace")
        if code:
            self._show_by_tray(title, text, tone)  # nobody shows notifications, or the command knows of no clicks yet
        elif said.strip() == "default":
            self.open_run()

    def _show_by_tray(self, title: str, text: str, tone: str) -> None:
        if not (QSystemTrayIcon.isSystemTrayAvailable() and QSystemTrayIcon.supportsMessages()):
            return
        if self._tray is None:
            self._tray = QSystemTrayIcon(icon("train", "accent"), self)
            self._tray.setToolTip("Attune")
            self._tray.messageClicked.connect(self.open_run)
            self._tray.activated.connect(lambda _: self.open_run())
        self._tray.show()
        kind = QSystemTrayIcon.MessageIcon.Warning if tone in ("bad", "warning") else None
        self._tray.showMessage(title, text, kind or QSystemTrayIcon.MessageIcon.Information)

    def open_run(self) -> None:
        """Bring the window to the front, with the run that was told of."""
        window = self._window
        window.setWindowState(window.windowState() & ~Qt.WindowState.WindowMinimized)
        window.show()
        window.raise_()
        window.activateWindow()
        state = window.store.runs.get(self._run)
        if state is not None:
            if state.kind == "train":
                window.store.select_run(self._run)
            window.show_page(state.kind if state.kind in words.PAGES else "runs")
        self._hide()

    def _note_application(self, state: Qt.ApplicationState) -> None:
        if state == Qt.ApplicationState.ApplicationActive:
            self._hide()

    def _hide(self) -> None:
        if self._asked is not None:
            self._asked.finished.disconnect()
            self._asked.terminate()
            self._asked.waitForFinished(1000)
            self._asked.deleteLater()
            self._asked = None
        if self._tray is not None:
            self._tray.hide()
