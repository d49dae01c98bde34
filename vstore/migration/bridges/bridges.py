"""Bridges of a collection: fitted on its own documents, gated, stored, applied to queries."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final, get_args

import numpy as np

from vstore.engine.collection_change import change_collection, require_unscoped
from vstore.errors import (
    CorruptionError,
    GateError,
    InvalidArgumentError,
    NotFoundError,
    StateError,
)
from vstore.guarding import spec_check as guard
from vstore.limits import BRIDGES_MAX, DIMENSION_MAX
from vstore.manifest.commit import Operation
from vstore.manifest.edits import require_count
from vstore.manifest.job_state import BridgeState
from vstore.manifest.record import append_record, read_record
from vstore.manifest.spec import METRICS
from vstore.migration.bridges.bridge import Bridge, BridgeKind, bridge_gate, bridge_recall
from vstore.migration.bridges.fitting import KINDS, fit_bridge
from vstore.numbers import check_number, check_whole

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from vstore.api.collection import Collection
    from vstore.engine.snapshot import CollectionView, Snapshot
    from vstore.manifest.plain import Plain, PlainReader
    from vstore.manifest.state import CollectionState, VersionState
    from vstore.segment.row_table import RowTable
    from vstore.storage.container import Container
    from vstore.types import Array, IntArray

MIN_RECALL: Final = 0.8


def fit(
    collection: Collection,
    source: str,
    target: str,
    *,
    min_recall: float,
    kinds: Sequence[BridgeKind] | None,
    documents_max: int,
    seed: int,
    queries: Mapping[str, Array] | None,
) -> Bridge:
    """Fit a map from a version's space to another's, and keep it if its recall is good enough.

    Raises
    ------
    GateError
        The recall of held-out documents, or of the queries, is below ``min_recall``. Nothing is
        stored.
    StateError
        Too few documents have vectors in both versions, or one of them is retired.
    ScopeError
        The handle is scoped, and the map would serve everybody.
    """
    require_unscoped(collection, "fit_bridge")
    min_recall = check_number(min_recall, what="min_recall", least=0, most=1)
    documents_max = check_whole(documents_max, what="documents_max", least=1)
    view = collection.view()
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
        kinds=KINDS if kinds is None else kinds,
        seed=seed,
    )
    asked = None
    if queries is not None:
        recall, asked = _recall_of(collection, bridge, queries, versions, vectors[1])
        bridge = replace(bridge, recall=recall)
    gate = bridge_gate(bridge, required=min_recall, queries=asked)
    if not gate.passed:
        raise GateError(
            f"bridge from {source!r} to {target!r} refused: {gate}. Migrate instead, or lower "
            "min_recall knowing what is lost.",
            measured={gate.name: gate.measured},
        )

    def edit(state: CollectionState) -> CollectionState:
        moment = collection.store.moment()
        record = append_record(collection.store.open_file.container, plain_bridge(bridge))
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

    change_collection(
        collection, edit, Operation("fit_bridge", f"{source} to {target}: {bridge.kind}, {gate}")
    )
    return bridge


def _recall_of(
    collection: Collection,
    bridge: Bridge,
    queries: Mapping[str, Array],
    versions: Sequence[VersionState],
    documents: Array,
) -> tuple[float, int]:
    """Return how much of their own neighbours real queries find, mapped; and how many they are."""
    state, checked = collection.snapshot().state, []
    for version in versions:
        if version.label not in queries:
            raise InvalidArgumentError(f"fit_bridge: no queries for version {version.label!r}")
        where = f"queries for {version.label!r}"
        checked.append(guard.check_queries(version, queries[version.label], state, where=where))
    own, other = checked
    return bridge_recall(bridge, own, other, documents), len(own)


def _with_both(view: CollectionView, source: str, target: str, most: int) -> IntArray:
    """Return documents with fresh vectors in both versions, spread evenly if there are too many."""
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


def plain_bridge(bridge: Bridge) -> Plain:
    """Return a bridge's map as structured data."""
    return {
        "kind": bridge.kind,
        "metric": bridge.metric,
        "unit": bridge.unit,
        "penalty": float(bridge.penalty),
        "rank": int(bridge.rank),
        "seed": int(bridge.seed),
        "source_mean": bridge.source_mean.astype("<f4").tobytes(),
        "target_mean": bridge.target_mean.astype("<f4").tobytes(),
        "matrix": bridge.matrix.astype("<f4").tobytes(),
    }


def read_map(plain: PlainReader) -> Bridge:
    """Check a bridge's map from a file. What was measured is in the manifest.

    Raises
    ------
    ValueError
    """
    source_mean = _floats(plain, "source_mean")
    target_mean = _floats(plain, "target_mean")
    matrix = _floats(plain, "matrix")
    if len(matrix) != len(source_mean) * len(target_mean) or not len(matrix):
        raise ValueError(
            f"{plain.where}: a matrix of {len(matrix)} numbers, from {len(source_mean)} to "
            f"{len(target_mean)} dimensions"
        )
    return Bridge(
        kind=plain.choice("kind", get_args(BridgeKind)),
        penalty=plain.real("penalty"),
        rank=plain.integer("rank", maximum=DIMENSION_MAX),
        matrix=matrix.reshape(len(source_mean), len(target_mean)),
        source_mean=source_mean,
        target_mean=target_mean,
        metric=plain.choice("metric", METRICS),
        unit=plain.boolean("unit"),
        recall=0.0,
        pairs=0,
        held_out=0,
        seed=plain.integer("seed"),
        trials=(),
    )


def _floats(plain: PlainReader, key: str) -> Array:
    data = plain.binary(key)
    if len(data) % 4:
        raise ValueError(f"{plain.where}.{key}: {len(data)} bytes")
    numbers = np.frombuffer(data, "<f4")
    if not np.isfinite(numbers).all():
        raise ValueError(f"{plain.where}.{key}: not finite")
    return numbers


def bridge_between(view: CollectionView, source: str, target: str) -> BridgeState:
    """Return the bridge from one version to another.

    Raises
    ------
    NotFoundError
    """
    for bridge in view.state.bridges:
        if (bridge.source, bridge.target) == (source, target):
            return bridge
    raise NotFoundError(
        f"collection {view.state.name!r} has no bridge from {source!r} to {target!r}; "
        "fit one with fit_bridge()"
    )


def blended(
    snapshot: Snapshot, view: CollectionView, labels: tuple[str, str], own: Array, other: Array
) -> Array:
    """Return queries of the old version that also ask what the new version's queries ask.

    Parameters
    ----------
    labels : old and new version
    own, other : float32 (m, dimension)
        The same queries for either.

    Raises
    ------
    NotFoundError, CorruptionError
    """
    bridge = _loaded(snapshot, view, bridge_between(view, *labels))
    return np.ascontiguousarray(bridge.blended(own, other), np.float32)


def _loaded(snapshot: Snapshot, view: CollectionView, state: BridgeState) -> Bridge:
    bridge: Bridge = view.bridges.get(
        state.record, lambda: stored_bridge(snapshot.container, view.state, state)
    )
    return bridge


def stored_bridge(container: Container, collection: CollectionState, state: BridgeState) -> Bridge:
    """Read the map of a bridge.

    Raises
    ------
    CorruptionError
        Its bytes are damaged, or it leads between other versions.
    """
    bridge = read_record(container, state.record, read_map, what="bridge")
    source, target = (collection.versions[label].spec for label in (state.source, state.target))
    found = (*bridge.matrix.shape, bridge.metric, bridge.kind)
    if found != (source.dimension, target.dimension, target.metric, state.kind):
        problem = f"the bridge from {state.source!r} to {state.target!r} maps {found}"
        raise CorruptionError(container.name, problem, offset=state.record.offset)
    return bridge


def mapped(
    snapshot: Snapshot, view: CollectionView, source: str, target: str, queries: Array
) -> tuple[Array, BridgeState]:
    """Return queries of one version in the space of another, float32, and over which bridge.

    Raises
    ------
    NotFoundError, CorruptionError
    """
    state = bridge_between(view, source, target)
    bridge = _loaded(snapshot, view, state)
    return np.ascontiguousarray(bridge.apply(queries), np.float32), state
