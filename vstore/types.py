"""Type aliases shared by all layers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Array: TypeAlias = npt.NDArray[Any]
Bytes: TypeAlias = bytes | bytearray | memoryview
BoolArray: TypeAlias = npt.NDArray[np.bool_]
FloatArray: TypeAlias = npt.NDArray[np.float32]
IntArray: TypeAlias = npt.NDArray[np.int64]
DocumentId: TypeAlias = str | int
# What people found right, query by query: gain by id. Keys of a mapping are invariant, hence Any.
Judgments: TypeAlias = Sequence[Mapping[Any, float]]
# Metadata of documents, row by row or field by field. No iterable of mappings, which a mapping of
# lists could be as well, so that checkers could not tell what its values are to be.
Metadata: TypeAlias = (
    Sequence[Mapping[str, object]] | Iterator[Mapping[str, object]] | Mapping[str, Iterable[object]]
)
