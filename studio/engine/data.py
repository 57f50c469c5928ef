"""From a spec to rows that a model can train on: reading and splitting."""

from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from studio.core.reasons import Failure, Problem
from studio.core.registry import PluginConfig
from studio.core.spec import DataSpec, TrainSpec
from studio.sources.tables import OpenedTable, content_hash, open_table
from studio.tasks.base import Rows, task_of


def workspace_of(run_path: Path) -> Path:
    """Return the workspace that a run's folder belongs to."""
    return run_path.parent.parent


def read_parts(spec: TrainSpec, workspace: Path) -> tuple[dict[str, Rows], list[Problem], dict[str, str]]:
    """Return the rows of train, validation and test, what a person should know, and the files' hashes by path.

    Rows that lack what the task needs are left out. Raises Failure for what makes training impossible.
    """
    task = task_of(spec.task)
    opened = open_columns(spec.data.train, spec.columns, workspace)
    columns = column_names(spec.columns, opened.table)
    problems = opened.problems + task.check(opened.table, columns)
    raise_first(problems)
    hashes = {opened.config.path: opened.content_hash}
    parts = split_rows(task, _complete_rows(task, opened.table, columns), spec.data)
    labels, trained = task.labels(parts["train"].gold), set(parts["train"].digests())
    for name in ("validation", "test"):
        source = getattr(spec.data, name)
        if isinstance(source, PluginConfig):
            parts[name], found = read_file(source, spec, workspace, gold=True)
            if not len(parts[name]):
                raise Failure("split-empty", f"data.{name}", split=name)
            problems += found
            hashes[source.path] = content_hash(Path(source.path))
        shared = len(set(parts[name].digests()) & trained)
        if shared:
            problems.append(Problem("shared-rows", {"n_rows": shared, "split": name}))
        unknown = task.unknown(parts[name].gold, labels)
        if unknown:
            raise Failure("unknown-labels", f"data.{name}", split=name, labels=", ".join(unknown[:5]))
    return parts, problems, hashes


def slice_columns(spec: TrainSpec, part: PluginConfig | str, rows: Rows, workspace: Path) -> dict[str, list[str]]:
    """Return what puts rows in groups: each row's value by column, of the columns that have no role and few values.

    part: the split or the source that the rows are of. The length of the texts, in four groups, is one of them.
    """
    source = part if isinstance(part, PluginConfig) else getattr(spec.data, part)
    source = source if isinstance(source, PluginConfig) else spec.data.train
    table = open_columns(source, spec.columns, workspace).table.take(list(rows.indices))
    found = {}
    for name in table.column_names:
        values = [str(value or "").strip() for value in table[name].to_pylist()]
        counts = Counter(value for value in values if value)
        enough = [value for value, n in counts.items() if n >= _LEAST_OF_GROUP]
        if name not in map(str, spec.columns.values()) and len(enough) >= 2 and len(counts) <= _MOST_GROUPS:
            found[name] = values
    words = np.array([sum(len(text.split()) for text in each) for each in zip(*rows.fields.values(), strict=True)])
    edges = np.unique(np.quantile(words, [0.25, 0.5, 0.75]).astype(int)) if len(words) >= 4 * _LEAST_OF_GROUP else []
    if len(edges) == 3:
        names = [f"up to {edges[0]}", *(f"{a + 1} to {b}" for a, b in pairwise(edges)), f"over {edges[2]}"]
        found["length in words"] = [names[i] for i in np.searchsorted(edges, words)]
    return found


def raise_first(problems: list[Problem]) -> None:
    """Raise the first problem that belongs to a field as a Failure; the others are only worth knowing."""
    for problem in problems:
        if problem.field:
            raise Failure(problem.reason, problem.field, **problem.facts)


def read_file(source: PluginConfig, spec: TrainSpec, workspace: Path, gold: bool) -> tuple[Rows, list[Problem]]:
    """Return the rows of a file with the columns of a spec, and what a person should know of them.

    gold: rows that lack what the task needs are left out; else all rows stay, and columns of gold may be missing.
    """
    task = task_of(spec.task)
    opened = open_columns(source, spec.columns, workspace)
    if gold:
        rows = _complete_rows(task, opened.table, column_names(spec.columns, opened.table))
        n_out = opened.table.num_rows - len(rows)
        name = Path(source.path).name
        left_out = [Problem("rows-left-out", {"n_rows": n_out, "name": name})] if n_out else []
        return rows, opened.problems + left_out
    may_lack = task.may_lack()
    wanted = {r: c for r, c in spec.columns.items() if r not in may_lack or str(c) in opened.table.column_names}
    return task.rows(opened.table, column_names(wanted, opened.table)), opened.problems


def open_columns(source: PluginConfig, columns: dict[str, str | int], workspace: Path) -> OpenedTable:
    """Open a source; columns given by number mean that the file has no header line."""
    if any(isinstance(c, int) for c in columns.values()) and hasattr(source, "header"):
        source = source.model_copy(update={"header": False})
    return open_table(source, workspace)


def column_names(columns: dict[str, str | int], table: Any) -> dict[str, str]:
    """Return the columns of a spec by name, checked against the table. Raises Failure "column-missing".

    A number is the place of a column where the file names its columns, as plain text does.
    """
    found = table.column_names
    names = {role: str(column) for role, column in columns.items()}
    for role, column in columns.items():
        if isinstance(column, int) and str(column) not in found and 0 <= column < len(found):
            names[role] = found[column]
    for role, name in names.items():
        if name not in table.column_names:
            facts = {"column": name, "columns": ", ".join(table.column_names)}
            raise Failure("column-missing", f"columns.{role}", **facts)
    return names


def _complete_rows(task: Any, table: Any, columns: dict[str, str]) -> Rows:
    rows = task.rows(table, columns)
    return rows.select(task.complete(rows))


def split_rows(task: Any, rows: Rows, spec: DataSpec) -> dict[str, Rows]:
    """Return the parts of a split, stratified where the task has labels; what the task groups stays in one part.

    A share of 0 or a source of its own takes no rows. Raises Failure "split-empty" or "split-together".
    """
    from sklearn.model_selection import train_test_split

    shares = {
        name: share
        for name in ("validation", "test")
        if isinstance(share := getattr(spec, name), float | int) and share
    }
    if sum(shares.values()) >= 1:
        raise Failure("split-empty", "data.test", split="train")
    first: dict[bytes, int] = {}
    same = [first.setdefault(group, i) for i, group in enumerate(task.groups(rows))]
    groups = np.array(sorted(first.values()), dtype=int)
    strata = task.strata(rows)
    counts = Counter(strata[i] for i in groups) if strata else Counter()
    # Of a label that few rows have all stay in train.
    movable = np.array([i for i in groups if not strata or counts[strata[i]] > len(shares)], dtype=int)
    owner: dict[int, str] = {}
    for name, share in shares.items():
        n = round(share * len(groups))
        if (n == 0 or n >= len(movable)) and round(share * len(rows)) and len(groups) < len(rows):
            facts = {"split": name, "n_rows": len(rows), "n_groups": len(groups)}
            raise Failure("split-together", f"data.{name}", **facts)
        if n == 0 or n >= len(movable):
            raise Failure("split-empty", f"data.{name}", split=name)
        labels = [strata[i] for i in movable] if strata else None
        n_labels = len(set(labels or ()))
        fits = labels and n >= n_labels and len(movable) - n >= n_labels and min(Counter(labels).values()) > 1
        kept, taken = train_test_split(movable, test_size=n, random_state=spec.seed, stratify=labels if fits else None)
        owner.update(dict.fromkeys(taken.tolist(), name))
        movable = np.sort(kept)
    part_of = [owner.get(i, "train") for i in same]
    return {name: rows.select([i for i, p in enumerate(part_of) if p == name]) for name in _PARTS}


_PARTS = ("train", "validation", "test")
_LEAST_OF_GROUP, _MOST_GROUPS = 10, 12  # rows, and values of a column that still puts them in groups
