"""What a collection should contain: dicts, lists, and the rules of the design, nothing clever."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from blake3 import blake3

from tests.model.brute_force import Candidate, Expected, ranking

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from vstore.manifest.spec import Metric
    from vstore.types import Array, DocumentId

    Passes = Callable[[Mapping[str, object]], bool]


@dataclass
class ModelDocument:
    """A live document."""

    created: int
    revision: int
    source_hash: bytes | None
    metadata: dict[str, object]
    text: str | None


@dataclass
class ModelRows:
    """A document's rows in a version: the revision they were made from, the commit's epoch."""

    revision: int
    epoch: int
    vectors: Array


@dataclass
class ModelVersion:
    """A version: by document all rows ever given, oldest first."""

    metric: Metric
    dtype: str
    serve_stale: bool
    retired: bool = False
    rows: dict[DocumentId, list[ModelRows]] = field(default_factory=dict)


@dataclass
class ModelRoute:
    """Which versions answer."""

    version: str
    old_version: str = ""
    previous: tuple[str, ...] = ()


@dataclass
class ModelCounts:
    """Documents inserted, updated and unchanged; documents by version that got rows."""

    documents: tuple[int, int, int]
    written: dict[str, int]


@dataclass
class DualAnswer:
    """Hits of documents with old rows, each with its version and in order; those without; count."""

    placed: list[tuple[Expected, str]]
    alone: list[tuple[Expected, str]]
    count: int


class Model:
    """A collection as it should be. Writes take the epoch of the commit they belong to."""

    def __init__(self) -> None:
        self.documents: dict[DocumentId, ModelDocument] = {}
        self.places: list[DocumentId] = []  # in order of docno, deleted ones until a vacuum
        self.versions: dict[str, ModelVersion] = {}
        self.route: ModelRoute | None = None

    def copy(self) -> Model:
        return copy.deepcopy(self)

    # Writes.

    def upsert(
        self,
        epoch: int,
        ids: Sequence[DocumentId],
        *,
        vectors: Mapping[str, Sequence[Array]],
        metadata: Sequence[dict[str, object]] | None,
        texts: Sequence[str | None] | None,
        hashes: Sequence[bytes | None] | None,
        force: bool,
    ) -> ModelCounts:
        counts, written = [0, 0, 0], dict.fromkeys(vectors, 0)
        for i, id_ in enumerate(ids):
            text = None if texts is None else texts[i]
            source_hash = None if hashes is None else hashes[i]
            if hashes is None and text is not None:
                source_hash = blake3(text.encode()).digest()
            old = self.documents.get(id_)
            touches_source = text is not None or source_hash is not None
            same = old is not None and (
                not touches_source or (source_hash is not None and source_hash == old.source_hash)
            )
            if id_ not in self.places:
                self.places.append(id_)
            if old is None:
                given = {} if metadata is None else metadata[i]
                self.documents[id_] = ModelDocument(epoch, epoch, source_hash, given, text)
            else:
                if not same:
                    self._forget(id_, epoch)
                    old.revision, old.source_hash = epoch, source_hash
                if not same or text is not None:
                    old.text = text
                if metadata is not None:
                    old.metadata = metadata[i]
            counts[0 if old is None else 2 if same else 1] += 1
            for label, arrays in vectors.items():
                if not same or not touches_source or force or not self.fresh(label, id_):
                    self._put_rows(epoch, label, id_, arrays[i])
                    written[label] += 1
        return ModelCounts((counts[0], counts[1], counts[2]), written)

    def _forget(self, id_: DocumentId, epoch: int) -> None:
        """Drop rows that this very commit gave a document before it changed its source."""
        for version in self.versions.values():
            version.rows[id_] = [r for r in version.rows.get(id_, []) if r.epoch != epoch]

    def _put_rows(self, epoch: int, label: str, id_: DocumentId, vectors: Array) -> None:
        version = self.versions[label]
        stored = np.atleast_2d(vectors).astype(version.dtype)
        rows = ModelRows(self.documents[id_].revision, epoch, stored)
        version.rows.setdefault(id_, []).append(rows)

    def update_metadata(self, ids: Sequence[DocumentId], rows: Sequence[dict[str, object]]) -> int:
        changed = 0
        for id_, row in zip(ids, rows, strict=True):
            document = self.documents[id_]
            merged = {**document.metadata, **row}
            merged = {name: value for name, value in merged.items() if value is not None}
            changed += repr(merged) != repr(document.metadata)
            document.metadata = merged
        return changed

    def delete(self, ids: Sequence[DocumentId]) -> int:
        deleted = 0
        for id_ in ids:
            if self.documents.pop(id_, None) is not None:
                deleted += 1
            for version in self.versions.values():
                version.rows.pop(id_, None)
        return deleted

    def add_vectors(
        self,
        epoch: int,
        label: str,
        ids: Sequence[DocumentId],
        arrays: Sequence[Array],
        *,
        revisions: Sequence[int] | None,
    ) -> int:
        """Return how many documents got rows."""
        written = 0
        for i, (id_, vectors) in enumerate(zip(ids, arrays, strict=True)):
            document = self.documents.get(id_)
            if document is None or (revisions is not None and document.revision != revisions[i]):
                continue
            self._put_rows(epoch, label, id_, vectors)
            written += 1
        return written

    def vacuum(self) -> None:
        self.places = [id_ for id_ in self.places if id_ in self.documents]
        for version in self.versions.values():
            if version.retired:
                version.rows = {}

    # Reads.

    def ids(self, passes: Passes | None = None) -> list[DocumentId]:
        return [
            id_
            for id_ in self.places
            if id_ in self.documents and (passes is None or passes(self.documents[id_].metadata))
        ]

    def fresh(self, label: str, id_: DocumentId) -> bool:
        rows = self.versions[label].rows.get(id_)
        document = self.documents.get(id_)
        if not rows or document is None:
            return False
        return rows[-1].revision == document.revision

    def served(self, label: str, id_: DocumentId) -> Array | None:
        """Return the rows a search may return."""
        version = self.versions[label]
        rows = version.rows.get(id_)
        document = self.documents.get(id_)
        if not rows or document is None:
            return None
        newest = rows[-1]
        same_life = version.serve_stale and newest.revision >= document.created
        return newest.vectors if newest.revision == document.revision or same_life else None

    def covered(self, label: str) -> int:
        return sum(self.fresh(label, id_) for id_ in self.documents)

    def candidates(self, label: str, passes: Passes | None = None) -> list[Candidate]:
        result = []
        for id_ in self.ids(passes):
            vectors = self.served(label, id_)
            place = self.places.index(id_)
            for chunk, vector in enumerate([] if vectors is None else vectors):
                stale = not self.fresh(label, id_)
                result.append(Candidate(id_, place, chunk, vector, stale))
        return result

    def search(
        self, label: str, query: Array, *, k: int, passes: Passes | None, collapse: bool = True
    ) -> list[Expected]:
        metric = self.versions[label].metric
        return ranking(self.candidates(label, passes), query, metric, collapse=collapse)[:k]

    def dual(
        self, old: str, new: str, queries: Mapping[str, Array], *, k: int, passes: Passes | None
    ) -> DualAnswer:
        """Return what a slots read must show."""
        old_has = {id_ for id_ in self.documents if self.served(old, id_) is not None}
        migrated = {id_ for id_ in self.documents if self.fresh(new, id_)}
        eligible = [
            c for c in self.candidates(new, passes) if c.id in migrated or c.id not in old_has
        ]
        from_old = ranking(self.candidates(old, passes), queries[old], self.versions[old].metric)
        from_new = ranking(eligible, queries[new], self.versions[new].metric)
        moved = iter([hit for hit in from_new if hit.id in old_has])
        placed = [(next(moved), new) if h.id in migrated else (h, old) for h in from_old]
        alone = [(hit, new) for hit in from_new if hit.id not in old_has]
        return DualAnswer(placed, alone, min(k, len(placed) + len(alone)))
