"""The file ``vstore init`` reads: a collection, its fields and its versions, as JSON.

::

    {"collection": "docs",
     "fields": {"tenant": "keyword", "year": "int"},
     "versions": [{"label": "docs-v1", "spec": {"model": "all-MiniLM-L6-v2", "dimension": 384}}]}

A version is ``spec`` (the parameters of `EmbeddingSpec`) or, for trying things out, ``hashing``
(those of `HashingEmbedder`), with an optional ``label`` and the options of
`Collection.create_version`. Reading is strict: an unknown key is an error, since a field of the
spec that got lost would be another geometry.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from inspect import signature
from typing import TYPE_CHECKING, Final, TypeVar

from vstore.cli.json_argument import json_file
from vstore.errors import InvalidArgumentError
from vstore.manifest.spec import EmbeddingSpec
from vstore.names import check_name
from vstore.testing import HashingEmbedder
from vstore.writing.schema import check_fields

if TYPE_CHECKING:
    from pathlib import Path

T = TypeVar("T")
_OPTIONS: Final = ("storage", "stale_policy", "provenance", "retire_grace_s")


@dataclass(frozen=True, slots=True)
class VersionWish:
    """A version a spec file asks for.

    Attributes
    ----------
    label : str | None
        None: the one `spec.suggest_label` proposes.
    options : Mapping
        Of `Collection.create_version`, as far as they were given.
    """

    label: str | None
    spec: EmbeddingSpec
    options: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Wish:
    """What a store is to contain."""

    collection: str | None = None
    fields: Mapping[str, str] | None = None
    versions: tuple[VersionWish, ...] = ()


def read_spec_file(path: Path) -> Wish:
    """Return what a spec file asks for.

    Raises
    ------
    InvalidArgumentError, LimitExceededError
        The file is no such JSON; it is too large.
    """
    document = _object(json_file(path), str(path), ("collection", "fields", "versions"))
    fields = _object(document.get("fields", {}), f"{path}: fields")
    versions = document.get("versions", [])
    if not isinstance(versions, list):
        raise InvalidArgumentError(f"{path}: versions: expected a list, found {versions!r:.60}")
    collection = document.get("collection")
    return Wish(
        None if collection is None else check_name(collection, what=f"{path}: collection"),
        check_fields(fields),  # type: ignore[arg-type]  # it checks the values
        tuple(_version(item, f"{path}: versions[{i}]") for i, item in enumerate(versions)),
    )


def _version(value: object, where: str) -> VersionWish:
    wanted = _object(value, where, ("label", "spec", "hashing", *_OPTIONS))
    if ("spec" in wanted) == ("hashing" in wanted):
        raise InvalidArgumentError(f"{where}: needs spec or hashing, one of the two")
    if "spec" in wanted:
        spec = _made(EmbeddingSpec, wanted["spec"], f"{where}.spec")
    else:
        spec = _made(HashingEmbedder, wanted["hashing"], f"{where}.hashing").spec
    label = wanted.get("label")
    return VersionWish(
        None if label is None else check_name(label, what=f"{where}.label"),
        spec,
        {name: wanted[name] for name in _OPTIONS if name in wanted},
    )


def _made(kind: type[T], value: object, where: str) -> T:
    parameters = _object(value, where, tuple(signature(kind).parameters))
    try:
        return kind(**parameters)
    except (TypeError, AttributeError) as error:
        raise InvalidArgumentError(f"{where}: {error}") from error


def _object(value: object, where: str, keys: tuple[str, ...] | None = None) -> Mapping[str, object]:
    if not isinstance(value, Mapping):
        raise InvalidArgumentError(f"{where}: expected an object, found {value!r:.60}")
    unknown = [key for key in value if keys is not None and key not in keys]
    if unknown:
        raise InvalidArgumentError(
            f"{where}: unknown key {unknown[0]!r:.60}; expected {', '.join(keys or ())}"
        )
    return value
