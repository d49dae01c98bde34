"""EmbeddingSpec: what fixes the geometry of a vector, and the fingerprint of that."""

from __future__ import annotations

import dataclasses
import datetime as dt
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias, cast, get_args

import numpy as np
from blake3 import blake3

from vstore.cached import cached_property
from vstore.errors import InvalidArgumentError, LimitExceededError
from vstore.frozen import FrozenDict
from vstore.limits import DIMENSION_MAX, EXTRAS_MAX, NAME_BYTES_MAX, REASON_BYTES_MAX
from vstore.storage.packing import pack

Metric: TypeAlias = Literal["cosine", "inner_product", "l2"]
METRICS: Final[tuple[Metric, ...]] = get_args(Metric)
Extra: TypeAlias = str | int | bool

_FINGERPRINT_DOMAIN: Final = "vstore EmbeddingSpec 1"  # a new encoding gets a new number


@dataclass(frozen=True)
class EmbeddingSpec:
    """Everything that fixes the geometry of a version's vectors.

    Two specs with one fingerprint make comparable vectors; any difference in any field makes
    another version. Fields are free text except where noted.

    Parameters
    ----------
    model : str
        Name of the model, as its provider writes it.
    dimension : int
        Components per vector, 1 to 65,535.
    metric : {"cosine", "inner_product", "l2"}
        How the model's vectors are compared.
    model_version : str
        Version or date of the model.
    normalized : bool
        The vectors have unit length; others are refused.
    preprocessing, chunking, truncation : str
        What happens to the source before the model sees it, for example ``"strip-html/3"``.
    document_prompt, query_prompt : str
        Text put before a document or a query.
    language_routing : str
        Which model serves which language, if that differs.
    extras : Mapping[str, str | int | bool]
        Anything else that changes the geometry.
    """

    model: str
    dimension: int
    metric: Metric = "cosine"
    model_version: str = ""
    normalized: bool = False
    preprocessing: str = ""
    chunking: str = ""
    truncation: str = ""
    document_prompt: str = ""
    query_prompt: str = ""
    language_routing: str = ""
    extras: Mapping[str, Extra] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("dimension", "metric", "normalized", *_TEXT_FIELDS):
            object.__setattr__(self, name, _plain(getattr(self, name)))
        if type(self.dimension) is not int or self.dimension < 1:
            raise InvalidArgumentError(
                f"EmbeddingSpec.dimension: expected an int >= 1, found {self.dimension!r}"
            )
        if self.dimension > DIMENSION_MAX:
            raise LimitExceededError(
                "EmbeddingSpec.dimension",
                limit="DIMENSION_MAX",
                found=self.dimension,
                allowed=DIMENSION_MAX,
            )
        if self.metric not in METRICS:
            raise InvalidArgumentError(
                f"EmbeddingSpec.metric: expected one of {', '.join(METRICS)}, found {self.metric!r}"
            )
        if type(self.normalized) is not bool:
            raise InvalidArgumentError(
                f"EmbeddingSpec.normalized: expected a bool, found {self.normalized!r}"
            )
        for name in _TEXT_FIELDS:
            _require_text(name, getattr(self, name))
        if not self.model:
            raise InvalidArgumentError("EmbeddingSpec.model: must not be empty")
        object.__setattr__(self, "extras", FrozenDict(_checked_extras(self.extras)))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, EmbeddingSpec):
            return NotImplemented
        return self.fingerprint == other.fingerprint

    def __hash__(self) -> int:
        return hash(self.fingerprint)

    def __reduce__(self) -> tuple[type[EmbeddingSpec], tuple[object, ...]]:
        return type(self), tuple(self.identity().values())

    def identity(self) -> dict[str, object]:
        """Return the identity fields by name, in declaration order."""
        values = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        return {**values, "extras": dict(sorted(self.extras.items()))}

    @cached_property
    def fingerprint(self) -> bytes:
        """BLAKE3, 32 bytes, of the canonical encoding: msgpack of [domain, [name, value] ...].

        Names are sorted and fields that are empty are left out, so that a field added to this class
        later changes no fingerprint that exists.
        """
        pairs: list[list[object]] = []
        for name, value in sorted(self.identity().items()):
            if name == "extras":
                pairs += [["extras." + key, extra] for key, extra in sorted(self.extras.items())]
            elif value not in ("", False):
                pairs.append([name, value])
        return blake3(pack([_FINGERPRINT_DOMAIN, pairs])).digest()

    def differences(self, other: EmbeddingSpec) -> dict[str, tuple[object, object]]:
        """Return the identity fields that differ: name -> (mine, the other's)."""
        mine, others = self.identity(), other.identity()
        # By repr, since extras may differ as 1 and True do.
        return {
            name: (mine[name], others[name])
            for name in mine
            if repr(mine[name]) != repr(others[name])
        }


_TEXT_FIELDS: Final = tuple(f.name for f in dataclasses.fields(EmbeddingSpec) if f.type == "str")


def _plain(value: object) -> object:
    """Return the Python value of NumPy's scalars, and of subclasses of str."""
    if isinstance(value, str):
        return str.__str__(value)
    return value.item() if isinstance(value, np.integer | np.bool_) else value


def _require_text(name: str, value: object, *, limit: str = "REASON_BYTES_MAX") -> None:
    if not isinstance(value, str):
        raise InvalidArgumentError(f"EmbeddingSpec.{name}: expected a str, found {value!r}")
    try:
        size_bytes = len(value.encode())
    except UnicodeEncodeError as error:
        raise InvalidArgumentError(f"EmbeddingSpec.{name}: not valid Unicode ({error})") from error
    allowed = NAME_BYTES_MAX if limit == "NAME_BYTES_MAX" else REASON_BYTES_MAX
    if size_bytes > allowed:
        raise LimitExceededError(
            f"EmbeddingSpec.{name} in bytes", limit=limit, found=size_bytes, allowed=allowed
        )


def _checked_extras(extras: Mapping[str, Extra]) -> dict[str, Extra]:
    if not isinstance(extras, Mapping):
        raise InvalidArgumentError(
            f"EmbeddingSpec.extras: expected a mapping, found {extras!r:.60}"
        )
    if len(extras) > EXTRAS_MAX:
        raise LimitExceededError(
            "EmbeddingSpec.extras", limit="EXTRAS_MAX", found=len(extras), allowed=EXTRAS_MAX
        )
    checked = cast(
        "dict[str, Extra]", {_plain(key): _plain(value) for key, value in extras.items()}
    )
    for key, value in checked.items():
        _require_text("extras key", key, limit="NAME_BYTES_MAX")
        if isinstance(value, str):
            _require_text(f"extras[{key!r}]", value)
        elif type(value) not in (int, bool) or not -(2**63) <= value < 2**63:
            raise InvalidArgumentError(
                f"EmbeddingSpec.extras[{key!r}]: expected str, 64-bit int or bool, found {value!r}"
            )
    return checked


def require_spec(value: object, *, what: str) -> EmbeddingSpec:
    """Refuse what is no spec.

    Raises
    ------
    InvalidArgumentError
        It is no `EmbeddingSpec`.
    """
    if not isinstance(value, EmbeddingSpec):
        raise InvalidArgumentError(f"{what}: expected an EmbeddingSpec, found {value!r:.60}")
    return value


def short(fingerprint: bytes) -> str:
    """Return the 12 hex digits people read."""
    return fingerprint.hex()[:12]


def suggest_label(collection: str, spec: EmbeddingSpec, *, date: str | None = None) -> str:
    """Propose a version label from collection, model, preprocessing and date.

    Parameters
    ----------
    date : str, optional
        For example ``"2026-11"``; today if not given.

    Examples
    --------
    >>> suggest_label("docs", EmbeddingSpec("all-MiniLM-L6-v2", 384), date="2026-11")
    'docs-all-minilm-l6-v2-2026-11'
    """
    require_spec(spec, what="suggest_label: spec")
    if date is None:
        date = dt.datetime.now(dt.UTC).date().isoformat()
    words = (collection, spec.model.rsplit("/", 1)[-1], spec.preprocessing, date)
    slugs = (re.sub(r"[^a-z0-9.]+", "-", word.lower()).strip("-") for word in words)
    return "-".join(slug for slug in slugs if slug)
