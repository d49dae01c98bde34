"""Records: blocks of structured data beside the manifest (`format-spec.md`, "Records").

What a manifest refers to but need not be read to open a store: canaries and geometry of a version,
bridges, hits, counters.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from vstore.errors import CorruptionError
from vstore.manifest.plain import Plain, PlainReader
from vstore.storage.layout import BlockKind
from vstore.storage.packing import pack, unpack

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeVar

    from vstore.manifest.state import CollectionState, StoreState
    from vstore.storage.block import BlockRef
    from vstore.storage.container import Container

    Value = TypeVar("Value")


def append_record(container: Container, value: Plain) -> BlockRef:
    """Append a record; it belongs to nobody until a commit names it."""
    return container.append(BlockKind.RECORD, pack(value))


def read_record(
    container: Container, ref: BlockRef, read: Callable[[PlainReader], Value], *, what: str
) -> Value:
    """Return what ``read`` makes of a record.

    Parameters
    ----------
    read : callable
        Raises ValueError for what it does not believe.
    what : str
        For messages: what kind of record it is.

    Raises
    ------
    CorruptionError
        The block is damaged, or ``read`` does not believe it.
    """
    try:
        return read(PlainReader(unpack(container.read(ref, BlockKind.RECORD)), what))
    except ValueError as error:
        raise CorruptionError(container.name, str(error), offset=ref.offset) from error


def records_of(state: StoreState) -> list[tuple[str, BlockRef]]:
    """Return all records that a state names, each with what it is."""
    found = [] if state.metrics is None else [("metrics", state.metrics)]
    for collection in state.collections.values():
        guards = [version.guard for version in collection.versions.values()]
        found += [("guard", guard) for guard in guards if guard is not None]
        found += [("bridge", bridge.record) for bridge in collection.bridges]
        found += [] if collection.hits is None else [("hits", collection.hits)]
    return found


def with_records(
    collection: CollectionState, copy: Callable[[BlockRef], BlockRef]
) -> CollectionState:
    """Return a collection whose records are elsewhere, by a function from old to new place."""
    versions = {
        label: version if version.guard is None else version._replace(guard=copy(version.guard))
        for label, version in collection.versions.items()
    }
    return collection._replace(
        versions=versions,
        bridges=tuple(b._replace(record=copy(b.record)) for b in collection.bridges),
        hits=None if collection.hits is None else copy(collection.hits),
    )
