"""``vstore backfill``."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
import typer

from vstore.api.collection import Collection
from vstore.cli.hashing import require_hashing
from vstore.cli.opening import open_to_write, pick_collection
from vstore.cli.options import (
    AsJson,
    BatchSize,
    CollectionName,
    Embed,
    Label,
    StorePath,
    VectorsFile,
    Wait,
)
from vstore.cli.plain_text import counted, share
from vstore.cli.progress import Bar
from vstore.cli.report import Report, facts, heading
from vstore.cli.vector_file import RowOwners, open_matrix, read_owners
from vstore.embedding.calls import Calls
from vstore.engine.handle import handle_of
from vstore.errors import InvalidArgumentError
from vstore.manifest import job_edits as jobs
from vstore.manifest.edits import put_collection
from vstore.manifest.state import StoreState
from vstore.migration.jobs.migration import source_of
from vstore.migration.jobs.options import Caps
from vstore.migration.jobs.status import BackfillReport
from vstore.types import Array, DocumentId
from vstore.writing import draft as drafts
from vstore.writing.counts import VectorCounts

IdsFile = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE.jsonl",
        help="Whose each row of the vectors is: a line with an id, or an object with id and "
        "perhaps chunk and revision.",
    ),
]
AnyRevision = Annotated[
    bool,
    typer.Option(
        "--any-revision",
        help="Ignore the revisions in the ids file: the vectors are of the present texts.",
    ),
]
BatchesMax = Annotated[
    int | None, typer.Option(metavar="N", min=1, help="Stop after so many batches.")
]
Order = Annotated[
    str | None,
    typer.Option(
        metavar="ORDER",
        help="With --embed: id, hot (what was found most often, or has the largest --order-field, "
        "comes first) or field (by the value of --order-field).",
    ),
]
OrderField = Annotated[str | None, typer.Option(metavar="FIELD", help="Field to go by.")]
DocumentsMax = Annotated[
    int | None,
    typer.Option(metavar="N", min=0, help="With --embed: stop the job at so many documents."),
]


class Work(NamedTuple):
    """What is left to do of a vector file."""

    ids: list[DocumentId]
    revisions: list[int]
    fresh: int
    gone: int


def backfill(
    store: StorePath,
    version: Label,
    *,
    vectors: VectorsFile = None,
    ids: IdsFile = None,
    embed: Embed = False,
    any_revision: AnyRevision = False,
    batch_size: BatchSize = 1024,
    batches_max: BatchesMax = None,
    order: Order = None,
    order_field: OrderField = None,
    documents_max: DocumentsMax = None,
    collection: CollectionName = None,
    wait: Wait = 0.0,
    as_json: AsJson = False,
) -> Report:
    """Give documents that are there their vectors of a version.

    Each batch is one commit with the job's progress. Run again after an interruption: documents
    that have fresh vectors are passed over. A document that was deleted, or changed since the
    revision in the ids file, is skipped: its vectors would be stale.
    """
    if (vectors is not None) == embed or (vectors is None) != (ids is None):
        raise InvalidArgumentError("vectors: pass --vectors with --ids, or --embed")
    if not embed and (order, order_field, documents_max) != (None, None, None):
        raise InvalidArgumentError("--order, --order-field and --documents-max go with --embed")
    with open_to_write(store, wait=wait) as opened:
        docs = pick_collection(opened, collection)
        label = docs.versions[version].label
        already = gone = 0
        if vectors is None or ids is None:
            chosen: Any = order  # the engine checks it
            migration = docs.migrate(
                source_of(handle_of(docs), label),
                label,
                require_hashing(docs.versions[label], option="--embed"),
                order=chosen,
                order_field=order_field,
                caps=Caps(documents=documents_max),
                calls=Calls(batch_size),
                isolate=False,
            )
            with Bar("backfill", len(docs)) as bar:
                report = migration.run(
                    batches_max=batches_max, progress=lambda fresh, _: bar.move(fresh)
                )
        else:
            owners = read_owners(ids)
            matrix = open_matrix(vectors, owners.count, named_by=ids)
            work = _work(docs, label, owners, any_revision=any_revision)
            already, gone = work.fresh, work.gone
            report = _given(
                docs, label, owners, matrix, work, batch_size=batch_size, batches_max=batches_max
            )
        data = {
            "collection": docs.name,
            "version": label,
            "state": docs.versions[label].state,
            "written": report.done,
            "already_fresh": already,
            "skipped": report.skipped + gone,
            "failed": report.failed,
            "left": report.left,
            "batches": report.batches,
            "fresh_documents": report.coverage.fresh,
            "live_documents": report.coverage.live,
            "coverage": report.coverage.share,
            "finished": report.finished,
            "job": report.status,
            "note": report.note,
            "epoch": opened.epoch,
        }
        shown = {
            "written": f"{counted(report.done, 'document')} in {counted(report.batches, 'commit')}",
            "passed over": f"{already:,} fresh already, {data['skipped']:,} changed or gone",
            "coverage": f"{share(report.coverage.share)}: {report.coverage.fresh:,} of "
            f"{counted(report.coverage.live, 'document')}; {version} is {data['state']}",
        }
        if report.failed:
            shown["dead letters"] = f"{counted(report.failed, 'document')} could not be embedded"
        if report.note:
            shown["stopped"] = report.note
        return Report(data, [heading(f"backfill of {version}, epoch {opened.epoch}"), facts(shown)])


def _work(docs: Collection, label: str, owners: RowOwners, *, any_revision: bool) -> Work:
    """Return which documents of the file lack fresh vectors, and the revision of their rows."""
    named = list(owners.rows)
    view = handle_of(docs).view()
    docnos = view.documents.find(named)
    has_fresh = view.rows(label).has_fresh
    current = np.where(docnos >= 0, view.documents.revision[docnos], 0).tolist()
    fresh = np.where(docnos >= 0, has_fresh[docnos], False).tolist()  # noqa: FBT003 - a value
    ids, revisions, gone = [], [], 0
    for id_, revision, is_fresh in zip(named, current, fresh, strict=True):
        made_from = revision if any_revision else owners.revisions.get(id_, revision)
        if not revision or made_from != revision:
            gone += 1
        elif not is_fresh:
            ids.append(id_)
            revisions.append(revision)
    return Work(ids, revisions, sum(fresh), gone)


def _given(
    docs: Collection,
    label: str,
    owners: RowOwners,
    matrix: Array,
    work: Work,
    *,
    batch_size: int,
    batches_max: int | None,
) -> BackfillReport:
    """Write vectors from a file as `Migrations.backfill` writes those it makes."""
    done = skipped = batches = 0
    job = docs.versions[label].backfill
    if work.ids and job is not None and job.dead:  # here are vectors that could not be made
        docs.migrate(job.source, label).retry_failed()
    # No batch at all: this opens the job, and at the end closes it if nothing is left.
    docs.migration.backfill(label, _nothing, batches_max=0)
    with Bar("backfill", len(work.ids)) as bar:
        for start, end in _spans(len(work.ids), batch_size, batches_max):
            ids = work.ids[start:end]
            vectors, revisions = owners.vectors(matrix, ids), work.revisions[start:end]
            written, passed = _batch(docs, label, ids, vectors, revisions)
            done, skipped, batches = done + written, skipped + passed, batches + 1
            bar.move(end)
    closing = docs.migration.backfill(label, _nothing, batches_max=0)
    return replace(closing, done=done, skipped=skipped, batches=batches)


def _nothing(documents: object) -> Array:
    raise AssertionError(f"no batch was asked for, but {documents!r:.60} came")


def _spans(count: int, batch_size: int, batches_max: int | None) -> Iterator[tuple[int, int]]:
    for number, start in enumerate(range(0, count, batch_size)):
        if number == batches_max:
            return
        yield start, min(start + batch_size, count)


def _batch(
    docs: Collection,
    label: str,
    ids: list[DocumentId],
    vectors: Array | list[Array],
    revisions: list[int],
) -> tuple[int, int]:
    handle = handle_of(docs)

    def body(draft: drafts.Draft) -> VectorCounts:
        counts = draft.add_vectors(handle, label, ids, vectors, revisions=revisions)

        def count(state: StoreState) -> StoreState:
            collection = state.collections[handle.name]
            batch = jobs.BatchRecord(counts.written, counts.stale, tried=ids)
            return put_collection(state, jobs.record_batch(collection, label, batch))

        draft.edit(count, name="backfill", note=label)
        return counts

    counts = drafts.write(handle.file, body)
    return counts.written, counts.stale
