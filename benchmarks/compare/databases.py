"""Databases that run in the program's process, each behind the methods of `Peer`.

Unlike the libraries of `peers` they keep ids and metadata, and have a file or a directory. Each is
asked the way that is cheapest in it, and returns ids.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.compare.peer import EF_CONSTRUCTION, EF_GRID, K, M, Peer, padded

BATCH = 1_000  # rows of one call of an insert


class Database(Peer):
    """A database in a temporary directory."""

    where: Any = None

    def place(self) -> str:
        """Return a path for the database."""
        self.folder = tempfile.TemporaryDirectory()
        return str(Path(self.folder.name) / "compare")

    def tune(self, ef: int) -> None:
        self.ef = ef

    def label(self, row: int) -> int:
        """Return a row's label; 0 if there are no labels."""
        return 0 if self.labels is None else int(self.labels[row])

    def search(self, queries: Any) -> Any:
        return padded([self.search_one(query) for query in queries])


class Lancedb(Database):
    """LanceDB with HNSW over float32 in one partition.

    Its index of 8-bit codes needs vectors read again to reach high recall, and is slower for it.
    """

    name, needs = "lancedb HNSW", "lancedb"

    def build(self, vectors: Any, threads: int) -> None:
        import lancedb
        import pyarrow as pa
        from lancedb.index import BTree, HnswFlat

        rows, dimension = vectors.shape
        before = _threads()
        flat = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), dimension)
        columns = {"id": np.arange(rows), "vector": flat}
        if self.labels is not None:
            columns["label"] = pa.array(self.labels)
        self.table = lancedb.connect(self.place()).create_table("docs", pa.table(columns))
        settings = HnswFlat(
            distance_type="l2", num_partitions=1, m=M, ef_construction=EF_CONSTRUCTION
        )
        self.table.create_index("vector", config=settings)
        if self.labels is not None:
            self.table.create_index("label", config=BTree())
        # It has no setting for the threads of a search. Those of the build are still there, and
        # those they start inherit this.
        self.tune(K)
        self.search(vectors[:1])
        _use_one_processor(_threads() - before)

    def allow(self, below: int) -> None:
        self.where = f"label < {below}"

    def _ask(self, queries: Any) -> Any:
        question: Any = self.table.search(queries).select(["id", "_distance"])
        question = question.limit(K).nprobes(1).ef(self.ef)
        if self.where is not None:
            question = question.where(self.where, prefilter=True)
        return question.to_arrow()

    def search(self, queries: Any) -> Any:
        found = self._ask(queries)
        ids = found["id"].to_numpy()
        if "query_index" not in found.column_names:  # it was one
            return padded([ids])
        starts = np.searchsorted(found["query_index"].to_numpy(), np.arange(1, len(queries)))
        return padded(np.split(ids, starts))

    def search_one(self, query: Any) -> Any:
        return self._ask(query)["id"].to_numpy()


class QdrantEdge(Database):
    """Qdrant's edge shard, HNSW over float32."""

    name, needs = "qdrant-edge", "qdrant_edge"

    def build(self, vectors: Any, threads: int) -> None:
        import qdrant_edge as qdrant

        self.qdrant = qdrant
        config = qdrant.EdgeConfig(
            vectors=qdrant.EdgeVectorParams(vectors.shape[1], qdrant.Distance.Euclid),
            hnsw_config=qdrant.HnswIndexConfig(
                M, EF_CONSTRUCTION, full_scan_threshold=1, max_indexing_threads=threads
            ),
            optimizers=qdrant.EdgeOptimizersConfig(default_segment_number=1, indexing_threshold=1),
            max_search_threads=1,
            wal_enabled=False,
        )
        self.shard = qdrant.EdgeShard.create(self.place(), config)
        change = qdrant.UpdateOperation
        if self.labels is not None:
            kind = qdrant.PayloadSchemaType.Integer
            self.shard.update(change.create_field_index("label", kind))
        for start in range(0, len(vectors), BATCH):
            points = [
                qdrant.Point(row, vectors[row].tolist(), {"label": self.label(row)})
                for row in range(start, min(start + BATCH, len(vectors)))
            ]
            self.shard.update(change.upsert_points(points))
        self.shard.optimize()

    def allow(self, below: int) -> None:
        condition = self.qdrant.FieldCondition("label", range=self.qdrant.RangeFloat(lt=below))
        self.where = self.qdrant.Filter(must=[condition])

    def tune(self, ef: int) -> None:
        self.parameters = self.qdrant.SearchParams(hnsw_ef=ef)

    def _request(self, query: Any) -> Any:
        nearest = self.qdrant.Query.Nearest(query)
        return self.qdrant.QueryRequest(
            limit=K, query=nearest, params=self.parameters, filter=self.where
        )

    def search(self, queries: Any) -> Any:
        batch = self.qdrant.QueryBatchRequest([self._request(query) for query in queries])
        return padded([[hit.id for hit in hits] for hits in self.shard.query_batch(batch)])

    def search_one(self, query: Any) -> Any:
        return [hit.id for hit in self.shard.query(self._request(query))]


class Zvec(Database):
    """Zvec, HNSW over float32, opened for reading: that has the quickest way to ask."""

    name, needs = "zvec HNSW", "zvec"

    def build(self, vectors: Any, threads: int) -> None:
        import zvec

        self.zvec = zvec
        zvec.init(query_threads=1, optimize_threads=threads)  # once in a process, so one instance
        settings = zvec.HnswIndexParam(zvec.MetricType.L2, m=M, ef_construction=EF_CONSTRUCTION)
        label = zvec.FieldSchema(
            "label",
            zvec.DataType.INT64,
            index_param=zvec.InvertIndexParam(enable_range_optimization=True),
        )
        vector = zvec.VectorSchema(
            "v", zvec.DataType.VECTOR_FP32, vectors.shape[1], index_param=settings
        )
        path = self.place()
        schema = zvec.CollectionSchema("docs", fields=[label], vectors=[vector])
        writer = zvec.create_and_open(path, schema)
        for start in range(0, len(vectors), BATCH):
            rows = range(start, min(start + BATCH, len(vectors)))
            documents = [
                zvec.Doc(str(row), vectors={"v": vectors[row]}, fields={"label": self.label(row)})
                for row in rows
            ]
            if not all(status.ok() for status in writer.insert(documents)):
                raise RuntimeError(f"zvec refused rows {start} and following")
        writer.optimize()
        writer.close()
        self.docs = zvec.open(path, zvec.CollectionOption(read_only=True))

    def allow(self, below: int) -> None:
        self.where = f"label < {below}"

    def tune(self, ef: int) -> None:
        self.parameters = self.zvec.HnswQueryParam(ef=ef)

    def search_one(self, query: Any) -> Any:
        question = self.zvec.Query("v", vector=query, param=self.parameters)
        found: Any = self.docs.query_internal_ids(question, topk=K, filter=self.where)
        ids = self.docs.resolve_internal_ids(found)
        return [int(id_) for id_ in ids if id_ is not None]


class SqliteVec(Database):
    """sqlite-vec, which always scans: one width, and few questions.

    Through apsw, since many Pythons' own sqlite3 cannot load extensions.
    """

    name, needs = "sqlite-vec", "sqlite_vec"
    widths, queries_max = EF_GRID[:1], 50

    def build(self, vectors: Any, threads: int) -> None:
        import apsw
        import sqlite_vec

        self.connection = apsw.Connection(self.place())
        self.connection.enable_load_extension(True)
        self.connection.load_extension(sqlite_vec.loadable_path())
        self.connection.execute(
            f"create virtual table docs using vec0(v float[{vectors.shape[1]}], label integer)"
        )
        rows = ((row, vector.tobytes(), self.label(row)) for row, vector in enumerate(vectors))
        with self.connection:
            self.connection.executemany("insert into docs(rowid, v, label) values (?, ?, ?)", rows)

    def allow(self, below: int) -> None:
        self.where = below

    def search_one(self, query: Any) -> Any:
        statement = "select rowid from docs where v match ? and k = ?"
        values: tuple[Any, ...] = (query.tobytes(), K)
        if self.where is not None:
            statement, values = f"{statement} and label < ?", (*values, self.where)
        return [row for (row,) in self.connection.execute(statement, values)]


def _threads() -> set[int]:
    """Return the threads of this process; none where that is not known."""
    tasks = Path("/proc/self/task")
    return {int(task.name) for task in tasks.iterdir()} if tasks.exists() else set()


def _use_one_processor(threads: set[int]) -> None:
    for thread in threads:
        with contextlib.suppress(ProcessLookupError):  # it has ended
            os.sched_setaffinity(thread, {max(os.sched_getaffinity(0))})
