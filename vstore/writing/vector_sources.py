"""Where a backfill's vectors come from: an embedder, a function, or a map from another version."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np

from vstore.embedding.embedder import Embedder, Embeddings, require_embedder
from vstore.embedding.outcomes import Item
from vstore.embedding.results import require_synchronous, vectors_from
from vstore.errors import InvalidArgumentError, InvalidVectorError
from vstore.segment.user_document import Document, document_of
from vstore.segment.validation import as_array

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from vstore.engine.snapshot import CollectionView
    from vstore.types import Array, IntArray

Embed: TypeAlias = "Embedder | Callable[[Sequence[Document]], Array | Embeddings | Sequence[Array]]"
MapRows: TypeAlias = "Callable[[Array], Array | Embeddings]"
_KNOWN_GOOD_TRIED: Final = 16
OTHERS_TRIED: Final = 64  # documents that may show that it is not the function that fails


class VectorSource:
    """Makes vectors of documents.

    Parameters
    ----------
    embed : Embedder or callable, optional
        The callable gets documents and returns (n, dimension) vectors, `Embeddings`, or one
        (chunks, dimension) array per document.
    from_vectors : callable, optional
        Gets rows of ``mapped_from``, (n, dimension), and returns as many of the target.
    mapped_from : str
        Version whose rows are mapped; empty without ``from_vectors``.
    """

    def __init__(
        self, embed: Embed | None, from_vectors: MapRows | None, *, mapped_from: str
    ) -> None:
        if embed is not None and from_vectors is not None:
            raise InvalidArgumentError("migrate: pass embed or from_vectors=, one of the two")
        if from_vectors is not None:
            if not callable(from_vectors):
                raise InvalidArgumentError(f"from_vectors: no function: {from_vectors!r:.60}")
            require_synchronous(from_vectors, what="from_vectors")
        if isinstance(embed, Embedder) or not (embed is None or callable(embed)):
            require_embedder(embed)
        elif embed is not None:
            require_synchronous(embed, what="embed")
        self._embed = embed
        self._from_vectors = from_vectors
        self._mapped_from = mapped_from
        # What embeds the documents' texts, if it is an embedder that does.
        self.embedder: Embedder | None = embed if isinstance(embed, Embedder) else None

    def require(self) -> None:
        """Refuse to run without anything that makes vectors.

        Raises
        ------
        InvalidArgumentError
            There is neither an embedding function nor a map.
        """
        if self._embed is None and self._from_vectors is None:
            raise InvalidArgumentError("migrate: pass embed or from_vectors=, which make vectors")

    def items(self, view: CollectionView, docnos: IntArray) -> list[Item]:
        """Return those of some documents that are alive and, to be mapped, have vectors."""
        known = docnos[docnos < view.documents.docno_end]
        alive = known[view.documents.revision[known] != 0]
        if self._mapped_from:
            alive = alive[view.rows(self._mapped_from).has_fresh[alive]]
        return [
            Item(
                document_of(view.documents.record(docno), view.field_types),
                self._rows(view, docno) if self._mapped_from else None,
            )
            for docno in alive.tolist()
        ]

    def known_good(self, view: CollectionView, label: str) -> Item | None:
        """Return a document that has fresh vectors of a version and could be embedded again.

        None if there is none among the newest `_KNOWN_GOOD_TRIED`.
        """
        docnos = np.flatnonzero(view.rows(label).has_fresh)[: -1 - _KNOWN_GOOD_TRIED : -1]
        items = self.items(view, docnos)
        needs_text = self.embedder is not None
        return next((item for item in items if item.document.text or not needs_text), None)

    def others(self, view: CollectionView, label: str) -> Iterator[Item]:
        """Yield documents without fresh vectors of a version, spread over all that are left."""
        left = np.flatnonzero((view.documents.revision != 0) & ~view.rows(label).has_fresh)
        places = np.unique(np.linspace(0, len(left) - 1, min(len(left), OTHERS_TRIED)).astype(int))
        for docno in left[places[::-1]]:
            for item in self.items(view, np.array([docno])):
                if self.unfit(item) is None:
                    yield item

    def unfit(self, item: Item) -> InvalidArgumentError | None:
        """Return why a document can have no vectors: an embedder needs a text. None if it can."""
        if self.embedder is None or item.document.text is not None:
            return None
        return InvalidArgumentError(
            f"backfill: document {item.document.id!r:.80} has no text to embed; "
            "pass a callable that gets the documents and finds their source"
        )

    def _rows(self, view: CollectionView, docno: int) -> Array:
        places = view.rows(self._mapped_from).rows_of(docno)
        return np.stack([part.rows.vectors[row] for part, row in places]).astype(np.float32)

    def make(self, items: Sequence[Item]) -> object:
        """Return vectors of the documents, as `Transaction.add_vectors` takes them.

        Raises
        ------
        InvalidArgumentError
            A document has no text, and an embedder needs one.
        EmbeddingError
            The function returns a coroutine, or raises `StopIteration`.
        """
        if self._from_vectors is not None:
            return _mapped(self._from_vectors, [i.rows for i in items if i.rows is not None])
        assert self._embed is not None, "what runs has one of the two"
        documents = [item.document for item in items]
        if self.embedder is None:
            function: Any = self._embed  # it is no embedder
            return vectors_from(function, documents, what="the embedding function")
        for item in items:
            error = self.unfit(item)
            if error is not None:
                raise error
        prompt = self.embedder.spec.document_prompt
        texts = [prompt + (document.text or "") for document in documents]
        what = f"embed_documents of {self.embedder.spec.model!r:.60}"
        made = vectors_from(self.embedder.embed_documents, texts, what=what)
        return Embeddings(self.embedder.spec, made)  # type: ignore[arg-type]  # checked later


def _mapped(function: MapRows, rows: list[Array]) -> list[Array] | Embeddings:
    made = vectors_from(function, np.concatenate(rows), what="from_vectors")
    vectors = as_array(made.vectors if isinstance(made, Embeddings) else made, where="from_vectors")
    counts = [len(part) for part in rows]
    if vectors.ndim != 2 or len(vectors) != sum(counts):
        raise InvalidVectorError(
            f"from_vectors: expected {sum(counts)} rows, one for each it was given, "
            f"found shape {vectors.shape}"
        )
    parts = np.split(vectors, np.cumsum(counts)[:-1])
    return Embeddings(made.spec, parts) if isinstance(made, Embeddings) else parts  # type: ignore[arg-type]  # as `input.chunked` takes it
