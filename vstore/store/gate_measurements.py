"""What the gates of a cutover measure. The gates themselves are pure, in `migration.gates`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from vstore.migration.gates import Coverage, GateResult, coverage_gate

if TYPE_CHECKING:
    from vstore.store.collection import Collection
    from vstore.store.search import Where


def coverage(collection: Collection, version: str, where: Where = None) -> Coverage:
    """Return how many live documents (that pass a filter) have fresh vectors in a version."""
    view = collection.view()
    view.version(version)
    if where is None and collection.scope is None:
        return Coverage(view.rows(version).fresh_count, view.documents.live_count)
    mask = collection.mask(view, where)
    fresh = int(np.count_nonzero(mask & view.rows(version).has_fresh))
    return Coverage(fresh, int(np.count_nonzero(mask)))


def cutover_gates(collection: Collection, version: str, *, min_coverage: float) -> list[GateResult]:
    """Measure every gate of a cutover, at the snapshot that writes are made over."""
    view = collection.store.current().collection(collection.name)
    reached = Coverage(view.rows(version).fresh_count, view.documents.live_count)
    return [coverage_gate(reached, required=min_coverage)]
