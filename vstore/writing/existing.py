"""Declaring what may be there: the same once more is fine, anything else is named.

For programs that declare what they need each time they start. A collection may have more fields
than are asked for, since they are added one by one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from vstore.errors import AlreadyExistsError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from vstore.manifest.state import CollectionState, StoreState, VersionState


def has_collection(state: StoreState, name: str, fields: Mapping[str, str]) -> bool:
    """Return whether a store has a collection with these fields.

    Raises
    ------
    AlreadyExistsError
        It has the collection, and not all of the fields.
    """
    collection = state.collections.get(name)
    if collection is None:
        return False
    known = collection.fields
    found = [
        f"field {field!r} is {known[field]}, not {field_type}"
        if field in known
        else f"it has no field {field!r}, which add_field() declares"
        for field, field_type in fields.items()
        if known.get(field) != field_type
    ]
    _require_none(f"collection {name!r}", found)
    return True


def has_field(collection: CollectionState, name: str, field_type: str) -> bool:
    """Return whether a collection has a field of this type.

    Raises
    ------
    AlreadyExistsError
        The field is of another type.
    """
    known = collection.fields.get(name)
    if known is None:
        return False
    found = [] if known == field_type else [f"it is {known}, not {field_type}"]
    _require_none(f"field {name!r} of collection {collection.name!r}", found)
    return True


def has_version(collection: CollectionState, wanted: VersionState) -> bool:
    """Return whether a collection has a version that was declared so.

    Raises
    ------
    AlreadyExistsError
        The version of this label is retired, or was declared otherwise.
    """
    known = collection.versions.get(wanted.label)
    if known is None:
        return False
    found = [
        f"{name} is {mine!r}, not {other!r}"
        for name, (mine, other) in known.spec.differences(wanted.spec).items()
    ]
    found += [
        f"{name} is {getattr(known, name)!r}, not {getattr(wanted, name)!r}"
        for name in ("storage", "stale_policy", "provenance", "retire_grace_s")
        if getattr(known, name) != getattr(wanted, name)
    ]
    if known.graph is None or wanted.graph is None:
        if known.graph != wanted.graph:
            found.append(
                "it is searched by scans alone" if known.graph is None else "it has graphs"
            )
    else:
        found += [
            f"{name} is {mine}, not {other}"
            for name, mine, other in zip(
                ("M", "ef_construction", "graph_rows_min"), known.graph, wanted.graph, strict=True
            )
            if mine != other
        ]
    if known.retired_us is not None:
        found.append("it is retired")
    _require_none(f"version {wanted.label!r} of collection {collection.name!r}", found)
    return True


def _require_none(what: str, differences: list[str]) -> None:
    if differences:
        raise AlreadyExistsError(f"{what} is there, and differs: {'; '.join(differences)}")
