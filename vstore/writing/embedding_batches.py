"""Batches through an embedding function: checked, and split where it fails.

A document is to blame only if the function works without it: it failed alone, then another one was
embedded, then it failed again. Where nothing shows that, it is put off.

An error that is transient by its nature (`transient_errors`) mostly is the service's: it takes more
to blame a document for one. But some servers answer so to a text that they cannot take, or hang.
Before a service counts as down, a document that ought to work is tried. A document that fails so
while others work is put off, and to blame if it fails at the end again, several times.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NoReturn

import numpy as np

from vstore.embedding.calls import may_pass
from vstore.embedding.outcomes import EmbeddingOutcome, Failure, error_text, named
from vstore.embedding.transient_errors import is_transient
from vstore.errors import EmbeddingError, InvalidVectorError
from vstore.guarding import spec_check as guard
from vstore.writing.input import chunked

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from vstore.embedding.calls import Caller
    from vstore.embedding.outcomes import Item
    from vstore.manifest.state import StoreState, VersionState
    from vstore.segment.validation import CheckedVectors
    from vstore.types import Array, DocumentId

OUTAGE_CALLS: Final = 3  # so many in a row that end in a transient error: is the service down?
_CONFIRMATIONS: Final = 2  # more calls for a suspect, in a row: every second one may fail
_MORE_CONFIRMATIONS: Final = 5  # where its errors are transient: four of five may fail
_OTHERS_MAX: Final = 3  # documents that are tried to see whether a service is down


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
    others : callable, optional
        Returns documents that have no vectors yet, spread over those that are left: a service that
        embeds one of them is up, while one that has been embedded may come from a cache.
    unfit : callable, optional
        Returns why a document can have no vectors, None if it can: it is not passed to ``make``.
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
        to find it. Where the error is transient, another document could be embedded after it.
    """

    def __init__(
        self,
        make: Callable[[Sequence[Item]], object],
        caller: Caller,
        *,
        target: VersionState,
        state: Callable[[], StoreState],
        check_lengths: Callable[[CheckedVectors], object],
        known_good: Callable[[], Item | None],
        others: Callable[[], Iterable[Item]] = tuple,
        unfit: Callable[[Item], Exception | None] = lambda _: None,
        check: Callable[[Array], object] | None = None,
        isolate: bool = True,
        failures_max: int = 32,
        on_failure: Callable[[Item, Exception], NoReturn] | None = None,
    ) -> None:
        self._make = make
        self._caller = caller
        self._target = target
        self._state = state
        self._check_lengths = check_lengths
        self._known_good = known_good
        self._others = others
        self._unfit = unfit
        self._check = check
        self._isolate = isolate
        self._failures_max = failures_max
        self._on_failure = on_failure
        self._again = False
        self._failed_in_a_row = 0
        self._transient_in_a_row = 0
        self._works = False  # a call succeeded after all that failed
        self._last_good: Item | None = None
        self._tried: set[DocumentId] = set()  # alone, and failed
        self._asked: set[DocumentId] = set()  # to see whether the function works, and it did
        self._tried_before = 0  # a document was embedded for the first time
        self._kept: set[DocumentId] = set()  # in this batch
        self._end: EmbeddingError | None = None

    def embed(
        self, items: Sequence[Item], *, again: bool = False, last: bool = False
    ) -> EmbeddingOutcome:
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
            The function fails for everything, or the service it calls is down. Where a part of the
            batch was embedded before, that is returned, and the next call raises.
        """
        self._go_on()
        result = EmbeddingOutcome([], [], [], [])
        suspects: list[Failure] = []
        self._again = again
        isolate = self._isolate or again
        if isolate:
            items = self._fit(items, result)
            if not items:
                return result
        self._kept.clear()
        try:
            self._embed(items, result, suspects, tried=0, whole=True, isolate=isolate)
        except EmbeddingError as error:
            made = result.documents or result.failures
            if error is not self._end or not made or self._on_failure is not None:
                raise
            left = [item for item in items if item.document.id not in self._kept]
            result.put_off.extend(Failure(item, 1, error) for item in left)
            return result
        if suspects and (self._works or (last and self._probe())):
            self._judge(suspects, result)
        else:
            result.put_off.extend(suspects)
        return result

    def _go_on(self) -> None:
        if self._end is not None:
            raise self._end

    def _fit(self, items: Sequence[Item], result: EmbeddingOutcome) -> Sequence[Item]:
        """Return the documents that can have vectors; the others are to blame, without a call."""
        fit = []
        for item in items:
            error = self._unfit(item)
            if error is None:
                fit.append(item)
            else:
                result.failures.append(Failure(item, 0, error))
        return fit

    def _embed(
        self,
        items: Sequence[Item],
        result: EmbeddingOutcome,
        suspects: list[Failure],
        *,
        tried: int,
        whole: bool,
        isolate: bool,
    ) -> None:
        made_before = self._caller.made
        try:
            # A part of a batch that failed after all its retries is called once: what fails then
            # is split. Only a document alone is worth waiting for again.
            if whole or len(items) == 1:
                vectors = self._caller.retried(lambda: self._attempt(items))
            else:
                vectors = self._attempt(items)
        except Exception as error:
            tried += max(self._caller.made - made_before, 1)
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

    def _keep(self, items: Sequence[Item], vectors: list[Array], result: EmbeddingOutcome) -> None:
        if self._check is not None:
            self._check(np.concatenate(vectors))
        self._note_success(items[-1])
        self._failed_in_a_row = 0
        self._tried_before = len(self._tried)
        self._kept.update(item.document.id for item in items)
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
            It is transient, the third one in a row, and no other document can be embedded.
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
        if isolate:
            if len(items) == 1:
                self._tried.add(items[0].document.id)
            if self._transient_in_a_row < OUTAGE_CALLS or self._probe(but=items):
                return
        self._end_as_down(error, items)

    def _end_as_down(self, error: Exception, items: Sequence[Item]) -> NoReturn:
        self._end = EmbeddingError(
            f"the embedding function for {self._target.label!r} does not answer: "
            f"{error_text(error)}; the last call was for {named(items)}. These were not written "
            "and no document is blamed. Run it again when the service answers."
        )
        raise self._end from error

    def _suspect(self, item: Item, tried: int, error: Exception) -> Failure:
        if self._on_failure is not None:
            # `_works`, if the call for it was the third in a row and others were tried since.
            if is_transient(error) and not self._works and not self._probe(but=[item]):
                self._end_as_down(error, [item])
            self._on_failure(item, error)
        self._tried.add(item.document.id)
        self._failed_in_a_row += not self._again
        if self._failed_in_a_row >= self._failures_max:
            if not self._probe(strict=is_transient(error)):
                self._end = self._end_of_many(item, error)
                raise self._end from error
            self._failed_in_a_row = 0
        return Failure(item, tried, error)

    def _end_of_many(self, item: Item, error: Exception) -> EmbeddingError:
        found = (
            f"{self._failed_in_a_row} documents in a row could not be embedded for "
            f"{self._target.label!r}, the last one, {item.document.id!r:.80}, with "
            f"{error_text(error)}"
        )
        if not is_transient(error):
            return EmbeddingError(
                f"{found}. That is the function's fault rather than theirs; they were not written. "
                "Run it again when the function works."
            )
        return EmbeddingError(
            f"{found}, and none that was left could. An outage would look the same, so none of "
            "them is blamed; they were not written. Run it again, which tries them again. If the "
            "service works and refuses just these, leave them out, or let a migration blame more "
            f"than {self._failures_max} in a row, by Caps.failures."
        )

    def _judge(self, suspects: list[Failure], result: EmbeddingOutcome) -> None:
        """Try documents again that failed before the function worked."""
        is_up = True
        for suspect in suspects:
            if not is_up:
                result.put_off.append(suspect)
                continue
            errors = [suspect.error]
            if self._embeds(suspect.item, _CONFIRMATIONS, errors, result):
                continue
            lasting = [error for error in errors if not is_transient(error)]
            if len(lasting) > 1:  # it failed by itself, and did so again
                result.failures.append(_after(suspect, errors, lasting[-1]))
                continue
            if not self._again:  # later calls say more: an outage passes
                result.put_off.append(_after(suspect, errors, errors[-1]))
                continue
            is_up = self._probe(strict=True)
            if is_up:
                if self._embeds(suspect.item, _MORE_CONFIRMATIONS, errors, result):
                    continue
                is_up = self._probe(strict=True)
            (result.failures if is_up else result.put_off).append(
                _after(suspect, errors, errors[-1])
            )

    def _embeds(
        self, item: Item, calls: int, errors: list[Exception], result: EmbeddingOutcome
    ) -> bool:
        """Return whether one of so many calls for a document works; else note their errors."""
        for _ in range(calls):
            try:
                vectors = self._attempt([item])
            except Exception as error:
                if not may_pass(error):
                    raise
                self._works = False
                errors.append(error)
            else:
                self._keep([item], vectors, result)
                return True
        return False

    def _probe(self, *, but: Sequence[Item] = (), strict: bool = False) -> bool:
        """Return whether the function works: for another document, or one embedded before.

        Parameters
        ----------
        but : sequence of Item
            They are no others: they were part of a call that failed.
        strict : bool
            Where there are others, one of them has to be embedded: what was embedded before may
            come from a cache. Without others, ``failures_max`` documents in a row are too many.
        """
        tried = self._tried.union(self._kept, (item.document.id for item in but))
        others = [item for item in self._others() if item.document.id not in tried]
        others.sort(key=lambda item: item.document.id in self._asked)
        for item in others[:_OTHERS_MAX]:
            if self._answers(item, self._attempt):
                self._asked.add(item.document.id)
                self._tried_before = len(self._tried)
                return True
            self._tried.add(item.document.id)
        failed = 0 if self._again else len(self._tried) - self._tried_before
        if strict and (others or failed >= self._failures_max):
            return False
        known = self._last_good or self._known_good()
        return known is not None and self._answers(
            known, lambda items: self._caller.retried(lambda: self._attempt(items))
        )

    def _answers(self, item: Item, attempt: Callable[[Sequence[Item]], object]) -> bool:
        try:
            attempt([item])
        except Exception as error:
            if not may_pass(error):
                raise
            self._works = False
            return False
        self._note_success(item)
        return True

    def _attempt(self, items: Sequence[Item]) -> list[Array]:
        made = self._caller.once(lambda: self._make(items))
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


def _after(suspect: Failure, errors: Sequence[Exception], error: Exception) -> Failure:
    """Return a suspect after more calls, each of which failed."""
    return Failure(suspect.item, suspect.attempts + len(errors) - 1, error)
