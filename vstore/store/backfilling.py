"""Backfill: giving documents the vectors of a version that they lack, batch by batch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from vstore.errors import CorruptionError, InvalidArgumentError
from vstore.limits import SEAL_DOCUMENTS
from vstore.manifest.commit import Operation
from vstore.manifest.edits import put_collection
from vstore.migration import routing
from vstore.store import canary_checks
from vstore.store.collection_change import change_collection
from vstore.store.document import Document, document_of
from vstore.store.embedder import Embedder, Embeddings, require_embedder
from vstore.store.gate_measurements import coverage
from vstore.store.numbers import check_batch_size, check_whole

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from vstore.migration.gates import Coverage
    from vstore.store.collection import Collection
    from vstore.types import Array, IntArray

Embed: TypeAlias = "Embedder | Callable[[Sequence[Document]], Array | Embeddings | Sequence[Array]]"


@dataclass(frozen=True, slots=True)
class BackfillReport:
    """What one call of `backfill` did.

    Attributes
    ----------
    done, skipped : int
        Documents written, and documents that changed while their vectors were made.
    batches : int
    coverage : Coverage
        After the last batch.
    """

    done: int
    skipped: int
    batches: int
    coverage: Coverage

    @property
    def finished(self) -> bool:
        """Whether nothing is left to do."""
        return self.coverage.complete


def pending(collection: Collection, version: str, *, limit: int | None = None) -> list[Document]:
    """Return live documents without fresh vectors in a version, by docno."""
    if limit is not None:
        limit = check_whole(limit, what="limit", least=0)
    view = collection.view()
    view.version(version)
    docnos = _pending_docnos(collection, version)[:limit]
    return [
        document_of(view.documents.record(docno), view.field_types) for docno in docnos.tolist()
    ]


def _pending_docnos(collection: Collection, version: str) -> IntArray:
    view = collection.view()
    return np.flatnonzero(collection.mask(view, None) & ~view.rows(version).has_fresh)


def backfill(
    collection: Collection,
    version: str,
    embed: Embed,
    *,
    batch_size: int,
    batches_max: int | None,
    progress: Callable[[int, int], None] | None,
) -> BackfillReport:
    """Give every document that lacks them its vectors of a version.

    What is left to do is a scan over the documents, so a run that was killed anywhere is resumed by
    calling this again; no document is embedded twice whose batch was committed. A batch is one
    commit of its vectors and the job's progress. Documents that change or go while their vectors
    are made are skipped, and met again with their new revision.

    Parameters
    ----------
    embed : Embedder, or callable
        The callable gets documents and returns (n, dimension) vectors, `Embeddings`, or one
        (chunks, dimension) array per document.
    batches_max : int, optional
        Stop after so many; the job stays open.
    progress : callable, optional
        Called after each batch with documents covered and live documents.

    Raises
    ------
    StateError
        The version is retired.
    CorruptionError
        The file's id index is damaged, so that documents cannot be written.
    InvalidArgumentError
        An `Embedder` is to embed documents that have no text.
    EmbedderDriftError
        It makes other vectors of the version's canaries than it did.
    SuspectGeometryError
        Vectors are of another space than those that the version has.
    """
    check_batch_size(batch_size)
    if batches_max is not None:
        batches_max = check_whole(batches_max, what="batches_max", least=0)
    if not callable(embed):
        require_embedder(embed)
        canary_checks.require_no_drift(collection, version, embed)
    if collection.scope is not None:
        raise InvalidArgumentError("backfill: not through a scoped handle")
    view = collection.view()
    view.version(version)
    store = collection.store
    job = view.state.jobs.get(version)
    if job is None or job.status != "running":
        change_collection(
            collection,
            lambda state: routing.start_job(state, version, store.moment()),
            Operation("start_backfill", version),
        )
    done = skipped = batches = 0
    before: bytes | None = None
    while batches_max is None or batches < batches_max:
        # One scan serves many batches; documents that came or changed meanwhile are in the next.
        queue = _pending_docnos(collection, version)
        if not len(queue):
            break
        found = queue.tobytes() + collection.view().documents.revision[queue].tobytes()
        if found == before:
            raise CorruptionError(store.path, f"document {int(queue[0])} is not found by its id")
        before = found
        span = max(batch_size, SEAL_DOCUMENTS)
        for start in range(0, min(len(queue), span), batch_size):
            if batches_max is not None and batches >= batches_max:
                break
            wrote, passed = _batch(collection, version, embed, queue[start : start + batch_size])
            done, skipped, batches = done + wrote, skipped + passed, batches + 1
            if progress is not None:
                now = coverage(collection, version)
                progress(now.fresh, now.live)
    reached = coverage(collection, version)
    if reached.complete and collection.view().state.jobs[version].status == "running":
        change_collection(
            collection,
            lambda state: routing.finish_job(state, version),
            Operation("finish_backfill", version),
        )
    return BackfillReport(done, skipped, batches, reached)


def _batch(collection: Collection, version: str, embed: Embed, docnos: IntArray) -> tuple[int, int]:
    view = collection.view()
    known = docnos[docnos < view.documents.docno_end]
    records = [view.documents.record(docno) for docno in known.tolist()]
    documents = [document_of(r, view.field_types) for r in records if r.revision]
    if not documents:
        return 0, 0
    vectors = _embedded(embed, documents)
    with collection.store.transaction() as tx:
        counts = tx.add_vectors(
            collection,
            version,
            [document.id for document in documents],
            vectors,
            revisions=[document.revision for document in documents],
        )
        tx.edit(
            lambda state: put_collection(
                state,
                routing.record_batch(
                    state.collections[collection.name],
                    version,
                    done=counts.written,
                    skipped=counts.stale,
                ),
            ),
            name="backfill",
            note=version,
        )
    return counts.written, counts.stale


def _embedded(embed: Embed, documents: Sequence[Document]) -> object:
    if not isinstance(embed, Embedder):
        return embed(documents)
    texts = []
    for document in documents:
        if document.text is None:
            raise InvalidArgumentError(
                f"backfill: document {document.id!r:.80} has no text to embed; "
                "pass a callable that gets the documents and finds their source"
            )
        texts.append(embed.spec.document_prompt + document.text)
    return Embeddings(embed.spec, embed.embed_documents(texts))
