"""Filters from a caller, bound to a collection's fields inside a view's scope."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from vstore.deferred import Deferred
from vstore.engine.snapshot import matching_documents
from vstore.errors import FilterError
from vstore.segment.documents import DELETED

if TYPE_CHECKING:
    from collections.abc import Mapping

    from vstore.engine.snapshot import CollectionView
    from vstore.query import filter as filters
    from vstore.query.filter import Filter, Where
    from vstore.types import BoolArray
else:  # loaded late: a search without a filter does not need it
    filters = Deferred("vstore.query.filter")


def filter_of(where: Filter | Mapping[str, object]) -> Filter:
    """Return a caller's filter, not yet checked against the fields.

    Raises
    ------
    FilterError
        ``where`` is neither a filter nor a dict that describes one.
    """
    given: object = where  # callers without a type checker pass anything
    if isinstance(given, filters.Filter):
        return given
    if isinstance(given, filters.FieldReference):
        name = given.name
        raise FilterError(f"field({name!r}) is no filter yet: compare it, or ask .exists()")
    return filters.filter_from_dict(given)


def bound_filter(view: CollectionView, where: Where) -> Filter | None:
    """Return a caller's filter, checked against the fields, inside the view's scope.

    None without a filter and a scope.

    Raises
    ------
    FilterError
        ``where`` is not a filter, or does not fit the fields.
    """
    if where is None:
        return view.scope
    bound = filters.bind(filter_of(where), view.field_types)
    return bound if view.scope is None else view.scope & bound


def passing(view: CollectionView, where: Where) -> BoolArray:
    """Return the mask of a view's live documents that pass a filter, bool (docno_end,).

    Raises
    ------
    FilterError
        ``where`` is not a filter, or does not fit the fields.
    """
    bound = bound_filter(view, where)
    if bound is None:
        return np.asarray(view.documents.revision != DELETED)
    return matching_documents(view, bound)
