"""Hits and explanations, made on demand. A search for ids makes none."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields
from typing import TYPE_CHECKING

from vstore.errors import ClosedError
from vstore.query.plan import plan_to_dict, render_plan
from vstore.segment.user_document import document_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from vstore.manifest.state import FieldType
    from vstore.query.execution import RowHit
    from vstore.query.plan import PlanNode
    from vstore.segment.document_table import DocumentTable
    from vstore.segment.documents import DocumentRecord
    from vstore.segment.user_document import Document
    from vstore.types import DocumentId


class _Lookup:
    """Slots with a hit's document; not dataclass fields, so not part of the hit's value.

    Attributes
    ----------
    _source : tuple[DocumentTable, int]
        The searched documents, and the docno of the hit's. Unset after unpickling.
    _record : tuple[DocumentRecord, Mapping[str, FieldType]]
        Cached document; unset until someone reads it.
    """

    __slots__ = ("_record", "_source")


@dataclass(frozen=True, slots=True)
class Hit(_Lookup):
    """One hit. All but its document outlives the store.

    Attributes
    ----------
    id : str or int
    score : float
        Larger is better; never above the previous hit's score. In a read of one version the cosine
        similarity, the inner product, or minus the Euclidean distance; in a read of two the
        reciprocal of the rank (1, 1/2, 1/3 ...), because scores of two versions cannot be compared.
    version : str
        Version of the scored vector.
    chunk : int
    stale : bool
        Whether the vector was made from an older revision of the document.
    scores : Mapping[str, float]
        Similarities by version, for each version that scored the document; always has `version`.
    """

    id: DocumentId
    score: float
    version: str
    chunk: int = 0
    stale: bool = False
    scores: Mapping[str, float] = field(default_factory=dict, hash=False)

    @property
    def document(self) -> Document:
        """The document at the epoch of the search.

        Raises
        ------
        ClosedError
            The document was not read before the store was closed or vacuumed, or the hit pickled.
            A `Reader` keeps the documents of its own searches readable through vacuums.
        """
        return document_of(*self._looked_up())

    @property
    def metadata(self) -> Mapping[str, object]:
        """The document's metadata; see `document`."""
        return self.document.metadata

    @property
    def text(self) -> str | None:
        """The document's text; see `document`."""
        return self.document.text

    def to_dict(self) -> dict[str, object]:
        """Return everything but the document as plain data."""
        return asdict(self)

    def _looked_up(self) -> tuple[DocumentRecord, Mapping[str, FieldType]]:
        found: tuple[DocumentRecord, Mapping[str, FieldType]] | None
        found = getattr(self, "_record", None)
        if found is None:
            documents, docno = self._place()
            try:
                found = documents.record(docno), documents.field_types
            except ClosedError as error:
                raise ClosedError(
                    f"the document of hit {self.id!r} was not looked at before its store was "
                    f"closed or vacuumed ({error}). Read hit.document, hit.text or hit.metadata "
                    "before, or get(ids) of a store that is open"
                ) from error
            object.__setattr__(self, "_record", found)
        return found

    def _place(self) -> tuple[DocumentTable, int]:
        place: tuple[DocumentTable, int] | None = getattr(self, "_source", None)
        if place is None:
            raise ClosedError(
                f"hit {self.id!r} was not made by a search here: it was unpickled, or is a copy "
                "made by dataclasses.replace, and nobody had looked at its document before. Read "
                "hit.document, hit.text or hit.metadata before, or get(ids) of a store that is open"
            )
        return place

    def __copy__(self) -> Hit:
        return self

    def __deepcopy__(self, memo: object) -> Hit:
        return self

    def __reduce__(self) -> tuple[object, ...]:
        values = tuple(getattr(self, one.name) for one in fields(self))
        return _unpickled, (values, getattr(self, "_record", None))


def hit_of(found: RowHit, id_: DocumentId, documents: DocumentTable) -> Hit:
    """Return a row of a search's result as a user's hit."""
    hit = Hit(id_, found.score, found.version, found.chunk, found.stale, found.similarities)
    object.__setattr__(hit, "_source", (documents, found.docno))
    return hit


def _unpickled(
    values: tuple[object, ...], record: tuple[DocumentRecord, Mapping[str, FieldType]] | None
) -> Hit:
    hit = Hit(*values)  # type: ignore[arg-type]  # the fields of one, in their order
    if record is not None:
        object.__setattr__(hit, "_record", record)
    return hit


@dataclass(frozen=True, slots=True)
class Explanation:
    """A plan, with the actuals of its run under ``analyze``. Prints as text."""

    plan: PlanNode
    actuals: Mapping[str, object] | None = None

    def __str__(self) -> str:
        return render_plan(self.plan, self.actuals)

    def to_dict(self) -> dict[str, object]:
        """Return plan and actuals as plain data."""
        result: dict[str, object] = {"plan": plan_to_dict(self.plan)}
        if self.actuals is not None:
            result["actuals"] = dict(self.actuals)
        return result
