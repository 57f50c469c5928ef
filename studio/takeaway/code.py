"""Pieces of Attune's own source with all that they need, as text that stands without Attune."""

import ast
import importlib.util
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache

Node = ast.stmt
_NOTES = re.compile(r"\s+# (noqa|fmt)\b.*$", re.M)  # to tools that the taker does not have


@dataclass(frozen=True)
class Module:
    """A module's text, and its top-level statements by the names that they bind."""

    name: str
    lines: list[str]
    body: list[Node]
    bound: dict[str, Node]

    def text(self, node: ast.AST, first: int | None = None) -> str:
        """Return the lines of a statement with its decorators and the comments right above it."""
        decorators = getattr(node, "decorator_list", [])
        start = min([node.lineno, *(d.lineno for d in decorators)]) - 1 if first is None else first
        while start and self.lines[start - 1].lstrip().startswith("#"):
            start -= 1
        return _NOTES.sub("", "\n".join(self.lines[start : node.end_lineno]))


@cache
def read_module(name: str) -> Module:
    """Return the source of a module by its dotted name, without executing it."""
    found = importlib.util.find_spec(name)
    text = found.loader.get_source(name) if found is not None and found.loader is not None else None
    if text is None:
        raise LookupError(f"the source of {name} is not there")
    body = ast.parse(text).body
    bound = {each: node for node in body for each in _binds(node)}
    return Module(name, text.splitlines(), body, bound)


class Bundle:
    """Definitions of Attune's modules and what they use, in an order in which they can be executed.

    given: names that the taker defines otherwise. `imports` and `text` are what came together.
    """

    def __init__(self, given: Iterable[str] = ()):
        self._given = set(given)
        self._owners: dict[str, str] = {}
        self._imports: dict[str, None] = {}
        self._pieces: list[str] = []

    @property
    def imports(self) -> list[str]:
        return list(self._imports)

    @property
    def text(self) -> str:
        return "\n\n\n".join(self._pieces)

    def add(self, module: str, name: str) -> None:
        """Add a top-level definition of a module and all that it uses."""
        source = read_module(module)
        if name not in source.bound:
            raise LookupError(f"{module} has no {name}")
        node = source.bound[name]
        if isinstance(node, ast.Import | ast.ImportFrom):
            self._add_import(source, node, name)
        elif self._claim(name, module):
            self._pieces.append(self._text_with_uses(source, node, [node]))

    def add_module(self, name: str) -> None:
        """Add all of a module, in its order; it must not use others of Attune."""
        source = read_module(name)
        for node in source.body[1:]:  # behind the docstring
            if isinstance(node, ast.Import | ast.ImportFrom):
                for alias in node.names:
                    self._add_import(source, node, alias.asname or alias.name)
                continue
            for each in _binds(node):
                self._claim(each, name)
            self._pieces.append(source.text(node))

    def add_methods(self, module: str, name: str, methods: Iterable[str]) -> None:
        """Add a class with some of its methods alone, and what these use of it."""
        source = read_module(module)
        owner = source.bound.get(name)
        if not isinstance(owner, ast.ClassDef):
            raise LookupError(f"{module} has no class {name}")
        members = {each: node for node in owner.body for each in _binds(node)}
        wanted, waiting, of_bases = set(), list(methods), set()
        while waiting:
            each = waiting.pop()
            if each not in members:
                of_bases.add(each)
            elif each not in wanted:
                wanted.add(each)
                waiting += _used_of_self(members[each])
        kept = [node for each, node in members.items() if each in wanted]
        for base in (use for each in owner.bases for use, _ in _uses(each)):
            node = source.bound.get(base)
            if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "studio":
                self.add_methods(node.module, base, of_bases | set(_used_of_super(kept)))
            elif node is not None and base not in self._given:
                self.add(module, base)
        if self._claim(name, module):
            head = source.text(owner.body[0], owner.lineno - 1)  # up to the docstring
            body = self._text_with_uses(source, owner, kept)
            self._pieces.append(f"{head}\n\n{body}")

    def _text_with_uses(self, source: Module, owner: Node, nodes: list[Node]) -> str:
        """Return the text of some statements, after adding what they use."""
        texts = []
        for node in nodes:
            text = source.text(node)
            for used, attribute in _uses(node):
                if used in self._given or used not in source.bound or source.bound[used] is owner:
                    continue
                module = _module_behind(source.bound[used], used)
                if module is None:
                    self.add(source.name, used)
                elif attribute:
                    self.add(module, attribute)
                    text = re.sub(rf"(?<![\w.]){used}\.{attribute}\b", attribute, text)
            texts.append(text)
        return "\n\n".join(texts)

    def _add_import(self, source: Module, node: ast.Import | ast.ImportFrom, name: str) -> None:
        alias = next(a for a in node.names if (a.asname or a.name).split(".")[0] == name.split(".")[0])
        shown = f"{alias.name} as {alias.asname}" if alias.asname else alias.name
        if isinstance(node, ast.Import):
            self._imports[f"import {shown}"] = None
        elif (node.module or "").split(".")[0] != "studio":
            self._imports[f"from {node.module} import {shown}"] = None
        elif alias.name not in self._given:
            if alias.asname:
                raise LookupError(f"{source.name} imports {alias.name} under another name")
            self.add(node.module, alias.name)

    def _claim(self, name: str, module: str) -> bool:
        """Return whether a definition is new. Raises LookupError where another module's has the same name."""
        owner = self._owners.setdefault(name, module)
        if owner != module:
            raise LookupError(f"{name} is defined in {owner} and in {module}")
        key = f"{module}.{name}"
        is_new = key not in self._owners
        self._owners[key] = module
        return is_new


def _binds(node: Node) -> list[str]:
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return [node.name]
    if isinstance(node, ast.Import | ast.ImportFrom):
        return [(a.asname or a.name).split(".")[0] for a in node.names]
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    return [t.id for t in targets if isinstance(t, ast.Name)]


def _uses(node: ast.AST) -> Iterator[tuple[str, str]]:
    """Yield the names that a statement reads, each with the attribute taken of it ("" for none), but no annotation."""
    if isinstance(node, ast.Import | ast.ImportFrom) and "studio" in ast.unparse(node):
        raise LookupError(f"an import inside of a function: {ast.unparse(node)}")
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
        yield node.value.id, node.attr
    elif isinstance(node, ast.Name):
        yield node.id, ""
    else:
        for name, value in ast.iter_fields(node):
            if name not in ("annotation", "returns"):
                for child in value if isinstance(value, list) else [value]:
                    if isinstance(child, ast.AST):
                        yield from _uses(child)


def _used_of_self(node: Node) -> list[str]:
    return [attribute for name, attribute in _uses(node) if name == "self"]


def _used_of_super(nodes: Iterable[Node]) -> list[str]:
    found = (each for node in nodes for each in ast.walk(node) if isinstance(each, ast.Attribute))
    return [
        each.attr for each in found
        if isinstance(each.value, ast.Call) and ast.unparse(each.value.func) == "super"
    ]  # fmt: skip


def _module_behind(node: Node, name: str) -> str | None:
    """Return the module of Attune that an import binds, or None where it binds something else."""
    if not isinstance(node, ast.ImportFrom) or (node.module or "").split(".")[0] != "studio":
        return None
    dotted = f"{node.module}.{name}"
    package = importlib.util.find_spec(node.module)
    is_package = package is not None and package.submodule_search_locations is not None
    return dotted if is_package and importlib.util.find_spec(dotted) is not None else None
