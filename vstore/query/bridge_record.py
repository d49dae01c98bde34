"""Encoding of a bridge's map as a record of a collection (`format-spec.md`, "Records")."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from vstore.errors import CorruptionError
from vstore.limits import DIMENSION_MAX
from vstore.manifest.job_state import BRIDGE_KINDS
from vstore.manifest.record import read_record
from vstore.manifest.spec import METRICS
from vstore.query.bridge_map import BridgeMap

if TYPE_CHECKING:
    from vstore.manifest.job_state import BridgeState
    from vstore.manifest.plain import Plain, PlainReader
    from vstore.manifest.state import CollectionState
    from vstore.storage.container import Container
    from vstore.types import Array


def plain_bridge(bridge: BridgeMap) -> Plain:
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


def read_map(plain: PlainReader) -> BridgeMap:
    """Check a bridge's map from a file. The measurements are in the manifest, not here.

    Raises
    ------
    ValueError
        A field is missing, of another type, or out of range.
    """
    source_mean = _floats(plain, "source_mean")
    target_mean = _floats(plain, "target_mean")
    matrix = _floats(plain, "matrix")
    if len(matrix) != len(source_mean) * len(target_mean) or not len(matrix):
        raise ValueError(
            f"{plain.where}: a matrix of {len(matrix)} numbers, from {len(source_mean)} to "
            f"{len(target_mean)} dimensions"
        )
    return BridgeMap(
        kind=plain.choice("kind", BRIDGE_KINDS),
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


def stored_bridge(
    container: Container, collection: CollectionState, state: BridgeState
) -> BridgeMap:
    """Read the map of a bridge.

    Raises
    ------
    CorruptionError
        The record is damaged, or does not match the specs of the two versions.
    """
    bridge = read_record(container, state.record, read_map, what="bridge")
    source, target = (collection.versions[label].spec for label in (state.source, state.target))
    found = (*bridge.matrix.shape, bridge.metric, bridge.kind)
    if found != (source.dimension, target.dimension, target.metric, state.kind):
        problem = f"the bridge from {state.source!r} to {state.target!r} maps {found}"
        raise CorruptionError(container.name, problem, offset=state.record.offset)
    return bridge
