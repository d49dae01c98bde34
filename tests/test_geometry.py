"""The geometry check: another model is found out, other texts of the same one raise no alarm."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vstore.demo.corpus import ScifactDemo, load_scifact
from vstore.errors import InvalidArgumentError
from vstore.guarding.geometry import (
    COORDINATES_MAX,
    ROWS_MIN,
    GeometryStatistics,
    departures,
    is_suspect_query,
    learn,
    suspect,
)
from vstore.testing import HashingEmbedder

if TYPE_CHECKING:
    from vstore.types import Array

LEARNED = 1_024
BATCH = 32
SERIALISED_BYTES_MAX = 64 * 1024
OWN_DEPARTURE_MAX = 0.2  # of the mean of rows that were not learned from
UNRELATED_DEPARTURE_MIN = 0.9
SEED = 11


@pytest.fixture(scope="module")
def demo() -> ScifactDemo:
    return load_scifact()


@pytest.fixture(scope="module")
def new(demo: ScifactDemo) -> GeometryStatistics:
    return learn(shuffled(demo.new_documents)[:LEARNED])


def shuffled(vectors: Array) -> Array:
    return vectors[np.random.default_rng(SEED).permutation(len(vectors))]


def batches(vectors: Array, size: int = BATCH) -> list[Array]:
    return [vectors[i : i + size] for i in range(0, len(vectors) - size + 1, size)]


def latent(rng: np.random.Generator, rows: int, dimension: int, basis: Array) -> Array:
    """Vectors that lie near a low-dimensional subspace, as a model's do."""
    mixed = rng.standard_normal((rows, len(basis))) @ basis
    return (mixed + 0.1 * rng.standard_normal((rows, dimension))).astype(np.float32)


def test_held_out_rows_raise_no_alarm(demo: ScifactDemo, new: GeometryStatistics) -> None:
    held = shuffled(demo.new_documents)[LEARNED:]
    assert abs(suspect(new, held, kind="documents").departure) < OWN_DEPARTURE_MAX
    for batch in batches(held):
        verdict = suspect(new, batch, kind="documents")
        assert not verdict.suspicious, verdict
        assert verdict.departure < verdict.limit


def test_queries_of_the_model_raise_no_alarm(demo: ScifactDemo, new: GeometryStatistics) -> None:
    assert not any(
        suspect(new, batch, kind="query").suspicious for batch in batches(demo.new_queries)
    )
    assert not any(is_suspect_query(new, query) for query in demo.new_queries)


def test_a_narrow_part_of_the_corpus_knows_the_rest(demo: ScifactDemo) -> None:
    """Learn from the documents on the far side of a plane: another domain, as far as can be had."""
    documents = demo.new_documents - demo.new_documents.mean(axis=0)
    topic = np.linalg.svd(documents, full_matrices=False)[2][0]
    order = np.argsort(documents @ topic)
    statistics = learn(demo.new_documents[order[:LEARNED]])
    far = demo.new_documents[order[-LEARNED:]]
    assert not any(suspect(statistics, b, kind="documents").suspicious for b in batches(far))


def test_batches_of_another_model_of_the_same_dimension_raise_an_alarm(
    demo: ScifactDemo, new: GeometryStatistics
) -> None:
    for batch in batches(demo.old_documents[:1_024]):
        verdict = suspect(new, batch, kind="documents")
        assert verdict.suspicious, verdict
        assert verdict.departure > UNRELATED_DEPARTURE_MIN
    assert suspect(new, demo.old_queries, kind="query").suspicious


def test_the_other_way_round_too(demo: ScifactDemo) -> None:
    old = learn(shuffled(demo.old_documents)[:LEARNED])
    assert suspect(old, demo.new_documents[:256], kind="documents").suspicious
    assert suspect(old, demo.new_queries, kind="query").suspicious
    assert not suspect(old, demo.old_documents[:256], kind="documents").suspicious
    assert not suspect(old, demo.old_queries, kind="query").suspicious


@pytest.mark.parametrize("change", ["rotated", "permuted"])
def test_a_changed_copy_of_the_space_raises_an_alarm(
    demo: ScifactDemo, new: GeometryStatistics, change: str
) -> None:
    rng = np.random.default_rng(SEED)
    d = demo.new_documents.shape[1]
    changed = {
        "rotated": lambda v: v @ np.linalg.qr(rng.standard_normal((d, d)))[0],
        "permuted": lambda v: v[:, rng.permutation(d)],
    }[change](demo.new_documents[:512])
    assert all(suspect(new, batch, kind="documents").suspicious for batch in batches(changed, 64))


def test_one_vector_alone_is_weak_evidence(demo: ScifactDemo, new: GeometryStatistics) -> None:
    own = [suspect(new, row[None], kind="documents").suspicious for row in demo.new_documents[:500]]
    assert sum(own) <= 1
    verdict = suspect(new, demo.old_documents[:1], kind="documents")
    assert verdict.limit > 1  # more than unrelated vectors have on average


def test_one_query_is_found_out_where_all_vectors_share_a_direction() -> None:
    rng = np.random.default_rng(SEED)
    basis = rng.standard_normal((20, 256))
    shared = 12 * rng.standard_normal(256)
    rows = latent(rng, 1_500, 256, basis) + shared.astype(np.float32)
    statistics = learn(rows[:1_000])
    others = latent(rng, 500, 256, rng.standard_normal((20, 256))) + np.float32(12)
    assert not any(is_suspect_query(statistics, row) for row in rows[1_000:])
    assert np.mean([is_suspect_query(statistics, row) for row in others]) > 0.95


def test_one_query_gets_the_same_answer_either_way(
    demo: ScifactDemo, new: GeometryStatistics
) -> None:
    for query in (*demo.new_queries[:100], *demo.old_queries[:100]):
        slow = suspect(new, query[None], kind="query").suspicious
        assert is_suspect_query(new, query) == slow


def test_length_has_no_part_in_it(demo: ScifactDemo, new: GeometryStatistics) -> None:
    rows = demo.new_documents[:200]
    lengths = np.geomspace(1e-18, 1e18, len(rows), dtype=np.float32)[:, None]
    np.testing.assert_allclose(
        departures(new, rows * lengths), departures(new, rows), rtol=0, atol=1e-3
    )


@pytest.mark.parametrize("widest", [1.0, 1.5])
def test_a_space_with_hardly_a_preferred_direction_raises_no_alarm_ever(widest: float) -> None:
    rng = np.random.default_rng(SEED)
    spread = np.linspace(1, widest, 64)
    statistics = learn(rng.standard_normal((2_000, 64)) * spread)
    assert not statistics.informative
    verdict = suspect(statistics, rng.standard_normal((256, 64)) / spread, kind="documents")
    assert not verdict.suspicious
    assert verdict.limit == math.inf
    assert not is_suspect_query(statistics, rng.standard_normal(64).astype(np.float32))


def test_rows_that_differ_much_from_each_other_are_given_room(demo: ScifactDemo) -> None:
    documents = shuffled(demo.old_documents)
    statistics = learn(documents[:LEARNED])
    alarms = [
        suspect(statistics, row[None], kind="documents").suspicious for row in documents[LEARNED:]
    ]
    assert np.mean(alarms) < 0.002  # without that room, 0.013


def test_hashed_texts_raise_no_alarm_against_their_own_embedder(demo: ScifactDemo) -> None:
    embedder = HashingEmbedder(256)
    documents = embedder.embed_documents([text[:300] for text in demo.texts[:400]])
    statistics = learn(documents[:300])
    queries = embedder.embed_documents(demo.query_texts[:128])
    assert not suspect(statistics, documents[300:], kind="documents").suspicious
    assert not suspect(statistics, queries, kind="query").suspicious
    other = HashingEmbedder(256, seed=1).embed_documents(demo.query_texts[:128])
    assert suspect(statistics, other, kind="query").suspicious


def test_rows_of_zeros_count_for_nothing(demo: ScifactDemo, new: GeometryStatistics) -> None:
    zeros = np.zeros((3, 384), np.float32)
    verdict = suspect(new, zeros, kind="documents")
    assert (verdict.suspicious, verdict.rows) == (False, 0)
    assert np.isnan(departures(new, zeros)).all()
    assert not is_suspect_query(new, zeros[0])
    mixed = np.concatenate([zeros, demo.new_documents[:50]])
    expected = suspect(new, demo.new_documents[:50], kind="documents")
    assert suspect(new, mixed, kind="documents") == expected
    again = learn(np.concatenate([zeros, demo.new_documents[:50]]))
    assert again.rows == 50


def test_too_few_rows_are_refused() -> None:
    rows = np.random.default_rng(SEED).standard_normal((ROWS_MIN, 16))
    rows[3] = 0
    with pytest.raises(InvalidArgumentError, match=rf"at least {ROWS_MIN} .* found {ROWS_MIN - 1}"):
        learn(rows)


@pytest.mark.parametrize("dimension", [1, 2, 159, 3_072])
def test_any_dimension_is_learned_and_stays_small(dimension: int) -> None:
    rng = np.random.default_rng(SEED)
    rows = latent(rng, 64, dimension, rng.standard_normal((min(4, dimension), dimension)))
    statistics = learn(rows)
    arrays = statistics.arrays()
    assert len(statistics.coordinates) == min(dimension, COORDINATES_MAX)
    assert sum(a.nbytes for a in arrays.values()) <= SERIALISED_BYTES_MAX
    assert not suspect(statistics, rows, kind="documents").suspicious
    assert isinstance(is_suspect_query(statistics, rows[0]), bool)


@settings(max_examples=40, deadline=None)
@given(
    rows=st.integers(ROWS_MIN, 120),
    dimension=st.integers(1, 200),
    scale=st.integers(-20, 20),
    dtype=st.sampled_from(["float16", "float32", "float64"]),
    seed=st.integers(0, 1_000),
)
def test_statistics_survive_storage_and_do_not_depend_on_scale(
    rows: int, dimension: int, scale: int, dtype: str, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    basis = rng.standard_normal((min(5, dimension), dimension))
    vectors = latent(rng, rows, dimension, basis).astype(dtype)
    statistics = learn(vectors)
    arrays = statistics.arrays()
    again = GeometryStatistics.from_arrays(arrays, dimension=dimension)
    assert again.arrays().keys() == arrays.keys()
    for name, stored in arrays.items():
        np.testing.assert_array_equal(again.arrays()[name], stored)
        np.testing.assert_array_equal(learn(vectors).arrays()[name], stored)
    assert suspect(again, vectors, kind="query") == suspect(statistics, vectors, kind="query")
    # A power of two loses no digit, so that every statistic but the lengths is the same.
    scaled = learn(vectors.astype(np.float64) * 2.0**scale)
    np.testing.assert_array_equal(scaled.precision, statistics.precision)
    np.testing.assert_allclose(scaled.lengths, statistics.lengths * 2.0**scale, rtol=1e-6)


DAMAGE = {
    "missing": lambda a: a.pop("lengths"),
    "dtype": lambda a: a.update(precision=a["precision"].astype(np.float32)),
    "short": lambda a: a.update(precision=a["precision"][:-1]),
    "infinite": lambda a: a["precision"].__setitem__(0, np.inf),
    "not a number": lambda a: a["summary"].__setitem__(2, np.nan),
    "negative": lambda a: a["summary"].__setitem__(2, -1),
    "huge": lambda a: a["summary"].__setitem__(1, 1e30),
    "unordered": lambda a: a.update(coordinates=a["coordinates"][::-1].copy()),
    "outside": lambda a: a["coordinates"].__setitem__(-1, 384),
    "empty": lambda a: a.update(coordinates=a["coordinates"][:0], precision=a["precision"][:0]),
    "lengths": lambda a: a.update(lengths=a["lengths"][::-1].copy() * 2 - 1),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_arrays_that_nobody_wrote_are_refused(new: GeometryStatistics, damage: str) -> None:
    arrays = {name: array.copy() for name, array in new.arrays().items()}
    DAMAGE[damage](arrays)
    with pytest.raises(InvalidArgumentError, match="geometry statistics: "):
        GeometryStatistics.from_arrays(arrays, dimension=384)


def test_a_matrix_that_is_no_inverse_does_no_harm(
    demo: ScifactDemo, new: GeometryStatistics
) -> None:
    arrays = {name: array.copy() for name, array in new.arrays().items()}
    arrays["precision"][:] = -60_000
    statistics = GeometryStatistics.from_arrays(arrays, dimension=384)
    suspect(statistics, demo.new_documents[:100], kind="documents")
    assert not is_suspect_query(statistics, demo.new_queries[0])
