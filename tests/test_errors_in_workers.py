"""Errors come home from worker processes whole, and can be copied."""

from __future__ import annotations

import copy
import importlib
import multiprocessing as mp
import pickle
import pkgutil
import threading
from concurrent.futures import ProcessPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

import vstore
from tests.small_store import spec
from vstore import errors
from vstore.errors import LockedError, NotFoundError, StorageError, VstoreError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

PROTOCOLS = range(pickle.HIGHEST_PROTOCOL + 1)
LINKS = 40
# What the classes are made with, whatever they make of it, by the parameter's name.
VALUES: dict[str, Any] = {
    "message": "what went wrong", "where": "row 3", "what": "rows", "problem": "bytes differ",
    "path": "/tmp/a.vstore", "package": "typer", "extra": "cli", "target": "v2",
    "version": "v1", "model": "m", "collection": "docs", "limit": "K_MAX", "fix": "Say which.",
    "row": 3, "found": 5, "allowed": 4, "expected": "v1", "waited_s": 1.5,
    "pid": 4_321, "own": False,
    "offset": 4096, "stored": b"\1" * 32, "computed": b"\2" * 32,
    "departure": 0.9, "rows": 32, "fits": "v2", "report": ("verdict", "drifted"),
    "differences": {"model": ("a", "b")}, "missing": {"v2": 3}, "measured": {"recall": 0.5},
}  # fmt: skip


# And of others, by how their annotation begins: a class that is written later is tested too.
BY_TYPE: dict[str, Any] = {
    "str": "some text", "int": 7, "float": 0.5, "bool": True, "bytes": b"\3", "Mapping": {"a": 1},
    "dict": {"a": 1}, "Sequence": ["a"], "list": ["a"], "tuple": ("a",), "object": "anything",
}  # fmt: skip


def value_of(kind: type, name: str) -> Any:
    if name in VALUES:
        return VALUES[name]
    annotation = str(getattr(kind, "__init__").__annotations__[name])  # noqa: B009 - see mypy
    found = [value for start, value in BY_TYPE.items() if annotation.startswith(start)]
    assert found, f"{kind.__name__}: add a value for {name}: {annotation}"
    return found[0]


def every_class(base: type[VstoreError] = VstoreError) -> list[type[VstoreError]]:
    """Return a class and all classes below it, of whatever module."""
    for module in pkgutil.walk_packages(vstore.__path__, "vstore."):
        if "__main__" not in module.name and not module.name.startswith("vstore.native.kernels"):
            importlib.import_module(module.name)
    found, pending = [], [base]
    while pending:
        one = pending.pop()
        found.append(one)
        pending.extend(one.__subclasses__())
    return sorted(
        {one for one in found if one.__module__.startswith("vstore.")}, key=lambda c: c.__name__
    )


def example(kind: type[VstoreError]) -> VstoreError:
    """Make an error as the code does: by all parameters of its class."""
    init: Any = kind.__init__
    code = getattr(init, "__code__", None)
    if code is None:
        return kind("what went wrong")
    names = code.co_varnames[1 : code.co_argcount + code.co_kwonlyargcount]
    positional = names[: code.co_argcount - 1]
    named = names[code.co_argcount - 1 :]
    return kind(
        *(value_of(kind, name) for name in positional),
        **{name: value_of(kind, name) for name in named},
    )


def assert_same(one: BaseException | None, other: BaseException | None) -> None:
    assert type(one) is type(other)
    if one is None or other is None:
        return
    assert (str(one), repr(one), one.args) == (str(other), repr(other), other.args)
    assert vars(one) == vars(other)
    assert one.__suppress_context__ == other.__suppress_context__
    assert_same(one.__cause__, other.__cause__)


CLASSES = every_class()


def test_all_classes_are_found() -> None:
    assert {kind.__name__ for kind in CLASSES} >= {
        name for name in vstore.__all__ if name.endswith("Error")
    }
    assert {kind for kind in vars(errors).values() if isinstance(kind, type)} >= {
        kind for kind in CLASSES if kind.__module__ == "vstore.errors"
    }


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_every_error_can_be_pickled_and_copied(kind: type[VstoreError]) -> None:
    bare = example(kind)
    full = example(kind)
    full.add_note("while upserting batch 7")
    full.seen = [1, {"two": 3}]  # type: ignore[attr-defined]  # what callers put on errors
    full.__cause__ = OSError(28, "No space left on device", "/tmp/a.vstore")
    quiet = example(kind)
    quiet.__suppress_context__ = True
    for error in (bare, full, quiet):
        ways: list[Callable[[VstoreError], VstoreError]] = [copy.copy, copy.deepcopy]
        ways += [lambda e, p=p: pickle.loads(pickle.dumps(e, p)) for p in PROTOCOLS]  # type: ignore[misc]
        for way in ways:
            again = way(error)
            assert again is not error
            assert_same(again, error)
            assert again.__traceback__ is None
            assert_same(pickle.loads(pickle.dumps(again)), error)
    deep = copy.deepcopy(full)
    deep.seen[1]["two"] = 4  # type: ignore[attr-defined]
    assert full.seen == [1, {"two": 3}]  # type: ignore[attr-defined]


def test_an_import_error_keeps_its_own_attributes() -> None:
    error = errors.MissingDependencyError("typer", extra="cli")
    again = pickle.loads(pickle.dumps(error))
    assert again.msg == error.msg
    assert isinstance(again, ImportError)


class TwoArgumentsError(Exception):
    """As a provider's: pickles, and does not unpickle."""

    def __init__(self, message: str, *, status: int) -> None:
        super().__init__(message)
        self.status = status


class LockingError(Exception):
    def __init__(self) -> None:
        super().__init__("holds a lock")
        self.lock = threading.Lock()


@pytest.mark.parametrize("cause", [TwoArgumentsError("slow down", status=429), LockingError()])
def test_a_cause_that_cannot_be_sent_is_named(cause: Exception) -> None:
    error = vstore.EmbeddingError("the embedder fails for everything")
    error.__cause__ = cause
    error.provider = threading.Lock()  # type: ignore[attr-defined]
    again = pickle.loads(pickle.dumps(error))
    assert str(again) == str(error)
    assert str(cause) in str(again.__cause__)
    assert type(cause).__name__ in str(again.__cause__)
    assert "cannot be pickled" in again.provider
    assert copy.copy(error).__cause__ is cause
    error.provider = None  # type: ignore[attr-defined]
    assert copy.deepcopy(error).__cause__ is cause


def test_a_long_chain_of_causes_is_sent() -> None:
    first: VstoreError | None = None
    for number in range(LINKS):
        error = StorageError(f"link {number}")
        error.__cause__ = first
        first = error
    assert_same(pickle.loads(pickle.dumps(first)), first)


def test_attributes_that_cannot_be_sent_are_named_and_the_others_sent() -> None:
    class Local:
        pass

    error = vstore.StateError("wrong moment")
    kept = {
        "numbers": [1, 2.5, None], "kind": StorageError, "work": locked, "spec": spec("m"),
        "own": error, "inner": StorageError("inner"), "vector": {"v": b"x"},
    }  # fmt: skip
    lost = {
        "call": lambda: 1,
        "local": Local(),
        "kind of": Local,
        "deep": [{"lock": threading.Lock()}],
    }
    vars(error).update(kept | lost)
    for protocol in PROTOCOLS:
        again = pickle.loads(pickle.dumps(error, protocol))
        assert again.own is again
        assert str(again.inner) == "inner"
        for name in ("numbers", "kind", "work", "spec", "vector"):
            assert vars(again)[name] == kept[name]
        for name in lost:
            assert "cannot be pickled" in vars(again)[name]


class OwnError(NotFoundError):
    """What somebody may derive."""

    def __init__(self, place: str, *, tries: int) -> None:
        super().__init__(f"nothing at {place} after {tries} tries")
        self.place = place


def test_so_can_errors_that_others_derive() -> None:
    error = OwnError("here", tries=3)
    for again in (pickle.loads(pickle.dumps(error)), copy.copy(error), copy.deepcopy(error)):
        assert_same(again, error)


def locked(path: str) -> int:
    with vstore.open(path) as store:  # a second writer
        return store.epoch


def refused(path: str) -> list[str]:
    with vstore.open(path, mode="r") as store:
        return store.collection("nothing of that name").ids()  # type: ignore[return-value]


@pytest.mark.parametrize("start", ["fork", "spawn"])
@pytest.mark.parametrize("kind", ["pool", "executor"])
def test_errors_come_home_from_workers(tmp_path: Path, kind: str, start: str) -> None:
    if start not in mp.get_all_start_methods():
        start = "spawn"
    path = str(tmp_path / "a.vstore")
    context = mp.get_context(start)
    with vstore.open(path):
        calls: list[tuple[Any, type[Exception]]] = [
            (locked, LockedError), (refused, NotFoundError), (locked, LockedError),
        ]  # fmt: skip
        found: list[BaseException] = []
        if kind == "pool":
            with context.Pool(1) as pool:
                for work, expected in calls:
                    with pytest.raises(expected) as caught:
                        pool.apply_async(work, (path,)).get(timeout=120)
                    found.append(caught.value)
        else:
            with ProcessPoolExecutor(1, mp_context=context) as executor:
                for work, expected in calls:
                    with pytest.raises(expected) as caught:
                        executor.submit(work, path).result(timeout=120)
                    found.append(caught.value)
    error = found[0]
    assert isinstance(error, LockedError)
    assert (error.path, error.waited_s) == (path, 0)
    assert path in str(error)


class Hooks:
    def __init__(self) -> None:
        self.hook = lambda: 1


def test_what_cannot_be_sent_is_found_inside_of_objects_and_circles() -> None:
    error = errors.EmbeddingError("does not answer")
    cause = RuntimeError("provider")
    cause.response = Hooks()  # type: ignore[attr-defined]
    error.__cause__ = cause
    circle: list[object] = []
    circle.append(circle)
    error.circle = circle  # type: ignore[attr-defined]
    found = pickle.loads(pickle.dumps(error))
    assert str(found) == "does not answer"
    assert "provider" in str(found.__cause__)
    assert found.circle[0] is found.circle
