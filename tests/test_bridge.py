"""Bridges: exact where the spaces differ by such a map, measured where they do not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from vstore.demo.corpus import load_scifact
from vstore.errors import InvalidArgumentError, StateError
from vstore.evaluation.measures import mean_ndcg_at_k
from vstore.manifest.job_state import BRIDGE_KINDS
from vstore.manifest.spec import METRICS
from vstore.migration.bridges.fitting import PAIRS_MIN, fit_bridge
from vstore.migration.bridges.measuring import bridge_gate, bridge_recall
from vstore.query.bridge_map import unit_rows

if TYPE_CHECKING:
    from vstore.manifest.job_state import BridgeKind
    from vstore.query.bridge_map import BridgeMap
    from vstore.types import Array

PAIRS, DIMENSION = 600, 24
NEARLY_ALL = 0.99
SCIFACT_RECALL_MIN = 0.45  # both directions; measured .48 to .60
CHANCE_MAX = 0.1


def cloud(count: int = PAIRS, dimension: int = DIMENSION, *, seed: int = 0) -> Array:
    """Return unit vectors around a common direction, as embeddings are."""
    rng = np.random.default_rng(seed)
    return unit_rows(rng.normal(size=(count, dimension)) + rng.normal(size=dimension))


def rotation(rows: int, columns: int, *, seed: int = 1) -> Array:
    """Return a matrix (rows, columns) with orthonormal rows or columns."""
    square = np.random.default_rng(seed).normal(size=(max(rows, columns), max(rows, columns)))
    return np.asarray(np.linalg.qr(square)[0][:rows, :columns])


@pytest.mark.parametrize("kind", BRIDGE_KINDS)
def test_a_rotated_space_is_found_again(kind: BridgeKind) -> None:
    source = cloud()
    target = (source @ rotation(DIMENSION, DIMENSION)).astype(np.float32)
    bridge = fit_bridge(source, target, kinds=[kind])
    assert bridge.kind == kind
    # A low-rank map cannot be all of it: the cloud has no directions to spare.
    assert bridge.recall >= (0.6 if kind == "low-rank" else NEARLY_ALL)


def test_procrustes_wins_where_a_rotation_is_all_there_is() -> None:
    source = cloud()
    bridge = fit_bridge(source, source @ rotation(DIMENSION, DIMENSION))
    assert bridge.kind == "procrustes"
    mapped = bridge.apply(source)
    np.testing.assert_allclose(mapped, source @ rotation(DIMENSION, DIMENSION), atol=1e-4)


def test_ridge_finds_a_map_that_is_no_rotation() -> None:
    source = cloud()
    stretched = source * np.geomspace(1, 8, DIMENSION)
    target = unit_rows(stretched @ rotation(DIMENSION, DIMENSION))
    bridge = fit_bridge(source, target)
    assert bridge.kind == "ridge"
    assert bridge.recall > fit_bridge(source, target, kinds=["procrustes"]).recall


def test_low_rank_finds_the_few_directions_that_are_there() -> None:
    rng = np.random.default_rng(3)
    latent = rng.normal(size=(260, 4))
    source = latent @ rng.normal(size=(4, 40)) + 0.8 * rng.normal(size=(260, 40))
    target = latent @ rng.normal(size=(4, 32))
    bridge = fit_bridge(source, target, metric="inner_product", kinds=["low-rank"])
    assert bridge.rank == 4  # an eighth of 32, the least that is tried
    assert np.linalg.matrix_rank(bridge.matrix) == 4


@pytest.mark.parametrize(("source_dimension", "target_dimension"), [(24, 40), (40, 24)])
@pytest.mark.parametrize("kind", BRIDGE_KINDS)
def test_dimensions_may_differ(
    kind: BridgeKind, source_dimension: int, target_dimension: int
) -> None:
    wide = cloud(dimension=40)
    narrow = unit_rows(wide[:, :24])
    source, target = (narrow, wide) if source_dimension == 24 else (wide, narrow)
    bridge = fit_bridge(source, target, kinds=[kind])
    assert (bridge.source_dimension, bridge.target_dimension) == source.shape[1:] + target.shape[1:]
    mapped = bridge.apply(source[:3])
    assert mapped.shape == (3, target_dimension)
    assert mapped.dtype == np.float32
    assert bridge.recall > CHANCE_MAX


def test_unit_targets_get_unit_vectors_and_others_do_not() -> None:
    source = cloud()
    target = 3 * source @ rotation(DIMENSION, DIMENSION)
    free = fit_bridge(source, target, metric="inner_product").apply(source)
    np.testing.assert_allclose(np.linalg.norm(free, axis=1), 3, rtol=0.05)
    tied = fit_bridge(source, target).apply(source)
    np.testing.assert_allclose(np.linalg.norm(tied, axis=1), 1, rtol=1e-5)


def test_neighbours_are_those_of_the_target_s_metric() -> None:
    rng = np.random.default_rng(2)
    source = rng.normal(size=(PAIRS, DIMENSION)) + 3
    target = source @ rotation(DIMENSION, DIMENSION)
    for metric in METRICS:
        bridge = fit_bridge(source, target, metric=metric, kinds=["procrustes"])
        # Cosine forgets the target's lengths, and no rotation of the source can.
        assert bridge.recall >= (0.9 if metric == "cosine" else NEARLY_ALL)
        assert bridge.unit == (metric == "cosine")
    # By inner product the longest vectors are everybody's neighbours, even of noise.
    noise = rng.normal(size=source.shape) + 3
    by_length, by_distance = (
        fit_bridge(noise, target, metric=metric, kinds=["procrustes"]).recall
        for metric in ("inner_product", "l2")
    )
    assert by_length > 2 * by_distance


def test_unrelated_spaces_have_no_recall_and_fail_the_gate() -> None:
    bridge = fit_bridge(cloud(), cloud(seed=9))
    assert bridge.recall < CHANCE_MAX
    refused = bridge_gate(bridge, required=0.8)
    assert not refused.passed
    assert refused.measured == bridge.recall
    assert bridge_gate(bridge, required=0.0).passed


def test_recall_is_measured_on_documents_that_nothing_was_fitted_to() -> None:
    # As many directions as training pairs: a map that fits those perfectly, and says nothing.
    rng = np.random.default_rng(0)
    source, target = rng.normal(size=(2, PAIRS_MIN, 400))
    bridge = fit_bridge(source, target, metric="inner_product", kinds=["ridge"])
    assert bridge.recall < 2 * 10 / bridge.pairs + 0.05
    assert bridge.pairs + bridge.held_out == PAIRS_MIN


def test_too_few_pairs_are_refused_with_the_number_that_is_needed() -> None:
    few = cloud(PAIRS_MIN - 1)
    with pytest.raises(StateError, match=f"199 documents .* at least {PAIRS_MIN}"):
        fit_bridge(few, few)
    assert fit_bridge(cloud(PAIRS_MIN), cloud(PAIRS_MIN)).held_out == 50


def test_the_same_pairs_and_seed_give_the_same_bridge() -> None:
    source, target = cloud(), cloud(seed=4)
    first, second = (fit_bridge(source, target, seed=5) for _ in range(2))
    assert first.matrix.tobytes() == second.matrix.tobytes()
    assert (first.recall, first.trials) == (second.recall, second.trials)
    assert first.trials != fit_bridge(source, target, seed=6).trials


def test_a_source_without_variance_maps_to_the_target_s_mean() -> None:
    target = cloud()
    for kind in BRIDGE_KINDS:
        bridge = fit_bridge(np.ones((PAIRS, 5)), target, metric="inner_product", kinds=[kind])
        assert np.isfinite(bridge.matrix).all()
        np.testing.assert_allclose(bridge.apply(np.ones((1, 5)))[0], bridge.target_mean, atol=1e-6)


def test_pulled_back_queries_score_as_queries_score_what_is_mapped() -> None:
    source = cloud(dimension=40)
    bridge = fit_bridge(source, unit_rows(source[:, :24]), metric="inner_product")
    query = cloud(5, seed=8)[:, :24]
    mapped = (source - bridge.source_mean) @ bridge.matrix
    expected = query @ mapped.T
    found = bridge.pulled_back(query) @ (source - bridge.source_mean).T
    for ours, theirs in zip(found, expected, strict=True):  # but for each query's length
        np.testing.assert_allclose(
            ours / np.abs(ours).max(), theirs / np.abs(theirs).max(), atol=1e-4
        )


@pytest.fixture(scope="module")
def scifact_bridges() -> list[BridgeMap]:
    demo = load_scifact()
    pairs = slice(0, 1_500)
    old, new = demo.old_documents[pairs], demo.new_documents[pairs]
    return [fit_bridge(old, new), fit_bridge(new, old)]


def test_between_two_real_models_a_bridge_finds_half_the_neighbours(
    scifact_bridges: list[BridgeMap],
) -> None:
    for bridge in scifact_bridges:
        assert bridge.recall >= SCIFACT_RECALL_MIN, bridge.trials


def test_real_queries_are_harder_than_documents(scifact_bridges: list[BridgeMap]) -> None:
    demo = load_scifact()
    to_new, _ = scifact_bridges
    recall = bridge_recall(to_new, demo.old_queries, demo.new_queries, demo.new_documents)
    assert CHANCE_MAX < recall < to_new.recall


@pytest.mark.parametrize("shape", [(3,), (2, DIMENSION + 1), (1, 2, DIMENSION)])
def test_vectors_of_another_shape_are_refused(shape: tuple[int, ...]) -> None:
    bridge = fit_bridge(cloud(), cloud(), kinds=["procrustes"])
    for call in (bridge.apply, bridge.pulled_back):
        with pytest.raises(InvalidArgumentError, match="expected \\(n, 24\\)"):
            call(np.zeros(shape, np.float32))


def test_pairs_that_do_not_go_together_are_refused() -> None:
    with pytest.raises(InvalidArgumentError, match="one row for each document"):
        fit_bridge(cloud(), cloud(PAIRS - 1))
    with pytest.raises(InvalidArgumentError, match="kinds"):
        fit_bridge(cloud(), cloud(), kinds=[])
    bridge = fit_bridge(cloud(), cloud(), kinds=["procrustes"])
    with pytest.raises(InvalidArgumentError, match="something to find"):
        bridge_recall(bridge, cloud(2), cloud(2), cloud(0))


def test_a_blended_query_asks_both_questions() -> None:
    source = cloud()
    target = source @ rotation(DIMENSION, DIMENSION)
    bridge = fit_bridge(source, target, kinds=["procrustes"])
    own, other = cloud(4, seed=2), cloud(4, seed=3)
    np.testing.assert_allclose(bridge.blended(own, other, weight=0.0), own, atol=1e-6)
    blended = bridge.blended(own, other)
    np.testing.assert_allclose(np.linalg.norm(blended, axis=1), 1, rtol=1e-5)
    expected = unit_rows(own + 0.5 * other @ rotation(DIMENSION, DIMENSION).T)
    np.testing.assert_allclose(blended, expected, atol=1e-3)
    with pytest.raises(InvalidArgumentError, match="the same queries"):
        bridge.blended(own, other[:3])


def test_blending_improves_the_old_version_s_answers_for_documents_it_never_saw() -> None:
    demo = load_scifact()
    migrated = slice(0, 1_500)
    bridge = fit_bridge(demo.old_documents[migrated], demo.new_documents[migrated])
    before = demo.old_queries @ demo.old_documents.T
    after = bridge.blended(demo.old_queries, demo.new_queries) @ demo.old_documents.T

    def ndcg(scores: Array) -> float:
        best = np.argsort(-scores, axis=1, kind="stable")[:, :10]
        answers = [[demo.document_ids[i] for i in row] for row in best.tolist()]
        return mean_ndcg_at_k(answers, demo.judgments, k=10)

    assert ndcg(after) > ndcg(before) + 0.02
