"""Canaries: rounding is accepted, a change is seen, and another model is called that."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vstore.demo.corpus import ScifactDemo, load_scifact
from vstore.errors import InvalidArgumentError
from vstore.guarding.canaries import COSINE_MIN, compare_canaries
from vstore.testing import HashingEmbedder

if TYPE_CHECKING:
    from collections.abc import Callable

    from vstore.types import Array

CANARIES = 12
TEXTS = [f"The {w} fox jumps over {n} lazy dogs, again." for n, w in enumerate("abcdefgh")]
SEED = 3


@pytest.fixture(scope="module")
def demo() -> ScifactDemo:
    return load_scifact()


def coded(vectors: Array) -> Array:
    scale = np.abs(vectors).max(axis=1, keepdims=True) / 127
    return np.asarray(np.rint(vectors / scale) * scale)


@pytest.mark.parametrize("stored_as", [np.float32, np.float16, coded])
def test_rounding_is_the_same_model(demo: ScifactDemo, stored_as: Callable[[Array], Array]) -> None:
    vectors = demo.new_documents[:CANARIES]
    found = compare_canaries(stored_as(vectors), vectors, metric="cosine")
    assert found.verdict == "same"
    assert found.kept == pytest.approx(1, abs=1e-3)


def test_one_text_that_changed_is_drift_and_is_named(demo: ScifactDemo) -> None:
    stored = demo.new_documents[:CANARIES]
    fresh = stored.copy()
    fresh[7] += 0.1 * demo.new_documents[100]
    found = compare_canaries(stored, fresh, metric="cosine")
    assert (found.verdict, found.worst) == ("drifted", 7)
    assert "text 7" in found.sentence
    assert found.cosines[7] < COSINE_MIN < np.delete(found.cosines, 7).min()


@pytest.mark.parametrize(
    "change",
    [lambda t: f"passage: {t}", lambda t: t.replace(",", ""), lambda t: t[:25]],
    ids=["prompt", "punctuation", "truncation"],
)
def test_other_preprocessing_is_drift(change: Callable[[str], str]) -> None:
    embedder = HashingEmbedder(256)
    stored = embedder.embed_documents(TEXTS)
    fresh = embedder.embed_documents([change(text) for text in TEXTS])
    assert compare_canaries(stored, fresh, metric="cosine").verdict == "drifted"


@pytest.mark.parametrize("rows", [1, 2, CANARIES])
def test_another_model_is_called_that(demo: ScifactDemo, rows: int) -> None:
    stored, fresh = demo.new_documents[:rows], demo.old_documents[:rows]
    assert compare_canaries(stored, fresh, metric="cosine").verdict == "other model"


def test_two_models_whose_texts_all_look_alike_are_told_apart() -> None:
    """With 0.8 of each vector in one direction, all cosines are high, across texts as well."""
    rng = np.random.default_rng(SEED)
    shared = rng.standard_normal(128)
    one, other = (shared + 0.5 * rng.standard_normal((CANARIES, 128)) for _ in range(2))
    found = compare_canaries(one, other, metric="cosine")
    assert found.cosines.min() > 0.5
    assert found.verdict == "other model"


@given(factor=st.sampled_from([0.01, 0.9, 1.05, 20.0]), rows=st.integers(1, CANARIES))
def test_lengths_matter_where_the_metric_sees_them(factor: float, rows: int) -> None:
    stored = np.random.default_rng(rows).standard_normal((rows, 16))
    for metric in ("inner_product", "l2"):
        assert compare_canaries(stored, stored * factor, metric=metric).verdict == "rescaled"
    assert compare_canaries(stored, stored * factor, metric="cosine").verdict == "same"
    assert compare_canaries(stored, stored, metric="l2").verdict == "same"


def test_canaries_that_are_all_one_text_tell_by_their_cosine() -> None:
    same = np.ones((3, 8))
    assert compare_canaries(same, same, metric="cosine").verdict == "same"
    other = np.tile([1.0, -1.0], (3, 4))
    assert compare_canaries(same, other, metric="cosine").verdict == "other model"


@pytest.mark.parametrize(
    ("stored", "fresh"),
    [
        (np.ones((2, 3)), np.ones((2, 4))),
        (np.ones((0, 3)), np.ones((0, 3))),
        (np.ones(3), np.ones(3)),
        (np.ones((1, 3)), np.zeros((1, 3))),
        (np.full((1, 3), np.nan), np.ones((1, 3))),
    ],
)
def test_what_cannot_be_compared_is_refused(stored: Array, fresh: Array) -> None:
    with pytest.raises(InvalidArgumentError, match="canaries: "):
        compare_canaries(stored, fresh, metric="cosine")
