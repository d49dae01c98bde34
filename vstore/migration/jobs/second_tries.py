"""Documents that a backfill retries before a run ends: dead letters, and put-off documents."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np

from vstore.embedding.outcomes import put_off_error
from vstore.embedding.transient_errors import is_transient

if TYPE_CHECKING:
    from vstore.embedding.outcomes import EmbeddingOutcome, Failure
    from vstore.engine.snapshot import CollectionView
    from vstore.migration.jobs.queue import Queue
    from vstore.types import DocumentId, IntArray

Phase: TypeAlias = Literal["first", "letters", "put off"]


class SecondTries:
    """Failures of one run, by document and revision.

    A dead letter of an earlier run is retried once, and so is a document that was put off.
    """

    def __init__(self, target: str) -> None:
        self._target = target
        self._lettered: set[tuple[DocumentId, int]] = set()
        self._put_off: dict[tuple[DocumentId, int], Failure] = {}
        self._last_try = False

    def note(self, embedded: EmbeddingOutcome, phase: Phase) -> None:
        """Record the failures of a batch."""
        self._lettered.update(map(_key, embedded.failures))
        for failure in embedded.put_off:
            if phase == "letters" and not is_transient(failure.error):
                self._lettered.add(_key(failure))  # keeps its letter, which gives the reason
            else:
                self._put_off[_key(failure)] = failure

    def pass_over(self, view: CollectionView, docnos: IntArray) -> None:
        """Keep the letters of documents that have nothing to embed or map now."""
        revisions = view.documents.revision[docnos].tolist()
        self._lettered.update(zip(view.documents.ids(docnos), revisions, strict=True))

    def without_put_off(self, view: CollectionView, docnos: IntArray) -> IntArray:
        """Return the documents that were not put off."""
        if not self._put_off:
            return docnos
        put_off = view.documents.find([id_ for id_, _ in self._put_off])
        return docnos[~np.isin(docnos, put_off)]

    def take(self, view: CollectionView, queue: Queue) -> tuple[Phase, IntArray]:
        """Return the documents to retry now, each once a run."""
        phase: Phase = "letters"
        ids = [letter.id for letter in queue.dead if self._is_untried(letter.id, letter.revision)]
        if not ids and not self._last_try:
            self._last_try, phase = True, "put off"
            ids = [id_ for id_, _ in self._put_off]
            self._put_off.clear()
        docnos = view.documents.find(ids) if ids else np.zeros(0, np.int64)
        return phase, np.sort(docnos[docnos >= 0])

    def has_untried(self, queue: Queue) -> bool:
        """Whether dead letters of earlier runs are left to try."""
        return any(self._is_untried(letter.id, letter.revision) for letter in queue.dead)

    def require_none_put_off(self) -> None:
        """Raise the error that ends a run while documents are put off.

        Raises
        ------
        EmbeddingError
            Documents are put off.
        """
        if self._put_off:
            raise put_off_error(list(self._put_off.values()), self._target)

    def _is_untried(self, id_: DocumentId, revision: int) -> bool:
        return (id_, revision) not in self._lettered and (id_, revision) not in self._put_off


def _key(failure: Failure) -> tuple[DocumentId, int]:
    return failure.document.id, failure.document.revision
