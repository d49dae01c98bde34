"""User and item vectors of one two-tower model, versioned together.

A user's vector is the query, items are what it finds: that only means something if both towers are
of the same training run. Users and items are two collections whose versions have one fingerprint.
A new run is filled into both, both are moved, and a user of one run can never be matched with
items of another; a provider's mere rename, declared, changes nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pytest

import vstore

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vstore import Collection, Document
    from vstore.types import Array

V1, V2 = "towers-run-1", "towers-run-2"
USERS, ITEMS, DIMENSION = 30, 200, 12
K = 5
SEED = 23


def run_spec(number: int, model: str = "two-tower") -> vstore.EmbeddingSpec:
    """Return the spec that both towers of a training run declare."""
    return vstore.EmbeddingSpec(model, DIMENSION, "inner_product", model_version=f"run-{number}")


class Towers:
    """Vectors of users and items by training run, seeded; each run has a space of its own."""

    def __init__(self) -> None:
        rng = np.random.default_rng(SEED)
        users = rng.standard_normal((USERS, DIMENSION))
        items = rng.standard_normal((ITEMS, DIMENSION))
        self.of: dict[str, dict[str, Array]] = {}
        for label in (V1, V2):
            turned = np.linalg.qr(rng.standard_normal((DIMENSION, DIMENSION)))[0]
            self.of[label] = {
                "users": (users @ turned).astype(np.float32),
                "items": (items @ turned).astype(np.float32),
            }

    def best(self, label: str, user: int) -> list[str]:
        scores = self.of[label]["items"] @ self.of[label]["users"][user]
        return [f"item-{row}" for row in np.argsort(-scores)[:K]]


class Shop(NamedTuple):
    users: Collection
    items: Collection
    towers: Towers

    def vector(self, user: int, version: str) -> vstore.Embeddings:
        """Return a user's vector, stamped with the run that made it."""
        row = self.users.get_vectors(f"user-{user}", version)[0]
        return vstore.Embeddings(self.users.versions[version].spec, row)

    def recommend(self, user: int) -> vstore.SearchResult:
        """Ask the items' route with the vectors that the user has, each under its version."""
        known = [version for version in (V1, V2) if self.users.coverage(version).complete]
        return self.items.search({v: self.vector(user, v) for v in known}, k=K)

    def fill(self, version: str) -> None:
        for name, collection in (("users", self.users), ("items", self.items)):
            rows = self.towers.of[version][name]

            def tower(documents: Sequence[Document], rows: Array = rows) -> Array:
                return rows[[int(str(document.id).split("-")[1]) for document in documents]]

            assert collection.migrate(V1, version, tower).run().finished


@pytest.fixture
def shop() -> Shop:
    """A shop that serves run 1."""
    store, towers = vstore.open(":memory:"), Towers()
    made = {}
    for name, count in (("users", USERS), ("items", ITEMS)):
        collection = store.create_collection(name)
        collection.create_version(V1, run_spec(1))
        ids = [f"{name[:-1]}-{number}" for number in range(count)]
        collection.upsert(ids, vectors={V1: towers.of[V1][name]})
        made[name] = collection
    return Shop(made["users"], made["items"], towers)


def declare_run_2(shop: Shop) -> None:
    for collection in (shop.users, shop.items):
        collection.create_version(V2, run_spec(2))


def test_a_user_s_vector_is_a_query_into_the_items(shop: Shop) -> None:
    assert shop.users.versions[V1].fingerprint == shop.items.versions[V1].fingerprint
    for user in range(USERS):
        assert shop.items.search(shop.vector(user, V1), k=K).ids == shop.towers.best(V1, user)


def test_both_towers_move_to_the_next_run_together(shop: Shop) -> None:
    declare_run_2(shop)
    shop.fill(V2)
    gates = vstore.Gates(coverage=1.0, stale=0.0)
    # Both are ready before either is moved.
    for collection in (shop.users, shop.items):
        assert all(gate.passed for gate in collection.routes.check_gates(V2, gates))
    for collection in (shop.users, shop.items):
        collection.routes.cutover(V2, gates=gates, reason="run 2")
        # Between the two commits a user is matched with items of one run all the same.
        result = shop.recommend(0)
        assert {hit.version for hit in result} == {shop.items.routes.current.version}
        assert result.ids == shop.towers.best(shop.items.routes.current.version, 0)
    assert shop.users.routes.current.version == shop.items.routes.current.version == V2
    for user in range(USERS):
        assert shop.recommend(user).ids == shop.towers.best(V2, user)
    # And back, together as well.
    for collection in (shop.items, shop.users):
        collection.routes.rollback(reason="fewer clicks")
    assert {hit.version for hit in shop.recommend(1)} == {V1}
    assert shop.recommend(1).ids == shop.towers.best(V1, 1)


def test_a_user_of_one_run_never_meets_items_of_another(shop: Shop) -> None:
    declare_run_2(shop)
    shop.fill(V2)
    shop.items.routes.cutover(V2)
    with pytest.raises(vstore.VersionMismatchError, match="model_version") as caught:
        shop.items.search(shop.vector(0, V1))
    assert caught.value.differences == {"model_version": ("run-2", "run-1")}
    with pytest.raises(vstore.VersionMismatchError):
        shop.items.search({V2: shop.vector(0, V1)})
    # Nor may an export of the wrong run be written under the right name.
    before = shop.users.store.epoch
    wrong = vstore.Embeddings(run_spec(1), shop.towers.of[V1]["users"][:1])
    with pytest.raises(vstore.VersionMismatchError, match="run-1"):
        shop.users.add_vectors(["user-0"], wrong, version=V2)
    assert shop.users.store.epoch == before
    # Unstamped it would not be found out: the two spaces are of one shape, and the answer is noise.
    noise = [
        shop.items.search(shop.towers.of[V1]["users"][user], version=V2, k=K).ids
        for user in range(USERS)
    ]
    right = [shop.towers.best(V2, user) for user in range(USERS)]
    common = sum(len(set(a) & set(b)) for a, b in zip(noise, right, strict=True))
    assert common / (USERS * K) < 0.2


def test_a_mere_rename_is_declared_and_nothing_is_embedded_again(shop: Shop) -> None:
    renamed = run_spec(1, model="towers/two-tower")
    row = shop.towers.of[V1]["users"][3]
    with pytest.raises(vstore.VersionMismatchError, match="towers/two-tower"):
        shop.items.search(vstore.Embeddings(renamed, row), k=K)
    shop.items.store.declare_equivalent(run_spec(1), renamed, reason="moved to a new registry")
    found = shop.items.search(vstore.Embeddings(renamed, row), k=K)
    assert found.ids == shop.towers.best(V1, 3)
    # It holds in both collections, and for writes; run 2 is still another space.
    shop.users.upsert(["user-99"], vectors={V1: vstore.Embeddings(renamed, row[None])})
    assert shop.items.search(shop.vector(99, V1), k=K).ids == shop.towers.best(V1, 3)
    with pytest.raises(vstore.VersionMismatchError):
        shop.items.search(vstore.Embeddings(run_spec(2, model="towers/two-tower"), row))
    (pair,) = shop.items.store._open_file.current().state.equivalences
    assert pair.reason == "moved to a new registry"
