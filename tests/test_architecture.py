"""The rules of the house: who imports whom, what a window never loads, and what a README must tell."""

import ast
import re
import subprocess
import sys
from pathlib import Path

from studio.core.registry import family
from studio.supervisor import environment

ROOT = Path(__file__).parents[1]


def run(*arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True, env=environment())


def test_imports_keep_to_the_contracts() -> None:
    code = (
        "import sys; from importlinter.cli import lint_imports_command; sys.exit(lint_imports_command(['--no-cache']))"
    )
    done = run("-c", code)
    assert done.returncode == 0, done.stdout + done.stderr


def test_code_is_clean() -> None:
    for arguments in (["check", "."], ["format", "--check", "studio"]):
        done = run("-m", "ruff", *arguments, "--no-cache")
        assert done.returncode == 0, done.stdout + done.stderr


def test_window_and_all_plugin_listings_load_nothing_heavy() -> None:
    code = """
import sys, pkgutil, importlib
from studio.core.registry import family
for name in ("sources", "tasks", "methods", "exporters"):
    family(name)
import studio.ui, studio.ui.panels, studio.ui.views, studio.ui.widgets, studio.supervisor
for package in (studio.ui, studio.ui.panels, studio.ui.views, studio.ui.widgets):
    for found in pkgutil.iter_modules(package.__path__, package.__name__ + "."):
        importlib.import_module(found.name)
print(sorted({"torch", "transformers", "datasets", "peft", "sklearn", "onnxruntime"} & set(sys.modules)))
"""
    done = run("-c", code)
    assert done.stdout.strip() == "[]", done.stdout + done.stderr


def test_only_the_worker_side_imports_transformers_at_the_top() -> None:
    heavy = {"torch", "transformers", "datasets", "peft", "sklearn"}
    found = []
    for path in (ROOT / "studio").rglob("*.py"):
        for node in ast.parse(path.read_text("utf-8")).body:
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            if heavy & {name.split(".")[0] for name in names}:
                found.append(path.relative_to(ROOT).as_posix())
    names = ("kernels", "own_trainer", "passes", "trainer", "trunk")
    assert set(found) == {f"studio/engine/{name}.py" for name in names}


def test_ci_runs_the_command_that_the_readme_gives() -> None:
    readme, ci = (ROOT / "README.md").read_text("utf-8"), (ROOT / ".ci" / "run").read_text("utf-8")
    command = ci.strip().splitlines()[-1]
    assert command.endswith("-m pytest") and command in readme
    packages = re.search(r"apt-get install -y (.+)", readme)[1].split()
    assert set(packages) <= set(re.findall(r"[\w.+-]+", ci))


def test_readme_names_every_plugin_and_command() -> None:
    readme = (ROOT / "README.md").read_text("utf-8")
    ids = [plugin.id for name in ("sources", "tasks", "methods", "exporters") for plugin in family(name).values()]
    commands = ["demo", "train", "queue", "resume", "evaluate", "predict", "inspect", "export", "runs", "doctor"]
    commands += ["pictures", "script", "spec", "report"]
    assert [i for i in ids if f"`{i}`" not in readme] == []
    assert [c for c in commands if f"attune {c}" not in readme] == []


def test_project_speaks_of_itself_alone() -> None:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    names = listed.stdout.split("\n") if listed.returncode == 0 else []
    foreign = re.compile(r"(?<![\w.])/(?:work|root|home/\w+|tmp/att)/")
    texts = [ROOT / n for n in names if n.endswith((".py", ".md", ".toml", ".json", ".txt", ".csv")) or n == ".ci/run"]
    assert [p.name for p in texts if p.is_file() and p != Path(__file__) and foreign.search(p.read_text("utf-8"))] == []
