"""The flat scan against brute force in float64: the true top k, in the one true order."""

from __future__ import annotations

from typing import TYPE_CHECKING, get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.small_store import spec
from vstore.index import flat
from vstore.index.flat import scan
from vstore.index.scan_part import ScanPart
from vstore.manifest.spec import Metric
from vstore.native.reference import exact_scores
from vstore.segment.validation import check_vectors

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vstore.index.flat import RankedRows
    from vstore.manifest.state import StorageType
    from vstore.types import Array, BoolArray, IntArray

METRICS: tuple[Metric, ...] = get_args(Metric)
RELATIVE_ERROR_MAX = 1e-12  # of a float64 score against another order of summing
SPREAD = [(2.0**-140, "subnormal"), (1e-30, "tiny"), (1e-15, "small"), (1.0, "usual"),
          (1e15, "large"), (1e30, "huge")]  # fmt: skip


@pytest.fixture(params=["usual blocks", "small blocks"])
def blocks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also cut the rows into blocks so small that a few dozen rows need several."""
    if request.param == "small blocks":
        for name, value in (("_SCORES_MAX", 16), ("_BLOCK_ROWS_MIN", 5), ("_FIRST_BLOCK_ROWS", 3)):
            monkeypatch.setattr(flat, name, value)


def part(
    vectors: Array,
    metric: Metric = "cosine",
    *,
    groups: Array | None = None,
    allowed: BoolArray | None = None,
    storage: StorageType = "float32",
) -> ScanPart:
    """Make a part as a version of this metric stores it."""
    described = spec(dimension=vectors.shape[1], metric=metric)
    stored, norms = check_vectors(vectors, described, storage=storage, where="test")
    numbers = np.arange(len(vectors), dtype=np.uint32) if groups is None else groups
    distinct = len(np.unique(numbers)) == len(numbers)
    return ScanPart(stored, norms, numbers.astype(np.uint32), distinct, allowed)


def brute_force(parts: Sequence[ScanPart], query: Array, metric: Metric) -> list[tuple[float, int]]:
    """Return (score, group) of the best row of each group, best first, ties by group."""
    best: dict[int, float] = {}
    for one in parts:
        rows, target = one.vectors.astype(np.longdouble), query.astype(np.longdouble)
        scores = rows @ target
        if metric == "cosine":
            scores /= np.sqrt((rows**2).sum(axis=1)) * np.sqrt((target**2).sum())
        elif metric == "l2":
            scores = -np.sqrt(((rows - target) ** 2).sum(axis=1))
        for i, group in enumerate(one.groups.tolist()):
            if one.allowed is None or one.allowed[i]:
                best[group] = max(best.get(group, -np.inf), float(scores[i]))
    return sorted(((score, group) for group, score in best.items()), key=lambda p: (-p[0], p[1]))


def groups_of(parts: Sequence[ScanPart], found: RankedRows) -> list[int]:
    places = zip(found.part.tolist(), found.row.tolist(), strict=True)
    return [int(parts[number].groups[row]) for number, row in places]


def assert_exact(
    parts: Sequence[ScanPart], queries: Array, metric: Metric, k: int, *, scale: float = 1.0
) -> None:
    """Compare each query's answer with brute force, as far as float64 tells scores apart."""
    results = scan(parts, queries, metric, k)
    assert len(results) == len(queries)
    for query, found in zip(queries, results, strict=True):
        expected = brute_force(parts, query, metric)
        groups = groups_of(parts, found)
        assert len(groups) == min(k, len(expected))
        assert len(set(groups)) == len(groups)
        tolerance = RELATIVE_ERROR_MAX * scale
        wanted = [score for score, _ in expected[: len(groups)]]
        np.testing.assert_allclose(found.score, wanted, rtol=RELATIVE_ERROR_MAX, atol=tolerance)
        assert (np.diff(found.score) <= 0).all()
        by_group = {group: score for score, group in expected}
        for group, score in zip(groups, found.score.tolist(), strict=True):
            assert abs(score - by_group[group]) <= tolerance + RELATIVE_ERROR_MAX * abs(score)


@pytest.mark.usefixtures("blocks")
@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("storage", ["float32", "float16"])
@pytest.mark.parametrize("k", [1, 7, 1000])
def test_the_scan_returns_the_true_top_k(metric: Metric, storage: StorageType, k: int) -> None:
    rng = np.random.default_rng(0)
    parts = [
        part(rng.standard_normal((count, 17)), metric, storage=storage,
             groups=first + np.arange(count))
        for first, count in ((0, 40), (40, 1), (41, 90))
    ]  # fmt: skip
    assert_exact(parts, rng.standard_normal((5, 17)).astype(np.float32), metric, k, scale=10)


@pytest.mark.usefixtures("blocks")
@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("share", [0.0, 0.01, 0.04, 0.06, 0.5, 1.0])
@pytest.mark.parametrize("chunks", [1, 4])
def test_a_mask_leaves_min_of_k_and_what_it_allows(
    metric: Metric, share: float, chunks: int
) -> None:
    rng = np.random.default_rng(1)
    groups = np.sort(rng.integers(0, 200 // chunks, 200)) if chunks > 1 else np.arange(200)
    parts = [
        part(rng.standard_normal((200, 8)), metric, groups=groups, allowed=rng.random(200) < share)
    ]
    for k in (1, 5, 500):
        assert_exact(parts, rng.standard_normal((3, 8)).astype(np.float32), metric, k, scale=10)


@pytest.mark.usefixtures("blocks")
@pytest.mark.parametrize("metric", METRICS)
def test_rows_that_float32_cannot_tell_apart_come_in_true_order(metric: Metric) -> None:
    rng = np.random.default_rng(2)
    base = rng.standard_normal(64)
    near = (base + 1e-7 * rng.standard_normal((300, 64))).astype(np.float32)
    query = (base + rng.standard_normal(64)).astype(np.float32)[None]
    parts = [part(near, metric)]
    found = scan(parts, query, metric, 50)[0]
    expected = brute_force(parts, query[0], metric)[:50]
    assert len({score for score, _ in expected}) > 40, "the test needs scores that differ"
    clear = [i for i in range(49) if expected[i][0] - expected[i + 1][0] > 1e-14]
    assert clear
    for i in clear:
        assert set(groups_of(parts, found)[: i + 1]) == {group for _, group in expected[: i + 1]}


@pytest.mark.parametrize("metric", ["inner_product", "l2"])
@pytest.mark.parametrize("seed", range(5))
def test_short_vectors_are_not_lost_among_the_errors_of_long_ones(
    metric: Metric, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    query = rng.standard_normal(64).astype(np.float32)
    unit = query / np.linalg.norm(query)
    long = rng.standard_normal((400, 64)) * 3e3
    long -= np.outer(long @ unit, unit)  # scores near zero, by cancelling large terms
    short = rng.standard_normal((400, 64)) * 1e-4
    parts = [
        part(long + np.outer(rng.random(400) * 1e-3, unit), metric),
        part(short, metric, groups=400 + np.arange(400)),
    ]
    assert_exact(parts, query[None], metric, 10, scale=1e4)
    assert_exact(parts[::-1], query[None], metric, 10, scale=1e4)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize(("scale", "name"), SPREAD, ids=[name for _, name in SPREAD])
@pytest.mark.parametrize("query_scale", [1e-20, 1.0, 1e6])
def test_any_length_float32_can_hold_is_ranked(
    metric: Metric, scale: float, name: str, query_scale: float
) -> None:
    rng = np.random.default_rng(3)
    parts = [part((rng.standard_normal((300, 8)) * scale).astype(np.float32), metric)]
    queries = (rng.standard_normal((4, 8)) * query_scale).astype(np.float32)
    for query, found in zip(queries, scan(parts, queries, metric, 10), strict=True):
        expected = brute_force(parts, query, metric)
        assert len(found.row) == 10, name
        np.testing.assert_allclose(
            found.score, [score for score, _ in expected[:10]], rtol=1e-12, atol=0
        )


@pytest.mark.parametrize("metric", METRICS)
def test_vectors_of_all_lengths_live_in_one_part(metric: Metric) -> None:
    rng = np.random.default_rng(4)
    lengths = 10.0 ** rng.integers(-38, 17, 500)
    parts = [part((rng.standard_normal((500, 8)) * lengths[:, None]).astype(np.float32), metric)]
    query = rng.standard_normal((1, 8)).astype(np.float32)
    found = scan(parts, query, metric, 20)[0]
    expected = [score for score, _ in brute_force(parts, query[0], metric)[:20]]
    np.testing.assert_allclose(found.score, expected, rtol=1e-12)


@pytest.mark.usefixtures("blocks")
@pytest.mark.parametrize("metric", METRICS)
def test_a_thousand_equal_vectors_come_in_order_of_their_groups(metric: Metric) -> None:
    rng = np.random.default_rng(5)
    one = rng.standard_normal(24).astype(np.float32)
    same = [part(np.tile(one, (500, 1)), metric, groups=first + np.arange(500))
            for first in (0, 500)]  # fmt: skip
    better = part((one * (2 if metric == "inner_product" else 1))[None], metric,
                  groups=np.array([1000]))  # fmt: skip
    for k in (1, 10, 999, 1001, 2000):
        found = scan([*same, better], one[None], metric, k)[0]
        expected = list(range(1000))
        if metric == "inner_product":
            expected = [1000, *expected]
        else:
            expected.append(1000)
        assert groups_of([*same, better], found) == expected[:k]


def test_ties_between_chunks_go_to_the_earlier_row() -> None:
    parts = [part(np.eye(4)[[0, 1, 1, 1]], groups=np.array([0, 7, 7, 8]))]
    found = scan(parts, np.eye(4, dtype=np.float32)[1:2], "cosine", 5)[0]
    assert found.row.tolist() == [1, 3, 0]


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("count", [1, 2, 33])
def test_a_batch_answers_as_its_queries_one_by_one(metric: Metric, count: int) -> None:
    rng = np.random.default_rng(6)
    parts = [part(rng.standard_normal((3000, 20)), metric, allowed=rng.random(3000) < 0.7)]
    queries = rng.standard_normal((count, 20)).astype(np.float32)
    together = scan(parts, queries, metric, 9)
    for query, found in zip(queries, together, strict=True):
        alone = scan(parts, query[None], metric, 9)[0]
        np.testing.assert_array_equal(found.row, alone.row)
        np.testing.assert_array_equal(found.score, alone.score)


@settings(deadline=None, max_examples=60)
@given(
    seed=st.integers(0, 2**32 - 1),
    metric=st.sampled_from(METRICS),
    cuts=st.lists(st.integers(1, 59), unique=True, max_size=6),
    chunks=st.booleans(),
    k=st.integers(1, 70),
)
def test_the_answer_does_not_depend_on_which_part_a_row_is_in(
    seed: int, metric: Metric, cuts: list[int], chunks: bool, k: int
) -> None:
    rng = np.random.default_rng(seed)
    vectors = rng.integers(-2, 3, (60, 6)).astype(np.float32)
    vectors[~vectors.any(axis=1), 0] = 1
    groups = np.sort(rng.integers(0, 25, 60)) if chunks else np.arange(60)
    allowed = rng.random(60) < rng.choice([0.02, 0.5, 1])
    query = rng.integers(-2, 3, (1, 6)).astype(np.float32) + np.float32(0.5)
    whole = part(vectors, metric, groups=groups, allowed=allowed)
    # A group's rows stay together, as a document's do.
    edges = np.unique(np.searchsorted(groups, groups[np.array(cuts, np.int64)]))
    pieces: list[IntArray] = [p for p in np.split(np.arange(60), edges) if len(p)]
    order = rng.permutation(len(pieces))
    parts = [
        part(vectors[p], metric, groups=groups[p], allowed=allowed[p])
        for p in (pieces[i] for i in order)
    ]
    one, several = scan([whole], query, metric, k)[0], scan(parts, query, metric, k)[0]
    assert groups_of([whole], one) == groups_of(parts, several)
    np.testing.assert_array_equal(one.score, several.score)
    rows = [pieces[order[n]][row] for n, row in zip(several.part, several.row, strict=True)]
    assert rows == one.row.tolist()


@pytest.mark.parametrize("metric", METRICS)
def test_scores_do_not_depend_on_what_is_scored_together(metric: Metric) -> None:
    rng = np.random.default_rng(7)
    vectors, query = rng.standard_normal((200, 383)), rng.standard_normal(383)
    together = exact_scores(vectors, query, metric)
    for i in (0, 1, 57, 199):
        assert exact_scores(vectors[i : i + 1], query, metric)[0] == together[i]
    np.testing.assert_array_equal(exact_scores(vectors[::-1], query, metric), together[::-1])


def test_nothing_to_scan_gives_nothing() -> None:
    query = np.ones((2, 4), np.float32)
    empty = part(np.zeros((0, 4)))
    hidden = part(np.eye(4), allowed=np.zeros(4, np.bool_))
    chunked = part(np.eye(4), groups=np.zeros(4), allowed=np.zeros(4, np.bool_))
    for parts in ([], [empty], [hidden], [chunked], [empty, hidden, chunked]):
        assert [len(found.row) for found in scan(parts, query, "cosine", 3)] == [0, 0]
    assert scan([part(np.eye(4))], query[:0], "cosine", 3) == []
