"""From a spec to rows that a model can train on: reading and splitting."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from studio.core.reasons import Failure, Problem
from studio.core.registry import PluginConfig, plugin
from studio.core.spec import DataSpec, TrainSpec
from studio.sources.tables import OpenedTable, content_hash, open_table
from studio.sources.texts import Texts, digest


@dataclass(frozen=True)
class Rows:
    """The rows of one part of the split: texts, gold labels ("" where there is none) and their place in the file."""

    texts: Texts
    labels: list[str]
    indices: list[int]

    def __len__(self) -> int:
        return len(self.texts)


def workspace_of(run_path: Path) -> Path:
    """Return the workspace that a run's folder belongs to."""
    return run_path.parent.parent


def read_parts(spec: TrainSpec, workspace: Path) -> tuple[dict[str, Rows], list[Problem], dict[str, str]]:
    """Return the rows of train, validation and test, what a person should know, and the files' hashes by path.

    Rows without text or label are left out. Raises Failure for what makes training impossible.
    """
    task = plugin("tasks", spec.task)
    opened = open_columns(spec.data.train, spec.columns, workspace)
    columns = column_names(spec.columns, opened.table)
    problems = opened.problems + task.check(opened.table, columns)
    raise_first(problems)
    hashes = {opened.config.path: opened.content_hash}
    everything = _used_rows(task, opened.table, columns)
    parts = split_rows(everything, spec.data)
    known, trained = set(parts["train"].labels), set(map(digest, parts["train"].texts))
    for name in ("validation", "test"):
        source = getattr(spec.data, name)
        if isinstance(source, PluginConfig):
            parts[name], found = read_file(source, spec, workspace, gold=True)
            if not len(parts[name]):
                raise Failure("split-empty", f"data.{name}", split=name)
            problems += found
            hashes[source.path] = content_hash(Path(source.path))
        shared = len(set(map(digest, parts[name].texts)) & trained)
        if shared:
            problems.append(Problem("shared-rows", {"n_rows": shared, "split": name}))
        unknown = sorted(set(parts[name].labels) - known)
        if unknown:
            raise Failure("unknown-labels", f"data.{name}", split=name, labels=", ".join(unknown[:5]))
    return parts, problems, hashes


def raise_first(problems: list[Problem]) -> None:
    """Raise the first problem that belongs to a field as a Failure; the others are only worth knowing."""
    for problem in problems:
        if problem.field:
            raise Failure(problem.reason, problem.field, **problem.facts)


def read_file(source: PluginConfig, spec: TrainSpec, workspace: Path, gold: bool) -> tuple[Rows, list[Problem]]:
    """Return the rows of a file with the columns of a spec, and what a person should know of them.

    gold: rows without text or label are left out; else all rows stay, and the label column may be missing.
    """
    task = plugin("tasks", spec.task)
    opened = open_columns(source, spec.columns, workspace)
    if gold:
        rows = _used_rows(task, opened.table, column_names(spec.columns, opened.table))
        n_out = opened.table.num_rows - len(rows)
        name = Path(source.path).name
        left_out = [Problem("rows-left-out", {"n_rows": n_out, "name": name})] if n_out else []
        return rows, opened.problems + left_out
    wanted = {r: c for r, c in spec.columns.items() if r == "text" or str(c) in opened.table.column_names}
    texts, labels = task.rows(opened.table, column_names(wanted, opened.table))
    return Rows(texts, labels, list(range(len(texts)))), opened.problems


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


def _used_rows(task: Any, table: Any, columns: dict[str, str]) -> Rows:
    texts, labels = task.rows(table, columns)
    used = [i for i, (text, label) in enumerate(zip(texts, labels, strict=True)) if text and label]
    return Rows(texts.select(used), [labels[i] for i in used], used)


def split_rows(rows: Rows, spec: DataSpec) -> dict[str, Rows]:
    """Return the parts of a stratified split; copies of a text stay in one part, rare labels in train.

    A share of 0 or a source of its own takes no rows. Raises Failure "split-empty".
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
    same = [first.setdefault(digest(text), i) for i, text in enumerate(rows.texts)]
    groups = np.array(sorted(first.values()), dtype=int)
    counts = Counter(rows.labels[i] for i in groups)
    movable = np.array([i for i in groups if counts[rows.labels[i]] > len(shares)], dtype=int)
    owner: dict[int, str] = {}
    for name, share in shares.items():
        n = round(share * len(groups))
        if n == 0 or n >= len(movable):
            raise Failure("split-empty", f"data.{name}", split=name)
        labels = [rows.labels[i] for i in movable]
        fits = n >= len(set(labels)) and len(movable) - n >= len(set(labels)) and min(Counter(labels).values()) > 1
        kept, taken = train_test_split(movable, test_size=n, random_state=spec.seed, stratify=labels if fits else None)
        owner.update(dict.fromkeys(taken.tolist(), name))
        movable = np.sort(kept)
    part_of = [owner.get(i, "train") for i in same]
    return {name: _select(rows, [i for i, p in enumerate(part_of) if p == name]) for name in _PARTS}


_PARTS = ("train", "validation", "test")


def _select(rows: Rows, chosen: Sequence[int]) -> Rows:
    return Rows(rows.texts.select(chosen), [rows.labels[i] for i in chosen], [rows.indices[i] for i in chosen])
