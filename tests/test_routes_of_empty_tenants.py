"""A tenant without documents, which may be a typing mistake, gets no route of its own unasked."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import vstore
from tests.small_store import NEW, OLD, documents, rows, spec

if TYPE_CHECKING:
    from collections.abc import Callable

THIRD = "v3"
tenant = vstore.field("tenant")
CHANGES: dict[str, Callable[..., object]] = {
    "read_both": lambda docs, **more: docs.routes.set(vstore.Dual(NEW), **more),
    "read_cascade": lambda docs, **more: docs.routes.set(vstore.Cascade(NEW), **more),
    "read_canary": lambda docs, **more: docs.routes.set(vstore.Canary(NEW, percent=10), **more),
    "read_bridge": lambda docs, **more: docs.routes.set(vstore.Bridge(NEW, source=OLD), **more),
    "shadow": lambda docs, **more: docs.routes.shadow(THIRD, percent=10, **more),
    "no shadow": lambda docs, **more: docs.routes.shadow(None, **more),
}
every_change = pytest.mark.parametrize("change", list(CHANGES.values()), ids=list(CHANGES))


@pytest.fixture
def docs() -> vstore.Collection:
    """Make a collection of one tenant, whose default route can be rolled back."""
    made = documents(new=spec("model-new"))
    made.create_version(THIRD, spec("model-third"))
    count = 250
    made.upsert(
        range(count),
        vectors={OLD: rows(count), NEW: rows(count), THIRD: rows(count)},
        metadata=[{"tenant": "acme"}] * count,
    )
    made.migration.fit_bridge(OLD, NEW, min_recall=0)
    made.routes.cutover(NEW)
    made.routes.cutover(OLD)
    return made


@every_change
def test_a_route_for_nobody_is_refused(
    docs: vstore.Collection, change: Callable[..., object]
) -> None:
    before, epoch = docs.routes, docs.store.epoch
    for name in ("acmee", "ACME", "acme "):
        with pytest.raises(vstore.StateError, match=f"no document with 'tenant={name}'"):
            change(docs.scoped(tenant == name), reason="a typing mistake")
    assert (docs.routes, docs.store.epoch) == (before, epoch)


def test_a_rollback_makes_no_route_for_nobody(docs: vstore.Collection) -> None:
    before = docs.routes
    with pytest.raises(vstore.StateError, match="no document with 'tenant=acmee'"):
        docs.scoped(tenant == "acmee").routes.rollback()
    assert docs.routes == before
    docs.scoped(tenant == "acme").routes.rollback()
    assert set(docs.routes) == {"", "tenant=acme"}


@every_change
def test_it_is_made_when_forced_with_a_reason(
    docs: vstore.Collection, change: Callable[..., object]
) -> None:
    soon = docs.scoped(tenant == "soon")
    with pytest.raises(vstore.InvalidArgumentError, match="force=True needs a reason="):
        change(soon, force=True)
    assert "tenant=soon" not in docs.routes
    change(soon, force=True, reason="they start on Monday", by="ada")
    route = docs.routes["tenant=soon"]
    assert (route.forced, route.reason, route.by) == (True, "they start on Monday", "ada")


@every_change
def test_force_is_a_truth_value(docs: vstore.Collection, change: Callable[..., object]) -> None:
    with pytest.raises(vstore.InvalidArgumentError, match="force"):
        change(docs.scoped(tenant == "acmee"), force="no", reason="so")
    assert set(docs.routes) == {""}


@every_change
def test_a_tenant_with_documents_needs_no_force(
    docs: vstore.Collection, change: Callable[..., object]
) -> None:
    change(docs.scoped(tenant == "acme"))
    assert not docs.routes["tenant=acme"].forced


@every_change
def test_a_tenant_whose_documents_are_deleted_is_empty(
    docs: vstore.Collection, change: Callable[..., object]
) -> None:
    docs.delete(docs.ids())
    with pytest.raises(vstore.StateError, match="no document with 'tenant=acme'"):
        change(docs.scoped(tenant == "acme"))
    change(docs)  # the default route is everybody's


def test_a_route_that_is_there_can_be_changed_without_documents(docs: vstore.Collection) -> None:
    acme = docs.scoped(tenant == "acme")
    acme.routes.shadow(NEW, percent=5)
    docs.delete(docs.ids())
    acme.routes.shadow(None)
    acme.routes.set(vstore.Dual(NEW))
    acme.routes.rollback()
    assert docs.routes["tenant=acme"].version == OLD
    acme.routes.follow_default()
    assert set(docs.routes) == {""}


def test_a_cutover_is_forced_as_before(docs: vstore.Collection) -> None:
    soon = docs.scoped(tenant == "soon")
    with pytest.raises(vstore.GateError, match="no evidence"):
        soon.routes.cutover(NEW)
    soon.routes.cutover(NEW, force=True, reason="they start on Monday")
    assert docs.routes["tenant=soon"].forced
