"""What the window reads in the background: the rows of a data set, and what they are."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from studio.core.reasons import Failure, Problem
from studio.core.registry import PluginConfig, family


@dataclass(frozen=True)
class Rows:
    """An opened data set: `table` (sources.tables.OpenedTable), task, roles of columns, what was found, labels."""

    table: Any
    task: PluginConfig
    columns: dict[str, str]
    findings: list[Problem]
    labels: list[str]


def read_rows(config: PluginConfig, workspace: Path, task: Any, wanted: dict[str, str]) -> Rows:
    """Return the rows of a source; columns in `wanted` that exist keep their roles, else roles are guessed.

    task: None where it is to be guessed. Raises Failure as `sources.tables.open_table`.
    """
    from studio.sources.tables import open_table

    opened = open_table(config, workspace)
    task = task or guess_task(opened.table)
    kept = {role: name for role, name in wanted.items() if name in opened.table.column_names}
    columns = kept or task.guess_roles(opened.table)
    return Rows(opened, task.config, columns, *look_at(task, opened.table, columns))


def guess_task(table: Any) -> Any:
    """Return the task that a table is made for: the first one that says so, else the first of all."""
    tasks = list(family("tasks").values())
    return next((task for task in tasks if task.suits(table)), tasks[0])


def look_at(task: Any, table: Any, columns: dict[str, str]) -> tuple[list[Problem], list[str]]:
    """Return what a task finds in the rows, and their labels (two while unknown)."""
    problems = task.check(table, columns)
    known = all(role.is_optional or columns.get(role.id) in table.column_names for role in task.roles)
    gold = task.rows(table, columns).gold if known else []
    return problems, task.labels([each for each in gold if each is not None]) if known else ["", ""]


def problem_of(error: Exception) -> Problem:
    """Return an exception as a problem."""
    if isinstance(error, Failure):
        return error.problem
    return Problem("unexpected", {"reason": type(error).__name__, "message": str(error)})
