"""Migrations: the handle on a durable job that fills one version from another."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from vstore.embedding.calls import Caller, Calls
from vstore.embedding.spending import Price, Spending
from vstore.engine.open_handle import OpenHandle
from vstore.errors import InvalidArgumentError, VstoreError
from vstore.guarding.canary_checks import require_no_drift
from vstore.guarding.length_check import require_lengths
from vstore.manifest import job_edits as jobs
from vstore.manifest.commit import Operation
from vstore.migration.gates.measurements import coverage
from vstore.migration.jobs import queue as backfill_queue
from vstore.migration.jobs.backfill import Run, Work, scan
from vstore.migration.jobs.options import Caps, checked_caps
from vstore.migration.jobs.running import run_alone
from vstore.migration.jobs.status import (
    BackfillReport,
    MigrationPlan,
    MigrationStatus,
    status_of,
)
from vstore.names import check_note, require_text
from vstore.numbers import check_switch, check_whole
from vstore.writing.embedding_batches import BatchEmbedder
from vstore.writing.vector_sources import VectorSource

if TYPE_CHECKING:
    from collections.abc import Callable

    from vstore.engine.handle import Handle
    from vstore.manifest.job_state import DeadLetter, JobOrder, JobState
    from vstore.manifest.state import CollectionState
    from vstore.types import Array
    from vstore.writing.vector_sources import Embed, MapRows

_UNITS_SAMPLE = 1_000  # documents whose text is read for an estimate of units


class Migration(OpenHandle):
    """A durable job that gives documents their vectors of a version. Made by `Collection.migrate`.

    The job is in the store; this handle holds the options of its runs. Any number of handles may
    inspect a job; one at a time runs it. If its process dies, the next run resumes at once.

    Parameters
    ----------
    source, target : str
        Versions. The job records the source, which may be empty; ``from_vectors`` reads its rows.
    embed : Embedder or callable, optional
        The callable takes documents and returns (n, dimension) vectors, `Embeddings`, or one
        (chunks, dimension) array per document. None for a handle that only inspects the job.
    from_vectors : callable, optional
        In place of ``embed``: takes fresh rows of the source version, float32 (n, dimension), and
        returns as many rows of the target, which must be declared with ``provenance="mapped"``.
    order : {"id", "hot", "field"}, optional
        Default: that of a job that is resumed, "id" of a new one.
        "hot" starts with the documents found most often, or with the largest values of
        ``order_field``, a number. "field" sorts by the value of ``order_field``, for example tenant
        by tenant. Documents without a value come last. Under the dual-write policy "queue",
        documents that changed since the job began come before all others.
    caps : Caps
        Upper bounds for all runs of the job together.
    price : Price
        Price of embedding a document.
    calls : Calls
        Batching, pacing and retries of ``embed``. A batch that fails after its retries is split
        until the documents at fault are known. They become dead letters if others can be embedded,
        and so do documents without a text where an `Embedder` needs one. Each run retries dead
        letters once, after all other documents. Transient errors (lost connections, timeouts, HTTP
        429 and 5xx; see `transient_errors`) make dead letters only of documents that fail alone,
        again and again, while others can be embedded. If nothing can be embedded, the run ends
        with `EmbeddingError` and makes no dead letters.
    check : callable, optional
        Takes the rows of each call, (n, dimension), before anything is written, and may raise.
    isolate : bool, default True
        False: a call that fails after its retries ends the run with its error, and the documents
        at fault are not searched for.
    """

    def __init__(
        self,
        handle: Handle,
        source: str,
        target: str,
        embed: Embed | None = None,
        *,
        from_vectors: MapRows | None = None,
        order: JobOrder | None = None,
        order_field: str | None = None,
        caps: Caps,
        price: Price,
        calls: Calls,
        check: Callable[[Array], object] | None = None,
        isolate: bool = True,
    ) -> None:
        view = handle.view()
        self._version = view.version(target)
        if source:
            view.version(source)
        if source == target:
            raise InvalidArgumentError(f"migrate: {source!r} to itself")
        if order is None and order_field is None:
            order, order_field = _order_of(view.state.jobs.get(target))
        if order is None:
            order = "id"
        if check is not None and not callable(check):
            raise InvalidArgumentError(f"check: expected a function, found {check!r:.60}")
        source = require_text(source, what="source")
        backfill_queue.check_order(order, order_field, view.field_types)
        if from_vectors is not None and self._version.provenance != "mapped":
            raise InvalidArgumentError(
                f"from_vectors: version {target!r} is declared with provenance='embedded'; vectors "
                "mapped from another space go to a version with provenance='mapped'"
            )
        caps = checked_caps(caps)
        spending = Spending(price, capped=caps.units is not None or caps.cost is not None)
        self._handle = handle
        self._target = target
        self._caller = Caller(handle.clock, calls)
        mapped_from = source if from_vectors is not None else ""
        self._work = Work(
            handle,
            target,
            source,
            mapped_from,
            jobs.JobSettings(
                order, order_field or "", spending.unit, caps.documents, caps.units, caps.cost
            ),
            VectorSource(embed, from_vectors, mapped_from=mapped_from),
            spending,
            self._caller.batch_size,
        )
        self._check = check
        self._isolate = check_switch(isolate, what="isolate")
        self._failures_max = caps.failures

    def __repr__(self) -> str:
        status = "not begun"
        try:
            job = self._job()
            if job is not None:
                status = str(job.status)
        except VstoreError:  # a repr must not raise
            status = "of a closed store"
        source = self._work.source
        return f"<vstore.Migration {source!r} -> {self._target!r}, {status}>"

    def _elsewhere(self) -> str:
        handle = self._handle
        return (
            "The job is in the file: send the path, and in the worker call "
            f"vstore.open({handle.file.name!r}).collection({handle.name!r})"
            f".migrate({self._work.source!r}, {self._target!r}, ...)"
        )

    def run(
        self,
        *,
        batches_max: int | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> BackfillReport:
        """Run the job until nothing is left, a cap is reached, or somebody stops it.

        A stopped job resumes. A finished or cancelled one starts anew if there is work to do.

        Parameters
        ----------
        batches_max : int, optional
            Return after this number of batches; the job stays open.
        progress : callable, optional
            Called after each batch with documents covered and live documents.

        Raises
        ------
        EmbeddingError
            Every document fails, the service does not answer, or some documents failed without
            evidence that they are at fault; the job is stopped, and a later run resumes it.
        LimitExceededError
            There are `DEAD_LETTERS_MAX` dead letters; the job is stopped.
        StateError
            Another thread of this process runs the job, the version is retired, the job migrates
            from another version, or it was cancelled during a batch, which is discarded.
        EmbedderDriftError
            The embedder's vectors of the version's canaries have changed.
        SuspectGeometryError
            Vectors look like those of another space than the version's; the job stays open.
        CorruptionError
            The file's id index is damaged, so that documents cannot be written.
        """
        if progress is not None and not callable(progress):
            raise InvalidArgumentError(f"progress: expected a function, found {progress!r:.60}")
        if batches_max is not None:
            batches_max = check_whole(batches_max, what="batches_max", least=0)
        self._handle.require_unscoped("backfill")
        self._work.vectors.require()
        embedder = self._work.vectors.embedder

        def run() -> BackfillReport:
            if embedder is not None:
                require_no_drift(self._handle, self._target, embedder, self._caller)
            job = Run(self._work, self._embedder(), batches_max=batches_max, progress=progress)
            return job.run()

        return run_alone(self._handle, self._target, run)

    def plan(self, *, sample: int = 32) -> MigrationPlan:
        """Estimate the remaining work, by embedding some documents without writing anything.

        Documents without text, where an `Embedder` needs one, are counted and left out. Through a
        scoped handle, only documents inside the scope count.

        Parameters
        ----------
        sample : int
            Number of documents to embed, spread over all that are left; 0 for no call, and no
            estimate of time. Their cost is not added to the job.

        Raises
        ------
        EmbeddingError
            The service that ``embed`` calls does not answer. Other errors of ``embed`` propagate.
        """
        sample = check_whole(sample, what="sample", least=0)
        if sample:
            self._work.vectors.require()
        view, queue = self._handle.view(), scan(self._work, self._job())
        count = len(queue.docnos)
        counted = self._work.vectors.items(view, _spread(queue.docnos, _UNITS_SAMPLE))
        found = sum(
            self._work.spending.estimated(item.document)
            for item in counted
            if self._work.vectors.unfit(item) is None
        )
        units = round(found * count / len(counted)) if counted else 0
        sampled = self._work.vectors.items(view, _spread(queue.docnos, sample))
        items = [item for item in sampled if self._work.vectors.unfit(item) is None]
        clock = self._handle.clock
        began_s = clock.monotonic_s()
        for start in range(0, len(items), self._work.batch_size):
            self._embedder(isolate=False).embed(items[start : start + self._work.batch_size])
        took_s = clock.monotonic_s() - began_s
        return MigrationPlan(
            documents=count,
            blocked=queue.blocked,
            failed=len(queue.dead),
            units=units,
            units_exact=len(counted) == count,
            unit=self._work.spending.unit,
            cost=units * self._work.spending.price_per_unit,
            seconds=took_s / len(sampled) * count if items else None,
            sample=len(items),
            sample_without_text=len(sampled) - len(items),
        )

    def status(self) -> MigrationStatus:
        """Return the job's progress; through a scoped handle, for the documents inside."""
        job = self._job()
        return status_of(
            job,
            scan(self._work, job),
            coverage(self._handle, self._target),
            self._work.settings,
        )

    @property
    def dead_letters(self) -> tuple[DeadLetter, ...]:
        """Documents that could not be embedded, while others could, and have not changed since."""
        return scan(self._work, self._job()).dead

    def retry_failed(self) -> int:
        """Drop the dead letters, so that their documents are pending again; return their number.

        Raises
        ------
        StateError
            The job has not begun.
        """
        self._handle.require_unscoped("retry_failed")
        count = len(self.dead_letters)
        self._change("retry_failed", lambda state: jobs.retry_failed(state, self._target))
        return count

    def stop(self, reason: str = "") -> None:
        """Stop the job; its runner writes the current batch, and returns.

        Raises
        ------
        StateError
            The job is not open.
        """
        note = check_note(reason, what="reason")
        self._change("stop_backfill", lambda state: jobs.stop(state, self._target, note), note)

    def cancel(self, reason: str = "") -> None:
        """Cancel the job; its runner discards the current batch, and returns.

        Vectors already written stay. A later `run` starts a new job.

        Raises
        ------
        StateError
            The job is over, or has not begun.
        """
        note = check_note(reason, what="reason")
        self._change("cancel_backfill", lambda state: jobs.cancel(state, self._target, note), note)

    # Steps.

    def _job(self) -> JobState | None:
        return self._handle.view().state.jobs.get(self._target)

    def _change(
        self, name: str, edit: Callable[[CollectionState], CollectionState], reason: str = ""
    ) -> None:
        note = f"{self._target}: {reason}" if reason else self._target
        self._handle.change(edit, Operation(name, jobs.cut(note)))

    def _embedder(self, *, isolate: bool | None = None) -> BatchEmbedder:
        return BatchEmbedder(
            self._work.vectors.make,
            self._caller,
            target=self._version,
            state=lambda: self._handle.file.current().state,
            check_lengths=partial(require_lengths, self._handle, self._target),
            known_good=lambda: self._work.vectors.known_good(self._handle.view(), self._target),
            others=lambda: self._work.vectors.others(self._handle.view(), self._target),
            unfit=self._work.vectors.unfit,
            check=self._check,
            isolate=self._isolate if isolate is None else isolate,
            failures_max=self._failures_max,
        )


def backfill(
    handle: Handle,
    version: str,
    embed: Embed,
    *,
    batch_size: int,
    batches_max: int | None,
    progress: Callable[[int, int], None] | None,
) -> BackfillReport:
    """Give every document its missing vectors of a version, in one call.

    A migration from the serving version, without caps. An error of ``embed`` propagates; the job
    stays open, and another call resumes it. Dead letters of an earlier migration are retried once.

    Raises
    ------
    EmbeddingError
        The service that ``embed`` calls does not answer.
    StateError
        The version is retired, or another thread of this process fills it.
    CorruptionError
        The file's id index is damaged, so that documents cannot be written.
    InvalidArgumentError
        An `Embedder` is to embed documents that have no text.
    """
    migration = Migration(
        handle,
        source_of(handle, version),
        version,
        embed,
        caps=Caps(),
        calls=Calls(batch_size),
        price=Price(unit=""),
        isolate=False,
    )
    return migration.run(batches_max=batches_max, progress=progress)


def source_of(handle: Handle, version: str) -> str:
    """Return the source of a version's job: as recorded, or else the serving version."""
    state = handle.view().state
    job = state.jobs.get(version)
    going = job is not None and job.status in ("open", "stopped")
    return job.source if job is not None and going else jobs.served_source(state, version)


def _order_of(job: JobState | None) -> tuple[JobOrder, str | None]:
    """Return the order in which a job goes on, or a new one begins."""
    if job is None or job.status not in ("open", "stopped"):
        return "id", None
    return job.order, job.order_field or None


def _spread(docnos: Array, count: int) -> Array:
    """Return ``count`` of the docnos, evenly spread."""
    if count >= len(docnos):
        return docnos
    return docnos[np.linspace(0, len(docnos) - 1, count).astype(np.int64)] if count else docnos[:0]
