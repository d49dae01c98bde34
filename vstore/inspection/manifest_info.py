"""The manifest of an epoch as plain data: what to look at first in an incident."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from vstore.engine.version_info import version_info

if TYPE_CHECKING:
    from vstore.engine.snapshot import CollectionView, Snapshot
    from vstore.manifest.state import RouteState

_LABELS: Final = ("version", "old_version")  # of a route; together they are its labels


def manifest_info(snapshot: Snapshot) -> dict[str, object]:
    """Return the manifest of an epoch as plain data."""
    superblock = snapshot.container.superblock
    assert superblock is not None, "an opened store has one"
    state = snapshot.state
    return {
        "path": snapshot.container.name,
        "format": f"{superblock.format_major}.{superblock.format_minor}",
        "uuid": superblock.file_uuid.hex(),
        "epoch": snapshot.epoch,
        "time_us": snapshot.time_us,
        "size_bytes": snapshot.container.committed_length,
        "recovery": snapshot.container.skipped,
        "deltas_since_full_manifest": snapshot.depth,
        "collections": {
            name: _collection_info(snapshot.collection(name)) for name in state.collections
        },
        "tags": {name: {"epoch": t.epoch, "note": t.note} for name, t in state.tags.items()},
        "equivalences": [
            {"first": e.first.hex(), "second": e.second.hex(), "reason": e.reason}
            for e in state.equivalences
        ],
    }


def route_data(route: RouteState) -> dict[str, object]:
    """Return a route as plain data."""
    data = {name: value for name, value in route._asdict().items() if name not in _LABELS}
    return {
        **data,
        "versions": list(route.labels),
        "previous": list(route.previous),
        "evidence": [evidence._asdict() for evidence in route.evidence],
    }


def _collection_info(view: CollectionView) -> dict[str, object]:
    state = view.state
    return {
        "documents": view.documents.live_count,
        "fields": dict(state.fields),
        "segments": len(state.segments),
        "memtable_documents": len(view.memtable.documents),
        "routes": {key or "default": route_data(route) for key, route in state.routes.items()},
        "versions": [version_info(view, label).to_dict() for label in state.versions],
    }
