"""Moving a collection to another embedding version: backfill, dual read, cutover, rollback.

The decisions are pure functions in `migration`; here they meet the store.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias, get_args

import numpy as np

from vstore.errors import CorruptionError, InvalidArgumentError
from vstore.limits import SEAL_DOCUMENTS
from vstore.manifest.commit import Operation
from vstore.manifest.edits import put_collection
from vstore.migration import routing
from vstore.migration.gates import Coverage, GateResult, coverage_gate
from vstore.query.fusion import FusionName
from vstore.segment.ids import validate_ids
from vstore.store.document import Document, document_of
from vstore.store.embedder import Embedder, Embeddings, require_embedder
from vstore.store.input import listed, metadata_rows, text_column
from vstore.store.names import check_note
from vstore.store.numbers import check_number, check_whole
from vstore.store.transaction import UpsertCounts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from vstore.manifest.state import CollectionState, StoreState
    from vstore.store.collection import Collection
    from vstore.store.search import Where
    from vstore.types import Array, DocumentId, IntArray

Embed: TypeAlias = "Embedder | Callable[[Sequence[Document]], Array | Embeddings | Sequence[Array]]"
Progress: TypeAlias = "Callable[[int, int], None]"


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


def coverage(collection: Collection, version: str, where: Where = None) -> Coverage:
    """Return how many live documents (that pass a filter) have fresh vectors in a version."""
    view = collection.view()
    view.version(version)
    if where is None and collection.scope is None:
        return Coverage(view.rows(version).fresh_count, view.documents.live_count)
    mask = collection.mask(view, where)
    fresh = int(np.count_nonzero(mask & view.rows(version).has_fresh))
    return Coverage(fresh, int(np.count_nonzero(mask)))


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
    progress: Progress | None,
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
    """
    _require_batch_size(batch_size)
    if batches_max is not None:
        batches_max = check_whole(batches_max, what="batches_max", least=0)
    if not callable(embed):
        require_embedder(embed)
    if collection.scope is not None:
        raise InvalidArgumentError("backfill: not through a scoped handle")
    view = collection.view()
    view.version(version)
    store = collection.store
    job = view.state.jobs.get(version)
    if job is None or job.status != "running":
        _change(
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
        _change(
            collection,
            lambda state: routing.finish_job(state, version),
            Operation("finish_backfill", version),
        )
    return BackfillReport(done, skipped, batches, reached)


def _require_batch_size(batch_size: int) -> None:
    if type(batch_size) is not int or batch_size < 1:
        raise InvalidArgumentError(f"batch_size: expected an int >= 1, found {batch_size!r}")


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


def upsert_texts(
    collection: Collection,
    ids: Iterable[DocumentId],
    texts: Iterable[str],
    *,
    embedder: Embedder,
    metadata: Sequence[Mapping[str, object]] | Mapping[str, Sequence[object]] | None,
    batch_size: int,
    progress: Progress | None,
) -> UpsertCounts:
    """Embed texts in batches and upsert them, one commit per batch.

    The version is the collection's that has the embedder's fingerprint. Texts whose stored source
    hash is unchanged and whose vectors are fresh are not embedded again.

    Parameters
    ----------
    ids, texts : iterables of the same length
    metadata : sequence of mappings, or mapping of field to sequence, optional
    """
    from vstore.store import guard

    require_embedder(embedder)
    _require_batch_size(batch_size)
    view = collection.view()
    # Everything is checked before the first batch is embedded and committed.
    ids = validate_ids(ids)
    checked = _texts_to_embed(listed(texts, what="texts"), len(ids))
    rows = None if metadata is None else metadata_rows(view.field_types, metadata, ids)
    state = collection.snapshot().state
    version = guard.version_of(view.state, embedder.spec, state, where="upsert_texts")
    totals = [0, 0, 0, 0, 0]
    for start in range(0, len(ids), batch_size):
        end = min(start + batch_size, len(ids))
        counts = _upsert_batch(
            collection,
            version.label,
            embedder,
            ids[start:end],
            checked[start:end],
            metadata=None if rows is None else rows[start:end],
        )
        for i, value in enumerate(counts):
            totals[i] += value
        if progress is not None:
            progress(end, len(ids))
    return UpsertCounts(
        totals[0], totals[1], totals[2], {version.label: totals[3]}, {version.label: totals[4]}
    )


def _texts_to_embed(texts: Sequence[str | None], count: int) -> list[str]:
    checked = [text for text in text_column(texts, count) if text is not None]
    if len(checked) < count:
        missing = next(i for i, text in enumerate(texts) if text is None)
        raise InvalidArgumentError(f"texts[{missing}]: expected a str, found None")
    return checked


def _upsert_batch(
    collection: Collection,
    label: str,
    embedder: Embedder,
    ids: list[DocumentId],
    texts: list[str],
    *,
    metadata: Sequence[Mapping[str, object]] | None,
) -> tuple[int, int, int, int, int]:
    with collection.store.transaction() as tx:
        counts = tx.upsert(collection, ids, texts=texts, metadata=metadata)
        wanted = tx.lacking(collection, label, ids)
        written = 0
        if wanted:
            prompt = embedder.spec.document_prompt
            chosen = [prompt + texts[i] for i in wanted]
            vectors = Embeddings(embedder.spec, embedder.embed_documents(chosen))
            written = tx.add_vectors(collection, label, [ids[i] for i in wanted], vectors).written
    return counts.inserted, counts.updated, counts.unchanged, written, len(ids) - written


def read_both(collection: Collection, version: str, *, fusion: str, reason: str) -> None:
    """Route to a dual read of the serving version and this one."""
    collection.view().version(version)
    if fusion not in get_args(FusionName):
        raise InvalidArgumentError(
            f"fusion: expected one of {', '.join(get_args(FusionName))}, found {fusion!r:.60}"
        )
    moment = collection.store.moment(check_note(reason, what="reason"))
    _change(
        collection,
        lambda state: routing.read_both(state, version, fusion=fusion, moment=moment),
        Operation("read_both", _note(version, reason)),
    )


def cutover(
    collection: Collection, version: str, *, min_coverage: float, force: bool, reason: str
) -> list[GateResult]:
    """Let a version serve alone, if its gates pass, in one commit.

    Returns
    -------
    list of GateResult
        What each gate measured.

    Raises
    ------
    GateError
        A gate does not pass and ``force`` was not given.
    StateError
        The version serves already, or is retired.
    """
    min_coverage = check_number(min_coverage, what="min_coverage", least=0, most=1)
    check_note(reason, what="reason")
    results: list[GateResult] = []

    def edit(state: CollectionState) -> CollectionState:
        # Measured here, under the writer lock: nothing can change between gate and commit.
        results[:] = [coverage_gate(_coverage_now(collection, version), required=min_coverage)]
        return routing.cut_over(
            state,
            version,
            failures={gate.name: str(gate) for gate in results if not gate.passed},
            measured={gate.name: gate.measured for gate in results},
            force=force,
            moment=collection.store.moment(reason),
        )

    collection.view().version(version)
    name = "cutover (forced)" if force else "cutover"
    _change(collection, edit, Operation(name, _note(version, reason)))
    return results


def _coverage_now(collection: Collection, version: str) -> Coverage:
    view = collection.store.current().collection(collection.name)
    return Coverage(view.rows(version).fresh_count, view.documents.live_count)


def rollback(collection: Collection, *, reason: str) -> None:
    """Return to the version that served before."""
    moment = collection.store.moment(check_note(reason, what="reason"))
    _change(
        collection,
        lambda state: routing.roll_back(state, moment),
        Operation("rollback", reason),
    )


def retire(collection: Collection, version: str, *, reason: str) -> None:
    """End a version."""
    collection.view().version(version)
    moment = collection.store.moment(check_note(reason, what="reason"))
    _change(
        collection,
        lambda state: routing.retire(state, version, moment),
        Operation("retire", _note(version, reason)),
    )


def _note(version: str, reason: str) -> str:
    return f"{version}: {reason}" if reason else version


def _change(
    collection: Collection,
    edit: Callable[[CollectionState], CollectionState],
    operation: Operation,
) -> None:
    collection.require_writable()
    if collection.scope is not None:
        raise InvalidArgumentError(f"{operation.name}: not through a scoped handle")

    def whole(state: StoreState) -> StoreState:
        return put_collection(state, edit(state.collections[collection.name]))

    collection.store.change(whole, operation)
