"""What happens when the window itself goes wrong: a notice for an exception, a report for a crash."""

import faulthandler
import logging
import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

import psutil
from PySide6.QtCore import QtMsgType, qInstallMessageHandler

log = logging.getLogger(__name__)
_LEVELS = {
    QtMsgType.QtDebugMsg: logging.DEBUG,
    QtMsgType.QtInfoMsg: logging.INFO,
    QtMsgType.QtWarningMsg: logging.WARNING,
    QtMsgType.QtCriticalMsg: logging.ERROR,
    QtMsgType.QtFatalMsg: logging.CRITICAL,
}
# What Qt says of the machine and not of this program.
_HARMLESS = ("propagateSizeHints", "Could not register app ID", "setApplicationDisplayName")


def watch(workspace: Path) -> None:
    """Write a report into the workspace's `logs` if this process crashes in native code."""
    folder = workspace / "logs"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = open(folder / f"window-{os.getpid()}.crash", "w", encoding="utf-8")  # noqa: SIM115 (open for life)
    except OSError as error:
        log.info("no crash reports: %s", error)
        return
    faulthandler.enable(file)


def unwatch(workspace: Path) -> None:
    """Say that this process ends as it should."""
    faulthandler.disable()
    try:
        (workspace / "logs" / f"window-{os.getpid()}.crash").unlink(missing_ok=True)
    except OSError:
        pass  # Windows keeps an open file; it is empty and goes at the next start


def take_reports(workspace: Path) -> list[Path]:
    """Return the reports of windows that crashed since the last start, each once; empty ones are removed."""
    reports = []
    for path in sorted((workspace / "logs").glob("window-*.crash")):
        pid = path.stem.removeprefix("window-")
        if pid.isdigit() and psutil.pid_exists(int(pid)):
            continue
        try:
            if path.stat().st_size == 0:
                path.unlink()
                continue
            moment = time.strftime("%Y%m%d-%H%M%S", time.localtime(path.stat().st_mtime))
            reports.append(path.rename(path.with_name(f"crash-{moment}-{pid}.txt")))
        except OSError as error:
            log.info("%s: %s", path, error)
    return reports


def catch_exceptions(show: Callable[[BaseException], None]) -> None:
    """Log exceptions that nobody caught and hand them to `show`, on whatever thread they came."""

    def hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if issubclass(kind, KeyboardInterrupt):
            sys.__excepthook__(kind, error, trace)
            return
        log.error("nobody caught this", exc_info=(kind, error, trace))
        show(error)

    def thread_hook(args: Any) -> None:
        if args.exc_value is not None:
            hook(args.exc_type, args.exc_value, args.exc_traceback)

    sys.excepthook = hook
    threading.excepthook = thread_hook


def log_qt_messages() -> None:
    """Send what Qt has to say to Python's log."""

    def handle(kind: QtMsgType, context: Any, text: str) -> None:
        level = logging.DEBUG if any(part in text for part in _HARMLESS) else _LEVELS.get(kind, logging.WARNING)
        logging.getLogger("qt").log(level, "%s", text)

    qInstallMessageHandler(handle)
