"""Mapping queries of one version into another version's space, over a fitted bridge."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from vstore.errors import NotFoundError
from vstore.query.bridge_record import stored_bridge
from vstore.recent import Recent
from vstore.storage.block import BlockRef

if TYPE_CHECKING:
    from vstore.engine.snapshot import CollectionView, Snapshot
    from vstore.manifest.job_state import BridgeState
    from vstore.query.bridge_map import BridgeMap
    from vstore.types import Array


def bridge_between(view: CollectionView, source: str, target: str) -> BridgeState:
    """Return the bridge from one version to another.

    Raises
    ------
    NotFoundError
        There is no bridge between the versions.
    """
    for bridge in view.state.bridges:
        if (bridge.source, bridge.target) == (source, target):
            return bridge
    raise NotFoundError(
        f"collection {view.state.name!r} has no bridge from {source!r} to {target!r}; "
        "fit one with migration.fit_bridge()"
    )


def blended(
    snapshot: Snapshot, view: CollectionView, labels: tuple[str, str], own: Array, other: Array
) -> Array:
    """Return the old version's queries, blended with the new version's by `BridgeMap.blended`.

    Parameters
    ----------
    labels : old and new version
    own, other : float32 (m, dimension)
        The same queries, as vectors of the old and of the new version.

    Raises
    ------
    NotFoundError, CorruptionError
        There is no bridge between the versions; it is damaged.
    """
    bridge = _loaded(snapshot, view, bridge_between(view, *labels))
    return np.ascontiguousarray(bridge.blended(own, other), np.float32)


class _LoadedBridges(Recent[BlockRef, "BridgeMap"]):
    """Cache of a collection's bridge maps, by their records."""


def _loaded(snapshot: Snapshot, view: CollectionView, state: BridgeState) -> BridgeMap:
    # Cached with the whole collection, whatever the scope: a map contains no documents.
    known = view.whole.companions.of(_LoadedBridges)
    return known.get(state.record, lambda: stored_bridge(snapshot.container, view.state, state))


def mapped(
    snapshot: Snapshot, view: CollectionView, source: str, target: str, queries: Array
) -> Array:
    """Map queries of one version into another version's space, float32.

    Raises
    ------
    NotFoundError, CorruptionError
        There is no bridge between the versions; it is damaged.
    """
    bridge = _loaded(snapshot, view, bridge_between(view, source, target))
    return np.ascontiguousarray(bridge.apply(queries), np.float32)
