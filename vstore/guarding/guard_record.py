"""What guards a version against other spaces, as a record (`format-spec.md`, "Records")."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal, NamedTuple, TypeAlias, get_args

import numpy as np

from vstore.guarding.geometry import GeometryStatistics
from vstore.limits import CANARIES_MAX, CANARY_BYTES_MAX, DIMENSION_MAX
from vstore.manifest.plain import PlainReader

if TYPE_CHECKING:
    from vstore.manifest.plain import Plain
    from vstore.types import Array, FloatArray

GeometryPolicy: TypeAlias = Literal["refuse", "flag", "off"]
POLICIES: Final[tuple[GeometryPolicy, ...]] = get_args(GeometryPolicy)
_ARRAYS: Final = {"coordinates": "<u2", "precision": "<f2", "summary": "<f4", "lengths": "<f4"}


class Canaries(NamedTuple):
    """Texts, and what the version's model made of them as documents.

    Attributes
    ----------
    texts : tuple[str, ...]
        Without the spec's document prompt.
    vectors : float32 (n, dimension)
        Finite, none of them zero.
    """

    texts: tuple[str, ...]
    vectors: FloatArray


class Guard(NamedTuple):
    """What a version knows about its own space.

    Attributes
    ----------
    dimension : int
    policy : {"refuse", "flag", "off"}
        What becomes of vectors that look like those of another space.
    canaries : Canaries | None
    geometry : GeometryStatistics | None
        Learned from the version's own rows.
    learned_at : int
        How many rows the version had at least when it was; 0 before.
    """

    dimension: int
    policy: GeometryPolicy = "refuse"
    canaries: Canaries | None = None
    geometry: GeometryStatistics | None = None
    learned_at: int = 0


def plain_guard(guard: Guard) -> Plain:
    """Return a guard as structured data."""
    plain: Plain = {
        "dimension": guard.dimension,
        "policy": guard.policy,
        "learned_at": guard.learned_at,
    }
    if guard.canaries is not None:
        plain["canaries"] = {
            "texts": list(guard.canaries.texts),
            "vectors": guard.canaries.vectors.astype("<f4").tobytes(),
        }
    if guard.geometry is not None:
        arrays = guard.geometry.arrays()
        plain["geometry"] = {
            key: arrays[key].astype(dtype).tobytes() for key, dtype in _ARRAYS.items()
        }
    return plain


def read_guard(plain: PlainReader) -> Guard:
    """Check a guard from a file.

    Raises
    ------
    ValueError
        A value is missing, or is none that vstore writes.
    """
    dimension = plain.integer("dimension", maximum=DIMENSION_MAX)
    if not dimension:
        raise ValueError(f"{plain.where}.dimension: 0")
    canaries = geometry = None
    if plain.has("canaries"):
        canaries = _read_canaries(PlainReader(plain.raw("canaries"), "guard.canaries"), dimension)
    if plain.has("geometry"):
        geometry = _read_geometry(PlainReader(plain.raw("geometry"), "guard.geometry"), dimension)
    return Guard(
        dimension,
        plain.choice("policy", POLICIES),
        canaries,
        geometry,
        plain.integer("learned_at"),
    )


def _read_canaries(plain: PlainReader, dimension: int) -> Canaries:
    texts = plain.sequence("texts", _text, count_max=CANARIES_MAX)
    if not texts:
        raise ValueError(f"{plain.where}.texts: none")
    data = plain.binary("vectors", length=4 * len(texts) * dimension)
    vectors = np.frombuffer(data, "<f4").reshape(len(texts), dimension)
    if not is_usable(vectors):
        raise ValueError(f"{plain.where}.vectors: one is zero or not finite")
    return Canaries(texts, vectors)


def _text(value: object, where: str) -> str:
    if type(value) is not str or len(value.encode()) > CANARY_BYTES_MAX:
        raise ValueError(f"{where}: expected a string of at most {CANARY_BYTES_MAX} bytes")
    return value


def is_usable(vectors: Array) -> bool:
    """Whether every vector is finite and has a direction."""
    return bool(np.isfinite(vectors).all() and vectors.any(axis=1).all())


def _read_geometry(plain: PlainReader, dimension: int) -> GeometryStatistics:
    arrays = {}
    for key, dtype in _ARRAYS.items():
        data = plain.binary(key)
        if len(data) % np.dtype(dtype).itemsize:
            raise ValueError(f"{plain.where}.{key}: {len(data)} bytes")
        arrays[key] = np.frombuffer(data, dtype)
    return GeometryStatistics.from_arrays(arrays, dimension=dimension)
