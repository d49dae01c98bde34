"""Machine code against its references in NumPy, to the bit; and against graphs that lie."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.native.data import changed, clustered, lengths, over
from vstore.index.building import build_index
from vstore.index.construction import GrowingGraph
from vstore.index.quantizer import half_lengths
from vstore.native import loader
from vstore.native.arrays import (
    NONE,
    AnswerScratch,
    GraphArrays,
    Scratch,
    address,
    summation_steps,
)
from vstore.native.calls import CorruptGraphError, NativeKernels, Question
from vstore.native.reference import ReferenceKernels

if TYPE_CHECKING:
    from vstore.index.graph import GraphIndex
    from vstore.manifest.spec import Metric
    from vstore.types import Array

ROWS = 300
METRICS: tuple[Metric, ...] = ("l2", "cosine", "inner_product")


@pytest.fixture(scope="module")
def native() -> NativeKernels:
    kernels = loader.kernels(wait=True)
    if kernels is None:
        pytest.skip(f"no machine code here: {loader.status()['reason']}")
    return kernels


def built(vectors: Array, metric: Metric, kernels: Any, threads: int = 1) -> GraphIndex:
    return build_index(
        vectors,
        lengths(vectors),
        metric,
        M=6,
        ef_construction=40,
        kernels=kernels,
        threads=threads,
    )


@given(
    metric=st.sampled_from(METRICS),
    dimension=st.integers(1, 200),
    half=st.booleans(),
    spread=st.booleans(),
    seed=st.integers(0, 1_000),
)
@settings(max_examples=10, deadline=None)
def test_graphs_and_answers_are_those_of_the_reference(
    native: NativeKernels, metric: Metric, dimension: int, half: bool, spread: bool, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    vectors = clustered(ROWS, dimension, seed=seed)
    vectors[10:20] = vectors[0]
    if spread:
        vectors *= rng.uniform(1, 10, (ROWS, 1)).astype(np.float32)
    if half:
        vectors = vectors.astype(np.float16)
    reference = ReferenceKernels()
    graph, other = built(vectors, metric, native), built(vectors, metric, reference)
    for name in ("high", "low", "bias", "links", "upper", "first"):
        assert np.array_equal(getattr(graph.arrays, name), getattr(other.arrays, name)), name
    assert graph.recall == other.recall
    queries = clustered(9, dimension, seed=seed + 1)
    queries[7] *= np.float32(4)  # codes may not express these
    queries[8] *= np.float32(1e30)
    allowed = rng.random(ROWS) < 0.3
    for groups in (None, np.sort(rng.integers(0, 150, ROWS)).astype(np.uint32)):
        rows = graph.rows_of(vectors, metric, groups)
        for question in questions(graph, allowed):
            scratch = AnswerScratch(graph.arrays, rows, 60, 20)
            found = native.answer(graph.arrays, rows, scratch, queries, question)
            right = reference.answer(graph.arrays, rows, scratch, queries, question)
            for mine, theirs in zip(found, right, strict=True):
                assert np.array_equal(mine, theirs)


def questions(graph: GraphIndex, allowed: Array) -> list[Question]:
    permitted = graph.allowed_nodes(allowed)
    everything = np.arange(graph.arrays.nodes, dtype=np.uint32)
    return [
        Question(50, 50, 30, 20, 10),
        Question(10, 60, 55, 20, 10),
        Question(50, 50, 30, 20, 10, None, (permitted, allowed)),
        Question(0, 40, 30, 20, 10, everything),
        Question(0, 40, 30, 20, 10, everything[permitted], (permitted, allowed)),
        Question(1, 1, 1, 1, 1),
    ]


@pytest.mark.parametrize("threads", [2, 5])
def test_the_bytes_do_not_depend_on_threads(native: NativeKernels, threads: int) -> None:
    vectors = clustered(3_000, 40)
    one, many = (built(vectors, "l2", native, count) for count in (1, threads))
    assert one.arrays.links.tobytes() == many.arrays.links.tobytes()
    assert one.arrays.upper.tobytes() == many.arrays.upper.tobytes()
    assert one.recall == many.recall


@pytest.mark.parametrize("dimension", [1, 7, 8, 127, 128, 129, 300, 1_536, 65_535])
def test_steps_add_up_and_halve_as_numpy_does(dimension: int) -> None:
    steps = summation_steps(dimension)
    assert steps.sum() == dimension
    assert steps.max() <= 128
    assert np.count_nonzero(steps) - np.count_nonzero(steps == 0) == 1


def test_steps_stay_where_kernels_were_told_that_they_are() -> None:
    vectors = clustered(50, 300)
    rows = built(vectors, "l2", ReferenceKernels()).rows_of(vectors, "l2", None)
    assert address(rows.steps) in rows.words
    for dimension in range(1, 200):  # more than are remembered
        summation_steps(dimension)
    assert address(rows.steps) in rows.words
    assert rows.steps.tolist() == summation_steps(300).tolist()


def test_the_largest_dimension_does_not_overflow(native: NativeKernels) -> None:
    rng = np.random.default_rng(0)
    vectors = rng.choice([-1.0, 1.0], (40, 65_535)).astype(np.float32)
    vectors[1] = -vectors[0]
    graph, other = (built(vectors, "l2", kernels) for kernels in (native, ReferenceKernels()))
    assert np.array_equal(graph.arrays.links, other.arrays.links)
    rows = graph.rows_of(vectors, "l2", None)
    scratch = AnswerScratch(graph.arrays, rows, 40, 40)
    found = native.answer(graph.arrays, rows, scratch, vectors[:2], Question(40, 40, 40, 40, 40))
    assert found.row[0, 0] == 0
    assert found.row[0, -1] == 1


def lies(arrays: GraphArrays) -> dict[str, dict[str, Any]]:
    """Return graphs whose arrays have the right shapes and the wrong contents."""
    nodes = arrays.nodes
    outside, itself = arrays.links.copy(), arrays.links.copy()
    outside[:, 0] = nodes
    itself[:] = np.arange(nodes, dtype=np.uint32)[:, None]
    huge = arrays.links.copy()
    huge[:] = NONE - 1
    bomb = arrays.first.copy()
    bomb[1:] = len(arrays.upper)
    descending = arrays.first.copy()
    descending[:-1] = descending[:-1][::-1].copy()
    upper = arrays.upper.copy()
    upper[:] = nodes + 5
    ring = np.full_like(arrays.links, NONE)
    ring[:, 0] = (np.arange(nodes) + 1) % nodes
    noise = np.random.default_rng(0).integers(0, 2**32, arrays.links.shape, np.uint32)
    return {
        "links outside": {"links": outside},
        "links far outside": {"links": huge},
        "links to itself": {"links": itself},
        "a ring": {"links": ring},
        "noise": {"links": noise},
        "upper links outside": {"upper": upper},
        "every level at node 0": {"first": bomb},
        "levels that descend": {"first": descending},
        "another entry": {"entry": nodes - 1},
        "no bias": {"bias": np.full_like(arrays.bias, 2**31 - 1)},
    }


@pytest.mark.parametrize("kernels", ["native", "reference"])
def test_a_graph_that_lies_is_refused_or_searched_and_the_search_ends(
    native: NativeKernels, kernels: str
) -> None:
    vectors = clustered(ROWS, 20)
    graph = built(vectors, "l2", native)
    queries = clustered(5, 20, seed=9)
    run: Any = native if kernels == "native" else ReferenceKernels()
    refused = 0
    for name, change in lies(graph.arrays).items():
        arrays = changed(graph.arrays, **change)
        rows = over(graph, arrays).rows_of(vectors, "l2", None)
        try:
            found = run.answer(
                arrays,
                rows,
                AnswerScratch(arrays, rows, 50, 20),
                queries,
                Question(50, 50, 30, 20, 10),
            )
        except CorruptGraphError:
            refused += 1
        else:
            assert ((found.row < ROWS) | (found.row == NONE)).all(), name
    assert refused >= 4


def test_arrays_of_different_graphs_are_refused() -> None:
    arrays = built(clustered(100, 20), "l2", ReferenceKernels()).arrays
    for change in (
        {"high": arrays.high[:, :32].copy()},
        {"low": arrays.low[:, :32].copy()},
        {"low": arrays.low.astype(np.int8)},
        {"bias": arrays.bias[1:]},
        {"links": arrays.links[:, ::2]},
        {"upper": arrays.upper[1:]},
        {"first": arrays.first[1:]},
        {"entry": 100},
    ):
        with pytest.raises(ValueError, match="graph"):
            changed(arrays, **change)


def test_searches_of_one_graph_by_many_threads_agree(native: NativeKernels) -> None:
    from concurrent.futures import ThreadPoolExecutor

    vectors = clustered(2_000, 30)
    graph = built(vectors, "l2", native)
    queries = clustered(64, 30, seed=3)
    rows = graph.rows_of(vectors, "l2", None)
    question = Question(40, 40, 30, 20, 10)
    right = graph.answer(native, rows, queries, question).row
    with ThreadPoolExecutor(8) as pool:
        found = list(
            pool.map(lambda _: graph.answer(native, rows, queries, question).row, range(40))
        )
    assert all(np.array_equal(one, right) for one in found)


def test_a_remembered_question_survives_a_call_that_failed(native: NativeKernels) -> None:
    vectors = clustered(300, 20)
    graph = built(vectors, "l2", native)
    queries, once, again = clustered(6, 20, seed=3), Question(40, 40, 30, 20, 10), None
    rows = graph.rows_of(vectors, "l2", None)
    scratch = AnswerScratch(graph.arrays, rows, 40, 20)
    for query in queries:
        again = native.answer(graph.arrays, rows, scratch, query[None], once)
    assert again is not None
    nowhere = np.full(1, graph.arrays.nodes, np.uint32)
    with pytest.raises(CorruptGraphError):
        native.answer(
            graph.arrays, rows, scratch, queries, Question(0, 40, 30, 20, 10, nowhere, None)
        )
    for query in queries:
        found = native.answer(graph.arrays, rows, scratch, query[None], once)
        fresh = AnswerScratch(graph.arrays, rows, 40, 20)
        right = native.answer(graph.arrays, rows, fresh, query[None], once)
        assert np.array_equal(found.row, right.row)


def test_kernels_stay_inside_their_arrays() -> None:
    """The same source, compiled with bounds checks."""
    numba = pytest.importorskip("numba")
    from vstore.native import kernels as source

    checked = {
        name: numba.njit(error_model="numpy", boundscheck=True)(function.py_func)
        for name, function in vars(source).items()
        if hasattr(function, "py_func")
    }
    before = {name: getattr(source, name) for name in checked}
    for name, function in checked.items():
        setattr(source, name, function)
    try:
        graph = built(clustered(300, 20), "l2", _Checked(checked))
    finally:
        for name, function in before.items():
            setattr(source, name, function)
    other = built(clustered(300, 20), "l2", ReferenceKernels())
    assert np.array_equal(graph.arrays.links, other.arrays.links)


class _Checked(ReferenceKernels):
    """Builds with bounds-checked kernels."""

    def __init__(self, functions: dict[str, Any]) -> None:
        self._functions = functions

    def insert(self, graph: GraphArrays, scratch: Scratch, start: int, end: int, ef: int) -> None:
        status = self._functions["insert_nodes"](_graph(graph), _memory(scratch), start, end, ef)
        assert status == 0

    def link_back(
        self, graph: GraphArrays, scratch: Scratch, level: int, edges: Any, groups: Any
    ) -> None:
        status = self._functions["link_groups"](
            _graph(graph), _memory(scratch), level, *edges, *groups, scratch.room
        )
        assert status == 0


def _graph(graph: GraphArrays) -> Any:
    from vstore.native import kernels as source

    return source.Graph(
        graph.high.reshape(-1), graph.low.reshape(-1), graph.bias, graph.size, graph.nodes,
        graph.links.reshape(-1), graph.links.shape[1], graph.upper.reshape(-1),
        graph.upper.shape[1], graph.first, graph.entry,
    )  # fmt: skip


def _memory(scratch: Scratch) -> Any:
    from vstore.native import kernels as source

    return source.Memory(
        scratch.pool, scratch.refined, scratch.visited, scratch.fresh, scratch.entries,
        scratch.code, scratch.other,
    )  # fmt: skip


def test_a_graph_grown_in_two_steps_is_the_one_extended_from_a_copy(native: NativeKernels) -> None:
    graph = built(clustered(2_000, 40), "l2", native).arrays
    codes, half = (graph.high, graph.low), half_lengths(graph.codes())
    options: dict[str, Any] = {"M": 6, "ef_construction": 40, "kernels": native}
    growing = GrowingGraph(codes, half, **options)
    first = growing.grow(1_500)
    copied = changed(first, links=first.links.copy(), upper=first.upper.copy())
    extended = GrowingGraph(codes, half, **options, before=copied).grow(2_000)
    grown = growing.grow(2_000)
    assert grown.links.tobytes() == extended.links.tobytes()
    assert grown.upper.tobytes() == extended.upper.tobytes()


def test_what_a_search_does_not_say_it_has_read_makes_no_difference(native: NativeKernels) -> None:
    index = built(clustered(3_000, 40), "l2", native)
    rng = np.random.default_rng(0)
    arrays = index.arrays
    rows = index.rows_of(rng.standard_normal((3_000, 40)).astype(np.float32), "l2", None)
    question = Question(24, 24, 16, 12, 10, report=True)
    for number, query in enumerate(clustered(300, 40, seed=5)):  # more than there are marks
        answered = index.answer(native, rows, query[None], question, mark=True)
        if number % 10:
            continue
        unread = np.setdiff1d(np.arange(arrays.nodes), answered.nodes)
        assert len(unread) > arrays.nodes / 4
        high, low, links = (array.copy() for array in arrays.by_node)
        high[unread] = rng.integers(0, 256, high[unread].shape)
        low[unread] = rng.integers(0, 256, low[unread].shape)
        links[unread] = NONE - 1
        other = over(index, changed(arrays, high=high, low=low, links=links))
        again = other.answer(native, rows, query[None], question, mark=True)
        for mine, theirs in zip(again, answered, strict=True):
            assert np.array_equal(mine, theirs)
