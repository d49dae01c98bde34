"""Batches through an embedding function: checked, and split where it fails.

A document is to blame only if the function works without it: it failed alone, then another one was
embedded, then it failed again. Where nothing shows that, it is put off. An error that is transient
by its nature (`transient_errors`) blames no document, ever.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NoReturn

import numpy as np

from vstore.errors import EmbeddingError, InvalidVectorError
from vstore.limits import ERROR_BYTES_MAX
from vstore.migration.jobs import cut
from vstore.named import NamedTuple
from vstore.store import guard
from vstore.store.embedding_calls import may_pass
from vstore.store.input import chunked
from vstore.store.transient_errors import is_transient

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from vstore.manifest.state import StoreState, VersionState
    from vstore.segment.validation import CheckedVectors
    from vstore.store.document import Document
    from vstore.store.embedding_calls import Calls
    from vstore.types import Array

OUTAGE_CALLS: Final = 3  # so many in a row that end in a transient error: the service is down
_CONFIRMATIONS: Final = 2  # more calls for a suspect, in a row: every second one may fail
_NAMED_MAX: Final = 3  # documents that a message names


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

    item: Item
    attempts: int
    error: Exception

    @property
    def document(self) -> Document:
        """The document."""
        return self.item.document

    @property
    def text(self) -> str:
        """What its last error says."""
        return error_text(self.error)


class Embedded(NamedTuple):
    """What came of a batch.

    Attributes
    ----------
    documents : list[Document]
        Those with vectors.
    vectors : list of (chunks, dimension)
        By document, as they will be stored.
    failures : list[Failure]
        Documents that are to blame.
    put_off : list[Failure]
        Documents that failed, but for all that is known because the function did not work.
    """

    documents: list[Document]
    vectors: list[Array]
    failures: list[Failure]
    put_off: list[Failure]


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
    known_good : callable
        Returns a document that has vectors of the version, None if there is none: it is embedded
        again to see whether the function works.
    check : callable, optional
        Gets the rows of each call that passed the other checks, (n, dimension), and raises if they
        do not look like the version's. What it raises ends the run.
    isolate : bool
        Split a batch that fails until the documents that make it fail are known. Else its error is
        raised.
    failures_max : int
        After so many documents in a row that fail each by itself it is the function's fault, unless
        a document that is known to be good can be embedded.
    on_failure : callable, optional
        Gets the first document that fails alone, and its error, and raises: the batch is split only
        to find it.
    """

    def __init__(
        self,
        make: Callable[[Sequence[Item]], object],
        calls: Calls,
        *,
        target: VersionState,
        state: Callable[[], StoreState],
        check_lengths: Callable[[CheckedVectors], object],
        known_good: Callable[[], Item | None],
        check: Callable[[Array], object] | None = None,
        isolate: bool = True,
        failures_max: int = 32,
        on_failure: Callable[[Item, Exception], NoReturn] | None = None,
    ) -> None:
        self._make = make
        self._calls = calls
        self._target = target
        self._state = state
        self._check_lengths = check_lengths
        self._known_good = known_good
        self._check = check
        self._isolate = isolate
        self._failures_max = failures_max
        self._on_failure = on_failure
        self._again = False
        self._failed_in_a_row = 0
        self._transient_in_a_row = 0
        self._works = False  # a call succeeded after all that failed
        self._last_good: Item | None = None

    def embed(self, items: Sequence[Item], *, again: bool = False, last: bool = False) -> Embedded:
        """Return vectors of the documents, and which have none.

        Parameters
        ----------
        again : bool
            They failed before: their batch is split in any case, and ``failures_max`` leaves them
            out.
        last : bool
            No later batch will show whether the function works: embed another document to see.

        Raises
        ------
        EmbeddingError
            The function fails for everything, or the service it calls is down.
        """
        result = Embedded([], [], [], [])
        suspects: list[Failure] = []
        self._again = again
        isolate = self._isolate or again
        self._embed(items, result, suspects, tried=0, whole=True, isolate=isolate)
        if suspects and (self._works or (last and self._probe())):
            self._judge(suspects, result)
        else:
            result.put_off.extend(suspects)
        return result

    def _embed(
        self,
        items: Sequence[Item],
        result: Embedded,
        suspects: list[Failure],
        *,
        tried: int,
        whole: bool,
        isolate: bool,
    ) -> None:
        made_before = self._calls.made
        try:
            # A part of a batch that failed after all its retries is called once: what fails then
            # is split. Only a document alone is worth waiting for again.
            if whole or len(items) == 1:
                vectors = self._calls.retried(lambda: self._attempt(items))
            else:
                vectors = self._attempt(items)
        except Exception as error:
            tried += max(self._calls.made - made_before, 1)
            self._count_failure(error, items, isolate=isolate)
            if len(items) == 1:
                suspects.append(self._suspect(items[0], tried, error))
                return
        else:
            self._keep(items, vectors, result)
            return
        middle = len(items) // 2
        for part in (items[:middle], items[middle:]):
            self._embed(part, result, suspects, tried=tried, whole=False, isolate=isolate)

    def _keep(self, items: Sequence[Item], vectors: list[Array], result: Embedded) -> None:
        if self._check is not None:
            self._check(np.concatenate(vectors))
        self._note_success(items[-1])
        self._failed_in_a_row = 0
        result.documents.extend(item.document for item in items)
        result.vectors.extend(vectors)

    def _note_success(self, item: Item) -> None:
        self._transient_in_a_row = 0
        self._works = True
        self._last_good = item

    def _count_failure(self, error: Exception, items: Sequence[Item], *, isolate: bool) -> None:
        """Raise the error of a call if it ends the run.

        Raises
        ------
        EmbeddingError
            It is transient, and not the first one in a row.
        """
        self._works = False
        if not may_pass(error):
            raise error
        if not is_transient(error):
            self._transient_in_a_row = 0
            if not isolate:
                raise error
            return
        self._transient_in_a_row += 1
        if not isolate or self._on_failure is not None or self._transient_in_a_row >= OUTAGE_CALLS:
            raise EmbeddingError(
                f"the embedding function for {self._target.label!r} does not answer: "
                f"{error_text(error)}; the last call was for {named(items)}. None of this batch "
                "was written and no document is blamed. Run it again when the service answers."
            ) from error

    def _suspect(self, item: Item, tried: int, error: Exception) -> Failure:
        if self._on_failure is not None:
            self._on_failure(item, error)
        self._failed_in_a_row += not self._again and not is_transient(error)
        if self._failed_in_a_row >= self._failures_max:
            if not self._probe():
                raise EmbeddingError(
                    f"{self._failed_in_a_row} documents in a row could not be embedded for "
                    f"{self._target.label!r}, the last one, {item.document.id!r:.80}, with "
                    f"{error_text(error)}. That is the function's fault rather than theirs; none "
                    "of this batch was written. Run it again when the function works."
                ) from error
            self._failed_in_a_row = 0
        return Failure(item, tried, error)

    def _judge(self, suspects: list[Failure], result: Embedded) -> None:
        """Try documents again that failed before the function worked."""
        for suspect in suspects:
            errors = [suspect.error]
            for _ in range(_CONFIRMATIONS):
                try:
                    vectors = self._attempt([suspect.item])
                except Exception as error:
                    if not may_pass(error):
                        raise
                    self._works = False
                    errors.append(error)
                else:
                    self._keep([suspect.item], vectors, result)
                    break
            else:
                lasting = [error for error in errors if not is_transient(error)]
                tried = suspect.attempts + _CONFIRMATIONS
                if len(lasting) > 1:  # it failed by itself, and did so again
                    result.failures.append(Failure(suspect.item, tried, lasting[-1]))
                else:
                    result.put_off.append(Failure(suspect.item, tried, errors[-1]))

    def _probe(self) -> bool:
        """Return whether the function works: it embeds a document that it has embedded before."""
        item = self._last_good or self._known_good()
        if item is None:
            return False
        try:
            self._calls.retried(lambda: self._attempt([item]))
        except Exception as error:
            self._count_failure(error, [item], isolate=True)
            return False
        self._note_success(item)
        return True

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


def put_off_error(failures: Sequence[Failure], label: str) -> EmbeddingError:
    """Return the error that ends a run whose last documents were put off."""
    last = failures[-1]
    error = EmbeddingError(
        f"{len(failures):,} documents could not be embedded for {label!r}, and nothing shows that "
        f"it is their fault: {named([failure.item for failure in failures])}; the last error was "
        f"{last.text}. They are left as they were. Run it again when the function works."
    )
    error.__cause__ = last.error
    return error


def named(items: Sequence[Item]) -> str:
    """Return the ids of some documents, for a message."""
    ids = ", ".join(f"{item.document.id!r:.80}" for item in items[:_NAMED_MAX])
    return ids if len(items) <= _NAMED_MAX else f"{ids} and {len(items) - _NAMED_MAX:,} more"


def error_text(error: BaseException) -> str:
    """Return what a dead letter says of an error."""
    try:
        text = f"{type(error).__name__}: {error}"
    except Exception:
        text = type(error).__name__
    return cut(text, ERROR_BYTES_MAX)
