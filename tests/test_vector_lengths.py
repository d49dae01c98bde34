"""One row of a length that its version's rows do not have is refused or flagged, from the first."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import vstore
from tests.small_store import contents, store_in

if TYPE_CHECKING:
    from vstore.manifest.spec import Metric
    from vstore.types import Array

DIMENSION = 32
ROWS = 300
METRICS: tuple[Metric, ...] = ("inner_product", "l2")


def unit(count: int, *, seed: int = 0, dimension: int = DIMENSION) -> Array:
    rows = np.random.default_rng(seed).standard_normal((count, dimension)).astype(np.float32)
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True))


def made(
    metric: Metric = "inner_product", rows: Array | None = None, **options: Any
) -> vstore.Collection:
    docs = store_in().create_collection("docs")
    vectors = unit(ROWS) if rows is None else rows
    docs.create_version("v", vstore.EmbeddingSpec("m", vectors.shape[1], metric), **options)
    docs.upsert(list(range(len(vectors))), vectors={"v": vectors})
    return docs


def suspects(docs: vstore.Collection) -> int:
    counts: Any = docs.store.metrics().to_dict()["counts"]
    return int(counts.get("suspect_batches", 0))


def codes(vector: Array) -> Array:
    found: Array = np.rint(vector * 127 / np.abs(vector).max()).astype(np.int8)
    return found


WRONG = {
    "int8 codes": codes(unit(1, seed=9)),
    "codes as a list": codes(unit(1, seed=9)).tolist(),
    "twice and more": unit(1, seed=9) * 2.5,
    "scaled by 127": unit(1, seed=9) * 127,
    "too short": unit(1, seed=9) / 100,
    "zeros": np.zeros((1, DIMENSION)),
}


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("wrong", WRONG)
@pytest.mark.parametrize("rows", [40, ROWS, 1_100])
def test_one_row_of_another_length_is_refused(metric: Metric, wrong: str, rows: int) -> None:
    docs = made(metric, unit(rows))
    before = contents(docs)
    with pytest.raises(
        vstore.InvalidVectorError, match=r"\[0\]: length .*trust_geometry"
    ) as caught:
        docs.upsert(["bad"], vectors={"v": WRONG[wrong]})
    assert caught.value.row == 0
    assert contents(docs) == before
    mixed = unit(40, seed=3)
    mixed[17] = np.asarray(WRONG[wrong])[0]
    docs.upsert([f"n{i}" for i in range(40)])
    with pytest.raises(vstore.InvalidVectorError, match=r"\[17\]") as caught:
        docs.add_vectors([f"n{i}" for i in range(40)], mixed, version="v")
    assert caught.value.row == 17
    docs.add_vectors([f"n{i}" for i in range(40)], mixed, trust_geometry=True, version="v")


@pytest.mark.parametrize(
    ("wrong", "name"),
    [
        ("int8 codes", "int8 codes"),
        ("zeros", "embedding failed"),
        ("scaled by 127", r"unnormalised, or scaled by 127"),
    ],
)
def test_the_likely_mistake_is_named(wrong: str, name: str) -> None:
    with pytest.raises(vstore.InvalidVectorError, match=name):
        made().upsert(["bad"], vectors={"v": WRONG[wrong]})


def test_twenty_codes_among_three_thousand_rows_win_no_query() -> None:
    docs = made(rows=unit(1_500))
    for i in range(20):
        with pytest.raises(vstore.InvalidVectorError):
            docs.upsert([f"q{i}"], vectors={"v": codes(unit(1, seed=i))})
    for query in unit(20, seed=7):
        assert not any(str(id_).startswith("q") for id_ in docs.search(query, version="v").ids)


def test_rows_of_the_same_transaction_count() -> None:
    docs = made(rows=unit(1))
    with docs.store.transaction() as tx:
        tx.upsert(docs, list(range(40)), vectors={"v": unit(40)})
        with pytest.raises(vstore.InvalidVectorError, match=r"\[0\]"):
            tx.upsert(docs, ["bad"], vectors={"v": unit(1) * 50})
    assert docs.coverage("v").fresh == 40


def test_the_rows_of_the_first_call_count() -> None:
    docs = made(rows=unit(1))
    rows = unit(400)
    rows[[7, 300]] *= 80
    with pytest.raises(vstore.InvalidVectorError, match=r"\[7\].*2 of these") as caught:
        docs.upsert([f"n{i}" for i in range(400)], vectors={"v": rows})
    assert caught.value.row == 7


def mixture(count: int, share: float, wrong: str) -> tuple[Array, Array]:
    """Return unit vectors of which some are of another length, and which ones."""
    rows = unit(count)
    odd = np.sort(np.random.default_rng(1).permutation(count)[: int(count * share)])
    if wrong == "int8 codes":
        rows[odd] = np.rint(rows[odd] * 127)
    else:
        rows[odd] *= 127 if wrong == "scaled by 127" else 0.01
    return rows, odd


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("wrong", ["int8 codes", "scaled by 127", "too short"])
@pytest.mark.parametrize("count", [40, 200, 900, 6_000])
@pytest.mark.parametrize("share", [0.02, 0.06, 0.1, 0.3, 0.4])
def test_a_mixture_is_refused_in_the_first_call(
    metric: Metric, wrong: str, count: int, share: float
) -> None:
    docs = made(metric, unit(1))
    rows, odd = mixture(count, max(share, 1 / count), wrong)
    with pytest.raises(vstore.InvalidVectorError, match=rf"\[{odd[0]}\]: length") as caught:
        docs.upsert([f"n{i}" for i in range(count)], vectors={"v": rows})
    assert caught.value.row == odd[0]
    assert f" {len(odd):,} of these" in str(caught.value)
    assert docs.coverage("v").fresh == 1


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("sealed", [False, True])
def test_a_mixture_that_was_let_in_lets_no_other_in(metric: Metric, sealed: bool) -> None:
    docs = made(metric, unit(1))
    rows, _ = mixture(300, 0.3, "int8 codes")
    docs.upsert([f"n{i}" for i in range(300)], vectors={"v": rows}, trust_geometry=True)
    if sealed:
        docs.store.optimize()
    with pytest.raises(vstore.InvalidVectorError, match="int8 codes"):
        docs.upsert(["bad"], vectors={"v": np.rint(unit(1, seed=9) * 127)})
    docs.upsert(["good"], vectors={"v": unit(1, seed=9)})


def test_codes_among_the_first_rows_one_by_one_let_no_other_in() -> None:
    docs = made(rows=mixture(30, 0.2, "int8 codes")[0])
    docs.upsert([f"n{i}" for i in range(40)], vectors={"v": unit(40, seed=3)})
    with pytest.raises(vstore.InvalidVectorError, match="int8 codes"):
        docs.upsert(["bad"], vectors={"v": np.rint(unit(1, seed=9) * 127)})


@pytest.mark.parametrize("metric", METRICS)
def test_counts_of_words_may_be_one_or_many(metric: Metric) -> None:
    rng = np.random.default_rng(6)
    rows = np.eye(DIMENSION, dtype=np.float32)[rng.integers(0, DIMENSION, 600)]
    rows[::4] = rng.poisson(12, (150, DIMENSION))
    docs = made(metric, rows)
    assert docs.coverage("v").complete


@pytest.mark.parametrize("sealed", [False, True])
def test_what_was_learned_is_known_after_reopening(tmp_path: Any, sealed: bool) -> None:
    path = tmp_path / "docs.vstore"
    with vstore.open(path) as store:
        docs = store.create_collection("docs")
        docs.create_version("v", vstore.EmbeddingSpec("m", DIMENSION, "l2"))
        docs.upsert(list(range(100)), vectors={"v": unit(100)})
        if sealed:
            store.optimize()
    with vstore.open(path) as store:
        docs = store.collection("docs")
        with pytest.raises(vstore.InvalidVectorError):
            docs.upsert(["bad"], vectors={"v": unit(1) * 20})
        docs.upsert(["good"], vectors={"v": unit(1, seed=2)})


@pytest.mark.parametrize("metric", METRICS)
def test_zeros_in_a_new_version_are_flagged_and_written(
    metric: Metric, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "vstore"):
        docs = made(metric, np.zeros((ROWS, DIMENSION), np.float32))
    assert "All zeros" in caplog.text
    assert suspects(docs) == 1
    docs.upsert(["more"], vectors={"v": np.zeros((1, DIMENSION))})
    docs.upsert(["other"], vectors={"v": unit(1)})
    assert docs.coverage("v").fresh == ROWS + 2


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("distinct", [1, 2, 3])
def test_copies_of_a_few_rows_say_nothing_about_lengths(metric: Metric, distinct: int) -> None:
    some = unit(distinct)
    docs = made(metric, np.tile(some, (ROWS // distinct, 1)))
    docs.upsert(["longer"], vectors={"v": unit(1, seed=4) * 30})
    docs.upsert(["zeros"], vectors={"v": np.zeros((1, DIMENSION))})
    assert suspects(docs) >= 1


def test_zeros_that_are_usual_are_flagged() -> None:
    rows = unit(ROWS)
    rows[::20] = 0
    docs = made("l2", rows)
    docs.upsert(["zeros"], vectors={"v": np.zeros((1, DIMENSION))})
    assert suspects(docs) == 2
    with pytest.raises(vstore.InvalidVectorError):
        docs.upsert(["longer"], vectors={"v": unit(1) * 5})


SPREAD: dict[str, Any] = {
    "lognormal 0.2": lambda rng, n: rng.lognormal(1, 0.2, n),
    "lognormal 0.6": lambda rng, n: rng.lognormal(1, 0.6, n),
    "lognormal 1.5": lambda rng, n: rng.lognormal(1, 1.5, n),
    "heavy tail": lambda rng, n: 1 + rng.pareto(2.0, n),
    "uniform": lambda rng, n: rng.uniform(0.5, 1.5, n),
    "growing": lambda rng, n: np.linspace(1, 40, n),
}


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("spread", SPREAD)
def test_lengths_that_vary_may_vary(metric: Metric, spread: str) -> None:
    rng = np.random.default_rng(5)
    count = 1_800
    rows = unit(count) * SPREAD[spread](rng, count)[:, None].astype(np.float32)
    docs = made(metric, rows[:5])
    at = 5
    for size in [1] * 50 + [9] * 20 + [200] * 8:
        docs.upsert(
            list(range(at, at + len(rows[at : at + size]))), vectors={"v": rows[at:][:size]}
        )
        at += size
    assert docs.coverage("v").complete


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("dimension", [1, 2, 3])
def test_points_may_be_anywhere(metric: Metric, dimension: int) -> None:
    rng = np.random.default_rng(1)
    city = np.float32(50) + rng.standard_normal((ROWS, dimension)).astype(np.float32)
    docs = made(metric, city)
    docs.upsert(["another city"], vectors={"v": np.full((1, dimension), 900)})
    docs.upsert(["origin"], vectors={"v": np.zeros((1, dimension))})
    assert suspects(docs) >= 1


def test_codes_among_rows_whose_lengths_vary_are_refused() -> None:
    rows = unit(ROWS) * np.random.default_rng(2).lognormal(0, 0.6, (ROWS, 1)).astype(np.float32)
    docs = made(rows=rows)
    with pytest.raises(vstore.InvalidVectorError, match="int8 codes"):
        docs.upsert(["bad"], vectors={"v": codes(unit(1, seed=9))})
    counts = made("l2", np.rint(unit(ROWS) * 40))
    counts.upsert(["fine"], vectors={"v": np.rint(unit(1, seed=3) * 60)})


def test_under_cosine_and_by_policy_lengths_are_flagged(caplog: pytest.LogCaptureFixture) -> None:
    docs = made("cosine")
    with caplog.at_level(logging.WARNING, "vstore"):
        docs.upsert(["longer"], vectors={"v": unit(1) * 30})
    assert "odd lengths" in caplog.text
    with pytest.raises(vstore.InvalidVectorError, match="no direction"):
        docs.upsert(["zeros"], vectors={"v": np.zeros((1, DIMENSION))})
    flagging = made()
    flagging.guards.set_policy("v", "flag")
    flagging.upsert(["longer"], vectors={"v": unit(1) * 30})
    assert suspects(flagging) == 1
    flagging.guards.set_policy("v", "off")
    flagging.upsert(["zeros"], vectors={"v": np.zeros((1, DIMENSION))})
    assert suspects(flagging) == 1
    mapped = made(provenance="mapped")
    mapped.upsert(["longer"], vectors={"v": unit(1) * 30})
    assert suspects(mapped) == 1


def test_a_backfill_makes_a_dead_letter_of_the_document_alone() -> None:
    docs = made()
    docs.create_version("new", vstore.EmbeddingSpec("n", DIMENSION, "l2"))

    def embed(found: Any) -> Array:
        vectors = unit(len(found), seed=int(found[0].id))
        for row, document in zip(vectors, found, strict=True):
            if document.id == 150:
                row[:] = 0
        return vectors

    migration = docs.migrate("v", "new", embed, calls=vstore.Calls(batch_size=50, retries=0))
    report = migration.run()
    assert (report.done, report.failed) == (ROWS - 1, 1)
    (letter,) = migration.dead_letters
    assert letter.id == 150
    assert "All zeros" in letter.error


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("wrong", ["int8 codes", "scaled by 127", "zeros"])
def test_a_query_of_another_length_is_flagged(metric: Metric, wrong: str) -> None:
    docs = made(metric)
    query = np.asarray(WRONG[wrong], np.float32)
    for _ in range(12):
        found = docs.search(query[0], version="v")
        assert found.suspect is not None
        assert "length" in found.suspect
        assert len(found) == 10
    several = unit(20, seed=8)
    several[13] = query[0]
    flagged = [result.suspect is not None for result in docs.search_batch(several, version="v")]
    assert flagged == [i == 13 for i in range(20)]
    assert docs.search(unit(1, seed=5)[0], version="v").suspect is None


def test_queries_of_other_lengths_than_rows_of_many_lengths_are_no_news() -> None:
    rows = unit(ROWS) * np.random.default_rng(2).lognormal(2, 0.3, (ROWS, 1)).astype(np.float32)
    docs = made("inner_product", rows)
    assert docs.search(unit(1)[0] * 0.1, version="v").suspect is None
    assert docs.search(np.zeros(DIMENSION), version="v").suspect is not None


def test_a_query_of_zeros_has_no_cosine() -> None:
    with pytest.raises(vstore.InvalidVectorError, match="no direction"):
        made("cosine").search(np.zeros(DIMENSION), version="v")
