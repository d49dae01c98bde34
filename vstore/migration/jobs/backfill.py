"""Backfill: giving documents the vectors of a version that they lack, batch by batch.

A batch is one commit of its vectors and the job's progress. Remaining work is found by a scan over
the documents, so a run that was killed anywhere is resumed by running again. Documents that change
or are deleted while their vectors are made are skipped; changed ones are found again by a later
scan.

Documents that cannot be embedded become dead letters; each run retries earlier runs' dead letters
once, after all other documents. Documents that failed while the function failed for others too are
put off: the run retries them at its end, and raises if that fails too.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from vstore.engine.flushing import flush_metrics
from vstore.errors import (
    CorruptionError,
    EmbeddingError,
    LimitExceededError,
    StateError,
    VstoreError,
)
from vstore.limits import SEAL_DOCUMENTS
from vstore.manifest import job_edits as jobs
from vstore.manifest.edits import put_collection
from vstore.manifest.job_state import DeadLetter
from vstore.migration.gates.measurements import coverage
from vstore.migration.jobs import caps
from vstore.migration.jobs import queue as backfill_queue
from vstore.migration.jobs.second_tries import SecondTries
from vstore.migration.jobs.status import BackfillReport
from vstore.numbers import check_whole
from vstore.segment.documents import DELETED
from vstore.segment.user_document import Document, document_of
from vstore.writing import draft as drafts

if TYPE_CHECKING:
    from collections.abc import Callable

    from vstore.embedding.outcomes import EmbeddingOutcome, Item
    from vstore.embedding.spending import Spending
    from vstore.engine.handle import Handle
    from vstore.manifest.job_state import JobState
    from vstore.manifest.state import CollectionState, StoreState
    from vstore.migration.jobs.queue import Queue
    from vstore.migration.jobs.second_tries import Phase
    from vstore.types import IntArray
    from vstore.writing.draft import Draft
    from vstore.writing.embedding_batches import BatchEmbedder
    from vstore.writing.vector_sources import VectorSource


class Work(NamedTuple):
    """Task of a run: target, settings and source of vectors.

    Attributes
    ----------
    source : str
        Version that the job migrates from; empty if none serves.
    mapped_from : str
        Version whose vectors are mapped; empty if documents are embedded.
    """

    handle: Handle
    target: str
    source: str
    mapped_from: str
    settings: jobs.JobSettings
    vectors: VectorSource
    spending: Spending
    batch_size: int


def pending(handle: Handle, version: str, *, limit: int | None = None) -> list[Document]:
    """Return live documents without fresh vectors in a version, by docno."""
    if limit is not None:
        limit = check_whole(limit, what="limit", least=0)
    view = handle.view()
    view.version(version)
    alive = view.documents.revision != DELETED
    docnos = np.flatnonzero(alive & ~view.rows(version).has_fresh)
    return [
        document_of(view.documents.record(docno), view.field_types)
        for docno in docnos[:limit].tolist()
    ]


def scan(work: Work, job: JobState | None) -> Queue:
    """Return the remaining work at the current snapshot."""
    snapshot = work.handle.snapshot()
    return backfill_queue.scan(
        snapshot,
        work.handle.view_at(snapshot),
        work.target,
        order=work.settings.order,
        order_field=work.settings.order_field,
        job=job,
        mapped_from=work.mapped_from,
    )


class Run:
    """One run of a job, from its first batch to its last or to a stop."""

    def __init__(
        self,
        work: Work,
        embedder: BatchEmbedder,
        *,
        batches_max: int | None,
        progress: Callable[[int, int], None] | None,
    ) -> None:
        self._work = work
        self._handle = work.handle
        self._file = work.handle.file
        self._target = work.target
        self._embedder = embedder
        self._batches_max = batches_max
        self._progress = progress
        self._before: bytes | None = None
        self._second = SecondTries(work.target)
        self.done = self.skipped = self.batches = 0

    def run(self) -> BackfillReport:
        """Run until nothing is left, a cap is reached, or somebody stops the job.

        Raises
        ------
        StateError
            The version is retired, the job migrates from another version, or it was cancelled
            during a batch.
        EmbeddingError
            The function fails for every document, or the service behind it is down; the job is
            stopped.
        LimitExceededError
            Too many dead letters; the job is stopped.
        """
        try:
            self._begin()
            if self._work.settings.order == "hot":  # ordered by hits, this handle's included
                flush_metrics(self._file)
            while self._batches_left() and self._embed_queue():
                pass
            self._end()
        except (EmbeddingError, LimitExceededError) as error:
            with contextlib.suppress(VstoreError):  # the first error matters more
                self._stop(str(error))
            raise
        job = self._job()
        queue = scan(self._work, job)
        return BackfillReport(
            self.done,
            self.skipped,
            self.batches,
            coverage(self._handle, self._target),
            len(queue.dead),
            queue.left,
            job.status,
            job.note,
        )

    # Steps.

    def _batches_left(self) -> bool:
        return self._batches_max is None or self.batches < self._batches_max

    def _begin(self) -> None:
        work, target = self._work, self._target

        def begin(state: CollectionState) -> CollectionState:
            job = state.jobs.get(target)
            if job is not None and job.status in ("open", "stopped"):
                return jobs.resume(state, target, work.settings, source=work.source)
            if job is not None:
                queue = scan(work, job)
                if not queue.left and (not queue.dead or not self._batches_left()):
                    return state
            return jobs.start(
                state, target, self._file.moment(), source=work.source, settings=work.settings
            )

        known = self._handle.view().state.jobs.get(target)
        resumed = known is not None and known.status in ("open", "stopped")
        self._commit("resume_backfill" if resumed else "start_backfill", begin)

    def _embed_queue(self) -> bool:
        """Embed the documents that one scan finds; return whether to scan again."""
        job = self._job()
        if job.status != "open":
            return False
        queue = scan(self._work, job)
        view = self._handle.view()
        docnos = self._second.without_put_off(view, queue.docnos)
        phase: Phase = "first"
        if len(docnos):
            self._require_progress(docnos)
        else:
            phase, docnos = self._second.take(view, queue)
        if not len(docnos):
            return False
        # One scan serves many batches; the next scan finds documents that came or changed
        # meanwhile. Where those go first, each batch has a scan of its own.
        size = self._work.batch_size
        in_turn = view.state.dual_write != "queue"
        span = len(docnos)  # all second tries at once: they are taken once a run
        if phase == "first":
            span = min(span, max(size, SEAL_DOCUMENTS) if in_turn else size)
        for start in range(0, span, size):
            if not self._batches_left():
                return False
            if not self._batch(docnos[start : start + size], phase):
                return False
        return True

    def _require_progress(self, docnos: IntArray) -> None:
        found = docnos.tobytes() + self._handle.view().documents.revision[docnos].tobytes()
        if found == self._before:
            raise CorruptionError(
                self._file.name, f"document {int(docnos[0])} is not found by its id"
            )
        self._before = found

    def _batch(self, docnos: IntArray, phase: Phase) -> bool:
        """Embed and write a batch of documents; return whether to continue."""
        job, view = self._job(), self._handle.view()
        if job.status != "open":
            return False
        known = docnos[docnos < view.documents.docno_end]
        lacking = known[~view.rows(self._target).has_fresh[known]]
        items = self._work.vectors.items(view, lacking)
        if not items:
            self._second.pass_over(view, lacking)
            return True
        price = self._work.spending.price_per_unit
        units = [
            0 if self._work.vectors.unfit(item) else self._work.spending.units(item.document)
            for item in items
        ]
        start = 0
        while start < len(items):
            fits = caps.fitting(job, units[start:], price_per_unit=price)
            if not fits:
                left = scan(self._work, job).left
                self._stop(caps.stop_note(job, units[start], price_per_unit=price, left=left))
                break
            end = start + fits  # documents that fail leave room for others under a cap
            self._write(items[start:end], units[start:end], phase)
            start, job = end, self._job()
            if job.status != "open":
                break
        if self._progress is not None:
            now = coverage(self._handle, self._target)
            self._progress(now.fresh, now.live)
        return start == len(items)

    def _write(self, items: list[Item], units: list[int], phase: Phase) -> None:
        began_s = self._file.clock.monotonic_s()
        embedded = self._embedder.embed(items, again=phase != "first", last=phase == "put off")
        seconds = max(self._file.clock.monotonic_s() - began_s, 0.0)
        self._second.note(embedded, phase)
        if not embedded.documents and not embedded.failures:
            return  # all documents were put off
        paid = {item.document.id: count for item, count in zip(items, units, strict=True)}
        used = sum(paid[document.id] for document in embedded.documents)

        def body(draft: Draft) -> tuple[int, int]:
            written, stale = self._add(draft, embedded)

            def record(state: StoreState) -> StoreState:
                collection = state.collections[self._handle.name]
                batch = jobs.BatchRecord(
                    written,
                    stale,
                    used,
                    used * self._work.spending.price_per_unit,
                    seconds,
                    self._letters(embedded),
                    paid.keys() - {failure.document.id for failure in embedded.put_off},
                )
                return put_collection(state, jobs.record_batch(collection, self._target, batch))

            draft.edit(record, name="backfill", note=self._target)
            return written, stale

        written, stale = drafts.write(self._file, body)
        self.done += written
        self.skipped += stale
        self.batches += 1

    def _add(self, draft: Draft, embedded: EmbeddingOutcome) -> tuple[int, int]:
        if not embedded.documents:
            return 0, 0
        counts = draft.add_vectors(
            self._handle,
            self._target,
            [document.id for document in embedded.documents],
            embedded.vectors,
            revisions=[document.revision for document in embedded.documents],
        )
        return counts.written, counts.stale

    def _letters(self, embedded: EmbeddingOutcome) -> tuple[DeadLetter, ...]:
        now_us = self._file.time_us()
        return tuple(
            DeadLetter(
                failure.document.id,
                failure.document.revision,
                failure.attempts,
                now_us,
                failure.text,
            )
            for failure in embedded.failures
        )

    def _end(self) -> None:
        """Finish the job if nothing is left; check and commit are one writer's turn.

        Raises
        ------
        EmbeddingError
            Documents that were put off are left.
        """
        # A stopped job leaves put-off documents for its next run.
        if self._job().status == "open" and (not self.done or self._batches_left()):
            self._second.require_none_put_off()
        drafts.write(self._file, self._end_job)

    def _end_job(self, draft: Draft) -> None:
        state = self._handle.view().state
        job = state.jobs.get(self._target)
        if job is None or job.status != "open":
            return
        queue = scan(self._work, job)
        if len(queue.docnos) or self._second.has_untried(queue):
            return
        if queue.blocked:
            note = (
                f"{queue.blocked:,} documents have no fresh vectors in "
                f"{self._work.mapped_from!r} to map; run it again when they have"
            )
            name, after = "stop_backfill", jobs.stop(state, self._target, note)
        elif queue.dead and not self.done:
            note = (
                f"{len(queue.dead):,} documents could not be embedded (dead_letters), and no "
                "other was left; run it again to try them once more"
            )
            name, after = "stop_backfill", jobs.stop(state, self._target, note)
        else:
            name, after = "finish_backfill", jobs.finish(state, self._target, dead=queue.dead)
        draft.edit(lambda whole: put_collection(whole, after), name=name, note=self._target)

    def _stop(self, note: str) -> None:
        def stop(state: CollectionState) -> CollectionState:
            is_open = state.jobs[self._target].status == "open"
            return jobs.stop(state, self._target, note) if is_open else state

        self._commit("stop_backfill", stop)

    def _commit(self, name: str, edit: Callable[[CollectionState], CollectionState]) -> None:
        def body(draft: Draft) -> None:
            state = self._handle.view().state
            after = edit(state)
            if after is not state:
                draft.edit(lambda whole: put_collection(whole, after), name=name, note=self._target)

        drafts.write(self._file, body)

    def _job(self) -> JobState:
        state = self._handle.view().state
        job = state.jobs.get(self._target)
        if job is None:
            raise StateError(f"the backfill of {self._target!r} is gone: the version is retired")
        return job
