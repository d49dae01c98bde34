"""The libraries, each behind the same few methods. A library that is not installed is left out."""

from __future__ import annotations

import json
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

M, EF_CONSTRUCTION, K = 16, 200, 10
EF_GRID = (10, 16, 24, 32, 48, 64, 96, 128, 200)


class Peer:
    """One library with one kind of index, searched by one thread."""

    name: str
    needs: str

    def build(self, vectors: Any, threads: int) -> None:
        """Build the index under L2."""
        raise NotImplementedError

    def tune(self, ef: int) -> None:
        """Set how widely to search."""
        raise NotImplementedError

    def search(self, queries: Any) -> Any:
        """Return the rows of the 10 nearest of each query, (m, 10)."""
        raise NotImplementedError

    def search_one(self, query: Any) -> Any:
        """Return the rows nearest to one query, as this library is asked one question."""
        return self.search(query[None])[0]


class Vstore(Peer):
    """vstore, through its public interface."""

    name, needs = "vstore", "vstore"

    def __init__(self) -> None:
        self.threads = 1

    def build(self, vectors: Any, threads: int) -> None:
        import vstore

        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name) / "compare.vstore"
        self.store = vstore.open(self.path)
        self.docs = self.store.create_collection("docs")
        self.docs.create_version("v", vstore.EmbeddingSpec("m", vectors.shape[1], metric="l2"))
        self.docs.upsert(list(range(len(vectors))), vectors={"v": vectors})

    def tune(self, ef: int) -> None:
        self.ef = ef

    def search(self, queries: Any) -> Any:
        results = self.docs.search_batch(
            queries, version="v", k=K, ef_search=self.ef, threads=self.threads
        )
        return np.array([result.ids for result in results])

    def search_one(self, query: Any) -> Any:
        return self.docs.search(query, version="v", k=K, ef_search=self.ef).ids


class Hnswlib(Peer):
    """hnswlib."""

    name, needs = "hnswlib", "hnswlib"

    def build(self, vectors: Any, threads: int) -> None:
        import hnswlib

        self.index = hnswlib.Index("l2", vectors.shape[1])
        self.index.init_index(len(vectors), M=M, ef_construction=EF_CONSTRUCTION, random_seed=1)
        self.index.add_items(vectors, num_threads=threads)
        self.index.set_num_threads(1)

    def tune(self, ef: int) -> None:
        self.index.set_ef(max(ef, K))

    def search(self, queries: Any) -> Any:
        return self.index.knn_query(queries, k=K, num_threads=1)[0].astype(np.int64)


class Faiss(Peer):
    """faiss, HNSW over float32 or over 8-bit codes."""

    needs = "faiss"

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

    def tune(self, ef: int) -> None:
        self.index.hnsw.efSearch = ef

    def search(self, queries: Any) -> Any:
        return self.index.search(queries, K)[1]


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
        return self.index.search(queries, K, threads=1).keys.astype(np.int64)

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
        self.parameters = json.dumps({"hgraph": {"ef_search": ef}})

    def search(self, queries: Any) -> Any:
        return np.array([self.search_one(query) for query in queries])

    def search_one(self, query: Any) -> Any:
        return self.index.knn_search(vector=query, k=K, parameters=self.parameters)[0]


def installed(only: list[str] | None = None) -> list[Peer]:
    """Return the libraries that are here, vstore first."""
    every: list[Peer] = [
        Vstore(),
        Hnswlib(),
        Faiss(codes=False),
        Faiss(codes=True),
        *(Usearch(dtype) for dtype in ("f32", "f16", "bf16", "i8")),
        Svs(),
        Vsag(),
    ]
    return [
        peer
        for peer in every
        if find_spec(peer.needs) and (not only or any(peer.name.startswith(name) for name in only))
    ]
