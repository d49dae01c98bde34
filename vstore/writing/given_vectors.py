"""Vectors that a caller gives for documents, checked, and added to a transaction."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from vstore.embedding.embedder import Embeddings
from vstore.engine.pending import row_batch
from vstore.errors import InvalidArgumentError
from vstore.guarding import spec_check as guard
from vstore.limits import SEAL_BYTES
from vstore.writing.input import chunked

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vstore.engine.handle import Handle
    from vstore.engine.pending import PendingChanges
    from vstore.manifest.state import StoreState
    from vstore.segment.validation import CheckedVectors
    from vstore.types import Array, IntArray


class GivenVectors(NamedTuple):
    """Vectors of one version, checked; ``counts`` are rows per document, None for one each."""

    label: str
    checked: CheckedVectors
    counts: IntArray | None

    def add_to(
        self,
        pending: PendingChanges,
        docnos: Array,
        revisions: Array,
        *,
        skipped: Sequence[int] = (),
    ) -> None:
        """Add the rows to a collection's uncommitted changes.

        Parameters
        ----------
        docnos, revisions : (n,)
            By document.
        skipped : sequence of int
            Documents to leave out, by position.
        """
        batch = row_batch(
            docnos,
            revisions,
            self.checked.vectors,
            self.checked.norms,
            counts=self.counts,
            skipped=skipped,
        )
        if batch is not None:
            pending.add_rows(self.label, batch)


def label_of_vectors(handle: Handle, version: str | None, vectors: object) -> str:
    """Return the label of the version that vectors are of: named, bound, or said by their stamp.

    Raises
    ------
    InvalidArgumentError
        None is named, the handle is bound to none, and they bear no stamp.
    VersionMismatchError, StateError
        No version has the stamp's spec; the one that has it is retired.
    """
    if version is None and handle.version is None and isinstance(vectors, Embeddings):
        snapshot = handle.snapshot()
        state = handle.view_at(snapshot).state
        return guard.version_of(state, vectors.spec, snapshot.state, where="vectors").label
    return handle.label(version)


def by_label(handle: Handle, vectors: object) -> Mapping[str, object]:
    """Return a caller's vectors by the label of their version, which a stamp says too.

    Raises
    ------
    InvalidArgumentError
        They are no mapping and bear no stamp, and the handle is bound to no version.
    VersionMismatchError, StateError
        No version has the stamp's spec; the one that has it is retired.
    """
    if vectors is None:
        return {}
    if isinstance(vectors, Mapping):
        return vectors
    if handle.version is None and not isinstance(vectors, Embeddings):
        raise InvalidArgumentError(
            "vectors: expected a mapping of version label to array, found "
            f"{type(vectors).__name__}; an array does not say which version it is of, unless the "
            "handle is bound to one: docs.at(label)"
        )
    return {label_of_vectors(handle, None, vectors): vectors}


def check_given(
    pending: PendingChanges,
    label: str,
    vectors: object,
    count: int,
    *,
    state: StoreState,
    one_call: bool,
) -> GivenVectors:
    """Return vectors of a version for so many documents, checked.

    Parameters
    ----------
    vectors : array, Embeddings, or sequence of arrays
        (n, dimension), or one (chunks, dimension) array per document.
    one_call : bool
        The transaction ends when its first call returns.

    Raises
    ------
    InvalidArgumentError, InvalidVectorError, VersionMismatchError, NotFoundError, StateError
        They are not as many as documents; one is not finite, or zero under cosine; the stamp or the
        dimension is not the version's; there is no such version; it is retired.
    """
    version = pending.view.version(label)
    where = f"vectors[{label!r}]"
    matrix, counts = chunked(vectors, count, where=where)
    checked = guard.check_batch(version, matrix, state, where=where)
    if counts is None and len(checked.vectors) != count:
        raise InvalidArgumentError(
            f"{where}: expected {count} rows, one per id, found {len(checked.vectors)}"
        )
    source = getattr(matrix, "vectors", matrix)
    # Lists were copied into an array; an object that is none may have returned its own array.
    own = isinstance(source, list | tuple) or (
        type(source) is np.ndarray and checked.vectors is not source
    )
    borrowed = not own or checked.vectors.base is not None
    if borrowed and not (one_call and checked.vectors.nbytes > SEAL_BYTES):
        # What goes to the memtable outlives the call, and what waits for the end of the
        # transaction too; the caller may change its array. Large ones are sealed at once.
        checked = checked._replace(vectors=checked.vectors.copy())
    return GivenVectors(label, checked, counts)
