"""The chapters of the demo, in order: each opens the file, changes it, and tells what it found."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

import numpy as np

from vstore.api.opening import open_store
from vstore.demo import tables
from vstore.demo.models import COLLECTION, NEW, NEW_SPEC, OLD, OLD_SPEC, document_texts
from vstore.demo.process import BackfillProcess, Commit
from vstore.demo.quality import mixed_on_purpose, single_read
from vstore.demo.stage import BATCH_SIZE, CLAIM
from vstore.embedding.embedder import Embeddings
from vstore.errors import GateError, VersionMismatchError
from vstore.query.reads import Dual

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vstore.api.collection import Collection
    from vstore.api.store import Store
    from vstore.demo.stage import Stage
    from vstore.segment.user_document import Document

KILLED_AT: Final = 0.50  # coverage; one of the stops
PACE_S: Final = 0.04  # what a batch takes the other process, which runs no model


def prologue(stage: Stage) -> None:
    """Say what the corpus is."""
    stage.tell.say(
        f"SciFact: {len(stage.corpus.document_ids):,} abstracts of scientific papers, and "
        f"{len(stage.corpus.query_ids)} claims of which people judged which abstract bears on "
        "them. The vectors are those of two real models, made beforehand and kept as int8. All "
        f"figures below are measured while you wait, in one file: {stage.path}. Ctrl-C does it no "
        "harm."
    )


def first_version(stage: Stage) -> None:
    """Serve the corpus by version 1."""
    tell, corpus = stage.tell, stage.corpus
    tell.chapter("A corpus, served by version 1")
    with stage.open() as store:
        papers = store.create_collection(COLLECTION, fields={"title": "keyword"})
        papers.create_version(OLD, OLD_SPEC)
        papers.upsert(
            corpus.document_ids,
            texts=document_texts(corpus),
            metadata={"title": corpus.titles},
            vectors={OLD: corpus.old_documents},
        )
        tell.code(
            f'papers.create_version("{OLD}", lsa)',
            f'papers.upsert(ids, texts=texts, metadata=..., vectors={{"{OLD}": vectors}})',
            f'claim = "{CLAIM}"',
            "papers.search(claim, k=3)",
        )
        stage.show_hits(papers)
        quality = single_read(papers, corpus, OLD)
    tell.say(
        "Latent semantic analysis matches words, here the wrong ones: it finds how blood flows. "
        f"Over all claims its nDCG@10 is {quality.ndcg:.3f}, its recall@10 {quality.recall:.3f}."
    )


def second_version(stage: Stage) -> None:
    """Declare version 2, and show that the two cannot meet by mistake."""
    tell, corpus = stage.tell, stage.corpus
    tell.chapter("A better model, and a mistake that cannot happen")
    with stage.open() as store:
        papers = store.collection(COLLECTION)
        papers.create_version(NEW, NEW_SPEC)
        tell.code(f'papers.create_version("{NEW}", minilm)')
        tell.say(
            f"Both models have {NEW_SPEC.dimension} dimensions, so no check of shapes tells their "
            "vectors apart. Their specs do. A query of the new model, sent to the old vectors:"
        )
        tell.code(f'papers.search(Embeddings(minilm, vector), version="{OLD}")')
        try:
            papers.search(Embeddings(NEW_SPEC, stage.new.embed_query(CLAIM)), version=OLD)
        except VersionMismatchError as error:
            tell.refusal(error)
        else:
            raise AssertionError("version 1 answered a query of version 2")
    unmigrated = np.zeros(len(corpus.document_ids), np.bool_)
    tell.say(
        "NumPy, or an index that knows only arrays, would have answered without a word, with an "
        f"nDCG@10 of {mixed_on_purpose(corpus, unmigrated).ndcg:.3f}."
    )


def killed_backfill(stage: Stage) -> None:
    """Fill version 2 in another process, read meanwhile, and kill it half way."""
    tell = stage.tell
    tell.chapter("Readers on both versions, a backfill in another process")
    with stage.open() as store:
        papers = store.collection(COLLECTION)
        papers.routes.set(Dual(NEW), reason="the backfill begins")
        tell.code(f'papers.routes.set(Dual("{NEW}"))')
        stage.reaches_stop(Commit(store.epoch, 0, len(papers)))
    tell.say(
        "From now on a query asks both versions, each with its own vector, and the answers are "
        'fused by "slots": version 1 ranks all documents; a place that a migrated document wins '
        "there goes to the migrated document that version 2 ranks next. Another process embeds the "
        f"corpus again, {BATCH_SIZE} documents a commit, while this one reads the same file:"
    )
    with (
        BackfillProcess(str(stage.path), batch_size=BATCH_SIZE, pace_s=PACE_S) as child,
        open_store(stage.path, mode="r") as reader,
        tell.bar("backfill", len(stage.corpus.document_ids)) as bar,
    ):
        stage.tell_coverage(reader, stage.stops[0.0])
        for commit in child.commits():
            bar.reach(commit.fresh)
            if stage.reaches_stop(commit):
                if KILLED_AT in stage.stops:
                    break
                reader.refresh()
                stage.tell_coverage(reader, commit.epoch)
        time.sleep(PACE_S / 2)  # into the next batch
        child.kill()
    stage.embedded.update(child.embedded)
    tell.say(f"Process {child.pid} killed in the middle of a batch.", style="bold red")


def resumed_backfill(stage: Stage) -> None:
    """Show what the kill left, refuse an early cutover, and finish the backfill here."""
    tell = stage.tell
    tell.chapter("After the kill")
    with stage.open() as store:
        papers = store.collection(COLLECTION)
        coverage, check = papers.coverage(NEW), store.check()
        verdict = "ok" if check.ok else "damaged"
        tell.say(
            f"Its lock died with it, and the file opens; check says {verdict}. Version 2 has "
            f"{coverage.fresh:,} documents, all those that were committed. Somebody in a hurry:"
        )
        tell.code(f'papers.routes.cutover("{NEW}")')
        try:
            papers.routes.cutover(NEW)
        except GateError as error:
            tell.refusal(error)
        else:
            raise AssertionError("a half filled version passed the gate")
        tell.say("So on with the backfill, in this process. It embeds what is missing:")
        tell.code(f'papers.migration.backfill("{NEW}", minilm)')
        _finish_backfill(stage, store, papers)
        job = papers.versions[NEW].backfill
        assert job is not None, "it ran"
        twice = sum(times > 1 for times in stage.embedded.values())
        tell.say(
            f"Both processes together: {job.documents_done:,} documents committed in {job.batches} "
            f"batches. Documents committed twice: {job.documents_done - len(papers)}. Documents "
            f"embedded twice: {twice}"
            + (" (the kill came between the model's answer and the commit)." if twice else ".")
        )


def _finish_backfill(stage: Stage, store: Store, papers: Collection) -> None:
    def embed(documents: Sequence[Document]) -> Embeddings:
        stage.embedded.update(str(document.id) for document in documents)
        texts = [document.text or "" for document in documents]
        return Embeddings(NEW_SPEC, stage.new.embed_documents(texts))

    with stage.tell.bar("backfill", len(stage.corpus.document_ids)) as bar:
        stage.tell_coverage(store, stage.stops[KILLED_AT])

        def committed(fresh: int, live: int) -> None:
            bar.reach(fresh)
            if stage.reaches_stop(Commit(store.epoch, fresh, live)):
                stage.tell_coverage(store, store.epoch)

        papers.migration.backfill(NEW, embed, batch_size=BATCH_SIZE, progress=committed)


def cutover_and_back(stage: Stage) -> None:
    """Cut over, roll back, cut over again."""
    tell = stage.tell
    tell.chapter("Cutover, rollback, cutover")
    with stage.open() as store:
        papers = store.collection(COLLECTION)
        tell.code(f'papers.routes.cutover("{NEW}")', "papers.search(claim, k=3)")
        gates = papers.routes.cutover(NEW)
        stage.show_hits(papers)
        tell.say(
            f"The gate measured {'; '.join(map(str, gates))}. Suppose that the answers disappoint "
            "somebody all the same. Version 1 is still complete, so:"
        )
        tell.code('papers.routes.rollback(reason="a customer complains")')
        papers.routes.rollback(reason="a customer complains")
        tell.say(f"The claim is answered by {_answering(papers)}. The complaint is withdrawn:")
        tell.code(f'papers.routes.cutover("{NEW}", reason="for good")')
        papers.routes.cutover(NEW, reason="for good")
        tell.say(
            f"The claim is answered by {_answering(papers)}. Each of the three was one commit."
        )


def _answering(papers: Collection) -> str:
    return " and ".join(papers.search(CLAIM, k=3).trace.answered)


def deletion(stage: Stage) -> None:
    """Delete a document; it is gone from every version."""
    tell, corpus = stage.tell, stage.corpus
    tell.chapter("A delete holds in every version")
    with stage.open() as store:
        papers = store.collection(COLLECTION)
        best = papers.search(CLAIM, k=1)[0]
        revision = best.document.revision
        papers.delete([best.id])
        tell.code(f'papers.delete(["{best.id}"])  # the best hit')
        for label in (OLD, NEW):
            found = best.id in papers.search(CLAIM, version=label, k=len(papers)).ids
            tell.say(f"{label}: {len(papers):,} documents, {'still' if found else 'not'} this one")
        tell.say("Vectors of it that are late, for they were made before the delete:")
        row = corpus.document_ids.index(str(best.id))
        late = corpus.new_documents[row : row + 1]
        tell.code(
            f'papers.add_vectors(["{best.id}"], vectors, version="{NEW}", revisions=[{revision}])'
        )
        counts = papers.add_vectors([best.id], late, revisions=[revision], version=NEW)
        tell.say(f"written {counts.written}, stale {counts.stale}: it does not come back")


def retirement(stage: Stage) -> None:
    """Retire version 1, vacuum, check, and show the history."""
    tell = stage.tell
    tell.chapter("Version 1 retires")
    with stage.open() as store:
        tell.code(f'papers.routes.retire("{OLD}")', "store.vacuum()", "store.check()")
        store.collection(COLLECTION).routes.retire(OLD, reason="version 2 serves")
        vacuum = store.vacuum()
        check = store.check()
        tell.say(
            f"The file had {vacuum.bytes_before / 1e6:.1f} MB and has "
            f"{vacuum.bytes_after / 1e6:.1f} MB. Gone are the vectors of version 1, the deleted "
            f"document, and all earlier epochs. check says {'ok' if check.ok else 'damaged'}. What "
            "happened stays on record:"
        )
        tell.code("store.history()")
        tell.show(tables.history_table(store.history(limit=1_000)))
