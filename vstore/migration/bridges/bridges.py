"""Bridges of a collection: fitting on its own documents, gating and storing."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from vstore.errors import (
    GateError,
    StateError,
)
from vstore.limits import BRIDGES_MAX
from vstore.manifest.commit import Operation
from vstore.manifest.edits import require_count
from vstore.manifest.job_state import BRIDGE_KINDS, BridgeState
from vstore.manifest.record import append_record
from vstore.migration.bridges.fitting import fit_bridge
from vstore.migration.bridges.measuring import bridge_gate, bridge_recall
from vstore.migration.gates.judged_queries import checked_queries
from vstore.numbers import check_number, check_whole
from vstore.query.bridge_record import plain_bridge
from vstore.segment.sequences import listed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from vstore.engine.handle import Handle
    from vstore.engine.snapshot import CollectionView
    from vstore.manifest.job_state import BridgeKind
    from vstore.manifest.state import CollectionState, VersionState
    from vstore.query.bridge_map import BridgeMap
    from vstore.segment.row_table import RowTable
    from vstore.types import Array, IntArray


def fit(
    handle: Handle,
    source: str,
    target: str,
    *,
    min_recall: float,
    kinds: Sequence[BridgeKind] | None,
    documents_max: int,
    seed: int,
    queries: Mapping[str, Array] | None,
) -> BridgeMap:
    """Fit a map from a version's space to another's, and store it if its recall is good enough.

    Raises
    ------
    GateError
        The recall of held-out documents, or of the queries, is below ``min_recall``. Nothing is
        stored.
    StateError
        Too few documents have vectors in both versions, or one of the versions is retired.
    ScopeError
        The handle is scoped, but the map would serve the whole collection.
    """
    handle.require_unscoped("fit_bridge")
    min_recall = check_number(min_recall, what="min_recall", least=0, most=1)
    documents_max = check_whole(documents_max, what="documents_max", least=1)
    seed = check_whole(seed, what="seed", least=0, most=2**63 - 1)
    if kinds is not None:
        kinds = listed(kinds, what="kinds", ordered=False)
    view = handle.view()
    versions = [view.version(label) for label in (source, target)]
    for version in versions:
        if version.retired_us is not None:
            raise StateError(f"version {version.label!r} is retired")
    docnos = _with_both(view, source, target, documents_max)
    vectors = [_vectors(view.rows(label), docnos) for label in (source, target)]
    bridge = fit_bridge(
        *vectors,
        metric=versions[1].spec.metric,
        normalized=versions[1].spec.normalized,
        kinds=BRIDGE_KINDS if kinds is None else kinds,
        seed=seed,
    )
    asked = None
    if queries is not None:
        recall, asked = _recall_of(handle, bridge, queries, versions, vectors[1])
        bridge = replace(bridge, recall=recall)
    gate = bridge_gate(bridge, required=min_recall, queries=asked)
    if not gate.passed:
        raise GateError(
            f"bridge from {source!r} to {target!r} refused: {gate}. Migrate instead, or lower "
            "min_recall knowing what is lost.",
            measured={gate.name: gate.measured},
        )

    def edit(state: CollectionState) -> CollectionState:
        moment = handle.moment()
        record = append_record(handle.file.container, plain_bridge(bridge))
        made = BridgeState(
            source,
            target,
            bridge.kind,
            float(bridge.recall),
            bridge.pairs,
            bridge.held_out,
            moment.epoch,
            moment.time_us,
            record,
        )
        others = [b for b in state.bridges if (b.source, b.target) != (source, target)]
        require_count("bridges", len(others) + 1, "BRIDGES_MAX", BRIDGES_MAX)
        return state._replace(bridges=(*others, made))

    handle.change(edit, Operation("fit_bridge", f"{source} to {target}: {bridge.kind}, {gate}"))
    return bridge


def _recall_of(
    handle: Handle,
    bridge: BridgeMap,
    queries: Mapping[str, Array],
    versions: Sequence[VersionState],
    documents: Array,
) -> tuple[float, int]:
    """Return the recall of real queries, mapped, and the number of queries."""
    state = handle.snapshot().state
    own, other = checked_queries(queries, versions, state, where="fit_bridge")
    return bridge_recall(bridge, own, other, documents), len(own)


def _with_both(view: CollectionView, source: str, target: str, most: int) -> IntArray:
    """Return documents with fresh vectors in both versions; an evenly spread sample of too many."""
    both = view.rows(source).has_fresh & view.rows(target).has_fresh
    docnos = np.flatnonzero(both)
    if len(docnos) <= most:
        return docnos
    return np.asarray(docnos[np.linspace(0, len(docnos) - 1, most).astype(np.int64)])


def _vectors(table: RowTable, docnos: IntArray) -> Array:
    """Return the first chunk of each document, float32 (n, dimension)."""
    vectors = None
    for part in table.parts:
        stored = part.rows.docno
        wanted = docnos.astype(stored.dtype)
        at = np.searchsorted(stored, wanted)
        here = at < len(stored)
        here[here] = stored[at[here]] == wanted[here]
        if part.live is not None:
            here[here] = part.live[at[here]]
        if vectors is None:
            vectors = np.zeros((len(docnos), part.rows.vectors.shape[1]), np.float32)
        vectors[here] = part.rows.vectors[at[here]]
    return np.zeros((0, 1), np.float32) if vectors is None else vectors
