"""Manifest edits: what changed between two states, as structured data, and how to apply it.

A delta is a list of ``[path, value]`` (set) and ``[path]`` (remove), where a path is the list of
keys from the root. Lists and scalars are replaced whole; only maps are descended into. Taking the
difference of two states, rather than having one kind of edit per operation, means that no operation
can forget to record something.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from vstore.limits import MANIFEST_BYTES_MAX, NESTING_MAX
from vstore.manifest.codec import plain_collection, plain_store
from vstore.storage.packing import shown

if TYPE_CHECKING:
    from vstore.manifest.plain import Plain
    from vstore.manifest.state import StoreState

Edit = list[object]
_EDITS_MAX = MANIFEST_BYTES_MAX // 8


def difference(old: StoreState, new: StoreState) -> list[Edit]:
    """Return the edits that turn the old state into the new one."""
    if old is new:
        return []
    edits: list[Edit] = []
    # Collections are compared as values first: most commits touch one, and a store may have many.
    for name in old.collections.keys() | new.collections.keys():
        before, after = old.collections.get(name), new.collections.get(name)
        if before is after:
            continue
        path = ["collections", name]
        if after is None:
            edits.append([path])
        elif before is None:
            edits.append([path, plain_collection(after)])
        else:
            _compare(plain_collection(before), plain_collection(after), path, edits)
    edits.sort(key=lambda edit: str(edit[0]))
    _compare(_without_collections(old), _without_collections(new), [], edits)
    return edits


def _without_collections(state: StoreState) -> Plain:
    return plain_store(state._replace(collections={}))


def _compare(old: Plain, new: Plain, path: list[str], edits: list[Edit]) -> None:
    for key in [*old, *(key for key in new if key not in old)]:
        here = [*path, key]
        if key not in new:
            edits.append([here])
            continue
        before, after = old.get(key), new[key]
        if key in old and isinstance(before, dict) and isinstance(after, dict):
            _compare(before, after, here, edits)
        elif key not in old or before != after:
            edits.append([here, after])


def apply(plain: Plain, edits: object) -> None:
    """Apply edits from a file to a manifest, in place.

    Raises
    ------
    ValueError
        The edits are malformed or descend into what is no map.
    """
    if not isinstance(edits, list) or len(edits) > _EDITS_MAX:
        raise ValueError("delta: expected a list of edits")
    for edit in edits:
        if not isinstance(edit, list) or len(edit) not in (1, 2) or not isinstance(edit[0], list):
            raise ValueError(f"delta: malformed edit {shown(edit)}")
        path = edit[0]
        if not 0 < len(path) <= NESTING_MAX or not all(isinstance(key, str) for key in path):
            raise ValueError(f"delta: malformed path {shown(path)}")
        parent: object = plain
        for key in path[:-1]:
            parent = parent.get(key) if isinstance(parent, dict) else None
        if not isinstance(parent, dict):
            raise ValueError(f"delta: nothing at {shown(path)}")
        if _is_depended_on(path) and (path[-1] in parent or len(path) not in _ADDED):
            raise ValueError(f"delta: {shown(path)} is for a full commit to change")
        if len(edit) == 2:
            parent[path[-1]] = edit[1]
        elif parent.pop(path[-1], _MISSING) is _MISSING:
            raise ValueError(f"delta: nothing to remove at {shown(path)}")


def replaces_segments(edits: object) -> bool:
    """Whether edits from a file give a version other segments."""
    if not isinstance(edits, list):
        return False
    paths = [edit[0] for edit in edits if isinstance(edit, list) and edit]
    return any(isinstance(path, list) and path[4:] == ["segments"] for path in paths)


_MISSING = object()
# Depths at which a delta may add what older changes cannot depend on: a collection; a field or a
# version of one.
_ADDED = (2, 4)


def _is_depended_on(path: list[str]) -> bool:
    """Whether changes of older deltas, which are read by the newest manifest, depend on a value."""
    match path:
        case ["history", *_] | ["collections"] | ["collections", _]:
            return True
        case ["collections", _, "segments", *_] | ["collections", _, "fields", *_]:
            return True
        case ["collections", _, "versions"] | ["collections", _, "versions", _]:
            return True
        case ["collections", _, "versions", _, "spec" | "storage", *_]:
            return True
    return False
