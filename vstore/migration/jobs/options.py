"""The options of a migration: the one list of their names and types."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypedDict

if TYPE_CHECKING:
    from collections.abc import Callable

    from vstore.manifest.job_state import JobOrder
    from vstore.segment.user_document import Document
    from vstore.types import Array
    from vstore.writing.vector_sources import MapRows


class MigrationOptions(TypedDict, total=False):
    """Keywords of `Collection.migrate`; `Migration` describes them."""

    from_vectors: MapRows | None
    order: JobOrder
    order_field: str | None
    batch_size: int
    documents_max: int | None
    units_max: int | None
    cost_max: float | None
    unit: str
    count_units: Callable[[Document], int] | None
    price_per_unit: float
    retries: int
    timeout_s: float | None
    rate_per_s: float | None
    failures_max: int
    check: Callable[[Array], object] | None
    isolate: bool
