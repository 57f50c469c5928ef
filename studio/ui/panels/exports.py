"""What has been exported of a trained run, read from the files of the runs."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from studio.core.files import read_json
from studio.core.reasons import Failure
from studio.core.replay import read_end
from studio.core.rundir import RunDir, find_run, list_runs
from studio.core.state import RunState


@dataclass(frozen=True)
class Export:
    """One export run: where it wrote, and how it ended."""

    run_id: str
    format: str
    directory: Path
    state: RunState
    readme: str = ""

    @property
    def result(self) -> dict[str, Any]:
        return self.state.result

    @property
    def is_verified(self) -> bool:
        """Whether the run ended and its own result says so; nothing else counts."""
        return self.state.state == "finished" and self.result.get("verified") is True

    @property
    def is_measured(self) -> bool:
        """Whether it has numbers to compare, whatever they say."""
        return "size_bytes" in self.result


def read_exports(workspace: Path, run_id: str) -> list[Export]:
    """Return the exports of a trained run but those that were stopped and wrote nothing, newest first; reads files."""
    trained = RunDir(workspace / "runs" / run_id)
    found = []
    for run in list_runs(workspace):
        if "-export-" not in run.id:
            continue
        spec = read_json(run.spec_file) or {}
        try:
            if find_run(workspace, str(spec.get("run"))).id != trained.id:
                continue
        except Failure:
            continue
        found.append(read_export(run, spec))
    return [export for export in found if export.state.state != "stopped"]


def read_export(run: RunDir, spec: dict[str, Any]) -> Export:
    """Return one export from its run's log and the folder that it wrote."""
    state = read_end(run)
    directory = Path(spec.get("out", ""))
    try:
        readme = (directory / "README.md").read_text(encoding="utf-8")
    except OSError:
        readme = ""
    kind = (spec.get("format") or {}).get("kind", "")
    return Export(run.id, kind, directory, state, readme)


def default_folder(workspace: Path, run_name: str, format_id: str) -> Path:
    """Return a folder of the workspace that is free for an export: `exports/<run>-<format>`, numbered if taken."""
    base = re.sub(r'[<>:"/\\|?*\x00-\x1f\s]+', "-", f"{run_name}-{format_id}").strip("-. ")
    folder, n = workspace / "exports" / base, 2
    while is_taken(folder):
        folder, n = workspace / "exports" / f"{base}-{n}", n + 1
    return folder


def is_taken(folder: Path) -> bool:
    """Return whether a folder can't be exported to, because something lies there."""
    return folder.exists() and (not folder.is_dir() or any(folder.iterdir()))


def usage_code(readme: str) -> str:
    """Return the first block of code of a README: how the exported model is used."""
    found = re.search(r"^```[\w-]*\n(.*?)^```", readme, re.DOTALL | re.MULTILINE)
    return found[1].strip("\n") if found else ""
