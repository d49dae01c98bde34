"""Batches of texts: embedded while others may write, then written in one commit.

What a batch writes is what it would have written when it was begun. A document that somebody else
changed or deleted while its vectors were made stays as that write left it: the newer one wins.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple, NoReturn

import numpy as np
from blake3 import blake3

from vstore.embedding.embedder import Embeddings
from vstore.embedding.outcomes import Item, error_text, put_off_error
from vstore.embedding.transient_errors import is_transient
from vstore.errors import EmbeddingError, InvalidArgumentError, InvalidVectorError
from vstore.guarding.length_check import require_lengths
from vstore.segment.documents import DELETED
from vstore.segment.user_document import Document
from vstore.writing import draft as drafts
from vstore.writing.embedding_batches import BatchEmbedder
from vstore.writing.revisions import identical
from vstore.writing.vector_sources import OTHERS_TRIED, VectorSource

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from vstore.embedding.calls import Caller
    from vstore.embedding.embedder import Embedder
    from vstore.embedding.outcomes import Failure
    from vstore.engine.handle import Handle
    from vstore.engine.snapshot import CollectionView
    from vstore.manifest.state import VersionState
    from vstore.segment.documents import DocumentRecord
    from vstore.segment.validation import CheckedVectors
    from vstore.types import Array, DocumentId
    from vstore.writing.counts import UpsertCounts
    from vstore.writing.draft import Draft


# Embedded to see whether an embedder works, where nothing else is known to be embeddable.
_WORD: Final = Item(Document("a word", 0, 0, None, {}, "word"))


class Texts(NamedTuple):
    """What a caller gives, checked; metadata is None if none is given."""

    ids: list[DocumentId]
    texts: list[str]
    metadata: list[dict[str, object]] | None


class StoredDocument(NamedTuple):
    """A document as a snapshot has it; its record is None if it is missing or deleted."""

    docno: int
    record: DocumentRecord | None

    @property
    def revision(self) -> int:
        """Of the document's source."""
        return DELETED if self.record is None else self.record.revision

    def has_newer_metadata(self, before: StoredDocument) -> bool:
        """Whether somebody else has changed the metadata of a document of the same revision."""
        if self.record is None or before.record is None:
            return False
        return not identical(self.record, before.record)


class TextEmbedder:
    """Makes the vectors of one version, each text's once a call.

    Parameters
    ----------
    texts : Texts
        All of the call: vectors of a text that comes several times are kept until then.
    skip : bool
        Whether a text that cannot be embedded is left out, or raises.
    trust_geometry : bool
        Whether vectors of odd lengths are none of that.
    """

    def __init__(
        self,
        handle: Handle,
        version: VersionState,
        embedder: Embedder,
        caller: Caller,
        texts: Texts,
        *,
        skip: bool,
        trust_geometry: bool,
    ) -> None:
        self.label = version.label
        self.spec = embedder.spec
        source = VectorSource(embedder, None, mapped_from="")
        self._texts = texts
        self._rows = {id_: row for row, id_ in enumerate(texts.ids)}
        self._next_row = 0  # after the last one that was to be embedded
        self._uses: dict[str, int] = {}
        for text in texts.texts:
            self._uses[text] = self._uses.get(text, 0) + 1
        self._known: dict[str, Array] = {}
        self._failed: dict[str, str] = {}
        self._batches = BatchEmbedder(
            source.make,
            caller,
            target=version,
            state=lambda: handle.file.current().state,
            check_lengths=(
                _trust if trust_geometry else partial(require_lengths, handle, version.label)
            ),
            known_good=lambda: source.known_good(handle.view(), version.label) or _WORD,
            others=self._others,
            on_failure=None if skip else self._raise,
        )

    def embed(
        self, texts: dict[str, DocumentId], *, last: bool
    ) -> tuple[dict[str, Array], dict[str, str], list[Failure]]:
        """Return vectors by text, why others have none, and which were put off.

        Parameters
        ----------
        texts : dict of text to id
            The first document that has it.
        last : bool
            Nothing comes after this.
        """
        made = {text: self._known[text] for text in texts if text in self._known}
        failed = {text: self._failed[text] for text in texts if text in self._failed}
        items = [
            Item(Document(id_, 0, 0, None, {}, text))
            for text, id_ in texts.items()
            if text not in made and text not in failed
        ]
        if not items:
            return made, failed, []
        last_row = max(self._rows[item.document.id] for item in items)
        self._next_row = max(self._next_row, last_row + 1)
        embedded = self._batches.embed(items, again=last, last=last)
        for document, vectors in zip(embedded.documents, embedded.vectors, strict=True):
            text = document.text or ""
            made[text] = vectors
            if self._uses[text] > 1:
                self._known[text] = vectors
        for failure in embedded.failures:
            text = failure.document.text or ""
            failed[text] = self._failed[text] = failure.text
        return made, failed, embedded.put_off

    def _others(self) -> Iterator[Item]:
        """Yield texts that come later, spread over them."""
        rows = range(self._next_row, len(self._texts.ids))
        for row in reversed(rows[:: len(rows) // OTHERS_TRIED + 1]):
            if self._texts.texts[row]:
                yield Item(Document(self._texts.ids[row], 0, 0, None, {}, self._texts.texts[row]))

    def _raise(self, item: Item, error: Exception) -> NoReturn:
        """Raise the error of the first text that fails alone, by the caller's row."""
        row = self._rows[item.document.id]
        message = (
            f"upsert_texts: texts[{row}], of {item.document.id!r:.80}, could not be embedded for "
            f"version {self.label!r}: {error_text(error)}. {_hint(error)}Nothing of its batch "
            "was written; batches before it were. Pass on_error='skip' to leave such texts out and "
            "go on."
        )
        if isinstance(error, InvalidArgumentError):
            raise InvalidVectorError(message, row=row) from error
        raise EmbeddingError(message) from error


def _hint(error: Exception) -> str:
    if not is_transient(error):
        return ""
    return (
        "The service answers for another text: it cannot take this one, or fails now and then, "
        "which retries= is for. "
    )


class TextBatches:
    """The batches of one call, and what they did.

    Attributes
    ----------
    put_off : list of int
        Rows of texts that failed, but for all that is known because the embedder did not work.
    """

    def __init__(
        self,
        handle: Handle,
        given: Texts,
        embedders: Sequence[TextEmbedder],
        *,
        trust_geometry: bool,
    ) -> None:
        self._handle = handle
        self._given = given
        self._embedders = embedders
        self._trusted = trust_geometry
        self._hashes = [blake3(text.encode()).digest() for text in given.texts]
        self.put_off: list[int] = []
        self.inserted = self.updated = self.unchanged = 0
        self.written = dict.fromkeys((one.label for one in embedders), 0)
        self.skipped = dict(self.written)
        self.failed: dict[DocumentId, str] = {}
        self.overtaken: list[DocumentId] = []

    def run(self, rows: Sequence[int], *, last: bool = False) -> None:
        """Embed and write some rows.

        Raises
        ------
        EmbeddingError
            An embedder fails for everything, or does not answer.
        """
        view = self._handle.view()
        seen = self._seen(view, rows)
        failed: dict[int, str] = {}
        put_off: dict[int, Failure] = {}
        put_off_by = ""
        vectors: dict[str, dict[str, Array]] = {}
        for one in self._embedders:
            rest = [row for row in rows if row not in failed and row not in put_off]
            lacking = [row for row in rest if self._lacks(view, one.label, row, seen[row])]
            texts: dict[str, DocumentId] = {}
            for row in lacking:
                texts.setdefault(self._given.texts[row], self._given.ids[row])
            vectors[one.label], reasons, later = one.embed(texts, last=last)
            late = {failure.document.text: failure for failure in later}
            for row in lacking:
                text = self._given.texts[row]
                if text in reasons:
                    failed[row] = f"version {one.label!r}: {reasons[text]}"
                elif text in late:
                    put_off[row], put_off_by = late[text], one.label
        self.put_off += put_off
        self.failed.update({self._given.ids[row]: why for row, why in failed.items()})
        kept = [row for row in rows if row not in failed and row not in put_off]
        self._write(kept, view, seen, vectors)
        if last and put_off:
            raise put_off_error(list(put_off.values()), put_off_by)

    # Steps.

    def _seen(self, view: CollectionView, rows: Sequence[int]) -> dict[int, StoredDocument]:
        """Return by row what is there of its document."""
        docnos = view.documents.find([self._given.ids[row] for row in rows]).tolist()
        found = {}
        for row, docno in zip(rows, docnos, strict=True):
            record = view.documents.record(docno) if docno >= 0 else None
            alive = record is not None and record.revision != DELETED
            found[row] = StoredDocument(docno, record if alive else None)
        return found

    def _lacks(self, view: CollectionView, label: str, row: int, seen: StoredDocument) -> bool:
        """Whether a text is new to its document, or has no fresh vectors in a version."""
        if seen.record is None or seen.record.source_hash != self._hashes[row]:
            return True
        return not view.rows(label).has_fresh[seen.docno]

    def _write(
        self,
        rows: list[int],
        before: CollectionView,
        seen: dict[int, StoredDocument],
        vectors: dict[str, dict[str, Array]],
    ) -> None:
        if not rows:
            return
        kept, counts, written = drafts.write(
            self._handle.file, lambda draft: self._in_turn(draft, rows, before, seen, vectors)
        )
        written_rows = set(kept)
        self.overtaken += [self._given.ids[row] for row in rows if row not in written_rows]
        for count in counts:
            self.inserted += count.inserted
            self.updated += count.updated
            self.unchanged += count.unchanged
        for label, documents in written.items():
            self.written[label] += documents
            self.skipped[label] += len(kept) - documents

    def _in_turn(
        self,
        draft: Draft,
        rows: list[int],
        before: CollectionView,
        seen: dict[int, StoredDocument],
        vectors: dict[str, dict[str, Array]],
    ) -> tuple[list[int], list[UpsertCounts], dict[str, int]]:
        """Write rows whose documents are as they were seen; return which, and what that did."""
        view = self._handle.view()
        now = seen if view is before else self._seen(view, rows)
        kept = [row for row in rows if now[row].revision == seen[row].revision]
        # Of a document whose source is as it was, only newer metadata is kept.
        newer = {row for row in kept if now[row].has_newer_metadata(seen[row])}
        counts = [
            draft.upsert(
                self._handle,
                [self._given.ids[row] for row in part],
                texts=[self._given.texts[row] for row in part],
                metadata=metadata,
            )
            for part, metadata in (
                (sorted(newer), None),
                self._with_metadata([row for row in kept if row not in newer]),
            )
            if part
        ]
        written = {
            one.label: self._add_vectors(draft, one, kept, vectors[one.label])
            for one in self._embedders
        }
        return kept, counts, written

    def _with_metadata(self, rows: list[int]) -> tuple[list[int], list[dict[str, object]] | None]:
        given = self._given.metadata
        return rows, None if given is None else [given[row] for row in rows]

    def _add_vectors(
        self, draft: Draft, one: TextEmbedder, rows: list[int], made: dict[str, Array]
    ) -> int:
        lacking = draft.lacking(self._handle, one.label, [self._given.ids[row] for row in rows])
        chosen = [rows[i] for i in lacking if self._given.texts[rows[i]] in made]
        if not chosen:
            return 0
        parts = [made[self._given.texts[row]] for row in chosen]
        single = all(len(part) == 1 for part in parts)
        draft.add_vectors(
            self._handle,
            one.label,
            [self._given.ids[row] for row in chosen],
            Embeddings(one.spec, np.concatenate(parts)) if single else parts,
            trust_geometry=self._trusted,
        )
        return len(chosen)


def _trust(checked: CheckedVectors) -> None:
    """Let all lengths pass."""
