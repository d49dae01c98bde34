"""The public surface: every name and signature is pinned, and every type can be imported.

``python -m tests.test_surface`` writes the file anew.
"""

from __future__ import annotations

import ast
import inspect
from dataclasses import is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import vstore

if TYPE_CHECKING:
    from collections.abc import Iterator

PINNED = Path(__file__).parent / "golden" / "surface.txt"
HANDLES = ("Store", "Collection", "Reader", "Transaction", "Routes", "Guards", "Migrations")
NAMES_MAX = 30
# Methods that search, and what they say besides.
ASKED = {
    "search": set[str](),
    "search_batch": set[str](),
    "explain": {"analyze"},
    "compare_epochs": {"before", "after"},
}
ASKED_MAX = 8
# Names of texts, numbers and arrays, and of what Python itself has.
PLAIN = {
    "Any", "Array", "BridgeKind", "Callable", "CanaryVerdict", "DocumentId", "DualWrite", "Extra",
    "FloatArray", "FusionName", "GeometryPolicy", "IntArray", "Iterator", "JobOrder", "JobStatus",
    "Judgments", "Lifecycle", "Mapping", "Metric", "Provenance", "ReadMode", "Reason", "Self",
    "StalePolicy", "StorageType", "ForwardRef",
}  # fmt: skip


def public(made: type) -> Iterator[tuple[str, object]]:
    """Yield the public attributes of a class that vstore defines, by name."""
    for name in sorted(dir(made)):
        if not name.startswith("_"):
            yield name, inspect.getattr_static(made, name)


def function_of(found: object) -> object:
    """Return the function behind a property or a class method."""
    if isinstance(found, property):
        return found.fget
    return found.__func__ if isinstance(found, classmethod | staticmethod) else found


def surface() -> str:
    """Return every public name with its signature, a line each."""
    lines = []
    for name in vstore.__all__:
        made = getattr(vstore, name)
        if not inspect.isclass(made):
            signed = str(inspect.signature(made)) if inspect.isfunction(made) else ""
            lines.append(f"{name}{signed}")
            continue
        bases = ", ".join(base.__name__ for base in made.__bases__)
        made_by = f" {inspect.signature(made)}" if is_dataclass(made) else ""
        lines.append(f"class {name}({bases}){made_by}")
        for attribute, found in public(made):
            function = function_of(found)
            ours = getattr(function, "__module__", "") or ""
            if isinstance(found, property):
                returned = inspect.get_annotations(function).get("return")  # type: ignore[arg-type]
                lines.append(f"    {attribute} -> {returned}")
            elif inspect.isfunction(function) and ours.startswith("vstore"):
                lines.append(f"    {attribute}{inspect.signature(function)}")
            elif not callable(found):
                lines.append(f"    {attribute}")
    return "\n".join(lines) + "\n"


def named_in(annotation: object) -> set[str]:
    """Return the names in an annotation, which is text."""
    text = annotation if isinstance(annotation, str) else str(annotation)
    try:
        tree = ast.parse(text.strip("'\""), mode="eval")
    except SyntaxError:
        return set()
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            names.add(node.id)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            names |= named_in(node.value)
    return names


def test_the_public_surface_is_as_pinned() -> None:
    assert surface() == PINNED.read_text(encoding="utf-8")


def test_every_type_that_is_returned_can_be_imported() -> None:
    unknown: dict[str, str] = {}
    for name in vstore.__all__:
        made = getattr(vstore, name)
        if not inspect.isclass(made):
            continue
        annotated = dict(getattr(made, "__annotations__", {}))
        for attribute, found in public(made):
            annotated[attribute] = getattr(function_of(found), "__annotations__", {}).get("return")
        for attribute, annotation in annotated.items():
            for used in named_in(annotation) - PLAIN - set(vstore.__all__):
                if used[:1].isupper() and used != "None":
                    unknown[used] = f"{name}.{attribute}"
    assert not unknown


def test_handles_show_at_most_thirty_names() -> None:
    for name in HANDLES:
        made = getattr(vstore, name)
        shown = [attribute for attribute, _ in public(made)]
        shown += [one for one in vars(made).get("__annotations__", {}) if not one.startswith("_")]
        assert len(shown) < NAMES_MAX, (name, shown)


def test_an_open_handle_shows_what_its_class_does() -> None:
    with vstore.open(":memory:") as store:
        docs = store.create_collection("docs")
        for handle in (store, docs, store.snapshot(), docs.routes, docs.guards, docs.migration):
            shown = [name for name in dir(handle) if not name.startswith("_")]
            assert len(shown) <= NAMES_MAX, shown


def test_a_search_has_at_most_eight_parameters() -> None:
    for name, own in ASKED.items():
        parameters = inspect.signature(getattr(vstore.Collection, name)).parameters
        said = set(parameters) - {"self", "query", "queries"} - own
        assert len(said) <= ASKED_MAX, (name, said)


if __name__ == "__main__":
    PINNED.write_text(surface(), encoding="utf-8")
