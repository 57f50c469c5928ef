"""The guided sample: data set, training, evaluation, attention before and after, verified export."""

import ctypes
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from studio.core.paths import sample_file
from studio.core.spec import EvaluateSpec, ExportSpec, InspectSpec, TrainSpec, parse_spec

SAMPLE_TEXT = "I was charged twice this month, and nobody answers my letters."
NAME = "Support desk demo"


def train_spec() -> TrainSpec:
    """Return the training of the sample: LoRA, whose before and after differ by a switch."""
    return parse_spec(
        {
            "name": NAME,
            "data": {"train": str(sample_file())},
            "columns": {"text": "text", "label": "label"},
            "method": {"kind": "lora"},
            "training": {"num_train_epochs": 5},
        }
    )


def evaluate_spec(run: str) -> EvaluateSpec:
    """Return the evaluation of the demo's run on its test part."""
    return EvaluateSpec(run=run, split="test")


def inspect_spec(run: str, idle_seconds: float = 0.0) -> InspectSpec:
    """Return the inspection of a sample sentence, before and after the training."""
    return InspectSpec(run=run, text=SAMPLE_TEXT, state="both", idle_seconds=idle_seconds)


def export_spec(run: str, out: Path) -> ExportSpec:
    """Return the export of the demo's run as int8 ONNX."""
    return ExportSpec(run=run, format="onnx-int8", out=str(out))


def export_folder(workspace: Path, run: str) -> Path:
    """Return the folder that the demo exports to."""
    return workspace / "exports" / f"{Path(run).name}-onnx-int8"


def run_without_window(
    workspace: Path, execute: Callable[[Any, Path], dict[str, Any]], quiet: bool = False
) -> dict[str, Any]:
    """Do the whole demo in the terminal and return each step's result; raises Failure where a step fails.

    execute: runs a spec in a workspace to its end and returns its result.
    """

    def say(text: str) -> None:
        if not quiet:
            print(text, flush=True)

    say("1/4  Training the starter on the sample of support messages")
    trained = execute(train_spec(), workspace)
    run = trained["run"]
    say("2/4  Measuring it on messages that it has never seen")
    evaluated = execute(evaluate_spec(run), workspace)
    say(f"     accuracy {evaluated['metrics']['accuracy']:.3f} on {evaluated['n_rows']} messages")
    say("3/4  Looking into its attention, before and after")
    inspected = execute(inspect_spec(run), workspace)
    for state, found in inspected.items():
        say(f"     {state}: {'verified' if found['checks']['verified'] else 'NOT VERIFIED'}, {found['directory']}")
    say("4/4  Exporting it as int8 ONNX and verifying it in a fresh process")
    exported = execute(export_spec(run, export_folder(workspace, run)), workspace)
    say(
        f"     {'verified' if exported['verified'] else 'NOT VERIFIED'}: "
        f"{exported['reference_size_bytes'] / 1e6:.1f} MB became {exported['size_bytes'] / 1e6:.1f} MB, "
        f"accuracy {exported['reference_metric']:.3f} became {exported['metric']:.3f}, "
        f"{exported['reference_latency_ms'] / exported['latency_ms']:.1f} times as fast"
    )
    say("\nEverything lies here:")
    say(f"  run     {run}")
    for state, found in inspected.items():
        say(f"  {state:<7} {found['directory']}")
    say(f"  export  {exported['directory']}")
    return {"train": trained, "evaluate": evaluated, "inspect": inspected, "export": exported}


def has_display() -> bool:
    """Return whether a window can be shown: always, but on a Unix desktop without a display server."""
    if sys.platform in ("win32", "darwin"):
        return True
    if os.environ.get("QT_QPA_PLATFORM") or os.environ.get("WAYLAND_DISPLAY"):
        return True
    return bool(os.environ.get("DISPLAY")) and _reaches_x_server()


def _reaches_x_server() -> bool:
    """Return whether the X server that DISPLAY names answers; Qt would end the process where it does not."""
    try:
        xcb = ctypes.CDLL("libxcb.so.1")
    except OSError:
        return True  # without the library Qt itself says what is missing
    xcb.xcb_connect.restype = ctypes.c_void_p
    connection = ctypes.c_void_p(xcb.xcb_connect(None, None))
    is_broken = xcb.xcb_connection_has_error(connection)
    xcb.xcb_disconnect(connection)
    return not is_broken
