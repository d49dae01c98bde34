"""Vectors to compare on: seeded, or from a file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

QUERIES = 1_000
K = 10
LATENT, CLUSTERS = 24, 200


class Data(NamedTuple):
    """Vectors, queries that are not among them, and the right answers under L2."""

    name: str
    vectors: npt.NDArray[np.float32]
    queries: npt.NDArray[np.float32]
    truth: npt.NDArray[np.int64]


def load(source: str) -> Data:
    """Return data by description: ``ROWSxDIMENSION``, or a path of an .npy or .fvecs file."""
    if Path(source).exists():
        every = _read(Path(source))
        order = np.random.default_rng(5).permutation(len(every))
        queries = every[order[:QUERIES]].astype(np.float32)
        vectors = every[np.sort(order[QUERIES:])].astype(np.float32)
        name = Path(source).name
    else:
        rows, dimension = map(int, source.split("x"))
        vectors, queries = seeded(rows, dimension)
        name = "seeded"
    title = f"{name}, {len(vectors):,} x {vectors.shape[1]}"
    return Data(title, vectors, queries, nearest(vectors, queries, K))


def seeded(rows: int, dimension: int) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Return vectors of 24 latent dimensions in 200 clusters, with noise in all dimensions."""
    rng = np.random.default_rng(0)
    spread = rng.standard_normal((LATENT, dimension)).astype(np.float32)
    centres = 1.5 * rng.standard_normal((CLUSTERS, LATENT)).astype(np.float32)

    def draw(count: int) -> npt.NDArray[np.float32]:
        made = np.empty((count, dimension), np.float32)
        for start in range(0, count, 50_000):
            part = made[start : start + 50_000]
            latent = rng.standard_normal((len(part), LATENT)).astype(np.float32)
            latent += centres[rng.integers(0, CLUSTERS, len(part))]
            noise = rng.standard_normal((len(part), dimension)).astype(np.float32)
            part[:] = latent @ spread + np.float32(0.3) * noise
        return made

    return draw(rows), draw(QUERIES)


def _read(path: Path) -> npt.NDArray[np.generic]:
    if path.suffix == ".fvecs":
        words = np.fromfile(path, "<i4")
        return words.reshape(-1, words[0] + 1)[:, 1:].view("<f4")
    loaded: npt.NDArray[np.generic] = np.load(path)
    return loaded


def nearest(
    vectors: npt.NDArray[np.float32], queries: npt.NDArray[np.float32], k: int
) -> npt.NDArray[np.int64]:
    """Return the k nearest rows of each query under L2, exactly (m, k)."""
    best_scores = np.full((len(queries), 0), 0, np.float64)
    best_rows = np.full((len(queries), 0), 0, np.int64)
    for start in range(0, len(vectors), 100_000):
        block = vectors[start : start + 100_000]
        scores = 2 * (queries @ block.T) - np.einsum("ij,ij->i", block, block)
        rows = np.argpartition(-scores, min(k, len(block) - 1), axis=1)[:, :k]
        best_scores = np.append(best_scores, np.take_along_axis(scores, rows, 1), axis=1)
        best_rows = np.append(best_rows, rows + start, axis=1)
        order = np.argsort(-best_scores, axis=1, kind="stable")[:, :k]
        best_scores = np.take_along_axis(best_scores, order, 1)
        best_rows = np.take_along_axis(best_rows, order, 1)
    return best_rows


def file_name(data: Data) -> str:
    """Return what a data set is called in names of files."""
    return data.name.replace(", ", "-").replace(" ", "").replace(",", "")


def recall(found: npt.NDArray[np.int64], truth: npt.NDArray[np.int64]) -> float:
    """Return the share of right answers that were found."""
    hits = sum(
        len(set(mine) & set(right))
        for mine, right in zip(found.tolist(), truth.tolist(), strict=True)
    )
    return hits / truth.size
