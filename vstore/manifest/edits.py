"""Edits of the catalogue: pure functions from state to state, each refusing what must not be."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from vstore.errors import (
    AlreadyExistsError,
    InvalidArgumentError,
    LimitExceededError,
    NotFoundError,
)
from vstore.limits import (
    COLLECTIONS_MAX,
    EQUIVALENCES_MAX,
    FIELDS_MAX,
    TAGS_MAX,
    VERSIONS_MAX,
)
from vstore.manifest.state import CollectionState, Equivalence, StoreState, TagState, VersionState

if TYPE_CHECKING:
    from collections.abc import Mapping

    from vstore.manifest.spec import EmbeddingSpec
    from vstore.manifest.state import SegmentRef


class Moment(NamedTuple):
    """The commit a change belongs to: its epoch, its time, why, and who says so."""

    epoch: int
    time_us: int
    reason: str = ""
    by: str = ""


def put_collection(state: StoreState, collection: CollectionState) -> StoreState:
    """Return the state with a collection added or replaced."""
    return state._replace(collections={**state.collections, collection.name: collection})


def put_segments(
    state: StoreState, name: str, label: str, segments: tuple[SegmentRef, ...]
) -> StoreState:
    """Return the state with other segments of a version."""
    collection = state.collections[name]
    version = collection.versions[label]._replace(segments=segments)
    versions = {**collection.versions, label: version}
    return put_collection(state, collection._replace(versions=versions))


def create_collection(
    state: StoreState, name: str, fields: Mapping[str, str], moment: Moment
) -> StoreState:
    """Add an empty collection.

    Raises
    ------
    AlreadyExistsError, LimitExceededError
        The name is taken; there are too many collections or fields.
    """
    if name in state.collections:
        raise AlreadyExistsError(
            f"there is a collection {name!r} already; Store.collection() returns it, and "
            "exist_ok=True creates one only if there is none"
        )
    require_count("collections", len(state.collections) + 1, "COLLECTIONS_MAX", COLLECTIONS_MAX)
    return put_collection(state, CollectionState(name, moment.epoch, moment.time_us, fields))


def drop_collection(state: StoreState, name: str) -> StoreState:
    """Remove a collection."""
    kept = {key: value for key, value in state.collections.items() if key != name}
    return state._replace(collections=kept)


def add_fields(collection: CollectionState, fields: Mapping[str, str]) -> CollectionState:
    """Declare metadata fields.

    Raises
    ------
    AlreadyExistsError, LimitExceededError
        A field is there already, with another type; there are too many.
    """
    for name in fields:
        if name in collection.fields:
            raise AlreadyExistsError(f"collection {collection.name!r} has a field {name!r} already")
    merged = {**collection.fields, **fields}
    require_count("fields", len(merged), "FIELDS_MAX", FIELDS_MAX)
    return collection._replace(fields=merged)


def create_version(collection: CollectionState, version: VersionState) -> CollectionState:
    """Declare a version.

    Raises
    ------
    AlreadyExistsError
        The label is taken, or another open version has this geometry.
    LimitExceededError
        There are `VERSIONS_MAX` already.
    """
    if version.label in collection.versions:
        raise AlreadyExistsError(
            f"collection {collection.name!r} has a version {version.label!r} already"
        )
    for other in collection.versions.values():
        if other.spec.fingerprint == version.spec.fingerprint and other.retired_us is None:
            raise AlreadyExistsError(f"version {other.label!r} has this spec already; write to it")
    require_count("versions", len(collection.versions) + 1, "VERSIONS_MAX", VERSIONS_MAX)
    return collection._replace(versions={**collection.versions, version.label: version})


def declare_equivalent(
    state: StoreState, first: EmbeddingSpec, second: EmbeddingSpec, moment: Moment
) -> StoreState:
    """Record that two specs are one geometry.

    Raises
    ------
    InvalidArgumentError
        Their dimensions or metrics differ, or there is no reason.
    LimitExceededError
        There are `EQUIVALENCES_MAX` already.
    """
    if not moment.reason:
        raise InvalidArgumentError("declare_equivalent: needs a reason, which is recorded")
    if (first.dimension, first.metric) != (second.dimension, second.metric):
        raise InvalidArgumentError(
            f"declare_equivalent: {first.dimension} dimensions under {first.metric} cannot be "
            f"the geometry of {second.dimension} under {second.metric}"
        )
    count = len(state.equivalences) + 1
    require_count("equivalences", count, "EQUIVALENCES_MAX", EQUIVALENCES_MAX)
    pair = Equivalence(first.fingerprint, second.fingerprint, moment.reason, moment.time_us)
    return state._replace(equivalences=(*state.equivalences, pair))


def add_tag(state: StoreState, name: str, epoch: int, moment: Moment) -> StoreState:
    """Name an epoch.

    Raises
    ------
    AlreadyExistsError, LimitExceededError
        The tag is taken; there are too many tags.
    """
    if name in state.tags:
        raise AlreadyExistsError(f"there is a tag {name!r} already")
    require_count("tags", len(state.tags) + 1, "TAGS_MAX", TAGS_MAX)
    tag = TagState(epoch, moment.reason, moment.time_us)
    return state._replace(tags={**state.tags, name: tag})


def remove_tag(state: StoreState, name: str) -> StoreState:
    """Remove a tag."""
    return state._replace(tags={key: tag for key, tag in state.tags.items() if key != name})


def tagged_epoch(state: StoreState, name: str) -> int:
    """Return the epoch a tag names.

    Raises
    ------
    NotFoundError
        There is no such tag.
    """
    tag = state.tags.get(name)
    if tag is None:
        known = ", ".join(state.tags) or "none"
        raise NotFoundError(f"no tag {name!r}; there are: {known}")
    return tag.epoch


def require_count(what: str, found: int, limit: str, allowed: int, *, telling: bool = True) -> None:
    """Refuse one too many.

    Parameters
    ----------
    telling : bool
        Whether the error may say how many there are.

    Raises
    ------
    LimitExceededError
        More are found than allowed.
    """
    if found > allowed:
        told = found if telling else None
        raise LimitExceededError(what, limit=limit, found=told, allowed=allowed)
