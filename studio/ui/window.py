"""The main window: rail, thread of work, notices, pages and the status line, put together."""

import importlib
from pathlib import Path

from PySide6.QtCore import QRect, Qt, QUrl, Signal
from PySide6.QtGui import QCloseEvent, QDesktopServices, QDragEnterEvent, QDropEvent, QGuiApplication
from PySide6.QtWidgets import (
    QApplication,
    QFileDialog,
    QHBoxLayout,
    QMainWindow,
    QMenu,
    QPushButton,
    QStackedWidget,
    QToolTip,
    QVBoxLayout,
    QWidget,
)

from studio import __version__
from studio.attention.look_file import SUFFIX
from studio.core.files import read_json
from studio.core.registry import family
from studio.ui import words
from studio.ui.actions import fill_menu, make_actions
from studio.ui.crumbs import Crumbs
from studio.ui.desktop_notice import DesktopNotice
from studio.ui.i18n import tr
from studio.ui.notice_bar import NoticeBar, PastNotices
from studio.ui.notices import Notice
from studio.ui.palette import Palette
from studio.ui.rail import Rail
from studio.ui.status_line import StatusLine
from studio.ui.store import Store
from studio.ui.takeaway import TakeAway
from studio.ui.theme import GRID, GROUP, MARGIN
from studio.ui.widgets.buttons import icon_button

_FIRST_SIZE = (1180, 760)
_SPEC_SIZE = 1 << 20  # a larger JSON file is data, not a spec


class MainWindow(QMainWindow):
    """Shows one page of seven at a time; pages are made when they are first opened."""

    closed = Signal()

    def __init__(self, store: Store):
        super().__init__()
        self.store = store
        self.pages: dict[str, QWidget] = {}
        self.page = ""
        self.setWindowTitle("Attune")
        self.setAcceptDrops(True)
        self.setMinimumSize(860, 560)
        self.actions_by_id = make_actions(self)
        self.rail, self.crumbs, self.notice_bar = Rail(), Crumbs(store), NoticeBar()
        self.stack, self.status = QStackedWidget(), StatusLine(store)
        self._lay_out()
        self.takeaway, self.desktop = TakeAway(self), DesktopNotice(self)
        self.past_notices = PastNotices(self)
        self.palette_box = Palette(list(self.actions_by_id.values()), self)
        self.rail.chosen.connect(self.show_page)
        self.crumbs.chosen.connect(self.show_page)
        self.status.bell_rung.connect(self.show_notices)
        self.notice_bar.fix_asked.connect(self.do_fix)
        store.notice.connect(self.notice_bar.show_notice)
        store.page_requested.connect(self.show_page)
        self._restore_geometry()
        self.show_page("data")
        self.stack.setFocus()  # else the first button of the rail would begin with a focus ring

    # --- pages -------------------------------------------------------------------------------------------------

    def show_page(self, name: str) -> None:
        """Open a page: data, model, train, inspect, evaluate, export or runs."""
        if name not in self.pages:
            self.pages[name] = self._make_page(name)
            self.stack.addWidget(self.pages[name])
        self.page = name
        self.rail.show_page(name)
        self.stack.setCurrentWidget(self.pages[name])

    def page_of_first_problem(self) -> str:
        """Return the page on which the draft's first problem is mended."""
        problems = self.store.problems()
        part = problems[0].field.split(".")[0] if problems else "train"
        return {"data": "data", "columns": "data", "model": "model", "method": "model"}.get(part, "train")

    def do_main(self) -> None:
        """Press the main button of the page."""
        buttons = self.pages[self.page].findChildren(QPushButton)
        main = next((b for b in buttons if b.property("main") and b.isVisible() and b.isEnabled()), None)
        if main is not None:
            main.click()

    def search_page(self) -> None:
        """Go to the page's search field, where there is one."""
        fields = [w for w in self.pages[self.page].findChildren(QWidget) if hasattr(w, "searched") and w.isVisible()]
        if fields:
            fields[0].setFocus(Qt.FocusReason.ShortcutFocusReason)

    def _make_page(self, name: str) -> QWidget:
        try:
            module = importlib.import_module(f"studio.ui.panels.{name}")
            page = getattr(module, f"{name.capitalize()}Panel")(self.store)
        except Exception as error:  # a page that can't be drawn must not take the window with it
            self.store.fail(error)
            page = QWidget()
        page.setObjectName(f"page.{name}")
        page.setAccessibleName(tr(words.PAGES[name]))
        return page

    # --- what the actions do -----------------------------------------------------------------------------------

    def ask_data(self) -> None:
        endings = " ".join({f"*{end}": 0 for source in family("sources").values() for end in source.endings})
        path, _ = QFileDialog.getOpenFileName(self, tr("Open a data set"), "", f"{tr('Data sets')} ({endings})")
        if path:
            self.store.open_data(path)
            self.show_page("data")

    def ask_model(self) -> None:
        path = QFileDialog.getExistingDirectory(self, tr("Choose a model folder"))
        if path:
            self.store.choose_model(path)
            self.show_page("model")

    def ask_spec(self) -> None:
        path, _ = QFileDialog.getOpenFileName(self, tr("Open a spec"), "", f"{tr('Specs')} (*.json)")
        if path:
            self.store.load_spec(path)

    def ask_save_spec(self) -> None:
        path, _ = QFileDialog.getSaveFileName(self, tr("Save as a spec"), "spec.json", f"{tr('Specs')} (*.json)")
        if path:
            self.store.save_spec(path)

    def choose_export_folder(self) -> None:
        self.show_page("export")
        self.pages["export"].choose_folder()

    def show_report(self) -> None:
        self.show_page("train")
        self.pages["train"].show_report()

    def open_run_folder(self) -> None:
        QDesktopServices.openUrl(QUrl.fromLocalFile(str(self.store.run_dir(self.store.current_run).path)))

    def open_workspace(self) -> None:
        QDesktopServices.openUrl(QUrl.fromLocalFile(str(self.store.workspace)))

    def show_palette(self) -> None:
        self.palette_box.open()

    def show_notices(self) -> None:
        self.past_notices.open(self.notice_bar.past)

    def help_focus(self) -> None:
        """Say the help of the widget that has the focus, or of the nearest one around it."""
        widget = start = QApplication.focusWidget()
        while widget is not None and not (widget.whatsThis() or widget.toolTip()):
            widget = widget.parentWidget()
        if widget is not None:
            at = start.mapToGlobal(start.rect().bottomLeft())
            QToolTip.showText(at, widget.whatsThis() or widget.toolTip(), start)

    def say_about(self) -> None:
        title = tr("Attune {version}", version=__version__)
        hint = tr("Fine-tuning of transformers on your own computer. Workspace: {path}", path=self.store.workspace)
        self.store.notice.emit(Notice(title, hint))

    def do_fix(self, notice: Notice) -> None:
        """Do what the button of a notice says, on the run that it speaks of."""
        if notice.run and notice.run in self.store.runs:
            self.store.select_run(notice.run)
        self.actions_by_id[notice.fix].trigger()

    # --- drag and drop -----------------------------------------------------------------------------------------

    def open_path(self, path: Path) -> None:
        """Open what was dropped: a model folder, a saved inspection, a spec, else a data set."""
        if path.is_dir():
            self.store.choose_model(str(path))
            self.show_page("model")
        elif path.suffix == SUFFIX:
            self.show_page("inspect")
            self.pages["inspect"].open_file(path)
        elif is_spec(path):
            self.store.load_spec(path)
        else:
            self.store.open_data(path)
            self.show_page("data")

    def dragEnterEvent(self, event: QDragEnterEvent) -> None:
        if any(url.isLocalFile() for url in event.mimeData().urls()):
            event.acceptProposedAction()

    def dropEvent(self, event: QDropEvent) -> None:
        paths = [Path(url.toLocalFile()) for url in event.mimeData().urls() if url.isLocalFile()]
        if paths:
            event.acceptProposedAction()
            self.open_path(paths[0])

    # --- life --------------------------------------------------------------------------------------------------

    def closeEvent(self, event: QCloseEvent) -> None:
        at = self.normalGeometry()
        self.store.change_settings(window=[at.x(), at.y(), at.width(), at.height(), int(self.isMaximized())])
        self.store.close()
        self.closed.emit()
        super().closeEvent(event)

    def _restore_geometry(self) -> None:
        kept = self.store.settings.window
        rect = QRect(*kept[:4]) if len(kept) >= 4 else QRect()
        # A window on a screen that is gone would be lost.
        if rect.isValid() and any(s.availableGeometry().intersects(rect) for s in QGuiApplication.screens()):
            self.setGeometry(rect)
            if len(kept) > 4 and kept[4]:
                self.setWindowState(Qt.WindowState.WindowMaximized)
            return
        room = QGuiApplication.primaryScreen().availableSize()
        self.resize(min(_FIRST_SIZE[0], room.width()), min(_FIRST_SIZE[1], room.height()))

    def _lay_out(self) -> None:
        head = QHBoxLayout()
        head.setContentsMargins(GROUP, GRID, GRID, 0)
        head.setSpacing(GRID)
        head.addWidget(self.crumbs, 1)
        head.addWidget(self._menu_button())
        notice = QVBoxLayout()
        notice.setContentsMargins(MARGIN, GRID, MARGIN, 0)
        notice.addWidget(self.notice_bar)
        column = QVBoxLayout()
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        column.addLayout(head)
        column.addLayout(notice)
        column.addWidget(self.stack, 1)
        column.addWidget(self.status)
        whole = QWidget()
        row = QHBoxLayout(whole)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(0)
        row.addWidget(self.rail)
        row.addLayout(column, 1)
        self.setCentralWidget(whole)

    def _menu_button(self) -> QWidget:
        button = icon_button("more", tr("All actions"), "menu")
        menu = QMenu(button)
        fill_menu(menu, self.actions_by_id)
        button.setMenu(menu)
        button.setPopupMode(button.ToolButtonPopupMode.InstantPopup)
        return button


def is_spec(path: Path) -> bool:
    """Return whether a file is a spec rather than rows in JSON."""
    if path.suffix.lower() != ".json" or path.stat().st_size > _SPEC_SIZE:
        return False
    value = read_json(path)
    return isinstance(value, dict) and "data" in value and ("model" in value or "task" in value or "columns" in value)
