"""Query vectors of one version, from a caller's queries."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from vstore.deferred import Deferred
from vstore.guarding import spec_check as guard
from vstore.searching.resolving import vectors_for

if TYPE_CHECKING:
    from vstore.embedding.embedder import Embeddings
    from vstore.engine.handle import Handle
    from vstore.engine.snapshot import CollectionView, Snapshot
    from vstore.manifest.state import VersionState
    from vstore.searching import bridging
    from vstore.searching.parameters import Queries
    from vstore.types import Array
else:  # loaded late: a search by vectors of the version itself does not need it
    bridging = Deferred("vstore.searching.bridging")


class QueryVectors:
    """Selection and checks of the query vectors that a search needs for one version.

    Parameters
    ----------
    several : bool
        Whether the search needs vectors for other versions too.
    source : VersionState | None
        The version whose queries a bridge maps into this version's space; None without a bridge.
    """

    def __init__(
        self, version: VersionState, *, several: bool, source: VersionState | None = None
    ) -> None:
        self.version = version
        self._several = several
        self._source = source
        self._asked = version if source is None else source
        self._where = f"query for {self._asked.label!r}"
        for one in (self._asked, version):
            guard.require_open(one, where=f"query for {one.label!r}")

    @property
    def is_mapped(self) -> bool:
        """Whether the queries are another version's, mapped by a bridge."""
        return self._source is not None

    def checked(
        self, handle: Handle, snapshot: Snapshot, view: CollectionView, queries: Queries
    ) -> Array:
        """Return the queries' vectors for the version, float32 (m, dimension).

        Raises
        ------
        MissingQueryVectorError
            There are no vectors, and no embedder to make them.
        VersionMismatchError
            The vectors are stamped by another model.
        InvalidVectorError
            The vectors do not match the version's spec.
        """
        asked, state = self._asked, snapshot.state
        given: Array | Embeddings
        if type(queries) is np.ndarray and not self._several:  # the most frequent form first
            given = queries
        elif type(queries) is dict and asked.label in queries:
            given = queries[asked.label]
        else:
            given = vectors_for(handle, view, queries, asked.label, state, several=self._several)
        if not guard.is_sound_query(given, asked.spec):
            given = guard.check_queries(asked, given, state, where=self._where)
        if self._source is None:
            return given
        label = self.version.label
        mapped = bridging.mapped(snapshot, view, self._source.label, label, given)
        return guard.check_queries(self.version, mapped, state, where=f"query for {label!r}")
