"""Texts that are embedded as they are upserted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vstore.errors import InvalidArgumentError
from vstore.segment.ids import validate_ids
from vstore.store import guard
from vstore.store.canary_checks import require_no_drift
from vstore.store.counts import UpsertCounts
from vstore.store.embedder import Embedder, Embeddings, require_embedder
from vstore.store.input import listed, metadata_rows, text_column
from vstore.store.numbers import check_count

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from vstore.store.collection import Collection
    from vstore.types import DocumentId


def upsert_texts(
    collection: Collection,
    ids: Iterable[DocumentId],
    texts: Iterable[str],
    *,
    embedder: Embedder,
    metadata: Iterable[Mapping[str, object]] | Mapping[str, Iterable[object]] | None,
    batch_size: int,
    progress: Callable[[int, int], None] | None,
    trust_geometry: bool,
) -> UpsertCounts:
    """Embed texts in batches and upsert them, one commit per batch.

    The version is the collection's that has the embedder's fingerprint. Texts whose stored source
    hash is unchanged and whose vectors are fresh are not embedded again.

    Parameters
    ----------
    ids, texts : iterables of the same length
    metadata : sequence of mappings, or mapping of field to sequence, optional

    Raises
    ------
    EmbedderDriftError
        The version has canaries, and the embedder makes other vectors of them now.
    """
    require_embedder(embedder)
    batch_size = check_count(batch_size, what="batch_size")
    view = collection.view()
    # Everything is checked before the first batch is embedded and committed.
    ids = validate_ids(ids)
    checked = _texts_to_embed(listed(texts, what="texts"), len(ids))
    rows = None if metadata is None else metadata_rows(view.field_types, metadata, ids)
    state = collection.snapshot().state
    version = guard.version_of(view.state, embedder.spec, state, where="upsert_texts")
    require_no_drift(collection, version.label, embedder)
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
            trust_geometry=trust_geometry,
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
    trust_geometry: bool,
) -> tuple[int, int, int, int, int]:
    with collection.store.transaction() as tx:
        counts = tx.upsert(collection, ids, texts=texts, metadata=metadata)
        wanted = tx.lacking(collection, label, ids)
        written = 0
        if wanted:
            prompt = embedder.spec.document_prompt
            chosen = [prompt + texts[i] for i in wanted]
            vectors = Embeddings(embedder.spec, embedder.embed_documents(chosen))
            written = tx.add_vectors(
                collection,
                label,
                [ids[i] for i in wanted],
                vectors,
                trust_geometry=trust_geometry,
            ).written
    return counts.inserted, counts.updated, counts.unchanged, written, len(ids) - written
