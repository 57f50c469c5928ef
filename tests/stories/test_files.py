"""What lies in a person's folder when the window dies while it writes, and what two windows at one model do."""

import csv
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PySide6.QtGui import QImage

from studio.attention.capture import Capture, save
from studio.attention.look_file import LookFacts, open_look, save_look
from studio.core import events as ev
from studio.core.processes import environment
from studio.core.rundir import EventWriter, create_run
from studio.core.spec import InspectSpec
from studio.ui.panels.inspect import InspectPanel
from studio.ui.panels.inspect_subject import of_model
from studio.ui.window import MainWindow

TEXT, N_TOKENS, SHAPE = "a long look", 256, (6, 12)
CHECKS = {"row_sum_error": 1e-7, "causal_leak": 0.0, "logit_difference": 0.0, "verified": True}
WINDOW = """
import sys
from pathlib import Path
from studio.ui.app import make_window
from studio.ui.panels.inspect_figures import Batch
from studio.ui.panels.inspect_subject import of_model
workspace, out = map(Path, sys.argv[1:3])
window = make_window(workspace, keep_spare=False)
window.show()
window.show_page("inspect")
panel = window.pages["inspect"]
panel.chooser.choose(of_model("starter"))

def write():
    look, heads = panel.maps.shown_look, tuple((0, head) for head in range(12))
    formats = ("pdf", "svg", "png", "csv", "npz")
    {
        "page": lambda: panel.files.save_page(out / "one.html"),
        "look": lambda: panel.files.save(out / "one.attune-look"),
        "npz": lambda: panel.maps.head.export("npz-all", out / "all.npz"),
        "figures": lambda: panel.files.write_figures(Batch(look, heads, formats, out, "after", True, 1.0, 96)),
    }[sys.argv[3]]()

panel.maps.shown.connect(write)
panel.files.saved.connect(lambda paths: write())  # again and again
sys.exit(window.app.exec())
"""

CLOSED = """
import sys
from pathlib import Path
from PySide6.QtCore import QTimer
from studio.ui import app
from studio.ui.panels.inspect_figures import Batch
from studio.ui.panels.inspect_subject import of_model
workspace, file, out = map(Path, sys.argv[1:])
make_window = app.make_window

def make(workspace):
    window = make_window(workspace, keep_spare=False)
    window.show_page("inspect")
    panel = window.pages["inspect"]
    panel.open_file(file)

    def write():
        look = panel.maps.shown_look
        heads = tuple((layer, head) for layer in range(6) for head in range(12))
        panel.files.write_figures(Batch(look, heads, ("pdf", "png"), out, "after", True, 1.0, 300))
        panel.files.save(out / "one.attune-look")
        panel.maps.head.export("csv", out / "one.csv")
        panel.chooser.choose(of_model(str(out)))  # another model meanwhile
        QTimer.singleShot(500, window.close)

    panel.maps.shown.connect(write)
    return window

app.make_window = make
sys.exit(app.run(workspace))
"""

SECOND = """
import sys
from pathlib import Path
from PySide6.QtCore import QTimer
from studio.ui.app import make_window
from studio.ui.panels.inspect_subject import of_model
workspace, out = map(Path, sys.argv[1:])
window = make_window(workspace, keep_spare=False)
window.show_page("inspect")
panel = window.pages["inspect"]
panel.chooser.choose(of_model("starter"))
panel.maps.shown.connect(lambda: print(panel.maps.look.text, flush=True))
panel.files.saved.connect(lambda _: panel.look_at("of the second"))
timer = QTimer(interval=50)

def go():
    if (out / "go").exists():
        timer.stop()
        panel.files.save(out / "second.attune-look")

timer.timeout.connect(go)
timer.start()
sys.exit(window.app.exec())
"""


@pytest.fixture
def looked_at(workspace: Path) -> Path:
    """A workspace with an inspection of the starter, as its worker left it."""
    run = create_run(workspace, InspectSpec(model="starter", text=TEXT))
    maps = np.random.default_rng(0).random((*SHAPE, N_TOKENS, N_TOKENS), dtype=np.float32)
    maps /= maps.sum(axis=-1, keepdims=True)
    folder = run.path / "maps" / "first" / "after"
    tokens = [f"token{i}" for i in range(N_TOKENS)]
    save(Capture(maps, None, None, CHECKS | {"n_layers": 6, "n_heads": 12}, {}), tokens, folder)
    writer = EventWriter(run.events_file)
    answer = ev.Explained(id="first", text=TEXT, probabilities={}, directories={"after": str(folder)})
    writer.write([ev.Started(pid=1, version="0"), answer, ev.Finished()])
    writer.close()
    return workspace


def is_whole(path: Path) -> bool:
    """Return whether a file ends where it should, and can be read."""
    if path.suffix == ".attune-look":
        return open_look(path).captures["after"].checks["verified"]
    if path.suffix == ".npz":
        with np.load(path) as arrays:
            return all(np.isfinite(arrays[name]).all() for name in ("attention", "after") if name in arrays)
    if path.suffix == ".csv":
        with path.open(encoding="utf-8", newline="") as file:
            return [len(row) for row in csv.reader(file)] == [N_TOKENS + 1] * (N_TOKENS + 1)
    if path.suffix == ".png":
        return not QImage(str(path)).isNull()
    ends = {".pdf": b"%%EOF\n", ".svg": b"</svg>\n", ".html": b"</html>\n"}
    return path.read_bytes().endswith(ends[path.suffix])


def opened(window: MainWindow, until: Callable[..., None]) -> InspectPanel:
    """The Inspect page with the starter's last look on screen."""
    window.show_page("inspect")
    panel = window.pages["inspect"]
    panel.chooser.choose(of_model("starter"))
    until(lambda: panel.maps.shown_look is not None, "the last look is shown")
    return panel


def test_a_window_killed_while_it_writes_leaves_whole_files(
    until, open_window: Callable[[], MainWindow], looked_at: Path, tmp_path: Path
) -> None:
    out = tmp_path / "what I saved"
    out.mkdir()
    halves = set()
    begun = {"page": ".one.html", "look": ".one.attune-look", "npz": ".all.npz", "figures": "attention-layer1-head3"}
    for kind, begin in begun.items():
        command = [sys.executable, "-P", "-c", WINDOW, str(looked_at), str(out), kind]
        process = subprocess.Popen(command, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 90
        while not any(name.startswith(begin) for name in os.listdir(out) if name not in halves):
            assert time.monotonic() < deadline and process.poll() is None, f"{kind}: never begun"
            time.sleep(0.001)
        process.kill()
        process.wait()
        halves |= {name for name in os.listdir(out) if name.startswith(".")}
    assert halves, "nothing was cut off"
    names = [path for path in out.iterdir() if not path.name.startswith(".")]
    assert all(is_whole(path) for path in names), [path.name for path in names if not is_whole(path)]
    assert all(name.endswith(".tmp") for name in halves)

    # The next window has the last look, and what it writes takes the place of the halves.
    window = open_window()
    panel = opened(window, until)
    assert panel.maps.look.text == panel.text.toPlainText() == TEXT
    for name in halves & {*os.listdir(out)}:
        os.utime(out / name, (0, 0))
    panel.files.save_page(out / "one.html")
    panel.files.save(out / "one.attune-look")
    panel.maps.head.export("npz-all", out / "all.npz")
    until(lambda: not panel.files.work.is_busy, "all is written")
    left = [name for name in os.listdir(out) if name.startswith((".one", ".all"))]
    assert not left and {"one.html", "one.attune-look", "all.npz"} <= {*os.listdir(out)}
    assert all(is_whole(path) for path in out.iterdir() if not path.name.startswith("."))


def test_files_that_were_begun_are_finished_when_the_window_is_closed(looked_at: Path, tmp_path: Path) -> None:
    (folder,) = looked_at.glob("runs/*/maps/first/after")
    save_look(tmp_path / "opened.attune-look", LookFacts(states=["after"], text=TEXT), {"after": folder})
    out = tmp_path / "what I saved"
    out.mkdir()
    command = [sys.executable, "-P", "-c", CLOSED, str(looked_at), str(tmp_path / "opened.attune-look"), str(out)]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=120)
    assert done.returncode == 0 and "Traceback" not in done.stderr, done.stderr
    names = {*os.listdir(out)}
    assert {"one.attune-look", "one.csv"} <= names, "written after the window was gone"
    assert 0 < len(names) - 2 < 2 * 72, "of the figures the rest was left"
    assert not [name for name in names if name.startswith(".")] and all(is_whole(path) for path in out.iterdir())


def test_two_windows_at_one_model_keep_each_other_s_maps(
    until, open_window: Callable[[], MainWindow], workspace: Path, tmp_path: Path
) -> None:
    window = open_window()
    window.show_page("inspect")
    first = window.pages["inspect"]
    first.chooser.choose(of_model("starter"))
    ask(first, "text 0", until)
    (folder,) = map(Path, first.maps.look.directories.values())
    command = [sys.executable, "-P", "-c", SECOND, str(workspace), str(tmp_path)]
    second = subprocess.Popen(command, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        assert second.stdout.readline().strip() == "text 0", "it shows what the first window saw last"
        for number in range(1, 5):  # more than a worker keeps
            ask(first, f"text {number}", until)
        assert folder.is_dir(), "the second window still shows it"
        (tmp_path / "go").touch()
        until(lambda: (tmp_path / "second.attune-look").exists(), "the second window saves it")
        assert open_look(tmp_path / "second.attune-look").facts.text == "text 0"
        assert second.stdout.readline().strip() == "of the second", "and is answered too"
    finally:
        second.kill()
        second.wait()
    ask(first, "the last", until)
    until(lambda: not folder.exists(), "what nobody shows is removed", seconds=10)


def ask(panel: InspectPanel, text: str, until: Callable[..., None]) -> None:
    """Look at a text, and wait for the maps."""
    panel.look_at(text)
    until(lambda: panel.maps.shown_look is not None and panel.maps.shown_look.text == text, f"the answer to {text}")
