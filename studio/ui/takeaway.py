"""What the window saves of the current run: a script, and its spec."""

from collections.abc import Callable
from pathlib import Path

from PySide6.QtCore import QObject
from PySide6.QtWidgets import QFileDialog, QWidget

from studio.takeaway.script import save_script
from studio.takeaway.spec_file import save_spec
from studio.ui.i18n import tr
from studio.ui.notices import Notice
from studio.ui.threads import background


class TakeAway(QObject):
    """Asks where to save, saves in the background, and says so."""

    def __init__(self, window: QWidget):
        super().__init__(window)
        self._window, self._store = window, window.store

    def ask_script(self) -> None:
        """Save the current run as a Python file where the person says."""
        path = self._ask(tr("Save as a script"), ".py", tr("Python files"))
        if path:
            self.save_script(path)

    def ask_spec(self, is_resolved: bool) -> None:
        """Save the current run's spec where the person says."""
        path = self._ask(tr("Save as a spec"), ".json", tr("Specs"))
        if path:
            self.save_spec(path, is_resolved)

    def save_script(self, path: str | Path) -> None:
        """Save the current run as a Python file."""
        run = self._store.run_dir(self._store.current_run)
        self._save(lambda: save_script(run, Path(path)), tr("The script was saved."), path)

    def save_spec(self, path: str | Path, is_resolved: bool) -> None:
        """Save the current run's spec, with what was picked for it or as it was asked for."""
        run = self._store.run_dir(self._store.current_run)
        self._save(lambda: save_spec(run, Path(path), is_resolved), tr("The spec was saved."), path)

    def _ask(self, title: str, ending: str, kind: str) -> str:
        name = self._store.run_name(self._store.current_run).replace("/", "-") + ending
        path, _ = QFileDialog.getSaveFileName(self._window, title, name, f"{kind} (*{ending})")
        return path if not path or path.lower().endswith(ending) else path + ending

    def _save(self, save: Callable[[], None], title: str, path: str | Path) -> None:
        store = self._store
        background(save, lambda _: store.notice.emit(Notice(title, str(path), "good")), store.fail, self)
