"""Exact search over 100,000 x 384, against NumPy (matmul + argpartition) and sqlite-vec."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import apsw
import numpy as np
import sqlite_vec

import vstore
from benchmarks.measure import Comparison, alternate, report, timed

if TYPE_CHECKING:
    from collections.abc import Callable

ROWS, DIMENSION, K, BATCH, ROUNDS = 100_000, 384, 10, 64, 25
NUMPY_MAX, SQLITE_MIN = 1.15, 2.0


def main() -> None:
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((ROWS, DIMENSION)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    queries = rng.standard_normal((BATCH, DIMENSION)).astype(np.float32)
    with tempfile.TemporaryDirectory() as folder:
        store = vstore.open(Path(folder) / "exact.vstore")
        docs = store.create_collection("docs")
        docs.create_version("v1", vstore.EmbeddingSpec("benchmark", DIMENSION), graph_rows_min=None)
        docs.upsert(list(range(ROWS)), vectors={"v1": vectors})

        def ours_one() -> object:
            return docs.search(queries[0], version="v1", k=K)

        def numpy_one() -> object:
            scores = vectors @ queries[0]
            best = np.argpartition(-scores, K)[:K]
            return best[np.argsort(-scores[best])]

        def ours_batch() -> object:
            return docs.search_batch(queries, version="v1", k=K)

        def numpy_batch() -> object:
            scores = queries @ vectors.T
            best = np.argpartition(-scores, K, axis=1)[:, :K]
            order = np.argsort(-np.take_along_axis(scores, best, 1), axis=1)
            return np.take_along_axis(best, order, 1)

        assert docs.search(queries[0], version="v1", k=K).ids == list(numpy_one())  # type: ignore[call-overload]
        for run in (ours_one, numpy_one, ours_batch, numpy_batch):
            run()
        one = alternate({"ours": timed(ours_one), "numpy": timed(numpy_one)}, rounds=ROUNDS)
        batch = alternate({"ours": timed(ours_batch), "numpy": timed(numpy_batch)}, rounds=ROUNDS)
        rows = [
            _row("one query", one["ours"], one["numpy"], "NumPy", NUMPY_MAX),
            _row(f"batch of {BATCH}", batch["ours"], batch["numpy"], "NumPy", NUMPY_MAX),
        ]
        peer = _sqlite(vectors, queries[0])
        both = alternate({"ours": timed(ours_one), "sqlite": peer}, rounds=7)
        rows.append(_row("one query", both["ours"], both["sqlite"], "sqlite-vec", 1 / SQLITE_MIN))
        store.close()
    report("exact_search", f"Exact search, {ROWS:,} x {DIMENSION} float32, k = {K}", rows)


def _row(name: str, ours: float, other: float, peer: str, bound: float) -> Comparison:
    ratio = ours / other
    return Comparison(
        name, ours * 1e3, other * 1e3, peer, "ms", f"<= {bound:g}", ratio <= bound, ratio
    )


def _sqlite(vectors: np.ndarray, query: np.ndarray) -> Callable[[], float]:
    """Return a timed sqlite-vec query of the same vectors.

    Through apsw, since many Pythons' own sqlite3 cannot load extensions.
    """
    connection = apsw.Connection(":memory:")
    connection.enable_load_extension(True)
    connection.load_extension(sqlite_vec.loadable_path())
    connection.execute(
        f"create virtual table v using vec0(e float[{DIMENSION}] distance_metric=cosine)"
    )
    with connection:
        connection.executemany(
            "insert into v(rowid, e) values (?, ?)",
            ((i + 1, row.tobytes()) for i, row in enumerate(vectors)),
        )
    packed = query.tobytes()
    return timed(
        lambda: list(
            connection.execute(
                "select rowid, distance from v where e match ? and k = ?", (packed, K)
            )
        )
    )


if __name__ == "__main__":
    main()
