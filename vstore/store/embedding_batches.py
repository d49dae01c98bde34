"""One batch of documents through an embedding function: checked, and split where it fails."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from vstore.errors import EmbeddingError, InvalidVectorError
from vstore.limits import ERROR_BYTES_MAX
from vstore.migration.jobs import cut
from vstore.named import NamedTuple
from vstore.store import guard
from vstore.store.embedding_calls import may_pass
from vstore.store.input import chunked

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from vstore.manifest.state import StoreState, VersionState
    from vstore.segment.validation import CheckedVectors
    from vstore.store.document import Document
    from vstore.store.embedding_calls import Calls
    from vstore.types import Array


class Item(NamedTuple):
    """A document to embed.

    Attributes
    ----------
    rows : float32 (chunks, dimension) or None
        Its vectors in the source version, where they are to be mapped.
    """

    document: Document
    rows: Array | None = None


class Failure(NamedTuple):
    """A document that could not be embedded, after so many calls that it was part of."""

    document: Document
    attempts: int
    error: str


class Embedded(NamedTuple):
    """What came of a batch.

    Attributes
    ----------
    documents : list[Document]
        Those with vectors.
    vectors : list of (chunks, dimension)
        By document, as they will be stored.
    failures : list[Failure]
    """

    documents: list[Document]
    vectors: list[Array]
    failures: list[Failure]


class BatchEmbedder:
    """Makes and checks the vectors of batches.

    Parameters
    ----------
    make : callable
        From items to vectors, as `Transaction.add_vectors` takes them.
    target : VersionState
    state : callable
        Returns the store's state, for equivalences.
    check_lengths : callable
        Raises if a row has a length that no row of the version can have.
    check : callable, optional
        Gets the rows of each call that passed the other checks, (n, dimension), and raises if they
        do not look like the version's. What it raises ends the run.
    isolate : bool
        Split a batch that fails until the documents that make it fail are known. Else its error is
        raised.
    failures_max : int
        So many documents in a row that fail each by itself are taken to be the function's fault.
    """

    def __init__(
        self,
        make: Callable[[Sequence[Item]], object],
        calls: Calls,
        *,
        target: VersionState,
        state: Callable[[], StoreState],
        check_lengths: Callable[[CheckedVectors], object],
        check: Callable[[Array], object] | None,
        isolate: bool,
        failures_max: int,
    ) -> None:
        self._make = make
        self._calls = calls
        self._target = target
        self._state = state
        self._check_lengths = check_lengths
        self._check = check
        self._isolate = isolate
        self._failures_max = failures_max
        self._failed_in_a_row = 0

    def embed(self, items: Sequence[Item]) -> Embedded:
        """Return vectors of the documents, and which have none.

        Raises
        ------
        EmbeddingError
            Everything fails.
        """
        result = Embedded([], [], [])
        self._embed(items, result, tried=0, whole=True)
        return result

    def _embed(self, items: Sequence[Item], result: Embedded, *, tried: int, whole: bool) -> None:
        made_before = self._calls.made
        try:
            # A part of a batch that failed after all its retries is called once: what fails then
            # is split. Only what would become a dead letter is worth waiting for again.
            if whole or len(items) == 1:
                vectors = self._calls.retried(lambda: self._attempt(items))
            else:
                vectors = self._attempt(items)
        except Exception as error:
            if not self._isolate or not may_pass(error):
                raise
            tried += max(self._calls.made - made_before, 1)
            if len(items) == 1:
                self._fail(items[0], tried, error, result)
                return
        else:
            if self._check is not None:
                self._check(np.concatenate(vectors))
            self._failed_in_a_row = 0
            result.documents.extend(item.document for item in items)
            result.vectors.extend(vectors)
            return
        middle = len(items) // 2
        self._embed(items[:middle], result, tried=tried, whole=False)
        self._embed(items[middle:], result, tried=tried, whole=False)

    def _fail(self, item: Item, tried: int, error: Exception, result: Embedded) -> None:
        self._failed_in_a_row += 1
        if self._failed_in_a_row >= self._failures_max:
            raise EmbeddingError(
                f"{self._failed_in_a_row} documents in a row could not be embedded for "
                f"{self._target.label!r}, the last one, {item.document.id!r:.80}, with "
                f"{error_text(error)}. That is the function's fault rather than theirs; none of "
                "this batch was written. Run the migration again when it works, or pass a larger "
                "failures_max."
            ) from error
        result.failures.append(Failure(item.document, tried, error_text(error)))

    def _attempt(self, items: Sequence[Item]) -> list[Array]:
        made = self._calls.once(lambda: self._make(items))
        where = f"vectors[{self._target.label!r}]"
        matrix, counts = chunked(made, len(items), where=where)
        whole = guard.check_batch(self._target, matrix, self._state(), where=where)
        self._check_lengths(whole)
        checked = whole.vectors
        if counts is None and len(checked) != len(items):
            raise InvalidVectorError(
                f"{where}: expected {len(items)} rows, one per document, found {len(checked)}"
            )
        # A copy, for the function may use its array again for the next part of the batch.
        ends = np.arange(1, len(items)) if counts is None else np.cumsum(counts)[:-1]
        return np.split(checked.copy(), ends)


def error_text(error: BaseException) -> str:
    """Return what a dead letter says of an error."""
    try:
        text = f"{type(error).__name__}: {error}"
    except Exception:
        text = type(error).__name__
    return cut(text, ERROR_BYTES_MAX)
