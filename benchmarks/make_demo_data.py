"""Write the files of vstore/demo/data from a folder with SciFact and its vectors.

    python -m benchmarks.make_demo_data SOURCE_FOLDER

The folder has ``corpus.jsonl.gz``, ``queries.test.jsonl.gz``, ``qrels.test.tsv`` and
``vectors.npz`` (arrays ``doc_ids``, ``query_ids``, ``lsa384_*``, ``minilm384_*``). Prints what
``vstore/demo/data/SOURCE.md`` states: exact search's nDCG@10 before and after quantisation, sizes.
The same folder gives the same vector file, byte for byte; the other one as the xz library has it.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import json
import lzma
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import vstore.demo
from vstore.demo.corpus import TEXTS_FILE, VECTORS_FILE, load_scifact
from vstore.evaluation.measures import mean_ndcg_at_k

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from vstore.types import Array, FloatArray

ARRAYS = {
    "old_documents": "lsa384_docs",
    "new_documents": "minilm384_docs",
    "old_queries": "lsa384_queries",
    "new_queries": "minilm384_queries",
}
CODE_MAX = 127


def read_jsonl(path: Path) -> dict[str, dict[str, Any]]:
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        return {entry["_id"]: entry for entry in map(json.loads, lines)}


def read_judgments(path: Path, query_ids: Sequence[str]) -> list[dict[str, int]]:
    judgments: dict[str, dict[str, int]] = {query: {} for query in query_ids}
    with path.open(encoding="utf-8", newline="") as lines:
        for row in csv.DictReader(lines, delimiter="\t"):
            judgments[row["query-id"]][row["corpus-id"]] = int(row["score"])
    return list(judgments.values())


def read_texts(source: Path, document_ids: Sequence[str], query_ids: Sequence[str]) -> bytes:
    documents = read_jsonl(source / "corpus.jsonl.gz")
    queries = read_jsonl(source / "queries.test.jsonl.gz")
    texts = {
        "document_ids": document_ids,
        "titles": [documents[document]["title"] for document in document_ids],
        "texts": [documents[document]["text"] for document in document_ids],
        "query_ids": query_ids,
        "query_texts": [queries[query]["text"] for query in query_ids],
        "judgments": read_judgments(source / "qrels.test.tsv", query_ids),
    }
    return json.dumps(texts, ensure_ascii=False, separators=(",", ":")).encode()


def quantised(vectors: Array) -> tuple[Array, FloatArray]:
    """Return int8 codes and each dimension's scale.

    By dimension, because those of LSA differ in size by orders of magnitude: with a scale per row
    the small ones would round to nothing.
    """
    peaks = np.abs(vectors).max(axis=0)
    scales: FloatArray = (np.where(peaks > 0, peaks, 1) / CODE_MAX).astype(np.float32)
    return np.rint(vectors / scales).astype(np.int8), scales


def unit_rows(vectors: Array) -> FloatArray:
    rows = vectors.astype(np.float32)
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True))


def ndcg(
    documents: Array, queries: Array, ids: Sequence[str], judgments: Sequence[Mapping[str, int]]
) -> float:
    order = np.argsort(-(queries @ documents.T), axis=1, kind="stable")[:, :10]
    return mean_ndcg_at_k([[ids[i] for i in row] for row in order], judgments, k=10)


def report(full: Mapping[str, FloatArray], target: Path) -> None:
    demo = load_scifact()
    for model in ("old", "new"):
        documents, queries = f"{model}_documents", f"{model}_queries"
        stored: dict[str, FloatArray] = {name: getattr(demo, name) for name in (documents, queries)}
        before = ndcg(full[documents], full[queries], demo.document_ids, demo.judgments)
        after = ndcg(stored[documents], stored[queries], demo.document_ids, demo.judgments)
        cosines = np.einsum("ij,ij->i", full[documents], stored[documents])
        print(
            f"{model}: nDCG@10 {before:.4f} before, {after:.4f} after; "
            f"cosine to the original at least {cosines.min():.5f}, mean {cosines.mean():.5f}"
        )
    for path in sorted(target.iterdir()):
        print(f"{path.name}: {path.stat().st_size:,} B")


def main() -> None:
    parser = argparse.ArgumentParser(description="Write the files of vstore/demo/data.")
    parser.add_argument("source", type=Path, metavar="SOURCE_FOLDER")
    source: Path = parser.parse_args().source
    target = Path(vstore.demo.__path__[0]) / "data"

    with np.load(source / "vectors.npz", allow_pickle=False) as arrays:
        document_ids: list[str] = arrays["doc_ids"].tolist()
        query_ids: list[str] = arrays["query_ids"].tolist()
        full = {name: unit_rows(arrays[theirs]) for name, theirs in ARRAYS.items()}
    stored: dict[str, Array] = {}
    for name, vectors in full.items():
        stored[f"{name}_codes"], stored[f"{name}_scales"] = quantised(vectors)

    target.mkdir(exist_ok=True)
    texts = read_texts(source, document_ids, query_ids)
    (target / TEXTS_FILE).write_bytes(lzma.compress(texts, preset=9 | lzma.PRESET_EXTREME))
    np.savez_compressed(target / VECTORS_FILE, allow_pickle=False, **stored)
    report(full, target)


if __name__ == "__main__":
    main()
