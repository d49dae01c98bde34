"""A version as operators see it: its manifest entry, and statistics of its rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from vstore.engine.coverage import Coverage
from vstore.manifest.codec import plain_spec
from vstore.manifest.lifecycle import Lifecycle, lifecycle
from vstore.segment.vectors import VectorSegment

if TYPE_CHECKING:
    from vstore.engine.snapshot import CollectionView
    from vstore.manifest.job_state import JobState
    from vstore.manifest.spec import EmbeddingSpec
    from vstore.manifest.state import GraphSettings, Provenance, StalePolicy, StorageType


@dataclass(frozen=True, slots=True)
class VersionInfo:
    """One embedding version at one epoch; through a scoped handle, for the documents inside.

    Attributes
    ----------
    state : str
        ``declared``, ``backfilling``, ``ready``, ``serving``, ``draining`` or ``retired``; derived.
    coverage : Coverage
    stale_documents : int
        Live documents whose vectors in this version are of an older revision; through a scoped
        handle, only those served.
    rows : int
        Vectors that a search may return.
    segments : int | None
        Sealed segments; None through a scoped handle, because rows outside share them.
    graphs : int | None
        Segments with a graph; None through a scoped handle.
    graph : GraphSettings | None
        Settings of graphs; None if no segment gets one.
    size_bytes : int
        Bytes of the sealed segments in the file; through a scoped handle, of the vectors inside.
    norm_min, norm_max : float
        Lengths of the shortest and longest vector; 0 without any.
    backfill : JobState | None
    """

    label: str
    corpus: str
    spec: EmbeddingSpec
    state: Lifecycle
    created_epoch: int
    created_us: int
    storage: StorageType
    stale_policy: StalePolicy
    provenance: Provenance
    retire_grace_s: int
    retired_us: int | None
    coverage: Coverage
    stale_documents: int
    rows: int
    segments: int | None
    graphs: int | None
    graph: GraphSettings | None
    size_bytes: int
    norm_min: float
    norm_max: float
    backfill: JobState | None

    @property
    def fingerprint(self) -> str:
        """The spec's fingerprint, 64 hex digits."""
        return self.spec.fingerprint.hex()

    def to_dict(self) -> dict[str, object]:
        """Return everything as plain data."""
        return {
            "label": self.label,
            "corpus": self.corpus,
            "fingerprint": self.fingerprint,
            "spec": plain_spec(self.spec),
            "state": self.state,
            "created_epoch": self.created_epoch,
            "created_us": self.created_us,
            "storage": self.storage,
            "provenance": self.provenance,
            "stale_policy": self.stale_policy,
            "deletion_policy": {
                "documents": "hidden at once, bytes gone after vacuum",
                "retire_grace_s": self.retire_grace_s,
            },
            "retired_us": self.retired_us,
            "backfill": None if self.backfill is None else _job_info(self.backfill),
            "statistics": {
                "rows": self.rows,
                "fresh_documents": self.coverage.fresh,
                "live_documents": self.coverage.live,
                "coverage": self.coverage.share,
                "stale_documents": self.stale_documents,
                "segments": self.segments,
                "graphs": self.graphs,
                "size_bytes": self.size_bytes,
                "norm_min": self.norm_min,
                "norm_max": self.norm_max,
            },
        }


def _job_info(job: JobState) -> dict[str, object]:
    plain = job._asdict()
    del plain["target"]
    return {**plain, "dead": len(job.dead)}


def version_info(view: CollectionView, label: str) -> VersionInfo:
    """Collect the entry and statistics of a version.

    Raises
    ------
    NotFoundError
        The collection has no such version.
    """
    version = view.version(label)
    table = view.rows(label)
    coverage = Coverage(table.fresh_count, view.documents.live_count)
    segments = None
    if table.tells_parts:
        segments = [part.rows for part in table.parts if isinstance(part.rows, VectorSegment)]
    norms = [norms for norms in table.norms if len(norms)]
    alive = view.documents.revision != 0
    return VersionInfo(
        label=label,
        corpus=view.state.name,
        spec=version.spec,
        state=lifecycle(view.state, label, covered=coverage.complete and coverage.live > 0),
        created_epoch=version.created_epoch,
        created_us=version.created_us,
        storage=version.storage,
        stale_policy=version.stale_policy,
        provenance=version.provenance,
        retire_grace_s=version.retire_grace_s,
        retired_us=version.retired_us,
        coverage=coverage,
        stale_documents=int(np.count_nonzero(table.stale & alive)),
        rows=table.served_rows,
        segments=None if segments is None else len(segments),
        graphs=None if segments is None else sum(one.has_graph for one in segments),
        graph=version.graph,
        size_bytes=table.sealed_bytes,
        norm_min=min((float(n.min()) for n in norms), default=0.0),
        norm_max=max((float(n.max()) for n in norms), default=0.0),
        backfill=view.state.jobs.get(label),
    )
