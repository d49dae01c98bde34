"""Names in backticks in docstrings and comments, and whether anything has them.

What stands in single backticks is a name that a reader can look up (double ones hold code and
values): a parameter or attribute nearby, something of the module, a class or constant of the
package, a dotted path to anything else, or a file.
"""

from __future__ import annotations

import ast
import builtins
import importlib
import io
import keyword
import re
import tokenize
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import vstore

if TYPE_CHECKING:
    from collections.abc import Iterator

PACKAGE = Path(vstore.__file__).parent
QUOTED = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")
DOTTED = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")
FILE = re.compile(r"[\w./-]+(\.py|\.md|/)|[\w-]+(/[\w.-]+)+")
ABBREVIATIONS = {"np": "numpy", "ma": "numpy.ma", "concurrent": "concurrent.futures"}

Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


class Quotation(NamedTuple):
    """A name in backticks: where it stands, and inside what."""

    name: str
    line: int
    inside: tuple[Definition, ...]  # outermost first


class Module:
    """A module of the package, as it is written."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.text = path.read_text("utf-8")
        self.tree = ast.parse(self.text)
        self.name = (".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts)).removesuffix(
            ".__init__"
        )

    @cached_property
    def imported(self) -> dict[str, str]:
        """Full names by the name that they are imported under, also for types alone."""
        found: dict[str, str] = {}
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                found |= {(a.asname or a.name).split(".")[0]: a.name for a in node.names}
            elif isinstance(node, ast.ImportFrom):
                found |= {a.asname or a.name: f"{node.module}.{a.name}" for a in node.names}
        return found

    @cached_property
    def own(self) -> dict[str, ast.AST]:
        """Definitions and assignments at the top of the module, also under an ``if``."""
        found: dict[str, ast.AST] = {}
        todo = list(self.tree.body)
        while todo:
            node = todo.pop()
            found |= dict.fromkeys(bound_names(node), node)
            if isinstance(node, ast.If | ast.Try | ast.With):
                todo += [
                    inner for inner in ast.iter_child_nodes(node) if isinstance(inner, ast.stmt)
                ]
        return found

    def quotations(self) -> Iterator[Quotation]:
        """Yield what docstrings and comments quote."""
        chains = list(definitions(self.tree))
        for tree, inside in ((self.tree, ()), *((chain[-1], chain) for chain in chains)):
            docstring = ast.get_docstring(tree, clean=False) or ""
            for found in QUOTED.finditer(docstring):
                line = tree.body[0].lineno + docstring[: found.start()].count("\n")
                yield Quotation(found[1], line, inside)
        for token in tokenize.generate_tokens(io.StringIO(self.text).readline):
            if token.type == tokenize.COMMENT and "`" in token.string:
                at = token.start[0]
                around = [c for c in chains if c[-1].lineno <= at <= (c[-1].end_lineno or 0)]
                inside = max(around, key=len, default=())
                for found in QUOTED.finditer(token.string):
                    yield Quotation(found[1], at, inside)


def definitions(
    node: ast.AST, inside: tuple[Definition, ...] = ()
) -> Iterator[tuple[Definition, ...]]:
    """Yield the functions and classes in a tree, each after those that it is inside of."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, Definition):
            yield (*inside, child)
            yield from definitions(child, (*inside, child))
        else:
            yield from definitions(child, inside)


def bound_names(node: ast.AST) -> list[str]:
    """Return the names that a statement gives something."""
    if isinstance(node, Definition):
        return [node.name]
    if isinstance(node, ast.Assign):
        return [n.id for t in node.targets for n in ast.walk(t) if isinstance(n, ast.Name)]
    if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
        return [node.target.id]
    return []


def parameters(node: Definition) -> set[str]:
    """Return a function's parameters and local names, or those of what makes a class's objects."""
    if isinstance(node, ast.ClassDef):
        made = [inner for inner in node.body if bound_names(inner) in (["__init__"], ["__new__"])]
        return {name for inner in made for name in parameters(inner)}  # type: ignore[arg-type]
    found = {argument.arg for argument in ast.walk(node.args) if isinstance(argument, ast.arg)}
    return found | {
        inner.id
        for inner in ast.walk(node)
        if isinstance(inner, ast.Name) and isinstance(inner.ctx, ast.Store)
    }


class Package:
    """All modules of the package, to look names up in."""

    def __init__(self) -> None:
        self.modules = {m.name: m for m in map(Module, sorted(PACKAGE.rglob("*.py")))}
        self.classes: dict[str, list[tuple[Module, ast.ClassDef]]] = {}
        self.constants: set[str] = set()
        for module in self.modules.values():
            for name, node in module.own.items():
                if isinstance(node, ast.ClassDef):
                    self.classes.setdefault(name, []).append((module, node))
                elif name.isupper() and not name.startswith("_"):
                    self.constants.add(name)
        self.paths = {
            ".".join(parts[start:])
            for name in self.modules
            for parts in [name.split(".")]
            for start in range(len(parts))
        }

    def members(self, name: str) -> set[str]:
        """Return what objects of a class have: methods, fields, and what methods set on them."""
        found: set[str] = set()
        for _, node in self.classes.get(name, ()):
            for statement in node.body:
                found |= set(bound_names(statement))
            for inner in ast.walk(node):
                if isinstance(inner, ast.Attribute) and isinstance(inner.ctx, ast.Store):
                    found.add(inner.attr)
                elif isinstance(inner, ast.If):
                    found |= {n for one in ast.walk(inner) for n in bound_names(one)}
            for base in node.bases:
                found |= self.members(ast.unparse(base).rsplit(".", 1)[-1])
        return found

    def knows(self, quoted: Quotation, module: Module) -> bool:
        """Return whether a name can be looked up from where it stands."""
        if FILE.fullmatch(quoted.name):
            places = (module.path.parent, PACKAGE, PACKAGE.parent)
            return any((place / quoted.name).exists() for place in places)
        if not DOTTED.fullmatch(quoted.name):
            return True  # code, which the type checker cannot see either
        first, *rest = quoted.name.split(".")
        return (
            self._knows_nearby(first, rest, quoted, module)
            or self._knows_path(quoted.name, module)
            or is_elsewhere(quoted.name, module)
        )

    def _knows_nearby(self, first: str, rest: list[str], quoted: Quotation, module: Module) -> bool:
        if any(first in parameters(node) for node in quoted.inside):
            return True  # with attributes, whose types nobody knows here
        if rest:
            return False
        classes = [node.name for node in quoted.inside if isinstance(node, ast.ClassDef)]
        return (
            any(first in self.members(name) for name in classes)
            or first in module.own
            or first in module.imported
            or first in self.classes
            or first in self.constants
            or first in vstore.__all__
            or first in self.paths
        )

    def _knows_path(self, name: str, module: Module) -> bool:
        if name in self.paths:
            return True
        parts = name.split(".")
        if len(parts) == 2 and parts[0] in self.classes:
            return parts[1] in self.members(parts[0])
        for end in range(1, len(parts)):
            path, rest = ".".join(parts[:end]), parts[end:]
            for found in self.modules.values():
                if (
                    not f".{found.name}".endswith(f".{path}")
                    and module.imported.get(path) != found.name
                ):
                    continue
                if rest[0] in found.own or (found.name == "vstore" and rest[0] in vstore.__all__):
                    return len(rest) == 1 or rest[1] in self.members(rest[0])
        return False


def is_elsewhere(name: str, module: Module) -> bool:
    """Return whether Python, NumPy or another library that is installed has a name."""
    if hasattr(builtins, name) or keyword.iskeyword(name):
        return True
    first, *rest = name.split(".")
    full = ABBREVIATIONS.get(first, module.imported.get(first, first))
    if full.partition(".")[0] == "vstore":
        return False
    try:
        found: object = importlib.import_module(full)
    except ImportError:
        return False
    for part in rest:
        if not hasattr(found, part) and part != full.rpartition(".")[2]:
            return False
        found = getattr(found, part, found)
    return True
