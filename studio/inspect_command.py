"""`attune inspect`: the attention maps of a text as arrays, as one file for the window, or as a web page."""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from studio.core.reasons import Failure
from studio.core.rundir import RunDir, find_run
from studio.core.spec import Against, InspectSpec, model_path
from studio.core.state import read_summary

NO_CHECKPOINTS = "A model folder has no checkpoints; those of a run have steps."
STATES = {"tuned": ("after",), "base": ("before",), "both": ("before", "after")}


def add_options(command: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    command.add_argument("subject", metavar="RUN|MODEL")
    command.add_argument("--text", required=True)
    command.add_argument("--out", metavar="DIR", help="the arrays; else they lie in the inspection's own run")
    command.add_argument("--save", metavar="FILE", help="one file that the window opens with all its views")
    command.add_argument("--html", metavar="FILE", help="a web page that opens without a network")
    command.add_argument("--state", choices=list(STATES), help="of a run; default: tuned")
    command.add_argument("--checkpoint", type=int, metavar="STEP", help="a checkpoint instead of the kept model")
    command.add_argument("--against", metavar="RUN|MODEL", help="what to compare with, as `before`")
    command.add_argument("--against-checkpoint", type=int, metavar="STEP", help="a checkpoint of that, or of the run")


def inspect(
    arguments: argparse.Namespace, workspace: Path, execute: Callable[[Any, Path], dict[str, Any]]
) -> dict[str, Any]:
    """Look into the subject by `execute`, write what is asked for, and return what --json prints.

    Raises Failure: "usage", those of the inspection, "no-room", "workspace-unwritable".
    """
    if not (arguments.out or arguments.save or arguments.html):
        raise Failure("usage", message="Say where to: --out, --save or --html.", command="attune inspect")
    name, spec = arguments.subject, {"text": arguments.text}
    if arguments.out:
        spec["out"] = str(_path(arguments.out))
    against = _against(arguments, workspace)
    state = arguments.state or ("tuned" if against is None else "both")
    if is_model(name):
        if arguments.checkpoint is not None:
            raise Failure("usage", message=NO_CHECKPOINTS, command="attune inspect")
        spec |= {"model": model_path(name, Path.cwd()), "state": state if against is not None else "tuned"}
        subject = own = "starter" if name == "starter" else Path(name).resolve().name
    else:
        run = find_run(workspace, name)
        spec |= {"run": str(run.path), "state": state, "checkpoint": arguments.checkpoint}
        summary = read_summary(run)
        step = [f"step {arguments.checkpoint}"] if arguments.checkpoint is not None else []
        own, subject = summary.name, " · ".join([summary.name, Path(summary.model).name, *step])
    states = STATES[spec["state"]]
    spec["against"] = against
    names = _names(own, spec, against) if against is not None and "before" in states else {}
    result = execute(InspectSpec(**spec), workspace)
    found = {states[0]: result} if len(states) == 1 else {state: result[state] for state in states}
    result |= {kind: str(file) for kind, file in _write(arguments, subject, found, names).items()}
    if not arguments.json:
        _say(found, result)
    return result


def is_model(name: str) -> bool:
    """Return whether a name on the command line is the starter or a model folder; else it is a run."""
    return name == "starter" or (Path(name).expanduser() / "config.json").is_file()


def _against(arguments: argparse.Namespace, workspace: Path) -> Against | None:
    name, step = arguments.against, arguments.against_checkpoint
    if name is None and step is None:
        return None
    if is_model(name or arguments.subject):
        if step is not None:
            raise Failure("usage", message=NO_CHECKPOINTS, command="attune inspect")
        return Against(model=model_path(name, Path.cwd()))
    return Against(run=str(find_run(workspace, name or arguments.subject).path), checkpoint=step)


def _names(own: str, spec: dict[str, Any], against: Against) -> dict[str, str]:
    """Return what the states are called; own: the name of the run or model that `spec` is about."""
    from studio.ui.views.look import state_names

    other = read_summary(RunDir(Path(against.run))).name if against.run else Path(against.model).name
    is_one_run = against.run is not None and against.run == spec.get("run")
    return state_names(own, spec.get("checkpoint"), other, against.checkpoint, is_one_run)


def _write(
    arguments: argparse.Namespace, subject: str, found: dict[str, dict[str, Any]], names: dict[str, str]
) -> dict[str, Path]:
    """Write the file and the page, and return what was written by the option's name."""
    directories = {state: each["directory"] for state, each in found.items()}
    probabilities = {state: each["probabilities"] for state, each in found.items()}
    said = {state: each["said"] for state, each in found.items() if "said" in each}
    written = {}
    if arguments.save:
        from studio.attention.look_file import LookFacts, save_look

        facts = LookFacts(
            subject=subject, text=arguments.text, probabilities=probabilities, said=said, states=list(found),
            names=names,
        )  # fmt: skip
        written["file"] = _path(arguments.save)
        save_look(written["file"], facts, directories)
    if arguments.html:
        from studio.core.events import Explained
        from studio.ui.views.look import load_look, measure
        from studio.ui.views.page import write_page

        answer = Explained(id="", text=arguments.text, probabilities=probabilities, said=said, directories=directories)
        look = load_look(answer, subject, names=names)
        statistics = measure(look)
        state = list(found)[-1]
        leading = statistics.order("entropy" if statistics.change is None else "change", state)[0]
        heads = [divmod(int(leading), look.shape[1])]
        written["html"] = write_page(look, _path(arguments.html), heads, state, statistics=statistics)
    return written


def _say(found: dict[str, dict[str, Any]], result: dict[str, Any]) -> None:
    for state, each in found.items():
        checks, which = each["checks"], f"{state}: " if len(found) > 1 else ""
        print(f"{which}{'verified' if checks['verified'] else 'NOT VERIFIED'}: {checks}")
        print(f"  maps: {each['directory']}")
    for kind in ("file", "html"):
        if kind in result:
            print(f"  {kind}: {result[kind]}")


def _path(text: str) -> Path:
    return Path(text).expanduser().absolute()
