"""The command line: the same specs as the window, progress on stderr, one JSON object on stdout if asked."""

import argparse
import json
import sys
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

from studio import __version__, inspect_command, queue_commands
from studio.core import events as ev
from studio.core.paths import workspace_dir
from studio.core.reasons import Failure, describe
from studio.core.replay import RunReader
from studio.core.rundir import EventReader, RunDir, create_run, find_run, list_runs
from studio.core.spec import EvaluateSpec, ExportSpec, PredictSpec, TrainSpec, read_spec
from studio.core.state import RunState, new_state, read_summary, settle


class Stopped(Exception):
    """A run was stopped by the person; `result` is what it did until then."""

    def __init__(self, result: dict[str, Any]):
        super().__init__("stopped")
        self.result = result


def main(argv: list[str]) -> int:
    """Execute a command line; 0 only for success, 130 after Ctrl+C."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # a pipe on Windows may not know a check mark
            stream.reconfigure(encoding="utf-8", errors="replace")
    arguments = argparse.Namespace(json="--json" in argv, debug="--debug" in argv)
    try:
        _parser().parse_args(argv, arguments)
        result = arguments.execute(arguments, workspace_dir(arguments.workspace))
    except Failure as failure:
        return _tell_failure(failure, arguments)
    except Stopped as stopped:
        if arguments.json:
            print(json.dumps(stopped.result, ensure_ascii=False), flush=True)
        else:
            print(f"Stopped. The run: {stopped.result['run']}", file=sys.stderr)
        return 130
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        return 1
    except Exception as error:
        problem = Failure("unexpected", reason=type(error).__name__, message=str(error))
        problem.__cause__ = error
        return _tell_failure(problem, arguments)
    if isinstance(result, int):
        return result
    if arguments.json:
        print(json.dumps(result, ensure_ascii=False), flush=True)
    return 0


def _tell_failure(failure: Failure, arguments: argparse.Namespace) -> int:
    if arguments.debug:
        traceback.print_exception(failure)
    described = describe(failure.problem.reason, failure.problem.facts)
    print(f"attune: {described.title} {described.hint}", file=sys.stderr)
    if arguments.json:
        error = {"reason": described.reason, "title": described.title, "hint": described.hint}
        if failure.problem.field:
            error["field"] = failure.problem.field
        print(json.dumps({"error": error}, ensure_ascii=False), flush=True)
    return 1


def execute(spec: Any, workspace: Path) -> dict[str, Any]:
    """Start a worker for `spec`, show its progress, and return its result. Raises Failure or Stopped."""
    return watch(create_run(workspace, spec))


def watch(run: RunDir) -> dict[str, Any]:
    """Start the worker of a run, follow it to its end on stderr and return its result.

    Ctrl+C asks it to save and stop, a second one kills it. Raises Failure when it fails, Stopped when it stops.
    """
    from studio import supervisor

    line, interrupts = ProgressLine(), 0
    state, reader = _known(run)

    def batches(launch: bool) -> Iterator[list[ev.Event]]:
        if launch:
            supervisor.start(run)
        yield from supervisor.follow(run, reader=reader)

    following = batches(launch=True)
    while True:
        try:
            batch = next(following, None)
            if batch is None:
                break
            for event in batch:
                state.apply(event)
            line.show(state, batch)
        except KeyboardInterrupt:
            interrupts += 1
            line.clear()
            if interrupts > 1:
                supervisor.kill(run)
                raise
            print("Saving and stopping; Ctrl+C again ends it at once.", file=sys.stderr)
            supervisor.stop(run)
            # The interrupt may have come between reading a batch and folding it: fold all anew.
            state, reader = _known(run)
            following = batches(launch=False)
    line.clear()
    settle(state, run)
    if state.problem is not None:
        raise Failure(state.problem.reason, state.problem.field, **state.problem.facts)
    if state.state == "waiting":
        raise Failure("worker-silent", log=run.log_tail())
    if state.state == "stopped":
        raise Stopped({"run": str(run.path), "state": "stopped", "steps": state.step} | state.result)
    return state.result


def _known(run: RunDir) -> tuple[RunState, EventReader]:
    """Return the state that a run's log tells so far, and a reader that goes on behind it."""
    state, reader = new_state(run), RunReader(run)
    while batch := reader.read():
        for event in batch:
            state.apply(event)
    return state, reader


class ProgressLine:
    """One line on stderr that says what a run does: a bar on a terminal, plain lines elsewhere."""

    def __init__(self) -> None:
        self.is_terminal, self.last, self.width = sys.stderr.isatty(), "", 0
        self._shown = 0.0

    def show(self, state: RunState, batch: list[ev.Event]) -> None:
        for event in batch:
            if isinstance(event, ev.Warned):
                described = describe(event.reason, event.facts)
                self.clear()
                print(f"note: {described.title} {described.hint}", file=sys.stderr)
            elif isinstance(event, ev.Metrics) and event.split != "train":
                values = "  ".join(f"{name} {value:.4f}" for name, value in event.values.items())
                self.clear()
                print(f"step {event.step}  {event.split}: {values}", file=sys.stderr)
        text = _words(state)
        if self.is_terminal:
            if time.monotonic() - self._shown > 0.1:
                self._shown = time.monotonic()
                sys.stderr.write(f"\r{text:<{self.width}}")
                sys.stderr.flush()
                self.width = len(text)
        elif state.phase and state.phase != self.last:
            self.last = state.phase
            print(f"{state.phase} …", file=sys.stderr)

    def clear(self) -> None:
        if self.is_terminal and self.width:
            sys.stderr.write("\r" + " " * self.width + "\r")
            sys.stderr.flush()


def _words(state: RunState) -> str:
    if state.phase == "training" and state.total_steps:
        eta = state.eta_seconds
        left = f", {eta:.0f} s left" if eta is not None else ""
        loss = state.latest.get("train", {}).get("loss", float("nan"))
        return (
            f"training {_bar(state.step / state.total_steps)} step {state.step}/{state.total_steps}  "
            f"loss {loss:.4f}  {state.samples_per_second:.0f} rows/s{left}"
        )
    done, total = state.progress
    return f"{state.phase or state.state} {_bar(done / total) if total else '…'}"


def _bar(share: float, width: int = 24) -> str:
    full = round(min(max(share, 0), 1) * width)
    return f"[{'█' * full}{'·' * (width - full)}] {share:4.0%}"


# Each command returns the object that --json prints, or an exit status.


def _train(arguments: argparse.Namespace, workspace: Path) -> Any:
    spec = read_spec(Path(arguments.spec))
    if not isinstance(spec, TrainSpec):
        raise Failure("spec-invalid", errors=f"kind: this command trains, the spec is of the kind {spec.kind!r}")
    if arguments.queue:
        return queue_commands.enqueue(spec, workspace, quiet=arguments.json)
    result = execute(spec, workspace)
    _say_trained(result, arguments)
    return result


def _resume(arguments: argparse.Namespace, workspace: Path) -> Any:
    run = find_run(workspace, arguments.run)
    if run.is_alive():
        raise Failure("run-busy", run=run.id)
    if read_summary(run).state == "finished":
        raise Failure("run-complete", run=run.id)
    result = watch(run)
    _say_trained(result, arguments)
    return result


def _say_trained(result: dict[str, Any], arguments: argparse.Namespace) -> None:
    if arguments.json:
        return
    print(f"{result['state']} after {result['steps']} steps, {result['samples_per_second']:.0f} rows/s")
    for split, metrics in result["metrics"].items():
        print(f"  {split}: " + "  ".join(f"{name} {value:.4f}" for name, value in metrics.items()))
    print(f"  run: {result['run']}")


def _evaluate(arguments: argparse.Namespace, workspace: Path) -> Any:
    run = find_run(workspace, arguments.run)
    data = _source(arguments.data) if arguments.data else None
    against = str(find_run(workspace, arguments.against).path) if arguments.against else None
    spec = EvaluateSpec(run=str(run.path), data=data, split=arguments.split, against=against,
                        checkpoint=arguments.checkpoint)  # fmt: skip
    result = execute(spec, workspace)
    if not arguments.json:
        print(f"{result['n_rows']} rows of {result['data']}")
        print("  " + "  ".join(f"{name} {value:.4f}" for name, value in result["metrics"].items()))
    return result


def _predict(arguments: argparse.Namespace, workspace: Path) -> Any:
    run = find_run(workspace, arguments.run)
    out = str(Path(arguments.out).expanduser().absolute())
    result = execute(PredictSpec(run=str(run.path), data=_source(arguments.data), out=out), workspace)
    if not arguments.json:
        print(f"{result['n_rows']} rows written to {result['file']}")
    return result


def _source(path: str) -> Any:
    from studio.sources.tables import source_for

    return source_for(path)


def _inspect(arguments: argparse.Namespace, workspace: Path) -> Any:
    return inspect_command.inspect(arguments, workspace, execute)


def _export(arguments: argparse.Namespace, workspace: Path) -> Any:
    from pydantic import ValidationError

    from studio.core.registry import family

    run, out = find_run(workspace, arguments.run), str(Path(arguments.out).expanduser().absolute())
    try:
        spec = ExportSpec(run=str(run.path), format=arguments.format, out=out)
    except ValidationError as error:
        message = f"There is no format {arguments.format}; there are: {', '.join(family('exporters'))}."
        raise Failure("usage", message=message, command="attune export") from error
    result = execute(spec, workspace)
    if not arguments.json:
        print(
            f"{'verified' if result['verified'] else 'NOT VERIFIED'}: {result['format']}, "
            f"{result['size_bytes'] / 1e6:.1f} MB, {result['metric_name']} {result['metric']:.4f} "
            f"(before {result['reference_metric']:.4f}), {result['latency_ms']:.1f} ms a batch "
            f"(before {result['reference_latency_ms']:.1f})"
        )
        print(f"  folder: {result['directory']}")
    return result


def _script(arguments: argparse.Namespace, workspace: Path) -> Any:
    from studio.takeaway.script import save_script

    out = Path(arguments.out).expanduser().absolute()
    save_script(find_run(workspace, arguments.run), out)
    return _say_file(out, arguments)


def _spec(arguments: argparse.Namespace, workspace: Path) -> Any:
    from studio.takeaway.spec_file import save_spec

    out = Path(arguments.out).expanduser().absolute()
    save_spec(find_run(workspace, arguments.run), out, arguments.resolved)
    return _say_file(out, arguments)


def _report(arguments: argparse.Namespace, workspace: Path) -> Any:
    run, out = find_run(workspace, arguments.run), Path(arguments.out).expanduser().absolute()
    try:
        from studio.ui.report.document import save_report
    except ImportError as error:
        raise Failure("qt-libraries", message=str(error), packages=_PACKAGES) from error
    try:
        save_report(run, out)
    except OSError as error:
        raise Failure("workspace-unwritable", path=str(out), message=error.strerror or str(error)) from error
    return _say_file(out, arguments)


def _say_file(file: Path, arguments: argparse.Namespace) -> dict[str, str]:
    if not arguments.json:
        print(file)
    return {"file": str(file)}


def _runs(arguments: argparse.Namespace, workspace: Path) -> Any:
    from studio.core.files import read_json
    from studio.core.registry import parse_config
    from studio.tasks.base import task_of

    rows = []
    for run in list_runs(workspace):
        summary = read_summary(run)
        task = (read_json(run.spec_file) or {}).get("task")
        metric = summary.metric.get(task_of(parse_config("tasks", task)).main_metric) if task else None
        rows.append({"run": run.id, "state": summary.state, "name": summary.name, "metric": metric})
        if not arguments.json:
            shown = f"{metric:.4f}" if metric is not None else ""
            print(f"{run.id}  {summary.state:<9} {summary.name:<24} {shown}")
    if not rows and not arguments.json:
        print(f"No runs in {workspace} yet. `attune demo --no-window` makes the first.")
    return {"runs": rows}


def _doctor(arguments: argparse.Namespace, workspace: Path) -> Any:
    from studio.doctor import examine

    findings = examine(workspace)
    if not arguments.json:
        for row in findings["checks"]:
            print(f"{'✔' if row['ok'] else '✘'} {row['name']}: {row['value']}")
    else:
        print(json.dumps(findings, ensure_ascii=False))
    return 0 if all(row["ok"] for row in findings["checks"]) else 1


def _demo(arguments: argparse.Namespace, workspace: Path) -> Any:
    from studio import demo

    if not arguments.no_window:
        if demo.has_display():
            return _open_window(workspace, demo=True)
        print("There is no display; the demo goes on without a window.", file=sys.stderr)
    return demo.run_without_window(workspace, execute, quiet=arguments.json)


def _window(arguments: argparse.Namespace, workspace: Path) -> Any:
    from studio.demo import has_display

    if not has_display():
        raise Failure("no-display", packages=_PACKAGES)
    return _open_window(workspace)


_PACKAGES = "libegl1 libgl1 libxkbcommon0 libdbus-1-3 libfontconfig1 libglib2.0-0 libxcb-cursor0 libxcb-icccm4"


def _open_window(workspace: Path, demo: bool = False) -> int:
    try:
        from studio.ui.app import run
    except ImportError as error:
        raise Failure("qt-libraries", message=str(error), packages=_PACKAGES) from error
    return run(workspace, demo=demo)


def _pictures(arguments: argparse.Namespace, workspace: Path) -> Any:
    from studio.ui.pictures import take_pictures

    width, height = (int(n) for n in arguments.size.split("x"))
    files = take_pictures(
        workspace, Path(arguments.out), arguments.run, arguments.theme, (width, height), arguments.scale
    )
    if not arguments.json:
        print("\n".join(files))
    return {"files": files}


class _Parser(argparse.ArgumentParser):
    """Reports a wrong command line as any other failure, so that --json has its object."""

    def error(self, message: str) -> NoReturn:
        raise Failure("usage", message=message[:1].upper() + message[1:] + ".", command=self.prog)


def _parser() -> argparse.ArgumentParser:
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--workspace", metavar="DIR", help="where runs lie (ATTUNE_WORKSPACE, or ~/Attune)")
    common.add_argument("--json", action="store_true", help="the last line of stdout is one JSON object")
    common.add_argument("--debug", action="store_true", help="show tracebacks")
    parser = _Parser("attune", description="Fine-tune transformers on your own computer.", parents=[common])
    parser.add_argument("--version", action="version", version=f"attune {__version__}")
    parser.set_defaults(execute=_window)
    commands = parser.add_subparsers(metavar="COMMAND")

    def add(name: str, function: Any, help: str) -> argparse.ArgumentParser:
        # Options given before the command keep their value: a subparser's own default would undo them.
        command = commands.add_parser(name, help=help, description=help, parents=[_without_defaults(common)])
        command.set_defaults(execute=function)
        return command

    demo = add("demo", _demo, "do the main job on the sample: train, evaluate, inspect, export")
    demo.add_argument("--no-window", action="store_true", help="in the terminal")
    train = add("train", _train, "fine-tune what a spec asks for")
    train.add_argument("spec", metavar="SPEC")
    train.add_argument("--queue", action="store_true", help="after what waits already; returns at once")
    queue_commands.add_options(add("queue", queue_commands.execute, "train what waits, one run after the other"))
    add("resume", _resume, "go on with a run from its last checkpoint").add_argument("run", metavar="RUN")
    evaluate = add("evaluate", _evaluate, "measure a trained run")
    evaluate.add_argument("run", metavar="RUN")
    evaluate.add_argument("--data", metavar="FILE", help="a file instead of the run's own test part")
    evaluate.add_argument("--checkpoint", type=int, metavar="STEP", help="a checkpoint instead of the kept model")
    evaluate.add_argument("--against", metavar="RUN", help="another run, compared on the same rows")
    evaluate.add_argument("--split", choices=["train", "validation", "test"], default="test")
    predict = add("predict", _predict, "label the rows of a file")
    predict.add_argument("run", metavar="RUN")
    predict.add_argument("--data", metavar="FILE", required=True)
    predict.add_argument("--out", metavar="FILE", required=True, help=".csv, .jsonl or .parquet")
    inspect_command.add_options(add("inspect", _inspect, "write the attention maps of a text"))
    export = add("export", _export, "write a trained run for other programs, and verify it")
    export.add_argument("run", metavar="RUN")
    export.add_argument("--format", required=True, metavar="NAME")
    export.add_argument("--out", metavar="DIR", required=True)
    script = add("script", _script, "save a training as one Python file that runs without Attune")
    spec = add("spec", _spec, "save a run's spec as a file")
    report = add("report", _report, "write a training's report as PDF")
    for command in (script, spec, report):
        command.add_argument("run", metavar="RUN")
        command.add_argument("--out", metavar="FILE", required=True)
    spec.add_argument("--resolved", action="store_true", help="with what was picked for each automatic setting")
    add("runs", _runs, "list the runs of the workspace")
    add("doctor", _doctor, "check this installation")
    pictures = add("pictures", _pictures, "make a picture of every page")
    pictures.add_argument("--out", metavar="DIR", required=True)
    pictures.add_argument("--run", metavar="RUN", default="last")
    pictures.add_argument("--theme", choices=["light", "dark"], default="light")
    pictures.add_argument("--size", default="1280x800", type=_size, metavar="WxH")
    pictures.add_argument("--scale", default=1.0, type=float)
    return parser


def _size(text: str) -> str:
    width, _, height = text.partition("x")
    if not (width.isdigit() and height.isdigit()):
        raise argparse.ArgumentTypeError("write the size as WIDTHxHEIGHT, such as 1024x640")
    return text


def _without_defaults(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    copy = argparse.ArgumentParser(add_help=False)
    for action in parser._actions:
        kwargs: dict[str, Any] = {"default": argparse.SUPPRESS, "help": action.help}
        if isinstance(action, argparse._StoreTrueAction):
            kwargs["action"] = "store_true"
        else:
            kwargs["metavar"] = action.metavar
        copy.add_argument(*action.option_strings, **kwargs)
    return copy
