"""Hits and explanations: what people look at. A search for ids makes none."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from vstore.query.plan import plan_to_dict, render_plan
from vstore.store.document import document_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from vstore.query.plan import PlanNode
    from vstore.store.document import Document
    from vstore.store.snapshot import CollectionView
    from vstore.types import DocumentId


@dataclass(frozen=True, slots=True)
class Hit:
    """One hit.

    Attributes
    ----------
    id : str or int
    score : float
        Cosine similarity, inner product, or minus the Euclidean distance: larger is better. Scores
        of different versions cannot be compared; the order of the hits is the result's.
    version : str
        Version of the vector that was scored.
    chunk : int
    stale : bool
        The vector was made from an older revision of the document.
    """

    id: DocumentId
    score: float
    version: str
    chunk: int = 0
    stale: bool = False
    _docno: int = field(default=-1, repr=False, compare=False)
    _view: CollectionView | None = field(default=None, repr=False, compare=False)

    @property
    def document(self) -> Document:
        """The document, as it stood at the epoch of the search."""
        assert self._view is not None, "made by a search"
        return document_of(self._view.documents.record(self._docno), self._view.field_types)

    @property
    def metadata(self) -> Mapping[str, object]:
        """The document's metadata."""
        return self.document.metadata

    @property
    def text(self) -> str | None:
        """The document's text."""
        return self.document.text


@dataclass(frozen=True, slots=True)
class Explanation:
    """A plan, and with ``analyze`` what happened when it ran. Prints as text."""

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
