"""The libraries, each behind the same few methods; the databases are in `databases`."""

from __future__ import annotations

import json
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.compare.databases import Lancedb, QdrantEdge, SqliteVec, Zvec
from benchmarks.compare.peer import EF_CONSTRUCTION, K, M, Peer
from benchmarks.measure import resident_mib, seconds_of
from vstore import EfSearch


class Vstore(Peer):
    """vstore, through its public interface; untuned it seeks its default recall, 0.95."""

    name, needs = "vstore", "vstore"
    ef: int | None = None
    where: Any = None

    def build(self, vectors: Any, threads: int) -> None:
        import vstore

        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name) / "compare.vstore"
        self.store = vstore.open(self.path, threads=1)
        fields = None if self.labels is None else {"label": "int"}
        self.docs = self.store.create_collection("docs", fields=fields)
        self.docs.create_version("v", vstore.EmbeddingSpec("m", vectors.shape[1], metric="l2"))
        metadata = None if self.labels is None else {"label": self.labels.tolist()}
        self.docs.upsert(list(range(len(vectors))), vectors={"v": vectors}, metadata=metadata)

    def allow(self, below: int) -> None:
        import vstore

        self.where = vstore.field("label") < below

    def tune(self, ef: int) -> None:
        self.ef = ef

    def search(self, queries: Any) -> Any:
        results = self.docs.search_batch(
            queries, version="v", k=K, where=self.where, recall=EfSearch(self.ef)
        )
        ids, _ = results.ids, results.scores  # other libraries make both
        return np.pad(ids, ((0, 0), (0, K - ids.shape[1])), constant_values=-1)

    def search_one(self, query: Any) -> Any:
        return self.docs.search(
            query, version="v", k=K, where=self.where, recall=EfSearch(self.ef)
        ).ids


class Hnswlib(Peer):
    """hnswlib."""

    name, needs = "hnswlib", "hnswlib"
    allowed: Any = None
    k = K

    def build(self, vectors: Any, threads: int) -> None:
        import hnswlib

        self.index = hnswlib.Index("l2", vectors.shape[1])
        self.index.init_index(len(vectors), M=M, ef_construction=EF_CONSTRUCTION, random_seed=1)
        self.index.add_items(vectors, num_threads=threads)
        self.index.set_num_threads(1)

    def allow(self, below: int) -> None:
        # A set's own method is the cheapest function that Python can be called back with.
        rows = set(np.flatnonzero(self.labels < below).tolist())
        self.allowed, self.k = rows.__contains__, min(K, len(rows))

    def tune(self, ef: int) -> None:
        self.index.set_ef(max(ef, K))

    def search(self, queries: Any) -> Any:
        found = self.index.knn_query(queries, k=self.k, num_threads=1, filter=self.allowed)
        return np.pad(found[0].astype(np.int64), ((0, 0), (0, K - self.k)), constant_values=-1)


class Faiss(Peer):
    """faiss, HNSW over float32 or over 8-bit codes."""

    needs = "faiss"
    parameters: Any = None

    def __init__(self, *, codes: bool) -> None:
        self.codes = codes
        self.name = "faiss HNSW SQ8" if codes else "faiss HNSW"

    def build(self, vectors: Any, threads: int) -> None:
        import faiss

        faiss.omp_set_num_threads(threads)
        dimension = vectors.shape[1]
        if self.codes:
            self.index = faiss.IndexHNSWSQ(dimension, faiss.ScalarQuantizer.QT_8bit, M)
        else:
            self.index = faiss.IndexHNSWFlat(dimension, M)
        self.index.hnsw.efConstruction = EF_CONSTRUCTION
        self.index.train(vectors)
        self.index.add(vectors)
        faiss.omp_set_num_threads(1)

    def allow(self, below: int) -> None:
        import faiss

        bits = np.packbits(self.labels < below, bitorder="little")
        self.parameters = faiss.SearchParametersHNSW(sel=faiss.IDSelectorBitmap(bits))

    def tune(self, ef: int) -> None:
        self.index.hnsw.efSearch = ef
        if self.parameters is not None:
            self.parameters.efSearch = ef

    def search(self, queries: Any) -> Any:
        return self.index.search(queries, K, params=self.parameters)[1]


class Usearch(Peer):
    """usearch with one storage type."""

    needs = "usearch"

    def __init__(self, dtype: str) -> None:
        self.dtype = dtype
        self.name = f"usearch {dtype}"

    def build(self, vectors: Any, threads: int) -> None:
        from usearch.index import Index

        self.index = Index(
            ndim=vectors.shape[1],
            metric="l2sq",
            dtype=self.dtype,
            connectivity=M,
            expansion_add=EF_CONSTRUCTION,
        )
        self.index.add(np.arange(len(vectors)), vectors, threads=threads)

    def tune(self, ef: int) -> None:
        self.index.expansion_search = ef

    def search(self, queries: Any) -> Any:
        return self.index.search(queries, K).keys.astype(np.int64)

    def search_one(self, query: Any) -> Any:
        return self.index.search(query, K).keys


class Svs(Peer):
    """Intel's scalable vector search, a Vamana graph over float32."""

    name, needs = "svs f32", "svs"

    def build(self, vectors: Any, threads: int) -> None:
        import svs

        parameters = svs.VamanaBuildParameters(
            graph_max_degree=2 * M, window_size=EF_CONSTRUCTION, alpha=1.2
        )
        self.index = svs.Vamana.build(parameters, vectors, svs.DistanceType.L2, num_threads=threads)
        self.index.num_threads = 1

    def tune(self, ef: int) -> None:
        self.index.search_window_size = ef

    def search(self, queries: Any) -> Any:
        return self.index.search(queries, K)[0].astype(np.int64)


class Vsag(Peer):
    """vsag's hgraph, 8-bit codes with rescoring."""

    name, needs = "vsag sq8u", "pyvsag"

    def build(self, vectors: Any, threads: int) -> None:
        import pyvsag

        parameters = {
            "dtype": "float32",
            "metric_type": "l2",
            "dim": vectors.shape[1],
            "index_param": {
                "base_quantization_type": "sq8_uniform",
                "max_degree": 2 * M,
                "ef_construction": EF_CONSTRUCTION,
                "use_reorder": True,
                "precise_quantization_type": "fp32",
                "build_thread_count": threads,
            },
        }
        self.index = pyvsag.Index("hgraph", json.dumps(parameters))
        self.index.build(
            vectors=vectors,
            ids=np.arange(len(vectors)),
            num_elements=len(vectors),
            dim=vectors.shape[1],
        )

    def tune(self, ef: int) -> None:
        self.parameters = json.dumps({"hgraph": {"recall": EfSearch(ef)}})

    def search(self, queries: Any) -> Any:
        return np.array([self.search_one(query) for query in queries])

    def search_one(self, query: Any) -> Any:
        return self.index.knn_search(vector=query, k=K, parameters=self.parameters)[0]


def every() -> list[Peer]:
    """Return all that can be compared, vstore first."""
    return [
        Vstore(),
        Hnswlib(),
        Faiss(codes=False),
        Faiss(codes=True),
        *(Usearch(dtype) for dtype in ("f32", "f16", "bf16", "i8")),
        Svs(),
        Vsag(),
        Lancedb(),
        QdrantEdge(),
        Zvec(),
        SqliteVec(),
    ]


def installed(
    peers: list[Peer], only: list[str] | None = None
) -> tuple[list[Peer], dict[str, str]]:
    """Return those that are here, and why others are not shown, by name.

    Parameters
    ----------
    only : list of str, optional
        Beginnings of the names that are wanted.
    """
    wanted = [
        peer
        for peer in peers
        if not only or any(peer.name.startswith(beginning) for beginning in only)
    ]
    here = [peer for peer in wanted if find_spec(peer.needs)]
    return here, {peer.name: "not installed" for peer in wanted if peer not in here}


def built(
    peers: list[Peer], vectors: Any, threads: int
) -> tuple[dict[str, float], dict[str, float], dict[str, str]]:
    """Build all indexes; remove from the list what cannot be built or searched, and go on.

    Returns
    -------
    seconds : dict
        How long each took.
    memory_mib : dict
        By how much the memory of this process grew meanwhile, which is a hint: what an earlier one
        gave back is used again, and pages of mapped files count.
    not_shown : dict
        What failed, and how.
    """
    seconds: dict[str, float] = {}
    memory_mib: dict[str, float] = {}
    not_shown: dict[str, str] = {}
    for peer in list(peers):
        before = resident_mib()
        try:
            took = seconds_of(lambda: peer.build(vectors, threads))
            peer.tune(peer.widths[-1])
            peer.search(vectors[:2])
        except Exception as error:
            not_shown[peer.name] = f"{type(error).__name__}: {error}"[:300]
            peers.remove(peer)
            continue
        seconds[peer.name] = took
        memory_mib[peer.name] = resident_mib() - before
        print(f"{peer.name}: built in {seconds[peer.name]:.1f} s", file=sys.stderr)
    return seconds, memory_mib, not_shown
