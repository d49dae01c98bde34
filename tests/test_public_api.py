"""What ``import vstore`` gives: the names it promises, documented, typed, and cheap to import."""

from __future__ import annotations

import ast
import dataclasses
import importlib
import inspect
import json
import pkgutil
import subprocess
import sys
from importlib import resources
from typing import TYPE_CHECKING

import numpy as np
import pytest

import vstore
from vstore import errors
from vstore.native import loader

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

MODULES = [
    info.name
    for info in pkgutil.walk_packages(vstore.__path__, "vstore.")
    if not info.name.startswith("vstore.cli") and not info.name.endswith("__main__")
]
ERRORS = [value for value in vars(errors).values() if inspect.isclass(value)
          and issubclass(value, BaseException)]  # fmt: skip


def run(code: str, *arguments: str) -> str:
    """Run code in a fresh interpreter and return what it prints."""
    result = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True
    )
    return result.stdout


def test_all_is_what_is_exported() -> None:
    assert len(set(vstore.__all__)) == len(vstore.__all__)
    assert set(vstore.__all__) == {*vstore._HOMES, "open"}
    for name in vstore.__all__:
        assert getattr(vstore, name) is not None
        assert name in dir(vstore)
    with pytest.raises(AttributeError, match="opne"):
        getattr(vstore, "opne")  # noqa: B009 - the checker would know that it is not there


def test_names_are_also_there_for_type_checkers() -> None:
    blocks = [
        node for node in ast.parse(inspect.getsource(vstore)).body if isinstance(node, ast.If)
    ]
    aliases = [
        alias
        for statement in blocks[0].body
        if isinstance(statement, ast.ImportFrom)
        for alias in statement.names
    ]
    assert sorted(alias.asname or alias.name for alias in aliases) == sorted(vstore.__all__)


def test_every_error_derives_from_vstore_error_and_is_exported() -> None:
    for error in ERRORS:
        assert issubclass(error, vstore.VstoreError), error
        assert error.__name__ in vstore.__all__, error
        assert error.__name__ in str(errors.__doc__), "the tree in the docstring"
        assert error.__doc__


@pytest.mark.parametrize(
    ("error", "builtin"),
    [("InvalidArgumentError", ValueError), ("NotFoundError", LookupError),
     ("MissingDependencyError", ImportError)],
)  # fmt: skip
def test_errors_are_also_what_python_calls_them(error: str, builtin: type[Exception]) -> None:
    assert issubclass(getattr(vstore, error), builtin)


def public_members() -> list[tuple[str, object]]:
    """Return every exported callable, and every public method and property of exported classes."""
    found: list[tuple[str, object]] = []
    for name in vstore.__all__:
        value = getattr(vstore, name)
        if not callable(value) and not inspect.isclass(value):
            continue
        found.append((name, value))
        if inspect.isclass(value):
            members: dict[str, object] = {}
            for base in reversed(value.__mro__):
                members |= vars(base) if base.__module__.startswith("vstore.") else {}
            for attribute, member in members.items():
                documented = inspect.isfunction(member) or isinstance(
                    member, property | classmethod | staticmethod
                )
                if documented and not attribute.startswith("_"):
                    found.append((f"{name}.{attribute}", member))
    return found


MEMBERS = public_members()
FUNCTIONS = [(name, member) for name, member in MEMBERS if inspect.isfunction(member)]


@pytest.mark.parametrize(("name", "member"), MEMBERS, ids=[name for name, _ in MEMBERS])
def test_everything_public_has_a_docstring(name: str, member: object) -> None:
    text = inspect.getdoc(member)
    assert text, name
    assert text[0].isupper(), name
    generated = dataclasses.is_dataclass(member) and text.startswith(f"{name}(")
    assert not generated, f"{name}: dataclasses writes a docstring that says nothing"


@pytest.mark.parametrize(("name", "member"), FUNCTIONS, ids=[name for name, _ in FUNCTIONS])
def test_at_most_two_arguments_are_positional(name: str, member: Callable[..., object]) -> None:
    parameters = list(inspect.signature(member).parameters.values())
    positional = [p for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD and p.name != "self"]
    # A transaction's methods take their collection first.
    allowed = (
        4
        if name.startswith("Transaction.")
        else 3
        if name.endswith(("add_vectors", "migrate"))
        else 2
    )
    assert len(positional) <= allowed, [p.name for p in positional]


def test_signatures_are_annotated() -> None:
    for name, member in FUNCTIONS:
        assert "return" in inspect.get_annotations(member), name


def test_the_package_says_that_it_is_typed() -> None:
    assert resources.files("vstore").joinpath("py.typed").is_file()


def test_importing_costs_nothing() -> None:
    code = "import json, sys; import vstore; print(json.dumps(sorted(sys.modules)))"
    loaded = set(json.loads(run(code)))
    for heavy in ("numpy", "numba", "llvmlite", "msgpack", "blake3", "typer", "rich"):
        assert heavy not in loaded, heavy
    assert not any(name.startswith("vstore.") for name in loaded)


def test_using_a_store_imports_neither_compiler_nor_command_line() -> None:
    code = (
        "import json, sys, numpy as np, vstore\n"
        "with vstore.open(':memory:') as store:\n"
        "    docs = store.create_collection('docs')\n"
        "    docs.create_version('v', vstore.EmbeddingSpec('m', 2))\n"
        "    docs.upsert(['a'], vectors={'v': np.eye(2)[:1]})\n"
        "    assert docs.search(np.ones(2), version='v').ids == ['a']\n"
        "print(json.dumps(sorted(sys.modules)))"
    )
    loaded = set(json.loads(run(code)))
    for heavy in ("numba", "llvmlite", "typer", "rich", "pandas", "asyncio", "pickle5"):
        assert heavy not in loaded, heavy


# What takes long to import, and a search by a vector in a sealed store has no use for.
NOT_FOR_A_SEARCH = (
    "concurrent.futures", "logging", "numpy.typing", "pathlib", "subprocess", "tempfile",
    "urllib.parse", "vstore.manifest.delta", "vstore.manifest.edits", "vstore.native.reference",
    "vstore.observe.trace", "vstore.query.filter", "vstore.query.fusion", "vstore.query.ranking",
    "vstore.segment.changes", "vstore.segment.columns", "vstore.segment.replay",
    "vstore.storage.memory", "vstore.storage.scan", "vstore.segment.user_document",
    "vstore.embedding.embedder", "vstore.writing.input", "vstore.api.transaction",
    "vstore.writing.draft",
    "vstore.engine.commit",
)  # fmt: skip


def test_a_first_search_imports_only_what_it_needs(tmp_path: Path) -> None:
    if loader.kernels(wait=True) is None:
        pytest.skip("NumPy answers here")
    path = tmp_path / "docs.vstore"
    with vstore.open(path) as store:
        docs = store.create_collection("docs")
        docs.create_version("v", vstore.EmbeddingSpec("m", 8), graph_rows_min=1)
        vectors = np.random.default_rng(0).standard_normal((2_000, 8))
        docs.upsert([f"d{i}" for i in range(2_000)], vectors={"v": vectors})
        store.optimize()
    code = (
        "import json, sys, numpy as np\n"
        "numpys = set(sys.modules)\n"
        "import vstore\n"
        "store = vstore.open(sys.argv[1], mode='r')\n"
        "docs, query = store.collection('docs'), np.ones(8, np.float32)\n"
        "result = docs.search(query, version='v', recall=vstore.EfSearch(9))\n"
        "assert len(result.ids) == 10\n"
        "loaded = sorted(set(sys.modules) - numpys)\n"
        "assert 'GraphSearch' in result.explain()\n"
        "print(json.dumps(loaded))"
    )
    assert not set(json.loads(run(code, str(path)))) & set(NOT_FOR_A_SEARCH)


@pytest.mark.parametrize("name", MODULES)
def test_every_module_imports_on_its_own_and_says_what_it_is_for(name: str) -> None:
    module = importlib.import_module(name)
    assert module.__doc__, name


def test_results_are_frozen() -> None:
    for name in vstore.__all__:
        value = getattr(vstore, name)
        if dataclasses.is_dataclass(value):
            assert value.__dataclass_params__.frozen, name  # type: ignore[union-attr]
