"""How the package is cut: few modules in a circle, no folder too large, no tower of classes."""

from __future__ import annotations

import ast
import inspect
import re
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import vstore
from tests.quoted_names import Module, Package, Quotation

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

PACKAGE = Path(vstore.__file__).parent
CIRCLE_MAX = 3  # modules that may need each other: a store, its collections, its readers
FOLDER_SHARE_MAX = 0.12  # of the package's lines, without subfolders
TOWER_MAX = 2  # classes of the package above each other that only one subclass has


def module_name(path: Path) -> str:
    """Return the dotted name of a module of the package."""
    name = ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts)
    return name.removesuffix(".__init__")


TREES = {
    module_name(path): ast.parse(path.read_text("utf-8")) for path in sorted(PACKAGE.rglob("*.py"))
}


def imports(tree: ast.AST) -> Iterator[str]:
    """Yield what a module imports: also for types alone, and when it is first used."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                name = f"{node.module}.{alias.name}"
                yield name if name in TREES else str(node.module)
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in {"Deferred", "import_module"}:
            yield from (str(a.value) for a in node.args if isinstance(a, ast.Constant))


def circles(graph: Mapping[str, Iterable[str]]) -> list[list[str]]:
    """Return the sets of nodes that reach each other, largest first; Tarjan 1972, iterative."""
    number: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found = []
    for root in graph:
        if root in number:
            continue
        work = [(root, iter(graph[root]))]
        number[root] = low[root] = len(number)
        stack.append(root)
        while work:
            node, targets = work[-1]
            for target in targets:
                if target not in number:
                    number[target] = low[target] = len(number)
                    stack.append(target)
                    work.append((target, iter(graph[target])))
                    break
                if target in stack:
                    low[node] = min(low[node], number[target])
            else:
                work.pop()
                if work:
                    low[work[-1][0]] = min(low[work[-1][0]], low[node])
                if low[node] == number[node]:
                    start = stack.index(node)
                    found.append(sorted(stack[start:]))
                    del stack[start:]
    return sorted((one for one in found if len(one) > 1), key=lambda one: (-len(one), one))


def import_graph() -> dict[str, list[str]]:
    """Return what each module imports of the package, whose own names are those of others."""
    return {
        name: sorted({found for found in imports(tree) if found in TREES} - {name, "vstore"})
        for name, tree in TREES.items()
        if name != "vstore"
    }


def test_circles_are_found() -> None:
    graph = {"a": ["b"], "b": ["c", "d"], "c": ["a"], "d": ["e"], "e": ["d"], "f": ["a", "f"]}
    assert circles(graph) == [["a", "b", "c"], ["d", "e"]]
    of_imports = import_graph()
    assert "vstore.api.reader" in of_imports["vstore.api.store"], "deferred"
    assert "vstore.api.store" in of_imports["vstore.api.reader"], "for types alone"


def test_no_more_than_three_modules_need_each_other() -> None:
    too_large = [circle for circle in circles(import_graph()) if len(circle) > CIRCLE_MAX]
    assert not too_large, "\n".join(" <-> ".join(circle) for circle in too_large)


def test_no_folder_is_a_hall() -> None:
    lines: Counter[str] = Counter()
    for path in PACKAGE.rglob("*.py"):
        folder = path.parent.relative_to(PACKAGE.parent).as_posix()
        lines[folder] += len(path.read_text("utf-8").splitlines())
    total = lines.total()
    sizes = "\n".join(f"{n:6} {n / total:6.1%}  {folder}" for folder, n in lines.most_common())
    assert max(lines.values()) <= FOLDER_SHARE_MAX * total, sizes


@pytest.fixture(scope="module")
def package() -> Package:
    """Return all names of the package."""
    return Package()


def test_names_in_backticks_are_there(package: Package) -> None:
    unknown = [
        f"{module.path.relative_to(PACKAGE.parent)}:{quoted.line}: `{quoted.name}`"
        for module in package.modules.values()
        for quoted in module.quotations()
        if not package.knows(quoted, module)
    ]
    assert not unknown, "\n".join(unknown) + (
        "\nA name of another module is written with what it is in: `Collection.search`, "
        "`columns.build_column`; code and values stand in double backticks."
    )


def test_names_that_are_not_there_are_found(package: Package) -> None:
    module = package.modules["vstore.engine.handle"]
    at = next(q.inside for q in module.quotations() if q.inside)

    def known(name: str, where: Module = module, inside: tuple[ast.AST, ...] = at) -> bool:
        return package.knows(Quotation(name, 1, inside), where)  # type: ignore[arg-type]

    for name in ("view", "Handle.view", "scope", "snapshot", "Collection.search", "vstore.open",
                 "engine.handle", "columns.build_column", "K_MAX", "numpy.clip", "tests/crash",
                 "threading.Condition", "with", "ValueError", "Store"):  # fmt: skip
        assert known(name), name
    for name in ("viewed", "Handle.viewed", "build_column", "columns.build", "engine.handles",
                 "Collection.searched", "Collector.search", "vstore.opened", "K_LEAST",
                 "numpy.clap", "tests/crashes", "store.Store.view"):  # fmt: skip
        assert not known(name), name


def exceptions(docstring: str) -> dict[str, str]:
    """Return what the section of exceptions says, by the names that it says it of."""
    found: dict[str, str] = {}
    section = docstring.partition("Raises\n------\n")[2]
    for line in re.split(r"\n\w+\n---", section)[0].splitlines():
        if line.startswith(" ") and found:
            found[next(reversed(found))] += line
        elif line and found and next(reversed(found)).endswith(","):  # a list over several lines
            names, _ = found.popitem()
            found[f"{names} {line}"] = ""
        elif line:
            found[line] = ""
    return found


def test_public_calls_say_when_they_raise() -> None:
    silent = []
    for name in vstore.__all__:
        value = getattr(vstore, name)
        parts = vars(value) if inspect.isclass(value) else {}
        for what, item in {name: value, **{f"{name}.{key}": parts[key] for key in parts}}.items():
            said = exceptions(inspect.getdoc(item) or "")
            silent += [f"{what}: {names}" for names, when in said.items() if not when.strip()]
    assert not silent, "\n".join(silent)
    assert exceptions("Raises\n------\nA, B,\nC\nD\n    If it is.\n\nNotes\n-----\nMore.") == {
        "A, B, C": "",
        "D": "    If it is.",
    }


def test_functions_say_when_they_raise() -> None:
    silent = [
        f"{module}.{node.name}: {names}"
        for module, tree in TREES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.ClassDef)
        for names, when in exceptions(ast.get_docstring(node) or "").items()
        if not when.strip()
    ]
    assert not silent, "\n".join(silent)


def test_no_class_is_a_tower_of_its_own_parts() -> None:
    """A base with a single subclass, which has a base with a single subclass, is one class cut."""
    bases: dict[str, list[str]] = {}
    for tree in TREES.values():
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                bases[node.name] = [ast.unparse(base).rsplit(".", 1)[-1] for base in node.bases]
    subclasses = Counter(base for above in bases.values() for base in set(above))
    for name in bases:
        tower = [name]
        while only := [b for b in bases[tower[-1]] if b in bases and subclasses[b] == 1]:
            tower.append(only[0])
        assert len(tower) <= TOWER_MAX, " -> ".join(tower)


def test_class_names_are_nouns() -> None:
    """A participle alone, ``Wanted`` or ``Taken``, does not say what it holds."""
    nouns = {"Ranking", "Numbering", "Spending", "Deferred", "Judged"}
    participle = re.compile(r"_?[A-Z][a-z]*(ed|ing|ound|een|nown|aken|iven|ept)")
    found = {
        node.name
        for tree in TREES.values()
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef) and participle.fullmatch(node.name)
    }
    assert found <= nouns
