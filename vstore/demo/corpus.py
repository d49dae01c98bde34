"""The demo's collection: SciFact with the vectors of two models, as it lies in the package.

Vectors are stored as int8 with one scale per dimension (``vector = code * scale``, then made unit
length) and everything else as one JSON object under xz; ``benchmarks/make_demo_data.py`` writes
both. ``data/SOURCE.md`` says where they come from and what the codes lose.
"""

from __future__ import annotations

import json
import lzma
from dataclasses import dataclass
from importlib.resources import files
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from vstore.types import Array, FloatArray

TEXTS_FILE: Final = "scifact_texts.json.xz"
VECTORS_FILE: Final = "scifact.npz"


@dataclass(frozen=True, slots=True, eq=False)
class ScifactDemo:
    """5,183 abstracts and 300 judged claims, each under an old and a new embedding.

    Lists and the rows of arrays go together: documents with documents, queries with queries.

    Attributes
    ----------
    document_ids, titles, texts : list of str
    query_ids, query_texts : list of str
    judgments : list of dict of document id to gain
        One per query; here every gain is 1.
    old_documents, old_queries : float32 (m, 384)
        Latent semantic analysis, unit length.
    new_documents, new_queries : float32 (m, 384)
        all-MiniLM-L6-v2, unit length. As many dimensions as the old ones, and not comparable.
    """

    document_ids: list[str]
    titles: list[str]
    texts: list[str]
    query_ids: list[str]
    query_texts: list[str]
    judgments: list[dict[str, int]]
    old_documents: FloatArray
    new_documents: FloatArray
    old_queries: FloatArray
    new_queries: FloatArray


def load_scifact() -> ScifactDemo:
    """Read the demo's collection from the package. About 0.2 s, and 25 MB of memory."""
    data = files("vstore.demo") / "data"
    texts = json.loads(lzma.decompress((data / TEXTS_FILE).read_bytes()))
    with (data / VECTORS_FILE).open("rb") as file, np.load(file, allow_pickle=False) as arrays:
        return ScifactDemo(
            **texts,
            old_documents=_unit_rows(arrays, "old_documents"),
            new_documents=_unit_rows(arrays, "new_documents"),
            old_queries=_unit_rows(arrays, "old_queries"),
            new_queries=_unit_rows(arrays, "new_queries"),
        )


def _unit_rows(arrays: Mapping[str, Array], name: str) -> FloatArray:
    rows = arrays[f"{name}_codes"].astype(np.float32) * arrays[f"{name}_scales"]
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return rows
