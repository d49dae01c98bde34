"""Whether codes tell rows apart: ordinary rows yes, near-copies no, equal rows need not be."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from vstore.index import quantizer
from vstore.index.resolution import SAMPLE_ROWS, resolved_share

if TYPE_CHECKING:
    from vstore.manifest.spec import Metric
    from vstore.types import Array

DIMENSION = 96
METRICS: tuple[Metric, ...] = ("cosine", "l2", "inner_product")
every_metric = pytest.mark.parametrize("metric", METRICS)


def plain(count: int, *, lengths: tuple[float, float] = (1, 1), seed: int = 0) -> Array:
    rng = np.random.default_rng(seed)
    rows = rng.standard_normal((count, 12)) @ rng.standard_normal((12, DIMENSION))
    rows *= rng.uniform(*lengths, (count, 1)) / np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows, np.float32)


def copies(count: int, noise: float) -> Array:
    rng = np.random.default_rng(1)
    one = plain(1, seed=9)
    rows = one + noise * rng.standard_normal((count, DIMENSION)) / np.sqrt(DIMENSION)
    return np.asarray(rows, np.float32)


def share(rows: Array, metric: Metric, *, among: Array | None = None) -> float:
    among = plain(2_000) if among is None else among
    return resolved_share(rows, quantizer.fit(among, metric))


@every_metric
@pytest.mark.parametrize("lengths", [(1.0, 1.0), (0.2, 3.0)])
def test_ordinary_rows_are_told_apart(metric: Metric, lengths: tuple[float, float]) -> None:
    rows = plain(2_000, lengths=lengths)
    for start in range(0, 1_600, SAMPLE_ROWS):
        assert share(rows[start : start + SAMPLE_ROWS], metric, among=rows) == 1.0


@every_metric
@pytest.mark.parametrize("noise", [0.02, 0.005, 0.001])
def test_near_copies_are_not(metric: Metric, noise: float) -> None:
    assert share(copies(SAMPLE_ROWS, noise), metric) < 0.2


@every_metric
def test_some_near_copies_are_seen_among_others(metric: Metric) -> None:
    rows = np.concatenate([plain(SAMPLE_ROWS * 3 // 4), copies(SAMPLE_ROWS // 4, 0.005)])
    assert share(rows, metric) == 0.75


@every_metric
def test_equal_rows_share_a_node_and_need_not_be_told_apart(metric: Metric) -> None:
    assert share(np.repeat(copies(1, 0.1), SAMPLE_ROWS, axis=0), metric) == 1.0


@pytest.mark.parametrize("count", [0, 1, 4])
def test_few_rows_say_nothing(count: int) -> None:
    assert share(copies(count, 0.001), "cosine") == 1.0


def test_what_is_no_number_says_nothing() -> None:
    rows = copies(SAMPLE_ROWS, 0.001)
    rows[::2] = np.nan
    rows[1::4] = np.inf
    assert 0 <= share(rows, "l2") <= 1
    assert share(np.full_like(rows, np.nan), "cosine") == 1.0
