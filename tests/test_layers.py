"""The layers' rules that import-linter cannot see: who may touch the system, who must not."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import vstore

if TYPE_CHECKING:
    from collections.abc import Iterator

PACKAGE = Path(vstore.__file__).parent
# What asks the operating system for files, locks, memory or processes. Only `storage` does.
SYSTEM = {
    "os", "io", "mmap", "fcntl", "msvcrt", "tempfile", "shutil", "pathlib", "socket", "subprocess",
    "signal", "ctypes", "multiprocessing", "glob", "fileinput", "sqlite3", "urllib", "http",
}  # fmt: skip
# What users' tests need; the command line makes vectors of texts with it.
TESTS_ONLY = ("testing", "cli", "demo", "__init__.py")
UNSAFE = {"pickle", "marshal", "shelve", "dill", "cloudpickle", "dbm"}
FREE = ("storage", "cli", "demo", "native", "adapters", "evaluation", "__main__.py")
WRITERS = {"open", "read_text", "read_bytes", "write_text", "write_bytes", "unlink", "touch",
           "mkdir", "tofile", "fromfile", "memmap", "save", "savez", "load", "loadtxt"}  # fmt: skip


def modules(*folders: str) -> list[Path]:
    """Return the modules of some folders, of the whole package without one."""
    found = sorted(PACKAGE.rglob("*.py"))
    return [p for p in found if not folders or p.relative_to(PACKAGE).parts[0] in folders]


def name_of(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


def imports(path: Path, *, at_runtime: bool = True) -> Iterator[str]:
    """Yield the full names a module imports; without those only a type checker sees."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    typing_only: set[ast.AST] = set()
    for node in ast.walk(tree):
        if at_runtime and isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            typing_only.update(inner for child in node.body for inner in ast.walk(child))
    for node in ast.walk(tree):
        if node in typing_only:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name_of(path)}: relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def calls(path: Path) -> Iterator[str]:
    """Yield the last part of every name that is called."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func).rsplit(".", 1)[-1].rsplit(")", 1)[-1]


def test_there_are_modules_to_look_at() -> None:
    assert len(modules()) > 50
    assert {name_of(p) for p in modules("index")} >= {"index/flat.py"}
    assert "mmap" in set(imports(PACKAGE / "storage" / "mapping.py"))


@pytest.mark.parametrize("path", modules(), ids=name_of)
def test_only_storage_touches_the_operating_system(path: Path) -> None:
    if path.relative_to(PACKAGE).parts[0] in FREE:
        return
    assert not {name.split(".")[0] for name in imports(path)} & SYSTEM
    if path.relative_to(PACKAGE).parts[0] in ("index", "segment", "query", "manifest", "migration"):
        assert not set(calls(path)) & WRITERS


@pytest.mark.parametrize("path", modules(), ids=name_of)
def test_no_module_needs_what_is_for_tests(path: Path) -> None:
    if path.relative_to(PACKAGE).parts[0] not in TESTS_ONLY:
        assert not [name for name in imports(path) if name.startswith("vstore.testing")]


@pytest.mark.parametrize("path", modules("query", "migration"), ids=name_of)
def test_the_planner_and_the_pure_layers_read_no_file(path: Path) -> None:
    for name in imports(path):
        assert not name.startswith("vstore.storage"), name


FUSIONS = [f"fusion/{path.stem}" for path in (PACKAGE / "query/fusion").glob("*.py")]


@pytest.mark.parametrize("name", ["plan", "planner", *FUSIONS])
def test_the_planner_sees_no_vector_and_no_segment(name: str) -> None:
    for imported in imports(PACKAGE / "query" / f"{name}.py", at_runtime=False):
        layer = imported.split(".")[1] if imported.startswith("vstore.") else ""
        known = {"", "query", "errors", "fusions", "limits", "types", "clock", "named"}
        assert layer in known, imported
        assert not imported.startswith("vstore.query.executor")
        assert name in FUSIONS or not imported.startswith("numpy")


@pytest.mark.parametrize("path", modules("index"), ids=name_of)
def test_the_index_knows_arrays_and_nothing_else(path: Path) -> None:
    for name in imports(path):
        top = name.split(".")[0]
        assert top not in SYSTEM | {"threading", "time", "logging", "random"}, name
        if top == "vstore":
            allowed = (
                "index",
                "native",
                "cached",
                "errors",
                "limits",
                "deferred",
                "named",
                "types",
            )
            assert name.split(".")[1] in allowed, name


@pytest.mark.parametrize("path", modules(), ids=name_of)
def test_nothing_can_run_code_from_a_file(path: Path) -> None:
    assert not {name.split(".")[0] for name in imports(path)} & UNSAFE
    assert not set(calls(path)) & {"eval", "exec"}
    source = path.read_text(encoding="utf-8")
    assert "allow_pickle=True" not in source


@pytest.mark.parametrize("path", modules(), ids=name_of)
def test_numba_is_imported_only_by_the_native_layer(path: Path) -> None:
    if path.relative_to(PACKAGE).parts[0] == "native":
        return
    assert not {name.split(".")[0] for name in imports(path)} & {"numba", "llvmlite"}


@pytest.mark.parametrize("path", modules(), ids=name_of)
def test_no_module_is_named_for_what_is_left_over(path: Path) -> None:
    assert path.stem not in {"utils", "util", "helpers", "common", "misc"}


ROOMS = [
    "api", "engine", "embedding", "guarding", "writing", "searching", "inspection", "migration",
    "migration/jobs", "migration/routes", "migration/bridges", "migration/gates",
]  # fmt: skip


@pytest.mark.parametrize("room", ROOMS)
def test_every_room_has_a_sign(room: str) -> None:
    """A question, what enters, what leaves, and what does not belong there."""
    sign = ast.get_docstring(ast.parse((PACKAGE / room / "__init__.py").read_text())) or ""
    assert "?" in sign.splitlines()[0]
    for part in ("In: ", "Out: "):
        assert part in sign, part
    assert "Not here: " in sign or "May not " in sign
