"""All that a person can do, as data: menus, buttons, shortcuts and the command palette are drawn from here."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from PySide6.QtGui import QAction, QKeySequence, QShowEvent
from PySide6.QtWidgets import QMenu, QPushButton, QWidget

from studio.core import commands
from studio.core.paths import sample_file
from studio.core.reasons import Failure
from studio.core.spec import TrainSpec
from studio.ui.i18n import tr
from studio.ui.store import Store
from studio.ui.theme import follow_theme, icon, set_icon

if TYPE_CHECKING:
    from studio.ui.window import MainWindow

MENUS = ("File", "Go", "Run", "View", "Help")


@dataclass(frozen=True)
class Action:
    """One thing to do; `enabled` is asked whenever the store changes. `hidden` ones have a shortcut only."""

    id: str
    title: str
    do: Callable[["MainWindow"], Any]
    icon: str = ""
    shortcut: str = ""
    menu: str = ""
    enabled: Callable[[Store], bool] = lambda store: True
    hidden: bool = False
    checked: Callable[[Store], bool] | None = None  # of a switch: whether it is on


def _state(store: Store) -> Any:
    return store.runs.get(store.current_run)


def _is_active(store: Store) -> bool:
    state = _state(store)
    return state is not None and state.is_active


def _can_resume(store: Store) -> bool:
    state = _state(store)
    if state is None or state.kind != "train":
        return False
    return state.state == "paused" or (state.state in ("stopped", "failed", "ended") and bool(state.checkpoints))


def _is_training(store: Store) -> bool:
    state = _state(store)
    return state is not None and state.kind == "train" and state.is_active and state.phase == "training"


def _can_evaluate(store: Store) -> bool:
    return _is_training(store) and _state(store).data is not None and _state(store).data.n_validation > 0


def _is_of_training(store: Store) -> bool:
    state = _state(store)
    return state is not None and state.kind == "train"


def _switch_notify(window: "MainWindow") -> None:
    window.store.change_settings(notify=not window.store.settings.notify)


def _again(window: "MainWindow") -> None:
    """Start the current run's spec as a new run."""
    store = window.store
    try:
        spec = store.run_dir(store.current_run).spec()
        if not isinstance(spec, TrainSpec):
            raise Failure("run-missing", run=store.current_run)
    except Failure as error:
        store.fail(error)
        return
    run_id = store.start_run(spec)
    if run_id:
        store.select_run(run_id)
        store.show_page("train")


def _start(window: "MainWindow") -> None:
    window.show_page("train" if window.store.start() else window.page_of_first_problem())


def _enqueue(window: "MainWindow") -> None:
    """Let the draft wait in the queue; where nothing is at work it begins by itself, and is shown."""
    store = window.store
    try:
        spec = store.draft.spec()
    except Failure as error:
        store.fail(error)
        window.show_page(window.page_of_first_problem())
        return
    run_id = store.queue.add(spec)
    if run_id and not store.training_run():
        store.select_run(run_id)


def _sample(window: "MainWindow") -> None:
    window.store.open_data(sample_file())
    window.show_page("data")


ACTIONS: tuple[Action, ...] = (
    Action("data.open", "Open a data set…", lambda w: w.ask_data(), "open", "Ctrl+O", "File"),
    Action("data.sample", "Try the sample", _sample, "sample", "", "File"),
    Action("model.open", "Choose a model folder…", lambda w: w.ask_model(), "model", "Ctrl+Shift+O", "File"),
    Action("spec.open", "Open a spec…", lambda w: w.ask_spec(), "folder", "", "File"),
    Action(
        "spec.save", "Save as a spec…", lambda w: w.ask_save_spec(), "save", "Ctrl+S", "File",
        lambda store: store.draft.table is not None,
    ),
    Action("run.continue", "Continue the last run", lambda w: w.store.continue_last(), "arrow-right", "", "File"),
    Action("window.close", "Close the window", lambda w: w.close(), "close", "Ctrl+Q", "File"),
    Action("go.data", "Data", lambda w: w.show_page("data"), "data", "Ctrl+1", "Go"),
    Action("go.model", "Model", lambda w: w.show_page("model"), "model", "Ctrl+2", "Go"),
    Action("go.train", "Train", lambda w: w.show_page("train"), "train", "Ctrl+3", "Go"),
    Action("go.inspect", "Inspect", lambda w: w.show_page("inspect"), "inspect", "Ctrl+4", "Go"),
    Action("go.evaluate", "Evaluate", lambda w: w.show_page("evaluate"), "evaluate", "Ctrl+5", "Go"),
    Action("go.export", "Export", lambda w: w.show_page("export"), "export", "Ctrl+6", "Go"),
    Action("go.runs", "Runs", lambda w: w.show_page("runs"), "runs", "Ctrl+7", "Go"),
    Action(
        "run.start", "Start", _start, "play", "F5", "Run",
        lambda store: not store.training_run(),
    ),
    Action("queue.add", "Add to queue", _enqueue, "plus", "Ctrl+Shift+Return", "Run"),
    Action("run.stop", "Stop", lambda w: w.store.stop(w.store.current_run), "stop", "Shift+F5", "Run", _is_active),
    Action("run.resume", "Resume", lambda w: w.store.resume(w.store.current_run), "play", "", "Run", _can_resume),
    Action(
        "run.save", "Save a checkpoint now", lambda w: w.store.send(w.store.current_run, commands.Save()), "save", "",
        "Run", _is_training,
    ),
    Action(
        "run.evaluate", "Measure the validation rows now",
        lambda w: w.store.send(w.store.current_run, commands.Evaluate()), "evaluate", "", "Run", _can_evaluate,
    ),
    Action("run.again", "Start again", _again, "refresh", "", "Run", lambda store: bool(store.current_run)),
    Action("run.kill", "Force stop", lambda w: w.store.kill(w.store.current_run), "error", "", "Run", _is_active),
    Action(
        "run.folder", "Open the run's folder", lambda w: w.open_run_folder(), "folder", "", "Run",
        lambda store: bool(store.current_run),
    ),
    Action("run.report", "Report", lambda w: w.show_report(), "report", "", "Run", _is_of_training),
    Action("run.script", "Save as script…", lambda w: w.takeaway.ask_script(), "save", "", "Run", _is_of_training),
    Action(
        "run.spec", "Save spec as asked…", lambda w: w.takeaway.ask_spec(False), "save", "", "Run", _is_of_training,
    ),
    Action(
        "run.spec_resolved", "Save spec as resolved…", lambda w: w.takeaway.ask_spec(True), "save", "", "Run",
        _is_of_training,
    ),
    Action("export.choose", "Choose where to export…", lambda w: w.choose_export_folder(), "export", "", ""),
    Action("palette.show", "Find an action…", lambda w: w.show_palette(), "palette", "Ctrl+Shift+P", "View"),
    Action("theme.light", "Light", lambda w: w.store.change_settings(theme="light"), "sun", "", "View"),
    Action("theme.dark", "Dark", lambda w: w.store.change_settings(theme="dark"), "moon", "", "View"),
    Action("theme.system", "Light or dark as the system", lambda w: w.store.change_settings(theme="system"), "", "",
           "View"),
    Action(
        "notify.switch", "Tell on the desktop when a long run ends", _switch_notify, "", "", "View",
        checked=lambda store: store.settings.notify,
    ),
    Action("notices.show", "Past notices", lambda w: w.show_notices(), "bell", "", "View"),
    Action("help.field", "Help for what has the focus", lambda w: w.help_focus(), "help", "F1", "Help"),
    Action("help.about", "About Attune", lambda w: w.say_about(), "info", "", "Help"),
    Action("workspace.open", "Open the workspace folder", lambda w: w.open_workspace(), "folder", "", "Help"),
    Action("page.main", "Do the page's main action", lambda w: w.do_main(), "", "Ctrl+Return", hidden=True),
    Action("page.search", "Search in the page", lambda w: w.search_page(), "search", "Ctrl+F", hidden=True),
    Action("notice.close", "Close the notice", lambda w: w.notice_bar.dismiss(), "close", "Esc", hidden=True),
)  # fmt: skip
BY_ID = {action.id: action for action in ACTIONS}


def make_actions(window: "MainWindow") -> dict[str, QAction]:
    """Return the window's QActions by id, added to it, enabled and disabled as its store changes."""
    made: dict[str, QAction] = {}
    for action in ACTIONS:
        made[action.id] = each = QAction(tr(action.title), window)
        each.setObjectName(f"action.{action.id}")
        each.setShortcut(QKeySequence(action.shortcut))
        each.triggered.connect(lambda _=False, action=action: action.do(window))
        if action.icon:
            follow_theme(window, lambda theme, each=each, name=action.icon: each.setIcon(icon(name, "muted")))
        each.setCheckable(action.checked is not None)
        window.addAction(each)

    def refresh(*_: Any) -> None:
        for action in ACTIONS:
            made[action.id].setEnabled(action.enabled(window.store))
            if action.checked is not None:
                made[action.id].setChecked(action.checked(window.store))

    for signal in ("draft_changed", "run_changed", "current_run_changed", "runs_changed", "settings_changed"):
        getattr(window.store, signal).connect(refresh)
    refresh()
    return made


def fill_menu(menu: Any, actions: dict[str, QAction]) -> None:
    """Add one submenu for each of MENUS to a menu or a menu bar."""
    for title in MENUS:
        inside: QMenu = menu.addMenu(tr(title))
        for action in ACTIONS:
            if action.menu == title and not action.hidden:
                inside.addAction(actions[action.id])


class ActionButton(QPushButton):
    """A button of a page for one of ACTIONS; its objectName is `action.<id>`."""

    def __init__(self, action_id: str, main: bool = False, text: str = "", parent: QWidget | None = None):
        action = BY_ID[action_id]
        super().__init__(text or tr(action.title).rstrip("…"), parent)
        self.setObjectName(f"action.{action_id}")
        self._id, self._action = action_id, None
        self.setProperty("main", main)
        if action.icon:
            set_icon(self, action.icon, "on_accent" if main else "text")
        if action.shortcut:
            self.setToolTip(QKeySequence(action.shortcut).toString(QKeySequence.SequenceFormat.NativeText))
        self.clicked.connect(self._trigger)

    def showEvent(self, event: QShowEvent) -> None:
        # The window is known only once the page is inside it.
        found = getattr(self.window(), "actions_by_id", {}).get(self._id)
        if found is not None and self._action is None:
            self._action = found
            found.enabledChanged.connect(self.setEnabled)
            self.setEnabled(found.isEnabled())
        super().showEvent(event)

    def _trigger(self) -> None:
        if self._action is not None:
            self._action.trigger()


def action_button(action_id: str, main: bool = False, text: str = "") -> ActionButton:
    """Return a button of a page for the action `action_id`."""
    return ActionButton(action_id, main, text)
